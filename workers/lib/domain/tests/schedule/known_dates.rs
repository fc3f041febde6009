//! Dates that others published or that hold by definition, not dates that this code computed. Second Tuesdays are Microsoft's own up
//! to June 2026 (`published_tuesdays`); the later ones nobody has published: they follow from the rule, by arithmetic that those confirm.

use serde_json::json;

use super::published_tuesdays::PUBLISHED;
use super::{local_ms, schedule, starts};

/// By Zeller's congruence, which asks no calendar library: 0 is Saturday.
fn zeller(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month < 3 { (year - 1, month + 12) } else { (year, month) };
    (day + 13 * (month + 1) / 5 + year % 100 + year % 100 / 4 + year / 100 / 4 + 5 * (year / 100)).rem_euclid(7)
}

fn second_tuesday(year: i64, month: i64) -> i64 {
    const TUESDAY: i64 = 3;
    (8..=14).find(|day| zeller(year, month, *day) == TUESDAY).unwrap()
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn plus(year: i64, month: i64, day: i64, days: i64) -> (i64, i64, i64) {
    let (mut year, mut month, mut day) = (year, month, day + days);
    while day > days_in(year, month) {
        day -= days_in(year, month);
        (year, month) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
    }
    (year, month, day)
}

#[test]
fn second_tuesdays_are_the_days_that_were_published() {
    let rule = schedule(json!({ "monthly": "second tuesday", "at": "10:00" }), "America/Los_Angeles");
    let (from, until) = ("2020-01-01T00:00:00", "2026-07-01T00:00:00");
    let found = starts(&rule, local_ms(from, "America/Los_Angeles"), local_ms(until, "America/Los_Angeles"));
    let days = found.into_iter().map(|ms| super::utc(ms)[..10].to_owned()).collect::<Vec<_>>();
    let published = PUBLISHED.map(|(year, month, day, _)| format!("{year:04}-{month:02}-{day:02}"));
    assert_eq!(days, published);
}

#[test]
fn the_arithmetic_of_this_test_agrees_with_what_was_published() {
    for (year, month, day, article) in PUBLISHED {
        assert_eq!(second_tuesday(year.into(), month.into()), i64::from(day), "KB{article}");
    }
}

#[test]
fn patch_tuesday_plus_any_delay_from_2020_to_2035() {
    const ZONE: &str = "Europe/Paris";
    for delay in 0..=31 {
        let rule = schedule(json!({ "monthly": "second tuesday", "delay_days": delay, "at": "02:00" }), ZONE);
        let mut expected = Vec::new();
        for (year, month) in (2020..=2035).flat_map(|year| (1..=12).map(move |month| (year, month))) {
            let (year, month, day) = plus(year, month, second_tuesday(year, month), delay);
            let local = format!("{year:04}-{month:02}-{day:02}T02:00:00");
            // 02:00 on the day of the change in March is skipped: the next valid instant is 03:00.
            let skipped = month == 3 && day > 24 && zeller(year, month, day) == 1;
            let local = if skipped { local.replace("T02", "T03") } else { local };
            expected.push(local_ms(&local, ZONE));
        }
        let from_ms = local_ms("2020-01-01T00:00:00", ZONE) + delay * 86_400_000;
        let found = starts(&rule, from_ms, expected.last().unwrap() + 1);
        assert_eq!(found, expected, "delay {delay}");
        assert_eq!(found.len(), 16 * 12);
    }
}

#[test]
fn the_last_weekday_and_the_fifth_one() {
    // Last Fridays of 2024, and the months of 2024 that have five Fridays: March, May, August, November.
    let last = schedule(json!({ "monthly": "last friday", "at": "12:00" }), "UTC");
    let fifth = schedule(json!({ "monthly": "fifth friday", "at": "12:00" }), "UTC");
    let (from, until) = (local_ms("2024-01-01T00:00:00", "UTC"), local_ms("2025-01-01T00:00:00", "UTC"));
    let days = |schedule| {
        starts(schedule, from, until).into_iter().map(|ms| super::utc(ms)[5..10].to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(
        days(&last),
        ["01-26", "02-23", "03-29", "04-26", "05-31", "06-28", "07-26", "08-30", "09-27", "10-25", "11-29", "12-27"]
    );
    assert_eq!(days(&fifth), ["03-29", "05-31", "08-30", "11-29"]);
}

#[test]
fn the_31st_in_short_months_by_either_option() {
    let days = |rule| {
        let (from, until) = (local_ms("2023-01-01T00:00:00", "UTC"), local_ms("2024-03-31T23:00:00", "UTC"));
        let found = starts(&schedule(rule, "UTC"), from, until);
        found.into_iter().map(|ms| super::utc(ms)[2..10].to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(
        days(json!({ "monthly": 31, "at": "01:00" })),
        [
            "23-01-31", "23-02-28", "23-03-31", "23-04-30", "23-05-31", "23-06-30", "23-07-31", "23-08-31", "23-09-30",
            "23-10-31", "23-11-30", "23-12-31", "24-01-31", "24-02-29", "24-03-31"
        ]
    );
    assert_eq!(
        days(json!({ "monthly": 31, "short_month": "skip", "at": "01:00" })),
        ["23-01-31", "23-03-31", "23-05-31", "23-07-31", "23-08-31", "23-10-31", "23-12-31", "24-01-31", "24-03-31"]
    );
    assert_eq!(days(json!({ "monthly": "last", "at": "01:00" })), days(json!({ "monthly": 31, "at": "01:00" })));
}

#[test]
fn the_29th_of_february_by_either_option_and_across_1900_like_years() {
    let years = |rule, until: &str| {
        let (from, until) = (local_ms("2095-01-01T00:00:00", "UTC"), local_ms(until, "UTC"));
        let found = starts(&schedule(rule, "UTC"), from, until);
        found.into_iter().map(|ms| super::utc(ms)[..10].to_owned()).collect::<Vec<_>>()
    };
    // 2100 is no leap year.
    let skip = json!({ "yearly": "02-29", "short_month": "skip", "at": "00:00" });
    assert_eq!(years(skip, "2109-01-01T00:00:00"), ["2096-02-29", "2104-02-29", "2108-02-29"]);
    let last = json!({ "yearly": "02-29", "at": "00:00" });
    assert_eq!(years(last, "2098-01-01T00:00:00"), ["2095-02-28", "2096-02-29", "2097-02-28"]);
}

#[test]
fn a_delay_crosses_the_end_of_the_year() {
    let rule = schedule(json!({ "monthly": "last friday", "delay_days": 10, "at": "02:00" }), "UTC");
    // The last Friday of December 2024 is the 27th.
    let found = starts(&rule, local_ms("2025-01-01T00:00:00", "UTC"), local_ms("2025-02-01T00:00:00", "UTC"));
    assert_eq!(found.into_iter().map(super::utc).collect::<Vec<_>>(), ["2025-01-06T02:00:00Z"]);
}
