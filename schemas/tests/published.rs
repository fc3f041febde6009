//! The committed schemas are those of the types, the samples satisfy them, and what the types refuse they refuse.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn read(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn files(folder: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn validator(schema: &str) -> jsonschema::Validator {
    jsonschema::validator_for(&read(&folder("json").join(format!("{schema}.schema.json")))).unwrap()
}

#[test]
fn the_committed_schemas_are_those_of_the_types() {
    let generated = schemas::generated();
    for (name, document) in &generated {
        let committed = std::fs::read_to_string(folder("json").join(name)).unwrap_or_default();
        assert_eq!(committed, format!("{document:#}\n"), "{name} is stale: cargo run -p schemas --example generate");
    }
    let published: Vec<_> = schemas::published().into_iter().map(|(name, _)| name).collect();
    assert_eq!(published, generated.iter().map(|(name, _)| *name).collect::<Vec<_>>(), "the program prints them all");
    let names: BTreeSet<_> = generated.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(files(&folder("json")), names, "schemas/json holds the published documents and nothing else");
}

#[test]
fn every_golden_sample_satisfies_its_schema() {
    for name in files(&folder("golden/v1")) {
        let schema = name.split('.').next().unwrap();
        let sample = read(&folder("golden/v1").join(&name));
        let errors: Vec<_> = validator(schema).iter_errors(&sample).map(|error| error.to_string()).collect();
        assert_eq!(errors, [""; 0], "{name}");
    }
}

#[test]
fn what_the_types_refuse_the_schemas_refuse_too() {
    let id = "01930000-0000-7000-8000-000000000001";
    for bad in [
        json!({ "schema": 1, "id": id, "kind": "burn" }),
        json!({ "schema": 1, "id": id, "kind": "build", "x": 1 }),
        json!({ "schema": 1, "id": "1", "kind": "build" }),
        json!({ "schema": 1, "kind": "build" }),
        json!({ "schema": 1, "id": id, "kind": "build", "selector": { "distributions": ["../a"] } }),
        json!({ "schema": -1, "id": id, "kind": "build" }),
    ] {
        assert!(serde_json::from_value::<schemas::Request>(bad.clone()).is_err(), "{bad}");
        let strict = validator("request");
        // `format` alone is a remark in JSON Schema, so an id of the wrong form is left to the reader.
        assert!(!strict.is_valid(&bad) || bad["id"] == "1", "{bad}");
    }
    for bad in [
        json!({ "subscribers": { "S1": {} } }),
        json!({ "subscribers": { "s1": { "extract": "daily" } } }),
        json!({ "channels": { "c": {} } }),
        json!({ "syncs": { "s": { "subscriber": "a", "components": ["core"] } } }),
    ] {
        assert!(serde_json::from_value::<schemas::Definitions>(bad.clone()).is_err(), "{bad}");
        assert!(!validator("definitions").is_valid(&bad), "{bad}");
    }
}

#[test]
fn the_asyncapi_document_points_only_at_what_exists() {
    let document = read(&folder("json/asyncapi.json"));
    let mut references = Vec::new();
    collect_references(&document, &mut references);
    assert!(references.len() > 20);
    for reference in references {
        match reference.strip_prefix('#') {
            Some(pointer) => assert!(document.pointer(pointer).is_some(), "{reference}"),
            None => assert!(folder("json").join(&reference).is_file(), "{reference}"),
        }
    }
    let addresses: Vec<_> = document["channels"].as_object().unwrap().values().map(|c| c["address"].clone()).collect();
    for queue in [
        "tidegate.requests",
        "tidegate.site.{subscriber}.{channel}",
        "tidegate.site.{subscriber}.control",
        "tidegate.build.{distributor}",
    ] {
        assert!(addresses.contains(&json!(queue)), "{queue}");
    }
}

#[test]
fn a_request_message_is_one_request_or_a_list_of_them() {
    let document = read(&folder("json/asyncapi.json"));
    let mut payload = document["components"]["messages"]["request"]["payload"].clone();
    let schema = read(&folder("json/request.schema.json"));
    payload["oneOf"][0] = schema.clone();
    payload["oneOf"][1]["items"] = schema.clone();
    // What it refers to lies at the root.
    payload["definitions"] = schema["definitions"].clone();
    let payload = jsonschema::validator_for(&payload).unwrap();
    let request = json!({ "schema": 1, "id": "01930000-0000-7000-8000-000000000001", "kind": "build" });
    for good in [request.clone(), json!([request]), json!([request, request])] {
        assert!(payload.is_valid(&good), "{good}");
    }
    let too_many = vec![request; schemas::BATCH_MAX + 1];
    for bad in [json!([]), json!([{}]), json!({}), json!(too_many)] {
        assert!(!payload.is_valid(&bad), "{bad}");
    }
}

fn collect_references(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            into.extend(map.get("$ref").and_then(Value::as_str).map(str::to_owned));
            map.values().for_each(|value| collect_references(value, into));
        }
        Value::Array(items) => items.iter().for_each(|value| collect_references(value, into)),
        _ => {}
    }
}
