//! Work that stops when its window ends and goes on in the next one (SPEC S3): whose request says so, and until when a job may run.

use crate::sql::Script;

pub const SCRIPT: Script = Script { name: "m0041_stops", up: UP, down: DOWN };

const UP: &str = "
ALTER TABLE tide_requests ADD COLUMN window_stops INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tide_jobs ADD COLUMN stop_at_ms BIGINT;
";

const DOWN: &str = "
ALTER TABLE tide_jobs DROP COLUMN stop_at_ms;
ALTER TABLE tide_requests DROP COLUMN window_stops;
";
