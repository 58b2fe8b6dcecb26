//! What hiding a feature is worth: a guest that uses LSE atomics in a VM whose ID registers say that
//! there are none, once in each [`Fidelity`].

use super::{guest::RAM, machine};
use crate::error::{Error, named};
use std::io::Write;
use understudy_abi::arm64::reg;
use understudy_kvm::{Fidelity, Kvm, VcpuExit};

/// Memory for the atomics.
const COUNTER: u64 = RAM + 0x1000;
/// Offset of the vector for exceptions of the current level, on SP_ELx.
const VECTOR: u64 = 0x200;
/// No memory: a store there leaves the guest.
const EXIT: u64 = 0x0900_0000;
const TURNS: u64 = 5000;

const ID_AA64ISAR0_EL1: u64 = reg::sys_reg(3, 0, 0, 6, 0);
const ESR_EL1: u64 = reg::sys_reg(3, 0, 5, 2, 0);
const VBAR_EL1: u64 = reg::sys_reg(3, 0, 12, 0, 0);
/// ID_AA64ISAR0_EL1.Atomic.
const ATOMIC: u64 = 0xf << 20;

/// STR X1, [X2]
const STORE: u32 = 0xf900_0041;
/// LDADD X1, X3, [X4]; SUBS X5, X5, #1; B.NE .-8
const CODE: [u32; 4] = [0xf821_0083, 0xf100_04a5, 0x54ff_ffc1, STORE];

/// Runs the guest, and prints what came of it.
///
/// # Errors
///
/// [`Error`].
pub fn run(out: &mut impl Write) -> Result<(), Error> {
    writeln!(
        out,
        "ID_AA64ISAR0_EL1.Atomic is 0, and the guest runs LDADD X1, X3, [X4] {TURNS} times"
    )?;
    for (name, fidelity) in Fidelity::ALL {
        for (i, line) in outcome(*fidelity)?.iter().enumerate() {
            let name = if i == 0 { name } else { "" };
            writeln!(out, "   {name:<8} {line}")?;
        }
    }
    Ok(())
}

/// What the guest does, in lines.
fn outcome(fidelity: Fidelity) -> Result<Vec<String>, Error> {
    let kvm = named("opening KVM", Kvm::new())?.with_fidelity(fidelity);
    let mut image = vec![0; VECTOR as usize + 4];
    for (to, word) in image.chunks_exact_mut(4).zip(CODE) {
        to.copy_from_slice(&word.to_le_bytes());
    }
    image[VECTOR as usize..].copy_from_slice(&STORE.to_le_bytes());
    let mut machine = machine(&kvm, &image, RAM)?;
    let vcpu = &mut machine.vcpu;
    let get = |vcpu: &understudy_kvm::VcpuFd, id| {
        let mut value = [0; 8];
        named("KVM_GET_ONE_REG", vcpu.get_one_reg(id, &mut value))?;
        Ok::<_, Error>(u64::from_le_bytes(value))
    };
    let isar0 = get(vcpu, ID_AA64ISAR0_EL1)?;
    for (id, value) in [
        (ID_AA64ISAR0_EL1, isar0 & !ATOMIC),
        (VBAR_EL1, RAM),
        (reg::core::x(1), 1),
        (reg::core::x(2), EXIT),
        (reg::core::x(4), COUNTER),
        (reg::core::x(5), TURNS),
    ] {
        named(
            "KVM_SET_ONE_REG",
            vcpu.set_one_reg(id, &value.to_le_bytes()),
        )?;
    }
    match named("KVM_RUN", vcpu.run())? {
        VcpuExit::MmioWrite(EXIT, _) => {}
        other => return Err(Error::Unexpected(format!("{other:?}"))),
    }
    let first = if get(vcpu, reg::core::PC)? == RAM + VECTOR {
        let (esr, elr) = (get(vcpu, ESR_EL1)?, get(vcpu, reg::core::ELR_EL1)?);
        format!("undefined: ESR_EL1 {esr:#010x}, ELR_EL1 {elr:#x}")
    } else {
        format!("has run {} times", TURNS - get(vcpu, reg::core::x(5))?)
    };
    let uses = kvm.uses().into_iter().map(|used| used.to_string());
    Ok([first].into_iter().chain(uses).collect())
}

#[cfg(test)]
mod tests {
    #[test]
    fn each_fidelity_does_what_it_says() {
        let mut out = Vec::new();
        super::run(&mut out).expect("it can be shown");
        let text = String::from_utf8(out).expect("it is text");
        let expected = [
            "kvm      has run 5000 times",
            "strict   undefined: ESR_EL1 0x02000000, ELR_EL1 0x40000000",
            "report   has run 5000 times",
            "LDADD (0xf8210083) at 0x40000000, FEAT_LSE (Atomic): 5000 times",
        ];
        for line in expected {
            assert!(text.contains(line), "{line} is not in:\n{text}");
        }
    }
}
