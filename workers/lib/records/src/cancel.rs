//! Stopping what people no longer want, holding lanes, and trying again. A job that a worker may have is only asked to stop:
//! the worker's report decides, and success wins once the work is done.

use std::collections::BTreeSet;

use domain::state::State;
use schemas::{JobId, Lane, RequestId};
use sea_orm::{DatabaseTransaction, Value};

use crate::db::{Records, RecordsError, clock_ms};
use crate::events::{self, JobEvent};
use crate::finish::{self, Ended};
use crate::insert::{PlannedJob, Template};
use crate::jobs::JobRow;
use crate::publish::ToPublish;
use crate::{lanes, promote, sql, sweep};

#[derive(Debug, Default)]
pub struct CancelOutcome {
    /// Ended at once.
    pub cancelled: Vec<JobId>,
    /// At a worker: to be told by control.
    pub asked: Vec<(JobId, Lane)>,
    /// Had ended before.
    pub over: Vec<JobId>,
    pub unknown: Vec<JobId>,
    pub publish: Vec<ToPublish>,
}

#[derive(Debug, Default)]
pub struct PauseOutcome {
    pub known: bool,
    pub publish: Vec<ToPublish>,
}

/// Which of the jobs a cancel reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Those that a worker may have are asked to stop.
    All,
    /// Those that were handed out go on.
    Waiting,
}

impl Records {
    pub async fn cancel(&self, jobs: &[JobId]) -> Result<CancelOutcome, RecordsError> {
        if jobs.is_empty() {
            return Ok(CancelOutcome::default());
        }
        let tx = self.begin().await?;
        let outcome = cancel_in(&tx, jobs, Reach::All).await?;
        tx.commit().await?;
        Ok(outcome)
    }

    /// The open jobs of these requests.
    pub async fn open_jobs_of(&self, requests: &[RequestId]) -> Result<Vec<JobId>, RecordsError> {
        let ids: Vec<String> = requests.iter().map(ToString::to_string).collect();
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let text = format!(
            "SELECT j.id FROM tide_jobs j JOIN tide_request_jobs x ON x.job_id = j.id
            WHERE j.state IN ('waiting', 'queued', 'running') AND x.request_id IN ({})",
            sql::list(1, ids.len())
        );
        let found = sql::texts(self.reader(), &text, sql::values(&ids)).await?;
        found.iter().map(|id| id.parse().map_err(|e| RecordsError::Corrupt(format!("job id: {e}")))).collect()
    }

    /// Holds a lane, or lets it go on.
    pub async fn pause(&self, lane: &Lane, paused: bool) -> Result<PauseOutcome, RecordsError> {
        let tx = self.begin().await?;
        let name = lane.to_string();
        let text = "UPDATE tide_lanes SET paused = $2 WHERE name = $1";
        let known = sql::exec(&tx, text, vec![name.clone().into(), i32::from(paused).into()]).await? == 1;
        let publish =
            if known && !paused { sweep::promote_in(&tx, &BTreeSet::from([name])).await? } else { Vec::new() };
        tx.commit().await?;
        Ok(PauseOutcome { known, publish })
    }

    /// New jobs for ended ones, to be inserted under `request`. A job that succeeded or is still open is refused by name.
    pub async fn retries(&self, request: RequestId, jobs: &[JobId]) -> Result<Vec<PlannedJob>, RecordsError> {
        let rows = promote::load(self.reader(), jobs.iter().map(ToString::to_string).collect()).await?;
        let mut planned = Vec::with_capacity(jobs.len());
        for id in jobs {
            let job = rows.get(&id.to_string()).ok_or_else(|| RecordsError::Unknown { what: format!("job {id}") })?;
            if !matches!(job.state, State::Failed | State::Cancelled) {
                return Err(RecordsError::Refused {
                    code: "not-retryable",
                    what: format!("job {id} is {}; only a failed or cancelled job can be tried again", job.state),
                });
            }
            if let (true, Some(revision)) = (job.is_delivery(), job.revision())
                && !self.has_revision(&job.distribution, revision).await?
            {
                return Err(RecordsError::Refused {
                    code: "revision-retired",
                    what: format!(
                        "job {id} is about revision {revision} of {}, which is not kept any more",
                        job.distribution
                    ),
                });
            }
            planned.push(again(request, job)?);
        }
        Ok(planned)
    }
}

/// Lanes are locked here, and promoted in.
pub(crate) async fn cancel_in(
    tx: &DatabaseTransaction,
    jobs: &[JobId],
    reach: Reach,
) -> Result<CancelOutcome, RecordsError> {
    let now_ms = clock_ms();
    let ids: Vec<String> = jobs.iter().map(ToString::to_string).collect();
    let mut outcome = CancelOutcome::default();
    let names = lanes::around(tx, &ids).await?;
    let locked = lanes::lock(tx, &names).await?;
    let rows = promote::load(tx, ids).await?;
    let mut ended = Vec::new();
    let mut events = Vec::new();
    for id in jobs {
        let Some(job) = rows.get(&id.to_string()) else {
            outcome.unknown.push(*id);
            continue;
        };
        if job.state.is_terminal() {
            outcome.over.push(*id);
        } else if nobody_has(job) && (reach == Reach::All || job.state == State::Waiting) {
            outcome.cancelled.push(*id);
            ended.push(Ended { job: id.to_string(), state: State::Cancelled });
        } else if reach == Reach::All {
            outcome.asked.push((*id, job.lane.clone()));
            events.push(JobEvent {
                job: *id,
                at_ms: now_ms,
                attempt: job.attempt,
                event: "cancel-requested",
                worker: None,
                detail: None,
            });
        }
    }
    let now = Value::from(now_ms);
    let rows = |ids: Vec<JobId>| -> Vec<Vec<Value>> {
        ids.into_iter().map(|id| vec![id.to_string().into(), now.clone()]).collect()
    };
    let end = "UPDATE tide_jobs SET state = 'cancelled', error_code = 'cancelled', cancel_requested_ms = v.at, ended_ms = v.at
        FROM v WHERE tide_jobs.id = v.id";
    sql::with_rows(tx, &["id", "at"], &rows(outcome.cancelled.clone()), end).await?;
    let ask = "UPDATE tide_jobs SET cancel_requested_ms = COALESCE(cancel_requested_ms, v.at) FROM v WHERE tide_jobs.id = v.id";
    sql::with_rows(tx, &["id", "at"], &rows(outcome.asked.iter().map(|(id, _)| *id).collect()), ask).await?;
    events::insert(tx, &events).await?;
    finish::finish(tx, &ended, now_ms).await?;
    outcome.publish = promote::promote(tx, locked, now_ms).await?;
    Ok(outcome)
}

/// True of a job that is certainly at no worker.
fn nobody_has(job: &JobRow) -> bool {
    match job.state {
        State::Waiting => job.raw.carried_by.is_none(),
        // A queued build that somebody begins all the same ends in a report that nobody counts.
        State::Queued => !job.is_delivery(),
        State::Running | State::Succeeded | State::Failed | State::Cancelled => false,
    }
}

fn again(request: RequestId, job: &JobRow) -> Result<PlannedJob, RecordsError> {
    let corrupt = |e: schemas::InvalidName| RecordsError::Corrupt(format!("job {}: {e}", job.id));
    let template: Template = serde_json::from_str(&job.raw.task)?;
    Ok(PlannedJob {
        id: JobId::planned(request, &format!("retry/{}", job.id)),
        lane: job.lane.clone(),
        distributor: job.raw.distributor.as_str().try_into().map_err(corrupt)?,
        distribution: job.distribution.clone(),
        channel: job.raw.channel.as_deref().map(TryInto::try_into).transpose().map_err(corrupt)?,
        subscriber: job.raw.subscriber.as_deref().map(TryInto::try_into).transpose().map_err(corrupt)?,
        // A build's revision is what it made; a new one makes its own.
        revision: if job.is_delivery() { job.revision() } else { None },
        priority: schemas::Priority::from_rank(job.raw.priority),
        template,
        carried_by: None,
        retry_of: Some(job.id),
        waits: Vec::new(),
        note: None,
    })
}
