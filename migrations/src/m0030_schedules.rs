//! Schedules with zones, windows, catch-up and overlap: how far each was judged, what became of an occurrence, and alerts for
//! what did not happen.

use crate::sql::Script;

pub const SCRIPT: Script = Script { name: "m0030_schedules", up: UP, down: DOWN };

const UP: &str = "
ALTER TABLE tide_schedules ADD COLUMN zone TEXT NOT NULL DEFAULT 'UTC';
ALTER TABLE tide_schedules ADD COLUMN through_ms BIGINT;
ALTER TABLE tide_occurrences ADD COLUMN outcome TEXT NOT NULL DEFAULT 'started' CHECK (outcome IN ('started', 'joined', 'skipped'));
ALTER TABLE tide_requests ADD COLUMN schedule TEXT;
ALTER TABLE tide_requests ADD COLUMN window_end_ms BIGINT;
CREATE INDEX tide_requests_window ON tide_requests (window_end_ms) WHERE window_end_ms IS NOT NULL AND state = 'open';
CREATE INDEX tide_requests_schedule ON tide_requests (schedule, created_ms) WHERE schedule IS NOT NULL AND state IN ('accepted', 'open');
INSERT INTO tide_meta (name, number) VALUES ('zone_data', 0);

CREATE TABLE tide_alerts (
    id {serial},
    code TEXT NOT NULL,
    schedule TEXT NOT NULL,
    occurrences BIGINT NOT NULL,
    first_nominal_ms BIGINT,
    last_nominal_ms BIGINT,
    message TEXT NOT NULL,
    at_ms BIGINT NOT NULL
);
CREATE INDEX tide_alerts_schedule ON tide_alerts (schedule, at_ms);

DROP VIEW schedules;
DROP VIEW occurrences;

CREATE VIEW schedules AS
SELECT s.name AS schedule, s.verb, s.object, s.spec, s.zone, {time:s.next_due_ms} AS next_due,
    CASE WHEN s.next_due_ms < {now_ms} THEN {now_ms} - s.next_due_ms ELSE 0 END AS overdue_ms,
    {time:s.last_nominal_ms} AS last_nominal, s.last_request, r.state AS last_state
FROM tide_schedules s LEFT JOIN tide_requests r ON r.id = s.last_request;

CREATE VIEW occurrences AS
SELECT o.schedule, {time:o.nominal_ms} AS nominal, {time:o.fired_ms} AS fired, o.fired_ms - o.nominal_ms AS late_ms, o.outcome,
    o.term, o.request_id, r.state
FROM tide_occurrences o LEFT JOIN tide_requests r ON r.id = o.request_id;

CREATE VIEW alerts AS
SELECT a.id, a.code, a.schedule, a.occurrences, {time:a.first_nominal_ms} AS first_nominal, {time:a.last_nominal_ms} AS last_nominal,
    a.message, {time:a.at_ms} AS at
FROM tide_alerts a;
";

const DOWN: &str = "
DROP VIEW IF EXISTS alerts;
DROP VIEW IF EXISTS occurrences;
DROP VIEW IF EXISTS schedules;
DROP TABLE IF EXISTS tide_alerts;
DROP INDEX IF EXISTS tide_requests_schedule;
DROP INDEX IF EXISTS tide_requests_window;
ALTER TABLE tide_requests DROP COLUMN window_end_ms;
DELETE FROM tide_meta WHERE name = 'zone_data';
DELETE FROM tide_occurrences WHERE outcome <> 'started';
ALTER TABLE tide_requests DROP COLUMN schedule;
ALTER TABLE tide_occurrences DROP COLUMN outcome;
ALTER TABLE tide_schedules DROP COLUMN through_ms;
ALTER TABLE tide_schedules DROP COLUMN zone;

CREATE VIEW schedules AS
SELECT s.name AS schedule, s.verb, s.object, s.spec, {time:s.next_due_ms} AS next_due, {time:s.last_nominal_ms} AS last_nominal,
    s.last_request, r.state AS last_state
FROM tide_schedules s LEFT JOIN tide_requests r ON r.id = s.last_request;

CREATE VIEW occurrences AS
SELECT o.schedule, {time:o.nominal_ms} AS nominal, {time:o.fired_ms} AS fired, o.fired_ms - o.nominal_ms AS late_ms, o.term,
    o.request_id, r.state
FROM tide_occurrences o LEFT JOIN tide_requests r ON r.id = o.request_id;
";
