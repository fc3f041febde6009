//! Schedules that wait for something other than time: which event or extraction, what has become due by it, and which start of
//! a site was seen last.

use crate::sql::Script;

pub const SCRIPT: Script = Script { name: "m0040_events", up: UP, down: DOWN };

const UP: &str = "
ALTER TABLE tide_schedules ADD COLUMN awaits TEXT;
CREATE INDEX tide_schedules_awaits ON tide_schedules (awaits) WHERE awaits IS NOT NULL;
ALTER TABLE tide_occurrences ADD COLUMN cause TEXT;
CREATE UNIQUE INDEX tide_occurrences_cause ON tide_occurrences (schedule, cause) WHERE cause IS NOT NULL;
ALTER TABLE tide_sites ADD COLUMN run TEXT;

CREATE TABLE tide_due (
    id {serial},
    schedule TEXT NOT NULL,
    awaits TEXT NOT NULL,
    cause TEXT NOT NULL,
    distribution TEXT,
    revision BIGINT,
    nominal_ms BIGINT NOT NULL,
    due_ms BIGINT NOT NULL
);
CREATE UNIQUE INDEX tide_due_cause ON tide_due (schedule, cause);
CREATE INDEX tide_due_when ON tide_due (due_ms);

DROP VIEW occurrences;
CREATE VIEW occurrences AS
SELECT o.schedule, {time:o.nominal_ms} AS nominal, {time:o.fired_ms} AS fired, o.fired_ms - o.nominal_ms AS late_ms, o.outcome,
    o.cause, o.term, o.request_id, r.state
FROM tide_occurrences o LEFT JOIN tide_requests r ON r.id = o.request_id;
";

const DOWN: &str = "
DROP VIEW occurrences;
DROP TABLE tide_due;
ALTER TABLE tide_sites DROP COLUMN run;
DROP INDEX tide_occurrences_cause;
DELETE FROM tide_occurrences WHERE cause IS NOT NULL;
ALTER TABLE tide_occurrences DROP COLUMN cause;
DROP INDEX tide_schedules_awaits;
ALTER TABLE tide_schedules DROP COLUMN awaits;

CREATE VIEW occurrences AS
SELECT o.schedule, {time:o.nominal_ms} AS nominal, {time:o.fired_ms} AS fired, o.fired_ms - o.nominal_ms AS late_ms, o.outcome,
    o.term, o.request_id, r.state
FROM tide_occurrences o LEFT JOIN tide_requests r ON r.id = o.request_id;
";
