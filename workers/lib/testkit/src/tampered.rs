//! A queue that passes everything on but what a test tampers with.

use std::ops::Deref;
use std::sync::Arc;

use async_trait::async_trait;
use queue::{Consumer, Outgoing, Queue, QueueError};
use schemas::QueueName;

/// What a test does to calls on their way.
#[async_trait]
pub trait Tamper: Send + Sync + 'static {
    /// Answers instead of the queue; none: the messages go on.
    async fn publish(&self, _messages: &[Outgoing]) -> Option<Vec<Result<(), QueueError>>> {
        None
    }

    /// The fault that whoever consumes gets.
    fn consume(&self) -> Option<QueueError> {
        None
    }
}

pub struct Tampered<T> {
    pub inner: Arc<dyn Queue>,
    pub tamper: T,
}

impl<T: Tamper> Tampered<T> {
    pub fn new(inner: Arc<dyn Queue>, tamper: T) -> Arc<Tampered<T>> {
        Arc::new(Tampered { inner, tamper })
    }
}

impl<T> Deref for Tampered<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.tamper
    }
}

#[async_trait]
impl<T: Tamper> Queue for Tampered<T> {
    async fn declare(&self, queue: &QueueName) -> Result<(), QueueError> {
        self.inner.declare(queue).await
    }

    async fn publish(&self, messages: Vec<Outgoing>) -> Vec<Result<(), QueueError>> {
        match self.tamper.publish(&messages).await {
            Some(answers) => answers,
            None => self.inner.publish(messages).await,
        }
    }

    async fn consume(&self, queue: &QueueName, prefetch: u16) -> Result<Consumer, QueueError> {
        match self.tamper.consume() {
            Some(fault) => Err(fault),
            None => self.inner.consume(queue, prefetch).await,
        }
    }

    async fn depth(&self, queue: &QueueName) -> Result<u64, QueueError> {
        self.inner.depth(queue).await
    }

    async fn delete(&self, queue: &QueueName) -> Result<(), QueueError> {
        self.inner.delete(queue).await
    }

    fn survives_restart(&self) -> bool {
        self.inner.survives_restart()
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}
