//! Control transfers between segments and levels: far jumps, calls and returns, IRET, SYSCALL and
//! SYSRET (SDM vol. 3A, 5.8; vol. 2).
//!
//! Not here: task switches and virtual-8086 mode, which end as an internal error.

pub(crate) mod fast;
mod gates;

use crate::descriptors::{self, Descriptor, is_code, selector_fault};
use crate::exceptions::{Fault, Trouble, vector};
use crate::insn::Loc;
use crate::insn::operand::{self, set_stack_pointer, stack_size, stack_value, write_reg};
use crate::regs::{self, RCX, RSP, flag, gpr};
use crate::segments::{Segment, rights, seg};
use crate::state::{self, efer};
use crate::{Cpu, debug, mmu, vcpu};

const GP: Fault = Fault::with_code(vector::GP, 0);

/// The bits of an operand.
fn mask(size: u8) -> u64 {
    !0 >> (64 - (8 << size))
}

/// Where a code segment is gone to.
struct Target {
    segment: Segment,
    descriptor: Option<Descriptor>,
    rip: u64,
}

/// Checks that an instruction pointer may be gone to in a code segment that will be CS.
fn check_rip(cpu: &Cpu, segment: &Segment, rip: u64) -> Result<(), Fault> {
    let long = cpu.state.long_mode() && segment.rights & rights::L != 0;
    let good = if long {
        mmu::canonical(cpu, rip)
    } else {
        rip <= u64::from(segment.limit)
    };
    if good { Ok(()) } else { Err(GP) }
}

/// A code segment that may be returned to at the level of its selector.
fn return_code(cpu: &mut Cpu, selector: u16) -> Result<(Segment, Descriptor), Trouble> {
    if selector & !3 == 0 {
        return Err(GP.into());
    }
    let (segment, descriptor) = descriptors::lookup(cpu, selector)?;
    let rpl = (selector & 3) as u8;
    let conforming = segment.rights & rights::DOWN != 0;
    let level = if conforming {
        segment.dpl() <= rpl
    } else {
        segment.dpl() == rpl
    };
    let both = cpu.state.long_mode() && segment.rights & rights::L != 0;
    let bad = both && segment.rights & rights::DB != 0;
    if !is_code(&segment) || rpl < cpu.state.cpl || !level || bad {
        return Err(selector_fault(vector::GP, selector).into());
    }
    if segment.rights & rights::P == 0 {
        return Err(selector_fault(vector::NP, selector).into());
    }
    Ok((segment, descriptor))
}

/// Loads CS, and goes on there.
fn enter(cpu: &mut Cpu, target: Target) -> Result<(), Trouble> {
    let mut segment = target.segment;
    if let Some(Descriptor { address, bits }) = target.descriptor {
        descriptors::set_accessed(cpu, address, bits)?;
        segment.rights |= 1;
    }
    cpu.state.cpl = (segment.selector & 3) as u8;
    if !cpu.state.protected() {
        cpu.state.cpl = 0;
    }
    cpu.state.segmentation.segments[seg::CS as usize] = segment;
    state::changed(cpu);
    state::set_rip(cpu, target.rip);
    Ok(())
}

/// What CS becomes in real mode.
fn real(cpu: &Cpu, selector: u16) -> Segment {
    Segment {
        selector,
        base: u64::from(selector) << 4,
        ..cpu.state.segmentation.segments[seg::CS as usize]
    }
}

/// What the selector of a far JMP or CALL names.
enum Far {
    Code(Target),
    /// A gate, or a task.
    System(Segment, Descriptor),
}

/// Where a far JMP or CALL goes.
fn far(cpu: &mut Cpu, selector: u16, rip: u64) -> Result<Far, Trouble> {
    if !cpu.state.protected() {
        let segment = real(cpu, selector);
        check_rip(cpu, &segment, rip)?;
        return Ok(Far::Code(Target {
            segment,
            descriptor: None,
            rip,
        }));
    }
    if selector & !3 == 0 {
        return Err(GP.into());
    }
    let (mut segment, descriptor) = descriptors::lookup(cpu, selector)?;
    if segment.rights & rights::S == 0 {
        return Ok(Far::System(segment, descriptor));
    }
    let cpl = cpu.state.cpl;
    let rpl = (selector & 3) as u8;
    let allowed = if segment.rights & rights::DOWN != 0 {
        segment.dpl() <= cpl
    } else {
        rpl <= cpl && segment.dpl() == cpl
    };
    let both = rights::L | rights::DB;
    let bad = cpu.state.long_mode() && segment.rights & both == both;
    if !is_code(&segment) || !allowed || bad {
        return Err(selector_fault(vector::GP, selector).into());
    }
    if segment.rights & rights::P == 0 {
        return Err(selector_fault(vector::NP, selector).into());
    }
    check_rip(cpu, &segment, rip)?;
    segment.selector = selector & !3 | u16::from(cpl);
    Ok(Far::Code(Target {
        segment,
        descriptor: Some(descriptor),
        rip,
    }))
}

/// A far JMP.
pub(crate) fn jump(cpu: &mut Cpu, selector: u16, rip: u64) -> Result<(), Trouble> {
    match far(cpu, selector, rip)? {
        Far::Code(target) => enter(cpu, target),
        Far::System(segment, descriptor) => gates::jump(cpu, selector, &segment, &descriptor),
    }
}

/// A far CALL, of an instruction of so many bytes.
pub(crate) fn call(
    cpu: &mut Cpu,
    selector: u16,
    rip: u64,
    size: u8,
    length: u64,
) -> Result<(), Trouble> {
    let target = match far(cpu, selector, rip)? {
        Far::Code(target) => target,
        Far::System(segment, descriptor) => {
            return gates::call(cpu, selector, &segment, &descriptor, length);
        }
    };
    let cs = u64::from(cpu.state.segmentation.segments[seg::CS as usize].selector);
    let next = state::rip(cpu).wrapping_add(length);
    let old = cpu.slot(RSP);
    // Both places are written before the pointer changes: a fault leaves it.
    push_at(cpu, old, cs, size)?;
    let pointer = push_at(cpu, old.wrapping_sub(1 << size), next, size)?;
    set_stack_pointer(cpu, pointer);
    enter(cpu, target)
}

/// Stores below an address of the stack, and gives that address.
fn push_at(cpu: &mut Cpu, pointer: u64, value: u64, size: u8) -> Result<u64, Trouble> {
    let (mode, new) = (cpu.state.mode, pointer.wrapping_sub(1 << size));
    let via = operand::via(mode, seg::SS);
    let offset = operand::zx(cpu, new, stack_size(mode));
    let at = operand::linear(cpu, via, offset, 1 << size, true)?;
    operand::store(cpu, at, value, size, via)?;
    Ok(new)
}

/// Clears the data segments that the outer level may not use.
fn clear_inner_segments(cpu: &mut Cpu) {
    let cpl = cpu.state.cpl;
    for number in [seg::ES, seg::DS, seg::FS, seg::GS] {
        let segment = cpu.state.segmentation.segments[number as usize];
        let conforming = is_code(&segment) && segment.rights & rights::DOWN != 0;
        let usable = segment.rights & rights::UNUSABLE == 0;
        if usable && !conforming && segment.dpl() < cpl {
            state::set_segment(cpu, number, Segment::null(0));
        }
    }
}

/// The stack of an outer level, or of IRET in 64-bit mode.
struct Stack {
    segment: Segment,
    descriptor: Option<Descriptor>,
    pointer: u64,
}

/// Takes the stack from `above` the pointer.
fn return_stack(
    cpu: &mut Cpu,
    above: u64,
    size: u8,
    code: &Segment,
    cpl: u8,
) -> Result<Stack, Trouble> {
    let pointer = stack_value(cpu, above, size)?;
    let selector = stack_value(cpu, above + (1 << size), size)? as u16;
    let long = cpu.state.long_mode() && code.rights & rights::L != 0;
    let (segment, descriptor) = descriptors::stack(cpu, selector, cpl, long)?;
    Ok(Stack {
        segment,
        descriptor,
        pointer,
    })
}

/// Enters the target with its stack. `release` is what RET takes off it.
fn enter_outer(
    cpu: &mut Cpu,
    target: Target,
    stack: Stack,
    size: u8,
    release: u64,
) -> Result<(), Trouble> {
    if let Some(Descriptor { address, bits }) = stack.descriptor {
        descriptors::set_accessed(cpu, address, bits)?;
    }
    let outer = (target.segment.selector & 3) as u8 > cpu.state.cpl;
    enter(cpu, target)?;
    let usable = stack.descriptor.is_some() as u32;
    cpu.state.segmentation.segments[seg::SS as usize] = Segment {
        rights: stack.segment.rights | usable,
        ..stack.segment
    };
    state::changed(cpu);
    let pointer = stack.pointer.wrapping_add(release);
    // As many bits as both the operand and the stack have.
    let width = stack_size(cpu.state.mode).min(size.max(1));
    let width = if width == 2 && cpu.state.code64() {
        3
    } else {
        width
    };
    write_reg(cpu, Loc::reg(4), pointer & mask(size), width);
    if outer {
        clear_inner_segments(cpu);
        state::changed(cpu);
    }
    Ok(())
}

/// A far RET, which takes `release` bytes more off either stack.
pub(crate) fn return_far(cpu: &mut Cpu, size: u8, release: u64) -> Result<(), Trouble> {
    let step = 1u64 << size;
    let rip = stack_value(cpu, 0, size)?;
    let selector = stack_value(cpu, step, size)? as u16;
    let after = 2 * step + release;
    if !cpu.state.protected() {
        let segment = real(cpu, selector);
        check_rip(cpu, &segment, rip)?;
        let pointer = cpu.slot(RSP).wrapping_add(after);
        set_stack_pointer(cpu, pointer);
        let descriptor = None;
        return enter(
            cpu,
            Target {
                segment,
                descriptor,
                rip,
            },
        );
    }
    let (segment, descriptor) = return_code(cpu, selector)?;
    check_rip(cpu, &segment, rip)?;
    let target = Target {
        segment,
        descriptor: Some(descriptor),
        rip,
    };
    let rpl = (selector & 3) as u8;
    if rpl == cpu.state.cpl {
        let pointer = cpu.slot(RSP).wrapping_add(after);
        set_stack_pointer(cpu, pointer);
        return enter(cpu, target);
    }
    let stack = return_stack(cpu, after, size, &segment, rpl)?;
    enter_outer(cpu, target, stack, size, release)
}

/// Sets RFLAGS from what IRET has popped; `cpl` is the level before.
fn set_returned_flags(cpu: &mut Cpu, value: u64, size: u8, cpl: u8) {
    let iopl = (cpu.state.rflags & flag::IOPL) >> 12;
    let mut changes = flag::STATUS | flag::TF | flag::DF | flag::NT;
    if size != 1 {
        changes |= flag::RF | flag::AC | flag::ID;
    }
    if u64::from(cpl) <= iopl {
        changes |= flag::IF;
    }
    if cpl == 0 {
        changes |= flag::IOPL;
        if size != 1 {
            changes |= flag::VIF | flag::VIP;
        }
    }
    let old = regs::rflags(cpu);
    regs::set_rflags(cpu, old & !changes | value & changes);
    debug::keep_resuming(cpu);
}

/// IRET.
pub(crate) fn interrupt_return(cpu: &mut Cpu, size: u8) -> Result<(), Trouble> {
    let step = 1u64 << size;
    let cpl = cpu.state.cpl;
    let long = cpu.state.long_mode();
    // Even one that faults (SDM vol. 3A, 6.7.1).
    cpu.state.interrupts.nmi_blocked = false;
    if cpu.state.rflags & flag::VM != 0 {
        return Err(vcpu::internal_error(cpu).into());
    }
    if cpu.state.protected() && cpu.state.rflags & flag::NT != 0 {
        if long {
            return Err(GP.into());
        }
        return Err(vcpu::internal_error(cpu).into());
    }
    let rip = stack_value(cpu, 0, size)?;
    let selector = stack_value(cpu, step, size)? as u16;
    let flags = stack_value(cpu, 2 * step, size)?;
    if !cpu.state.protected() {
        let segment = real(cpu, selector);
        check_rip(cpu, &segment, rip)?;
        let pointer = cpu.slot(RSP).wrapping_add(3 * step);
        set_stack_pointer(cpu, pointer);
        set_returned_flags(cpu, flags, size, 0);
        let descriptor = None;
        return enter(
            cpu,
            Target {
                segment,
                descriptor,
                rip,
            },
        );
    }
    if !long && cpl == 0 && size != 1 && flags & flag::VM != 0 {
        return Err(vcpu::internal_error(cpu).into());
    }
    let (segment, descriptor) = return_code(cpu, selector)?;
    check_rip(cpu, &segment, rip)?;
    let target = Target {
        segment,
        descriptor: Some(descriptor),
        rip,
    };
    let rpl = (selector & 3) as u8;
    if rpl == cpl && !cpu.state.code64() {
        let pointer = cpu.slot(RSP).wrapping_add(3 * step);
        set_stack_pointer(cpu, pointer);
        enter(cpu, target)?;
    } else {
        let stack = return_stack(cpu, 3 * step, size, &segment, rpl)?;
        enter_outer(cpu, target, stack, size, 0)?;
    }
    set_returned_flags(cpu, flags, size, cpl);
    state::changed(cpu);
    Ok(())
}

/// A flat segment that SYSCALL and SYSRET load without a descriptor.
fn fixed(selector: u16, kind: u32, cpl: u8) -> Segment {
    Segment {
        selector,
        base: 0,
        limit: u32::MAX,
        rights: rights::P | rights::S | rights::G | kind | u32::from(cpl) << 5,
    }
}

fn load_fixed(cpu: &mut Cpu, code: u16, stack: u16, kind: u32, cpl: u8) {
    let segments = &mut cpu.state.segmentation.segments;
    let kind = rights::CODE_READ_ACCESSED | kind;
    segments[seg::CS as usize] = fixed(code, kind, cpl);
    let kind = rights::DATA_WRITE_ACCESSED | rights::DB;
    segments[seg::SS as usize] = fixed(stack, kind, cpl);
    cpu.state.cpl = cpl;
    state::changed(cpu);
}

/// SYSCALL (SDM vol. 2; AMD APM vol. 3 for compatibility and protected mode).
pub(crate) fn system_call(cpu: &mut Cpu, length: u64) -> Result<(), Trouble> {
    if cpu.state.efer & efer::SCE == 0 {
        return Err(Fault::new(vector::UD).into());
    }
    if !cpu.state.long_mode() {
        return fast::call(cpu, length);
    }
    let next = state::rip(cpu).wrapping_add(length);
    let flags = regs::rflags(cpu) & !flag::RF;
    let msrs = &cpu.state.msrs;
    let target = if cpu.state.code64() {
        msrs.lstar
    } else {
        msrs.cstar
    };
    let (star, mask) = (msrs.star, msrs.sfmask);
    cpu.set_slot(RCX, next);
    cpu.set_slot(gpr(11), flags);
    regs::set_rflags(cpu, flags & !mask | flag::ONE);
    if mask & flag::TF != 0 {
        debug::disarm(cpu);
    }
    let code = (star >> 32) as u16 & !3;
    load_fixed(cpu, code, code.wrapping_add(8), rights::L, 0);
    state::set_rip(cpu, target);
    Ok(())
}

/// SYSRET, to 64-bit or to compatibility mode.
pub(crate) fn system_return(cpu: &mut Cpu, wide: bool) -> Result<(), Trouble> {
    if cpu.state.efer & efer::SCE == 0 {
        return Err(Fault::new(vector::UD).into());
    }
    if cpu.state.cpl != 0 || !cpu.state.protected() {
        return Err(GP.into());
    }
    if !cpu.state.long_mode() {
        return fast::back(cpu);
    }
    // Flags that exist, but RF and VM.
    const RETURNED: u64 = 0x3c_7fd7;
    let base = (cpu.state.msrs.star >> 48) as u16;
    let (rip, flags) = (cpu.slot(RCX), cpu.slot(gpr(11)));
    regs::set_rflags(cpu, flags & RETURNED | flag::ONE);
    let (code, kind) = if wide {
        (base.wrapping_add(16), rights::L)
    } else {
        (base, rights::DB)
    };
    load_fixed(cpu, code | 3, base.wrapping_add(8) | 3, kind, 3);
    state::set_rip(cpu, rip);
    Ok(())
}
