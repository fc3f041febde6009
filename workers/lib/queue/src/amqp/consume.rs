//! A consumer that outlives connections, channels, and its queue. It knows nothing of what is delivered.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use lapin::Channel;
use lapin::options::{BasicCancelOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use schemas::QueueName;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};

use super::convert;
use super::link::{Link, Live};
use super::settle::AmqpSettle;
use super::topology;
use crate::{Consumer, Delivery, QueueError};

/// How often the channel's state is looked at: lapin's stream may stay silent after the broker closed the channel.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const CANCEL_TIMEOUT: Duration = Duration::from_secs(3);
/// Between two attempts to consume while the connection stands.
const PAUSE: Duration = Duration::from_millis(500);
/// After a queue was deleted underneath.
const PAUSE_SHORT: Duration = Duration::from_millis(50);

struct Pump {
    link: Arc<Link>,
    queue: QueueName,
    prefetch: u16,
    deliveries: mpsc::Sender<Delivery>,
}

struct Subscription {
    live: Arc<Live>,
    channel: Arc<Channel>,
    stream: lapin::Consumer,
}

enum Ended {
    /// Nobody reads any more, or everything is closed.
    ForGood,
    /// Connection, channel or queue went away.
    Lost,
}

/// Errors only if the broker refuses; while it is away, the consumer waits for it.
pub(super) async fn start(link: Arc<Link>, queue: QueueName, prefetch: u16) -> Result<Consumer, QueueError> {
    let (deliveries, receiver) = mpsc::channel(usize::from(prefetch));
    let (ending, ended) = oneshot::channel();
    let pump = Pump { link, queue, prefetch, deliveries };
    let first = match pump.subscribe().await {
        Ok(subscription) => Some(subscription),
        Err(error) if error.is_transient() => None,
        Err(error) => return Err(error),
    };
    tokio::spawn(async move {
        pump.run(first).await;
        drop(ending);
    });
    Ok(Consumer::new(receiver, Some(ended)))
}

impl Pump {
    async fn run(self, mut first: Option<Subscription>) {
        loop {
            let subscription = match first.take() {
                Some(subscription) => Ok(subscription),
                None => tokio::select! {
                    () = self.deliveries.closed() => return,
                    subscription = self.subscribe() => subscription,
                },
            };
            let pause = match subscription {
                Ok(subscription) => match self.pump(subscription).await {
                    Ended::ForGood => return,
                    Ended::Lost => PAUSE_SHORT,
                },
                Err(QueueError::Closed) => return,
                Err(error) => {
                    tracing::warn!(queue = %self.queue, %error, "cannot consume; trying again");
                    PAUSE
                }
            };
            tokio::select! {
                () = self.deliveries.closed() => return,
                () = self.link.closed.cancelled() => return,
                () = sleep(pause) => {}
            }
        }
    }

    async fn subscribe(&self) -> Result<Subscription, QueueError> {
        let live = self.link.live().await?;
        match timeout(self.link.operation_timeout, self.subscribe_on(live)).await {
            Ok(subscribed) => subscribed,
            Err(_) => Err(QueueError::Unavailable { reason: "the broker did not answer in time".to_owned() }),
        }
    }

    async fn subscribe_on(&self, live: Arc<Live>) -> Result<Subscription, QueueError> {
        let channel = live.connection.create_channel().await.map_err(convert::error)?;
        let name = if self.queue == QueueName::BuilderControl {
            topology::declare_listener(&channel).await?
        } else {
            topology::declare(&channel, &self.queue).await?;
            self.queue.to_string()
        };
        // Before consuming: it holds for the consumers that come after it.
        channel.basic_qos(self.prefetch, BasicQosOptions::default()).await.map_err(convert::error)?;
        let options = BasicConsumeOptions::default();
        let consumed = channel.basic_consume(name.as_str().into(), "".into(), options, FieldTable::default()).await;
        Ok(Subscription { live, channel: Arc::new(channel), stream: consumed.map_err(convert::error)? })
    }

    async fn pump(&self, mut on: Subscription) -> Ended {
        loop {
            let next = tokio::select! {
                () = self.deliveries.closed() => {
                    give_back(on).await;
                    return Ended::ForGood;
                }
                () = self.link.closed.cancelled() => return Ended::ForGood,
                () = on.live.lost.cancelled() => return Ended::Lost,
                () = sleep(LOOK_EVERY) => {
                    if !on.channel.status().connected() {
                        return Ended::Lost;
                    }
                    continue;
                }
                next = on.stream.next() => next,
            };
            let Some(Ok(taken)) = next else { return Ended::Lost };
            let settle = Box::new(AmqpSettle::new(taken.acker, on.channel.clone(), on.live.lost.clone()));
            let delivery = convert::delivery(taken.data, taken.redelivered, &taken.properties, settle);
            // A buffer full of a lost connection's deliveries empties as its reader skips them.
            if self.deliveries.send(delivery).await.is_err() {
                give_back(on).await;
                return Ended::ForGood;
            }
        }
    }
}

/// Cancels first, and gives back what came until the broker said that nothing more will. The channel stays open for
/// deliveries that are in somebody's hand.
async fn give_back(on: Subscription) {
    let Subscription { live, channel, mut stream } = on;
    let cancelled = channel.basic_cancel(stream.tag(), BasicCancelOptions::default());
    if !matches!(timeout(CANCEL_TIMEOUT, cancelled).await, Ok(Ok(()))) {
        return;
    }
    while let Ok(Some(Ok(taken))) = timeout(CANCEL_TIMEOUT, stream.next()).await {
        drop(AmqpSettle::new(taken.acker, channel.clone(), live.lost.clone()));
    }
}
