//! What each queue is at the broker. It knows no messages.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, ExchangeKind};
use schemas::QueueName;
use schemas::queue_name::REQUESTS_EXCHANGE;

use super::convert;
use super::link::Link;
use crate::{QueueError, TRANSIENT_MESSAGES_MAX};

/// Deliveries of one job or request that nobody acknowledged, after which it is a dead letter.
const DELIVERIES_MAX: i32 = 20;
/// The same for reports, which are results: a recorder that restarts in a loop must not lose them soon.
const REPORT_DELIVERIES_MAX: i32 = 1_000;

pub(super) async fn declare(channel: &Channel, queue: &QueueName) -> Result<(), QueueError> {
    match queue {
        QueueName::BuilderControl => declare_fanout(channel).await,
        QueueName::Requests => {
            declare_queue(channel, queue).await?;
            bind_requests(channel).await
        }
        _ => declare_queue(channel, queue).await,
    }
}

pub(super) async fn declare_fanout(channel: &Channel) -> Result<(), QueueError> {
    exchange(channel, &QueueName::BuilderControl.to_string(), ExchangeKind::Fanout).await
}

/// A queue of this consumer's own, which goes with its connection. Returns its name.
pub(super) async fn declare_listener(channel: &Channel) -> Result<String, QueueError> {
    declare_fanout(channel).await?;
    let options = QueueDeclareOptions { exclusive: true, auto_delete: true, ..QueueDeclareOptions::default() };
    let queue = channel.queue_declare("".into(), options, bounded()).await.map_err(convert::error)?;
    let exchange = QueueName::BuilderControl.to_string();
    bind(channel, queue.name().as_str(), &exchange, "").await?;
    Ok(queue.name().to_string())
}

/// Everything that was declared before, on each new connection: a queue may be gone with the broker's disk.
pub(super) async fn declare_after_reconnects(link: Arc<Link>, declared: Arc<Mutex<BTreeSet<QueueName>>>) {
    let mut lives = link.watch();
    loop {
        let live = tokio::select! {
            () = link.closed.cancelled() => return,
            changed = lives.changed() => match changed {
                Ok(()) => lives.borrow_and_update().clone(),
                Err(_) => return,
            },
        };
        let Some(live) = live else { continue };
        let queues = declared.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone();
        for queue in queues {
            let again = live.with_channel(async |channel| declare(channel, &queue).await).await;
            if let Err(error) = again {
                tracing::warn!(%queue, %error, "could not declare a queue again");
                if live.lost.is_cancelled() {
                    break;
                }
            }
        }
    }
}

async fn declare_queue(channel: &Channel, queue: &QueueName) -> Result<(), QueueError> {
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    let name = queue.to_string();
    channel.queue_declare(convert::short(&name)?, options, arguments(queue)).await.map_err(convert::error)?;
    Ok(())
}

/// Any client may post with any routing key.
async fn bind_requests(channel: &Channel) -> Result<(), QueueError> {
    exchange(channel, REQUESTS_EXCHANGE, ExchangeKind::Topic).await?;
    bind(channel, &QueueName::Requests.to_string(), REQUESTS_EXCHANGE, "#").await
}

async fn exchange(channel: &Channel, name: &str, kind: ExchangeKind) -> Result<(), QueueError> {
    let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    channel.exchange_declare(name.into(), kind, options, FieldTable::default()).await.map_err(convert::error)
}

async fn bind(channel: &Channel, queue: &str, exchange: &str, key: &str) -> Result<(), QueueError> {
    let options = QueueBindOptions::default();
    let bound = channel.queue_bind(queue.into(), exchange.into(), key.into(), options, FieldTable::default()).await;
    bound.map_err(convert::error)
}

fn arguments(queue: &QueueName) -> FieldTable {
    match queue {
        QueueName::Requests | QueueName::Build(_) => quorum(Some(DELIVERIES_MAX)),
        QueueName::Reports => quorum(Some(REPORT_DELIVERIES_MAX)),
        // Dead letters have nowhere further to go.
        QueueName::Dead => quorum(None),
        QueueName::Progress => bounded(),
        QueueName::Site(..) | QueueName::Control(_) | QueueName::BuilderControl | QueueName::Scratch(_) => {
            FieldTable::default()
        }
    }
}

fn quorum(deliveries_max: Option<i32>) -> FieldTable {
    let mut table = FieldTable::default();
    table.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    if let Some(limit) = deliveries_max {
        let dead = QueueName::Dead.to_string();
        table.insert("x-delivery-limit".into(), AMQPValue::LongInt(limit));
        table.insert("x-dead-letter-exchange".into(), AMQPValue::LongString("".into()));
        table.insert("x-dead-letter-routing-key".into(), AMQPValue::LongString(dead.as_str().into()));
    }
    table
}

/// The oldest go when it is full. The queue is durable, its messages are not: RabbitMQ gives up queues that are neither
/// durable nor exclusive.
fn bounded() -> FieldTable {
    let mut table = FieldTable::default();
    table.insert("x-max-length".into(), AMQPValue::LongInt(TRANSIENT_MESSAGES_MAX as i32));
    table.insert("x-overflow".into(), AMQPValue::LongString("drop-head".into()));
    table
}
