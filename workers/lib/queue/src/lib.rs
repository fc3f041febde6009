//! Durable messages between processes: one trait, two implementations (RabbitMQ by lapin, and in process), one suite.
//! It knows nothing of what is in a message.

#[cfg(feature = "amqp")]
pub mod amqp;
pub mod local;

use std::collections::BTreeMap;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use schemas::QueueName;

/// Messages that a transient queue keeps; above it the oldest go.
pub const TRANSIENT_MESSAGES_MAX: usize = 4_096;
/// How long `Consumer::stop` waits for the broker's word.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection to a broker that reconnects for ever and declares what it uses again after each reconnect.
#[async_trait]
pub trait Queue: Send + Sync + 'static {
    /// Creates the queue, and for `Requests` its exchange and binding, if absent. For `BuilderControl` only the exchange.
    async fn declare(&self, queue: &QueueName) -> Result<(), QueueError>;

    /// Publishes persistently (transiently to transient queues); result *i* belongs to message *i*. `Ok` means confirmed
    /// by the broker **and** routed to a queue. `BuilderControl` is a fanout: `Ok` even if nobody listens just then.
    async fn publish(&self, messages: Vec<Outgoing>) -> Vec<Result<(), QueueError>>;

    /// Deliveries of one queue, at most `prefetch` of them unacknowledged at a time. The consumer outlives reconnects and
    /// ends only when it is dropped or the connection is closed by `close`. It declares the queue, again after each
    /// reconnect, and again when it was deleted underneath. Each consumer of `BuilderControl` gets every message.
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

/// A stream of deliveries. Dropping it gives back what it has buffered; deliveries taken from it stay valid.
pub struct Consumer {
    deliveries: tokio::sync::mpsc::Receiver<Delivery>,
    /// Ends when the broker has confirmed that nothing more comes.
    ended: Option<tokio::sync::oneshot::Receiver<()>>,
}

impl Consumer {
    pub(crate) fn new(
        deliveries: tokio::sync::mpsc::Receiver<Delivery>,
        ended: Option<tokio::sync::oneshot::Receiver<()>>,
    ) -> Consumer {
        Consumer { deliveries, ended }
    }

    /// The next delivery; `None` once the connection is closed. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Delivery> {
        std::future::poll_fn(|context| self.poll_next(context)).await
    }

    /// `next` for whoever waits on several consumers at once.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Delivery>> {
        loop {
            match ready!(self.deliveries.poll_recv(context)) {
                Some(delivery) if delivery.is_stale() => {}
                other => return Poll::Ready(other),
            }
        }
    }

    /// A delivery that is there already, without waiting.
    pub fn try_next(&mut self) -> Option<Delivery> {
        loop {
            let delivery = self.deliveries.try_recv().ok()?;
            if !delivery.is_stale() {
                return Some(delivery);
            }
        }
    }

    /// Gives back what is buffered and returns once nothing more can be delivered to it.
    pub async fn stop(mut self) {
        self.deliveries.close();
        while self.deliveries.try_recv().is_ok() {}
        if let Some(ended) = self.ended.take() {
            drop(self.deliveries);
            let _ = tokio::time::timeout(STOP_TIMEOUT, ended).await;
        }
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
    /// True if the broker delivers it again whatever happens here: its connection is gone.
    pub fn is_stale(&self) -> bool {
        self.settle.as_ref().is_some_and(|settle| settle.is_stale())
    }

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

/// Acknowledges many at once: they go out together instead of each waiting for the one before it.
pub async fn ack_all(deliveries: impl IntoIterator<Item = Delivery>) -> Vec<Result<(), QueueError>> {
    futures::future::join_all(deliveries.into_iter().map(Delivery::ack)).await
}

#[async_trait]
pub(crate) trait Settle: Send + Sync {
    async fn ack(self: Box<Self>) -> Result<(), QueueError>;
    async fn requeue(self: Box<Self>) -> Result<(), QueueError>;

    /// True if neither can have an effect any more.
    fn is_stale(&self) -> bool;
}
