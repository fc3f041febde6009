//! Completions, made from the definition of the commands.

use std::io;

use clap::CommandFactory;
use clap_complete::Shell;

use crate::args::Cli;

pub fn print(shell: Shell) {
    clap_complete::generate(shell, &mut Cli::command(), "tidegate", &mut io::stdout());
}
