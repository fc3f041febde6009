//! Jobs in hand: which is next in a lane, its tries, its steps and what crossed the link for it.

use schemas::{Event, JobId, Lane, Priority, SourceBytes};
use serde::{Deserialize, Serialize};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::{Journal, JournalError, OpenJob, TRIES_MAX};

/// What a send has moved so far, over restarts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Transfer {
    /// Bytes lacking when the job was first started; none before that was known.
    pub needed: Option<u64>,
    pub fetched: u64,
    pub sources: Vec<SourceBytes>,
}

impl Transfer {
    /// Bytes that came, but of which no source's count is left.
    pub fn uncounted(&self) -> u64 {
        self.fetched.saturating_sub(self.sources.iter().map(|s| s.bytes).sum())
    }
}

/// What is to be done with a job whose turn it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begin {
    /// The count of this try, from 1, is written.
    Go {
        attempt: u32,
        tries: u32,
    },
    Cancelled,
    TooManyTries {
        tries: u32,
    },
    /// It ended meanwhile.
    Gone,
}

const OPEN: &str = "SELECT job, attempt, lane, task, priority, transfer FROM jobs
                    WHERE event IS NULL AND after_job IS NULL AND lane = ? ORDER BY place LIMIT 1";

impl Journal {
    /// The job of a lane whose turn it is.
    pub async fn next_open(&self, lane: &Lane) -> Result<Option<OpenJob>, JournalError> {
        let row = sqlx::query(OPEN)
            .bind(lane.to_string())
            .fetch_optional(&mut *self.batches.read().await?)
            .await
            .map_err(|e| self.failed(e))?;
        row.map(|r| self.read_open(&r)).transpose()
    }

    fn read_open(&self, row: &SqliteRow) -> Result<OpenJob, JournalError> {
        let transfer: Option<String> = row.get(5);
        Ok(OpenJob {
            job: row.get::<String, _>(0).parse().map_err(|e| self.unreadable(e))?,
            attempt: row.get(1),
            lane: row.get::<String, _>(2).parse().map_err(|e| self.unreadable(e))?,
            task: self.read_json(&row.get::<String, _>(3))?,
            priority: Priority::from_rank(row.get(4)),
            transfer: transfer.map(|t| self.read_json(&t)).transpose()?.unwrap_or_default(),
        })
    }

    /// Counts a try before it starts, so that a job that kills the process is counted too.
    pub async fn begin(&self, job: JobId) -> Result<Begin, JournalError> {
        let mut tx = self.batches.write().await?;
        if self.is_cancelled(&mut tx, job).await? {
            return tx.done(Begin::Cancelled).durable().await;
        }
        let row =
            sqlx::query("UPDATE jobs SET tries = tries + 1 WHERE job = ? AND event IS NULL RETURNING attempt, tries")
                .bind(job.to_string())
                .fetch_optional(&mut *tx)
                .await
                .map_err(|e| self.failed(e))?;
        let begin = match row.map(|r| (r.get::<u32, _>(0), r.get::<u32, _>(1))) {
            None => Begin::Gone,
            Some((_, tries)) if tries > TRIES_MAX => Begin::TooManyTries { tries },
            Some((attempt, tries)) => Begin::Go { attempt, tries },
        };
        tx.done(begin).durable().await
    }

    /// The attempt under which a job is known now.
    pub async fn attempt(&self, job: JobId) -> Result<Option<u32>, JournalError> {
        let row = sqlx::query("SELECT attempt FROM jobs WHERE job = ?")
            .bind(job.to_string())
            .fetch_optional(&mut *self.batches.read().await?)
            .await
            .map_err(|e| self.failed(e))?;
        Ok(row.map(|r| r.get(0)))
    }

    pub async fn note_step(&self, job: JobId, step: &str) -> Result<(), JournalError> {
        let mut tx = self.batches.write().await?;
        sqlx::query("UPDATE jobs SET step = ? WHERE job = ?")
            .bind(step)
            .bind(job.to_string())
            .execute(&mut *tx)
            .await
            .map_err(|e| self.failed(e))?;
        tx.done(()).in_time();
        Ok(())
    }

    pub async fn note_transfer(&self, job: JobId, transfer: &Transfer) -> Result<(), JournalError> {
        let mut tx = self.batches.write().await?;
        sqlx::query("UPDATE jobs SET transfer = ? WHERE job = ?")
            .bind(self.write_json(transfer)?)
            .bind(job.to_string())
            .execute(&mut *tx)
            .await
            .map_err(|e| self.failed(e))?;
        tx.done(()).in_time();
        Ok(())
    }

    /// What presence lists: jobs in hand, and ended ones whose report the broker does not have yet.
    pub async fn in_hand(&self) -> Result<Vec<schemas::OpenJob>, JournalError> {
        let rows = sqlx::query("SELECT job, attempt FROM jobs WHERE confirmed = 0 ORDER BY place")
            .fetch_all(&mut *self.batches.read().await?)
            .await
            .map_err(|e| self.failed(e))?;
        let read = |row: &SqliteRow| {
            let job = row.get::<String, _>(0).parse().map_err(|e| self.unreadable(e))?;
            Ok(schemas::OpenJob { job, attempt: row.get(1) })
        };
        rows.iter().map(read).collect()
    }

    /// Lanes that have work in hand.
    pub async fn open_lanes(&self) -> Result<Vec<Lane>, JournalError> {
        let rows = sqlx::query("SELECT DISTINCT lane FROM jobs WHERE event IS NULL ORDER BY lane")
            .fetch_all(&mut *self.batches.read().await?)
            .await
            .map_err(|e| self.failed(e))?;
        rows.iter().map(|r| r.get::<String, _>(0).parse().map_err(|e| self.unreadable(e))).collect()
    }

    /// How a job ended, if it did.
    pub async fn event(&self, job: JobId) -> Result<Option<Event>, JournalError> {
        let row = sqlx::query("SELECT event FROM jobs WHERE job = ?")
            .bind(job.to_string())
            .fetch_optional(&mut *self.batches.read().await?)
            .await
            .map_err(|e| self.failed(e))?;
        self.read_event(row.and_then(|r| r.get(0)))
    }
}
