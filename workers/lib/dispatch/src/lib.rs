//! Rows to the queue: publishes what records hands out, and tells records what the broker confirmed. It decides nothing; a
//! message that is not confirmed stays a row, and is published again by whoever finds it.

use std::collections::BTreeSet;
use std::sync::Arc;

use queue::{Outgoing, Queue, QueueError};
use records::{Published, Records, ToPublish};
use schemas::{Control, JobId, Lane, QueueName, SubscriberName};
use tokio::sync::Mutex;

/// Before a message that was not confirmed is tried again, in milliseconds.
const AGAIN_AFTER_MS: i64 = 1_000;

pub struct Dispatcher {
    records: Records,
    queue: Arc<dyn Queue>,
    /// Queues that this process has declared. Held while publishing, so that one lane's messages leave in their order.
    declared: Mutex<BTreeSet<QueueName>>,
}

impl Dispatcher {
    pub fn new(records: Records, queue: Arc<dyn Queue>) -> Arc<Dispatcher> {
        Arc::new(Dispatcher { records, queue, declared: Mutex::new(BTreeSet::new()) })
    }

    /// Publishes and records the outcome; what failed is free again after a moment. Faults are logged here, because the rows
    /// are the outbox: nothing is lost by them.
    pub async fn publish(&self, jobs: Vec<ToPublish>) {
        if jobs.is_empty() {
            return;
        }
        let mut declared = self.declared.lock().await;
        let mut confirmed = Vec::with_capacity(jobs.len());
        let mut failed = Vec::new();
        let mut batch = Vec::with_capacity(jobs.len());
        let mut stamps = Vec::with_capacity(jobs.len());
        for job in jobs {
            let stamp = Published { job: job.job, seq: job.seq };
            match self.message(&mut declared, &job).await {
                Ok(message) => {
                    batch.push(message);
                    stamps.push((stamp, job.queue));
                }
                Err(error) => {
                    tracing::warn!(job = %stamp.job, queue = %job.queue, %error, "not published; it will be tried again");
                    failed.push(stamp);
                }
            }
        }
        for (result, (stamp, queue)) in self.queue.publish(batch).await.into_iter().zip(stamps) {
            match result {
                Ok(()) => confirmed.push(stamp),
                Err(error) => {
                    tracing::warn!(job = %stamp.job, %queue, %error, "not published; it will be tried again");
                    // Deleted underneath: declared again with the next try.
                    declared.remove(&queue);
                    failed.push(stamp);
                }
            }
        }
        drop(declared);
        self.note(&confirmed, &failed).await;
    }

    async fn message(&self, declared: &mut BTreeSet<QueueName>, job: &ToPublish) -> Result<Outgoing, QueueError> {
        self.declare(declared, &job.queue).await?;
        let body = serde_json::to_vec(&job.message).map_err(|e| QueueError::Refused { reason: e.to_string() })?;
        let mut message = Outgoing::new(job.queue.clone(), body);
        message.message_id = Some(format!("{}/{}", job.job, job.seq.n));
        Ok(message)
    }

    async fn declare(&self, declared: &mut BTreeSet<QueueName>, queue: &QueueName) -> Result<(), QueueError> {
        if !declared.contains(queue) {
            self.queue.declare(queue).await?;
            declared.insert(queue.clone());
        }
        Ok(())
    }

    async fn note(&self, confirmed: &[Published], failed: &[Published]) {
        if let Err(error) = self.records.published(confirmed).await {
            tracing::warn!(%error, jobs = confirmed.len(), "published, but not recorded so; they may be published twice");
        }
        if !failed.is_empty()
            && let Err(error) = self.records.unpublished(failed, AGAIN_AFTER_MS).await
        {
            tracing::warn!(%error, jobs = failed.len(), "not published; their claim has to run out first");
        }
    }

    /// Tells one site something outside its lanes.
    pub async fn control(&self, site: &SubscriberName, control: &Control) -> Result<(), QueueError> {
        self.control_on(QueueName::Control(site.clone()), control).await
    }

    /// Tells many sites something outside their lanes, in one batch. A result for each in order; there are no more after one that
    /// could not reach the broker.
    pub async fn controls(&self, controls: &[(&SubscriberName, &Control)]) -> Vec<Result<(), QueueError>> {
        let (mut results, mut places, mut batch) = (Vec::new(), Vec::new(), Vec::new());
        for (site, control) in controls {
            match self.control_message(QueueName::Control((*site).clone()), control).await {
                Ok((queue, message)) => {
                    places.push((results.len(), queue));
                    batch.push(message);
                    results.push(Ok(()));
                }
                Err(error @ QueueError::Refused { .. }) => results.push(Err(error)),
                Err(error) => {
                    results.push(Err(error));
                    break;
                }
            }
        }
        for ((place, queue), result) in places.into_iter().zip(self.queue.publish(batch).await) {
            if result.is_err() {
                self.declared.lock().await.remove(&queue);
            }
            results[place] = result;
        }
        results
    }

    /// Declared one at a time: jobs that are published meanwhile wait for one of them at most.
    async fn control_message(&self, queue: QueueName, control: &Control) -> Result<(QueueName, Outgoing), QueueError> {
        let body = serde_json::to_vec(control).map_err(|e| QueueError::Refused { reason: e.to_string() })?;
        self.declare(&mut *self.declared.lock().await, &queue).await?;
        Ok((queue.clone(), Outgoing::new(queue, body)))
    }

    /// Asks whoever has this job to stop.
    pub async fn cancel(&self, job: JobId, lane: &Lane) -> Result<(), QueueError> {
        let queue = match lane {
            Lane::Build(_) => QueueName::BuilderControl,
            Lane::Site(site) => QueueName::Control(site.subscriber.clone()),
        };
        self.control_on(queue, &Control::Cancel { job }).await
    }

    async fn control_on(&self, queue: QueueName, control: &Control) -> Result<(), QueueError> {
        let (queue, message) = self.control_message(queue, control).await?;
        let sent = self.queue.publish(vec![message]).await.into_iter().next().unwrap_or(Ok(()));
        if sent.is_err() {
            self.declared.lock().await.remove(&queue);
        }
        sent
    }
}
