//! Model-specific registers, CPUID and ports (SDM vol. 1, 5.20 and 5.1.9).

use super::controls::privileged;
use super::operand::{read_reg, write_reg};
use super::{Loc, Operands};
use crate::exceptions::{self, Fault, trouble, vector};
use crate::exit::Io;
use crate::msrs::exits;
use crate::regs::{RAX, RBX, RCX, RDX};
use crate::{Cpu, X86, cpuid, debug, hypercalls, io};
use understudy_engine::emit::{Effects, Emit, Helper, Stop};

fn identify(cpu: &mut Cpu) -> Result<u64, Stop> {
    debug::by_kvm(cpu);
    if cpu.state.msrs.misc_features & 1 != 0 && cpu.state.cpl != 0 {
        return Err(exceptions::raise(cpu, Fault::with_code(vector::GP, 0)));
    }
    let values = cpuid::query(cpu, cpu.slot(RAX) as u32, cpu.slot(RCX) as u32);
    for (slot, value) in [RAX, RBX, RCX, RDX].into_iter().zip(values) {
        cpu.set_slot(slot, u64::from(value));
    }
    Ok(0)
}

/// The instructions without operands of this file.
macro_rules! plain {
    ($($(#[$doc:meta])* $static:ident $name:literal $f:ident($call:expr);)*) => {$(
        static $static: Helper<X86> = Helper {
            name: $name,
            call: $call,
            effects: Effects::ANY,
        };
        $(#[$doc])*
        pub fn $f<E: Emit<Arch = X86>>(e: &mut E, _: &Operands) -> Result<(), E::Stop> {
            e.call(&$static, &[])?;
            e.end_block();
            Ok(())
        }
    )*};
}

plain! {
    /// RDMSR.
    RDMSR "rdmsr" rdmsr(|cpu, _| {
        privileged(cpu)?;
        exits::rdmsr(cpu)
    });
    /// WRMSR.
    WRMSR "wrmsr" wrmsr(|cpu, _| {
        privileged(cpu)?;
        exits::wrmsr(cpu)
    });
    /// VMMCALL.
    VMMCALL "vmmcall" vmmcall(|cpu, _| hypercalls::call(cpu));
    /// VMCALL.
    VMCALL "vmcall" vmcall(|cpu, _| Err(hypercalls::fix(cpu)));
    /// CPUID.
    CPUID "cpuid" cpuid(|cpu, _| identify(cpu));
}

static PORT: Helper<X86> = Helper {
    name: "port",
    call: |cpu, [port, how, value, length]| {
        let size = how as u8 & 7;
        let io = Io {
            is_in: how & 8 != 0,
            size,
            port: port as u16,
            count: 1,
            data: value,
        };
        Err(match io::access(cpu, io, length) {
            Ok(stop) => stop,
            Err(error) => trouble(cpu, error),
        })
    },
    effects: Effects::ANY,
};

/// IN, or OUT: the accumulator has the operand's size, and the port is `imm` or in DX.
pub fn port<E: Emit<Arch = X86>, const IN: bool>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let port = if o.c == Loc::IMM {
        e.imm(o.imm & 0xff)
    } else {
        read_reg(e, Loc::reg(2), 1)
    };
    let value = if IN {
        e.imm(0)
    } else {
        read_reg(e, Loc::reg(0), o.size)
    };
    let how = e.imm(1 << o.size | u64::from(IN) << 3);
    let length = e.imm(u64::from(o.length));
    e.call(&PORT, &[port, how, value, length])?;
    e.end_block();
    Ok(())
}

/// Puts what user space has given for an IN into the accumulator.
pub(crate) fn complete(cpu: &mut Cpu, size: u8, value: u64) {
    write_reg(cpu, Loc::reg(0), value, size.trailing_zeros() as u8);
}
