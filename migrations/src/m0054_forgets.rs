//! Which sites have not been told yet that a distribution is gone.

use crate::sql::Script;

pub const SCRIPT: Script = Script { name: "m0054_forgets", up: UP, down: DOWN };

const UP: &str = "
CREATE TABLE tide_forgets (
    subscriber TEXT NOT NULL,
    store TEXT NOT NULL,
    PRIMARY KEY (subscriber, store)
);
";

const DOWN: &str = "
DROP TABLE tide_forgets;
";
