//! Hostile and wrong schedules: each is refused by its code, with an example that is right.

use serde_json::{Value, json};

use super::read;

#[test]
fn wrong_schedules_are_refused_by_their_codes() {
    let long = "1".repeat(500);
    let cron = |text: &str| json!({ "cron": text, "dialect": "croner" });
    let cases: Vec<(Value, &str, &str)> = vec![
        (json!({ "at": "02:00" }), "schedule-kind-missing", ""),
        (json!({ "daily": "all", "weekly": "sun", "at": "02:00" }), "schedule-kind-doubled", "weekly"),
        (json!({ "daily": "all" }), "schedule-time-missing", ""),
        (json!({ "daily": "all", "at": "24:00" }), "schedule-time-invalid", "at"),
        (json!({ "daily": "all", "at": "2:00" }), "schedule-time-invalid", "at"),
        (json!({ "daily": [], "at": "02:00" }), "schedule-day-invalid", "daily"),
        (json!({ "daily": ["mo"], "at": "02:00" }), "weekday-unknown", "daily"),
        (json!({ "weekly": "someday", "at": "02:00" }), "weekday-unknown", "weekly"),
        (json!({ "monthly": 32, "at": "02:00" }), "schedule-day-invalid", "monthly"),
        (json!({ "monthly": 0, "at": "02:00" }), "schedule-day-invalid", "monthly"),
        (json!({ "monthly": "sixth friday", "at": "02:00" }), "schedule-day-invalid", "monthly"),
        (json!({ "monthly": 15, "delay_days": 32, "at": "02:00" }), "schedule-day-invalid", "delay_days"),
        (json!({ "monthly": 15, "short_month": "skip", "at": "02:00" }), "schedule-option-unfit", "short_month"),
        (json!({ "yearly": "02-30", "at": "02:00" }), "schedule-date-invalid", "yearly"),
        (json!({ "yearly": "13-01", "at": "02:00" }), "schedule-date-invalid", "yearly"),
        (json!({ "once": "2026-02-30 02:00" }), "schedule-date-invalid", "once"),
        (json!({ "once": "9999-01-01 02:00" }), "schedule-date-out-of-range", "once"),
        (json!({ "once": "tomorrow" }), "schedule-date-invalid", "once"),
        (json!({ "every": "1s" }), "schedule-too-often", "every"),
        (json!({ "every": "1d12h" }), "span-invalid", "every"),
        (json!({ "every": "400d" }), "span-invalid", "every"),
        (json!({ "every": "10m", "from": "9999-01-01 02:00" }), "schedule-date-out-of-range", "from"),
        (json!({ "every": "10m", "at": "02:00" }), "schedule-option-unfit", "at"),
        (json!({ "daily": "all", "window": "20:00" }), "schedule-window-invalid", "window"),
        (json!({ "daily": "all", "window": "20:00-20:00" }), "schedule-window-invalid", "window"),
        (json!({ "daily": "all", "window": "20:00-22:00", "at": "23:00" }), "schedule-window-invalid", "at"),
        (json!({ "daily": "all", "window": "20:00-22:00", "repeat_every": "1d" }), "span-invalid", "repeat_every"),
        (
            json!({ "daily": "all", "window": "20:00-22:00", "repeat_every": "1s" }),
            "schedule-too-often",
            "repeat_every",
        ),
        (json!({ "daily": "all", "at": "02:00", "repeat_every": "5m" }), "schedule-option-unfit", "repeat_every"),
        (json!({ "daily": "all", "at": "02:00", "random_start": true }), "schedule-option-unfit", "random_start"),
        (json!({ "daily": "all", "at": "02:00", "time_zone": "../../etc/passwd" }), "time-zone-unknown", "time_zone"),
        (json!({ "daily": "all", "at": "02:00", "time_zone": "europe/paris" }), "time-zone-unknown", "time_zone"),
        (json!({ "event": "../x" }), "event-invalid", "event"),
        (json!({ "event": "startup", "catch_up": "all" }), "schedule-option-unfit", "catch_up"),
        (json!({ "after": "Paris" }), "name-invalid", "after"),
        (json!({ "after": "paris", "overlap": "skip" }), "schedule-option-unfit", "overlap"),
        (json!({ "after": "paris", "delay": "400d" }), "span-invalid", "delay"),
        (json!({ "cron": "* * * * *" }), "cron-dialect-missing", "cron"),
        (json!({ "cron": "0 0 30 2 *", "dialect": "croner" }), "schedule-never-happens", ""),
        (json!({ "cron": "0 0 0 31 4 * 2030", "dialect": "cron" }), "schedule-never-happens", ""),
        (json!({ "cron": "0 0 * * *", "dialect": "cron" }), "cron-invalid", "cron"),
        (json!({ "cron": "0 0 0 * * tue#2", "dialect": "cron" }), "cron-invalid", "cron"),
        (cron("* * * * * *"), "schedule-too-often", "cron"),
        (cron("0,59 * * * * *"), "schedule-too-often", "cron"),
        (cron("*/0 * * * *"), "cron-invalid", "cron"),
        (cron("30-10 * * * *"), "cron-invalid", "cron"),
        (cron("60 * * * *"), "cron-invalid", "cron"),
        (cron("0 24 * * *"), "cron-invalid", "cron"),
        (cron("0 0 32 * *"), "cron-invalid", "cron"),
        (cron("0 0 * 13 *"), "cron-invalid", "cron"),
        (cron("0 0 * * 8"), "cron-invalid", "cron"),
        (cron("0 0 * * mon#6"), "cron-invalid", "cron"),
        (cron("0 0 0 1 1 * 9999"), "cron-invalid", "cron"),
        (cron("5/15 * * * *"), "cron-invalid", "cron"),
        (cron(",1 * * * *"), "cron-invalid", "cron"),
        (cron("0 0 * *"), "cron-invalid", "cron"),
        (cron("@reboot"), "cron-invalid", "cron"),
        (cron(""), "cron-invalid", "cron"),
        (cron(&format!("{long} * * * *")), "cron-invalid", "cron"),
    ];
    for (rule, code, field) in cases {
        let faults = read(rule.clone(), "UTC").err().unwrap_or_else(|| panic!("accepted: {rule}"));
        let found = faults.iter().find(|fault| fault.code == code).unwrap_or_else(|| panic!("{rule}: {faults:?}"));
        assert_eq!(found.field, field, "{rule}: {found}");
        assert!(!found.example.is_empty() && found.to_string().len() < 500, "{found}");
    }
}

/// What stands behind "for example" in a message is accepted by the reader that told it.
#[test]
fn the_examples_in_messages_are_right() {
    for rule in [
        json!({ "monthly": "second tuesday", "at": "02:00" }),
        json!({ "daily": ["mon", "tue", "wed", "thu", "fri"], "window": "20:00-05:00", "repeat_every": "5m" }),
        json!({ "weekly": "sunday", "at": "02:00" }),
        json!({ "monthly": "last friday", "delay_days": 4, "at": "02:00" }),
        json!({ "yearly": "12-24", "window": "00:00-24:00" }),
        json!({ "once": "2026-12-24 18:00" }),
        json!({ "every": "1h30m", "from": "2026-12-24 18:00" }),
        json!({ "cron": "30 2 * * mon-fri", "dialect": "croner" }),
        json!({ "after": "paris", "delay": "30m" }),
        json!({ "event": "maintenance-begins" }),
    ] {
        assert!(read(rule.clone(), "UTC").is_ok(), "{rule}");
    }
}
