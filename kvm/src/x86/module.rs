//! The parameters of KVM's modules as a program finds them under `/sys/module`, where it looks for what
//! the API does not say: as on an AMD machine without AVIC, without nesting, and with nested paging.

/// A parameter's value as its file has it, without the newline; none if there is no such parameter.
pub fn parameter(module: &str, name: &str) -> Option<&'static str> {
    Some(match (module, name) {
        ("kvm", "enable_pmu" | "ignore_msrs" | "tdp_mmu") => "N",
        ("kvm", "force_emulation_prefix") => "0",
        ("kvm_amd", "npt") => "Y",
        ("kvm_amd", "avic" | "sev" | "sev_es" | "sev_snp" | "vgif" | "vls") => "N",
        ("kvm_amd", "nested") => "0",
        _ => return None,
    })
}
