//! When the leader retires revisions and asks for garbage collections. It knows no revision: rules and rows decide.

use std::time::Duration;

use records::CollectTimes;

pub const GRACE_DEFAULT: Duration = Duration::from_secs(24 * 3_600);
const EVERY_MIN: Duration = Duration::from_millis(500);
const EVERY_MAX: Duration = Duration::from_secs(60);

/// All of it follows from how long what is condemned waits.
#[derive(Debug, Clone, Copy)]
pub struct Retention {
    pub grace: Duration,
}

impl Default for Retention {
    fn default() -> Retention {
        Retention { grace: GRACE_DEFAULT }
    }
}

impl Retention {
    pub(crate) fn times(&self) -> CollectTimes {
        CollectTimes::of_grace(self.grace)
    }

    /// How often it looks for what is to retire or to be collected.
    pub(crate) fn every(&self) -> Duration {
        (self.grace / 2).clamp(EVERY_MIN, EVERY_MAX)
    }

    /// Each store is looked through for orphans once in a grace.
    pub(crate) fn list_every_ms(&self) -> i64 {
        self.times().grace_ms
    }
}
