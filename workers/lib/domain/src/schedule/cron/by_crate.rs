//! Reads an expression of the dialect `cron` by the crate `cron`. Only its sets of numbers are taken: its walk through instants
//! follows other rules than SPEC S4 where the clocks change.

use std::str::FromStr;

use cron::{Schedule, TimeUnitSpec};

use super::fields::{DaysOfMonth, DaysOfWeek, Set};
use super::{Combination, Cron, CronFault};
use crate::schedule::{YEAR_MAX, YEAR_MIN};

pub(super) fn read(text: &str) -> Result<Cron, CronFault> {
    let read = Schedule::from_str(text).map_err(|error| error.to_string())?;
    Ok(Cron {
        text: text.to_owned(),
        seconds: set(read.seconds(), 0),
        minutes: set(read.minutes(), 0),
        hours: set(read.hours(), 0),
        months: set(read.months(), 0),
        years: years(read.years()),
        days_of_month: DaysOfMonth { days: set(read.days_of_month(), 0), ..DaysOfMonth::default() },
        // It counts from Sunday = 1.
        days_of_week: DaysOfWeek { every: set(read.days_of_week(), 1), ..DaysOfWeek::default() },
        both: Combination::Both,
    })
}

fn set(numbers: &impl TimeUnitSpec, offset: u32) -> Set {
    let mut set = Set::default();
    numbers.iter().for_each(|number| set.insert(number - offset));
    set
}

fn years(years: &impl TimeUnitSpec) -> Option<Vec<i16>> {
    let known = YEAR_MIN as u32..=YEAR_MAX as u32;
    (!years.is_all()).then(|| years.iter().filter(|year| known.contains(year)).map(|year| year as i16).collect())
}
