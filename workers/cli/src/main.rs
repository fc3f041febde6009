//! The only binary: a role, the demo, or a client verb. It knows no more than which.

mod args;
mod client;
mod complete;
mod demo;
mod memory;
mod output;
mod roles;
mod schema;
mod verify;

use std::process::ExitCode;

use clap::Parser;

use args::verbs::{DbCommand, SchemaCommand};
use args::{Cli, Command};
use client::exit;

fn main() -> ExitCode {
    memory::settle();
    let cli = Cli::parse();
    #[cfg(feature = "services")]
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        eprintln!("tidegate: another TLS provider is installed already");
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("tidegate: cannot start: {error}");
            return ExitCode::from(exit::FAILED);
        }
    };
    match runtime.block_on(run(cli.command)) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("tidegate: {error:#}");
            ExitCode::from(exit::FAILED)
        }
    }
}

async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Demo(args) => demo::run(args).await,
        Command::Role(command) => roles::run(command).await,
        Command::Verb(verb) => Ok(client::run(verb).await),
        Command::Db(DbCommand::Url(verb)) => Ok(client::database::run_url(verb).await),
        Command::Db(DbCommand::Views(verb)) => Ok(client::database::run_views(verb).await),
        Command::Db(DbCommand::Migrate(args)) => Ok(client::database::migrate(args).await),
        Command::Schema(SchemaCommand::Print(args)) => schema::print(&args).map(|()| ExitCode::SUCCESS),
        Command::Verify(args) => verify::run(args).await,
        Command::Completions { shell } => {
            complete::print(shell)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}
