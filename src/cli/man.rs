//! `man`: manual pages, one for each command.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Command;
use clap_mangen::Man;
use clap_mangen::roff::{Inline, Roff, roman};

use super::{Failure, Outcome};

/// Write the manual pages of all commands to a folder.
///
/// The folder is created if it is missing. Prints the path of each page.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: wire-scim-guard man /usr/local/share/man/man1")]
pub struct Arguments {
    /// The folder for the pages
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

pub fn run(arguments: &Arguments, out: &mut impl Write) -> Outcome {
    let folder = &arguments.folder;
    let failed = |path: &Path, error: &io::Error| {
        Failure::Unusable(format!("{}: cannot be written: {error}", path.display()))
    };
    std::fs::create_dir_all(folder).map_err(|error| failed(folder, &error))?;
    let mut program = super::command().disable_help_subcommand(true);
    program.build();
    for command in with_subcommands(&program) {
        let path = folder.join(format!("{}.1", page_name(command)));
        let page = render(command)?;
        std::fs::write(&path, page).map_err(|error| failed(&path, &error))?;
        writeln!(out, "{}", path.display())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The command and all below it that help shows.
fn with_subcommands(command: &Command) -> Vec<&Command> {
    let shown = command.get_subcommands().filter(|command| !command.is_hide_set());
    std::iter::once(command).chain(shown.flat_map(with_subcommands)).collect()
}

/// `wire-scim-guard-config-check`, as `man` and `whatis` look for it.
fn page_name(command: &Command) -> &str {
    command.get_display_name().unwrap_or_else(|| command.get_name())
}

fn render(command: &Command) -> io::Result<Vec<u8>> {
    let source = concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION"));
    let man = Man::new(command.clone()).source(source).manual("User Commands");
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    // The name by which `whatis` finds the page, and the command as it is typed.
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let usage = command.clone().render_usage().to_string();
    let mut head = Roff::new();
    head.control("SH", ["NAME"]).text([roman(format!("{} - {about}", page_name(command)))]);
    head.control("SH", ["SYNOPSIS"]);
    for line in usage.trim_start_matches("Usage:").lines() {
        head.text([roman(line.trim()), Inline::LineBreak]);
    }
    head.to_writer(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    if let Some(examples) = command.get_after_help() {
        let mut section = Roff::new();
        section.control("SH", ["EXAMPLES"]).control("nf", []);
        for line in examples.to_string().lines() {
            section.text([roman(line)]);
        }
        section.control("fi", []).to_writer(&mut page)?;
    }
    Ok(page)
}
