//! What holds for every schedule: instants increase strictly, each is named once however it is asked for, windows bound them,
//! and the latest one is found without counting.

use domain::schedule::{Schedule, Zone};
use jiff::civil::Time;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{ms, occurrences, schedule};

fn time() -> impl Strategy<Value = String> {
    (0..24, 0..60).prop_map(|(hour, minute)| format!("{hour:02}:{minute:02}"))
}

fn window() -> impl Strategy<Value = String> {
    (time(), time())
        .prop_filter("a window has a length", |(a, b)| a != b)
        .prop_map(|(start, end)| format!("{start}-{end}"))
}

/// A time or a window, with its options.
fn when() -> impl Strategy<Value = Value> {
    prop_oneof![
        time().prop_map(|at| json!({ "at": at })),
        window().prop_map(|window| json!({ "window": window })),
        (window(), 1..600u32, any::<bool>())
            .prop_map(|(window, minutes, random)| json!({ "window": window, "repeat_every": format!("{minutes}m"), "random_start": random })),
        window().prop_map(|window| json!({ "window": window, "random_start": true })),
    ]
}

fn days() -> impl Strategy<Value = Value> {
    const WEEKDAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
    const NTH: [&str; 6] = ["first", "second", "third", "fourth", "fifth", "last"];
    let weekday = proptest::sample::select(&WEEKDAYS[..]);
    prop_oneof![
        Just(json!({ "daily": "all" })),
        proptest::sample::subsequence(&WEEKDAYS[..], 1..7).prop_map(|days| json!({ "daily": days })),
        weekday.clone().prop_map(|day| json!({ "weekly": day })),
        (1..=28u8, 0..=31u8).prop_map(|(day, delay)| json!({ "monthly": day, "delay_days": delay })),
        (29..=31u8, any::<bool>())
            .prop_map(|(day, skip)| json!({ "monthly": day, "short_month": if skip { "skip" } else { "last" } })),
        (proptest::sample::select(&NTH[..]), weekday, 0..=31u8)
            .prop_map(|(nth, day, delay)| json!({ "monthly": format!("{nth} {day}"), "delay_days": delay })),
        (1..=12, 1..=28).prop_map(|(month, day)| json!({ "yearly": format!("{month:02}-{day:02}") })),
    ]
}

fn rule() -> impl Strategy<Value = Value> {
    let joined = (days(), when()).prop_map(|(mut days, when)| {
        days.as_object_mut().unwrap().extend(when.as_object().unwrap().clone());
        days
    });
    prop_oneof![
        6 => joined,
        1 => (5..100_000u32).prop_map(|s| json!({ "every": format!("{s}s") })),
        1 => (1..60u32).prop_map(|d| json!({ "every": format!("{d}d") })),
        1 => (1..600u32, window()).prop_map(|(m, window)| json!({ "every": format!("{m}m"), "window": window })),
        1 => Just(json!({ "cron": "*/7 1-3 * * *", "dialect": "croner" })),
        1 => Just(json!({ "cron": "15,45 30 2 L * +fri,sat", "dialect": "croner" })),
        1 => Just(json!({ "cron": "0 */10 0-4 * * mon-fri", "dialect": "cron" })),
    ]
}

fn zone() -> impl Strategy<Value = String> {
    proptest::sample::select(Zone::names())
}

fn instant() -> impl Strategy<Value = i64> {
    (ms("2005-01-01T00:00:00Z")..ms("2045-01-01T00:00:00Z")).prop_map(|ms| ms)
}

/// The next `count` occurrences.
fn some(schedule: &Schedule, after_ms: i64, count: usize) -> Vec<domain::schedule::Occurrence> {
    let mut all = Vec::new();
    let mut next = schedule.next(after_ms);
    while let Some(found) = next.filter(|_| all.len() < count) {
        all.push(found);
        next = schedule.next(found.start_ms);
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn instants_increase_strictly_and_starts_follow_their_nominal_instants(rule in rule(), zone in zone(), after in instant()) {
        let schedule = schedule(rule, &zone);
        let all = some(&schedule, after, 20);
        prop_assert!(all.first().is_none_or(|first| first.start_ms > after));
        for pair in all.windows(2) {
            prop_assert!(pair[0].start_ms < pair[1].start_ms && pair[0].nominal_ms < pair[1].nominal_ms, "{:?}", pair);
        }
        prop_assert!(all.iter().all(|found| found.start_ms >= found.nominal_ms));
    }

    #[test]
    fn an_occurrence_is_named_once_from_wherever_it_is_asked(rule in rule(), zone in zone(), after in instant(), part in 0.0f64..1.0) {
        let schedule = schedule(rule, &zone);
        let all = some(&schedule, after, 12);
        let mut before_ms = after;
        for found in all {
            let between_ms = before_ms + ((found.start_ms - before_ms) as f64 * part) as i64;
            prop_assert_eq!(schedule.next(between_ms.min(found.start_ms - 1)), Some(found));
            prop_assert_eq!(schedule.next(found.start_ms - 1), Some(found));
            before_ms = found.start_ms;
        }
    }

    #[test]
    fn the_latest_of_a_stretch_is_the_last_that_a_walk_finds(rule in rule(), zone in zone(), after in instant(), hours in 1i64..2_000) {
        let schedule = schedule(rule, &zone);
        let until = after + hours * 3_600_000;
        let first = schedule.next(after).filter(|found| found.start_ms <= until);
        let latest = schedule.latest(after, until);
        prop_assert_eq!(first.is_some(), latest.is_some());
        if let Some(latest) = latest {
            prop_assert!(latest.start_ms <= until && latest.start_ms > after);
            prop_assert_eq!(schedule.next(latest.start_ms - 1), Some(latest), "it is one");
            prop_assert!(schedule.next(latest.start_ms).is_none_or(|next| next.start_ms > until), "none follows");
        }
    }

    #[test]
    fn work_starts_within_the_window_only(
        days in days(), window in window(), minutes in 1..300u32, random in any::<bool>(), zone in zone(), after in instant(),
    ) {
        let mut rule = days;
        rule["window"] = json!(window.clone());
        rule["repeat_every"] = json!(format!("{minutes}m"));
        rule["random_start"] = json!(random);
        let schedule = schedule(rule, &zone);
        let (start, end) = window.split_once('-').unwrap();
        let (start, end): (Time, Time) = (start.parse().unwrap(), end.parse().unwrap());
        for found in some(&schedule, after, 12) {
            prop_assert!(schedule.is_open(found.start_ms), "{}", super::utc(found.start_ms));
            let local = schedule.zone().local(found.start_ms).unwrap();
            let inside = if start < end { (start..end).contains(&local.time()) } else { local.time() >= start || local.time() < end };
            // A change of the clocks within the day may push a window that it swallowed behind itself.
            let offsets = [-26i64, 26].map(|hours| {
                let at = found.start_ms + hours * 3_600_000;
                schedule.zone().local(at).unwrap().to_zoned(jiff::tz::TimeZone::UTC).unwrap().timestamp().as_millisecond() - at
            });
            prop_assert!(inside || offsets[0] != offsets[1], "{} is {} there", super::utc(found.start_ms), local);
        }
    }

    #[test]
    fn no_instant_is_due_twice_however_the_stretches_are_cut(rule in rule(), zone in zone(), after in instant(), cuts in proptest::collection::vec(1i64..86_400_000, 1..8)) {
        let schedule = schedule(rule, &zone);
        let until = after + cuts.iter().sum::<i64>();
        let whole = occurrences(&schedule, after + 1, until + 1);
        prop_assume!(whole.len() < 2_000);
        let mut pieces = Vec::new();
        let mut from = after;
        for cut in cuts {
            pieces.extend(occurrences(&schedule, from + 1, from + cut + 1));
            from += cut;
        }
        prop_assert_eq!(whole, pieces);
    }
}

#[test]
fn the_ends_of_time_name_nothing_wrong() {
    for rule in [
        json!({ "every": "5s" }),
        json!({ "every": "1d" }),
        json!({ "daily": "all", "at": "02:00" }),
        json!({ "monthly": "fifth friday", "window": "20:00-05:00", "repeat_every": "5m" }),
        json!({ "cron": "* * * * *", "dialect": "croner" }),
        json!({ "once": "2199-12-31 23:59" }),
    ] {
        for zone in ["UTC", "Pacific/Kiritimati", "Pacific/Pago_Pago"] {
            let schedule = schedule(rule.clone(), zone);
            for after in [i64::MIN, i64::MIN / 2, -1, 0, i64::MAX / 2, i64::MAX - 1, i64::MAX] {
                if let Some(found) = schedule.next(after) {
                    assert!(
                        found.start_ms > after && super::utc(found.start_ms).as_str() < "2201",
                        "{rule} after {after}"
                    );
                }
                schedule.is_open(after);
                schedule.next_opening(after);
            }
            assert_eq!(schedule.next(ms("2200-01-02T00:00:00Z")), None, "{rule}");
            assert!(schedule.next(ms("2026-01-01T00:00:00Z")).is_some(), "{rule}");
        }
    }
}
