//! What the fields of a cron expression hold: sets of small numbers, and the days that depend on the month.

use jiff::civil::Weekday;

use super::weekday_of;

const SATURDAY: u32 = 6;
const SUNDAY: u32 = 0;

/// A set of numbers from 0 to 63.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Set(u64);

impl Set {
    pub fn insert(&mut self, number: u32) {
        self.0 |= 1 << number;
    }

    pub fn has(self, number: u32) -> bool {
        number < 64 && self.0 >> number & 1 == 1
    }

    /// The smallest that is at least `number`.
    pub fn from(self, number: u32) -> Option<u32> {
        let rest = if number < 64 { self.0 >> number } else { 0 };
        (rest != 0).then(|| number + rest.trailing_zeros())
    }

    pub fn and(self, other: Set) -> Set {
        Set(self.0 & other.0)
    }

    pub fn or(self, other: Set) -> Set {
        Set(self.0 | other.0)
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

#[derive(Debug, Clone, Default)]
pub(super) struct DaysOfMonth {
    pub days: Set,
    /// `L`
    pub last: bool,
    /// `LW`: the last of Monday to Friday.
    pub last_working: bool,
    /// `15W`: of Monday to Friday the one that is closest, within the month.
    pub closest: Set,
}

impl DaysOfMonth {
    pub fn in_month(&self, length: u32, first: Weekday) -> Set {
        let mut found = Set::default();
        for day in 1..=length {
            if self.days.has(day) {
                found.insert(day);
            }
            if self.closest.has(day) {
                found.insert(closest_working(day, length, first));
            }
        }
        if self.last {
            found.insert(length);
        }
        if self.last_working {
            found.insert(match weekday_of(first, length) {
                SATURDAY => length - 1,
                SUNDAY => length - 2,
                _ => length,
            });
        }
        found
    }

    pub fn is_empty(&self) -> bool {
        self.days.is_empty() && !self.last && !self.last_working && self.closest.is_empty()
    }
}

fn closest_working(day: u32, length: u32, first: Weekday) -> u32 {
    match weekday_of(first, day) {
        SATURDAY if day > 1 => day - 1,
        SATURDAY => day + 2,
        SUNDAY if day < length => day + 1,
        SUNDAY => day - 2,
        _ => day,
    }
}

/// Weekdays from Sunday = 0.
#[derive(Debug, Clone, Default)]
pub(super) struct DaysOfWeek {
    pub every: Set,
    /// By `nth - 1`, weekday 0 to 6.
    pub nth: [Set; 5],
    /// The last of its kind in the month.
    pub last: Set,
}

impl DaysOfWeek {
    pub fn in_month(&self, length: u32, first: Weekday) -> Set {
        let mut found = Set::default();
        for day in 1..=length {
            let weekday = weekday_of(first, day);
            let nth = self.nth[((day - 1) / 7) as usize];
            if self.every.has(weekday) || nth.has(weekday) || (self.last.has(weekday) && day + 7 > length) {
                found.insert(day);
            }
        }
        found
    }

    pub fn is_empty(&self) -> bool {
        self.every.is_empty() && self.last.is_empty() && self.nth.iter().all(|set| set.is_empty())
    }
}
