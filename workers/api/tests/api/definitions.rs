//! Applying, showing and deleting definitions.

use crate::support::Service;
use serde_json::{Value, json};

fn changes(body: &Value, change: &str) -> Vec<String> {
    let objects = body["objects"].as_array().unwrap();
    let of_change = objects.iter().filter(|object| object["change"] == change);
    of_change
        .map(|object| format!("{} {}", object["kind"].as_str().unwrap(), object["name"].as_str().unwrap()))
        .collect()
}

#[tokio::test]
async fn the_example_is_applied_and_applying_it_again_changes_nothing() {
    let service = Service::start().await;
    let first = service.apply_hello().await;
    assert_eq!(first.status, 200, "{}", first.body);
    assert!(changes(&first.body, "created").contains(&"subscriber paris".to_owned()), "{}", first.body);
    let second = service.apply_hello().await;
    assert_eq!(second.body["version"], first.body["version"]);
    assert_eq!(changes(&second.body, "unchanged"), changes(&first.body, "created"));
    service.end().await;
}

#[tokio::test]
async fn a_dry_run_says_the_same_and_changes_nothing() {
    let service = Service::start().await;
    let text = include_str!("../../../../examples/hello.yaml");
    let files = json!([{ "name": "hello.yaml", "text": text }]);
    let dry = service.post("/v1/apply", json!({ "files": files, "dry_run": true })).await;
    assert_eq!((dry.status.as_u16(), &dry.body["dry_run"]), (200, &json!(true)), "{}", dry.body);
    let listed = service.get("/v1/objects/subscribers").await;
    assert_eq!(listed.body["objects"], json!([]));
    let real = service.apply_hello().await;
    let sorted = |mut names: Vec<String>| {
        names.sort();
        names
    };
    assert_eq!(sorted(changes(&dry.body, "created")), sorted(changes(&real.body, "created")));
    let renamed = text
        .replace("  tokyo:  ", "  osaka: ")
        .replace("[tokyo]", "[osaka]")
        .replace("time_zone: Asia/Tokyo", "renamed_from: tokyo");
    let files = json!([{ "name": "hello.yaml", "text": renamed }]);
    let dry = service.post("/v1/apply", json!({ "files": files, "dry_run": true })).await;
    let real = service.post("/v1/apply", json!({ "files": files })).await;
    assert_eq!(changes(&dry.body, "renamed"), ["subscriber osaka"], "{}", dry.body);
    assert_eq!(changes(&real.body, "renamed"), ["subscriber osaka"], "{}", real.body);
    service.end().await;
}

#[tokio::test]
async fn faults_come_with_file_line_and_field_and_nothing_is_applied() {
    let service = Service::start().await;
    let text = include_str!("../../../../examples/hello.yaml").replace("send: immediately", "send: { dayly: all }");
    let line = 1 + text.lines().position(|line| line.contains("dayly")).unwrap();
    let files = json!([{ "name": "fleet/hello.yaml", "text": text }]);
    let answer = service.post("/v1/apply", json!({ "files": files })).await;
    assert_eq!((answer.status.as_u16(), answer.code()), (422, "definitions-invalid"), "{}", answer.body);
    let error = &answer.body["errors"][0];
    assert_eq!((&error["file"], &error["line"]), (&json!("fleet/hello.yaml"), &json!(line)), "{error}");
    assert!(error["field"].as_str().unwrap().starts_with("channels.protect.send"), "{error}");
    let listed = service.get("/v1/objects/channels").await;
    assert_eq!(listed.body["objects"], json!([]));
    service.end().await;
}

#[tokio::test]
async fn objects_are_listed_shown_and_described() {
    let service = Service::start().await;
    service.apply_hello().await;
    let listed = service.get("/v1/objects/subscriber").await.body;
    let names: Vec<&str> = listed["objects"].as_array().unwrap().iter().map(|o| o["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["lyon", "paris", "region-eu", "tokyo"]);
    let one = service.get("/v1/objects/distribution/antivirus").await.body;
    assert_eq!((&one["title"], &one["spec"]["mode"]), (&json!("VirusProtect"), &json!("mirror")));
    let described = service.get("/v1/objects/subscriber/paris/description").await.body;
    let field =
        |path: &str| described["fields"].as_array().unwrap().iter().find(|f| f["path"] == path).unwrap().clone();
    assert_eq!(field("parent")["origin"], "declared");
    assert_eq!(field("connect_timeout")["origin"], "default");
    let absent = service.get("/v1/objects/subscriber/oslo").await;
    assert_eq!((absent.status.as_u16(), absent.code()), (404, "object-unknown"));
    service.end().await;
}

#[tokio::test]
async fn a_delete_that_would_orphan_something_is_refused_with_the_list() {
    let service = Service::start().await;
    service.apply_hello().await;
    let refused = service.delete("/v1/objects/subscriber/tokyo").await;
    assert_eq!((refused.status.as_u16(), refused.code()), (409, "object-referred"), "{}", refused.body);
    assert_eq!(refused.body["references"], json!(["groups.asia[0]"]), "{}", refused.body);
    assert_eq!(service.get("/v1/objects/subscriber/tokyo").await.status, 200);
    let deleted = service.delete("/v1/objects/channels/protect").await;
    assert_eq!(deleted.status, 200, "{}", deleted.body);
    assert_eq!(service.get("/v1/objects/channel/protect").await.status, 404);
    assert_eq!(service.delete("/v1/objects/group/asia").await.status, 200);
    assert_eq!(service.delete("/v1/objects/subscriber/tokyo").await.status, 200);
    let again = service.delete("/v1/objects/subscriber/tokyo").await;
    assert_eq!((again.status.as_u16(), again.code()), (404, "object-unknown"));
    service.end().await;
}

#[tokio::test]
async fn two_applies_at_once_both_take_effect() {
    let service = Service::start().await;
    let body = |name: &str| {
        let text = format!("subscribers: {{ {name}: {{ extract: never }} }}");
        json!({ "files": [{ "name": "x.yaml", "text": text }] })
    };
    let (a, b, c) = tokio::join!(
        service.post("/v1/apply", body("oslo")),
        service.post("/v1/apply", body("bergen")),
        service.post("/v1/apply", body("narvik")),
    );
    for answer in [a, b, c] {
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
    let listed = service.get("/v1/objects/subscribers").await;
    assert_eq!(listed.body["objects"].as_array().unwrap().len(), 3);
    service.end().await;
}

#[tokio::test]
async fn a_change_that_waits_for_a_refresh_is_told_and_described() {
    let service = Service::start().await;
    let body = |target: &str, refresh: bool| {
        let text = format!(
            "distributors: {{ hq: {{ refresh: never }} }}
distributions:
  a: {{ distributor: hq, type: file, sources: [ {{ path: /srv/a }} ], target: {target}, mode: mirror, build: never }}"
        );
        json!({ "files": [{ "name": "x.yaml", "text": text }], "refresh": refresh })
    };
    let describe = async || service.get("/v1/objects/distribution/a/description").await.body["standing"].clone();
    let first = service.post("/v1/apply", body("/t/1", false)).await;
    assert_eq!(first.body["waiting"], json!([]), "{}", first.body);
    let second = service.post("/v1/apply", body("/t/2", false)).await;
    assert_eq!(second.body["waiting"], json!([{ "kind": "distribution", "name": "a", "waits_for": "hq" }]));
    assert_eq!(describe().await, json!({ "applied_version": 2, "version_in_effect": 1, "waits_for": "hq" }));
    let refreshed = service.post("/v1/apply", body("/t/2", true)).await;
    assert_eq!((&refreshed.body["waiting"], refreshed.body["requests"].as_array().unwrap().len()), (&json!([]), 1));
    assert_eq!(describe().await, json!({ "applied_version": 2, "version_in_effect": 2 }));
    service.end().await;
}

#[tokio::test]
async fn a_sync_is_applied_pruned_and_run_in_the_name_of_the_services_console() {
    let service = Service::start().await;
    service.apply_hello().await;
    let body = |text: &str, prune: bool, dry: bool| json!({ "files": [{ "name": "s.yaml", "text": text }], "prune": prune, "dry_run": dry });
    let sync = "syncs: { paris-core: { subscriber: paris, components: [core], schedule: never } }";
    let applied = service.post("/v1/apply", body(sync, false, false)).await;
    assert_eq!(changes(&applied.body, "created"), ["sync paris-core"], "{}", applied.body);
    let shown = service.get("/v1/objects/syncs/paris-core").await.body;
    assert_eq!((&shown["console"], &shown["spec"]["components"]), (&json!("main"), &json!(["core"])));
    let asked = service.post("/v1/schedules/sync/paris-core/run", json!({})).await;
    assert_eq!(asked.status, 202, "{}", asked.body);

    // Another console's: seen, and neither changed nor run here; nor is its `core` taken.
    let fleet = service.records.fleet().await.unwrap();
    let text = "syncs: { tokyo-all: { subscriber: tokyo, components: [all], schedule: never } }";
    let declared = domain::definitions::parse(&[("s.yaml".to_owned(), text.to_owned())]).unwrap();
    let accepted = domain::definitions::validate(&declared, &fleet.definitions).unwrap();
    let lima = "lima".try_into().unwrap();
    service.records.apply(&accepted, fleet.version, Some(&lima)).await.unwrap();
    let refused = service.post("/v1/schedules/sync/tokyo-all/run", json!({})).await;
    assert_eq!((refused.status.as_u16(), refused.code()), (409, "sync-owner-differs"), "{}", refused.body);
    for dry in [true, false] {
        let refused = service.post("/v1/apply", body(&text.replace("never", "immediately"), false, dry)).await;
        assert_eq!((refused.status.as_u16(), refused.code()), (409, "sync-owner-differs"), "{}", refused.body);
        let own = "syncs: { tokyo-core: { subscriber: tokyo, components: [core], schedule: never } }";
        let refused = service.post("/v1/apply", body(own, false, dry)).await;
        assert_eq!((refused.status.as_u16(), refused.code()), (409, "core-owner-differs"), "{}", refused.body);
    }
    let by_hand = |console: Option<&str>| {
        let id = uuid::Uuid::now_v7();
        json!({ "schema": 1, "id": id, "kind": "sync", "selector": { "subscribers": ["tokyo"], "components": ["core"] }, "console": console })
    };
    assert_eq!(service.post("/v1/requests", by_hand(None)).await.code(), "core-owner-differs");
    assert_eq!(service.post("/v1/requests", by_hand(Some("lima"))).await.code(), "console-differs");

    // A prune takes what is this console's and not declared; a dry run says the same.
    let hello = include_str!("../../../../examples/hello.yaml");
    let dry = service.post("/v1/apply", body(hello, true, true)).await;
    assert_eq!(changes(&dry.body, "deleted"), ["sync paris-core"], "{}", dry.body);
    let pruned = service.post("/v1/apply", body(hello, true, false)).await;
    assert_eq!(changes(&pruned.body, "deleted"), ["sync paris-core"], "{}", pruned.body);
    assert_eq!(service.get("/v1/objects/sync/tokyo-all").await.status, 200);
    // Anybody deletes.
    assert_eq!(service.delete("/v1/objects/sync/tokyo-all").await.status, 200);
    service.end().await;
}
