//! The guest of the benchmark: processes that run the same code in address spaces of their own, and
//! meet a breakpoint on a NOP.
//!
//! ```text
//!  0x1_0000   for each process: MOV CR3; CALL event, eight times; and again
//!    event:   NOP, with the breakpoint; RET
//!    ports:   OUT 0x10, AL; JMP ports
//!  0x3_0000   page tables, 0x4000 bytes a process
//! ```
//!
//! All of it runs at level 0, where the kernel's KVM can run it whatever its back end. The client gets
//! past the breakpoint by setting all registers, and RIP behind the NOP, as dirty registers in
//! `kvm_run`: so nothing that the guest needs is in a register at that point but RSP.

use iced_x86::code_asm::*;
use iced_x86::{BlockEncoderOptions, IcedError};
use understudy_abi::x86::{kvm_guest_debug, kvm_guest_debug_arch, kvm_regs};

use crate::long_mode::{self, AddressSpace, KERNEL_STACK, TABLES_SIZE};

/// Bytes of memory, at 0.
pub(super) const RAM_SIZE: usize = 1 << 20;
/// Processes.
pub(super) const PROCESSES: usize = 4;
/// Breakpoints that a process meets before it is another's turn.
const EVENTS_A_TURN: u64 = 8;
/// Breakpoints until it is the first process's turn again.
pub(super) const CYCLE: u32 = PROCESSES as u32 * EVENTS_A_TURN as u32;
const CODE: u64 = 0x1_0000;
const TABLES: u64 = 0x3_0000;
const PORT: u32 = 0x10;
/// RFLAGS: bit 1, which is always 1.
const FLAGS: u64 = 1 << 1;
/// DR7: breakpoint 0, on an instruction; bit 10 is always 1.
const DR7: u64 = 1 << 10 | 0b11;

/// The guest's memory, and what there is in it.
pub(super) struct Image {
    pub(super) ram: Vec<u8>,
    /// The instruction with the breakpoint, of one byte.
    event: u64,
    ports: u64,
}

/// The CR3 of a process.
pub(super) fn cr3_of(process: usize) -> u64 {
    TABLES + process as u64 * TABLES_SIZE
}

/// The process of this CR3.
pub(super) fn process_of(value: u64) -> Option<usize> {
    (0..PROCESSES).find(|process| cr3_of(*process) == value)
}

impl Image {
    /// The guest.
    pub(super) fn new() -> Image {
        Image::build().expect("the benchmark's guest can be assembled")
    }

    fn build() -> Result<Image, IcedError> {
        let mut ram = vec![0; RAM_SIZE];
        long_mode::descriptors(&mut ram);
        for process in 0..PROCESSES {
            AddressSpace::new(&mut ram, cr3_of(process));
        }
        let mut a = CodeAssembler::new(64)?;
        let mut again = a.create_label();
        let mut event = a.create_label();
        let mut ports = a.create_label();
        a.set_label(&mut again)?;
        for process in 0..PROCESSES {
            a.mov(eax, cr3_of(process) as u32)?;
            a.mov(cr3, rax)?;
            for _ in 0..EVENTS_A_TURN {
                a.call(event)?;
            }
        }
        a.jmp(again)?;
        a.set_label(&mut event)?;
        a.nop()?;
        a.ret()?;
        a.set_label(&mut ports)?;
        a.out(PORT, al)?;
        a.jmp(ports)?;
        let options = BlockEncoderOptions::RETURN_NEW_INSTRUCTION_OFFSETS;
        let result = a.assemble_options(CODE, options)?;
        long_mode::write(&mut ram, CODE, &result.inner.code_buffer);
        Ok(Image {
            ram,
            event: result.label_ip(&event)?,
            ports: result.label_ip(&ports)?,
        })
    }

    /// Where a run of so much begins.
    pub(super) fn start(&self, load: Load) -> kvm_regs {
        self.registers(match load {
            Load::Breakpoints => CODE,
            Load::Ports => self.ports,
        })
    }

    /// The registers behind a breakpoint.
    pub(super) fn past_event(&self) -> kvm_regs {
        kvm_regs {
            rsp: KERNEL_STACK - 8,
            ..self.registers(self.event + 1)
        }
    }

    fn registers(&self, rip: u64) -> kvm_regs {
        kvm_regs {
            rip,
            rsp: KERNEL_STACK,
            rflags: FLAGS,
            ..kvm_regs::default()
        }
    }

    /// KVM_SET_GUEST_DEBUG's argument.
    pub(super) fn debug(&self) -> kvm_guest_debug {
        use understudy_abi::x86::GuestDebugControl as Control;
        let mut debugreg = [0; 8];
        debugreg[0] = self.event;
        debugreg[7] = DR7;
        kvm_guest_debug {
            control: (Control::ENABLE | Control::USE_HW_BP).bits(),
            pad: 0,
            arch: kvm_guest_debug_arch { debugreg },
        }
    }
}

/// What the guest does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Load {
    /// It meets breakpoints.
    Breakpoints,
    /// It writes to a port, which has nothing to do with debugging.
    Ports,
}
