//! What a message does to the journal, in one transaction. It knows nothing of deliveries and acknowledgements.

use schemas::{Event, Follow, JobId, JobMessage, Priority, Seq, Task};
use sqlx::Row;
use sqlx::sqlite::SqliteConnection;

use super::ending::Ending;
use super::{Journal, JournalError, Written, signed};

/// What became of a message.
#[derive(Debug, Clone, PartialEq)]
pub enum Admission {
    /// Written down; it is to be started in its turn.
    Taken,
    /// In hand already, now under the message's attempt if that is newer; nothing is started.
    InHand,
    /// Ended before: these terminal reports are to be sent again.
    Ended(Vec<Ending>),
    /// Not above the lane's highest: refused, and nothing is written.
    Stale { highest: Seq },
}

enum Known {
    No,
    Open,
    Ended { attempt: u32, event: Box<Event> },
}

impl Journal {
    pub async fn admit(&self, message: &JobMessage) -> Result<Written<Admission>, JournalError> {
        let mut tx = self.batches.write().await?;
        let admission = self.decide(&mut tx, message).await?;
        Ok(tx.done(admission))
    }

    async fn decide(&self, tx: &mut SqliteConnection, message: &JobMessage) -> Result<Admission, JournalError> {
        let highest = self.highest(tx, message).await?;
        let fresh = highest.is_none_or(|h| message.seq > h);
        match self.known(tx, message.job).await? {
            Known::Open => {
                self.rename(tx, message.job, message.attempt).await?;
                if let Some(follow) = &message.then {
                    self.take_follow(tx, message, follow, Some(message.job)).await?;
                }
                self.raise_highest(tx, message).await?;
                Ok(Admission::InHand)
            }
            // Its window ended; now there is another, and what came so far counts.
            Known::Ended { event, .. } if fresh && is_stop(&event) => {
                self.raise_highest(tx, message).await?;
                self.take_up_again(tx, message).await
            }
            Known::Ended { attempt, event } if !to_be_done_again(&event, attempt, message.attempt) => {
                self.raise_highest(tx, message).await?;
                self.repeat(tx, message, &event).await
            }
            Known::No | Known::Ended { .. } if !fresh => {
                Ok(Admission::Stale { highest: highest.unwrap_or(message.seq) })
            }
            Known::No | Known::Ended { .. } => {
                self.raise_highest(tx, message).await?;
                self.take(tx, message).await
            }
        }
    }

    async fn take(&self, tx: &mut SqliteConnection, message: &JobMessage) -> Result<Admission, JournalError> {
        if self.is_cancelled(tx, message.job).await? {
            self.insert(tx, message, message.job, message.attempt, &message.task, None).await?;
            let ended = self.end_in(tx, message.job, &Event::Cancelled {}).await?;
            return Ok(Admission::Ended(vec![ended.ending]));
        }
        self.insert(tx, message, message.job, message.attempt, &message.task, None).await?;
        if let Some(follow) = &message.then {
            self.take_follow(tx, message, follow, Some(message.job)).await?;
        }
        Ok(Admission::Taken)
    }

    async fn take_up_again(&self, tx: &mut SqliteConnection, message: &JobMessage) -> Result<Admission, JournalError> {
        sqlx::query(
            "UPDATE jobs SET attempt = ?, task = ?, priority = ?, after_job = NULL, tries = 0, event = NULL, confirmed = 0,
                place = (SELECT MAX(place) + 1 FROM jobs) WHERE job = ?",
        )
        .bind(i64::from(message.attempt))
        .bind(self.write_json(&message.task)?)
        .bind(i64::from(priority_of(&message.task).rank()))
        .bind(message.job.to_string())
        .execute(&mut *tx)
        .await
        .map_err(|e| self.failed(e))?;
        if let Some(follow) = &message.then {
            self.take_follow(tx, message, follow, Some(message.job)).await?;
        }
        Ok(Admission::InHand)
    }

    /// The message's job has ended: its report goes again under the newest attempt, and what follows it is taken up if
    /// it was never here.
    async fn repeat(
        &self,
        tx: &mut SqliteConnection,
        message: &JobMessage,
        event: &Event,
    ) -> Result<Admission, JournalError> {
        self.rename(tx, message.job, message.attempt).await?;
        let mut endings = vec![self.reopen_report(tx, message.job).await?];
        if let (Some(follow), Event::Succeeded { .. }) = (&message.then, event) {
            self.take_follow(tx, message, follow, None).await?;
            if let Known::Ended { .. } = self.known(tx, follow.job).await? {
                endings.push(self.reopen_report(tx, follow.job).await?);
            }
        }
        Ok(Admission::Ended(endings))
    }

    async fn take_follow(
        &self,
        tx: &mut SqliteConnection,
        message: &JobMessage,
        follow: &Follow,
        after: Option<JobId>,
    ) -> Result<(), JournalError> {
        let again = match self.known(tx, follow.job).await? {
            Known::Open => return self.rename(tx, follow.job, follow.attempt).await,
            Known::Ended { attempt, event } => to_be_done_again(&event, attempt, follow.attempt),
            Known::No => true,
        };
        if !again {
            return self.rename(tx, follow.job, follow.attempt).await;
        }
        let task = Task::Extract(follow.task.clone());
        self.insert(tx, message, follow.job, follow.attempt, &task, after).await
    }

    async fn insert(
        &self,
        tx: &mut SqliteConnection,
        message: &JobMessage,
        job: JobId,
        attempt: u32,
        task: &Task,
        after: Option<JobId>,
    ) -> Result<(), JournalError> {
        sqlx::query(
            "INSERT OR REPLACE INTO jobs (job, place, lane, attempt, task, priority, after_job)
             VALUES (?, (SELECT COALESCE(MAX(place), 0) + 1 FROM jobs), ?, ?, ?, ?, ?)",
        )
        .bind(job.to_string())
        .bind(message.lane.to_string())
        .bind(i64::from(attempt))
        .bind(self.write_json(task)?)
        .bind(i64::from(priority_of(&message.task).rank()))
        .bind(after.map(|j| j.to_string()))
        .execute(&mut *tx)
        .await
        .map_err(|e| self.failed(e))?;
        Ok(())
    }

    async fn rename(&self, tx: &mut SqliteConnection, job: JobId, attempt: u32) -> Result<(), JournalError> {
        sqlx::query("UPDATE jobs SET attempt = MAX(attempt, ?) WHERE job = ?")
            .bind(i64::from(attempt))
            .bind(job.to_string())
            .execute(&mut *tx)
            .await
            .map_err(|e| self.failed(e))?;
        Ok(())
    }

    async fn known(&self, tx: &mut SqliteConnection, job: JobId) -> Result<Known, JournalError> {
        let row = sqlx::query("SELECT attempt, event FROM jobs WHERE job = ?")
            .bind(job.to_string())
            .fetch_optional(&mut *tx)
            .await
            .map_err(|e| self.failed(e))?;
        let Some(row) = row else { return Ok(Known::No) };
        Ok(match self.read_event(row.get(1))? {
            Some(event) => Known::Ended { attempt: row.get(0), event: Box::new(event) },
            None => Known::Open,
        })
    }

    async fn highest(&self, tx: &mut SqliteConnection, message: &JobMessage) -> Result<Option<Seq>, JournalError> {
        let row = sqlx::query("SELECT epoch, n FROM lanes WHERE lane = ? AND n >= 0")
            .bind(message.lane.to_string())
            .fetch_optional(&mut *tx)
            .await
            .map_err(|e| self.failed(e))?;
        Ok(row.map(|r| Seq { epoch: r.get::<i64, _>(0) as u64, n: r.get::<i64, _>(1) as u64 }))
    }

    async fn raise_highest(&self, tx: &mut SqliteConnection, message: &JobMessage) -> Result<(), JournalError> {
        sqlx::query(
            "INSERT INTO lanes (lane, epoch, n) VALUES (?, ?, ?)
             ON CONFLICT (lane) DO UPDATE SET epoch = excluded.epoch, n = excluded.n
             WHERE (excluded.epoch, excluded.n) > (lanes.epoch, lanes.n)",
        )
        .bind(message.lane.to_string())
        .bind(signed(message.seq.epoch))
        .bind(signed(message.seq.n))
        .execute(&mut *tx)
        .await
        .map_err(|e| self.failed(e))?;
        Ok(())
    }
}

/// A failure is worked on again when a newer attempt asks for it; success and cancellation are final.
fn to_be_done_again(event: &Event, ended_attempt: u32, asked_attempt: u32) -> bool {
    matches!(event, Event::Failed { .. }) && asked_attempt > ended_attempt
}

fn is_stop(event: &Event) -> bool {
    matches!(event, Event::Stopped { .. })
}

pub(super) fn priority_of(task: &Task) -> Priority {
    match task {
        Task::Send(send) => send.priority,
        Task::Build(_) | Task::Extract(_) | Task::Collect(_) => Priority::Medium,
    }
}
