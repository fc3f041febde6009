//! What makes a schedule due that time does not: an event, or another subscriber's extraction. Each becomes a row under its cause,
//! once for a schedule and a cause whatever is repeated; the leader's tick fires it. It does not know what is done then.

use std::time::Instant;

use schemas::request::RequestKind;
use schemas::{Presence, Request};
use sea_orm::{ConnectionTrait, DatabaseTransaction, FromQueryResult, Value};

use super::tick::{AGAIN_MS, Begun, TICK_TIME_MAX, begin};
use super::{COLUMNS, Fired, ScheduleRow, alerts, overlap};
use crate::db::{Records, RecordsError};
use crate::leases::Term;
use crate::{STEP_MAX, sql};

/// What the control side and sites say of themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnEvent {
    Startup,
    Shutdown,
}

impl OwnEvent {
    fn as_str(self) -> &'static str {
        match self {
            OwnEvent::Startup => "startup",
            OwnEvent::Shutdown => "shutdown",
        }
    }
}

#[derive(FromQueryResult)]
struct DueRow {
    id: i64,
    schedule: String,
    awaits: String,
    cause: String,
    distribution: Option<String>,
    revision: Option<i64>,
    nominal_ms: i64,
}

/// A subscriber extracted what another one, which extracts after it, holds and has not extracted, or what a sync after it brings
/// to one that has not extracted it.
#[derive(FromQueryResult)]
struct ExtractedRow {
    name: String,
    awaits: String,
    spec: String,
    zone: String,
    anchor_ms: i64,
    distribution: Option<String>,
    revision: Option<i64>,
    extracted_ms: i64,
    cause: String,
}

impl Records {
    /// Somebody says that these events happened; how many schedules waited for them. The same request again adds none.
    pub async fn post_events(&self, request: &Request) -> Result<u64, RecordsError> {
        debug_assert_eq!(request.kind, RequestKind::Event);
        let cause = format!("event/{}", request.id);
        let mut due = 0;
        for event in &request.selector.events {
            due += happened(self.writer(), &format!("event/{event}"), &cause, "1 = 1", vec![]).await?;
        }
        Ok(due)
    }

    /// The leading scheduler starts or stops: what belongs to no subscriber is due by it.
    pub async fn control_side(&self, term: &Term, event: OwnEvent) -> Result<u64, RecordsError> {
        let tx = self.fenced(term).await?;
        let (event, cause) = (event.as_str(), format!("{}/{}", event.as_str(), term.holder));
        let verbs = "s.verb IN ('refresh', 'build', 'send')"; // the others belong to a site
        let due = happened(&tx, &format!("event/{event}"), &cause, verbs, vec![]).await?;
        tx.commit().await?;
        Ok(due)
    }

    /// A site starts, if this presence is the first of its run, or stops.
    pub(crate) async fn site_side(&self, presence: &Presence) -> Result<(), RecordsError> {
        let Some(run) = presence.run else { return Ok(()) };
        let site = || vec![Value::from(presence.subscriber.to_string())];
        if !presence.stopping {
            let known = "SELECT run FROM tide_sites WHERE subscriber = $1 AND run IS NOT NULL";
            if sql::texts(self.reader(), known, site()).await?.first() == Some(&run.to_string()) {
                return Ok(());
            }
        }
        let event = if presence.stopping { OwnEvent::Shutdown } else { OwnEvent::Startup }.as_str();
        let cause = format!("{event}/{run}");
        let of_it = "(s.verb = 'extract' AND s.object = $3
            OR s.verb = 'sync' AND s.object IN (SELECT y.sync FROM syncs y WHERE y.subscriber = $3))";
        happened(self.writer(), &format!("event/{event}"), &cause, of_it, site()).await?;
        Ok(())
    }

    /// Looks for what others have extracted (by query, so that nothing is missed): schedules `after` them are due.
    pub async fn find_extracted(&self, term: &Term) -> Result<usize, RecordsError> {
        let text = format!(
            "SELECT * FROM ({EXTRACTS_AFTER} UNION ALL {SYNCS_AFTER}) e
            WHERE NOT EXISTS (SELECT 1 FROM tide_due d WHERE d.schedule = e.name AND d.cause = e.cause)
                AND NOT EXISTS (SELECT 1 FROM tide_occurrences o WHERE o.schedule = e.name AND o.cause = e.cause)
            LIMIT {STEP_MAX}"
        );
        let found: Vec<ExtractedRow> = sql::rows(self.reader(), &text, vec![]).await?;
        if found.is_empty() {
            return Ok(0);
        }
        let tx = self.fenced(term).await?;
        let head = "INSERT INTO tide_due (schedule, awaits, cause, distribution, revision, nominal_ms, due_ms)";
        let rows: Vec<Vec<Value>> = found.iter().map(ExtractedRow::due).collect();
        let due = sql::insert_rows(&tx, head, &rows, "ON CONFLICT (schedule, cause) DO NOTHING").await?;
        tx.commit().await?;
        Ok(due as usize)
    }
}

/// What others have extracted, and whoever extracts after them holds and has not.
const EXTRACTS_AFTER: &str = "SELECT s.name, s.awaits, s.spec, s.zone, s.anchor_ms, p.distribution, p.extracted_revision AS revision,
        COALESCE(p.extracted_ms, 0) AS extracted_ms, s.awaits || '/' || p.distribution || '/' || p.extracted_revision AS cause
    FROM tide_schedules s
    JOIN tide_holdings p ON p.subscriber = substr(s.awaits, 7) AND p.extracted_revision IS NOT NULL
    JOIN tide_kept k ON k.subscriber = s.object AND k.distribution = p.distribution AND k.revision = p.extracted_revision
    LEFT JOIN tide_holdings h ON h.subscriber = s.object AND h.distribution = p.distribution
    WHERE s.verb = 'extract' AND s.awaits LIKE 'after/%' AND COALESCE(h.pinned, 0) = 0
        AND COALESCE(h.extracted_revision, 0) < p.extracted_revision
        AND EXISTS (SELECT 1 FROM tide_targets t WHERE t.subscriber = s.object AND t.distribution = p.distribution AND t.active = 1)";

/// What others have extracted, and a sync after them brings to a site that has not. It brings all that it has to, so it is about no
/// one revision.
const SYNCS_AFTER: &str = "SELECT s.name, s.awaits, s.spec, s.zone, s.anchor_ms, CAST(NULL AS TEXT), CAST(NULL AS BIGINT),
        COALESCE(p.extracted_ms, 0), s.awaits || '/' || p.distribution || '/' || p.extracted_revision
    FROM tide_schedules s
    JOIN tide_sync_targets t ON t.sync = s.object
    JOIN tide_holdings p ON p.subscriber = substr(s.awaits, 7) AND p.distribution = t.distribution AND p.extracted_revision IS NOT NULL
    LEFT JOIN tide_holdings h ON h.subscriber = t.subscriber AND h.distribution = t.distribution
    WHERE s.verb = 'sync' AND s.awaits LIKE 'after/%' AND COALESCE(h.pinned, 0) = 0
        AND COALESCE(h.extracted_revision, 0) < p.extracted_revision";

impl ExtractedRow {
    /// A rule that cannot be read is due at once: the tick tells of it.
    fn due(&self) -> Vec<Value> {
        let rule = serde_json::from_str(&self.spec).ok();
        let rule = rule.and_then(|declared| super::read(&declared, &self.name, &self.zone, self.anchor_ms).ok());
        let due_ms = self.extracted_ms.saturating_add(rule.map_or(0, |rule| rule.delay_ms()));
        vec![
            self.name.clone().into(),
            self.awaits.clone().into(),
            self.cause.clone().into(),
            self.distribution.clone().into(),
            self.revision.into(),
            due_ms.into(),
            due_ms.into(),
        ]
    }
}

/// Makes the schedules due that wait for this, of those that the condition picks; its values begin with `$3`.
async fn happened(
    c: &impl ConnectionTrait,
    awaits: &str,
    cause: &str,
    of: &str,
    values: Vec<Value>,
) -> Result<u64, RecordsError> {
    let text = format!(
        "INSERT INTO tide_due (schedule, awaits, cause, nominal_ms, due_ms)
        SELECT s.name, s.awaits, $2, (SELECT {{now_ms}}), (SELECT {{now_ms}}) FROM tide_schedules s
        WHERE s.awaits = $1 AND {of}
            AND NOT EXISTS (SELECT 1 FROM tide_occurrences o WHERE o.schedule = s.name AND o.cause = $2)
        ON CONFLICT (schedule, cause) DO NOTHING"
    );
    let mut all: Vec<Value> = vec![awaits.into(), cause.into()];
    all.extend(values);
    Ok(sql::exec(c, &text, all).await?)
}

pub(super) const ANY_DUE: &str = "SELECT id FROM tide_due WHERE due_ms <= (SELECT {now_ms}) ORDER BY due_ms LIMIT 1";

/// Fires what is due by its cause. The caller has fenced the transaction.
pub(super) async fn fire(tx: &DatabaseTransaction, term: &Term, now_ms: i64) -> Result<Vec<Fired>, RecordsError> {
    let text = format!(
        "SELECT id, schedule, awaits, cause, distribution, revision, nominal_ms FROM tide_due
        WHERE due_ms <= $1 ORDER BY due_ms, id LIMIT {STEP_MAX}"
    );
    let mut fired = Vec::new();
    let begun = Instant::now();
    for due in sql::rows::<DueRow>(tx, &text, vec![now_ms.into()]).await? {
        if begun.elapsed() > TICK_TIME_MAX {
            break;
        }
        let text = format!("SELECT {COLUMNS} FROM tide_schedules WHERE name = $1 AND awaits = $2");
        let of = vec![due.schedule.clone().into(), due.awaits.clone().into()];
        let row: Option<ScheduleRow> = sql::row(tx, &text, of).await?;
        if let Some(row) = &row
            && waits(tx, row, &due).await?
        {
            let again = vec![due.id.into(), (now_ms + AGAIN_MS).into()];
            sql::exec(tx, "UPDATE tide_due SET due_ms = $2 WHERE id = $1", again).await?;
            continue;
        }
        sql::exec(tx, "DELETE FROM tide_due WHERE id = $1", vec![due.id.into()]).await?;
        // A schedule that is gone, or waits for something else by now, is due no more.
        if let Some(row) = row {
            fired.extend(fire_one(tx, term, due, row, now_ms).await?);
        }
    }
    Ok(fired)
}

/// No later occurrence makes up for a sync after an extraction: it joins none that was planned before that extraction.
async fn waits(tx: &DatabaseTransaction, row: &ScheduleRow, due: &DueRow) -> Result<bool, RecordsError> {
    Ok(row.verb == "sync" && due.awaits.starts_with("after/") && overlap::is_full(tx, row).await?)
}

async fn fire_one(
    tx: &DatabaseTransaction,
    term: &Term,
    due: DueRow,
    row: ScheduleRow,
    now_ms: i64,
) -> Result<Option<Fired>, RecordsError> {
    let rule = match row.rule() {
        Ok(rule) => rule,
        Err(error) => return alerts::unreadable(tx, &row.name, due.nominal_ms, &error, now_ms).await.map(|()| None),
    };
    let begun = Begun {
        nominal_ms: free_instant(tx, &row.name, due.nominal_ms).await?,
        cause: Some(due.cause),
        of: due.distribution.zip(due.revision),
        missed: 0,
    };
    let fired = begin(tx, term, &row, &rule, &begun, now_ms).await?;
    if let Some(fired) = &fired {
        let text = "UPDATE tide_schedules SET last_nominal_ms = $2, last_request = $3 WHERE name = $1";
        let values = vec![row.name.into(), fired.nominal_ms.into(), fired.request.to_string().into()];
        sql::exec(tx, text, values).await?;
    }
    Ok(fired)
}

/// An occurrence is named by its instant: of two causes in one millisecond the second takes the next that is free.
async fn free_instant(tx: &DatabaseTransaction, schedule: &str, from_ms: i64) -> Result<i64, RecordsError> {
    let text = "SELECT nominal_ms FROM tide_occurrences WHERE schedule = $1 AND nominal_ms = $2";
    let mut at_ms = from_ms;
    while sql::number(tx, text, vec![schedule.into(), at_ms.into()]).await?.is_some() {
        at_ms += 1;
    }
    Ok(at_ms)
}
