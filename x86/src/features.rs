//! What the processor has: one table, a row a bit of CPUID (SDM vol. 2, CPUID; AMD APM vol. 3, appendix E).
//! `KVM_GET_SUPPORTED_CPUID` follows from it ([`crate::cpuid::supported`]).

/// A register that CPUID gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Register {
    /// EAX.
    Eax,
    /// EBX.
    Ebx,
    /// ECX.
    Ecx,
    /// EDX.
    Edx,
}

/// A bit that says that the processor has something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// What is asked for in EAX.
    pub function: u32,
    /// What is asked for in ECX.
    pub index: u32,
    /// Where the answer is.
    pub register: Register,
    /// The bit.
    pub bit: u32,
    /// The manual's name.
    pub name: &'static str,
}

/// The rows of one register.
const fn rows<const N: usize>(
    function: u32,
    index: u32,
    register: Register,
    bits: [(u32, &'static str); N],
) -> [Row; N] {
    let none = Row {
        function,
        index,
        register,
        bit: 0,
        name: "",
    };
    let mut rows = [none; N];
    let mut i = 0;
    while i < N {
        (rows[i].bit, rows[i].name) = bits[i];
        i += 1;
    }
    rows
}

/// All that the processor has, a register after the other.
pub static FEATURES: &[&[Row]] = &[
    &rows(
        1,
        0,
        Register::Ecx,
        [
            (0, "SSE3"),
            (1, "PCLMULQDQ"),
            (9, "SSSE3"),
            (12, "FMA"),
            (13, "CMPXCHG16B"),
            (17, "PCID"),
            (19, "SSE4.1"),
            (20, "SSE4.2"),
            (21, "x2APIC"),
            (22, "MOVBE"),
            (23, "POPCNT"),
            (25, "AES"),
            (26, "XSAVE"),
            (28, "AVX"),
            (29, "F16C"),
            (30, "RDRAND"),
        ],
    ),
    &rows(
        1,
        0,
        Register::Edx,
        [
            (0, "FPU"),
            (2, "DE"),
            (3, "PSE"),
            (4, "TSC"),
            (5, "MSR"),
            (6, "PAE"),
            (7, "MCE"),
            (8, "CX8"),
            (9, "APIC"),
            (11, "SEP"),
            (12, "MTRR"),
            (13, "PGE"),
            (14, "MCA"),
            (15, "CMOV"),
            (16, "PAT"),
            (17, "PSE-36"),
            (19, "CLFSH"),
            (23, "MMX"),
            (24, "FXSR"),
            (25, "SSE"),
            (26, "SSE2"),
        ],
    ),
    &rows(
        7,
        0,
        Register::Ebx,
        [
            (0, "FSGSBASE"),
            (1, "TSC_ADJUST"),
            (3, "BMI1"),
            (5, "AVX2"),
            (7, "SMEP"),
            (8, "BMI2"),
            (9, "ERMS"),
            (10, "INVPCID"),
            (18, "RDSEED"),
            (19, "ADX"),
            (20, "SMAP"),
            (23, "CLFLUSHOPT"),
            (24, "CLWB"),
            (29, "SHA"),
        ],
    ),
    &rows(
        7,
        0,
        Register::Ecx,
        [
            (2, "UMIP"),
            (3, "PKU"),
            (9, "VAES"),
            (10, "VPCLMULQDQ"),
            (16, "LA57"),
            (22, "RDPID"),
        ],
    ),
    &rows(7, 0, Register::Edx, [(29, "ARCH_CAPABILITIES")]),
    &rows(
        0xd,
        1,
        Register::Eax,
        [(0, "XSAVEOPT"), (1, "XSAVEC"), (2, "XGETBV with ECX 1")],
    ),
    &rows(
        0x8000_0001,
        0,
        Register::Ecx,
        [(0, "LahfSahf"), (5, "ABM"), (8, "3DNowPrefetch")],
    ),
    &rows(
        0x8000_0001,
        0,
        Register::Edx,
        [
            (0, "FPU"),
            (2, "DE"),
            (3, "PSE"),
            (4, "TSC"),
            (5, "MSR"),
            (6, "PAE"),
            (7, "MCE"),
            (8, "CMPXCHG8B"),
            (9, "APIC"),
            (11, "SysCallSysRet"),
            (12, "MTRR"),
            (13, "PGE"),
            (14, "MCA"),
            (15, "CMOV"),
            (16, "PAT"),
            (17, "PSE36"),
            (20, "NX"),
            (22, "MmxExt"),
            (23, "MMX"),
            (24, "FXSR"),
            (26, "Page1GB"),
            (27, "RDTSCP"),
            (29, "LM"),
        ],
    ),
    &rows(
        0x4000_0001,
        0,
        Register::Eax,
        [
            (0, "KVM_CLOCKSOURCE"),
            (1, "KVM_NOP_IO_DELAY"),
            (3, "KVM_CLOCKSOURCE2"),
            (4, "KVM_ASYNC_PF"),
            (5, "KVM_STEAL_TIME"),
            (6, "KVM_PV_EOI"),
            (7, "KVM_PV_UNHALT"),
            (10, "KVM_ASYNC_PF_VMEXIT"),
            (11, "KVM_PV_SEND_IPI"),
            (12, "KVM_POLL_CONTROL"),
            (13, "KVM_PV_SCHED_YIELD"),
            (14, "KVM_ASYNC_PF_INT"),
            (24, "KVM_CLOCKSOURCE_STABLE_BIT"),
        ],
    ),
    &rows(0x8000_0007, 0, Register::Edx, [(8, "TscInvariant")]),
    // The x87's pointers are always restored: no kernel has to clear them.
    &rows(0x8000_0008, 0, Register::Ebx, [(2, "RstrFpErrPtrs")]),
    &rows(
        0x8000_0021,
        0,
        Register::Eax,
        [(2, "LFenceAlwaysSerializing")],
    ),
];

/// The bits of a register that say what the processor has.
pub fn bits(function: u32, index: u32, register: Register) -> u32 {
    FEATURES
        .iter()
        .copied()
        .flatten()
        .filter(|row| (row.function, row.index, row.register) == (function, index, register))
        .fold(0, |bits, row| bits | 1 << row.bit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_row_is_there_twice() {
        let mut seen = std::collections::HashSet::new();
        for row in FEATURES.iter().copied().flatten() {
            let at = (row.function, row.index, row.register as u8, row.bit);
            assert!(row.bit < 32 && !row.name.is_empty());
            assert!(seen.insert(at), "{}", row.name);
        }
    }
}
