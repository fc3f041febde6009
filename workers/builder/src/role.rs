//! The builder as a process: takes build jobs of its distributors from their queues, a few at a time.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use async_trait::async_trait;
use blobs::Blobs;
use queue::{Queue, QueueError};
use schemas::{DistributorName, Fault, JobMessage, JobResult, QueueName, Task};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use worker::{Context, Health, LoopOptions, LoopTools, Outcome, Perform, ProgressBoard, Reporter};

use crate::build::{Builder, Ended};
use crate::patches::Patcher;

/// Patience for reports when the loop has ended.
const REPORTS_PATIENCE: std::time::Duration = std::time::Duration::from_secs(10);

pub struct Config {
    /// Whose jobs it takes; may change while it runs.
    pub distributors: watch::Receiver<Vec<DistributorName>>,
    /// Builds at the same time.
    pub slots: u16,
    /// For hints, a folder for each distribution; none: where the definitions of the distributors say.
    pub work_dir: Option<PathBuf>,
    /// `builder@host:pid`.
    pub worker_id: String,
    pub drain_time: std::time::Duration,
}

/// Until `shutdown`, and then until all work has ended or was given back.
pub async fn run(
    config: Config,
    queue: Arc<dyn Queue>,
    blobs: Arc<dyn Blobs>,
    shutdown: CancellationToken,
) -> Result<(), QueueError> {
    let stop = CancellationToken::new();
    let board = ProgressBoard::new(config.worker_id.clone());
    let beats = board.publish(queue.clone(), stop.clone());
    let reporter = Reporter::start(queue.clone());
    let tools = LoopTools { queue, reporter: reporter.clone(), board, health: Health::new() };
    let (queues, following) = follow(config.distributors);
    let threads = thread::available_parallelism().map_or(2, usize::from);
    let patching = CancellationToken::new();
    let patcher = Patcher::start(blobs.clone(), patching.clone());
    let builder = Arc::new(Builder::new(blobs, config.work_dir, threads).with_patcher(patcher));
    let mut options = LoopOptions::new(config.worker_id, queues, config.slots);
    options.drain_time = config.drain_time;
    let ended = worker::run_loop(tools, builder.clone(), options, shutdown).await;
    patching.cancel();
    if let Some(builder) = Arc::into_inner(builder) {
        builder.patched().await;
    }
    following.abort();
    reporter.close(REPORTS_PATIENCE).await;
    stop.cancel();
    if let Err(error) = beats.await {
        tracing::warn!(%error, "the progress task ended early");
    }
    ended
}

/// The queues of the distributors, as these come and go.
fn follow(
    mut distributors: watch::Receiver<Vec<DistributorName>>,
) -> (watch::Receiver<BTreeSet<QueueName>>, tokio::task::JoinHandle<()>) {
    let queues = |names: &[DistributorName]| names.iter().cloned().map(QueueName::Build).collect::<BTreeSet<_>>();
    let (sender, receiver) = watch::channel(queues(&distributors.borrow_and_update()));
    let following = tokio::spawn(async move {
        while distributors.changed().await.is_ok() {
            sender.send_replace(queues(&distributors.borrow_and_update()));
        }
        // Without a sender the set stays as it is for as long as the builder runs.
        sender.closed().await;
    });
    (receiver, following)
}

#[async_trait]
impl Perform for Builder {
    async fn perform(&self, message: &JobMessage, context: &Context) -> Outcome {
        let ended = match &message.task {
            Task::Build(task) => self.build(task, context).await.map(JobResult::Build),
            Task::Collect(task) => self.collect(task, context).await.map(JobResult::Collect),
            Task::Send(_) | Task::Extract(_) => {
                let kind = message.task.kind().as_str();
                return Outcome::Reject(Fault::permanent("job-misrouted", format!("a {kind} job came to a builder")));
            }
        };
        context.progress.step("report");
        match ended {
            Ok(result) => Outcome::Done(result),
            Err(Ended::Fault(fault)) if fault.permanent => Outcome::Reject(fault),
            Err(Ended::Fault(fault)) => Outcome::Retry(fault),
            Err(Ended::Cancelled) => Outcome::Cancelled,
            Err(Ended::Yielded) => Outcome::Yielded,
        }
    }
}
