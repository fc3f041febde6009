//! Which days a rule names, by arithmetic and never by walking the calendar. It knows no time of day and no zone.

use jiff::civil::{Date, Weekday, date};
use jiff::{Span, ToSpan};
use schemas::schedule::ShortMonth;

use super::{YEAR_MAX, YEAR_MIN};

/// Months from one month that has such a day to the next, at most: a fifth weekday or a 31st comes within three, and 29 February
/// within eight years.
const MONTHS_TRIED_MAX: i32 = 12 * 9;
/// A delay reaches back so many months: 31 days may cross a whole February.
const MONTHS_BACK: i32 = 2;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Days {
    Weekdays(Weekdays),
    /// Every n days, counted from a date.
    Every {
        days: i32,
        from: Date,
    },
    Monthly {
        on: DayInMonth,
        delay_days: i32,
    },
    Yearly {
        month: i8,
        on: DayInMonth,
        delay_days: i32,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum DayInMonth {
    Day {
        day: i8,
        short: ShortMonth,
    },
    Last,
    /// 1 to 5, or -1 for the last.
    Weekday {
        nth: i8,
        weekday: Weekday,
    },
}

/// A set of weekdays, Monday first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Weekdays(pub u8);

impl Weekdays {
    pub const ALL: Weekdays = Weekdays(0b111_1111);

    pub fn one(day: Weekday) -> Weekdays {
        Weekdays(1 << day.to_monday_zero_offset())
    }

    pub fn with(self, day: Weekday) -> Weekdays {
        Weekdays(self.0 | Weekdays::one(day).0)
    }

    pub fn has(self, day: Weekday) -> bool {
        self.0 & Weekdays::one(day).0 != 0
    }
}

impl Days {
    pub fn after(&self, day: Date) -> Option<Date> {
        self.on_or_after(day.tomorrow().ok()?)
    }

    /// The first day of the rule from `day` on, within the years that schedules speak of.
    pub fn on_or_after(&self, day: Date) -> Option<Date> {
        let day = day.max(date(YEAR_MIN, 1, 1));
        let found = match self {
            Days::Weekdays(days) => (0..7).find_map(|n| {
                let candidate = day.checked_add(n.days()).ok()?;
                days.has(candidate.weekday()).then_some(candidate)
            }),
            Days::Every { days, from } => every(*days, *from, day),
            Days::Monthly { on, delay_days } => months(day, |_| true, on, *delay_days),
            Days::Yearly { month, on, delay_days } => months(day, |m| m == *month, on, *delay_days),
        };
        found.filter(|found| found.year() <= YEAR_MAX)
    }
}

fn every(days: i32, from: Date, day: Date) -> Option<Date> {
    if day <= from {
        return Some(from);
    }
    let passed = from.until(day).ok()?.get_days();
    let steps = (passed + days - 1) / days;
    from.checked_add(Span::new().try_days(i64::from(steps) * i64::from(days)).ok()?).ok()
}

fn months(day: Date, wanted: impl Fn(i8) -> bool, on: &DayInMonth, delay_days: i32) -> Option<Date> {
    let first = i32::from(day.year()) * 12 + i32::from(day.month()) - 1 - MONTHS_BACK;
    (first..=first + MONTHS_TRIED_MAX).find_map(|index| {
        let (year, month) = (i16::try_from(index.div_euclid(12)).ok()?, (index.rem_euclid(12) + 1) as i8);
        let anchor = if wanted(month) { on.of(Date::new(year, month, 1).ok()?)? } else { return None };
        anchor.checked_add(delay_days.days()).ok().filter(|found| *found >= day)
    })
}

impl DayInMonth {
    /// The day in the month that begins at `first`, if the month has it.
    fn of(&self, first: Date) -> Option<Date> {
        let length = first.days_in_month();
        match self {
            DayInMonth::Last => Some(first.last_of_month()),
            DayInMonth::Day { day, .. } if *day <= length => first.with().day(*day).build().ok(),
            DayInMonth::Day { short: ShortMonth::Last, .. } => Some(first.last_of_month()),
            DayInMonth::Day { short: ShortMonth::Skip, .. } => None,
            DayInMonth::Weekday { nth, weekday } => first.nth_weekday_of_month(*nth, *weekday).ok(),
        }
    }
}
