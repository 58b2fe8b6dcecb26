//! The benchmark's guest on the machine's own `/dev/kvm`, in the ways that Linux has.

use std::hint::black_box;

use kvm_bindings as host;
use kvm_ioctls::{Kvm, VcpuExit, VcpuFd, VmFd};
use understudy_abi::x86::{kvm_guest_debug, kvm_regs, kvm_sregs};

use super::guest::{self, Image, Load};
use super::{PROCESSES, Seen, Subject, Way};
use crate::error::Error;
use crate::long_mode;

/// A guest of one way.
pub(super) struct Real {
    vcpu: VcpuFd,
    _vm: VmFd,
    way: Way,
    on: bool,
    // Last, so that the memory outlives the slot.
    _memory: memmap2::MmapMut,
}

/// Structures of the uAPI that are the same for both crates.
trait Same: Sized {
    type Ours;
    fn from_ours(ours: &Self::Ours) -> Self;
}

macro_rules! same {
    ($($name:ident)*) => {$(
        impl Same for host::$name {
            type Ours = $name;
            fn from_ours(ours: &$name) -> Self {
                const { assert!(size_of::<$name>() == size_of::<host::$name>()) };
                // SAFETY: both are the kernel's structure, which any bytes are a value of.
                unsafe { std::mem::transmute_copy(ours) }
            }
        }
    )*};
}

same!(kvm_regs kvm_sregs kvm_guest_debug);

fn named<T>(call: &'static str, result: Result<T, kvm_ioctls::Error>) -> Result<T, Error> {
    result.map_err(|error| Error::Host { call, error })
}

impl Subject for Real {
    fn new(way: Way, load: Load) -> Result<Option<Real>, Error> {
        if way.proposal().is_some() {
            return Ok(None);
        }
        let image = Image::new();
        let kvm = named("opening /dev/kvm", Kvm::new())?;
        let vm = named("KVM_CREATE_VM", kvm.create_vm())?;
        let mut memory = memmap2::MmapMut::map_anon(guest::RAM_SIZE).map_err(Error::Memory)?;
        memory.copy_from_slice(&image.ram);
        let region = host::kvm_userspace_memory_region {
            slot: 0,
            flags: 0,
            guest_phys_addr: 0,
            memory_size: guest::RAM_SIZE as u64,
            userspace_addr: memory.as_mut_ptr() as u64,
        };
        // SAFETY: the mapping is used by nothing else from here on, and outlives the VM.
        named("KVM_SET_USER_MEMORY_REGION", unsafe {
            vm.set_user_memory_region(region)
        })?;
        let mut vcpu = named("KVM_CREATE_VCPU", vm.create_vcpu(0))?;
        let cpuid = kvm.get_supported_cpuid(host::KVM_MAX_CPUID_ENTRIES);
        let cpuid = named("KVM_GET_SUPPORTED_CPUID", cpuid)?;
        named("KVM_SET_CPUID2", vcpu.set_cpuid2(&cpuid))?;
        let old = named("KVM_GET_SREGS", vcpu.get_sregs())?;
        let old = kvm_sregs {
            apic_base: old.apic_base,
            ..kvm_sregs::default()
        };
        let sregs = long_mode::sregs(&old, guest::cr3_of(0));
        let sregs = host::kvm_sregs::from_ours(&sregs);
        named("KVM_SET_SREGS", vcpu.set_sregs(&sregs))?;
        let regs = host::kvm_regs::from_ours(&image.start(load));
        named("KVM_SET_REGS", vcpu.set_regs(&regs))?;
        if load == Load::Breakpoints {
            let debug = host::kvm_guest_debug::from_ours(&image.debug());
            named("KVM_SET_GUEST_DEBUG", vcpu.set_guest_debug(&debug))?;
        }
        vcpu.sync_regs_mut().regs = host::kvm_regs::from_ours(&image.past_event());
        Ok(Some(Real {
            vcpu,
            _vm: vm,
            way,
            on: false,
            _memory: memory,
        }))
    }

    fn switch(&mut self, on: bool) {
        let sets = if on { self.way.valid_regs() } else { 0 };
        self.vcpu.get_kvm_run().kvm_valid_regs = sets;
        self.on = on;
    }

    fn events(&mut self, count: u32, seen: &mut Seen) -> Result<(), Error> {
        let way = if self.on { self.way } else { Way::Bare };
        let vcpu = &mut self.vcpu;
        for event in 0..count as usize {
            match named("KVM_RUN", vcpu.run())? {
                VcpuExit::Debug(_) => {}
                other => return Err(Error::Unexpected(format!("{other:?}"))),
            }
            match way {
                Way::GetSregs => seen.note(named("KVM_GET_SREGS", vcpu.get_sregs())?.cr3),
                Way::SyncAll => seen.note(vcpu.sync_regs_mut().sregs.cr3),
                _ => seen.note(black_box(guest::cr3_of(event % PROCESSES))),
            }
            vcpu.get_kvm_run().kvm_dirty_regs = host::KVM_SYNC_X86_REGS.into();
        }
        Ok(())
    }

    fn exits(&mut self, count: u32) -> Result<(), Error> {
        for _ in 0..count {
            match named("KVM_RUN", self.vcpu.run())? {
                VcpuExit::IoOut(..) => {}
                other => return Err(Error::Unexpected(format!("{other:?}"))),
            }
        }
        Ok(())
    }
}
