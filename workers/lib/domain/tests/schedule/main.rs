//! The schedule model, proved from outside: tables of dates known from elsewhere, a model that walks minute by minute, and the
//! programs whose cron dialects are read.

mod cron_dialects;
mod documents;
mod judging;
mod kinds;
mod known_dates;
mod properties;
mod published_tuesdays;
mod reference;
mod refusals;
mod zones;

use domain::schedule::{Occurrence, Schedule, ScheduleFault, Setting};
use jiff::Timestamp;
use jiff::civil::DateTime;
use serde_json::Value;

/// Read from JSON, which is how definitions reach it.
pub fn read(rule: Value, zone: &str) -> Result<Schedule, Vec<ScheduleFault>> {
    let declared: schemas::Schedule = serde_json::from_value(rule).unwrap();
    Schedule::read(&declared, Setting { zone, anchor_ms: ms("2024-01-01T00:00:00Z"), seed: "send/protect" })
}

pub fn schedule(rule: Value, zone: &str) -> Schedule {
    let shown = rule.to_string();
    read(rule, zone).unwrap_or_else(|faults| panic!("{shown}: {faults:?}"))
}

pub fn ms(instant: &str) -> i64 {
    instant.parse::<Timestamp>().unwrap().as_millisecond()
}

/// The instant of a local time that exists once.
pub fn local_ms(local: &str, zone: &str) -> i64 {
    let local: DateTime = local.parse().unwrap();
    local.in_tz(zone).unwrap().timestamp().as_millisecond()
}

pub fn utc(ms: i64) -> String {
    Timestamp::from_millisecond(ms).unwrap().to_string()
}

/// The starts in `[from, until)`.
pub fn starts(schedule: &Schedule, from_ms: i64, until_ms: i64) -> Vec<i64> {
    occurrences(schedule, from_ms, until_ms).into_iter().map(|found| found.start_ms).collect()
}

pub fn occurrences(schedule: &Schedule, from_ms: i64, until_ms: i64) -> Vec<Occurrence> {
    let mut all = Vec::new();
    let mut next = schedule.next(from_ms - 1);
    while let Some(found) = next.filter(|found| found.start_ms < until_ms) {
        all.push(found);
        next = schedule.next(found.start_ms);
    }
    all
}

/// Numbers from a seed, so that a failure can be repeated.
pub struct Numbers(u64);

impl Numbers {
    pub fn of(seed: u64) -> Numbers {
        Numbers(seed)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}
