//! Call gates (SDM vol. 3A, 5.8.3 to 5.8.5; in IA-32e mode 5.8.3.1).

use super::{GP, Target, check_rip, enter, push_at};
use crate::descriptors::{self, Descriptor, is_code, selector_fault};
use crate::exceptions::{Fault, Trouble, stacks, vector};
use crate::insn::Loc;
use crate::insn::operand::{self, set_stack_pointer, stack_size, write_reg};
use crate::regs::RSP;
use crate::segments::{Segment, rights, seg};
use crate::{Cpu, mmu, state, vcpu};

/// A gate.
struct Gate {
    selector: u16,
    rip: u64,
    /// Parameters that are copied to the new stack.
    parameters: u64,
    /// Base-2 logarithm of the bytes of what is pushed.
    size: u8,
}

/// Reads the gate that a system descriptor is. Task gates and TSSs end as an internal error.
fn read(
    cpu: &mut Cpu,
    selector: u16,
    segment: &Segment,
    descriptor: &Descriptor,
) -> Result<Gate, Trouble> {
    let bad = || Trouble::from(selector_fault(vector::GP, selector));
    let long = cpu.state.long_mode();
    let kind = segment.rights & rights::TYPE;
    if !matches!((kind, long), (12, _) | (1 | 3 | 4 | 5 | 9 | 11, false)) {
        return Err(bad());
    }
    let level = cpu.state.cpl.max((selector & 3) as u8);
    if segment.dpl() < level {
        return Err(bad());
    }
    if segment.rights & rights::P == 0 {
        return Err(selector_fault(vector::NP, selector).into());
    }
    if !matches!(kind, 4 | 12) {
        return Err(vcpu::internal_error(cpu).into());
    }
    let bits = descriptor.bits;
    let wide = kind == 12;
    let low = bits & 0xffff;
    let mut rip = if wide {
        low | bits >> 32 & 0xffff_0000
    } else {
        low
    };
    if long {
        let mut high = [0; 8];
        let at = descriptor.address.wrapping_add(8);
        mmu::system_read(cpu, at, false, &mut high)?;
        let high = u64::from_le_bytes(high);
        if high >> 40 & 31 != 0 {
            return Err(bad());
        }
        rip |= high << 32;
    }
    Ok(Gate {
        selector: (bits >> 16) as u16,
        rip,
        parameters: if long { 0 } else { bits >> 32 & 31 },
        size: match (long, wide) {
            (true, _) => 3,
            (_, true) => 2,
            _ => 1,
        },
    })
}

/// The code segment that a gate leads to.
fn target(cpu: &mut Cpu, gate: &Gate, calls: bool) -> Result<Target, Trouble> {
    let selector = gate.selector;
    if selector & !3 == 0 {
        return Err(GP.into());
    }
    let (mut segment, descriptor) = descriptors::lookup(cpu, selector)?;
    let cpl = cpu.state.cpl;
    let conforming = segment.rights & rights::DOWN != 0;
    let allowed = segment.dpl() == cpl || segment.dpl() < cpl && (conforming || calls);
    let long = cpu.state.long_mode();
    let wrong = long && segment.rights & (rights::L | rights::DB) != rights::L;
    if !is_code(&segment) || !allowed || wrong {
        return Err(selector_fault(vector::GP, selector).into());
    }
    if segment.rights & rights::P == 0 {
        return Err(selector_fault(vector::NP, selector).into());
    }
    check_rip(cpu, &segment, gate.rip)?;
    let level = if conforming { cpl } else { segment.dpl() };
    segment.selector = selector & !3 | u16::from(level);
    Ok(Target {
        segment,
        descriptor: Some(descriptor),
        rip: gate.rip,
    })
}

/// A far JMP to a system descriptor.
pub(super) fn jump(
    cpu: &mut Cpu,
    selector: u16,
    segment: &Segment,
    descriptor: &Descriptor,
) -> Result<(), Trouble> {
    let gate = read(cpu, selector, segment, descriptor)?;
    let target = target(cpu, &gate, false)?;
    enter(cpu, target)
}

/// A far CALL of one, by an instruction of so many bytes.
pub(super) fn call(
    cpu: &mut Cpu,
    selector: u16,
    segment: &Segment,
    descriptor: &Descriptor,
    length: u64,
) -> Result<(), Trouble> {
    let gate = read(cpu, selector, segment, descriptor)?;
    let target = target(cpu, &gate, true)?;
    let cpl = cpu.state.cpl;
    let level = (target.segment.selector & 3) as u8;
    let cs = u64::from(cpu.state.segmentation.segments[seg::CS as usize].selector);
    let next = state::rip(cpu).wrapping_add(length);
    let old = cpu.slot(RSP);
    if level == cpl {
        push_at(cpu, old, cs, gate.size)?;
        let pointer = push_at(cpu, old.wrapping_sub(1 << gate.size), next, gate.size)?;
        set_stack_pointer(cpu, pointer);
        return enter(cpu, target);
    }
    let ss = u64::from(cpu.state.segmentation.segments[seg::SS as usize].selector);
    if cpu.state.long_mode() {
        let stack = stacks::long(cpu, 4 + 8 * u64::from(level), 0)?;
        let frame = [next, cs, old, ss].map(u64::to_le_bytes).concat();
        let top = stack.wrapping_sub(frame.len() as u64);
        if !mmu::canonical(cpu, top) || !mmu::canonical(cpu, stack) {
            return Err(Fault::with_code(vector::SS, 0).into());
        }
        mmu::system_write_level(cpu, top, level, &frame)?;
        cpu.set_slot(RSP, top);
        cpu.state.segmentation.segments[seg::SS as usize] = Segment::null(u16::from(level));
        return enter(cpu, target);
    }
    let parameters = parameters(cpu, &gate)?;
    let (mut stack, descriptor) = stacks::inner(cpu, level, gate.size, 0)?;
    stack.push(cpu, ss)?;
    stack.push(cpu, old)?;
    for value in parameters.into_iter().rev().chain([cs, next]) {
        stack.push(cpu, value)?;
    }
    descriptors::set_accessed(cpu, descriptor.address, descriptor.bits)?;
    let rights = stack.segment.rights | 1;
    cpu.state.segmentation.segments[seg::SS as usize] = Segment {
        rights,
        ..stack.segment
    };
    write_reg(cpu, Loc::reg(4), stack.pointer, stack.width);
    enter(cpu, target)
}

/// The parameters on the caller's stack, the first at its top.
fn parameters(cpu: &mut Cpu, gate: &Gate) -> Result<Vec<u64>, Trouble> {
    let mode = cpu.state.mode;
    let via = operand::via(mode, seg::SS);
    let mut values = vec![];
    for n in 0..gate.parameters {
        let pointer = cpu.slot(RSP).wrapping_add(n << gate.size);
        let offset = operand::zx(cpu, pointer, stack_size(mode));
        let at = operand::linear(cpu, via, offset, 1 << gate.size, false)?;
        values.push(operand::load(cpu, at, gate.size, via, false)?);
    }
    Ok(values)
}
