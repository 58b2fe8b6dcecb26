//! The board's interrupt controllers and its timer as guests see them, in both tiers.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use understudy_abi::x86::kvm_pit_state2;
use understudy_engine::bus::{Bus, Space};
use understudy_engine::run::Tier;
use understudy_x86::chipset::routing::Route;
use understudy_x86::chipset::{Acks, Chipset, source};
use understudy_x86::exit::Exit;
use understudy_x86::machine::Machine;
use understudy_x86::regs::{self, RAX, RBX, RCX};
use understudy_x86::testing::{Bare, CODE, DATA};

const TIERS: [Tier; 2] = [Tier::Interpret, Tier::Compile(1)];
const APIC: u64 = 0xfee0_0000;
const IOAPIC: u64 = 0xfec0_0000;

/// out port, value
fn out(port: u8, value: u8) -> [u8; 4] {
    [0xb0, value, 0xe6, port]
}

/// mov dword [rbx + offset], value: RBX has the local APIC's address.
fn put(offset: u32, value: u32) -> Vec<u8> {
    let bytes = [offset.to_le_bytes(), value.to_le_bytes()].concat();
    [&[0xc7, 0x83], &bytes[..]].concat()
}

/// Writes a register of the IOAPIC, whose address RCX has.
fn ioapic(register: u8, value: u32) -> Vec<u8> {
    let select = [0xc7, 0x01, register, 0, 0, 0];
    [&select, &[0xc7, 0x41, 0x10][..], &value.to_le_bytes()].concat()
}

/// PICs with vectors from 0x20 on, only input 0 unmasked.
fn pics() -> Vec<u8> {
    let mut code = Vec::new();
    for (port, base, cascade, mask) in [(0x20, 0x20, 4, 0xfe), (0xa0, 0x28, 2, 0xff)] {
        code.extend(out(port, 0x11));
        for value in [base, cascade, 1, mask] {
            code.extend(out(port + 1, value));
        }
    }
    code
}

/// Channel 0 ticks every 1.2 ms: mode 2, count 1432.
fn pit() -> Vec<u8> {
    [out(0x43, 0x34), out(0x40, 0x98), out(0x40, 5)].concat()
}

fn full(machine: &Arc<Machine>) {
    assert!(machine.create_chipset(Chipset::new(None)));
    assert!(!machine.create_chipset(Chipset::new(None)), "EEXIST");
    let chipset = machine.chipset().expect("it has just been made");
    assert!(chipset.create_pit(machine, true));
}

fn ended(m: &mut Bare, tier: Tier) {
    let exit = m.run(tier);
    assert!(matches!(exit, Exit::Io(io) if io.port == 0x80), "{exit:?}");
}

/// The timer's interrupts in real mode, by way of the PICs, to a guest that spins and one that halts.
#[test]
fn ticks_arrive_in_real_mode() {
    for tier in TIERS {
        // sti; nop; nop; cli, or sti; hlt; cli; then cmp cx, 5; jb back
        for body in [[0xfb, 0x90, 0x90, 0xfa], [0xfb, 0xf4, 0x90, 0xfa]] {
            let mut m = Bare::real_with(0, full);
            let wait = [&body[..], &[0x83, 0xf9, 5, 0x72, 0xf7, 0xe6, 0x80]].concat();
            m.code_at(0x1000, &[pics(), pit(), wait].concat());
            // Vector 0x20: inc cx; mov al, 0x20; out 0x20, al; iret
            m.write(4 * 0x20, &[0, 5, 0, 0]);
            m.write(0x500, &[0x41, 0xb0, 0x20, 0xe6, 0x20, 0xcf]);
            m.set(RCX, 0);
            m.set(regs::RSP, 0x800);
            let begin = Instant::now();
            ended(&mut m, tier);
            assert!(begin.elapsed() >= Duration::from_millis(4), "{tier:?}");
            // Those that it was late for come at once.
            assert!(m.get(RCX) >= 5);
        }
    }
}

/// A tick that comes while the one before is being delivered is not lost: the guest would wait for ever.
#[test]
fn late_ticks_are_made_up_for() {
    for round in 0..60 {
        let mut m = Bare::real_with(0, full);
        // sti; hlt; nop; cli; cmp cx, 9; jb back
        let wait = vec![
            0xfb, 0xf4, 0x90, 0xfa, 0x83, 0xf9, 9, 0x72, 0xf7, 0xe6, 0x80,
        ];
        // Channel 0 ticks every 16 microseconds.
        let fast = [out(0x43, 0x34), out(0x40, 20), out(0x40, 0)].concat();
        m.code_at(0x1000, &[pics(), fast, wait].concat());
        m.write(4 * 0x20, &[0, 5, 0, 0]);
        m.write(0x500, &[0x41, 0xb0, 0x20, 0xe6, 0x20, 0xcf]);
        m.set(RCX, 0);
        m.set(regs::RSP, 0x800);
        ended(&mut m, TIERS[round % 2]);
        assert!(m.get(RCX) >= 9);
    }
}

/// Who is told that interrupts are over.
#[derive(Default)]
struct Listener(Mutex<Vec<u32>>);

impl Acks for Listener {
    fn acked(&self, gsi: u32) {
        self.0.lock().expect("nobody panics").push(gsi);
    }
}

/// A level-triggered input of the IOAPIC interrupts again after EOI until it is low.
#[test]
fn a_level_interrupts_until_it_is_low() {
    for tier in TIERS {
        let mut m = Bare::with(full);
        // svr; no PICs; entry 11: vector 0x44, level; sti; spin: cmp r8, 4; jb
        let code = [
            put(0xf0, 0x1ff),
            put(0x350, 1 << 16),
            ioapic(0x10 + 22, 0x8044),
            vec![0xfb, 0x49, 0x83, 0xf8, 4, 0x72, 0xfa, 0xe6, 0x80],
        ];
        m.code_at(CODE, &code.concat());
        m.set(RBX, APIC);
        m.set(RCX, IOAPIC);
        m.set_flags(0);
        // inc r8; out 0x90, al if it is the third; EOI; iretq
        let handler = [
            &[0x49, 0xff, 0xc0, 0x49, 0x83, 0xf8, 3, 0x75, 2, 0xe6, 0x90][..],
            &put(0xb0, 0),
            &[0x48, 0xcf],
        ];
        m.handle(0x44, 0, &handler.concat());
        let machine = m.cpu().state.machine.clone();
        let chipset = machine.chipset().expect("there is one");
        let listener = Arc::new(Listener::default());
        chipset.listen(listener.clone());
        assert_eq!(machine.set_irq(11, source::USER, true), 1, "by a PIC");
        let exit = m.run(tier);
        assert!(matches!(exit, Exit::Io(io) if io.port == 0x90), "{exit:?}");
        assert_eq!(m.get(regs::gpr(8)), 3);
        let entry = chipset.ioapic_image().redirtbl[11];
        assert_eq!(entry, 0xc044, "remote IRR");
        machine.set_irq(11, source::USER, false);
        m.vcpu.complete_io(0);
        let exit = std::thread::scope(|scope| {
            let running = scope.spawn(|| m.run_on());
            // Remote IRR goes with EOI.
            while chipset.ioapic_image().redirtbl[11] != 0x8044 {
                std::thread::yield_now();
            }
            // While it is high there would be nothing but interrupts.
            machine.set_irq(11, source::USER, true);
            machine.set_irq(11, source::USER, false);
            running.join().expect("the thread ends")
        });
        assert!(matches!(exit, Exit::Io(io) if io.port == 0x80), "{exit:?}");
        assert!(listener.0.lock().expect("nobody panics").len() >= 3);
    }
}

/// KVM API 5, `KVM_EXIT_IOAPIC_EOI`: with a split irqchip, user space hears of the EOI of a level.
#[test]
fn a_split_irqchip_tells_of_ends() {
    for tier in TIERS {
        let mut m = Bare::with(|machine| {
            assert!(machine.create_chipset(Chipset::new(Some(24))));
        });
        let machine = m.cpu().state.machine.clone();
        let chipset = machine.chipset().expect("there is one");
        let msi = |data| Route::Msi {
            address: 0xfee0_0000,
            data,
        };
        assert!(!chipset.set_routing(&machine, &[(3, Route::Ioapic(3))]));
        assert!(!chipset.set_routing(&machine, &[(3, msi(1)), (3, msi(2))]));
        let routes = [(3, msi(0x8055)), (4, msi(0x56)), (30, msi(0x8057))];
        assert!(chipset.set_routing(&machine, &routes));
        let code = [put(0xf0, 0x1ff), vec![0xfb, 0x90, 0xe6, 0x80]];
        m.code_at(CODE, &code.concat());
        m.set(RBX, APIC);
        for vector in 0x55..=0x57 {
            let handler = [&[0x49, 0xff, 0xc0][..], &put(0xb0, 0), &[0x48, 0xcf]];
            m.handle(vector, u64::from(vector - 0x55), &handler.concat());
        }
        // Not before software has enabled it, for which it has to run; then all three.
        m.set_flags(0);
        assert_eq!(m.vcpu.request_window(true), ());
        ended_or_window(&mut m, tier);
        for (gsi, delivered) in [(3, 1), (4, 1), (30, 1), (5, -1)] {
            assert_eq!(machine.set_irq(gsi, source::USER, true), delivered);
        }
        m.vcpu.request_window(false);
        m.cpu().pc = CODE;
        let mut ends = Vec::new();
        loop {
            match m.run_on() {
                Exit::IoapicEoi(vector) => ends.push(vector),
                Exit::Io(io) => break assert_eq!(io.port, 0x80),
                exit => panic!("{exit:?}"),
            }
        }
        assert_eq!((ends, m.get(regs::gpr(8))), (vec![0x55], 3), "{tier:?}");
    }
}

fn ended_or_window(m: &mut Bare, tier: Tier) {
    let exit = m.run(tier);
    assert!(
        matches!(exit, Exit::Io(_) | Exit::IrqWindowOpen),
        "{exit:?}"
    );
}

/// KVM API 4.70: who a device's message means, and how many have got it.
#[test]
fn messages_of_devices_are_delivered() {
    let mut m = Bare::with(full);
    let other = m.another();
    let machine = m.cpu().state.machine.clone();
    let irr = |vcpu: &understudy_x86::vcpu::Vcpu, vector: usize| {
        let image = vcpu.lapic().expect("it is in the kernel");
        image.regs[0x200 + vector / 32 * 16 + vector % 32 / 8] >> (vector % 8) & 1
    };
    let all = 0xfee0_0000 | 0xff << 12;
    assert_eq!(machine.signal_msi(all, 0x61), 2);
    assert_eq!(machine.signal_msi(0xfee0_1000, 0x62), 1);
    assert_eq!(machine.signal_msi(0xfee0_5000, 0x63), -1);
    // Logical, to nobody; lowest priority needs one that software has enabled.
    assert_eq!(machine.signal_msi(0xfee0_1004, 0x64), -1);
    assert_eq!(machine.signal_msi(0xfee0_1000, 0x165), -1);
    let first = [0x61, 0x62, 0x63, 0x64].map(|vector| irr(&m.vcpu, vector));
    let second = [0x61, 0x62, 0x63, 0x64].map(|vector| irr(&other, vector));
    assert_eq!((first, second), ([1, 0, 0, 0], [1, 1, 0, 0]));
    // With ids of 32 bits their upper part is in the upper half of the address.
    machine.apic.ids_of_32_bits.store(true, Ordering::Relaxed);
    assert_eq!(machine.signal_msi(0x100_fee0_1000, 0x66), -1);
    assert!(!machine.is_msi_valid(0x1_fee0_1000));
}

/// A device on the bus: a port and an address that count stores and give a number.
#[derive(Default)]
struct Counter(AtomicU32);

impl Bus for Counter {
    fn read(&self, _: usize, space: Space, address: u64, data: &mut [u8]) -> bool {
        data.fill(if space == Space::Port { 0x11 } else { 0x22 });
        matches!(
            (space, address),
            (Space::Port, 0x70) | (Space::Memory, 0xd000_0000)
        )
    }

    fn write(&self, vcpu: usize, space: Space, address: u64, data: &[u8]) -> bool {
        self.0.fetch_add(data.len() as u32, Ordering::Relaxed);
        let mut nothing = [0; 1];
        self.read(vcpu, space, address, &mut nothing)
    }
}

/// What is on the bus answers without exits, at ports and in memory.
#[test]
fn devices_on_the_bus_answer() {
    for tier in TIERS {
        let mut m = Bare::with(|machine| {
            assert!(machine.bus.set(Arc::new(Counter::default())).is_ok());
        });
        // out 0x70, al; in ax, 0x70; mov [rbx], ax; mov ecx, [rbx]; out 0x80, al
        let code = [0xe6, 0x70, 0x66, 0xe5, 0x70, 0x66, 0x89, 0x03, 0x8b, 0x0b];
        m.code_at(CODE, &[&code[..], &[0xe6, 0x80]].concat());
        m.set(RBX, 0xd000_0000);
        ended(&mut m, tier);
        assert_eq!((m.get(RAX), m.get(RCX)), (0x1111, 0x2222_2222), "{tier:?}");
        // rep insw, rep outsb
        m.code_at(CODE, &[0xf3, 0x66, 0x6d, 0xb1, 3, 0xf3, 0x6e, 0xe6, 0x80]);
        m.set(RCX, 5);
        m.set(regs::RDX, 0x70);
        m.set(regs::RDI, DATA + 0x100);
        m.set(regs::RSI, DATA + 0x100);
        ended(&mut m, tier);
        let read: [u8; 11] = m.read(DATA + 0x100);
        assert_eq!(read, [[0x11; 10].as_slice(), &[0]].concat()[..], "{tier:?}");
        assert_eq!((m.get(RCX), m.get(regs::RSI)), (0, DATA + 0x103));
    }
}

/// KVM API 4.72: the timer's image, and the speaker's port.
#[test]
fn the_timer_has_an_image() {
    let mut m = Bare::with(full);
    // The gate of channel 2, mode 0, count 0x102; in al, 0x61
    let code = [out(0x61, 1), out(0x43, 0xb0), out(0x42, 2), out(0x42, 1)];
    m.code_at(
        CODE,
        &[&code.concat()[..], &[0xe4, 0x61, 0xe6, 0x80]].concat(),
    );
    ended(&mut m, Tier::Interpret);
    assert_eq!(m.get(RAX) & 3, 1);
    let machine = m.cpu().state.machine.clone();
    let pit = machine
        .chipset()
        .and_then(Chipset::pit)
        .expect("it is there");
    let image: kvm_pit_state2 = pit.image();
    let channel = image.channels[2];
    assert_eq!((channel.count, channel.mode, channel.gate), (0x102, 0, 1));
    pit.set_image(&machine, &image);
    assert_eq!(pit.image().channels[2].count, 0x102);
}

/// A board's registers and those of the local APIC take anything.
#[test]
fn random_accesses_do_no_harm() {
    let mut m = Bare::with(full);
    let _others = [m.another(), m.another()];
    let mut seed = 0x9e37_79b9_7f4a_7c15u64;
    let mut random = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    // mov [rbx], eax; mov eax, [rbx]; xchg dx, cx; out dx, al; in al, dx; cli; out 0x80, al, for ever
    let code = [
        0x89, 0x03, 0x8b, 0x03, 0x66, 0x87, 0xca, 0xee, 0xec, 0xfa, 0xe6, 0x80,
    ];
    m.code_at(CODE, &code);
    m.handle(2, 0, &[0xe6, 0x80]);
    let ports = [
        0x20u64, 0x21, 0xa0, 0xa1, 0x40, 0x41, 0x42, 0x43, 0x61, 0x4d0, 0x4d1,
    ];
    for _ in 0..4000 {
        let value = random();
        let base = if value & 1 << 40 != 0 { APIC } else { IOAPIC };
        let offset = random() & if base == APIC { 0xfff } else { 0x1f };
        m.set(RBX, base + (offset & !(value >> 50 & 0xf)));
        m.set(RAX, value);
        let port = ports[random() as usize % ports.len()];
        m.set(RCX, port);
        m.set_flags(0);
        m.set(regs::RSP, DATA + 0x4000);
        m.cpu().pc = CODE;
        // It may have sent itself INIT; then that is over.
        let exit = m.run_on();
        if exit != Exit::Shutdown && !matches!(exit, Exit::Io(_)) {
            panic!("{exit:?}");
        }
        if m.cpu().state.cr0 & 1 == 0 {
            m = Bare::with(full);
            m.code_at(CODE, &code);
            m.handle(2, 0, &[0xe6, 0x80]);
        }
    }
}
