//! A bounded number of jobs at a time: a free slot goes to the waiting job of the highest priority, then to the one that
//! waits longest. It knows nothing of lanes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use schemas::Priority;
use tokio::sync::oneshot;

#[derive(Clone)]
pub struct Slots {
    line: Arc<Mutex<Line>>,
}

struct Line {
    free: u16,
    next_ticket: u64,
    /// By priority, then by arrival.
    waiting: BTreeMap<(i32, u64), oneshot::Sender<Slot>>,
}

/// A slot in use; dropping it passes it on.
pub struct Slot {
    line: Arc<Mutex<Line>>,
}

impl Slots {
    pub fn new(count: u16) -> Slots {
        let line = Line { free: count.max(1), next_ticket: 0, waiting: BTreeMap::new() };
        Slots { line: Arc::new(Mutex::new(line)) }
    }

    /// A slot, if one is free and nobody waits for it.
    pub fn try_take(&self) -> Option<Slot> {
        let mut line = lock(&self.line);
        if line.free == 0 {
            return None;
        }
        line.free -= 1;
        Some(Slot { line: self.line.clone() })
    }

    pub async fn take(&self, priority: Priority) -> Slot {
        loop {
            if let Some(slot) = self.try_take() {
                return slot;
            }
            if let Ok(slot) = self.stand_in_line(priority).await {
                return slot;
            }
        }
    }

    fn stand_in_line(&self, priority: Priority) -> oneshot::Receiver<Slot> {
        let (sender, receiver) = oneshot::channel();
        let mut line = lock(&self.line);
        let ticket = line.next_ticket;
        line.next_ticket += 1;
        if line.free > 0 {
            line.free -= 1;
            drop(line);
            let _ = sender.send(Slot { line: self.line.clone() });
        } else {
            line.waiting.insert((priority.rank(), ticket), sender);
        }
        receiver
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let next = {
            let mut line = lock(&self.line);
            let next = loop {
                match line.waiting.pop_first() {
                    // Who gave up waiting is passed over.
                    Some((_, sender)) if sender.is_closed() => {}
                    other => break other,
                }
            };
            if next.is_none() {
                line.free += 1;
            }
            next
        };
        if let Some((_, sender)) = next {
            // A receiver that went away just now drops the slot in turn, which passes it on.
            let _ = sender.send(Slot { line: self.line.clone() });
        }
    }
}

fn lock(line: &Mutex<Line>) -> MutexGuard<'_, Line> {
    line.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_free_slot_goes_to_the_highest_priority_then_to_the_oldest() {
        let slots = Slots::new(1);
        let first = slots.take(Priority::Low).await;
        let (said, mut heard) = tokio::sync::mpsc::unbounded_channel();
        for (name, priority) in [("low", Priority::Low), ("old", Priority::High), ("young", Priority::High)] {
            let (waiting, said) = (slots.stand_in_line(priority), said.clone());
            tokio::spawn(async move {
                let slot = waiting.await.unwrap();
                said.send(name).unwrap();
                drop(slot);
            });
        }
        drop(first);
        let mut order = Vec::new();
        for _ in 0..3 {
            order.push(heard.recv().await.unwrap());
        }
        assert_eq!(order, ["old", "young", "low"]);
    }

    #[tokio::test]
    async fn a_slot_is_not_lost_with_one_who_gave_up_waiting() {
        let slots = Slots::new(1);
        let first = slots.take(Priority::High).await;
        drop(slots.stand_in_line(Priority::High));
        drop(first);
        assert!(slots.try_take().is_some());
    }
}
