//! What becomes of an occurrence while the last one's work still runs (SPEC S6), judged per schedule and subscriber: a dead
//! site delays nobody (SPEC §10, 7). It does not know what is due.

use std::collections::BTreeSet;

use domain::schedule::BESIDE_MAX;
use schemas::schedule::Overlap;
use sea_orm::{DatabaseTransaction, FromQueryResult};

use super::{ScheduleRow, pile};
use crate::db::RecordsError;
use crate::sql;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It starts, for these subscribers only; none = for all.
    Start {
        only: Vec<String>,
    },
    /// One waits already, and does its work too.
    Join {
        request: String,
    },
    Skip {
        request: String,
    },
}

const OPEN: &str = "('waiting', 'queued', 'running')";

#[derive(FromQueryResult)]
struct Target {
    subscriber: String,
}

pub(super) async fn judge(
    tx: &DatabaseTransaction,
    row: &ScheduleRow,
    overlap: Overlap,
) -> Result<Verdict, RecordsError> {
    if overlap == Overlap::Beside {
        return beside(tx, row).await;
    }
    let before = at_work(tx, row).await?;
    let is_unplanned = !before.is_empty() && unplanned(tx, row).await?;
    match (overlap, before.as_slice()) {
        (Overlap::Skip, [.., last]) => Ok(Verdict::Skip { request: last.clone() }),
        (Overlap::Skip, []) if row.verb == "send" => {
            let busy = busy_sites(tx, row).await?;
            for_the_others(tx, row, &busy, |request| Verdict::Skip { request }).await
        }
        (Overlap::Queue, []) if row.verb == "send" => {
            let asked = pile::asked_already(tx, row).await?;
            for_the_others(tx, row, &asked, |request| Verdict::Join { request }).await
        }
        // What nobody has planned yet will look at the same state as this one would.
        (Overlap::Queue, [.., last]) if is_unplanned || before.len() > 1 => Ok(Verdict::Join { request: last.clone() }),
        _ => Ok(Verdict::Start { only: Vec::new() }),
    }
}

/// It starts whatever still runs, up to so many: beyond them it joins the last.
async fn beside(tx: &DatabaseTransaction, row: &ScheduleRow) -> Result<Verdict, RecordsError> {
    let text =
        "SELECT id FROM tide_requests WHERE schedule = $1 AND state IN ('accepted', 'open') ORDER BY created_ms, id";
    let mut open = sql::texts(tx, text, vec![row.name.clone().into()]).await?;
    Ok(match open.pop() {
        Some(request) if open.len() + 1 >= BESIDE_MAX => Verdict::Join { request },
        _ => Verdict::Start { only: Vec::new() },
    })
}

/// One is at work, and another was planned and waits: neither looks at what came since.
pub(super) async fn is_full(tx: &DatabaseTransaction, row: &ScheduleRow) -> Result<bool, RecordsError> {
    Ok(at_work(tx, row).await?.len() > 1 && !unplanned(tx, row).await?)
}

pub(super) async fn is_at_work(tx: &DatabaseTransaction, row: &ScheduleRow) -> Result<bool, RecordsError> {
    Ok(!at_work(tx, row).await?.is_empty())
}

/// The schedule's requests whose work stands in the way of more of it, oldest first. Sends are judged by subscriber: the index of open
/// jobs keeps one waiting for each, a newer revision in its place; so only one that is not planned yet stands in the way of all.
async fn at_work(tx: &DatabaseTransaction, row: &ScheduleRow) -> Result<Vec<String>, RecordsError> {
    let is_at_work = match row.verb.as_str() {
        "send" => "r.state = 'accepted'".to_owned(),
        "refresh" => format!(
            "(r.state = 'accepted' OR EXISTS (SELECT 1 FROM tide_request_jobs x JOIN tide_jobs j ON j.id = x.job_id
                WHERE x.request_id = r.id AND j.kind = 'build' AND j.state IN {OPEN}))"
        ),
        _ => "r.state IN ('accepted', 'open')".to_owned(),
    };
    let text = format!(
        "SELECT r.id FROM tide_requests r WHERE r.schedule = $1 AND r.state IN ('accepted', 'open') AND {is_at_work}
        ORDER BY r.created_ms, r.id"
    );
    Ok(sql::texts(tx, &text, vec![row.name.clone().into()]).await?)
}

async fn unplanned(tx: &DatabaseTransaction, row: &ScheduleRow) -> Result<bool, RecordsError> {
    let text = "SELECT COUNT(*) FROM tide_requests WHERE schedule = $1 AND state IN ('accepted', 'open') AND state = 'accepted'";
    Ok(sql::number(tx, text, vec![row.name.clone().into()]).await?.unwrap_or(0) > 0)
}

/// Sites that still work on an earlier occurrence.
async fn busy_sites(tx: &DatabaseTransaction, row: &ScheduleRow) -> Result<BTreeSet<String>, RecordsError> {
    let text = format!(
        "SELECT DISTINCT j.subscriber AS subscriber FROM tide_requests r JOIN tide_request_jobs x ON x.request_id = r.id
            JOIN tide_jobs j ON j.id = x.job_id
        WHERE r.schedule = $1 AND r.state IN ('accepted', 'open') AND r.state = 'open' AND j.state IN {OPEN} AND j.subscriber IS NOT NULL"
    );
    let busy: Vec<Target> = sql::rows(tx, &text, vec![row.name.clone().into()]).await?;
    Ok(busy.into_iter().map(|target| target.subscriber).collect())
}

/// Some sites are left out, the others are not; if there are no others, the last request stands for this one.
async fn for_the_others(
    tx: &DatabaseTransaction,
    row: &ScheduleRow,
    left_out: &BTreeSet<String>,
    without: fn(String) -> Verdict,
) -> Result<Verdict, RecordsError> {
    if left_out.is_empty() {
        return Ok(Verdict::Start { only: Vec::new() });
    }
    let text = "SELECT DISTINCT subscriber FROM tide_targets WHERE channel = $1 AND active = 1 ORDER BY subscriber";
    let all: Vec<Target> = sql::rows(tx, text, vec![row.object.clone().into()]).await?;
    let only: Vec<String> = all.into_iter().map(|t| t.subscriber).filter(|name| !left_out.contains(name)).collect();
    if !only.is_empty() {
        return Ok(Verdict::Start { only });
    }
    let text = "SELECT id FROM tide_requests WHERE schedule = $1 AND state IN ('accepted', 'open') AND state = 'open' ORDER BY created_ms DESC LIMIT 1";
    let last = sql::texts(tx, text, vec![row.name.clone().into()]).await?.pop().unwrap_or_default();
    Ok(without(last))
}
