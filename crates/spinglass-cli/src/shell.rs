//! What a shell and `man` want to know of the commands: made from what the parser knows.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::{Args, CommandFactory as _};
use clap_complete::Shell;
use serde::Serialize;

use crate::output::{Format, Verdict, write};

/// Options of `completions`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  spinglass completions bash > ~/.local/share/bash-completion/completions/spinglass
  spinglass completions zsh > ~/.zfunc/_spinglass
  spinglass completions fish > ~/.config/fish/completions/spinglass.fish")]
pub(crate) struct Completions {
    /// The shell
    shell: Shell,
}

/// Options of `man`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  spinglass man /usr/local/share/man/man1     then: man spinglass, man spinglass-agent")]
pub(crate) struct Man {
    /// The folder in which to write a page for each command; made if it is not there
    folder: PathBuf,
}

/// What `man --json` prints.
#[derive(Debug, Serialize)]
struct Written {
    folder: PathBuf,
    pages: usize,
}

/// Prints what completes the commands in a shell.
///
/// # Errors
/// Standard output can't be written.
pub(crate) fn completions(options: &Completions) -> Result<Verdict> {
    let mut script = Vec::new();
    clap_complete::generate(options.shell, &mut crate::Cli::command(), "spinglass", &mut script);
    write(&script)?;
    Ok(Verdict::Good)
}

/// Writes a page of the manual for each command.
///
/// # Errors
/// The folder can't be made or written.
pub(crate) fn man(options: &Man, format: Format) -> Result<Verdict> {
    let folder = &options.folder;
    let failed = || format!("{} can't be written", folder.display());
    std::fs::create_dir_all(folder).with_context(failed)?;
    // `spinglass help send` is `spinglass send --help`: no page says more.
    let command = crate::Cli::command().disable_help_subcommand(true);
    clap_mangen::generate_to(command, folder).with_context(failed)?;
    let files = std::fs::read_dir(folder).with_context(failed)?.flatten();
    let pages = files.filter(|file| file.file_name().to_string_lossy().starts_with("spinglass"));
    let pages = pages.count();
    format.print(&Written { folder: folder.clone(), pages }, |written| {
        format!("{} pages in {}\n", written.pages, written.folder.display())
    })?;
    Ok(Verdict::Good)
}
