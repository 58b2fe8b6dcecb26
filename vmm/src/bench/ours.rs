//! The benchmark's guest on Understudy.

use std::hint::black_box;
use understudy_abi::x86::{SyncRegs, kvm_sync_regs};
use understudy_kvm::{Kvm, VcpuExit};

use super::guest::{self, Image, Load};
use super::{PROCESSES, Seen, Subject, Way};
use crate::error::{Error, named};
use crate::long_mode;
use crate::machine::Machine;

/// A guest of one way.
pub(super) struct Ours {
    machine: Machine,
    way: Way,
    on: bool,
}

impl Subject for Ours {
    fn new(way: Way, load: Load) -> Result<Option<Ours>, Error> {
        let image = Image::new();
        let kvm = Kvm::x86(way.proposals());
        let machine = Machine::new(&kvm, &image.ram, 0, guest::RAM_SIZE)?;
        let vcpu = &machine.vcpu;
        let old = named("KVM_GET_SREGS", vcpu.get_sregs())?;
        let sregs = long_mode::sregs(&old, guest::cr3_of(0));
        named("KVM_SET_SREGS", vcpu.set_sregs(&sregs))?;
        named("KVM_SET_REGS", vcpu.set_regs(&image.start(load)))?;
        if load == Load::Breakpoints {
            named("KVM_SET_GUEST_DEBUG", vcpu.set_guest_debug(&image.debug()))?;
        }
        vcpu.set_save_regs_on_exit(&way.save_regs_on_exit());
        vcpu.set_sync_regs(&kvm_sync_regs {
            regs: image.past_event(),
            ..kvm_sync_regs::default()
        });
        Ok(Some(Ours {
            machine,
            way,
            on: false,
        }))
    }

    fn switch(&mut self, on: bool) {
        let sets = if on { self.way.valid_regs() } else { 0 };
        self.machine.vcpu.set_sync_valid_regs(sets);
        self.on = on;
    }

    fn events(&mut self, count: u32, seen: &mut Seen) -> Result<(), Error> {
        let way = if self.on { self.way } else { Way::Bare };
        let vcpu = &mut self.machine.vcpu;
        for event in 0..count as usize {
            match named("KVM_RUN", vcpu.run())? {
                VcpuExit::X86Debug(_) => {}
                other => return Err(Error::Unexpected(format!("{other:?}"))),
            }
            match way {
                // What is done with a CR3 is done with one that is known.
                Way::Bare => seen.note(black_box(guest::cr3_of(event % PROCESSES))),
                Way::GetSregs => {
                    let sregs = named("KVM_GET_SREGS", vcpu.get_sregs())?;
                    seen.note(sregs.cr3);
                }
                Way::Field => seen.note(vcpu.debug_exit_cr3()),
                Way::SyncAll | Way::SyncConditional | Way::SyncDebug => {
                    seen.note(vcpu.sync_regs_cr3());
                }
            }
            vcpu.set_sync_dirty_regs(SyncRegs::REGS);
        }
        Ok(())
    }

    fn exits(&mut self, count: u32) -> Result<(), Error> {
        let vcpu = &mut self.machine.vcpu;
        for _ in 0..count {
            match named("KVM_RUN", vcpu.run())? {
                VcpuExit::IoOut(..) => {}
                other => return Err(Error::Unexpected(format!("{other:?}"))),
            }
        }
        Ok(())
    }
}
