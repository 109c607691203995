//! docs/repair.md lists all repairs and presets. `UPDATE_DOCS=1` writes it.

use std::fs;

use wire_scim_guard::repair::Repair;
use wire_scim_guard::repair::ascii::TABLE;
use wire_scim_guard::repair::preset::PRESETS;

const PATH: &str = "docs/repair.md";

/// Inserts a generated part between its markers.
fn replaced(text: &str, mark: &str, part: &str) -> String {
    let start = format!("<!-- {mark} -->\n");
    let (before, rest) = text.split_once(&start).expect("the marker is missing");
    let (_, after) = rest.split_once("<!-- end -->").expect("the end is missing");
    format!("{before}{start}{part}<!-- end -->{after}")
}

fn repairs() -> String {
    let rows = Repair::ALL
        .iter()
        .map(|repair| format!("| `{}` | {} |\n", repair.name(), repair.summary()));
    format!("| Name | What it does |\n|---|---|\n{}", rows.collect::<String>())
}

fn presets() -> String {
    let rows = PRESETS.iter().map(|preset| {
        let names: Vec<String> =
            preset.repairs.iter().map(|repair| format!("`{}`", repair.name())).collect();
        format!("| `{}` | {} | {} |\n", preset.name, preset.client, names.join(", "))
    });
    format!("| Preset | Client | Repairs |\n|---|---|---|\n{}", rows.collect::<String>())
}

fn letters() -> String {
    let rows = TABLE.iter().map(|(to, from)| format!("| `{to}` | {from} |\n"));
    format!("| becomes | letters |\n|---|---|\n{}", rows.collect::<String>())
}

#[test]
fn the_documentation_lists_every_repair_and_preset() {
    let text = fs::read_to_string(PATH).unwrap();
    let expected = replaced(&text, "repairs", &repairs());
    let expected = replaced(&expected, "letters", &letters());
    let expected = replaced(&expected, "presets", &presets());
    let expected = replaced(&expected, "clients", &crate::clients::tables());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(PATH, &expected).unwrap();
    }
    assert_eq!(fs::read_to_string(PATH).unwrap(), expected, "run it with UPDATE_DOCS=1");
}
