//! One slot: takes one delivery at a time and sees it through. It knows nothing of the other slots' work.

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use queue::{Consumer, Delivery, QueueError};
use schemas::{Event, Fault, JobMessage, QueueName, Report};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::active::{Active, Admission, InHand};
use crate::{Context, LoopOptions, LoopTools, Outcome, Perform, ReportError, backoff, dead, decode, now_ms};

/// How long cancelled work may take to notice.
pub(crate) const CANCEL_GRACE: Duration = Duration::from_secs(30);
/// How long work may take to notice that the drain time is over.
pub(crate) const DRAIN_GRACE: Duration = Duration::from_secs(2);
/// How long aborted work may take to leave its last step.
const ABORT_GRACE: Duration = Duration::from_secs(1);
/// One delivery per consumer: the next is taken when the slot is free again.
const PREFETCH: u16 = 1;

/// What all slots of a loop share.
pub(crate) struct Shared {
    pub tools: LoopTools,
    pub perform: Arc<dyn Perform>,
    pub options: LoopOptions,
    pub active: Active,
    pub shutdown: CancellationToken,
    pub drain: CancellationToken,
}

type Consumers = Vec<(QueueName, Consumer)>;

/// Runs until the shutdown. Fails only when the queue is closed.
pub(crate) async fn run(shared: Arc<Shared>) -> Result<(), QueueError> {
    let mut queues = shared.options.queues.clone();
    while !shared.shutdown.is_cancelled() {
        let wanted: Vec<QueueName> = queues.borrow_and_update().iter().cloned().collect();
        let mut consumers = tokio::select! {
            () = shared.shutdown.cancelled() => return Ok(()),
            consumers = subscribe(&shared, &wanted) => consumers?,
        };
        while !consumers.is_empty() || wanted.is_empty() {
            let (from, delivery) = {
                let _count = shared.tools.health.count_consuming();
                tokio::select! {
                    biased;
                    () = shared.shutdown.cancelled() => break,
                    () = changed(&mut queues) => break,
                    next = next_of(&mut consumers) => next?,
                }
            };
            shared.take(&from, delivery, &mut consumers).await?;
        }
        stop(&mut consumers).await;
    }
    Ok(())
}

async fn subscribe(shared: &Shared, wanted: &[QueueName]) -> Result<Consumers, QueueError> {
    let mut consumers = Vec::with_capacity(wanted.len());
    for queue in wanted {
        for attempt in 0.. {
            match shared.tools.queue.consume(queue, PREFETCH).await {
                Ok(consumer) => {
                    consumers.push((queue.clone(), consumer));
                    break;
                }
                Err(QueueError::Closed) => return Err(QueueError::Closed),
                Err(error) => {
                    tracing::warn!(%queue, %error, attempt, "cannot consume yet");
                    sleep(backoff(attempt, u64::from(std::process::id()))).await;
                }
            }
        }
    }
    Ok(consumers)
}

/// Gives back what is buffered, and waits until nothing more can come.
async fn stop(consumers: &mut Consumers) {
    for (_, consumer) in consumers.drain(..) {
        consumer.stop().await;
    }
}

async fn changed(queues: &mut tokio::sync::watch::Receiver<std::collections::BTreeSet<QueueName>>) {
    if queues.changed().await.is_err() {
        std::future::pending().await
    }
}

/// The first delivery of any queue. The queues take turns: whoever gave goes to the end.
async fn next_of(consumers: &mut Consumers) -> Result<(QueueName, Delivery), QueueError> {
    let (index, delivery) = std::future::poll_fn(|context| {
        for (index, (_, consumer)) in consumers.iter_mut().enumerate() {
            if let Poll::Ready(delivery) = consumer.poll_next(context) {
                return Poll::Ready((index, delivery));
            }
        }
        Poll::Pending
    })
    .await;
    let delivery = delivery.ok_or(QueueError::Closed)?;
    let taken = consumers.remove(index);
    let from = taken.0.clone();
    consumers.push(taken);
    Ok((from, delivery))
}

impl Shared {
    async fn take(&self, from: &QueueName, delivery: Delivery, consumers: &mut Consumers) -> Result<(), QueueError> {
        let message = match decode::job(&delivery.body) {
            Ok(message) => message,
            Err(fault) => {
                let dead = dead::letter(self.tools.queue.as_ref(), from, delivery, &fault).await;
                return settled(dead);
            }
        };
        match self.active.admit(&message, &self.tools.board) {
            Admission::New(in_hand) => self.work(message, in_hand, delivery, consumers).await,
            Admission::Same => settled(delivery.ack().await),
            Admission::Renamed => {
                let report = self.report(&message, message.attempt, Event::Started {});
                self.report_and_ack(report, delivery).await
            }
            Admission::Ended(report) => self.report_and_ack(*report, delivery).await,
            Admission::Cancelled => {
                let report = self.report(&message, message.attempt, Event::Cancelled {});
                self.report_and_ack(report, delivery).await
            }
        }
    }

    async fn work(
        &self,
        message: JobMessage,
        in_hand: Arc<InHand>,
        delivery: Delivery,
        consumers: &mut Consumers,
    ) -> Result<(), QueueError> {
        let _running = self.tools.health.count_running();
        let (began, began_ms) = (Instant::now(), now_ms());
        let work = finish(self.start(message.clone(), &in_hand), in_hand.cancel.clone(), self.drain.clone());
        tokio::pin!(work);
        let quick = tokio::select! {
            biased;
            outcome = &mut work => Some(outcome),
            () = sleep(self.options.started_after) => None,
        };
        let (outcome, delivery) = match quick {
            Some(outcome) => (outcome, Some(delivery)),
            None => {
                let _long = self.tools.health.count_long();
                // The slot stays taken: nothing may be delivered to it when the acknowledgement makes room.
                let hand_over = async {
                    stop(consumers).await;
                    let started = self.report(&message, in_hand.attempt(), Event::Started {});
                    self.report_and_ack(Report { at_ms: began_ms, ..started }, delivery).await
                };
                let (outcome, handed_over) = tokio::join!(work, hand_over);
                if let Err(error) = handed_over {
                    self.active.ended(message.job, None);
                    return Err(error);
                }
                (outcome, None)
            }
        };
        let event = outcome.into_event(began.elapsed().as_millis() as i64);
        self.end(&message, &in_hand, event, delivery).await
    }

    fn start(&self, message: JobMessage, in_hand: &InHand) -> JoinHandle<Outcome> {
        let perform = self.perform.clone();
        let context = Context {
            cancel: in_hand.cancel.clone(),
            drain: self.drain.clone(),
            closing: Default::default(),
            progress: in_hand.progress.clone(),
        };
        tokio::spawn(async move { perform.perform(&message, &context).await })
    }

    /// The last word on a job: confirmed first, acknowledged then. A kill between the two brings the delivery back, and
    /// the same report after it.
    async fn end(
        &self,
        message: &JobMessage,
        in_hand: &InHand,
        event: Event,
        delivery: Option<Delivery>,
    ) -> Result<(), QueueError> {
        let report = self.report(message, in_hand.attempt(), event);
        let sent = self.send(report).await;
        self.active.ended(message.job, sent.as_ref().ok().cloned());
        self.tools.health.job_ended();
        sent?;
        match delivery {
            Some(delivery) => settled(delivery.ack().await),
            None => Ok(()),
        }
    }

    async fn report_and_ack(&self, report: Report, delivery: Delivery) -> Result<(), QueueError> {
        self.send(report).await?;
        settled(delivery.ack().await)
    }

    /// Returns what was sent: a report that is too large goes as a failure.
    async fn send(&self, report: Report) -> Result<Report, QueueError> {
        let sent = match self.tools.reporter.send(report.clone()).await {
            Ok(()) => report,
            Err(error @ ReportError::TooLarge { .. }) => {
                let fault = Fault::permanent("report-too-large", error.to_string());
                let smaller = Report { event: Event::Failed { took_ms: 0, fault }, ..report };
                self.tools.reporter.send(smaller.clone()).await.map_err(|_| QueueError::Closed)?;
                smaller
            }
            Err(ReportError::Closed) => return Err(QueueError::Closed),
        };
        self.tools.health.report_confirmed();
        Ok(sent)
    }

    fn report(&self, message: &JobMessage, attempt: u32, event: Event) -> Report {
        Report {
            job: message.job,
            attempt,
            lane: message.lane.clone(),
            at_ms: now_ms(),
            worker: self.options.worker.clone(),
            event,
        }
    }
}

/// Waits for the work, but not for ever once it was told to end.
async fn finish(mut work: JoinHandle<Outcome>, cancel: CancellationToken, drain: CancellationToken) -> Outcome {
    let late = tokio::select! {
        biased;
        ended = &mut work => return ended.unwrap_or_else(panicked),
        () = overdue(&cancel, CANCEL_GRACE) => Outcome::Cancelled,
        () = overdue(&drain, DRAIN_GRACE) => Outcome::Yielded,
    };
    work.abort();
    match timeout(ABORT_GRACE, work).await {
        Ok(Ok(outcome)) => outcome,
        _ => late,
    }
}

fn panicked(error: tokio::task::JoinError) -> Outcome {
    let text = match error.try_into_panic() {
        Ok(panic) => panic_text(panic.as_ref()),
        Err(error) => error.to_string(),
    };
    Outcome::Retry(Fault::transient("worker-panic", format!("the worker panicked: {text}")))
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}

async fn overdue(token: &CancellationToken, grace: Duration) {
    token.cancelled().await;
    sleep(grace).await;
}

/// Whatever could not be settled comes again, and is then found ended; only a closed queue ends the slot.
fn settled(result: Result<(), QueueError>) -> Result<(), QueueError> {
    match result {
        Err(QueueError::Closed) => Err(QueueError::Closed),
        Err(error) => {
            tracing::debug!(%error, "a delivery could not be acknowledged");
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}
