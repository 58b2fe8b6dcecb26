//! The accessors on x86-64. Loads have acquire and stores release order by themselves, a locked
//! instruction is a full fence (Intel SDM volume 3, 10.2); so [`Order`] matters to stores only.

use core::arch::asm;
use core::arch::x86_64::__m128i;
use core::sync::atomic::{Ordering, compiler_fence, fence};

use super::{HostFault, Order, Rmw};

/// One guarded run of instructions: the entry in the exception table, and the fixup, which sets
/// `fault` and continues behind the run. What stands after the run is executed in both cases.
macro_rules! guarded {
    ([$($before:literal),*] [$($insn:literal),+] [$($after:literal),*] $($operands:tt)*) => {{
        let fault: u32;
        asm!(
            $($before,)*
            "xor {fault:e}, {fault:e}",
            "2:",
            $($insn,)+
            "3:",
            $($after,)*
            ".pushsection .text.understudy_fixup, \"ax\", @progbits",
            "4: mov {fault:e}, 1",
            "jmp 3b",
            ".popsection",
            ".pushsection understudy_faults, \"aR\", @progbits",
            ".balign 4",
            ".long 2b - ., 3b - ., 4b - .",
            ".popsection",
            fault = out(reg) fault,
            $($operands)*
        );
        fault == 0
    }};
}

/// The result of an access that was or was not performed.
#[inline(always)]
fn performed<T>(performed: bool, value: T) -> Result<T, HostFault> {
    if performed { Ok(value) } else { Err(HostFault) }
}

/// See [`super::load`].
#[inline(always)]
pub(super) unsafe fn load(ptr: *const u8, size: usize, order: Order) -> Result<u64, HostFault> {
    let value: u64;
    // SAFETY: the instruction reads memory that the caller may read, or faults and is skipped;
    // writing a 32-bit register clears the upper half.
    let ok = unsafe {
        match size {
            1 => guarded!([] ["movzx {value:e}, byte ptr [{ptr}]"] []
                ptr = in(reg) ptr, value = out(reg) value, options(nostack, readonly)),
            2 => guarded!([] ["movzx {value:e}, word ptr [{ptr}]"] []
                ptr = in(reg) ptr, value = out(reg) value, options(nostack, readonly)),
            4 => guarded!([] ["mov {value:e}, dword ptr [{ptr}]"] []
                ptr = in(reg) ptr, value = out(reg) value, options(nostack, readonly)),
            _ => guarded!([] ["mov {value}, qword ptr [{ptr}]"] []
                ptr = in(reg) ptr, value = out(reg) value, options(nostack, readonly)),
        }
    };
    if order != Order::Relaxed {
        // The instruction needs none; the compiler may still move a store over it.
        compiler_fence(Ordering::SeqCst);
    }
    performed(ok, value)
}

/// See [`super::store`].
#[inline(always)]
pub(super) unsafe fn store(
    ptr: *mut u8,
    size: usize,
    value: u64,
    order: Order,
) -> Result<(), HostFault> {
    if order == Order::SeqCst {
        // SAFETY: the caller's promise.
        return unsafe { swap(ptr, size, value) }.map(drop);
    }
    // SAFETY: the instruction writes memory that the caller may write, or faults and is skipped.
    let ok = unsafe {
        match size {
            1 => guarded!([] ["mov byte ptr [{ptr}], {value}"] []
                ptr = in(reg) ptr, value = in(reg_byte) value as u8, options(nostack)),
            2 => guarded!([] ["mov word ptr [{ptr}], {value:x}"] []
                ptr = in(reg) ptr, value = in(reg) value, options(nostack)),
            4 => guarded!([] ["mov dword ptr [{ptr}], {value:e}"] []
                ptr = in(reg) ptr, value = in(reg) value, options(nostack)),
            _ => guarded!([] ["mov qword ptr [{ptr}], {value}"] []
                ptr = in(reg) ptr, value = in(reg) value, options(nostack)),
        }
    };
    performed(ok, ())
}

#[inline(always)]
unsafe fn swap(ptr: *mut u8, size: usize, value: u64) -> Result<u64, HostFault> {
    let mut byte = value as u8;
    let mut word = value;
    // SAFETY: as in `store`.
    let ok = unsafe {
        match size {
            1 => {
                let ok = guarded!([] ["xchg byte ptr [{ptr}], {value}"] []
                    ptr = in(reg) ptr, value = inout(reg_byte) byte, options(nostack));
                word = u64::from(byte);
                ok
            }
            2 => guarded!([] ["xchg word ptr [{ptr}], {value:x}"] []
                ptr = in(reg) ptr, value = inout(reg) word, options(nostack)),
            4 => guarded!([] ["xchg dword ptr [{ptr}], {value:e}"] []
                ptr = in(reg) ptr, value = inout(reg) word, options(nostack)),
            _ => guarded!([] ["xchg qword ptr [{ptr}], {value}"] []
                ptr = in(reg) ptr, value = inout(reg) word, options(nostack)),
        }
    };
    performed(ok, super::truncate(size, word))
}

#[inline(always)]
unsafe fn add(ptr: *mut u8, size: usize, value: u64) -> Result<u64, HostFault> {
    let mut byte = value as u8;
    let mut word = value;
    // SAFETY: as in `store`.
    let ok = unsafe {
        match size {
            1 => {
                let ok = guarded!([] ["lock xadd byte ptr [{ptr}], {value}"] []
                    ptr = in(reg) ptr, value = inout(reg_byte) byte, options(nostack));
                word = u64::from(byte);
                ok
            }
            2 => guarded!([] ["lock xadd word ptr [{ptr}], {value:x}"] []
                ptr = in(reg) ptr, value = inout(reg) word, options(nostack)),
            4 => guarded!([] ["lock xadd dword ptr [{ptr}], {value:e}"] []
                ptr = in(reg) ptr, value = inout(reg) word, options(nostack)),
            _ => guarded!([] ["lock xadd qword ptr [{ptr}], {value}"] []
                ptr = in(reg) ptr, value = inout(reg) word, options(nostack)),
        }
    };
    performed(ok, super::truncate(size, word))
}

/// The operations that are one instruction which also gives the old value; see [`super::rmw`].
#[inline(always)]
pub(super) unsafe fn rmw(
    ptr: *mut u8,
    size: usize,
    operation: Rmw,
    operand: u64,
    _: Order,
) -> Option<Result<u64, HostFault>> {
    // SAFETY: the caller's promise.
    unsafe {
        match operation {
            Rmw::Swap => Some(swap(ptr, size, operand)),
            Rmw::Add => Some(add(ptr, size, operand)),
            _ => None,
        }
    }
}

/// See [`super::compare_exchange`].
#[inline(always)]
pub(super) unsafe fn compare_exchange(
    ptr: *mut u8,
    size: usize,
    expected: u64,
    new: u64,
    _: Order,
) -> Result<u64, HostFault> {
    let mut found = expected;
    // SAFETY: as in `store`.
    let ok = unsafe {
        match size {
            1 => guarded!([] ["lock cmpxchg byte ptr [{ptr}], {new}"] []
                ptr = in(reg) ptr, new = in(reg_byte) new as u8, inout("rax") found,
                options(nostack)),
            2 => guarded!([] ["lock cmpxchg word ptr [{ptr}], {new:x}"] []
                ptr = in(reg) ptr, new = in(reg) new, inout("rax") found, options(nostack)),
            4 => guarded!([] ["lock cmpxchg dword ptr [{ptr}], {new:e}"] []
                ptr = in(reg) ptr, new = in(reg) new, inout("rax") found, options(nostack)),
            _ => guarded!([] ["lock cmpxchg qword ptr [{ptr}], {new}"] []
                ptr = in(reg) ptr, new = in(reg) new, inout("rax") found, options(nostack)),
        }
    };
    performed(ok, super::truncate(size, found))
}

/// See [`super::load16`].
#[inline(always)]
pub(super) unsafe fn load16(ptr: *const u8, order: Order) -> Result<u128, HostFault> {
    let value: __m128i;
    // SAFETY: as in `load`; SSE2 is part of x86-64.
    let ok = unsafe {
        guarded!([] ["movdqu {value}, xmmword ptr [{ptr}]"] []
            ptr = in(reg) ptr, value = out(xmm_reg) value, options(nostack, readonly))
    };
    if order != Order::Relaxed {
        compiler_fence(Ordering::SeqCst);
    }
    // SAFETY: both are 16 bytes without padding.
    performed(ok, unsafe { core::mem::transmute::<__m128i, u128>(value) })
}

/// See [`super::store16`].
#[inline(always)]
pub(super) unsafe fn store16(ptr: *mut u8, value: u128, order: Order) -> Result<(), HostFault> {
    // SAFETY: both are 16 bytes without padding.
    let value = unsafe { core::mem::transmute::<u128, __m128i>(value) };
    // SAFETY: as in `store`.
    let ok = unsafe {
        guarded!([] ["movdqu xmmword ptr [{ptr}], {value}"] []
            ptr = in(reg) ptr, value = in(xmm_reg) value, options(nostack))
    };
    if order == Order::SeqCst {
        fence(Ordering::SeqCst);
    }
    performed(ok, ())
}

/// See [`super::compare_exchange16`]. Every x86-64 processor made after 2006 has CMPXCHG16B.
#[inline]
pub(super) unsafe fn compare_exchange16(
    ptr: *mut u8,
    expected: u128,
    new: u128,
    _: Order,
) -> Result<u128, HostFault> {
    let (mut low, mut high) = (expected as u64, (expected >> 64) as u64);
    // SAFETY: as in `store`. RBX belongs to LLVM, so it is exchanged in and out around the guarded
    // instruction, also where that faults.
    let ok = unsafe {
        guarded!(["xchg {new_low}, rbx"] ["lock cmpxchg16b xmmword ptr [rdi]"] ["mov rbx, {new_low}"]
            in("rdi") ptr,
            new_low = inout(reg) new as u64 => _,
            in("rcx") (new >> 64) as u64,
            inout("rax") low,
            inout("rdx") high,
            options(nostack))
    };
    performed(ok, u128::from(low) | u128::from(high) << 64)
}

/// See [`super::touch_write`].
#[inline]
pub(super) unsafe fn touch_write(ptr: *mut u8) -> Result<(), HostFault> {
    // SAFETY: as in `store`.
    let ok = unsafe {
        guarded!([] ["lock or byte ptr [{ptr}], 0"] [] ptr = in(reg) ptr, options(nostack))
    };
    performed(ok, ())
}

/// Copies bytes; either side may fault.
#[inline]
pub(super) unsafe fn copy(to: *mut u8, from: *const u8, length: usize) -> Result<(), HostFault> {
    // SAFETY: the direction flag is clear, as the ABI has it, and the caller may access both
    // ranges; a fault leaves the registers at the byte that faulted, and they are dropped.
    let ok = unsafe {
        guarded!([] ["rep movsb"] []
            inout("rdi") to => _, inout("rsi") from => _, inout("rcx") length => _,
            options(nostack))
    };
    performed(ok, ())
}
