//! A bare machine for tests: memory, a vCPU, a few instructions, and no KVM.
//!
//! ```
//! use understudy_arm64::testing::Bare;
//!
//! // ADD X0, X1, X2
//! let end = Bare::both(&[0x8b02_0020], |machine| {
//!     machine.set_x(1, 40);
//!     machine.set_x(2, 2);
//! });
//! assert_eq!(end.x(0), 42);
//! ```
//!
//! The code runs at EL1 until it falls off its end, where a BRK stands: user space debugs the
//! guest, so that this is an exit. So does an exception, as BRKs stand at the vectors. It has
//! [`RAM_SIZE`] bytes of memory at [`RAM`], of which the upper half is data's. Addresses are translated to themselves as Normal memory ([`translate_flat`]), and
//! once more, [`USER`] higher, with access for EL0.

use crate::machine::{Machine, Settings};
use crate::sysregs::Reg;
use crate::vcpu::Vcpu;
use crate::{Cpu, debug, exceptions, mmu, regs};
use std::sync::Arc;
use understudy_engine::run::Tier;
use understudy_memory::{GuestMemory, Limits, UserRegion};

/// Guest-physical address of the memory, and of the code.
pub const RAM: u64 = 0x4000_0000;
/// Bytes of memory.
pub const RAM_SIZE: u64 = 0x2_0000;
/// Address of the part that is data's.
pub const DATA: u64 = RAM + RAM_SIZE / 2;
/// Bytes from [`DATA`] to the end of memory.
pub const DATA_SIZE: u64 = RAM_SIZE / 2;

/// From an address that only EL1 may access to the same memory where EL0 may.
pub const USER: u64 = 1 << 38;

/// Address of the translation table, and of the exception vectors, which are BRKs.
const TABLE: u64 = RAM + RAM_SIZE;
const VECTORS: u64 = TABLE + 4096;

/// BRK #0xffff, at which a test's code ends.
const END: u32 = 0xd43f_ffe0;

#[derive(Clone, Copy)]
#[repr(align(4096))]
struct Page(#[allow(dead_code, reason = "the guest's")] [u8; 4096]);

/// Has translation give each address below [`USER`] as it is, and the gigabyte of [`RAM`] once more
/// [`USER`] above, as Normal Write-Back memory. `table` is the address of a page for the table. The vCPU
/// is at EL1 then, its interrupts unmasked, FP enabled, the stack pointer's alignment checked.
pub fn translate_flat(cpu: &mut Cpu, memory: &GuestMemory, table: u64) {
    /// Block, access flag, Inner Shareable, attributes 0.
    const BLOCK: u64 = 1 << 10 | 3 << 8 | 1;
    /// EL0 may access it.
    const FOR_EL0: u64 = 1 << 6;
    let put = |index: u64, descriptor: u64| {
        let stored = memory.store(table + 8 * index, descriptor);
        stored.expect("the table is in memory");
    };
    for i in 0..256 {
        put(i, i << 30 | BLOCK);
    }
    put((RAM + USER) >> 30, RAM | BLOCK | FOR_EL0);
    let sys = &mut cpu.state.sys;
    sys[Reg::MAIR_EL1] = 0xff;
    sys[Reg::TTBR0_EL1] = table;
    // 39-bit addresses, 4K granule, Write-Back walks, no TTBR1, 40-bit physical addresses,
    // the top byte ignored.
    sys[Reg::TCR_EL1] = 25 | 1 << 8 | 1 << 10 | 3 << 12 | 1 << 23 | 2 << 32 | 1 << 37;
    // SPAN, I, SA0, SA, C, M.
    sys[Reg::SCTLR_EL1] = 1 << 23 | 1 << 12 | 1 << 4 | 1 << 3 | 1 << 2 | 1;
    sys[Reg::CPACR_EL1] = 3 << 20;
    cpu.state.pstate = 0;
    cpu.state.el = 1;
    cpu.state.spsel = true;
    mmu::controls_changed(cpu);
}

/// A machine with one vCPU.
pub struct Bare {
    /// The vCPU.
    pub vcpu: Vcpu,
    memory: Arc<GuestMemory>,
    _pages: Box<[Page]>,
}

impl Default for Bare {
    fn default() -> Self {
        Self::new()
    }
}

impl Bare {
    /// A machine as above, whose registers and memory are 0, but for the stack pointer, which is
    /// [`DATA`] plus half of [`DATA_SIZE`].
    pub fn new() -> Bare {
        let mut bare = Self::reset();
        let cpu = &mut bare.vcpu.engine.cpu;
        translate_flat(cpu, &bare.memory, TABLE);
        cpu.state.sys[Reg::VBAR_EL1] = VECTORS;
        for word in (VECTORS..VECTORS + 0x800).step_by(4) {
            bare.memory.store(word, END).expect("it is in memory");
        }
        let user = debug::GuestDebug {
            enable: true,
            ..Default::default()
        };
        debug::set_guest_debug(cpu, user);
        cpu.set_slot(regs::SP, DATA + DATA_SIZE / 2);
        cpu.set_slot(regs::MONITOR, regs::MONITOR_OPEN);
        bare
    }

    /// A machine whose vCPU is as it is after reset, and which nobody debugs.
    pub fn reset() -> Bare {
        let mut pages = vec![Page([0; 4096]); (RAM_SIZE / 4096) as usize + 2].into_boxed_slice();
        let memory = Arc::new(GuestMemory::new(Limits::arm64(40)));
        memory
            .set_region(&UserRegion {
                slot: 0,
                flags: 0,
                guest_phys_addr: RAM,
                memory_size: RAM_SIZE + 2 * 4096,
                userspace_addr: (&raw mut *pages).cast::<u8>() as u64,
            })
            .expect("the region is a valid one");
        let machine = Machine::new(memory.clone(), Settings::default());
        let vcpu = Vcpu::new(&machine, 0);
        Bare {
            vcpu,
            memory,
            _pages: pages,
        }
    }

    /// Sets bits of SCTLR_EL1.
    pub fn set_control(&mut self, bits: u64) {
        /// Data of EL1 is big-endian, and so is the translation table.
        const EE: u64 = 1 << 25;
        if bits & EE & !self.vcpu.engine.cpu.state.sys[Reg::SCTLR_EL1] != 0 {
            for at in (TABLE..TABLE + 4096).step_by(8) {
                let descriptor = self.read_u64(at);
                self.write(at, &descriptor.to_be_bytes());
            }
        }
        self.vcpu.engine.cpu.state.sys[Reg::SCTLR_EL1] |= bits;
        mmu::controls_changed(&mut self.vcpu.engine.cpu);
    }

    /// Has the code run at EL0, [`USER`] higher, with the stack there, too.
    pub fn enter_el0(&mut self) {
        let cpu = &mut self.vcpu.engine.cpu;
        let sp = cpu.slot(regs::SP);
        cpu.state.el = 0;
        cpu.state.spsel = false;
        cpu.set_slot(regs::SP_EL1, sp);
        cpu.set_slot(regs::SP, sp + USER);
        exceptions::synchronize(cpu);
    }

    /// The vCPU.
    pub fn cpu(&mut self) -> &mut Cpu {
        &mut self.vcpu.engine.cpu
    }

    /// X`n`.
    pub fn x(&self, n: u32) -> u64 {
        self.vcpu.engine.cpu.slot(regs::x(n))
    }

    /// Sets X`n`.
    pub fn set_x(&mut self, n: u32, value: u64) {
        self.vcpu.engine.cpu.set_slot(regs::x_write(n), value);
    }

    /// The current stack pointer.
    pub fn sp(&self) -> u64 {
        self.vcpu.engine.cpu.slot(regs::SP)
    }

    /// Sets the current stack pointer.
    pub fn set_sp(&mut self, value: u64) {
        self.vcpu.engine.cpu.set_slot(regs::SP, value);
    }

    /// N, Z, C and V, in bits 3 to 0.
    pub fn nzcv(&self) -> u64 {
        regs::nzcv(&self.vcpu.engine.cpu) >> 28
    }

    /// Sets N, Z, C and V from bits 3 to 0.
    pub fn set_nzcv(&mut self, nzcv: u64) {
        regs::set_nzcv(&mut self.vcpu.engine.cpu, nzcv << 28);
    }

    /// V`n`.
    pub fn v(&self, n: u32) -> u128 {
        regs::vector(&self.vcpu.engine.cpu, n)
    }

    /// Sets V`n`.
    pub fn set_v(&mut self, n: u32, value: u128) {
        regs::set_vector(&mut self.vcpu.engine.cpu, n, value);
    }

    /// Reads guest memory, which must be there.
    pub fn read<const N: usize>(&self, address: u64) -> [u8; N] {
        let mut bytes = [0; N];
        self.memory
            .read(address, &mut bytes)
            .expect("the address is in RAM");
        bytes
    }

    /// Reads eight bytes as a little-endian number.
    pub fn read_u64(&self, address: u64) -> u64 {
        u64::from_le_bytes(self.read(address))
    }

    /// Writes guest memory, which must be there.
    pub fn write(&mut self, address: u64, bytes: &[u8]) {
        self.memory
            .write(address, bytes)
            .expect("the address is in RAM");
    }

    /// Writes instructions at [`RAM`], and the end after them, and has the vCPU begin there.
    pub fn code(&mut self, words: &[u32]) {
        assert!((words.len() as u64) < (RAM_SIZE - DATA_SIZE) / 4);
        let bytes: Vec<u8> = words
            .iter()
            .chain([&END])
            .flat_map(|word| word.to_le_bytes())
            .collect();
        self.write(RAM, &bytes);
        self.vcpu.engine.cpu.pc = match self.vcpu.engine.cpu.state.el {
            0 => RAM + USER,
            _ => RAM,
        };
    }

    /// Runs until the end of the code, or until the vCPU leaves its guest for another reason.
    pub fn run(&mut self, tier: Tier) {
        self.vcpu.engine.set_tier(tier);
        self.vcpu.engine.run();
    }

    /// Everything that code can have changed.
    fn observe(&self) -> (Vec<u64>, [u64; 2], Vec<u8>) {
        let cpu = &self.vcpu.engine.cpu;
        let mut slots = cpu.regs.to_vec();
        // Flags as they are seen, not as they are kept; what XZR was given is nobody's.
        for slot in [regs::N, regs::Z, regs::C, regs::V, regs::SINK] {
            slots[slot.index()] = 0;
        }
        let mut ram = vec![0; RAM_SIZE as usize];
        self.memory.read(RAM, &mut ram).expect("it is all RAM");
        (slots, [cpu.pc, self.nzcv()], ram)
    }

    /// Runs code on a machine that `prepare` has set up, interpreted and compiled, holds the
    /// outcomes against each other, and gives the machine as it is then.
    ///
    /// # Panics
    ///
    /// If the tiers disagree.
    pub fn both(words: &[u32], prepare: impl Fn(&mut Bare)) -> Bare {
        let run = |tier| {
            let mut machine = Bare::new();
            prepare(&mut machine);
            machine.code(words);
            machine.run(tier);
            machine
        };
        let interpreted = run(Tier::Interpret);
        let compiled = run(Tier::Compile(1));
        let (a, b) = (interpreted.observe(), compiled.observe());
        for (i, (a, b)) in a.0.iter().zip(&b.0).enumerate() {
            assert_eq!(
                a, b,
                "slot {i} interpreted, and compiled, after {words:08x?}"
            );
        }
        assert_eq!(a.1, b.1, "PC and flags of the tiers after {words:08x?}");
        assert!(a.2 == b.2, "memory of the tiers differs after {words:08x?}");
        interpreted
    }

    /// Whether the vCPU stands at the end of `words`.
    pub fn at_end(&self, words: &[u32]) -> bool {
        self.vcpu.engine.cpu.pc & !USER == RAM + 4 * words.len() as u64
    }

    /// If the vCPU has taken an exception to EL1: offset of its vector, class and ISS, FAR_EL1.
    pub fn exception(&self) -> Option<(u64, u64, u64, u64)> {
        let cpu = &self.vcpu.engine.cpu;
        let vector = cpu.pc.wrapping_sub(VECTORS);
        let esr = cpu.state.sys[Reg::ESR_EL1];
        (vector < 0x800).then_some((
            vector,
            esr >> 26,
            esr & 0x1ff_ffff,
            cpu.state.sys[Reg::FAR_EL1],
        ))
    }
}
