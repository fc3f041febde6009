//! Accepted requests, one after the other: what is wanted and what is recorded are compared, and the difference is put into
//! lanes in steps. A crash repeats safely: job ids are derived from the request.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use records::{Fleet, PendingRequest, PlannedJob, RecordsError, Retirement, STEP_MAX, Snapshot};
use schemas::{DistributionName, DistributorName, Request, RequestKind};

use crate::Tools;
use crate::plan::{self, PlanFault};

/// Before a request that failed for a passing reason is planned again, in milliseconds.
const AGAIN_AFTER_MS: i64 = 1_000;

pub async fn run(tools: &Tools) -> anyhow::Result<()> {
    while !tools.shutdown.is_cancelled() {
        match tools.records.claim_requests().await {
            Ok(claimed) if claimed.is_empty() => wait(tools).await,
            Ok(claimed) => {
                for pending in claimed {
                    process(tools, pending).await;
                }
            }
            Err(error) => {
                tracing::warn!(%error, "requests cannot be claimed yet");
                tools.pause(Duration::from_millis(500)).await;
            }
        }
    }
    Ok(())
}

async fn wait(tools: &Tools) {
    tokio::select! {
        () = tools.asked.notified() => {}
        () = tools.pause(tools.config.poll) => {}
    }
}

/// Why a request was not planned.
enum Obstacle {
    /// It never will be.
    Fault(PlanFault),
    Records(RecordsError),
}

impl From<PlanFault> for Obstacle {
    fn from(fault: PlanFault) -> Self {
        Obstacle::Fault(fault)
    }
}

impl From<RecordsError> for Obstacle {
    fn from(error: RecordsError) -> Self {
        match error {
            RecordsError::Unknown { .. } | RecordsError::Refused { .. } => {
                Obstacle::Fault(PlanFault { code: error.code(), reason: error.to_string() })
            }
            other => Obstacle::Records(other),
        }
    }
}

async fn process(tools: &Tools, pending: PendingRequest) {
    worker::step::mark("plan");
    let id = pending.request.id;
    let outcome = carry_out(tools, &pending).await;
    let written = match outcome {
        Ok(note) => tools.records.planned(id, note.as_deref()).await,
        Err(Obstacle::Fault(fault)) => {
            tracing::info!(request = %id, code = fault.code, reason = %fault.reason, "request refused");
            tools.records.refuse_request(id, fault.code, &fault.reason).await
        }
        Err(Obstacle::Records(error)) => {
            tracing::warn!(request = %id, origin = %pending.origin, %error, "a request could not be planned; it will be tried again");
            tools.records.unclaim_request(id, AGAIN_AFTER_MS).await
        }
    };
    if let Err(error) = written {
        tracing::warn!(request = %id, %error, "the request's outcome was not written; it will be planned again");
    }
}

async fn carry_out(tools: &Tools, pending: &PendingRequest) -> Result<Option<String>, Obstacle> {
    let request = &pending.request;
    match request.kind {
        RequestKind::Cancel => cancel(tools, request).await,
        RequestKind::Collect => {
            let fleet = tools.fleet().await?;
            let jobs = collect(tools, &fleet, request, pending.origin == records::COLLECTIONS_ORIGIN).await?;
            insert(tools, request, jobs).await
        }
        RequestKind::Event => {
            let due = tools.records.post_events(request).await?;
            Ok(Some(format!("{due} schedules are due by it")))
        }
        RequestKind::Retry => {
            let jobs = tools.records.retries(request.id, &request.selector.jobs).await?;
            insert(tools, request, jobs).await
        }
        RequestKind::Build
        | RequestKind::Send
        | RequestKind::Extract
        | RequestKind::Sync
        | RequestKind::Refresh
        | RequestKind::Rollback => {
            if request.kind == RequestKind::Refresh {
                activate(tools, &request.selector.distributors).await?;
            }
            // Whose a sync is may have changed since it was asked for.
            tools.records.may_run(request).await?;
            let fleet = tools.fleet().await?;
            let jobs = if request.kind == RequestKind::Sync && pending.origin == records::REVISION_ORIGIN {
                let snapshot = tools.records.snapshot(&plan::concerned(&fleet, request)?).await?;
                plan::syncs_of_revision(&fleet, &snapshot, request)?
            } else {
                plan(tools, &fleet, request).await?
            };
            insert(tools, request, jobs).await
        }
    }
}

async fn activate(tools: &Tools, distributors: &[DistributorName]) -> Result<(), RecordsError> {
    if !tools.records.awaits_refresh(distributors).await? {
        return Ok(());
    }
    tools.fleet.forget().await;
    tools.records.activate(distributors).await
}

async fn plan(tools: &Tools, fleet: &Fleet, request: &Request) -> Result<Vec<PlannedJob>, Obstacle> {
    let distributions = plan::concerned(fleet, request)?;
    let mut snapshot = tools.records.snapshot(&distributions).await?;
    let mut changed = BTreeSet::new();
    if request.kind == RequestKind::Refresh {
        for distribution in &distributions {
            if tools.records.changed_since_build(distribution).await? {
                changed.insert(distribution.clone());
            }
        }
    }
    if (request.kind, request.options.revision) == (RequestKind::Rollback, None) {
        look_back(tools, &mut snapshot, &distributions, request).await?;
    }
    if let (RequestKind::Rollback, Some(number)) = (request.kind, request.options.revision) {
        for distribution in &distributions {
            if !tools.records.has_revision(distribution, number).await? {
                let reason = format!("distribution {distribution} keeps no revision {number}");
                return Err(PlanFault { code: "revision-unknown", reason }.into());
            }
        }
    }
    let jobs = plan::plan(fleet, &snapshot, &changed, request)?;
    if request.kind == RequestKind::Rollback {
        they_are_kept(tools, &jobs).await?;
    }
    Ok(jobs)
}

/// Without a number a rollback goes to the revision before, which may be retired.
async fn they_are_kept(tools: &Tools, jobs: &[PlannedJob]) -> Result<(), Obstacle> {
    for (distribution, number) in jobs.iter().filter_map(|job| Some((&job.distribution, job.revision?))) {
        if !tools.records.has_revision(distribution, number).await? {
            let reason =
                format!("distribution {distribution} keeps no revision {number}; name another with --revision");
            return Err(PlanFault { code: "revision-unknown", reason }.into());
        }
    }
    Ok(())
}

/// The leader's own request, which retired what was to retire, is for what is due; a person's is for everything.
async fn collect(tools: &Tools, fleet: &Fleet, request: &Request, own: bool) -> Result<Vec<PlannedJob>, Obstacle> {
    let concerned = plan::concerned(fleet, request)?;
    let retention = &tools.config.retention;
    let stores = if own {
        tools.records.collections_due(retention.list_every_ms()).await?
    } else {
        let mut rules = Retirement::of(fleet);
        rules.retain(|rule| concerned.contains(&rule.distribution));
        tools.records.retire(None, &rules, &retention.times()).await?;
        tools.records.stores().await?
    };
    Ok(plan::collections(fleet, request, &concerned, stores, retention.times()))
}

/// Which revision each site had before, so that a rollback without a number moves nothing.
async fn look_back(
    tools: &Tools,
    snapshot: &mut Snapshot,
    distributions: &BTreeSet<DistributionName>,
    request: &Request,
) -> Result<(), RecordsError> {
    for distribution in distributions {
        for subscriber in &request.selector.subscribers {
            let held = snapshot.holdings.get_mut(&(subscriber.to_string(), distribution.clone()));
            if let Some((held, extracted)) = held.and_then(|held| held.extracted.map(|extracted| (held, extracted))) {
                held.earlier = tools.records.extracted_before(subscriber, distribution, extracted).await?;
            }
        }
    }
    Ok(())
}

async fn insert(tools: &Tools, request: &Request, jobs: Vec<PlannedJob>) -> Result<Option<String>, Obstacle> {
    if jobs.is_empty() {
        return Ok(Some("nothing to do: what is wanted is there already".to_owned()));
    }
    let (mut new, mut attached) = (0, 0);
    let mut standing_for = HashMap::new();
    for step in jobs.chunks(STEP_MAX) {
        let inserted = tools.records.insert_step(request.id, step, &mut standing_for).await?;
        new += inserted.new;
        attached += inserted.attached;
        worker::step::mark("publish");
        tools.dispatcher.publish(inserted.publish).await;
        worker::step::mark("plan");
    }
    Ok((attached > 0).then(|| format!("{new} new jobs; {attached} were under way already")))
}

async fn cancel(tools: &Tools, request: &Request) -> Result<Option<String>, Obstacle> {
    let mut jobs = request.selector.jobs.clone();
    jobs.extend(tools.records.open_jobs_of(&request.selector.requests).await?);
    let outcome = tools.records.cancel(&jobs).await?;
    for (job, lane) in &outcome.asked {
        if let Err(error) = tools.dispatcher.cancel(*job, lane).await {
            tracing::warn!(%job, %error, "the cancel was not published");
            return Err(Obstacle::Records(RecordsError::Unavailable { reason: error.to_string() }));
        }
    }
    tools.dispatcher.publish(outcome.publish).await;
    if let Some(unknown) = outcome.unknown.first() {
        return Err(PlanFault { code: "unknown", reason: format!("job {unknown} is unknown") }.into());
    }
    Ok(Some(format!(
        "{} cancelled, {} asked to stop, {} had ended before",
        outcome.cancelled.len(),
        outcome.asked.len(),
        outcome.over.len()
    )))
}
