//! `annal completions` and `annal man`: the grammar, for a shell and on paper.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use clap_complete::Shell;
use clap_mangen::Man;
use rustix::fs::Mode;

use super::failure::{End, Failure};
use super::output::{Closed, Printer};
use super::rows::ManRow;
use crate::outcome::Outcome;
use crate::remedy;

/// Prints what a shell needs to complete the commands.
pub(super) fn completions(shell: Shell, mut grammar: clap::Command) -> Result<(), End> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut grammar, "annal", &mut script);
    let mut out = io::stdout().lock();
    out.write_all(&script).and_then(|()| out.flush()).map_err(Closed::from)?;
    Ok(())
}

/// Writes a page for each command.
pub(super) fn man(folder: &Path, grammar: clap::Command, printer: &mut Printer) -> Result<(), End> {
    // Whatever else this program writes is for its user alone. These are for everybody.
    rustix::process::umask(Mode::WGRP | Mode::WOTH);
    let mut grammar = grammar.disable_help_subcommand(true);
    grammar.build();
    let pages = fs::create_dir_all(folder).and_then(|()| write_pages(folder, &grammar, "annal"));
    let pages = pages.map_err(|error| {
        let sentence = format!("the pages cannot be written to {}: {error}", folder.display());
        Failure::new(Outcome::Failed, sentence, remedy::of(&error, "choose another --out"))
    })?;
    Ok(printer.print_now(&ManRow { pages, dir: folder.display().to_string() })?)
}

/// Writes the page of a command and those of all below it. Returns how many.
fn write_pages(folder: &Path, command: &clap::Command, name: &str) -> io::Result<usize> {
    let mut page = Vec::new();
    let named = command.clone().display_name(name.to_owned());
    Man::new(named).title(name).render(&mut page)?;
    fs::write(folder.join(format!("{name}.1")), page)?;
    let mut count = 1;
    for inner in command.get_subcommands().filter(|inner| !inner.is_hide_set()) {
        count += write_pages(folder, inner, &format!("{name}-{}", inner.get_name()))?;
    }
    Ok(count)
}
