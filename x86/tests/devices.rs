//! Accesses that cross from or into a device's page, in both tiers.

use understudy_engine::run::Tier;
use understudy_x86::exit::{Exit, Mmio};
use understudy_x86::regs::{RAX, RBX};
use understudy_x86::testing::{Bare, CODE, END};

const TIERS: [Tier; 2] = [Tier::Interpret, Tier::Compile(1)];

fn mmio(address: u64, length: u32, written: Option<u64>) -> Exit {
    Exit::Mmio(Mmio {
        address,
        length,
        is_write: written.is_some(),
        data: written.unwrap_or(0).to_le_bytes(),
    })
}

#[test]
fn a_load_across_the_end_of_memory() {
    for tier in TIERS {
        // mov rax, [rbx]; inc ebx
        let mut m = Bare::new();
        m.code_at(CODE, &[0x48, 0x8b, 0x03, 0xff, 0xc3]);
        m.set(RBX, END - 3);
        m.write(END - 3, &[1, 2, 3]);
        assert_eq!(m.run(tier), mmio(END, 5, None), "{tier:?}");
        assert_eq!(m.rip(), CODE);
        m.vcpu.complete_mmio(&[4, 5, 6, 7, 8, 9, 10, 11]);
        assert_eq!(m.run_on(), Exit::Hlt);
        assert_eq!(m.get(RAX), 0x0807_0605_0403_0201);
    }
}

#[test]
fn an_addition_between_two_pages_of_devices() {
    for tier in TIERS {
        // add [rbx], eax; inc ebx
        let mut m = Bare::new();
        m.code_at(CODE, &[0x01, 0x03, 0xff, 0xc3]);
        let page = END + 0x1000;
        m.set(RBX, page - 1);
        m.set(RAX, 0x0101_0101);
        assert_eq!(m.run(tier), mmio(page - 1, 1, None), "{tier:?}");
        m.vcpu.complete_mmio(&[0xff; 8]);
        assert_eq!(m.run_on(), mmio(page, 3, None));
        m.vcpu.complete_mmio(&[0; 8]);
        assert_eq!(m.run_on(), mmio(page - 1, 1, Some(0)));
        assert_eq!(m.rip(), CODE + 2);
        assert_eq!(m.run_on(), mmio(page, 3, Some(0x01_0102)));
        assert_eq!(m.run_on(), Exit::Hlt);
    }
}

#[test]
fn a_store_across_the_end_of_memory() {
    for tier in TIERS {
        // mov [rbx], rax; inc ebx
        let mut m = Bare::new();
        m.code_at(CODE, &[0x48, 0x89, 0x03, 0xff, 0xc3]);
        m.set(RBX, END - 2);
        m.set(RAX, 0x1122_3344_5566_7788);
        assert_eq!(
            m.run(tier),
            mmio(END, 6, Some(0x1122_3344_5566)),
            "{tier:?}"
        );
        assert_eq!(m.read(END - 2), [0x88, 0x77]);
        assert_eq!(m.run_on(), Exit::Hlt);
    }
}
