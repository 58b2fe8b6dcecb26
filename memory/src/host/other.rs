//! The accessors on hosts without guarded ones: a fault ends the process, and 16 bytes are two
//! halves under a lock of our own. Enough to build and to run guests that behave.

use core::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering, fence};
use std::sync::Mutex;

use super::{HostFault, Order, Rmw};

static WIDE: Mutex<()> = Mutex::new(());

/// See [`super::load`].
#[inline(always)]
pub(super) unsafe fn load(ptr: *const u8, size: usize, order: Order) -> Result<u64, HostFault> {
    // SAFETY: the caller's promise, and on these hosts the memory must be there.
    let value = unsafe {
        match size {
            1 => u64::from(ptr.read_volatile()),
            2 if ptr.addr() % 2 == 0 => u64::from(ptr.cast::<u16>().read_volatile()),
            4 if ptr.addr() % 4 == 0 => u64::from(ptr.cast::<u32>().read_volatile()),
            8 if ptr.addr() % 8 == 0 => ptr.cast::<u64>().read_volatile(),
            2 => u64::from(ptr.cast::<u16>().read_unaligned()),
            4 => u64::from(ptr.cast::<u32>().read_unaligned()),
            _ => ptr.cast::<u64>().read_unaligned(),
        }
    };
    if order != Order::Relaxed {
        fence(Ordering::SeqCst);
    }
    Ok(value)
}

/// See [`super::store`].
#[inline(always)]
pub(super) unsafe fn store(
    ptr: *mut u8,
    size: usize,
    value: u64,
    order: Order,
) -> Result<(), HostFault> {
    if order != Order::Relaxed {
        fence(Ordering::SeqCst);
    }
    // SAFETY: the caller's promise, and on these hosts the memory must be there.
    unsafe {
        match size {
            1 => ptr.write_volatile(value as u8),
            2 if ptr.addr() % 2 == 0 => ptr.cast::<u16>().write_volatile(value as u16),
            4 if ptr.addr() % 4 == 0 => ptr.cast::<u32>().write_volatile(value as u32),
            8 if ptr.addr() % 8 == 0 => ptr.cast::<u64>().write_volatile(value),
            2 => ptr.cast::<u16>().write_unaligned(value as u16),
            4 => ptr.cast::<u32>().write_unaligned(value as u32),
            _ => ptr.cast::<u64>().write_unaligned(value),
        }
    }
    if order == Order::SeqCst {
        fence(Ordering::SeqCst);
    }
    Ok(())
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

/// See [`super::compare_exchange`]; an address that is not aligned is a fault here.
#[inline(always)]
pub(super) unsafe fn compare_exchange(
    ptr: *mut u8,
    size: usize,
    expected: u64,
    new: u64,
    _: Order,
) -> Result<u64, HostFault> {
    if ptr.addr() % size != 0 {
        return Err(HostFault);
    }
    let order = Ordering::SeqCst;
    macro_rules! exchange {
        ($atomic:ty, $word:ty) => {{
            // SAFETY: the caller's promise; the address is aligned.
            let atomic = unsafe { <$atomic>::from_ptr(ptr.cast::<$word>()) };
            match atomic.compare_exchange(expected as $word, new as $word, order, order) {
                Ok(found) | Err(found) => found as u64,
            }
        }};
    }
    Ok(match size {
        1 => exchange!(AtomicU8, u8),
        2 => exchange!(AtomicU16, u16),
        4 => exchange!(AtomicU32, u32),
        _ => exchange!(AtomicU64, u64),
    })
}

/// See [`super::load16`].
#[inline(always)]
pub(super) unsafe fn load16(ptr: *const u8, order: Order) -> Result<u128, HostFault> {
    let mut bytes = [0; 16];
    // SAFETY: the caller's promise.
    unsafe {
        bytes[..8].copy_from_slice(&load(ptr, 8, order)?.to_ne_bytes());
        bytes[8..].copy_from_slice(&load(ptr.wrapping_add(8), 8, order)?.to_ne_bytes());
    }
    Ok(u128::from_ne_bytes(bytes))
}

/// See [`super::store16`].
#[inline(always)]
pub(super) unsafe fn store16(ptr: *mut u8, value: u128, order: Order) -> Result<(), HostFault> {
    let bytes = value.to_ne_bytes();
    let half = |at: usize| {
        bytes[at..at + 8]
            .iter()
            .rev()
            .fold(0, |v, &b| v << 8 | u64::from(b))
    };
    let native = |v: u64| {
        if cfg!(target_endian = "big") {
            v.swap_bytes()
        } else {
            v
        }
    };
    // SAFETY: the caller's promise.
    unsafe {
        store(ptr, 8, native(half(0)), order)?;
        store(ptr.wrapping_add(8), 8, native(half(8)), order)
    }
}

/// See [`super::compare_exchange16`].
pub(super) unsafe fn compare_exchange16(
    ptr: *mut u8,
    expected: u128,
    new: u128,
    order: Order,
) -> Result<u128, HostFault> {
    let _wide = WIDE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    // SAFETY: the caller's promise.
    unsafe {
        let found = load16(ptr, order)?;
        if found == expected {
            store16(ptr, new, order)?;
        }
        Ok(found)
    }
}

/// See [`super::touch_write`].
#[inline]
pub(super) unsafe fn touch_write(ptr: *mut u8) -> Result<(), HostFault> {
    // SAFETY: the caller's promise; a byte is aligned everywhere.
    unsafe { AtomicU8::from_ptr(ptr) }.fetch_or(0, Ordering::Relaxed);
    Ok(())
}

/// Copies bytes.
#[inline]
pub(super) unsafe fn copy(to: *mut u8, from: *const u8, length: usize) -> Result<(), HostFault> {
    // SAFETY: the caller's promise, and on these hosts the memory must be there.
    unsafe { core::ptr::copy(from, to, length) };
    Ok(())
}
