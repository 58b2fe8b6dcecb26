//! FXSAVE, FXRSTOR and the XSAVE family (SDM vol. 1, 10.5 and chapter 13; vol. 2).
//!
//! The x87's pointers are saved only while an exception waits, as AMD has it; zeros else. XSAVES and
//! XRSTORS are absent: #UD.

use super::controls::privileged;
use super::operand::{self, linear, offset};
use super::{Operands, mode, refuse, system};
use crate::exceptions::{self, Fault, vector};
use crate::fp::mxcsr;
use crate::fpu::Needs;
use crate::regs::{RAX, RCX, RDX};
use crate::state::{self, cr4, xcr0};
use crate::xsave::{
    self, Area, COMPACTED, HEADER, Layout, MXCSR, PKRU, Pointers, SIZE, ST, XMM, YMM,
};
use crate::{Cpu, X86};
use iced_x86::{Instruction, Mnemonic};
use std::ops::Range;
use understudy_engine::arch::Def;
use understudy_engine::def;
use understudy_engine::emit::{Effects, Emit, Helper, SlotSet, Stop};

const GP: Fault = Fault::with_code(vector::GP, 0);

/// What is done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Op {
    Fxsave,
    Fxrstor,
    Xsave,
    Xsaveopt,
    Xsavec,
    Xrstor,
}

const OPERATIONS: [Op; 6] = [
    Op::Fxsave,
    Op::Fxrstor,
    Op::Xsave,
    Op::Xsaveopt,
    Op::Xsavec,
    Op::Xrstor,
];

/// The instruction has a REX.W prefix.
const WIDE: u64 = 1 << 8;

/// The operand in memory.
struct Image<'a> {
    cpu: &'a mut Cpu,
    address: u64,
    via: u8,
    /// What is loaded is then written.
    writes: bool,
}

impl Image<'_> {
    /// Loads bytes, a multiple of 8.
    fn load(&mut self, area: &mut Area, range: Range<usize>) -> Result<(), Stop> {
        for at in range.step_by(8) {
            let address = self.address.wrapping_add(at as u64);
            let value = operand::load(self.cpu, address, 3, self.via, self.writes)?;
            area[at..at + 8].copy_from_slice(&value.to_le_bytes());
        }
        Ok(())
    }

    fn store(&mut self, area: &Area, range: Range<usize>) -> Result<(), Stop> {
        for at in range.step_by(8) {
            let address = self.address.wrapping_add(at as u64);
            operand::store(self.cpu, address, xsave::word(area, at), 3, self.via)?;
        }
        Ok(())
    }

    /// The vector registers that this mode has.
    fn registers(&self) -> u8 {
        if self.cpu.state.code64() { 16 } else { 8 }
    }

    fn layout(&self, wide: bool) -> Layout {
        Layout {
            pointers: if wide {
                Pointers::Wide
            } else {
                Pointers::Selectors
            },
            registers: self.registers(),
            hides_pointers: true,
            pkru: PKRU,
        }
    }

    /// Where components are, MXCSR aside.
    fn places(
        &self,
        components: u64,
        layout: Layout,
    ) -> impl Iterator<Item = Range<usize>> + use<> {
        let vectors = 16 * usize::from(self.registers());
        let places = [
            (xcr0::X87, 0..MXCSR),
            (xcr0::X87, ST..XMM),
            (xcr0::SSE, XMM..XMM + vectors),
            (xcr0::AVX, YMM..YMM + vectors),
            (xcr0::PKRU, layout.pkru..layout.pkru + 8),
        ];
        let chosen = move |(component, place)| (components & component != 0).then_some(place);
        places.into_iter().filter_map(chosen)
    }

    fn save(&mut self, op: Op, wide: bool) -> Result<(), Stop> {
        let mut area = [0; SIZE];
        let mut layout = self.layout(wide);
        let state = &self.cpu.state;
        if op == Op::Fxsave {
            // Without CR4.OSFXSR it knows nothing of SSE.
            let sse = state.cr4 & cr4::OSFXSR != 0;
            let components = if sse {
                xcr0::X87 | xcr0::SSE
            } else {
                xcr0::X87
            };
            xsave::save(self.cpu, &mut area, components, layout);
            xsave::save_mxcsr(self.cpu, &mut area);
            for place in self.places(components, layout) {
                self.store(&area, place)?;
            }
            if sse {
                self.store(&area, MXCSR..ST)?;
            }
            return Ok(());
        }
        let wanted = requested(self.cpu);
        let mut used = xsave::in_use(self.cpu);
        if op == Op::Xsavec {
            layout.pkru = xsave::compacted_pkru(wanted);
            if self.cpu.state.mxcsr != mxcsr::RESET {
                used |= xcr0::SSE;
            }
        }
        let saved = if op == Op::Xsave {
            wanted
        } else {
            wanted & used
        };
        xsave::save(self.cpu, &mut area, saved, layout);
        xsave::save_mxcsr(self.cpu, &mut area);
        let mut header = [0; SIZE];
        if op != Op::Xsavec {
            self.load(&mut header, HEADER..HEADER + 8)?;
        }
        for place in self.places(saved, layout) {
            self.store(&area, place)?;
        }
        let with_mxcsr = if op == Op::Xsavec {
            saved & xcr0::SSE
        } else {
            wanted & (xcr0::SSE | xcr0::AVX)
        };
        if with_mxcsr != 0 {
            self.store(&area, MXCSR..ST)?;
        }
        let old = xsave::word(&header, HEADER);
        let present = old & !wanted | wanted & used;
        area[HEADER..HEADER + 8].copy_from_slice(&present.to_le_bytes());
        let mut end = HEADER + 8;
        if op == Op::Xsavec {
            let format = wanted | COMPACTED;
            area[end..end + 8].copy_from_slice(&format.to_le_bytes());
            end += 8;
        }
        self.store(&area, HEADER..end)
    }

    fn fxrstor(&mut self, wide: bool) -> Result<(), Stop> {
        let mut area = [0; SIZE];
        let layout = self.layout(wide);
        let sse = self.cpu.state.cr4 & cr4::OSFXSR != 0;
        let components = if sse {
            xcr0::X87 | xcr0::SSE
        } else {
            xcr0::X87
        };
        for place in self
            .places(components, layout)
            .chain(std::iter::once(MXCSR..ST))
        {
            self.load(&mut area, place)?;
        }
        if sse {
            self.cpu.state.mxcsr = self.mxcsr(&area)?;
        }
        xsave::restore(self.cpu, &area, components, components, layout);
        Ok(())
    }

    /// MXCSR as the area has it, or #GP.
    fn mxcsr(&mut self, area: &Area) -> Result<u32, Stop> {
        match xsave::mxcsr_of(area) {
            Some(value) => Ok(value),
            None => Err(exceptions::raise(self.cpu, GP)),
        }
    }

    fn xrstor(&mut self, wide: bool) -> Result<(), Stop> {
        let mut area = [0; SIZE];
        let mut layout = self.layout(wide);
        self.load(&mut area, HEADER..YMM)?;
        let (present, format) = (xsave::word(&area, HEADER), xsave::word(&area, HEADER + 8));
        let compacted = format & COMPACTED != 0;
        let able = self.cpu.state.xcr0;
        let (may, reserved) = if compacted {
            (format & !COMPACTED, HEADER + 16..YMM)
        } else {
            (able, HEADER + 8..HEADER + 24)
        };
        if may & !able != 0 || present & !may != 0 || area[reserved].iter().any(|byte| *byte != 0) {
            return Err(exceptions::raise(self.cpu, GP));
        }
        if compacted {
            layout.pkru = xsave::compacted_pkru(may);
        }
        let wanted = requested(self.cpu);
        for place in self
            .places(wanted & present, layout)
            .chain(std::iter::once(MXCSR..ST))
        {
            self.load(&mut area, place)?;
        }
        // In the compacted format MXCSR is of SSE.
        let loads = if compacted {
            wanted & present & xcr0::SSE
        } else {
            wanted & (xcr0::SSE | xcr0::AVX)
        };
        if loads != 0 {
            self.cpu.state.mxcsr = self.mxcsr(&area)?;
        } else if compacted && wanted & xcr0::SSE != 0 {
            self.cpu.state.mxcsr = mxcsr::RESET;
        }
        let keys = self.cpu.state.pkru;
        xsave::restore(self.cpu, &area, wanted, present, layout);
        if self.cpu.state.pkru != keys {
            // They count for the next access already.
            self.cpu.leave_after_insn();
        }
        Ok(())
    }
}

/// The components that EDX:EAX asks for, of those that are enabled: RFBM.
fn requested(cpu: &Cpu) -> u64 {
    let asked = cpu.slot(RAX) & 0xffff_ffff | cpu.slot(RDX) << 32;
    asked & cpu.state.xcr0
}

static RUN: Helper<X86> = Helper {
    name: "xsave",
    call: |cpu, [what, address, via, _]| {
        let op = OPERATIONS[(what & 0xff) as usize % OPERATIONS.len()];
        let wide = what & WIDE != 0;
        let legacy = matches!(op, Op::Fxsave | Op::Fxrstor);
        let alignment = if legacy { 16 } else { 64 };
        if !address.is_multiple_of(alignment) {
            return Err(exceptions::raise(cpu, GP));
        }
        let mut image = Image {
            cpu,
            address,
            via: via as u8,
            writes: !matches!(op, Op::Fxrstor | Op::Xrstor),
        };
        match op {
            Op::Fxrstor => image.fxrstor(wide)?,
            Op::Xrstor => image.xrstor(wide)?,
            _ => image.save(op, wide)?,
        }
        state::floating_changed(cpu);
        Ok(0)
    },
    effects: Effects {
        reads: SlotSet::range(0, 3).and(SlotSet::range(32, 96)),
        // Also what is derived of MXCSR.
        writes: SlotSet::range(24, 25).and(SlotSet::range(32, 96)),
        stops: true,
    },
};

fn execute<E: Emit<Arch = X86>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let op = OPERATIONS[(o.imm & 0xff) as usize % OPERATIONS.len()];
    let bytes = match op {
        Op::Fxsave | Op::Fxrstor => xsave::LEGACY,
        _ => YMM,
    };
    let writes = !matches!(op, Op::Fxrstor | Op::Xrstor);
    let offset = offset(e, o);
    let at = linear(e, o.via, offset, bytes as u64, writes)?;
    let (what, via) = (e.imm(o.imm), e.imm(u64::from(o.via)));
    e.call(&RUN, &[what, at, via])?;
    Ok(())
}

fn read_xcr(cpu: &mut Cpu) -> Result<u64, Stop> {
    let value = match cpu.slot(RCX) as u32 {
        0 => cpu.state.xcr0,
        1 => cpu.state.xcr0 & xsave::in_use(cpu),
        _ => return Err(exceptions::raise(cpu, GP)),
    };
    cpu.set_slot(RAX, value & 0xffff_ffff);
    cpu.set_slot(RDX, value >> 32);
    Ok(0)
}

fn write_xcr(cpu: &mut Cpu) -> Result<u64, Stop> {
    privileged(cpu)?;
    let value = cpu.slot(RAX) & 0xffff_ffff | cpu.slot(RDX) << 32;
    let result = match cpu.slot(RCX) as u32 {
        0 => xsave::set_xcr0(cpu, value),
        _ => Err(GP),
    };
    super::controls::done(cpu, result)
}

static XCR: Helper<X86> = Helper {
    name: "xcr",
    call: |cpu, [write, ..]| {
        if write != 0 {
            write_xcr(cpu)
        } else {
            read_xcr(cpu)
        }
    },
    effects: Effects::ANY,
};

/// XGETBV, or XSETBV.
fn xcr<E: Emit<Arch = X86>, const WRITE: bool>(e: &mut E, _: &Operands) -> Result<(), E::Stop> {
    let write = e.imm(u64::from(WRITE));
    e.call(&XCR, &[write])?;
    e.end_block();
    Ok(())
}

/// The semantics of one of these instructions, if it is one.
pub(super) fn definition(
    in_mode: u32,
    insn: &Instruction,
    o: &mut Operands,
) -> Option<&'static Def<X86>> {
    use Mnemonic as M;
    let undefined = || def!(X86, "(undefined)", system::undefined, ends);
    let (op, wide) = match insn.mnemonic() {
        M::Fxsave => (Op::Fxsave, false),
        M::Fxsave64 => (Op::Fxsave, true),
        M::Fxrstor => (Op::Fxrstor, false),
        M::Fxrstor64 => (Op::Fxrstor, true),
        M::Xsave => (Op::Xsave, false),
        M::Xsave64 => (Op::Xsave, true),
        M::Xsaveopt => (Op::Xsaveopt, false),
        M::Xsaveopt64 => (Op::Xsaveopt, true),
        M::Xsavec => (Op::Xsavec, false),
        M::Xsavec64 => (Op::Xsavec, true),
        M::Xrstor => (Op::Xrstor, false),
        M::Xrstor64 => (Op::Xrstor, true),
        M::Xsaves | M::Xsaves64 | M::Xrstors | M::Xrstors64 => return Some(undefined()),
        M::Xgetbv | M::Xsetbv if in_mode & mode::XSAVE == 0 => return Some(undefined()),
        M::Xgetbv => return Some(def!(X86, "XGETBV", xcr, [false], ends)),
        M::Xsetbv => return Some(def!(X86, "XSETBV", xcr, [true], ends)),
        _ => return None,
    };
    let needs = if matches!(op, Op::Fxsave | Op::Fxrstor) {
        Needs::Fxsave
    } else {
        Needs::Xsave
    };
    if let Some(refused) = refuse::refused(in_mode, needs) {
        return Some(refused);
    }
    o.imm = op as u64 | if wide { WIDE } else { 0 };
    Some(def!(X86, "XSAVE", execute))
}
