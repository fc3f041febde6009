//! How a day becomes instants: a time of day or a window, repeats within it, a random start. It does not know which days.

use jiff::ToSpan;
use jiff::civil::{Date, DateTime, Time};
use uuid::Uuid;

use super::Occurrence;
use super::civil::Zone;

#[derive(Debug, Clone)]
pub(super) struct Opening {
    /// When the first occurrence of the day is.
    pub first: LocalTime,
    pub window: Option<Window>,
    /// Again and again until the window ends.
    pub repeat_ms: Option<i64>,
    /// The seed of a random start.
    pub random: Option<String>,
}

/// A time of the day on which the window opens, or of the day after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LocalTime {
    pub time: Time,
    pub next_day: bool,
}

/// From its start until right before its end, which may lie on the next day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    pub start: Time,
    pub end: LocalTime,
}

/// One day's occurrences.
#[derive(Debug)]
pub(super) struct Day {
    pub opens_ms: i64,
    pub ends_ms: i64,
    first_ms: i64,
    offset_ms: i64,
    repeat_ms: Option<i64>,
}

impl LocalTime {
    fn on(self, date: Date) -> Option<DateTime> {
        let date = if self.next_day { date.tomorrow().ok()? } else { date };
        Some(date.to_datetime(self.time))
    }
}

impl Window {
    /// By the clock's dial, without any change of offset.
    pub fn length_s(&self) -> i64 {
        let at = |time: Time| i64::from(time.hour()) * 3_600 + i64::from(time.minute()) * 60 + i64::from(time.second());
        at(self.end.time) - at(self.start) + if self.end.next_day { 86_400 } else { 0 }
    }
}

impl Opening {
    pub fn has_window(&self) -> bool {
        self.window.is_some()
    }

    pub fn on(&self, date: Date, zone: &Zone) -> Option<Day> {
        let first_ms = zone.instant_ms(self.first.on(date)?)?;
        let Some(window) = &self.window else {
            return Some(Day { opens_ms: first_ms, ends_ms: first_ms + 1, first_ms, offset_ms: 0, repeat_ms: None });
        };
        let opens_ms = zone.instant_ms(date.to_datetime(window.start))?;
        let ends_ms = self.end_ms(window, date, opens_ms, zone)?;
        let first_ms = first_ms.clamp(opens_ms, ends_ms - 1);
        let offset_ms = self.offset_ms(first_ms, ends_ms);
        Some(Day { opens_ms, ends_ms, first_ms, offset_ms, repeat_ms: self.repeat_ms })
    }

    /// A window that a change of offset swallows whole opens at the change and stays open for its length, but not into the next
    /// day's window.
    fn end_ms(&self, window: &Window, date: Date, opens_ms: i64, zone: &Zone) -> Option<i64> {
        let ends_ms = zone.instant_ms(window.end.on(date)?)?;
        if ends_ms > opens_ms {
            return Some(ends_ms);
        }
        let tomorrow_ms = zone.instant_ms(date.checked_add(1.day()).ok()?.to_datetime(window.start))?;
        let whole_ms = opens_ms + window.length_s() * 1_000;
        Some(if tomorrow_ms > opens_ms { whole_ms.min(tomorrow_ms) } else { whole_ms })
    }

    /// Whole seconds within the window, or within the first repeat where there is one.
    fn offset_ms(&self, first_ms: i64, ends_ms: i64) -> i64 {
        let Some(seed) = &self.random else { return 0 };
        let room_ms = (ends_ms - first_ms).min(self.repeat_ms.unwrap_or(i64::MAX));
        let chance = Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("tidegate/start/{seed}/{first_ms}").as_bytes());
        let seconds = u128::try_from(room_ms / 1_000).unwrap_or(0).max(1);
        (chance.as_u128() % seconds) as i64 * 1_000
    }
}

impl Day {
    /// The first of the day's occurrences that starts strictly after an instant.
    pub fn next(&self, after_ms: i64) -> Option<Occurrence> {
        let start_ms = self.first_ms + self.offset_ms;
        let skipped_ms = match self.repeat_ms {
            _ if after_ms < start_ms => 0,
            Some(repeat_ms) => ((after_ms - start_ms) / repeat_ms + 1) * repeat_ms,
            None => return None,
        };
        let found = Occurrence { nominal_ms: self.first_ms + skipped_ms, start_ms: start_ms + skipped_ms };
        (found.start_ms < self.ends_ms).then_some(found)
    }
}
