//! Delivery outside IA-32e mode: in real mode (SDM vol. 3A, 21.1.4) and in protected mode (6.12),
//! through 16- and 32-bit gates. Task gates and virtual-8086 mode end as an internal error.

use super::{Event, Fault, Kind, Trouble, enter_flags, pushed_flags, vector};
use crate::descriptors::{self, Descriptor, is_code, is_writable};
use crate::insn::Loc;
use crate::insn::operand::{stack_size, write_reg};
use crate::regs::{self, flag};
use crate::segments::{Segment, rights, seg};
use crate::{Cpu, mmu, state, vcpu};

/// A stack while it is pushed to, with the rights of its level.
pub(crate) struct Pushes {
    pub(crate) segment: Segment,
    pub(crate) pointer: u64,
    /// Base-2 logarithm of the pointer's bytes, and of what is pushed.
    pub(crate) width: u8,
    size: u8,
    cpl: u8,
    /// The error code of a fault.
    code: u32,
}

impl Pushes {
    pub(crate) fn push(&mut self, cpu: &mut Cpu, value: u64) -> Result<(), Trouble> {
        let bytes = 1u64 << self.size;
        let mask = !0 >> (64 - (8 << self.width));
        let pointer = self.pointer.wrapping_sub(bytes) & mask;
        if !self.segment.within(pointer, bytes) {
            return Err(Fault::with_code(vector::SS, self.code).into());
        }
        let at = self.segment.base.wrapping_add(pointer) & 0xffff_ffff;
        let value = value.to_le_bytes();
        mmu::system_write_level(cpu, at, self.cpl, &value[..bytes as usize])?;
        self.pointer = pointer;
        Ok(())
    }
}

/// The stack as it is.
fn current(cpu: &Cpu, size: u8) -> Pushes {
    Pushes {
        segment: cpu.state.segmentation.segments[seg::SS as usize],
        pointer: cpu.slot(regs::RSP),
        width: stack_size(cpu.state.mode),
        size,
        cpl: cpu.state.cpl,
        code: 0,
    }
}

/// Real mode: the interrupt vector table.
pub(super) fn real(cpu: &mut Cpu, event: &Event) -> Result<(), Trouble> {
    let at = u64::from(event.vector) * 4;
    if at + 3 > u64::from(cpu.state.segmentation.idtr.limit) {
        return Err(Fault::new(vector::GP).into());
    }
    let mut bytes = [0; 4];
    let address = cpu.state.segmentation.idtr.base.wrapping_add(at);
    mmu::system_read(cpu, address, false, &mut bytes)?;
    let entry = u32::from_le_bytes(bytes);
    let cs = cpu.state.segmentation.segments[seg::CS as usize];
    let mut stack = current(cpu, 1);
    // No error code, and RF is beyond the 16 bits.
    let flags = regs::rflags(cpu);
    for value in [flags, u64::from(cs.selector), event.rip] {
        stack.push(cpu, value)?;
    }
    write_reg(cpu, Loc::reg(4), stack.pointer, stack.width);
    let selector = (entry >> 16) as u16;
    cpu.state.segmentation.segments[seg::CS as usize] = Segment {
        selector,
        base: u64::from(selector) << 4,
        ..cs
    };
    enter_flags(cpu, true);
    cpu.state.rflags &= !flag::AC;
    state::changed(cpu);
    state::set_rip(cpu, u64::from(entry & 0xffff));
    Ok(())
}

/// A gate of 8 bytes.
struct Gate {
    selector: u16,
    offset: u64,
    /// Base-2 logarithm of the bytes of what is pushed.
    size: u8,
    masks: bool,
}

fn gate(cpu: &mut Cpu, event: &Event) -> Result<Gate, Trouble> {
    let code = u32::from(event.vector) << 3 | 2 | event.external();
    let gp = Trouble::from(Fault::with_code(vector::GP, code));
    let at = u64::from(event.vector) * 8;
    if at + 7 > u64::from(cpu.state.segmentation.idtr.limit) {
        return Err(gp);
    }
    let mut bytes = [0; 8];
    let address = cpu.state.segmentation.idtr.base.wrapping_add(at) & 0xffff_ffff;
    mmu::system_read(cpu, address, false, &mut bytes)?;
    let gate = u64::from_le_bytes(bytes);
    let kind = gate >> 40 & 31;
    if !matches!(kind, 5 | 6 | 7 | 14 | 15) {
        return Err(gp);
    }
    if event.kind == Kind::Software && gate >> 45 & 3 < u64::from(cpu.state.cpl) {
        return Err(gp);
    }
    if gate >> 47 & 1 == 0 {
        return Err(Fault::with_code(vector::NP, code).into());
    }
    if kind == 5 {
        return Err(vcpu::internal_error(cpu).into());
    }
    let wide = kind & 8 != 0;
    let high = if wide { gate >> 32 & 0xffff_0000 } else { 0 };
    Ok(Gate {
        selector: (gate >> 16) as u16,
        offset: gate & 0xffff | high,
        size: if wide { 2 } else { 1 },
        masks: kind & 1 == 0,
    })
}

/// The stack that the TSS has for a level (SDM vol. 3A, 7.2.1).
pub(crate) fn inner(
    cpu: &mut Cpu,
    cpl: u8,
    size: u8,
    external: u32,
) -> Result<(Pushes, Descriptor), Trouble> {
    let ts = |selector: u16| Fault::with_code(vector::TS, u32::from(selector & !3) | external);
    let tr = cpu.state.segmentation.tr;
    let wide = tr.rights & 8 != 0;
    let level = u64::from(cpl);
    let (offset, bytes) = if wide {
        (4 + 8 * level, 6)
    } else {
        (2 + 4 * level, 4)
    };
    if offset + bytes - 1 > u64::from(tr.limit) {
        return Err(ts(tr.selector).into());
    }
    let mut word = [0; 8];
    let at = tr.base.wrapping_add(offset);
    mmu::system_read(cpu, at, false, &mut word[..bytes as usize])?;
    let word = u64::from_le_bytes(word);
    let (pointer, selector) = if wide {
        (word & 0xffff_ffff, (word >> 32) as u16)
    } else {
        (word & 0xffff, (word >> 16) as u16)
    };
    if selector & !3 == 0 {
        return Err(ts(0).into());
    }
    let Some(descriptor) = descriptors::read(cpu, selector)? else {
        return Err(ts(selector).into());
    };
    let segment = descriptors::segment(selector, descriptor.bits);
    if (selector & 3) as u8 != cpl || segment.dpl() != cpl || !is_writable(&segment) {
        return Err(ts(selector).into());
    }
    let code = u32::from(selector & !3) | external;
    if segment.rights & rights::P == 0 {
        return Err(Fault::with_code(vector::SS, code).into());
    }
    let width = if segment.rights & rights::DB != 0 {
        2
    } else {
        1
    };
    let stack = Pushes {
        segment,
        pointer,
        width,
        size,
        cpl,
        code,
    };
    Ok((stack, descriptor))
}

/// Protected mode.
pub(super) fn protected(cpu: &mut Cpu, event: &Event) -> Result<(), Trouble> {
    if cpu.state.rflags & flag::VM != 0 {
        return Err(vcpu::internal_error(cpu).into());
    }
    let external = event.external();
    let gate = gate(cpu, event)?;
    let code = u32::from(gate.selector & !3) | external;
    let gp = |code| Trouble::from(Fault::with_code(vector::GP, code));
    if gate.selector & !3 == 0 {
        return Err(gp(external));
    }
    let Some(descriptor) = descriptors::read(cpu, gate.selector)? else {
        return Err(gp(code));
    };
    let target = descriptors::segment(gate.selector, descriptor.bits);
    let cpl = cpu.state.cpl;
    if !is_code(&target) || target.dpl() > cpl {
        return Err(gp(code));
    }
    if target.rights & rights::P == 0 {
        return Err(Fault::with_code(vector::NP, code).into());
    }
    if gate.offset > u64::from(target.limit) {
        return Err(gp(external));
    }
    let conforming = target.rights & rights::DOWN != 0;
    let new_cpl = if conforming { cpl } else { target.dpl() };
    let (mut stack, switched) = if new_cpl < cpl {
        let (stack, descriptor) = inner(cpu, new_cpl, gate.size, external)?;
        (stack, Some(descriptor))
    } else {
        let mut stack = current(cpu, gate.size);
        stack.code = external;
        (stack, None)
    };

    let flags = pushed_flags(cpu, event);
    let selector =
        |number: u8| u64::from(cpu.state.segmentation.segments[number as usize].selector);
    let (ss, cs) = (selector(seg::SS), selector(seg::CS));
    if switched.is_some() {
        stack.push(cpu, ss)?;
        let pointer = cpu.slot(regs::RSP);
        stack.push(cpu, pointer)?;
    }
    for value in [flags, cs, event.rip] {
        stack.push(cpu, value)?;
    }
    if let Some(code) = event.code {
        stack.push(cpu, u64::from(code))?;
    }
    descriptors::set_accessed(cpu, descriptor.address, descriptor.bits)?;
    if let Some(Descriptor { address, bits }) = switched {
        descriptors::set_accessed(cpu, address, bits)?;
        let rights = stack.segment.rights | 1;
        cpu.state.segmentation.segments[seg::SS as usize] = Segment {
            rights,
            ..stack.segment
        };
    }
    cpu.state.segmentation.segments[seg::CS as usize] = Segment {
        selector: gate.selector & !3 | u16::from(new_cpl),
        rights: target.rights | 1,
        ..target
    };
    cpu.state.cpl = new_cpl;
    write_reg(cpu, Loc::reg(4), stack.pointer, stack.width);
    enter_flags(cpu, gate.masks);
    state::changed(cpu);
    state::set_rip(cpu, gate.offset);
    Ok(())
}
