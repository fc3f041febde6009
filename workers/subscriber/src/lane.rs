//! One lane: its jobs in order, one at a time, those in hand before those in the queue. It knows no other lane but for
//! the slots that all share, and nothing of what a job does.

use std::sync::Arc;
use std::time::{Duration, Instant};

use queue::{Consumer, Delivery, Queue, QueueError};
use schemas::{Event, Fault, JobMessage, Lane, QueueName, SiteLane};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use worker::{Context, Outcome, ProgressBoard};

use crate::desk::{Desk, DeskError};
use crate::intake;
use crate::journal::{Admission, Begin, Ended, Ending, Journal, JournalError, OpenJob, TRIES_MAX, Written};
use crate::orders::{InForce, Orders, Registered};
use crate::site::Site;
use crate::slots::{Slot, Slots};
use crate::window::{self, Window};

/// One message at a time: the others wait in the broker, where they can be seen and counted.
const PREFETCH: u16 = 1;
/// How long work may take to end after the drain time is over; then it stays in the journal for the next start.
const DRAIN_GRACE: Duration = Duration::from_secs(10);

/// What all lanes of a site share.
#[derive(Clone)]
pub struct LaneTools {
    pub site: Arc<Site>,
    pub queue: Arc<dyn Queue>,
    pub journal: Journal,
    pub orders: Arc<Orders>,
    pub desk: Desk,
    pub board: Arc<ProgressBoard>,
    pub slots: Slots,
    pub started_after: Duration,
    /// Nothing new begins.
    pub shutdown: CancellationToken,
    /// The time to drain is over.
    pub drained: CancellationToken,
    /// Reports under way; the site ends after them.
    pub reports: TaskTracker,
}

pub struct LaneLoop {
    tools: LaneTools,
    id: SiteLane,
    lane: Lane,
    queue: QueueName,
    in_force: watch::Receiver<InForce>,
    consumer: Option<Consumer>,
    /// The journal may hold work of this lane.
    in_hand: bool,
    faults: u32,
}

/// A message whose job the journal has taken.
struct Received {
    delivery: Delivery,
    admitted: Written<Admission>,
}

/// What comes next in a lane.
enum Next {
    Message(Delivery),
    /// Something changed: look at the journal again.
    LookAgain,
    /// Nothing more comes here: the site stops, or is no longer subscribed.
    End,
}

impl LaneLoop {
    pub fn new(tools: LaneTools, id: SiteLane) -> LaneLoop {
        LaneLoop {
            lane: Lane::Site(id.clone()),
            queue: QueueName::Site(id.subscriber.clone(), id.channel.clone()),
            in_force: tools.orders.watch(),
            consumer: None,
            in_hand: true,
            faults: 0,
            tools,
            id,
        }
    }

    /// Ends at shutdown, or when the site is no longer subscribed and nothing is in hand.
    pub async fn run(mut self) {
        loop {
            match self.turn().await {
                Ok(true) => self.faults = 0,
                Ok(false) => return,
                Err(error) => {
                    tracing::error!(lane = %self.lane, %error, "the lane stands still; it is tried again");
                    self.in_hand = true;
                    if !self.rest().await {
                        return;
                    }
                }
            }
        }
    }

    /// One job or one message; false at the end.
    async fn turn(&mut self) -> Result<bool, JournalError> {
        if self.in_hand {
            if let Some(job) = self.tools.journal.next_open(&self.lane).await? {
                return self.work(job, None).await;
            }
            self.in_hand = false;
        }
        match self.next().await {
            Next::Message(delivery) => self.take(delivery).await,
            Next::LookAgain => Ok(true),
            Next::End => Ok(false),
        }
    }

    /// Waits for a message, while the lane is subscribed and not paused.
    async fn next(&mut self) -> Next {
        let (subscribed, paused, ready) = {
            let now = self.in_force.borrow_and_update();
            let subscribed = now.settings.as_ref().is_some_and(|s| s.channels.contains(&self.id.channel));
            (subscribed, now.paused.contains(&self.lane), now.control_read)
        };
        if self.tools.shutdown.is_cancelled() || !subscribed {
            return Next::End;
        }
        if paused || !ready {
            self.consumer = None;
            return self.changed().await;
        }
        if self.consumer.is_none() {
            match self.tools.queue.consume(&self.queue, PREFETCH).await {
                Ok(consumer) => self.consumer = Some(consumer),
                Err(error) => {
                    tracing::warn!(lane = %self.lane, %error, "the lane's queue cannot be read yet");
                    return if self.rest().await { Next::LookAgain } else { Next::End };
                }
            }
        }
        let Some(consumer) = &mut self.consumer else { return Next::LookAgain };
        tokio::select! {
            () = self.tools.shutdown.cancelled() => Next::End,
            _ = self.in_force.changed() => Next::LookAgain,
            delivery = consumer.next() => delivery.map_or(Next::End, Next::Message),
        }
    }

    async fn changed(&mut self) -> Next {
        tokio::select! {
            () = self.tools.shutdown.cancelled() => Next::End,
            _ = self.in_force.changed() => Next::LookAgain,
        }
    }

    /// Waits longer after each fault in a row; false at shutdown.
    async fn rest(&mut self) -> bool {
        let wait = worker::backoff(self.faults, getrandom::u64().unwrap_or_default());
        self.faults += 1;
        tokio::select! {
            () = self.tools.shutdown.cancelled() => false,
            () = tokio::time::sleep(wait) => true,
        }
    }

    async fn take(&mut self, delivery: Delivery) -> Result<bool, JournalError> {
        let message = match intake::read(&delivery.body, &self.id.subscriber, &self.id.channel) {
            Ok(message) => message,
            Err(fault) => {
                tracing::warn!(lane = %self.lane, %fault, "a message is refused");
                let buried = worker::dead::letter(&*self.tools.queue, &self.queue, delivery, &fault).await;
                self.log_stale(buried);
                return Ok(true);
            }
        };
        if let Some(settings) = message.settings.as_ref().filter(|s| s.subscriber == self.id.subscriber) {
            self.tools.orders.put_settings(settings).await?;
        }
        let admitted = self.tools.journal.admit(&message).await?;
        if *admitted.value() == Admission::Taken {
            // It need not be on the disk by itself: it goes there with the count of its first try.
            return self.work(OpenJob::taken(message), Some(Received { delivery, admitted })).await;
        }
        match admitted.durable().await? {
            Admission::Taken | Admission::InHand => {
                self.in_hand = true;
                self.acknowledge(delivery).await;
            }
            Admission::Stale { highest } => {
                tracing::info!(job = %message.job, seq = ?message.seq, ?highest, "a message older than its lane is refused");
                if message.seq.epoch == highest.epoch {
                    self.decline(message, delivery);
                } else {
                    self.acknowledge(delivery).await;
                }
            }
            Admission::Ended(endings) => self.report(endings, Some(delivery)),
        }
        Ok(true)
    }

    /// Brings a job in hand to its end; false if the site stops meanwhile.
    async fn work(&mut self, job: OpenJob, mut received: Option<Received>) -> Result<bool, JournalError> {
        let cancelled = self.tools.orders.register(job.job);
        let slot = self.slot(&job, &cancelled, &mut received).await?;
        let mut delivery = received.map(|r| r.delivery);
        let Some(slot) = slot else {
            if !self.tools.shutdown.is_cancelled() {
                return self.end(&job, &Event::Cancelled {}, delivery).await;
            }
            self.give_back(&job, delivery).await;
            return Ok(false);
        };
        if let Some(window_end_ms) = window::over(job.task.stop_at_ms()) {
            return self.end(&job, &Event::Stopped { window_end_ms }, delivery).await;
        }
        let attempt = match self.tools.journal.begin(job.job).await? {
            Begin::Go { attempt, .. } => attempt,
            Begin::Gone => return Ok(true),
            Begin::Cancelled => return self.end(&job, &Event::Cancelled {}, delivery).await,
            Begin::TooManyTries { tries } => return self.end(&job, &too_many_tries(tries), delivery).await,
        };
        let begun = Instant::now();
        let window = Window::watch(job.task.stop_at_ms(), &self.tools.drained);
        let outcome = self.run_job(&job, attempt, &cancelled, &window, &mut delivery).await;
        drop(slot);
        match (outcome, window.ended_ms()) {
            (Some(Outcome::Yielded), Some(window_end_ms)) if !self.tools.drained.is_cancelled() => {
                self.end(&job, &Event::Stopped { window_end_ms }, delivery).await
            }
            (Some(Outcome::Yielded), _) => {
                self.give_back(&job, delivery).await;
                Ok(false)
            }
            (Some(outcome), _) => {
                let event = outcome.into_event(begun.elapsed().as_millis() as i64);
                self.end(&job, &event, delivery).await
            }
            (None, _) => Ok(false),
        }
    }

    /// A slot when the lane may go on. `None`: the job was cancelled, or the site stops.
    async fn slot(
        &mut self,
        job: &OpenJob,
        cancelled: &Registered,
        received: &mut Option<Received>,
    ) -> Result<Option<Slot>, JournalError> {
        loop {
            if cancelled.token.is_cancelled() || self.tools.shutdown.is_cancelled() {
                return Ok(None);
            }
            let paused = self.in_force.borrow_and_update().paused.contains(&self.lane);
            if !paused && let Some(slot) = self.tools.slots.try_take() {
                return Ok(Some(slot));
            }
            if self.tools.journal.cancelled(job.job).await? {
                return Ok(None);
            }
            self.hand_over(received).await?;
            let slots = self.tools.slots.clone();
            tokio::select! {
                () = self.tools.shutdown.cancelled() => return Ok(None),
                () = cancelled.token.cancelled() => return Ok(None),
                slot = slots.take(job.priority), if !paused => return Ok(Some(slot)),
                _ = self.in_force.changed() => {}
            }
        }
    }

    /// Does the job. What is not over after a second is reported as started, and its message acknowledged. `None`: the
    /// site stops before the job did, and the journal keeps it.
    async fn run_job(
        &mut self,
        job: &OpenJob,
        attempt: u32,
        cancelled: &Registered,
        window: &Window,
        delivery: &mut Option<Delivery>,
    ) -> Option<Outcome> {
        let context = Context {
            cancel: cancelled.token.clone(),
            drain: window.drain.clone(),
            closing: window.closing.clone(),
            progress: self.tools.board.open(job.job, attempt),
        };
        let (site, work, began_ms) = (self.tools.site.clone(), job.clone(), worker::now_ms());
        let mut working = tokio::spawn(async move { site.perform(&work, &context).await });
        if let Ok(outcome) = tokio::time::timeout(self.tools.started_after, &mut working).await {
            return Some(outcome.unwrap_or_else(panicked));
        }
        // No delivery is held, nor another one taken, through long work.
        self.consumer = None;
        self.say_started(job, attempt, began_ms, delivery.take());
        tokio::select! {
            outcome = &mut working => return Some(outcome.unwrap_or_else(panicked)),
            () = self.tools.drained.cancelled() => {}
        }
        self.last_moment(working).await
    }

    async fn last_moment(&self, mut working: JoinHandle<Outcome>) -> Option<Outcome> {
        match tokio::time::timeout(DRAIN_GRACE, &mut working).await {
            Ok(outcome) => Some(outcome.unwrap_or_else(panicked)),
            Err(_) => {
                working.abort();
                None
            }
        }
    }

    fn say_started(&self, job: &OpenJob, attempt: u32, began_ms: i64, delivery: Option<Delivery>) {
        let (desk, job) = (self.tools.desk.clone(), job.clone());
        self.tools.reports.spawn(async move {
            let said = desk.started(&job, attempt, began_ms).await;
            settle(said, delivery).await;
        });
    }

    /// Writes the end down, and reports it while the lane goes on.
    async fn end(&mut self, job: &OpenJob, event: &Event, delivery: Option<Delivery>) -> Result<bool, JournalError> {
        let Ended { ending, followed } = self.tools.journal.end(job.job, event).await?.durable().await?;
        self.in_hand |= followed;
        match &ending.event {
            Event::Failed { fault, .. } => {
                tracing::warn!(job = %job.job, lane = %self.lane, kind = job.task.kind().as_str(), %fault, "a job failed");
            }
            event => {
                tracing::info!(job = %job.job, lane = %self.lane, kind = job.task.kind().as_str(), end = word(event))
            }
        }
        self.report(vec![ending], delivery);
        Ok(true)
    }

    fn report(&self, endings: Vec<Ending>, delivery: Option<Delivery>) {
        let desk = self.tools.desk.clone();
        self.tools.reports.spawn(async move {
            let mut said = Ok(());
            for ending in endings {
                said = said.and(desk.report(ending).await);
            }
            settle(said, delivery).await;
        });
    }

    async fn give_back(&self, job: &OpenJob, delivery: Option<Delivery>) {
        let (desk, job) = (self.tools.desk.clone(), job.clone());
        self.tools.reports.spawn(async move {
            let said = desk.give_back(&job).await;
            settle(said, delivery).await;
        });
    }

    /// Two publishers of the lane may have overtaken each other: the job goes back, to come again at once under a number of its
    /// own instead of being missed for two presences. The recorder knows whether it was wanted at all.
    fn decline(&self, message: JobMessage, delivery: Delivery) {
        let desk = self.tools.desk.clone();
        self.tools.reports.spawn(async move {
            let said = desk.decline(&message).await;
            settle(said, Some(delivery)).await;
        });
    }

    /// The job waits here, in the journal: the broker need not hold it.
    async fn hand_over(&mut self, received: &mut Option<Received>) -> Result<(), JournalError> {
        if let Some(Received { delivery, admitted }) = received.take() {
            self.consumer = None;
            admitted.durable().await?;
            self.acknowledge(delivery).await;
        }
        Ok(())
    }

    async fn acknowledge(&self, delivery: Delivery) {
        self.log_stale(delivery.ack().await);
    }

    fn log_stale(&self, settled: Result<(), QueueError>) {
        if let Err(error) = settled {
            tracing::debug!(lane = %self.lane, %error, "a message comes again");
        }
    }
}

/// Acknowledges what is reported; what is not comes again, and the journal answers it.
async fn settle(said: Result<(), DeskError>, delivery: Option<Delivery>) {
    match (said, delivery) {
        (Ok(()), Some(delivery)) => {
            if let Err(error) = delivery.ack().await {
                tracing::debug!(%error, "a message comes again");
            }
        }
        (Ok(()), None) => {}
        (Err(error), delivery) => {
            tracing::warn!(%error, "a report waits for the next start");
            drop(delivery);
        }
    }
}

fn too_many_tries(tries: u32) -> Event {
    let what = format!("the job was started {TRIES_MAX} times and never came to an end; see this site's log");
    tracing::error!(tries, "a job is given up");
    Event::Failed { took_ms: 0, fault: Fault::transient("too-many-tries", what) }
}

fn panicked(error: tokio::task::JoinError) -> Outcome {
    Outcome::Retry(Fault::transient("worker-panic", format!("the job's work ended badly: {error}")))
}

fn word(event: &Event) -> &'static str {
    match event {
        Event::Started {} => "started",
        Event::Succeeded { .. } => "succeeded",
        Event::Failed { .. } => "failed",
        Event::Yielded {} => "yielded",
        Event::Cancelled {} => "cancelled",
        Event::Stopped { .. } => "stopped",
    }
}
