//! Segment registers, descriptor tables, and transfers between segments (SDM vol. 1, 5.1.7, 5.1.11
//! and 5.20).

use super::controls::{UMIP, privileged};
use super::operand::{
    address, linear, load, offset, push_value, read, set_stack_pointer, stack_value, store, write,
    write_reg, zx,
};
use super::system::undefined_here;
use super::{Loc, Operands, mode};
use crate::exceptions::{self, Fault, Trouble, trouble, vector};
use crate::regs::{FS_BASE, GS_BASE, RSP};
use crate::segments::Table;
use crate::state::cr4;
use crate::transfers::{self, fast};
use crate::{Cpu, X86, descriptors, mmu};
use understudy_engine::emit::{Effects, Emit, Helper, Stop};

/// What a helper gives for a result: nothing, or the way out.
fn result(cpu: &mut Cpu, result: Result<(), Trouble>) -> Result<u64, Stop> {
    match result {
        Ok(()) => Ok(0),
        Err(error) => Err(trouble(cpu, error)),
    }
}

/// The same for a transfer, which always goes on elsewhere.
fn gone(cpu: &mut Cpu, result: Result<(), Trouble>) -> Result<u64, Stop> {
    match result {
        Ok(()) => Err(Stop::Redirect),
        Err(error) => Err(trouble(cpu, error)),
    }
}

static SELECTOR: Helper<X86> = Helper {
    name: "selector",
    call: |cpu, [number, ..]| Ok(selector(cpu, number)),
    effects: Effects::ANY,
};

/// The visible part of a segment register; from 6 on of LDTR and TR.
fn selector(cpu: &Cpu, number: u64) -> u64 {
    let state = &cpu.state;
    u64::from(match number {
        6 => state.segmentation.ldtr.selector,
        7 => state.segmentation.tr.selector,
        number => state.segmentation.segments[number as usize % 6].selector,
    })
}

static LOAD: Helper<X86> = Helper {
    name: "load_segment",
    call: |cpu, [number, selector, ..]| {
        let loaded = descriptors::load(cpu, number as u8, selector as u16);
        result(cpu, loaded)
    },
    effects: Effects::ANY,
};

/// MOV from a segment register, whose number is `imm`: 16 bits into memory.
pub fn mov_from<E: Emit<Arch = X86>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let number = e.imm(o.imm);
    let value = e.call(&SELECTOR, &[number])?;
    let size = if o.a == Loc::MEM { 1 } else { o.size };
    write(e, o, o.a, value, size)
}

/// MOV to a segment register.
pub fn mov_to<E: Emit<Arch = X86>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let value = read(e, o, o.b, 1)?;
    let number = e.imm(o.imm);
    e.call(&LOAD, &[number, value])?;
    e.end_block();
    Ok(())
}

/// PUSH of a segment register.
pub fn push<E: Emit<Arch = X86>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let number = e.imm(o.imm);
    let value = e.call(&SELECTOR, &[number])?;
    let pointer = push_value(e, value, o.size)?;
    set_stack_pointer(e, pointer);
    Ok(())
}

/// POP of a segment register.
pub fn pop<E: Emit<Arch = X86>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let value = stack_value(e, 0, o.size)?;
    let value = zx(e, value, 1);
    let pointer = e.get(RSP);
    let number = e.imm(o.imm);
    // In the mode of the block, as SS.B may be another afterwards.
    e.call(&LOAD, &[number, value])?;
    let above = e.add_imm(pointer, 1 << o.size);
    set_stack_pointer(e, above);
    e.end_block();
    Ok(())
}

/// LDS, LES, LFS, LGS and LSS.
pub fn load_pointer<E: Emit<Arch = X86>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let (value, selector) = far_pointer(e, o)?;
    let number = e.imm(o.imm);
    e.call(&LOAD, &[number, selector])?;
    write_reg(e, o.a, value, o.size);
    e.end_block();
    Ok(())
}

/// A pointer in memory: offset, selector.
fn far_pointer<E: Emit<Arch = X86>>(e: &mut E, o: &Operands) -> Result<(E::Val, E::Val), E::Stop> {
    let offset = offset(e, o);
    let at = linear(e, o.via, offset, (1 << o.size) + 2, false)?;
    let pointer = load(e, at, o.size, o.via, false)?;
    let above = e.add_imm(at, 1 << o.size);
    let selector = load(e, above, 1, o.via, false)?;
    Ok((pointer, selector))
}

static JUMP: Helper<X86> = Helper {
    name: "far_jump",
    call: |cpu, [selector, rip, ..]| {
        let jumped = transfers::jump(cpu, selector as u16, rip);
        gone(cpu, jumped)
    },
    effects: Effects::ANY,
};

static CALL: Helper<X86> = Helper {
    name: "far_call",
    call: |cpu, [selector, rip, size, length]| {
        let called = transfers::call(cpu, selector as u16, rip, size as u8, length);
        gone(cpu, called)
    },
    effects: Effects::ANY,
};

/// A far JMP or CALL, to a pointer in memory, or to that in `imm`, with the selector in `disp`.
pub fn far<E: Emit<Arch = X86>, const CALLS: bool>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let (rip, selector) = if o.a == Loc::MEM {
        far_pointer(e, o)?
    } else {
        (e.imm(o.imm), e.imm(o.disp))
    };
    if CALLS {
        let (size, length) = (e.imm(u64::from(o.size)), e.imm(u64::from(o.length)));
        e.call(&CALL, &[selector, rip, size, length])?;
    } else {
        e.call(&JUMP, &[selector, rip])?;
    }
    e.end_block();
    Ok(())
}

/// Instructions whose helper takes the size of the operand, the immediate and the length.
macro_rules! leaves {
    ($($(#[$doc:meta])* $static:ident $name:literal $f:ident($call:expr);)*) => {$(
        static $static: Helper<X86> = Helper {
            name: $name,
            call: $call,
            effects: Effects::ANY,
        };
        $(#[$doc])*
        pub fn $f<E: Emit<Arch = X86>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
            let (size, imm) = (e.imm(u64::from(o.size)), e.imm(o.imm));
            let length = e.imm(u64::from(o.length));
            e.call(&$static, &[size, imm, length])?;
            e.end_block();
            Ok(())
        }
    )*};
}

leaves! {
    /// A far RET.
    RETF "far_return" return_far(|cpu, [size, imm, ..]| {
        let returned = transfers::return_far(cpu, size as u8, imm & 0xffff);
        gone(cpu, returned)
    });
    /// IRET.
    IRET "iret" interrupt_return(|cpu, [size, ..]| {
        let returned = transfers::interrupt_return(cpu, size as u8);
        gone(cpu, returned)
    });
    /// SYSENTER.
    SYSENTER "sysenter" system_enter(|cpu, _| {
        let entered = fast::enter(cpu);
        gone(cpu, entered)
    });
    /// SYSEXIT.
    SYSEXIT "sysexit" system_leave(|cpu, _| {
        let left = fast::leave(cpu);
        gone(cpu, left)
    });
    /// SYSCALL.
    SYSCALL "syscall" system_call(|cpu, [_, _, length, _]| {
        let called = transfers::system_call(cpu, length);
        gone(cpu, called)
    });
    /// SYSRET: to 64-bit mode if the operand has 64 bits.
    SYSRET "sysret" system_return(|cpu, [size, ..]| {
        let returned = transfers::system_return(cpu, size == 3);
        gone(cpu, returned)
    });
    /// SWAPGS.
    SWAPGS "swapgs" swap_gs(|cpu, _| {
        privileged(cpu)?;
        let base = cpu.slot(GS_BASE);
        let other = std::mem::replace(&mut cpu.state.msrs.kernel_gs_base, base);
        cpu.set_slot(GS_BASE, other);
        Ok(0)
    });
}

/// Checks of RDFSBASE and its like: CR4.FSGSBASE, and a base that is canonical.
static BASE_ALLOWED: Helper<X86> = Helper {
    name: "base_allowed",
    call: |cpu, [value, ..]| {
        if cpu.state.cr4 & cr4::FSGSBASE == 0 {
            return Err(undefined_here(cpu));
        }
        if !mmu::canonical(cpu, value) {
            return Err(exceptions::raise(cpu, Fault::with_code(vector::GP, 0)));
        }
        Ok(0)
    },
    effects: Effects::ANY,
};

/// RDFSBASE and RDGSBASE.
pub fn read_base<E: Emit<Arch = X86>, const GS: bool>(
    e: &mut E,
    o: &Operands,
) -> Result<(), E::Stop> {
    let zero = e.imm(0);
    e.call(&BASE_ALLOWED, &[zero])?;
    let base = e.get(if GS { GS_BASE } else { FS_BASE });
    write_reg(e, o.a, base, o.size);
    Ok(())
}

/// WRFSBASE and WRGSBASE.
pub fn write_base<E: Emit<Arch = X86>, const GS: bool>(
    e: &mut E,
    o: &Operands,
) -> Result<(), E::Stop> {
    let value = read(e, o, o.a, o.size)?;
    e.call(&BASE_ALLOWED, &[value])?;
    e.put(if GS { GS_BASE } else { FS_BASE }, value);
    Ok(())
}

static SET_TABLE: Helper<X86> = Helper {
    name: "set_table",
    call: |cpu, [interrupts, limit, base, _]| {
        privileged(cpu)?;
        if cpu.state.code64() && !mmu::canonical(cpu, base) {
            return Err(exceptions::raise(cpu, Fault::with_code(vector::GP, 0)));
        }
        let limit = limit as u16;
        let table = Table { base, limit };
        if interrupts != 0 {
            cpu.state.segmentation.idtr = table;
        } else {
            cpu.state.segmentation.gdtr = table;
        }
        Ok(0)
    },
    effects: Effects::ANY,
};

static TABLE_BASE: Helper<X86> = Helper {
    name: "table_base",
    call: |cpu, [interrupts, ..]| Ok(table(cpu, interrupts).base),
    effects: Effects::ANY,
};

static TABLE_LIMIT: Helper<X86> = Helper {
    name: "table_limit",
    call: |cpu, [interrupts, ..]| Ok(u64::from(table(cpu, interrupts).limit)),
    effects: Effects::ANY,
};

fn table(cpu: &Cpu, interrupts: u64) -> Table {
    if interrupts != 0 {
        cpu.state.segmentation.idtr
    } else {
        cpu.state.segmentation.gdtr
    }
}

/// The size of a table's base in memory.
fn base_size(mode: u32) -> u8 {
    if mode & mode::CODE64 != 0 { 3 } else { 2 }
}

/// LGDT and LIDT. With 16-bit operands the base has 24 bits.
pub fn load_table<E: Emit<Arch = X86>, const INTERRUPTS: bool>(
    e: &mut E,
    o: &Operands,
) -> Result<(), E::Stop> {
    let size = base_size(e.mode());
    let offset = offset(e, o);
    let at = linear(e, o.via, offset, (1 << size) + 2, false)?;
    let limit = load(e, at, 1, o.via, false)?;
    let above = e.add_imm(at, 2);
    let mut base = load(e, above, size, o.via, false)?;
    if o.size == 1 {
        base = e.and_imm(base, 0xff_ffff);
    }
    let which = e.imm(u64::from(INTERRUPTS));
    e.call(&SET_TABLE, &[which, limit, base])?;
    e.end_block();
    Ok(())
}

/// SGDT and SIDT.
pub fn store_table<E: Emit<Arch = X86>, const INTERRUPTS: bool>(
    e: &mut E,
    o: &Operands,
) -> Result<(), E::Stop> {
    e.call(&UMIP, &[])?;
    let size = base_size(e.mode());
    let which = e.imm(u64::from(INTERRUPTS));
    let limit = e.call(&TABLE_LIMIT, &[which])?;
    let base = e.call(&TABLE_BASE, &[which])?;
    let offset = offset(e, o);
    let at = linear(e, o.via, offset, (1 << size) + 2, true)?;
    let above = e.add_imm(at, 2);
    store(e, above, base, size, o.via)?;
    store(e, at, limit, 1, o.via)
}

static LOAD_SYSTEM: Helper<X86> = Helper {
    name: "load_system_segment",
    call: |cpu, [task, selector, ..]| {
        if !cpu.state.protected() {
            return Err(undefined_here(cpu));
        }
        privileged(cpu)?;
        let loaded = descriptors::load_system(cpu, task != 0, selector as u16);
        result(cpu, loaded)
    },
    effects: Effects::ANY,
};

/// LTR, or LLDT.
pub fn load_system<E: Emit<Arch = X86>, const TASK: bool>(
    e: &mut E,
    o: &Operands,
) -> Result<(), E::Stop> {
    let selector = read(e, o, o.a, 1)?;
    let task = e.imm(u64::from(TASK));
    e.call(&LOAD_SYSTEM, &[task, selector])?;
    e.end_block();
    Ok(())
}

static STORE_SYSTEM: Helper<X86> = Helper {
    name: "system_selector",
    call: |cpu, [number, ..]| {
        if !cpu.state.protected() {
            return Err(undefined_here(cpu));
        }
        if cpu.state.cr4 & cr4::UMIP != 0 {
            privileged(cpu)?;
        }
        Ok(selector(cpu, number))
    },
    effects: Effects::ANY,
};

/// STR, or SLDT: 16 bits into memory.
pub fn store_system<E: Emit<Arch = X86>, const TASK: bool>(
    e: &mut E,
    o: &Operands,
) -> Result<(), E::Stop> {
    let number = e.imm(if TASK { 7 } else { 6 });
    let value = e.call(&STORE_SYSTEM, &[number])?;
    if o.a != Loc::MEM {
        write_reg(e, o.a, value, o.size);
        return Ok(());
    }
    let at = address(e, o, 1, true)?;
    store(e, at, value, 1, o.via)
}
