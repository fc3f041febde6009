//! What a job waits for, whose a schedule is, and syncs, as people see them.

use crate::sql::Script;

pub const SCRIPT: Script = Script { name: "m0051_sync_views", up: UP, down: DOWN };

const UP: &str = "
DROP VIEW jobs;
DROP VIEW lanes;
DROP VIEW schedules;

CREATE VIEW jobs AS
SELECT j.id, j.request_id, j.kind, j.state, j.lane, j.distributor, j.distribution, j.revision, j.channel, j.subscriber,
    CASE j.priority WHEN 0 THEN 'high' WHEN 1 THEN 'medium' ELSE 'low' END AS priority,
    j.attempt, j.attempts_max, j.worker,
    {time:j.created_ms} AS created_at, {time:j.queued_ms} AS queued_at, {time:j.published_ms} AS published_at,
    {time:j.started_ms} AS started_at, {time:j.ended_ms} AS ended_at,
    CASE WHEN j.not_before_ms > 0 AND j.state = 'waiting' THEN {time:j.not_before_ms} END AS not_before,
    {time:j.cancel_requested_ms} AS cancel_requested_at,
    j.took_ms, j.bytes_content, j.bytes_needed, j.bytes_moved, j.files_changed,
    j.progress, j.note, j.error_code, j.error, j.result, j.retry_of, j.carried_by,
    (SELECT a.id FROM tide_job_waits w JOIN tide_jobs a ON a.id = w.awaited_id
        WHERE w.job_id = j.id AND j.state = 'waiting' AND a.state IN ('waiting', 'queued', 'running')
            AND (w.until_ms IS NULL OR w.until_ms > {now_ms}) ORDER BY a.created_ms, a.place, a.id LIMIT 1) AS waits_for_job_id,
    (SELECT a.kind || ' ' || a.distribution || COALESCE(' to ' || a.subscriber, '')
        FROM tide_job_waits w JOIN tide_jobs a ON a.id = w.awaited_id
        WHERE w.job_id = j.id AND j.state = 'waiting' AND a.state IN ('waiting', 'queued', 'running')
            AND (w.until_ms IS NULL OR w.until_ms > {now_ms}) ORDER BY a.created_ms, a.place, a.id LIMIT 1) AS waits_for
FROM tide_jobs j;

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
                    AND (a.priority < j.priority OR (a.priority = j.priority AND (a.created_ms < j.created_ms OR (a.created_ms = j.created_ms AND a.place < j.place))))))), 0))} END AS expected_start,
    (SELECT a.id FROM tide_job_waits w JOIN tide_jobs a ON a.id = w.awaited_id
        WHERE w.job_id = j.id AND j.state = 'waiting' AND a.state IN ('waiting', 'queued', 'running')
            AND (w.until_ms IS NULL OR w.until_ms > {now_ms}) ORDER BY a.created_ms, a.place, a.id LIMIT 1) AS waits_for_job_id,
    (SELECT a.kind || ' ' || a.distribution || COALESCE(' to ' || a.subscriber, '')
        FROM tide_job_waits w JOIN tide_jobs a ON a.id = w.awaited_id
        WHERE w.job_id = j.id AND j.state = 'waiting' AND a.state IN ('waiting', 'queued', 'running')
            AND (w.until_ms IS NULL OR w.until_ms > {now_ms}) ORDER BY a.created_ms, a.place, a.id LIMIT 1) AS waits_for
FROM tide_lanes l
LEFT JOIN tide_jobs j ON j.lane = l.name AND j.state IN ('waiting', 'queued', 'running');

CREATE VIEW schedules AS
SELECT s.name AS schedule, s.verb, s.object, s.spec, s.zone, {time:s.next_due_ms} AS next_due,
    CASE WHEN s.next_due_ms < {now_ms} THEN {now_ms} - s.next_due_ms ELSE 0 END AS overdue_ms,
    {time:s.last_nominal_ms} AS last_nominal, s.last_request, r.state AS last_state,
    (SELECT o.console FROM tide_objects o WHERE o.name = s.object AND o.kind = CASE s.verb WHEN 'build' THEN 'distribution'
        WHEN 'send' THEN 'channel' WHEN 'extract' THEN 'subscriber' WHEN 'refresh' THEN 'distributor' ELSE s.verb END) AS console
FROM tide_schedules s LEFT JOIN tide_requests r ON r.id = s.last_request;

CREATE VIEW syncs AS
SELECT o.name AS sync, o.title, o.console, {json:o.spec} ->> 'subscriber' AS subscriber,
    CAST({json:o.spec} -> 'components' AS TEXT) AS components,
    CASE WHEN EXISTS (SELECT 1 FROM tide_core_syncs c WHERE c.sync = o.name) THEN 1 ELSE 0 END AS core,
    s.name AS schedule, s.spec, s.zone, {time:s.next_due_ms} AS next_due, {time:s.last_nominal_ms} AS last_nominal, s.last_request,
    r.state AS last_state
FROM tide_objects o
LEFT JOIN tide_schedules s ON s.verb = 'sync' AND s.object = o.name
LEFT JOIN tide_requests r ON r.id = s.last_request
WHERE o.kind = 'sync';
";

const DOWN: &str = "
DROP VIEW syncs;
DROP VIEW schedules;
DROP VIEW lanes;
DROP VIEW jobs;

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

CREATE VIEW schedules AS
SELECT s.name AS schedule, s.verb, s.object, s.spec, s.zone, {time:s.next_due_ms} AS next_due,
    CASE WHEN s.next_due_ms < {now_ms} THEN {now_ms} - s.next_due_ms ELSE 0 END AS overdue_ms,
    {time:s.last_nominal_ms} AS last_nominal, s.last_request, r.state AS last_state
FROM tide_schedules s LEFT JOIN tide_requests r ON r.id = s.last_request;
";
