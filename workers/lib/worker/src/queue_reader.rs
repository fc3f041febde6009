//! A queue read delivery by delivery or batch by batch, from when the broker is there until the shutdown. It knows nothing
//! of what is done with a delivery.

use std::time::Duration;

use queue::{Consumer, Delivery, Queue, QueueError};
use schemas::QueueName;
use tokio_util::sync::CancellationToken;

/// Between two tries while the broker is away.
const AGAIN: Duration = Duration::from_millis(500);

pub struct QueueReader {
    consumer: Consumer,
    shutdown: CancellationToken,
}

impl QueueReader {
    /// Tries until the broker is there; `None` at shutdown. Fails if the broker refuses, or the queue is closed.
    pub async fn open(
        queue: &dyn Queue,
        name: &QueueName,
        prefetch: u16,
        shutdown: &CancellationToken,
    ) -> Result<Option<QueueReader>, QueueError> {
        while !shutdown.is_cancelled() {
            match queue.consume(name, prefetch).await {
                Ok(consumer) => return Ok(Some(QueueReader { consumer, shutdown: shutdown.clone() })),
                Err(error) if error.is_transient() => {
                    tracing::warn!(queue = %name, %error, "a queue cannot be consumed yet");
                    pause(AGAIN, shutdown).await;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// `None` at shutdown, and when the queue is closed.
    pub async fn next(&mut self) -> Option<Delivery> {
        tokio::select! {
            biased;
            () = self.shutdown.cancelled() => None,
            delivery = self.consumer.next() => delivery,
        }
    }

    /// Waits for one delivery, and takes what is there besides, up to `most`.
    pub async fn next_batch(&mut self, most: usize) -> Option<Vec<Delivery>> {
        let mut batch = vec![self.next().await?];
        while batch.len() < most
            && let Some(more) = self.consumer.try_next()
        {
            batch.push(more);
        }
        Some(batch)
    }
}

/// Waits, but not past the shutdown.
pub async fn pause(time: Duration, shutdown: &CancellationToken) {
    tokio::select! {
        () = tokio::time::sleep(time) => {}
        () = shutdown.cancelled() => {}
    }
}
