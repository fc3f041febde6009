//! Connections. PostgreSQL has one pool; SQLite has one writing connection, whose transactions begin immediately, and a pool
//! of readers, so that nobody is refused for upgrading a read.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use sea_orm::sqlx::sqlite::{SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sea_orm::sqlx::{self, Connection};
use sea_orm::{
    ConnectOptions, Database, DatabaseBackend, DatabaseConnection, DatabaseTransaction, DbErr, SqliteTransactionMode,
    TransactionOptions, TransactionTrait,
};

use crate::clock;
pub(crate) use crate::clock::clock_ms;
use crate::{consoles, sql};

#[cfg(feature = "postgres")]
const POSTGRES_CONNECTIONS_MAX: u32 = 8;
const SQLITE_READERS_MAX: u32 = 4;
const OWNER_ONLY: u32 = 0o600;
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);
#[cfg(feature = "postgres")]
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(60);
/// A process that is stopped in the middle of a transaction holds up whoever needs its rows for no longer; a leader's holds them for
/// what is left of its lease (`leases`).
#[cfg(feature = "postgres")]
const IDLE_IN_TRANSACTION_MAX: &str = "10s";

#[derive(Debug, thiserror::Error)]
pub enum RecordsError {
    #[error("the database cannot be reached: {reason}")]
    Unavailable { reason: String },
    #[error("`{scheme}` is not a database that this program speaks: sqlite://PATH{postgres}")]
    UnknownScheme { scheme: String, postgres: &'static str },
    #[error(
        "the definitions were changed by somebody else meanwhile (version {found}, not {expected}); read them again and repeat"
    )]
    Conflict { expected: u64, found: u64 },
    #[error("request {id} exists already with another body")]
    RequestConflict { id: schemas::RequestId },
    #[error("{what} is unknown")]
    Unknown { what: String },
    #[error("{what}")]
    Refused { code: &'static str, what: String },
    #[error("the statement failed: {0}")]
    Statement(String),
    #[error("a row does not hold what it should: {0}")]
    Corrupt(String),
    #[error("this scheduler does not lead any more")]
    Fenced,
}

impl RecordsError {
    /// Worth the same call again.
    pub fn is_transient(&self) -> bool {
        matches!(self, RecordsError::Unavailable { .. })
    }

    pub fn code(&self) -> &'static str {
        match self {
            RecordsError::Unavailable { .. } => "database-unavailable",
            RecordsError::UnknownScheme { .. } => "database-unknown",
            RecordsError::Conflict { .. } => "definitions-conflict",
            RecordsError::RequestConflict { .. } => "conflict",
            RecordsError::Unknown { .. } => "unknown",
            RecordsError::Refused { code, .. } => code,
            RecordsError::Statement(_) => "statement-failed",
            RecordsError::Corrupt(_) => "row-corrupt",
            RecordsError::Fenced => "fenced",
        }
    }
}

impl From<DbErr> for RecordsError {
    fn from(error: DbErr) -> Self {
        let text = error.to_string();
        match error {
            DbErr::Conn(_) | DbErr::ConnectionAcquire(_) => RecordsError::Unavailable { reason: text },
            // Lost connections, deadlocks, serialisation failures, shutdowns and full disks come as execution errors with these words.
            _ if TRANSIENT.iter().any(|word| text.contains(word)) => RecordsError::Unavailable { reason: text },
            _ => consoles::refusal_of(&text).unwrap_or(RecordsError::Statement(text)),
        }
    }
}

const TRANSIENT: [&str; 15] = [
    "deadlock detected",
    "could not serialize",
    "database is locked",
    "terminating connection",
    "the database system is",
    "Connection reset",
    "Connection refused",
    "Broken pipe",
    "unexpected end of file",
    "expected to read",
    "error communicating with database",
    "pool timed out",
    "database or disk is full",
    "disk I/O error",
    "No space left on device",
];

impl From<serde_json::Error> for RecordsError {
    fn from(error: serde_json::Error) -> Self {
        RecordsError::Corrupt(error.to_string())
    }
}

/// A handle on the database; cheap to clone.
#[derive(Clone)]
pub struct Records {
    write: DatabaseConnection,
    read: DatabaseConnection,
    url: std::sync::Arc<str>,
}

impl Records {
    /// `sqlite:///path/to/file` (made if absent) or `postgres://user:password@host/database`.
    pub async fn open(url: &str) -> Result<Records, RecordsError> {
        let records = Records::connect(url).await?;
        clock::ask(&records.read).await?;
        Ok(records)
    }

    async fn connect(url: &str) -> Result<Records, RecordsError> {
        let scheme = url.split(':').next().unwrap_or_default();
        match scheme {
            "sqlite" => {
                let write = sqlite(url, 1).await?;
                let read = sqlite(url, SQLITE_READERS_MAX).await?;
                Ok(Records { write, read, url: url.into() })
            }
            #[cfg(feature = "postgres")]
            "postgres" | "postgresql" => {
                let pool = postgres(url).await?;
                Ok(Records { write: pool.clone(), read: pool, url: url.into() })
            }
            _ => Err(RecordsError::UnknownScheme {
                scheme: scheme.to_owned(),
                postgres: if cfg!(feature = "postgres") { " or postgres://USER:PASSWORD@HOST/DATABASE" } else { "" },
            }),
        }
    }

    pub fn is_postgres(&self) -> bool {
        self.write.get_database_backend() == DatabaseBackend::Postgres
    }

    /// Now, by the database's clock: what leases and silence are judged by.
    pub async fn now_ms(&self) -> Result<i64, RecordsError> {
        clock::ask(&self.read).await
    }

    pub(crate) async fn begin(&self) -> Result<DatabaseTransaction, RecordsError> {
        let options = TransactionOptions {
            sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
            ..TransactionOptions::default()
        };
        let tx = self.write.begin_with_options(options).await?;
        clock::listen(&tx).await?;
        Ok(tx)
    }

    /// This transaction computes for longer between its statements than others may.
    pub(crate) async fn think_long(&self, tx: &DatabaseTransaction) -> Result<(), RecordsError> {
        if self.is_postgres() {
            sql::exec(tx, "SET LOCAL idle_in_transaction_session_timeout = '5min'", vec![]).await?;
        }
        Ok(())
    }

    pub(crate) fn reader(&self) -> &DatabaseConnection {
        &self.read
    }

    /// As it was opened: it may hold a password.
    pub fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn writer(&self) -> &DatabaseConnection {
        &self.write
    }

    pub async fn close(self) {
        let _ = self.read.clone().close().await;
        let _ = self.write.clone().close().await;
    }
}

async fn sqlite(url: &str, connections: u32) -> Result<DatabaseConnection, RecordsError> {
    let mut options = ConnectOptions::new(url);
    let in_memory = url.contains(":memory:");
    options
        .max_connections(connections)
        .min_connections(1)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .sqlx_logging(false)
        .test_before_acquire(false)
        .map_sqlx_sqlite_pool_opts(|pool| pool.after_release(|connection, _| Box::pin(ended_well(connection))))
        .map_sqlx_sqlite_opts(move |sqlite| {
            if !in_memory {
                make_private(sqlite.get_filename());
            }
            sqlite
                .create_if_missing(true)
                .journal_mode(SqliteJournalMode::Wal)
                .synchronous(SqliteSynchronous::Full)
                .busy_timeout(Duration::from_secs(10))
                .statement_cache_capacity(400)
        });
    Ok(Database::connect(options).await?)
}

/// Whether a connection may be used again. When its disk is full SQLite rolls a transaction back by itself; the roll-back that follows
/// then fails, and whatever comes next would be part of a transaction that nobody ends: it would seem to be done, and never be.
async fn ended_well(connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    connection.ping().await?; // what was asked of it before is done
    let is_well = !connection.is_in_transaction();
    if !is_well {
        tracing::warn!("a transaction of the database ended badly: its connection is opened anew");
    }
    Ok(is_well)
}

/// SQLite itself makes its file readable by everybody, and what it puts beside the file takes its mode. A file that cannot be
/// made here cannot be opened there, which says why.
fn make_private(path: &Path) {
    let _ = OpenOptions::new().write(true).create_new(true).mode(OWNER_ONLY).open(path);
}

#[cfg(feature = "postgres")]
async fn postgres(url: &str) -> Result<DatabaseConnection, RecordsError> {
    let mut options = ConnectOptions::new(url);
    options
        .max_connections(POSTGRES_CONNECTIONS_MAX)
        .min_connections(1)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .statement_timeout(STATEMENT_TIMEOUT)
        .sqlx_logging(false)
        .map_sqlx_postgres_opts(|postgres| {
            let idle = [("idle_in_transaction_session_timeout", IDLE_IN_TRANSACTION_MAX)];
            postgres.application_name("tidegate").statement_cache_capacity(400).options(idle)
        });
    // A URL can hold a password: the reason never repeats it.
    Database::connect(options).await.map_err(|error| RecordsError::Unavailable { reason: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn insert(c: &impl sea_orm::ConnectionTrait, n: i64) {
        sql::exec(c, "INSERT INTO numbers VALUES ($1)", vec![n.into()]).await.unwrap();
    }

    #[tokio::test]
    async fn a_transaction_that_the_database_gave_up_by_itself_takes_nothing_later_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let records = Records::open(&format!("sqlite://{}", folder.path().join("r.sqlite").display())).await.unwrap();
        sql::exec(records.writer(), "CREATE TABLE numbers (n BIGINT)", vec![]).await.unwrap();
        for n in 0..3 {
            let given_up = records.begin().await.unwrap();
            insert(&given_up, -1).await;
            // As SQLite does when its disk is full.
            sql::exec(&given_up, "ROLLBACK", vec![]).await.unwrap();
            drop(given_up);
            let dropped = records.begin().await.unwrap();
            insert(&dropped, -2).await;
            drop(dropped);
            let kept = records.begin().await.unwrap();
            insert(&kept, n).await;
            kept.commit().await.unwrap();
            insert(records.writer(), 10 + n).await;
        }
        let seen = sql::number(records.reader(), "SELECT SUM(n) FROM numbers", vec![]).await.unwrap();
        assert_eq!(seen, Some(3 + 33), "by another connection");
        records.close().await;
    }
}
