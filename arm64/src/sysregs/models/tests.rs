use super::*;
use crate::sysregs::id::fields::{self, FIELDS};

/// A model of a user's, with a line of its own in [registers] and more at the end.
fn file(registers: &str, more: &str) -> String {
    format!(
        "name = \"mine\"\n\
         [mitigations]\n\
         spectre-v2 = \"unaffected\"\n\
         spectre-v4 = \"unaffected\"\n\
         spectre-bhb = \"unaffected\"\n\
         [registers]\n\
         MIDR_EL1 = 0x410f_d000\n\
         CTR_EL0 = 0x8444_c004\n\
         DCZID_EL0 = 4\n\
         SCTLR_EL1 = 0x00c5_0078\n\
         {registers}\n\
         {more}\n"
    )
}

fn refusal(text: &str) -> String {
    let error = Model::parse("mine.toml", text).expect_err(text);
    error.to_string()
}

#[test]
fn the_models_that_come_with_it_are_well_formed() {
    let mut names = Vec::new();
    for model in ALL {
        assert!(!model.description.is_empty());
        assert!(!names.contains(&&model.name), "{}", model.name);
        names.push(&model.name);
    }
    // The default comes first.
    assert_eq!(names[0], "neoverse-n1");
    assert_eq!(
        NEOVERSE_N1.id(registers::ID_AA64PFR0),
        0x1100_0000_1111_0112
    );
    assert_eq!(NEOVERSE_N1.id(registers::ID_AA64DFR0), 0x1_1030_5408);
    assert_eq!(NEOVERSE_N1.ctr, 0x9444_c004);
}

/// What the software CPU can do and `max` does not say.
const LESS_THAN_MOST: &[(Field, &str)] = &[
    (fields::PFR0_EL3, "there is no Secure state"),
    (
        fields::ISAR1_APA,
        "the quicker algorithm: one excludes the other",
    ),
    (fields::ISAR1_GPA, "as APA"),
    (fields::MMFR0_BIGENDEL0, "BigEnd says it for all levels"),
    (fields::MMFR0_SNSMEM, "there is no Secure state"),
    (
        fields::MMFR1_SPECSEI,
        "speculation raises no SError interrupt",
    ),
    (fields::CTR_CWG, "lines are 64 bytes"),
    (fields::CTR_ERG, "lines are 64 bytes"),
    (fields::CTR_DMINLINE, "lines are 64 bytes"),
    (fields::CTR_IMINLINE, "lines are 64 bytes"),
];

/// Whoever implements more raises the field's row, and this model.
#[test]
fn max_is_all_that_the_software_cpu_can_do() {
    for field in FIELDS {
        let value = field.get(MAX.id(field.register));
        let less = LESS_THAN_MOST.iter().any(|(other, _)| other == field);
        assert_eq!(value != most(field), less, "{}", field_name(field));
    }
}

#[test]
fn registers_are_values_or_tables_of_fields() {
    let whole = file("ID_AA64ISAR0_EL1 = 0x0000_1000_1021_0000", "");
    let whole = Model::parse("mine.toml", &whole).expect("a model");
    let fields = file(
        "ID_AA64ISAR0_EL1 = { DP = 1, RDM = 1, Atomic = 2, CRC32 = 1 }",
        "",
    );
    let fields = Model::parse("mine.toml", &fields).expect("a model");
    assert_eq!(whole.id, fields.id);
    let all_bits = file("ID_AA64MMFR0_EL1 = { TGran4 = 0xf, TGran64 = 0xf }", "");
    let signed = Model::parse("mine.toml", &all_bits).expect("all ones are -1");
    assert_eq!(
        fields::MMFR0_TGRAN4.get(signed.id(registers::ID_AA64MMFR0)),
        15
    );
}

#[test]
fn what_the_software_cpu_cannot_do_is_refused_by_name() {
    for registers in [
        "ID_AA64ISAR1_EL1 = { SPECRES = 1 }",
        "ID_AA64ISAR1_EL1 = 0x0000_0100_0000_0000",
    ] {
        let refusal = refusal(&file(registers, ""));
        assert!(refusal.starts_with("mine.toml:11:"), "{refusal}");
        assert!(
            refusal.contains("ID_AA64ISAR1_EL1.SPECRES is 0x1"),
            "{refusal}"
        );
        assert!(refusal.contains("0x0 at most"), "{refusal}");
    }
    let owned_up = "[[difference]]\n\
                    field = \"ID_AA64ISAR1_EL1.SPECRES\"\nours = 0\nreason = \"no such instructions\"";
    let text = file("ID_AA64ISAR1_EL1 = { SPECRES = 1 }", owned_up);
    let model = Model::parse("mine.toml", &text).expect("it owns up to it");
    assert_eq!(model.differences[0].field, fields::ISAR1_SPECRES);

    let wrong = owned_up.replace("ours = 0", "ours = 1");
    let refused = refusal(&file("ID_AA64ISAR1_EL1 = { SPECRES = 1 }", &wrong));
    assert!(
        refused.contains("SPECRES: ours is 0x0, not 0x1"),
        "{refused}"
    );
    let refused = refusal(&file("", owned_up));
    assert!(refused.contains("SPECRES is no difference"), "{refused}");
    let refused = refusal(&file("ID_AA64DFR0_EL1 = { BRPs = 6, DebugVer = 6 }", ""));
    assert!(refused.contains("ID_AA64DFR0_EL1.BRPs is 0x6"), "{refused}");
    // What KVM hides from every VM is not held against the model.
    let hidden = file("ID_AA64PFR0_EL1 = { AMU = 1, MPAM = 1 }", "");
    assert!(Model::parse("mine.toml", &hidden).is_ok());
}

#[test]
fn bad_files_are_refused_with_line_and_remedy() {
    for (registers, more, expected) in [
        (
            "ID_AA64DFR0_EL1 = 0x0000_0100_0000_0006",
            "",
            "mine.toml:11:19: ID_AA64DFR0_EL1 has bits",
        ),
        (
            "ID_AA64PFR9_EL1 = 1",
            "",
            "mine.toml:11:1: a model has no register ID_AA64PFR9_EL1",
        ),
        ("TTBR0_EL1 = 1", "", "no register TTBR0_EL1"),
        (
            "ID_AA64PFR0_EL1 = { EL9 = 1 }",
            "",
            "mine.toml:11:21: ID_AA64PFR0_EL1 has no field EL9",
        ),
        (
            "ID_AA64PFR0_EL1 = { EL0 = 16 }",
            "",
            "mine.toml:11:27: ID_AA64PFR0_EL1.EL0 is an integer from 0 to 0xf",
        ),
        (
            "ID_AA64PFR0_EL1 = { EL0 = -1 }",
            "",
            "ID_AA64PFR0_EL1.EL0 is an integer",
        ),
        (
            "ID_AA64PFR0_EL1 = \"1\"",
            "",
            "mine.toml:11:19: ID_AA64PFR0_EL1 is an integer, or a table",
        ),
        ("ID_PFR0_EL1 = { State0 = 1 }", "", "only a whole value"),
        ("DCZID_EL0 = 4", "", "mine.toml:11:1: duplicate key"),
        (
            "ID_PFR0_EL1 = 0x1_0000_0000_0000_0000",
            "",
            "ID_PFR0_EL1 is an integer",
        ),
        ("ID_PFR0_EL1 =", "", "mine.toml:11:"),
        (
            "",
            "[nothing]",
            "mine.toml:12:2: no key `nothing` here: there are name,",
        ),
        (
            "",
            "[[difference]]\nfield = \"CTR_EL0.IDC\"\nours = 0",
            "mine.toml:12:1: the difference has no reason",
        ),
        (
            "",
            "[[difference]]\nfield = \"IDC\"",
            "mine.toml:13:9: `IDC` is not REGISTER.FIELD",
        ),
        (
            "",
            "[[difference]]\nfield = \"X.IDC\"",
            "no ID register is called X",
        ),
        (
            "",
            "[difference]\nfield = \"CTR_EL0.IDC\"",
            "differences are written [[difference]]",
        ),
        ("", "difference = [1]", "mine.toml:12:"),
    ] {
        let refusal = refusal(&file(registers, more));
        assert!(refusal.contains(expected), "{refusal}\nand not: {expected}");
    }
    let good = file("", "");
    assert!(Model::parse("mine.toml", &good).is_ok());
    for (line, instead, expected) in [
        ("name = \"mine\"", "", "name is missing"),
        (
            "name = \"mine\"",
            "name = 1",
            "mine.toml:1:8: name is a string",
        ),
        ("MIDR_EL1 = 0x410f_d000", "", "MIDR_EL1 is missing"),
        ("CTR_EL0 = 0x8444_c004", "", "CTR_EL0 is missing"),
        (
            "DCZID_EL0 = 4",
            "DCZID_EL0 = 10",
            "mine.toml:9:13: DCZID_EL0 is an integer from 0 to 0x9",
        ),
        ("0x00c5_0078", "0x00c5_0079", "SCTLR_EL1.I, C and M"),
        (
            "spectre-v4 = \"unaffected\"",
            "",
            "mine.toml:2:1: spectre-v4 is missing",
        ),
        (
            "spectre-v4 = \"unaffected\"",
            "spectre-v4 = \"no\"",
            "\"vulnerable\", \"mitigated\"",
        ),
    ] {
        let refusal = refusal(&good.replace(line, instead));
        assert!(refusal.contains(expected), "{refusal}\nand not: {expected}");
    }
    assert!(refusal("").contains("[registers] is missing"));
    let absent = Model::load(Path::new("/nonexistent/model.toml")).expect_err("absent");
    assert!(absent.to_string().starts_with("/nonexistent/model.toml: "));
}
