//! What is wrong with bytes that claim to be a header, an index or a frame. It knows nothing of files and stores.

use schemas::Digest;

use crate::paths::UnsafePath;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    #[error("{what} is damaged: {reason}")]
    Damaged { what: &'static str, reason: String },
    #[error("{what} has digest {found}, expected {expected}")]
    DigestMismatch { what: &'static str, expected: Digest, found: Digest },
    #[error("{what} has format {found}; this version reads up to {known}")]
    UnknownFormat { what: &'static str, found: u32, known: u32 },
    #[error("{what} is {found}; at most {max} is read")]
    TooLarge { what: &'static str, found: u64, max: u64 },
    #[error("the index names an unsafe path: {0}")]
    Path(#[from] UnsafePath),
}

impl FormatError {
    /// Stable word for faults and logs.
    pub fn code(&self) -> &'static str {
        match self {
            FormatError::Damaged { .. } => "format-damaged",
            FormatError::DigestMismatch { .. } => "digest-mismatch",
            FormatError::UnknownFormat { .. } => "format-unknown",
            FormatError::TooLarge { .. } => "format-too-large",
            FormatError::Path(_) => "entry-unsafe",
        }
    }

    pub(crate) fn damaged(what: &'static str, reason: impl Into<String>) -> FormatError {
        FormatError::Damaged { what, reason: reason.into() }
    }
}
