//! Registers through `KVM_GET_REG_LIST`, `KVM_GET_ONE_REG` and `KVM_SET_ONE_REG`, against what was
//! read off the reference KVM (the `arm64` crate's `tests/data/neoverse-n1.txt`, which says how it
//! is read).

mod common;

use common::{Guest, Program};
use understudy_abi::arm64::reg::*;
use understudy_abi::arm64::{kvm_vcpu_init, reg_mask_range};
use understudy_abi::common::{kvm_one_reg, kvm_reg_list};
use understudy_abi::ioctl as request;
use understudy_kvm::Errno;

const FACTS: &str = include_str!("../../arm64/tests/data/neoverse-n1.txt");

fn facts(kind: &str) -> impl Iterator<Item = Vec<&'static str>> {
    let lines = FACTS
        .lines()
        .map(|line| line.split(' ').collect::<Vec<_>>());
    lines.filter(move |words| words[0] == kind)
}

fn hex(text: &str) -> u64 {
    u64::from_str_radix(text.trim_start_matches("0x"), 16).unwrap()
}

fn list(program: &Program, vcpu: i32) -> Vec<u64> {
    let mut buffer = vec![0u64; 1024];
    buffer[0] = 1023;
    let arg = buffer.as_mut_ptr() as u64;
    assert_eq!(program.call(vcpu, request::KVM_GET_REG_LIST, arg), Ok(0));
    let n = buffer[0] as usize;
    buffer[1..=n].to_vec()
}

/// Issue 2: "the register list of a vCPU equals the reference KVM's for the same model, register
/// for register", in its order; and each can be read and written back (OSL-7).
#[test]
fn the_list_is_the_references_and_restores() {
    let program = Program::new();
    let vm = program.create_vm();
    let vcpu = program.create_vcpu(vm, 0);
    program.init(vm, vcpu);
    let reference: Vec<u64> = facts("list").map(|words| hex(words[1])).collect();
    assert!(reference.len() > 250);
    let ours = list(&program, vcpu);
    assert_eq!(ours, reference);
    let saved: Vec<[u8; 16]> = ours
        .iter()
        .map(|id| {
            let mut value = [0u8; 16];
            let addr = value.as_mut_ptr() as u64;
            let mut reg = kvm_one_reg { id: *id, addr };
            assert_eq!(
                program.with(vcpu, request::KVM_GET_ONE_REG, &mut reg),
                Ok(0)
            );
            value
        })
        .collect();
    for (id, value) in ours.iter().zip(&saved) {
        let addr = value.as_ptr() as u64;
        let mut reg = kvm_one_reg { id: *id, addr };
        let set = program.with(vcpu, request::KVM_SET_ONE_REG, &mut reg);
        assert_eq!(set, Ok(0), "{id:#x}");
    }
}

/// The values of those that are not system registers (those are compared in `arm64`).
#[test]
fn core_firmware_and_timer_values_are_the_references() {
    let program = Program::new();
    let vm = program.create_vm();
    let vcpu = program.create_vcpu(vm, 0);
    program.init(vm, vcpu);
    let mut compared = 0;
    for words in facts("list").filter(|words| words[2] != "-") {
        let id = hex(words[1]);
        let class = id & KVM_REG_ARM_COPROC_MASK;
        let timer = class == KVM_REG_ARM64_SYSREG && id & 0xff80 == 0xdf00;
        if class == KVM_REG_ARM64_SYSREG && !timer || class == KVM_REG_ARM_DEMUX {
            continue;
        }
        let mut value = [0u8; 16];
        let addr = value.as_mut_ptr() as u64;
        let mut reg = kvm_one_reg { id, addr };
        program
            .with(vcpu, request::KVM_GET_ONE_REG, &mut reg)
            .unwrap();
        let low = u64::from_ne_bytes(value[..8].try_into().unwrap());
        assert_eq!(low, hex(words[2]), "{id:#x}");
        compared += 1;
    }
    assert!(compared > 80);
}

/// The order in which KVM looks at an id, an argument and a value.
#[test]
fn bad_ids() {
    let guest = Guest::new(&[]);
    let get = |id| guest.program.get(guest.vcpu, id);
    let set = |id| guest.program.set(guest.vcpu, id, 0);
    let both = |id: u64, expected: Errno| {
        assert_eq!(get(id), Err(expected), "{id:#x}");
        assert_eq!(set(id), Err(expected), "{id:#x}");
    };
    // Another architecture, or what is reserved between size and class.
    both(core::x(0) & !KVM_REG_ARCH_MASK, Errno::EINVAL);
    both(core::x(0) ^ 1 << 40, Errno::EINVAL);
    both(sys_reg(3, 0, 0, 4, 0) | 1 << 32, Errno::EINVAL);
    // No core register, not at its beginning, or of another size; beyond the structure.
    both(core::at(4, KVM_REG_SIZE_U64), Errno::EINVAL);
    both(
        core::x(0) & !KVM_REG_SIZE_MASK | KVM_REG_SIZE_U32,
        Errno::EINVAL,
    );
    both(
        core::FPSR & !KVM_REG_SIZE_MASK | KVM_REG_SIZE_U64,
        Errno::EINVAL,
    );
    both(core::at(864, KVM_REG_SIZE_U64), Errno::ENOENT);
    both(core::x(0) | 0xff00, Errno::ENOENT);
    // No such system register: index bits, size, encoding.
    both(sys_reg(3, 0, 0, 4, 0) | 1 << 28, Errno::ENOENT);
    both(
        sys_reg(3, 0, 0, 4, 0) & !KVM_REG_SIZE_MASK | KVM_REG_SIZE_U32,
        Errno::ENOENT,
    );
    // OSLAR_EL1, OSDLR_EL1, DBGPRCR_EL1.
    both(sys_reg(2, 0, 1, 0, 4), Errno::ENOENT);
    both(sys_reg(2, 0, 1, 3, 4), Errno::ENOENT);
    both(sys_reg(2, 0, 1, 4, 4), Errno::ENOENT);
    both(KVM_REG_ARM64_SVE_VLS, Errno::ENOENT);
    both(fw_reg(4), Errno::ENOENT);
    both(fw_feat_bmap_reg(3), Errno::ENOENT);
    both(ccsidr(14), Errno::ENOENT);

    // A value that cannot be read is found before the register is, when it is set; after, when it
    // is got.
    let bad_pointer = |request, id| {
        let mut reg = kvm_one_reg { id, addr: 8 };
        guest.program.with(guest.vcpu, request, &mut reg)
    };
    let missing = sys_reg(2, 0, 1, 0, 4);
    let there = sys_reg(2, 0, 1, 1, 4);
    assert_eq!(
        bad_pointer(request::KVM_SET_ONE_REG, missing),
        Err(Errno::EFAULT)
    );
    assert_eq!(
        bad_pointer(request::KVM_GET_ONE_REG, missing),
        Err(Errno::ENOENT)
    );
    assert_eq!(
        bad_pointer(request::KVM_GET_ONE_REG, there),
        Err(Errno::EFAULT)
    );
    assert_eq!(
        bad_pointer(request::KVM_SET_ONE_REG, core::x(0)),
        Err(Errno::EFAULT)
    );
}

#[test]
fn core_registers_keep_what_they_are_given() {
    let guest = Guest::new(&[]);
    for n in 0..31 {
        guest.set(core::x(n), 0x1000 + n as u64);
    }
    let special = [core::SP_EL0, core::SP_EL1, core::ELR_EL1, core::PC];
    for (n, id) in special.into_iter().enumerate() {
        guest.set(id, 0x2000 + 4 * n as u64);
    }
    for n in 0..5 {
        guest.set(core::spsr(n), 0x3000 + n as u64);
    }
    for n in 0..31 {
        assert_eq!(guest.get(core::x(n)), 0x1000 + n as u64);
    }
    for (n, id) in special.into_iter().enumerate() {
        assert_eq!(guest.get(id), 0x2000 + 4 * n as u64);
    }
    for n in 0..5 {
        assert_eq!(guest.get(core::spsr(n)), 0x3000 + n as u64);
    }
    for n in 0..32 {
        let mut value = (n as u128) << 64 | 0x5555_0000_0000_0000 | n as u128;
        let addr = &raw mut value as u64;
        let mut reg = kvm_one_reg {
            id: core::v(n),
            addr,
        };
        let set = request::KVM_SET_ONE_REG;
        guest.program.with(guest.vcpu, set, &mut reg).unwrap();
    }
    for n in 0..32 {
        let mut value = 0u128;
        let addr = &raw mut value as u64;
        let mut reg = kvm_one_reg {
            id: core::v(n),
            addr,
        };
        let get = request::KVM_GET_ONE_REG;
        guest.program.with(guest.vcpu, get, &mut reg).unwrap();
        assert_eq!(value, (n as u128) << 64 | 0x5555_0000_0000_0000 | n as u128);
    }
    // PSTATE takes EL0t, EL1t and EL1h, and no other mode.
    for mode in 0..32 {
        let result = guest.program.set(guest.vcpu, core::PSTATE, 0x3c0 | mode);
        let there = [0, 4, 5].contains(&mode);
        assert_eq!(
            result,
            if there { Ok(()) } else { Err(Errno::EINVAL) },
            "{mode:#x}"
        );
    }
    assert_eq!(guest.get(core::PSTATE), 0x3c5);
    // Bits that it does not have stay until the guest runs, as in KVM.
    guest.set(core::PSTATE, !0x1f | 5);
    assert_eq!(guest.get(core::PSTATE), !0x1f | 5);
    guest.set(core::PSTATE, 0x3c5);
    assert_eq!(guest.get(core::PSTATE), 0x3c5);
}

#[test]
fn a_list_that_does_not_fit_is_e2big() {
    let guest = Guest::new(&[]);
    let all = list(&guest.program, guest.vcpu).len() as u64;
    for n in [0, 1, all - 1, 1 << 32] {
        let mut buffer = vec![0u64; 1024];
        buffer[0] = n;
        let arg = buffer.as_mut_ptr() as u64;
        let result = guest
            .program
            .call(guest.vcpu, request::KVM_GET_REG_LIST, arg);
        assert_eq!(result, Err(Errno::E2BIG), "{n}");
        assert_eq!(buffer[0], all);
        assert!(buffer[1..].iter().all(|id| *id == 0));
    }
    // The list itself lies where nothing is: the head is at the end of what can be written.
    let page = common::Memory::with_hole(4096);
    let head = page.start as u64 + 4096 - size_of::<kvm_reg_list>() as u64;
    // SAFETY: within the page, aligned.
    unsafe { (head as *mut kvm_reg_list).write(kvm_reg_list { n: all }) };
    let result = guest
        .program
        .call(guest.vcpu, request::KVM_GET_REG_LIST, head);
    assert_eq!(result, Err(Errno::EFAULT));
}

/// IDR-8, IDR-9: KVM_RUN freezes the ID registers, also one that `immediate_exit` ended.
#[test]
fn a_run_freezes_id_registers() {
    let guest = Guest::new(&[]);
    let pfr0 = sys_reg(3, 0, 0, 4, 0);
    let isar0 = sys_reg(3, 0, 0, 6, 0);
    let old = guest.get(isar0);
    let lower = old & !(0xf << 4);
    assert_ne!(old, lower);
    guest.set(isar0, lower);
    assert_eq!(guest.get(isar0), lower);
    guest.set(isar0, old);
    guest.run.write(understudy_abi::run::IMMEDIATE_EXIT, &1u8);
    assert_eq!(guest.enter(), Err(Errno::EINTR));
    let set = |id, value| guest.program.set(guest.vcpu, id, value);
    assert_eq!(set(isar0, old), Ok(()), "the same value");
    assert_eq!(set(isar0, lower), Err(Errno::EBUSY));
    assert_eq!(guest.get(isar0), old);
    let now = guest.get(pfr0);
    assert_eq!(now >> 24 & 0xf, 0, "IDR-23: no GICv3");
    // Firmware bitmaps, too.
    assert_eq!(set(KVM_REG_ARM_STD_BMAP, 0), Err(Errno::EBUSY));
    assert_eq!(set(KVM_REG_ARM_STD_BMAP, 2), Err(Errno::EINVAL));
    // OSLSR_EL1 can always change (OSL-6).
    let oslsr = sys_reg(2, 0, 1, 1, 4);
    assert_eq!(set(oslsr, 0xa), Ok(()));
    for bad in [0, 2, 9, 0xb, 0x18, 1 << 63] {
        assert_eq!(set(oslsr, bad), Err(Errno::EINVAL), "{bad:#x}");
    }
    assert_eq!(guest.get(oslsr), 0xa);
    // OSL-4: an initialisation unlocks; ID registers stay (IDR-3).
    let mut init = kvm_vcpu_init {
        target: 5,
        features: [4, 0, 0, 0, 0, 0, 0],
    };
    let request = request::arm64::KVM_ARM_VCPU_INIT;
    guest.program.with(guest.vcpu, request, &mut init).unwrap();
    assert_eq!(guest.get(oslsr), 8);
    assert_eq!(guest.get(isar0), old);
}

/// IDR-31, IDR-32; ESR-12: reserved words that are not zero are refused.
#[test]
fn writable_masks() {
    let program = Program::new();
    let vm = program.create_vm();
    let mut masks = [u64::MAX; 192];
    let get = |range, reserved: usize, addr| {
        let mut arg = reg_mask_range {
            addr,
            range,
            ..reg_mask_range::default()
        };
        if let Some(word) = arg.reserved.get_mut(reserved) {
            *word = 1;
        }
        program.with(vm, request::arm64::KVM_ARM_GET_REG_WRITABLE_MASKS, &mut arg)
    };
    let addr = masks.as_mut_ptr() as u64;
    assert_eq!(get(1, 99, addr), Err(Errno::EINVAL));
    for word in 0..13 {
        assert_eq!(get(0, word, addr), Err(Errno::EINVAL));
    }
    assert_eq!(get(0, 99, 8), Err(Errno::EFAULT));
    assert_eq!(get(0, 99, addr), Ok(0));
    assert_eq!(masks[40], 0x0000_00f0_00f0_0f0f, "ID_AA64DFR0_EL1");
    assert_eq!(masks[129], 0x300f_000f, "CTR_EL0");
    assert_eq!(masks[0], 0);
}

/// OSL-8: the lock is each vCPU's own.
#[test]
fn the_os_lock_is_each_vcpus_own() {
    let program = Program::new();
    let vm = program.create_vm();
    let (a, b) = (program.create_vcpu(vm, 0), program.create_vcpu(vm, 1));
    program.init(vm, a);
    program.init(vm, b);
    let oslsr = sys_reg(2, 0, 1, 1, 4);
    program.set(a, oslsr, 0xa).unwrap();
    assert_eq!(program.get(a, oslsr), Ok(0xa));
    assert_eq!(program.get(b, oslsr), Ok(8));
}

/// DBG-26: the debug registers are 0 after a reset, and all sixteen of each kind are listed and keep
/// what they get, however many the CPU has.
#[test]
fn all_sixteen_debug_registers_of_each_kind_are_there() {
    const RES0: u64 = !0x1fff_ffff;
    let guest = Guest::new(&[]);
    let listed = list(&guest.program, guest.vcpu);
    for (crm, op2) in [(2, 2), (2, 0)] {
        assert_eq!(
            guest.get(sys_reg(2, 0, 0, crm, op2)),
            0,
            "MDSCR_EL1, MDCCINT_EL1"
        );
    }
    for n in 0..16 {
        for op2 in 4..8 {
            let id = sys_reg(2, 0, 0, n, op2);
            assert!(listed.contains(&id), "{n} {op2}");
            assert_eq!(guest.get(id), 0);
            let value = !RES0 & (0x1000_01e5 + u64::from(n));
            guest.set(id, value);
            assert_eq!(guest.get(id), value);
        }
    }
}
