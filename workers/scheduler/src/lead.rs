//! What only one scheduler does at a time, under a term that fences the others: firing schedules and sweeping. Telling sites goes
//! on beside it, under the same term.

use std::time::{Duration, Instant};

use records::{OwnEvent, RecordsError, Retirement, Settling, Term};

use crate::Tools;
use crate::began::Began;

const LEASE: &str = "scheduler";
/// Between two turns, however much is due.
const REST_MIN: Duration = Duration::from_millis(1);
/// Looking for extractions that others wait for takes at most one part in so many of the leader's time.
const LOOKING_SHARE: u32 = 20;

pub async fn run(tools: &Tools) -> anyhow::Result<()> {
    let mut leader = Leader {
        term: None,
        began: Began::Alone,
        starts: false,
        renewed: Instant::now(),
        swept: None,
        retired: None,
        settling: Settling::default(),
        look_again: Instant::now(),
    };
    while !tools.shutdown.is_cancelled() {
        match leader.turn(tools).await {
            Ok(()) => leader.rest(tools).await,
            Err(RecordsError::Fenced) => {
                tracing::warn!("another scheduler leads now");
                leader.term = None;
                tools.term.send_replace(None);
                tools.pause(tools.config.tick).await;
            }
            Err(error) => {
                tracing::warn!(%error, "a turn of the leader failed; the next one tries again");
                leader.renewed = Instant::now() - tools.config.lease;
                tools.pause(tools.config.tick).await;
            }
        }
    }
    if let Some(term) = leader.term {
        stop(tools, &term).await;
    }
    Ok(())
}

/// In order: what waits for the control side's shutdown is due, and another scheduler may lead at once.
async fn stop(tools: &Tools, term: &Term) {
    let told = async {
        if tools.records.control_side(term, OwnEvent::Shutdown).await? > 0 {
            tools.records.tick(term).await?;
        }
        tools.records.resign(term).await
    };
    if let Err(error) = told.await {
        tracing::warn!(%error, "the lease was not given up in order; it runs out");
    }
}

struct Leader {
    term: Option<Term>,
    began: Began,
    /// The control side has started, and what waits for that has not been told.
    starts: bool,
    renewed: Instant,
    swept: Option<Instant>,
    retired: Option<Instant>,
    /// Since it leads; `next due` by this program's time-zone data.
    settling: Settling,
    /// When to look again for extractions that others wait for.
    look_again: Instant,
}

impl Leader {
    async fn turn(&mut self, tools: &Tools) -> Result<(), RecordsError> {
        if self.term.is_none() || self.renewed.elapsed() > tools.config.lease / 3 {
            let before = self.term.take();
            let ttl_ms = tools.config.lease.as_millis() as i64;
            let lease = if before.is_none() { tools.records.lease(LEASE).await? } else { None };
            self.term = tools.records.lead(LEASE, &tools.config.holder, ttl_ms).await?;
            self.renewed = Instant::now();
            if self.term.is_none() {
                self.began = std::mem::replace(&mut self.began, Began::Alone).saw(lease.clone());
            }
            if let (Some(term), None) = (&self.term, &before) {
                let is_start = self.began.leads(lease);
                self.starts |= is_start;
                tracing::info!(term = term.term, holder = %term.holder, is_start, "leads");
                self.settling = Settling::default();
            }
        }
        tools.term.send_replace(self.term.clone());
        let Some(term) = self.term.clone() else { return Ok(()) };
        self.settle(tools, &term).await?;
        if self.starts {
            let due = tools.records.control_side(&term, OwnEvent::Startup).await?;
            tracing::info!(due, "the control side has started");
            self.starts = false;
        }
        worker::step::mark("tick");
        let fired = tools.records.tick(&term).await?;
        worker::step::mark("ticked");
        for fired in fired {
            tracing::info!(schedule = %fired.schedule, nominal_ms = fired.nominal_ms, request = %fired.request, missed = fired.missed, "fired");
            tools.asked.notify_one();
        }
        if self.swept.is_none_or(|at| at.elapsed() >= tools.config.sweep) {
            self.swept = Some(Instant::now());
            self.sweep(tools, &term).await?;
            self.close_windows(tools, &term).await?;
            self.look_for_extractions(tools, &term).await?;
        }
        if self.retired.is_none_or(|at| at.elapsed() >= tools.config.retention.every()) {
            self.retired = Some(Instant::now());
            self.retire(tools, &term).await?;
        }
        Ok(())
    }

    /// A step of it, if this program's time-zone data are not those of the last leader.
    async fn settle(&mut self, tools: &Tools, term: &Term) -> Result<(), RecordsError> {
        if self.settling.is_over {
            return Ok(());
        }
        tools.records.settle_more(term, &mut self.settling).await?;
        if self.settling.is_over && self.settling.settled > 0 {
            let (settled, version) = (self.settling.settled, domain::schedule::zone_data_version());
            tracing::info!(settled, version, "other time-zone data: when schedules are due was computed again");
        }
        Ok(())
    }

    /// Until the next turn: no longer than until something is due, so that it is fired at its instant and not up to a tick later.
    async fn rest(&self, tools: &Tools) {
        let mut time = if self.term.is_some() && !self.settling.is_over { REST_MIN } else { tools.config.tick };
        if self.term.is_some()
            && let Ok(Some(due_in_ms)) = tools.records.due_in_ms().await
        {
            time = time.min(Duration::from_millis(due_in_ms.try_into().unwrap_or(0)));
        }
        tools.pause(time.max(REST_MIN)).await;
    }

    /// Retires revisions beyond what is kept, and asks for a collection if something is due.
    async fn retire(&self, tools: &Tools, term: &Term) -> Result<(), RecordsError> {
        let retention = &tools.config.retention;
        let fleet = tools.fleet().await?;
        let retired = tools.records.retire(Some(term), &Retirement::of(&fleet), &retention.times()).await?;
        if retired.revisions > 0 {
            tracing::info!(revisions = retired.revisions, objects = retired.objects, bytes = retired.bytes, "retired");
        }
        if tools.records.ask_collection(term, &fleet, retention.list_every_ms()).await? {
            tools.asked.notify_one();
        }
        Ok(())
    }

    async fn sweep(&self, tools: &Tools, term: &Term) -> Result<(), RecordsError> {
        worker::step::mark("sweep");
        let swept = tools.records.sweep(term, &tools.config.thresholds).await?;
        if swept.silent + swept.given_up + swept.lost + swept.again + swept.cancelled > 0 {
            tracing::info!(
                silent = swept.silent,
                given_up = swept.given_up,
                lost = swept.lost,
                again = swept.again,
                cancelled = swept.cancelled,
                "swept"
            );
        }
        worker::step::mark("publish");
        tools.dispatcher.publish(swept.publish).await;
        Ok(())
    }

    async fn close_windows(&self, tools: &Tools, term: &Term) -> Result<(), RecordsError> {
        let closed = tools.records.close_windows(term).await?;
        if !closed.cancelled.is_empty() {
            tracing::info!(cancelled = closed.cancelled.len(), "their windows closed before they began");
        }
        tools.dispatcher.publish(closed.publish).await;
        Ok(())
    }

    async fn look_for_extractions(&mut self, tools: &Tools, term: &Term) -> Result<(), RecordsError> {
        let begun = Instant::now();
        if begun < self.look_again {
            return Ok(());
        }
        let due = tools.records.find_extracted(term).await?;
        if due > 0 {
            tracing::info!(due, "extractions are due after others'");
        }
        self.look_again = begun + begun.elapsed() * LOOKING_SHARE;
        Ok(())
    }
}
