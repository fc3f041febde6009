//! What went wrong, in a form that a program can match on and a person can read.

use serde::{Deserialize, Serialize};

/// Longest message kept, in characters: results are rows, not logs.
pub const MESSAGE_CHARS_MAX: usize = 2_000;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
#[error("{message} [{code}]")]
pub struct Fault {
    /// Stable, kebab-case: `chunk-corrupt`, `unknown-variable`, …
    pub code: String,
    /// What happened, to what, and what to do.
    pub message: String,
    /// A permanent fault is not retried.
    pub permanent: bool,
}

impl Fault {
    pub fn permanent(code: &str, message: impl Into<String>) -> Fault {
        Fault::new(code, message, true)
    }

    pub fn transient(code: &str, message: impl Into<String>) -> Fault {
        Fault::new(code, message, false)
    }

    fn new(code: &str, message: impl Into<String>, permanent: bool) -> Fault {
        let message: String = message.into();
        let clean = message.chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c });
        Fault { code: code.to_owned(), message: clean.take(MESSAGE_CHARS_MAX).collect(), permanent }
    }
}
