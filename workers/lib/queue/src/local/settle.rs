//! A delivery of the in-process queue: settled, or given back when it is dropped. It knows nothing of other consumers.

use std::sync::Arc;

use async_trait::async_trait;

use super::core::{Core, Hold, Stored};
use crate::{Delivery, QueueError, Settle};

pub(super) struct LocalSettle {
    core: Arc<Core>,
    hold: Hold,
    /// Taken when settled.
    stored: Option<Stored>,
}

impl LocalSettle {
    pub fn deliver(core: Arc<Core>, hold: Hold, stored: Stored) -> Delivery {
        let message = stored.message.clone();
        Delivery {
            body: message.body,
            redelivered: stored.redelivered,
            user_id: None,
            message_id: message.message_id,
            correlation_id: message.correlation_id,
            reply_to: message.reply_to,
            headers: message.headers,
            settle: Some(Box::new(LocalSettle { core, hold, stored: Some(stored) })),
        }
    }
}

#[async_trait]
impl Settle for LocalSettle {
    async fn ack(mut self: Box<Self>) -> Result<(), QueueError> {
        self.stored = None;
        self.core.acked(self.hold)
    }

    async fn requeue(self: Box<Self>) -> Result<(), QueueError> {
        Ok(())
    }

    fn is_stale(&self) -> bool {
        self.core.is_past(self.hold)
    }
}

impl Drop for LocalSettle {
    fn drop(&mut self) {
        if let Some(stored) = self.stored.take() {
            self.core.given_back(self.hold, stored);
        }
    }
}
