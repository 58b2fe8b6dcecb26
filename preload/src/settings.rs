//! The machine that the program finds behind `/dev/kvm`, chosen by environment variables, which
//! `understudy exec` passes on: those of [`understudy_kvm::host`], and `UNDERSTUDY_GUEST`, the
//! guests' architecture.

use std::sync::OnceLock;

use understudy_kvm::{Kvm, host};

static SYSTEM: OnceLock<Result<Kvm, String>> = OnceLock::new();

/// The system that the environment asks for. One for the whole process.
///
/// # Errors
///
/// What is wrong with a variable.
pub(crate) fn system() -> Result<Kvm, String> {
    SYSTEM.get_or_init(from_environment).clone()
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn from_environment() -> Result<Kvm, String> {
    match variable("UNDERSTUDY_GUEST").as_deref() {
        None | Some("arm64") => {}
        Some(guest) => {
            return Err(format!(
                "UNDERSTUDY_GUEST: no guests of architecture {guest}"
            ));
        }
    }
    host::choose(variable)
}

/// Tells of the instructions of hidden features that guests have used, if that was asked for.
pub(crate) fn report() {
    if let Some(Ok(system)) = SYSTEM.get() {
        for used in system.uses() {
            eprintln!("understudy: {used}");
        }
    }
}
