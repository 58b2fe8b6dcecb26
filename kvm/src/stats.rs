//! Binary statistics (api.rst 4.133): counters of a VM or vCPU, behind a descriptor.
//!
//! ```text
//!   0   header   how many, and where the rest is
//!   24  id       "kvm-PID" or "kvm-PID/vcpu-ID", 48 bytes
//!   72  descriptors, 64 bytes each: type, unit, size, offset, name
//!   ..  data     u64s
//! ```
//!
//! The descriptor is a memfd that holds all of this, so that the program reads it without our
//! help; each counter is written there as well as here, once somebody has asked.
//!
//! Exits that a hardware KVM handles without its user (`wfi_exit_stat`, `hvc_exit_stat` and such)
//! do not happen on a software CPU: those counters stay 0.

use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{Mode, OFlags};
use understudy_abi::common::stats::*;
use understudy_abi::common::{kvm_stats_desc, kvm_stats_header};
use understudy_abi::run::Page;
use zerocopy::IntoBytes;

use crate::errno::Errno;
use crate::guest::Guest;
use crate::shared::SharedPages;

/// Bytes of a name, the final NUL included (`KVM_STATS_NAME_SIZE`).
const NAME_SIZE: usize = 48;
/// Buckets of KVM's histograms of waiting times.
const HISTOGRAM: u16 = 32;

/// A statistic.
#[derive(Debug)]
pub(crate) struct Statistic {
    name: &'static str,
    flags: u32,
    exponent: i16,
    size: u16,
}

const fn counter(name: &'static str) -> Statistic {
    Statistic {
        name,
        flags: KVM_STATS_TYPE_CUMULATIVE | KVM_STATS_UNIT_NONE | KVM_STATS_BASE_POW10,
        exponent: 0,
        size: 1,
    }
}

const fn nanoseconds(name: &'static str) -> Statistic {
    Statistic {
        name,
        flags: KVM_STATS_TYPE_CUMULATIVE | KVM_STATS_UNIT_SECONDS | KVM_STATS_BASE_POW10,
        exponent: -9,
        size: 1,
    }
}

/// What is now.
const fn instant(name: &'static str) -> Statistic {
    Statistic {
        flags: KVM_STATS_TYPE_INSTANT | KVM_STATS_UNIT_NONE | KVM_STATS_BASE_POW10,
        ..counter(name)
    }
}

/// The most that there ever was.
const fn peak(name: &'static str) -> Statistic {
    Statistic {
        flags: KVM_STATS_TYPE_PEAK | KVM_STATS_UNIT_NONE | KVM_STATS_BASE_POW10,
        ..counter(name)
    }
}

/// What is the case now.
const fn boolean(name: &'static str) -> Statistic {
    Statistic {
        flags: KVM_STATS_TYPE_INSTANT | KVM_STATS_UNIT_BOOLEAN | KVM_STATS_BASE_POW10,
        ..counter(name)
    }
}

const fn histogram(name: &'static str) -> Statistic {
    Statistic {
        name,
        flags: KVM_STATS_TYPE_LOG_HIST | KVM_STATS_UNIT_SECONDS | KVM_STATS_BASE_POW10,
        exponent: -9,
        size: HISTOGRAM,
    }
}

/// Those of a VM.
pub(crate) fn vm_statistics(guest: Guest) -> &'static [Statistic] {
    match guest {
        Guest::Arm64 => VM_STATS,
        Guest::X86_64 => X86_VM_STATS,
    }
}

/// Those of a vCPU.
pub(crate) fn vcpu_statistics(guest: Guest) -> &'static [Statistic] {
    match guest {
        Guest::Arm64 => VCPU_STATS,
        Guest::X86_64 => X86_VCPU_STATS,
    }
}

/// Those of an arm64 guest's VM; an x86-64 guest's begins with them.
const VM_STATS: &[Statistic] = &[
    counter("remote_tlb_flush"),
    counter("remote_tlb_flush_requests"),
];
/// Index in [`VM_STATS`].
pub(crate) const REMOTE_TLB_FLUSH: usize = 0;
/// Index in [`VM_STATS`].
pub(crate) const REMOTE_TLB_FLUSH_REQUESTS: usize = 1;

/// Those of an x86-64 guest's VM. What counts shadow and nested paging, which a software CPU does not
/// have, stays 0.
const X86_VM_STATS: &[Statistic] = &[
    counter("remote_tlb_flush"),
    counter("remote_tlb_flush_requests"),
    counter("mmu_shadow_zapped"),
    counter("mmu_pte_write"),
    counter("mmu_pde_zapped"),
    counter("mmu_flooded"),
    counter("mmu_recycled"),
    counter("mmu_cache_miss"),
    instant("mmu_unsync"),
    instant("pages_4k"),
    instant("pages_2m"),
    instant("pages_1g"),
    instant("nx_lpage_splits"),
    peak("max_mmu_rmap_size"),
    peak("max_mmu_page_hash_collisions"),
];

/// A vCPU's, before those of its architecture.
macro_rules! with_generic {
    ($($own:expr,)*) => {
        &[
            counter("halt_successful_poll"),
            counter("halt_attempted_poll"),
            counter("halt_poll_invalid"),
            counter("halt_wakeup"),
            nanoseconds("halt_poll_success_ns"),
            nanoseconds("halt_poll_fail_ns"),
            nanoseconds("halt_wait_ns"),
            histogram("halt_poll_success_hist"),
            histogram("halt_poll_fail_hist"),
            histogram("halt_wait_hist"),
            boolean("blocking"),
            $($own,)*
        ]
    };
}

/// Those of an arm64 vCPU.
const VCPU_STATS: &[Statistic] = with_generic![
    counter("hvc_exit_stat"),
    counter("wfe_exit_stat"),
    counter("wfi_exit_stat"),
    counter("mmio_exit_user"),
    counter("mmio_exit_kernel"),
    counter("signal_exits"),
    counter("exits"),
];
/// Index in [`VCPU_STATS`].
pub(crate) const MMIO_EXIT_USER: usize = 14;
/// Index in [`VCPU_STATS`].
pub(crate) const SIGNAL_EXITS: usize = 16;
/// Index in [`VCPU_STATS`].
pub(crate) const EXITS: usize = 17;

/// Those of an x86-64 vCPU.
const X86_VCPU_STATS: &[Statistic] = with_generic![
    counter("pf_taken"),
    counter("pf_fixed"),
    counter("pf_emulate"),
    counter("pf_spurious"),
    counter("pf_fast"),
    counter("pf_mmio_spte_created"),
    counter("pf_guest"),
    counter("tlb_flush"),
    counter("invlpg"),
    counter("exits"),
    counter("io_exits"),
    counter("mmio_exits"),
    counter("signal_exits"),
    counter("irq_window_exits"),
    counter("nmi_window_exits"),
    counter("l1d_flush"),
    counter("halt_exits"),
    counter("request_irq_exits"),
    counter("irq_exits"),
    counter("host_state_reload"),
    counter("fpu_reload"),
    counter("insn_emulation"),
    counter("insn_emulation_fail"),
    counter("hypercalls"),
    counter("irq_injections"),
    counter("nmi_injections"),
    counter("req_event"),
    counter("nested_run"),
    counter("directed_yield_attempted"),
    counter("directed_yield_successful"),
    counter("preemption_reported"),
    counter("preemption_other"),
    boolean("guest_mode"),
    counter("notify_window_exits"),
];

/// Indices in [`X86_VCPU_STATS`].
pub(crate) mod x86 {
    pub(crate) const EXITS: usize = 20;
    pub(crate) const IO_EXITS: usize = 21;
    pub(crate) const MMIO_EXITS: usize = 22;
    pub(crate) const SIGNAL_EXITS: usize = 23;
    pub(crate) const HALT_EXITS: usize = 27;
    pub(crate) const REQUEST_IRQ_EXITS: usize = 28;
}

/// The values of a VM or vCPU.
#[derive(Debug)]
pub(crate) struct Counters {
    statistics: &'static [Statistic],
    /// Index of each statistic's first value.
    first: Box<[usize]>,
    values: Box<[AtomicU64]>,
    published: OnceLock<Published>,
}

#[derive(Debug)]
struct Published {
    pages: SharedPages,
    fd: OwnedFd,
    data: usize,
}

impl Counters {
    /// All zero.
    pub(crate) fn new(statistics: &'static [Statistic]) -> Counters {
        let mut count = 0;
        let place = |statistic: &Statistic| {
            let first = count;
            count += usize::from(statistic.size);
            first
        };
        let first = statistics.iter().map(place).collect();
        Counters {
            statistics,
            first,
            values: (0..count).map(|_| AtomicU64::new(0)).collect(),
            published: OnceLock::new(),
        }
    }

    /// Adds 1 to a counter that only one thread counts at a time, as a vCPU's: whoever runs it holds it.
    #[inline]
    pub(crate) fn count(&self, statistic: usize) {
        self.add(statistic, |value| {
            let now = value.load(Ordering::Relaxed).wrapping_add(1);
            value.store(now, Ordering::Relaxed);
            now
        });
    }

    /// Adds 1 to a counter that others may count as well.
    pub(crate) fn count_shared(&self, statistic: usize) {
        self.add(statistic, |value| {
            value.fetch_add(1, Ordering::Relaxed).wrapping_add(1)
        });
    }

    #[inline(always)]
    fn add(&self, statistic: usize, add: impl FnOnce(&AtomicU64) -> u64) {
        let Some(&index) = self.first.get(statistic) else {
            return;
        };
        let Some(value) = self.values.get(index) else {
            return;
        };
        let now = add(value);
        if let Some(published) = self.published.get()
            && let Some(word) = published.pages.u64(published.data + 8 * index)
        {
            word.store(now, Ordering::Relaxed);
        }
    }

    /// `KVM_GET_STATS_FD`: a read-only descriptor with a position of its own.
    pub(crate) fn open(&self, id: &str) -> Result<OwnedFd, Errno> {
        let published = match self.published.get() {
            Some(published) => published,
            None => {
                let published = self.publish(id)?;
                self.published.get_or_init(|| published)
            }
        };
        // What was counted while the pages were being filled.
        for (index, value) in self.values.iter().enumerate() {
            if let Some(word) = published.pages.u64(published.data + 8 * index) {
                word.fetch_max(value.load(Ordering::Relaxed), Ordering::Relaxed);
            }
        }
        let path = format!("/proc/self/fd/{}", published.fd.as_fd().as_raw_fd());
        let fd = match rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) {
            Ok(fd) => fd,
            // Without /proc: one that shares its position with the others.
            Err(_) => rustix::io::fcntl_dupfd_cloexec(&published.fd, 0)?,
        };
        Ok(fd)
    }

    fn publish(&self, id: &str) -> Result<Published, Errno> {
        let id_offset = size_of::<kvm_stats_header>();
        let desc_offset = id_offset + NAME_SIZE;
        let desc_size = size_of::<kvm_stats_desc>() + NAME_SIZE;
        let data = desc_offset + desc_size * self.statistics.len();
        let (pages, fd) = SharedPages::new("kvm-stats", data + 8 * self.values.len())?;
        let header = kvm_stats_header {
            flags: 0,
            name_size: NAME_SIZE as u32,
            num_desc: self.statistics.len() as u32,
            id_offset: id_offset as u32,
            desc_offset: desc_offset as u32,
            data_offset: data as u32,
        };
        pages.store(0, header.as_bytes());
        pages.store(id_offset, name_bytes(id).as_bytes());
        for (n, statistic) in self.statistics.iter().enumerate() {
            let desc = kvm_stats_desc {
                flags: statistic.flags,
                exponent: statistic.exponent,
                size: statistic.size,
                offset: 8 * self.first[n] as u32,
                bucket_size: 0,
            };
            let at = desc_offset + n * desc_size;
            pages.store(at, desc.as_bytes());
            let name = name_bytes(statistic.name);
            pages.store(at + size_of::<kvm_stats_desc>(), name.as_bytes());
        }
        Ok(Published { pages, fd, data })
    }
}

fn name_bytes(name: &str) -> [u8; NAME_SIZE] {
    let mut bytes = [0; NAME_SIZE];
    for (to, from) in bytes[..NAME_SIZE - 1].iter_mut().zip(name.bytes()) {
        *to = from;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::Read;
    use std::os::unix::fs::FileExt;
    use zerocopy::FromBytes;

    #[test]
    fn indices_are_of_the_statistics_they_name() {
        assert_eq!(VM_STATS[REMOTE_TLB_FLUSH].name, "remote_tlb_flush");
        let requests = &VM_STATS[REMOTE_TLB_FLUSH_REQUESTS];
        assert_eq!(requests.name, "remote_tlb_flush_requests");
        assert_eq!(VCPU_STATS[MMIO_EXIT_USER].name, "mmio_exit_user");
        assert_eq!(VCPU_STATS[SIGNAL_EXITS].name, "signal_exits");
        assert_eq!(VCPU_STATS[EXITS].name, "exits");
        let x86 = |index: usize| X86_VCPU_STATS[index].name;
        assert_eq!(x86(x86::EXITS), "exits");
        assert_eq!(x86(x86::IO_EXITS), "io_exits");
        assert_eq!(x86(x86::MMIO_EXITS), "mmio_exits");
        assert_eq!(x86(x86::SIGNAL_EXITS), "signal_exits");
        assert_eq!(x86(x86::HALT_EXITS), "halt_exits");
        assert_eq!(x86(x86::REQUEST_IRQ_EXITS), "request_irq_exits");
        assert_eq!(X86_VM_STATS[REMOTE_TLB_FLUSH].name, "remote_tlb_flush");
    }

    /// What the kernel's `kvm_binary_stats_test` checks, and that values are live.
    #[test]
    fn the_file_is_as_the_kernel_lays_it_out() {
        let counters = Counters::new(VCPU_STATS);
        counters.count(EXITS);
        let fd = counters.open("kvm-1/vcpu-2").unwrap();
        let mut file = File::from(fd);
        let mut head = [0; 24];
        file.read_exact(&mut head).unwrap();
        let header = kvm_stats_header::read_from_bytes(&head).unwrap();
        assert_eq!(header.flags, 0);
        assert_eq!(header.name_size, 48);
        assert_eq!(header.num_desc as usize, VCPU_STATS.len());
        assert_eq!(header.id_offset, 24);
        assert_eq!(header.desc_offset, 24 + 48);
        assert_eq!(header.data_offset, 24 + 48 + header.num_desc * 64);

        let mut id = [0; 48];
        file.read_exact_at(&mut id, 24).unwrap();
        assert_eq!(&id[..13], b"kvm-1/vcpu-2\0");

        let mut end = 0;
        for (n, statistic) in VCPU_STATS.iter().enumerate() {
            let mut bytes = [0; 64];
            let at = u64::from(header.desc_offset) + n as u64 * 64;
            file.read_exact_at(&mut bytes, at).unwrap();
            let desc = kvm_stats_desc::read_from_bytes(&bytes[..16]).unwrap();
            assert_eq!(
                &bytes[16..16 + statistic.name.len()],
                statistic.name.as_bytes()
            );
            assert!(bytes.ends_with(&[0]));
            assert!(desc.flags & KVM_STATS_TYPE_MASK <= KVM_STATS_TYPE_LOG_HIST);
            assert!(desc.flags & KVM_STATS_UNIT_MASK <= KVM_STATS_UNIT_BOOLEAN);
            assert!(desc.flags & KVM_STATS_BASE_MASK <= KVM_STATS_BASE_POW2);
            assert_eq!(desc.offset, end);
            end += 8 * u32::from(desc.size);
        }
        let length = file.metadata().unwrap().len();
        assert_eq!(length, u64::from(header.data_offset + end));

        let exits = || {
            let mut value = [0; 8];
            file.read_exact_at(&mut value, length - 8).unwrap();
            u64::from_ne_bytes(value)
        };
        assert_eq!(exits(), 1);
        counters.count(EXITS);
        assert_eq!(exits(), 2);
        // Another descriptor has its own position; neither can be written.
        let other = counters.open("").unwrap();
        let mut other = File::from(other);
        let mut again = [0; 24];
        other.read_exact(&mut again).unwrap();
        assert_eq!(again, head);
        assert!(other.write_at(&[1], 0).is_err());
    }
}
