//! The jobs that this loop has in hand, has ended, or was told to cancel. It knows no queue.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};

use schemas::{Event, JobId, JobMessage, Report};
use tokio_util::sync::CancellationToken;

use crate::{ProgressBoard, ProgressHandle};

/// Ended jobs whose report is remembered, and cancellations that may come before their job.
const REMEMBERED_MAX: usize = 1_024;

#[derive(Default)]
pub(crate) struct Active {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    in_hand: HashMap<JobId, Arc<InHand>>,
    ended: VecDeque<Report>,
    cancelled: VecDeque<JobId>,
}

pub(crate) struct InHand {
    attempt: AtomicU32,
    pub cancel: CancellationToken,
    pub progress: ProgressHandle,
}

/// What a delivery means for what is in hand.
pub(crate) enum Admission {
    /// Nobody works on it: start.
    New(Arc<InHand>),
    /// It is in hand under this very attempt.
    Same,
    /// It was in hand under an older attempt, and has this one's name now.
    Renamed,
    /// This attempt ended here before, with this report.
    Ended(Box<Report>),
    /// It was cancelled before it came.
    Cancelled,
}

impl InHand {
    pub fn attempt(&self) -> u32 {
        self.attempt.load(Relaxed)
    }
}

impl Active {
    pub fn admit(&self, message: &JobMessage, board: &ProgressBoard) -> Admission {
        let mut state = self.state();
        if let Some(in_hand) = state.in_hand.get(&message.job) {
            if in_hand.attempt.fetch_max(message.attempt, Relaxed) >= message.attempt {
                return Admission::Same;
            }
            in_hand.progress.set_attempt(message.attempt);
            return Admission::Renamed;
        }
        let is_this = |report: &&Report| report.job == message.job && report.attempt == message.attempt;
        if let Some(report) = state.ended.iter().find(is_this) {
            return Admission::Ended(Box::new(report.clone()));
        }
        if state.cancelled.contains(&message.job) {
            return Admission::Cancelled;
        }
        let in_hand = Arc::new(InHand {
            attempt: AtomicU32::new(message.attempt),
            cancel: CancellationToken::new(),
            progress: board.open(message.job, message.attempt),
        });
        state.in_hand.insert(message.job, in_hand.clone());
        Admission::New(in_hand)
    }

    pub fn cancel(&self, job: JobId) {
        let mut state = self.state();
        match state.in_hand.get(&job) {
            Some(in_hand) => in_hand.cancel.cancel(),
            None => remember(&mut state.cancelled, job),
        }
    }

    /// The job left this worker. Its report is kept if it was the last word: the delivery may come once more.
    pub fn ended(&self, job: JobId, report: Option<Report>) {
        let mut state = self.state();
        state.in_hand.remove(&job);
        if let Some(report) = report.filter(|report| report.event != Event::Yielded {}) {
            remember(&mut state.ended, report);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

fn remember<T>(list: &mut VecDeque<T>, item: T) {
    if list.len() >= REMEMBERED_MAX {
        list.pop_front();
    }
    list.push_back(item);
}
