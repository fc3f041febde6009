//! A loop on the in-process queue, work that obeys the test, and a broker that fails on command.
#![allow(dead_code)]

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use queue::local::LocalQueue;
use queue::{Address, Delivery, Outgoing, Queue, QueueError};
use schemas::definitions::DistributionType;
use schemas::{
    BuildResult, BuildTask, Event, Fault, JobId, JobMessage, JobResult, Lane, QueueName, Report, Reports, RequestId,
    SCHEMA, Seq, StoreId, Task,
};
use testkit::{Tamper, Tampered};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use worker::{
    Context, Health, LoopOptions, LoopTools, Outcome, Perform, ProgressBoard, Reporter, fixed_queues, run_loop,
};

pub async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), what).await.expect("it took more than 20 s")
}

pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    for _ in 0..2_000 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("never came true: {what}");
}

pub fn work_queue() -> QueueName {
    QueueName::Build("hq".parse().unwrap())
}

pub fn job_id(number: u128) -> JobId {
    JobId(Uuid::from_u128(number))
}

pub fn job(number: u128, attempt: u32) -> JobMessage {
    JobMessage {
        schema: SCHEMA,
        job: job_id(number),
        attempt,
        lane: Lane::Build("antivirus".parse().unwrap()),
        seq: Seq { epoch: 1, n: number as u64 },
        request: RequestId(Uuid::from_u128(900)),
        task: Task::Build(BuildTask {
            distributor: "hq".parse().unwrap(),
            distribution: "antivirus".parse().unwrap(),
            store: StoreId(Uuid::from_u128(7)),
            of_type: DistributionType::File,
            number: 1,
            sources: vec![],
            previous: None,
            earlier: Vec::new(),
            read_all: false,
            keep: Vec::new(),
            lease_s: 60,
            working_dir: None,
        }),
        then: None,
        settings: None,
        traceparent: None,
    }
}

/// Work that says when it starts and ends when the test lets it.
pub struct Obedient {
    pub started: mpsc::UnboundedSender<JobId>,
    pub may_end: Semaphore,
    pub runs: AtomicU32,
    /// Jobs with this number panic.
    pub panics_on: Option<u128>,
    /// Pays no attention to cancel and drain.
    pub deaf: bool,
}

#[async_trait]
impl Perform for Obedient {
    async fn perform(&self, message: &JobMessage, context: &Context) -> Outcome {
        self.runs.fetch_add(1, SeqCst);
        self.started.send(message.job).unwrap();
        if self.panics_on.map(job_id) == Some(message.job) {
            panic!("poisoned");
        }
        let told = async {
            if self.deaf {
                std::future::pending::<()>().await;
            }
            tokio::select! {
                () = context.cancel.cancelled() => Outcome::Cancelled,
                () = context.drain.cancelled() => Outcome::Yielded,
            }
        };
        tokio::select! {
            permit = self.may_end.acquire() => {
                permit.unwrap().forget();
                Outcome::Done(JobResult::Build(BuildResult { files: message.seq.n, ..BuildResult::default() }))
            }
            outcome = told => outcome,
        }
    }
}

/// A queue whose reports are not confirmed while `reports_fail`, and that cannot be consumed until its faults are used up.
pub type Faulty = Tampered<Faults>;

#[derive(Default)]
pub struct Faults {
    pub reports_fail: AtomicBool,
    pub refused: AtomicU32,
    pub consume_faults: Mutex<VecDeque<QueueError>>,
}

pub fn faulty(inner: Arc<dyn Queue>) -> Arc<Faulty> {
    Tampered::new(inner, Faults::default())
}

#[async_trait]
impl Tamper for Faults {
    async fn publish(&self, messages: &[Outgoing]) -> Option<Vec<Result<(), QueueError>>> {
        let reports = messages.iter().any(|message| message.to == Address::Queue(QueueName::Reports));
        if !reports || !self.reports_fail.load(SeqCst) {
            return None;
        }
        self.refused.fetch_add(1, SeqCst);
        Some(messages.iter().map(|_| Err(QueueError::Unavailable { reason: "a test".to_owned() })).collect())
    }

    fn consume(&self) -> Option<QueueError> {
        self.consume_faults.lock().unwrap().pop_front()
    }
}

pub struct Rig {
    pub queue: Arc<Faulty>,
    pub work: Arc<Obedient>,
    pub started: mpsc::UnboundedReceiver<JobId>,
    pub shutdown: CancellationToken,
    pub health: Arc<Health>,
    pub looping: JoinHandle<Result<(), QueueError>>,
    reports: queue::Consumer,
    pending: Vec<Report>,
}

pub struct Setup {
    pub slots: u16,
    pub started_after: Duration,
    pub drain_time: Duration,
    pub panics_on: Option<u128>,
    pub deaf: bool,
}

impl Default for Setup {
    fn default() -> Setup {
        Setup {
            slots: 1,
            started_after: Duration::from_secs(20),
            drain_time: Duration::from_secs(20),
            panics_on: None,
            deaf: false,
        }
    }
}

impl Rig {
    pub async fn start(setup: Setup) -> Rig {
        Rig::start_on(faulty(LocalQueue::new()), setup).await
    }

    pub async fn start_on(queue: Arc<Faulty>, setup: Setup) -> Rig {
        queue.declare(&work_queue()).await.unwrap();
        queue.declare(&QueueName::Reports).await.unwrap();
        let reports = queue.consume(&QueueName::Reports, 1_000).await.unwrap();
        let (sender, started) = mpsc::unbounded_channel();
        let work = Arc::new(Obedient {
            started: sender,
            may_end: Semaphore::new(0),
            runs: AtomicU32::new(0),
            panics_on: setup.panics_on,
            deaf: setup.deaf,
        });
        let health = Health::new();
        let tools = LoopTools {
            queue: queue.clone(),
            reporter: Reporter::start(queue.clone()),
            board: ProgressBoard::new("builder@test:1".to_owned()),
            health: health.clone(),
        };
        let mut options = LoopOptions::new("builder@test:1".to_owned(), fixed_queues([work_queue()]), setup.slots);
        options.started_after = setup.started_after;
        options.drain_time = setup.drain_time;
        let shutdown = CancellationToken::new();
        let looping = tokio::spawn(run_loop(tools, work.clone(), options, shutdown.clone()));
        Rig { queue, work, started, shutdown, health, looping, reports, pending: Vec::new() }
    }

    pub async fn post(&self, message: &JobMessage) {
        self.post_to(work_queue(), serde_json::to_vec(message).unwrap()).await;
    }

    /// Posts until the broker is back.
    pub async fn post_again(&self, message: &JobMessage) {
        let body = serde_json::to_vec(message).unwrap();
        until("the broker is back", async || {
            let sent = self.queue.publish(vec![Outgoing::new(work_queue(), body.clone())]).await;
            sent.iter().all(Result::is_ok)
        })
        .await;
    }

    pub async fn post_to(&self, queue: QueueName, body: Vec<u8>) {
        self.queue.publish(vec![Outgoing::new(queue, body)]).await.pop().unwrap().unwrap();
    }

    pub async fn next_started(&mut self) -> JobId {
        within(self.started.recv()).await.unwrap()
    }

    pub async fn next_report(&mut self) -> Report {
        while self.pending.is_empty() {
            let delivery: Delivery = within(self.reports.next()).await.unwrap();
            let message: Reports = serde_json::from_slice(&delivery.body).unwrap();
            assert_eq!(message.schema, SCHEMA);
            self.pending.extend(message.reports);
            delivery.ack().await.unwrap();
        }
        self.pending.remove(0)
    }

    pub async fn ready(&self) -> u64 {
        self.queue.depth(&work_queue()).await.unwrap()
    }

    /// As SIGKILL would: nothing more is said, deliveries in hand go back.
    pub async fn kill(&mut self) {
        self.looping.abort();
        let _ = (&mut self.looping).await;
    }

    pub async fn end(mut self) {
        self.shutdown.cancel();
        within(&mut self.looping).await.unwrap().unwrap();
    }
}

pub fn fault_of(report: &Report) -> &Fault {
    match &report.event {
        Event::Failed { fault, .. } => fault,
        other => panic!("expected a failure: {other:?}"),
    }
}

pub fn succeeded(report: &Report) -> bool {
    matches!(report.event, Event::Succeeded { .. })
}
