//! A window bounds when work may start, at every hop (SPEC §10, 8): what waits in a lane when it closes begins no more. What is
//! handed out or at work goes on; the schedule's next occurrence finds what is still lacking. With `stop_at_end` what is at work
//! stops too (SPEC S3): the site knows from the job when, and here it is decided when it goes on.

use std::collections::{BTreeMap, HashMap};

use schemas::{Event, JobId, Report, RequestId};
use sea_orm::{ConnectionTrait, Value};

use super::{COLUMNS, ScheduleRow};
use crate::cancel::{CancelOutcome, Reach, cancel_in};
use crate::db::{Records, RecordsError};
use crate::insert::PlannedJob;
use crate::jobs::JobRow;
use crate::leases::Term;
use crate::{STEP_MAX, sql};

/// The error code of a job that waits because its window ended while it ran.
pub(crate) const STOPPED: &str = "window-ended";

/// When a job that its window's end stopped goes on, and until when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Resumption {
    pub not_before_ms: i64,
    pub stop_at_ms: Option<i64>,
}

/// What stopped jobs among these reports are to do, by job.
pub(crate) async fn resumptions(
    c: &impl ConnectionTrait,
    rows: &HashMap<String, JobRow>,
    reports: &[Report],
    now_ms: i64,
) -> Result<HashMap<String, Resumption>, RecordsError> {
    let mut found = HashMap::new();
    for report in reports {
        let Event::Stopped { window_end_ms } = &report.event else { continue };
        if let Some(job) = rows.get(&report.job.to_string()).filter(|job| !job.state.is_terminal()) {
            found.insert(job.raw.id.clone(), resumption(c, job, *window_end_ms, now_ms).await?);
        }
    }
    Ok(found)
}

/// In the next window of the schedule that asked for it, as it stands now; of several, the one that opens first. At once if
/// somebody asks without such a window meanwhile, or the schedule says nothing of it any more.
async fn resumption(
    c: &impl ConnectionTrait,
    job: &JobRow,
    window_end_ms: i64,
    now_ms: i64,
) -> Result<Resumption, RecordsError> {
    let at_once = |stop_at_ms| Resumption { not_before_ms: 0, stop_at_ms };
    if job.raw.stop_at_ms != Some(window_end_ms) {
        return Ok(at_once(job.raw.stop_at_ms));
    }
    let columns = COLUMNS.replace(", ", ", s.");
    let text = format!(
        "SELECT s.{columns} FROM tide_request_jobs x JOIN tide_requests r ON r.id = x.request_id
            JOIN tide_schedules s ON s.name = r.schedule
        WHERE x.job_id = $1 AND r.state = 'open' AND r.window_stops = 1"
    );
    let schedules: Vec<ScheduleRow> = sql::rows(c, &text, vec![job.raw.id.clone().into()]).await?;
    // A site's clock may be ahead: the window that it was stopped for is over all the same.
    let from_ms = now_ms.max(window_end_ms);
    let windows = schedules.iter().filter_map(|row| row.rule().ok()).filter(|rule| rule.stop_at_end);
    let next = windows.filter_map(|rule| rule.window_from(from_ms)).min();
    Ok(next
        .map_or(at_once(None), |(opens_ms, ends_ms)| Resumption { not_before_ms: opens_ms, stop_at_ms: Some(ends_ms) }))
}

pub(crate) async fn note_stops(
    c: &impl ConnectionTrait,
    stops: &BTreeMap<String, Resumption>,
) -> Result<(), RecordsError> {
    let rows: Vec<Vec<Value>> = stops.iter().map(|(id, r)| vec![id.clone().into(), r.stop_at_ms.into()]).collect();
    let rest = "UPDATE tide_jobs SET stop_at_ms = v.stop_at FROM v WHERE tide_jobs.id = v.id";
    sql::with_rows(c, &["id", "stop_at"], &rows, rest).await?;
    Ok(())
}

/// Until when a request's jobs may run. A job that somebody wants without such a window runs on, and one that waits for the next
/// window begins now.
pub(crate) async fn bind(
    c: &impl ConnectionTrait,
    request: RequestId,
    jobs: &[PlannedJob],
    known: &HashMap<JobId, JobId>,
) -> Result<(), RecordsError> {
    let stop = "SELECT window_end_ms FROM tide_requests WHERE id = $1 AND window_stops = 1";
    let stop_at_ms = sql::number(c, stop, vec![request.to_string().into()]).await?;
    let new: Vec<JobId> = jobs.iter().map(|job| job.id).filter(|id| !known.contains_key(id)).collect();
    let attached: Vec<JobId> = jobs.iter().filter_map(|job| known.get(&job.id).copied()).collect();
    if let Some(stop_at_ms) = stop_at_ms {
        let text = "UPDATE tide_jobs SET stop_at_ms = $1 WHERE state = 'waiting' AND kind IN ('send', 'extract')";
        for_each(c, text, stop_at_ms.into(), &new).await?;
    }
    // Of two windows the later end counts, and none is later than any.
    let stop = if stop_at_ms.is_some() { "CASE WHEN stop_at_ms < $1 THEN $1 ELSE stop_at_ms END" } else { "$1" };
    let text = format!(
        "UPDATE tide_jobs SET stop_at_ms = {stop},
            not_before_ms = CASE WHEN state = 'waiting' AND error_code = '{STOPPED}' THEN 0 ELSE not_before_ms END
        WHERE stop_at_ms IS NOT NULL"
    );
    for_each(c, &text, stop_at_ms.into(), &attached).await
}

async fn for_each(c: &impl ConnectionTrait, text: &str, first: Value, ids: &[JobId]) -> Result<(), RecordsError> {
    for part in ids.chunks(sql::rows_per_statement(1)) {
        let mut values = vec![first.clone()];
        values.extend(part.iter().map(|id| Value::from(id.to_string())));
        sql::exec(c, &format!("{text} AND id IN ({})", sql::list(2, part.len())), values).await?;
    }
    Ok(())
}

impl Records {
    /// Cancels what had not begun when its window closed, unless somebody else asked for it too.
    pub async fn close_windows(&self, term: &Term) -> Result<CancelOutcome, RecordsError> {
        // An extract that travels with its send goes as that goes.
        let text = format!(
            "SELECT DISTINCT j.id FROM tide_requests r JOIN tide_request_jobs y ON y.request_id = r.id JOIN tide_jobs j ON j.id = y.job_id
            WHERE r.window_end_ms IS NOT NULL AND r.window_end_ms <= (SELECT {{now_ms}}) AND r.state = 'open'
                AND j.state = 'waiting' AND j.attempt = 1 AND j.carried_by IS NULL AND COALESCE(j.error_code, '') <> '{STOPPED}'
                AND NOT EXISTS (SELECT 1 FROM tide_request_jobs x JOIN tide_requests o ON o.id = x.request_id
                    WHERE x.job_id = j.id AND o.state IN ('accepted', 'open')
                        AND (o.window_end_ms IS NULL OR o.window_end_ms > (SELECT {{now_ms}})))
            LIMIT {STEP_MAX}"
        );
        let late = sql::texts(self.reader(), &text, vec![]).await?;
        if late.is_empty() {
            return Ok(CancelOutcome::default());
        }
        let jobs: Result<Vec<JobId>, _> = late.iter().map(|id| id.parse()).collect();
        let jobs = jobs.map_err(|e| RecordsError::Corrupt(format!("job id: {e}")))?;
        let tx = self.fenced(term).await?;
        let outcome = cancel_in(&tx, &jobs, Reach::Waiting).await?;
        let ids: Vec<String> = outcome.cancelled.iter().map(ToString::to_string).collect();
        if !ids.is_empty() {
            let text = format!(
                "UPDATE tide_jobs SET error_code = 'window-closed', error = 'its window closed before it could begin'
                WHERE state = 'cancelled' AND id IN ({})",
                sql::list(1, ids.len())
            );
            sql::exec(&tx, &text, sql::values(&ids)).await?;
        }
        tx.commit().await?;
        Ok(outcome)
    }
}
