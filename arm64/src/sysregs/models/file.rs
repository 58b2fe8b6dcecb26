//! A model's file: TOML, by the manual's names of registers and fields.
//!
//! The tables are walked by hand and not deserialised, as each error is to name the line, the field
//! and what would be right there.

use super::{Difference, Mitigations, Model, Spectre, field_name, hidden, is_id, most};
use crate::sysregs::encoding::Encoding;
use crate::sysregs::id::fields::{Field, registers};
use crate::sysregs::id::{fields_of, is_aarch32};
use crate::sysregs::table;
use std::fmt;
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// CTR_EL0 bit 31: RES1.
const CTR_RES1: u64 = 1 << 31;
/// SCTLR_EL1.I, C and M: caches and translation are off out of reset.
const SCTLR_I_C_M: u64 = 1 << 12 | 1 << 2 | 1 << 0;
/// DCZID_EL0.BS, at most: 2 KiB.
const DCZID_MOST: u64 = 9;

/// What is wrong with a model's file. It reads `FILE:LINE:COLUMN: what, and what would be right`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    file: String,
    /// Line and column, from 1; none if it is about the whole file.
    place: Option<(usize, usize)>,
    message: String,
}

impl Error {
    pub(super) fn whole(file: &str, message: String) -> Error {
        Error {
            file: file.to_string(),
            place: None,
            message,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            Some((line, column)) => write!(f, "{}:{line}:{column}: ", self.file)?,
            None => write!(f, "{}: ", self.file)?,
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

type Value<'t> = Spanned<DeValue<'t>>;
/// Where in the text something is wrong, and what.
type Wrong = (Range<usize>, String);

pub(super) fn parse(file: &str, text: &str) -> Result<Model, Error> {
    let table = DeTable::parse(text).map_err(|error| {
        let message = error.message().to_string();
        match error.span() {
            Some(span) => at(file, text, span, message),
            None => Error::whole(file, message),
        }
    })?;
    model(table.get_ref()).map_err(|(span, message)| at(file, text, span, message))
}

fn at(file: &str, text: &str, span: Range<usize>, message: String) -> Error {
    let before = text.get(..span.start).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    Error {
        file: file.to_string(),
        place: Some((
            before.matches('\n').count() + 1,
            before[line_start..].chars().count() + 1,
        )),
        message,
    }
}

fn wrong<T>(value: &Value<'_>, message: impl Into<String>) -> Result<T, Wrong> {
    Err((value.span(), message.into()))
}

fn table_of<'v, 't>(value: &'v Value<'t>, what: &str) -> Result<&'v DeTable<'t>, Wrong> {
    match value.get_ref() {
        DeValue::Table(table) => Ok(table),
        _ => wrong(value, format!("{what} is a table")),
    }
}

fn string(value: &Value<'_>, what: &str) -> Result<String, Wrong> {
    match value.get_ref() {
        DeValue::String(text) if !text.trim().is_empty() => Ok(text.to_string()),
        _ => wrong(value, format!("{what} is a string that says something")),
    }
}

fn number(value: &Value<'_>, what: &str, most: u64) -> Result<u64, Wrong> {
    let number = value.get_ref().as_integer().and_then(|integer| {
        u64::from_str_radix(integer.as_str(), integer.radix())
            .ok()
            .filter(|number| *number <= most)
    });
    match number {
        Some(number) => Ok(number),
        None => wrong(
            value,
            format!("{what} is an integer from 0 to {most:#x}, like 0x1"),
        ),
    }
}

/// Calls `entry` with each key and value; it gives false for a key that it does not know.
fn each<'v, 't>(
    table: &'v DeTable<'t>,
    known: &str,
    mut entry: impl FnMut(&str, &'v Value<'t>) -> Result<bool, Wrong>,
) -> Result<(), Wrong> {
    for (key, value) in table.iter() {
        if !entry(key.get_ref(), value)? {
            let message = format!("no key `{}` here: there are {known}", key.get_ref());
            return Err((key.span(), message));
        }
    }
    Ok(())
}

fn needed<T>(value: Option<T>, what: &str) -> Result<T, Wrong> {
    value.ok_or_else(|| (0..0, format!("{what} is missing")))
}

fn model(table: &DeTable<'_>) -> Result<Model, Wrong> {
    let (mut name, mut description) = (None, None);
    let (mut mitigations, mut found, mut differences) = (None, None, Vec::new());
    let known = "name, description, mitigations, registers and difference";
    each(table, known, |key, value| {
        match key {
            "name" => name = Some(string(value, "name")?),
            "description" => description = Some(string(value, "description")?),
            "mitigations" => mitigations = Some(self::mitigations(value)?),
            "registers" => found = Some(Registers::read(value)?),
            "difference" => differences = self::differences(value)?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    let found = needed(found, "[registers]")?;
    found.check(&differences)?;
    let register = |name: &str| found.other.iter().find(|other| other.0 == name);
    let optional = |name| register(name).map_or(0, |(_, value)| *value);
    let required = |name| needed(register(name).map(|(_, value)| *value), name);
    Ok(Model {
        name: needed(name, "name")?,
        description: description.unwrap_or_default(),
        midr: required("MIDR_EL1")?,
        revidr: optional("REVIDR_EL1"),
        aidr: optional("AIDR_EL1"),
        ctr: needed(found.id(registers::CTR), "CTR_EL0")? | CTR_RES1,
        dczid: required("DCZID_EL0")?,
        sctlr: required("SCTLR_EL1")?,
        mitigations: needed(mitigations, "[mitigations]")?,
        id: found
            .id
            .iter()
            .map(|claim| (claim.register, claim.value))
            .filter(|(register, _)| *register != registers::CTR)
            .collect(),
        differences: differences.into_iter().map(|(_, row)| row).collect(),
    })
}

fn mitigations(value: &Value<'_>) -> Result<Mitigations, Wrong> {
    let state = |value: &Value<'_>| match value.get_ref().as_str() {
        Some("vulnerable") => Ok(Spectre::Vulnerable),
        Some("mitigated") => Ok(Spectre::Mitigated),
        Some("unaffected") => Ok(Spectre::Unaffected),
        _ => wrong(
            value,
            "this is \"vulnerable\", \"mitigated\" or \"unaffected\"",
        ),
    };
    let (mut v2, mut v4, mut bhb) = (None, None, None);
    let known = "spectre-v2, spectre-v4 and spectre-bhb";
    each(table_of(value, "mitigations")?, known, |key, value| {
        match key {
            "spectre-v2" => v2 = Some(state(value)?),
            "spectre-v4" => v4 = Some(state(value)?),
            "spectre-bhb" => bhb = Some(state(value)?),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    let here = |state: Option<Spectre>, key| {
        state.ok_or_else(|| (value.span(), format!("{key} is missing")))
    };
    Ok(Mitigations {
        v2: here(v2, "spectre-v2")?,
        v4: here(v4, "spectre-v4")?,
        bhb: here(bhb, "spectre-bhb")?,
    })
}

/// The field of this name, `REGISTER.FIELD`.
fn field_by_name(value: &Value<'_>, name: &str) -> Result<&'static Field, Wrong> {
    let Some((register, field)) = name.split_once('.') else {
        return wrong(
            value,
            format!("`{name}` is not REGISTER.FIELD, like ID_AA64PFR0_EL1.EL0"),
        );
    };
    let Some(row) = table::REGISTERS
        .iter()
        .find(|row| row.name == register && is_id(row.encoding))
    else {
        return wrong(value, format!("no ID register is called {register}"));
    };
    match fields_of(row.encoding).find(|row| row.name == field) {
        Some(field) => Ok(field),
        None => wrong(value, no_field(row.encoding, register, field)),
    }
}

fn no_field(register: Encoding, name: &str, field: &str) -> String {
    let names: Vec<&str> = fields_of(register).map(|field| field.name).collect();
    if names.is_empty() {
        return format!("{name}.{field}: {name} has no fields here, only a whole value");
    }
    format!(
        "{name} has no field {field} that is known here: there are {}",
        names.join(", ")
    )
}

type Differences = Vec<(Range<usize>, Difference)>;

fn differences(value: &Value<'_>) -> Result<Differences, Wrong> {
    let DeValue::Array(rows) = value.get_ref() else {
        return wrong(value, "differences are written [[difference]], one each");
    };
    let mut differences = Differences::new();
    for row in rows.iter() {
        let (mut field, mut ours, mut reason) = (None, None, None);
        let known = "field, ours and reason";
        each(table_of(row, "a difference")?, known, |key, value| {
            match key {
                "field" => field = Some(field_by_name(value, &string(value, "field")?)?),
                "ours" => ours = Some(number(value, "ours", 15)?),
                "reason" => reason = Some(string(value, "reason")?),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        let here = |key| (row.span(), format!("the difference has no {key}"));
        let row = (
            row.span(),
            Difference {
                field: *field.ok_or_else(|| here("field"))?,
                ours: ours.ok_or_else(|| here("ours"))?,
                reason: reason.ok_or_else(|| here("reason"))?,
            },
        );
        if differences
            .iter()
            .any(|(_, other)| other.field == row.1.field)
        {
            let name = field_name(&row.1.field);
            return Err((row.0, format!("{name} is listed as a difference twice")));
        }
        differences.push(row);
    }
    Ok(differences)
}

/// What the file says of an ID register.
struct Claim {
    register: Encoding,
    name: &'static str,
    value: u64,
    span: Range<usize>,
    /// Where a field's value is, if it has a place of its own.
    fields: Vec<(&'static Field, Range<usize>)>,
}

/// [registers].
struct Registers {
    id: Vec<Claim>,
    /// Those that have no fields here.
    other: Vec<(&'static str, u64)>,
}

impl Registers {
    fn read(value: &Value<'_>) -> Result<Registers, Wrong> {
        let mut registers = Registers {
            id: Vec::new(),
            other: Vec::new(),
        };
        for (key, value) in table_of(value, "registers")?.iter() {
            let name = &**key.get_ref();
            if let Some(other) = other(name, value)? {
                registers.other.push(other);
                continue;
            }
            let mut rows = table::REGISTERS.iter();
            let Some(row) = rows.find(|row| row.name == name && is_id(row.encoding)) else {
                let message = format!(
                    "a model has no register {name}: there are the ID registers by the manual's \
                     names, CTR_EL0, MIDR_EL1, REVIDR_EL1, AIDR_EL1, DCZID_EL0 and SCTLR_EL1"
                );
                return Err((key.span(), message));
            };
            registers.id.push(claim(row.encoding, row.name, value)?);
        }
        Ok(registers)
    }

    fn id(&self, register: Encoding) -> Option<u64> {
        let mut claims = self.id.iter();
        claims
            .find(|claim| claim.register == register)
            .map(|claim| claim.value)
    }

    /// Holds each claim against what the software CPU can do.
    fn check(&self, differences: &Differences) -> Result<(), Wrong> {
        for claim in self.id.iter().filter(|claim| !is_aarch32(claim.register)) {
            let res1 = if claim.register == registers::CTR {
                CTR_RES1
            } else {
                0
            };
            let mut unknown = claim.value & !res1;
            for field in fields_of(claim.register) {
                unknown &= !field.mask();
                claim.check(field, differences)?;
            }
            if unknown != 0 {
                let (low, high) = (unknown.trailing_zeros(), 63 - unknown.leading_zeros());
                let name = claim.name;
                let message = format!(
                    "{name} has bits that no field known here has, {unknown:#x} (among {high}:{low}): \
                     the software CPU can do nothing for them, so they are 0 in a model"
                );
                return Err((claim.span.clone(), message));
            }
        }
        for (span, row) in differences {
            let host = row.field.get(self.id(row.field.register).unwrap_or(0));
            if hidden(&row.field) || row.field.number(host) <= row.field.number(most(&row.field)) {
                let message = format!(
                    "{} is no difference: the software CPU can do what the model says, {host:#x}",
                    field_name(&row.field)
                );
                return Err((span.clone(), message));
            }
        }
        Ok(())
    }
}

impl Claim {
    fn check(&self, field: &'static Field, differences: &Differences) -> Result<(), Wrong> {
        let (host, most) = (field.get(self.value), most(field));
        if hidden(field) || field.number(host) <= field.number(most) {
            return Ok(());
        }
        let name = field_name(field);
        let own = self.fields.iter().find(|(other, _)| *other == field);
        match differences.iter().find(|(_, row)| row.field == *field) {
            Some((_, row)) if row.ours == most => Ok(()),
            Some((span, row)) => Err((
                span.clone(),
                format!(
                    "{name}: ours is {most:#x}, not {:#x}: that is what the software CPU can do",
                    row.ours
                ),
            )),
            None => Err((
                own.map_or(self.span.clone(), |(_, span)| span.clone()),
                format!(
                    "{name} is {host:#x}, and the software CPU can do {most:#x} at most: say {most:#x}, \
                     or list it as a [[difference]] with ours = {most:#x} and a reason"
                ),
            )),
        }
    }
}

/// A register whose value is the model's alone; none if `name` is another's.
fn other(name: &str, value: &Value<'_>) -> Result<Option<(&'static str, u64)>, Wrong> {
    let all = [
        ("MIDR_EL1", u32::MAX.into()),
        ("REVIDR_EL1", u64::MAX),
        ("AIDR_EL1", u64::MAX),
        ("DCZID_EL0", DCZID_MOST),
        ("SCTLR_EL1", u64::MAX),
    ];
    let Some((name, most)) = all.into_iter().find(|(other, _)| *other == name) else {
        return Ok(None);
    };
    let number = number(value, name, most)?;
    if name == "SCTLR_EL1" && number & SCTLR_I_C_M != 0 {
        return wrong(
            value,
            "SCTLR_EL1.I, C and M (bits 12, 2 and 0) are 0 out of reset",
        );
    }
    Ok(Some((name, number)))
}

fn claim(register: Encoding, name: &'static str, value: &Value<'_>) -> Result<Claim, Wrong> {
    let mut claim = Claim {
        register,
        name,
        value: 0,
        span: value.span(),
        fields: Vec::new(),
    };
    match value.get_ref() {
        DeValue::Integer(_) => claim.value = number(value, name, u64::MAX)?,
        DeValue::Table(table) => {
            for (key, value) in table.iter() {
                let field_name = &**key.get_ref();
                let Some(field) = fields_of(register).find(|field| field.name == field_name) else {
                    return Err((key.span(), no_field(register, name, field_name)));
                };
                let most = (1 << field.width) - 1;
                let number = number(value, &format!("{name}.{field_name}"), most)?;
                claim.value = field.set(claim.value, number);
                claim.fields.push((field, value.span()));
            }
        }
        _ => {
            return wrong(
                value,
                format!("{name} is an integer, or a table of fields like {{ EL1 = 1, EL0 = 1 }}"),
            );
        }
    }
    Ok(claim)
}
