//! Cron expressions in two dialects, as sets of local times. It knows no zone: what a skipped or doubled local time becomes is
//! decided where local times become instants, the same for all kinds (SPEC S4).
//!
//! The dialects are those of the crates `cron`, which reads its own, and `croner`; the tests hold what comes out against both.

mod by_crate;
mod croner;
mod fields;

use jiff::civil::{Date, DateTime, Weekday, date};
use schemas::schedule::CronDialect;

use super::{YEAR_MAX, YEAR_MIN};
use fields::{DaysOfMonth, DaysOfWeek, Set};

/// Longest expression that is read, in bytes.
const EXPRESSION_BYTES_MAX: usize = 400;

/// What is wrong with an expression.
pub(super) type CronFault = String;

pub(super) fn parse(text: &str, dialect: CronDialect) -> Result<Cron, CronFault> {
    if text.len() > EXPRESSION_BYTES_MAX {
        return Err(format!("the expression has {} bytes; at most {EXPRESSION_BYTES_MAX} are read", text.len()));
    }
    match dialect {
        CronDialect::Cron => by_crate::read(text.trim()),
        CronDialect::Croner => croner::read(text.trim()),
    }
}

#[derive(Debug, Clone)]
pub(super) struct Cron {
    pub text: String,
    seconds: Set,
    minutes: Set,
    hours: Set,
    months: Set,
    /// `None` is every year.
    years: Option<Vec<i16>>,
    days_of_month: DaysOfMonth,
    days_of_week: DaysOfWeek,
    both: Combination,
}

/// Which days count where both day fields say something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Combination {
    Both,
    Either,
    OnlyDayOfMonth,
    OnlyDayOfWeek,
}

impl Cron {
    /// The first local time strictly after this one.
    pub fn next(&self, after: DateTime) -> Option<DateTime> {
        let whole = after.with().subsec_nanosecond(0).build().ok()?;
        let from = whole.checked_add(jiff::Span::new().seconds(1)).ok()?.max(date(YEAR_MIN, 1, 1).at(0, 0, 0, 0));
        if let Some(found) = self.next_in_month(from) {
            return Some(found);
        }
        let mut first = from.date().first_of_month();
        while first.year() <= YEAR_MAX {
            first = first.last_of_month().tomorrow().ok()?;
            if let Some(found) = self.next_in_month(first.at(0, 0, 0, 0)) {
                return Some(found);
            }
        }
        None
    }

    /// Seconds between two occurrences of one minute, at least: `None` if a minute has one.
    pub fn seconds_apart_min(&self) -> Option<u32> {
        let seconds: Vec<u32> = (0..60).filter(|s| self.seconds.has(*s)).collect();
        let around = seconds.first().zip(seconds.last()).map(|(first, last)| first + 60 - last);
        let inner = seconds.windows(2).map(|pair| pair[1] - pair[0]).min();
        (seconds.len() > 1).then(|| inner.into_iter().chain(around).min()).flatten()
    }

    fn next_in_month(&self, from: DateTime) -> Option<DateTime> {
        let day = from.date();
        let in_years = self.years.as_ref().is_none_or(|years| years.contains(&day.year())) && day.year() <= YEAR_MAX;
        if !in_years || !self.months.has(day.month() as u32) {
            return None;
        }
        let days = self.days(day.first_of_month());
        if days.has(day.day() as u32)
            && let Some(found) = self.next_in_day(from)
        {
            return Some(found);
        }
        let later = days.from(day.day() as u32 + 1)?;
        self.next_in_day(day.with().day(later as i8).build().ok()?.at(0, 0, 0, 0))
    }

    fn next_in_day(&self, from: DateTime) -> Option<DateTime> {
        let (hour, minute, second) = (from.hour() as u32, from.minute() as u32, from.second() as u32);
        let time = if self.hours.has(hour) {
            let within_minute = self.minutes.has(minute).then(|| self.seconds.from(second)).flatten();
            match (within_minute, self.minutes.from(minute + 1)) {
                (Some(second), _) => Some((hour, minute, second)),
                (None, Some(minute)) => Some((hour, minute, self.seconds.from(0)?)),
                (None, None) => None,
            }
        } else {
            None
        };
        let (hour, minute, second) = match time {
            Some(time) => time,
            None => (self.hours.from(hour + 1)?, self.minutes.from(0)?, self.seconds.from(0)?),
        };
        Some(from.date().at(hour as i8, minute as i8, second as i8, 0))
    }

    /// The days of the month that begins at `first`, as a set.
    fn days(&self, first: Date) -> Set {
        let length = first.days_in_month() as u32;
        let weekday = first.weekday();
        let of_month = self.days_of_month.in_month(length, weekday);
        let of_week = self.days_of_week.in_month(length, weekday);
        match self.both {
            Combination::Both => of_month.and(of_week),
            Combination::Either => of_month.or(of_week),
            Combination::OnlyDayOfMonth => of_month,
            Combination::OnlyDayOfWeek => of_week,
        }
    }
}

/// The weekday of a day of a month whose first day is of the given weekday.
fn weekday_of(first: Weekday, day: u32) -> u32 {
    (first.to_sunday_zero_offset() as u32 + day - 1) % 7
}
