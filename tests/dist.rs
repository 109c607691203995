//! `make dist` never silently uses a profile of other sources. Cargo and rustc are replaced by
//! scripts that record how they are called.
#![allow(clippy::unwrap_used, reason = "a test stops at what it does not expect")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const SCRIPTS: [&str; 3] = ["dist.sh", "profile-inputs.sh", "profiled.sh"];

const CARGO: &str = r#"#!/bin/sh
printf '%s\n' "$*" "$CARGO_ENCODED_RUSTFLAGS" >>calls
mkdir -p target/any-host/dist
echo built >target/any-host/dist/wire-scim-guard
"#;

const RUSTC: &str = "#!/bin/sh\nprintf 'rustc 1.0.0\\nhost: any-host\\n'\n";

/// A project in its own folder, with a profile that fits its sources.
struct Project(PathBuf);

impl Project {
    fn new(name: &str) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = fs::remove_dir_all(&folder);
        for folder in ["scripts", "src", "pgo"].map(|name| folder.join(name)) {
            fs::create_dir_all(folder).unwrap();
        }
        let project = Self(folder);
        for script in SCRIPTS {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts").join(script);
            fs::copy(path, project.0.join("scripts").join(script)).unwrap();
        }
        project.write("src/main.rs", "fn main() {}\n");
        project.write("Cargo.lock", "version = 4\n");
        project.write("Cargo.toml", "[package]\nname = \"any\"\n\n[profile.dist]\nlto = \"fat\"\n");
        project.write("pgo/dist.profdata", "counts");
        project.program("cargo", CARGO);
        project.program("rustc", RUSTC);
        let inputs = project.run("scripts/profile-inputs.sh", &[]).stdout;
        fs::write(project.0.join("pgo/dist.inputs"), inputs).unwrap();
        project
    }

    fn write(&self, path: &str, text: &str) {
        fs::write(self.0.join(path), text).unwrap();
    }

    fn program(&self, path: &str, text: &str) {
        self.write(path, text);
        fs::set_permissions(self.0.join(path), fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn run(&self, script: &str, variables: &[(&str, &str)]) -> Output {
        Command::new("bash")
            .arg(self.0.join(script))
            .env_remove("RUSTFLAGS")
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            .env_remove("CARGO_TARGET_DIR")
            .env_remove("PGO")
            .env("CARGO", self.0.join("cargo"))
            .env("RUSTC", self.0.join("rustc"))
            .envs(variables.iter().copied())
            .output()
            .unwrap()
    }

    fn dist(&self, variables: &[(&str, &str)]) -> Output {
        self.run("scripts/dist.sh", variables)
    }

    /// How cargo was called: its arguments, and the compiler's.
    fn calls(&self) -> Vec<String> {
        let calls = fs::read_to_string(self.0.join("calls")).unwrap_or_default();
        calls.lines().map(Into::into).collect()
    }

    fn is_built(&self) -> bool {
        self.0.join("target/dist/wire-scim-guard").exists()
    }
}

fn error(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

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

/// Ordinary builds call the compiler directly, so that the user's own RUSTC_WRAPPER keeps working.
#[test]
fn the_project_sets_no_compiler_wrapper() {
    for name in [".cargo/config.toml", ".cargo/config"] {
        assert!(!Path::new(env!("CARGO_MANIFEST_DIR")).join(name).exists(), "{name}");
    }
}
