//! Pointer authentication (FEAT_PAuth; Arm ARM D8.10).
//!
//! ```text
//!   63    56 55 54             b b-1            0
//!  ┌────────┬──┬────────────────┬────────────────┐   b = 64 - TxSZ
//!  │ tag or │  │      PAC       │    address     │   the top byte is a tag where it is ignored, else
//!  │  PAC   │  │                │                │   it belongs to the PAC
//!  └────────┴──┴────────────────┴────────────────┘
//! ```
//!
//! What KVM makes of a VM that has not asked for it (HCR_EL2.API and APK clear): an instruction that
//! EL1 has not enabled does nothing, and all others, the keys too, are UNDEFINED (TRAP-8).

pub mod qarma;

use crate::sysregs::Reg;
use crate::sysregs::id::fields::{self, Field};
use crate::{Cpu, exceptions, mmu};
use understudy_engine::emit::Stop;

/// How a PAC is computed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Algorithm {
    /// QARMA5: ID_AA64ISAR1_EL1.APA and GPA.
    #[default]
    Qarma5,
    /// An IMPLEMENTATION DEFINED one, which is quicker here: ID_AA64ISAR1_EL1.API and GPI.
    ImplementationDefined,
}

/// What this part keeps of a vCPU.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PauthState {
    /// The algorithm of the host.
    pub algorithm: Algorithm,
    /// The VM has asked for it: EL2 does not trap it.
    pub offered: bool,
}

/// As for a VM that has it.
impl Default for PauthState {
    fn default() -> Self {
        PauthState {
            algorithm: Algorithm::default(),
            offered: true,
        }
    }
}

impl PauthState {
    /// What a vCPU has that answers the question whether its host's field has at least a value.
    pub fn new(host: impl Fn(&Field, i64) -> bool, offered: bool) -> PauthState {
        let algorithm = match host(&fields::ISAR1_API, 1) {
            true => Algorithm::ImplementationDefined,
            false => Algorithm::Qarma5,
        };
        PauthState { algorithm, offered }
    }
}

/// The keys, as instructions number them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Key {
    /// APIAKey_EL1: instruction addresses.
    Ia = 0,
    /// APIBKey_EL1.
    Ib = 1,
    /// APDAKey_EL1: data addresses.
    Da = 2,
    /// APDBKey_EL1.
    Db = 3,
}

impl Key {
    /// The key of this number, taken modulo 4.
    pub const fn new(number: u32) -> Key {
        match number & 3 {
            0 => Key::Ia,
            1 => Key::Ib,
            2 => Key::Da,
            _ => Key::Db,
        }
    }

    fn data(self) -> bool {
        matches!(self, Key::Da | Key::Db)
    }

    /// The bit of SCTLR_EL1 that enables it: EnIA, EnIB, EnDA, EnDB.
    fn enable(self) -> u64 {
        match self {
            Key::Ia => 1 << 31,
            Key::Ib => 1 << 30,
            Key::Da => 1 << 27,
            Key::Db => 1 << 13,
        }
    }

    /// Its registers, low half and high half.
    fn registers(self) -> (Reg, Reg) {
        match self {
            Key::Ia => (Reg::APIAKEYLO_EL1, Reg::APIAKEYHI_EL1),
            Key::Ib => (Reg::APIBKEYLO_EL1, Reg::APIBKEYHI_EL1),
            Key::Da => (Reg::APDAKEYLO_EL1, Reg::APDAKEYHI_EL1),
            Key::Db => (Reg::APDBKEYLO_EL1, Reg::APDBKEYHI_EL1),
        }
    }
}

/// ComputePAC.
fn compute(cpu: &Cpu, data: u64, modifier: u64, key: (Reg, Reg)) -> u64 {
    let (low, high) = (cpu.state.sys[key.0], cpu.state.sys[key.1]);
    match cpu.state.pauth.algorithm {
        Algorithm::Qarma5 => qarma::qarma5(data, modifier, high, low),
        Algorithm::ImplementationDefined => mix(data, modifier, high, low),
    }
}

/// Rounds of multiplication and folding: no cryptography, but every bit of each input changes about
/// half of the output's.
fn mix(data: u64, modifier: u64, high: u64, low: u64) -> u64 {
    let fold = |a: u64, b: u64| {
        let product = u128::from(a) * u128::from(b);
        product as u64 ^ (product >> 64) as u64
    };
    let a = fold(data ^ high, 0x9e37_79b9_7f4a_7c15) ^ modifier.rotate_left(32);
    let b = fold(a ^ low, 0xd1b5_4a32_d192_ed03) ^ high.rotate_left(17) ^ a;
    fold(b ^ modifier, 0xeb44_acca_b455_d165) ^ b
}

/// Where the PAC of a pointer is.
struct Place {
    /// The top byte is a tag.
    tagged: bool,
    /// The lowest bit of the PAC.
    bottom: u32,
    /// One bit past the highest that the pointer's extension has.
    top: u32,
}

impl Place {
    fn of(cpu: &Cpu, pointer: u64, data: bool) -> Place {
        let (tagged, bottom) = mmu::pointer(cpu, pointer, data);
        let top = if tagged { 56 } else { 64 };
        Place {
            tagged,
            bottom,
            top,
        }
    }

    /// The bits of the extension: those of the PAC, and bit 55.
    fn extension(&self) -> u64 {
        (!0u64 >> (64 - self.top)) & !((1 << self.bottom) - 1)
    }

    /// The pointer with all of them like its bit 55.
    fn extended(&self, pointer: u64) -> u64 {
        match pointer >> 55 & 1 {
            0 => pointer & !self.extension(),
            _ => pointer | self.extension(),
        }
    }

    /// The bits of the PAC.
    fn pac(&self) -> u64 {
        self.extension() & !(1 << 55)
    }
}

/// Whether an instruction of the key is to do its work. If not it changes nothing.
///
/// # Errors
/// EL1 has enabled it, and the VM does not have it.
fn enabled(cpu: &mut Cpu, key: Key) -> Result<bool, Stop> {
    if cpu.state.sys[Reg::SCTLR_EL1] & key.enable() == 0 {
        return Ok(false);
    }
    present(cpu)?;
    Ok(true)
}

/// # Errors
/// The VM does not have pointer authentication.
fn present(cpu: &mut Cpu) -> Result<(), Stop> {
    match cpu.state.pauth.offered {
        true => Ok(()),
        false => Err(exceptions::undefined(cpu)),
    }
}

/// AddPACIA and the like: the pointer with its PAC.
pub fn sign(cpu: &mut Cpu, pointer: u64, modifier: u64, key: Key) -> Result<u64, Stop> {
    if !enabled(cpu, key)? {
        return Ok(pointer);
    }
    // A tagged pointer is in the half that bit 55 says, another in the one that bit 63 says.
    let tagged = mmu::any_tag(cpu, key.data());
    let half = if tagged { pointer << 8 } else { pointer } as i64 >> 63;
    let place = Place::of(cpu, half as u64, key.data());
    let extension = place.extension();
    let canonical = pointer & !extension | half as u64 & extension;
    let mut pac = compute(cpu, canonical, modifier, key.registers());
    let found = pointer & extension;
    if found != 0 && found != extension {
        // What was no address gets a PAC that is none.
        pac ^= 1 << (place.top - 2);
    }
    let kept = half as u64 & 1 << 55 | pointer & !extension;
    Ok(pac & place.pac() | kept)
}

/// AuthIA and the like: the pointer without its PAC; with an error code in its extension if that was
/// not the pointer's.
pub fn authenticate(cpu: &mut Cpu, pointer: u64, modifier: u64, key: Key) -> Result<u64, Stop> {
    if !enabled(cpu, key)? {
        return Ok(pointer);
    }
    let place = Place::of(cpu, pointer, key.data());
    let original = place.extended(pointer);
    let pac = compute(cpu, original, modifier, key.registers());
    if (pac ^ pointer) & place.pac() == 0 {
        return Ok(original);
    }
    let (code, low) = match (key, place.tagged) {
        (Key::Ia | Key::Da, true) => (0b01, 53),
        (Key::Ib | Key::Db, true) => (0b10, 53),
        (Key::Ia | Key::Da, false) => (0b01, 61),
        (Key::Ib | Key::Db, false) => (0b10, 61),
    };
    Ok(original & !(0b11 << low) | code << low)
}

/// Strip: the pointer without its PAC, whatever that was.
pub fn strip(cpu: &mut Cpu, pointer: u64, data: bool) -> Result<u64, Stop> {
    present(cpu)?;
    Ok(Place::of(cpu, pointer, data).extended(pointer))
}

/// AddPACGA: the upper half of the PAC of any data, with APGAKey_EL1.
pub fn generic(cpu: &mut Cpu, data: u64, modifier: u64) -> Result<u64, Stop> {
    present(cpu)?;
    let key = (Reg::APGAKEYLO_EL1, Reg::APGAKEYHI_EL1);
    Ok(compute(cpu, data, modifier, key) & !0xffff_ffff)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each bit of data, modifier and keys changes many of the result.
    #[test]
    fn the_quick_algorithm_spreads() {
        let inputs = [0x1234_5678, 0x42, 0x1111_2222_3333_4444, 0x5555];
        let base = mix(inputs[0], inputs[1], inputs[2], inputs[3]);
        for input in 0..4 {
            for bit in 0..64 {
                let mut other = inputs;
                other[input] ^= 1 << bit;
                let changed = mix(other[0], other[1], other[2], other[3]) ^ base;
                assert!(changed.count_ones() > 8, "{input} {bit}: {changed:x}");
            }
        }
    }
}
