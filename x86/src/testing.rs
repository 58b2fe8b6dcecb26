//! A bare machine for tests: memory, a vCPU, a few instructions, and no KVM.
//!
//! ```
//! use understudy_x86::{regs, testing::Bare};
//!
//! // add rax, rbx
//! let end = Bare::both(&[0x48, 0x01, 0xd8], |machine| {
//!     machine.set(regs::RAX, 40);
//!     machine.set(regs::RBX, 2);
//! });
//! assert_eq!(end.get(regs::RAX), 42);
//! ```
//!
//! The code runs at CPL 0 in 64-bit mode until it falls off its end, where a HLT stands. So does an
//! exception, as the handler of each is a HLT. Linear addresses are physical ones.

use crate::exit::Exit;
use crate::machine::Machine;
use crate::regs::{self, flag};
use crate::segments::{Segment, Table, rights, seg};
use crate::state::{self, cr0, cr4, efer};
use crate::vcpu::Vcpu;
use crate::{Cpu, cpuid, xsave};
use std::sync::Arc;
use understudy_engine::emit::Slot;
use understudy_engine::run::Tier;
use understudy_memory::{GuestMemory, Limits, UserRegion};

/// Address of the code.
pub const CODE: u64 = 0x1000_0000;
/// Bytes of the part that is code's.
pub const CODE_SIZE: u64 = 0x1_0000;
/// Address of the part that is data's.
pub const DATA: u64 = CODE + CODE_SIZE;
/// Bytes of the part that is data's.
pub const DATA_SIZE: u64 = 0x1_0000;
/// Address of the paging structures, 16 pages.
pub const TABLES: u64 = DATA + DATA_SIZE;
/// The global descriptor table.
pub const GDT: u64 = TABLES + 0x1_0000;
/// The interrupt descriptor table.
pub const IDT: u64 = GDT + 0x1000;
/// The handlers, a byte each.
pub const HANDLERS: u64 = IDT + 0x1000;
/// The task state segment.
pub const TSS: u64 = HANDLERS + 0x1000;
/// Where the stack of a handler at CPL 0 begins that interrupts CPL 3.
pub const STACK0: u64 = TSS + 0x3000;
/// The end of memory.
pub const END: u64 = STACK0 + 0x1000;
/// Bytes of a second piece of memory, at address 0, for real mode.
pub const LOW_SIZE: u64 = 0x11_0000;

/// Selectors of [`GDT`].
pub mod selector {
    /// 64-bit code, level 0.
    pub const CODE64: u16 = 0x08;
    /// Data, level 0.
    pub const DATA: u16 = 0x10;
    /// 64-bit code, level 3.
    pub const USER_CODE64: u16 = 0x1b;
    /// Data, level 3.
    pub const USER_DATA: u16 = 0x23;
    /// 32-bit code, level 0.
    pub const CODE32: u16 = 0x28;
    /// 32-bit code, level 3.
    pub const USER_CODE32: u16 = 0x33;
    /// 16-bit code, level 0.
    pub const CODE16: u16 = 0x38;
    /// The 64-bit TSS, two entries.
    pub const TSS: u16 = 0x40;
}

const HLT: u8 = 0xf4;

#[derive(Clone, Copy)]
#[repr(align(4096))]
struct Page(#[allow(dead_code, reason = "the guest's")] [u8; 4096]);

/// A machine with one vCPU.
pub struct Bare {
    /// The vCPU.
    pub vcpu: Vcpu,
    /// How the last run ended.
    pub exit: Option<Exit>,
    memory: Arc<GuestMemory>,
    code_end: u64,
    _pages: [Box<[Page]>; 2],
}

impl Default for Bare {
    fn default() -> Self {
        Self::new()
    }
}

/// A flat segment.
fn flat(selector: u16, kind: u32) -> Segment {
    Segment {
        selector,
        base: 0,
        limit: u32::MAX,
        rights: rights::P | rights::S | rights::G | kind | u32::from(selector & 3) << 5,
    }
}

impl Bare {
    /// A machine as above, whose registers and memory are 0, but for the stack pointer, which is in
    /// the middle of the data.
    pub fn new() -> Bare {
        Self::with(|_| ())
    }

    /// The same, `prepare` being called before there is a vCPU.
    pub fn with(prepare: impl FnOnce(&Arc<Machine>)) -> Bare {
        let mut bare = Self::reset_with(prepare);
        bare.write_tables();
        let cpu = bare.cpu();
        let state = &mut cpu.state;
        state.cr0 = cr0::PE | cr0::ET | cr0::WP | cr0::PG;
        state.cr3 = TABLES;
        state.cr4 = cr4::PAE;
        state.efer = efer::LME | efer::LMA | efer::NXE;
        state.rflags = flag::IF;
        state.segmentation.gdtr = Table {
            base: GDT,
            limit: 0x4f,
        };
        state.segmentation.idtr = Table {
            base: IDT,
            limit: 0xfff,
        };
        state.segmentation.tr = Segment {
            selector: selector::TSS,
            base: TSS,
            limit: 0x67,
            rights: rights::P | rights::TSS_BUSY,
        };
        state.segmentation.ldtr = Segment::null(0);
        bare.set_level(0);
        bare.set(regs::RDX, 0);
        bare.set(regs::RSP, DATA + DATA_SIZE / 2);
        bare
    }

    /// Another vCPU of this machine, whose registers and state are those of the first.
    pub fn another(&mut self) -> Vcpu {
        let machine = self.cpu().state.machine.clone();
        let mut other = Vcpu::new(&machine, machine.vcpus.len() as u32);
        let (from, to) = (self.cpu(), other.cpu_mut());
        (to.regs, to.pc) = (from.regs, from.pc);
        let (from, to) = (&from.state, &mut to.state);
        (to.cr0, to.cr3, to.cr4, to.efer) = (from.cr0, from.cr3, from.cr4, from.efer);
        (to.rflags, to.cpl, *to.segmentation) = (from.rflags, from.cpl, *from.segmentation);
        to.cpuid = from.cpuid.clone();
        state::changed(other.cpu_mut());
        other
    }

    /// A machine whose vCPU is as it is after reset.
    pub fn reset() -> Bare {
        Self::reset_with(|_| ())
    }

    /// The same, `prepare` being called before there is a vCPU.
    pub fn reset_with(prepare: impl FnOnce(&Arc<Machine>)) -> Bare {
        let size = END - CODE;
        let pages = |bytes: u64| vec![Page([0; 4096]); (bytes / 4096) as usize].into_boxed_slice();
        let mut all = [pages(size), pages(LOW_SIZE)];
        let memory = Arc::new(GuestMemory::new(Limits::x86(48)));
        let places = [(CODE, size), (0, LOW_SIZE)];
        for (slot, ((address, size), pages)) in (0..).zip(places.into_iter().zip(&mut all)) {
            memory
                .set_region(&UserRegion {
                    slot,
                    flags: 0,
                    guest_phys_addr: address,
                    memory_size: size,
                    userspace_addr: (&raw mut **pages).cast::<u8>() as u64,
                })
                .expect("the region is a valid one");
        }
        let machine = Machine::new(memory.clone());
        prepare(&machine);
        let mut vcpu = Vcpu::new(&machine, 0);
        vcpu.cpu_mut().state.cpuid = cpuid::supported();
        Bare {
            vcpu,
            exit: None,
            memory,
            code_end: 0,
            _pages: all,
        }
    }

    /// A machine in 32-bit protected mode without paging, whose gates have the same handlers; its TSS has a
    /// stack for level 0 in the data.
    pub fn protected() -> Bare {
        let mut machine = Self::new();
        for vector in 0..256u64 {
            let handler = HANDLERS + vector;
            let low = handler & 0xffff | u64::from(selector::CODE32) << 16;
            let gate = low | 0xee00 << 32 | (handler >> 16 & 0xffff) << 48;
            machine.write(IDT + 8 * vector, &gate.to_le_bytes());
        }
        machine.write(TSS + 4, &(DATA as u32 + 0x4000).to_le_bytes());
        machine.write(TSS + 8, &u32::from(selector::DATA).to_le_bytes());
        let state = &mut machine.cpu().state;
        state.efer = 0;
        state.cr4 = 0;
        state.cr0 = cr0::PE | cr0::ET;
        state.segmentation.idtr = Table {
            base: IDT,
            limit: 0x7ff,
        };
        let code = &mut state.segmentation.segments[seg::CS as usize];
        code.selector = selector::CODE32;
        code.rights = code.rights & !rights::L | rights::DB;
        state::changed(machine.cpu());
        machine
    }

    /// A machine in real mode, with all segments at `base`, a multiple of 16 below 1 MiB.
    pub fn real(base: u64) -> Bare {
        Self::real_with(base, |_| ())
    }

    /// The same, `prepare` being called before there is a vCPU.
    pub fn real_with(base: u64, prepare: impl FnOnce(&Arc<Machine>)) -> Bare {
        let mut bare = Self::reset_with(prepare);
        let cpu = bare.cpu();
        cpu.state.segmentation.idtr.limit = 0x3ff;
        for segment in &mut cpu.state.segmentation.segments {
            segment.selector = (base >> 4) as u16;
            segment.base = base;
        }
        cpu.set_slot(regs::FS_BASE, base);
        cpu.set_slot(regs::GS_BASE, base);
        cpu.set_slot(regs::RDX, 0);
        state::changed(cpu);
        state::set_rip(cpu, 0);
        bare
    }

    /// Puts the vCPU at a privilege level, in 64-bit code.
    pub fn set_level(&mut self, cpl: u8) {
        let (code, data) = if cpl == 3 {
            (selector::USER_CODE64, selector::USER_DATA)
        } else {
            (selector::CODE64, selector::DATA)
        };
        let cpu = self.cpu();
        let data = flat(data, rights::DATA_WRITE_ACCESSED | rights::DB);
        cpu.state.segmentation.segments = [data; 6];
        cpu.state.segmentation.segments[seg::CS as usize] =
            flat(code, rights::CODE_READ_ACCESSED | rights::L);
        cpu.state.cpl = cpl;
        state::changed(cpu);
    }

    fn write_tables(&mut self) {
        // P, RW, US; and for a page also A, D and PS.
        let put = |at: u64, value: u64| self.memory.store(at, value).expect("it is in memory");
        put(TABLES, (TABLES + 0x1000) | 7);
        for i in 0..4 {
            put(TABLES + 0x1000 + 8 * i, i << 30 | 0xe7);
        }
        let descriptors = [
            0,
            0x00af_9b00_0000_ffff,
            0x00cf_9300_0000_ffff,
            0x00af_fb00_0000_ffff,
            0x00cf_f300_0000_ffff,
            0x00cf_9b00_0000_ffff,
            0x00cf_fb00_0000_ffff,
            0x0000_9b00_0000_ffff,
            0x0000_8b00_0000_0067 | (TSS & 0xff_ffff) << 16 | (TSS >> 24 & 0xff) << 56,
            TSS >> 32,
        ];
        for (i, descriptor) in (0..).zip(descriptors) {
            put(GDT + 8 * i, descriptor);
        }
        put(TSS + 4, STACK0);
        for vector in 0..256 {
            let handler = HANDLERS + vector;
            let low = handler & 0xffff | u64::from(selector::CODE64) << 16;
            // An interrupt gate that any level may use.
            let gate = low | 0xee00 << 32 | (handler >> 16 & 0xffff) << 48;
            put(IDT + 16 * vector, gate);
            put(IDT + 16 * vector + 8, handler >> 32);
        }
        let handlers = [HLT; 256];
        self.write(HANDLERS, &handlers);
    }

    /// The processor.
    pub fn cpu(&mut self) -> &mut Cpu {
        &mut self.vcpu.engine.cpu
    }

    /// What a slot holds.
    pub fn get(&self, slot: Slot) -> u64 {
        self.vcpu.engine.cpu.slot(slot)
    }

    /// Sets a slot.
    pub fn set(&mut self, slot: Slot, value: u64) {
        self.vcpu.engine.cpu.set_slot(slot, value);
    }

    /// RFLAGS.
    pub fn flags(&self) -> u64 {
        regs::rflags(&self.vcpu.engine.cpu)
    }

    /// Sets RFLAGS.
    pub fn set_flags(&mut self, value: u64) {
        regs::set_rflags(self.cpu(), value);
        state::changed(self.cpu());
    }

    /// RIP.
    pub fn rip(&self) -> u64 {
        state::rip(&self.vcpu.engine.cpu)
    }

    /// Reads guest memory, which must be there.
    pub fn read<const N: usize>(&self, address: u64) -> [u8; N] {
        let mut bytes = [0; N];
        let read = self.memory.read(address, &mut bytes);
        read.expect("the address is in memory");
        bytes
    }

    /// Reads eight bytes as a little-endian number.
    pub fn read_u64(&self, address: u64) -> u64 {
        u64::from_le_bytes(self.read(address))
    }

    /// Writes guest memory, which must be there.
    pub fn write(&mut self, address: u64, bytes: &[u8]) {
        let written = self.memory.write(address, bytes);
        written.expect("the address is in memory");
    }

    /// Writes code where the vCPU is to begin, and the end after it.
    pub fn code_at(&mut self, address: u64, bytes: &[u8]) {
        self.write(address, bytes);
        self.code_end = address + bytes.len() as u64;
        self.write(self.code_end, &[HLT]);
        self.cpu().pc = address;
    }

    /// Has the handler of a vector, the `index`th of at most 32, be this code of at most 64 bytes.
    pub fn handle(&mut self, vector: u8, index: u64, code: &[u8]) {
        let at = HANDLERS + 0x200 + 64 * index;
        self.write(at, code);
        self.write(IDT + 16 * u64::from(vector), &(at as u16).to_le_bytes());
    }

    /// Runs until the vCPU leaves its guest.
    pub fn run(&mut self, tier: Tier) -> Exit {
        self.vcpu.engine.set_tier(tier);
        self.run_on()
    }

    /// The same, as code was run last, and with what was made of it then.
    pub fn run_on(&mut self) -> Exit {
        let exit = self.vcpu.run();
        self.exit = Some(exit);
        exit
    }

    /// Everything that code can have changed.
    fn observe(&self) -> (Vec<u64>, Vec<u8>) {
        let cpu = &self.vcpu.engine.cpu;
        let mut slots = cpu.regs.to_vec();
        // Flags as they are seen, not as they are kept.
        slots[16..21].fill(0);
        let system = [cpu.pc, self.flags(), cpu.state.cr2];
        slots.extend(system);
        let mut all = vec![0; (END - CODE + LOW_SIZE) as usize];
        let (high, low) = all.split_at_mut((END - CODE) as usize);
        let read = self.memory.read(CODE, high);
        read.and_then(|()| self.memory.read(0, low))
            .expect("it is all memory");
        all.extend(xsave::kvm_xsave(cpu));
        (slots, all)
    }

    /// Runs code on a machine that `prepare` has set up, interpreted and compiled, holds the
    /// outcomes against each other, and gives the machine as it is then.
    ///
    /// # Panics
    ///
    /// If the tiers disagree.
    pub fn both(code: &[u8], prepare: impl Fn(&mut Bare)) -> Bare {
        Self::both_at(CODE, code, Bare::new, prepare)
    }

    /// The same with the code at an address, on a machine that `make` makes.
    ///
    /// # Panics
    ///
    /// If the tiers disagree.
    pub fn both_at(
        at: u64,
        code: &[u8],
        make: impl Fn() -> Bare,
        prepare: impl Fn(&mut Bare),
    ) -> Bare {
        let run = |tier| {
            let mut machine = make();
            machine.code_at(at, code);
            prepare(&mut machine);
            machine.run(tier);
            machine
        };
        let interpreted = run(Tier::Interpret);
        let compiled = run(Tier::Compile(1));
        assert_eq!(interpreted.exit, compiled.exit, "exits after {code:02x?}");
        let (a, b) = (interpreted.observe(), compiled.observe());
        for (i, (a, b)) in a.0.iter().zip(&b.0).enumerate() {
            assert_eq!(
                a, b,
                "slot {i} interpreted, and compiled, after {code:02x?}"
            );
        }
        assert!(a.1 == b.1, "memory of the tiers differs after {code:02x?}");
        interpreted
    }

    /// Whether the vCPU has halted at the end of its code.
    pub fn at_end(&self) -> bool {
        self.exit == Some(Exit::Hlt) && self.vcpu.engine.cpu.pc == self.code_end + 1
    }

    /// If the vCPU has halted in a handler: the vector.
    pub fn exception(&self) -> Option<u8> {
        let vector = self.vcpu.engine.cpu.pc.wrapping_sub(HANDLERS + 1);
        (self.exit == Some(Exit::Hlt) && vector < 256).then_some(vector as u8)
    }

    /// The error code at the top of the stack.
    pub fn error_code(&self) -> u64 {
        self.read_u64(self.get(regs::RSP))
    }
}

/// Code that writes a value of 32 bits to an MSR: MOV ECX; MOV EAX; XOR EDX, EDX; WRMSR.
pub fn wrmsr(number: u32, value: u32) -> Vec<u8> {
    let mut code = vec![0xb9];
    code.extend(number.to_le_bytes());
    code.push(0xb8);
    code.extend(value.to_le_bytes());
    code.extend([0x31, 0xd2, 0x0f, 0x30]);
    code
}
