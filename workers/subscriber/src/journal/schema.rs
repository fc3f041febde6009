//! The journal's tables. It knows only their shape.

use sqlx::Row;
use sqlx::sqlite::SqliteConnection;

use super::{Journal, JournalError};

/// Kept in SQLite's `user_version`; a journal of a later version is refused, never guessed at.
const VERSION: i64 = 3;

const TABLES: &str = "
CREATE TABLE jobs (
    job       TEXT PRIMARY KEY,
    place     INTEGER NOT NULL UNIQUE,           -- order of arrival
    lane      TEXT NOT NULL,
    attempt   INTEGER NOT NULL,
    task      TEXT NOT NULL,                     -- JSON
    priority  INTEGER NOT NULL,
    after_job TEXT,                              -- waits until this one has succeeded
    tries     INTEGER NOT NULL DEFAULT 0,
    step      TEXT NOT NULL DEFAULT 'received',
    transfer  TEXT,                              -- JSON: what crossed the link so far
    event     TEXT,                              -- JSON, once ended
    confirmed INTEGER NOT NULL DEFAULT 0         -- the broker has the terminal report
) STRICT;
CREATE INDEX jobs_open ON jobs (lane, place) WHERE event IS NULL;
CREATE TABLE lanes (
    lane   TEXT PRIMARY KEY,
    epoch  INTEGER NOT NULL DEFAULT 0,
    n      INTEGER NOT NULL DEFAULT -1,          -- highest seq seen
    paused INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE cancelled (
    place INTEGER PRIMARY KEY AUTOINCREMENT,
    job   TEXT NOT NULL UNIQUE
) STRICT;
CREATE TABLE papers (                            -- settings and children's keys: the highest version wins
    name    TEXT PRIMARY KEY,
    version INTEGER NOT NULL,
    body    TEXT NOT NULL
) STRICT;
CREATE TABLE stores (
    store   TEXT PRIMARY KEY,
    sources TEXT,                                -- JSON: where its newest send takes content from
    target  TEXT                                 -- where it was extracted last
) STRICT;
";
/// What version 2 has more: an end looks for what follows it without reading the whole table, and what is kept is known
/// without a job.
const SINCE_1: &str = "
CREATE INDEX jobs_after ON jobs (after_job) WHERE after_job IS NOT NULL;
ALTER TABLE stores ADD COLUMN keep TEXT;         -- JSON: how many revisions are kept
PRAGMA user_version = 2;
";
/// What version 3 has more: distributions that were deleted are remembered, so that nothing late brings them back.
const SINCE_2: &str = "
ALTER TABLE stores ADD COLUMN gone INTEGER NOT NULL DEFAULT 0;
PRAGMA user_version = 3;
";

pub async fn prepare(journal: &Journal) -> Result<(), JournalError> {
    let mut tx = journal.batches.write().await?;
    let row = sqlx::query("PRAGMA user_version").fetch_one(&mut *tx).await.map_err(|e| journal.failed(e))?;
    let found: i64 = row.get(0);
    if !(0..=VERSION).contains(&found) {
        return Err(journal.unreadable(format_args!("version {found}")));
    }
    for step in [TABLES, SINCE_1, SINCE_2].into_iter().skip(found as usize) {
        run(journal, &mut tx, step).await?;
    }
    tx.done(()).durable().await
}

async fn run(journal: &Journal, tx: &mut SqliteConnection, text: &'static str) -> Result<(), JournalError> {
    sqlx::raw_sql(text).execute(tx).await.map_err(|e| journal.failed(e))?;
    Ok(())
}
