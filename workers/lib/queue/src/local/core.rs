//! One queue in memory: what is ready, who consumes, who holds what. It knows no names.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use schemas::QueueName;
use tokio::sync::mpsc;

use super::LOCAL_MESSAGES_MAX;
use super::settle::LocalSettle;
use crate::{Delivery, Outgoing, QueueError, TRANSIENT_MESSAGES_MAX};

pub(super) struct Core {
    name: String,
    transient: bool,
    inner: Mutex<Inner>,
}

struct Inner {
    /// In order of `place`.
    ready: VecDeque<Stored>,
    place_next: u64,
    consumers: Vec<Subscription>,
    consumer_next: u64,
    /// The consumer that gets the next message, so that several share evenly.
    turn: usize,
    /// Grows when the queue is deleted: deliveries of an older generation are stale.
    generation: u64,
    closed: bool,
}

#[derive(Clone)]
pub(super) struct Stored {
    pub place: u64,
    pub redelivered: bool,
    pub message: Outgoing,
}

struct Subscription {
    id: u64,
    prefetch: usize,
    in_hand: usize,
    deliveries: mpsc::Sender<Delivery>,
}

/// Which consumer holds a delivery, and of which generation it is.
#[derive(Clone, Copy)]
pub(super) struct Hold {
    consumer: u64,
    generation: u64,
}

impl Core {
    pub fn new(queue: &QueueName) -> Arc<Core> {
        Arc::new(Core {
            name: queue.to_string(),
            transient: queue.is_transient(),
            inner: Mutex::new(Inner {
                ready: VecDeque::new(),
                place_next: 0,
                consumers: Vec::new(),
                consumer_next: 0,
                turn: 0,
                generation: 0,
                closed: false,
            }),
        })
    }

    pub fn push(self: &Arc<Self>, message: Outgoing) -> Result<(), QueueError> {
        let mut inner = self.inner();
        if inner.closed {
            return Err(QueueError::Closed);
        }
        if self.transient && inner.ready.len() >= TRANSIENT_MESSAGES_MAX {
            inner.ready.pop_front();
        } else if inner.ready.len() >= LOCAL_MESSAGES_MAX {
            return Err(QueueError::Refused { reason: format!("{} holds {LOCAL_MESSAGES_MAX} messages", self.name) });
        }
        let place = inner.place_next;
        inner.place_next += 1;
        inner.ready.push_back(Stored { place, redelivered: false, message });
        self.hand_out(inner);
        Ok(())
    }

    pub fn subscribe(self: &Arc<Self>, prefetch: u16) -> mpsc::Receiver<Delivery> {
        let prefetch = usize::from(prefetch.max(1));
        let (deliveries, receiver) = mpsc::channel(prefetch);
        let mut inner = self.inner();
        if inner.closed {
            return receiver;
        }
        let id = inner.consumer_next;
        inner.consumer_next += 1;
        inner.consumers.push(Subscription { id, prefetch, in_hand: 0, deliveries });
        self.hand_out(inner);
        receiver
    }

    pub fn ready(&self) -> u64 {
        self.inner().ready.len() as u64
    }

    /// Drops every message; true if somebody consumes.
    pub fn clear(&self) -> bool {
        let mut inner = self.inner();
        inner.generation += 1;
        inner.ready.clear();
        for consumer in &mut inner.consumers {
            consumer.in_hand = 0;
        }
        inner.is_consumed()
    }

    pub fn is_consumed(&self) -> bool {
        self.inner().is_consumed()
    }

    pub fn close(&self) {
        let consumers = {
            let mut inner = self.inner();
            inner.closed = true;
            inner.generation += 1;
            inner.ready.clear();
            std::mem::take(&mut inner.consumers)
        };
        drop(consumers);
    }

    pub fn acked(self: &Arc<Self>, hold: Hold) -> Result<(), QueueError> {
        let mut inner = self.inner();
        if inner.generation != hold.generation {
            return Err(QueueError::Stale);
        }
        inner.release(hold);
        self.hand_out(inner);
        Ok(())
    }

    pub fn given_back(self: &Arc<Self>, hold: Hold, stored: Stored) {
        let mut inner = self.inner();
        if inner.generation != hold.generation {
            return;
        }
        inner.release(hold);
        inner.put_back(Stored { redelivered: true, ..stored });
        self.hand_out(inner);
    }

    pub fn is_past(&self, hold: Hold) -> bool {
        self.inner().generation != hold.generation
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Gives what is ready to whoever has room. What nobody took is dropped after the lock is: a dropped delivery goes
    /// back to the queue, and wants the lock for it.
    fn hand_out(self: &Arc<Self>, mut inner: MutexGuard<'_, Inner>) {
        let mut untaken = Vec::new();
        let mut gone = Vec::new();
        while !inner.ready.is_empty() {
            let Some(index) = inner.next_free() else { break };
            let Some(stored) = inner.ready.pop_front() else { break };
            let generation = inner.generation;
            let consumer = &mut inner.consumers[index];
            let hold = Hold { consumer: consumer.id, generation };
            consumer.in_hand += 1;
            let sent = consumer.deliveries.try_send(LocalSettle::deliver(self.clone(), hold, stored));
            // Also if it went away in the same instant: what it did not see is dropped with its channel.
            if sent.is_err() || consumer.deliveries.is_closed() {
                gone.push(inner.consumers.remove(index));
            }
            untaken.extend(sent.err());
        }
        drop(inner);
        drop((untaken, gone));
    }
}

impl Inner {
    fn is_consumed(&self) -> bool {
        self.consumers.iter().any(|consumer| !consumer.deliveries.is_closed())
    }

    fn next_free(&mut self) -> Option<usize> {
        let count = self.consumers.len();
        let index = (0..count).map(|step| (self.turn + step) % count).find(|&index| {
            let consumer = &self.consumers[index];
            consumer.in_hand < consumer.prefetch || consumer.deliveries.is_closed()
        })?;
        self.turn = (index + 1) % count;
        Some(index)
    }

    fn release(&mut self, hold: Hold) {
        if let Some(consumer) = self.consumers.iter_mut().find(|consumer| consumer.id == hold.consumer) {
            consumer.in_hand = consumer.in_hand.saturating_sub(1);
        }
    }

    fn put_back(&mut self, stored: Stored) {
        let at = self.ready.partition_point(|other| other.place < stored.place);
        self.ready.insert(at, stored);
    }
}
