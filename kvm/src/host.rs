//! The choice of a host: which CPU, which proposals, which fidelity, by the names that people and
//! environment variables use.

use understudy_arm64::insn::features::Fidelity;
use understudy_arm64::machine::{Model, Proposals};

use crate::system::Kvm;

/// Environment variable of the host CPU model: one that comes with Understudy, or a file.
pub const CPU: &str = "UNDERSTUDY_CPU";
/// Environment variable of the proposals' names (requirements 0.2), separated by commas.
pub const PROPOSALS: &str = "UNDERSTUDY_PROPOSALS";
/// Environment variable of what is done about instructions of features that a VM hides: `kvm`,
/// `strict` or `report`.
pub const FIDELITY: &str = "UNDERSTUDY_FIDELITY";

/// The host that these variables ask for, each with its value where it is set. What is empty is as
/// good as not set.
///
/// # Errors
///
/// One line: the variable, what is wrong with its value, and what would be right.
pub fn choose(variable: impl Fn(&str) -> Option<String>) -> Result<Kvm, String> {
    let get = |name: &str| variable(name).filter(|value| !value.is_empty());
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

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: &'static str, value: &'static str) -> Result<Kvm, String> {
        choose(|variable| (variable == name).then(|| value.to_string()))
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
}
