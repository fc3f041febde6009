//! Publishing: confirmed and not returned, or an error. It knows nothing of what is published.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};

use futures::future::join_all;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{Channel, Confirmation};
use schemas::QueueName;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use super::convert;
use super::link::{Link, Live};
use super::topology;
use crate::{Address, Outgoing, QueueError};

/// Windows in flight at a time, each on its own channel.
const CHANNELS_MAX: usize = 8;
/// Messages of one window.
const WINDOW: usize = 512;

pub(super) struct Publisher {
    link: Arc<Link>,
    user_id: Option<String>,
    turns: Semaphore,
    idle: Mutex<Vec<Confirming>>,
}

/// A channel in confirm mode, with nothing in flight.
struct Confirming {
    live: Arc<Live>,
    channel: Channel,
    fanout_declared: AtomicBool,
}

struct Addressed {
    exchange: String,
    key: String,
    mandatory: bool,
    transient: bool,
}

type Outcome = Result<(), QueueError>;

impl Publisher {
    pub fn new(link: Arc<Link>, user_id: Option<String>) -> Publisher {
        Publisher { link, user_id, turns: Semaphore::new(CHANNELS_MAX), idle: Mutex::new(Vec::new()) }
    }

    pub fn link(&self) -> &Link {
        &self.link
    }

    pub async fn publish(&self, messages: Vec<Outgoing>) -> Vec<Outcome> {
        let mut outcomes = Vec::with_capacity(messages.len());
        for window in messages.chunks(WINDOW) {
            match self.publish_window(window).await {
                Ok(some) => outcomes.extend(some),
                Err(error) => outcomes.extend(window.iter().map(|_| Err(error.clone()))),
            }
        }
        outcomes
    }

    /// Everything in flight on a channel belongs to one window. lapin hands a returned message to any confirmation that
    /// comes with its acknowledgement, so only the window as a whole tells which message it was.
    async fn publish_window(&self, window: &[Outgoing]) -> Result<Vec<Outcome>, QueueError> {
        let live = self.link.live().await?;
        let deadline = Instant::now() + self.link.operation_timeout;
        self.until_unblocked(&live, deadline).await?;
        let turn = timeout_at(deadline, self.turns.acquire()).await.map_err(|_| silent(&live))?;
        let _turn = turn.map_err(|_| QueueError::Closed)?;
        let confirming = timeout_at(deadline, self.channel(&live)).await.map_err(|_| silent(&live))??;
        let sent = join_all(window.iter().map(|message| self.send(&confirming, message)));
        let confirmed = tokio::select! {
            () = live.lost.cancelled() => return Err(lost()),
            sent = timeout_at(deadline, sent) => sent.map_err(|_| silent(&live))?,
        };
        if confirming.channel.status().connected() {
            self.idle().push(confirming);
        }
        Ok(judge(window, confirmed))
    }

    async fn until_unblocked(&self, live: &Live, deadline: Instant) -> Result<(), QueueError> {
        let mut blocked = live.blocked.subscribe();
        let freed = async { blocked.wait_for(Option::is_none).await.is_ok() };
        tokio::select! {
            () = live.lost.cancelled() => Err(lost()),
            freed = timeout_at(deadline, freed) => match freed {
                Ok(true) => Ok(()),
                _ => Err(silent(live)),
            },
        }
    }

    async fn channel(&self, live: &Arc<Live>) -> Result<Confirming, QueueError> {
        loop {
            let Some(idle) = self.idle().pop() else { break };
            if Arc::ptr_eq(&idle.live, live) && idle.channel.status().connected() {
                return Ok(idle);
            }
        }
        let channel = live.connection.create_channel().await.map_err(convert::error)?;
        channel.confirm_select(ConfirmSelectOptions::default()).await.map_err(convert::error)?;
        Ok(Confirming { live: live.clone(), channel, fanout_declared: AtomicBool::new(false) })
    }

    /// `Ok(Some(key))` = confirmed, and a message to `key` came back.
    async fn send(&self, on: &Confirming, message: &Outgoing) -> Result<Option<String>, QueueError> {
        let to = address(&message.to);
        if !to.exchange.is_empty() && !on.fanout_declared.load(Relaxed) {
            topology::declare_fanout(&on.channel).await?;
            on.fanout_declared.store(true, Relaxed);
        }
        let properties = convert::properties(message, to.transient, self.user_id.as_deref())?;
        let options = BasicPublishOptions { mandatory: to.mandatory, immediate: false };
        let (exchange, key) = (convert::short(&to.exchange)?, convert::short(&to.key)?);
        let sent = on.channel.basic_publish(exchange, key, options, &message.body, properties).await;
        match sent.map_err(convert::error)?.await.map_err(convert::error)? {
            Confirmation::Ack(returned) => Ok(returned.map(|returned| returned.delivery.routing_key.to_string())),
            Confirmation::Nack(_) => {
                Err(QueueError::Unavailable { reason: format!("{} did not take the message", to.key) })
            }
            Confirmation::NotRequested => {
                Err(QueueError::Unavailable { reason: "the broker confirms nothing on this channel".to_owned() })
            }
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Confirming>> {
        self.idle.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// A message was routed if none with its key came back.
fn judge(window: &[Outgoing], confirmed: Vec<Result<Option<String>, QueueError>>) -> Vec<Outcome> {
    let returned: BTreeSet<String> = confirmed.iter().filter_map(|one| one.as_ref().ok().cloned().flatten()).collect();
    let outcome = |(message, confirmed): (&Outgoing, Result<Option<String>, QueueError>)| {
        confirmed?;
        let key = address(&message.to).key;
        if returned.contains(&key) { Err(QueueError::Unroutable { queue: key }) } else { Ok(()) }
    };
    window.iter().zip(confirmed).map(outcome).collect()
}

fn address(to: &Address) -> Addressed {
    let direct = |key: String, transient| Addressed { exchange: String::new(), key, mandatory: true, transient };
    match to {
        Address::Queue(QueueName::BuilderControl) => Addressed {
            exchange: QueueName::BuilderControl.to_string(),
            key: String::new(),
            // With no builder running there is nobody to tell.
            mandatory: false,
            transient: true,
        },
        Address::Queue(queue) => direct(queue.to_string(), queue.is_transient()),
        Address::Reply(name) => direct(name.clone(), false),
    }
}

fn silent(live: &Live) -> QueueError {
    let reason = match live.blocked.borrow().as_ref() {
        Some(reason) => format!("the broker blocks publishers: {reason}"),
        None => "the broker did not confirm in time".to_owned(),
    };
    QueueError::Unavailable { reason }
}

fn lost() -> QueueError {
    QueueError::Unavailable { reason: "the connection was lost before the broker confirmed".to_owned() }
}
