//! Changes of the clocks as the time zone database of IANA has them, which cites the decrees: release 2026c of 8 July 2026
//! (github.com/eggert/tz, data.iana.org/time-zones/releases), by file and line. These days were worked out from those lines by hand.
//!
//! - Paris: `europe`, `Rule EU 1981 max - Mar lastSun 1:00u 1:00 S` and `Rule EU 1996 max - Oct lastSun 1:00u 0 -`.
//! - New York: `northamerica`, `Rule US 2007 max - Mar Sun>=8 2:00 1:00 D` and `Rule US 2007 max - Nov Sun>=1 2:00 0 S`.
//! - Lord Howe, by 30 minutes: `australasia`, `Rule LH 2008 max - Apr Sun>=1 2:00 0 -` and `Rule LH 2008 max - Oct Sun>=1 2:00 0:30 -`.
//! - Santiago, at midnight of -04: `southamerica`, `Rule Chile 2019 max - Apr Sun>=2 3:00u 0 -` and `Rule Chile 2023 max - Sep Sun>=2
//!   4:00u 1:00 -`.
//! - Casablanca, around Ramadan: `africa`, `Rule Morocco 2026 only - Feb 15 3:00 -1:00 -` and `Rule Morocco 2026 only - Mar 22 2:00 0 -`;
//!   from 20 September 2026 on it stays at +00 (NEWS of 2026c), which these tests do not reach.
//! - Apia, which left out 30 December 2011: `australasia`, `Zone Pacific/Apia`, `-11:00 WS %z 2011 Dec 29 24:00`, then `13:00 WS %z`,
//!   with `Rule WS 2011 only - Sep lastSat 3:00 1 -` in force: -10 before, +14 after.

use serde_json::{Value, json};

use super::{ms, occurrences, schedule, starts, utc};

fn found(rule: Value, zone: &str, from: &str, until: &str) -> Vec<String> {
    starts(&schedule(rule, zone), ms(from), ms(until)).into_iter().map(utc).collect()
}

fn daily(at: &str) -> Value {
    json!({ "daily": "all", "at": at })
}

#[test]
fn paris_skips_an_hour_in_march_and_repeats_one_in_october() {
    // 2026-03-29 02:00 CET becomes 03:00 CEST; 2026-10-25 03:00 CEST becomes 02:00 CET.
    let spring = found(daily("02:30"), "Europe/Paris", "2026-03-28T00:00:00Z", "2026-03-31T00:00:00Z");
    assert_eq!(spring, ["2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]);
    let autumn = found(daily("02:30"), "Europe/Paris", "2026-10-24T00:00:00Z", "2026-10-27T00:00:00Z");
    assert_eq!(autumn, ["2026-10-24T00:30:00Z", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]);
}

#[test]
fn new_york_skips_an_hour_in_march_and_repeats_one_in_november() {
    // 2026-03-08 02:00 EST becomes 03:00 EDT; 2026-11-01 02:00 EDT becomes 01:00 EST.
    let spring = found(daily("02:00"), "America/New_York", "2026-03-07T00:00:00Z", "2026-03-10T00:00:00Z");
    assert_eq!(spring, ["2026-03-07T07:00:00Z", "2026-03-08T07:00:00Z", "2026-03-09T06:00:00Z"]);
    let autumn = found(daily("01:59"), "America/New_York", "2026-10-31T00:00:00Z", "2026-11-03T00:00:00Z");
    assert_eq!(autumn, ["2026-10-31T05:59:00Z", "2026-11-01T05:59:00Z", "2026-11-02T06:59:00Z"]);
}

#[test]
fn lord_howe_moves_by_half_an_hour() {
    // 2026-04-05 02:00 +11 becomes 01:30 +10:30; 2026-10-04 02:00 +10:30 becomes 02:30 +11.
    let back = found(daily("01:45"), "Australia/Lord_Howe", "2026-04-04T00:00:00Z", "2026-04-06T00:00:00Z");
    assert_eq!(back, ["2026-04-04T14:45:00Z", "2026-04-05T15:15:00Z"]);
    let forth = found(daily("02:15"), "Australia/Lord_Howe", "2026-10-02T20:00:00Z", "2026-10-05T00:00:00Z");
    assert_eq!(forth, ["2026-10-03T15:30:00Z", "2026-10-04T15:15:00Z"]);
}

#[test]
fn santiago_has_no_midnight_in_september_and_two_late_evenings_in_april() {
    // 2026-09-06 00:00 -04 becomes 01:00 -03; 2026-04-05 00:00 -03 becomes 2026-04-04 23:00 -04.
    let spring = found(daily("00:00"), "America/Santiago", "2026-09-05T00:00:00Z", "2026-09-08T00:00:00Z");
    assert_eq!(spring, ["2026-09-05T04:00:00Z", "2026-09-06T04:00:00Z", "2026-09-07T03:00:00Z"]);
    let autumn = found(daily("23:30"), "America/Santiago", "2026-04-04T12:00:00Z", "2026-04-06T12:00:00Z");
    assert_eq!(autumn, ["2026-04-05T02:30:00Z", "2026-04-06T03:30:00Z"]);
}

#[test]
fn casablanca_is_behind_during_ramadan() {
    // 2026-02-15 03:00 +01 becomes 02:00 +00; 2026-03-22 02:00 +00 becomes 03:00 +01.
    let back = found(daily("02:30"), "Africa/Casablanca", "2026-02-14T00:00:00Z", "2026-02-17T00:00:00Z");
    assert_eq!(back, ["2026-02-14T01:30:00Z", "2026-02-15T01:30:00Z", "2026-02-16T02:30:00Z"]);
    let forth = found(daily("02:30"), "Africa/Casablanca", "2026-03-21T00:00:00Z", "2026-03-24T00:00:00Z");
    assert_eq!(forth, ["2026-03-21T02:30:00Z", "2026-03-22T02:00:00Z", "2026-03-23T01:30:00Z"]);
}

#[test]
fn apia_had_no_30th_of_december_2011() {
    // 2011-12-29 24:00 -10 was followed by 2011-12-31 00:00 +14: the instant 2011-12-30T10:00:00Z.
    let each = found(daily("03:00"), "Pacific/Apia", "2011-12-28T14:00:00Z", "2012-01-01T00:00:00Z");
    assert_eq!(each, ["2011-12-29T13:00:00Z", "2011-12-30T10:00:00Z", "2011-12-30T13:00:00Z", "2011-12-31T13:00:00Z"]);
    let midnight = found(daily("00:00"), "Pacific/Apia", "2011-12-29T00:00:00Z", "2012-01-01T00:00:00Z");
    assert_eq!(
        midnight,
        ["2011-12-29T10:00:00Z", "2011-12-30T10:00:00Z", "2011-12-31T10:00:00Z"],
        "two days, one instant"
    );
    let fridays = json!({ "weekly": "friday", "window": "20:00-22:00" });
    let friday = found(fridays, "Pacific/Apia", "2011-12-30T00:00:00Z", "2012-01-01T00:00:00Z");
    assert_eq!(friday, ["2011-12-30T10:00:00Z"]);
}

#[test]
fn a_window_keeps_its_dial_and_elapsed_repeats_keep_their_distance() {
    // The night in which Paris puts its clocks back lasts an hour longer, the one in March an hour less.
    let night = json!({ "daily": "all", "window": "20:00-05:00", "repeat_every": "30m" });
    let schedule = schedule(night, "Europe/Paris");
    let count = |from, until| starts(&schedule, ms(from), ms(until)).len();
    assert_eq!(count("2026-10-24T12:00:00Z", "2026-10-25T12:00:00Z"), 20);
    assert_eq!(count("2026-03-28T12:00:00Z", "2026-03-29T12:00:00Z"), 16);
    assert_eq!(count("2026-06-01T12:00:00Z", "2026-06-02T12:00:00Z"), 18);
}

#[test]
fn a_window_that_a_change_swallows_opens_behind_it_for_its_length() {
    let rule = json!({ "daily": "all", "window": "02:10-02:40", "repeat_every": "10m" });
    let gone = found(rule, "Europe/Paris", "2026-03-29T00:00:00Z", "2026-03-29T12:00:00Z");
    assert_eq!(gone, ["2026-03-29T01:00:00Z", "2026-03-29T01:10:00Z", "2026-03-29T01:20:00Z"]);
}

#[test]
fn civil_days_keep_the_time_of_day_and_elapsed_hours_do_not() {
    let from = "2026-03-27 08:00";
    let days =
        found(json!({ "every": "2d", "from": from }), "Europe/Paris", "2026-03-27T00:00:00Z", "2026-04-01T00:00:00Z");
    assert_eq!(days, ["2026-03-27T07:00:00Z", "2026-03-29T06:00:00Z", "2026-03-31T06:00:00Z"]);
    let hours =
        found(json!({ "every": "48h", "from": from }), "Europe/Paris", "2026-03-27T00:00:00Z", "2026-04-01T00:00:00Z");
    assert_eq!(hours, ["2026-03-27T07:00:00Z", "2026-03-29T07:00:00Z", "2026-03-31T07:00:00Z"]);
}

#[test]
fn cron_in_an_hour_that_happens_twice_runs_in_its_first_pass_only() {
    for (cron, dialect) in [("*/20 * * * *", "croner"), ("0 */20 * * * *", "cron")] {
        let rule = json!({ "cron": cron, "dialect": dialect });
        let found = found(rule, "Europe/Paris", "2026-10-25T00:00:00Z", "2026-10-25T02:21:00Z");
        let expected = ["00:00", "00:20", "00:40", "02:00", "02:20"].map(|at| format!("2026-10-25T{at}:00Z"));
        assert_eq!(found, expected, "{dialect}");
    }
    // Asked in the middle of the second pass.
    let rule = schedule(json!({ "cron": "*/20 * * * *", "dialect": "croner" }), "Europe/Paris");
    let next = rule.next(ms("2026-10-25T01:10:00Z")).unwrap();
    assert_eq!(utc(next.start_ms), "2026-10-25T02:00:00Z");
}

#[test]
fn cron_in_a_skipped_hour_runs_once_behind_it() {
    let rule = json!({ "cron": "*/20 2 * * *", "dialect": "croner" });
    let found = found(rule, "Europe/Paris", "2026-03-28T12:00:00Z", "2026-03-30T00:10:00Z");
    assert_eq!(found, ["2026-03-29T01:00:00Z", "2026-03-30T00:00:00Z"]);
}

#[test]
fn an_occurrence_keeps_its_nominal_instant_when_its_start_is_random() {
    let rule = |random| json!({ "daily": "all", "window": "20:00-05:00", "random_start": random });
    let (exact, random) = (schedule(rule(false), "Europe/Paris"), schedule(rule(true), "Europe/Paris"));
    let (from, until) = (ms("2026-01-01T12:00:00Z"), ms("2026-03-01T12:00:00Z"));
    let (exact, random) = (occurrences(&exact, from, until), occurrences(&random, from, until));
    assert_eq!(exact.len(), random.len());
    for (exact, random) in exact.iter().zip(&random) {
        assert_eq!(exact.nominal_ms, random.nominal_ms);
        let offset_ms = random.start_ms - random.nominal_ms;
        assert!((0..9 * 3_600_000).contains(&offset_ms), "{offset_ms}");
    }
    let different: std::collections::BTreeSet<i64> = random.iter().map(|o| o.start_ms - o.nominal_ms).collect();
    assert!(different.len() > 50, "the nights differ: {}", different.len());
}
