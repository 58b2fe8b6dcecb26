//! Every layout and number of both architectures, against tables that a C compiler computed from
//! the uAPI headers of Linux 6.12.117 (`layout/arm64.txt`, `layout/x86.txt`).

use std::collections::BTreeMap;

use understudy_abi::{cap, exit, ioctl};

#[path = "layout/list.rs"]
#[macro_use]
mod list;

/// What a table says of a name: one or two numbers.
type Table = BTreeMap<String, Vec<usize>>;

fn parse(text: &str) -> Table {
    let number = |word: &str| match word.strip_prefix("0x") {
        Some(hex) => usize::from_str_radix(hex, 16).unwrap(),
        None => word.parse().unwrap(),
    };
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let mut words = line.split(' ');
            let (kind, name) = (words.next().unwrap(), words.next().unwrap());
            (format!("{kind} {name}"), words.map(number).collect())
        })
        .collect()
}

/// Take a name out of a table and compare what it says.
fn check(table: &mut Table, name: String, ours: &[usize]) {
    let theirs = table
        .remove(&name)
        .unwrap_or_else(|| panic!("{name}: not in the table, or there twice"));
    assert_eq!(ours, theirs, "{name}");
}

fn size_of_field<S, F>(_: impl Fn(&S) -> &F) -> usize {
    size_of::<F>()
}

fn check_structures(table: &mut Table, arm64: bool) {
    macro_rules! row {
        ($module:ident $name:ident { $($field:ident $(as $c:literal)?),* }) => {
            type S = understudy_abi::$module::$name;
            let name = stringify!($name);
            check(table, format!("size {name}"), &[size_of::<S>()]);
            $(check(
                table,
                format!("field {name}.{}", stringify!($field).trim_start_matches("r#")),
                &[
                    std::mem::offset_of!(S, $field),
                    size_of_field(|s: &S| &s.$field),
                ],
            );)*
        };
    }
    macro_rules! scoped {
        ($($row:tt)*) => {{ row!($($row)*); }};
    }
    structures!(common, scoped);
    structures!(exit, scoped);
    structures!(run, scoped);
    if arm64 {
        structures!(arm64, scoped);
    } else {
        structures!(x86, scoped);
    }
}

fn check_numbers(table: &mut Table, of_architecture: &[(&str, u32)]) {
    for (name, request) in ioctl::ALL.iter().chain(of_architecture) {
        check(table, format!("ioctl {name}"), &[*request as usize]);
    }
    for (name, reason) in exit::ALL {
        check(table, format!("exit {name}"), &[*reason as usize]);
    }
    for (name, capability) in cap::ALL {
        // Headers of one architecture leave out some capabilities of the other.
        if table.contains_key(&format!("cap {name}")) {
            check(table, format!("cap {name}"), &[*capability as usize]);
        }
    }
}

#[test]
fn arm64_is_what_the_headers_of_linux_say() {
    let mut table = parse(include_str!("layout/arm64.txt"));
    check_structures(&mut table, true);
    check_numbers(&mut table, ioctl::arm64::ALL);
    assert!(table.is_empty(), "unchecked: {table:?}");
}

#[test]
fn x86_is_what_the_headers_of_linux_say() {
    let mut table = parse(include_str!("layout/x86.txt"));
    check_structures(&mut table, false);
    check_numbers(&mut table, ioctl::x86::ALL);
    assert!(table.is_empty(), "unchecked: {table:?}");
}

#[test]
fn every_capability_is_in_a_table() {
    let arm64 = parse(include_str!("layout/arm64.txt"));
    let x86 = parse(include_str!("layout/x86.txt"));
    for (name, _) in cap::ALL {
        let name = format!("cap {name}");
        assert!(
            arm64.contains_key(&name) || x86.contains_key(&name),
            "{name}"
        );
    }
}
