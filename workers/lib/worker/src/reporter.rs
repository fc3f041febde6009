//! Reports on their way to the recorder: batched, and published until the broker confirms. It knows no job's state.

use std::sync::Arc;
use std::time::Duration;

use queue::{Outgoing, Queue, QueueError};
use schemas::{BATCH_MAX, MESSAGE_BYTES_MAX, QueueName, Report, SCHEMA};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::{backoff, step};

/// Reports that may wait for the broker; senders beyond it wait themselves.
const WAITING_MAX: usize = 4_096;
/// What the envelope around the reports takes at most.
const ENVELOPE_BYTES: usize = 64;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReportError {
    #[error("the reporter is closed; the report was not sent")]
    Closed,
    #[error("a report of {bytes} bytes; at most {MESSAGE_BYTES_MAX} are read")]
    TooLarge { bytes: usize },
}

/// Sends reports. Clones share one stream of messages.
#[derive(Clone)]
pub struct Reporter {
    waiting: mpsc::Sender<Waiting>,
    closing: CancellationToken,
    tasks: TaskTracker,
}

struct Waiting {
    json: Vec<u8>,
    confirmed: oneshot::Sender<()>,
}

impl Reporter {
    pub fn start(queue: Arc<dyn Queue>) -> Reporter {
        let (waiting, incoming) = mpsc::channel(WAITING_MAX);
        let closing = CancellationToken::new();
        let tasks = TaskTracker::new();
        tasks.spawn(publish_all(queue, incoming, closing.clone()));
        tasks.close();
        Reporter { waiting, closing, tasks }
    }

    /// Resolves once the broker has confirmed it. Dropping the future does not take the report back.
    pub async fn send(&self, report: Report) -> Result<(), ReportError> {
        step::mark("report");
        self.hand_in(&report).await?.await.map_err(|_| ReportError::Closed)?;
        step::mark("reported");
        Ok(())
    }

    /// Several, in order, in as few messages as possible.
    pub async fn send_all(&self, reports: Vec<Report>) -> Result<(), ReportError> {
        step::mark("report");
        let mut confirmations = Vec::with_capacity(reports.len());
        for report in &reports {
            confirmations.push(self.hand_in(report).await?);
        }
        for confirmation in confirmations {
            confirmation.await.map_err(|_| ReportError::Closed)?;
        }
        step::mark("reported");
        Ok(())
    }

    /// Publishes what was handed in, for at most `patience`, and takes no more.
    pub async fn close(&self, patience: Duration) {
        self.closing.cancel();
        if tokio::time::timeout(patience, self.tasks.wait()).await.is_err() {
            tracing::warn!("reports were left unsent: the broker did not confirm them in time");
        }
    }

    async fn hand_in(&self, report: &Report) -> Result<oneshot::Receiver<()>, ReportError> {
        let json = serde_json::to_vec(report).unwrap_or_default();
        let bytes = json.len() + ENVELOPE_BYTES;
        if bytes > MESSAGE_BYTES_MAX {
            return Err(ReportError::TooLarge { bytes });
        }
        let (confirmed, confirmation) = oneshot::channel();
        self.waiting.send(Waiting { json, confirmed }).await.map_err(|_| ReportError::Closed)?;
        Ok(confirmation)
    }
}

/// While one message is on its way the next one gathers: a lone report waits for nothing, a crowd shares.
async fn publish_all(queue: Arc<dyn Queue>, mut incoming: mpsc::Receiver<Waiting>, closing: CancellationToken) {
    let mut left_over = None;
    loop {
        let first = match left_over.take() {
            Some(waiting) => waiting,
            None => tokio::select! {
                biased;
                next = incoming.recv() => match next {
                    Some(waiting) => waiting,
                    None => return,
                },
                () = closing.cancelled(), if !incoming.is_closed() => {
                    incoming.close();
                    continue;
                }
            },
        };
        let batch;
        (batch, left_over) = gather(first, &mut incoming);
        if publish_until_confirmed(queue.as_ref(), envelope(&batch)).await.is_err() {
            return;
        }
        for waiting in batch {
            // Whoever asked may have gone; the report is confirmed all the same.
            let _ = waiting.confirmed.send(());
        }
    }
}

fn gather(first: Waiting, incoming: &mut mpsc::Receiver<Waiting>) -> (Vec<Waiting>, Option<Waiting>) {
    let mut bytes = ENVELOPE_BYTES + first.json.len();
    let mut batch = vec![first];
    while batch.len() < BATCH_MAX {
        let Ok(waiting) = incoming.try_recv() else { break };
        bytes += waiting.json.len() + 1;
        if bytes > MESSAGE_BYTES_MAX {
            return (batch, Some(waiting));
        }
        batch.push(waiting);
    }
    (batch, None)
}

/// `schemas::Reports`, put together from reports that are JSON already.
fn envelope(batch: &[Waiting]) -> Vec<u8> {
    let mut body = format!(r#"{{"schema":{SCHEMA},"reports":["#).into_bytes();
    for (index, waiting) in batch.iter().enumerate() {
        if index > 0 {
            body.push(b',');
        }
        body.extend_from_slice(&waiting.json);
    }
    body.extend_from_slice(b"]}");
    body
}

/// Fails only when the queue is closed.
async fn publish_until_confirmed(queue: &dyn Queue, body: Vec<u8>) -> Result<(), QueueError> {
    let message = Outgoing::new(QueueName::Reports, body);
    for attempt in 0.. {
        let error = match queue.publish(vec![message.clone()]).await.pop() {
            Some(Ok(())) => return Ok(()),
            Some(Err(QueueError::Unroutable { .. })) => match queue.declare(&QueueName::Reports).await {
                Ok(()) if attempt == 0 => continue,
                Ok(()) => QueueError::Unroutable { queue: QueueName::Reports.to_string() },
                Err(error) => error,
            },
            Some(Err(error)) => error,
            None => QueueError::Closed,
        };
        if error == QueueError::Closed {
            return Err(error);
        }
        tracing::warn!(%error, attempt, "reports are not confirmed yet");
        tokio::time::sleep(backoff(attempt, u64::from(std::process::id()))).await;
    }
    Err(QueueError::Closed)
}
