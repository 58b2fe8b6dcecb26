//! Guest accesses to memory as the interpreter and the slow paths of compiled code make them.

use crate::arch::{AccessKind, Arch, Frame, Target};
use crate::cpu::Cpu;
use crate::emit::{Align, Mem, Order, Rmw, Size, Stop};
use crate::tlb::PAGE_MASK;
use understudy_memory::host::{self, HostFault};

#[inline(always)]
fn context<A: Arch>(cpu: &Cpu<A>, mem: Mem) -> u64 {
    if mem.unprivileged {
        cpu.context_unprivileged
    } else {
        cpu.context
    }
}

#[inline(always)]
fn bytes_of(mem: Mem) -> usize {
    1 << mem.size as usize
}

/// The order in the host. A store-release is made sequentially consistent, as a later load-acquire
/// must not be satisfied before it is seen (Arm ARM B2.3, "Barrier-ordered-before").
#[inline(always)]
fn ordering(mem: Mem) -> host::Order {
    match mem.order {
        Order::Relaxed => host::Order::Relaxed,
        _ => host::Order::SeqCst,
    }
}

/// Whether an access that the TLB knows may go ahead without the architecture's checks.
#[inline(always)]
fn free(address: u64, bytes: u64, mem: Mem) -> bool {
    mem.align == Align::Any || address & (bytes - 1) == 0
}

/// `count` values of `mem.size` each.
struct Span {
    address: u64,
    bytes: u64,
}

impl Span {
    #[inline(always)]
    fn crosses(&self) -> bool {
        (self.address & PAGE_MASK) + self.bytes > PAGE_MASK + 1
    }
    /// Bytes that lie on the first page.
    fn first(&self) -> u64 {
        PAGE_MASK + 1 - (self.address & PAGE_MASK)
    }
}

/// Translates, for an access that lies in one page, and keeps what may be kept.
fn frame<A: Arch>(
    cpu: &mut Cpu<A>,
    address: u64,
    bytes: u64,
    mem: Mem,
    kind: AccessKind,
) -> Result<Result<*mut u8, u64>, Stop> {
    match A::translate(cpu, address, bytes, mem, kind)? {
        Target::Memory(Frame {
            host,
            cache_loads,
            cache_stores,
        }) => {
            let context = context(cpu, mem);
            cpu.tlb()
                .insert(context, address, host, cache_loads, cache_stores);
            Ok(Ok(host.wrapping_add((address & PAGE_MASK) as usize)))
        }
        Target::Device(physical) => Ok(Err(physical)),
    }
}

/// The host has no memory there. Compiled code, whose accesses nothing guards, must not find it in
/// the TLB.
fn failed<A: Arch>(cpu: &mut Cpu<A>, address: u64) -> impl FnOnce(HostFault) -> Stop + '_ {
    move |_| {
        cpu.flush_all();
        A::host_fault(cpu, address)
    }
}

/// Loads, zero-extended.
#[inline(always)]
pub fn load<A: Arch>(cpu: &mut Cpu<A>, address: u64, mem: Mem) -> Result<u64, Stop> {
    let bytes = mem.size.bytes();
    if let Some(host) = cpu.tlb_ref().load(context(cpu, mem), address, bytes)
        && free(address, bytes, mem)
    {
        // SAFETY: the TLB leads to memory of a slot, as long as no request to flush it has been
        // served; the access is guarded.
        return unsafe { host::load(host, bytes_of(mem), ordering(mem)) }
            .map_err(failed(cpu, address));
    }
    load_slow(cpu, address, mem)
}

/// Loads, without a look into the TLB.
#[cold]
#[inline(never)]
pub fn load_slow<A: Arch>(cpu: &mut Cpu<A>, address: u64, mem: Mem) -> Result<u64, Stop> {
    let span = Span {
        address,
        bytes: mem.size.bytes(),
    };
    A::check_access(cpu, address, span.bytes, mem, AccessKind::Load)?;
    if span.crosses() {
        return Ok(load_bytes(cpu, &span, mem)? as u64);
    }
    match frame(cpu, address, span.bytes, mem, AccessKind::Load)? {
        Ok(host) => {
            // SAFETY: `translate` gave memory of a slot; the access is guarded.
            unsafe { host::load(host, bytes_of(mem), ordering(mem)) }.map_err(failed(cpu, address))
        }
        Err(physical) => A::device_load(cpu, physical, mem),
    }
}

/// Loads two values that lie one after the other.
#[inline(always)]
pub fn load_pair<A: Arch>(cpu: &mut Cpu<A>, address: u64, mem: Mem) -> Result<(u64, u64), Stop> {
    let bytes = mem.size.bytes();
    if let Some(host) = cpu.tlb_ref().load(context(cpu, mem), address, 2 * bytes)
        && free(address, 2 * bytes, mem)
    {
        return halves(cpu, address, host, mem);
    }
    load_pair_slow(cpu, address, mem)
}

#[inline(always)]
fn halves<A: Arch>(
    cpu: &mut Cpu<A>,
    address: u64,
    host: *mut u8,
    mem: Mem,
) -> Result<(u64, u64), Stop> {
    let (size, order) = (bytes_of(mem), ordering(mem));
    let second = host.wrapping_add(mem.size.bytes() as usize);
    // SAFETY: both lie in the same page of a slot; the accesses are guarded.
    unsafe { host::load(host, size, order).and_then(|a| Ok((a, host::load(second, size, order)?))) }
        .map_err(failed(cpu, address))
}

/// Loads a pair, without a look into the TLB.
#[cold]
#[inline(never)]
pub fn load_pair_slow<A: Arch>(
    cpu: &mut Cpu<A>,
    address: u64,
    mem: Mem,
) -> Result<(u64, u64), Stop> {
    let span = Span {
        address,
        bytes: 2 * mem.size.bytes(),
    };
    A::check_access(cpu, address, span.bytes, mem, AccessKind::Load)?;
    let both = if span.crosses() {
        load_bytes(cpu, &span, mem)?
    } else {
        match frame(cpu, address, span.bytes, mem, AccessKind::Load)? {
            Ok(host) => return halves(cpu, address, host, mem),
            Err(physical) => A::device_load_parts(cpu, address, span.bytes, physical, mem)?,
        }
    };
    Ok((
        both as u64 & mem.size.mask(),
        (both >> (8 * mem.size.bytes())) as u64,
    ))
}

/// An access that crosses a page: both pages are translated before anything is read.
fn load_bytes<A: Arch>(cpu: &mut Cpu<A>, span: &Span, mem: Mem) -> Result<u128, Stop> {
    let pages = match two_pages(cpu, span, mem, AccessKind::Load)? {
        Ok(pages) => pages,
        Err(physical) => {
            return A::device_load_parts(cpu, span.address, span.bytes, physical, mem);
        }
    };
    let mut bytes = [0; 16];
    for (i, to) in bytes.iter_mut().enumerate().take(span.bytes as usize) {
        // SAFETY: `two_pages` gave memory of a slot for either part; the access is guarded.
        *to = unsafe { host::load(byte_of(&pages, span, i), 1, ordering(mem)) }
            .map_err(failed(cpu, span.address))? as u8;
    }
    Ok(u128::from_le_bytes(bytes))
}

fn byte_of(pages: &[*mut u8; 2], span: &Span, i: usize) -> *mut u8 {
    let first = span.first() as usize;
    if i < first {
        pages[0].wrapping_add(i)
    } else {
        pages[1].wrapping_add(i - first)
    }
}

/// Both pages, or where the first of them is that is no memory.
fn two_pages<A: Arch>(
    cpu: &mut Cpu<A>,
    span: &Span,
    mem: Mem,
    kind: AccessKind,
) -> Result<Result<[*mut u8; 2], u64>, Stop> {
    let first = span.first();
    let parts = [
        (span.address, first),
        (span.address.wrapping_add(first), span.bytes - first),
    ];
    let mut pages = [std::ptr::null_mut(); 2];
    for (page, (address, bytes)) in pages.iter_mut().zip(parts) {
        *page = match frame(cpu, address, bytes, mem, kind)? {
            Ok(host) => host,
            Err(physical) => return Ok(Err(physical)),
        };
    }
    Ok(Ok(pages))
}

/// Stores the low bytes of `value`.
#[inline(always)]
pub fn store<A: Arch>(cpu: &mut Cpu<A>, address: u64, value: u64, mem: Mem) -> Result<(), Stop> {
    let bytes = mem.size.bytes();
    if let Some(host) = cpu.tlb_ref().store(context(cpu, mem), address, bytes)
        && free(address, bytes, mem)
    {
        // SAFETY: the TLB leads to writable memory of a slot; the access is guarded.
        return unsafe { host::store(host, bytes_of(mem), value, ordering(mem)) }
            .map_err(failed(cpu, address));
    }
    store_slow(cpu, address, value, mem)
}

/// Stores, without a look into the TLB.
#[cold]
#[inline(never)]
pub fn store_slow<A: Arch>(
    cpu: &mut Cpu<A>,
    address: u64,
    value: u64,
    mem: Mem,
) -> Result<(), Stop> {
    let span = Span {
        address,
        bytes: mem.size.bytes(),
    };
    A::check_access(cpu, address, span.bytes, mem, AccessKind::Store)?;
    if span.crosses() {
        return store_bytes(cpu, &span, mem, value.into());
    }
    match frame(cpu, address, span.bytes, mem, AccessKind::Store)? {
        Ok(host) => {
            // SAFETY: `translate` gave writable memory of a slot; the access is guarded.
            unsafe { host::store(host, bytes_of(mem), value, ordering(mem)) }
                .map_err(failed(cpu, address))
        }
        Err(physical) => A::device_store(cpu, physical, value & mem.size.mask(), mem),
    }
}

/// Stores two values one after the other.
#[inline(always)]
pub fn store_pair<A: Arch>(
    cpu: &mut Cpu<A>,
    address: u64,
    values: (u64, u64),
    mem: Mem,
) -> Result<(), Stop> {
    let bytes = mem.size.bytes();
    if let Some(host) = cpu.tlb_ref().store(context(cpu, mem), address, 2 * bytes)
        && free(address, 2 * bytes, mem)
    {
        return store_halves(cpu, address, host, values, mem);
    }
    store_pair_slow(cpu, address, values, mem)
}

#[inline(always)]
fn store_halves<A: Arch>(
    cpu: &mut Cpu<A>,
    address: u64,
    host: *mut u8,
    values: (u64, u64),
    mem: Mem,
) -> Result<(), Stop> {
    let (size, order) = (bytes_of(mem), ordering(mem));
    let second = host.wrapping_add(mem.size.bytes() as usize);
    // SAFETY: both lie in the same writable page of a slot; the accesses are guarded.
    unsafe {
        host::store(host, size, values.0, order)
            .and_then(|()| host::store(second, size, values.1, order))
    }
    .map_err(failed(cpu, address))
}

/// Stores a pair, without a look into the TLB.
#[cold]
#[inline(never)]
pub fn store_pair_slow<A: Arch>(
    cpu: &mut Cpu<A>,
    address: u64,
    values: (u64, u64),
    mem: Mem,
) -> Result<(), Stop> {
    let span = Span {
        address,
        bytes: 2 * mem.size.bytes(),
    };
    A::check_access(cpu, address, span.bytes, mem, AccessKind::Store)?;
    if span.crosses() {
        return store_bytes(cpu, &span, mem, joined(values, mem));
    }
    match frame(cpu, address, span.bytes, mem, AccessKind::Store)? {
        Ok(host) => store_halves(cpu, address, host, values, mem),
        Err(physical) => {
            let both = joined(values, mem);
            A::device_store_parts(cpu, address, span.bytes, physical, both, mem)
        }
    }
}

/// A pair as one value.
fn joined(values: (u64, u64), mem: Mem) -> u128 {
    let low = (values.0 & mem.size.mask()) as u128;
    low | (values.1 as u128) << (8 * mem.size.bytes())
}

fn store_bytes<A: Arch>(cpu: &mut Cpu<A>, span: &Span, mem: Mem, value: u128) -> Result<(), Stop> {
    let pages = match two_pages(cpu, span, mem, AccessKind::Store)? {
        Ok(pages) => pages,
        Err(physical) => {
            let (address, bytes) = (span.address, span.bytes);
            return A::device_store_parts(cpu, address, bytes, physical, value, mem);
        }
    };
    for (i, byte) in value
        .to_le_bytes()
        .iter()
        .enumerate()
        .take(span.bytes as usize)
    {
        // SAFETY: `two_pages` gave writable memory of a slot for either part; guarded.
        unsafe { host::store(byte_of(&pages, span, i), 1, *byte as u64, ordering(mem)) }
            .map_err(failed(cpu, span.address))?;
    }
    Ok(())
}

/// Where an atomic access goes, which must be aligned so that it lies in one page.
fn atomic_host<A: Arch>(
    cpu: &mut Cpu<A>,
    address: u64,
    bytes: u64,
    mem: Mem,
) -> Result<*mut u8, Stop> {
    if let Some(host) = cpu.tlb_ref().store(context(cpu, mem), address, bytes)
        && address & (bytes - 1) == 0
    {
        return Ok(host);
    }
    A::check_access(cpu, address, bytes, mem, AccessKind::Atomic)?;
    if (Span { address, bytes }).crosses() {
        return Err(A::device_other(cpu, address, mem, AccessKind::Atomic));
    }
    match frame(cpu, address, bytes, mem, AccessKind::Atomic)? {
        Ok(host) => Ok(host),
        Err(physical) => Err(A::device_other(cpu, physical, mem, AccessKind::Atomic)),
    }
}

/// Atomic read-modify-write; gives the old value.
pub fn rmw<A: Arch>(
    cpu: &mut Cpu<A>,
    op: Rmw,
    address: u64,
    operand: u64,
    mem: Mem,
) -> Result<u64, Stop> {
    let host = atomic_host(cpu, address, mem.size.bytes(), mem)?;
    let op = match op {
        Rmw::Add => host::Rmw::Add,
        Rmw::Clr => host::Rmw::Clr,
        Rmw::Eor => host::Rmw::Eor,
        Rmw::Set => host::Rmw::Set,
        Rmw::SMax => host::Rmw::Smax,
        Rmw::SMin => host::Rmw::Smin,
        Rmw::UMax => host::Rmw::Umax,
        Rmw::UMin => host::Rmw::Umin,
        Rmw::Swap => host::Rmw::Swap,
    };
    // SAFETY: `atomic_host` gave writable memory of a slot; the access is guarded.
    unsafe { host::rmw(host, bytes_of(mem), op, operand, host::Order::SeqCst) }
        .map_err(failed(cpu, address))
}

/// Atomic compare-and-swap; gives the value found.
pub fn compare_exchange<A: Arch>(
    cpu: &mut Cpu<A>,
    address: u64,
    expected: u64,
    new: u64,
    mem: Mem,
) -> Result<u64, Stop> {
    let host = atomic_host(cpu, address, mem.size.bytes(), mem)?;
    let mask = mem.size.mask();
    // SAFETY: `atomic_host` gave writable memory of a slot; the access is guarded.
    unsafe {
        host::compare_exchange(
            host,
            bytes_of(mem),
            expected & mask,
            new & mask,
            host::Order::SeqCst,
        )
    }
    .map_err(failed(cpu, address))
}

/// Atomic compare-and-swap of a pair: `mem.size` is that of one half, the low half at `address`.
/// Gives the pair found.
pub fn compare_exchange_pair<A: Arch>(
    cpu: &mut Cpu<A>,
    address: u64,
    expected: (u64, u64),
    new: (u64, u64),
    mem: Mem,
) -> Result<(u64, u64), Stop> {
    if mem.size != Size::B8 {
        let bits = 8 * mem.size.bytes();
        let mask = mem.size.mask();
        let join = |(low, high): (u64, u64)| low & mask | (high & mask) << bits;
        let wide = Mem {
            size: Size::from_log2(mem.size as u32 + 1),
            ..mem
        };
        let found = compare_exchange(cpu, address, join(expected), join(new), wide)?;
        return Ok((found & mask, found >> bits & mask));
    }
    let join = |(low, high): (u64, u64)| low as u128 | (high as u128) << 64;
    let host = atomic_host(cpu, address, 16, mem)?;
    // SAFETY: `atomic_host` gave 16 aligned writable bytes of a slot; the access is guarded.
    let found =
        unsafe { host::compare_exchange16(host, join(expected), join(new), host::Order::SeqCst) }
            .map_err(failed(cpu, address))?;
    Ok((found as u64, (found >> 64) as u64))
}

/// Copies bytes as if one after the other, where the TLB knows both places, each in one page, and
/// the copy does not read what it has written. False, with nothing done, where that is not so.
pub fn copy<A: Arch>(cpu: &mut Cpu<A>, to: u64, from: u64, bytes: usize) -> Result<bool, Stop> {
    let (tlb, context) = (cpu.tlb_ref(), cpu.context);
    let mut buffer = [0; PAGE_MASK as usize + 1];
    let Some(buffer) = buffer.get_mut(..bytes).filter(|b| !b.is_empty()) else {
        return Ok(false);
    };
    let (Some(source), Some(target)) = (
        tlb.load(context, from, bytes as u64),
        tlb.store(context, to, bytes as u64),
    ) else {
        return Ok(false);
    };
    if (target as usize).wrapping_sub(source as usize) < bytes {
        return Ok(false);
    }
    // SAFETY: the TLB leads to memory of slots, of which the second is writable, and either place lies
    // in one page; the accesses are guarded.
    unsafe { host::copy_from(source, buffer).and_then(|()| host::copy_to(target, buffer)) }
        .map_err(failed(cpu, to))?;
    Ok(true)
}

/// Stores a value again and again, where the TLB knows the place, which is in one page. False, with
/// nothing done, where that is not so.
pub fn fill<A: Arch>(
    cpu: &mut Cpu<A>,
    to: u64,
    value: u64,
    size: Size,
    bytes: usize,
) -> Result<bool, Stop> {
    let mut buffer = [0; PAGE_MASK as usize + 1];
    let Some(buffer) = buffer.get_mut(..bytes).filter(|b| !b.is_empty()) else {
        return Ok(false);
    };
    let Some(target) = cpu.tlb_ref().store(cpu.context, to, bytes as u64) else {
        return Ok(false);
    };
    let value = value.to_le_bytes();
    for chunk in buffer.chunks_mut(size.bytes() as usize) {
        chunk.copy_from_slice(&value[..chunk.len()]);
    }
    // SAFETY: the TLB leads to writable memory of a slot, in one page; the access is guarded.
    unsafe { host::copy_to(target, buffer) }.map_err(failed(cpu, to))?;
    Ok(true)
}
