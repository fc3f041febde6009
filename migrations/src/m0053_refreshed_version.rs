//! The fleet's version that a distributor was refreshed at last: at the same one its next refresh has nothing to put in effect.

use crate::sql::Script;

pub const SCRIPT: Script = Script { name: "m0053_refreshed_version", up: UP, down: DOWN };

const UP: &str = "
ALTER TABLE tide_objects ADD COLUMN refreshed_version BIGINT;
";

const DOWN: &str = "
ALTER TABLE tide_objects DROP COLUMN refreshed_version;
";
