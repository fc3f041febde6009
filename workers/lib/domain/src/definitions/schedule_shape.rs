//! Whether a value is a schedule of this version, and a message for each way in which it is not.

use serde_json::{Map, Value};

use super::check::Checker;
use super::error::{code, quoted};
use super::places::below;
use super::suggest::nearest;

const ALLOWED: &str = "allowed here: never, immediately, every: <span> (30s, 10m, 2h, 1d)";
/// Kinds and their options that a later version brings.
const LATER: [&str; 21] = [
    "once",
    "daily",
    "weekly",
    "monthly",
    "yearly",
    "cron",
    "event",
    "after",
    "window",
    "stop_at_end",
    "repeat_every",
    "random_start",
    "time_zone",
    "from",
    "at",
    "delay_days",
    "short_month",
    "catch_up",
    "overlap",
    "days",
    "weekdays",
];
const KNOWN: [&str; 11] =
    ["never", "immediately", "every", "once", "daily", "weekly", "monthly", "yearly", "cron", "event", "after"];

pub(super) fn check(checker: &mut Checker<'_>, value: &Value, field: &str) {
    match value {
        Value::String(word) => check_word(checker, word, field),
        Value::Object(map) => check_map(checker, map, field),
        Value::Null => checker.add(code::VALUE_MISSING, field, "has no value", ALLOWED),
        _ => checker.add(code::WRONG_TYPE, field, "is not a schedule", ALLOWED),
    }
}

fn check_word(checker: &mut Checker<'_>, word: &str, field: &str) {
    match word {
        "never" | "immediately" => {}
        _ if word.parse::<schemas::Span>().is_ok() => {
            let message = format!("{} alone is not a schedule", quoted(word));
            checker.add(code::SCHEDULE_UNKNOWN, field, message, format!("write `{{ every: {word} }}`"));
        }
        _ => refuse_kind(checker, word, field),
    }
}

fn check_map(checker: &mut Checker<'_>, map: &Map<String, Value>, field: &str) {
    for key in map.keys().filter(|key| *key != "every") {
        refuse_kind(checker, key, &below(field, key));
    }
    match map.get("every") {
        Some(Value::String(text)) => {
            if let Err(error) = text.parse::<schemas::Span>() {
                let message = super::error::printable(&error.to_string());
                checker.add(code::SPAN_INVALID, &below(field, "every"), message, "for example `every: 10m`");
            }
        }
        Some(_) => {
            let message = "is not a length of time";
            checker.add(code::SPAN_INVALID, &below(field, "every"), message, "allowed here: 30s, 10m, 2h, 1d, 1h30m");
        }
        None if map.is_empty() => checker.add(code::VALUE_MISSING, field, "has no value", ALLOWED),
        None => {}
    }
}

fn refuse_kind(checker: &mut Checker<'_>, word: &str, field: &str) {
    if LATER.contains(&word) {
        let message = format!("schedule kind {} comes with a later version", quoted(word));
        return checker.add(code::LATER_VERSION, field, message, ALLOWED);
    }
    let hint = nearest(word, KNOWN).map(|known| format!(" (`{known}`?)")).unwrap_or_default();
    checker.add(code::SCHEDULE_UNKNOWN, field, format!("unknown schedule kind {}{hint}", quoted(word)), ALLOWED);
}
