//! Schedules as rows: when each is due next, how far it was judged, and what it belongs to. What a rule means is `domain`'s.
//!
//! - `rows`: what `apply` writes.
//! - `tick`: what is due becomes requests.
//! - `due`: what an event or another's extraction makes due.
//! - `overlap`: what becomes of an occurrence while the last one's work still runs.
//! - `pile`: what becomes of it at a site that gets nothing done.
//! - `windows`: what had not begun when its window closed begins no more.
//! - `alerts`: what did not happen.

mod alerts;
mod due;
mod overlap;
mod pile;
mod rows;
mod tick;
mod windows;

use domain::schedule::{Schedule, ScheduleFault, Setting};
use sea_orm::FromQueryResult;

pub use due::OwnEvent;
pub(crate) use pile::take_the_place;
pub use rows::Settling;
pub(crate) use rows::{rename, write};
pub use tick::Fired;
pub(crate) use windows::{Resumption, STOPPED, bind, note_stops, resumptions};

use crate::db::{Records, RecordsError};
use crate::sql;

/// A schedule as it stands.
#[derive(Debug, Clone, FromQueryResult)]
pub struct ScheduleRow {
    /// `build/antivirus`
    pub name: String,
    pub verb: String,
    pub object: String,
    /// The rule as JSON.
    pub spec: String,
    /// The zone of its object; the rule may have one of its own.
    pub zone: String,
    pub anchor_ms: i64,
    /// Everything up to here has been judged.
    pub through_ms: Option<i64>,
    pub next_due_ms: Option<i64>,
}

const COLUMNS: &str = "name, verb, object, spec, zone, anchor_ms, through_ms, next_due_ms";

impl ScheduleRow {
    /// The rule, made ready.
    pub fn rule(&self) -> Result<Schedule, RecordsError> {
        let declared: schemas::Schedule = serde_json::from_str(&self.spec)?;
        read(&declared, &self.name, &self.zone, self.anchor_ms)
    }

    fn judged_through_ms(&self) -> i64 {
        self.through_ms.unwrap_or(self.anchor_ms).max(self.anchor_ms)
    }
}

impl Records {
    pub async fn schedule(&self, name: &str) -> Result<Option<ScheduleRow>, RecordsError> {
        let text = format!("SELECT {COLUMNS} FROM tide_schedules WHERE name = $1");
        Ok(sql::row(self.reader(), &text, vec![name.into()]).await?)
    }
}

fn read(declared: &schemas::Schedule, name: &str, zone: &str, anchor_ms: i64) -> Result<Schedule, RecordsError> {
    Schedule::read(declared, Setting { zone, anchor_ms, seed: name }).map_err(|faults: Vec<ScheduleFault>| {
        let told = faults.first().map(ToString::to_string).unwrap_or_default();
        RecordsError::Corrupt(format!("schedule {name}: {told}"))
    })
}
