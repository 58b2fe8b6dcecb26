//! The local APIC (SDM vol. 3A, chapter 11; AMD APM vol. 2, chapter 16).
//!
//! ```text
//!   another vCPU's ICR ─┐
//!   IOAPIC, MSI ────────┼─► delivery: who is meant? ─► accept ─► IRR ─► PPR? ─► ISR ─► the vCPU
//!   timer, LINT0 ───────┘                                 │                     └─ EOI ─► IOAPIC
//!                                                         └─► NMI, INIT, SIPI: events
//! ```
//!
//! It belongs to the [`Peer`](crate::vcpu::peer::Peer), as others deliver to it. Its registers are atomics: others set
//! bits of IRR and TMR and look at what tells whom a message is for; all else is written by its own
//! vCPU's thread (or by an ioctl of that vCPU). No lock is held while a message is delivered.
//!
//! What differs from a processor is KVM's way: no errors are noted in ESR, no message is lost on a
//! bus, and a logical APIC ID may be shared.

pub mod delivery;
pub mod image;
pub mod msrs;
pub mod registers;
pub mod timer;
pub(crate) mod tpr;

use crate::cpuid;
use crate::machine::Machine;
use crate::{Cpu, interrupts, mmu};
use registers::reg;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};

/// Bits of IA32_APIC_BASE (SDM vol. 3A, figure 11-5 and 11-26).
pub mod base {
    /// This is the processor that begins.
    pub const BSP: u64 = 1 << 8;
    /// x2APIC mode.
    pub const X2APIC: u64 = 1 << 10;
    /// The local APIC is enabled.
    pub const ENABLE: u64 = 1 << 11;
    /// Where its page lies after reset.
    pub const ADDRESS: u64 = 0xfee0_0000;
}

/// Bits of [`Apic::events`].
pub(crate) mod event {
    /// A non-maskable interrupt.
    pub(crate) const NMI: u32 = 1 << 0;
    /// INIT.
    pub(crate) const INIT: u32 = 1 << 1;
    /// A start-up message.
    pub(crate) const SIPI: u32 = 1 << 2;
    /// `KVM_HC_KICK_CPU`: the end of a halt.
    pub(crate) const KICK: u32 = 1 << 3;
}

/// Bits of an entry of the local vector table (SDM vol. 3A, figure 11-8).
mod lvt {
    pub(super) const MASKED: u32 = 1 << 16;
    pub(super) const LEVEL: u32 = 1 << 15;
    pub(super) const MODE: u32 = 7 << 8;
    pub(super) const EXT_INT: u32 = 7 << 8;
    pub(super) const NMI: u32 = 4 << 8;
}

/// What a VM's local APICs have in common, set before they are made, but for the first two.
#[derive(Debug)]
pub struct Options {
    /// `KVM_X2APIC_API_USE_32BIT_IDS`: messages, routes and images have ids of 32 bits.
    pub ids_of_32_bits: AtomicBool,
    /// `KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK`: 0xff is one x2APIC in messages of devices.
    pub no_broadcast_quirk: AtomicBool,
    /// `KVM_CAP_X86_APIC_BUS_CYCLES_NS`: nanoseconds of a cycle that timers count.
    pub bus_cycle: AtomicU64,
    /// `KVM_SET_BOOT_CPU_ID`: the vCPU that begins.
    pub boot_cpu: AtomicU32,
    /// The quirk [`crate::quirks::quirk::LINT0_REENABLED`]: the PICs get through to that vCPU after reset.
    pub lint0_reenabled: AtomicBool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            ids_of_32_bits: AtomicBool::new(false),
            no_broadcast_quirk: AtomicBool::new(false),
            bus_cycle: AtomicU64::new(1),
            boot_cpu: AtomicU32::new(0),
            lint0_reenabled: AtomicBool::new(true),
        }
    }
}

/// The local APIC of a vCPU. Where interrupt controllers are user space's, only its base register and
/// its events are used.
#[derive(Debug)]
pub struct Apic {
    id: u32,
    in_kernel: bool,
    bus_cycle: u64,
    base: AtomicU64,
    /// The register page: a register of 32 bits every 16 bytes.
    regs: [AtomicU32; registers::COUNT],
    /// What is neither vector nor register: bits of [`event`].
    events: AtomicU32,
    /// The vector of the start-up message.
    sipi: AtomicU8,
    timer: Mutex<timer::Timer>,
}

impl Apic {
    /// The local APIC of the vCPU of number `id`, as it is after power-up.
    pub(crate) fn new(machine: &Machine, id: u32) -> Apic {
        let apic = Apic {
            id,
            in_kernel: machine.chipset().is_some(),
            bus_cycle: machine.apic.bus_cycle.load(Ordering::Relaxed).max(1),
            base: AtomicU64::new(base::ADDRESS | base::ENABLE),
            regs: [const { AtomicU32::new(0) }; registers::COUNT],
            events: AtomicU32::new(0),
            sipi: AtomicU8::new(0),
            timer: Mutex::default(),
        };
        if apic.is_boot_cpu(machine) {
            apic.base.fetch_or(base::BSP, Ordering::Relaxed);
        }
        apic.set(reg::ID, id << 24);
        apic.set_version(false);
        apic.reset(machine);
        apic
    }

    /// Whether this is the processor that begins.
    pub(crate) fn is_boot_cpu(&self, machine: &Machine) -> bool {
        machine.apic.boot_cpu.load(Ordering::Relaxed) == self.id
    }

    /// What INIT does: all but base and ID are as after power-up.
    pub(crate) fn reset(&self, machine: &Machine) {
        let quirk = machine.apic.lint0_reenabled.load(Ordering::Relaxed);
        let lint0 = quirk && self.is_boot_cpu(machine);
        self.timer().stop();
        for offset in (0..registers::COUNT as u32).map(|i| i << 4) {
            let value = match offset {
                reg::ID | reg::VERSION => continue,
                reg::LDR if self.x2apic() => continue,
                reg::DFR => u32::MAX,
                reg::SVR => 0xff,
                reg::LVT0 if lint0 => lvt::EXT_INT,
                reg::LVT_TIMER..=reg::LVT_ERROR => lvt::MASKED,
                _ => 0,
            };
            self.set(offset, value);
        }
    }

    /// Version 0x14, with six entries in its local vector table. Only with user space's IOAPIC can
    /// broadcasts of EOI be switched off, as its version has the register for that.
    fn set_version(&self, directed_eoi: bool) {
        let version = 0x14 | 5 << 16 | u32::from(directed_eoi) << 24;
        self.set(reg::VERSION, version);
    }

    /// A register.
    pub(crate) fn get(&self, offset: u32) -> u32 {
        self.regs[(offset >> 4) as usize & (registers::COUNT - 1)].load(Ordering::SeqCst)
    }

    fn set(&self, offset: u32, value: u32) {
        self.regs[(offset >> 4) as usize & (registers::COUNT - 1)].store(value, Ordering::SeqCst);
    }

    /// The word of a set of 256 vectors, and the bit in it.
    fn place(set: u32, vector: u8) -> (u32, u32) {
        (set + (u32::from(vector) / 32 * 16), 1 << (vector % 32))
    }

    fn set_vector(&self, set: u32, vector: u8, on: bool) {
        let (offset, bit) = Self::place(set, vector);
        let word = &self.regs[(offset >> 4) as usize & (registers::COUNT - 1)];
        if on {
            word.fetch_or(bit, Ordering::SeqCst);
        } else {
            word.fetch_and(!bit, Ordering::SeqCst);
        }
    }

    /// Whether a vector is in one of the three sets.
    pub(crate) fn has_vector(&self, set: u32, vector: u8) -> bool {
        let (offset, bit) = Self::place(set, vector);
        self.get(offset) & bit != 0
    }

    /// The highest vector of a set.
    pub(crate) fn highest(&self, set: u32) -> Option<u8> {
        (0..8u8).rev().find_map(|word| {
            let bits = self.get(set + u32::from(word) * 16);
            (bits != 0).then(|| word * 32 + 31 - bits.leading_zeros() as u8)
        })
    }

    /// Whether this and not user space is the local APIC.
    #[inline]
    pub fn in_kernel(&self) -> bool {
        self.in_kernel
    }

    /// The number of its vCPU, which is its x2APIC ID.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// IA32_APIC_BASE.
    #[inline]
    pub fn base(&self) -> u64 {
        self.base.load(Ordering::SeqCst)
    }

    /// Whether it is enabled, by IA32_APIC_BASE.
    pub fn enabled(&self) -> bool {
        self.base() & base::ENABLE != 0
    }

    /// Whether it is in x2APIC mode.
    pub fn x2apic(&self) -> bool {
        self.base() & base::X2APIC != 0
    }

    /// Whether software has enabled it (SDM vol. 3A, 11.9).
    pub(crate) fn software_enabled(&self) -> bool {
        self.get(reg::SVR) & registers::SVR_ENABLED != 0
    }

    /// LDR in x2APIC mode (SDM vol. 3A, 11.12.10.2): the cluster, and a bit in it.
    fn logical_x2apic_id(&self) -> u32 {
        self.id >> 4 << 16 | 1 << (self.id & 0xf)
    }

    /// IA32_APIC_BASE gets a value that has been checked.
    fn set_base(&self, value: u64) {
        let old = self.base.swap(value, Ordering::SeqCst);
        let changed = old ^ value;
        if changed & value & base::ENABLE != 0 {
            self.set(reg::ID, self.id << 24);
        }
        if changed & base::X2APIC != 0 {
            if value & base::X2APIC != 0 {
                self.set(reg::ID, self.id);
                self.set(reg::LDR, self.logical_x2apic_id());
            } else if value & base::ENABLE != 0 {
                self.set(reg::ID, self.id << 24);
            }
        }
    }

    /// The processor priority (SDM vol. 3A, 11.8.3.1), which PPR is set to.
    pub(crate) fn priority(&self) -> u8 {
        let task = self.get(reg::TPR) as u8;
        let service = self.highest(reg::ISR).unwrap_or(0);
        let priority = if task >> 4 >= service >> 4 {
            task
        } else {
            service & 0xf0
        };
        self.set(reg::PPR, u32::from(priority));
        priority
    }

    /// CR8, which is the upper half of TPR.
    pub fn cr8(&self) -> u64 {
        u64::from(self.get(reg::TPR) >> 4 & 0xf)
    }

    /// Sets CR8.
    pub(crate) fn set_cr8(&self, value: u64) {
        self.set(reg::TPR, (value as u32 & 0xf) << 4);
    }

    /// The vector that the vCPU is to be interrupted with, if its flags let it (SDM vol. 3A, 11.8.3).
    pub(crate) fn pending(&self) -> Option<u8> {
        let vector = self.highest(reg::IRR)?;
        (self.enabled() && vector >> 4 > self.priority() >> 4).then_some(vector)
    }

    /// The vCPU takes that vector.
    pub(crate) fn acknowledge(&self) -> Option<u8> {
        let vector = self.pending()?;
        self.set_vector(reg::IRR, vector, false);
        self.set_vector(reg::ISR, vector, true);
        self.priority();
        Some(vector)
    }

    /// Whether there is anything to be looked at: not whether it may be taken.
    pub(crate) fn attention(&self) -> bool {
        self.events.load(Ordering::SeqCst) != 0 || self.highest(reg::IRR).is_some()
    }

    /// Notes something that is no vector.
    pub(crate) fn note(&self, bits: u32) {
        self.events.fetch_or(bits, Ordering::SeqCst);
    }

    /// Which of these have been noted.
    pub(crate) fn noted(&self, bits: u32) -> u32 {
        self.events.load(Ordering::SeqCst) & bits
    }

    /// The same, and forgets them.
    pub(crate) fn take_noted(&self, bits: u32) -> u32 {
        self.events.fetch_and(!bits, Ordering::SeqCst) & bits
    }

    /// The vector of the last start-up message.
    pub(crate) fn sipi(&self) -> u8 {
        self.sipi.load(Ordering::SeqCst)
    }

    /// Whether interrupts of the PICs get to the vCPU (SDM vol. 3A, 11.5.1: LINT0 is ExtINT), which
    /// they also do if it is disabled.
    pub(crate) fn accepts_pic(&self) -> bool {
        let lint0 = self.get(reg::LVT0);
        !self.enabled() || lint0 & (lvt::MASKED | lvt::MODE) == lvt::EXT_INT
    }
}

/// Whether the guest has been told of a feature in ECX of CPUID's leaf 1.
fn told(cpu: &Cpu, bit: u32) -> bool {
    cpuid::query(cpu, 1, 0)[2] & 1 << bit != 0
}

/// CPUID.1:ECX: x2APIC mode.
const CPUID_X2APIC: u32 = 21;
/// CPUID.1:ECX: the timer's TSC-deadline mode.
const CPUID_TSC_DEADLINE: u32 = 24;

/// Writes IA32_APIC_BASE (SDM vol. 3A, 11.4.3 and 11.12.5), as the guest does, or as user space does,
/// which may go from each mode to each. None for #GP.
pub fn write_base(cpu: &mut Cpu, value: u64, host: bool) -> Option<()> {
    const MODE: u64 = base::ENABLE | base::X2APIC;
    let old = cpu.state.peer.apic().base() & MODE;
    let new = value & MODE;
    let mut reserved = !0 << mmu::physical_bits(cpu) | 0x2ff;
    if !told(cpu, CPUID_X2APIC) {
        reserved |= base::X2APIC;
    }
    let backwards = old == MODE && new == base::ENABLE || old == 0 && new == MODE;
    if value & reserved != 0 || new == base::X2APIC || backwards && !host {
        return None;
    }
    cpu.state.peer.apic().set_base(value);
    interrupts::look(cpu);
    Some(())
}

/// CPUID has been set: what the local APIC tells of itself follows.
pub fn cpuid_changed(cpu: &mut Cpu) {
    let split = cpu.state.machine.chipset().is_some_and(|c| c.is_split());
    let directed = split && told(cpu, CPUID_X2APIC);
    cpu.state.peer.apic().set_version(directed);
}
