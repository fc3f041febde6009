//! What becomes of occurrences that nobody was there for (SPEC S5; §10, 13).

use domain::schedule::{Judgement, Missed, Schedule};
use serde_json::{Value, json};

use super::{ms, schedule, utc};

const HOUR_MS: i64 = 3_600_000;

fn hourly(catch_up: &str) -> Schedule {
    schedule(json!({ "every": "1h", "catch_up": catch_up }), "UTC")
}

/// Judges again and again, as a scheduler does, and tells the nominal instants that started.
fn run(schedule: &Schedule, through: &str, now: &str) -> (Vec<String>, u64) {
    let (mut through_ms, now_ms) = (ms(through), ms(now));
    let (mut started, mut missed) = (Vec::new(), 0);
    for _ in 0..1_000 {
        let judged = schedule.judge(through_ms, now_ms);
        started.extend(judged.start.map(|found| utc(found.nominal_ms)[5..16].to_owned()));
        missed += judged.missed.map_or(0, |missed| missed.count);
        through_ms = judged.through_ms;
        if judged.next_ms.is_none_or(|next| next > now_ms) {
            return (started, missed);
        }
    }
    panic!("it never comes to an end");
}

#[test]
fn an_occurrence_on_time_starts_and_misses_nothing() {
    for catch_up in ["one", "none", "all"] {
        let judged = hourly(catch_up).judge(ms("2026-01-01T11:00:00Z"), ms("2026-01-01T12:00:00.2Z"));
        assert_eq!(judged.start.map(|found| utc(found.nominal_ms)).unwrap(), "2026-01-01T12:00:00Z");
        assert_eq!((judged.missed, judged.through_ms), (None, ms("2026-01-01T12:00:00Z")));
        assert_eq!(judged.next_ms.map(utc).unwrap(), "2026-01-01T13:00:00Z");
    }
}

#[test]
fn before_its_time_nothing_happens() {
    let judged = hourly("one").judge(ms("2026-01-01T12:00:00Z"), ms("2026-01-01T12:59:59Z"));
    let next_ms = Some(ms("2026-01-01T13:00:00Z"));
    assert_eq!(judged, Judgement { start: None, missed: None, through_ms: ms("2026-01-01T12:00:00Z"), next_ms });
}

#[test]
fn one_makes_up_for_the_latest_under_its_nominal_instant() {
    let judged = hourly("one").judge(ms("2026-01-01T11:00:00Z"), ms("2026-01-01T20:30:00Z"));
    assert_eq!(judged.start.map(|found| utc(found.nominal_ms)).unwrap(), "2026-01-01T20:00:00Z");
    let (first, last) = (ms("2026-01-01T12:00:00Z"), ms("2026-01-01T19:00:00Z"));
    assert_eq!(judged.missed, Some(Missed { count: 8, first_nominal_ms: first, last_nominal_ms: last }));
}

#[test]
fn none_makes_up_for_nothing() {
    assert_eq!(run(&hourly("none"), "2026-01-01T11:00:00Z", "2026-01-01T20:30:00Z"), (vec![], 9));
    let on_time = run(&hourly("none"), "2026-01-01T11:00:00Z", "2026-01-01T20:00:05Z");
    assert_eq!(on_time, (vec!["01-01T20:00".to_owned()], 8), "the one that is on time is not missed");
}

#[test]
fn all_makes_up_for_each_in_order_and_for_no_more_than_its_bound() {
    let (started, missed) = run(&hourly("all"), "2026-01-01T11:00:00Z", "2026-01-01T15:30:00Z");
    assert_eq!((started, missed), (["12", "13", "14", "15"].map(|h| format!("01-01T{h}:00")).to_vec(), 0));
    let (started, missed) = run(&hourly("all"), "2026-01-01T00:00:00Z", "2026-01-31T00:00:00Z");
    assert_eq!((started.len(), missed), (100, 620), "720 in all");
    assert_eq!(started[99], "01-31T00:00");
}

#[test]
fn what_was_missed_waits_for_the_next_open_window() {
    let nightly = |catch_up: &str| {
        schedule(json!({ "daily": "all", "window": "20:00-23:00", "at": "22:00", "catch_up": catch_up }), "UTC")
    };
    for catch_up in ["one", "all"] {
        let schedule = nightly(catch_up);
        let (through, noon) = (ms("2026-01-01T22:00:00Z"), ms("2026-01-03T12:00:00Z"));
        let held = schedule.judge(through, noon);
        assert_eq!((held.start, held.missed, held.through_ms), (None, None, through));
        assert_eq!(held.next_ms.map(utc).unwrap(), "2026-01-03T20:00:00Z", "when the window opens");
        let opened = schedule.judge(held.through_ms, ms("2026-01-03T20:00:00.1Z"));
        assert_eq!(opened.start.map(|found| utc(found.nominal_ms)).unwrap(), "2026-01-02T22:00:00Z", "nominal");
        assert_eq!(opened.next_ms.map(utc).unwrap(), "2026-01-03T22:00:00Z");
    }
    assert_eq!(run(&nightly("none"), "2026-01-01T22:00:00Z", "2026-01-03T12:00:00Z"), (vec![], 1));
}

#[test]
fn a_window_that_opens_anew_makes_the_missed_one_and_its_own_one() {
    let schedule = schedule(json!({ "daily": "all", "window": "20:00-23:00" }), "UTC");
    let judged = schedule.judge(ms("2026-01-01T20:00:00Z"), ms("2026-01-03T20:00:01Z"));
    assert_eq!(judged.start.map(|found| utc(found.nominal_ms)).unwrap(), "2026-01-03T20:00:00Z");
    assert_eq!(judged.missed.map(|missed| missed.count), Some(1));
}

#[test]
fn an_outage_of_a_year_is_judged_at_once() {
    let dense: Value = json!({ "daily": "all", "window": "00:00-24:00", "repeat_every": "5s" });
    for catch_up in ["one", "none", "all"] {
        let mut rule = dense.clone();
        rule["catch_up"] = json!(catch_up);
        let schedule = schedule(rule, "Europe/Paris");
        let begun = std::time::Instant::now();
        let judged = schedule.judge(ms("2025-01-01T00:00:00Z"), ms("2026-01-01T00:00:03Z"));
        assert!(judged.start.is_some() && judged.missed.unwrap().count >= 1_000);
        assert!(begun.elapsed().as_secs() < 3, "{catch_up}: {:?}", begun.elapsed());
    }
}

#[test]
fn a_clock_that_jumps_back_starts_nothing_again() {
    let schedule = hourly("all");
    let judged = schedule.judge(ms("2026-01-01T12:00:00Z"), ms("2025-01-01T00:00:00Z"));
    assert_eq!((judged.start, judged.missed), (None, None));
    assert_eq!(judged.through_ms - ms("2026-01-01T12:00:00Z"), 0);
    let next_ms = judged.next_ms.unwrap();
    assert_eq!(next_ms - ms("2026-01-01T12:00:00Z"), HOUR_MS);
}
