//! CPU templates as they are written: Firecracker's JSON, and QEMU's `SYSREG_REGISTER_FIELD=VALUE`.

use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};
use understudy_abi::arm64::reg::KVM_REG_SIZE_MASK;
use understudy_arm64::sysregs::id::fields::Field;
use understudy_arm64::sysregs::id::fields_of;
use understudy_arm64::sysregs::table;
use understudy_arm64::sysregs::user::id_of;

/// Where the size of a register stands in its id: log2 of bytes.
const SIZE_SHIFT: u32 = 52;
/// `kvm_vcpu_init` has this many words of features.
const FEATURE_WORDS: u32 = 7;

/// Bits to set and to clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bitmap {
    /// Which bits.
    pub mask: u128,
    /// What they become.
    pub value: u128,
    /// How many were written down, with those to leave.
    width: u32,
}

impl Bitmap {
    /// The number with these bits replaced.
    pub fn apply(self, old: u128) -> u128 {
        old & !self.mask | self.value
    }

    fn parse(text: &str) -> Result<Bitmap, String> {
        let digits = text.strip_prefix("0b").unwrap_or(text);
        let mut bitmap = Bitmap {
            mask: 0,
            value: 0,
            width: 0,
        };
        for digit in digits.chars().rev().filter(|digit| *digit != '_') {
            if bitmap.width == u128::BITS {
                return Err(format!("bitmap: `{text}` has more than 128 bits"));
            }
            let bit = 1 << bitmap.width;
            match digit {
                'x' => {}
                '0' => bitmap.mask |= bit,
                '1' => {
                    bitmap.mask |= bit;
                    bitmap.value |= bit;
                }
                _ => {
                    return Err(format!(
                        "bitmap: `{text}` has a `{digit}`: there are 0, 1 and x (leave it), like 0bxx01"
                    ));
                }
            }
            bitmap.width += 1;
        }
        match bitmap.width {
            0 => Err(format!("bitmap: `{text}` has no bits, like 0bxx01")),
            _ => Ok(bitmap),
        }
    }
}

impl<'de> Deserialize<'de> for Bitmap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Bitmap, D::Error> {
        deserializer.deserialize_str(Text("a string of bits, like \"0bxx01\"", Bitmap::parse))
    }
}

/// Reads a string, so that what is wrong with it is told with its line.
struct Text<T>(&'static str, fn(&str) -> Result<T, String>);

impl<T> Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        (self.1)(text).map_err(E::custom)
    }
}

/// A register's id.
#[derive(Clone, Copy, Debug)]
struct Address(u64);

impl Address {
    fn parse(text: &str) -> Result<Address, String> {
        let id = number(text).filter(|id| size_bits(*id).is_some());
        id.map(Address).ok_or_else(|| {
            format!("addr: `{text}` is not a register's id, like 0x603000000013c020")
        })
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Address, D::Error> {
        let expected = "a string with a register's id, like \"0x603000000013c020\"";
        deserializer.deserialize_str(Text(expected, Address::parse))
    }
}

/// How many bits a register has, if it is one of 32 to 128.
fn size_bits(id: u64) -> Option<u32> {
    let log2 = ((id & KVM_REG_SIZE_MASK) >> SIZE_SHIFT) as u32;
    (2..=4).contains(&log2).then(|| 8 << log2)
}

fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => text.parse(),
    }
    .ok()
    .filter(|_| !text.contains('+'))
}

/// A change of one register.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "WrittenModifier")]
pub(super) struct Modifier {
    /// Its id.
    pub id: u64,
    /// What becomes of it.
    pub bitmap: Bitmap,
    /// The field that the template names, if it does.
    pub field: Option<&'static Field>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenModifier {
    addr: Address,
    bitmap: Bitmap,
}

impl TryFrom<WrittenModifier> for Modifier {
    type Error = String;

    fn try_from(written: WrittenModifier) -> Result<Modifier, String> {
        let (id, bitmap) = (written.addr.0, written.bitmap);
        let bits = size_bits(id).unwrap_or(0);
        if bitmap.width > bits {
            return Err(format!(
                "bitmap: it has {} bits, and the register {id:#x} has {bits}",
                bitmap.width
            ));
        }
        Ok(Modifier {
            id,
            bitmap,
            field: None,
        })
    }
}

/// A change of the features that KVM_ARM_VCPU_INIT is given.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "WrittenFeatures")]
pub(super) struct Features {
    /// Which word of them.
    pub index: usize,
    /// What becomes of it.
    pub bitmap: Bitmap,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenFeatures {
    index: u32,
    bitmap: Bitmap,
}

impl TryFrom<WrittenFeatures> for Features {
    type Error = String;

    fn try_from(written: WrittenFeatures) -> Result<Features, String> {
        let WrittenFeatures { index, bitmap } = written;
        if index >= FEATURE_WORDS {
            return Err(format!(
                "index: {index} is not one of 0 to {}",
                FEATURE_WORDS - 1
            ));
        }
        if bitmap.width > u32::BITS {
            return Err(format!(
                "bitmap: it has {} bits, and a word has 32",
                bitmap.width
            ));
        }
        Ok(Features {
            index: index as usize,
            bitmap,
        })
    }
}

/// A capability that a host must have, or need not have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Capability {
    /// Its number.
    pub number: u32,
    /// Whether it is asked for; `!` takes it off the list that Firecracker asks for by itself.
    pub needed: bool,
}

impl Capability {
    fn parse(text: &str) -> Result<Capability, String> {
        let (needed, digits) = match text.strip_prefix('!') {
            Some(digits) => (false, digits),
            None => (true, text),
        };
        let number = digits.parse().map_err(|_| {
            format!("kvm_capabilities: `{text}` is not a capability's number, like 171 or !171")
        })?;
        Ok(Capability { number, needed })
    }
}

impl<'de> Deserialize<'de> for Capability {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Capability, D::Error> {
        let expected = "a string with a capability's number, like \"171\"";
        deserializer.deserialize_str(Text(expected, Capability::parse))
    }
}

/// A template.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Template {
    /// What the host must have.
    #[serde(default)]
    pub kvm_capabilities: Vec<Capability>,
    /// What the vCPUs are made with.
    #[serde(default)]
    pub vcpu_features: Vec<Features>,
    /// What becomes of their registers, in this order.
    #[serde(default)]
    pub reg_modifiers: Vec<Modifier>,
}

impl Template {
    /// Reads a template; `file` is what errors call it. JSON begins with a brace.
    pub fn parse(file: &str, text: &str) -> Result<Template, String> {
        if text.trim_start().starts_with(['{', '[']) {
            firecracker(file, text)
        } else {
            qemu(file, text)
        }
    }
}

fn firecracker(file: &str, text: &str) -> Result<Template, String> {
    serde_json::from_str(text).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        let message = error.to_string();
        let place = format!(" at line {line} column {column}");
        let message = message.strip_suffix(&place).unwrap_or(&message);
        format!("{file}:{line}:{column}: {message}")
    })
}

fn qemu(file: &str, text: &str) -> Result<Template, String> {
    let mut template = Template::default();
    for (n, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default();
        let mut column = 1;
        for part in line.split(',') {
            let lead = part.chars().take_while(|c| c.is_whitespace()).count();
            let entry = part.trim();
            if !entry.is_empty() {
                let modifier = property(entry)
                    .map_err(|message| format!("{file}:{}:{}: {message}", n + 1, column + lead))?;
                template.reg_modifiers.push(modifier);
            }
            column += part.chars().count() + 1;
        }
    }
    match template.reg_modifiers.is_empty() {
        true => Err(format!(
            "{file}: no template: neither Firecracker's JSON nor a line like \
             SYSREG_ID_AA64ISAR0_EL1_ATOMIC=0"
        )),
        false => Ok(template),
    }
}

/// `SYSREG_REGISTER_FIELD=VALUE`, or without `_FIELD`.
fn property(entry: &str) -> Result<Modifier, String> {
    let example = "like SYSREG_ID_AA64ISAR0_EL1_ATOMIC=0";
    let (name, value) = entry
        .split_once('=')
        .ok_or_else(|| format!("`{entry}` has no value, {example}"))?;
    let (name, written) = (name.trim(), value.trim());
    let value = number(written).ok_or_else(|| {
        format!("{name}: `{written}` is not a value: a number of up to 64 bits, like 0x1 or 1")
    })?;
    let Some(path) = name.strip_prefix("SYSREG_") else {
        return Err(format!("`{name}` does not begin with SYSREG_, {example}"));
    };
    let rows = table::REGISTERS.iter();
    let row = rows
        .filter(|row| {
            path.strip_prefix(row.name)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
        })
        .max_by_key(|row| row.name.len())
        .ok_or_else(|| format!("{name}: no register is called so, {example}"))?;
    let id = id_of(row.encoding);
    let Some(field) = path
        .strip_prefix(row.name)
        .and_then(|rest| rest.strip_prefix('_'))
    else {
        let bitmap = Bitmap {
            mask: u64::MAX.into(),
            value: value.into(),
            width: u64::BITS,
        };
        return Ok(Modifier {
            id,
            bitmap,
            field: None,
        });
    };
    let Some(field) = fields_of(row.encoding).find(|row| row.name.eq_ignore_ascii_case(field))
    else {
        let names: Vec<&str> = fields_of(row.encoding).map(|field| field.name).collect();
        return Err(format!(
            "{name}: {} has no field {field} that is known here: there are {}",
            row.name,
            if names.is_empty() {
                "none".to_string()
            } else {
                names.join(", ")
            }
        ));
    };
    if value >> field.width != 0 {
        return Err(format!(
            "{name}: {value:#x} does not fit, as {} has {} bits: 0 to {:#x}",
            field.name,
            field.width,
            (1 << field.width) - 1
        ));
    }
    Ok(Modifier {
        id,
        bitmap: Bitmap {
            mask: field.mask().into(),
            value: field.set(0, value).into(),
            width: u64::BITS,
        },
        field: Some(field),
    })
}
