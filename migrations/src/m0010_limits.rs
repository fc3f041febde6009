//! What distributors may have out at a time, and what of their definitions is in effect until their refresh.

use crate::sql::Script;

pub const SCRIPT: Script = Script { name: "m0010_limits", up: UP, down: DOWN };

/// `tide_distributors` is written with each change of definitions, from what is in effect. `in_effect` holds what a waiting
/// change would replace; NULL: the specification itself is in effect.
const UP: &str = "
CREATE TABLE tide_distributors (
    distributor TEXT PRIMARY KEY,
    concurrent_builds INTEGER,
    concurrent_sends INTEGER,
    rate_high BIGINT,
    rate_medium BIGINT,
    rate_low BIGINT,
    working_dir TEXT
);
CREATE INDEX tide_jobs_out ON tide_jobs (distributor, kind) WHERE state IN ('queued', 'running');
ALTER TABLE tide_objects ADD COLUMN in_effect TEXT;
ALTER TABLE tide_objects ADD COLUMN in_effect_version BIGINT;
ALTER TABLE tide_objects ADD COLUMN activated_ms BIGINT;
INSERT INTO tide_meta (name, number) SELECT 'active_version', number FROM tide_meta WHERE name = 'fleet_version';
";

const DOWN: &str = "
DELETE FROM tide_meta WHERE name = 'active_version';
ALTER TABLE tide_objects DROP COLUMN activated_ms;
ALTER TABLE tide_objects DROP COLUMN in_effect_version;
ALTER TABLE tide_objects DROP COLUMN in_effect;
DROP INDEX tide_jobs_out;
DROP TABLE tide_distributors;
";
