//! A delivery of RabbitMQ: settled, or given back when it is dropped. It keeps its channel open for as long.

use std::sync::Arc;

use async_trait::async_trait;
use lapin::options::{BasicAckOptions, BasicNackOptions};
use lapin::{Acker, Channel};
use tokio::runtime::Handle;

use crate::{QueueError, Settle};

const REQUEUE: BasicNackOptions = BasicNackOptions { multiple: false, requeue: true };

pub(super) struct AmqpSettle {
    acker: Acker,
    channel: Arc<Channel>,
    runtime: Handle,
}

impl AmqpSettle {
    pub fn new(acker: Acker, channel: Arc<Channel>) -> AmqpSettle {
        AmqpSettle { acker, channel, runtime: Handle::current() }
    }
}

#[async_trait]
impl Settle for AmqpSettle {
    async fn ack(self: Box<Self>) -> Result<(), QueueError> {
        done(self.acker.ack(BasicAckOptions::default()).await)
    }

    async fn requeue(self: Box<Self>) -> Result<(), QueueError> {
        done(self.acker.nack(REQUEUE).await)
    }

    fn is_stale(&self) -> bool {
        self.acker.poisoned() || !self.channel.status().connected()
    }
}

impl Drop for AmqpSettle {
    fn drop(&mut self) {
        if self.acker.usable() {
            let (acker, channel) = (self.acker.clone(), self.channel.clone());
            self.runtime.spawn(async move {
                // If it fails, the channel is gone, and the broker has the message back.
                let _ = acker.nack(REQUEUE).await;
                drop(channel);
            });
        }
    }
}

/// `Ok(false)` is lapin's word for an acker whose channel is dead.
fn done(settled: lapin::Result<bool>) -> Result<(), QueueError> {
    match settled {
        Ok(true) => Ok(()),
        Ok(false) | Err(_) => Err(QueueError::Stale),
    }
}
