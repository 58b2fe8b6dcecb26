//! The machine that the program finds behind `/dev/kvm`, chosen by environment variables, which
//! `understudy exec` passes on:
//!
//! | variable | value |
//! | --- | --- |
//! | `UNDERSTUDY_CPU` | the host CPU model, `neoverse-n1` unless set; a path is a user's model file |
//! | `UNDERSTUDY_PROPOSALS` | names of proposals, separated by commas |
//! | `UNDERSTUDY_GUEST` | the guests' architecture: `arm64` |

use std::sync::OnceLock;

use understudy_arm64::machine::{Model, Proposals};
use understudy_kvm::Kvm;

/// The system that the environment asks for. One for the whole process.
///
/// # Errors
///
/// What is wrong with a variable.
pub(crate) fn system() -> Result<Kvm, String> {
    static SYSTEM: OnceLock<Result<Kvm, String>> = OnceLock::new();
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
        Some(name) => Model::find(&name).map_err(|error| format!("UNDERSTUDY_CPU: {error}"))?,
    };
    let mut proposals = Proposals::empty();
    for name in variable("UNDERSTUDY_PROPOSALS")
        .iter()
        .flat_map(|names| names.split(','))
    {
        proposals |= Proposals::by_name(name)
            .ok_or_else(|| format!("UNDERSTUDY_PROPOSALS: no proposal {name}"))?;
    }
    Ok(Kvm::with(model, proposals))
}
