//! Ends of jobs and the reports about them, kept until the broker has confirmed them. It knows no broker.

use schemas::{Event, JobId, Lane};
use sqlx::{Row, Sqlite, Transaction};

use super::{ENDED_KEPT_MAX, Journal, JournalError};

/// A job's end, as it is to be reported.
#[derive(Debug, Clone, PartialEq)]
pub struct Ending {
    pub job: JobId,
    pub attempt: u32,
    pub lane: Lane,
    pub event: Event,
}

impl Journal {
    /// Writes the end of a job. Success frees what follows it; any other end forgets that: the recorder decides of it, and
    /// a new attempt of the job brings it again. A job that has ended keeps its first end.
    pub async fn end(&self, job: JobId, event: &Event) -> Result<Ending, JournalError> {
        let mut tx = self.pool.begin_with("BEGIN IMMEDIATE").await.map_err(|e| self.failed(e))?;
        let ending = self.end_in(&mut tx, job, event).await?;
        tx.commit().await.map_err(|e| self.failed(e))?;
        Ok(ending)
    }

    pub(super) async fn end_in(
        &self,
        tx: &mut Transaction<'_, Sqlite>,
        job: JobId,
        event: &Event,
    ) -> Result<Ending, JournalError> {
        let id = job.to_string();
        let ended = sqlx::query("UPDATE jobs SET event = ?, confirmed = 0 WHERE job = ? AND event IS NULL")
            .bind(self.write_json(event)?)
            .bind(&id)
            .execute(&mut **tx)
            .await
            .map_err(|e| self.failed(e))?;
        if ended.rows_affected() == 1 {
            let followers = match event {
                Event::Succeeded { .. } => "UPDATE jobs SET after_job = NULL WHERE after_job = ?",
                _ => "DELETE FROM jobs WHERE after_job = ?",
            };
            sqlx::query(followers).bind(&id).execute(&mut **tx).await.map_err(|e| self.failed(e))?;
        }
        self.ending(tx, job).await
    }

    /// Makes an old end's report one that is to be sent.
    pub(super) async fn reopen_report(
        &self,
        tx: &mut Transaction<'_, Sqlite>,
        job: JobId,
    ) -> Result<Ending, JournalError> {
        sqlx::query("UPDATE jobs SET confirmed = 0 WHERE job = ?")
            .bind(job.to_string())
            .execute(&mut **tx)
            .await
            .map_err(|e| self.failed(e))?;
        self.ending(tx, job).await
    }

    async fn ending(&self, tx: &mut Transaction<'_, Sqlite>, job: JobId) -> Result<Ending, JournalError> {
        let row = sqlx::query("SELECT job, attempt, lane, event FROM jobs WHERE job = ? AND event IS NOT NULL")
            .bind(job.to_string())
            .fetch_optional(&mut **tx)
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

    /// The broker has this report. Old ends are forgotten beyond `ENDED_KEPT_MAX`.
    pub async fn confirm(&self, ending: &Ending) -> Result<(), JournalError> {
        sqlx::query("UPDATE jobs SET confirmed = 1 WHERE job = ? AND attempt = ? AND event IS NOT NULL")
            .bind(ending.job.to_string())
            .bind(i64::from(ending.attempt))
            .execute(&self.pool)
            .await
            .map_err(|e| self.failed(e))?;
        sqlx::query(
            "DELETE FROM jobs WHERE confirmed = 1 AND place <=
             (SELECT place FROM jobs WHERE confirmed = 1 ORDER BY place DESC LIMIT 1 OFFSET ?)",
        )
        .bind(ENDED_KEPT_MAX)
        .execute(&self.pool)
        .await
        .map_err(|e| self.failed(e))?;
        Ok(())
    }

    /// Ends that the broker has not confirmed: to be sent after a restart.
    pub async fn unconfirmed(&self) -> Result<Vec<Ending>, JournalError> {
        let rows = sqlx::query(
            "SELECT job, attempt, lane, event FROM jobs WHERE event IS NOT NULL AND confirmed = 0 ORDER BY place",
        )
        .fetch_all(&self.pool)
        .await
        .map_err(|e| self.failed(e))?;
        rows.iter().map(|row| self.read_ending(row)).collect()
    }

    /// Gives a job back: as if it had never come, but for the lane's highest seq.
    pub async fn forget(&self, job: JobId) -> Result<(), JournalError> {
        sqlx::query("DELETE FROM jobs WHERE (job = ?1 AND event IS NULL) OR after_job = ?1")
            .bind(job.to_string())
            .execute(&self.pool)
            .await
            .map_err(|e| self.failed(e))?;
        Ok(())
    }
}
