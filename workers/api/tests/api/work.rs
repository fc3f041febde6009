//! Requests, lanes, dead letters, and questions.

use std::time::Duration;

use crate::support::Service;
use queue::Queue;
use records::{PlannedJob, Template};
use reqwest::Method;
use schemas::{JobId, Priority, QueueName, Request, RequestId, StoreId};
use serde_json::{Value, json};
use uuid::Uuid;

const ID: &str = "01930000-0000-7000-8000-000000000001";

fn build() -> Value {
    json!({ "schema": 1, "id": ID, "kind": "build", "selector": { "distributions": ["antivirus"] } })
}

/// The request that somebody reads at the other end of the queue.
async fn taken(service: &Service) -> Request {
    let mut consumer = service.queue.consume(&QueueName::Requests, 1).await.unwrap();
    let delivery = tokio::time::timeout(Duration::from_secs(10), consumer.next()).await.unwrap().unwrap();
    let request = Request::decode(&delivery.body).unwrap();
    delivery.ack().await.unwrap();
    request
}

#[tokio::test]
async fn a_request_goes_into_the_same_queue_as_everybodys_and_is_followed_in_sql() {
    let service = Service::start().await;
    service.apply_hello().await;
    let asked = service.post("/v1/requests", build()).await;
    assert_eq!((asked.status.as_u16(), &asked.body), (202, &json!({ "id": ID })));
    let request = taken(&service).await;
    assert_eq!(request.id.to_string(), ID);
    assert_eq!(service.get(&format!("/v1/requests/{ID}")).await.code(), "request-unknown");
    service.records.accept(&[request], "queue").await.unwrap().remove(0).unwrap();
    let status = service.get(&format!("/v1/requests/{ID}")).await;
    assert_eq!(status.body["request"]["state"], "accepted", "{}", status.body);
    assert_eq!((&status.body["jobs"], &status.body["jobs_cut"]), (&json!([]), &json!(false)));
    service.end().await;
}

#[tokio::test]
async fn the_same_id_is_a_no_op_with_the_same_body_and_a_conflict_with_another() {
    let service = Service::start().await;
    service.apply_hello().await;
    let request: Request = serde_json::from_value(build()).unwrap();
    service.records.accept(&[request], "queue").await.unwrap().remove(0).unwrap();
    assert_eq!(service.post("/v1/requests", build()).await.status, 202);
    assert_eq!(service.queue.depth(&QueueName::Requests).await.unwrap_or(0), 0, "nothing is handed in twice");
    let mut other = build();
    other["options"] = json!({ "force": true });
    let refused = service.post("/v1/requests", other).await;
    assert_eq!((refused.status.as_u16(), refused.code()), (409, "conflict"), "{}", refused.body);
    service.end().await;
}

#[tokio::test]
async fn a_request_of_the_wrong_form_or_for_nothing_that_exists_is_refused() {
    let service = Service::start().await;
    service.apply_hello().await;
    let with = |field: &str, value: Value| {
        let mut body = build();
        body[field] = value;
        body
    };
    for (body, status, code) in [
        (with("schema", json!(2)), 400, "schema-unknown"),
        (with("kind", json!("burn")), 400, "request-malformed"),
        (with("selector", json!({})), 400, "selector-empty"),
        (with("selector", json!({ "distributions": ["../x"] })), 400, "request-malformed"),
        (with("selector", json!({ "distributions": ["nothing"] })), 404, "object-unknown"),
        (with("extra", json!(1)), 400, "request-malformed"),
    ] {
        let answer = service.post("/v1/requests", body).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (status, code), "{}", answer.body);
    }
    assert_eq!(service.queue.depth(&QueueName::Requests).await.unwrap_or(0), 0);
    service.end().await;
}

#[tokio::test]
async fn a_schedule_is_run_now_as_the_request_that_it_stands_for() {
    let service = Service::start().await;
    service.apply_hello().await;
    let asked = service.ask(Method::POST, "/v1/schedules/build/antivirus/run", None).await;
    assert_eq!(asked.status, 202, "{}", asked.body);
    let request = taken(&service).await;
    assert_eq!(request.selector.distributions, ["antivirus".try_into().unwrap()]);
    assert_eq!(asked.body["id"], request.id.to_string());
    service.end().await;
}

#[tokio::test]
async fn a_schedule_is_told_in_words_with_its_coming_occurrences() {
    let service = Service::start().await;
    service.apply_hello().await;
    let told = service.get("/v1/schedules/build/antivirus?count=3").await;
    assert_eq!(told.status, 200, "{}", told.body);
    let words = told.body["words"].as_str().unwrap();
    assert!(
        words.starts_with("every 10m of elapsed time, counted from ") && words.ends_with(" Europe/Paris"),
        "{words}"
    );
    assert_eq!((&told.body["zone"], &told.body["rule"]["every"]), (&json!("Europe/Paris"), &json!("10m")));
    let next = told.body["next"].as_array().unwrap();
    assert_eq!(next.len(), 3);
    assert_eq!(next[0]["start"], told.body["next_due"]);
    let local = next[0]["local"].as_str().unwrap();
    assert!(local.ends_with("+01:00") || local.ends_with("+02:00"), "{local}");
    let never = service.get("/v1/schedules/extract/region-eu").await;
    assert_eq!((&never.body["words"], &never.body["next"]), (&json!("never"), &json!([])));
    service.end().await;
}

#[tokio::test]
async fn only_one_question_that_writes_nothing_is_answered() {
    questions_to(Service::start().await).await;
    #[cfg(feature = "services")]
    if let Some(service) = Service::start_on_postgres().await {
        questions_to(service).await;
    }
}

async fn questions_to(service: Service) {
    service.apply_hello().await;
    for (sql, code) in [
        ("INSERT INTO tide_meta (name, number) VALUES ('x', 1)", "statement-not-read-only"),
        ("PRAGMA journal_mode = DELETE", "statement-not-read-only"),
        ("SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE", "statement-not-read-only"),
        ("ATTACH DATABASE '/tmp/x.db' AS x", "statement-not-read-only"),
        ("SELECT 1; DELETE FROM tide_meta", "statement-several"),
        ("WITH x AS (SELECT 1) INSERT INTO tide_meta (name, number) SELECT 'x', 1", "statement-failed"),
        ("SELECT nothing FROM nowhere", "statement-failed"),
        ("", "statement-empty"),
    ] {
        let answer = service.post("/v1/query", json!({ "sql": sql })).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (400, code), "{sql}: {}", answer.body);
    }
    let rows =
        service.post("/v1/query", json!({ "sql": "SELECT name, number FROM tide_meta WHERE name = 'x';" })).await;
    assert_eq!(rows.body, json!({ "columns": ["name", "number"], "rows": [], "cut": false }));
    service.end().await;
}

#[tokio::test]
async fn a_question_without_end_is_cut_off_by_its_rows() {
    let service = Service::start().await;
    let sql = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x FROM n";
    let answer = service.post("/v1/query", json!({ "sql": sql })).await;
    assert_eq!((answer.status.as_u16(), &answer.body["cut"]), (200, &json!(true)));
    service.end().await;
}

#[tokio::test]
async fn every_sheet_is_shown_whole_and_narrowed() {
    sheets_of(Service::start().await).await;
    #[cfg(feature = "services")]
    if let Some(service) = Service::start_on_postgres().await {
        sheets_of(service).await;
    }
}

async fn sheets_of(service: Service) {
    service.apply_hello().await;
    for (sheet, filter) in [
        ("jobs", "state=failed&subscriber=paris&kind=send&lane=site/paris/protect&distribution=antivirus"),
        ("deliveries", "channel=protect&state=never%20tried"),
        ("lanes", "lane=site/paris/protect&state=paused"),
        ("schedules", "schedule=build/antivirus"),
        ("subscribers", "subscriber=paris"),
        ("channels", "channel=protect"),
        ("revisions", "distribution=antivirus"),
        ("failures", "error_code=disk-full"),
        ("requests", "kind=refresh"),
        ("dead-letters", "state=kept"),
    ] {
        let whole = service.get(&format!("/v1/sheets/{sheet}")).await;
        assert_eq!(whole.status, 200, "{sheet}: {}", whole.body);
        let narrowed = service.get(&format!("/v1/sheets/{sheet}?{filter}&limit=5")).await;
        assert_eq!(narrowed.status, 200, "{sheet}: {}", narrowed.body);
        assert_eq!(whole.body["columns"], narrowed.body["columns"], "{sheet}");
    }
    let narrowed = service.get("/v1/sheets/subscribers?subscriber=paris").await;
    assert_eq!(narrowed.body["rows"].as_array().unwrap().len(), 1);
    let limited = service.get("/v1/sheets/subscribers?limit=2").await;
    assert_eq!(limited.body["rows"].as_array().unwrap().len(), 2);
    let quoted = service.get("/v1/sheets/jobs?state=x'%20OR%20'1'='1").await;
    assert_eq!((quoted.status.as_u16(), &quoted.body["rows"]), (200, &json!([])));
    service.end().await;
}

#[tokio::test]
async fn status_routes_and_database_are_told() {
    overview_of(Service::start().await, "sqlite", "sqlite://").await;
    #[cfg(feature = "services")]
    if let Some(service) = Service::start_on_postgres().await {
        overview_of(service, "postgres", "postgres://").await;
    }
}

async fn overview_of(service: Service, kind: &str, scheme: &str) {
    service.apply_hello().await;
    let status = service.get("/v1/status").await.body;
    assert_eq!((&status["database"], &status["dead_letters"]), (&json!(kind), &json!(0)), "{status}");
    assert_eq!(status["subscribers"].as_array().unwrap().len(), 4);
    let routes = service.get("/v1/routes").await.body;
    let paris = &routes["distributors"][0]["subscribers"][1];
    assert_eq!(paris, &json!({ "subscriber": "paris", "route": ["region-eu", "paris"] }), "{routes}");
    let database = service.get("/v1/database").await.body;
    assert_eq!(database["kind"], kind);
    assert!(database["url"].as_str().unwrap().starts_with(scheme));
    let views = service.get("/v1/database/views").await.body;
    let deliveries =
        views["views"].as_array().unwrap().iter().find(|view| view["view"] == "deliveries").unwrap().clone();
    assert!(deliveries["columns"].as_str().unwrap().starts_with("channel, distribution, subscriber, "), "{deliveries}");
    service.end().await;
}

#[tokio::test]
async fn a_lane_that_nobody_has_used_cannot_be_held() {
    let service = Service::start().await;
    for path in ["/v1/lanes/pause", "/v1/lanes/resume"] {
        let unknown = service.post(path, json!({ "lane": "site/paris/protect" })).await;
        assert_eq!((unknown.status.as_u16(), unknown.code()), (404, "lane-unknown"));
        let malformed = service.post(path, json!({ "lane": "paris" })).await;
        assert_eq!((malformed.status.as_u16(), malformed.code()), (400, "lane-malformed"));
    }
    service.end().await;
}

async fn kept(service: &Service, queue: &str, body: &[u8]) -> String {
    service.records.keep_dead_letter(queue, "request-malformed", "not JSON", body, None).await.unwrap()
}

#[tokio::test]
async fn a_replayed_letter_is_back_in_its_queue_once() {
    replay_at(Service::start().await).await;
    #[cfg(feature = "services")]
    if let Some(service) = Service::start_on_postgres().await {
        replay_at(service).await;
    }
}

async fn replay_at(service: Service) {
    let body = build().to_string();
    let id = kept(&service, "tidegate.requests", body.as_bytes()).await;
    let shown = service.get(&format!("/v1/dead-letters/{}", &id[..8])).await;
    assert_eq!((&shown.body["id"], &shown.body["body"]), (&json!(id), &json!(body)));
    let replayed = service.post(&format!("/v1/dead-letters/{}/replay", &id[..8]), json!({})).await;
    assert_eq!((replayed.status.as_u16(), &replayed.body["state"]), (200, &json!("replayed")), "{}", replayed.body);
    assert_eq!(taken(&service).await.id.to_string(), ID);
    for verb in ["replay", "drop"] {
        let over = service.post(&format!("/v1/dead-letters/{id}/{verb}"), json!({})).await;
        assert_eq!((over.status.as_u16(), over.code()), (409, "dead-letter-over"), "{}", over.body);
    }
    assert_eq!(service.queue.depth(&QueueName::Requests).await.unwrap(), 0);
    service.end().await;
}

#[tokio::test]
async fn letters_that_cannot_be_replayed_say_why_and_stay_kept() {
    let service = Service::start().await;
    for (queue, body, code) in [
        ("amq.direct", &b"{}"[..], "dead-letter-foreign"),
        ("tidegate.dead", b"{}", "dead-letter-foreign"),
        ("tidegate.site.paris.protect", b"{}", "queue-gone"),
        ("tidegate.requests", b"\xff\xfe", "dead-letter-incomplete"),
        ("tidegate.requests", &vec![b'x'; 300 << 10], "dead-letter-incomplete"),
    ] {
        let id = kept(&service, queue, body).await;
        let answer = service.post(&format!("/v1/dead-letters/{id}/replay"), json!({})).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (409, code), "{queue}: {}", answer.body);
        assert_eq!(service.get(&format!("/v1/dead-letters/{id}")).await.body["state"], "kept");
        let dropped = service.post(&format!("/v1/dead-letters/{id}/drop"), json!({})).await;
        assert_eq!(dropped.body["state"], "dropped", "{}", dropped.body);
    }
    service.end().await;
}

#[tokio::test]
async fn with_the_broker_or_the_database_away_the_answer_is_unavailable() {
    let service = Service::start().await;
    service.apply_hello().await;
    service.queue.close().await;
    let answer = service.post("/v1/requests", build()).await;
    assert_eq!((answer.status.as_u16(), answer.code()), (503, "broker-unavailable"), "{}", answer.body);
    service.records.clone().close().await;
    let answer = service.get("/v1/objects/channels").await;
    assert_eq!((answer.status.as_u16(), answer.code()), (503, "database-unavailable"), "{}", answer.body);
    service.end().await;
}

/// A send to paris that waits in its lane, as planning would leave it.
fn planned(lane: &str) -> PlannedJob {
    let request: RequestId = ID.parse().unwrap();
    PlannedJob {
        id: JobId::planned(request, "send/paris/antivirus"),
        lane: lane.parse().unwrap(),
        distributor: "hq".try_into().unwrap(),
        distribution: "antivirus".try_into().unwrap(),
        channel: Some("protect".try_into().unwrap()),
        subscriber: Some("paris".try_into().unwrap()),
        revision: None,
        priority: Priority::Medium,
        template: Template::Send { store: StoreId(Uuid::nil()), relays: vec![] },
        carried_by: None,
        retry_of: None,
        waits: vec![],
        note: None,
    }
}

#[tokio::test]
async fn a_held_lane_is_held_in_sql_and_its_site_is_told() {
    hold_at(Service::start().await).await;
    #[cfg(feature = "services")]
    if let Some(service) = Service::start_on_postgres().await {
        hold_at(service).await;
    }
}

async fn hold_at(service: Service) {
    service.apply_hello().await;
    let lane = "site/paris/protect";
    let job = planned(lane);
    let id = job.id.to_string();
    service.records.insert_step(ID.parse().unwrap(), &[job], &mut Default::default()).await.unwrap();
    let mut site = service.queue.consume(&QueueName::Control("paris".try_into().unwrap()), 4).await.unwrap();
    for (path, state, word) in [("/v1/lanes/pause", "paused", "pause"), ("/v1/lanes/resume", "open", "resume")] {
        let held = service.post(path, json!({ "lane": lane })).await;
        assert_eq!(held.body, json!({ "lane": lane, "state": state, "told": true }));
        let sql = format!("SELECT DISTINCT state FROM lanes WHERE lane = '{lane}'");
        let lanes = service.post("/v1/query", json!({ "sql": sql })).await.body;
        assert_eq!(lanes["rows"], json!([[state]]));
        let told = tokio::time::timeout(Duration::from_secs(10), site.next()).await.unwrap().unwrap();
        let control: Value = serde_json::from_slice(&told.body).unwrap();
        assert_eq!(control, json!({ "control": word, "lane": lane }));
        told.ack().await.unwrap();
    }
    let shown = service.get(&format!("/v1/jobs/{}", &id[..8])).await.body;
    assert_eq!((&shown["job"]["id"], &shown["history"][0]["event"]), (&json!(id), &json!("planned")), "{shown}");
    service.end().await;
}
