//! Irqfds (api.rst 4.75, "KVM_IRQFD"): an eventfd that is signalled raises an interrupt.
//!
//! ```text
//!   eventfd ──► epoll ──► the VM's thread ──► up and down                    an edge
//!                                         └─► up, until the guest has ended it: then down, and
//!                                             the other eventfd is signalled  KVM_IRQFD_FLAG_RESAMPLE
//! ```
//!
//! The thread begins with the first irqfd and ends with the VM. It waits for nothing but epoll.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use rustix::buffer::spare_capacity;
use rustix::event::{EventfdFlags, epoll, eventfd};
use understudy_abi::common::{IrqfdFlags, kvm_irqfd};
use understudy_x86::chipset::{Acks, source};
use understudy_x86::machine::Machine;

use crate::errno::Errno;
use crate::eventfd::EventFd;
use crate::process::Generation;

/// What an event is by which the thread is told to end.
const END: u64 = 0;

/// An eventfd and its interrupt.
#[derive(Debug)]
struct Irqfd {
    event: EventFd,
    gsi: u32,
    /// What is signalled when the guest has ended the interrupt.
    resample: Option<Arc<EventFd>>,
}

#[derive(Debug, Default)]
struct List {
    /// By what epoll calls them.
    all: HashMap<u64, Irqfd>,
    last: u64,
    /// The VM is gone.
    ended: bool,
}

/// What the thread, the ioctl and the interrupt controllers have in common.
#[derive(Debug)]
struct Shared {
    machine: Weak<Machine>,
    epoll: OwnedFd,
    end: OwnedFd,
    /// Held while interrupts are raised, so that none comes from an irqfd that is removed.
    list: Mutex<List>,
    /// Whom to tell of an interrupt's end. Nothing else is locked while this is.
    resamplers: Mutex<HashMap<u32, Vec<Arc<EventFd>>>>,
}

impl Shared {
    fn new(machine: &Arc<Machine>) -> Result<Arc<Shared>, Errno> {
        let shared = Arc::new(Shared {
            machine: Arc::downgrade(machine),
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            end: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            list: Mutex::default(),
            resamplers: Mutex::default(),
        });
        let data = epoll::EventData::new_u64(END);
        epoll::add(&shared.epoll, &shared.end, data, epoll::EventFlags::IN)?;
        let thread = std::thread::Builder::new().name("irqfd".into());
        let its = shared.clone();
        let begun = thread.spawn(move || its.serve());
        begun.map_err(|_| Errno::ENOMEM)?;
        Ok(shared)
    }

    fn list(&self) -> MutexGuard<'_, List> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn resamplers(&self) -> MutexGuard<'_, HashMap<u32, Vec<Arc<EventFd>>>> {
        self.resamplers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The thread.
    fn serve(&self) {
        let mut events = Vec::with_capacity(16);
        loop {
            events.clear();
            match epoll::wait(&self.epoll, spare_capacity(&mut events), None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(_) => return,
            }
            let list = self.list();
            let machine = self.machine.upgrade();
            let Some(machine) = machine.filter(|_| !list.ended) else {
                return;
            };
            for event in &events {
                let key = event.data;
                let Some(irqfd) = list.all.get(&key.u64()) else {
                    continue;
                };
                if irqfd.event.take() {
                    irqfd.raise(&machine);
                }
                // A descriptor that the program has closed is not heard of again.
                let _ = epoll::modify(&self.epoll, &irqfd.event, key, ONCE);
            }
        }
    }

    fn assign(&self, irqfd: Irqfd) -> Result<(), Errno> {
        let mut list = self.list();
        if list.all.values().any(|other| other.event.is(&irqfd.event)) {
            return Err(Errno::EBUSY);
        }
        list.last += 1;
        let key = list.last;
        if let Some(resample) = &irqfd.resample {
            let mut all = self.resamplers();
            all.entry(irqfd.gsi).or_default().push(resample.clone());
        }
        // What it has counted already is an event.
        let data = epoll::EventData::new_u64(key);
        if let Err(error) = epoll::add(&self.epoll, &irqfd.event, data, ONCE) {
            self.forget(&irqfd);
            return Err(error.into());
        }
        list.all.insert(key, irqfd);
        Ok(())
    }

    fn deassign(&self, event: &EventFd, gsi: u32) {
        let mut list = self.list();
        let gone = |irqfd: &Irqfd| irqfd.gsi == gsi && irqfd.event.is(event);
        for (_, irqfd) in list.all.extract_if(|_, irqfd| gone(irqfd)) {
            let _ = epoll::delete(&self.epoll, &irqfd.event);
            self.forget(&irqfd);
        }
    }

    /// Its end is nobody's business any more. The last one of an interrupt lets its level go.
    fn forget(&self, irqfd: &Irqfd) {
        let Some(resample) = &irqfd.resample else {
            return;
        };
        let mut all = self.resamplers();
        let Some(left) = all.get_mut(&irqfd.gsi) else {
            return;
        };
        left.retain(|other| !Arc::ptr_eq(other, resample));
        if !left.is_empty() {
            return;
        }
        all.remove(&irqfd.gsi);
        drop(all);
        if let Some(machine) = self.machine.upgrade() {
            machine.set_irq(irqfd.gsi, source::RESAMPLE, false);
        }
    }
}

/// An event disables itself, so that nothing that the program does to an eventfd keeps the thread busy.
const ONCE: epoll::EventFlags = epoll::EventFlags::IN.union(epoll::EventFlags::ONESHOT);

impl Irqfd {
    fn raise(&self, machine: &Machine) {
        if self.resample.is_some() {
            machine.set_irq(self.gsi, source::RESAMPLE, true);
        } else {
            machine.set_irq(self.gsi, source::USER, true);
            machine.set_irq(self.gsi, source::USER, false);
        }
    }
}

impl Acks for Shared {
    fn acked(&self, gsi: u32) {
        let Some(events) = self.resamplers().get(&gsi).cloned() else {
            return;
        };
        // Down before they are told, as they may raise it again at once.
        if let Some(machine) = self.machine.upgrade() {
            machine.set_irq(gsi, source::RESAMPLE, false);
        }
        for event in events {
            event.signal();
        }
    }
}

/// The irqfds of a VM.
#[derive(Debug)]
pub(crate) struct Irqfds {
    shared: Mutex<Option<Arc<Shared>>>,
    owner: Generation,
}

impl Irqfds {
    /// None.
    pub(crate) fn new() -> Irqfds {
        Irqfds {
            shared: Mutex::default(),
            owner: Generation::now(),
        }
    }

    /// `KVM_IRQFD`.
    pub(crate) fn set(&self, machine: &Arc<Machine>, of: &kvm_irqfd) -> Result<(), Errno> {
        let flags = IrqfdFlags::from_bits(of.flags).ok_or(Errno::EINVAL)?;
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        if flags.contains(IrqfdFlags::DEASSIGN) {
            let event = EventFd::of(of.fd as i32)?;
            if let Some(shared) = &*shared {
                shared.deassign(&event, of.gsi);
            }
            return Ok(());
        }
        let resamples = flags.contains(IrqfdFlags::RESAMPLE);
        // Only PICs and an IOAPIC in the kernel say when an interrupt is over.
        let chipset = machine
            .chipset()
            .filter(|chipset| !resamples || !chipset.is_split())
            .ok_or(Errno::EINVAL)?;
        let event = EventFd::of(of.fd as i32)?;
        let resample = match resamples {
            true => Some(Arc::new(EventFd::of(of.resamplefd as i32)?)),
            false => None,
        };
        let shared = match &mut *shared {
            Some(shared) => shared,
            none => none.insert(Shared::new(machine)?),
        };
        chipset.listen(shared.clone());
        shared.assign(Irqfd {
            event,
            gsi: of.gsi,
            resample,
        })
    }
}

impl Drop for Irqfds {
    /// Ends the thread, which is of the process that made the VM.
    fn drop(&mut self) {
        let shared = self.shared.get_mut();
        let shared = shared.unwrap_or_else(PoisonError::into_inner).take();
        if let Some(shared) = shared.filter(|_| self.owner == Generation::now()) {
            shared.list().ended = true;
            let _ = rustix::io::write(&shared.end, &1u64.to_ne_bytes());
        }
    }
}
