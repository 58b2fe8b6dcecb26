//! The state of floating point as memory and user space have it: the FXSAVE image and the XSAVE area
//! (SDM vol. 1, 10.5 and chapter 13; AMD APM vol. 2, 11.5), and `struct kvm_fpu` (KVM API 4.22 and 4.23,
//! "KVM_GET_FPU").
//!
//! ```text
//!     0  FCW FSW FTW FOP FIP FDP, MXCSR and its mask at 24
//!    32  ST(0) to ST(7), 16 bytes each
//!   160  XMM0 to XMM15
//!   512  header: XSTATE_BV, XCOMP_BV, zeros
//!   576  upper halves of YMM0 to YMM15; in either format
//!   832  PKRU; where a compacted area has no AVX, at 576
//! ```

use crate::exceptions::{Fault, vector};
use crate::fp::{F80, mxcsr};
use crate::regs::ymm;
use crate::state::xcr0;
use crate::{Cpu, cpuid, mmu, state};

/// Bytes of the whole area.
pub const SIZE: usize = PKRU + 8;
/// Bytes of the part that FXSAVE has.
pub const LEGACY: usize = 512;
/// Bytes of `struct kvm_fpu`.
pub const KVM_FPU: usize = 416;
/// The state components that there are.
pub const COMPONENTS: u64 = xcr0::X87 | xcr0::SSE | xcr0::AVX | xcr0::PKRU;

/// Where MXCSR is, and its mask after it.
pub(crate) const MXCSR: usize = 24;
/// Where the stack's registers are.
pub(crate) const ST: usize = 32;
/// Where the XMM registers are.
pub(crate) const XMM: usize = 160;
/// Where the header is.
pub(crate) const HEADER: usize = 512;
/// Where the upper halves of the YMM registers are.
pub(crate) const YMM: usize = 576;
/// Where PKRU is, in the format that is not compacted.
pub(crate) const PKRU: usize = 832;
/// XCOMP_BV: the area is compacted.
pub(crate) const COMPACTED: u64 = 1 << 63;

/// The area as bytes.
pub type Area = [u8; SIZE];

/// User space has given what KVM refuses (`EINVAL`). Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invalid;

fn put<const N: usize>(area: &mut [u8], at: usize, bytes: [u8; N]) {
    if let Some(to) = area.get_mut(at..at + N) {
        to.copy_from_slice(&bytes);
    }
}

fn get<const N: usize>(area: &[u8], at: usize) -> [u8; N] {
    let mut bytes = [0; N];
    if let Some(from) = area.get(at..at + N) {
        bytes.copy_from_slice(from);
    }
    bytes
}

/// Eight bytes of an area as a number.
pub fn word(area: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(get(area, at))
}

/// How the x87's pointers are in the image.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Pointers {
    /// Offsets of 64 bits.
    Wide,
    /// Offsets of 32 bits, and selectors.
    Selectors,
}

/// The x87, but for its pointers.
fn put_x87(cpu: &Cpu, area: &mut [u8]) {
    let fpu = &cpu.state.fpu;
    put(area, 0, fpu.control.to_le_bytes());
    put(area, 2, fpu.status_word().to_le_bytes());
    put(area, 4, [fpu.valid, 0]);
    for n in 0..8u8 {
        let value = fpu.st[fpu.index(n)];
        put(area, ST + 16 * usize::from(n), value.to_bytes());
    }
}

fn put_pointers(cpu: &Cpu, area: &mut [u8], pointers: Pointers) {
    let fpu = &cpu.state.fpu;
    put(area, 6, fpu.opcode.to_le_bytes());
    for (at, offset, selector) in [(8, fpu.ip, fpu.cs), (16, fpu.dp, fpu.ds)] {
        let value = match pointers {
            Pointers::Wide => offset,
            Pointers::Selectors => u64::from(offset as u32) | u64::from(selector) << 32,
        };
        put(area, at, value.to_le_bytes());
    }
}

fn take_x87(cpu: &mut Cpu, area: &[u8], pointers: Pointers) {
    let fpu = &mut cpu.state.fpu;
    fpu.set_control_word(u16::from_le_bytes(get(area, 0)));
    fpu.set_status_word(u16::from_le_bytes(get(area, 2)));
    fpu.valid = get::<1>(area, 4)[0];
    fpu.opcode = u16::from_le_bytes(get(area, 6)) & 0x7ff;
    let (ip, dp) = (word(area, 8), word(area, 16));
    match pointers {
        Pointers::Wide => {
            // As many bits as addresses have.
            let canonical = |address: u64| ((address << 16) as i64 >> 16) as u64;
            (fpu.ip, fpu.dp) = (canonical(ip), canonical(dp));
            (fpu.cs, fpu.ds) = (0, 0);
        }
        Pointers::Selectors => {
            (fpu.ip, fpu.dp) = (ip & 0xffff_ffff, dp & 0xffff_ffff);
            (fpu.cs, fpu.ds) = ((ip >> 32) as u16, (dp >> 32) as u16);
        }
    }
    for n in 0..8u8 {
        let index = fpu.index(n);
        fpu.st[index] = F80::from_bytes(get(area, ST + 16 * usize::from(n)));
    }
}

/// One half of each YMM register, at 16 bytes each.
fn put_halves(cpu: &Cpu, area: &mut [u8], at: usize, upper: bool, registers: u8) {
    for n in 0..registers {
        let slot = ymm(n).index() + 2 * usize::from(upper);
        let to = at + 16 * usize::from(n);
        put(area, to, cpu.regs[slot].to_le_bytes());
        put(area, to + 8, cpu.regs[slot + 1].to_le_bytes());
    }
}

fn take_halves(cpu: &mut Cpu, area: &[u8], at: usize, upper: bool, registers: u8) {
    for n in 0..registers {
        let slot = ymm(n).index() + 2 * usize::from(upper);
        let from = at + 16 * usize::from(n);
        cpu.regs[slot] = word(area, from);
        cpu.regs[slot + 1] = word(area, from + 8);
    }
}

/// The state components that are not as they are initially: XINUSE (SDM vol. 1, 13.6). MXCSR is none.
pub fn in_use(cpu: &Cpu) -> u64 {
    let mut used = 0;
    let mut initial = cpu.state.fpu.clone();
    initial.init();
    initial.st = [F80::default(); 8];
    if cpu.state.fpu != initial {
        used |= xcr0::X87;
    }
    let zero = |first: usize| {
        (0..16).all(|n| {
            let slot = ymm(n).index() + first;
            cpu.regs[slot] | cpu.regs[slot + 1] == 0
        })
    };
    if !zero(0) {
        used |= xcr0::SSE;
    }
    if !zero(2) {
        used |= xcr0::AVX;
    }
    if cpu.state.pkru != 0 {
        used |= xcr0::PKRU;
    }
    used
}

/// What an image has besides its components.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    pub(crate) pointers: Pointers,
    /// How many of the vector registers.
    pub(crate) registers: u8,
    /// The x87's pointers are given only while an exception waits.
    pub(crate) hides_pointers: bool,
    /// Where PKRU is.
    pub(crate) pkru: usize,
}

impl Layout {
    /// All registers, and offsets of 64 bits, as the kernel saves them.
    const KERNEL: Layout = Layout {
        pointers: Pointers::Wide,
        registers: 16,
        hides_pointers: false,
        pkru: PKRU,
    };
}

/// Where PKRU is in a compacted area that has these components (SDM vol. 1, 13.4.3).
pub(crate) const fn compacted_pkru(components: u64) -> usize {
    if components & xcr0::AVX != 0 {
        PKRU
    } else {
        YMM
    }
}

/// Writes components into an area.
pub(crate) fn save(cpu: &Cpu, area: &mut Area, components: u64, layout: Layout) {
    if components & xcr0::X87 != 0 {
        put_x87(cpu, area);
        if !layout.hides_pointers || cpu.state.fpu.pending() {
            put_pointers(cpu, area, layout.pointers);
        }
    }
    if components & xcr0::SSE != 0 {
        put_halves(cpu, area, XMM, false, layout.registers);
    }
    if components & xcr0::AVX != 0 {
        put_halves(cpu, area, YMM, true, layout.registers);
    }
    if components & xcr0::PKRU != 0 {
        put(area, layout.pkru, u64::from(cpu.state.pkru).to_le_bytes());
    }
}

/// MXCSR and its mask.
pub(crate) fn save_mxcsr(cpu: &Cpu, area: &mut Area) {
    put(area, MXCSR, cpu.state.mxcsr.to_le_bytes());
    put(area, MXCSR + 4, mxcsr::MASK.to_le_bytes());
}

/// Takes the components that are both in `wanted` and in `present` from an area; those that are not
/// present become as they are initially.
pub(crate) fn restore(cpu: &mut Cpu, area: &Area, wanted: u64, present: u64, layout: Layout) {
    const ZEROS: Area = [0; SIZE];
    let from = |component| {
        if present & component != 0 {
            area
        } else {
            &ZEROS
        }
    };
    if wanted & xcr0::X87 != 0 {
        take_x87(cpu, from(xcr0::X87), layout.pointers);
        if present & xcr0::X87 == 0 {
            cpu.state.fpu.init();
        }
    }
    if wanted & xcr0::SSE != 0 {
        take_halves(cpu, from(xcr0::SSE), XMM, false, layout.registers);
    }
    if wanted & xcr0::AVX != 0 {
        take_halves(cpu, from(xcr0::AVX), YMM, true, layout.registers);
    }
    if wanted & xcr0::PKRU != 0 {
        let value = word(from(xcr0::PKRU), layout.pkru) as u32;
        if value != cpu.state.pkru {
            cpu.state.pkru = value;
            mmu::flush(cpu);
        }
    }
}

/// MXCSR as an area has it, if it may be loaded: no bit may be set that is not there.
pub(crate) fn mxcsr_of(area: &[u8]) -> Option<u32> {
    let value = u32::from_le_bytes(get(area, MXCSR));
    (value & !mxcsr::MASK == 0).then_some(value)
}

/// The components that this vCPU may have in XCR0, by its CPUID (leaf 0xd, index 0: EAX).
pub fn supported(cpu: &Cpu) -> u64 {
    let [low, ..] = cpuid::query(cpu, 0xd, 0);
    u64::from(low) & COMPONENTS
}

/// Writes XCR0 as XSETBV and `KVM_SET_XCRS` do (SDM vol. 1, 13.3; KVM API 4.45): the x87 always has to
/// be there, AVX needs SSE, and CPUID has to have them.
///
/// # Errors
///
/// #GP; for `KVM_SET_XCRS`, `EINVAL`.
pub fn set_xcr0(cpu: &mut Cpu, value: u64) -> Result<(), Fault> {
    let allowed = supported(cpu) | xcr0::X87;
    let lonely = value & xcr0::AVX != 0 && value & xcr0::SSE == 0;
    if value & xcr0::X87 == 0 || lonely || value & !allowed != 0 {
        return Err(Fault::with_code(vector::GP, 0));
    }
    cpu.state.xcr0 = value;
    state::changed(cpu);
    Ok(())
}

/// Bytes of an area with these components that is not compacted (CPUID leaf 0xd, index 0: EBX).
pub const fn size(components: u64) -> u32 {
    if components & xcr0::PKRU != 0 {
        SIZE as u32
    } else {
        compacted_pkru(components) as u32
    }
}

/// Bytes of a compacted area with these components (CPUID leaf 0xd, index 1: EBX).
pub const fn compacted_size(components: u64) -> u32 {
    let pkru = components & xcr0::PKRU != 0;
    compacted_pkru(components) as u32 + if pkru { 8 } else { 0 }
}

/// `KVM_GET_FPU`. MXCSR is not given by KVM, and 0 (KVM API 4.22).
pub fn kvm_fpu(cpu: &Cpu) -> [u8; KVM_FPU] {
    let mut area = [0; SIZE];
    save(cpu, &mut area, xcr0::X87 | xcr0::SSE, Layout::KERNEL);
    let mut fpu = [0; KVM_FPU];
    // Registers first; words, with the tags and padding; XMM registers.
    fpu[..128].copy_from_slice(&area[ST..XMM]);
    fpu[128..152].copy_from_slice(&area[..MXCSR]);
    fpu[152..408].copy_from_slice(&area[XMM..XMM + 256]);
    fpu
}

/// `KVM_SET_FPU`. It takes anything; MXCSR stays, as KVM leaves it (KVM API 4.23).
pub fn set_kvm_fpu(cpu: &mut Cpu, fpu: &[u8; KVM_FPU]) {
    let mut area = [0; SIZE];
    area[ST..XMM].copy_from_slice(&fpu[..128]);
    area[..MXCSR].copy_from_slice(&fpu[128..152]);
    area[XMM..XMM + 256].copy_from_slice(&fpu[152..408]);
    let components = xcr0::X87 | xcr0::SSE;
    restore(cpu, &area, components, components, Layout::KERNEL);
    state::changed(cpu);
}

/// `KVM_GET_XSAVE` and `KVM_GET_XSAVE2`: the area's bytes; those after them are 0 (KVM API 4.42). The
/// x87 and SSE are always in it, AVX and PKRU if CPUID has them.
pub fn kvm_xsave(cpu: &Cpu) -> Area {
    let mut area = [0; SIZE];
    let given = supported(cpu) | xcr0::X87 | xcr0::SSE;
    let mut present = in_use(cpu);
    if cpu.state.mxcsr != mxcsr::RESET {
        present |= xcr0::SSE;
    }
    save(cpu, &mut area, given, Layout::KERNEL);
    save_mxcsr(cpu, &mut area);
    // What the kernel's signal frames have there: the features that there may be.
    put(&mut area, 464, COMPONENTS.to_le_bytes());
    put(&mut area, HEADER, (present & given).to_le_bytes());
    area
}

/// `KVM_SET_XSAVE`: takes an area that is not compacted (KVM API 4.43). What it has no component for
/// becomes as it is initially, but for PKRU, which KVM leaves as it is then.
///
/// # Errors
///
/// Components that there are not, another format, bits of MXCSR that there are not.
pub fn set_kvm_xsave(cpu: &mut Cpu, area: &Area) -> Result<(), Invalid> {
    let present = word(area, HEADER);
    let rest = &area[HEADER + 8..YMM];
    if present & !COMPONENTS != 0 || rest.iter().any(|byte| *byte != 0) {
        return Err(Invalid);
    }
    if present != 0 {
        cpu.state.mxcsr = mxcsr_of(area).ok_or(Invalid)?;
    }
    let taken = COMPONENTS & !xcr0::PKRU | present;
    restore(cpu, area, taken, present, Layout::KERNEL);
    state::changed(cpu);
    Ok(())
}
