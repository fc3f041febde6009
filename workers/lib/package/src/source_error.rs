//! What can be wrong with the sources of a build. Storage and format faults are not its business.

use crate::paths::UnsafePath;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    #[error("the source {path} does not exist")]
    Missing { path: String },
    #[error("{path} cannot be read: {reason}")]
    Unreadable { path: String, reason: String, permanent: bool },
    #[error("{path} changed while it was read; the build is tried again")]
    Changed { path: String },
    #[error("{path} cannot be distributed: {fault}; rename it or exclude it")]
    Unsafe { path: String, fault: UnsafePath },
    #[error("{path} is a {what}, which cannot be distributed; exclude it")]
    Special { path: String, what: &'static str },
    #[error("the name {shown} is not UTF-8; rename it or exclude it")]
    NotUtf8 { shown: String },
    #[error("{path} comes from {first} and from {second}; one of them must go or be put `into` another folder")]
    Conflict { path: String, first: String, second: String },
    #[error("`{glob}` is not a glob: {reason}")]
    Glob { glob: String, reason: String },
    #[error("{what}: {found}; at most {max} can be distributed")]
    TooLarge { what: String, found: u64, max: u64 },
    #[error("the build was cancelled")]
    Cancelled,
    #[error("whoever takes the packs is gone")]
    SinkClosed,
}

impl BuildError {
    /// Stable word for faults and logs.
    pub fn code(&self) -> &'static str {
        match self {
            BuildError::Missing { .. } => "source-missing",
            BuildError::Unreadable { .. } => "source-unreadable",
            BuildError::Changed { .. } => "source-changed-while-read",
            BuildError::Unsafe { .. } | BuildError::Special { .. } | BuildError::NotUtf8 { .. } => "entry-unsafe",
            BuildError::Conflict { .. } => "source-conflict",
            BuildError::Glob { .. } => "source-glob-invalid",
            BuildError::TooLarge { .. } => "source-too-large",
            BuildError::Cancelled => "build-cancelled",
            BuildError::SinkClosed => "build-interrupted",
        }
    }

    /// Trying again without a change by somebody would end the same way.
    pub fn is_permanent(&self) -> bool {
        match self {
            BuildError::Unreadable { permanent, .. } => *permanent,
            BuildError::Changed { .. } | BuildError::Cancelled | BuildError::SinkClosed => false,
            _ => true,
        }
    }

    pub(crate) fn unreadable(path: impl Into<String>, error: rustix::io::Errno) -> BuildError {
        let permanent = matches!(error, rustix::io::Errno::ACCESS | rustix::io::Errno::PERM | rustix::io::Errno::LOOP);
        BuildError::Unreadable { path: path.into(), reason: error.to_string(), permanent }
    }
}
