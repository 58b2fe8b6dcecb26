//! Runs a few instructions on the host's own processor, at the addresses that the guest has them at.

use super::forms::Form;
use super::native::{General, Mapped, routine};
use understudy_x86::testing::CODE;

/// General-purpose registers, in the order of their numbers, and RFLAGS.
#[derive(Clone, Copy, Debug)]
pub struct Registers {
    pub gpr: [u64; 16],
    pub flags: u64,
}

static mut FRAME: General = General::ZERO;

routine!(understudy_host_run, understudy_host_back, FRAME, [], []);

/// The host's processor, with the guest's code and data mapped.
pub struct Host(Mapped);

impl Host {
    pub fn new() -> Host {
        Host(Mapped::new())
    }

    /// Runs code that ends by falling off its end, and gives registers and data afterwards.
    pub fn run(&mut self, form: &Form, before: &Registers, data: &[u8]) -> (Registers, Vec<u8>) {
        let start = CODE + form.offset;
        let back = understudy_host_back as *const () as u64;
        let code = &form.code[..form.end as usize];
        self.0.fill(start, code, back, data);
        // SAFETY: the mapping keeps FRAME for this thread. The code is a form of the list, of which none
        // leaves the data and its own page, and none that faults gets here.
        let after = unsafe {
            let frame = &raw mut FRAME;
            (*frame).gpr = before.gpr;
            (*frame).flags = before.flags;
            (*frame).code = start;
            understudy_host_run();
            Registers {
                gpr: (*frame).gpr,
                flags: (*frame).flags,
            }
        };
        (after, self.0.data())
    }
}
