//! `make release`, in a repository of its own.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use crate::project::{Project, error};

const CHART: &str = "conf/helm/wire-scim-guard/Chart.yaml";

const CHANGELOG: &str = "# Changelog\n\n## Unreleased\n\n### Added\n- Something.\n";

/// One file of the program, instead of packages and an image. Fails where there is a file `faulty`; where there is `unstable`, no
/// two are the same.
const ARTEFACTS: &str = r#"
if [ -e faulty ]; then exit 1; fi
mkdir -p "$3"
cat "$1" "$2" >"$3/program"
[ ! -e unstable ] || echo "$3" >>"$3/program"
(cd "$3" && sha256sum program >SHA256SUMS)
"#;

const TRAINING: &str =
    "scripts/profile-inputs.sh >pgo/dist.inputs\necho trained >pgo/dist.profdata\n";

fn project(name: &str) -> Project {
    let project = Project::new(name);
    for script in ["scripts/release.sh", "scripts/compare-artefacts.py"] {
        project.copy(script);
    }
    project.program("scripts/setup.sh", "#!/bin/bash\n");
    project.program("scripts/artefacts.sh", &format!("#!/bin/bash\n{ARTEFACTS}"));
    project.program("scripts/pgo.sh", &format!("#!/bin/bash\n{TRAINING}"));
    project.write(CHART, "name: wire-scim-guard\nversion: 0.1.0\nappVersion: \"0.1.0\"\n");
    project.write("CHANGELOG.md", CHANGELOG);
    let locked = "name = \"other\"\nversion = \"0.1.0\"\n\nname = \"wire-scim-guard\"\nversion = \"0.1.0\"\n";
    project.write("Cargo.lock", locked);
    project.write("fuzz/Cargo.lock", locked);
    project.write("README.md", "A guard.\n");
    project.write("docs/installing.md", "wire-scim-guard_0.1.0.tar\n");
    project.write("conf/helm/examples/any.yaml", "image: {}\n");
    project.write(".gitignore", "/calls\n/dist\n/target\n/unstable\n");
    git(&project, &["init", "--quiet", "--initial-branch=main"]);
    commit(&project);
    project
}

fn git(project: &Project, arguments: &[&str]) -> String {
    let output =
        Command::new("git").args(arguments).envs(IDENTITY).current_dir(&project.0).output();
    let output = output.unwrap();
    assert!(output.status.success(), "git {arguments:?}: {}", error(&output));
    String::from_utf8(output.stdout).unwrap()
}

const IDENTITY: [(&str, &str); 5] = [
    ("GIT_AUTHOR_NAME", "author"),
    ("GIT_AUTHOR_EMAIL", "author@example.com"),
    ("GIT_COMMITTER_NAME", "author"),
    ("GIT_COMMITTER_EMAIL", "author@example.com"),
    ("GIT_CONFIG_GLOBAL", "/dev/null"),
];

fn commit(project: &Project) {
    git(project, &["add", "--all"]);
    git(project, &["commit", "--quiet", "--message", "A change"]);
}

const MAINTAINER: (&str, &str) = ("MAINTAINER", "Wire operators <operators@example.com>");

fn release(project: &Project, version: &str) -> Output {
    release_by(project, version, MAINTAINER.1)
}

fn release_by(project: &Project, version: &str, maintainer: &str) -> Output {
    let variables = [&IDENTITY[..], &[(MAINTAINER.0, maintainer)]].concat();
    project.run("scripts/release.sh", &[version], &variables)
}

fn tags(project: &Project) -> String {
    git(project, &["tag", "--list"])
}

/// Asserts that nothing is released, and why.
fn fails(project: &Project, version: &str, why: &str) {
    let output = release(project, version);
    assert!(!output.status.success());
    assert!(error(&output).contains(why), "{}", error(&output));
}

#[test]
fn a_release_is_versioned_trained_tagged_and_built_twice() {
    let project = project("release");
    let output = release(&project, "0.2.0");
    assert!(output.status.success(), "{}", error(&output));
    assert!(project.read("Cargo.toml").contains("version = \"0.2.0\""));
    for lock in ["Cargo.lock", "fuzz/Cargo.lock"] {
        let lock = project.read(lock);
        assert!(lock.ends_with("name = \"wire-scim-guard\"\nversion = \"0.2.0\"\n"), "{lock}");
        assert!(lock.starts_with("name = \"other\"\nversion = \"0.1.0\"\n"), "{lock}");
    }
    assert_eq!(
        project.read(CHART),
        "name: wire-scim-guard\nversion: 0.2.0\nappVersion: \"0.2.0\"\n"
    );
    let changelog = project.read("CHANGELOG.md");
    let section = changelog.strip_prefix("# Changelog\n\n## Unreleased\n\n## 0.2.0 - 20").unwrap();
    assert!(section.ends_with("\n\n### Added\n- Something.\n"), "{changelog}");
    // The version is part of Cargo.lock, which the profile is trained with.
    assert_eq!(project.read("pgo/dist.profdata"), "trained\n");
    assert_eq!(git(&project, &["status", "--porcelain"]), "");
    assert_eq!(git(&project, &["log", "-1", "--format=%s"]), "Release 0.2.0\n");
    let head = git(&project, &["rev-parse", "HEAD"]);
    assert_eq!(git(&project, &["rev-parse", "v0.2.0^{commit}"]), head);
    assert_eq!(project.calls().len(), 8);
    assert_eq!(project.read("dist/0.2.0/program"), "built\nbuilt\n");
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(printed.contains("1 files are the same, 0 differ\n"), "{printed}");
    assert!(printed.ends_with(&project.read("dist/0.2.0/SHA256SUMS")), "{printed}");
    assert!(!project.0.join("dist/again").exists());
}

#[test]
fn a_release_can_be_repeated_and_its_tag_does_not_move() {
    let project = project("release-again");
    assert!(release(&project, "0.2.0").status.success());
    let head = git(&project, &["rev-parse", "HEAD"]);
    let output = release(&project, "0.2.0");
    assert!(output.status.success(), "{}", error(&output));
    assert_eq!(git(&project, &["rev-parse", "HEAD"]), head);
    project.write("README.md", "A change.\n");
    commit(&project);
    fails(&project, "0.2.0", "the tag v0.2.0 is another commit: a release that was published");
    fails(&project, "0.3.0", "CHANGELOG.md says nothing about 0.3.0");
    assert_eq!(git(&project, &["status", "--porcelain"]), "");
    let changelog = project.read("CHANGELOG.md").replace("Unreleased\n", "Unreleased\n\n- More.\n");
    project.write("CHANGELOG.md", &changelog);
    commit(&project);
    let output = release(&project, "0.3.0");
    assert!(output.status.success(), "{}", error(&output));
}

#[test]
fn what_is_not_committed_or_not_a_version_is_refused() {
    let project = project("release-refused");
    for version in ["", "1.0", "v1.0.0", "1.0.0; true"] {
        fails(&project, version, "please name the version: make release VERSION=1.2.3");
    }
    for maintainer in ["", "operators", "operators@example.com", "<operators@example.com>"] {
        let output = release_by(&project, "0.2.0", maintainer);
        let wanted = "make release VERSION=0.2.0 MAINTAINER='Name <address>'";
        assert!(!output.status.success() && error(&output).contains(wanted), "{}", error(&output));
    }
    project.write("README.md", "A change.\n");
    fails(&project, "0.2.0", "there are changes that are not committed");
    assert!(project.calls().is_empty());
}

#[test]
fn two_builds_that_differ_are_listed_with_their_parts() {
    let project = project("release-unstable");
    project.write("unstable", "");
    let output = release(&project, "0.2.0");
    assert!(!output.status.success());
    let printed = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(printed.contains("program: differs\n    program: 23 bytes, sha256 "), "{printed}");
    assert!(printed.contains("0 files are the same, 1 differ\n"), "{printed}");
    assert!(error(&output).contains("dist/0.2.0 and dist/again differ"), "{}", error(&output));
    assert_eq!(tags(&project), "");
}

/// Nothing was published under the version, so that what mends the failure can be part of it.
#[test]
fn a_release_that_failed_is_not_tagged_and_can_be_repeated_with_a_correction() {
    for fault in ["faulty", "unstable"] {
        let project = project(&format!("release-{fault}-first"));
        project.write(fault, "");
        assert!(!release(&project, "0.2.0").status.success());
        assert_eq!(tags(&project), "");
        fs::remove_file(project.0.join(fault)).unwrap();
        project.write("README.md", "A correction.\n");
        commit(&project);
        let output = release(&project, "0.2.0");
        assert!(output.status.success(), "{}", error(&output));
        let head = git(&project, &["rev-parse", "HEAD"]);
        assert_eq!(git(&project, &["rev-parse", "v0.2.0^{commit}"]), head);
        assert_eq!(git(&project, &["show", "HEAD:README.md"]), "A correction.\n");
    }
}

/// With the files of this repository that name its version.
#[test]
fn a_release_leaves_no_place_with_the_version_before() {
    let project = project("release-version");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let tracked = Command::new("git").arg("ls-files").current_dir(root).output().unwrap();
    assert!(tracked.status.success(), "{}", error(&tracked));
    let tracked = String::from_utf8(tracked.stdout).unwrap();
    // Tests have versions of their own, and the changelog has those of the past.
    let shipped =
        tracked.lines().filter(|path| !path.starts_with("tests/") && *path != "CHANGELOG.md");
    let old = env!("CARGO_PKG_VERSION");
    let package = format!("name = \"wire-scim-guard\"\nversion = \"{old}\"");
    let mut places = Vec::new();
    for path in shipped {
        let text = fs::read_to_string(root.join(path)).unwrap_or_default();
        if text.contains(&package) || !lines_that_name(old, &text).is_empty() {
            project.copy(path);
            places.push(path);
        }
    }
    project.copy(CHART);
    for place in ["Cargo.lock", "docs/installing.md", "fuzz/Cargo.lock"] {
        assert!(places.contains(&place), "{places:?}");
    }
    commit(&project);
    let output = release(&project, "98.76.54");
    assert!(output.status.success(), "{}", error(&output));
    assert_eq!(project.read(CHART).matches("98.76.54").count(), 2);
    for place in places {
        let text = project.read(place);
        assert_eq!(lines_that_name(old, &text), [""; 0], "{place}");
        assert!(!text.contains(&package) && text.contains("98.76.54"), "{place}");
    }
}

/// The lines with the version of this project: another one's has no name of this project besides.
fn lines_that_name<'a>(version: &str, text: &'a str) -> Vec<&'a str> {
    let is_number = |letter: char| letter.is_ascii_digit() || letter == '.';
    let has = |line: &str| {
        line.split(|letter| !is_number(letter)).any(|number| number.trim_matches('.') == version)
    };
    text.lines().filter(|line| line.contains("wire-scim-guard") && has(line)).collect()
}
