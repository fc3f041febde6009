//! The queue of the embedded default: everything in this process's memory. It knows nothing of a restart; what it held
//! then is published again from SQL.

mod core;
mod settle;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use schemas::QueueName;

use self::core::Core;
use crate::{Address, Consumer, Outgoing, Queue, QueueError};

/// Messages that one queue holds; above it a publish is refused. SQL keeps what waits, so this is never near.
pub const LOCAL_MESSAGES_MAX: usize = 1_000_000;

pub struct LocalQueue {
    state: Mutex<State>,
}

struct State {
    closed: bool,
    queues: HashMap<String, Arc<Core>>,
    /// One private queue per consumer of `BuilderControl`.
    fanout: Vec<Arc<Core>>,
}

impl LocalQueue {
    #[allow(clippy::new_without_default)]
    pub fn new() -> Arc<LocalQueue> {
        Arc::new(LocalQueue { state: Mutex::new(State { closed: false, queues: HashMap::new(), fanout: Vec::new() }) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn open(&self) -> Result<MutexGuard<'_, State>, QueueError> {
        let state = self.state();
        if state.closed { Err(QueueError::Closed) } else { Ok(state) }
    }

    fn publish_one(&self, message: Outgoing) -> Result<(), QueueError> {
        let name = match &message.to {
            Address::Queue(QueueName::BuilderControl) => return self.publish_to_all(message),
            Address::Queue(queue) => queue.to_string(),
            Address::Reply(name) => name.clone(),
        };
        let core = self.open()?.queues.get(&name).cloned();
        core.ok_or(QueueError::Unroutable { queue: name })?.push(message)
    }

    fn publish_to_all(&self, message: Outgoing) -> Result<(), QueueError> {
        let listeners = {
            let mut state = self.open()?;
            state.fanout.retain(|core| core.is_consumed());
            state.fanout.clone()
        };
        listeners.iter().try_for_each(|core| core.push(message.clone()))
    }
}

impl State {
    fn core(&mut self, queue: &QueueName) -> Arc<Core> {
        self.queues.entry(queue.to_string()).or_insert_with(|| Core::new(queue)).clone()
    }
}

#[async_trait]
impl Queue for LocalQueue {
    async fn declare(&self, queue: &QueueName) -> Result<(), QueueError> {
        let mut state = self.open()?;
        if *queue != QueueName::BuilderControl {
            state.core(queue);
        }
        Ok(())
    }

    async fn publish(&self, messages: Vec<Outgoing>) -> Vec<Result<(), QueueError>> {
        messages.into_iter().map(|message| self.publish_one(message)).collect()
    }

    async fn consume(&self, queue: &QueueName, prefetch: u16) -> Result<Consumer, QueueError> {
        let mut state = self.open()?;
        if *queue != QueueName::BuilderControl {
            return Ok(Consumer::new(state.core(queue).subscribe(prefetch), None));
        }
        let private = Core::new(queue);
        let deliveries = private.subscribe(prefetch);
        state.fanout.push(private);
        Ok(Consumer::new(deliveries, None))
    }

    async fn depth(&self, queue: &QueueName) -> Result<u64, QueueError> {
        let core = self.open()?.queues.get(&queue.to_string()).cloned();
        core.map(|core| core.ready()).ok_or(QueueError::Unroutable { queue: queue.to_string() })
    }

    async fn delete(&self, queue: &QueueName) -> Result<(), QueueError> {
        let mut state = self.open()?;
        let Some(core) = state.queues.get(&queue.to_string()) else { return Ok(()) };
        // A consumer would declare it again at once.
        if !core.clear() {
            state.queues.remove(&queue.to_string());
        }
        Ok(())
    }

    fn survives_restart(&self) -> bool {
        false
    }

    async fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        for core in state.queues.values().chain(&state.fanout) {
            core.close();
        }
    }
}
