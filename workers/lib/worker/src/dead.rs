//! Dead letters: messages that nobody can work on, kept with the reason. It knows nothing of who reads them.

use std::collections::BTreeMap;

use queue::{Delivery, Outgoing, Queue, QueueError};
use schemas::{Fault, QueueName};

use crate::backoff;

/// The fault's code.
pub const REASON: &str = "x-tidegate-reason";
/// The fault's message.
pub const MESSAGE: &str = "x-tidegate-message";
/// The queue that it came from.
pub const QUEUE: &str = "x-tidegate-queue";

/// What RabbitMQ writes when it dead-letters by itself.
const BROKER_REASON: &str = "x-first-death-reason";
const BROKER_QUEUE: &str = "x-first-death-queue";

/// Why a message is dead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    pub code: String,
    pub message: String,
    pub queue: String,
}

/// Puts the delivery into the dead letters, and acknowledges it once that is confirmed. Tries until then.
pub async fn letter(queue: &dyn Queue, from: &QueueName, delivery: Delivery, fault: &Fault) -> Result<(), QueueError> {
    tracing::warn!(queue = %from, code = %fault.code, message = %fault.message, "a message is dead-lettered");
    let message = dead_message(from, &delivery, fault);
    for attempt in 0.. {
        match publish(queue, message.clone()).await {
            Ok(()) => break,
            Err(QueueError::Closed) => return Err(QueueError::Closed),
            Err(error) => {
                tracing::warn!(%error, attempt, "cannot dead-letter a message yet");
                tokio::time::sleep(backoff(attempt, delivery.body.len() as u64)).await;
            }
        }
    }
    delivery.ack().await
}

/// Reads what `letter` or the broker wrote.
pub fn reason(headers: &BTreeMap<String, String>) -> Reason {
    let get = |ours: &str, brokers: &str| {
        headers.get(ours).or_else(|| headers.get(brokers)).cloned().unwrap_or_else(|| "unknown".to_owned())
    };
    let code = get(REASON, BROKER_REASON);
    let message = headers.get(MESSAGE).cloned().unwrap_or_else(|| match code.as_str() {
        "delivery_limit" => "it was delivered again and again, and nobody acknowledged it".to_owned(),
        other => format!("the broker gave it up: {other}"),
    });
    Reason { code: code.replace('_', "-"), message, queue: get(QUEUE, BROKER_QUEUE) }
}

fn dead_message(from: &QueueName, delivery: &Delivery, fault: &Fault) -> Outgoing {
    let mut message = Outgoing::new(QueueName::Dead, delivery.body.clone());
    message.message_id = delivery.message_id.clone();
    message.correlation_id = delivery.correlation_id.clone();
    message.headers = BTreeMap::from([
        (REASON.to_owned(), fault.code.clone()),
        (MESSAGE.to_owned(), fault.message.clone()),
        (QUEUE.to_owned(), from.to_string()),
    ]);
    message
}

async fn publish(queue: &dyn Queue, message: Outgoing) -> Result<(), QueueError> {
    queue.declare(&QueueName::Dead).await?;
    queue.publish(vec![message]).await.pop().unwrap_or(Err(QueueError::Closed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_read_whether_we_or_the_broker_wrote_it() {
        let brokers = BTreeMap::from([
            (BROKER_REASON.to_owned(), "delivery_limit".to_owned()),
            (BROKER_QUEUE.to_owned(), "tidegate.build.hq".to_owned()),
        ]);
        let read = reason(&brokers);
        assert_eq!((read.code.as_str(), read.queue.as_str()), ("delivery-limit", "tidegate.build.hq"));
        assert_eq!(reason(&BTreeMap::new()).code, "unknown");
    }
}
