//! Why a verb could not do its work, and the exit code that says so.

use std::fmt;

use serde::Deserialize;

use super::address::AddressError;
use super::exit;
use crate::output::clean;

#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error(transparent)]
    Address(#[from] AddressError),
    #[error(
        "cannot reach the service at {url}: {reason}\n  Is it running? `tidegate up` starts one; --data DIR or --api URL name another."
    )]
    Unreachable { url: String, reason: String },
    #[error("what answers at {url} is not this service: {reason}")]
    Foreign { url: String, reason: String },
    #[error("{0}")]
    Refused(Refusal),
    #[error(
        "request {id} was handed in {after_s} s ago, and no scheduler has taken it yet\n  Is one running? The request stays in its queue; `tidegate wait {id}` follows it later."
    )]
    NotTaken { id: schemas::RequestId, after_s: u64 },
    #[error("{0}")]
    Usage(String),
    #[error("{0}")]
    Local(String),
}

impl ClientError {
    pub fn exit(&self) -> u8 {
        match self {
            ClientError::Address(AddressError::Unusable { .. }) | ClientError::Usage(_) => exit::USAGE,
            ClientError::Address(_)
            | ClientError::Unreachable { .. }
            | ClientError::Foreign { .. }
            | ClientError::NotTaken { .. } => exit::UNREACHABLE,
            ClientError::Refused(refusal) => match refusal.status {
                400 | 413 => exit::USAGE,
                401 | 503 => exit::UNREACHABLE,
                _ => exit::FAILED,
            },
            ClientError::Local(_) => exit::FAILED,
        }
    }

    /// The service may answer in a moment.
    pub fn is_transient(&self) -> bool {
        match self {
            ClientError::Unreachable { .. } => true,
            ClientError::Refused(refusal) => refusal.status == 503,
            _ => false,
        }
    }
}

impl From<std::io::Error> for ClientError {
    fn from(error: std::io::Error) -> ClientError {
        ClientError::Local(format!("the results could not be written: {error}"))
    }
}

/// The service's own words.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Refusal {
    #[serde(skip)]
    pub status: u16,
    pub code: String,
    pub message: String,
    pub errors: Vec<DefinitionFault>,
    pub references: Vec<String>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [{}]", clean::lines(&self.message), clean::line(&self.code))?;
        if self.status == 401 {
            f.write_str(
                "\n  The token comes from --data DIR, --token-file or TIDEGATE_TOKEN; was the service started anew?",
            )?;
        }
        Ok(())
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct DefinitionFault {
    pub file: String,
    pub line: usize,
    pub field: String,
    pub message: String,
    pub allowed: String,
}

impl fmt::Display for DefinitionFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.file.is_empty(), self.line) {
            (true, _) => f.write_str("in effect: ")?,
            (false, 0) => write!(f, "{}: ", clean::line(&self.file))?,
            (false, line) => write!(f, "{}:{line}: ", clean::line(&self.file))?,
        }
        if !self.field.is_empty() {
            write!(f, "{}: ", clean::line(&self.field))?;
        }
        f.write_str(&clean::line(&self.message))?;
        if self.allowed.is_empty() { Ok(()) } else { write!(f, "; {}", clean::line(&self.allowed)) }
    }
}
