//! SIMD instructions against the host's own processor: each form is run there, interpreted and
//! compiled, on generated inputs; all registers, MXCSR, MMX's registers with their tags, memory and
//! exceptions must be the same. Elsewhere than on x86-64 hosts there is nothing to compare with.
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]

#[path = "simd/forms.rs"]
mod forms;
mod native;
#[path = "simd/processor.rs"]
mod processor;

use forms::{ARRANGEMENTS, Arrangement, INDEX};
use iced_x86::{Code, CpuidFeature, OpCodeOperandKind};
use processor::{Host, State};
use rand_xoshiro::SplitMix64;
use rand_xoshiro::rand_core::{RngCore, SeedableRng};
use understudy_engine::emit::Slot;
use understudy_engine::run::Tier;
use understudy_x86::exit::Exit;
use understudy_x86::fp::F80;
use understudy_x86::regs::{self, flag};
use understudy_x86::state::{self, cr4};
use understudy_x86::testing::{Bare, CODE, DATA, DATA_SIZE};

/// A generator of test inputs.
struct Inputs(SplitMix64);

impl Inputs {
    fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// 64 bits of lanes: integers or floating point, near the edges or any.
    fn lanes(&mut self) -> u64 {
        const DOUBLES: [u64; 16] = [
            0,
            1 << 63,
            0x3ff0_0000_0000_0000,
            0xbff8_0000_0000_0000,
            0x7ff0_0000_0000_0000,
            0xfff0_0000_0000_0000,
            0x7ff8_0000_0000_1234,
            0x7ff0_0000_0000_4321,
            1,
            0x000f_ffff_ffff_ffff,
            0x0010_0000_0000_0000,
            0x7fef_ffff_ffff_ffff,
            0x41df_ffff_ffe0_0000,
            0xc1e0_0000_0000_0000,
            0x43e0_0000_0000_0000,
            0x3fe0_0000_0000_0000,
        ];
        const SINGLES: [u32; 16] = [
            0,
            1 << 31,
            0x3f80_0000,
            0xbfc0_0000,
            0x7f80_0000,
            0xff80_0000,
            0x7fc0_1234,
            0x7f80_4321,
            1,
            0x007f_ffff,
            0x0080_0000,
            0x7f7f_ffff,
            0x4f00_0000,
            0xcf00_0000,
            0x5f00_0000,
            0x3f00_0000,
        ];
        let kind = self.bits();
        let any = self.bits();
        let single = |bits: u64| match bits % 4 {
            0 => SINGLES[(bits >> 8) as usize % 16],
            // Of about the same size, so that sums cancel and products fit.
            1 => {
                (0x3f80_0000 + ((bits >> 16) as u32 & 0x01ff_ffff)) | (bits >> 50) as u32 & 1 << 31
            }
            2 => (((bits >> 20) as i32 % 1000) as f32 / 8.0).to_bits(),
            _ => (bits >> 32) as u32,
        };
        match kind % 8 {
            0 => DOUBLES[(kind >> 8) as usize % 16],
            1 => (0x3ff0_0000_0000_0000 + (any & 0x003f_ffff_ffff_ffff)) | any & 1 << 63,
            2 => ((any as i64 >> 40) as f64 / 16.0).to_bits(),
            3 | 4 => u64::from(single(any)) | u64::from(single(self.bits())) << 32,
            5 => {
                // Bytes and words at their edges.
                let edges = [0, 0x7f, 0x80, 0xff, 1, 0x7e];
                let byte = |i: u64| edges[(any >> (8 * i)) as usize % 6] << (8 * i);
                (0..8).map(byte).sum()
            }
            6 => any % 70,
            _ => any,
        }
    }

    fn state(&mut self, code: Code, mxcsr: u32) -> State {
        let mut ymm = [[0; 4]; 16];
        for value in ymm.as_flattened_mut() {
            *value = self.lanes();
        }
        let kinds = code.op_code().op_kinds();
        use OpCodeOperandKind as K;
        if kinds
            .iter()
            .any(|k| matches!(k, K::mem_vsib32x | K::mem_vsib32y))
        {
            ymm[INDEX] = [0; 4].map(|_| {
                let lane = |bits: u64| u64::from((bits as i32 % 64) as u32);
                lane(self.bits()) | lane(self.bits()) << 32
            });
        }
        if kinds
            .iter()
            .any(|k| matches!(k, K::mem_vsib64x | K::mem_vsib64y))
        {
            ymm[INDEX] = [0; 4].map(|_| (self.bits() as i64 % 64) as u64);
        }
        let mut gpr = [0; 16];
        for value in &mut gpr {
            *value = match self.bits() % 3 {
                0 => self.bits() % 20,
                1 => (self.bits() as i64 >> 40) as u64,
                _ => self.lanes(),
            };
        }
        gpr[3] = DATA + 0x1000;
        gpr[4] = DATA + DATA_SIZE / 2;
        gpr[7] = DATA + 0x2000 + self.bits() % 64;
        let mut st = [(0, 0); 8];
        for value in &mut st {
            *value = (self.lanes(), self.bits() as u16);
        }
        State {
            gpr,
            flags: self.bits() & flag::STATUS | flag::ONE | flag::IF,
            mxcsr,
            ymm,
            st,
            top: (self.bits() & 7) as u8,
            valid: self.bits() as u8,
        }
    }
}

fn machines() -> [(Tier, Bare); 2] {
    [Tier::Interpret, Tier::Compile(1)].map(|tier| {
        let mut machine = Bare::new();
        machine.vcpu.engine.set_tier(tier);
        let cpu = machine.cpu();
        cpu.state.cr4 |= cr4::OSFXSR | cr4::OSXMMEXCPT | cr4::OSXSAVE;
        cpu.state.xcr0 = 7;
        state::changed(cpu);
        (tier, machine)
    })
}

fn ymm_slot(number: usize, quarter: usize) -> Slot {
    Slot::new((32 + 4 * number + quarter) as u8)
}

fn set(machine: &mut Bare, before: &State) {
    for (number, value) in (0..).zip(before.gpr) {
        machine.set(regs::gpr(number), value);
    }
    for (number, ymm) in before.ymm.iter().enumerate() {
        for (quarter, value) in ymm.iter().enumerate() {
            machine.set(ymm_slot(number, quarter), *value);
        }
    }
    let state = &mut machine.cpu().state;
    state.mxcsr = before.mxcsr;
    for (register, (significand, sign_exponent)) in state.fpu.st.iter_mut().zip(before.st) {
        *register = F80 {
            significand,
            sign_exponent,
        };
    }
    state.fpu.top = before.top;
    state.fpu.valid = before.valid;
    // Also has what follows from MXCSR brought up to date.
    machine.set_flags(before.flags);
}

fn get(machine: &Bare) -> State {
    let cpu = machine.vcpu.cpu();
    State {
        gpr: std::array::from_fn(|n| machine.get(regs::gpr(n as u8))),
        flags: machine.flags(),
        mxcsr: cpu.state.mxcsr,
        ymm: std::array::from_fn(|n| std::array::from_fn(|k| machine.get(ymm_slot(n, k)))),
        st: cpu
            .state
            .fpu
            .st
            .map(|st| (st.significand, st.sign_exponent)),
        top: cpu.state.fpu.top,
        valid: cpu.state.fpu.valid,
    }
}

/// Whether an estimate is as near to the exact value as the other.
fn near(ours: u64, theirs: u64) -> bool {
    [0, 32].iter().all(|shift| {
        let (a, b) = ((ours >> shift) as u32, (theirs >> shift) as u32);
        let (x, y) = (f32::from_bits(a), f32::from_bits(b));
        // 1.5 * 2^-12 either way, and of those about the smallest normal number one may be zero.
        let tiny = |v: f32| v.abs() <= f32::MIN_POSITIVE * 1.001;
        let same = a >> 31 == b >> 31;
        a == b || same && (tiny(x) && tiny(y) || (x - y).abs() <= x.abs() * 3.0 / 4096.0)
    })
}

struct Case<'a> {
    code: Code,
    bytes: &'a [u8],
    before: State,
    data: Vec<u8>,
}

/// The differences that a tier makes.
fn differences(case: &Case, host: &mut Host, machine: &mut Bare, tier: Tier) -> Vec<String> {
    let (mut expected, memory, vector) = host.run(case.bytes, &case.before, &case.data);
    machine.write(DATA, &case.data);
    machine.code_at(CODE, case.bytes);
    set(machine, &case.before);
    let exit = machine.run_on();
    let mut found = get(machine);
    let mut wrong = Vec::new();
    if exit != Exit::Hlt {
        return vec![format!("{tier:?}: {exit:?}")];
    }
    let ours = machine.exception();
    if ours != vector {
        wrong.push(format!("exception {ours:?}, not {vector:?}"));
    }
    if vector.is_some() {
        // The handler's stack and flags are another matter.
        expected.gpr[4] = found.gpr[4];
        expected.flags = found.flags;
    }
    found.flags &= flag::STATUS | flag::DF;
    expected.flags &= flag::STATUS | flag::DF;
    if forms::estimates(case.code) {
        for (ours, theirs) in found
            .ymm
            .as_flattened_mut()
            .iter_mut()
            .zip(expected.ymm.as_flattened())
        {
            if near(*ours, *theirs) {
                *ours = *theirs;
            }
        }
    }
    for n in 0..16 {
        if found.ymm[n] != expected.ymm[n] {
            let (a, b) = (found.ymm[n], expected.ymm[n]);
            wrong.push(format!("ymm{n}\n     {a:016x?}\n not {b:016x?}"));
        }
        if found.gpr[n] != expected.gpr[n] {
            let (a, b) = (found.gpr[n], expected.gpr[n]);
            wrong.push(format!("register {n}: {a:x}, not {b:x}"));
        }
    }
    if found.mxcsr != expected.mxcsr {
        let (a, b) = (found.mxcsr, expected.mxcsr);
        wrong.push(format!("mxcsr {a:x}, not {b:x}"));
    }
    if found.flags != expected.flags {
        let (a, b) = (found.flags, expected.flags);
        wrong.push(format!("flags {a:x}, not {b:x}"));
    }
    let mmx = |s: &State| (s.st, s.top, s.valid);
    if mmx(&found) != mmx(&expected) {
        let (a, b) = (mmx(&found), mmx(&expected));
        wrong.push(format!("x87 {a:x?}\n not {b:x?}"));
    }
    let bytes = machine.read::<{ DATA_SIZE as usize }>(DATA);
    // A fault's frame is on the guest's stack.
    let differs = (0..bytes.len()).find(|at| bytes[*at] != memory[*at] && *at < 0x7f00);
    if let Some(at) = differs {
        wrong.push(format!("memory at {at:x}"));
    }
    for line in &mut wrong {
        *line = format!("{tier:?}: {line}");
    }
    wrong
}

/// The controls of MXCSR under which a form is run, at random.
fn controls(code: Code, inputs: &mut Inputs) -> Vec<u32> {
    let flags = |inputs: &mut Inputs| (inputs.bits() & 0x3f) as u32;
    if !forms::is_float(code) {
        return vec![0x1f80; 4];
    }
    let mut all = vec![0x1f80, 0x1f80, 0x1fa0, 0x1fa0, 0x1fa0];
    for _ in 0..3 {
        all.push(0x1f80 | flags(inputs));
    }
    for _ in 0..4 {
        let rounding = (inputs.bits() & 3) as u32;
        let flush = (inputs.bits() & 0x8040) as u32;
        all.push(0x1f80 | rounding << 13 | flush | flags(inputs));
    }
    for _ in 0..8 {
        let rounding = (inputs.bits() & 3) as u32;
        let flush = (inputs.bits() & inputs.bits() & 0x8040) as u32;
        let masks = (inputs.bits() | inputs.bits()) as u32 & 0x1f80;
        all.push(masks | rounding << 13 | flush | flags(inputs));
    }
    all
}

/// Runs the forms for which `wanted` holds, and gives the first differences of each.
fn compare(seed: u64, wanted: impl Fn(Code) -> bool) {
    let mut host = Host::new();
    // Other inputs than the usual ones, for who wants to look further.
    let other = std::env::var("UNDERSTUDY_SEED").ok();
    let other: u64 = other.and_then(|seed| seed.parse().ok()).unwrap_or(0);
    let mut inputs = Inputs(SplitMix64::seed_from_u64(seed + 1000 * other));
    let mut machines = machines();
    let (mut run, mut skipped) = (0, Vec::new());
    let mut wrong: Vec<String> = Vec::new();
    for code in forms::all().into_iter().filter(|code| wanted(*code)) {
        if !forms::here(code) {
            skipped.push(code);
            continue;
        }
        let has_imm = code.op_code().op_kinds().contains(&OpCodeOperandKind::imm8);
        let mut bad = 0;
        for arrangement in ARRANGEMENTS {
            let turns = if has_imm {
                if arrangement == Arrangement::Low {
                    12
                } else {
                    4
                }
            } else {
                1
            };
            for turn in 0..turns {
                let imm = if turn % 2 == 0 {
                    inputs.bits() as u8
                } else {
                    (inputs.bits() % 32) as u8
                };
                let Some(bytes) = forms::encode(code, arrangement, imm) else {
                    continue;
                };
                // Both manuals have SHA's operands aligned, but AMD's processors do not look.
                let sha = code.cpuid_features().contains(&CpuidFeature::SHA);
                if sha && arrangement == Arrangement::Unaligned {
                    continue;
                }
                run += 1;
                for mxcsr in controls(code, &mut inputs) {
                    let before = inputs.state(code, mxcsr);
                    let mut data = vec![0; DATA_SIZE as usize];
                    for word in data[0xe00..0x2200].chunks_exact_mut(8) {
                        word.copy_from_slice(&inputs.lanes().to_le_bytes());
                    }
                    let case = Case {
                        code,
                        bytes: &bytes,
                        before,
                        data,
                    };
                    for (tier, machine) in &mut machines {
                        let lines = differences(&case, &mut host, machine, *tier);
                        if !lines.is_empty() && bad < 2 {
                            bad += 1;
                            let State { mxcsr, ymm, .. } = &case.before;
                            wrong.push(format!(
                                "{code:?} {arrangement:?} {:02x?} mxcsr {mxcsr:x}\n  {}\n from {:016x?}\n  memory {:02x?}",
                                case.bytes,
                                lines.join("\n  "),
                                &ymm[..5],
                                &case.data[0x1040..0x1068],
                            ));
                        }
                    }
                }
            }
        }
    }
    println!("{run} forms; not in this host: {skipped:?}");
    assert!(
        wrong.is_empty(),
        "{} of {run}:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert!(run > 0);
}

fn is_vex(code: Code) -> bool {
    code.encoding() == iced_x86::EncodingKind::VEX
}

#[test]
fn legacy_integer_forms_agree_with_the_host() {
    compare(1, |code| !forms::is_float(code) && !is_vex(code));
}

#[test]
fn vex_integer_forms_agree_with_the_host() {
    compare(2, |code| !forms::is_float(code) && is_vex(code));
}

#[test]
fn legacy_float_forms_agree_with_the_host() {
    compare(3, |code| forms::is_float(code) && !is_vex(code));
}

#[test]
fn vex_float_forms_agree_with_the_host() {
    compare(4, |code| forms::is_float(code) && is_vex(code));
}
