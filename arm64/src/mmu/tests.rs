//! Translation, seen from outside: tables are written into guest memory, and asked.

use super::at::Question;
use super::*;
use crate::insn::info;
use crate::machine::{Machine, Settings};
use crate::sysregs::id::fields::{self, Field};
use crate::testing::{Bare, DATA, RAM};
use crate::{regs, vcpu};
use std::sync::Arc;
use understudy_engine::emit::Size;
use understudy_engine::run::Tier;
use understudy_memory::{GuestMemory, Limits, RegionFlags, UserRegion};

/// Guest-physical address and bytes of the memory.
const BASE: u64 = 0x4000_0000;
const BYTES: u64 = 2 << 20;
const READ_ONLY: u64 = 0x5000_0000;

/// Normal memory, Device-nGnRnE, Normal without caches: attributes 0, 1, 2.
const MAIR: u64 = 0x44_00_ff;

const LOAD: Use = Use::Data(AccessKind::Load);
const STORE: Use = Use::Data(AccessKind::Store);
const ATOMIC: Use = Use::Data(AccessKind::Atomic);

/// Descriptor bits.
const AF: u64 = 1 << 10;
const NG: u64 = 1 << 11;
const DBM: u64 = 1 << 51;
const CONTIGUOUS: u64 = 1 << 52;

#[derive(Clone, Copy)]
#[repr(align(4096))]
struct Host(#[allow(dead_code)] [u8; 4096]);

/// A vCPU with tables.
struct Vm {
    cpu: Cpu,
    memory: Arc<GuestMemory>,
    granule: u32,
    bits: u32,
    /// The first tables of both halves.
    roots: [u64; 2],
    next: u64,
    _pages: Box<[Host]>,
}

impl Vm {
    /// With this granule (12, 14, 16), that many bits in each half, and no descriptor.
    fn new(granule: u32, bits: u32) -> Vm {
        let mut pages = vec![Host([0; 4096]); (BYTES / 4096) as usize].into_boxed_slice();
        let memory = Arc::new(GuestMemory::new(Limits::arm64(40)));
        let host = (&raw mut *pages).cast::<u8>() as u64;
        for (slot, flags, guest_phys_addr, memory_size) in [
            (0, 0, BASE, BYTES),
            (1, RegionFlags::READONLY.bits(), READ_ONLY, 0x1_0000),
        ] {
            memory
                .set_region(&UserRegion {
                    slot,
                    flags,
                    guest_phys_addr,
                    memory_size,
                    userspace_addr: host,
                })
                .expect("the region is a valid one");
        }
        let machine = Machine::new(memory.clone(), Settings::default());
        let cpu = vcpu::new_cpu(&machine, 0);
        let mut vm = Vm {
            cpu,
            memory,
            granule,
            bits,
            roots: [0; 2],
            next: BASE + (1 << 16),
            _pages: pages,
        };
        vm.roots = [vm.table(), vm.table()];
        let (tg0, tg1) = match granule {
            12 => (0, 2),
            14 => (2, 1),
            _ => (1, 3),
        };
        let size = 64 - bits as u64;
        let tcr = size | size << 16 | tg0 << 14 | tg1 << 30 | 5 << 32 | 1 << 36;
        vm.set(Reg::TCR_EL1, tcr);
        vm.set(Reg::MAIR_EL1, MAIR);
        vm.set(Reg::TTBR0_EL1, vm.roots[0]);
        vm.set(Reg::TTBR1_EL1, vm.roots[1]);
        vm.set(Reg::SCTLR_EL1, 1);
        vm
    }

    fn small() -> Vm {
        Vm::new(12, 39)
    }

    fn set(&mut self, reg: Reg, value: u64) {
        self.cpu.state.sys[reg] = value;
        controls_changed(&mut self.cpu);
    }

    fn change(&mut self, reg: Reg, bits: u64) {
        let value = self.cpu.state.sys[reg] ^ bits;
        self.set(reg, value);
    }

    /// A table of zeros.
    fn table(&mut self) -> u64 {
        let at = self.next;
        self.next += 1 << self.granule;
        assert!(self.next <= BASE + BYTES);
        at
    }

    fn first_level(&self) -> u32 {
        let stride = self.granule - 3;
        let mut level = 3;
        let mut covered = self.granule + stride;
        while covered < self.bits {
            covered += stride;
            level -= 1;
        }
        level
    }

    /// Bits of an address below the index of a level.
    fn shift(&self, level: u32) -> u32 {
        self.granule + (3 - level) * (self.granule - 3)
    }

    /// Where the descriptor of an address at a level is; the tables above it are made.
    fn place(&mut self, address: u64, level: u32) -> u64 {
        let mut table = self.roots[(address >> 55 & 1) as usize];
        for at in self.first_level()..=level {
            let bits = (self.bits - self.shift(at)).min(self.granule - 3);
            let index = address >> self.shift(at) & ((1 << bits) - 1);
            let place = table + 8 * index;
            if at == level {
                return place;
            }
            if self.memory.load::<u64>(place) == Ok(0) {
                let next = self.table();
                self.poke(place, next | 3);
            }
            table = self.peek(place) & ((1 << 48) - 1) & !((1 << self.granule) - 1);
        }
        unreachable!("the level is one that is walked")
    }

    fn poke(&mut self, place: u64, value: u64) {
        self.memory.store(place, value).expect("the table is there");
    }

    fn peek(&self, place: u64) -> u64 {
        self.memory.load(place).expect("the table is there")
    }

    /// Writes the descriptor of an address at a level.
    fn write(&mut self, address: u64, level: u32, descriptor: u64) -> u64 {
        let place = self.place(address, level);
        self.poke(place, descriptor);
        flush(&mut self.cpu);
        place
    }

    /// Maps an address to a page with these attributes.
    fn map(&mut self, address: u64, to: u64, attributes: u64) -> u64 {
        self.write(address, 3, to | attributes | 3)
    }

    fn ask(&mut self, address: u64, what: Use, privileged: bool) -> Result<u64, Abort> {
        self.ask_with(
            address,
            Access {
                what,
                privileged,
                pan: false,
                unaligned: false,
                looks: false,
            },
        )
    }

    fn ask_with(&mut self, address: u64, access: Access) -> Result<u64, Abort> {
        let page = page(&mut self.cpu, address, access)?;
        physical(&self.cpu, page, address)
    }

    fn fault(&mut self, address: u64, what: Use) -> Fault {
        self.ask(address, what, true).expect_err("a fault").fault
    }

    /// PAR_EL1 after AT S1E1R.
    fn par(&mut self, address: u64) -> u64 {
        let question = Question {
            privileged: true,
            write: false,
            pan: false,
        };
        at::translate(&mut self.cpu, address, question).expect("no external abort");
        self.cpu.state.sys[Reg::PAR_EL1]
    }
}

/// An address in the lower half and its like in the upper.
fn halves(bits: u32) -> [u64; 2] {
    let address = 0x0000_0123_4567_89ab & ((1 << bits) - 1);
    [address, address | !0 << bits]
}

#[test]
fn pages_of_each_granule_and_size() {
    for granule in [12, 14, 16] {
        for bits in 25..=48 {
            let mut vm = Vm::new(granule, bits);
            for address in halves(bits) {
                let to = BASE + 0x7_0000;
                let offset = address & ((1 << granule) - 1);
                vm.map(address, to, AF);
                assert_eq!(
                    vm.ask(address, LOAD, true),
                    Ok(to + offset),
                    "{granule} {bits}"
                );
                // The descriptor gone, the level of the fault is that of its place.
                for level in vm.first_level()..=3 {
                    let place = vm.place(address, level);
                    let descriptor = vm.peek(place);
                    vm.write(address, level, 0);
                    assert_eq!(vm.fault(address, STORE), Fault::Translation(level));
                    vm.poke(place, descriptor);
                }
                // An address just outside.
                let outside = address ^ 1 << bits;
                assert_eq!(
                    vm.fault(outside, LOAD),
                    Fault::Translation(0),
                    "{granule} {bits}"
                );
            }
        }
    }
}

#[test]
fn blocks() {
    let blocks = [(12, 1, 30), (12, 2, 21), (14, 2, 25), (16, 2, 29)];
    for granule in [12, 14, 16] {
        for level in 0..=2 {
            let mut vm = Vm::new(granule, 48);
            if level < vm.first_level() {
                continue;
            }
            let block = blocks.iter().find(|b| (b.0, b.1) == (granule, level));
            for address in halves(48) {
                let shift = block.map_or(47, |b| b.2);
                let to = (3 << shift) & ((1 << 40) - 1);
                vm.write(address, level, to | AF | 1);
                let inside = address & ((1 << shift) - 1);
                match block {
                    Some(_) => assert_eq!(vm.ask(address, LOAD, true), Ok(to | inside)),
                    None => assert_eq!(vm.fault(address, LOAD), Fault::Translation(level)),
                }
            }
        }
        // At level 3 there are pages only.
        let mut vm = Vm::new(granule, 48);
        vm.write(0, 3, BASE | AF | 1);
        assert_eq!(vm.fault(0, LOAD), Fault::Translation(3));
    }
}

#[test]
fn sizes_that_there_are_not() {
    let without = |field: &Field, _| *field != fields::MMFR2_ST;
    for (features, size) in [
        (Features::new(without), 40),
        (Features::default(), 49),
        (Features::default(), 0),
        (Features::default(), 15),
        (Features::default(), 63),
    ] {
        let mut vm = Vm::new(12, 39);
        set_features(&mut vm.cpu, features);
        vm.set(Reg::TCR_EL1, size | 25 << 16 | 2 << 30 | 5 << 32);
        assert_eq!(vm.fault(0, LOAD), Fault::Translation(0));
    }
}

#[test]
fn walks_that_are_disabled() {
    for (address, epd) in [(0, 7), (!0xfff, 23)] {
        let mut vm = Vm::small();
        vm.map(address, BASE, AF);
        assert!(vm.ask(address, LOAD, true).is_ok());
        vm.change(Reg::TCR_EL1, 1 << epd);
        assert_eq!(vm.fault(address, LOAD), Fault::Translation(0));
    }
}

/// Arm ARM D8.4: what AP, UXN, PXN and SCTLR_EL1.WXN leave to whom.
#[test]
fn permissions() {
    for bits in 0..32u64 {
        let (ap, uxn, pxn, wxn) = (bits & 3, bits & 4 != 0, bits & 8 != 0, bits & 16 != 0);
        let mut vm = Vm::small();
        if wxn {
            vm.change(Reg::SCTLR_EL1, sctlr::WXN);
        }
        vm.map(
            0x1000,
            BASE,
            AF | ap << 6 | (uxn as u64) << 54 | (pxn as u64) << 53,
        );
        // Read, write, execute at EL1 and at EL0.
        let (el1, el0) = match ap {
            0b00 => ([true, true, !pxn && !wxn], [false, false, !uxn]),
            0b01 => ([true, true, false], [true, true, !uxn && !wxn]),
            0b10 => ([true, false, !pxn], [false, false, !uxn]),
            _ => ([true, false, !pxn], [true, false, !uxn]),
        };
        for (privileged, may) in [(true, el1), (false, el0)] {
            for (what, may) in [LOAD, STORE, Use::Execute].into_iter().zip(may) {
                let result = vm.ask(0x1000, what, privileged);
                let expected = if may {
                    Ok(BASE)
                } else {
                    Err(Abort {
                        fault: Fault::Permission(3),
                        write: what == STORE,
                    })
                };
                assert_eq!(result, expected, "{what:?} {privileged} of {bits:05b}");
            }
        }
        // An atomic access that could not read reports a read.
        let atomic = vm.ask(0x1000, ATOMIC, false);
        assert_eq!(atomic.is_ok(), el0[0] && el0[1]);
        if let Err(abort) = atomic {
            assert_eq!(abort.write, el0[0]);
        }
    }
}

#[test]
fn pan() {
    for (ap, may) in [(0b00, true), (0b01, false), (0b10, true), (0b11, false)] {
        let mut vm = Vm::small();
        vm.map(0x1000, BASE, AF | ap << 6);
        let access = Access {
            what: LOAD,
            privileged: true,
            pan: true,
            unaligned: false,
            looks: false,
        };
        assert_eq!(vm.ask_with(0x1000, access).is_ok(), may);
        // It does not count for instructions, nor for EL0's rights.
        let fetch = Access {
            what: Use::Execute,
            ..access
        };
        assert_eq!(vm.ask_with(0x1000, fetch).is_ok(), ap != 0b01);
    }
    // At the hooks: PAN, UAO, unprivileged accesses.
    let mut vm = Vm::small();
    vm.map(0x1000, BASE, AF | 0b01 << 6);
    let mem = Mem::new(Size::B8);
    for (pstate, unprivileged, may) in [
        (0, false, true),
        (pstate::PAN, false, false),
        (pstate::PAN, true, true),
        (pstate::PAN | pstate::UAO, true, false),
    ] {
        vm.cpu.state.el = 1;
        vm.cpu.state.pstate = pstate;
        let mem = if unprivileged {
            mem.unprivileged()
        } else {
            mem
        };
        let result = translate(&mut vm.cpu, 0x1000, 8, mem, AccessKind::Load);
        assert_eq!(result.is_ok(), may, "{pstate:#x} {unprivileged}");
    }
}

/// Table descriptors withhold rights, unless HPD says otherwise.
#[test]
fn hierarchical_rights() {
    for (bit, what, privileged) in [
        (61, LOAD, false),
        (62, STORE, true),
        (62, STORE, false),
        (60, Use::Execute, false),
        (59, Use::Execute, true),
    ] {
        for (address, hpd) in [(0x1000, 41), (!0 << 12, 42)] {
            for level in [1, 2] {
                let mut vm = Vm::small();
                // Writable by all, or executable by all.
                let ap = if what == Use::Execute { 0b10 } else { 0b01 };
                vm.map(address, BASE, AF | ap << 6);
                assert!(vm.ask(address, what, privileged).is_ok());
                let place = vm.place(address, level);
                let table = vm.peek(place);
                vm.write(address, level, table | 1 << bit);
                assert_eq!(
                    vm.ask(address, what, privileged)
                        .map_err(|abort| abort.fault),
                    Err(Fault::Permission(3))
                );
                vm.change(Reg::TCR_EL1, 1 << hpd);
                assert!(vm.ask(address, what, privileged).is_ok());
            }
        }
    }
}

#[test]
fn access_flag() {
    let mut vm = Vm::small();
    let place = vm.map(0x1000, BASE, 0);
    assert_eq!(vm.fault(0x1000, LOAD), Fault::AccessFlag(3));
    assert_eq!(vm.par(0x1000), 1 | 0x0b << 1 | 1 << 11);
    vm.change(Reg::TCR_EL1, 1 << 39);
    // Looking does not mark; accessing does.
    assert_eq!(vm.par(0x1000) & 1, 0);
    assert_eq!(vm.peek(place), BASE | 3);
    assert_eq!(vm.ask(0x1000, LOAD, true), Ok(BASE));
    assert_eq!(vm.peek(place), BASE | AF | 3);
    // A fault marks nothing.
    let place = vm.map(0x2000, BASE, 0b10 << 6);
    assert_eq!(vm.fault(0x2000, STORE), Fault::Permission(3));
    assert_eq!(vm.peek(place), BASE | 0b10 << 6 | 3);
    // A block's level.
    vm.change(Reg::TCR_EL1, 1 << 39);
    vm.write(0x4000_0000, 2, BASE | 1);
    assert_eq!(vm.fault(0x4000_0000, LOAD), Fault::AccessFlag(2));
}

#[test]
fn dirty_state() {
    let mut vm = Vm::small();
    let clean = BASE | AF | 0b11 << 6 | DBM | 3;
    let place = vm.map(0x1000, BASE, clean);
    assert_eq!(vm.fault(0x1000, STORE), Fault::Permission(3));
    // Without HA, HD does nothing.
    vm.change(Reg::TCR_EL1, 1 << 40);
    assert_eq!(vm.fault(0x1000, STORE), Fault::Permission(3));
    vm.change(Reg::TCR_EL1, 1 << 39);
    assert_eq!(vm.ask(0x1000, LOAD, true), Ok(BASE));
    assert_eq!(vm.peek(place), clean, "a load leaves it clean");
    let mem = Mem::new(Size::B8);
    vm.cpu.state.pstate = 0;
    let load = translate(&mut vm.cpu, 0x1000, 8, mem, AccessKind::Load);
    assert!(matches!(load, Ok(Target::Memory(f)) if f.cache_loads && !f.cache_stores));
    let store = translate(&mut vm.cpu, 0x1000, 8, mem, AccessKind::Store);
    assert!(matches!(store, Ok(Target::Memory(f)) if f.cache_loads && f.cache_stores));
    assert_eq!(vm.peek(place), clean & !(1 << 7));
    // Without DBM it is read-only.
    vm.map(0x2000, BASE, AF | 0b11 << 6);
    assert_eq!(vm.fault(0x2000, STORE), Fault::Permission(3));
    // A table in a slot that cannot be written.
    let unmarked = vm.place(0x8000_0000, 2);
    vm.poke(unmarked, READ_ONLY | 3);
    vm.poke(BASE, BASE | 3);
    flush(&mut vm.cpu);
    assert_eq!(vm.fault(0x8000_0000, LOAD), Fault::External { far: None });
}

#[test]
fn address_sizes() {
    // IPS is 32 bits.
    let mut vm = Vm::small();
    vm.change(Reg::TCR_EL1, 5 << 32);
    vm.map(0x1000, 1 << 32, AF);
    assert_eq!(vm.fault(0x1000, LOAD), Fault::AddressSize(3));
    vm.write(0x4000_0000, 2, 1 << 32 | AF | 1);
    assert_eq!(vm.fault(0x4000_0000, LOAD), Fault::AddressSize(2));
    vm.write(0x8000_0000, 1, 1 << 33 | 3);
    assert_eq!(vm.fault(0x8000_0000, LOAD), Fault::AddressSize(1));
    vm.set(Reg::TTBR0_EL1, 1 << 34);
    assert_eq!(vm.fault(0x1000, LOAD), Fault::AddressSize(0));
    // Without translation: 48 bits, less the tag that TBI takes away.
    let mut vm = Vm::small();
    vm.set(Reg::SCTLR_EL1, 0);
    assert_eq!(vm.fault(1 << 51, LOAD), Fault::AddressSize(0));
    assert_eq!(vm.fault(0xff << 56, LOAD), Fault::AddressSize(0));
    vm.change(Reg::TCR_EL1, 1 << 37);
    assert_eq!(vm.ask(0xff << 56 | BASE, LOAD, true), Ok(BASE));
}

/// What KVM injects, with the reference's syndromes (`memory` lines of its probe).
#[test]
fn external_aborts() {
    let mem = Mem::new(Size::B4);
    let abort = |vm: &mut Vm, address, kind| {
        vm.cpu.state.el = 1;
        let stop = translate(&mut vm.cpu, address, 4, mem, kind).expect_err("an abort");
        assert_eq!(stop, Stop::Redirect);
        let sys = &vm.cpu.state.sys;
        (sys[Reg::ESR_EL1], sys[Reg::FAR_EL1])
    };
    let mut vm = Vm::small();
    // Beyond the VM's 40 bits: the address is the guest-physical one.
    vm.map(0x1000, 1 << 40, AF);
    assert_eq!(
        abort(&mut vm, 0x1234, AccessKind::Load),
        (0x9600_0010, 1 << 40 | 0x234)
    );
    assert_eq!(abort(&mut vm, 0x1234, AccessKind::Store).0, 0x9600_0010);
    // A table in no memory.
    vm.write(0x4000_0000, 2, 0x900_0000 | 3);
    assert_eq!(
        abort(&mut vm, 0x4000_0004, AccessKind::Load),
        (0x9600_0010, 0x4000_0004)
    );
    // Without translation.
    vm.set(Reg::SCTLR_EL1, 0);
    assert_eq!(
        abort(&mut vm, 1 << 44, AccessKind::Load),
        (0x9600_0010, 1 << 44)
    );
    assert_eq!(
        abort(&mut vm, 1 << 51, AccessKind::Load),
        (0x9600_0000, 1 << 51)
    );
    // Instructions: a hole, and beyond.
    for pc in [0x900_2000, 1 << 40] {
        vm.cpu.pc = pc;
        vm.cpu.state.el = 1;
        assert!(fetch(&mut vm.cpu).is_err());
        assert_eq!(vm.cpu.state.sys[Reg::ESR_EL1], 0x8600_0010);
        assert_eq!(vm.cpu.state.sys[Reg::FAR_EL1], pc);
        assert_eq!(vm.cpu.state.sys[Reg::ELR_EL1], pc);
    }
}

/// Syndromes of aborts from EL0 and EL1, of loads, stores and fetches.
#[test]
fn syndromes() {
    let mem = Mem::new(Size::B8);
    let mut vm = Vm::small();
    for (el, class) in [(0, 0x92 << 24), (1, 0x96 << 24)] {
        for (kind, wnr) in [(AccessKind::Load, 0), (AccessKind::Store, 1 << 6)] {
            vm.cpu.state.el = el;
            assert!(translate(&mut vm.cpu, 0x5008, 8, mem, kind).is_err());
            assert_eq!(vm.cpu.state.sys[Reg::ESR_EL1], class | wnr | 0x05);
            assert_eq!(vm.cpu.state.sys[Reg::FAR_EL1], 0x5008);
        }
    }
    for (el, esr) in [(0, 0x8200_0005), (1, 0x8600_0005)] {
        vm.cpu.state.el = el;
        vm.cpu.pc = 0x5008;
        assert!(fetch(&mut vm.cpu).is_err());
        assert_eq!(vm.cpu.state.sys[Reg::ESR_EL1], esr);
    }
    vm.cpu.pc = 0x5002;
    assert!(fetch(&mut vm.cpu).is_err());
    assert_eq!(
        vm.cpu.state.sys[Reg::ESR_EL1],
        0x8a00_0000,
        "PC alignment comes first"
    );
    assert_eq!(vm.cpu.state.sys[Reg::FAR_EL1], 0x5002);
}

#[test]
fn tags() {
    for (address, tbi) in [(0x1000, 37), (!0 << 12, 38)] {
        let mut vm = Vm::small();
        vm.map(address, BASE, AF);
        let tagged = address ^ 0x5a << 56;
        assert_eq!(vm.fault(tagged, LOAD), Fault::Translation(0));
        vm.change(Reg::TCR_EL1, 1 << tbi);
        for _ in 0..2 {
            assert_eq!(vm.ask(tagged, LOAD, true), Ok(BASE));
            assert_eq!(vm.ask(address, LOAD, true), Ok(BASE));
        }
        // The PC loses its tag, and such a fetch is not kept.
        vm.cpu.pc = tagged;
        let tagged_fetch = fetch(&mut vm.cpu).expect("it is mapped");
        assert_eq!(vm.cpu.pc, address);
        assert!(!tagged_fetch.cache);
        assert!(fetch(&mut vm.cpu).expect("it is mapped").cache);
        // Bits 55:48 are no tag.
        assert_eq!(vm.fault(address ^ 1 << 54, LOAD), Fault::Translation(0));
    }
}

#[test]
fn device_memory_takes_aligned_accesses_only() {
    let mut vm = Vm::small();
    vm.map(0x1000, BASE, AF | 1 << 2);
    vm.map(0x2000, BASE, AF);
    let mem = Mem::new(Size::B8).info(3);
    assert_eq!(info::alignment(mem), 8);
    let mut ask = |address, kind| {
        vm.cpu.state.el = 1;
        translate(&mut vm.cpu, address, 8, mem, kind).map_err(|_| vm.cpu.state.sys[Reg::ESR_EL1])
    };
    let aligned = ask(0x1008, AccessKind::Load);
    assert!(matches!(aligned, Ok(Target::Memory(f)) if !f.cache_loads && !f.cache_stores));
    assert!(matches!(ask(0x1004, AccessKind::Load), Err(0x9600_0021)));
    assert!(matches!(ask(0x1004, AccessKind::Store), Err(0x9600_0061)));
    assert!(matches!(
        ask(0x2004, AccessKind::Store),
        Ok(Target::Memory(_))
    ));
    // DC ZVA is never aligned enough.
    vm.cpu.state.el = 1;
    assert!(cache_ops::zero(&mut vm.cpu, 0x1008).is_err());
    assert_eq!(vm.cpu.state.sys[Reg::ESR_EL1], 0x9600_0061);
    assert_eq!(vm.cpu.state.sys[Reg::FAR_EL1], 0x1008);
}

/// Alignment that an instruction, or SCTLR_EL1.A, demands; before anything else is looked at.
#[test]
fn alignment() {
    let mut vm = Vm::small();
    for (kind, esr) in [
        (AccessKind::Load, 0x9600_0021),
        (AccessKind::Store, 0x9600_0061),
    ] {
        vm.cpu.state.el = 1;
        let mem = Mem::new(Size::B8).info(4).aligned();
        assert!(check_access(&mut vm.cpu, 0x9008, 16, mem, kind).is_err());
        assert_eq!(vm.cpu.state.sys[Reg::ESR_EL1], esr);
        assert_eq!(vm.cpu.state.sys[Reg::FAR_EL1], 0x9008);
        let mem = Mem::new(Size::B8).info(3).aligned();
        assert!(check_access(&mut vm.cpu, 0x9008, 16, mem, kind).is_ok());
    }
    // The stack pointer's comes first of all.
    vm.cpu.set_slot(regs::SP, 8);
    let mem = Mem::new(Size::B8).info(3 | info::STACK).aligned();
    assert!(check_access(&mut vm.cpu, 0x9001, 8, mem, AccessKind::Load).is_err());
    assert_eq!(vm.cpu.state.sys[Reg::ESR_EL1], 0x9a00_0000);
}

#[test]
fn big_endian_tables() {
    let mut vm = Vm::small();
    let place = vm.map(0x1000, BASE, 0);
    for level in 1..=3 {
        let place = vm.place(0x1000, level);
        let descriptor = vm.peek(place);
        // From the last, so that the way to it can be found.
        if level == 3 {
            vm.poke(place, descriptor.swap_bytes());
        }
    }
    let (second, first) = (vm.place(0x1000, 2), vm.place(0x1000, 1));
    for place in [second, first] {
        let descriptor = vm.peek(place);
        vm.poke(place, descriptor.swap_bytes());
    }
    vm.change(Reg::SCTLR_EL1, sctlr::EE);
    vm.change(Reg::TCR_EL1, 1 << 39);
    assert_eq!(vm.ask(0x1234, LOAD, true), Ok(BASE + 0x234));
    assert_eq!(vm.peek(place), (BASE | AF | 3).swap_bytes());
}

/// PAR_EL1 for each kind of memory, and for faults.
#[test]
fn par() {
    let mut vm = Vm::small();
    const NS_RES1: u64 = 1 << 9 | 1 << 11;
    vm.map(0x1000, BASE, AF | 3 << 8);
    assert_eq!(vm.par(0x1fff), 0xff << 56 | BASE | NS_RES1 | 3 << 7);
    vm.map(0x1000, BASE, AF | 1 << 2 | 3 << 8);
    assert_eq!(vm.par(0x1fff), BASE | NS_RES1 | 2 << 7);
    vm.map(0x1000, BASE, AF | 2 << 2 | 3 << 8);
    assert_eq!(vm.par(0x1fff), 0x44 << 56 | BASE | NS_RES1 | 2 << 7);
    assert_eq!(vm.par(0x9000), 1 | 0x07 << 1 | 1 << 11);
    assert_eq!(vm.par(1 << 45), 1 | 0x04 << 1 | 1 << 11);
    // Rights: EL0's, to write, and PAN only where it is asked for.
    vm.map(0x1000, BASE, AF | 0b11 << 6);
    vm.cpu.state.pstate = pstate::PAN;
    for (privileged, write, pan, may) in [
        (true, false, false, true),
        (true, true, false, false),
        (true, false, true, false),
        (false, false, false, true),
        (false, true, false, false),
    ] {
        let question = Question {
            privileged,
            write,
            pan,
        };
        at::translate(&mut vm.cpu, 0x1000, question).expect("no external abort");
        let par = vm.cpu.state.sys[Reg::PAR_EL1];
        assert_eq!(par & 1 == 0, may, "{question:?}");
        if !may {
            assert_eq!(par >> 1 & 0x3f, 0x0f);
        }
    }
    // A walk that meets an external abort is an exception.
    vm.write(0x4000_0000, 2, 0x900_0000 | 3);
    let question = Question {
        privileged: true,
        write: false,
        pan: false,
    };
    assert!(at::translate(&mut vm.cpu, 0x4000_0000, question).is_err());
    assert_eq!(vm.cpu.state.sys[Reg::ESR_EL1], 0x9600_0010);
}

/// The contiguous bit changes nothing.
#[test]
fn contiguous() {
    let mut vm = Vm::small();
    vm.map(0x1000, BASE, AF | CONTIGUOUS);
    assert_eq!(vm.ask(0x1000, LOAD, true), Ok(BASE));
}

/// What is kept, and what forgets it.
#[test]
fn maintenance() {
    // Map with ASID 1, change the tables behind the TLB's back, and see what forgets.
    let kept = |attributes: u64, forget: &dyn Fn(&mut Cpu)| {
        let mut vm = Vm::small();
        vm.set(Reg::TTBR0_EL1, vm.roots[0] | 1 << 48);
        let place = vm.map(0x1000, BASE, attributes);
        assert_eq!(vm.ask(0x1000, LOAD, true), Ok(BASE));
        vm.poke(place, 0);
        forget(&mut vm.cpu);
        vm.ask(0x1000, LOAD, true).is_ok()
    };
    for (attributes, global) in [(AF | NG, false), (AF, true)] {
        let va = |asid: u64| asid << 48 | 1;
        let kept = |forget: &dyn Fn(&mut Cpu)| kept(attributes, forget);
        assert!(kept(&|_| ()));
        assert!(!kept(&|cpu| tlbi::all(cpu, false)));
        assert!(!kept(&|cpu| tlbi::address(
            cpu,
            va(1),
            tlbi::Asids::One,
            false
        )));
        assert!(!kept(&|cpu| tlbi::address(
            cpu,
            va(0),
            tlbi::Asids::All,
            false
        )));
        assert!(kept(&|cpu| tlbi::address(cpu, 2, tlbi::Asids::All, false)));
        assert_eq!(kept(&|cpu| tlbi::asid(cpu, 1 << 48, false)), global);
        assert!(kept(&|cpu| tlbi::asid(cpu, 2 << 48, false)));
        // Bits 47:44 are no part of the address.
        assert!(!kept(&|cpu| tlbi::address(
            cpu,
            va(1) | 0xf << 44,
            tlbi::Asids::One,
            false
        )));
    }
}

/// An address in a block, or in a page of 16 or 64 KiB, forgets all of it.
#[test]
fn maintenance_of_large_pages() {
    for granule in [12, 14, 16] {
        let mut vm = Vm::new(granule, 39);
        let block = vm.write(1 << 30, 2, 1 << 30 | AF | 1);
        let end = (1 << 30) + (1 << vm.shift(2)) - 0x1000;
        assert_eq!(vm.ask(end, LOAD, true), Ok(end));
        vm.poke(block, 0);
        tlbi::address(&mut vm.cpu, 1 << 18, tlbi::Asids::All, false);
        assert_eq!(vm.fault(end, LOAD), Fault::Translation(2));

        let mut vm = Vm::new(granule, 39);
        let place = vm.map(0, BASE, AF);
        let end = (1 << granule) - 0x1000;
        assert_eq!(vm.ask(end, LOAD, true), Ok(BASE + end));
        vm.poke(place, 0);
        tlbi::address(&mut vm.cpu, 0, tlbi::Asids::All, false);
        assert_eq!(vm.fault(end, LOAD), Fault::Translation(3));
    }
}

/// An ASID keeps its translations while others are current; with 8 bits, the upper ones don't
/// count; A1 says which TTBR has it.
#[test]
fn asids() {
    let mut vm = Vm::small();
    let other = vm.table();
    let root = vm.roots[0];
    vm.map(0x1000, BASE, AF | NG);
    let mut contexts = Vec::new();
    for asid in [1, 2, 0x101, 0xffff] {
        vm.cpu.state.sys[Reg::TTBR0_EL1] = root | asid << 48;
        bases_changed(&mut vm.cpu);
        assert_eq!(vm.ask(0x1000, LOAD, true), Ok(BASE));
        contexts.push(vm.cpu.context);
    }
    let distinct: std::collections::HashSet<_> = contexts.iter().collect();
    assert_eq!(distinct.len(), contexts.len());
    // Another table, an ASID that was there: what it kept is there, and the context is the same.
    vm.cpu.state.sys[Reg::TTBR0_EL1] = other | 2 << 48;
    bases_changed(&mut vm.cpu);
    assert_eq!(vm.cpu.context, contexts[1]);
    assert_eq!(vm.ask(0x1000, LOAD, true), Ok(BASE));
    vm.cpu.state.sys[Reg::TTBR0_EL1] = other | 3 << 48;
    bases_changed(&mut vm.cpu);
    assert_eq!(vm.fault(0x1000, LOAD), Fault::Translation(1));
    // 8 bits.
    vm.change(Reg::TCR_EL1, 1 << 36);
    vm.set(Reg::TTBR0_EL1, root | 0x101 << 48);
    assert_eq!(vm.cpu.state.mmu.regime.asid, 1);
    // In TTBR1_EL1.
    vm.change(Reg::TCR_EL1, 1 << 22);
    vm.set(Reg::TTBR1_EL1, vm.roots[1] | 7 << 48);
    assert_eq!(vm.cpu.state.mmu.regime.asid, 7);
}

/// More ASIDs than there are numbers for: contexts stay below the engine's limit, and none is used
/// for two at once.
#[test]
fn contexts_run_out() {
    let mut vm = Vm::small();
    let mut owners = std::collections::HashMap::new();
    for asid in 0..5000u64 {
        vm.cpu.state.sys[Reg::TTBR0_EL1] = vm.roots[0] | asid << 48;
        bases_changed(&mut vm.cpu);
        for (el, pstate) in [(0, 0), (1, 0), (1, pstate::PAN)] {
            vm.cpu.state.el = el;
            vm.cpu.state.pstate = pstate;
            update_contexts(&mut vm.cpu);
            assert!(vm.cpu.context < understudy_engine::tlb::CONTEXTS);
            owners.insert(vm.cpu.context, (asid, el, pstate));
        }
        if asid % 1024 == 1023 {
            assert_eq!(owners.len(), 3 * 1024);
            owners.clear();
        }
    }
}

/// Slots: none, read-only, with a dirty log.
#[test]
fn slots() {
    let mem = Mem::new(Size::B8);
    let mut vm = Vm::small();
    vm.map(0x1000, 0x900_0000, AF);
    vm.map(0x2000, READ_ONLY, AF);
    vm.map(0x3000, BASE + 0x1000, AF);
    let mut ask = |address, kind| translate(&mut vm.cpu, address, 8, mem, kind).expect("no abort");
    assert!(matches!(
        ask(0x1008, AccessKind::Load),
        Target::Device(0x900_0008)
    ));
    let read = ask(0x2008, AccessKind::Load);
    assert!(matches!(read, Target::Memory(f) if f.cache_loads && !f.cache_stores));
    assert!(matches!(ask(0x2008, AccessKind::Store), Target::Device(at) if at == READ_ONLY + 8));
    assert_eq!(vm.cpu.state.run.fault.address, 0x2008);

    let host = vm.memory.lookup(BASE).expect("it is there").host as u64;
    let region = UserRegion {
        slot: 0,
        flags: RegionFlags::LOG_DIRTY_PAGES.bits(),
        guest_phys_addr: BASE,
        memory_size: BYTES,
        userspace_addr: host,
    };
    vm.memory.set_region(&region).expect("flags may change");
    let mut ask = |kind| match translate(&mut vm.cpu, 0x3000, 8, mem, kind) {
        Ok(Target::Memory(frame)) => frame,
        other => panic!("{other:?}"),
    };
    let load = ask(AccessKind::Load);
    assert!(
        load.cache_loads && !load.cache_stores,
        "a store has to be noted first"
    );
    assert_eq!(vm.memory.get_dirty_log(0).expect("it has one")[0], 0);
    let mut ask = |kind| match translate(&mut vm.cpu, 0x3000, 8, mem, kind) {
        Ok(Target::Memory(frame)) => frame,
        other => panic!("{other:?}"),
    };
    assert!(ask(AccessKind::Store).cache_stores);
    assert_eq!(vm.memory.get_dirty_log(0).expect("it has one")[0], 2);
}

/// Maintenance of caches: rights, holes, DC ZVA.
#[test]
fn cache_maintenance() {
    let mut vm = Vm::small();
    vm.map(0x1000, BASE, AF | 0b10 << 6);
    vm.map(0x2000, 0x900_0000, AF);
    vm.map(0x3000, BASE + 0x1000, AF);
    let esr = |vm: &Vm| vm.cpu.state.sys[Reg::ESR_EL1];
    vm.cpu.state.el = 1;
    assert_eq!(cache_ops::clean(&mut vm.cpu, 0x1008), Ok(()));
    assert_eq!(
        cache_ops::clean(&mut vm.cpu, 0x2008),
        Ok(()),
        "a hole is skipped"
    );
    assert_eq!(cache_ops::invalidate(&mut vm.cpu, 0x3008), Ok(()));
    assert!(cache_ops::invalidate(&mut vm.cpu, 0x1008).is_err());
    assert_eq!(esr(&vm), 0x9600_014f);
    assert!(cache_ops::clean(&mut vm.cpu, 0x9008).is_err());
    assert_eq!(
        (esr(&vm), vm.cpu.state.sys[Reg::FAR_EL1]),
        (0x9600_0147, 0x9008)
    );
    vm.cpu.state.el = 0;
    assert!(cache_ops::clean(&mut vm.cpu, 0x1008).is_err());
    assert_eq!(esr(&vm), 0x9200_014f);

    vm.cpu.state.el = 1;
    for offset in (0..256).step_by(8) {
        vm.memory
            .store(BASE + 0x1000 + offset, !0u64)
            .expect("it is there");
    }
    // By the slow way and by the TLB.
    for address in [0x3047, 0x3080] {
        assert_eq!(cache_ops::zero(&mut vm.cpu, address), Ok(()));
    }
    for offset in (0..256).step_by(8) {
        let zero = (0x40..0xc0).contains(&offset);
        let value = vm.memory.load::<u64>(BASE + 0x1000 + offset);
        assert_eq!(value, Ok(if zero { 0 } else { !0 }), "{offset:#x}");
    }
    assert!(cache_ops::zero(&mut vm.cpu, 0x1008).is_err());
    assert_eq!(esr(&vm), 0x9600_004f, "CM is clear");
    vm.cpu.state.exit = None;
    assert_eq!(cache_ops::zero(&mut vm.cpu, 0x2008), Err(Stop::Exit));
}

/// A guest that runs with translation on, in both tiers: EL0 in one address space and then in
/// another, whose page is somewhere else.
#[test]
fn two_processes() {
    const LDR_X1_X2: u32 = 0xf940_0041;
    const ADD_X3_X3_X1: u32 = 0x8b01_0063;
    const SVC: u32 = 0xd400_0001;
    for tier in [Tier::Interpret, Tier::Compile(1)] {
        let mut bare = Bare::reset();
        bare.vcpu.engine.set_tier(tier);
        bare.code(&[LDR_X1_X2, ADD_X3_X3_X1, SVC]);
        // The vector stores to no memory, which ends the run.
        bare.write(RAM + 0x400, &0xf900_0001u32.to_le_bytes());
        let tables = DATA + 0x4000;
        let mut roots = [0; 2];
        for (process, root) in roots.iter_mut().enumerate() {
            let at = tables + 0x4000 * process as u64;
            let code = RAM | AF | 0b11 << 6 | NG | 3;
            let data = (DATA + 0x1000 * process as u64) | AF | 0b01 << 6 | NG | 3;
            let device = 0x900_0000 | AF | 3;
            bare.write(at, &((at + 0x1000) | 3).to_le_bytes());
            bare.write(at + 0x1000, &((at + 0x2000) | 3).to_le_bytes());
            bare.write(at + 0x2000, &code.to_le_bytes());
            bare.write(at + 0x2008, &data.to_le_bytes());
            bare.write(at + 0x2010, &device.to_le_bytes());
            bare.write(
                DATA + 0x1000 * process as u64,
                &(process as u64 + 1).to_le_bytes(),
            );
            *root = at | (process as u64 + 1) << 48;
        }
        bare.set_x(2, 0x1000);
        bare.set_x(0, 0x2000);
        let cpu = bare.cpu();
        cpu.state.sys[Reg::TCR_EL1] = 25 | 25 << 16 | 2 << 30 | 5 << 32 | 1 << 36;
        cpu.state.sys[Reg::MAIR_EL1] = 0xff;
        cpu.state.sys[Reg::SCTLR_EL1] = 1;
        cpu.state.sys[Reg::VBAR_EL1] = 0;
        let mut sum = 0;
        for turn in 0..20 {
            let process = turn % 2;
            let cpu = bare.cpu();
            cpu.state.sys[Reg::TTBR0_EL1] = roots[process];
            controls_changed(cpu);
            exceptions::set_pstate(cpu, 0);
            cpu.pc = 0;
            bare.vcpu.engine.run();
            sum += process as u64 + 1;
            assert_eq!(bare.x(3), sum);
            assert_eq!(bare.cpu().state.sys[Reg::ESR_EL1], 0x5600_0000);
            assert!(bare.cpu().state.exit.take().is_some());
        }
    }
}

/// FEAT_TTST: a table of one level, of 16 entries.
#[test]
fn small_tables() {
    let mut vm = Vm::new(12, 16);
    vm.map(0x5000, BASE, AF);
    assert_eq!(vm.ask(0x5008, LOAD, true), Ok(BASE | 8));
    assert_eq!(vm.fault(0x6000, LOAD), Fault::Translation(3));
    assert_eq!(vm.fault(0x1_0000, LOAD), Fault::Translation(0));
}

/// FEAT_E0PD: EL0 is told nothing of what is mapped in the half.
#[test]
fn el0_kept_from_a_half() {
    for (address, bit) in [(0, 55), (!0xfff, 56)] {
        let mut vm = Vm::small();
        vm.map(address, BASE, AF | 1 << 6);
        assert!(vm.ask(address, LOAD, false).is_ok());
        vm.change(Reg::TCR_EL1, 1 << bit);
        let mapped = vm.ask(address, LOAD, false);
        assert_eq!(
            mapped.map_err(|abort| abort.fault),
            Err(Fault::Translation(0))
        );
        assert!(vm.ask(address, LOAD, true).is_ok());
        set_features(&mut vm.cpu, Features::new(|_, _| false));
        assert!(vm.ask(address, LOAD, false).is_ok());
    }
}

/// FEAT_PAN3: with EPAN, PAN also counts for pages that EL0 can only execute.
#[test]
fn pages_that_el0_can_only_execute_are_private_with_epan() {
    const EPAN: u64 = 1 << 57;
    let guarded = Access {
        what: LOAD,
        privileged: true,
        pan: true,
        unaligned: false,
        looks: false,
    };
    let mut vm = Vm::small();
    vm.map(0, BASE, AF);
    assert!(vm.ask_with(0, guarded).is_ok());
    vm.change(Reg::SCTLR_EL1, EPAN);
    let fault = vm.ask_with(0, guarded).map_err(|abort| abort.fault);
    assert_eq!(fault, Err(Fault::Permission(3)));
    assert!(vm.ask(0, LOAD, true).is_ok());
    let without = |field: &Field, least| *field != fields::MMFR1_PAN || least < 3;
    set_features(&mut vm.cpu, Features::new(without));
    assert!(vm.ask_with(0, guarded).is_ok());
}
