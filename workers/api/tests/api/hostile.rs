//! Hostile schedules and configuration, row by row as the reliability document lists them: each is refused at `apply` by its code, at
//! the field where it stands, in YAML and in TOML, and nothing is written. (A secret file that everybody may read is no definition:
//! `roles/config/tests.rs` of the command line has it.)

use serde_json::{Value, json};

use crate::support::Service;

/// Row of the document, what somebody wrote, the code, the field.
type Row = (&'static str, String, &'static str, String);

fn extract(schedule: &str) -> String {
    format!("subscribers:\n  s1:\n    extract: {schedule}\n")
}

/// A schedule of which one option is wrong.
fn option(row: &'static str, schedule: &str, code: &'static str, option: &str) -> Row {
    let below = if option.is_empty() { String::new() } else { format!(".{option}") };
    (row, extract(schedule), code, format!("subscribers.s1.extract{below}"))
}

fn named(row: &'static str, name: &str) -> Row {
    (row, format!("subscribers:\n  {}: {{}}\n", json!(name)), "name-invalid", String::new())
}

fn schedules() -> Vec<Row> {
    vec![
        option("*/0", "{ cron: '*/0 * * * *', dialect: croner }", "cron-invalid", "cron"),
        option("*/0", "{ cron: '0 */0 * * * *', dialect: cron }", "cron-invalid", "cron"),
        option("*/0", "{ every: 0s }", "span-invalid", "every"),
        option("reversed ranges", "{ cron: '30-10 * * * *', dialect: croner }", "cron-invalid", "cron"),
        option("reversed ranges", "{ cron: '0 30-10 * * * *', dialect: cron }", "cron-invalid", "cron"),
        option("reversed ranges", "{ cron: '0 0 * * fri-mon', dialect: croner }", "cron-invalid", "cron"),
        option("reversed ranges", "{ daily: all, window: '20:00-20:00' }", "schedule-window-invalid", "window"),
        option("30 February", "{ yearly: '02-30', at: '02:00' }", "schedule-date-invalid", "yearly"),
        option("30 February", "{ once: '2030-02-30 02:00' }", "schedule-date-invalid", "once"),
        option("30 February", "{ every: 1d, from: '2030-02-30 02:00' }", "schedule-date-invalid", "from"),
        option("30 February", "{ cron: '0 2 30 2 *', dialect: croner }", "schedule-never-happens", ""),
        option("30 February", "{ cron: '0 0 2 30 2 ?', dialect: cron }", "schedule-never-happens", ""),
        option("year 9999", "{ once: '9999-12-31 23:59' }", "schedule-date-out-of-range", "once"),
        option("year 9999", "{ every: 10m, from: '9999-01-01 02:00' }", "schedule-date-out-of-range", "from"),
        option("year 9999", "{ cron: '0 0 0 1 1 ? 9999', dialect: cron }", "cron-invalid", "cron"),
        option("year 9999", "{ cron: '0 0 0 1 1 * 9999', dialect: croner }", "cron-invalid", "cron"),
        option("every second", "{ every: 1s }", "schedule-too-often", "every"),
        option("every second", "{ cron: '* * * * * *', dialect: croner }", "schedule-too-often", "cron"),
        option("every second", "{ cron: '* * * * * *', dialect: cron }", "schedule-too-often", "cron"),
        option(
            "every second",
            "{ daily: all, window: '20:00-22:00', repeat_every: 1s }",
            "schedule-too-often",
            "repeat_every",
        ),
        option(
            "time zone ../../etc/passwd",
            "{ daily: all, at: '03:00', time_zone: ../../etc/passwd }",
            "time-zone-unknown",
            "time_zone",
        ),
    ]
}

fn configuration() -> Vec<Row> {
    let zone = |kind: &str, field: &str| {
        let text = format!("{kind}:\n  s1: {{ time_zone: ../../etc/passwd }}\n");
        ("time zone ../../etc/passwd", text, "time-zone-unknown", field.to_owned())
    };
    let fixed = |row, text: &str, code, field: &str| (row, text.to_owned(), code, field.to_owned());
    vec![
        zone("subscribers", "subscribers.s1.time_zone"),
        zone("distributors", "distributors.s1.time_zone"),
        fixed("unknown keys", "subscriber: {}\n", "section-unknown", "subscriber"),
        fixed("unknown keys", "subscribers:\n  s1: { parnt: hq }\n", "field-unknown", "subscribers.s1.parnt"),
        option("unknown keys", "{ dialy: all, at: '03:00' }", "schedule-unknown", "dialy"),
        fixed("doubled keys", "subscribers: {}\nsubscribers: {}\n", "key-doubled", "subscribers"),
        fixed("doubled keys", "subscribers:\n  s1: {}\n  s1: {}\n", "key-doubled", "subscribers.s1"),
        option("doubled keys", "{ every: 5m, every: 10m }", "key-doubled", "every"),
        named("names empty", ""),
        named("names 300 bytes long", &"x".repeat(300)),
        named("names with regex meaning", "s.*"),
        named("names with regex meaning", "^s1$"),
        named("names with regex meaning", "s[12]"),
        named("names with regex meaning", "s%"),
        named("names with shell meaning", "$(reboot)"),
        named("names with shell meaning", "s1;reboot"),
        named("names with shell meaning", "`id`"),
        named("names with shell meaning", "s1 s2"),
        named("names with shell meaning", "-rf"),
        named("names with shell meaning", "../s1"),
    ]
}

/// The same in the other language; what TOML itself cannot say (a doubled key) it refuses by its own rule.
const IN_TOML: [(&str, &str, &str, &str); 9] = [
    (
        "*/0",
        "[subscribers.s1]\nextract = { cron = '*/0 * * * *', dialect = 'croner' }",
        "cron-invalid",
        "subscribers.s1.extract.cron",
    ),
    (
        "30 February",
        "[subscribers.s1]\nextract = { yearly = '02-30', at = '02:00' }",
        "schedule-date-invalid",
        "subscribers.s1.extract.yearly",
    ),
    (
        "year 9999",
        "[subscribers.s1]\nextract = { once = '9999-12-31 23:59' }",
        "schedule-date-out-of-range",
        "subscribers.s1.extract.once",
    ),
    (
        "every second",
        "[subscribers.s1]\nextract = { every = '1s' }",
        "schedule-too-often",
        "subscribers.s1.extract.every",
    ),
    (
        "time zone ../../etc/passwd",
        "[subscribers.s1]\ntime_zone = '../../etc/passwd'",
        "time-zone-unknown",
        "subscribers.s1.time_zone",
    ),
    ("unknown keys", "[subscribers.s1]\nparnt = 'hq'", "field-unknown", "subscribers.s1.parnt"),
    ("doubled keys", "[subscribers.s1]\n[subscribers.s1]", "key-doubled", ""),
    ("names empty", "[subscribers.\"\"]", "name-invalid", ""),
    ("names with shell meaning", "[subscribers.\"$(reboot)\"]", "name-invalid", ""),
];

#[tokio::test]
async fn every_row_is_refused_by_its_code_and_nothing_is_written() {
    let service = Service::start().await;
    let in_yaml = schedules().into_iter().chain(configuration()).map(|row| ("hostile.yaml", row));
    let in_toml =
        IN_TOML.map(|(row, text, code, field)| ("hostile.toml", (row, text.to_owned(), code, field.to_owned())));
    let mut rows = 0;
    for (file, (row, text, code, field)) in in_yaml.chain(in_toml) {
        // Beside something that is right: all or nothing.
        let files = json!([{ "name": file, "text": text }, { "name": "right.yaml", "text": "groups: { right: [] }" }]);
        let answer = service.post("/v1/apply", json!({ "files": files })).await;
        assert_eq!(
            (answer.status.as_u16(), answer.code()),
            (422, "definitions-invalid"),
            "{row}: {text}{}",
            answer.body
        );
        let errors = answer.body["errors"].as_array().unwrap();
        let told = errors.iter().find(|error| error["code"] == code && (field.is_empty() || error["field"] == *field));
        let told = told.unwrap_or_else(|| panic!("{row}: {text}not {code} at `{field}`: {}", answer.body));
        assert_eq!((&told["file"], told["line"].as_u64().unwrap() > 0), (&json!(file), true), "{row}: {told}");
        assert!(told.to_string().len() < 1_000, "{row}: {told}");
        rows += 1;
    }
    assert!(rows >= 50, "{rows}");
    assert_eq!(service.records.fleet().await.unwrap().version, 0);
    for table in ["tide_objects", "tide_schedules", "tide_requests", "tide_settings", "tide_lanes"] {
        let count = service.records.query(&format!("SELECT COUNT(*) FROM {table}")).await.unwrap();
        assert_eq!(count.rows, [[json!(0)]], "{table}");
    }
    service.end().await;
}

const NEIGHBOURS: &str = "
distributors: { hq: {} }
distributions: { d: { distributor: hq, type: file, sources: [ { path: /srv/d } ], target: /srv/t, mode: mirror, build: never } }
channels: { c: { distributions: [d], send: { every: 10m }, subscriptions: [s1, s10] }, c1: { distributions: [d], send: never, subscriptions: [s10] } }
subscribers: { s1: { extract: { every: 10m } }, s10: { extract: { every: 20m } } }
";

/// `s1` beside `s10`: what is done to the one is not done to the other.
#[tokio::test]
async fn a_name_that_begins_like_another_is_not_taken_for_it() {
    let service = Service::start().await;
    let apply = async |text: &str| {
        let files = json!([{ "name": "neighbours.yaml", "text": text }]);
        let answer = service.post("/v1/apply", json!({ "files": files })).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
    };
    let rows = async |sql: &str| service.records.query(sql).await.unwrap().rows;
    apply(NEIGHBOURS).await;
    let of_ten = "SELECT spec, anchor_ms, next_due_ms FROM tide_schedules WHERE name = 'extract/s10'";
    let targets = "SELECT channel, distribution FROM tide_targets WHERE subscriber = 's10' ORDER BY 1, 2";
    let before = (rows(of_ten).await, rows(targets).await);
    assert_eq!(before.1.len(), 2);
    apply("subscribers: { s2: { renamed_from: s1, extract: { every: 30m } } }\nchannels: { c: { distributions: [d], send: { every: 10m }, subscriptions: [s2, s10] } }").await;
    assert_eq!((rows(of_ten).await, rows(targets).await), before, "s1 was renamed");
    apply("channels: { c: { distributions: [d], send: { every: 10m }, subscriptions: [s10] } }").await;
    let gone = service.delete("/v1/objects/subscribers/s2").await;
    assert_eq!(gone.status, 200, "{}", gone.body);
    assert_eq!((rows(of_ten).await, rows(targets).await), before, "it was deleted");
    let names: Vec<Value> = rows("SELECT name FROM tide_schedules ORDER BY 1").await.concat();
    assert_eq!(names, ["build/d", "extract/s10", "refresh/hq", "send/c", "send/c1"]);
    service.end().await;
}
