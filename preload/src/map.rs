//! `mmap` of what [`crate::registry`] knows.
//!
//! A vCPU's descriptor is a memfd whose first page is its `kvm_run`, with its dirty ring further on. The
//! page of the VM's coalesced MMIO ring belongs to all vCPUs, so it is in a memfd of its own, and mapped
//! over its place.
//! Mapping `/dev/kvm`, a VM, statistics or a guest_memfd is ENODEV, as in KVM.
//!
//! And of changes to what memory slots lie in, of which KVM is told before they are made.

use std::ffi::{c_int, c_void};
use std::os::fd::AsRawFd;

use libc::{MAP_FAILED, off64_t, size_t};
use understudy_abi::PAGE_SIZE;
use understudy_kvm::host_memory::HostMemoryChange;
use understudy_kvm::{Object, Vcpu};

use crate::{fail, real, registry};

unsafe fn map(
    addr: *mut c_void,
    length: size_t,
    prot: c_int,
    flags: c_int,
    fd: c_int,
    offset: off64_t,
) -> *mut c_void {
    let _change =
        (flags & libc::MAP_FIXED != 0).then(|| HostMemoryChange::begin(addr.addr(), length));
    // SAFETY: the caller's promise to `mmap`.
    unsafe { real::mmap64(addr, length, prot, flags, fd, offset) as *mut c_void }
}

/// Maps the page of coalesced MMIO over its place in a vCPU's mapping that starts at `start`.
unsafe fn map_coalesced(
    vcpu: &Vcpu,
    start: *mut c_void,
    length: size_t,
    prot: c_int,
    flags: c_int,
    offset: off64_t,
) -> Result<(), ()> {
    let (at, page) = vcpu.coalesced_mmio_page();
    let Some(at) = (at as off64_t).checked_sub(offset) else {
        return Ok(());
    };
    if at < 0 || at as usize >= length {
        return Ok(());
    }
    let flags = flags & !libc::MAP_FIXED_NOREPLACE | libc::MAP_FIXED;
    // SAFETY: within the mapping that was made a moment ago, and the caller has asked for.
    let mapped = unsafe {
        map(
            start.byte_add(at as usize),
            PAGE_SIZE,
            prot,
            flags,
            page.as_raw_fd(),
            0,
        )
    };
    if mapped == MAP_FAILED {
        Err(())
    } else {
        Ok(())
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn mmap64(
    addr: *mut c_void,
    length: size_t,
    prot: c_int,
    flags: c_int,
    fd: c_int,
    offset: off64_t,
) -> *mut c_void {
    let object = match flags & libc::MAP_ANONYMOUS {
        0 => registry::ours(fd),
        _ => None,
    };
    match object {
        // SAFETY: the caller's promise to `mmap`.
        None => unsafe { map(addr, length, prot, flags, fd, offset) },
        Some(Object::Vcpu(vcpu))
            if (prot & libc::PROT_EXEC != 0 || flags & libc::MAP_SHARED == 0)
                && vcpu.maps_dirty_ring(offset as u64, length) =>
        {
            fail(libc::EINVAL);
            MAP_FAILED
        }
        // SAFETY: as above.
        Some(Object::Vcpu(vcpu)) => unsafe {
            let start = map(addr, length, prot, flags, fd, offset);
            if start != MAP_FAILED
                && map_coalesced(&vcpu, start, length, prot, flags, offset).is_err()
            {
                libc::munmap(start, length);
                fail(libc::ENOMEM);
                return MAP_FAILED;
            }
            start
        },
        Some(Object::System(_) | Object::Vm(_) | Object::Stats | Object::GuestMemfd(_)) => {
            fail(libc::ENODEV);
            MAP_FAILED
        }
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn mmap(
    addr: *mut c_void,
    length: size_t,
    prot: c_int,
    flags: c_int,
    fd: c_int,
    offset: off64_t,
) -> *mut c_void {
    // SAFETY: the same function on 64-bit hosts.
    unsafe { mmap64(addr, length, prot, flags, fd, offset) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn munmap(addr: *mut c_void, length: size_t) -> c_int {
    let _change = HostMemoryChange::begin(addr.addr(), length);
    // SAFETY: the caller's promise to `munmap`.
    unsafe { real::munmap(addr, length) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn mprotect(addr: *mut c_void, length: size_t, prot: c_int) -> c_int {
    let _change = HostMemoryChange::begin(addr.addr(), length);
    // SAFETY: the caller's promise to `mprotect`.
    unsafe { real::mprotect(addr, length, prot) }
}

/// The last argument is there only with `MREMAP_FIXED`, but is passed in a register on all hosts.
#[unsafe(no_mangle)]
unsafe extern "C" fn mremap(
    old: *mut c_void,
    old_length: size_t,
    length: size_t,
    flags: c_int,
    new: *mut c_void,
) -> *mut c_void {
    let _from = HostMemoryChange::begin(old.addr(), old_length);
    let _to =
        (flags & libc::MREMAP_FIXED != 0).then(|| HostMemoryChange::begin(new.addr(), length));
    // SAFETY: the caller's promise to `mremap`.
    unsafe { real::mremap(old, old_length, length, flags, new) as *mut c_void }
}
