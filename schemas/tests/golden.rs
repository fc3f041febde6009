//! Samples of every message, frozen: they decode for ever, and encode again to the same values.
//! A file of `golden/v1` is never changed; a new field gets a new file beside the old ones.

use std::fmt::Debug;
use std::path::Path;

use schemas::{Beat, Control, Definitions, Header, JobMessage, Reply, Reports, Request};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// A file's first word says what it holds: `request.build.json` is a `Request`.
#[test]
fn samples_of_version_one_decode_and_encode_to_the_same() {
    let mut seen = std::collections::BTreeMap::new();
    for entry in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/v1")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        let kind = name.split('.').next().unwrap().to_owned();
        match kind.as_str() {
            "request" => {
                round_trip::<Request>(&name, &text);
                Request::decode(text.as_bytes()).unwrap_or_else(|fault| panic!("{name}: {fault}"));
            }
            "reply" => round_trip::<Reply>(&name, &text),
            "job" => round_trip::<JobMessage>(&name, &text),
            "control" => round_trip::<Control>(&name, &text),
            "report" => round_trip::<Reports>(&name, &text),
            "beat" => round_trip::<Beat>(&name, &text),
            "header" => round_trip::<Header>(&name, &text),
            "definitions" => round_trip::<Definitions>(&name, &text),
            other => panic!("{name}: no message is called {other}"),
        }
        *seen.entry(kind).or_insert(0) += 1;
    }
    let counts: Vec<_> = seen.iter().map(|(kind, count)| (kind.as_str(), *count)).collect();
    assert_eq!(
        counts,
        [
            ("beat", 2),
            ("control", 5),
            ("definitions", 3),
            ("header", 1),
            ("job", 7),
            ("reply", 3),
            ("report", 7),
            ("request", 10)
        ]
    );
}

/// What was written stays in what is written today: a later version may add fields with defaults, never lose one.
fn round_trip<T: Serialize + DeserializeOwned + PartialEq + Debug>(name: &str, text: &str) {
    let decoded: T = serde_json::from_str(text).unwrap_or_else(|e| panic!("{name}: {e}"));
    let encoded = serde_json::to_value(&decoded).unwrap();
    let frozen: Value = serde_json::from_str(text).unwrap();
    assert_kept(&frozen, &encoded, name);
    assert_eq!(serde_json::from_value::<T>(encoded).unwrap(), decoded, "{name}");
}

fn assert_kept(frozen: &Value, encoded: &Value, at: &str) {
    match (frozen, encoded) {
        (Value::Object(old), Value::Object(new)) => {
            for (key, value) in old {
                let at = format!("{at}: {key}");
                assert_kept(value, new.get(key).unwrap_or_else(|| panic!("{at} is lost")), &at);
            }
        }
        (Value::Array(old), Value::Array(new)) => {
            assert_eq!(old.len(), new.len(), "{at}");
            old.iter().zip(new).for_each(|(old, new)| assert_kept(old, new, at));
        }
        (old, new) => assert_eq!(old, new, "{at}"),
    }
}
