//! The choice of a host: which CPU, which proposals, which fidelity, by the names that people and
//! environment variables use.

use understudy_arm64::insn::features::Fidelity;
use understudy_arm64::machine::{Model, Proposals};

use crate::guest::Guest;
use crate::system::Kvm;
use crate::x86;

/// Environment variable of the host CPU model: one that comes with Understudy, or a file.
pub const CPU: &str = "UNDERSTUDY_CPU";
/// Environment variable of the proposals' names (requirements 0.2), separated by commas.
pub const PROPOSALS: &str = "UNDERSTUDY_PROPOSALS";
/// Environment variable of what is done about instructions of features that a VM hides: `kvm`,
/// `strict` or `report`.
pub const FIDELITY: &str = "UNDERSTUDY_FIDELITY";

/// The host for guests of an architecture that these variables ask for, each with its value where it is set. What is empty is as
/// good as not set.
///
/// # Errors
///
/// One line: the variable, what is wrong with its value, and what would be right.
pub fn choose(guest: Guest, variable: impl Fn(&str) -> Option<String>) -> Result<Kvm, String> {
    let get = |name: &str| variable(name).filter(|value| !value.is_empty());
    if guest == Guest::X86_64 {
        return Ok(Kvm::x86(x86_proposals(get(PROPOSALS).as_deref())?));
    }
    let model = match get(CPU) {
        None => Model::default(),
        Some(name) => Model::find(&name).map_err(|error| format!("{CPU}: {error}"))?,
    };
    let mut proposals = Proposals::empty();
    for name in get(PROPOSALS).iter().flat_map(|names| names.split(',')) {
        proposals |= Proposals::by_name(name).ok_or_else(|| {
            let names: Vec<&str> = Proposals::names().collect();
            let names = names.join(", ");
            format!("{PROPOSALS}: no proposal {name}: there are {names}")
        })?;
    }
    let fidelity = match get(FIDELITY) {
        None => Fidelity::default(),
        Some(name) => Fidelity::by_name(&name).ok_or_else(|| {
            format!("{FIDELITY}: no fidelity {name}: there are kvm, strict and report")
        })?,
    };
    Ok(Kvm::with(model, proposals).with_fidelity(fidelity))
}

/// The proposals for x86-64 guests of a list of names, separated by commas.
///
/// # Errors
///
/// One line: the name that is none, and which there are.
pub fn x86_proposals(names: Option<&str>) -> Result<x86::Proposals, String> {
    let mut proposals = x86::Proposals::empty();
    let names = names.into_iter().flat_map(|names| names.split(','));
    for name in names.filter(|name| !name.is_empty()) {
        proposals |= x86::Proposals::by_name(name).ok_or_else(|| {
            let names: Vec<&str> = x86::Proposals::names().collect();
            let names = names.join(", ");
            format!("{PROPOSALS}: no proposal {name} for x86-64 guests: there are {names}")
        })?;
    }
    Ok(proposals)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: &'static str, value: &'static str) -> Result<Kvm, String> {
        choose(Guest::Arm64, |variable| {
            (variable == name).then(|| value.to_string())
        })
    }

    #[test]
    fn what_is_wrong_is_named() {
        for name in [CPU, PROPOSALS, FIDELITY] {
            let error = with(name, "nonesuch").unwrap_err();
            assert!(error.starts_with(&format!("{name}: no ")), "{error}");
            assert!(error.contains("there are"), "{error}");
            assert!(with(name, "").is_ok());
        }
    }

    #[test]
    fn names_choose() {
        let kvm = with(CPU, "cortex-a72").unwrap();
        assert_eq!(kvm.host.model.name(), "cortex-a72");
        let kvm = with(PROPOSALS, "arm64-exposed-debug,arm64-id-reg-configurable").unwrap();
        let both = Proposals::EXPOSED_DEBUG | Proposals::ID_REG_CONFIGURABLE;
        assert_eq!(kvm.host.proposals, both);
        assert_eq!(
            with(FIDELITY, "report").unwrap().host.fidelity,
            Fidelity::Report
        );
    }

    #[test]
    fn x86_proposals_are_known_or_named() {
        let both = x86_proposals(Some("x86-guest-debug-cr3,x86-sync-regs-debug"));
        let wanted = x86::Proposals::GUEST_DEBUG_CR3 | x86::Proposals::SYNC_REGS_DEBUG;
        assert_eq!(both, Ok(wanted));
        assert_eq!(x86_proposals(None), Ok(x86::Proposals::empty()));
        let error = x86_proposals(Some("arm64-exposed-debug")).unwrap_err();
        assert!(error.contains("x86-sync-regs-conditional"), "{error}");
    }
}
