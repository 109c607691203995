//! `completions`: the script by which a shell completes the command line.

use std::io::Write;
use std::process::ExitCode;

use clap_complete::Shell;

use super::Outcome;

/// Print the script by which a shell completes this command line.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
                  wire-scim-guard completions bash > /etc/bash_completion.d/wire-scim-guard\n  \
                  wire-scim-guard completions zsh > /usr/local/share/zsh/site-functions/_wire-scim-guard\n  \
                  wire-scim-guard completions fish > ~/.config/fish/completions/wire-scim-guard.fish")]
pub struct Arguments {
    /// The shell that reads the script
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

pub fn run(arguments: &Arguments, out: &mut impl Write) -> Outcome {
    // The generator panics if it cannot write, so that it writes to memory.
    let mut script = Vec::new();
    let mut command = super::command();
    clap_complete::generate(arguments.shell, &mut command, env!("CARGO_PKG_NAME"), &mut script);
    if arguments.shell == Shell::Bash {
        script = with_one_label(&script);
    }
    out.write_all(&script)?;
    Ok(ExitCode::SUCCESS)
}

/// The generator writes the name of a program with hyphens in two ways (clap-rs/clap#6421), and Bash would complete
/// nothing after a subcommand.
fn with_one_label(script: &[u8]) -> Vec<u8> {
    let label = |separator: &str| env!("CARGO_PKG_NAME").replace('-', separator);
    String::from_utf8_lossy(script).replace(&label("__subcmd__"), &label("__")).into_bytes()
}
