//! Ends of jobs and the reports about them, kept until the broker has confirmed them. It knows no broker.

use schemas::{Event, JobId, Lane};
use sqlx::Row;
use sqlx::sqlite::SqliteConnection;

use super::{ENDED_KEPT_MAX, Journal, JournalError, Written};

/// Old ends are looked for once in so many jobs.
const FORGET_EVERY: i64 = 64;

/// A job's end, as it is to be reported.
#[derive(Debug, Clone, PartialEq)]
pub struct Ending {
    pub job: JobId,
    pub attempt: u32,
    pub lane: Lane,
    pub event: Event,
}

/// What `end` did.
#[derive(Debug, Clone, PartialEq)]
pub struct Ended {
    pub ending: Ending,
    /// Something waited for this job.
    pub followed: bool,
}

impl Journal {
    /// Writes the end of a job. Success frees what follows it; any other end forgets that: the recorder decides of it, and
    /// a new attempt of the job brings it again. A job that has ended keeps its first end.
    pub async fn end(&self, job: JobId, event: &Event) -> Result<Written<Ended>, JournalError> {
        let mut tx = self.batches.write().await?;
        let ended = self.end_in(&mut tx, job, event).await?;
        Ok(tx.done(ended))
    }

    pub(super) async fn end_in(
        &self,
        tx: &mut SqliteConnection,
        job: JobId,
        event: &Event,
    ) -> Result<Ended, JournalError> {
        let id = job.to_string();
        let ended = sqlx::query("UPDATE jobs SET event = ?, confirmed = 0 WHERE job = ? AND event IS NULL")
            .bind(self.write_json(event)?)
            .bind(&id)
            .execute(&mut *tx)
            .await
            .map_err(|e| self.failed(e))?;
        let mut followed = false;
        if ended.rows_affected() == 1 {
            let followers = match event {
                Event::Succeeded { .. } => "UPDATE jobs SET after_job = NULL WHERE after_job = ?",
                _ => "DELETE FROM jobs WHERE after_job = ?",
            };
            let touched = sqlx::query(followers).bind(&id).execute(&mut *tx).await.map_err(|e| self.failed(e))?;
            followed = touched.rows_affected() > 0;
        }
        Ok(Ended { ending: self.ending(tx, job).await?, followed })
    }

    /// Makes an old end's report one that is to be sent.
    pub(super) async fn reopen_report(&self, tx: &mut SqliteConnection, job: JobId) -> Result<Ending, JournalError> {
        sqlx::query("UPDATE jobs SET confirmed = 0 WHERE job = ?")
            .bind(job.to_string())
            .execute(&mut *tx)
            .await
            .map_err(|e| self.failed(e))?;
        self.ending(tx, job).await
    }

    async fn ending(&self, tx: &mut SqliteConnection, job: JobId) -> Result<Ending, JournalError> {
        let row = sqlx::query("SELECT job, attempt, lane, event FROM jobs WHERE job = ? AND event IS NOT NULL")
            .bind(job.to_string())
            .fetch_optional(&mut *tx)
            .await
            .map_err(|e| self.failed(e))?;
        self.read_ending(&row.ok_or(JournalError::Unknown(job))?)
    }

    fn read_ending(&self, row: &sqlx::sqlite::SqliteRow) -> Result<Ending, JournalError> {
        Ok(Ending {
            job: row.get::<String, _>(0).parse().map_err(|e| self.unreadable(e))?,
            attempt: row.get(1),
            lane: row.get::<String, _>(2).parse().map_err(|e| self.unreadable(e))?,
            event: self.read_json(&row.get::<String, _>(3))?,
        })
    }

    /// The broker has this report. If a power loss takes this note, the report is sent once more.
    pub async fn confirm(&self, ending: &Ending) -> Result<(), JournalError> {
        let mut tx = self.batches.write().await?;
        let confirmed = sqlx::query(
            "UPDATE jobs SET confirmed = 1 WHERE job = ? AND attempt = ? AND event IS NOT NULL RETURNING place",
        )
        .bind(ending.job.to_string())
        .bind(i64::from(ending.attempt))
        .fetch_optional(&mut *tx)
        .await
        .map_err(|e| self.failed(e))?;
        if confirmed.is_some_and(|row| row.get::<i64, _>(0) % FORGET_EVERY == 0) {
            self.forget_old(&mut tx).await?;
        }
        tx.done(()).in_time();
        Ok(())
    }

    async fn forget_old(&self, tx: &mut SqliteConnection) -> Result<(), JournalError> {
        sqlx::query(
            "DELETE FROM jobs WHERE confirmed = 1 AND place <=
             (SELECT place FROM jobs WHERE confirmed = 1 ORDER BY place DESC LIMIT 1 OFFSET ?)",
        )
        .bind(ENDED_KEPT_MAX)
        .execute(&mut *tx)
        .await
        .map_err(|e| self.failed(e))?;
        Ok(())
    }

    /// Ends that the broker has not confirmed: to be sent after a restart.
    pub async fn unconfirmed(&self) -> Result<Vec<Ending>, JournalError> {
        let rows = sqlx::query(
            "SELECT job, attempt, lane, event FROM jobs WHERE event IS NOT NULL AND confirmed = 0 ORDER BY place",
        )
        .fetch_all(&mut *self.batches.read().await?)
        .await
        .map_err(|e| self.failed(e))?;
        rows.iter().map(|row| self.read_ending(row)).collect()
    }

    /// Gives a job back: as if it had never come, but for the lane's highest seq.
    pub async fn forget(&self, job: JobId) -> Result<(), JournalError> {
        let mut tx = self.batches.write().await?;
        sqlx::query("DELETE FROM jobs WHERE (job = ?1 AND event IS NULL) OR after_job = ?1")
            .bind(job.to_string())
            .execute(&mut *tx)
            .await
            .map_err(|e| self.failed(e))?;
        tx.done(()).durable().await
    }
}
