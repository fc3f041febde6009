//! Cancels, pauses, settings, children's keys and what is gone, read outside the slots and before any job. It knows no lane's state:
//! what it reads becomes an order.

use std::sync::Arc;
use std::time::Duration;

use queue::{Consumer, Delivery, Queue, QueueError};
use schemas::{Control, Fault, Lane, QueueName, SubscriberName};
use tokio_util::sync::CancellationToken;

use crate::journal::JournalError;
use crate::orders::Orders;

const PREFETCH: u16 = 16;
/// How long the start waits for a control message that the broker has announced.
const BACKLOG_PATIENCE: Duration = Duration::from_secs(5);

pub struct ControlLoop {
    pub site: SubscriberName,
    pub queue: Arc<dyn Queue>,
    pub orders: Arc<Orders>,
    pub shutdown: CancellationToken,
}

impl ControlLoop {
    /// Ends at shutdown, or with an error if the queue is closed underneath.
    pub async fn run(self) -> Result<(), QueueError> {
        let name = QueueName::Control(self.site.clone());
        let Some((waiting, mut consumer)) = self.connect(&name).await else { return Ok(()) };
        for _ in 0..waiting {
            match tokio::time::timeout(BACKLOG_PATIENCE, self.one(&name, &mut consumer)).await {
                Ok(true) => {}
                Ok(false) => return self.ended(),
                Err(_) => break,
            }
        }
        self.orders.control_was_read();
        while self.one(&name, &mut consumer).await {}
        self.ended()
    }

    /// The consumer, and how many messages waited before it.
    async fn connect(&self, name: &QueueName) -> Option<(u64, Consumer)> {
        for attempt in 0.. {
            let opened = async {
                self.queue.declare(name).await?;
                let waiting = self.queue.depth(name).await?;
                Ok::<_, QueueError>((waiting, self.queue.consume(name, PREFETCH).await?))
            };
            match opened.await {
                Ok(opened) => return Some(opened),
                Err(error) => tracing::warn!(queue = %name, %error, "the control queue cannot be read yet"),
            }
            tokio::select! {
                () = self.shutdown.cancelled() => return None,
                () = tokio::time::sleep(worker::backoff(attempt, getrandom::u64().unwrap_or_default())) => {}
            }
        }
        None
    }

    /// Reads one message; false at the end.
    async fn one(&self, name: &QueueName, consumer: &mut Consumer) -> bool {
        let delivery = tokio::select! {
            () = self.shutdown.cancelled() => return false,
            delivery = consumer.next() => delivery,
        };
        let Some(delivery) = delivery else { return false };
        if let Err(error) = self.settle(name, delivery).await {
            tracing::debug!(queue = %name, %error, "a control message was not acknowledged and comes again");
        }
        true
    }

    async fn settle(&self, name: &QueueName, delivery: Delivery) -> Result<(), QueueError> {
        let control = match worker::decode::control(&delivery.body).and_then(|c| self.for_this_site(c)) {
            Ok(control) => control,
            Err(fault) => return worker::dead::letter(&*self.queue, name, delivery, &fault).await,
        };
        match self.apply(control).await {
            Ok(()) => delivery.ack().await,
            Err(error) => {
                tracing::error!(%error, "a control message cannot be written down; it is tried again");
                tokio::time::sleep(Duration::from_secs(1)).await;
                delivery.requeue().await
            }
        }
    }

    fn for_this_site(&self, control: Control) -> Result<Control, Fault> {
        let owner = match &control {
            Control::Pause { lane: Lane::Site(lane) } | Control::Resume { lane: Lane::Site(lane) } => &lane.subscriber,
            Control::Pause { lane } | Control::Resume { lane } => {
                return Err(Fault::permanent("wrong-lane", format!("{lane} is not a lane of {}", self.site)));
            }
            Control::Settings(settings) => &settings.subscriber,
            Control::Cancel { .. } | Control::Children { .. } | Control::Forget { .. } => return Ok(control),
        };
        if *owner == self.site {
            return Ok(control);
        }
        Err(Fault::permanent("wrong-subscriber", format!("a control message for {owner} came to {}", self.site)))
    }

    async fn apply(&self, control: Control) -> Result<(), JournalError> {
        match control {
            Control::Cancel { job } => self.orders.cancel(job).await,
            Control::Pause { lane } => self.orders.set_paused(lane, true).await,
            Control::Resume { lane } => self.orders.set_paused(lane, false).await,
            Control::Settings(settings) => self.orders.put_settings(&settings).await,
            Control::Children { version, children } => self.orders.put_children(version, children).await,
            Control::Forget { stores } => self.orders.forget(&stores).await,
        }
    }

    fn ended(&self) -> Result<(), QueueError> {
        if self.shutdown.is_cancelled() { Ok(()) } else { Err(QueueError::Closed) }
    }
}
