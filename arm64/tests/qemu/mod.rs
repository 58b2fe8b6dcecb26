//! An oracle for single instructions: QEMU's user-mode emulator, where it is installed.
//!
//! The tests hand [`run`] an instruction and the registers before it; they get the registers after
//! it. What QEMU runs is a Linux program of our own, assembled here: it reads instructions and
//! records from its standard input, patches each instruction into itself, executes it on each
//! record and writes the records back. So nothing is needed beside the `qemu-aarch64` command.

// Each test program that includes this module uses a part of it.
#![allow(dead_code)]

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::process::{Command, Stdio};

use dynasmrt::{DynasmApi, DynasmLabelApi, VecAssembler, aarch64::Aarch64Relocation, dynasm};

/// The registers that an instruction may use, before and after it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// X0 to X3.
    pub x: [u64; 4],
    /// V0 to V3.
    pub v: [u128; 4],
    /// FPCR. The instruction leaves it alone.
    pub fpcr: u64,
    /// FPSR.
    pub fpsr: u64,
    /// NZCV, in bits 31 to 28.
    pub nzcv: u64,
}

/// Bytes of a record as the program sees it.
const RECORD: usize = 128;
/// Records that the program reads at once.
const BATCH: usize = 1024;
const BASE: u64 = 0x40_0000;

/// A system register as MRS and MSR encode it: `o0:op1:CRn:CRm:op2`.
const fn register(op1: u32, crn: u32, crm: u32, op2: u32) -> u32 {
    1 << 14 | op1 << 11 | crn << 7 | crm << 3 | op2
}
const FPCR: u32 = register(3, 4, 4, 0);
const FPSR: u32 = register(3, 4, 4, 1);
const NZCV: u32 = register(3, 4, 2, 0);

impl Record {
    fn to_bytes(self) -> [u8; RECORD] {
        let mut bytes = [0; RECORD];
        for (i, x) in self.x.iter().enumerate() {
            bytes[i * 8..][..8].copy_from_slice(&x.to_le_bytes());
        }
        for (i, v) in self.v.iter().enumerate() {
            bytes[32 + i * 16..][..16].copy_from_slice(&v.to_le_bytes());
        }
        for (i, s) in [self.fpcr, self.fpsr, self.nzcv].iter().enumerate() {
            bytes[96 + i * 8..][..8].copy_from_slice(&s.to_le_bytes());
        }
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Record {
        let long = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
        Record {
            x: core::array::from_fn(|i| long(i * 8)),
            v: core::array::from_fn(|i| {
                u128::from(long(32 + i * 16)) | u128::from(long(40 + i * 16)) << 64
            }),
            fpcr: long(96),
            fpsr: long(104),
            nzcv: long(112),
        }
    }
}

/// Why there is no oracle on this machine, if there is none.
pub fn missing() -> Option<String> {
    match Command::new("qemu-aarch64")
        .arg("--version")
        .stdout(Stdio::null())
        .status()
    {
        Ok(status) if status.success() => None,
        Ok(status) => Some(format!("qemu-aarch64 --version: {status}")),
        Err(error) => Some(format!("qemu-aarch64 (package qemu-user): {error}")),
    }
}

/// The program's machine code. Its input is a sequence of batches: the instruction (4 bytes), the
/// number of records (4 bytes, at most [`BATCH`]), 8 bytes unused, the records.
fn program() -> Vec<u8> {
    let mut ops = VecAssembler::<Aarch64Relocation>::new(BASE as usize);
    dynasm!(ops
        ; .arch aarch64
        ; ->batch:
        ; adr x20, ->buffer
        ; mov x21, x20
        ; mov x22, 16
        ; bl ->read
        ; ldr w10, [x20]
        ; ldr w23, [x20, 4]
        ; adr x11, ->slot
        ; str w10, [x11]
        ; dc cvau, x11
        ; dsb ish
        ; ic ivau, x11
        ; dsb ish
        ; isb
        ; mov x21, x20
        ; lsl x22, x23, 7
        ; bl ->read
        ; mov x21, x20
        ; mov x24, x23
        ; ->record:
        ; ldp x10, x11, [x21, 96]
        ; ldr x12, [x21, 112]
        ; msr FPCR, x10
        ; msr FPSR, x11
        ; msr NZCV, x12
        ; ldp x0, x1, [x21]
        ; ldp x2, x3, [x21, 16]
        ; ldp q0, q1, [x21, 32]
        ; ldp q2, q3, [x21, 64]
        ; ->slot:
        ; nop
        ; stp x0, x1, [x21]
        ; stp x2, x3, [x21, 16]
        ; stp q0, q1, [x21, 32]
        ; stp q2, q3, [x21, 64]
        ; mrs x10, FPCR
        ; mrs x11, FPSR
        ; mrs x12, NZCV
        ; stp x10, x11, [x21, 96]
        ; str x12, [x21, 112]
        ; add x21, x21, 128
        ; subs x24, x24, 1
        ; b.ne ->record
        ; mov x21, x20
        ; lsl x22, x23, 7
        ; ->write:
        ; mov x0, 1
        ; mov x1, x21
        ; mov x2, x22
        ; mov x8, 64
        ; svc 0
        ; cmp x0, 0
        ; b.le ->failed
        ; add x21, x21, x0
        ; subs x22, x22, x0
        ; b.ne ->write
        ; b ->batch
        ; ->read:
        ; mov x0, 0
        ; mov x1, x21
        ; mov x2, x22
        ; mov x8, 63
        ; svc 0
        ; cmp x0, 0
        ; b.le ->finished
        ; add x21, x21, x0
        ; subs x22, x22, x0
        ; b.ne ->read
        ; ret
        ; ->failed:
        ; mov x0, 1
        ; b ->exit
        ; ->finished:
        ; mov x0, 0
        ; ->exit:
        ; mov x8, 93
        ; svc 0
        ; .align 16
        ; ->buffer:
    );
    ops.finalize().expect("every label is defined")
}

/// The program as an ELF file of one segment, which is readable, writable and executable.
fn elf() -> Vec<u8> {
    const HEADERS: u64 = 64 + 56;
    let code = program();
    let size = HEADERS + code.len() as u64;
    let mut file = Vec::new();
    file.extend(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    let half = |file: &mut Vec<u8>, value: u16| file.extend(value.to_le_bytes());
    let word = |file: &mut Vec<u8>, value: u32| file.extend(value.to_le_bytes());
    let long = |file: &mut Vec<u8>, value: u64| file.extend(value.to_le_bytes());
    half(&mut file, 2); // ET_EXEC
    half(&mut file, 183); // EM_AARCH64
    word(&mut file, 1);
    long(&mut file, BASE + HEADERS); // entry
    long(&mut file, 64); // program headers
    long(&mut file, 0);
    word(&mut file, 0);
    for value in [64, 56, 1, 64, 0, 0] {
        half(&mut file, value);
    }
    word(&mut file, 1); // PT_LOAD
    word(&mut file, 7); // RWX
    long(&mut file, 0);
    long(&mut file, BASE);
    long(&mut file, BASE);
    long(&mut file, size);
    long(&mut file, size + (RECORD * BATCH) as u64);
    long(&mut file, 0x1000);
    file.extend(code);
    file
}

/// Execute each instruction on each of its records; what comes back are the registers after it.
pub fn run(work: &[(u32, Vec<Record>)]) -> std::io::Result<Vec<Vec<Record>>> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("oracle");
    {
        use std::os::unix::fs::OpenOptionsExt;
        let mut options = File::options();
        options
            .write(true)
            .create_new(true)
            .mode(0o700)
            .open(&path)?
            .write_all(&elf())?;
    }
    let mut input = tempfile::tempfile()?;
    let mut bytes = Vec::new();
    for (instruction, records) in work {
        for batch in records.chunks(BATCH) {
            bytes.extend(instruction.to_le_bytes());
            bytes.extend((batch.len() as u32).to_le_bytes());
            bytes.extend([0; 8]);
            bytes.extend(batch.iter().flat_map(|record| record.to_bytes()));
        }
    }
    input.write_all(&bytes)?;
    input.seek(SeekFrom::Start(0))?;
    let mut output = tempfile::tempfile()?;
    let status = Command::new("qemu-aarch64")
        .args(["-cpu", "neoverse-n1"])
        .arg(&path)
        .stdin(input)
        .stdout(output.try_clone()?)
        .status()?;
    if !status.success() {
        return Err(std::io::Error::other(format!(
            "the oracle ended with {status}"
        )));
    }
    output.seek(SeekFrom::Start(0))?;
    let mut bytes = Vec::new();
    output.read_to_end(&mut bytes)?;
    let mut results = bytes.chunks_exact(RECORD).map(Record::from_bytes);
    work.iter()
        .map(|(_, records)| {
            let after: Vec<Record> = results.by_ref().take(records.len()).collect();
            if after.len() == records.len() {
                Ok(after)
            } else {
                Err(std::io::Error::other("the oracle's answer is short"))
            }
        })
        .collect()
}
