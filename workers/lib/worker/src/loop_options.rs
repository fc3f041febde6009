//! What a run loop is given.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use queue::Queue;
use schemas::QueueName;
use tokio::sync::watch;

use crate::{Health, ProgressBoard, Reporter};

/// Most slots of one loop: each is a consumer per queue.
pub const SLOTS_MAX: u16 = 256;

pub struct LoopTools {
    pub queue: Arc<dyn Queue>,
    pub reporter: Reporter,
    pub board: Arc<ProgressBoard>,
    pub health: Arc<Health>,
}

pub struct LoopOptions {
    pub worker: String,
    /// The queues of jobs; may change at any time.
    pub queues: watch::Receiver<BTreeSet<QueueName>>,
    /// Jobs at a time, 1 to `SLOTS_MAX`.
    pub slots: u16,
    /// How long running work may go on after the shutdown.
    pub drain_time: Duration,
    /// Work that takes longer is reported as started, and acknowledged.
    pub started_after: Duration,
}

impl LoopOptions {
    pub fn new(worker: String, queues: watch::Receiver<BTreeSet<QueueName>>, slots: u16) -> LoopOptions {
        LoopOptions {
            worker,
            queues,
            slots,
            drain_time: Duration::from_secs(30),
            started_after: Duration::from_secs(1),
        }
    }
}

/// A set that never changes.
pub fn fixed_queues(queues: impl IntoIterator<Item = QueueName>) -> watch::Receiver<BTreeSet<QueueName>> {
    watch::channel(queues.into_iter().collect()).1
}
