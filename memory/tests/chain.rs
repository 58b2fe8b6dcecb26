//! Faults that are none of ours, in processes of their own: what the program wanted happens.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};

use understudy_memory::host;

/// Runs this test program again, for one test, with a scenario to play.
fn play(scenario: &str) -> ExitStatus {
    Command::new(std::env::current_exe().expect("a test has a program"))
        .args(["--exact", "stage", "--nocapture", "--test-threads=1"])
        .env("UNDERSTUDY_TEST_SCENARIO", scenario)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .status()
        .expect("the test program runs")
}

extern "C" fn leave_with_3(_: libc::c_int) {
    // SAFETY: async-signal-safe.
    unsafe { libc::_exit(3) }
}

extern "C" fn leave_with_4(_: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: async-signal-safe; the signal is a fault, which has an address.
    unsafe {
        libc::_exit(if (*info).si_addr().addr() == 0x18 {
            4
        } else {
            5
        })
    }
}

fn action(handler: usize, flags: i32) -> libc::sigaction {
    // SAFETY: a zeroed action is a valid one.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler;
    action.sa_flags = flags;
    action
}

fn fault() {
    // SAFETY: none, on purpose: the process of this scenario ends here.
    unsafe { std::ptr::without_provenance::<u32>(0x18).read_volatile() };
}

/// Not a test of its own: the body of the scenarios.
#[test]
fn stage() {
    let Ok(scenario) = std::env::var("UNDERSTUDY_TEST_SCENARIO") else {
        return;
    };
    let set = |signal, action: libc::sigaction| {
        // SAFETY: a valid action.
        let result = unsafe { libc::sigaction(signal, &action, std::ptr::null_mut()) };
        assert_eq!(result, 0);
    };
    match scenario.as_str() {
        "default" => {
            set(libc::SIGSEGV, action(libc::SIG_DFL, 0));
            host::install();
            fault();
        }
        "plain handler" => {
            set(libc::SIGSEGV, action(leave_with_3 as *const () as usize, 0));
            host::install();
            fault();
        }
        "handler with info" => {
            set(
                libc::SIGSEGV,
                action(leave_with_4 as *const () as usize, libc::SA_SIGINFO),
            );
            host::install();
            fault();
        }
        "handler set later" => {
            assert!(host::set_chained_action(libc::SIGSEGV, action(libc::SIG_DFL, 0)).is_none());
            set(libc::SIGSEGV, action(libc::SIG_DFL, 0));
            host::install();
            let later = action(leave_with_3 as *const () as usize, 0);
            let old = host::set_chained_action(libc::SIGSEGV, later).expect("installed");
            assert_eq!(old.sa_sigaction, libc::SIG_DFL);
            assert!(host::set_chained_action(libc::SIGTERM, later).is_none());
            fault();
        }
        "sent" => {
            set(libc::SIGBUS, action(libc::SIG_DFL, 0));
            host::install();
            // SAFETY: no memory is concerned.
            unsafe { libc::raise(libc::SIGBUS) };
        }
        "sent and ignored" => {
            set(libc::SIGBUS, action(libc::SIG_IGN, 0));
            host::install();
            // SAFETY: as above.
            unsafe { libc::raise(libc::SIGBUS) };
            std::process::exit(6);
        }
        "blocked" => {
            host::install();
            // SAFETY: a full set is a valid one.
            unsafe {
                let mut set = std::mem::zeroed();
                libc::sigfillset(&mut set);
                libc::pthread_sigmask(libc::SIG_SETMASK, &set, std::ptr::null_mut());
            }
            host::unblock_signals();
            // SAFETY: guarded.
            let result =
                unsafe { host::load(std::ptr::without_provenance(0x18), 4, host::Order::Relaxed) };
            std::process::exit(if result.is_err() { 7 } else { 8 });
        }
        _ => unreachable!("no scenario {scenario}"),
    }
}

#[test]
fn the_default_action_ends_the_process() {
    assert_eq!(play("default").signal(), Some(libc::SIGSEGV));
    assert_eq!(play("sent").signal(), Some(libc::SIGBUS));
}

#[test]
fn the_handler_before_us_is_called() {
    assert_eq!(play("plain handler").code(), Some(3));
    assert_eq!(play("handler with info").code(), Some(4));
}

#[test]
fn the_handler_after_us_is_called() {
    assert_eq!(play("handler set later").code(), Some(3));
}

#[test]
fn an_ignored_signal_that_was_sent_is_ignored() {
    assert_eq!(play("sent and ignored").code(), Some(6));
}

#[test]
fn a_thread_that_blocks_signals_can_run_a_guest() {
    assert_eq!(play("blocked").code(), Some(7));
}
