//! Every kind of SPEC S2, its options, and how it is told in words.

use serde_json::{Value, json};

use super::{ms, schedule, starts, utc};

/// The first starts after noon of 2026-01-01 (a Thursday), UTC.
fn first(rule: Value, count: usize) -> Vec<String> {
    let schedule = schedule(rule, "UTC");
    let mut at_ms = ms("2026-01-01T12:00:00Z");
    let mut all = Vec::new();
    while let Some(found) = schedule.next(at_ms).filter(|_| all.len() < count) {
        at_ms = found.start_ms;
        all.push(utc(at_ms)[..16].to_owned());
    }
    all
}

#[test]
fn every_kind_names_its_instants() {
    let cases: Vec<(Value, &[&str])> = vec![
        (json!("never"), &[]),
        (json!("immediately"), &[]),
        (json!({ "event": "startup" }), &[]),
        (json!({ "after": "paris", "delay": "30m" }), &[]),
        (json!({ "once": "2026-12-24 18:00" }), &["2026-12-24T18:00"]),
        (json!({ "once": "2025-12-24 18:00" }), &[]),
        (json!({ "every": "90m" }), &["2026-01-01T13:30", "2026-01-01T15:00"]),
        (json!({ "every": "1d" }), &["2026-01-02T00:00", "2026-01-03T00:00"]),
        (json!({ "every": "10d", "from": "2026-02-01 06:00" }), &["2026-02-01T06:00", "2026-02-11T06:00"]),
        (
            json!({ "every": "4h", "window": "20:00-05:00" }),
            &["2026-01-01T20:00", "2026-01-02T00:00", "2026-01-02T04:00", "2026-01-02T20:00"],
        ),
        (
            json!({ "every": "2d", "window": "20:00-05:00", "from": "2026-01-02 00:00" }),
            &["2026-01-02T20:00", "2026-01-04T20:00"],
        ),
        (json!({ "daily": "all", "at": "03:00" }), &["2026-01-02T03:00", "2026-01-03T03:00"]),
        (
            json!({ "daily": ["mon", "wednesday"], "at": "03:00" }),
            &["2026-01-05T03:00", "2026-01-07T03:00", "2026-01-12T03:00"],
        ),
        (json!({ "weekly": "sunday", "at": "23:30:30" }), &["2026-01-04T23:30", "2026-01-11T23:30"]),
        (json!({ "monthly": 15, "at": "02:00" }), &["2026-01-15T02:00", "2026-02-15T02:00"]),
        (json!({ "monthly": "first monday", "at": "02:00" }), &["2026-01-05T02:00", "2026-02-02T02:00"]),
        (json!({ "monthly": 1, "delay_days": 31, "at": "02:00" }), &["2026-02-01T02:00", "2026-03-04T02:00"]),
        (json!({ "yearly": "12-24", "delay_days": 8, "at": "02:00" }), &["2027-01-01T02:00", "2028-01-01T02:00"]),
        (json!({ "cron": "30 2 * * mon-fri", "dialect": "croner" }), &["2026-01-02T02:30", "2026-01-05T02:30"]),
        (json!({ "cron": "0 30 2 * * mon-fri", "dialect": "cron" }), &["2026-01-02T02:30", "2026-01-05T02:30"]),
        (json!({ "cron": "0 2 * * tue#2", "dialect": "croner" }), &["2026-01-13T02:00", "2026-02-10T02:00"]),
        (json!({ "cron": "0 2 LW * *", "dialect": "croner" }), &["2026-01-30T02:00", "2026-02-27T02:00"]),
        // 13 and Friday: either in one dialect, both with `+` and in the other.
        (
            json!({ "cron": "0 0 13 * fri", "dialect": "croner" }),
            &["2026-01-02T00:00", "2026-01-09T00:00", "2026-01-13T00:00"],
        ),
        (
            json!({ "cron": "0 0 13 * +fri", "dialect": "croner" }),
            &["2026-02-13T00:00", "2026-03-13T00:00", "2026-11-13T00:00"],
        ),
        (
            json!({ "cron": "0 0 0 13 * fri", "dialect": "cron" }),
            &["2026-02-13T00:00", "2026-03-13T00:00", "2026-11-13T00:00"],
        ),
    ];
    for (rule, expected) in cases {
        let shown = rule.to_string();
        assert_eq!(first(rule, expected.len().max(1)), expected, "{shown}");
    }
}

#[test]
fn a_window_past_midnight_belongs_to_the_weekday_on_which_it_opens() {
    let rule = json!({ "daily": ["fri"], "window": "22:00-02:00", "repeat_every": "1h" });
    assert_eq!(
        first(rule, 5),
        ["2026-01-02T22:00", "2026-01-02T23:00", "2026-01-03T00:00", "2026-01-03T01:00", "2026-01-09T22:00"]
    );
    let late = json!({ "daily": ["fri"], "window": "22:00-02:00", "at": "01:00" });
    assert_eq!(first(late, 2), ["2026-01-03T01:00", "2026-01-10T01:00"]);
}

#[test]
fn a_window_is_open_from_its_start_until_right_before_its_end() {
    let rule = schedule(json!({ "daily": ["fri"], "window": "22:00-02:00" }), "UTC");
    for (at, open) in [
        ("2026-01-02T21:59:59Z", false),
        ("2026-01-02T22:00:00Z", true),
        ("2026-01-03T01:59:59Z", true),
        ("2026-01-03T02:00:00Z", false),
        ("2026-01-03T22:30:00Z", false),
    ] {
        assert_eq!(rule.is_open(ms(at)), open, "{at}");
    }
    assert_eq!(rule.window_end(ms("2026-01-03T00:00:00Z")).map(utc).unwrap(), "2026-01-03T02:00:00Z");
    assert_eq!(rule.window_end(ms("2026-01-03T02:00:00Z")), None);
    assert_eq!(rule.next_opening(ms("2026-01-02T22:00:00Z")).map(utc).unwrap(), "2026-01-09T22:00:00Z");
    assert!(schedule(json!({ "daily": "all", "at": "02:00" }), "UTC").is_open(0), "no window is always open");
}

#[test]
fn a_random_start_is_the_same_whenever_it_is_asked_for_and_differs_by_seed() {
    let rule = json!({ "daily": "all", "window": "00:00-24:00", "random_start": true });
    let declared: schemas::Schedule = serde_json::from_value(rule).unwrap();
    let of = |seed| {
        let setting = domain::schedule::Setting { zone: "UTC", anchor_ms: 0, seed };
        let schedule = domain::schedule::Schedule::read(&declared, setting).unwrap();
        starts(&schedule, ms("2026-01-01T00:00:00Z"), ms("2026-02-01T00:00:00Z"))
    };
    assert_eq!(of("extract/paris"), of("extract/paris"));
    assert_ne!(of("extract/paris"), of("extract/lyon"));
    assert_eq!(of("extract/paris").len(), 31);
    // Frozen: a start that moved with a version would run twice, or not at all.
    assert_eq!(utc(of("extract/paris")[0]), "2026-01-01T22:04:16Z");
}

#[test]
fn what_waits_for_something_else_than_time_says_for_what_and_how_long_after() {
    for (rule, awaits, delay_ms) in [
        (json!({ "event": "startup" }), "event/startup", 0),
        (json!({ "event": "maintenance-begins", "overlap": "beside" }), "event/maintenance-begins", 0),
        (json!({ "after": "paris" }), "after/paris", 0),
        (json!({ "after": "paris", "delay": "30m" }), "after/paris", 1_800_000),
    ] {
        let read = schedule(rule.clone(), "UTC");
        assert_eq!((read.awaits().as_deref(), read.delay_ms()), (Some(awaits), delay_ms), "{rule}");
        assert!(!read.is_timed() && read.next(0).is_none() && !read.notes().is_empty(), "{rule}");
    }
    assert_eq!(schedule(json!({ "daily": "all", "at": "02:00" }), "UTC").awaits(), None);
}

#[test]
fn the_next_window_begins_when_it_opens_or_now_if_it_is_open() {
    let nightly = json!({ "daily": "all", "window": "20:00-05:00", "stop_at_end": true });
    let read = schedule(nightly, "Europe/Paris");
    assert!(read.stop_at_end);
    let (evening, night) = (ms("2026-06-01T18:00:00Z"), ms("2026-06-02T03:00:00Z"));
    assert_eq!(read.window_from(ms("2026-06-01T10:00:00Z")), Some((evening, night)));
    assert_eq!(read.window_from(evening + 1), Some((evening + 1, night)));
    assert_eq!(
        read.window_from(night),
        Some((ms("2026-06-02T18:00:00Z"), ms("2026-06-03T03:00:00Z"))),
        "the end is outside"
    );
    let whole = schedule(json!({ "daily": "all", "window": "00:00-24:00" }), "UTC");
    let midnight = ms("2026-06-02T00:00:00Z");
    assert_eq!(
        whole.window_from(midnight),
        Some((midnight, ms("2026-06-03T00:00:00Z"))),
        "one begins as the other ends"
    );
    assert_eq!(schedule(json!({ "daily": "all", "at": "02:00" }), "UTC").window_from(0), None);
}

#[test]
fn schedules_are_told_in_words() {
    let paris = "Europe/Paris";
    for (rule, words) in [
        (
            json!({ "monthly": "second tuesday", "delay_days": 4, "at": "02:00" }),
            "the 2nd Tuesday of each month, plus 4 days, at 02:00 Europe/Paris",
        ),
        (json!({ "monthly": 31, "at": "02:00:30" }), "the 31st of each month, at 02:00:30 Europe/Paris"),
        (
            json!({ "monthly": "last friday", "delay_days": 1, "at": "02:00" }),
            "the last Friday of each month, plus 1 day, at 02:00 Europe/Paris",
        ),
        (json!({ "yearly": "12-24", "at": "18:00" }), "the 24th of each December, at 18:00 Europe/Paris"),
        (
            json!({ "daily": ["mon", "tue", "wed", "thu", "fri"], "window": "20:00-05:00", "repeat_every": "5m" }),
            "Monday to Friday, between 20:00 and 05:00 the next day, every 5m, Europe/Paris",
        ),
        (json!({ "daily": ["sat", "sun"], "at": "03:00" }), "every Saturday and Sunday, at 03:00 Europe/Paris"),
        (
            json!({ "weekly": "sun", "window": "01:00-04:00", "random_start": true }),
            "every Sunday, between 01:00 and 04:00, at a random instant, Europe/Paris",
        ),
        (
            json!({ "daily": "all", "window": "20:00-24:00", "at": "22:00" }),
            "every day, between 20:00 and 00:00, at 22:00, Europe/Paris",
        ),
        (json!({ "once": "2026-12-24 18:00" }), "once, on 2026-12-24 at 18:00 Europe/Paris"),
        (json!({ "every": "10m" }), "every 10m of elapsed time, counted from 2024-01-01T01:00:00+01:00 Europe/Paris"),
        (
            json!({ "every": "2d", "from": "2026-01-01 06:00" }),
            "every 2 days, counted from 2026-01-01, at 06:00 Europe/Paris",
        ),
        (
            json!({ "cron": "30 2 * * 1-5", "dialect": "croner" }),
            "at every local time that `30 2 * * 1-5` names, Europe/Paris",
        ),
        (json!({ "event": "shutdown" }), "whenever it shuts down"),
        (json!({ "after": "lyon", "delay": "30m" }), "30m after lyon has extracted"),
        (json!("immediately"), "immediately: as soon as there is something to do"),
        (json!("never"), "never"),
    ] {
        assert_eq!(schedule(rule, paris).in_words(), words);
    }
    let notes =
        schedule(json!({ "monthly": 31, "window": "20:00-05:00", "catch_up": "none", "overlap": "skip" }), paris)
            .notes();
    assert_eq!(notes.len(), 5, "{notes:?}");
    assert!(notes[0].contains("the month's last day") && notes[3].contains("not made up for"), "{notes:?}");
}

#[test]
fn a_schedule_has_the_zone_of_its_object_or_its_own() {
    assert_eq!(schedule(json!({ "daily": "all", "at": "02:00" }), "Asia/Tokyo").zone_name(), "Asia/Tokyo");
    let own = schedule(json!({ "daily": "all", "at": "02:00", "time_zone": "Europe/Paris" }), "Asia/Tokyo");
    assert_eq!(own.zone_name(), "Europe/Paris");
    assert_eq!(own.zone().shown(ms("2026-11-24T01:00:00Z")).unwrap(), "2026-11-24T02:00:00+01:00");
    assert!(domain::schedule::zone_data_version().starts_with("20"), "the database's version is known");
}
