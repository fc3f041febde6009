//! What every role does first: reads its configuration, sets up the log, and listens for signals.

use clap::CommandFactory;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::config::{Config, Secret, Section, unknown_variables};
use super::error::RoleError;
use super::log::{Log, level_filter};
use crate::args::Cli;
use crate::args::roles::ProcessArgs;

const LOG_LEVEL: &str = "info";

pub struct Process {
    pub config: Config,
    pub log: Log,
    /// Cancelled by SIGTERM or SIGINT.
    pub shutdown: CancellationToken,
}

/// An address without its password, for the log.
pub fn shown(url: &Option<Secret>) -> String {
    url.as_ref().map(Secret::address).unwrap_or_default()
}

impl Process {
    pub fn start(section: Section, shared: &ProcessArgs, flags: &impl Serialize) -> Result<Process, RoleError> {
        let config = Config::load(shared.config.as_deref(), section, flags)?;
        let default = level_filter(LOG_LEVEL);
        let log = super::log::init(config.log_format, config.log.as_deref().unwrap_or(&default))?;
        let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
        for variable in unknown_variables(&Cli::command(), names) {
            tracing::warn!(variable, "is no setting of tidegate; see `tidegate help` for those there are");
        }
        Ok(Process { config, log, shutdown: worker::shutdown_on_signals() })
    }
}
