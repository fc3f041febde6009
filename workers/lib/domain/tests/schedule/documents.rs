//! The user's guide and the examples say what is so: every schedule in them is accepted, every fleet is.

use domain::definitions::{parse, validate};

use super::{ms, schedule};

const GUIDE: &str = include_str!("../../../../../docs/schedules.md");

/// The lines of the guide's YAML blocks of schedules, without their comments.
fn rules() -> Vec<String> {
    let blocks = GUIDE.split("```yaml\n").skip(1).filter_map(|part| part.split("```").next());
    let blocks = blocks.filter(|block| !block.starts_with("syncs:"));
    blocks.flat_map(str::lines).map(|line| line.split(" #").next().unwrap_or_default().trim().to_owned()).collect()
}

#[test]
fn every_schedule_of_the_guide_is_accepted_and_happens() {
    let rules = rules();
    assert!(rules.len() > 20, "{}", rules.len());
    for rule in rules {
        let text = format!("subscribers: {{ s: {{ extract: {rule} }} }}");
        let declared = parse(&[("guide.yaml".to_owned(), text)]).unwrap_or_else(|faults| panic!("{rule}: {faults:?}"));
        let extract = declared.definitions.subscribers.values().next().unwrap().extract.clone().unwrap();
        let read = schedule(serde_json::to_value(&extract).unwrap(), "Europe/Paris");
        assert_eq!(read.next(ms("2026-06-01T00:00:00Z")).is_some(), read.is_timed(), "{rule}");
        assert!(!read.in_words().is_empty());
    }
}

#[test]
fn every_kind_stands_in_the_guide() {
    let rules = rules().join("\n");
    for kind in
        ["never", "immediately", "once", "every", "daily", "weekly", "monthly", "yearly", "cron", "event", "after"]
    {
        assert!(rules.contains(kind), "{kind}");
    }
}

#[test]
fn every_example_is_a_fleet() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../examples");
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ext| ext == "yaml") {
            let text = std::fs::read_to_string(&path).unwrap();
            let declared = parse(&[(path.display().to_string(), text)]).unwrap_or_else(|f| panic!("{f:?}"));
            validate(&declared, &Default::default()).unwrap_or_else(|faults| panic!("{faults:?}"));
            seen += 1;
        }
    }
    assert!(seen >= 2, "{seen} examples");
}
