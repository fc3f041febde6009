//! Whether a value is a schedule, and a message for each way in which it is not. What its texts mean is read by `schedule`.

use serde_json::{Map, Value};

use super::check::Checker;
use super::error::{code, printable, quoted};
use super::places::below;
use super::suggest::nearest;
use crate::schedule::{self, Setting};

const ALLOWED: &str = "allowed here: never, immediately, or one of once, every, daily, weekly, monthly, yearly, cron, \
                       event, after, such as `{ every: 10m }` or `{ monthly: second tuesday, at: \"02:00\" }`";
const WORDS: [&str; 2] = ["never", "immediately"];

/// What the value of an option is, before its text is read.
#[derive(Debug, Clone, Copy)]
enum Form {
    Text,
    /// A text, with this code if it is none.
    TextOr(&'static str),
    TextOrList,
    TextOrWhole {
        min: u64,
        max: u64,
    },
    Whole {
        max: u64,
    },
    Flag,
    Word(&'static [&'static str]),
}

/// Every option, with its form and how one is written.
const OPTIONS: [(&str, Form, &str); 22] = [
    ("once", Form::Text, "once: \"2026-12-24 18:00\""),
    ("every", Form::TextOr(code::SPAN_INVALID), "every: 10m"),
    ("daily", Form::TextOrList, "daily: [mon, tue, wed, thu, fri]"),
    ("weekly", Form::Text, "weekly: sunday"),
    ("monthly", Form::TextOrWhole { min: 1, max: 31 }, "monthly: second tuesday"),
    ("yearly", Form::Text, "yearly: \"12-24\""),
    ("cron", Form::Text, "cron: \"30 2 * * mon-fri\""),
    ("event", Form::Text, "event: startup"),
    ("after", Form::Text, "after: paris"),
    ("dialect", Form::Word(&["cron", "croner"]), "dialect: croner"),
    ("from", Form::Text, "from: \"2026-12-24 18:00\""),
    ("at", Form::Text, "at: \"02:00\""),
    ("delay_days", Form::Whole { max: 31 }, "delay_days: 4"),
    ("short_month", Form::Word(&["last", "skip"]), "short_month: skip"),
    ("window", Form::Text, "window: \"20:00-05:00\""),
    ("stop_at_end", Form::Flag, "stop_at_end: true"),
    ("repeat_every", Form::TextOr(code::SPAN_INVALID), "repeat_every: 5m"),
    ("random_start", Form::Flag, "random_start: true"),
    ("delay", Form::TextOr(code::SPAN_INVALID), "delay: 30m"),
    ("time_zone", Form::Text, "time_zone: Europe/Paris"),
    ("catch_up", Form::Word(&["one", "none", "all"]), "catch_up: none"),
    ("overlap", Form::Word(&["queue", "skip", "beside"]), "overlap: skip"),
];

pub(super) fn check(checker: &mut Checker<'_>, value: &Value, field: &str) {
    match value {
        Value::String(word) => check_word(checker, word, field),
        Value::Object(map) => check_map(checker, map, field),
        Value::Null => checker.add(code::VALUE_MISSING, field, "has no value", ALLOWED),
        _ => checker.add(code::WRONG_TYPE, field, "is not a schedule", ALLOWED),
    }
}

fn check_word(checker: &mut Checker<'_>, word: &str, field: &str) {
    if WORDS.contains(&word) {
        return;
    }
    if word.parse::<schemas::Span>().is_ok() {
        let message = format!("{} alone is not a schedule", quoted(word));
        return checker.add(code::SCHEDULE_UNKNOWN, field, message, format!("write `{{ every: {word} }}`"));
    }
    if let Some((_, _, example)) = OPTIONS.iter().find(|(name, ..)| *name == word) {
        let message = format!("{} alone is not a schedule", quoted(word));
        return checker.add(code::SCHEDULE_UNKNOWN, field, message, format!("for example `{{ {example} }}`"));
    }
    refuse_unknown(checker, word, field);
}

fn check_map(checker: &mut Checker<'_>, map: &Map<String, Value>, field: &str) {
    if map.is_empty() {
        return checker.add(code::VALUE_MISSING, field, "has no value", ALLOWED);
    }
    let mut is_sound = true;
    for (name, value) in map {
        let path = below(field, name);
        match OPTIONS.iter().find(|(known, ..)| known == name) {
            Some((_, form, example)) => is_sound &= check_option(checker, *form, value, &path, example),
            None => {
                refuse_unknown(checker, name, &path);
                is_sound = false;
            }
        }
    }
    if is_sound {
        read(checker, map, field);
    }
}

fn refuse_unknown(checker: &mut Checker<'_>, word: &str, field: &str) {
    let known = OPTIONS.iter().map(|(name, ..)| *name).chain(WORDS);
    let hint = nearest(word, known).map(|known| format!(" (`{known}`?)")).unwrap_or_default();
    checker.add(code::SCHEDULE_UNKNOWN, field, format!("unknown schedule kind {}{hint}", quoted(word)), ALLOWED);
}

/// True if the value has the form of its option.
fn check_option(checker: &mut Checker<'_>, form: Form, value: &Value, field: &str, example: &str) -> bool {
    let allowed = format!("for example `{example}`");
    let in_range = |min: u64, max: u64| value.as_u64().is_some_and(|n| (min..=max).contains(&n));
    let fault = match (form, value) {
        (_, Value::Null) => Some((code::VALUE_MISSING, "has no value".to_owned())),
        (Form::Text | Form::TextOr(_) | Form::TextOrList | Form::TextOrWhole { .. }, Value::String(_)) => None,
        (Form::TextOr(code), _) => Some((code, "is not a length of time".to_owned())),
        (Form::TextOrList, Value::Array(items)) if items.iter().all(Value::is_string) => None,
        (Form::TextOrWhole { min, max }, Value::Number(_)) if in_range(min, max) => None,
        (Form::Whole { max }, Value::Number(_)) if in_range(0, max) => None,
        (Form::TextOrWhole { min, max }, Value::Number(number)) => {
            Some((code::OUT_OF_RANGE, format!("{number} is out of range: {min} to {max}")))
        }
        (Form::Whole { max }, Value::Number(number)) => {
            Some((code::OUT_OF_RANGE, format!("{number} is out of range: 0 to {max}")))
        }
        (Form::Flag, Value::Bool(_)) => None,
        (Form::Word(words), Value::String(word)) if words.contains(&word.as_str()) => None,
        (Form::Word(words), Value::String(word)) => {
            Some((code::VALUE_UNKNOWN, format!("unknown value {}; there are {}", quoted(word), words.join(", "))))
        }
        _ => Some((code::WRONG_TYPE, "is not what is written here".to_owned())),
    };
    if let Some((code, message)) = &fault {
        checker.add(code, field, message, allowed);
    }
    fault.is_none()
}

/// The zone of the object is checked where it is written; here any will do.
fn read(checker: &mut Checker<'_>, map: &Map<String, Value>, field: &str) {
    let declared: schemas::Schedule = match serde_json::from_value(Value::Object(map.clone())) {
        Ok(declared) => declared,
        Err(error) => return checker.add(code::VALUE_INVALID, field, printable(&error.to_string()), ALLOWED),
    };
    let setting = Setting { zone: "UTC", anchor_ms: 0, seed: "" };
    if let Err(faults) = schedule::Schedule::read(&declared, setting) {
        for fault in faults {
            let path = if fault.field.is_empty() { field.to_owned() } else { below(field, fault.field) };
            checker.add(fault.code, &path, printable(&fault.message), fault.example);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_options_and_the_type_know_the_same_fields() {
        let schema = schemas::published().into_iter().find(|(name, _)| *name == "definitions.schema.json").unwrap().1;
        let typed = schema["definitions"]["Rule"]["properties"].as_object().unwrap();
        let typed: BTreeSet<_> = typed.keys().map(String::as_str).collect();
        assert_eq!(OPTIONS.iter().map(|(name, ..)| *name).collect::<BTreeSet<_>>(), typed);
    }
}
