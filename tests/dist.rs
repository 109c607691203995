//! `make dist` never uses a profile of other sources unnoticed, and `make release` gives what it says. Cargo, rustc and what is
//! made of the program are stand-ins here that record what they are asked for.
#![allow(clippy::unwrap_used, reason = "a test stops at what it does not expect")]

#[path = "dist/project.rs"]
mod project;
#[path = "dist/release.rs"]
mod release;

use std::fs;
use std::path::Path;

use crate::project::{Project, RUSTC, error};

#[test]
fn a_fresh_profile_is_used_together_with_the_flags_of_the_environment() {
    let project = Project::new("fresh");
    let output = project.dist(&[("RUSTFLAGS", "-Ctarget-cpu=native -Cforce-frame-pointers")]);
    assert!(output.status.success(), "{}", error(&output));
    let [arguments, flags] = &project.calls()[..] else { panic!("{:?}", project.calls()) };
    assert_eq!(arguments, "build --profile dist --target any-host --bin wire-scim-guard");
    let flags: Vec<&str> = flags.split('\x1f').collect();
    assert_eq!(flags[..2], ["-Ctarget-cpu=native", "-Cforce-frame-pointers"]);
    let profile = flags[2].strip_prefix("-Cprofile-use=").unwrap();
    assert!(Path::new(profile).is_absolute());
    assert_eq!(fs::read_to_string(profile).unwrap(), "counts");
    assert!(project.is_built());
}

#[test]
fn another_profile_is_another_flag_so_that_cargo_builds_again() {
    let project = Project::new("again");
    assert!(project.dist(&[]).status.success());
    project.write("pgo/dist.profdata", "other counts");
    assert!(project.dist(&[]).status.success());
    let calls = project.calls();
    assert_ne!(calls[1], calls[3]);
}

#[test]
fn a_stale_profile_is_refused_with_both_remedies() {
    type Change = fn(&Project);
    let changes: [(&str, Change); 6] = [
        ("source", |project| project.write("src/main.rs", "fn main() { loop {} }\n")),
        ("new-source", |project| project.write("src/other.rs", "")),
        ("lock", |project| project.write("Cargo.lock", "version = 5\n")),
        ("profile-section", |project| {
            project
                .write("Cargo.toml", "[package]\nname = \"any\"\n\n[profile.dist]\nlto = false\n");
        }),
        ("compiler", |project| project.program("rustc", &RUSTC.replace("1.0.0", "1.1.0"))),
        ("no-inputs", |project| fs::remove_file(project.0.join("pgo/dist.inputs")).unwrap()),
    ];
    for (name, change) in changes {
        let project = Project::new(name);
        change(&project);
        let output = project.dist(&[]);
        let error = error(&output);
        assert!(!output.status.success(), "{name}");
        assert!(error.contains("`make pgo`") && error.contains("`make dist PGO=off`"), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
        assert!(project.calls().is_empty() && !project.is_built(), "{name}");
    }
}

#[test]
fn changes_outside_the_compiled_sources_keep_a_profile_fresh() {
    let project = Project::new("not-compiled");
    project.write("Cargo.toml", "[package]\nname = \"other\"\n\n[profile.dist]\nlto = \"fat\"\n");
    project.write("README.md", "changed");
    assert!(project.dist(&[]).status.success());
}

#[test]
fn a_build_without_a_profile_succeeds_and_reports_it() {
    let project = Project::new("off");
    project.write("src/main.rs", "fn main() { loop {} }\n");
    let output = project.dist(&[("PGO", "off"), ("RUSTFLAGS", "-Ctarget-cpu=native")]);
    assert!(output.status.success());
    assert!(error(&output).contains("without a profile (PGO=off)"), "{}", error(&output));
    assert_eq!(project.calls()[1], "-Ctarget-cpu=native");
    assert!(project.is_built());
    assert!(!project.dist(&[("PGO", "maybe")]).status.success());
    fs::remove_file(project.0.join("pgo/dist.profdata")).unwrap();
    let output = project.dist(&[]);
    assert!(output.status.success());
    assert!(error(&output).contains("there is no profile yet (`make pgo`"), "{}", error(&output));
}

#[test]
fn a_static_program_differs_in_the_last_step_only() {
    let project = Project::new("static");
    assert!(project.dist(&[("LINK", "static")]).status.success());
    let [arguments, flags] = &project.calls()[..] else { panic!("{:?}", project.calls()) };
    let step = "rustc --profile dist --target any-host --bin wire-scim-guard -- -Ctarget-feature=+crt-static";
    assert_eq!(arguments, step);
    assert!(flags.starts_with("-Cprofile-use="), "{flags}");
    assert_eq!(project.read("target/dist-static/wire-scim-guard"), "built\n");
    assert!(!project.is_built());
}

#[test]
fn a_static_program_for_tests_needs_no_profile_and_leaves_the_other_one_in_its_place() {
    let project = Project::new("debug");
    project.write("src/main.rs", "fn main() { loop {} }\n");
    let output = project.dist(&[("LINK", "static"), ("BUILD", "debug")]);
    assert!(output.status.success() && output.stderr.is_empty(), "{}", error(&output));
    assert_eq!(project.read("target/debug-static/wire-scim-guard"), "built\n");
    let calls = project.calls();
    assert_eq!(calls[0], "rustc --bin wire-scim-guard -- -Ctarget-feature=+crt-static");
    assert_eq!(calls[2], "build --quiet --bin wire-scim-guard");
    assert!(!project.is_built() && !project.dist(&[("BUILD", "fast")]).status.success());
}

/// Ordinary builds call the compiler directly, so that the user's own RUSTC_WRAPPER keeps working.
#[test]
fn the_project_sets_no_compiler_wrapper() {
    for name in [".cargo/config.toml", ".cargo/config"] {
        assert!(!Path::new(env!("CARGO_MANIFEST_DIR")).join(name).exists(), "{name}");
    }
}
