//! How a worker is, in a few figures. It judges nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};

use serde::Serialize;

use crate::now_ms;

#[derive(Default)]
pub struct Health {
    running: AtomicU64,
    long_running: AtomicU64,
    ended: AtomicU64,
    consuming: AtomicU64,
    draining: AtomicBool,
    report_confirmed_at_ms: AtomicI64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct HealthSnapshot {
    /// Jobs in hand.
    pub running: u64,
    /// Of them, those that were acknowledged because they take long.
    pub long_running: u64,
    /// Jobs ended since the start, however.
    pub ended: u64,
    /// Slots that wait for a delivery.
    pub consuming: u64,
    pub draining: bool,
    /// 0 = none yet.
    pub report_confirmed_at_ms: i64,
}

impl Health {
    pub fn new() -> Arc<Health> {
        Arc::new(Health::default())
    }

    pub fn snapshot(&self) -> HealthSnapshot {
        HealthSnapshot {
            running: self.running.load(Relaxed),
            long_running: self.long_running.load(Relaxed),
            ended: self.ended.load(Relaxed),
            consuming: self.consuming.load(Relaxed),
            draining: self.draining.load(Relaxed),
            report_confirmed_at_ms: self.report_confirmed_at_ms.load(Relaxed),
        }
    }

    pub(crate) fn drains(&self) {
        self.draining.store(true, Relaxed);
    }

    pub(crate) fn report_confirmed(&self) {
        self.report_confirmed_at_ms.store(now_ms(), Relaxed);
    }

    pub(crate) fn job_ended(&self) {
        self.ended.fetch_add(1, Relaxed);
    }

    pub(crate) fn count_running(&self) -> Count<'_> {
        Count::up(&self.running)
    }

    pub(crate) fn count_long(&self) -> Count<'_> {
        Count::up(&self.long_running)
    }

    pub(crate) fn count_consuming(&self) -> Count<'_> {
        Count::up(&self.consuming)
    }
}

/// Counts one for as long as it lives.
pub(crate) struct Count<'a>(&'a AtomicU64);

impl Count<'_> {
    fn up(counter: &AtomicU64) -> Count<'_> {
        counter.fetch_add(1, Relaxed);
        Count(counter)
    }
}

impl Drop for Count<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}
