//! Requests as any client posts them, against a running scheduler on the in-process queue and SQLite.

use std::sync::Arc;
use std::time::Duration;

use dispatch::Dispatcher;
use queue::local::LocalQueue;
use queue::{Address, Consumer, Outgoing, Queue};
use records::Records;
use schemas::{QueueName, Reply};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

struct Scene {
    queue: Arc<dyn Queue>,
    records: Records,
    answers: Consumer,
    dead: Consumer,
    stop: CancellationToken,
    running: tokio::task::JoinHandle<anyhow::Result<()>>,
    _directory: tempfile::TempDir,
}

impl Scene {
    async fn start() -> Scene {
        let directory = tempfile::tempdir().unwrap();
        let records = Records::open(&format!("sqlite://{}/r.sqlite", directory.path().display())).await.unwrap();
        records.migrate().await.unwrap();
        let queue: Arc<dyn Queue> = LocalQueue::new();
        for name in [QueueName::Requests, QueueName::Dead, answers()] {
            queue.declare(&name).await.unwrap();
        }
        let (answers, dead) =
            (queue.consume(&answers(), 10).await.unwrap(), queue.consume(&QueueName::Dead, 10).await.unwrap());
        let stop = CancellationToken::new();
        let dispatcher = Dispatcher::new(records.clone(), queue.clone());
        let config = scheduler::Config::default();
        let running = tokio::spawn(scheduler::run(config, records.clone(), dispatcher, queue.clone(), stop.clone()));
        Scene { queue, records, answers, dead, stop, running, _directory: directory }
    }

    async fn post(&self, body: &str) {
        let mut message = Outgoing::new(QueueName::Requests, body.to_owned());
        message.reply_to = Some(answers().to_string());
        message.correlation_id = Some("42".to_owned());
        for result in self.queue.publish(vec![message]).await {
            result.unwrap();
        }
    }

    async fn answer(&mut self) -> Reply {
        let delivery = soon(self.answers.next()).await.unwrap();
        assert_eq!(delivery.correlation_id.as_deref(), Some("42"));
        let reply = serde_json::from_slice(&delivery.body).unwrap();
        delivery.ack().await.unwrap();
        reply
    }

    async fn dead(&mut self) -> (String, String) {
        let delivery = soon(self.dead.next()).await.unwrap();
        let code = delivery.headers[worker::dead::REASON].clone();
        let body = String::from_utf8(delivery.body.to_vec()).unwrap();
        delivery.ack().await.unwrap();
        (code, body)
    }

    async fn end(self) {
        self.stop.cancel();
        soon(self.running).await.unwrap().unwrap();
    }
}

fn answers() -> QueueName {
    QueueName::Scratch("answers".to_owned())
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("within 20 s")
}

fn build(id: Uuid, extra: &str) -> String {
    format!(r#"{{"schema":1,"id":"{id}","kind":"build","selector":{{"distributions":["antivirus"]}}{extra}}}"#)
}

#[tokio::test]
async fn a_request_is_answered_stored_and_ended() {
    let mut scene = Scene::start().await;
    let id = Uuid::now_v7();
    scene.post(&build(id, "")).await;
    assert!(matches!(scene.answer().await, Reply::Accepted { new: true, .. }));
    scene.post(&build(id, "")).await;
    assert!(matches!(scene.answer().await, Reply::Accepted { new: false, .. }));
    // Nothing of that name is defined: planning refuses it, and says why.
    let ended = soon(async {
        loop {
            let status = scene.records.request_status(schemas::RequestId(id)).await.unwrap().unwrap();
            if status.state == "failed" {
                break status;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(ended.error_code.as_deref(), Some("unknown"));
    scene.end().await;
}

#[tokio::test]
async fn a_bad_request_is_answered_and_dead_lettered_with_its_reason() {
    let mut scene = Scene::start().await;
    let id = Uuid::now_v7();
    let cases = [
        ("no json at all".to_owned(), "request-malformed"),
        (build(id, r#","command":"rm -rf /""#), "request-malformed"),
        (build(id, "").replace("\"schema\":1", "\"schema\":9"), "schema-unknown"),
        (build(id, "").replace("build", "burn"), "request-malformed"),
        ("[]".to_owned(), "request-malformed"),
    ];
    for (body, code) in cases {
        scene.post(&body).await;
        let Reply::Refused { fault, .. } = scene.answer().await else { panic!("{body}") };
        assert_eq!(fault.code, code, "{body}");
        assert_eq!(scene.dead().await, (code.to_owned(), body));
    }
    assert!(scene.records.request_status(schemas::RequestId(id)).await.unwrap().is_none());
    scene.end().await;
}

#[tokio::test]
async fn the_same_id_with_another_body_is_a_conflict() {
    let mut scene = Scene::start().await;
    let id = Uuid::now_v7();
    scene.post(&build(id, "")).await;
    scene.answer().await;
    scene.post(&build(id, r#","options":{"force":true}"#)).await;
    let Reply::Refused { request, fault } = scene.answer().await else { panic!() };
    assert_eq!((request.map(|r| r.0), fault.code.as_str()), (Some(id), "conflict"));
    assert_eq!(scene.dead().await.0, "conflict");
    scene.end().await;
}

#[tokio::test]
async fn one_message_may_carry_several_requests() {
    let mut scene = Scene::start().await;
    let ids = [Uuid::now_v7(), Uuid::now_v7()];
    scene.post(&format!("[{},{}]", build(ids[0], ""), build(ids[1], ""))).await;
    for _ in ids {
        assert!(matches!(scene.answer().await, Reply::Accepted { new: true, .. }));
    }
    scene.end().await;
}

#[tokio::test]
async fn an_answer_that_nobody_takes_does_not_hold_the_request_up() {
    let mut scene = Scene::start().await;
    let mut message = Outgoing::new(QueueName::Requests, build(Uuid::now_v7(), ""));
    message.to = Address::Queue(QueueName::Requests);
    message.reply_to = Some("gone".to_owned());
    for result in scene.queue.publish(vec![message]).await {
        result.unwrap();
    }
    scene.post(&build(Uuid::now_v7(), "")).await;
    assert!(matches!(scene.answer().await, Reply::Accepted { .. }));
    scene.end().await;
}

const WEEKLY: &str = "
distributors: { hq: { refresh: { every: 7d } } }
distributions:
  antivirus: { distributor: hq, type: file, sources: [ { path: /srv/a } ], target: /srv/old, mode: mirror, build: { every: 1d } }
";

async fn apply(records: &Records, text: &str) {
    let fleet = records.fleet().await.unwrap();
    let declared = domain::definitions::parse(&[("f.yaml".to_owned(), text.to_owned())]).unwrap();
    let accepted = domain::definitions::validate(&declared, &fleet.definitions).unwrap();
    records.apply(&accepted, fleet.version, None).await.unwrap();
}

#[tokio::test]
async fn a_refresh_puts_in_effect_what_waited_and_builds_it() {
    let mut scene = Scene::start().await;
    apply(&scene.records, WEEKLY).await;
    apply(&scene.records, &WEEKLY.replace("/srv/old", "/srv/new")).await;
    let targets = async |records: &Records| {
        let distributions = records.fleet_in_effect().await.unwrap().definitions.distributions;
        distributions.values().map(|d| d.target.clone()).collect::<Vec<_>>()
    };
    assert_eq!(targets(&scene.records).await, ["/srv/old"]);
    let id = Uuid::now_v7();
    let body = format!(r#"{{"schema":1,"id":"{id}","kind":"refresh","selector":{{"distributors":["hq"]}}}}"#);
    scene.post(&body).await;
    assert!(matches!(scene.answer().await, Reply::Accepted { new: true, .. }));
    let planned = soon(async {
        loop {
            let status = scene.records.request_status(schemas::RequestId(id)).await.unwrap().unwrap();
            if status.state != "accepted" {
                break status;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!((planned.state.as_str(), planned.jobs), ("open", 1), "{planned:?}");
    assert_eq!(targets(&scene.records).await, ["/srv/new"]);
    scene.end().await;
}
