//! A project in a folder of its own, with stand-ins for cargo and rustc.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const SCRIPTS: [&str; 3] =
    ["scripts/dist.sh", "scripts/profile-inputs.sh", "scripts/lib/profiled.sh"];

const CARGO: &str = r#"#!/bin/sh
printf '%s\n' "$*" "$CARGO_ENCODED_RUSTFLAGS" >>calls
for folder in any-host/dist debug; do
    mkdir -p "${CARGO_TARGET_DIR:-target}/$folder"
    echo built >"${CARGO_TARGET_DIR:-target}/$folder/wire-scim-guard"
done
"#;

pub const RUSTC: &str = "#!/bin/sh\nprintf 'rustc 1.0.0\\nhost: any-host\\n'\n";

const MANIFEST: &str =
    "[package]\nname = \"wire-scim-guard\"\nversion = \"0.1.0\"\n\n[profile.dist]\nlto = \"fat\"\n";

/// A project whose profile fits its sources.
pub struct Project(pub PathBuf);

impl Project {
    pub fn new(name: &str) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = fs::remove_dir_all(&folder);
        let project = Self(folder);
        for script in SCRIPTS {
            project.copy(script);
        }
        project.write("src/main.rs", "fn main() {}\n");
        project.write("Cargo.lock", "version = 4\n");
        project.write("Cargo.toml", MANIFEST);
        project.write("pgo/dist.profdata", "counts");
        project.program("cargo", CARGO);
        project.program("rustc", RUSTC);
        let inputs = project.run("scripts/profile-inputs.sh", &[], &[]).stdout;
        fs::write(project.0.join("pgo/dist.inputs"), inputs).unwrap();
        project
    }

    /// Copies a file of this repository.
    pub fn copy(&self, path: &str) {
        let to = self.0.join(path);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join(path), to).unwrap();
    }

    pub fn write(&self, path: &str, text: &str) {
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.0.join(path)).unwrap()
    }

    pub fn program(&self, path: &str, text: &str) {
        self.write(path, text);
        fs::set_permissions(self.0.join(path), fs::Permissions::from_mode(0o755)).unwrap();
    }

    pub fn run(&self, script: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
        Command::new("bash")
            .arg(self.0.join(script))
            .args(arguments)
            .env_remove("RUSTFLAGS")
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            .env_remove("CARGO_TARGET_DIR")
            .env_remove("PGO")
            .env_remove("BUILD")
            .env_remove("LINK")
            .env("CARGO", self.0.join("cargo"))
            .env("RUSTC", self.0.join("rustc"))
            .envs(variables.iter().copied())
            .output()
            .unwrap()
    }

    pub fn dist(&self, variables: &[(&str, &str)]) -> Output {
        self.run("scripts/dist.sh", &[], variables)
    }

    /// What cargo was called with: its arguments, and the compiler's.
    pub fn calls(&self) -> Vec<String> {
        let calls = fs::read_to_string(self.0.join("calls")).unwrap_or_default();
        calls.lines().map(Into::into).collect()
    }

    pub fn is_built(&self) -> bool {
        self.0.join("target/dist/wire-scim-guard").exists()
    }
}

pub fn error(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}
