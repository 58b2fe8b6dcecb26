//! Ids of registers for `KVM_GET_ONE_REG` and `KVM_SET_ONE_REG` (api.rst 4.68).
//!
//! ```text
//!   63      56 55 52 51        28 27          16 15                        0
//!  +----------+-----+------------+--------------+---------------------------+
//!  | 0x60     | size| 0          | class        | index                     |
//!  +----------+-----+------------+--------------+---------------------------+
//!
//!   class 0x10 core             index: word offset in kvm_regs
//!         0x11 demux            index: 15:8 which (0 CCSIDR), 7:0 selector
//!         0x13 system register  index: op0 15:14, op1 13:11, CRn 10:7, CRm 6:3, op2 2:0
//!         0x14 firmware         index: register number
//!         0x15 SVE              index: register and slice
//!         0x16 firmware bitmap  index: register number
//! ```

use ::core::mem::{offset_of, size_of};

use super::{kvm_regs, user_fpsimd_state, user_pt_regs};

/// The bits of an id that name the architecture.
pub const KVM_REG_ARCH_MASK: u64 = 0xff00_0000_0000_0000;
/// arm64.
pub const KVM_REG_ARM64: u64 = 0x6000_0000_0000_0000;
/// Where the size begins: the logarithm of bytes, to base 2.
pub const KVM_REG_SIZE_SHIFT: u32 = 52;
/// The bits of the size.
pub const KVM_REG_SIZE_MASK: u64 = 0x00f0_0000_0000_0000;
/// 4 bytes.
pub const KVM_REG_SIZE_U32: u64 = 2 << KVM_REG_SIZE_SHIFT;
/// 8 bytes.
pub const KVM_REG_SIZE_U64: u64 = 3 << KVM_REG_SIZE_SHIFT;
/// 16 bytes.
pub const KVM_REG_SIZE_U128: u64 = 4 << KVM_REG_SIZE_SHIFT;
/// 32 bytes.
pub const KVM_REG_SIZE_U256: u64 = 5 << KVM_REG_SIZE_SHIFT;
/// 64 bytes.
pub const KVM_REG_SIZE_U512: u64 = 6 << KVM_REG_SIZE_SHIFT;
/// 256 bytes.
pub const KVM_REG_SIZE_U2048: u64 = 8 << KVM_REG_SIZE_SHIFT;
/// Where the class begins.
pub const KVM_REG_ARM_COPROC_SHIFT: u32 = 16;
/// The bits of the class.
pub const KVM_REG_ARM_COPROC_MASK: u64 = 0x0fff_0000;
/// Class: general and vector registers.
pub const KVM_REG_ARM_CORE: u64 = 0x10 << KVM_REG_ARM_COPROC_SHIFT;
/// Class: registers behind a selector.
pub const KVM_REG_ARM_DEMUX: u64 = 0x11 << KVM_REG_ARM_COPROC_SHIFT;
/// The bits of a demux index that say which register.
pub const KVM_REG_ARM_DEMUX_ID_MASK: u64 = 0xff00;
/// CCSIDR_EL1, selected by CSSELR_EL1.
pub const KVM_REG_ARM_DEMUX_ID_CCSIDR: u64 = 0;
/// The bits of a demux index that are the selector.
pub const KVM_REG_ARM_DEMUX_VAL_MASK: u64 = 0xff;
/// Class: system registers.
pub const KVM_REG_ARM64_SYSREG: u64 = 0x13 << KVM_REG_ARM_COPROC_SHIFT;
/// Class: KVM's firmware.
pub const KVM_REG_ARM_FW: u64 = 0x14 << KVM_REG_ARM_COPROC_SHIFT;
/// Class: SVE.
pub const KVM_REG_ARM64_SVE: u64 = 0x15 << KVM_REG_ARM_COPROC_SHIFT;
/// Class: services of KVM's firmware, one bit each.
pub const KVM_REG_ARM_FW_FEAT_BMAP: u64 = 0x16 << KVM_REG_ARM_COPROC_SHIFT;

/// The size in bytes that an id asks for: a power of 2, up to 32768.
pub const fn size_of_id(id: u64) -> usize {
    1 << ((id & KVM_REG_SIZE_MASK) >> KVM_REG_SIZE_SHIFT)
}

/// The bits of a system register's id below the class (`ARM64_SYS_REG` without its constants).
pub const fn sys_reg_index(op0: u32, op1: u32, crn: u32, crm: u32, op2: u32) -> u32 {
    (op0 & 3) << 14 | (op1 & 7) << 11 | (crn & 15) << 7 | (crm & 15) << 3 | op2 & 7
}

/// The id of a system register (`ARM64_SYS_REG`).
pub const fn sys_reg(op0: u32, op1: u32, crn: u32, crm: u32, op2: u32) -> u64 {
    KVM_REG_ARM64
        | KVM_REG_SIZE_U64
        | KVM_REG_ARM64_SYSREG
        | sys_reg_index(op0, op1, crn, crm, op2) as u64
}

/// The id of a firmware register (`KVM_REG_ARM_FW_REG`).
pub const fn fw_reg(number: u16) -> u64 {
    KVM_REG_ARM64 | KVM_REG_SIZE_U64 | KVM_REG_ARM_FW | number as u64
}

/// The id of a firmware bitmap register (`KVM_REG_ARM_FW_FEAT_BMAP_REG`).
pub const fn fw_feat_bmap_reg(number: u16) -> u64 {
    KVM_REG_ARM64 | KVM_REG_SIZE_U64 | KVM_REG_ARM_FW_FEAT_BMAP | number as u64
}

/// The id of CCSIDR_EL1 for a value of CSSELR_EL1, 4 bytes wide.
pub const fn ccsidr(csselr: u8) -> u64 {
    KVM_REG_ARM64 | KVM_REG_SIZE_U32 | KVM_REG_ARM_DEMUX | csselr as u64
}

/// Core registers. An id's index is an offset in [`kvm_regs`] in words of 4 bytes.
pub mod core {
    use super::*;

    /// The id of the core register at a byte offset in [`kvm_regs`], `size` one of the
    /// `KVM_REG_SIZE_*`.
    pub const fn at(byte_offset: usize, size: u64) -> u64 {
        KVM_REG_ARM64 | size | KVM_REG_ARM_CORE | (byte_offset / size_of::<u32>()) as u64
    }

    const REGS: usize = offset_of!(kvm_regs, regs);
    const FP: usize = offset_of!(kvm_regs, fp_regs);

    /// X0 to X30, 8 bytes.
    pub const fn x(n: usize) -> u64 {
        assert!(n < 31);
        at(
            REGS + offset_of!(user_pt_regs, regs) + 8 * n,
            KVM_REG_SIZE_U64,
        )
    }

    /// V0 to V31, 16 bytes.
    pub const fn v(n: usize) -> u64 {
        assert!(n < 32);
        at(
            FP + offset_of!(user_fpsimd_state, vregs) + 16 * n,
            KVM_REG_SIZE_U128,
        )
    }

    /// SPSR_EL1 (0), SPSR_abt (1), SPSR_und (2), SPSR_irq (3), SPSR_fiq (4), 8 bytes.
    pub const fn spsr(n: usize) -> u64 {
        assert!(n < super::super::KVM_NR_SPSR);
        at(offset_of!(kvm_regs, spsr) + 8 * n, KVM_REG_SIZE_U64)
    }

    /// SP_EL0, 8 bytes.
    pub const SP_EL0: u64 = at(REGS + offset_of!(user_pt_regs, sp), KVM_REG_SIZE_U64);
    /// PC, 8 bytes.
    pub const PC: u64 = at(REGS + offset_of!(user_pt_regs, pc), KVM_REG_SIZE_U64);
    /// PSTATE, 8 bytes, in the form of SPSR_ELx.
    pub const PSTATE: u64 = at(REGS + offset_of!(user_pt_regs, pstate), KVM_REG_SIZE_U64);
    /// SP_EL1, 8 bytes.
    pub const SP_EL1: u64 = at(offset_of!(kvm_regs, sp_el1), KVM_REG_SIZE_U64);
    /// ELR_EL1, 8 bytes.
    pub const ELR_EL1: u64 = at(offset_of!(kvm_regs, elr_el1), KVM_REG_SIZE_U64);
    /// FPSR, 4 bytes.
    pub const FPSR: u64 = at(FP + offset_of!(user_fpsimd_state, fpsr), KVM_REG_SIZE_U32);
    /// FPCR, 4 bytes.
    pub const FPCR: u64 = at(FP + offset_of!(user_fpsimd_state, fpcr), KVM_REG_SIZE_U32);
}

/// The physical timer's CNTP_CTL_EL0.
pub const KVM_REG_ARM_PTIMER_CTL: u64 = sys_reg(3, 3, 14, 2, 1);
/// The physical timer's CNTP_CVAL_EL0.
pub const KVM_REG_ARM_PTIMER_CVAL: u64 = sys_reg(3, 3, 14, 2, 2);
/// CNTPCT_EL0.
pub const KVM_REG_ARM_PTIMER_CNT: u64 = sys_reg(3, 3, 14, 0, 1);
/// The virtual timer's CNTV_CTL_EL0.
pub const KVM_REG_ARM_TIMER_CTL: u64 = sys_reg(3, 3, 14, 3, 1);
/// CNTV_CVAL_EL0, under CNTVCT_EL0's encoding: the two were swapped by mistake, and remain so.
pub const KVM_REG_ARM_TIMER_CVAL: u64 = sys_reg(3, 3, 14, 0, 2);
/// CNTVCT_EL0, under CNTV_CVAL_EL0's encoding.
pub const KVM_REG_ARM_TIMER_CNT: u64 = sys_reg(3, 3, 14, 3, 2);

/// The PSCI version: major (31:16), minor (15:0).
pub const KVM_REG_ARM_PSCI_VERSION: u64 = fw_reg(0);
/// Spectre v2: 0 not available, 1 available, 2 not required.
pub const KVM_REG_ARM_SMCCC_ARCH_WORKAROUND_1: u64 = fw_reg(1);
/// Spectre v4: 0 not available, 1 unknown, 2 available, 3 not required; bit 4 enabled.
pub const KVM_REG_ARM_SMCCC_ARCH_WORKAROUND_2: u64 = fw_reg(2);
/// Spectre BHB: 0 not available, 1 available, 2 not required.
pub const KVM_REG_ARM_SMCCC_ARCH_WORKAROUND_3: u64 = fw_reg(3);
/// Standard secure services: bit 0 TRNG 1.0.
pub const KVM_REG_ARM_STD_BMAP: u64 = fw_feat_bmap_reg(0);
/// Standard hypervisor services: bit 0 paravirtual time.
pub const KVM_REG_ARM_STD_HYP_BMAP: u64 = fw_feat_bmap_reg(1);
/// KVM's own services: bit 0 their discovery, bit 1 PTP.
pub const KVM_REG_ARM_VENDOR_HYP_BMAP: u64 = fw_feat_bmap_reg(2);

/// SVE: slices of a register, at most.
pub const KVM_ARM64_SVE_MAX_SLICES: u64 = 32;
/// SVE: the pseudo-register of vector lengths, 64 bytes.
pub const KVM_REG_ARM64_SVE_VLS: u64 =
    KVM_REG_ARM64 | KVM_REG_ARM64_SVE | KVM_REG_SIZE_U512 | 0xffff;

/// SVE: slice `i` of Z`n`, 256 bytes.
pub const fn sve_zreg(n: u64, i: u64) -> u64 {
    KVM_REG_ARM64 | KVM_REG_ARM64_SVE | KVM_REG_SIZE_U2048 | (n & 31) << 5 | i & 31
}

/// SVE: slice `i` of P`n`, 32 bytes.
pub const fn sve_preg(n: u64, i: u64) -> u64 {
    KVM_REG_ARM64 | KVM_REG_ARM64_SVE | KVM_REG_SIZE_U256 | 0x400 | (n & 15) << 5 | i & 31
}

/// SVE: slice `i` of FFR, 32 bytes.
pub const fn sve_ffr(i: u64) -> u64 {
    KVM_REG_ARM64 | KVM_REG_ARM64_SVE | KVM_REG_SIZE_U256 | 0x600 | i & 31
}
