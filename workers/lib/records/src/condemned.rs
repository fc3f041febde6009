//! Objects of the origin that nothing needs: condemned, then, when their grace is over, ordered to be deleted, then deleted.
//! A deletion that was ordered may happen at any time until its window is over, so a revision that names such an object
//! counts only if its build began after that; one that names an object that is merely condemned takes it back.

use std::collections::{BTreeSet, HashMap, HashSet};

use schemas::collect::DELETIONS_MAX;
use schemas::{CollectResult, CollectTask, JobId, NewRevision, StoreId};
use sea_orm::{ConnectionTrait, FromQueryResult, Value};

use crate::db::RecordsError;
use crate::jobs::JobRow;
use crate::retention::{CollectTimes, Garbage};
use crate::sql;

/// The keys of objects, below their store.
pub(crate) fn header(digest: &str) -> String {
    format!("headers/{digest}")
}

pub(crate) fn index(digest: &str) -> String {
    format!("indexes/{digest}")
}

pub(crate) fn pack(digest: &str) -> String {
    format!("packs/{digest}")
}

pub(crate) struct ObjectRow {
    pub object: String,
    pub bytes: i64,
    pub why: String,
}

#[derive(FromQueryResult)]
struct CondemnedRow {
    object: String,
    state: String,
    reusable_ms: i64,
}

#[derive(FromQueryResult)]
struct WaitingRow {
    distribution: String,
    object: String,
    bytes: i64,
    state: String,
    why: String,
    due_ms: i64,
}

pub(crate) async fn condemn(
    c: &impl ConnectionTrait,
    store: StoreId,
    distribution: &str,
    objects: &[ObjectRow],
    now_ms: i64,
    due_ms: i64,
) -> Result<(), RecordsError> {
    let rows: Vec<Vec<Value>> = objects
        .iter()
        .map(|object| {
            vec![
                store.to_string().into(),
                object.object.clone().into(),
                distribution.into(),
                object.bytes.into(),
                object.why.clone().into(),
                "condemned".into(),
                now_ms.into(),
                due_ms.into(),
            ]
        })
        .collect();
    let head = "INSERT INTO tide_condemned (store, object, distribution, bytes, why, state, condemned_ms, due_ms)";
    // What was deleted and is there again came by a build that ended early.
    let tail =
        "ON CONFLICT (store, object) DO UPDATE SET state = 'condemned', why = excluded.why, bytes = excluded.bytes,
            condemned_ms = excluded.condemned_ms, due_ms = excluded.due_ms, job_id = NULL, deleted_ms = NULL
        WHERE tide_condemned.state = 'deleted'";
    sql::insert_rows(c, head, &rows, tail).await?;
    Ok(())
}

pub(crate) async fn waiting(c: &impl ConnectionTrait, now_ms: i64) -> Result<Vec<Garbage>, RecordsError> {
    let text = "SELECT distribution, object, bytes, state, why, due_ms FROM tide_condemned WHERE state <> 'deleted'";
    let rows: Vec<WaitingRow> = sql::rows(c, text, vec![]).await?;
    let garbage = |row: WaitingRow| Garbage {
        distribution: row.distribution,
        object: row.object,
        bytes: row.bytes as u64,
        state: row.state,
        why: row.why,
        due_in_ms: Some((row.due_ms - now_ms).max(0)),
    };
    Ok(rows.into_iter().map(garbage).collect())
}

/// Orders the deletion of what is due, as the task of `job`. The build lane is locked by the caller, so nobody records a
/// revision meanwhile.
pub(crate) async fn order(
    c: &impl ConnectionTrait,
    job: &JobRow,
    store: StoreId,
    (list, force): (bool, bool),
    times: CollectTimes,
    now_ms: i64,
) -> Result<CollectTask, RecordsError> {
    let live = live_objects(c, store).await?;
    let due = due(c, job, store, force, now_ms).await?;
    let (needed, delete): (Vec<String>, Vec<String>) =
        due.into_iter().partition(|object| live.objects.contains(object));
    forget(c, store, &needed).await?;
    let until_ms = now_ms + times.window_ms;
    let rows: Vec<Vec<Value>> =
        delete.iter().map(|object| vec![store.to_string().into(), object.clone().into()]).collect();
    let rest = format!(
        "UPDATE tide_condemned SET state = 'deleting', job_id = '{}', reusable_ms = {},
            due_ms = CASE WHEN due_ms > {now_ms} THEN {now_ms} ELSE due_ms END FROM v
        WHERE tide_condemned.store = v.store AND tide_condemned.object = v.object",
        job.id,
        until_ms + times.skew_ms
    );
    sql::with_rows(c, &["store", "object"], &rows, &rest).await?;
    let invalid = |e: schemas::InvalidName| RecordsError::Corrupt(format!("job {}: {e}", job.id));
    Ok(CollectTask {
        distributor: job.raw.distributor.as_str().try_into().map_err(invalid)?,
        distribution: job.distribution.clone(),
        store,
        delete,
        until_ms,
        live: live.headers,
        list,
        after: sql::texts(
            c,
            "SELECT orphans_after FROM tide_stores WHERE store = $1 AND orphans_after IS NOT NULL",
            vec![store.to_string().into()],
        )
        .await?
        .pop(),
    })
}

/// What this job was told to delete already, what a job that ended badly left, and what has waited long enough.
async fn due(
    c: &impl ConnectionTrait,
    job: &JobRow,
    store: StoreId,
    force: bool,
    now_ms: i64,
) -> Result<Vec<String>, RecordsError> {
    let text = format!(
        "SELECT c.object FROM tide_condemned c WHERE c.store = $1 AND ((c.state = 'condemned' AND c.due_ms <= $2)
            OR (c.state = 'deleting' AND (c.job_id = $3 OR NOT EXISTS (SELECT 1 FROM tide_jobs j WHERE j.id = c.job_id
                AND j.state IN ('waiting', 'queued', 'running')))))
        ORDER BY c.due_ms, c.object LIMIT {DELETIONS_MAX}"
    );
    let latest_ms = if force { i64::MAX } else { now_ms };
    let values = vec![store.to_string().into(), latest_ms.into(), job.raw.id.clone().into()];
    Ok(sql::texts(c, &text, values).await?)
}

struct Live {
    objects: HashSet<String>,
    headers: Vec<schemas::Digest>,
}

#[derive(FromQueryResult)]
struct HeadRow {
    header: String,
    index_digest: String,
}

async fn live_objects(c: &impl ConnectionTrait, store: StoreId) -> Result<Live, RecordsError> {
    let text =
        "SELECT header, index_digest FROM tide_revisions WHERE store = $1 AND retired_ms IS NULL ORDER BY number";
    let heads: Vec<HeadRow> = sql::rows(c, text, vec![store.to_string().into()]).await?;
    let text = "SELECT DISTINCT p.digest FROM tide_packs p
        JOIN tide_revisions r ON r.distribution = p.distribution AND r.number = p.number
        WHERE r.store = $1 AND r.retired_ms IS NULL";
    let packs = sql::texts(c, text, vec![store.to_string().into()]).await?;
    let corrupt = |e: schemas::digest::InvalidDigest| RecordsError::Corrupt(format!("revision header: {e}"));
    let headers: Result<Vec<_>, _> = heads.iter().map(|head| head.header.parse().map_err(corrupt)).collect();
    let named = heads.iter().flat_map(|head| [header(&head.header), index(&head.index_digest)]);
    Ok(Live { objects: named.chain(packs.iter().map(|digest| pack(digest))).collect(), headers: headers? })
}

/// They are needed after all, or were written anew.
async fn forget(c: &impl ConnectionTrait, store: StoreId, objects: &[String]) -> Result<(), RecordsError> {
    for part in objects.chunks(sql::rows_per_statement(1)) {
        let text = format!("DELETE FROM tide_condemned WHERE store = $1 AND object IN ({})", sql::list(2, part.len()));
        let mut values: Vec<Value> = vec![store.to_string().into()];
        values.extend(sql::values(part));
        sql::exec(c, &text, values).await?;
    }
    Ok(())
}

/// What stands against a new revision.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    /// Objects whose deletion may have come after the builder saw them: to be built again, no sooner than `not_before_ms`.
    pub refused: Vec<String>,
    pub not_before_ms: i64,
    /// Condemned objects that it names: they are needed again.
    pub rescued: Vec<String>,
}

/// Whether a revision that this job built may count. The build lane is locked by the caller.
pub(crate) async fn judge(
    c: &impl ConnectionTrait,
    job: &JobRow,
    attempt: u32,
    store: StoreId,
    revision: &NewRevision,
) -> Result<Verdict, RecordsError> {
    let text = "SELECT object, state, reusable_ms FROM tide_condemned WHERE store = $1";
    let rows: Vec<CondemnedRow> = sql::rows(c, text, vec![store.to_string().into()]).await?;
    if rows.is_empty() {
        return Ok(Verdict::default());
    }
    let rows: HashMap<String, CondemnedRow> = rows.into_iter().map(|row| (row.object.clone(), row)).collect();
    let packs = revision.packs.iter().map(|named| pack(&named.digest.to_string()));
    let named = [header(&revision.header.to_string()), index(&revision.index.to_string())].into_iter().chain(packs);
    let mut verdict = Verdict::default();
    for object in named.collect::<BTreeSet<_>>() {
        let Some(row) = rows.get(&object) else { continue };
        let began_later = attempt == job.attempt && job.promoted_ms() > row.reusable_ms;
        // A deletion that was ordered once may still be on its way, whatever the object's state is now.
        if row.reusable_ms > 0 && !began_later {
            verdict.not_before_ms = verdict.not_before_ms.max(row.reusable_ms + 1);
            verdict.refused.push(object);
        } else {
            debug_assert!(row.state != "deleting" || began_later);
            verdict.rescued.push(object);
        }
    }
    Ok(verdict)
}

/// The revision is recorded: what it names is condemned no more.
pub(crate) async fn rescue(c: &impl ConnectionTrait, store: StoreId, objects: &[String]) -> Result<(), RecordsError> {
    forget(c, store, objects).await
}

/// What a collector did and found.
pub(crate) async fn record(
    c: &impl ConnectionTrait,
    job: JobId,
    (store, distribution): (StoreId, &str),
    result: &CollectResult,
    times: CollectTimes,
    now_ms: i64,
) -> Result<(), RecordsError> {
    let rows: Vec<Vec<Value>> = result
        .deleted
        .iter()
        .map(|object| vec![store.to_string().into(), object.clone().into(), now_ms.into()])
        .collect();
    let rest = format!(
        "UPDATE tide_condemned SET state = 'deleted', deleted_ms = v.at FROM v WHERE tide_condemned.store = v.store
            AND tide_condemned.object = v.object AND tide_condemned.job_id = '{job}' AND tide_condemned.state = 'deleting'"
    );
    sql::with_rows(c, &["store", "object", "at"], &rows, &rest).await?;
    let live = live_objects(c, store).await?;
    let orphans: Vec<ObjectRow> = result
        .orphans
        .iter()
        .filter(|orphan| !live.objects.contains(&orphan.object))
        .map(|orphan| ObjectRow {
            object: orphan.object.clone(),
            bytes: orphan.bytes as i64,
            why: "no revision leads to it".to_owned(),
        })
        .collect();
    condemn(c, store, distribution, &orphans, now_ms, now_ms + times.grace_ms).await?;
    if let Some(listed) = &result.listed {
        let last = result.orphans.last().filter(|_| listed.orphans_left > 0).map(|orphan| orphan.object.clone());
        let text =
            "UPDATE tide_stores SET listed_ms = $2, objects = $3, bytes = $4, orphans_left = $5, orphans_after = $6
            WHERE store = $1";
        let values: Vec<Value> = vec![
            store.to_string().into(),
            now_ms.into(),
            (listed.objects as i64).into(),
            (listed.bytes as i64).into(),
            (listed.orphans_left as i64).into(),
            last.into(),
        ];
        sql::exec(c, text, values).await?;
        // A store of a distribution that is gone, and nothing left in it.
        let text = "DELETE FROM tide_stores WHERE store = $1 AND gone_ms IS NOT NULL AND objects = 0";
        sql::exec(c, text, vec![store.to_string().into()]).await?;
    }
    Ok(())
}
