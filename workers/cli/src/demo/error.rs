//! Why the demo stopped, in words for somebody who sees the program for the first time.

use std::path::PathBuf;

use records::RecordsError;

use crate::roles::{LockError, LogError, RoleError};

#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    #[error(transparent)]
    Role(#[from] RoleError),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error(transparent)]
    Records(#[from] RecordsError),
    #[error("{path}: {source}", path = path.display())]
    File { path: PathBuf, source: std::io::Error },
    #[error("{path} is not a directory; give one that is: tidegate demo DIR", path = path.display())]
    NoDirectory { path: PathBuf },
    #[error("{path} holds no file to distribute; give another directory: tidegate demo DIR", path = path.display())]
    NoFiles { path: PathBuf },
    #[error("{path} holds more than {limit}, and the demo copies what it distributes; give a smaller directory: tidegate demo DIR", path = path.display())]
    TooLarge { path: PathBuf, limit: String },
    #[error("{path} is not empty; give another directory with --data, or remove it: rm -rf {quoted}", path = path.display())]
    NotEmpty { path: PathBuf, quoted: String },
    #[error("the definitions were refused:\n{0}")]
    Definitions(String),
    #[error("{what} did not succeed: {reason}")]
    Job { what: String, reason: String },
    #[error("{what} did not end within {seconds} s")]
    TooSlow { what: String, seconds: u64 },
    #[error("{target} differs from the source: {differences}", target = target.display())]
    Differs { target: PathBuf, differences: String },
    #[error("interrupted; nothing runs any more")]
    Interrupted,
}

impl DemoError {
    /// 2 for wrong usage, 130 after Ctrl-C as shells have it, else 1.
    pub fn exit_code(&self) -> u8 {
        match self {
            DemoError::NoDirectory { .. }
            | DemoError::NoFiles { .. }
            | DemoError::TooLarge { .. }
            | DemoError::NotEmpty { .. }
            | DemoError::Log(_) => 2,
            DemoError::Interrupted => 130,
            DemoError::Role(error) => error.exit_code(),
            _ => 1,
        }
    }
}
