//! The guarded accessors: what they do to memory that is there, and to memory that is not.

mod common;

use std::sync::atomic::{AtomicBool, Ordering};

use common::Pages;
use proptest::prelude::*;
use understudy_memory::host::{self, HostFault, Order, Rmw};

const SIZES: [usize; 4] = [1, 2, 4, 8];
const ORDERS: [Order; 4] = [
    Order::Relaxed,
    Order::Acquire,
    Order::Release,
    Order::SeqCst,
];
const OPERATIONS: [Rmw; 10] = [
    Rmw::Swap,
    Rmw::Add,
    Rmw::And,
    Rmw::Clr,
    Rmw::Set,
    Rmw::Eor,
    Rmw::Smax,
    Rmw::Smin,
    Rmw::Umax,
    Rmw::Umin,
];

/// Every accessor that stores, on one address. Each is expected to give the same verdict.
fn every_store(ptr: *mut u8) -> Vec<Result<(), HostFault>> {
    let mut results = Vec::new();
    // SAFETY: the address is of a mapping that belongs to the test, or of none.
    unsafe {
        for size in SIZES {
            for order in ORDERS {
                results.push(host::store(ptr, size, 0x55, order));
                for operation in OPERATIONS {
                    results.push(host::rmw(ptr, size, operation, 3, order).map(drop));
                }
                results.push(host::compare_exchange(ptr, size, 1, 2, order).map(drop));
            }
        }
        results.push(host::store16(ptr, 7, Order::Relaxed));
        results.push(host::compare_exchange16(ptr, 1, 2, Order::SeqCst).map(drop));
        results.push(host::touch_write(ptr));
        results.push(host::copy_to(ptr, b"some bytes"));
    }
    results
}

/// Every accessor that loads.
fn every_load(ptr: *const u8) -> Vec<Result<(), HostFault>> {
    let mut results = Vec::new();
    // SAFETY: as in `every_store`.
    unsafe {
        for size in SIZES {
            for order in ORDERS {
                results.push(host::load(ptr, size, order).map(drop));
            }
        }
        results.push(host::load16(ptr, Order::Acquire).map(drop));
        results.push(host::touch_read(ptr));
        results.push(host::copy_from(ptr, &mut [0; 10]));
    }
    results
}

#[test]
fn memory_that_is_not_there_is_a_fault_and_no_death() {
    host::install();
    let pages = Pages::new(1);
    pages.protect(0, libc::PROT_NONE);
    let unmapped = std::ptr::without_provenance_mut(0x10);
    let not_canonical = std::ptr::without_provenance_mut(0x8000_0000_0000_0000);
    for ptr in [pages.ptr, unmapped, not_canonical] {
        assert!(
            every_load(ptr)
                .iter()
                .all(|result| *result == Err(HostFault))
        );
        assert!(
            every_store(ptr)
                .iter()
                .all(|result| *result == Err(HostFault))
        );
    }
    pages.protect(0, libc::PROT_READ | libc::PROT_WRITE);
    assert!(every_load(pages.ptr).iter().all(Result::is_ok));
    assert!(every_store(pages.ptr).iter().all(Result::is_ok));
}

#[test]
fn memory_that_is_read_only_can_be_loaded_and_keeps_its_bytes() {
    host::install();
    let pages = Pages::new(1);
    // SAFETY: the test's own mapping.
    unsafe { host::store(pages.ptr, 8, 0x1122_3344_5566_7788, Order::Relaxed) }.expect("writable");
    pages.protect(0, libc::PROT_READ);
    assert!(
        every_store(pages.ptr)
            .iter()
            .all(|result| *result == Err(HostFault))
    );
    assert!(every_load(pages.ptr).iter().all(Result::is_ok));
    // SAFETY: as above.
    let value = unsafe { host::load(pages.ptr, 8, Order::Relaxed) };
    assert_eq!(value, Ok(0x1122_3344_5566_7788));
}

#[test]
fn a_truncated_file_is_a_fault() {
    host::install();
    // SAFETY: plain calls with valid arguments; the mapping is unmapped at the end.
    unsafe {
        let fd = libc::memfd_create(c"truncated".as_ptr(), 0);
        assert!(fd >= 0);
        assert_eq!(libc::ftruncate(fd, 4096), 0);
        let ptr = libc::mmap(
            std::ptr::null_mut(),
            4096,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED,
            fd,
            0,
        )
        .cast::<u8>();
        assert_eq!(host::load(ptr, 4, Order::Relaxed), Ok(0));
        assert_eq!(libc::ftruncate(fd, 0), 0);
        // SIGBUS, not SIGSEGV.
        assert_eq!(host::load(ptr, 4, Order::Relaxed), Err(HostFault));
        assert_eq!(host::touch_write(ptr), Err(HostFault));
        libc::munmap(ptr.cast(), 4096);
        libc::close(fd);
    }
}

#[test]
fn an_access_that_runs_into_a_bad_page_is_a_fault() {
    host::install();
    let pages = Pages::new(2);
    pages.protect(1, libc::PROT_NONE);
    // SAFETY: the test's own mapping.
    unsafe {
        assert_eq!(
            host::load(pages.at(4092), 8, Order::Relaxed),
            Err(HostFault)
        );
        assert_eq!(
            host::store(pages.at(4092), 8, u64::MAX, Order::Relaxed),
            Err(HostFault)
        );
        assert_eq!(
            host::load(pages.at(4092), 4, Order::Relaxed),
            Ok(0),
            "nothing was stored"
        );
        assert_eq!(host::copy_from(pages.at(4090), &mut [0; 7]), Err(HostFault));
        assert_eq!(host::copy_to(pages.at(4090), &[9; 7]), Err(HostFault));
        assert_eq!(host::copy_from(pages.at(4090), &mut [0; 6]), Ok(()));
    }
}

#[test]
fn a_16_byte_compare_exchange_wants_alignment() {
    let mut memory = [0u128; 2];
    let ptr = memory.as_mut_ptr().cast::<u8>();
    // SAFETY: within the array.
    unsafe {
        assert_eq!(
            host::compare_exchange16(ptr.add(8), 0, 1, Order::SeqCst),
            Err(HostFault)
        );
        let value = 0x0123_4567_89ab_cdef_0011_2233_4455_6677;
        assert_eq!(
            host::compare_exchange16(ptr, 0, value, Order::SeqCst),
            Ok(0)
        );
        assert_eq!(
            host::compare_exchange16(ptr, 0, 1, Order::SeqCst),
            Ok(value)
        );
    }
    assert_eq!(memory, [0x0123_4567_89ab_cdef_0011_2233_4455_6677, 0]);
}

/// What an operation should make of two numbers, in words of the Arm ARM's MemAtomic().
fn expected(operation: Rmw, bits: u32, old: u64, operand: u64) -> u64 {
    let mask = u64::MAX >> (64 - bits);
    let signed = |value: u64| {
        let value = value & mask;
        if value >> (bits - 1) & 1 == 1 {
            (value | !mask) as i64
        } else {
            value as i64
        }
    };
    let (old, operand) = (old & mask, operand & mask);
    mask & match operation {
        Rmw::Swap => operand,
        Rmw::Add => old.wrapping_add(operand),
        Rmw::And => old & operand,
        Rmw::Clr => old & !operand,
        Rmw::Set => old | operand,
        Rmw::Eor => old ^ operand,
        Rmw::Smax => signed(old).max(signed(operand)) as u64,
        Rmw::Smin => signed(old).min(signed(operand)) as u64,
        Rmw::Umax => old.max(operand),
        Rmw::Umin => old.min(operand),
    }
}

proptest! {
    #[test]
    fn a_store_is_what_a_load_finds(
        value: u64, before: [u8; 24], at in 0usize..16, size in 0usize..4, order in 0usize..4,
    ) {
        let (size, order) = (SIZES[size], ORDERS[order]);
        let mut bytes = before;
        // SAFETY: within the array.
        unsafe {
            host::store(bytes.as_mut_ptr().add(at), size, value, order).expect("writable");
            let loaded = host::load(bytes.as_ptr().add(at), size, order).expect("readable");
            prop_assert_eq!(loaded, value & (u64::MAX >> (64 - 8 * size)));
        }
        prop_assert_eq!(&bytes[..at], &before[..at]);
        prop_assert_eq!(&bytes[at..at + size], &value.to_ne_bytes()[..size]);
        prop_assert_eq!(&bytes[at + size..], &before[at + size..]);
    }

    #[test]
    fn wide_accesses_are_two_halves(value: u128, at in 0usize..16) {
        let mut bytes = [0u8; 32];
        // SAFETY: within the array.
        unsafe {
            host::store16(bytes.as_mut_ptr().add(at), value, Order::SeqCst).expect("writable");
            let loaded = host::load16(bytes.as_ptr().add(at), Order::Relaxed).expect("readable");
            prop_assert_eq!(loaded, value);
        }
        prop_assert_eq!(&bytes[at..at + 16], &value.to_ne_bytes()[..]);
    }

    #[test]
    fn read_modify_write_returns_the_old_value(
        old: [u64; 2], operand: u64, operation in 0usize..10, size in 0usize..4,
        order in 0usize..4,
    ) {
        let (operation, size, order) = (OPERATIONS[operation], SIZES[size], ORDERS[order]);
        let mut memory = old;
        let ptr = memory.as_mut_ptr().cast::<u8>();
        // SAFETY: within the array.
        let found = unsafe { host::rmw(ptr, size, operation, operand, order) };
        let mask = u64::MAX >> (64 - 8 * size);
        prop_assert_eq!(found, Ok(old[0] & mask));
        let new = expected(operation, 8 * size as u32, old[0], operand);
        prop_assert_eq!(memory, [(old[0] & !mask) | new, old[1]]);
    }

    #[test]
    fn compare_exchange_stores_only_on_a_match(
        old: u64, other: u64, new: u64, same: bool, size in 0usize..4, order in 0usize..4,
    ) {
        let (size, order) = (SIZES[size], ORDERS[order]);
        let mask = u64::MAX >> (64 - 8 * size);
        let expected = if same { old } else { other };
        let mut memory = old;
        let ptr = (&raw mut memory).cast::<u8>();
        // SAFETY: within the variable.
        let found = unsafe { host::compare_exchange(ptr, size, expected, new, order) };
        prop_assert_eq!(found, Ok(old & mask));
        let stored = if old & mask == expected & mask { new } else { old };
        prop_assert_eq!(memory, (old & !mask) | (stored & mask));
    }

    #[test]
    fn copies_of_any_length_and_alignment(bytes: Vec<u8>, at in 0usize..9) {
        let mut memory = vec![0xee; bytes.len() + 16];
        // SAFETY: within the vector.
        unsafe {
            host::copy_to(memory.as_mut_ptr().add(at), &bytes).expect("writable");
            let mut back = vec![0; bytes.len()];
            host::copy_from(memory.as_ptr().add(at), &mut back).expect("readable");
            prop_assert_eq!(&back, &bytes);
        }
        prop_assert!(memory[..at].iter().all(|&byte| byte == 0xee));
        prop_assert!(memory[at + bytes.len()..].iter().all(|&byte| byte == 0xee));
    }
}

#[test]
fn read_modify_writes_of_several_threads_lose_nothing() {
    struct Shared(*mut u8);
    // SAFETY: only atomic accessors use the pointer.
    unsafe impl Sync for Shared {}

    let mut memory = [0u128; 2];
    let shared = Shared(memory.as_mut_ptr().cast());
    let shared = &shared;
    const ROUNDS: u64 = 20_000;
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(move || {
                let mut high = 0;
                for round in 0..ROUNDS {
                    // SAFETY: within the array, which outlives the scope.
                    unsafe {
                        host::rmw(shared.0, 8, Rmw::Add, 1, Order::Relaxed).expect("writable");
                        // A maximum goes through the compare-and-exchange loop.
                        host::rmw(shared.0.add(8), 4, Rmw::Umax, round, Order::SeqCst)
                            .expect("writable");
                        let wide = shared.0.add(16);
                        loop {
                            let old = host::load16(wide, Order::Relaxed).expect("readable");
                            let new = (old + 1) | 1 << 127;
                            let found = host::compare_exchange16(wide, old, new, Order::SeqCst)
                                .expect("writable");
                            if found == old {
                                break;
                            }
                            high += 1;
                        }
                    }
                }
                high
            });
        }
    });
    assert_eq!(memory[0] as u64, 3 * ROUNDS);
    assert_eq!((memory[0] >> 64) as u32, ROUNDS as u32 - 1);
    assert_eq!(memory[1], (1 << 127) + u128::from(3 * ROUNDS));
}

#[test]
fn a_page_can_be_taken_away_while_another_thread_uses_it() {
    host::install();
    let pages = Pages::new(1);
    let stop = AtomicBool::new(false);
    let address = pages.ptr.expose_provenance();
    std::thread::scope(|scope| {
        let user = scope.spawn(|| {
            let ptr = std::ptr::with_exposed_provenance_mut::<u8>(address);
            let (mut good, mut bad) = (0u64, 0u64);
            while !stop.load(Ordering::Relaxed) || good == 0 || bad == 0 {
                // SAFETY: the mapping outlives the scope; its protection is what is tested.
                match unsafe { host::rmw(ptr, 8, Rmw::Add, 1, Order::SeqCst) } {
                    Ok(old) => {
                        assert_eq!(old, good);
                        good += 1;
                    }
                    Err(HostFault) => bad += 1,
                }
                if bad > 10_000_000 {
                    break;
                }
            }
            (good, bad)
        });
        for _ in 0..100 {
            pages.protect(0, libc::PROT_NONE);
            std::thread::yield_now();
            pages.protect(0, libc::PROT_READ | libc::PROT_WRITE);
            std::thread::yield_now();
        }
        pages.protect(0, libc::PROT_NONE);
        while !user.is_finished() && !stop.swap(true, Ordering::Relaxed) {}
        std::thread::sleep(std::time::Duration::from_millis(20));
        pages.protect(0, libc::PROT_READ | libc::PROT_WRITE);
        let (good, bad) = user.join().expect("the thread counts and returns");
        assert!(good > 0 && bad > 0, "{good} good, {bad} bad");
    });
}

#[cfg(target_arch = "x86_64")]
mod code_range {
    use super::*;

    // A function that a compiler might have emitted, and where it goes on after a fault.
    std::arch::global_asm!(
        ".pushsection .text.understudy_test",
        ".globl understudy_test_load",
        "understudy_test_load:",
        "nop",
        "understudy_test_load_insn:",
        "mov rax, qword ptr [rdi]",
        "ret",
        "understudy_test_load_end:",
        ".globl understudy_test_resume",
        "understudy_test_resume:",
        // The instruction's offset in the function, and the address that it wanted.
        "lea rcx, [rip + understudy_test_load]",
        "sub rax, rcx",
        "mov qword ptr [rsi], rdx",
        "neg rax",
        "ret",
        ".popsection",
    );

    unsafe extern "C" {
        fn understudy_test_load(from: *const u8, fault_address: *mut u64) -> i64;
        fn understudy_test_resume();
    }

    #[test]
    fn code_that_a_compiler_emitted_continues_where_it_said() {
        let pages = Pages::new(2);
        pages.protect(1, libc::PROT_NONE);
        let start = understudy_test_load as *const u8;
        let resume = understudy_test_resume as *const u8;
        let mut address = 0;
        // SAFETY: resuming is sound at each instruction of the function: it has no frame.
        unsafe {
            let range = host::register_code_range(start, 5, resume).expect("there is room");
            assert_eq!(understudy_test_load(pages.ptr, &mut address), 0);
            assert_eq!(understudy_test_load(pages.at(4096), &mut address), -1);
            assert_eq!(address, pages.address() + 4096);
            drop(range);
        }
    }

    #[test]
    fn code_ranges_are_given_back() {
        let nowhere = std::ptr::without_provenance(0x1000);
        for _ in 0..3 {
            // SAFETY: there is no code.
            let ranges: Vec<_> = (0..900)
                .map(|_| unsafe { host::register_code_range(nowhere, 16, nowhere) })
                .collect();
            assert!(ranges.iter().all(Result::is_ok));
        }
    }
}
