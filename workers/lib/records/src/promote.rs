//! Giving places in lanes: the first eligible jobs of a lane become `queued`, with the lane's next running numbers. It goes by
//! query, never by a remembered event, so that nothing that happened unseen is lost.

use std::collections::HashMap;

use domain::state::State;
use sea_orm::{ConnectionTrait, FromQueryResult, Value};

use crate::compose;
use crate::db::RecordsError;
use crate::finish::{self, Ended};
use crate::jobs::{COLUMNS, JobRow, Raw};
use crate::lanes::LockedLane;
use crate::limits::WITHIN;
use crate::publish::ToPublish;
use crate::{CLAIM_MS, STEP_MAX, limits, retention, sql};

/// True of a waiting job `j` whose turn may come: due, not travelling in another's message, nothing open that it waits for,
/// and no older open job of its distribution in its lane. An older one that waits itself holds nobody up: what it waits for may
/// be behind the job that it would hold; nor does garbage collection. (Of the index of open jobs SQLite makes use only where its own words
/// stand in the question, whatever else would follow from the rest: here and in other places.)
pub(crate) const ELIGIBLE: &str = "j.state IN ('waiting', 'queued', 'running') AND j.state = 'waiting' AND j.carried_by IS NULL AND j.cancel_requested_ms IS NULL
    AND NOT EXISTS (SELECT 1 FROM tide_job_waits w JOIN tide_jobs a ON a.id = w.awaited_id
        WHERE w.job_id = j.id AND a.state IN ('waiting', 'queued', 'running')
            AND (w.until_ms IS NULL OR w.until_ms > {now_ms}))
    AND NOT EXISTS (SELECT 1 FROM tide_jobs o WHERE o.lane = j.lane AND o.distribution = j.distribution
        AND o.state IN ('waiting', 'queued', 'running') AND o.created_ms < j.created_ms AND o.kind <> 'collect'
        AND (o.carried_by IS NULL OR o.carried_by <> j.id)
        AND NOT (o.state = 'waiting' AND EXISTS (SELECT 1 FROM tide_job_waits p JOIN tide_jobs q ON q.id = p.awaited_id
            WHERE p.job_id = o.id AND q.state IN ('waiting', 'queued', 'running')
                AND (p.until_ms IS NULL OR p.until_ms > {now_ms}))))";

#[derive(FromQueryResult)]
struct Candidate {
    id: String,
    place: i64,
    newest: Option<i64>,
    /// Its distributor may have so many out at a time.
    limited: i32,
}

/// Promotes in these locked lanes and returns what to publish.
pub(crate) async fn promote(
    c: &impl ConnectionTrait,
    mut lanes: Vec<LockedLane>,
    now_ms: i64,
) -> Result<Vec<ToPublish>, RecordsError> {
    lanes.retain(|lane| lane.paused == 0);
    if lanes.is_empty() {
        return Ok(Vec::new());
    }
    let (mut chosen, limited) = candidates(c, &lanes, now_ms).await?;
    let settled = settle_revisions(c, &chosen, now_ms).await?;
    chosen.retain(|job| !settled.contains_key(&job.id.to_string()));
    if limited {
        // After the settling, which locks requests: who holds a distributor locks nothing more.
        chosen = limits::within(c, chosen).await?;
    }
    let numbered = take_numbers(c, &mut lanes, chosen, now_ms).await?;
    compose::compose(c, numbered).await
}

/// The lanes' next jobs, the best heads first, and whether any of them has a limited distributor.
async fn candidates(
    c: &impl ConnectionTrait,
    lanes: &[LockedLane],
    now_ms: i64,
) -> Result<(Vec<JobRow>, bool), RecordsError> {
    let names: Vec<String> = lanes.iter().map(|l| l.name.clone()).collect();
    let list = sql::list(2, names.len());
    let text = format!(
        "SELECT c.id, c.place, c.newest, CASE WHEN EXISTS (SELECT 1 FROM tide_distributors d WHERE d.distributor = c.distributor
                AND (d.concurrent_builds IS NOT NULL OR d.concurrent_sends IS NOT NULL)) THEN 1 ELSE 0 END AS limited
        FROM (
            SELECT j.id, j.lane, j.distributor, j.priority, j.created_ms, j.place AS planned,
                ROW_NUMBER() OVER (PARTITION BY j.lane ORDER BY j.priority, j.created_ms, j.place, j.id) AS place,
                CASE WHEN j.revision IS NULL AND j.kind NOT IN ('build', 'collect') THEN
                    (SELECT MAX(r.number) FROM tide_revisions r WHERE r.distribution = j.distribution) END AS newest
            FROM tide_jobs j WHERE j.lane IN ({list}) AND j.not_before_ms <= $1 AND {ELIGIBLE} AND {WITHIN}
        ) c JOIN tide_lanes l ON l.name = c.lane
        WHERE c.place <= l.depth - (SELECT COUNT(*) FROM tide_jobs b
            WHERE b.lane = c.lane AND b.state IN ('queued', 'running'))
        ORDER BY c.place, c.priority, c.created_ms, c.planned, c.id LIMIT {STEP_MAX}"
    );
    let mut values: Vec<Value> = vec![now_ms.into()];
    values.extend(sql::values(&names));
    let found: Vec<Candidate> = sql::rows(c, &text, values).await?;
    let mut rows = load(c, found.iter().map(|f| f.id.clone()).collect()).await?;
    let limited = found.iter().any(|candidate| candidate.limited == 1);
    let mut ordered = Vec::with_capacity(found.len());
    for candidate in found {
        let Some(mut job) = rows.remove(&candidate.id) else { continue };
        debug_assert!(candidate.place > 0);
        if job.raw.revision.is_none() && job.is_delivery() {
            // Zero stands for "there is none": revisions count from 1.
            job.raw.revision = Some(candidate.newest.unwrap_or(0));
        }
        ordered.push(job);
    }
    Ok((ordered, limited))
}

pub(crate) async fn load(c: &impl ConnectionTrait, ids: Vec<String>) -> Result<HashMap<String, JobRow>, RecordsError> {
    let mut found = HashMap::with_capacity(ids.len());
    for part in ids.chunks(sql::rows_per_statement(1)) {
        let text = format!("SELECT {COLUMNS} FROM tide_jobs WHERE id IN ({})", sql::list(1, part.len()));
        for raw in sql::rows::<Raw>(c, &text, sql::values(part)).await? {
            found.insert(raw.id.clone(), JobRow::try_from(raw)?);
        }
    }
    Ok(found)
}

#[derive(FromQueryResult)]
struct Unfilled {
    id: String,
}

/// Fills in the revision of jobs that waited for a build. A job for which there is none fails; one for which another open job
/// does the same is ended in its favour. Returns those that ended.
async fn settle_revisions(
    c: &impl ConnectionTrait,
    chosen: &[JobRow],
    now_ms: i64,
) -> Result<HashMap<String, ()>, RecordsError> {
    let ids: Vec<String> = chosen.iter().filter(|j| j.is_delivery()).map(|j| j.raw.id.clone()).collect();
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let text = format!("SELECT id FROM tide_jobs WHERE revision IS NULL AND id IN ({})", sql::list(1, ids.len()));
    let unfilled: Vec<Unfilled> = sql::rows(c, &text, sql::values(&ids)).await?;
    let mut settled = HashMap::new();
    for row in unfilled {
        let Some(job) = chosen.iter().find(|j| j.raw.id == row.id) else { continue };
        let ended = fill(c, job, now_ms).await?;
        if ended.iter().any(|ended| ended.job == job.raw.id) {
            settled.insert(job.raw.id.clone(), ());
        }
        finish::finish(c, &ended, now_ms).await?;
    }
    Ok(settled)
}

/// What ended by it: the job itself, or an extract that would have travelled with it.
async fn fill(c: &impl ConnectionTrait, job: &JobRow, now_ms: i64) -> Result<Vec<Ended>, RecordsError> {
    let revision = match job.raw.revision.unwrap_or(0) {
        0 => 0,
        _ => retention::pin_newest(c, &job.raw.distribution).await?.unwrap_or(0),
    };
    if revision == 0 {
        let error = format!("distribution {} has no revision: no build has succeeded yet", job.distribution);
        return Ok(vec![end(c, &job.raw.id, State::Failed, "no-revision", &error, now_ms).await?]);
    }
    if let Some(other) = twin(c, &job.raw.kind, job, revision).await? {
        return Ok(vec![give_way(c, &job.raw.id, &other, now_ms).await?]);
    }
    // Of the same revision an extract may be open whose own send is over.
    let mut ended = Vec::new();
    let carried = "SELECT id, kind FROM tide_jobs WHERE carried_by = $1 AND revision IS NULL
        AND state IN ('waiting', 'queued', 'running')";
    for carried in sql::rows::<Carried>(c, carried, vec![job.raw.id.clone().into()]).await? {
        if let Some(other) = twin(c, &carried.kind, job, revision).await? {
            ended.push(give_way(c, &carried.id, &other, now_ms).await?);
        }
    }
    let note = note_of_what_failed(c, job, revision).await?;
    let text = "UPDATE tide_jobs SET revision = $1, note = COALESCE($2, note) WHERE id = $3 OR (carried_by = $3 AND revision IS NULL)";
    sql::exec(c, text, vec![revision.into(), note.into(), job.raw.id.clone().into()]).await?;
    Ok(ended)
}

#[derive(FromQueryResult)]
struct Carried {
    id: String,
    kind: String,
}

/// The open job of this kind that brings or extracts the revision there already.
async fn twin(
    c: &impl ConnectionTrait,
    kind: &str,
    job: &JobRow,
    revision: i64,
) -> Result<Option<String>, RecordsError> {
    let text = "SELECT id FROM tide_jobs WHERE kind = $1 AND subscriber = $2 AND distribution = $3 AND revision = $4
        AND state IN ('waiting', 'queued', 'running') LIMIT 1";
    let (subscriber, distribution) = (job.raw.subscriber.clone(), job.raw.distribution.clone());
    let values: Vec<Value> = vec![kind.into(), subscriber.into(), distribution.into(), revision.into()];
    Ok(sql::texts(c, text, values).await?.pop())
}

async fn give_way(c: &impl ConnectionTrait, job: &str, other: &str, now_ms: i64) -> Result<Ended, RecordsError> {
    hand_over(c, job, other).await?;
    end(c, job, State::Cancelled, "superseded", &format!("job {other} does the same"), now_ms).await
}

/// Whoever asked for this job or waits for it has the other one now. An extract that would have travelled with it goes by itself.
pub(crate) async fn hand_over(c: &impl ConnectionTrait, job: &str, other: &str) -> Result<(), RecordsError> {
    let values = || vec![Value::from(job.to_owned()), Value::from(other.to_owned())];
    let requests = "INSERT INTO tide_request_jobs (request_id, job_id)
        SELECT request_id, $2 FROM tide_request_jobs WHERE job_id = $1 ON CONFLICT (request_id, job_id) DO NOTHING";
    sql::exec(c, requests, values()).await?;
    sql::exec(c, "DELETE FROM tide_request_jobs WHERE job_id = $1", vec![job.to_owned().into()]).await?;
    let waits = "INSERT INTO tide_job_waits (job_id, awaited_id, on_bad, patience_ms, until_ms)
        SELECT job_id, $2, on_bad, patience_ms, until_ms FROM tide_job_waits WHERE awaited_id = $1
        ON CONFLICT (job_id, awaited_id) DO NOTHING";
    sql::exec(c, waits, values()).await?;
    sql::exec(c, "DELETE FROM tide_job_waits WHERE awaited_id = $1", vec![job.to_owned().into()]).await?;
    sql::exec(c, "UPDATE tide_jobs SET carried_by = NULL WHERE carried_by = $1", vec![job.to_owned().into()]).await?;
    Ok(())
}

/// S8: when the build or the download that it waited for did not succeed, the newest good revision is sent, and the job says so.
async fn note_of_what_failed(
    c: &impl ConnectionTrait,
    job: &JobRow,
    revision: i64,
) -> Result<Option<String>, RecordsError> {
    let text = "SELECT a.kind || ' ' || a.id FROM tide_job_waits w JOIN tide_jobs a ON a.id = w.awaited_id
        JOIN tide_jobs j ON j.id = w.job_id
        WHERE w.job_id = $1 AND a.state IN ('failed', 'cancelled') AND (a.kind = 'build' OR a.subscriber = j.subscriber)
        ORDER BY a.kind, a.created_ms LIMIT 1";
    let failed = sql::texts(c, text, vec![job.raw.id.clone().into()]).await?;
    Ok(failed.first().map(|what| format!("{what} did not succeed: revision {revision} is the newest good one")))
}

async fn end(
    c: &impl ConnectionTrait,
    job: &str,
    state: State,
    code: &str,
    error: &str,
    now_ms: i64,
) -> Result<Ended, RecordsError> {
    let text = "UPDATE tide_jobs SET state = $1, error_code = $2, error = $3, ended_ms = $4 WHERE id = $5";
    sql::exec(c, text, vec![state.as_str().into(), code.into(), error.into(), now_ms.into(), job.into()]).await?;
    Ok(Ended { job: job.to_owned(), state })
}

/// Marks the jobs queued under their lanes' next numbers, claimed for publishing by the caller.
pub(crate) async fn take_numbers(
    c: &impl ConnectionTrait,
    lanes: &mut [LockedLane],
    jobs: Vec<JobRow>,
    now_ms: i64,
) -> Result<Vec<(JobRow, i64)>, RecordsError> {
    if jobs.is_empty() {
        return Ok(Vec::new());
    }
    let mut next: HashMap<&str, &mut i64> =
        lanes.iter_mut().map(|lane| (lane.name.as_str(), &mut lane.next_seq)).collect();
    let mut numbered = Vec::with_capacity(jobs.len());
    for job in jobs {
        let Some(n) = next.get_mut(job.raw.lane.as_str()) else { continue };
        numbered.push((job, **n));
        **n += 1;
    }
    let rows: Vec<Vec<Value>> = numbered
        .iter()
        .map(|(job, n)| vec![job.raw.id.clone().into(), (*n).into(), now_ms.into(), (now_ms + CLAIM_MS).into()])
        .collect();
    let rest = "UPDATE tide_jobs SET state = CASE WHEN tide_jobs.state = 'waiting' THEN 'queued' ELSE tide_jobs.state END, seq_n = v.n,
            seq_epoch = (SELECT number FROM tide_meta WHERE name = 'epoch'), queued_ms = COALESCE(tide_jobs.queued_ms, v.queued_ms),
            claimed_until_ms = v.claimed, published_ms = NULL, publications = tide_jobs.publications + 1
        FROM v WHERE tide_jobs.id = v.id";
    sql::with_rows(c, &["id", "n", "queued_ms", "claimed"], &rows, rest).await?;
    let lanes: Vec<Vec<Value>> =
        lanes.iter().map(|lane| vec![lane.name.clone().into(), lane.next_seq.into()]).collect();
    let rest = "UPDATE tide_lanes SET next_seq = v.next_seq FROM v WHERE tide_lanes.name = v.name";
    sql::with_rows(c, &["name", "next_seq"], &lanes, rest).await?;
    Ok(numbered)
}
