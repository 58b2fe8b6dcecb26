//! The numbers of the project's requirements, section 1 and 6.3, one by one.

use std::cell::RefCell;
use std::mem::{offset_of, size_of};

use understudy_abi::{arm64, cap, common, exit, ioctl, proposals, run, x86};
use zerocopy::IntoBytes;
use zerocopy::byteorder::{BigEndian, LittleEndian};

/// Section 1.1.
#[test]
fn ioctl_numbers() {
    assert_eq!(ioctl::KVM_GET_API_VERSION, 0xae00);
    assert_eq!(ioctl::KVM_CHECK_EXTENSION, 0xae03);
    assert_eq!(ioctl::KVM_GET_VCPU_MMAP_SIZE, 0xae04);
    assert_eq!(ioctl::KVM_RUN, 0xae80);
    assert_eq!(ioctl::KVM_ENABLE_CAP, 0x4068_aea3);
    assert_eq!(ioctl::KVM_GET_ONE_REG, 0x4010_aeab);
    assert_eq!(ioctl::KVM_SET_ONE_REG, 0x4010_aeac);
    assert_eq!(ioctl::KVM_GET_REG_LIST, 0xc008_aeb0);

    assert_eq!(ioctl::arm64::KVM_GET_REGS, 0x8360_ae81);
    assert_eq!(ioctl::arm64::KVM_SET_REGS, 0x4360_ae82);
    assert_eq!(ioctl::arm64::KVM_GET_SREGS, 0x8000_ae83);
    assert_eq!(ioctl::arm64::KVM_SET_SREGS, 0x4000_ae84);
    assert_eq!(ioctl::arm64::KVM_SET_GUEST_DEBUG, 0x4208_ae9b);
    assert_eq!(ioctl::arm64::KVM_GET_VCPU_EVENTS, 0x8040_ae9f);
    assert_eq!(ioctl::arm64::KVM_SET_VCPU_EVENTS, 0x4040_aea0);
    assert_eq!(ioctl::arm64::KVM_ARM_VCPU_INIT, 0x4020_aeae);
    assert_eq!(ioctl::arm64::KVM_ARM_PREFERRED_TARGET, 0x8020_aeaf);
    assert_eq!(ioctl::arm64::KVM_ARM_GET_REG_WRITABLE_MASKS, 0x8040_aeb6);
    assert_eq!(ioctl::arm64::KVM_ARM_VCPU_FINALIZE, 0x4004_aec2);

    assert_eq!(ioctl::x86::KVM_GET_REGS, 0x8090_ae81);
    assert_eq!(ioctl::x86::KVM_SET_REGS, 0x4090_ae82);
    assert_eq!(ioctl::x86::KVM_GET_SREGS, 0x8138_ae83);
    assert_eq!(ioctl::x86::KVM_SET_SREGS, 0x4138_ae84);
    assert_eq!(ioctl::x86::KVM_SET_GUEST_DEBUG, 0x4048_ae9b);
    assert_eq!(ioctl::x86::KVM_GET_VCPU_EVENTS, 0x8040_ae9f);
    assert_eq!(ioctl::x86::KVM_SET_VCPU_EVENTS, 0x4040_aea0);
    assert_eq!(ioctl::x86::KVM_GET_DEBUGREGS, 0x8080_aea1);
    assert_eq!(ioctl::x86::KVM_SET_DEBUGREGS, 0x4080_aea2);
}

#[test]
fn a_request_comes_apart_again() {
    assert!(ioctl::is_kvm(ioctl::arm64::KVM_SET_GUEST_DEBUG));
    assert!(!ioctl::is_kvm(0x5401));
    assert_eq!(ioctl::number(ioctl::arm64::KVM_SET_GUEST_DEBUG), 0x9b);
    assert_eq!(ioctl::size(ioctl::arm64::KVM_SET_GUEST_DEBUG), 520);
    assert_eq!(ioctl::name(ioctl::KVM_RUN), Some("KVM_RUN"));
    assert_eq!(ioctl::name(0), None);
}

/// Section 1.2.
#[test]
fn capabilities() {
    assert_eq!(cap::KVM_CAP_SET_GUEST_DEBUG, 23);
    assert_eq!(cap::KVM_CAP_ONE_REG, 70);
    assert_eq!(cap::KVM_CAP_SYNC_REGS, 74);
    assert_eq!(cap::KVM_CAP_GUEST_DEBUG_HW_BPS, 119);
    assert_eq!(cap::KVM_CAP_GUEST_DEBUG_HW_WPS, 120);
    assert_eq!(cap::KVM_CAP_SET_GUEST_DEBUG2, 195);
    assert_eq!(cap::KVM_CAP_ARM_SUPPORTED_REG_MASK_RANGES, 230);
    assert_eq!(proposals::KVM_CAP_ARM_ID_REG_CONFIGURABLE, 207);
    assert_eq!(proposals::KVM_CAP_X86_GUEST_DEBUG_CR3, 245);
    // The return value of KVM_CAP_SET_GUEST_DEBUG2.
    assert_eq!(arm64::GuestDebugControl::all().bits(), 0x30003);
    assert_eq!(x86::GuestDebugControl::all().bits(), 0x1f0003);
}

/// A number of our own can never be one that a kernel gives.
#[test]
fn private_capabilities_are_above_any_kernels() {
    for private in [
        proposals::KVM_CAP_X86_SYNC_REGS_CONDITIONAL,
        proposals::KVM_CAP_X86_SYNC_REGS_DEBUG,
    ] {
        assert!(private > 0x10000);
        assert_eq!(cap::name(private), None);
    }
}

/// Section 1.3.
#[test]
fn kvm_run_offsets() {
    assert_eq!(run::REQUEST_INTERRUPT_WINDOW, 0);
    assert_eq!(run::IMMEDIATE_EXIT, 1);
    assert_eq!(run::EXIT_REASON, 8);
    assert_eq!(run::READY_FOR_INTERRUPT_INJECTION, 12);
    assert_eq!(run::IF_FLAG, 13);
    assert_eq!(run::FLAGS, 14);
    assert_eq!(run::CR8, 16);
    assert_eq!(run::APIC_BASE, 24);
    assert_eq!(run::EXIT_UNION, 32);
    assert_eq!(run::KVM_VALID_REGS, 288);
    assert_eq!(run::KVM_DIRTY_REGS, 296);
    assert_eq!(run::SYNC_REGS, 304);
    assert_eq!(size_of::<run::kvm_run>(), 2352);
    assert_eq!(proposals::KVM_SAVE_REGS_ON_EXIT, 2352);
    assert_eq!(size_of::<proposals::kvm_run_conditional>(), 2480);
    assert_eq!(exit::KVM_EXIT_DEBUG, 4);
    assert_eq!(exit::KVM_EXIT_INTR, 10);
    assert_eq!(exit::KVM_EXIT_UNKNOWN, 0);
    assert_eq!(offset_of!(arm64::kvm_sync_regs, device_irq_level), 0);
    assert_eq!(arm64::RunFlags::HSR_HIGH_VALID.bits(), 1);
    assert_eq!(x86::RunFlags::SMM.bits(), 1);
    assert_eq!(x86::RunFlags::BUS_LOCK.bits(), 2);
    assert_eq!(x86::RunFlags::GUEST_MODE.bits(), 4);
}

/// Section 1.4; test (v) of section 3.
#[test]
fn kvm_debug_exit_arch_offsets() {
    type Arm64 = arm64::kvm_debug_exit_arch;
    assert_eq!(run::EXIT_UNION + offset_of!(Arm64, hsr), 32);
    assert_eq!(run::EXIT_UNION + offset_of!(Arm64, hsr_high), 36);
    assert_eq!(run::EXIT_UNION + offset_of!(Arm64, far), 40);
    assert_eq!((size_of::<Arm64>(), align_of::<Arm64>()), (16, 8));

    type X86 = x86::kvm_debug_exit_arch;
    assert_eq!(run::EXIT_UNION + offset_of!(X86, exception), 32);
    assert_eq!(run::EXIT_UNION + offset_of!(X86, pc), 40);
    assert_eq!(run::EXIT_UNION + offset_of!(X86, dr6), 48);
    assert_eq!(run::EXIT_UNION + offset_of!(X86, dr7), 56);
    assert_eq!(size_of::<X86>(), 32);
    type Cr3 = proposals::kvm_debug_exit_arch_cr3;
    assert_eq!(run::EXIT_UNION + offset_of!(Cr3, cr3), 64);
    assert_eq!(size_of::<Cr3>(), 40);
}

/// ESR-2 to ESR-4; test (vi) of section 3: with a nonzero ISS2 the low half is at 32 and the high
/// half at 36, byte by byte, in either byte order. The table of section 1.4 is what is expected;
/// the rejected layout, one 64-bit word, is what is not.
#[test]
fn the_syndrome_is_two_words_low_half_first_in_both_byte_orders() {
    let esr: u64 = 0x0123_4567_89ab_cdef;
    let little = arm64::syndrome_bytes::<LittleEndian>(esr);
    let big = arm64::syndrome_bytes::<BigEndian>(esr);
    assert_eq!(little, [0xef, 0xcd, 0xab, 0x89, 0x67, 0x45, 0x23, 0x01]);
    assert_eq!(big, [0x89, 0xab, 0xcd, 0xef, 0x01, 0x23, 0x45, 0x67]);
    // In little-endian order alone is it the same as one word.
    assert_eq!(little, esr.to_le_bytes());
    assert_ne!(big, esr.to_be_bytes());
    // An old program of either kind reads a u32 at offset 0.
    assert_eq!(
        u32::from_le_bytes(little[..4].try_into().unwrap()),
        esr as u32
    );
    assert_eq!(u32::from_be_bytes(big[..4].try_into().unwrap()), esr as u32);
}

/// What the host's structure holds is the same bytes.
#[test]
fn the_structure_has_the_bytes_of_the_hosts_order() {
    let esr: u64 = 0x0000_001f_f200_0123;
    let arch = arm64::kvm_debug_exit_arch {
        hsr: esr as u32,
        hsr_high: (esr >> 32) as u32,
        far: 0xffff_0000_1234_5678,
    };
    let bytes = arch.as_bytes();
    assert_eq!(bytes[..8], arm64::native_syndrome_bytes(esr));
    assert_eq!(bytes[8..], arch.far.to_ne_bytes());
}

/// Section 1.5.
#[test]
fn kvm_guest_debug_offsets() {
    type Arm64 = arm64::kvm_guest_debug;
    assert_eq!(offset_of!(Arm64, control), 0);
    assert_eq!(offset_of!(Arm64, pad), 4);
    assert_eq!(offset_of!(Arm64, arch.dbg_bcr), 8);
    assert_eq!(offset_of!(Arm64, arch.dbg_bvr), 136);
    assert_eq!(offset_of!(Arm64, arch.dbg_wcr), 264);
    assert_eq!(offset_of!(Arm64, arch.dbg_wvr), 392);
    assert_eq!(size_of::<Arm64>(), 520);
    assert_eq!(offset_of!(x86::kvm_guest_debug, arch.debugreg), 8);
    assert_eq!(size_of::<x86::kvm_guest_debug>(), 72);
    assert_eq!(common::KVM_GUESTDBG_ENABLE, 1);
    assert_eq!(common::KVM_GUESTDBG_SINGLESTEP, 2);
    assert_eq!(arm64::GuestDebugControl::USE_SW_BP.bits(), 0x10000);
    assert_eq!(arm64::GuestDebugControl::USE_HW.bits(), 0x20000);
    assert_eq!(x86::GuestDebugControl::USE_SW_BP.bits(), 0x10000);
    assert_eq!(x86::GuestDebugControl::USE_HW_BP.bits(), 0x20000);
    assert_eq!(x86::GuestDebugControl::INJECT_DB.bits(), 0x40000);
    assert_eq!(x86::GuestDebugControl::INJECT_BP.bits(), 0x80000);
    assert_eq!(x86::GuestDebugControl::BLOCKIRQ.bits(), 0x100000);
}

/// Section 1.6 and SYNC-13.
#[test]
fn x86_sync_area_offsets() {
    let sregs = run::SYNC_REGS + offset_of!(x86::kvm_sync_regs, sregs);
    assert_eq!(run::SYNC_REGS + offset_of!(x86::kvm_sync_regs, regs), 304);
    assert_eq!(sregs, 448);
    assert_eq!(run::SYNC_REGS + offset_of!(x86::kvm_sync_regs, events), 760);
    assert_eq!(size_of::<x86::kvm_regs>(), 144);
    assert_eq!(size_of::<x86::kvm_sregs>(), 312);
    assert_eq!(size_of::<x86::kvm_vcpu_events>(), 64);
    assert_eq!(sregs + offset_of!(x86::kvm_sregs, cr0), 672);
    assert_eq!(sregs + offset_of!(x86::kvm_sregs, cr2), 680);
    assert_eq!(sregs + offset_of!(x86::kvm_sregs, cr3), 688);
    assert_eq!(sregs + offset_of!(x86::kvm_sregs, cr4), 696);
    assert_eq!(sregs + offset_of!(x86::kvm_sregs, cr8), 704);
    assert_eq!(sregs + offset_of!(x86::kvm_sregs, efer), 712);
    assert_eq!(sregs + offset_of!(x86::kvm_sregs, apic_base), 720);
    assert_eq!(x86::SyncRegs::all().bits(), 7);
    assert_eq!(proposals::KVM_SYNC_REGS_CONDITIONAL, 1 << 63);
}

/// Section 1.7.
#[test]
fn arm64_register_ids() {
    use arm64::reg::*;
    assert_eq!(sys_reg(2, 0, 1, 0, 4), 0x6030_0000_0013_8084); // OSLAR_EL1
    assert_eq!(sys_reg(2, 0, 1, 1, 4), 0x6030_0000_0013_808c); // OSLSR_EL1
    assert_eq!(sys_reg(2, 0, 1, 3, 4), 0x6030_0000_0013_809c); // OSDLR_EL1
    assert_eq!(sys_reg(2, 0, 1, 4, 4), 0x6030_0000_0013_80a4); // DBGPRCR_EL1
    assert_eq!(sys_reg(2, 0, 0, 2, 2), 0x6030_0000_0013_8012); // MDSCR_EL1
    assert_eq!(sys_reg(3, 0, 0, 4, 0), 0x6030_0000_0013_c020); // ID_AA64PFR0_EL1
    assert_eq!(sys_reg(3, 0, 0, 5, 0), 0x6030_0000_0013_c028); // ID_AA64DFR0_EL1
    assert_eq!(sys_reg(3, 0, 0, 6, 0), 0x6030_0000_0013_c030); // ID_AA64ISAR0_EL1
    assert_eq!(sys_reg(3, 0, 0, 7, 0), 0x6030_0000_0013_c038); // ID_AA64MMFR0_EL1

    // As the kernel's own documentation (api.rst 4.68) lists core registers.
    assert_eq!(core::x(0), 0x6030_0000_0010_0000);
    assert_eq!(core::x(1), 0x6030_0000_0010_0002);
    assert_eq!(core::x(30), 0x6030_0000_0010_003c);
    assert_eq!(core::SP_EL0, 0x6030_0000_0010_003e);
    assert_eq!(core::PC, 0x6030_0000_0010_0040);
    assert_eq!(core::PSTATE, 0x6030_0000_0010_0042);
    assert_eq!(core::SP_EL1, 0x6030_0000_0010_0044);
    assert_eq!(core::ELR_EL1, 0x6030_0000_0010_0046);
    assert_eq!(core::spsr(0), 0x6030_0000_0010_0048);
    assert_eq!(core::spsr(4), 0x6030_0000_0010_0050);
    assert_eq!(core::v(0), 0x6040_0000_0010_0054);
    assert_eq!(core::v(31), 0x6040_0000_0010_00d0);
    assert_eq!(core::FPSR, 0x6020_0000_0010_00d4);
    assert_eq!(core::FPCR, 0x6020_0000_0010_00d5);
    assert_eq!(size_of_id(core::v(0)), 16);
    assert_eq!(size_of_id(core::FPCR), 4);
    // The virtual timer's two, whose encodings were swapped.
    assert_eq!(KVM_REG_ARM_TIMER_CVAL, 0x6030_0000_0013_df02);
    assert_eq!(KVM_REG_ARM_TIMER_CNT, 0x6030_0000_0013_df1a);
    assert_eq!(KVM_REG_ARM_PSCI_VERSION, 0x6030_0000_0014_0000);
    assert_eq!(KVM_REG_ARM_STD_BMAP, 0x6030_0000_0016_0000);
    assert_eq!(ccsidr(1), 0x6020_0000_0011_0001);
}

/// Section 1.7 and IDR-32: the range of feature ID registers.
#[test]
fn feature_id_range() {
    use arm64::feature_id_range_index as index;
    assert_eq!(offset_of!(arm64::reg_mask_range, addr), 0);
    assert_eq!(offset_of!(arm64::reg_mask_range, range), 8);
    assert_eq!(offset_of!(arm64::reg_mask_range, reserved), 12);
    assert_eq!(size_of::<arm64::reg_mask_range>(), 64);
    assert_eq!(arm64::KVM_ARM_FEATURE_ID_RANGE_SIZE, 192);
    assert_eq!(index(0, 1, 2), 10); // ID_DFR0_EL1
    assert_eq!(index(0, 4, 0), 32); // ID_AA64PFR0_EL1
    assert_eq!(index(0, 5, 0), 40); // ID_AA64DFR0_EL1
    assert_eq!(index(0, 7, 3), 59); // ID_AA64MMFR3_EL1
    assert_eq!(index(1, 0, 1), 65); // CLIDR_EL1
    assert_eq!(index(3, 0, 1), 129); // CTR_EL0
}

/// A page without another side, for [`run::Run`].
struct Plain(RefCell<Vec<u8>>);

impl run::Page for Plain {
    fn load(&self, offset: usize, into: &mut [u8]) {
        into.copy_from_slice(&self.0.borrow()[offset..offset + into.len()]);
    }
    fn store(&self, offset: usize, from: &[u8]) {
        self.0.borrow_mut()[offset..offset + from.len()].copy_from_slice(from);
    }
}

/// Test (iii) of section 3: what was in the padding before is overwritten, and nothing else is.
#[test]
fn run_writes_just_the_bytes_of_a_field() {
    let page = run::Run(Plain(RefCell::new(vec![0xff; 4096])));
    page.set_exit_reason(exit::KVM_EXIT_DEBUG);
    page.set_flags(arm64::RunFlags::HSR_HIGH_VALID.bits());
    page.set_exit(&arm64::native_syndrome_bytes(0xf200_0123));
    assert_eq!(page.exit_reason(), exit::KVM_EXIT_DEBUG);
    assert_eq!(page.flags(), 1);
    let debug: arm64::kvm_debug_exit_arch = page.exit();
    assert_eq!((debug.hsr, debug.hsr_high), (0xf200_0123, 0));
    assert_eq!(
        debug.far,
        u64::MAX,
        "ESR-7: not written but for watchpoints"
    );
    let bytes = page.0.0.borrow();
    for (offset, byte) in bytes.iter().enumerate() {
        let written =
            (8..12).contains(&offset) || (14..16).contains(&offset) || (32..40).contains(&offset);
        assert!(written || *byte == 0xff, "{offset}");
    }
}
