//! People's own SQL, read only, with a bound on time and rows; and the sheets that the client verbs show.

use std::time::{Duration, Instant};

use futures::TryStreamExt;
use futures::stream::BoxStream;
use sea_orm::sqlx::sqlite::SqliteConnectOptions;
use sea_orm::sqlx::{self, Column, Connection, Executor, Row, SqlSafeStr, SqliteConnection, TypeInfo, ValueRef};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::db::{Records, RecordsError};

/// Most rows that one query returns.
const ROWS_MAX: usize = 100_000;
const TIME_MAX: Duration = Duration::from_secs(30);
/// SQLite's steps between two looks at the clock.
const STEPS_PER_LOOK: i32 = 100_000;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rows {
    pub columns: Vec<String>,
    pub rows: Vec<Vec<Json>>,
    /// True if there were more than this returns.
    pub cut: bool,
}

/// A ready-made query on a view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sheet {
    Jobs,
    Deliveries,
    Lanes,
    Schedules,
    Subscribers,
    Channels,
    Revisions,
    Failures,
    Requests,
    DeadLetters,
}

impl Sheet {
    /// What it shows, sorted; people can start from it with `tidegate query`.
    pub fn sql(self) -> &'static str {
        match self {
            Sheet::Jobs => {
                "SELECT id, kind, state, lane, distribution, revision, subscriber, attempt, waits_for, created_at, ended_at, error_code, error FROM jobs ORDER BY created_at DESC, id LIMIT 200"
            }
            Sheet::Deliveries => {
                "SELECT channel, distribution, subscriber, state, current_revision AS current, stored_revision AS stored, extracted_revision AS extracted, bytes_needed, bytes_moved, took_ms, error_code, error FROM deliveries ORDER BY channel, distribution, subscriber"
            }
            Sheet::Lanes => {
                "SELECT lane, state, place, job_id, kind, job_state, distribution, revision, priority, behind_job_id, waits_for, expected_start FROM lanes WHERE job_id IS NOT NULL OR state = 'paused' ORDER BY lane, place"
            }
            Sheet::Schedules => {
                "SELECT schedule, spec, zone, next_due, overdue_ms, last_nominal, last_state, console FROM schedules ORDER BY schedule"
            }
            Sheet::Subscribers => {
                "SELECT subscriber, state, last_seen, jobs_open, wanted, current, program_version FROM subscribers ORDER BY subscriber"
            }
            Sheet::Channels => {
                "SELECT channel, subscribers, distributions, current, failed, never_tried, jobs_open FROM channels ORDER BY channel"
            }
            Sheet::Revisions => {
                "SELECT distribution, revision, current, state, files, bytes, stored_bytes, new_bytes, created_at, retired_at, retired_why FROM revisions ORDER BY distribution, revision"
            }
            Sheet::Failures => {
                "SELECT ended_at, job_id, kind, subscriber, distribution, revision, attempt, error_code, error, retried FROM failures ORDER BY ended_at DESC LIMIT 200"
            }
            Sheet::Requests => {
                "SELECT id, kind, state, origin, jobs, jobs_open, jobs_failed, created_at, ended_at, note FROM requests ORDER BY created_at DESC, id LIMIT 200"
            }
            Sheet::DeadLetters => {
                "SELECT id, queue, code, reason, state, created_at FROM dead_letters ORDER BY created_at DESC, id LIMIT 200"
            }
        }
    }

    pub fn parse(name: &str) -> Option<Sheet> {
        Some(match name {
            "jobs" => Sheet::Jobs,
            "deliveries" => Sheet::Deliveries,
            "lanes" => Sheet::Lanes,
            "schedules" => Sheet::Schedules,
            "subscribers" => Sheet::Subscribers,
            "channels" => Sheet::Channels,
            "revisions" => Sheet::Revisions,
            "failures" => Sheet::Failures,
            "requests" => Sheet::Requests,
            "dead-letters" => Sheet::DeadLetters,
            _ => return None,
        })
    }
}

impl Records {
    pub async fn sheet(&self, sheet: Sheet) -> Result<Rows, RecordsError> {
        self.query(sheet.sql()).await
    }

    /// Runs a person's statement in a read-only transaction.
    pub async fn query(&self, text: &str) -> Result<Rows, RecordsError> {
        let run = async {
            #[cfg(feature = "postgres")]
            if self.is_postgres() {
                return self.query_postgres(text).await;
            }
            self.query_sqlite(text).await
        };
        tokio::time::timeout(TIME_MAX, run)
            .await
            .map_err(|_| RecordsError::Statement(format!("the query took longer than {} s", TIME_MAX.as_secs())))?
    }

    /// On a connection of its own that cannot write, whatever the text says.
    async fn query_sqlite(&self, text: &str) -> Result<Rows, RecordsError> {
        let options: SqliteConnectOptions = self.url().parse().map_err(failed)?;
        let mut connection = SqliteConnection::connect_with(&options.read_only(true)).await.map_err(failed)?;
        // A question that yields no row would otherwise run on when nobody waits any more.
        let begun = Instant::now();
        let in_time = move || begun.elapsed() < TIME_MAX;
        connection.lock_handle().await.map_err(failed)?.set_progress_handler(STEPS_PER_LOOK, in_time);
        let prepared = (&mut connection).prepare(sqlx::AssertSqlSafe(text.to_owned()).into_sql_str()).await;
        let columns = columns(&prepared.map_err(failed)?);
        let found = (&mut connection).fetch(sqlx::raw_sql(sqlx::AssertSqlSafe(text.to_owned())));
        let rows = some(found, columns, sqlite_row).await;
        let _ = connection.close().await;
        rows
    }

    /// In a session that cannot write. Preparing the text first refuses several statements at once, so that none of them can
    /// lift that.
    #[cfg(feature = "postgres")]
    async fn query_postgres(&self, text: &str) -> Result<Rows, RecordsError> {
        let mut connection = sqlx::PgConnection::connect(self.url()).await.map_err(failed)?;
        let begin =
            "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY; SET statement_timeout = '30s'; BEGIN READ ONLY";
        sqlx::raw_sql(begin).execute(&mut connection).await.map_err(failed)?;
        let prepared = (&mut connection).prepare(sqlx::AssertSqlSafe(text.to_owned()).into_sql_str()).await;
        let columns = columns(&prepared.map_err(failed)?);
        let found = (&mut connection).fetch(sqlx::raw_sql(sqlx::AssertSqlSafe(text.to_owned())));
        let rows = some(found, columns, postgres_row).await;
        let _ = connection.close().await;
        rows
    }
}

fn failed(error: sqlx::Error) -> RecordsError {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::PoolTimedOut => {
            RecordsError::Unavailable { reason: error.to_string() }
        }
        error => RecordsError::Statement(error.to_string()),
    }
}

/// The names of a statement's columns, rows or not.
fn columns<S: sqlx::Statement>(statement: &S) -> Vec<String> {
    statement.columns().iter().map(|column| column.name().to_owned()).collect()
}

/// As many rows as are returned at most, and whether there were more; the rest is never read.
async fn some<R: Row>(
    mut found: BoxStream<'_, Result<R, sqlx::Error>>,
    columns: Vec<String>,
    values: fn(&R) -> Vec<Json>,
) -> Result<Rows, RecordsError> {
    let mut rows = Vec::new();
    while let Some(row) = found.try_next().await.map_err(failed)? {
        if rows.len() == ROWS_MAX {
            return Ok(Rows { columns, rows, cut: true });
        }
        rows.push(values(&row));
    }
    Ok(Rows { columns, rows, cut: false })
}

fn sqlite_row(row: &sqlx::sqlite::SqliteRow) -> Vec<Json> {
    (0..row.columns().len())
        .map(|i| {
            let Ok(value) = row.try_get_raw(i) else { return Json::Null };
            if value.is_null() {
                return Json::Null;
            }
            match value.type_info().name() {
                "INTEGER" | "BOOLEAN" => row.try_get_unchecked::<i64, _>(i).map_or(Json::Null, Json::from),
                "REAL" => row.try_get_unchecked::<f64, _>(i).map_or(Json::Null, Json::from),
                _ => row.try_get_unchecked::<String, _>(i).map_or(Json::Null, Json::from),
            }
        })
        .collect()
}

/// The simple protocol sends every value as text; numbers and truth values become JSON's own.
#[cfg(feature = "postgres")]
fn postgres_row(row: &sqlx::postgres::PgRow) -> Vec<Json> {
    (0..row.columns().len())
        .map(|i| {
            let Ok(value) = row.try_get_raw(i) else { return Json::Null };
            if value.is_null() {
                return Json::Null;
            }
            let kind = value.type_info().name().to_owned();
            let Ok(text) = value.as_str() else { return Json::Null };
            match kind.as_str() {
                "INT2" | "INT4" | "INT8" => text.parse::<i64>().map_or(Json::from(text), Json::from),
                "FLOAT4" | "FLOAT8" | "NUMERIC" => text.parse::<f64>().map_or(Json::from(text), Json::from),
                "BOOL" => Json::from(text == "t"),
                _ => Json::from(text),
            }
        })
        .collect()
}
