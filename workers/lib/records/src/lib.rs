//! The SQL database: the truth about requests, jobs, lanes, revisions and results, on PostgreSQL and on SQLite.
//! It knows no broker and no bytes of content; what must be published is handed back to the caller.

mod behind;
mod cancel;
mod clock;
mod compose;
mod condemned;
mod consoles;
mod db;
mod dead_letters;
mod definitions;
mod events;
mod finish;
mod forgets;
mod insert;
mod jobs;
mod lanes;
mod leases;
mod limits;
mod migrate;
mod origin;
mod promote;
mod publish;
mod query;
mod refresh;
mod requests;
mod results;
mod retention;
mod schedules;
mod sites;
mod snapshot;
mod sql;
mod sweep;

pub use cancel::{CancelOutcome, PauseOutcome};
pub use consoles::{CORE_OWNER_DIFFERS, Owners, SYNC_OWNER_DIFFERS};
pub use db::{Records, RecordsError};
pub use dead_letters::DeadLetter;
pub use definitions::{Applied, Change, Fleet, ObjectChange};
pub use insert::{Inserted, OnBad, PlannedJob, PlannedWait, Template};
pub use jobs::JobRow;
pub use leases::{Lease, Term};
pub use origin::KeptStore;
pub use publish::{Published, ToPublish};
pub use query::{Rows, Sheet};
pub use refresh::{Activate, Standing, Waiting};
pub use requests::{Acceptance, PendingRequest, REVISION_ORIGIN, RequestStatus};
pub use results::Recorded;
pub use retention::{
    CollectTimes, DueStore, Fate, Garbage, GarbagePlan, ORIGIN as COLLECTIONS_ORIGIN, Retired, Retirement,
};
pub use schedules::{Fired, OwnEvent, ScheduleRow, Settling};
pub use sites::{ControlToSend, SiteRow};
pub use snapshot::{Held, Revision, Snapshot};
pub use sweep::{Swept, Thresholds};

/// Jobs inserted, promoted or swept in one transaction.
pub const STEP_MAX: usize = 500;
/// Jobs of a site's lane that are published at a time: one runs, the others wait at the site (DESIGN §3).
pub const SITE_LANE_DEPTH: i32 = 2;
/// Builders share one queue, so a second published build would run beside the first.
pub const BUILD_LANE_DEPTH: i32 = 1;
/// How long a publisher has for its confirms before somebody else may publish the job again.
pub const CLAIM_MS: i64 = 15_000;
