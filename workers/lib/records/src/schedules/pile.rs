//! Requests of one schedule that a site does not get done: one is at work there, one waits, and no third piles up (SPEC S6; §10, 7).
//! What a later occurrence would ask of such a site is asked already, or the later one takes the waiting one's place. It does not know
//! what is due.

use std::collections::{BTreeMap, BTreeSet};

use schemas::schedule::Overlap;
use sea_orm::{ConnectionTrait, DatabaseTransaction, FromQueryResult, Value};

use super::{COLUMNS, ScheduleRow};
use crate::db::RecordsError;
use crate::{finish, sql};

/// At work, and waiting.
const OPEN_MAX: i64 = 2;
const OPEN: &str = "('waiting', 'queued', 'running')";

#[derive(FromQueryResult)]
struct Site {
    subscriber: String,
}

/// Sites at which one request of this send schedule is at work and another waits that would do all that one more would: since it was
/// made, neither was anything built or is being built for the site, nor did a definition change that says what it gets.
pub(super) async fn asked_already(
    tx: &DatabaseTransaction,
    row: &ScheduleRow,
) -> Result<BTreeSet<String>, RecordsError> {
    let text = format!(
        "SELECT s.subscriber FROM (
            SELECT j.subscriber, MAX(r.created_ms) AS asked_ms FROM tide_requests r
                JOIN tide_request_jobs x ON x.request_id = r.id JOIN tide_jobs j ON j.id = x.job_id
            WHERE r.schedule = $1 AND r.state IN ('accepted', 'open') AND r.state = 'open' AND j.state IN {OPEN} AND j.subscriber IS NOT NULL
            GROUP BY j.subscriber HAVING COUNT(DISTINCT r.id) >= {OPEN_MAX}
        ) s
        WHERE NOT EXISTS (SELECT 1 FROM tide_objects o WHERE (o.changed_ms >= s.asked_ms OR o.activated_ms >= s.asked_ms)
                AND ((o.kind = 'subscriber' AND o.name = s.subscriber) OR (o.kind = 'channel' AND o.name = $2)))
            AND NOT EXISTS (SELECT 1 FROM tide_targets t WHERE t.channel = $2 AND t.subscriber = s.subscriber AND t.active = 1 AND (
                EXISTS (SELECT 1 FROM tide_revisions v WHERE v.distribution = t.distribution AND v.created_ms >= s.asked_ms)
                OR EXISTS (SELECT 1 FROM tide_jobs b WHERE b.distribution = t.distribution AND b.kind = 'build' AND b.state IN {OPEN})
                OR EXISTS (SELECT 1 FROM tide_objects o WHERE o.kind = 'distribution' AND o.name = t.distribution
                    AND (o.changed_ms >= s.asked_ms OR o.activated_ms >= s.asked_ms))))"
    );
    let found: Vec<Site> = sql::rows(tx, &text, vec![row.name.clone().into(), row.object.clone().into()]).await?;
    Ok(found.into_iter().map(|site| site.subscriber).collect())
}

#[derive(FromQueryResult)]
struct Link {
    request_id: String,
    job_id: String,
}

/// A request of a send schedule was planned: at its sites it is the one that waits now. What those between it and the oldest still wait for
/// there is its own from here on, and they end. Occurrences that run beside each other have a bound of their own (`overlap`).
pub(crate) async fn take_the_place(c: &impl ConnectionTrait, request: &str, now_ms: i64) -> Result<(), RecordsError> {
    if is_beside(c, request).await? {
        return Ok(());
    }
    let text = format!(
        "SELECT o.request_id, o.job_id FROM (
            SELECT r.id AS request_id, j.id AS job_id,
                DENSE_RANK() OVER (PARTITION BY j.subscriber ORDER BY r.created_ms, r.id) AS place
            FROM tide_requests n JOIN tide_requests r ON r.schedule = n.schedule
                JOIN tide_request_jobs x ON x.request_id = r.id JOIN tide_jobs j ON j.id = x.job_id
            WHERE n.id = $1 AND n.kind = 'send' AND r.kind = 'send' AND r.id <> n.id AND r.schedule IS NOT NULL
                AND r.state IN ('accepted', 'open') AND r.state = 'open'
                AND (r.created_ms < n.created_ms OR (r.created_ms = n.created_ms AND r.id < n.id)) AND j.state IN {OPEN}
                AND j.subscriber IN (SELECT k.subscriber FROM tide_request_jobs y JOIN tide_jobs k ON k.id = y.job_id
                    WHERE y.request_id = $1 AND k.state IN {OPEN})
        ) o WHERE o.place > 1 ORDER BY o.request_id, o.job_id"
    );
    let links: Vec<Link> = sql::rows(c, &text, vec![request.into()]).await?;
    let mut between: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for link in links {
        between.entry(link.request_id).or_default().push(link.job_id);
    }
    for (id, jobs) in &between {
        hand_over(c, id, jobs, request).await?;
    }
    let between: Vec<String> = between.into_keys().collect();
    finish::complete_requests(c, &between, now_ms).await?;
    Ok(())
}

async fn is_beside(c: &impl ConnectionTrait, request: &str) -> Result<bool, RecordsError> {
    let columns = COLUMNS.replace(", ", ", s.");
    let text = format!(
        "SELECT s.{columns} FROM tide_requests n JOIN tide_schedules s ON s.name = n.schedule WHERE n.id = $1 AND n.kind = 'send'"
    );
    let schedule: Option<ScheduleRow> = sql::row(c, &text, vec![request.into()]).await?;
    Ok(schedule.and_then(|row| row.rule().ok()).is_some_and(|rule| rule.overlap == Overlap::Beside))
}

async fn hand_over(c: &impl ConnectionTrait, from: &str, jobs: &[String], to: &str) -> Result<(), RecordsError> {
    let links: Vec<Vec<Value>> = jobs.iter().map(|job| vec![to.into(), job.as_str().into()]).collect();
    let head = "INSERT INTO tide_request_jobs (request_id, job_id)";
    sql::insert_rows(c, head, &links, "ON CONFLICT (request_id, job_id) DO NOTHING").await?;
    for part in jobs.chunks(sql::rows_per_statement(1) - 1) {
        let text =
            format!("DELETE FROM tide_request_jobs WHERE request_id = $1 AND job_id IN ({})", sql::list(2, part.len()));
        let mut values: Vec<Value> = vec![from.into()];
        values.extend(sql::values(part));
        sql::exec(c, &text, values).await?;
    }
    let note = format!("request {to} goes on with what was still to be done");
    sql::exec(c, "UPDATE tide_requests SET note = $2 WHERE id = $1", vec![from.into(), note.into()]).await?;
    Ok(())
}
