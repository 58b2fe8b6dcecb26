//! Two processors of one machine, each on a thread of its own.

use understudy_engine::run::Tier;
use understudy_x86::exit::Exit;
use understudy_x86::regs;
use understudy_x86::testing::{Bare, CODE};

/// SDM vol. 3A, 9.1.3: what one processor writes over the code of another is run by that one, also
/// where it has been compiled, and also the second time.
#[test]
fn code_that_another_processor_writes_is_run() {
    for tier in [Tier::Interpret, Tier::Compile(1)] {
        let mut machine = Bare::new();
        // spin: inc rbx; jmp spin
        let spin = [0x48, 0xff, 0xc3, 0xeb, 0xfb];
        machine.code_at(CODE, &spin);
        // mov byte [rdx], 0xf4; hlt
        machine.write(CODE + 0x1000, &[0xc6, 0x02, 0xf4, 0xf4]);
        machine.set(regs::RDX, CODE + 3);
        let mut writer = machine.another();
        writer.engine.set_tier(tier);
        machine.vcpu.engine.set_tier(tier);
        for round in 0..3 {
            machine.write(CODE, &spin);
            machine.cpu().pc = CODE;
            writer.cpu_mut().pc = CODE + 0x1000;
            let exit = std::thread::scope(|scope| {
                let spinning = scope.spawn(|| machine.run_on());
                std::thread::sleep(std::time::Duration::from_millis(5));
                assert_eq!(writer.run(), Exit::Hlt);
                spinning.join().expect("the spinning thread ends")
            });
            assert_eq!(exit, Exit::Hlt, "{tier:?}, round {round}");
            assert_eq!(machine.cpu().pc, CODE + 4);
        }
    }
}

/// A processor that is asked to leave does so, and goes on with the next run.
#[test]
fn a_kick_ends_a_run() {
    let mut machine = Bare::new();
    machine.code_at(CODE, &[0xeb, 0xfe]);
    let peer = machine.vcpu.peer().clone();
    peer.kick();
    assert_eq!(machine.run_on(), Exit::Interrupted);
    let exit = std::thread::scope(|scope| {
        let spinning = scope.spawn(|| machine.run_on());
        std::thread::sleep(std::time::Duration::from_millis(2));
        peer.kick();
        spinning.join().expect("the spinning thread ends")
    });
    assert_eq!(exit, Exit::Interrupted);
}
