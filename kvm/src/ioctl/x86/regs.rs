//! `KVM_GET_REGS` (api.rst 4.11) and `KVM_SET_REGS` (4.12): the general registers.

use std::sync::Arc;

use understudy_abi::ioctl::x86::{KVM_GET_REGS, KVM_SET_REGS};
use understudy_abi::x86::kvm_regs;
use understudy_x86::regs::gpr;
use understudy_x86::{Cpu, state};

use crate::errno::Errno;
use crate::table::{Call, Row, row};
use crate::vcpu::Vcpu;
use crate::vcpu::x86::State;

pub(crate) const ROWS: &[Row] = &[
    row!(KVM_GET_REGS: Vcpu get, "the general registers",
        EFAULT "the argument cannot be written"),
    row!(KVM_SET_REGS: Vcpu set, "sets the general registers; an exception that waits is dropped",
        EFAULT "the argument cannot be read"),
];

/// RFLAGS, bit 1: always 1.
const FIXED: u64 = 1 << 1;

/// The registers in the order of their encoding.
fn encoded(regs: &mut kvm_regs) -> [&mut u64; 16] {
    [
        &mut regs.rax,
        &mut regs.rcx,
        &mut regs.rdx,
        &mut regs.rbx,
        &mut regs.rsp,
        &mut regs.rbp,
        &mut regs.rsi,
        &mut regs.rdi,
        &mut regs.r8,
        &mut regs.r9,
        &mut regs.r10,
        &mut regs.r11,
        &mut regs.r12,
        &mut regs.r13,
        &mut regs.r14,
        &mut regs.r15,
    ]
}

fn read(cpu: &Cpu) -> kvm_regs {
    let mut regs = kvm_regs {
        rip: state::rip(cpu),
        ..kvm_regs::default()
    };
    for (number, register) in (0..).zip(encoded(&mut regs)) {
        *register = cpu.slot(gpr(number));
    }
    regs
}

impl State {
    /// What `KVM_GET_REGS` gives.
    pub(crate) fn regs(&self) -> kvm_regs {
        let mut regs = read(self.cpu.cpu());
        regs.rflags = self.cpu.rflags();
        regs
    }

    /// What `KVM_SET_REGS` does.
    pub(crate) fn set_regs(&mut self, regs: &kvm_regs) {
        let mut regs = *regs;
        let cpu = self.cpu.cpu_mut();
        for (number, register) in (0..).zip(encoded(&mut regs)) {
            cpu.set_slot(gpr(number), *register);
        }
        self.cpu.set_rip_and_rflags(regs.rip, regs.rflags | FIXED);
    }
}

fn get(vcpu: &Arc<Vcpu>, call: &Call<'_>) -> Result<i64, Errno> {
    call.write(&vcpu.x86()?.regs())?;
    Ok(0)
}

fn set(vcpu: &Arc<Vcpu>, call: &Call<'_>) -> Result<i64, Errno> {
    let mut state = vcpu.x86()?;
    state.set_regs(&call.read()?);
    Ok(0)
}
