//! The views that people query: one word per column as in SPEC §1, times as the database's own type. Described column by
//! column in docs/results.md; columns are added, never renamed.

use sea_orm::{DatabaseTransaction, DbErr};

use crate::Migration;
use crate::sql::run;

pub struct Views;

#[async_trait::async_trait]
impl Migration for Views {
    fn name(&self) -> &'static str {
        "m0002_views"
    }

    async fn up(&self, db: &DatabaseTransaction) -> Result<(), DbErr> {
        run(db, UP).await
    }

    async fn down(&self, db: &DatabaseTransaction) -> Result<(), DbErr> {
        for view in VIEWS.iter().rev() {
            run(db, &format!("DROP VIEW IF EXISTS {view}")).await?;
        }
        Ok(())
    }
}

const VIEWS: [&str; 14] = [
    "jobs",
    "requests",
    "waits",
    "lanes",
    "job_history",
    "revisions",
    "deliveries",
    "failures",
    "installed",
    "subscribers",
    "channels",
    "schedules",
    "occurrences",
    "dead_letters",
];

const UP: &str = "
CREATE VIEW jobs AS
SELECT j.id, j.request_id, j.kind, j.state, j.lane, j.distributor, j.distribution, j.revision, j.channel, j.subscriber,
    CASE j.priority WHEN 0 THEN 'high' WHEN 1 THEN 'medium' ELSE 'low' END AS priority,
    j.attempt, j.attempts_max, j.worker,
    {time:j.created_ms} AS created_at, {time:j.queued_ms} AS queued_at, {time:j.published_ms} AS published_at,
    {time:j.started_ms} AS started_at, {time:j.ended_ms} AS ended_at,
    CASE WHEN j.not_before_ms > 0 AND j.state = 'waiting' THEN {time:j.not_before_ms} END AS not_before,
    {time:j.cancel_requested_ms} AS cancel_requested_at,
    j.took_ms, j.bytes_content, j.bytes_needed, j.bytes_moved, j.files_changed,
    j.progress, j.note, j.error_code, j.error, j.result, j.retry_of, j.carried_by
FROM tide_jobs j;

CREATE VIEW requests AS
SELECT r.id, r.kind, r.state, r.console, r.origin, r.note, r.error_code,
    (SELECT COUNT(*) FROM tide_request_jobs x WHERE x.request_id = r.id) AS jobs,
    (SELECT COUNT(*) FROM tide_request_jobs x JOIN tide_jobs j ON j.id = x.job_id
        WHERE x.request_id = r.id AND j.state IN ('waiting', 'queued', 'running')) AS jobs_open,
    (SELECT COUNT(*) FROM tide_request_jobs x JOIN tide_jobs j ON j.id = x.job_id
        WHERE x.request_id = r.id AND j.state = 'failed') AS jobs_failed,
    {time:r.created_ms} AS created_at, {time:r.planned_ms} AS planned_at, {time:r.ended_ms} AS ended_at,
    r.body
FROM tide_requests r;

CREATE VIEW waits AS
SELECT w.job_id, j.kind, j.subscriber, j.distribution, w.awaited_id, a.kind AS awaited_kind, a.state AS awaited_state,
    a.subscriber AS awaited_subscriber, w.on_bad, {time:w.until_ms} AS until
FROM tide_job_waits w
JOIN tide_jobs j ON j.id = w.job_id
JOIN tide_jobs a ON a.id = w.awaited_id
WHERE j.state = 'waiting' AND a.state IN ('waiting', 'queued', 'running');

CREATE VIEW lanes AS
SELECT l.name AS lane, l.subscriber, l.channel, CASE WHEN l.paused = 1 THEN 'paused' ELSE 'open' END AS state,
    j.id AS job_id, j.kind, j.state AS job_state, j.distribution, j.revision,
    CASE j.priority WHEN 0 THEN 'high' WHEN 1 THEN 'medium' WHEN 2 THEN 'low' END AS priority,
    CASE WHEN j.id IS NULL THEN NULL ELSE ROW_NUMBER() OVER (PARTITION BY l.name ORDER BY
        CASE j.state WHEN 'running' THEN 0 WHEN 'queued' THEN 1 ELSE 2 END, j.priority, j.created_ms, j.place, j.id) END AS place,
    LAG(j.id) OVER (PARTITION BY l.name ORDER BY
        CASE j.state WHEN 'running' THEN 0 WHEN 'queued' THEN 1 ELSE 2 END, j.priority, j.created_ms, j.place, j.id) AS behind_job_id,
    CASE WHEN j.state = 'running' THEN {time:j.started_ms}
        WHEN j.id IS NULL THEN NULL
        ELSE {time:({now_ms} + COALESCE((SELECT SUM(COALESCE(
            (SELECT CAST(AVG(d.took_ms) AS BIGINT) FROM tide_jobs d
                WHERE d.distribution = a.distribution AND d.kind = a.kind AND d.state = 'succeeded'), 0))
            FROM tide_jobs a WHERE a.lane = l.name AND a.state IN ('waiting', 'queued', 'running') AND a.id <> j.id
            AND (CASE a.state WHEN 'running' THEN 0 WHEN 'queued' THEN 1 ELSE 2 END < CASE j.state WHEN 'running' THEN 0 WHEN 'queued' THEN 1 ELSE 2 END
                OR (CASE a.state WHEN 'running' THEN 0 WHEN 'queued' THEN 1 ELSE 2 END = CASE j.state WHEN 'running' THEN 0 WHEN 'queued' THEN 1 ELSE 2 END
                    AND (a.priority < j.priority OR (a.priority = j.priority AND (a.created_ms < j.created_ms OR (a.created_ms = j.created_ms AND a.place < j.place))))))), 0))} END AS expected_start
FROM tide_lanes l
LEFT JOIN tide_jobs j ON j.lane = l.name AND j.state IN ('waiting', 'queued', 'running');

CREATE VIEW job_history AS
SELECT j.id AS job_id, j.kind, j.subscriber, j.distribution, j.revision, 1 AS attempt, 'planned' AS event,
    {time:j.created_ms} AS at, CAST(NULL AS TEXT) AS worker, j.note AS detail, 0 AS step
FROM tide_jobs j
UNION ALL
SELECT e.job_id, j.kind, j.subscriber, j.distribution, j.revision, e.attempt, e.event, {time:e.at_ms}, e.worker, e.detail, 1
FROM tide_job_events e JOIN tide_jobs j ON j.id = e.job_id
UNION ALL
SELECT j.id, j.kind, j.subscriber, j.distribution, j.revision, j.attempt, j.state, {time:j.ended_ms}, j.worker, j.error, 2
FROM tide_jobs j WHERE j.ended_ms IS NOT NULL;

CREATE VIEW revisions AS
SELECT r.distribution, r.number AS revision,
    CASE WHEN r.number = (SELECT MAX(n.number) FROM tide_revisions n WHERE n.distribution = r.distribution) THEN 1 ELSE 0 END AS current,
    r.files, r.directories, r.links, r.bytes, r.stored_bytes, r.new_bytes, r.index_bytes, r.header, r.job_id,
    {time:r.created_ms} AS created_at
FROM tide_revisions r;

CREATE VIEW deliveries AS
SELECT t.channel, t.distribution, t.subscriber, t.active, t.why, c.current_revision,
    h.stored_revision, {time:h.stored_ms} AS stored_at, h.extracted_revision, {time:h.extracted_ms} AS extracted_at, h.target,
    CASE
        WHEN t.active = 0 THEN 'inactive'
        WHEN c.current_revision IS NULL THEN 'not built'
        WHEN s.state IN ('waiting', 'queued', 'running') THEN s.state
        WHEN h.extracted_revision = c.current_revision THEN 'current'
        WHEN s.state = 'failed' THEN 'failed'
        WHEN h.extracted_revision IS NOT NULL AND h.pinned = 1 THEN 'rolled back'
        WHEN h.stored_revision = c.current_revision THEN 'received'
        WHEN s.id IS NULL AND h.stored_revision IS NULL THEN 'never tried'
        ELSE 'behind'
    END AS state,
    s.id AS last_job_id, s.kind AS last_job_kind, s.state AS last_job_state, s.attempt, s.bytes_content, s.bytes_needed, s.bytes_moved,
    s.took_ms, s.error_code, s.error, {time:s.created_ms} AS last_job_at
FROM tide_targets t
LEFT JOIN (SELECT distribution, MAX(number) AS current_revision FROM tide_revisions GROUP BY distribution) c
    ON c.distribution = t.distribution
LEFT JOIN tide_holdings h ON h.subscriber = t.subscriber AND h.distribution = t.distribution
LEFT JOIN tide_jobs s ON s.id = (SELECT j.id FROM tide_jobs j
    WHERE j.subscriber = t.subscriber AND j.distribution = t.distribution
    ORDER BY CASE WHEN j.state IN ('waiting', 'queued', 'running') THEN 0 ELSE 1 END,
        CASE WHEN j.state = 'failed' AND j.error_code = 'awaited-failed' THEN 1 ELSE 0 END, j.created_ms DESC, j.kind DESC LIMIT 1);

CREATE VIEW failures AS
SELECT j.id AS job_id, j.kind, j.lane, j.distribution, j.revision, j.subscriber, j.channel, j.attempt, j.error_code, j.error,
    j.worker, {time:j.ended_ms} AS ended_at,
    CASE WHEN EXISTS (SELECT 1 FROM tide_jobs n WHERE n.retry_of = j.id) THEN 1 ELSE 0 END AS retried
FROM tide_jobs j WHERE j.state = 'failed';

CREATE VIEW installed AS
SELECT h.subscriber, h.distribution, h.extracted_revision AS revision, h.target, {time:h.extracted_ms} AS since,
    r.files, r.bytes, h.pinned
FROM tide_holdings h
JOIN tide_revisions r ON r.distribution = h.distribution AND r.number = h.extracted_revision;

CREATE VIEW subscribers AS
SELECT o.name AS subscriber, o.title,
    CASE WHEN s.presence_ms IS NULL THEN 'never seen' WHEN s.silent_since_ms IS NOT NULL THEN 'silent' ELSE 'present' END AS state,
    s.program_version, s.url, {time:s.first_presence_ms} AS first_seen, {time:s.presence_ms} AS last_seen,
    {time:s.silent_since_ms} AS silent_since, s.settings_version, g.version AS settings_version_wanted,
    (SELECT COUNT(*) FROM tide_jobs j WHERE j.subscriber = o.name AND j.state IN ('waiting', 'queued', 'running')) AS jobs_open,
    (SELECT COUNT(*) FROM tide_targets t WHERE t.subscriber = o.name AND t.active = 1) AS wanted,
    (SELECT COUNT(*) FROM tide_targets t JOIN tide_holdings h ON h.subscriber = t.subscriber AND h.distribution = t.distribution
        WHERE t.subscriber = o.name AND t.active = 1 AND h.extracted_revision =
            (SELECT MAX(r.number) FROM tide_revisions r WHERE r.distribution = t.distribution)) AS current
FROM tide_objects o
LEFT JOIN tide_sites s ON s.subscriber = o.name
LEFT JOIN tide_settings g ON g.subscriber = o.name
WHERE o.kind = 'subscriber';

CREATE VIEW channels AS
SELECT o.name AS channel, o.title,
    (SELECT COUNT(DISTINCT t.subscriber) FROM tide_targets t WHERE t.channel = o.name AND t.active = 1) AS subscribers,
    (SELECT COUNT(DISTINCT t.distribution) FROM tide_targets t WHERE t.channel = o.name) AS distributions,
    (SELECT COUNT(*) FROM deliveries d WHERE d.channel = o.name AND d.state = 'current') AS current,
    (SELECT COUNT(*) FROM deliveries d WHERE d.channel = o.name AND d.state = 'failed') AS failed,
    (SELECT COUNT(*) FROM deliveries d WHERE d.channel = o.name AND d.state = 'never tried') AS never_tried,
    (SELECT COUNT(*) FROM tide_jobs j WHERE j.channel = o.name AND j.state IN ('waiting', 'queued', 'running')) AS jobs_open
FROM tide_objects o WHERE o.kind = 'channel';

CREATE VIEW schedules AS
SELECT s.name AS schedule, s.verb, s.object, s.spec, {time:s.next_due_ms} AS next_due, {time:s.last_nominal_ms} AS last_nominal,
    s.last_request, r.state AS last_state
FROM tide_schedules s LEFT JOIN tide_requests r ON r.id = s.last_request;

CREATE VIEW occurrences AS
SELECT o.schedule, {time:o.nominal_ms} AS nominal, {time:o.fired_ms} AS fired, o.fired_ms - o.nominal_ms AS late_ms, o.term,
    o.request_id, r.state
FROM tide_occurrences o LEFT JOIN tide_requests r ON r.id = o.request_id;

CREATE VIEW dead_letters AS
SELECT d.id, d.queue, d.code, d.reason, d.body, d.job_id, d.state, {time:d.created_ms} AS created_at, {time:d.ended_ms} AS ended_at
FROM tide_dead_letters d;
";
