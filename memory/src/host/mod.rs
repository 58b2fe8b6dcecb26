//! Accesses to this process's own memory that survive a fault.
//!
//! A guest's memory belongs to the program that runs the guest, which may have unmapped it, made it
//! `PROT_NONE`, truncated the file behind it, or handed it to userfaultfd. KVM answers the first
//! three with `EFAULT` from `KVM_RUN` and waits in the fourth. So do these accessors: each is one
//! machine instruction (or a short run of them) whose address stands in an exception table.
//!
//! ```text
//!   2: mov rax, [rcx]   ── SIGSEGV, SIGBUS ──> handler: is the PC in the table?
//!   3: …  <──────── 4: fault = 1 <──────────── yes: continue at its fixup
//!                                              no:  in a registered code range? continue there
//!                                              no:  the handler that was there before us
//! ```
//!
//! The table is a section of the program that each accessor adds its entry to, wherever it was
//! inlined, so an access that does not fault costs its instruction and a test of a register.
//! Userfaultfd needs nothing: the access is a real one, and the kernel makes it wait.
//!
//! An aligned access of 1 to 8 bytes is single-copy atomic. Addresses need not be aligned.
//!
//! **Limits.** Hosts other than x86-64 and AArch64 have plain volatile accesses, and a fault there
//! ends the process. A thread that blocks SIGSEGV or SIGBUS is killed by a fault, as the kernel
//! cannot deliver the signal: see [`unblock_signals`].

mod fault;

#[cfg(target_arch = "x86_64")]
#[path = "x86_64.rs"]
mod arch;
#[cfg(target_arch = "aarch64")]
#[path = "aarch64.rs"]
mod arch;
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
#[path = "other.rs"]
mod arch;

pub use fault::{
    CodeRange, Sigaction, TooManyCodeRanges, chained_action, install, install_with,
    register_code_range, set_chained_action, unblock_signals,
};

/// The access faulted, and was not performed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("bad address")]
pub struct HostFault;

/// The order of an access among the thread's other accesses, as in [`std::sync::atomic::Ordering`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// None.
    Relaxed,
    /// Later accesses stay later. For a load or a read-modify-write.
    Acquire,
    /// Earlier accesses stay earlier. For a store or a read-modify-write.
    Release,
    /// One order of all such accesses that every thread agrees on.
    SeqCst,
}

/// What an atomic read-modify-write makes of the old value and the operand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rmw {
    /// The operand (SWP, XCHG).
    Swap,
    /// The wrapping sum (LDADD, XADD).
    Add,
    /// The old value and the operand (AND).
    And,
    /// The old value without the operand's bits (LDCLR).
    Clr,
    /// The old value or the operand (LDSET, OR).
    Set,
    /// Their exclusive or (LDEOR, XOR).
    Eor,
    /// The larger one as signed numbers of the access's size (LDSMAX).
    Smax,
    /// The smaller one as signed numbers of the access's size (LDSMIN).
    Smin,
    /// The larger one as unsigned numbers (LDUMAX).
    Umax,
    /// The smaller one as unsigned numbers (LDUMIN).
    Umin,
}

impl Rmw {
    /// The new value, for operands of `size` bytes whose higher bits are clear.
    fn apply(self, size: usize, old: u64, operand: u64) -> u64 {
        let shift = 64 - 8 * size as u32;
        let signed = |value: u64| (value << shift) as i64;
        let value = match self {
            Rmw::Swap => operand,
            Rmw::Add => old.wrapping_add(operand),
            Rmw::And => old & operand,
            Rmw::Clr => old & !operand,
            Rmw::Set => old | operand,
            Rmw::Eor => old ^ operand,
            Rmw::Smax if signed(operand) > signed(old) => operand,
            Rmw::Smin if signed(operand) < signed(old) => operand,
            Rmw::Umax => old.max(operand),
            Rmw::Umin => old.min(operand),
            Rmw::Smax | Rmw::Smin => old,
        };
        truncate(size, value)
    }
}

/// The low `size` bytes of a value.
#[inline(always)]
fn truncate(size: usize, value: u64) -> u64 {
    value & (u64::MAX >> (64 - 8 * (size as u32).clamp(1, 8)))
}

/// Loads 1, 2, 4 or 8 bytes (any other size is taken for 8), zero-extended, in the host's byte
/// order.
///
/// # Errors
///
/// [`HostFault`] where the memory cannot be read.
///
/// # Safety
///
/// The bytes must not be part of a Rust object that this could race with or that is not
/// initialised: they are user memory, or memory that the caller owns. Memory that is not there is
/// no breach of this: that is what the function is for.
#[inline(always)]
pub unsafe fn load(ptr: *const u8, size: usize, order: Order) -> Result<u64, HostFault> {
    // SAFETY: the caller's promise.
    unsafe { arch::load(ptr, size, order) }
}

/// Stores the low 1, 2, 4 or 8 bytes of a value (any other size is taken for 8), in the host's
/// byte order.
///
/// # Errors
///
/// [`HostFault`] where the memory cannot be written.
///
/// # Safety
///
/// No Rust object may be changed by this that the caller does not own: the bytes are user memory
/// or the caller's. Memory that is not there is no breach.
#[inline(always)]
pub unsafe fn store(ptr: *mut u8, size: usize, value: u64, order: Order) -> Result<(), HostFault> {
    // SAFETY: the caller's promise.
    unsafe { arch::store(ptr, size, value, order) }
}

/// Loads 16 bytes. On x86-64 hosts with AVX this is single-copy atomic where it is aligned; on
/// others each half is.
///
/// # Errors
///
/// [`HostFault`] where the memory cannot be read.
///
/// # Safety
///
/// As for [`load`].
#[inline(always)]
pub unsafe fn load16(ptr: *const u8, order: Order) -> Result<u128, HostFault> {
    // SAFETY: the caller's promise.
    unsafe { arch::load16(ptr, order) }
}

/// Stores 16 bytes. On x86-64 hosts with AVX this is single-copy atomic where it is aligned; on
/// others each half is.
///
/// # Errors
///
/// [`HostFault`] where the memory cannot be written.
///
/// # Safety
///
/// As for [`store`].
#[inline(always)]
pub unsafe fn store16(ptr: *mut u8, value: u128, order: Order) -> Result<(), HostFault> {
    // SAFETY: the caller's promise.
    unsafe { arch::store16(ptr, value, order) }
}

/// Stores the low `size` bytes of `new` (1, 2, 4 or 8; any other size is taken for 8) if the
/// memory holds those of `expected`, atomically. Returns what the memory held: the store was made
/// exactly where that equals `expected`.
///
/// # Errors
///
/// [`HostFault`] where the memory cannot be written, whether or not the values are equal.
///
/// # Safety
///
/// As for [`store`].
#[inline(always)]
pub unsafe fn compare_exchange(
    ptr: *mut u8,
    size: usize,
    expected: u64,
    new: u64,
    order: Order,
) -> Result<u64, HostFault> {
    // SAFETY: the caller's promise.
    unsafe { arch::compare_exchange(ptr, size, truncate(size, expected), new, order) }
}

/// As [`compare_exchange`], for 16 bytes. The address must be a multiple of 16; where it is not,
/// this is a [`HostFault`].
///
/// # Errors
///
/// [`HostFault`] where the memory cannot be written or is not aligned.
///
/// # Safety
///
/// As for [`store`].
#[inline]
pub unsafe fn compare_exchange16(
    ptr: *mut u8,
    expected: u128,
    new: u128,
    order: Order,
) -> Result<u128, HostFault> {
    if !ptr.addr().is_multiple_of(16) {
        return Err(HostFault);
    }
    // SAFETY: the caller's promise.
    unsafe { arch::compare_exchange16(ptr, expected, new, order) }
}

/// Atomically replaces 1, 2, 4 or 8 bytes (any other size is taken for 8) by what `operation`
/// makes of them and `operand`. Returns the old value, zero-extended.
///
/// # Errors
///
/// [`HostFault`] where the memory cannot be written.
///
/// # Safety
///
/// As for [`store`].
#[inline]
pub unsafe fn rmw(
    ptr: *mut u8,
    size: usize,
    operation: Rmw,
    operand: u64,
    order: Order,
) -> Result<u64, HostFault> {
    let operand = truncate(size, operand);
    // SAFETY: the caller's promise, here and below.
    if let Some(result) = unsafe { arch::rmw(ptr, size, operation, operand, order) } {
        return result;
    }
    // SAFETY: as above.
    let mut old = unsafe { load(ptr, size, Order::Relaxed) }?;
    loop {
        let new = operation.apply(size.min(8), old, operand);
        // SAFETY: as above.
        let found = unsafe { compare_exchange(ptr, size, old, new, order) }?;
        if found == old {
            return Ok(old);
        }
        old = found;
    }
}

/// Makes the page present for reading, without an effect.
///
/// # Errors
///
/// [`HostFault`] where the memory cannot be read.
///
/// # Safety
///
/// As for [`load`].
#[inline]
pub unsafe fn touch_read(ptr: *const u8) -> Result<(), HostFault> {
    // SAFETY: the caller's promise.
    unsafe { load(ptr, 1, Order::Relaxed) }.map(drop)
}

/// Makes the page present for writing, without changing a byte: an atomic "or" with 0, so that a
/// concurrent store is not lost.
///
/// # Errors
///
/// [`HostFault`] where the memory cannot be written.
///
/// # Safety
///
/// As for [`store`].
#[inline]
pub unsafe fn touch_write(ptr: *mut u8) -> Result<(), HostFault> {
    // SAFETY: the caller's promise.
    unsafe { arch::touch_write(ptr) }
}

/// Copies user memory into `bytes`, as the kernel's `copy_from_user()`.
///
/// # Errors
///
/// [`HostFault`] where some of it cannot be read; `bytes` may then be filled in part.
///
/// # Safety
///
/// As for [`load`], for the whole length.
#[inline]
pub unsafe fn copy_from(from: *const u8, bytes: &mut [u8]) -> Result<(), HostFault> {
    // SAFETY: the caller's promise for the source; the destination is a whole slice.
    unsafe { arch::copy(bytes.as_mut_ptr(), from, bytes.len()) }
}

/// Copies `bytes` into user memory, as the kernel's `copy_to_user()`.
///
/// # Errors
///
/// [`HostFault`] where some of it cannot be written; part of `bytes` may then have been stored.
///
/// # Safety
///
/// As for [`store`], for the whole length.
#[inline]
pub unsafe fn copy_to(to: *mut u8, bytes: &[u8]) -> Result<(), HostFault> {
    // SAFETY: the caller's promise for the destination; the source is a whole slice.
    unsafe { arch::copy(to, bytes.as_ptr(), bytes.len()) }
}
