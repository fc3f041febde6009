//! Why a role did not start, or ended before it was asked to.

use std::path::PathBuf;
use std::time::Duration;

use super::config::ConfigError;
use super::lock::LockError;
use super::log::LogError;

#[derive(Debug, thiserror::Error)]
pub enum RoleError {
    #[error("{source} [{code}]", code = source.code())]
    Config {
        #[from]
        source: ConfigError,
    },
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("{setting} `{value}` cannot be used: {reason}")]
    Setting { setting: &'static str, value: String, reason: String },
    #[error("{service} at {address} did not answer within {} s: {reason}; {remedy}", waited.as_secs())]
    Unreachable { service: &'static str, address: String, waited: Duration, reason: String, remedy: &'static str },
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error("{path}: {source}", path = path.display())]
    Folder { path: PathBuf, source: std::io::Error },
    #[error("the definitions were not applied:\n{0}")]
    Definitions(String),
    #[error("the {role} ended: {reason}")]
    Ended { role: String, reason: String },
}

impl RoleError {
    /// As every verb of the command line: 2 for wrong usage, 3 for a service that cannot be reached, else 1.
    pub fn exit_code(&self) -> u8 {
        match self {
            RoleError::Config { .. } | RoleError::Log(_) | RoleError::Setting { .. } | RoleError::Definitions(_) => 2,
            RoleError::Unreachable { .. } => 3,
            RoleError::Lock(_) | RoleError::Folder { .. } | RoleError::Ended { .. } => 1,
        }
    }

    pub fn ended(role: impl Into<String>, reason: impl std::fmt::Display) -> RoleError {
        RoleError::Ended { role: role.into(), reason: reason.to_string() }
    }
}
