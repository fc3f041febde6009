//! The roles as processes: each opens its services, runs until a signal, drains, and ends. It knows no client verb.

mod api;
mod builder;
pub mod config;
pub mod embedded;
mod error;
mod fleet;
mod lock;
mod log;
pub mod origin;
mod process;
mod recorder;
mod scheduler;
mod services;
mod site_folders;
mod sites;
mod subscriber;
mod up;

use std::path::Path;
use std::process::ExitCode;

use crate::args::roles::{DatabaseArgs, RoleCommand};

pub use error::RoleError;
pub use lock::{DataLock, LockError};
pub use log::{LogError, init as init_log};

use config::{Config, ConfigError, Section};

/// Runs a role until SIGTERM or SIGINT: 0 after a drain, 2 for a configuration that cannot be used, 3 when a service did not
/// answer in time, else 1.
pub async fn run(command: RoleCommand) -> anyhow::Result<ExitCode> {
    let ended = match command {
        RoleCommand::Up(args) => up::run(args).await,
        RoleCommand::Scheduler(args) => scheduler::run(args).await,
        RoleCommand::Builder(args) => builder::run(args).await,
        RoleCommand::Subscriber(args) => subscriber::run(args).await,
        RoleCommand::Recorder(args) => recorder::run(args).await,
        RoleCommand::Api(args) => api::run(args).await,
    };
    match ended {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) => {
            eprintln!("tidegate: {error}");
            Ok(ExitCode::from(error.exit_code()))
        }
    }
}

/// For verbs that talk to the database itself: the flag or variable, else what `tidegate.toml` says.
pub fn database_url(shared: &DatabaseArgs, config: Option<&Path>) -> anyhow::Result<String> {
    let config = Config::load(config, Section::Scheduler, shared)?;
    let url = config.database.ok_or_else(missing_database)?;
    Ok(url.expose().to_owned())
}

fn missing_database() -> ConfigError {
    ConfigError::Missing { key: "database", flag: "--database", variable: "TIDEGATE_DATABASE" }
}
