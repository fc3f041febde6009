//! Signs of life: presence and progress become the last known value; and the recorder's own sign, up to when everything
//! reported is recorded, without which nobody's silence is judged.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use queue::Queue;
use records::Records;
use schemas::{Beat, MESSAGE_BYTES_MAX, QueueName, SCHEMA};
use tokio_util::sync::CancellationToken;
use worker::QueueReader;

use crate::Config;

const PREFETCH: u16 = 256;

/// The time of the oldest report that is in hand and not recorded yet.
#[derive(Default)]
pub struct Heard(AtomicI64);

impl Heard {
    pub fn set(&self, oldest_ms: Option<i64>) {
        self.0.store(oldest_ms.unwrap_or(0), Ordering::Release);
    }

    fn oldest_ms(&self) -> Option<i64> {
        Some(self.0.load(Ordering::Acquire)).filter(|&ms| ms > 0)
    }
}

pub async fn run(records: &Records, queue: &Arc<dyn Queue>, shutdown: &CancellationToken) -> anyhow::Result<()> {
    let opened = QueueReader::open(queue.as_ref(), &QueueName::Progress, PREFETCH, shutdown).await?;
    let Some(mut reader) = opened else { return Ok(()) };
    while let Some(delivery) = reader.next().await {
        if delivery.body.len() <= MESSAGE_BYTES_MAX {
            match serde_json::from_slice::<Beat>(&delivery.body) {
                Ok(beat) => apply(records, beat).await,
                Err(error) => tracing::warn!(%error, "a sign of life cannot be read"),
            }
        }
        // Transient by nature: one that failed is not tried again.
        let _ = delivery.ack().await;
    }
    Ok(())
}

async fn apply(records: &Records, beat: Beat) {
    let result = match &beat {
        Beat::Presence(presence) if presence.schema == SCHEMA => records.presence(presence).await.map(|known| {
            if !known {
                tracing::warn!(subscriber = %presence.subscriber, "a site that is not defined says that it lives");
            }
        }),
        Beat::Progress(progress) if progress.schema == SCHEMA => {
            records.progress(&progress.worker, &progress.jobs).await
        }
        Beat::Presence(_) | Beat::Progress(_) => {
            tracing::warn!("a sign of life of an unknown schema is ignored");
            Ok(())
        }
    };
    if let Err(error) = result {
        tracing::warn!(%error, "a sign of life was not recorded");
    }
}

/// Says every moment up to when everything is recorded: now if the report queue is empty and nothing is in hand, else the
/// time of the oldest report in hand.
pub async fn keep_hearing(
    config: &Config,
    records: &Records,
    queue: &Arc<dyn Queue>,
    heard: &Heard,
    shutdown: &CancellationToken,
) -> anyhow::Result<()> {
    let gap_ms = config.gap.as_millis() as i64;
    while !shutdown.is_cancelled() {
        let through = match (heard.oldest_ms(), queue.depth(&QueueName::Reports).await) {
            (Some(oldest_ms), _) => Some(Some(oldest_ms)),
            (None, Ok(0)) => Some(None),
            // Something waits that nobody has looked at, or the broker is away: nothing more is known than before.
            (None, _) => None,
        };
        if let Some(through) = through
            && let Err(error) = records.heard(through, gap_ms).await
        {
            tracing::debug!(%error, "could not say up to when reports are recorded");
        }
        worker::pause(config.heard_every, shutdown).await;
    }
    Ok(())
}
