//! Delivery in IA-32e mode (SDM vol. 3A, 6.14): 64-bit gates, the interrupt stack table.

use super::{Event, Fault, Kind, Trouble, enter_flags, pushed_flags, vector};
use crate::descriptors::{self, Descriptor};
use crate::regs;
use crate::segments::{Segment, rights, seg};
use crate::{Cpu, mmu, state};

/// A gate of the interrupt descriptor table.
struct Gate {
    selector: u16,
    offset: u64,
    ist: u8,
    /// An interrupt gate: RFLAGS.IF is cleared.
    masks: bool,
}

/// The selector-like error code of a vector: an index into the IDT.
fn idt_code(event: &Event) -> u32 {
    u32::from(event.vector) << 3 | 2 | event.external()
}

fn gate(cpu: &mut Cpu, event: &Event) -> Result<Gate, Trouble> {
    let code = idt_code(event);
    let at = u64::from(event.vector) * 16;
    if at + 15 > u64::from(cpu.state.segmentation.idtr.limit) {
        return Err(Fault::with_code(vector::GP, code).into());
    }
    let mut bytes = [0; 16];
    let address = cpu.state.segmentation.idtr.base.wrapping_add(at);
    mmu::system_read(cpu, address, false, &mut bytes)?;
    let gate = u128::from_le_bytes(bytes);
    let field = |low: u32, bits: u32| (gate >> low) as u64 & ((1 << bits) - 1);
    // Type 14 or 15, no code or data, and the same field of the upper half 0.
    if field(41, 4) != 7 || field(104, 5) != 0 {
        return Err(Fault::with_code(vector::GP, code).into());
    }
    if event.kind == Kind::Software && field(45, 2) < u64::from(cpu.state.cpl) {
        return Err(Fault::with_code(vector::GP, code).into());
    }
    if field(47, 1) == 0 {
        return Err(Fault::with_code(vector::NP, code).into());
    }
    Ok(Gate {
        selector: field(16, 16) as u16,
        offset: field(0, 16) | field(48, 16) << 16 | field(64, 32) << 32,
        ist: field(32, 3) as u8,
        masks: field(40, 1) == 0,
    })
}

/// A stack pointer of the 64-bit TSS (SDM vol. 3A, 7.7): RSP0 to RSP2, or IST1 to IST7.
pub(crate) fn tss_stack(cpu: &mut Cpu, offset: u64, external: u32) -> Result<u64, Trouble> {
    let tr = cpu.state.segmentation.tr;
    if offset + 7 > u64::from(tr.limit) {
        let code = u32::from(tr.selector & !3) | external;
        return Err(Fault::with_code(vector::TS, code).into());
    }
    let mut bytes = [0; 8];
    mmu::system_read(cpu, tr.base.wrapping_add(offset), false, &mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

pub(super) fn deliver(cpu: &mut Cpu, event: &Event) -> Result<(), Trouble> {
    let external = event.external();
    let gate = gate(cpu, event)?;
    let code = u32::from(gate.selector & !3) | external;
    let gp = |code| Trouble::from(Fault::with_code(vector::GP, code));
    if gate.selector & !3 == 0 {
        return Err(gp(external));
    }
    let Some(Descriptor { address, bits }) = descriptors::read(cpu, gate.selector)? else {
        return Err(gp(code));
    };
    let segment = descriptors::segment(gate.selector, bits);
    let conforming = segment.rights & rights::DOWN != 0;
    let cpl = cpu.state.cpl;
    let is_code = segment.rights & (rights::S | rights::CODE) == rights::S | rights::CODE;
    let long = segment.rights & (rights::L | rights::DB) == rights::L;
    if !is_code || segment.dpl() > cpl || !long {
        return Err(gp(code));
    }
    if segment.rights & rights::P == 0 {
        return Err(Fault::with_code(vector::NP, code).into());
    }
    let new_cpl = if conforming { cpl } else { segment.dpl() };
    let rsp = if gate.ist != 0 {
        tss_stack(cpu, 0x1c + 8 * u64::from(gate.ist), external)?
    } else if new_cpl < cpl {
        tss_stack(cpu, 4 + 8 * u64::from(new_cpl), external)?
    } else {
        cpu.slot(regs::RSP)
    };

    let flags = pushed_flags(cpu, event);
    let ss = cpu.state.segmentation.segments[seg::SS as usize].selector;
    let cs = cpu.state.segmentation.segments[seg::CS as usize].selector;
    let frame = [
        event.code.map(u64::from),
        Some(event.rip),
        Some(u64::from(cs)),
        Some(flags),
        Some(cpu.slot(regs::RSP)),
        Some(u64::from(ss)),
    ];
    let bytes: Vec<u8> = frame
        .into_iter()
        .flatten()
        .flat_map(u64::to_le_bytes)
        .collect();
    let top = (rsp & !15).wrapping_sub(bytes.len() as u64);
    if !mmu::canonical(cpu, top) || !mmu::canonical(cpu, rsp) {
        return Err(Fault::with_code(vector::SS, external).into());
    }
    if !mmu::canonical(cpu, gate.offset) {
        return Err(gp(external));
    }
    mmu::system_write_level(cpu, top, new_cpl, &bytes)?;
    descriptors::set_accessed(cpu, address, bits)?;

    cpu.set_slot(regs::RSP, top);
    if new_cpl != cpl {
        cpu.state.segmentation.segments[seg::SS as usize] = Segment::null(u16::from(new_cpl));
    }
    let selector = gate.selector & !3 | u16::from(new_cpl);
    cpu.state.segmentation.segments[seg::CS as usize] = Segment {
        selector,
        rights: segment.rights | 1,
        ..segment
    };
    cpu.state.cpl = new_cpl;
    enter_flags(cpu, gate.masks);
    state::changed(cpu);
    cpu.pc = gate.offset;
    Ok(())
}
