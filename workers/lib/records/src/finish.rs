//! What the end of a job brings about: who waited for it in vain ends too, and requests whose last job it was.

use domain::state::State;
use sea_orm::{ConnectionTrait, FromQueryResult, Value};

use crate::db::RecordsError;
use crate::sql;

/// A job that has just ended, in this transaction.
#[derive(Debug, Clone)]
pub(crate) struct Ended {
    pub job: String,
    pub state: State,
}

#[derive(FromQueryResult)]
struct Dependent {
    id: String,
    awaited_id: String,
}

/// Ends the jobs that must not proceed without the ended ones, and completes requests. Lanes are locked by the caller.
pub(crate) async fn finish(c: &impl ConnectionTrait, ended: &[Ended], now_ms: i64) -> Result<(), RecordsError> {
    let mut all: Vec<String> = ended.iter().map(|e| e.job.clone()).collect();
    let mut bad: Vec<Ended> = ended.iter().filter(|e| e.state != State::Succeeded).cloned().collect();
    while !bad.is_empty() {
        bad = end_dependents(c, &bad, now_ms).await?;
        all.extend(bad.iter().map(|e| e.job.clone()));
    }
    complete_requests_of(c, &all, now_ms).await
}

async fn end_dependents(c: &impl ConnectionTrait, bad: &[Ended], now_ms: i64) -> Result<Vec<Ended>, RecordsError> {
    let ids: Vec<String> = bad.iter().map(|e| e.job.clone()).collect();
    let text = format!(
        "SELECT j.id, w.awaited_id FROM tide_job_waits w JOIN tide_jobs j ON j.id = w.job_id
        WHERE w.awaited_id IN ({}) AND w.on_bad = 'fail' AND j.state IN ('waiting', 'queued')",
        sql::list(1, ids.len())
    );
    let dependents: Vec<Dependent> = sql::rows(c, &text, sql::values(&ids)).await?;
    let mut ended = Vec::with_capacity(dependents.len());
    let mut rows: Vec<Vec<Value>> = Vec::with_capacity(dependents.len());
    for dependent in dependents {
        let awaited = bad.iter().find(|e| e.job == dependent.awaited_id).map_or(State::Failed, |e| e.state);
        rows.push(vec![
            dependent.id.clone().into(),
            awaited.as_str().into(),
            format!("job {}, which it needs, {awaited}", dependent.awaited_id).into(),
            now_ms.into(),
        ]);
        ended.push(Ended { job: dependent.id, state: awaited });
    }
    let rest =
        "UPDATE tide_jobs SET state = v.state, error_code = 'awaited-failed', error = v.error, ended_ms = v.ended_ms
        FROM v WHERE tide_jobs.id = v.id AND tide_jobs.state IN ('waiting', 'queued')";
    sql::with_rows(c, &["id", "state", "error", "ended_ms"], &rows, rest).await?;
    Ok(ended)
}

pub(crate) async fn complete_requests_of(
    c: &impl ConnectionTrait,
    jobs: &[String],
    now_ms: i64,
) -> Result<(), RecordsError> {
    let mut requests = Vec::new();
    for part in jobs.chunks(sql::rows_per_statement(1)) {
        // Locked, so that two transactions that end a request's last two jobs don't each see the other's as open; nor do this
        // one and the one that has just planned the request, which does not see this end.
        let text = format!(
            "SELECT id FROM tide_requests WHERE state IN ('accepted', 'open') AND id IN
                (SELECT request_id FROM tide_request_jobs WHERE job_id IN ({})) ORDER BY id {{for_update}}",
            sql::list(1, part.len())
        );
        requests.extend(sql::texts(c, &text, sql::values(part)).await?);
    }
    complete_requests(c, &requests, now_ms).await?;
    Ok(())
}

/// Ends those of these requests that have no open job: any failed = failed; else any cancelled = cancelled (SPEC §10, 18).
pub(crate) async fn complete_requests(
    c: &impl ConnectionTrait,
    requests: &[String],
    now_ms: i64,
) -> Result<u64, RecordsError> {
    let mut completed = 0;
    for part in requests.chunks(sql::rows_per_statement(1)) {
        let of = "FROM tide_request_jobs x JOIN tide_jobs j ON j.id = x.job_id WHERE x.request_id = tide_requests.id AND j.state";
        let text = format!(
            "UPDATE tide_requests SET ended_ms = $1, state = CASE
                WHEN EXISTS (SELECT 1 {of} = 'failed') THEN 'failed'
                WHEN EXISTS (SELECT 1 {of} = 'cancelled') THEN 'cancelled'
                ELSE 'succeeded' END
            WHERE state = 'open' AND id IN ({})
                AND NOT EXISTS (SELECT 1 {of} IN ('waiting', 'queued', 'running'))",
            sql::list(2, part.len())
        );
        let mut values: Vec<Value> = vec![now_ms.into()];
        values.extend(sql::values(part));
        completed += sql::exec(c, &text, values).await?;
    }
    Ok(completed)
}
