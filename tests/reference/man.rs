//! Manual pages.

use std::path::Path;
use std::process::Command;

use super::run;

#[test]
fn every_command_has_a_manual_page_that_renders_without_a_warning() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("reference-man/man1");
    let _ = std::fs::remove_dir_all(&folder);
    let (code, out, err) = run(&["man", folder.to_str().unwrap()]);
    assert_eq!((code, err.as_str()), (0, ""));
    let printed: Vec<&Path> = out.lines().map(Path::new).collect();
    let mut written: Vec<_> =
        std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    written.sort();
    let mut sorted = printed.clone();
    sorted.sort();
    assert_eq!(sorted, written);
    for (page, command) in [
        ("wire-scim-guard", &[][..]),
        ("wire-scim-guard-serve", &["serve"]),
        ("wire-scim-guard-config", &["config"]),
        ("wire-scim-guard-config-check", &["config", "check"]),
        ("wire-scim-guard-token-create", &["token", "create"]),
        ("wire-scim-guard-man", &["man"]),
    ] {
        let path = folder.join(format!("{page}.1"));
        assert!(printed.contains(&&*path), "{page} is not among {out}");
        let shown = render(&path);
        // The first sentence of the help, the name by which whatis finds the page, and the command as it is typed.
        let help = run(&[command, &["--help"]].concat()).1;
        let sentence = help.lines().next().unwrap().split_whitespace().take(5);
        let flat = shown.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(flat.contains(&sentence.collect::<Vec<_>>().join(" ")), "{page}: {shown}");
        assert!(flat.contains(&format!("NAME {page} - ")), "{page}: {shown}");
        let typed = [&["SYNOPSIS wire-scim-guard"], command].concat().join(" ");
        assert!(flat.contains(&typed), "{page}: {shown}");
    }
    for path in &written {
        render(path);
    }
    // Each command that the help lists has its page.
    let commands = |help: &str| -> Vec<String> {
        let listed = help.split("Commands:\n").nth(1).unwrap_or_default();
        let lines = listed.lines().take_while(|line| line.starts_with("  "));
        let names = lines
            .filter(|line| !line.starts_with("   "))
            .filter_map(|line| line.split_whitespace().next());
        names.filter(|name| *name != "help").map(str::to_owned).collect()
    };
    let mut expected = 1;
    for command in commands(&run(&["--help"]).1) {
        let below = commands(&run(&[&command, "--help"]).1);
        let below: Vec<String> = below.iter().map(|below| format!("{command}-{below}")).collect();
        for page in below.into_iter().chain([command]) {
            assert!(folder.join(format!("wire-scim-guard-{page}.1")).exists(), "{page}");
            expected += 1;
        }
    }
    assert_eq!(written.len(), expected);
    std::fs::remove_dir_all(folder.parent().unwrap()).unwrap();
}

/// The page as people see it.
fn render(path: &Path) -> String {
    let output = Command::new("groff")
        .args(["-man", "-Tutf8", "-ww", "-rLL=200n", "-P-c", "-P-b", "-P-u"])
        .arg(path)
        .output()
        .unwrap();
    let warnings = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && warnings.is_empty(), "{}: {warnings}", path.display());
    String::from_utf8(output.stdout).unwrap().replace(['\u{2010}', '\u{2212}'], "-")
}

#[test]
fn a_folder_that_cannot_be_written_is_one_sentence() {
    let (code, out, err) = run(&["man", "/dev/null/man1"]);
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(
        err.starts_with("/dev/null/man1: cannot be written: ") && err.lines().count() == 1,
        "{err}"
    );
}
