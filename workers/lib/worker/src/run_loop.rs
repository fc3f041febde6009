//! The run loop of a stateless worker: slots, control, drain. It knows nothing of what the jobs do.

use std::sync::Arc;
use std::time::Duration;

use queue::QueueError;
use schemas::{Control, QueueName};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::active::Active;
use crate::slot::{self, DRAIN_GRACE, Shared};
use crate::{LoopOptions, LoopTools, Perform, SLOTS_MAX, backoff, dead, decode};

/// How long the last reports may take to be confirmed before the deliveries are given back instead.
const FINAL_PATIENCE: Duration = Duration::from_secs(10);
const CONTROL_PREFETCH: u16 = 16;

/// Returns after `shutdown`, when all work has ended or was yielded; fails only when the queue is closed under it.
pub async fn run_loop(
    tools: LoopTools,
    perform: Arc<dyn Perform>,
    options: LoopOptions,
    shutdown: CancellationToken,
) -> Result<(), QueueError> {
    let slots = options.slots.clamp(1, SLOTS_MAX);
    let shared = Arc::new(Shared {
        tools,
        perform,
        options,
        active: Active::default(),
        shutdown: shutdown.clone(),
        drain: CancellationToken::new(),
    });
    let control = tokio::spawn(listen(shared.clone()));
    let mut running = JoinSet::new();
    for _ in 0..slots {
        running.spawn(slot::run(shared.clone()));
    }
    let ended = tokio::select! {
        ended = all_ended(&mut running, &shared) => ended,
        () = shutdown.cancelled() => drain(&mut running, &shared).await,
    };
    control.abort();
    ended
}

async fn all_ended(running: &mut JoinSet<Result<(), QueueError>>, shared: &Arc<Shared>) -> Result<(), QueueError> {
    while let Some(ended) = running.join_next().await {
        match ended {
            Ok(result) => result?,
            Err(error) if error.is_panic() => {
                tracing::error!(%error, "a slot panicked and is started again");
                running.spawn(slot::run(shared.clone()));
            }
            Err(_) => {}
        }
    }
    Ok(())
}

async fn drain(running: &mut JoinSet<Result<(), QueueError>>, shared: &Arc<Shared>) -> Result<(), QueueError> {
    shared.tools.health.drains();
    tokio::select! {
        ended = all_ended(running, shared) => return ended,
        () = sleep(shared.options.drain_time) => shared.drain.cancel(),
    }
    match timeout(DRAIN_GRACE + FINAL_PATIENCE, all_ended(running, shared)).await {
        Ok(ended) => ended,
        Err(_) => {
            tracing::warn!("the last reports were not confirmed; their jobs will be delivered again");
            running.shutdown().await;
            Ok(())
        }
    }
}

/// Control reaches the work outside the slots, also while it drains.
async fn listen(shared: Arc<Shared>) {
    let queue = &shared.tools.queue;
    for attempt in 0.. {
        match queue.consume(&QueueName::BuilderControl, CONTROL_PREFETCH).await {
            Ok(mut consumer) => {
                while let Some(delivery) = consumer.next().await {
                    match decode::control(&delivery.body) {
                        Ok(Control::Cancel { job }) => shared.active.cancel(job),
                        Ok(_) => tracing::debug!("control that does not concern a builder"),
                        Err(fault) => {
                            let from = QueueName::BuilderControl;
                            if dead::letter(queue.as_ref(), &from, delivery, &fault).await.is_err() {
                                return;
                            }
                            continue;
                        }
                    }
                    // Unacknowledged it would only come again.
                    let _ = delivery.ack().await;
                }
                return;
            }
            Err(QueueError::Closed) => return,
            Err(error) => {
                tracing::warn!(%error, "cannot listen for control yet");
                sleep(backoff(attempt, u64::from(std::process::id()))).await;
            }
        }
    }
}
