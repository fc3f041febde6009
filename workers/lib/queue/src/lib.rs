//! Durable messages between processes: one trait, two implementations (RabbitMQ by lapin, and in process), one suite.
//! It knows nothing of what is in a message.

use std::collections::BTreeMap;

use async_trait::async_trait;
use bytes::Bytes;
use schemas::QueueName;

/// A connection to a broker that reconnects for ever and declares what it uses again after each reconnect.
#[async_trait]
pub trait Queue: Send + Sync + 'static {
    /// Creates the queue, and for `Requests` its exchange and binding, if absent.
    async fn declare(&self, queue: &QueueName) -> Result<(), QueueError>;

    /// Publishes persistently (transiently to transient queues); result *i* belongs to message *i*. `Ok` means confirmed
    /// by the broker **and** routed to a queue.
    async fn publish(&self, messages: Vec<Outgoing>) -> Vec<Result<(), QueueError>>;

    /// Deliveries of one queue, at most `prefetch` of them unacknowledged at a time. The consumer outlives reconnects and
    /// ends only when it is dropped or the connection is closed by `close`.
    async fn consume(&self, queue: &QueueName, prefetch: u16) -> Result<Consumer, QueueError>;

    /// Messages that are ready for delivery.
    async fn depth(&self, queue: &QueueName) -> Result<u64, QueueError>;

    /// Deletes a queue with all that is in it; no error if it is absent.
    async fn delete(&self, queue: &QueueName) -> Result<(), QueueError>;

    /// False for the in-process queue: what it held is gone after a restart, and the caller starts a new epoch.
    fn survives_restart(&self) -> bool;

    /// Ends every consumer and connection; unacknowledged deliveries go back.
    async fn close(&self);
}

/// Where a message goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    Queue(QueueName),
    /// The `reply_to` of somebody's request: a queue that the asker made.
    Reply(String),
}

#[derive(Debug, Clone)]
pub struct Outgoing {
    pub to: Address,
    pub body: Bytes,
    pub message_id: Option<String>,
    pub correlation_id: Option<String>,
    pub reply_to: Option<String>,
    pub headers: BTreeMap<String, String>,
}

impl Outgoing {
    pub fn new(to: QueueName, body: impl Into<Bytes>) -> Outgoing {
        Outgoing {
            to: Address::Queue(to),
            body: body.into(),
            message_id: None,
            correlation_id: None,
            reply_to: None,
            headers: BTreeMap::new(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueueError {
    #[error("{queue} does not exist at the broker: no queue took the message")]
    Unroutable { queue: String },
    #[error("the broker refused: {reason}")]
    Refused { reason: String },
    #[error("the broker cannot be reached or did not confirm: {reason}")]
    Unavailable { reason: String },
    #[error("the delivery belongs to a connection that is gone; the broker delivers it again")]
    Stale,
    #[error("the queue is closed")]
    Closed,
}

impl QueueError {
    pub fn is_transient(&self) -> bool {
        matches!(self, QueueError::Unavailable { .. } | QueueError::Stale)
    }
}

/// A stream of deliveries.
pub struct Consumer {
    deliveries: tokio::sync::mpsc::Receiver<Delivery>,
}

impl Consumer {
    pub(crate) fn new(deliveries: tokio::sync::mpsc::Receiver<Delivery>) -> Consumer {
        Consumer { deliveries }
    }

    /// The next delivery; `None` once the connection is closed.
    pub async fn next(&mut self) -> Option<Delivery> {
        self.deliveries.recv().await
    }

    /// A delivery that is there already, without waiting.
    pub fn try_next(&mut self) -> Option<Delivery> {
        self.deliveries.try_recv().ok()
    }
}

/// One message in hand. Dropping it unsettled gives it back to the queue.
pub struct Delivery {
    pub body: Bytes,
    pub redelivered: bool,
    /// The broker's proof of who published it; `None` in process or if the publisher did not set it.
    pub user_id: Option<String>,
    pub message_id: Option<String>,
    pub correlation_id: Option<String>,
    pub reply_to: Option<String>,
    pub headers: BTreeMap<String, String>,
    pub(crate) settle: Option<Box<dyn Settle>>,
}

impl Delivery {
    /// Done with it. `Err(Stale)` if it will be delivered again all the same.
    pub async fn ack(mut self) -> Result<(), QueueError> {
        match self.settle.take() {
            Some(settle) => settle.ack().await,
            None => Ok(()),
        }
    }

    /// Back to the queue.
    pub async fn requeue(mut self) -> Result<(), QueueError> {
        match self.settle.take() {
            Some(settle) => settle.requeue().await,
            None => Ok(()),
        }
    }
}

#[async_trait]
pub(crate) trait Settle: Send + Sync {
    async fn ack(self: Box<Self>) -> Result<(), QueueError>;
    async fn requeue(self: Box<Self>) -> Result<(), QueueError>;
}
