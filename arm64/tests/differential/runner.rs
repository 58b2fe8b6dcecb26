//! The other side: `runner.c`, built by a cross compiler and run by qemu-user.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Guest address of slot 0; see `runner.c`.
pub const SLOTS: u64 = 0x2008_0000;
/// Distance between slots in bytes.
pub const SLOT: u64 = 32;
/// Slots, and cases, that a batch may have.
pub const BATCH: usize = 4096;
/// Guest address of the data that loads and stores may touch.
pub const DATA: u64 = 0x3000_0000;
/// Bytes of it.
pub const DATA_SIZE: u64 = 0x3_0000;

/// What the data's 64-bit word of this index holds before each case.
pub fn pristine(index: u64) -> u64 {
    let z = index.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z ^ z >> 27
}

/// `struct state` of `runner.c`: what an instruction starts from and what it leaves.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct State {
    /// X0 to X30.
    pub x: [u64; 31],
    /// SP.
    pub sp: u64,
    /// Before: the number of the slot. After: the address reached.
    pub pc: u64,
    /// NZCV in bits 31:28.
    pub nzcv: u64,
    /// FPCR.
    pub fpcr: u64,
    /// FPSR.
    pub fpsr: u64,
    /// Before: whether the data may be touched. After: the signal, 0 if there was none.
    pub signal: u64,
    /// After: the address that faulted.
    pub address: u64,
    /// After: the first changed 64-bit word of the data, as an offset in bytes; `u64::MAX` if none.
    pub changed: u64,
    /// After: 64 bytes from there.
    pub window: [u64; 8],
    /// V0 to V31.
    pub v: [u128; 32],
}

/// `sizeof(struct state)`.
const SIZE: usize = 8 * (31 + 8 + 8 + 1 + 64);

impl State {
    fn write(&self, out: &mut Vec<u8>) {
        let scalars = [
            self.sp,
            self.pc,
            self.nzcv,
            self.fpcr,
            self.fpsr,
            self.signal,
            self.address,
            self.changed,
        ];
        let words = self
            .x
            .iter()
            .chain(&scalars)
            .chain(&self.window)
            .chain(&[0]);
        words.for_each(|w| out.extend(w.to_le_bytes()));
        self.v.iter().for_each(|v| out.extend(v.to_le_bytes()));
    }

    fn read(bytes: &[u8]) -> State {
        let mut words = bytes
            .chunks_exact(8)
            .map(|w| u64::from_le_bytes(w.try_into().unwrap()));
        let mut next = || words.next().unwrap();
        State {
            x: std::array::from_fn(|_| next()),
            sp: next(),
            pc: next(),
            nzcv: next(),
            fpcr: next(),
            fpsr: next(),
            signal: next(),
            address: next(),
            changed: next(),
            window: std::array::from_fn(|_| next()),
            v: {
                next();
                std::array::from_fn(|_| u128::from(next()) | u128::from(next()) << 64)
            },
        }
    }
}

/// A running peer.
pub struct Runner(Child);

impl Runner {
    /// Builds and starts it on this model of QEMU's. The error says what this machine lacks.
    pub fn start(cpu: &str) -> Result<Runner, String> {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/differential/runner.c");
        // Tests run in parallel processes: each builds its own.
        let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!(
            "differential-runner-{}-{:?}",
            std::process::id(),
            std::thread::current().id()
        ));
        let built = Command::new("aarch64-linux-gnu-gcc")
            .args([
                "-O2",
                "-static",
                "-nostdlib",
                "-ffreestanding",
                "-fno-builtin",
            ])
            .args(["-fno-tree-loop-distribute-patterns", "-fno-stack-protector"])
            .args(["-mgeneral-regs-only", "-mno-outline-atomics", "-o"])
            .args([&program, &source])
            .arg("-lgcc")
            .status()
            .map_err(|e| format!("no cross compiler (gcc-aarch64-linux-gnu): {e}"))?;
        assert!(built.success(), "runner.c does not compile");
        let child = Command::new("qemu-aarch64")
            .args(["-cpu", cpu])
            .arg(&program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|e| format!("no qemu-aarch64 (qemu-user): {e}"));
        // It is executed once it answers; until then the file must stay.
        let mut runner = Runner(child?);
        let nop = [0xd503_201f];
        runner.run(
            &nop,
            &[super::random::state(
                &mut super::random::Random::new(1),
                false,
            )],
        );
        let _ = std::fs::remove_file(&program);
        Ok(runner)
    }

    /// Runs the cases, each of which names one of the words by its [`State::pc`].
    pub fn run(&mut self, words: &[u32], cases: &[State]) -> Vec<State> {
        assert!(words.len() <= BATCH && cases.len() <= BATCH && !cases.is_empty());
        let mut input = Vec::with_capacity(SIZE * cases.len() + 4 * words.len() + 32);
        input.extend((words.len() as u64).to_le_bytes());
        input.extend((cases.len() as u64).to_le_bytes());
        words.iter().for_each(|w| input.extend(w.to_le_bytes()));
        if words.len() % 2 == 1 {
            input.extend([0; 4]);
        }
        cases.iter().for_each(|case| case.write(&mut input));
        // The peer answers only after it has read the whole batch.
        let stdin = self.0.stdin.as_mut().expect("piped");
        stdin
            .write_all(&input)
            .and_then(|()| stdin.flush())
            .expect("the runner has ended");
        let mut output = vec![0; SIZE * cases.len()];
        let stdout = self.0.stdout.as_mut().expect("piped");
        stdout
            .read_exact(&mut output)
            .expect("the runner has ended");
        output.chunks_exact(SIZE).map(State::read).collect()
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}
