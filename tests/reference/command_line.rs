//! `docs/command-line.md`, and completions.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command as Process, Stdio};

use clap::{Arg, Command};

use super::{is_current, run};

#[test]
fn the_page_of_the_command_line_is_current() {
    let mut program = wire_scim_guard::cli::command().disable_help_subcommand(true);
    program.build();
    let mut text = String::from(
        "# Command line\n\nEvery command has `--help` and `--version`. Errors go to standard error, one sentence each.\n\n\
         | command | what it does |\n|---|---|\n",
    );
    let leaves = leaves(&program);
    for command in &leaves {
        let name = command.get_bin_name().unwrap();
        let about = command.get_about().unwrap();
        writeln!(text, "| [`{name}`](#{}) | {} |", name.replace(' ', "-"), inline(&about)).unwrap();
    }
    text.push_str("\nExit codes: 0 success; 1 refused (`check`), differences (`compare`), or failed while running; 2 unusable \
                   arguments, input or config.\n");
    for command in leaves {
        section(&mut text, command);
    }
    is_current("docs/command-line.md", &text);
}

/// The commands that do something, in the order of the help.
fn leaves(command: &Command) -> Vec<&Command> {
    let shown: Vec<&Command> =
        command.get_subcommands().filter(|command| !command.is_hide_set()).collect();
    match shown.is_empty() {
        true => vec![command],
        false => shown.into_iter().flat_map(leaves).collect(),
    }
}

fn section(text: &mut String, command: &Command) {
    let about = command.get_long_about().or(command.get_about()).unwrap();
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").replace("\n       ", "\n");
    writeln!(text, "\n## {}\n", command.get_bin_name().unwrap()).unwrap();
    writeln!(text, "{}\n\n```text\n{usage}\n```\n", prose(&about.to_string())).unwrap();
    let shown = command.get_arguments().filter(|argument| {
        !argument.is_hide_set() && !["help", "version"].contains(&argument.get_id().as_str())
    });
    let mut shown: Vec<&Arg> = shown.collect();
    shown.sort_by_key(|argument| !argument.is_positional());
    for argument in &shown {
        let help = argument.get_long_help().or(argument.get_help()).unwrap();
        write!(text, "- `{argument}`: {}", inline(&help)).unwrap();
        let values: Vec<String> = argument
            .get_possible_values()
            .iter()
            .filter(|value| argument.get_action().takes_values() && !value.is_hide_set())
            .map(|value| format!("`{}`", value.get_name()))
            .collect();
        if !values.is_empty() {
            write!(text, "; one of {}", values.join(", ")).unwrap();
        }
        let takes_values = argument.get_action().takes_values();
        if let ([default], true) = (argument.get_default_values(), takes_values) {
            write!(text, "; default: `{}`", default.to_str().unwrap()).unwrap();
        }
        if argument.is_required_set() {
            text.push_str(" (required)");
        }
        text.push('\n');
    }
    if let Some(after) = command.get_after_help() {
        let gap = if shown.is_empty() { "" } else { "\n" };
        writeln!(text, "{gap}```text\n{after}\n```").unwrap();
    }
}

/// Help as one line of Markdown.
fn inline(help: &impl ToString) -> String {
    prose(&help.to_string().split_whitespace().collect::<Vec<_>>().join(" "))
}

/// Plain text as Markdown: what is no code must not become markup.
fn prose(text: &str) -> String {
    let parts = text.split('`').enumerate().map(|(nth, part)| match nth % 2 {
        0 => part.replace('<', "\\<").replace('*', "\\*").replace('|', "\\|"),
        _ => part.to_owned(),
    });
    parts.collect::<Vec<_>>().join("`")
}

#[test]
fn completions_are_scripts_that_their_shells_read() {
    for shell in ["bash", "zsh", "fish"] {
        let (code, script, err) = run(&["completions", shell]);
        assert_eq!((code, err.as_str()), (0, ""), "{shell}");
        for word in ["deprovisioning", "completions", "bridge-config", "as-served"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
        let mut child = Process::new(shell)
            .args(["-n", "/dev/stdin"])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{shell}: {error}"));
        child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.is_empty(), "{shell}: {said}");
    }
    let (code, out, err) = run(&["completions", "cmd"]);
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(err.contains("possible values: bash, elvish, fish, powershell, zsh"), "{err}");
}

#[test]
fn bash_completes_commands_options_and_words() {
    let (_, script, _) = run(&["completions", "bash"]);
    let complete = |line: &str| {
        let words: Vec<String> = line.split(' ').map(|word| format!("'{word}'")).collect();
        let ask = format!(
            "{script}\nCOMP_WORDS=({}); COMP_CWORD={}\n_wire__scim__guard wire-scim-guard \"${{COMP_WORDS[-1]}}\" \
             \"${{COMP_WORDS[-2]}}\"\necho \"${{COMPREPLY[*]}}\"",
            words.join(" "),
            words.len() - 1
        );
        let output = Process::new("bash").args(["--norc", "-c", &ask]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    assert_eq!(complete("wire-scim-guard conf"), "config");
    assert_eq!(complete("wire-scim-guard config sch"), "schema");
    assert_eq!(complete("wire-scim-guard check --prof"), "--profile");
    assert_eq!(complete("wire-scim-guard check --profile as"), "as-served");
}
