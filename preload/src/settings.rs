//! The machine that the program finds behind `/dev/kvm`, chosen by environment variables, which
//! `understudy exec` passes on: those of [`understudy_kvm::host`]; `UNDERSTUDY_GUEST`, the guests'
//! architecture; and `UNDERSTUDY_ENGINE`, whose KVM it is: `understudy`'s, or the machine's own with
//! proposals added to it ([`crate::pass_through`]).

use std::sync::OnceLock;

use understudy_kvm::x86::Proposals;
use understudy_kvm::{Guest, Kvm, host};

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
    let guest = match variable("UNDERSTUDY_GUEST") {
        None => Guest::default(),
        Some(name) => Guest::by_name(&name).ok_or_else(|| {
            let names = Guest::ALL.map(Guest::name).join(" and ");
            format!("UNDERSTUDY_GUEST: no guests of architecture {name}: there are {names}")
        })?,
    };
    host::choose(guest, variable)
}

/// Whose KVM a program gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Engine {
    /// Understudy's.
    Understudy,
    /// The kernel's.
    Kvm,
}

/// Whose KVM the environment asks for.
pub(crate) fn engine() -> Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    *ENGINE.get_or_init(|| match variable("UNDERSTUDY_ENGINE").as_deref() {
        Some("kvm") => Engine::Kvm,
        _ => Engine::Understudy,
    })
}

/// Whether it is Understudy's.
pub(crate) fn ours() -> bool {
    engine() == Engine::Understudy
}

/// The proposals that are added to the kernel's KVM. What is no such proposal is told of once.
pub(crate) fn added() -> Proposals {
    static ADDED: OnceLock<Proposals> = OnceLock::new();
    *ADDED.get_or_init(|| {
        let names = variable(host::PROPOSALS).unwrap_or_default();
        host::x86_proposals(Some(&names)).unwrap_or_else(|problem| {
            eprintln!("understudy: {problem}");
            Proposals::empty()
        })
    })
}

/// Tells of the instructions of hidden features that guests have used, if that was asked for.
pub(crate) fn report() {
    if let Some(Ok(system)) = SYSTEM.get() {
        for used in system.uses() {
            eprintln!("understudy: {used}");
        }
    }
}
