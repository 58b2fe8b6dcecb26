//! The demonstration's guest: a kernel of a few dozen instructions and two processes.
//!
//! ```text
//!  guest-physical                         linear
//!  0x0_1000  tables, stack (long_mode)    identity-mapped, level 0 only
//!  0x1_0000  kernel                       the same
//!  0x2_0000  the processes' code          0x40_0000, shared
//!  0x2_1000  process 1's data and stack   0x48_0000 in process 1
//!  0x2_2000  process 2's data and stack   0x48_0000 in process 2
//!  0x3_0000  process 1's page tables: its CR3
//!  0x4_0000  process 2's
//! ```
//!
//! The guest speaks by OUT to ports. Its processes call it by INT 0x80, at which the other one goes on.

use iced_x86::code_asm::*;
use iced_x86::{BlockEncoderOptions, IcedError};

use crate::long_mode::{self, AddressSpace, KERNEL_STACK, selector};

/// Bytes of memory, at 0.
pub const RAM_SIZE: usize = 2 << 20;
/// CR3 of each process.
pub const CR3: [u64; 2] = [0x3_0000, 0x4_0000];
/// Linear address of the watched variable.
pub const USER_DATA: u64 = long_mode::USER + 0x8_0000;
/// Instructions that the last section's loop executes.
pub const LOOP_INSTRUCTIONS: u64 = 12 * LOOP_TURNS;
const LOOP_TURNS: u64 = 50_000_000;
/// How often each process runs.
const ROUNDS: u32 = 2;

const KERNEL: u64 = 0x1_0000;
const USER_CODE: u64 = long_mode::USER;
const CODE_PAGE: u64 = 0x2_0000;
const DATA_PAGES: [u64; 2] = [0x2_1000, 0x2_2000];
const SYSTEM_CALL: u8 = 0x80;
const PORT: u16 = 0x500;

/// RFLAGS: bit 1, which is always 1.
const FLAGS: u32 = 1 << 1;
/// RFLAGS.RF: the instruction is run though it has a breakpoint.
const RF: i32 = 1 << 16;
/// DR7: breakpoint 0, on an instruction; bit 10 is always 1.
pub const OWN_DR7: u64 = 1 << 10 | 0b11;

/// What the guest says, by the port that it writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u16)]
pub enum Word {
    /// DR6 as the guest's handler of #DB has found it, and 0 if it was not called.
    OwnDr6 = PORT,
    /// DR7 as the guest reads it.
    OwnDr7,
    /// How many #DBs the guest has handled.
    Handled,
    /// A breakpoint of the guest's own is about to be met again; a debugger may come in.
    OwnAgain,
    /// The processes begin.
    Processes,
    /// The loop begins.
    LoopBegins,
    /// The loop has ended; the value is the low half of what it computed.
    LoopEnds,
}

impl Word {
    const ALL: [Word; 7] = [
        Word::OwnDr6,
        Word::OwnDr7,
        Word::Handled,
        Word::OwnAgain,
        Word::Processes,
        Word::LoopBegins,
        Word::LoopEnds,
    ];

    /// The word that is said at this port.
    pub fn from_port(port: u16) -> Option<Word> {
        Word::ALL.into_iter().find(|word| *word as u16 == port)
    }
}

/// The guest's memory as it is before the first instruction, and what there is in it.
pub struct Image {
    /// The memory.
    pub ram: Vec<u8>,
    /// Where the guest begins.
    pub start: u64,
    /// The instruction with the guest's own breakpoint.
    pub crossed: u64,
    /// The processes' function, which gets a breakpoint.
    pub function: u64,
}

/// The guest.
pub fn image() -> Image {
    build().expect("the demonstration's guest can be assembled")
}

fn build() -> Result<Image, IcedError> {
    let mut ram = vec![0; RAM_SIZE];
    long_mode::descriptors(&mut ram);
    for (root, data) in CR3.into_iter().zip(DATA_PAGES) {
        let space = AddressSpace::new(&mut ram, root);
        space.map(&mut ram, USER_CODE, CODE_PAGE, false);
        space.map(&mut ram, USER_DATA, data, true);
    }
    let kernel = kernel()?;
    long_mode::write(&mut ram, KERNEL, &kernel.code);
    long_mode::gate(&mut ram, 1, kernel.debug_handler, 0);
    long_mode::gate(&mut ram, SYSTEM_CALL, kernel.system_call, 3);
    let (user, function) = user()?;
    long_mode::write(&mut ram, CODE_PAGE, &user);
    Ok(Image {
        ram,
        start: KERNEL,
        crossed: kernel.crossed,
        function,
    })
}

struct Kernel {
    code: Vec<u8>,
    crossed: u64,
    debug_handler: u64,
    system_call: u64,
}

/// The kernel: R12 is CR3, R13 counts how often a process has still to run, R14 the #DBs handled, and
/// R15 is the last one's DR6.
fn kernel() -> Result<Kernel, IcedError> {
    let mut a = CodeAssembler::new(64)?;
    let mut cross = a.create_label();
    let mut crossed = a.create_label();
    let mut report = a.create_label();
    let mut debug_handler = a.create_label();
    let mut system_call = a.create_label();
    let mut speed = a.create_label();
    let mut turn = a.create_label();
    let mut end = a.create_label();
    let say = |a: &mut CodeAssembler, word: Word| {
        a.mov(edx, word as u32)?;
        a.out(dx, eax)
    };

    // A breakpoint of the guest's own, met with nobody debugging from outside, and again.
    a.mov(rsp, KERNEL_STACK)?;
    a.xor(r14d, r14d)?;
    a.lea(rax, ptr(crossed))?;
    a.mov(dr0, rax)?;
    a.mov(eax, OWN_DR7 as u32)?;
    a.mov(dr7, rax)?;
    a.call(cross)?;
    a.call(report)?;
    say(&mut a, Word::OwnAgain)?;
    a.call(cross)?;
    a.call(report)?;
    a.mov(eax, 1 << 10)?;
    a.mov(dr7, rax)?;

    // The processes.
    say(&mut a, Word::Processes)?;
    a.mov(r12d, CR3[0] as u32)?;
    a.mov(r13d, 2 * ROUNDS)?;
    a.push(u32::from(selector::USER_DATA) as i32)?;
    a.mov(rax, USER_DATA + 0x1000)?;
    a.push(rax)?;
    a.push(FLAGS as i32)?;
    a.push(u32::from(selector::USER_CODE) as i32)?;
    a.mov(rax, USER_CODE)?;
    a.push(rax)?;
    a.iretq()?;

    // Both are at the same instruction with the same stack pointer, so that all that is to be
    // exchanged is the address space.
    a.set_label(&mut system_call)?;
    a.dec(r13d)?;
    a.jz(speed)?;
    a.xor(r12d, (CR3[0] ^ CR3[1]) as u32)?;
    a.mov(cr3, r12)?;
    a.iretq()?;

    // A loop that is worth compiling.
    a.set_label(&mut speed)?;
    say(&mut a, Word::LoopBegins)?;
    a.mov(rdi, LOOP_TURNS)?;
    a.mov(eax, 1)?;
    a.xor(ebx, ebx)?;
    a.set_label(&mut turn)?;
    for (left, bits) in [(true, 13u32), (false, 7), (true, 17)] {
        a.mov(rcx, rax)?;
        if left {
            a.shl(rcx, bits)?;
        } else {
            a.shr(rcx, bits)?;
        }
        a.xor(rax, rcx)?;
    }
    a.add(rbx, rax)?;
    a.dec(rdi)?;
    a.jnz(turn)?;
    a.mov(eax, ebx)?;
    say(&mut a, Word::LoopEnds)?;
    a.set_label(&mut end)?;
    a.hlt()?;
    a.jmp(end)?;

    // The instruction with the breakpoint.
    a.set_label(&mut cross)?;
    a.xor(r15d, r15d)?;
    a.set_label(&mut crossed)?;
    a.nop()?;
    a.ret()?;

    // What the guest knows of it.
    a.set_label(&mut report)?;
    a.mov(rax, r15)?;
    say(&mut a, Word::OwnDr6)?;
    a.mov(rax, dr7)?;
    say(&mut a, Word::OwnDr7)?;
    a.mov(eax, r14d)?;
    say(&mut a, Word::Handled)?;
    a.ret()?;

    // #DB: counts, and has the instruction run.
    a.set_label(&mut debug_handler)?;
    a.inc(r14d)?;
    a.mov(r15, dr6)?;
    a.mov(eax, 0xffff_0ff0u32)?;
    a.mov(dr6, rax)?;
    a.or(dword_ptr(rsp + 16), RF)?;
    a.iretq()?;

    let result = a.assemble_options(KERNEL, BlockEncoderOptions::RETURN_NEW_INSTRUCTION_OFFSETS)?;
    Ok(Kernel {
        crossed: result.label_ip(&crossed)?,
        debug_handler: result.label_ip(&debug_handler)?,
        system_call: result.label_ip(&system_call)?,
        code: result.inner.code_buffer,
    })
}

/// What both processes run: they count in their own copy of the variable, and call the kernel. And the
/// function's address.
fn user() -> Result<(Vec<u8>, u64), IcedError> {
    let mut a = CodeAssembler::new(64)?;
    let mut again = a.create_label();
    let mut count = a.create_label();
    a.set_label(&mut again)?;
    a.mov(edi, USER_DATA as u32)?;
    a.call(count)?;
    a.int3()?;
    a.lea(rcx, ptr(rdi + rax))?;
    a.xor(ecx, eax)?;
    a.nop()?;
    a.int(u32::from(SYSTEM_CALL))?;
    a.jmp(again)?;
    a.set_label(&mut count)?;
    a.mov(rax, qword_ptr(rdi))?;
    a.inc(rax)?;
    a.mov(qword_ptr(rdi), rax)?;
    a.ret()?;
    let options = BlockEncoderOptions::RETURN_NEW_INSTRUCTION_OFFSETS;
    let result = a.assemble_options(USER_CODE, options)?;
    let function = result.label_ip(&count)?;
    Ok((result.inner.code_buffer, function))
}
