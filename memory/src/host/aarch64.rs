//! The accessors on AArch64. Ordered accesses are plain ones between barriers, since LDAR and STLR
//! fault on addresses that are not aligned (before FEAT_LSE2), and these must not.

use core::arch::asm;
use core::sync::atomic::{Ordering, fence};

use super::{HostFault, Order, Rmw};

/// One guarded run of instructions: the entry in the exception table, and the fixup, which sets
/// `fault` and continues behind the run.
macro_rules! guarded {
    ([$($insn:literal),+] $($operands:tt)*) => {{
        let fault: u32;
        asm!(
            "mov {fault:w}, wzr",
            "2:",
            $($insn,)+
            "3:",
            ".pushsection .text.understudy_fixup, \"ax\", @progbits",
            "4: mov {fault:w}, #1",
            "b 3b",
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

#[inline(always)]
fn before_load(order: Order) {
    if order == Order::SeqCst {
        fence(Ordering::SeqCst);
    }
}

#[inline(always)]
fn after_load(order: Order) {
    if matches!(order, Order::Acquire | Order::SeqCst) {
        fence(Ordering::Acquire);
    }
}

#[inline(always)]
fn before_store(order: Order) {
    match order {
        Order::Relaxed | Order::Acquire => {}
        Order::Release => fence(Ordering::Release),
        Order::SeqCst => fence(Ordering::SeqCst),
    }
}

#[inline(always)]
fn after_store(order: Order) {
    if order == Order::SeqCst {
        fence(Ordering::SeqCst);
    }
}

/// See [`super::load`].
#[inline(always)]
pub(super) unsafe fn load(ptr: *const u8, size: usize, order: Order) -> Result<u64, HostFault> {
    let value: u64;
    before_load(order);
    // SAFETY: the instruction reads memory that the caller may read, or faults and is skipped;
    // writing a W register clears the upper half.
    let ok = unsafe {
        match size {
            1 => guarded!(["ldrb {value:w}, [{ptr}]"]
                ptr = in(reg) ptr, value = out(reg) value, options(nostack, readonly)),
            2 => guarded!(["ldrh {value:w}, [{ptr}]"]
                ptr = in(reg) ptr, value = out(reg) value, options(nostack, readonly)),
            4 => guarded!(["ldr {value:w}, [{ptr}]"]
                ptr = in(reg) ptr, value = out(reg) value, options(nostack, readonly)),
            _ => guarded!(["ldr {value}, [{ptr}]"]
                ptr = in(reg) ptr, value = out(reg) value, options(nostack, readonly)),
        }
    };
    after_load(order);
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
    before_store(order);
    // SAFETY: the instruction writes memory that the caller may write, or faults and is skipped.
    let ok = unsafe {
        match size {
            1 => guarded!(["strb {value:w}, [{ptr}]"]
                ptr = in(reg) ptr, value = in(reg) value, options(nostack)),
            2 => guarded!(["strh {value:w}, [{ptr}]"]
                ptr = in(reg) ptr, value = in(reg) value, options(nostack)),
            4 => guarded!(["str {value:w}, [{ptr}]"]
                ptr = in(reg) ptr, value = in(reg) value, options(nostack)),
            _ => guarded!(["str {value}, [{ptr}]"]
                ptr = in(reg) ptr, value = in(reg) value, options(nostack)),
        }
    };
    after_store(order);
    performed(ok, ())
}

/// No operation has a way of its own here; see [`super::rmw`].
#[inline(always)]
pub(super) unsafe fn rmw(
    _: *mut u8,
    _: usize,
    _: Rmw,
    _: u64,
    _: Order,
) -> Option<Result<u64, HostFault>> {
    None
}

/// See [`super::compare_exchange`]. The old value is stored back where it differs, so that a page
/// that cannot be written faults in any case, as on x86-64.
#[inline(always)]
pub(super) unsafe fn compare_exchange(
    ptr: *mut u8,
    size: usize,
    expected: u64,
    new: u64,
    order: Order,
) -> Result<u64, HostFault> {
    let found: u64;
    before_store(order);
    // SAFETY: as in `store`.
    let ok = unsafe {
        match size {
            1 => guarded!(["5: ldaxrb {found:w}, [{ptr}]", "cmp {found}, {expected}",
                    "csel {store}, {new}, {found}, eq", "stlxrb {state:w}, {store:w}, [{ptr}]",
                    "cbnz {state:w}, 5b"]
                ptr = in(reg) ptr, found = out(reg) found, expected = in(reg) expected,
                new = in(reg) new, store = out(reg) _, state = out(reg) _, options(nostack)),
            2 => guarded!(["5: ldaxrh {found:w}, [{ptr}]", "cmp {found}, {expected}",
                    "csel {store}, {new}, {found}, eq", "stlxrh {state:w}, {store:w}, [{ptr}]",
                    "cbnz {state:w}, 5b"]
                ptr = in(reg) ptr, found = out(reg) found, expected = in(reg) expected,
                new = in(reg) new, store = out(reg) _, state = out(reg) _, options(nostack)),
            4 => guarded!(["5: ldaxr {found:w}, [{ptr}]", "cmp {found}, {expected}",
                    "csel {store}, {new}, {found}, eq", "stlxr {state:w}, {store:w}, [{ptr}]",
                    "cbnz {state:w}, 5b"]
                ptr = in(reg) ptr, found = out(reg) found, expected = in(reg) expected,
                new = in(reg) new, store = out(reg) _, state = out(reg) _, options(nostack)),
            _ => guarded!(["5: ldaxr {found}, [{ptr}]", "cmp {found}, {expected}",
                    "csel {store}, {new}, {found}, eq", "stlxr {state:w}, {store}, [{ptr}]",
                    "cbnz {state:w}, 5b"]
                ptr = in(reg) ptr, found = out(reg) found, expected = in(reg) expected,
                new = in(reg) new, store = out(reg) _, state = out(reg) _, options(nostack)),
        }
    };
    after_load(order);
    performed(ok, found)
}

/// See [`super::load16`].
#[inline(always)]
pub(super) unsafe fn load16(ptr: *const u8, order: Order) -> Result<u128, HostFault> {
    let (low, high): (u64, u64);
    before_load(order);
    // SAFETY: as in `load`.
    let ok = unsafe {
        guarded!(["ldp {low}, {high}, [{ptr}]"]
            ptr = in(reg) ptr, low = out(reg) low, high = out(reg) high,
            options(nostack, readonly))
    };
    after_load(order);
    performed(ok, join(low, high))
}

/// See [`super::store16`].
#[inline(always)]
pub(super) unsafe fn store16(ptr: *mut u8, value: u128, order: Order) -> Result<(), HostFault> {
    let (low, high) = split(value);
    before_store(order);
    // SAFETY: as in `store`.
    let ok = unsafe {
        guarded!(["stp {low}, {high}, [{ptr}]"]
            ptr = in(reg) ptr, low = in(reg) low, high = in(reg) high, options(nostack))
    };
    after_store(order);
    performed(ok, ())
}

/// The 16 bytes whose first half in memory is `low`, on a little-endian host.
fn join(low: u64, high: u64) -> u128 {
    u128::from(low) | u128::from(high) << 64
}

fn split(value: u128) -> (u64, u64) {
    (value as u64, (value >> 64) as u64)
}

/// See [`super::compare_exchange16`].
#[inline]
pub(super) unsafe fn compare_exchange16(
    ptr: *mut u8,
    expected: u128,
    new: u128,
    order: Order,
) -> Result<u128, HostFault> {
    let (low, high): (u64, u64);
    let (expected_low, expected_high) = split(expected);
    let (new_low, new_high) = split(new);
    before_store(order);
    // SAFETY: as in `store`.
    let ok = unsafe {
        guarded!(["5: ldaxp {low}, {high}, [{ptr}]",
                "cmp {low}, {expected_low}", "ccmp {high}, {expected_high}, #0, eq",
                "csel {store_low}, {new_low}, {low}, eq",
                "csel {store_high}, {new_high}, {high}, eq",
                "stlxp {state:w}, {store_low}, {store_high}, [{ptr}]",
                "cbnz {state:w}, 5b"]
            ptr = in(reg) ptr, low = out(reg) low, high = out(reg) high,
            expected_low = in(reg) expected_low, expected_high = in(reg) expected_high,
            new_low = in(reg) new_low, new_high = in(reg) new_high,
            store_low = out(reg) _, store_high = out(reg) _, state = out(reg) _,
            options(nostack))
    };
    after_load(order);
    performed(ok, join(low, high))
}

/// See [`super::touch_write`].
#[inline]
pub(super) unsafe fn touch_write(ptr: *mut u8) -> Result<(), HostFault> {
    // SAFETY: as in `store`.
    let ok = unsafe {
        guarded!(["5: ldxrb {byte:w}, [{ptr}]", "stxrb {state:w}, {byte:w}, [{ptr}]",
                "cbnz {state:w}, 5b"]
            ptr = in(reg) ptr, byte = out(reg) _, state = out(reg) _, options(nostack))
    };
    performed(ok, ())
}

/// Copies bytes; either side may fault.
#[inline]
pub(super) unsafe fn copy(to: *mut u8, from: *const u8, length: usize) -> Result<(), HostFault> {
    // SAFETY: the caller may access both ranges; a fault leaves the registers where the copy
    // stopped, and they are dropped.
    let ok = unsafe {
        guarded!(["5: subs {left}, {left}, #8", "b.lo 6f",
                "ldr {word}, [{from}], #8", "str {word}, [{to}], #8", "b 5b",
                "6: adds {left}, {left}, #8", "b.eq 8f",
                "7: ldrb {word:w}, [{from}], #1", "strb {word:w}, [{to}], #1",
                "subs {left}, {left}, #1", "b.ne 7b", "8:"]
            to = inout(reg) to => _, from = inout(reg) from => _, left = inout(reg) length => _,
            word = out(reg) _, options(nostack))
    };
    performed(ok, ())
}
