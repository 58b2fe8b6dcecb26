//! The interrupt controllers and the timer of a PC's board, and how interrupts get from devices to
//! vCPUs.
//!
//! ```text
//!   KVM_IRQ_LINE, irqfd, PIT ─► gsi ─► routes ─┬─► PICs ──► the vCPU whose LINT0 is ExtINT
//!                                              ├─► IOAPIC ─► message ─┐
//!                                              └─► message ───────────┴─► local APICs
//! ```
//!
//! With a *split* irqchip there are only the routes that are messages: PICs and IOAPIC are user space's.
//!
//! No lock is held while a vCPU or a listener is told, but for the IOAPIC's, under which it delivers
//! its messages.

pub mod ioapic;
pub mod pic;
pub mod pit;
pub mod routing;

use crate::apic::{Apic, delivery};
use crate::machine::Machine;
use ioapic::Ioapic;
use pic::{Acked, Pics};
use routing::{Route, Routing};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use understudy_abi::x86::{kvm_ioapic_state, kvm_pic_state};
use understudy_engine::request::INTERRUPT;

/// Who sets an interrupt's level: it is high while one of them holds it so.
pub mod source {
    /// `KVM_IRQ_LINE`, and eventfds without the next.
    pub const USER: u8 = 0;
    /// eventfds with `KVM_IRQFD_FLAG_RESAMPLE`.
    pub const RESAMPLE: u8 = 1;
    /// The timer.
    pub const PIT: u8 = 2;
}

/// Somebody who wants to know that an interrupt is over.
pub trait Acks: Send + Sync {
    /// The guest has told the controller that the interrupt of this number is over.
    fn acked(&self, gsi: u32);
}

/// The interrupt controllers that a VM has besides its local APICs.
pub struct Chipset {
    /// How many interrupts of user space's IOAPIC there are, if it is there.
    split: Option<u32>,
    pics: Mutex<Pics>,
    /// The PICs have an interrupt.
    output: AtomicBool,
    ioapic: Mutex<Ioapic>,
    /// Vectors that the IOAPIC's table has.
    vectors: [AtomicU64; 4],
    routing: RwLock<Arc<Routing>>,
    pit: OnceLock<pit::Device>,
    listener: OnceLock<Arc<dyn Acks>>,
}

impl Chipset {
    /// PICs and IOAPIC (`KVM_CREATE_IRQCHIP`), or neither (`KVM_CAP_SPLIT_IRQCHIP`, with so many inputs of
    /// user space's IOAPIC).
    pub fn new(split: Option<u32>) -> Chipset {
        let routing = match split {
            None => Routing::initial(),
            Some(_) => Routing::default(),
        };
        let ioapic = Ioapic::default();
        Chipset {
            split,
            pics: Mutex::default(),
            output: AtomicBool::new(false),
            vectors: ioapic.vectors().map(AtomicU64::new),
            ioapic: Mutex::new(ioapic),
            routing: RwLock::new(Arc::new(routing)),
            pit: OnceLock::new(),
            listener: OnceLock::new(),
        }
    }

    /// Whether PICs and IOAPIC are user space's.
    pub fn is_split(&self) -> bool {
        self.split.is_some()
    }

    /// The timer.
    pub fn pit(&self) -> Option<&pit::Device> {
        self.pit.get()
    }

    /// Makes the timer (KVM API 4.71, "KVM_CREATE_PIT2"); false if there is one already (`EEXIST`).
    pub fn create_pit(&self, machine: &Arc<Machine>, speaker: bool) -> bool {
        self.pit.set(pit::Device::new(machine, speaker)).is_ok()
    }

    /// Has somebody told of ends of interrupts; only the first one is.
    pub fn listen(&self, listener: Arc<dyn Acks>) {
        let _ = self.listener.set(listener);
    }

    fn routing(&self) -> Arc<Routing> {
        self.routing
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Replaces all routes (KVM API 4.52, "KVM_SET_GSI_ROUTING"); false if one is not valid (`EINVAL`).
    #[must_use]
    pub fn set_routing(&self, machine: &Machine, list: &[(u32, Route)]) -> bool {
        let Some(routing) = Routing::new(machine, list) else {
            return false;
        };
        *self.routing.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(routing);
        true
    }

    fn ioapic(&self) -> MutexGuard<'_, Ioapic> {
        self.ioapic.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Works on the PICs, and tells of what follows.
    fn with_pics<R>(&self, machine: &Machine, f: impl FnOnce(&mut Pics) -> R) -> R {
        let mut pics = self.pics.lock().unwrap_or_else(PoisonError::into_inner);
        let result = f(&mut pics);
        let output = pics.output();
        self.output.store(output, Ordering::SeqCst);
        let Acked { inputs, unmasked } = pics.acked();
        drop(pics);
        if output {
            let mut told = false;
            machine.vcpus.each(|peer| {
                if !told && peer.apic().accepts_pic() {
                    told = true;
                    peer.post(INTERRUPT);
                }
            });
        }
        if inputs | unmasked != 0 {
            self.over(machine, inputs.into(), unmasked.into(), Route::Pic);
        }
        result
    }

    /// Works on the IOAPIC, which sends its messages meanwhile.
    fn with_ioapic<R>(
        &self,
        machine: &Machine,
        f: impl FnOnce(&mut Ioapic, ioapic::Send) -> R,
    ) -> R {
        let mut send = |m: &delivery::Message| delivery::deliver(machine, None, m);
        f(&mut self.ioapic(), &mut send)
    }

    /// Tells of interrupts that are over, and of ones that are unmasked.
    fn over(&self, machine: &Machine, over: u32, unmasked: u32, route: fn(u8) -> Route) {
        let routing = self.routing();
        for input in (0..32u8).filter(|input| (over | unmasked) & 1 << input != 0) {
            for gsi in routing.of(route(input)) {
                if let Some(pit) = self.pit().filter(|_| gsi == 0) {
                    if unmasked & 1 << input != 0 {
                        pit.unmasked();
                    }
                    if over & 1 << input != 0 {
                        pit.acked(machine);
                    }
                }
                if let Some(listener) = self.listener.get()
                    && over & 1 << input != 0
                {
                    listener.acked(gsi);
                }
            }
        }
    }

    /// A source sets the level of an interrupt. Gives how many vCPUs it was delivered to, 0 if it had
    /// been asked for already, -1 if it was ignored (KVM API 4.25, `KVM_IRQ_LINE_STATUS`).
    fn set_irq(&self, machine: &Machine, gsi: u32, source: u8, high: bool) -> i32 {
        let mut result = -1;
        for route in self.routing().get(gsi) {
            let one = match *route {
                Route::Pic(input) => self.with_pics(machine, |pics| pics.set(input, source, high)),
                Route::Ioapic(pin) => self.with_ioapic(machine, |ioapic, send| {
                    ioapic.set(pin.into(), source, high, send)
                }),
                Route::Msi { address, data } if high => machine.signal_msi(address, data),
                Route::Msi { .. } => -1,
            };
            if one >= 0 {
                result = result.max(0) + one;
            }
        }
        result
    }

    /// The EOI of a vector by a vCPU. Gives whether user space has to be told
    /// (`KVM_EXIT_IOAPIC_EOI`).
    pub(crate) fn end_of_interrupt(
        &self,
        machine: &Machine,
        apic: &Apic,
        vector: u8,
        level: bool,
        quiet: bool,
    ) -> bool {
        if let Some(pins) = self.split {
            let routing = self.routing();
            return (0..pins).flat_map(|gsi| routing.get(gsi)).any(|route| {
                let Route::Msi { address, data } = *route else {
                    return false;
                };
                let message = machine.message(address, data);
                let here = level || apic.is_meant(machine, None, &message);
                message.level && message.vector == vector && here
            });
        }
        let word = self.vectors[usize::from(vector / 64)].load(Ordering::Relaxed);
        if word & 1 << (vector % 64) != 0 {
            let acked = self.with_ioapic(machine, |ioapic, send| {
                ioapic.end_of_interrupt(vector, level, quiet, send)
            });
            self.over(machine, acked, 0, Route::Ioapic);
        }
        false
    }

    /// Whether the PICs have an interrupt.
    pub(crate) fn output(&self) -> bool {
        self.output.load(Ordering::SeqCst)
    }

    /// The vCPU takes the interrupt of the PICs.
    pub(crate) fn acknowledge(&self, machine: &Machine) -> u8 {
        self.with_pics(machine, Pics::acknowledge)
    }

    /// A load from the IOAPIC; false if it is none.
    pub(crate) fn load(&self, address: u64, data: &mut [u8]) -> bool {
        if self.is_split() {
            return false;
        }
        let ioapic = self.ioapic();
        let offset = address.wrapping_sub(ioapic.address());
        if offset >= ioapic::SIZE {
            return false;
        }
        ioapic.load(offset, data);
        true
    }

    /// A store to the IOAPIC; false if it is none.
    pub(crate) fn store(&self, machine: &Machine, address: u64, data: &[u8]) -> bool {
        if self.is_split() {
            return false;
        }
        let unmasked = self.with_ioapic(machine, |ioapic, send| {
            let offset = address.wrapping_sub(ioapic.address());
            let unmasked = (offset < ioapic::SIZE).then(|| ioapic.store(offset, data, send));
            self.note_vectors(ioapic);
            unmasked
        });
        match unmasked {
            None => return false,
            Some(0) => {}
            Some(pins) => self.over(machine, 0, pins, Route::Ioapic),
        }
        true
    }

    fn note_vectors(&self, ioapic: &Ioapic) {
        for (to, from) in self.vectors.iter().zip(ioapic.vectors()) {
            to.store(from, Ordering::Relaxed);
        }
    }

    /// Reads a port of the PICs or of the timer; false if it is none.
    pub(crate) fn read_port(&self, machine: &Machine, port: u16, data: &mut [u8]) -> bool {
        if self.is_split() {
            return false;
        }
        let pic = matches!(port, 0x20 | 0x21 | 0xa0 | 0xa1 | 0x4d0 | 0x4d1);
        let value = if pic && data.len() != 1 {
            Some(0)
        } else if pic {
            self.with_pics(machine, |pics| pics.read(port))
        } else {
            self.pit().and_then(|pit| pit.read(port))
        };
        let Some(value) = value else {
            return false;
        };
        data.fill(0);
        if let Some(first) = data.first_mut() {
            *first = value;
        }
        true
    }

    /// Writes a port of the PICs or of the timer; false if it is none.
    pub(crate) fn write_port(&self, machine: &Machine, port: u16, data: &[u8]) -> bool {
        let Some(value) = data.first().copied().filter(|_| !self.is_split()) else {
            return false;
        };
        if matches!(port, 0x20 | 0x21 | 0xa0 | 0xa1 | 0x4d0 | 0x4d1) {
            return data.len() != 1 || self.with_pics(machine, |pics| pics.write(port, value));
        }
        self.pit()
            .is_some_and(|pit| pit.write(machine, port, value))
    }

    /// The image of a PIC, 0 or 1 (KVM API 4.26, "KVM_GET_IRQCHIP").
    pub fn pic_image(&self, which: usize) -> kvm_pic_state {
        self.pics
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .image(which)
    }

    /// Sets a PIC to an image (KVM API 4.27, "KVM_SET_IRQCHIP").
    pub fn set_pic_image(&self, machine: &Machine, which: usize, image: &kvm_pic_state) {
        self.with_pics(machine, |pics| pics.set_image(which, image));
    }

    /// The image of the IOAPIC.
    pub fn ioapic_image(&self) -> kvm_ioapic_state {
        self.ioapic().image()
    }

    /// Sets the IOAPIC to an image.
    pub fn set_ioapic_image(&self, machine: &Machine, image: &kvm_ioapic_state) {
        self.with_ioapic(machine, |ioapic, send| {
            ioapic.set_image(image, send);
            self.note_vectors(ioapic);
        });
    }
}

impl fmt::Debug for Chipset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chipset").finish_non_exhaustive()
    }
}

impl Machine {
    /// A source ([`source`]) sets the level of the interrupt of this number. Gives what
    /// `KVM_IRQ_LINE_STATUS` does: how many vCPUs it was delivered to, 0 if it had been asked for
    /// already, -1 if it was ignored.
    pub fn set_irq(&self, gsi: u32, source: u8, high: bool) -> i32 {
        self.chipset()
            .map_or(-1, |chipset| chipset.set_irq(self, gsi, source, high))
    }
}
