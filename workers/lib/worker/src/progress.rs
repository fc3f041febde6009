//! Figures of jobs in hand, for people to watch. It knows no result: losing all of this costs nothing but the view.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;

use queue::{Outgoing, Queue};
use schemas::{Beat, JobId, JobProgress, Progress, QueueName, SCHEMA};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{now_ms, step};

/// How often a worker says what it does.
const BEAT: Duration = Duration::from_secs(1);
/// Most jobs in one beat; a worker has fewer slots.
const JOBS_MAX: usize = 1_024;

/// All jobs that one worker has in hand.
pub struct ProgressBoard {
    worker: String,
    entries: Mutex<Vec<Weak<Entry>>>,
}

struct Entry {
    job: JobId,
    attempt: AtomicU32,
    step: Mutex<&'static str>,
    files_done: AtomicU64,
    files_total: AtomicU64,
    bytes_done: AtomicU64,
    bytes_total: AtomicU64,
}

/// One job's figures. Cheap enough for every chunk, from any thread; the job leaves the board with the last clone.
#[derive(Clone)]
pub struct ProgressHandle {
    entry: Arc<Entry>,
}

impl ProgressBoard {
    pub fn new(worker: String) -> Arc<ProgressBoard> {
        Arc::new(ProgressBoard { worker, entries: Mutex::new(Vec::new()) })
    }

    pub fn open(&self, job: JobId, attempt: u32) -> ProgressHandle {
        let handle = ProgressHandle::new(job, attempt);
        let mut entries = self.entries();
        entries.retain(|entry| entry.strong_count() > 0);
        entries.push(Arc::downgrade(&handle.entry));
        handle
    }

    pub fn snapshot(&self) -> Vec<JobProgress> {
        let open: Vec<Arc<Entry>> = self.entries().iter().filter_map(Weak::upgrade).take(JOBS_MAX).collect();
        open.iter().map(|entry| entry.figures()).collect()
    }

    /// Publishes one beat a second while jobs are open, until `stop`.
    pub fn publish(self: &Arc<Self>, queue: Arc<dyn Queue>, stop: CancellationToken) -> JoinHandle<()> {
        let board = self.clone();
        tokio::spawn(async move {
            let mut ticks = tokio::time::interval(BEAT);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
            let mut declared = false;
            loop {
                tokio::select! {
                    () = stop.cancelled() => return,
                    _ = ticks.tick() => {}
                }
                let jobs = board.snapshot();
                if !jobs.is_empty() {
                    declared = declared && board.beat(queue.as_ref(), jobs.clone()).await;
                    if !declared {
                        declared =
                            queue.declare(&QueueName::Progress).await.is_ok() && board.beat(queue.as_ref(), jobs).await;
                    }
                }
            }
        })
    }

    async fn beat(&self, queue: &dyn Queue, jobs: Vec<JobProgress>) -> bool {
        let beat = Beat::Progress(Progress { schema: SCHEMA, worker: self.worker.clone(), at_ms: now_ms(), jobs });
        let body = serde_json::to_vec(&beat).unwrap_or_default();
        let sent = queue.publish(vec![Outgoing::new(QueueName::Progress, body)]).await;
        sent.iter().all(Result::is_ok)
    }

    fn entries(&self) -> MutexGuard<'_, Vec<Weak<Entry>>> {
        self.entries.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl ProgressHandle {
    /// On no board.
    pub fn detached() -> ProgressHandle {
        ProgressHandle::new(JobId(uuid::Uuid::nil()), 1)
    }

    fn new(job: JobId, attempt: u32) -> ProgressHandle {
        ProgressHandle {
            entry: Arc::new(Entry {
                job,
                attempt: AtomicU32::new(attempt),
                step: Mutex::new("start"),
                files_done: AtomicU64::new(0),
                files_total: AtomicU64::new(0),
                bytes_done: AtomicU64::new(0),
                bytes_total: AtomicU64::new(0),
            }),
        }
    }

    /// Enters a step: `read`, `upload`, `download`, `stage`, `swap`, …
    pub fn step(&self, word: &'static str) {
        *self.entry.step() = word;
        step::mark(word);
    }

    /// 0 = not known.
    pub fn set_totals(&self, files: u64, bytes: u64) {
        self.entry.files_total.store(files, Relaxed);
        self.entry.bytes_total.store(bytes, Relaxed);
    }

    pub fn set_done(&self, files: u64, bytes: u64) {
        self.entry.files_done.store(files, Relaxed);
        self.entry.bytes_done.store(bytes, Relaxed);
    }

    pub fn add_files(&self, files: u64) {
        self.entry.files_done.fetch_add(files, Relaxed);
    }

    pub fn add_bytes(&self, bytes: u64) {
        self.entry.bytes_done.fetch_add(bytes, Relaxed);
    }

    pub fn set_attempt(&self, attempt: u32) {
        self.entry.attempt.store(attempt, Relaxed);
    }

    pub fn figures(&self) -> JobProgress {
        self.entry.figures()
    }
}

impl Entry {
    fn step(&self) -> MutexGuard<'_, &'static str> {
        self.step.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn figures(&self) -> JobProgress {
        JobProgress {
            job: self.job,
            attempt: self.attempt.load(Relaxed),
            step: (*self.step()).to_owned(),
            files_done: self.files_done.load(Relaxed),
            files_total: self.files_total.load(Relaxed),
            bytes_done: self.bytes_done.load(Relaxed),
            bytes_total: self.bytes_total.load(Relaxed),
        }
    }
}
