//! What every role does first: reads its configuration, sets up the log, and listens for signals.

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::config::{Config, Section};
use super::error::RoleError;
use crate::args::roles::ProcessArgs;

const LOG_DEFAULT: &str = "info";

pub struct Process {
    pub config: Config,
    /// Cancelled by SIGTERM or SIGINT.
    pub shutdown: CancellationToken,
}

impl Process {
    pub fn start(section: Section, shared: &ProcessArgs, flags: &impl Serialize) -> Result<Process, RoleError> {
        let config = Config::load(shared.config.as_deref(), section, flags)?;
        super::log::init(config.log_format, config.log.as_deref().unwrap_or(LOG_DEFAULT))?;
        Ok(Process { config, shutdown: worker::shutdown_on_signals() })
    }
}
