//! Two consoles on one database (SPEC S9): what the code refuses with names, and what the database itself refuses to whoever writes.

use records::{Change, Records, RecordsError};
use schemas::name::Kind;
use schemas::{ConsoleName, Request, RequestId, RequestKind};
use uuid::Uuid;

use super::{FLEET, Scene};

/// Races of two consoles.
const ROUNDS: usize = 20;

fn console(name: &str) -> ConsoleName {
    name.try_into().unwrap()
}

fn sync(name: &str, subscriber: &str, components: &str, schedule: &str) -> String {
    format!("syncs: {{ {name}: {{ subscriber: {subscriber}, components: [{components}], schedule: {schedule} }} }}")
}

/// `apply` as `tidegate apply` does it: once more if somebody else was faster.
async fn apply_as(records: &Records, console: &ConsoleName, text: &str) -> Result<records::Applied, RecordsError> {
    loop {
        let fleet = records.fleet().await.unwrap();
        let declared = domain::definitions::parse(&[("f.yaml".to_owned(), text.to_owned())]).unwrap();
        let accepted = domain::definitions::validate(&declared, &fleet.definitions).unwrap();
        fleet.may_become(&accepted, console)?;
        match records.apply(&accepted, fleet.version, Some(console)).await {
            Err(RecordsError::Conflict { .. }) => {}
            done => return done,
        }
    }
}

async fn delete_as(records: &Records, console: &ConsoleName, kind: Kind, name: &str) {
    let fleet = records.fleet().await.unwrap();
    let definitions = domain::definitions::delete(kind, name, &fleet.definitions).unwrap();
    let accepted = domain::definitions::Accepted { definitions, renames: vec![], warnings: vec![] };
    records.apply(&accepted, fleet.version, Some(console)).await.unwrap();
}

fn run(sync: &str, asker: Option<&str>) -> Request {
    let mut request = Request::new(RequestId(Uuid::now_v7()), RequestKind::Sync);
    request.selector.syncs.push(sync.try_into().unwrap());
    request.console = asker.map(console);
    request
}

fn by_hand(subscriber: &str, components: &[&str], asker: Option<&str>) -> Request {
    let mut request = Request::new(RequestId(Uuid::now_v7()), RequestKind::Sync);
    request.selector.subscribers.push(subscriber.try_into().unwrap());
    request.selector.components = components.iter().map(ToString::to_string).collect();
    request.console = asker.map(console);
    request
}

async fn asked(scene: &Scene, request: Request) -> Result<records::Acceptance, RecordsError> {
    scene.records.accept(&[request], "test").await.unwrap().pop().unwrap()
}

pub async fn a_sync_is_changed_and_run_by_its_owner_alone_and_deleted_by_anybody(scene: &Scene) {
    let (berlin, lima) = (console("berlin"), console("lima"));
    apply_as(&scene.records, &berlin, FLEET).await.unwrap();
    let weekly = sync("s", "paris", "core", "{ weekly: sun, at: '02:00' }");
    apply_as(&scene.records, &berlin, &weekly).await.unwrap();
    let seen = "SELECT console FROM syncs WHERE sync = 's' AND subscriber = 'paris' AND core = 1";
    assert_eq!(scene.text(seen).await, "berlin", "every console sees it, and whose it is");
    assert_eq!(scene.text("SELECT console FROM schedules WHERE schedule = 'sync/s'").await, "berlin");

    let daily = sync("s", "paris", "core", "{ daily: all, at: '02:00' }");
    for changed in [daily.clone(), sync("t", "paris", "core", "never").replace("t: {", "t: { renamed_from: s,")] {
        let error = apply_as(&scene.records, &lima, &changed).await.unwrap_err();
        assert_eq!(error.code(), "sync-owner-differs", "{error}");
        assert!(error.to_string().contains("belongs to console berlin"), "{error}");
    }
    // A file with it as it is may be applied anywhere, and so may everything else.
    let other = format!("{FLEET}  oslo: {{ extract: never }}\n{weekly}");
    assert!(apply_as(&scene.records, &lima, &other).await.is_ok());
    let error = asked(scene, run("s", Some("lima"))).await.unwrap_err();
    assert_eq!(error.code(), "sync-owner-differs", "{error}");
    assert_eq!(asked(scene, run("s", None)).await.unwrap_err().code(), "sync-owner-differs");
    asked(scene, run("s", Some("berlin"))).await.unwrap();

    delete_as(&scene.records, &lima, Kind::Sync, "s").await;
    assert_eq!(scene.number("SELECT COUNT(*) FROM tide_core_owners").await, 0, "free for whoever comes next");
    let moved = apply_as(&scene.records, &lima, &daily).await.unwrap();
    assert!(moved.objects.iter().any(|o| o.name == "s" && o.change == Change::Created));
    assert_eq!(asked(scene, run("s", Some("berlin"))).await.unwrap_err().code(), "sync-owner-differs");
    asked(scene, run("s", Some("lima"))).await.unwrap();
    assert_eq!(apply_as(&scene.records, &berlin, &weekly).await.unwrap_err().code(), "sync-owner-differs");
}

pub async fn one_console_alone_syncs_core_to_a_subscriber(scene: &Scene) {
    let (berlin, lima) = (console("berlin"), console("lima"));
    apply_as(&scene.records, &berlin, FLEET).await.unwrap();
    apply_as(&scene.records, &berlin, &sync("a", "paris", "core", "never")).await.unwrap();
    for components in ["core", "all", "patches, core"] {
        let error = apply_as(&scene.records, &lima, &sync("b", "paris", components, "never")).await.unwrap_err();
        assert_eq!(error.code(), "core-owner-differs", "{components}: {error}");
        assert!(error.to_string().contains("console berlin syncs `core` to subscriber paris"), "{error}");
    }
    apply_as(&scene.records, &lima, &sync("b", "paris", "patches", "never")).await.unwrap();
    apply_as(&scene.records, &lima, &sync("c", "lyon", "all", "never")).await.unwrap();
    apply_as(&scene.records, &berlin, &sync("d", "paris", "all", "never")).await.unwrap();
    // What was no core becomes it, and where it went changes.
    let grown = apply_as(&scene.records, &lima, &sync("b", "paris", "core", "never")).await;
    assert_eq!(grown.unwrap_err().code(), "core-owner-differs");
    let moved = apply_as(&scene.records, &berlin, &sync("d", "lyon", "all", "never")).await;
    assert_eq!(moved.unwrap_err().code(), "core-owner-differs");
    // By hand it is the same.
    for components in [&["core"][..], &["all"], &[]] {
        let error = asked(scene, by_hand("paris", components, Some("lima"))).await.unwrap_err();
        assert_eq!(error.code(), "core-owner-differs", "{error}");
        assert_eq!(asked(scene, by_hand("paris", components, None)).await.unwrap_err().code(), "core-owner-differs");
        asked(scene, by_hand("paris", components, Some("berlin"))).await.unwrap();
    }
    asked(scene, by_hand("paris", &["patches"], Some("lima"))).await.unwrap();
    // As long as one is left, paris is berlin's.
    delete_as(&scene.records, &lima, Kind::Sync, "a").await;
    let grown = sync("b", "paris", "core", "never");
    assert_eq!(apply_as(&scene.records, &lima, &grown).await.unwrap_err().code(), "core-owner-differs");
    delete_as(&scene.records, &lima, Kind::Sync, "d").await;
    apply_as(&scene.records, &lima, &grown).await.unwrap();
    assert_eq!(scene.text("SELECT console FROM tide_core_owners WHERE subscriber = 'paris'").await, "lima");
}

pub async fn no_statement_gets_round_a_syncs_owner(scene: &Scene) {
    let berlin = console("berlin");
    apply_as(&scene.records, &berlin, FLEET).await.unwrap();
    apply_as(&scene.records, &berlin, &sync("s", "paris", "core", "never")).await.unwrap();
    let spec = r#"{"subscriber":"paris","components":["core"],"schedule":"immediately"}"#;
    let request = |kind: &str, body: &str, console: &str| {
        format!(
            "INSERT INTO tide_requests (id, kind, body, digest, console, origin, state, created_ms)
            VALUES ('{}', '{kind}', '{body}', '', {console}, 'queue', 'accepted', 1)",
            Uuid::now_v7()
        )
    };
    let object = |name: &str, spec: &str, console: &str, changed_by: &str| {
        format!(
            "INSERT INTO tide_objects (kind, name, spec, version, created_seq, created_ms, changed_ms, console, changed_by)
            VALUES ('sync', '{name}', '{spec}', 1, 1, 1, 1, '{console}', {changed_by})"
        )
    };
    for (sql, code) in [
        // A program that knows nothing of owners, one of another console, and one that claims to be none.
        (format!("UPDATE tide_objects SET spec = '{spec}' WHERE kind = 'sync'"), "sync-owner-differs"),
        (
            format!("UPDATE tide_objects SET spec = '{spec}', version = version + 1 WHERE kind = 'sync'"),
            "sync-owner-differs",
        ),
        (
            format!(
                "UPDATE tide_objects SET spec = '{spec}', version = version + 1, changed_by = 'lima/2' WHERE kind = 'sync'"
            ),
            "sync-owner-differs",
        ),
        // An old permission, replayed.
        (
            format!("UPDATE tide_objects SET spec = '{spec}', changed_by = 'berlin/1' WHERE kind = 'sync'"),
            "sync-owner-differs",
        ),
        ("UPDATE tide_objects SET console = 'lima' WHERE kind = 'sync'".into(), "sync-owner-differs"),
        (
            "UPDATE tide_objects SET console = 'lima', version = 2, changed_by = 'lima/2' WHERE kind = 'sync'".into(),
            "sync-owner-differs",
        ),
        ("UPDATE tide_objects SET name = 't' WHERE kind = 'sync'".into(), "sync-owner-differs"),
        ("UPDATE tide_objects SET kind = 'group' WHERE kind = 'sync'".into(), "sync-owner-differs"),
        ("UPDATE tide_objects SET kind = 'sync' WHERE kind = 'channel'".into(), "sync-owner-differs"),
        (object("x", spec, "berlin", "NULL"), "sync-owner-differs"),
        (object("x", spec, "lima", "'lima/1'"), "core-owner-differs"),
        (object("x", &spec.replace("core", "all"), "lima", "'lima/1'"), "core-owner-differs"),
        ("UPDATE tide_core_owners SET console = 'lima'".into(), ""),
        ("DELETE FROM tide_core_owners".into(), ""),
        (request("sync", r#"{"selector":{"syncs":["s"]}}"#, "'lima'"), "sync-owner-differs"),
        (request("sync", r#"{"selector":{"syncs":["s"]}}"#, "NULL"), "sync-owner-differs"),
        (
            request("sync", r#"{"selector":{"subscribers":["paris"],"components":["core"]}}"#, "'lima'"),
            "core-owner-differs",
        ),
        (request("sync", r#"{"selector":{"subscribers":["lyon","paris"]}}"#, "NULL"), "core-owner-differs"),
    ] {
        let error = scene.records.force_for_tests(&sql).await.expect_err(&sql);
        assert!(code.is_empty() || error.code() == code, "{sql}\n{}: {error}", error.code());
    }
    // A request that was allowed does not become another one.
    scene.force(&request("sync", r#"{"selector":{"subscribers":["lyon"]}}"#, "'lima'")).await;
    scene.force(&request("build", r#"{"selector":{"syncs":["s"]}}"#, "'lima'")).await;
    for sql in [
        r#"UPDATE tide_requests SET body = '{"selector":{"syncs":["s"]}}' WHERE kind = 'sync'"#,
        "UPDATE tide_requests SET console = 'berlin' WHERE kind = 'sync'",
        "UPDATE tide_requests SET kind = 'sync' WHERE kind = 'build'",
    ] {
        assert_eq!(scene.records.force_for_tests(sql).await.expect_err(sql).code(), "sync-owner-differs");
    }
    assert_eq!(scene.text("SELECT console FROM syncs").await, "berlin");
    scene.force("UPDATE tide_requests SET state = 'failed' WHERE kind = 'sync'").await;
    scene.force("DELETE FROM tide_objects WHERE kind = 'sync'").await;
    assert_eq!(scene.number("SELECT COUNT(*) FROM tide_core_owners").await, 0);
}

pub async fn of_two_consoles_at_once_one_gets_core(scene: &Scene) {
    let (berlin, lima) = (console("berlin"), console("lima"));
    apply_as(&scene.records, &berlin, FLEET).await.unwrap();
    for round in 0..ROUNDS {
        let (a, b) = (scene.records.clone(), scene.records.clone());
        let (one, other) = (sync("one", "paris", "core", "never"), sync("other", "paris", "all", "never"));
        let (first, second) = tokio::join!(apply_as(&a, &berlin, &one), apply_as(&b, &lima, &other));
        let (winner, error) = match (first, second) {
            (Ok(_), Err(error)) => ("berlin", error),
            (Err(error), Ok(_)) => ("lima", error),
            both => panic!("round {round}: {both:?}"),
        };
        assert_eq!(error.code(), "core-owner-differs", "round {round}: {error}");
        assert_eq!(scene.text("SELECT console FROM syncs WHERE core = 1").await, winner);
        let name = scene.text("SELECT sync FROM syncs").await;
        delete_as(&scene.records, &berlin, Kind::Sync, &name).await;
    }
}

/// Past every lock that the code takes: the statements themselves, on connections of their own.
pub async fn of_two_writers_past_the_code_one_gets_core(scene: &Scene) {
    scene.apply(FLEET).await;
    let insert = |name: &str, console: &str| {
        format!(
            "INSERT INTO tide_objects (kind, name, spec, version, created_seq, created_ms, changed_ms, console, changed_by)
            VALUES ('sync', '{name}', '{{\"subscriber\":\"paris\",\"components\":[\"core\"],\"schedule\":\"never\"}}', 1, 1, 1, 1,
                '{console}', '{console}/1')"
        )
    };
    for round in 0..ROUNDS {
        let (a, b) = (scene.records.clone(), scene.records.clone());
        let (one, other) = (insert("one", "berlin"), insert("other", "lima"));
        let (first, second) = tokio::join!(a.force_for_tests(&one), b.force_for_tests(&other));
        assert!(first.is_ok() != second.is_ok(), "round {round}: {first:?} {second:?}");
        let error = first.err().or(second.err()).unwrap();
        assert_eq!(error.code(), "core-owner-differs", "round {round}: {error}");
        assert_eq!(scene.number("SELECT COUNT(*) FROM syncs").await, 1);
        scene.force("DELETE FROM tide_objects WHERE kind = 'sync'").await;
    }
}

/// Its owner changes it while another console deletes it: both orders are fine, and no row is left half.
pub async fn a_sync_that_is_changed_and_deleted_at_once_is_one_or_the_other(scene: &Scene) {
    let berlin = console("berlin");
    apply_as(&scene.records, &berlin, FLEET).await.unwrap();
    for _ in 0..ROUNDS {
        apply_as(&scene.records, &berlin, &sync("s", "paris", "core", "never")).await.unwrap();
        let (a, b) = (scene.records.clone(), scene.records.clone());
        let changed = sync("s", "lyon", "all", "never");
        let change = apply_as(&a, &berlin, &changed);
        let delete = async {
            let fleet = b.fleet().await.unwrap();
            let Ok(definitions) = domain::definitions::delete(Kind::Sync, "s", &fleet.definitions) else { return };
            let accepted = domain::definitions::Accepted { definitions, renames: vec![], warnings: vec![] };
            match b.apply(&accepted, fleet.version, Some(&console("lima"))).await {
                Ok(_) | Err(RecordsError::Conflict { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        };
        let (changed, ()) = tokio::join!(change, delete);
        changed.unwrap();
        let syncs = scene.number("SELECT COUNT(*) FROM syncs").await;
        assert_eq!(scene.number("SELECT COUNT(*) FROM tide_core_syncs").await, syncs);
        assert_eq!(scene.number("SELECT COUNT(*) FROM tide_core_owners").await, syncs);
        assert_eq!(scene.number("SELECT COUNT(*) FROM schedules WHERE verb = 'sync'").await, syncs);
        if syncs > 0 {
            delete_as(&scene.records, &berlin, Kind::Sync, "s").await;
        }
    }
}

pub async fn a_prune_takes_only_what_its_console_owns(scene: &Scene) {
    let (berlin, lima) = (console("berlin"), console("lima"));
    apply_as(&scene.records, &berlin, FLEET).await.unwrap();
    apply_as(&scene.records, &berlin, &sync("b", "paris", "core", "never")).await.unwrap();
    let own = "subscribers: { cusco: { extract: never }, puno: { extract: never } }";
    apply_as(&scene.records, &lima, own).await.unwrap();
    apply_as(&scene.records, &lima, &sync("l", "cusco", "core", "never")).await.unwrap();

    let fleet = scene.records.fleet().await.unwrap();
    let declared =
        domain::definitions::parse(&[("f.yaml".into(), "subscribers: { cusco: { extract: never } }".into())]).unwrap();
    let accepted = domain::definitions::validate_pruned(&declared, &fleet.definitions, &fleet.prunable(&lima)).unwrap();
    let applied = scene.records.apply(&accepted, fleet.version, Some(&lima)).await.unwrap();
    let mut gone: Vec<_> =
        applied.objects.iter().filter(|o| o.change == Change::Deleted).map(|o| o.name.as_str()).collect();
    gone.sort_unstable();
    assert_eq!(gone, ["l", "puno"]);
    assert_eq!(scene.text("SELECT sync FROM syncs").await, "b");
    assert_eq!(scene.number("SELECT COUNT(*) FROM subscribers").await, 4);
}
