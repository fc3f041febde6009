//! Reads what people write inside a schedule: times of day, dates, weekdays, intervals. It knows no option by name.

use jiff::civil::{Date, DateTime, Time, Weekday};

use super::days::Weekdays;
use super::opening::{LocalTime, Window};

pub(super) const WEEKDAYS: [(Weekday, &str, &str); 7] = [
    (Weekday::Monday, "mon", "monday"),
    (Weekday::Tuesday, "tue", "tuesday"),
    (Weekday::Wednesday, "wed", "wednesday"),
    (Weekday::Thursday, "thu", "thursday"),
    (Weekday::Friday, "fri", "friday"),
    (Weekday::Saturday, "sat", "saturday"),
    (Weekday::Sunday, "sun", "sunday"),
];

pub(super) const NTH: [(i8, &str); 6] =
    [(1, "first"), (2, "second"), (3, "third"), (4, "fourth"), (5, "fifth"), (-1, "last")];

/// `every` and `repeat_every`: elapsed time, or civil days, never both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Interval {
    Elapsed { seconds: u64 },
    Days(i32),
}

/// Days that `every` may count.
const DAYS_MAX: u64 = 366;

/// `02:00` or `02:00:30`.
pub(super) fn time(text: &str) -> Option<Time> {
    let mut parts = text.split(':');
    let hour = two_digits(parts.next()?)?;
    let minute = two_digits(parts.next()?)?;
    let second = match parts.next() {
        Some(second) => two_digits(second)?,
        None => 0,
    };
    if parts.next().is_some() { None } else { Time::new(hour, minute, second, 0).ok() }
}

fn two_digits(text: &str) -> Option<i8> {
    let is_number = text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit());
    if is_number { text.parse().ok() } else { None }
}

/// `2026-12-24 18:00`, with a space or a `T`.
pub(super) fn date_time(text: &str) -> Option<DateTime> {
    let (day, at) = text.split_once(' ').or_else(|| text.split_once('T'))?;
    Some(date(day)?.to_datetime(time(at)?))
}

/// `2026-12-24`
pub(super) fn date(text: &str) -> Option<Date> {
    let mut parts = text.split('-');
    let year = parts.next().filter(|year| year.len() == 4 && year.bytes().all(|b| b.is_ascii_digit()))?;
    let (month, day) = (two_digits(parts.next()?)?, two_digits(parts.next()?)?);
    if parts.next().is_some() { None } else { Date::new(year.parse().ok()?, month, day).ok() }
}

/// `12-24`: month and day, as they are in a leap year.
pub(super) fn month_day(text: &str) -> Option<(i8, i8)> {
    let (month, day) = text.split_once('-')?;
    let (month, day) = (two_digits(month)?, two_digits(day)?);
    Date::new(2024, month, day).ok().map(|_| (month, day))
}

pub(super) fn weekday(text: &str) -> Option<Weekday> {
    let lower = text.to_ascii_lowercase();
    WEEKDAYS.iter().find(|(_, short, long)| lower == *short || lower == *long).map(|(day, ..)| *day)
}

/// The first text that is no weekday, or the set.
pub(super) fn weekdays<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Weekdays, &'a str> {
    let mut set = Weekdays(0);
    for text in texts {
        set = set.with(weekday(text).ok_or(text)?);
    }
    Ok(set)
}

/// `second tuesday`, `last friday`: 1 to 5 or -1, and the weekday.
pub(super) fn nth_weekday(text: &str) -> Option<(i8, Weekday)> {
    let lower = text.to_ascii_lowercase();
    let (nth, day) = lower.split_once(' ')?;
    let nth = NTH.iter().find(|(_, word)| *word == nth)?.0;
    Some((nth, weekday(day.trim())?))
}

/// `20:00-05:00`; the end may be `24:00`.
pub(super) fn window(text: &str) -> Option<Window> {
    let (start, end) = text.split_once('-')?;
    let start = time(start.trim())?;
    let end = match end.trim() {
        "24:00" => LocalTime { time: Time::midnight(), next_day: true },
        end => {
            let end = time(end)?;
            LocalTime { time: end, next_day: end < start }
        }
    };
    (start != end.time || end.next_day).then_some(Window { start, end })
}

pub(super) fn interval(text: &str) -> Option<Interval> {
    let days = text.strip_suffix('d').filter(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
    if let Some(days) = days {
        return days.parse::<u64>().ok().filter(|n| (1..=DAYS_MAX).contains(n)).map(|n| Interval::Days(n as i32));
    }
    let span: schemas::Span = text.parse().ok()?;
    (!text.contains('d')).then_some(Interval::Elapsed { seconds: span.as_secs() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_dates_are_read_in_one_form_only() {
        for good in ["00:00", "02:00", "23:59:59"] {
            assert!(time(good).is_some(), "{good}");
        }
        for bad in ["", "2:00", "24:00", "02:60", "02:00:60", "02", "02:00:00:00", "+2:00", "02.00", "٠٢:٠٠"] {
            assert!(time(bad).is_none(), "{bad}");
        }
        assert!(date_time("2026-12-24 18:00").is_some() && date_time("2026-12-24T18:00:30").is_some());
        for bad in ["2026-02-30 18:00", "2026-12-24", "26-12-24 18:00", "2026-12-24  18:00", "2026-12-24 18:00Z"] {
            assert!(date_time(bad).is_none(), "{bad}");
        }
        assert_eq!(month_day("02-29"), Some((2, 29)));
        assert!(["02-30", "13-01", "2-9", "0229", "02-29-01"].iter().all(|bad| month_day(bad).is_none()));
    }

    #[test]
    fn a_window_ends_on_the_next_day_when_it_ends_before_it_begins() {
        let night = window("20:00-05:00").unwrap();
        assert!(night.end.next_day && night.length_s() == 9 * 3_600);
        assert!(!window("08:00-12:00").unwrap().end.next_day);
        assert_eq!(window("00:00-24:00").unwrap().length_s(), 86_400);
        assert!(
            ["20:00", "20:00-20:00", "20:00-25:00", "20-05", "24:00-05:00"].iter().all(|bad| window(bad).is_none())
        );
    }

    #[test]
    fn days_are_civil_and_never_mixed_with_elapsed_time() {
        assert_eq!(interval("1d"), Some(Interval::Days(1)));
        assert_eq!(interval("24h"), Some(Interval::Elapsed { seconds: 86_400 }));
        assert_eq!(interval("1h30m"), Some(Interval::Elapsed { seconds: 5_400 }));
        assert!(["1d12h", "0d", "367d", "d", "", "5", "0s", "-5m"].iter().all(|bad| interval(bad).is_none()));
    }
}
