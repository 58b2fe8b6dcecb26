//! The machine that the program finds behind `/dev/kvm`, chosen by environment variables, which
//! `understudy exec` passes on:
//!
//! | variable | value |
//! | --- | --- |
//! | `UNDERSTUDY_CPU` | the host CPU model, `neoverse-n1` unless set |
//! | `UNDERSTUDY_PROPOSALS` | names of proposals, separated by commas |
//! | `UNDERSTUDY_FIDELITY` | `kvm`, `strict` or `report`: instructions of features that a VM hides run as on hardware, are undefined, or run and are told of on stderr when the program ends |
//! | `UNDERSTUDY_GUEST` | the guests' architecture: `arm64` |

use std::sync::OnceLock;

use understudy_arm64::insn::features::Fidelity;
use understudy_arm64::machine::{Model, Proposals};
use understudy_kvm::Kvm;

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
    let model = match variable("UNDERSTUDY_CPU") {
        None => Model::default(),
        Some(name) => Model::ALL
            .iter()
            .copied()
            .find(|model| model.name() == name)
            .ok_or_else(|| format!("UNDERSTUDY_CPU: no host CPU model {name}"))?,
    };
    let mut proposals = Proposals::empty();
    for name in variable("UNDERSTUDY_PROPOSALS")
        .iter()
        .flat_map(|names| names.split(','))
    {
        proposals |= Proposals::by_name(name)
            .ok_or_else(|| format!("UNDERSTUDY_PROPOSALS: no proposal {name}"))?;
    }
    let fidelity = match variable("UNDERSTUDY_FIDELITY") {
        None => Fidelity::default(),
        Some(name) => Fidelity::by_name(&name).ok_or_else(|| {
            format!("UNDERSTUDY_FIDELITY: no fidelity {name}; there are kvm, strict and report")
        })?,
    };
    Ok(Kvm::with(model, proposals).with_fidelity(fidelity))
}

/// Tells of the instructions of hidden features that guests have used, if that was asked for.
pub(crate) fn report() {
    if let Some(Ok(system)) = SYSTEM.get() {
        for used in system.uses() {
            eprintln!("understudy: {used}");
        }
    }
}
