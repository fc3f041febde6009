//! From `queued` rows to the broker and back: a row is its own outbox entry. A publisher claims it for a while under the lane's
//! next number; a confirm counts only for the number that it was given for, so a publisher that wakes late changes nothing.

use std::collections::BTreeSet;

use schemas::{JobId, JobMessage, QueueName, Seq};
use sea_orm::Value;

use crate::db::{Records, RecordsError, clock_ms};
use crate::events::{self, JobEvent};
use crate::leases::Term;
use crate::{STEP_MAX, compose, lanes, promote, sql};

/// A message that the caller has to publish and then report as published or not.
#[derive(Debug, Clone)]
pub struct ToPublish {
    pub job: JobId,
    pub seq: Seq,
    pub queue: QueueName,
    pub message: JobMessage,
}

/// A message that the broker confirmed.
#[derive(Debug, Clone, Copy)]
pub struct Published {
    pub job: JobId,
    pub seq: Seq,
}

impl Records {
    /// Queued jobs whose publisher did not see it through, claimed anew.
    pub async fn claim_unpublished(&self) -> Result<Vec<ToPublish>, RecordsError> {
        self.claim_unpublished_in(None).await
    }

    /// A leader's claim counts only under its term.
    pub(crate) async fn claim_unpublished_in(&self, term: Option<&Term>) -> Result<Vec<ToPublish>, RecordsError> {
        let find = format!(
            "SELECT DISTINCT lane FROM tide_jobs WHERE state = 'queued' AND published_ms IS NULL AND carried_by IS NULL
                AND claimed_until_ms < $1 LIMIT {STEP_MAX}"
        );
        let names = sql::texts(self.reader(), &find, vec![clock_ms().into()]).await?;
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let now_ms = clock_ms();
        let tx = match term {
            Some(term) => self.fenced(term).await?,
            None => self.begin().await?,
        };
        let mut locked = lanes::lock(&tx, &names.into_iter().collect::<BTreeSet<_>>()).await?;
        let list = sql::list(2, locked.len());
        let text = format!(
            "SELECT id FROM tide_jobs WHERE state = 'queued' AND published_ms IS NULL AND carried_by IS NULL
                AND claimed_until_ms < $1 AND lane IN ({list}) ORDER BY lane, seq_n LIMIT {STEP_MAX}"
        );
        let mut values: Vec<Value> = vec![now_ms.into()];
        values.extend(locked.iter().map(|lane| Value::from(lane.name.clone())));
        let ids = sql::texts(&tx, &text, values).await?;
        let mut rows = promote::load(&tx, ids.clone()).await?;
        let jobs: Vec<_> = ids.iter().filter_map(|id| rows.remove(id)).collect();
        let again: Vec<JobEvent> = jobs
            .iter()
            .filter(|job| job.raw.publications > 0)
            .map(|job| JobEvent {
                job: job.id,
                at_ms: now_ms,
                attempt: job.attempt,
                event: "republished",
                worker: None,
                detail: None,
            })
            .collect();
        events::insert(&tx, &again).await?;
        let numbered = promote::take_numbers(&tx, &mut locked, jobs, now_ms).await?;
        let publish = compose::compose(&tx, numbered).await?;
        tx.commit().await?;
        Ok(publish)
    }

    /// Confirmed by the broker. Counts only under the number that was published; returns how many rows it marked.
    pub async fn published(&self, confirmed: &[Published]) -> Result<u64, RecordsError> {
        let now_ms = clock_ms();
        let rows = stamped(confirmed, now_ms);
        let rest = "UPDATE tide_jobs SET published_ms = v.at FROM v
            WHERE tide_jobs.id = v.id AND tide_jobs.seq_n = v.n AND tide_jobs.seq_epoch = v.epoch
                AND tide_jobs.state IN ('queued', 'running') AND tide_jobs.published_ms IS NULL";
        Ok(sql::with_rows(self.writer(), &["id", "n", "epoch", "at"], &rows, rest).await?)
    }

    /// Not confirmed: free for another try after `after_ms`.
    pub async fn unpublished(&self, failed: &[Published], after_ms: i64) -> Result<u64, RecordsError> {
        let rows = stamped(failed, clock_ms() + after_ms);
        let rest = "UPDATE tide_jobs SET claimed_until_ms = v.at FROM v
            WHERE tide_jobs.id = v.id AND tide_jobs.seq_n = v.n AND tide_jobs.seq_epoch = v.epoch AND tide_jobs.published_ms IS NULL";
        Ok(sql::with_rows(self.writer(), &["id", "n", "epoch", "at"], &rows, rest).await?)
    }

    /// Starts a new epoch: whatever was published before may be lost, and is published again. For a restored backup, and at
    /// every start of the in-process queue.
    pub async fn new_epoch(&self) -> Result<u64, RecordsError> {
        let tx = self.begin().await?;
        sql::exec(&tx, "UPDATE tide_meta SET number = number + 1 WHERE name = 'epoch'", vec![]).await?;
        let epoch = sql::number(&tx, "SELECT number FROM tide_meta WHERE name = 'epoch'", vec![]).await?;
        // A site's running job belongs to its journal, a builder's died with its process.
        let again = "UPDATE tide_jobs SET published_ms = NULL, claimed_until_ms = 0 WHERE state = 'queued' AND carried_by IS NULL";
        sql::exec(&tx, again, vec![]).await?;
        tx.commit().await?;
        epoch.map(|e| e as u64).ok_or_else(|| RecordsError::Corrupt("no epoch".into()))
    }
}

fn stamped(published: &[Published], at_ms: i64) -> Vec<Vec<Value>> {
    published
        .iter()
        .map(|p| vec![p.job.to_string().into(), (p.seq.n as i64).into(), (p.seq.epoch as i64).into(), at_ms.into()])
        .collect()
}
