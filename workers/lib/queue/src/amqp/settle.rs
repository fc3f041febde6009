//! A delivery of RabbitMQ: settled, or given back when it is dropped. It keeps its channel open for as long.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use lapin::options::{BasicAckOptions, BasicNackOptions};
use lapin::{Acker, Channel};
use tokio::runtime::Handle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::{QueueError, Settle};

/// An acknowledgement that is under way when its channel dies may never end by itself.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(10);
const REQUEUE: BasicNackOptions = BasicNackOptions { multiple: false, requeue: true };

pub(super) struct AmqpSettle {
    acker: Acker,
    channel: Arc<Channel>,
    /// Cancelled with the connection.
    lost: CancellationToken,
    runtime: Handle,
}

impl AmqpSettle {
    pub fn new(acker: Acker, channel: Arc<Channel>, lost: CancellationToken) -> AmqpSettle {
        AmqpSettle { acker, channel, lost, runtime: Handle::current() }
    }
}

#[async_trait]
impl Settle for AmqpSettle {
    async fn ack(self: Box<Self>) -> Result<(), QueueError> {
        done(self.acker.ack(BasicAckOptions::default()), &self.lost).await
    }

    async fn requeue(self: Box<Self>) -> Result<(), QueueError> {
        done(self.acker.nack(REQUEUE), &self.lost).await
    }

    fn is_stale(&self) -> bool {
        self.acker.poisoned() || !self.channel.status().connected()
    }
}

impl Drop for AmqpSettle {
    fn drop(&mut self) {
        if self.acker.usable() {
            let (acker, channel, lost) = (self.acker.clone(), self.channel.clone(), self.lost.clone());
            self.runtime.spawn(async move {
                // If it fails, the channel is gone, and the broker has the message back.
                let _ = done(acker.nack(REQUEUE), &lost).await;
                drop(channel);
            });
        }
    }
}

/// `Ok(false)` is lapin's word for an acker whose channel is dead.
async fn done(settling: impl Future<Output = lapin::Result<bool>>, lost: &CancellationToken) -> Result<(), QueueError> {
    tokio::select! {
        biased;
        settled = timeout(SETTLE_TIMEOUT, settling) => match settled {
            Ok(Ok(true)) => Ok(()),
            _ => Err(QueueError::Stale),
        },
        () = lost.cancelled() => Err(QueueError::Stale),
    }
}
