//! The site's memory of its jobs: one SQLite file in the working directory. What it says survives a power loss, and a
//! restarted site goes on from it. It knows no broker, no storage and no tree: only what was taken in hand and what
//! came of it.

mod admit;
mod batch;
mod control;
mod ending;
mod needed;
mod open;
mod schema;
mod stores;

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use schemas::{Event, JobId, JobMessage, Lane, Priority, Task};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};

use batch::Batches;

pub use admit::Admission;
pub use batch::Written;
pub use control::Children;
pub use ending::{Ended, Ending};
pub use open::{Begin, Transfer};

/// Times that a job is started here before it is given up: a job that kills the process must not do so for ever.
pub const TRIES_MAX: u32 = 3;
/// Ended jobs that are remembered, so that a repeated message is answered and not worked on again.
pub const ENDED_KEPT_MAX: i64 = 1_000;
/// Cancels that are remembered for jobs that have not arrived.
pub const CANCELS_KEPT_MAX: i64 = 10_000;
const OWNER_ONLY: u32 = 0o600;
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    #[error("the journal {path} failed: {source}", path = path.display())]
    Database { path: PathBuf, source: Arc<sqlx::Error> },
    #[error("the journal {path} holds something that this version cannot read: {what}", path = path.display())]
    Unreadable { path: PathBuf, what: String },
    #[error("{0} is not in the journal")]
    Unknown(JobId),
}

/// A job in hand.
#[derive(Debug, Clone, PartialEq)]
pub struct OpenJob {
    pub job: JobId,
    pub attempt: u32,
    pub lane: Lane,
    pub task: Task,
    pub priority: Priority,
    pub transfer: Transfer,
}

impl OpenJob {
    /// The job of a message that was just taken.
    pub fn taken(message: JobMessage) -> OpenJob {
        OpenJob {
            job: message.job,
            attempt: message.attempt,
            lane: message.lane,
            priority: admit::priority_of(&message.task),
            task: message.task,
            transfer: Transfer::default(),
        }
    }
}

#[derive(Clone)]
pub struct Journal {
    batches: Arc<Batches>,
    path: PathBuf,
}

impl Journal {
    pub async fn open(path: &Path) -> Result<Journal, JournalError> {
        make_private(path);
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY_TIMEOUT);
        let database = |source| JournalError::Database { path: path.to_owned(), source: Arc::new(source) };
        let batches = Batches::open(&options, path).await.map_err(database)?;
        let journal = Journal { batches: Arc::new(batches), path: path.to_owned() };
        schema::prepare(&journal).await?;
        Ok(journal)
    }

    pub async fn close(&self) {
        self.batches.close().await;
    }

    fn failed(&self, source: sqlx::Error) -> JournalError {
        JournalError::Database { path: self.path.clone(), source: Arc::new(source) }
    }

    fn unreadable(&self, what: impl std::fmt::Display) -> JournalError {
        JournalError::Unreadable { path: self.path.clone(), what: what.to_string() }
    }

    fn write_json<T: serde::Serialize>(&self, value: &T) -> Result<String, JournalError> {
        serde_json::to_string(value).map_err(|e| self.unreadable(e))
    }

    fn read_json<T: serde::de::DeserializeOwned>(&self, text: &str) -> Result<T, JournalError> {
        serde_json::from_str(text).map_err(|e| self.unreadable(e))
    }

    fn read_event(&self, text: Option<String>) -> Result<Option<Event>, JournalError> {
        text.map(|t| self.read_json(&t)).transpose()
    }
}

/// SQLite itself makes its file readable by everybody, and what it puts beside the file takes its mode. A file that cannot be
/// made here cannot be opened there, which says why.
fn make_private(path: &Path) {
    let _ = OpenOptions::new().write(true).create_new(true).mode(OWNER_ONLY).open(path);
}

/// SQLite has signed numbers only; what is larger was refused at intake.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
