//! Definitions of the wrong form: each fault has its stable code, its line and its field, and nothing is accepted.

mod support;

use domain::definitions::limits::{DEPTH_MAX, FILE_BYTES_MAX, FILES_MAX, NODES_MAX};
use domain::definitions::parse;
use proptest::prelude::*;
use support::{FLEET, codes, listed, yaml};

/// A distribution with one field replaced or added.
fn distribution(field: &str) -> String {
    let mut fields = vec![
        ("distributor", "hq"),
        ("type", "file"),
        ("sources", "[ { path: /srv/av } ]"),
        ("target", "/srv/av"),
        ("mode", "mirror"),
        ("build", "never"),
    ];
    let (name, value) = field.split_once(": ").unwrap();
    fields.retain(|(known, _)| *known != name);
    fields.push((name, value));
    let lines: String = fields.iter().map(|(name, value)| format!("    {name}: {value}\n")).collect();
    format!("distributions:\n  av:\n{lines}")
}

fn subscriber(field: &str) -> String {
    format!("subscribers:\n  s1:\n    {field}\n")
}

fn channel(field: &str) -> String {
    format!("channels:\n  c1:\n    distributions: []\n    {field}\n")
}

/// A sync with one field replaced or added.
fn sync(field: &str) -> String {
    let mut fields = vec![("subscriber", "s1"), ("components", "[core]"), ("schedule", "never")];
    let (name, value) = field.split_once(": ").unwrap();
    fields.retain(|(known, _)| *known != name);
    fields.push((name, value));
    let lines: String = fields.iter().map(|(name, value)| format!("    {name}: {value}\n")).collect();
    format!("syncs:\n  s1:\n{lines}")
}

#[test]
fn every_hostile_definition_is_refused_with_its_stable_code() {
    let long = "x".repeat(300);
    let cases: Vec<(String, &str, &str)> = vec![
        // form
        ("a: [".into(), "yaml-malformed", ""),
        ("subscribers:\n\ts1: {}".into(), "yaml-malformed", ""),
        ("[1, 2]".into(), "wrong-type", ""),
        ("subscribers: {}\n\0groups: {}".into(), "control-character", ""),
        ("just text".into(), "wrong-type", ""),
        ("subscribers: {}\n---\nsubscribers: {}".into(), "yaml-documents", ""),
        ("subscribers: &a {}\ngroups: *a".into(), "yaml-alias", ""),
        ("subscribers: !!map {}".into(), "yaml-tag", ""),
        ("? [a]\n: b".into(), "key-not-text", ""),
        ("subscribers: {}\nsubscribers: {}".into(), "key-doubled", "subscribers"),
        (subscriber("lan: a\n    lan: b"), "key-doubled", "subscribers.s1.lan"),
        (format!("groups: {}{}", "[".repeat(DEPTH_MAX + 1), "]".repeat(DEPTH_MAX + 1)), "too-deep", ""),
        ("#".repeat(FILE_BYTES_MAX + 1), "file-too-large", ""),
        // what is known
        ("subscriber: {}".into(), "section-unknown", "subscriber"),
        ("policies: {}".into(), "later-version", "policies"),
        ("sync: {}".into(), "section-unknown", "sync"),
        ("subscribers: [s1]".into(), "wrong-type", "subscribers"),
        (subscriber("parnt: x"), "field-unknown", "subscribers.s1.parnt"),
        (subscriber("external: true"), "later-version", "subscribers.s1.external"),
        (subscriber("limits: { rate_in: 5, rate: 5 }"), "field-unknown", "subscribers.s1.limits.rate"),
        ("distributions:\n  av: {}".into(), "field-missing", "distributions.av"),
        (distribution("type: rpm"), "later-version", "distributions.av.type"),
        (distribution("type: zip"), "value-unknown", "distributions.av.type"),
        (distribution("mode: sync"), "value-unknown", "distributions.av.mode"),
        (distribution("encryption: rot13"), "value-unknown", "distributions.av.encryption"),
        (distribution("active: yes"), "wrong-type", "distributions.av.active"),
        (distribution("max_revisions: 0"), "out-of-range", "distributions.av.max_revisions"),
        (distribution("max_revisions: -1"), "out-of-range", "distributions.av.max_revisions"),
        (distribution("max_revisions: 1.5"), "out-of-range", "distributions.av.max_revisions"),
        (distribution("max_revisions: 99999999999999999999"), "wrong-type", "distributions.av.max_revisions"),
        (distribution("max_revisions: .nan"), "wrong-type", "distributions.av.max_revisions"),
        (distribution("max_age: 5s"), "out-of-range", "distributions.av.max_age"),
        (distribution("max_age: old"), "span-invalid", "distributions.av.max_age"),
        (distribution("delete_before_receive: 1"), "wrong-type", "distributions.av.delete_before_receive"),
        (distribution("title: 2026"), "wrong-type", "distributions.av.title"),
        (distribution("title: "), "value-missing", "distributions.av.title"),
        (distribution(&format!("title: {long}")), "text-too-long", "distributions.av.title"),
        (distribution(r#"title: "a\u001b[31m""#), "control-character", "distributions.av.title"),
        (distribution(r#"title: "a\u202eb""#), "control-character", "distributions.av.title"),
        (distribution(r#"title: " ""#), "text-empty", "distributions.av.title"),
        (distribution(r#"labels: { a: "x\ny" }"#), "control-character", "distributions.av.labels.a"),
        (distribution("labels: { 'a b': x }"), "label-invalid", "distributions.av.labels.a b"),
        (distribution("component: all"), "name-reserved", "distributions.av.component"),
        (distribution("component: Core;"), "label-invalid", "distributions.av.component"),
        // sources, targets, globs
        (distribution("sources: []"), "value-missing", "distributions.av.sources"),
        (distribution("sources: [ { path: srv/av } ]"), "path-invalid", "distributions.av.sources[0].path"),
        (distribution("sources: [ { path: /srv/../etc } ]"), "path-invalid", "distributions.av.sources[0].path"),
        (distribution(r#"sources: [ { path: "/srv\0" } ]"#), "control-character", "distributions.av.sources[0].path"),
        (distribution("sources: [ { url: 'https://x' } ]"), "later-version", "distributions.av.sources[0].url"),
        (distribution("sources: [ { path: /a, into: /b } ]"), "path-invalid", "distributions.av.sources[0].into"),
        (distribution("sources: [ { path: /a, into: ../b } ]"), "path-invalid", "distributions.av.sources[0].into"),
        (
            distribution("sources: [ { path: /a, exclude: ['a[']} ]"),
            "glob-invalid",
            "distributions.av.sources[0].exclude[0]",
        ),
        (
            distribution("sources: [ { path: /a, include: ['../*']} ]"),
            "glob-invalid",
            "distributions.av.sources[0].include[0]",
        ),
        (distribution("target: relative/path"), "path-invalid", "distributions.av.target"),
        (distribution("target: /a/../../etc"), "path-invalid", "distributions.av.target"),
        (distribution("target: /"), "path-invalid", "distributions.av.target"),
        (distribution("target: //./"), "path-invalid", "distributions.av.target"),
        (distribution("target: '%VOL/av'"), "variable-malformed", "distributions.av.target"),
        (distribution("target: '%%/av'"), "path-invalid", "distributions.av.target"),
        (distribution("target: 'C:\\x'"), "path-invalid", "distributions.av.target"),
        // names
        ("subscribers: { '': {} }".into(), "name-invalid", "subscribers."),
        (format!("subscribers: {{ {long}: {{}} }}"), "name-invalid", ""),
        ("subscribers: { 's1*': {} }".into(), "name-invalid", "subscribers.s1*"),
        ("subscribers: { '$(reboot)': {} }".into(), "name-invalid", "subscribers.$(reboot)"),
        ("subscribers: { S1: {} }".into(), "name-invalid", "subscribers.S1"),
        ("subscribers: { origin: {} }".into(), "name-reserved", "subscribers.origin"),
        ("channels: { control: { distributions: [], send: never } }".into(), "name-reserved", "channels.control"),
        ("channels: { sync: { distributions: [], send: never } }".into(), "name-reserved", "channels.sync"),
        (subscriber("parent: ../x"), "name-invalid", "subscribers.s1.parent"),
        ("groups: { g: [a, a] }".into(), "listed-twice", "groups.g[1]"),
        ("groups: { g: nobody }".into(), "wrong-type", "groups.g"),
        // syncs
        ("syncs: { s1: }".into(), "field-missing", "syncs.s1"),
        ("syncs: [s1]".into(), "wrong-type", "syncs"),
        ("syncs: { '../s1': {} }".into(), "name-invalid", "syncs.../s1"),
        (format!("syncs: {{ {long}: {{}} }}"), "name-invalid", ""),
        (sync("subscriber: ../x"), "name-invalid", "syncs.s1.subscriber"),
        (sync("subscriber: [s1]"), "wrong-type", "syncs.s1.subscriber"),
        (sync("components: core"), "wrong-type", "syncs.s1.components"),
        (sync("components: []"), "value-missing", "syncs.s1.components"),
        (sync("components: [core, core]"), "listed-twice", "syncs.s1.components[1]"),
        (sync("components: ['Core;']"), "label-invalid", "syncs.s1.components[0]"),
        (sync("components: ['*']"), "label-invalid", "syncs.s1.components[0]"),
        (sync("components: [1]"), "wrong-type", "syncs.s1.components[0]"),
        (sync(&format!("components: [{long}]")), "label-invalid", "syncs.s1.components[0]"),
        (sync("schedule: "), "value-missing", "syncs.s1.schedule"),
        (sync("schedule: dayly"), "schedule-unknown", "syncs.s1.schedule"),
        (sync("schedule: { cron: '*/0 * * * *', dialect: croner }"), "cron-invalid", "syncs.s1.schedule.cron"),
        (sync("console: other"), "field-unknown", "syncs.s1.console"),
        (distribution("sources: [ { subscriber: s1 } ]"), "field-missing", "distributions.av.sources[0]"),
        (
            distribution("sources: [ { path: /a, subscriber: ../s1 } ]"),
            "name-invalid",
            "distributions.av.sources[0].subscriber",
        ),
        // schedules
        (subscriber("extract: dayly"), "schedule-unknown", "subscribers.s1.extract"),
        (subscriber("extract: daily"), "schedule-unknown", "subscribers.s1.extract"),
        (subscriber("extract: { dialy: all, at: '03:00' }"), "schedule-unknown", "subscribers.s1.extract.dialy"),
        (subscriber("extract: { daily: all }"), "schedule-time-missing", "subscribers.s1.extract"),
        (subscriber("extract: { daily: all, at: 3 }"), "wrong-type", "subscribers.s1.extract.at"),
        (subscriber("extract: { daily: all, at: '25:00' }"), "schedule-time-invalid", "subscribers.s1.extract.at"),
        (subscriber("extract: { daily: [mon, 2], at: '03:00' }"), "wrong-type", "subscribers.s1.extract.daily"),
        (subscriber("extract: { monthly: 32, at: '03:00' }"), "out-of-range", "subscribers.s1.extract.monthly"),
        (
            subscriber("extract: { monthly: 1, delay_days: 32, at: '03:00' }"),
            "out-of-range",
            "subscribers.s1.extract.delay_days",
        ),
        (
            subscriber("extract: { yearly: '02-30', at: '03:00' }"),
            "schedule-date-invalid",
            "subscribers.s1.extract.yearly",
        ),
        (
            subscriber("extract: { cron: '*/0 * * * *', dialect: croner }"),
            "cron-invalid",
            "subscribers.s1.extract.cron",
        ),
        (
            subscriber("extract: { cron: '* * * * * *', dialect: croner }"),
            "schedule-too-often",
            "subscribers.s1.extract.cron",
        ),
        (subscriber("extract: { cron: '0 2 * * *' }"), "cron-dialect-missing", "subscribers.s1.extract.cron"),
        (
            subscriber("extract: { cron: '0 2 * * *', dialect: quartz }"),
            "value-unknown",
            "subscribers.s1.extract.dialect",
        ),
        (
            subscriber("extract: { cron: '0 2 30 2 *', dialect: croner }"),
            "schedule-never-happens",
            "subscribers.s1.extract",
        ),
        (
            subscriber("extract: { once: '9999-02-20 00:00' }"),
            "schedule-date-out-of-range",
            "subscribers.s1.extract.once",
        ),
        (subscriber("extract: { once: '2026-02-30T00:00' }"), "schedule-date-invalid", "subscribers.s1.extract.once"),
        (
            subscriber("extract: { daily: all, at: '03:00', time_zone: ../../etc/passwd }"),
            "time-zone-unknown",
            "subscribers.s1.extract.time_zone",
        ),
        (
            subscriber("extract: { daily: all, at: '03:00', catch_up: two }"),
            "value-unknown",
            "subscribers.s1.extract.catch_up",
        ),
        // events, other extractions, windows that end
        (subscriber("extract: { event: '../startup' }"), "event-invalid", "subscribers.s1.extract.event"),
        (subscriber("extract: { event: '' }"), "event-invalid", "subscribers.s1.extract.event"),
        (subscriber("extract: { event: [startup] }"), "wrong-type", "subscribers.s1.extract.event"),
        (subscriber(&format!("extract: {{ event: {long} }}")), "event-invalid", "subscribers.s1.extract.event"),
        (subscriber("extract: { event: startup, at: '03:00' }"), "schedule-option-unfit", "subscribers.s1.extract.at"),
        (subscriber("extract: { event: startup, after: s2 }"), "schedule-kind-doubled", "subscribers.s1.extract.after"),
        (
            subscriber("extract: { event: startup, stop_at_end: true }"),
            "schedule-option-unfit",
            "subscribers.s1.extract.stop_at_end",
        ),
        (subscriber("extract: { after: 'S 2' }"), "name-invalid", "subscribers.s1.extract.after"),
        (subscriber("extract: { after: s2, delay: -1m }"), "span-invalid", "subscribers.s1.extract.delay"),
        (subscriber("extract: { after: s2, delay: 32d }"), "span-invalid", "subscribers.s1.extract.delay"),
        (
            subscriber("extract: { daily: all, at: '03:00', stop_at_end: true }"),
            "schedule-option-unfit",
            "subscribers.s1.extract.stop_at_end",
        ),
        (
            subscriber("extract: { daily: all, window: '20:00-05:00', stop_at_end: 1 }"),
            "wrong-type",
            "subscribers.s1.extract.stop_at_end",
        ),
        (
            subscriber("extract: { daily: all, at: '03:00', overlap: aside }"),
            "value-unknown",
            "subscribers.s1.extract.overlap",
        ),
        (subscriber("extract: 10m"), "schedule-unknown", "subscribers.s1.extract"),
        (subscriber("extract: { every: 0s }"), "span-invalid", "subscribers.s1.extract.every"),
        (subscriber("extract: { every: -5m }"), "span-invalid", "subscribers.s1.extract.every"),
        (subscriber("extract: { every: 10 }"), "span-invalid", "subscribers.s1.extract.every"),
        (subscriber("extract: { every: 9999999d }"), "span-invalid", "subscribers.s1.extract.every"),
        (subscriber("extract: {}"), "value-missing", "subscribers.s1.extract"),
        (subscriber("extract: [never]"), "wrong-type", "subscribers.s1.extract"),
        (subscriber("extract: "), "value-missing", "subscribers.s1.extract"),
        // zones
        (subscriber("time_zone: ../../etc/passwd"), "time-zone-unknown", "subscribers.s1.time_zone"),
        (subscriber("time_zone: /etc/localtime"), "time-zone-unknown", "subscribers.s1.time_zone"),
        (subscriber("time_zone: europe/paris"), "time-zone-unknown", "subscribers.s1.time_zone"),
        (subscriber("time_zone: Mars/Olympus"), "time-zone-unknown", "subscribers.s1.time_zone"),
        (subscriber("time_zone: ''"), "time-zone-unknown", "subscribers.s1.time_zone"),
        // limits, time-outs, variables
        (subscriber("limits: { concurrent_relays: 0 }"), "out-of-range", "subscribers.s1.limits.concurrent_relays"),
        (subscriber("limits: { rate_in: 10MB }"), "wrong-type", "subscribers.s1.limits.rate_in"),
        (subscriber("connect_timeout: 0s"), "span-invalid", "subscribers.s1.connect_timeout"),
        (subscriber("connect_timeout: 60001s"), "out-of-range", "subscribers.s1.connect_timeout"),
        (subscriber("connect_timeout: 300"), "wrong-type", "subscribers.s1.connect_timeout"),
        (subscriber("console_level: loud"), "value-unknown", "subscribers.s1.console_level"),
        (subscriber("variables: { 1A: x }"), "variable-name-invalid", "subscribers.s1.variables.1A"),
        (subscriber("variables: { VOL: a, vol: b }"), "variable-doubled", "subscribers.s1.variables.vol"),
        (subscriber("variables: { VOL: '50%' }"), "variable-malformed", "subscribers.s1.variables.VOL"),
        (subscriber("variables: { A: '%B%', B: '%a%' }"), "variable-cycle", "subscribers.s1.variables.A"),
        (subscriber("variables: { A: 5 }"), "wrong-type", "subscribers.s1.variables.A"),
        // subscriptions and routes
        (channel("subscriptions: [ { grp: asia } ]"), "field-missing", "channels.c1.subscriptions[0]"),
        (
            channel("subscriptions: [ { group: a, subscriber: b } ]"),
            "subscription-invalid",
            "channels.c1.subscriptions[0]",
        ),
        (
            channel("subscriptions: [ { group: a, actve: false } ]"),
            "field-unknown",
            "channels.c1.subscriptions[0].actve",
        ),
        (channel("subscriptions: [ [a] ]"), "wrong-type", "channels.c1.subscriptions[0]"),
        (channel("subscriptions: [ a, a ]"), "listed-twice", "channels.c1.subscriptions[1]"),
        ("distributors: { hq: { routes: [a] } }".into(), "wrong-type", "distributors.hq.routes"),
        ("distributors: { hq: { routes: { a: { B: {} } } } }".into(), "name-invalid", "distributors.hq.routes.a.B"),
        ("distributors: { hq: { routes: { a: b } } }".into(), "wrong-type", "distributors.hq.routes.a"),
        ("hierarchies: { eu: {} }".into(), "field-missing", "hierarchies.eu"),
    ];
    for (text, code, field) in cases {
        let shown: String = text.chars().take(200).collect();
        let errors = yaml(&text).err().unwrap_or_else(|| panic!("accepted: {shown}"));
        assert!(codes(&errors).contains(&code), "{shown}\nexpected {code}, got:\n{}", listed(&errors));
        let error = errors.iter().find(|error| error.code == code).unwrap();
        assert!(
            field.is_empty() || errors.iter().any(|e| e.code == code && e.field == field),
            "{error}, not at {field}"
        );
        assert_eq!((error.file.as_str(), error.line > 0 || code == "file-too-large"), ("test.yaml", true), "{error}");
        assert!(!error.to_string().chars().any(char::is_control), "{error:?}");
        assert!(error.to_string().len() < 1_000, "{error}");
    }
}

#[test]
fn a_message_names_file_line_field_and_what_is_allowed() {
    let errors = yaml("# a comment\nchannels:\n  protect:\n    distributions: []\n    send: dayly\n").unwrap_err();
    assert_eq!(
        listed(&errors),
        "test.yaml:5: channels.protect.send: unknown schedule kind `dayly` (`daily`?); \
         allowed here: never, immediately, or one of once, every, daily, weekly, monthly, yearly, cron, \
         event, after, such as `{ every: 10m }` or `{ monthly: second tuesday, at: \"02:00\" }`"
    );
    let errors = yaml("subscribers:\n  paris:\n    time_zome: UTC\n").unwrap_err();
    assert!(listed(&errors).starts_with("test.yaml:3: subscribers.paris.time_zome: unknown field `time_zome` (`time_zone`?); allowed here: title, labels,"));
    let errors = yaml("channels:\n  c:\n    distributions: []\n    send: { daily: all }\n").unwrap_err();
    assert!(listed(&errors).contains(
        "test.yaml:4: channels.c.send: says on which days, and not when; add `at: 02:00`, or `window: 20:00-05:00`"
    ));
}

#[test]
fn all_faults_of_all_files_are_told_at_once_in_order() {
    let files = [
        ("a.yaml".to_owned(), "subscribers:\n  S1: {}\n  s2: { lan: 5 }\n".to_owned()),
        ("b.toml".to_owned(), "[subscribers.s3]\nlan = 'x'\nparnt = 'y'\n".to_owned()),
        ("c.yaml".to_owned(), "a: [".to_owned()),
    ];
    let errors = parse(&files).unwrap_err();
    let told: Vec<_> = errors.iter().map(|e| (e.file.as_str(), e.line, e.code)).collect();
    assert_eq!(
        told,
        [
            ("a.yaml", 2, "name-invalid"),
            ("a.yaml", 3, "wrong-type"),
            ("b.toml", 3, "field-unknown"),
            ("c.yaml", 1, "yaml-malformed")
        ],
        "{}",
        listed(&errors)
    );
}

#[test]
fn more_errors_than_anyone_reads_are_counted_and_not_listed() {
    let many: String = (0..500).map(|n| format!("  S{n}: {{}}\n")).collect();
    let errors = yaml(&format!("subscribers:\n{many}")).unwrap_err();
    assert_eq!((errors.len(), errors[100].code), (101, "more-errors"));
    assert!(errors[100].message.starts_with("400 "));
}

#[test]
fn an_object_in_two_files_is_refused_naming_both() {
    let files = [
        ("a.yaml".to_owned(), "subscribers:\n  s1: {}\n".to_owned()),
        ("b.yaml".to_owned(), "\n\nsubscribers:\n  s2: {}\n  s1: {}\n".to_owned()),
    ];
    let errors = parse(&files).unwrap_err();
    assert_eq!(codes(&errors), ["object-doubled"]);
    assert_eq!(
        errors[0].to_string(),
        "b.yaml:5: subscribers.s1: `s1` is declared in a.yaml:2 already; declare it once"
    );
}

#[test]
fn too_many_files_are_refused() {
    let files = vec![("a.yaml".to_owned(), String::new()); FILES_MAX + 1];
    assert_eq!(codes(&parse(&files).unwrap_err()), ["too-many-files"]);
}

#[test]
fn toml_says_the_same_as_yaml_and_is_refused_with_lines_too() {
    let toml = "
[distributors.hq]
routes = { region = { paris = {} } }

[subscribers.region]
[subscribers.paris]
parent = 'region'
extract = { every = '10m' }

[[distributions.av.sources]]
path = '/srv/av'
exclude = ['*.tmp']
";
    let yaml_text = "
distributors: { hq: { routes: { region: { paris: } } } }
subscribers:
  region:
  paris: { parent: region, extract: { every: 10m } }
distributions:
  av: { sources: [ { path: /srv/av, exclude: ['*.tmp'] } ] }
";
    let rest = "distributor = 'hq'\ntype = 'file'\ntarget = '/srv'\nmode = 'merge'\nbuild = 'never'\n";
    let toml = toml
        .replace("[[distributions.av.sources]]", &format!("[distributions.av]\n{rest}[[distributions.av.sources]]"));
    let yaml_text =
        yaml_text.replace("av: {", "av: { distributor: hq, type: file, target: /srv, mode: merge, build: never,");
    let from_toml = parse(&[("a.toml".to_owned(), toml.clone())]).unwrap_or_else(|e| panic!("{}", listed(&e)));
    assert_eq!(from_toml.definitions, yaml(&yaml_text).unwrap().definitions);
    assert_eq!(from_toml.places.of("distributions.av.sources[0].exclude[0]").unwrap().line, 18);

    for (text, code, line) in [
        ("a = 1\na = 2\n", "key-doubled", 2),
        ("a = \n", "toml-malformed", 1),
        ("[subscribers.s1]\nlan = 'a'\n[subscribers.s1]\n", "key-doubled", 3),
        ("[subscribers.s1]\ntitle = 1979-05-27\nx = 5\n", "field-unknown", 3),
    ] {
        let errors = parse(&[("a.toml".to_owned(), text.to_owned())]).unwrap_err();
        assert_eq!((errors[0].code, errors[0].line), (code, line), "{}", listed(&errors));
    }
    let deep = format!("groups = {}{}", "[".repeat(70), "]".repeat(70));
    assert_eq!(codes(&parse(&[("a.toml".to_owned(), deep)]).unwrap_err()), ["too-deep"]);
}

#[test]
fn numbers_and_words_in_quotes_are_text_and_json_is_read() {
    let json = r#"{"subscribers": {"s1": {"labels": {"version": "1.10"}, "title": "true"}}}"#;
    let declared = yaml(json).unwrap();
    let s1 = declared.definitions.subscribers.values().next().unwrap();
    assert_eq!((s1.labels["version"].as_str(), s1.title.as_deref()), ("1.10", Some("true")));
    assert!(yaml("").unwrap().definitions.subscribers.is_empty());
}

#[test]
fn what_is_deep_long_or_never_closed_is_refused_without_harm() {
    let many = 20_000;
    let nested: String = (0..DEPTH_MAX + 1).map(|n| format!("{}a:\n", " ".repeat(n))).collect();
    for text in [
        "[".repeat(many),
        "- ".repeat(many),
        "{a: ".repeat(many),
        "? ".repeat(many),
        nested,
        "&a ".repeat(many),
        "!a ".repeat(many),
        format!("a: \"{}", "x".repeat(many)),
        format!("{}: x", "k".repeat(many)),
        "\u{0}".repeat(many),
        "\u{feff}a".repeat(many),
        "---\n".repeat(many),
    ] {
        assert!(yaml(&text).is_err(), "{text:.20}");
        assert!(parse(&[("a.toml".to_owned(), text.clone())]).is_err(), "{text:.20}");
    }
    let wide = format!("groups: {{ g: [{}] }}", "a,".repeat(NODES_MAX));
    assert_eq!(codes(&yaml(&wide).unwrap_err()), ["too-many-values"]);
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in "[-a-z0-9:{}\\[\\], \"'&*!|>#%@\n\t]{0,200}") {
        let _ = yaml(&text);
        let _ = parse(&[("a.toml".to_owned(), text)]);
    }

    /// Whatever the tables let through, the types take: a person never meets a message of the decoder's.
    #[test]
    fn what_passes_the_tables_is_typed(at in 0..FLEET.len(), cut in 0usize..12, put in "[a-z0-9:{}, /%\n-]{0,8}") {
        let end = (at + cut).min(FLEET.len());
        let text = format!("{}{put}{}", &FLEET[..at], &FLEET[end..]);
        if let Err(errors) = yaml(&text) {
            prop_assert!(!codes(&errors).contains(&"value-invalid"), "{}", listed(&errors));
        }
    }
}
