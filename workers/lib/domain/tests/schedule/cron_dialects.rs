//! Cron expressions, held against the programs whose dialects they are, in UTC, where local times are instants.

use std::str::FromStr;

use chrono::DateTime;
use proptest::prelude::*;
use serde_json::json;

use super::{ms, read, starts, utc};

const FOUND_MAX: usize = 40;

fn ours(text: &str, dialect: &str, from: &str) -> Option<Vec<String>> {
    let schedule = read(json!({ "cron": text, "dialect": dialect }), "UTC").ok()?;
    let mut all = Vec::new();
    let mut next = schedule.next(ms(from));
    while let Some(found) = next.filter(|_| all.len() < FOUND_MAX) {
        all.push(utc(found.start_ms));
        next = schedule.next(found.start_ms);
    }
    Some(all)
}

/// What the crate `cron` says; it knows no year beyond 2100.
fn by_cron(text: &str, from: &str) -> Option<Vec<String>> {
    let schedule = cron::Schedule::from_str(text).ok()?;
    let after = DateTime::from_timestamp_millis(ms(from)).unwrap();
    Some(schedule.after(&after).take(FOUND_MAX).map(|at| utc(at.timestamp_millis())).collect())
}

fn by_croner(text: &str, from: &str) -> Option<Vec<String>> {
    let cron = croner::Cron::from_str(text).ok()?;
    let mut at: jiff::Zoned = from.parse::<jiff::Timestamp>().unwrap().to_zoned(jiff::tz::TimeZone::UTC);
    let mut all = Vec::new();
    while all.len() < FOUND_MAX {
        let Ok(next) = cron.find_next_occurrence(&at, false) else { break };
        all.push(utc(next.timestamp().as_millisecond()));
        at = next;
    }
    Some(all)
}

/// Ours ends in 2199, `cron` in 2100: only what all of them name is compared.
fn within(all: Vec<String>) -> Vec<String> {
    all.into_iter().filter(|at| at.as_str() < "2100").collect()
}

fn number(min: u32, max: u32) -> impl Strategy<Value = String> {
    (min..=max).prop_map(|n| n.to_string())
}

/// One field that both a number line and either dialect know.
fn field(min: u32, max: u32) -> impl Strategy<Value = String> {
    let range = (min..=max, min..=max).prop_map(|(a, b)| format!("{}-{}", a.min(b), a.max(b)));
    let item = prop_oneof![
        3 => number(min, max),
        2 => range.clone(),
        1 => (range, 1..=9u32).prop_map(|(range, step)| format!("{range}/{step}")),
        1 => (2..=20u32).prop_map(|step| format!("*/{step}")),
    ];
    prop_oneof![
        2 => Just("*".to_owned()),
        3 => proptest::collection::vec(item, 1..3).prop_map(|items| items.join(",")),
    ]
}

/// Seconds that keep their distance.
fn second() -> impl Strategy<Value = String> {
    prop_oneof![Just("0".to_owned()), Just("*/15".to_owned()), number(0, 59), Just("5,35".to_owned())]
}

fn croner_days() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => field(1, 31),
        1 => Just("L".to_owned()),
        1 => Just("LW".to_owned()),
        1 => (1..=31u32).prop_map(|day| format!("{day}W")),
        1 => Just("?".to_owned()),
    ]
}

fn croner_weekdays() -> impl Strategy<Value = String> {
    let plain = prop_oneof![
        4 => field(0, 7),
        1 => (0..=6u32, 1..=5u32).prop_map(|(day, nth)| format!("{day}#{nth}")),
        1 => (0..=6u32).prop_map(|day| format!("{day}L")),
        1 => Just("mon-fri".to_owned()),
        1 => Just("SAT,SUN".to_owned()),
        1 => Just("fri-sun".to_owned()),
    ];
    (plain, any::<bool>()).prop_map(|(days, both)| if both { format!("+{days}") } else { days })
}

fn instant() -> impl Strategy<Value = String> {
    (1_500_000_000i64..2_200_000_000).prop_map(|s| utc(s * 1_000))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn the_dialect_cron_is_read_as_cron_reads_it(
        second in second(), minute in field(0, 59), hour in field(0, 23), day in field(1, 31), month in field(1, 12),
        weekday in field(1, 7), year in prop_oneof![3 => Just(String::new()), 1 => Just(" 2020-2060".to_owned())], from in instant(),
    ) {
        let text = format!("{second} {minute} {hour} {day} {month} {weekday}{year}");
        let theirs = by_cron(&text, &from).map(within).unwrap_or_default();
        match ours(&text, "cron", &from) {
            Some(ours) => prop_assert_eq!(within(ours), theirs, "{}", text),
            None => prop_assert!(theirs.is_empty(), "{} is refused, and names {:?}", text, theirs),
        }
    }
}

proptest! {
    // Its search for a day that never comes goes on for three thousand years.
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn the_dialect_croner_is_read_as_croner_reads_it(
        second in prop_oneof![2 => Just(String::new()), 1 => second().prop_map(|s| s + " ")],
        minute in field(0, 59), hour in field(0, 23), day in croner_days(), month in field(1, 12),
        weekday in croner_weekdays(), from in instant(),
    ) {
        let text = format!("{second}{minute} {hour} {day} {month} {weekday}");
        let theirs = by_croner(&text, &from).map(within).unwrap_or_default();
        match ours(&text, "croner", &from) {
            Some(ours) => prop_assert_eq!(within(ours), theirs, "{}", text),
            None => prop_assert!(theirs.is_empty(), "{} is refused, and names {:?}", text, theirs),
        }
    }
}

#[test]
fn names_nicknames_and_months_are_read_alike() {
    let from = "2026-01-01T00:00:00Z";
    for text in [
        "@yearly",
        "@monthly",
        "@weekly",
        "@daily",
        "@hourly",
        "0 0 0 1 jan-mar,DEC ?",
        "0 0 0 ? * Tues-Saturday",
        "30 5/15 * * * *",
    ] {
        assert_eq!(ours(text, "cron", from).map(within), by_cron(text, from).map(within), "{text}");
    }
    for text in [
        "@annually",
        "@monthly",
        "@weekly",
        "@daily",
        "@hourly",
        "0 0 1 jan-mar,DEC *",
        "0 0 L,15W * tue#2,friL",
        "0 12 * * sun",
    ] {
        assert_eq!(ours(text, "croner", from).map(within), by_croner(text, from).map(within), "{text}");
    }
}

/// What neither reads, none reads here; and ours reads nothing that the dialect's own program refuses.
#[test]
fn what_a_dialects_own_program_refuses_is_refused() {
    for text in [
        "*/0 * * * * *",
        "0 0 0 0 * *",
        "0 0 0 * * 0",
        "0 0 0 * * 8",
        "0 60 * * * *",
        "0 0 0 L * *",
        "0 30-10 * * * *",
        "",
        "0 0 0 * mon *",
    ] {
        assert!(by_cron(text, "2026-01-01T00:00:00Z").is_none_or(|all| all.is_empty()), "{text}");
        assert!(ours(text, "cron", "2026-01-01T00:00:00Z").is_none(), "{text}");
    }
    for text in [
        "*/0 * * * *",
        "0 0 0 * *",
        "0 0 * * 8",
        "60 * * * *",
        "5/10 * * * *",
        "/10 * * * *",
        "30-10 * * * *",
        "0 0 * * 1#6",
        "0 0 * * W",
    ] {
        assert!(by_croner(text, "2026-01-01T00:00:00Z").is_none(), "{text}");
        assert!(ours(text, "croner", "2026-01-01T00:00:00Z").is_none(), "{text}");
    }
}

#[test]
fn a_search_without_result_ends_soon() {
    let begun = std::time::Instant::now();
    assert!(read(json!({ "cron": "0 0 30 2 *", "dialect": "croner" }), "UTC").is_err());
    let rare = read(json!({ "cron": "0 0 29 2 +mon", "dialect": "croner" }), "Europe/Paris").unwrap();
    assert_eq!(starts(&rare, ms("2026-01-01T00:00:00Z"), ms("2060-01-01T00:00:00Z")).len(), 1);
    assert!(begun.elapsed().as_millis() < 500, "{:?}", begun.elapsed());
}
