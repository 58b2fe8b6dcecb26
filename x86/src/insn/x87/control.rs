//! Control instructions: the control and status words, the environment, the whole state (SDM vol. 1,
//! 5.2.7 and 8.1.10).

use super::form::{Memory, Op};
use super::{At, keep_pointers};
use crate::Cpu;
use crate::fp::F80;
use crate::fpu::{Fpu, fsw};
use crate::insn::operand;
use understudy_engine::emit::Stop;

/// Loads or stores words of the image, one after the other.
struct Image<'a> {
    cpu: &'a mut Cpu,
    at: &'a At,
    next: u64,
}

impl Image<'_> {
    fn place(&mut self, size: u8) -> u64 {
        let address = self.at.address.wrapping_add(self.next);
        self.next += 1 << size;
        address
    }
    fn load(&mut self, size: u8) -> Result<u64, Stop> {
        let address = self.place(size);
        operand::load(self.cpu, address, size, self.at.form.via, false)
    }
    fn store(&mut self, value: u64, size: u8) -> Result<(), Stop> {
        let address = self.place(size);
        operand::store(self.cpu, address, value, size, self.at.form.via)
    }
}

/// The seven words of the environment, in the format of this mode (SDM vol. 1, figures 8-9 to 8-12).
fn environment(fpu: &Fpu, protected: bool, long: bool) -> [u32; 7] {
    let ones = 0xffff_0000;
    let word = |value: u16| ones | u32::from(value);
    let (ip, dp) = (fpu.ip as u32, fpu.dp as u32);
    let opcode = u32::from(fpu.opcode);
    let (control, status, tags) = (
        word(fpu.control),
        word(fpu.status_word()),
        word(fpu.tag_word()),
    );
    if protected {
        let selector = u32::from(fpu.cs) | opcode << 16;
        return [control, status, tags, ip, selector, dp, word(fpu.ds)];
    }
    // Linear addresses, of which the upper bits are beside the opcode.
    let ip = ip.wrapping_add(u32::from(fpu.cs) << 4);
    let dp = dp.wrapping_add(u32::from(fpu.ds) << 4);
    if long {
        let upper = |address: u32| address >> 16 << 12;
        let ip_word = ip & 0xffff | ones;
        let dp_word = dp & 0xffff | ones;
        let opcode = upper(ip) | opcode;
        return [control, status, tags, ip_word, opcode, dp_word, upper(dp)];
    }
    let upper = |address: u32| address >> 16 << 12 & 0xf000;
    [control, status, tags, ip, upper(ip) | opcode, dp, upper(dp)]
}

fn set_environment(fpu: &mut Fpu, words: [u32; 7], protected: bool, long: bool) {
    let [control, status, tags, ip, selector, dp, ds] = words;
    fpu.set_control_word(control as u16);
    fpu.set_status_word(status as u16);
    fpu.set_tag_word(tags as u16);
    fpu.opcode = 0;
    if protected {
        fpu.ip = ip.into();
        fpu.cs = selector as u16;
        fpu.dp = dp.into();
        fpu.ds = ds as u16;
        if long {
            fpu.opcode = (selector >> 16) as u16 & 0x7ff;
        }
        return;
    }
    let upper = |word: u32| {
        if long {
            word >> 12 << 16
        } else {
            (word & 0xf000) << 4
        }
    };
    fpu.ip = u64::from(ip & 0xffff | upper(selector));
    fpu.dp = u64::from(dp & 0xffff | upper(ds));
    fpu.opcode = selector as u16 & 0x7ff;
    (fpu.cs, fpu.ds) = (0, 0);
}

fn load_environment(image: &mut Image, size: u8) -> Result<[u32; 7], Stop> {
    let mut words = [0; 7];
    for word in &mut words {
        *word = image.load(size)? as u32;
    }
    Ok(words)
}

fn store_environment(image: &mut Image, size: u8) -> Result<(), Stop> {
    let state = &image.cpu.state;
    for word in environment(&state.fpu, state.protected(), size == 2) {
        image.store(word.into(), size)?;
    }
    Ok(())
}

/// What is read and written in memory.
fn transfer(cpu: &mut Cpu, at: &At) -> Result<(), Stop> {
    let size = if at.form.memory == Some(Memory::Short) {
        1
    } else {
        2
    };
    let protected = cpu.state.protected();
    let mut image = Image { cpu, at, next: 0 };
    match at.form.op {
        Op::LoadEnvironment => {
            let words = load_environment(&mut image, size)?;
            set_environment(&mut cpu.state.fpu, words, protected, size == 2);
        }
        Op::StoreEnvironment => {
            store_environment(&mut image, size)?;
            cpu.state.fpu.control |= fsw::EXCEPTIONS;
        }
        Op::Save => {
            store_environment(&mut image, size)?;
            for n in 0..8 {
                let fpu = &image.cpu.state.fpu;
                let value = fpu.st[fpu.index(n)];
                image.store(value.significand, 3)?;
                image.store(value.sign_exponent.into(), 1)?;
            }
            cpu.state.fpu.init();
        }
        _ => {
            let words = load_environment(&mut image, size)?;
            let mut values = [F80::default(); 8];
            for value in &mut values {
                value.significand = image.load(3)?;
                value.sign_exponent = image.load(1)? as u16;
            }
            let fpu = &mut cpu.state.fpu;
            set_environment(fpu, words, protected, size == 2);
            for (n, value) in (0..).zip(values) {
                let index = fpu.index(n);
                fpu.st[index] = value;
            }
        }
    }
    Ok(())
}

/// Gives FSW for FNSTSW AX.
pub(super) fn run(cpu: &mut Cpu, at: &At) -> Result<u64, Stop> {
    let via = at.form.via;
    let fpu = &mut cpu.state.fpu;
    match at.form.op {
        Op::Init => fpu.init(),
        Op::ClearExceptions => fpu.status &= fsw::CODES,
        Op::LoadControl => {
            let value = operand::load(cpu, at.address, 1, via, false)?;
            cpu.state.fpu.set_control_word(value as u16);
        }
        Op::StoreControl => {
            let value = fpu.control.into();
            operand::store(cpu, at.address, value, 1, via)?;
        }
        Op::StoreStatus => {
            let value = fpu.status_word().into();
            if at.form.memory.is_some() {
                operand::store(cpu, at.address, value, 1, via)?;
            }
            return Ok(value);
        }
        Op::LoadEnvironment | Op::StoreEnvironment | Op::Save | Op::Restore => transfer(cpu, at)?,
        op => {
            keep_pointers(cpu, at);
            let fpu = &mut cpu.state.fpu;
            match op {
                Op::Free => {
                    fpu.free(at.form.i);
                    fpu.set_codes(fsw::C1, 0);
                }
                Op::FreePop => {
                    fpu.free(at.form.i);
                    fpu.pop(1);
                    fpu.set_codes(fsw::C1, 0);
                }
                Op::Increment | Op::Decrement => {
                    let by = if op == Op::Increment { 1 } else { 7 };
                    fpu.top = fpu.top.wrapping_add(by) & 7;
                    fpu.set_codes(fsw::C1, 0);
                }
                _ => {}
            }
        }
    }
    Ok(0)
}
