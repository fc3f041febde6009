//! When a schedule is due: every kind, windows, zones, catch-up. It does not know what is done then, and reads no clock and
//! no chance: instants and seeds are arguments.
//!
//! Everything rests on one function, `Schedule::next`; the rest (`latest`, `judge`) asks it. How a local time becomes an instant
//! is `civil`, which days a rule names is `days`, how a day becomes instants is `opening`.

mod civil;
mod compile;
mod cron;
mod days;
mod explain;
mod fault;
mod judge;
mod opening;
mod text;

use jiff::civil::DateTime;
use jiff::{Timestamp, ToSpan};

pub use civil::{Zone, ZoneFault, zone_data_version};
pub use compile::Setting;
pub use fault::{ScheduleFault, code};
pub use judge::{BESIDE_MAX, CAUGHT_UP_MAX, COUNTED_MAX, Judgement, Missed, ON_TIME_MS};
use schemas::schedule::{CatchUp, Overlap};

use cron::Cron;
use days::Days;
use opening::Opening;

/// The years that schedules speak of.
pub const YEAR_MIN: i16 = 1970;
pub const YEAR_MAX: i16 = 2199;
/// The closest that two occurrences of a schedule may follow each other, in seconds.
pub const DISTANCE_S_MIN: u64 = 5;
/// Days looked back from a local date: a window that opened the day before may still be open, and a zone may lack a day.
const DAYS_BACK: i32 = 3;

/// One instant that a schedule named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Occurrence {
    /// Milliseconds since 1970; with the schedule it names the occurrence. For a random start, the instant without it.
    pub nominal_ms: i64,
    /// When work is to start.
    pub start_ms: i64,
}

/// A rule that was read, with its zone, what it counts from, and the seed of its random start.
#[derive(Debug, Clone)]
pub struct Schedule {
    kind: Kind,
    zone: Zone,
    pub catch_up: CatchUp,
    pub overlap: Overlap,
    /// What runs when its window ends stops, and goes on in the next.
    pub stop_at_end: bool,
}

#[derive(Debug, Clone)]
enum Kind {
    Never,
    /// Driven by what happens, not by time.
    Immediately,
    Event(String),
    After {
        subscriber: String,
        delay_s: u64,
    },
    Once(DateTime),
    /// `from_ms + k * every_ms` for k from 0.
    Elapsed {
        from_ms: i64,
        every_ms: i64,
    },
    Days(Days, Opening),
    Cron(Cron),
}

impl Schedule {
    /// The first occurrence that starts strictly after `after_ms`. Starts and nominal instants are strictly increasing.
    pub fn next(&self, after_ms: i64) -> Option<Occurrence> {
        match &self.kind {
            Kind::Never | Kind::Immediately | Kind::Event(_) | Kind::After { .. } => None,
            Kind::Once(at) => Some(self.zone.instant_ms(*at)?).filter(|ms| *ms > after_ms).map(at_nominal),
            Kind::Elapsed { from_ms, every_ms } => elapsed(*from_ms, *every_ms, after_ms).map(at_nominal),
            Kind::Days(days, opening) => self.next_of_days(days, opening, after_ms),
            Kind::Cron(cron) => self.next_of_cron(cron, after_ms),
        }
    }

    /// True for the kinds that time alone makes due.
    pub fn is_timed(&self) -> bool {
        !matches!(self.kind, Kind::Never | Kind::Immediately | Kind::Event(_) | Kind::After { .. })
    }

    /// What it waits for, if that is not time: `event/NAME` or `after/SUBSCRIBER`.
    pub fn awaits(&self) -> Option<String> {
        match &self.kind {
            Kind::Event(event) => Some(format!("event/{event}")),
            Kind::After { subscriber, .. } => Some(format!("after/{subscriber}")),
            _ => None,
        }
    }

    /// How long after what it waits for it is due, in milliseconds.
    pub fn delay_ms(&self) -> i64 {
        match &self.kind {
            Kind::After { delay_s, .. } => i64::try_from(*delay_s).unwrap_or(i64::MAX).saturating_mul(1_000),
            _ => 0,
        }
    }

    /// The first window that is open after this instant, or at it: when it opens, or this instant, and when it ends.
    pub fn window_from(&self, at_ms: i64) -> Option<(i64, i64)> {
        let opens_ms = if self.window_end(at_ms).is_some() { at_ms } else { self.next_opening(at_ms)? };
        Some((opens_ms, self.window_end(opens_ms)?))
    }

    /// The IANA name of the zone that its local times are of.
    pub fn zone_name(&self) -> &str {
        self.zone.name()
    }

    pub fn zone(&self) -> &Zone {
        &self.zone
    }

    /// Whether work may start at this instant; always, for a schedule without a window.
    pub fn is_open(&self, at_ms: i64) -> bool {
        !self.has_window() || self.window_end(at_ms).is_some()
    }

    /// When the window that is open at this instant ends; `None` if none is open, or without a window.
    pub fn window_end(&self, at_ms: i64) -> Option<i64> {
        let Kind::Days(days, opening) = &self.kind else { return None };
        if !opening.has_window() {
            return None;
        }
        let mut date = self.first_date(days, at_ms)?;
        loop {
            let day = opening.on(date, &self.zone)?;
            if day.opens_ms > at_ms {
                return None;
            }
            if at_ms < day.ends_ms {
                return Some(day.ends_ms);
            }
            date = days.after(date)?;
        }
    }

    fn has_window(&self) -> bool {
        matches!(&self.kind, Kind::Days(_, opening) if opening.has_window())
    }

    /// The next instant at which its window opens; `None` without a window.
    pub fn next_opening(&self, after_ms: i64) -> Option<i64> {
        let Kind::Days(days, opening) = &self.kind else { return None };
        if !opening.has_window() {
            return None;
        }
        let mut date = self.first_date(days, after_ms)?;
        loop {
            let day = opening.on(date, &self.zone)?;
            if day.opens_ms > after_ms {
                return Some(day.opens_ms);
            }
            date = days.after(date)?;
        }
    }

    fn next_of_days(&self, days: &Days, opening: &Opening, after_ms: i64) -> Option<Occurrence> {
        let mut date = self.first_date(days, after_ms)?;
        loop {
            if let Some(found) = opening.on(date, &self.zone)?.next(after_ms) {
                return Some(found);
            }
            date = days.after(date)?;
        }
    }

    /// The first date of the rule whose occurrences may still start after this instant.
    fn first_date(&self, days: &Days, after_ms: i64) -> Option<jiff::civil::Date> {
        let local = self.zone.local(after_ms)?.date();
        days.on_or_after(local.checked_sub(DAYS_BACK.days()).unwrap_or(local))
    }

    /// Local times are searched from the local time of `after_ms`. In the second pass of an hour that happens twice, those of
    /// the first pass are over: the search goes on behind the hour.
    fn next_of_cron(&self, cron: &Cron, after_ms: i64) -> Option<Occurrence> {
        let mut local = self.zone.resume_after(after_ms)?;
        loop {
            let candidate = cron.next(local)?;
            let ms = self.zone.instant_ms(candidate)?;
            if ms > after_ms {
                return Some(at_nominal(ms));
            }
            local = candidate;
        }
    }

    /// The latest occurrence that starts in `(after_ms, until_ms]`, by bisection: its cost does not follow their number.
    pub fn latest(&self, after_ms: i64, until_ms: i64) -> Option<Occurrence> {
        let mut found = self.next(after_ms).filter(|first| first.start_ms <= until_ms)?;
        let mut beyond_ms = until_ms;
        loop {
            match self.next(found.start_ms) {
                Some(next) if next.start_ms <= until_ms => found = next,
                _ => return Some(found),
            }
            let middle_ms = found.start_ms + (beyond_ms - found.start_ms) / 2;
            match self.next(middle_ms) {
                Some(next) if next.start_ms <= until_ms => found = next,
                _ => beyond_ms = middle_ms,
            }
        }
    }
}

fn at_nominal(ms: i64) -> Occurrence {
    Occurrence { nominal_ms: ms, start_ms: ms }
}

fn elapsed(from_ms: i64, every_ms: i64, after_ms: i64) -> Option<i64> {
    if after_ms < from_ms {
        return Some(from_ms);
    }
    let passed = after_ms.checked_sub(from_ms)? / every_ms;
    from_ms.checked_add(passed.checked_add(1)?.checked_mul(every_ms)?).filter(|ms| *ms <= last_ms())
}

/// The end of the years that schedules speak of.
fn last_ms() -> i64 {
    jiff::civil::date(YEAR_MAX, 12, 31)
        .at(23, 59, 59, 0)
        .to_zoned(jiff::tz::TimeZone::UTC)
        .map_or(i64::MAX, |end| Timestamp::from(end).as_millisecond())
}
