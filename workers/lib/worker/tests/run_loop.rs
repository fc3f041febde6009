//! The rules that the run loop keeps, on the in-process queue.

mod rig;

use std::collections::BTreeSet;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use queue::Queue;
use queue::amqp::{AmqpConfig, AmqpQueue};
use rig::{Rig, Setup, fault_of, faulty, job, job_id, succeeded, until, within, work_queue};
use schemas::{Control, Event, QueueName};
use testkit::{Proxy, Vhost};
use worker::dead;

const SOON: Duration = Duration::from_millis(30);

const TWO_SLOTS: Setup =
    Setup { slots: 2, started_after: SOON, drain_time: Duration::from_secs(20), panics_on: None, deaf: false };

#[tokio::test]
async fn takes_a_delivery_only_when_a_slot_is_free() {
    long_work_keeps_its_slot(Rig::start(TWO_SLOTS).await).await;
}

#[tokio::test]
async fn takes_a_delivery_from_rabbitmq_only_when_a_slot_is_free() {
    let Some(vhost) = Vhost::fresh() else { return };
    let queue = vhost.open();
    long_work_keeps_its_slot(Rig::start_on(faulty(queue.clone()), TWO_SLOTS).await).await;
    queue.close().await;
}

async fn long_work_keeps_its_slot(mut rig: Rig) {
    for number in 1..=5 {
        rig.post(&job(number, 1)).await;
    }
    rig.next_started().await;
    rig.next_started().await;
    // Both are acknowledged as long work, and still their slots are taken.
    assert_eq!(rig.next_report().await.event, Event::Started {});
    assert_eq!(rig.next_report().await.event, Event::Started {});
    until("two are long", async || rig.health.snapshot().long_running == 2).await;
    until("three wait", async || rig.ready().await == 3).await;
    assert!(rig.started.try_recv().is_err());

    rig.work.may_end.add_permits(1);
    assert!(succeeded(&rig.next_report().await));
    rig.next_started().await;
    until("two wait", async || rig.ready().await == 2).await;
    rig.work.may_end.add_permits(4);
    until("all ended", async || rig.health.snapshot().ended == 5).await;
    rig.end().await;
}

#[tokio::test]
async fn work_in_hand_survives_a_lost_connection_and_is_done_once() {
    let Some(vhost) = Vhost::fresh() else { return };
    let proxy = Proxy::start(vhost.server()).await;
    let queue = AmqpQueue::open(AmqpConfig::new(vhost.url_by(&proxy))).unwrap();
    let setup = Setup { slots: 2, started_after: Duration::from_secs(1), ..Setup::default() };
    let mut rig = Rig::start_on(faulty(queue.clone()), setup).await;
    rig.post(&job(1, 1)).await;
    rig.next_started().await;
    proxy.cut();
    // The delivery was not acknowledged: the broker gives it to a free consumer while the work still goes on.
    rig.post_again(&job(2, 1)).await;
    assert_eq!(rig.next_started().await, job_id(2));
    rig.work.may_end.add_permits(2);
    let mut ended = BTreeSet::new();
    while ended.len() < 2 {
        let report = rig.next_report().await;
        assert!(succeeded(&report) || report.event == Event::Started {}, "{report:?}");
        if succeeded(&report) {
            ended.insert(report.job);
        }
    }
    until("nothing is left", async || rig.ready().await == 0 && rig.health.snapshot().consuming == 2).await;
    assert_eq!(rig.work.runs.load(SeqCst), 2);
    rig.end().await;
    queue.close().await;
}

#[tokio::test]
async fn work_that_ends_within_a_second_says_only_how_it_ended() {
    let mut rig = Rig::start(Setup::default()).await;
    rig.work.may_end.add_permits(1);
    rig.post(&job(1, 3)).await;
    let report = rig.next_report().await;
    assert!(succeeded(&report));
    assert_eq!((report.job, report.attempt, report.worker.as_str()), (job_id(1), 3, "builder@test:1"));
    rig.end().await;
}

#[tokio::test]
async fn a_job_longer_than_a_second_is_started_and_acknowledged() {
    let mut rig = Rig::start(Setup { started_after: Duration::from_secs(1), ..Setup::default() }).await;
    rig.post(&job(1, 1)).await;
    rig.next_started().await;
    let before = worker::now_ms();
    let report = rig.next_report().await;
    assert_eq!(report.event, Event::Started {});
    assert!(report.at_ms <= before, "it tells when the work began, not when that is told");
    until("it is long", async || rig.health.snapshot().long_running == 1).await;
    // Nothing comes back from a killed worker: it was acknowledged.
    tokio::task::yield_now().await;
    rig.kill().await;
    assert_eq!(rig.ready().await, 0);
}

#[tokio::test]
async fn started_is_confirmed_before_the_acknowledgement() {
    let mut rig = Rig::start(Setup { started_after: SOON, ..Setup::default() }).await;
    rig.queue.reports_fail.store(true, SeqCst);
    rig.post(&job(1, 1)).await;
    rig.next_started().await;
    until("the report was refused", async || rig.queue.refused.load(SeqCst) > 0).await;
    rig.kill().await;
    assert_eq!(rig.ready().await, 1);
}

#[tokio::test]
async fn a_kill_between_report_and_acknowledgement_brings_the_same_report_again() {
    let mut rig = Rig::start(Setup::default()).await;
    rig.queue.reports_fail.store(true, SeqCst);
    rig.work.may_end.add_permits(1);
    rig.post(&job(1, 1)).await;
    // The work is done, its report is not confirmed: the delivery must not be acknowledged.
    until("the report was refused", async || rig.queue.refused.load(SeqCst) > 0).await;
    rig.kill().await;
    assert_eq!(rig.ready().await, 1);

    rig.queue.reports_fail.store(false, SeqCst);
    let mut first = rig;
    let mut second = Rig::start_on(first.queue.clone(), Setup::default()).await;
    second.work.may_end.add_permits(1);
    // The old worker's report had been handed to its reporter, which lives on here; both say the same.
    let (one, two) = (first.next_report(), second.next_report());
    let (one, two) = tokio::join!(one, two);
    assert!(succeeded(&one) && succeeded(&two));
    assert_eq!((one.job, one.attempt), (two.job, two.attempt));
    second.end().await;
}

#[tokio::test]
async fn an_attempt_that_ended_here_is_reported_again_and_not_worked_on_again() {
    let mut rig = Rig::start(Setup::default()).await;
    rig.work.may_end.add_permits(2);
    rig.post(&job(1, 1)).await;
    let first = rig.next_report().await;
    rig.post(&job(1, 1)).await;
    assert_eq!(rig.next_report().await, first);
    assert_eq!(rig.work.runs.load(SeqCst), 1);
    // A new attempt is new work.
    rig.post(&job(1, 2)).await;
    assert_eq!(rig.next_report().await.attempt, 2);
    assert_eq!(rig.work.runs.load(SeqCst), 2);
    rig.end().await;
}

#[tokio::test]
async fn a_new_attempt_of_a_job_in_hand_renames_it_and_starts_nothing() {
    let mut rig = Rig::start(Setup { slots: 2, ..Setup::default() }).await;
    rig.post(&job(1, 1)).await;
    rig.next_started().await;
    rig.post(&job(1, 2)).await;
    let renamed = rig.next_report().await;
    assert_eq!((renamed.attempt, renamed.event), (2, Event::Started {}));
    rig.work.may_end.add_permits(1);
    let ended = rig.next_report().await;
    assert!(succeeded(&ended));
    assert_eq!(ended.attempt, 2);
    assert_eq!(rig.work.runs.load(SeqCst), 1);
    rig.end().await;
}

#[tokio::test]
async fn drain_waits_for_work_in_hand_and_takes_no_more() {
    let mut rig = Rig::start(Setup::default()).await;
    rig.post(&job(1, 1)).await;
    rig.next_started().await;
    rig.shutdown.cancel();
    rig.post(&job(2, 1)).await;
    until("it drains", async || rig.health.snapshot().draining).await;
    rig.work.may_end.add_permits(2);
    assert!(succeeded(&rig.next_report().await));
    within(&mut rig.looping).await.unwrap().unwrap();
    assert_eq!(rig.ready().await, 1);
}

#[tokio::test]
async fn drain_past_its_time_reports_yielded() {
    for deaf in [false, true] {
        let setup = Setup { slots: 2, started_after: SOON, drain_time: SOON, deaf, ..Setup::default() };
        let mut rig = Rig::start(setup).await;
        rig.post(&job(1, 4)).await;
        rig.next_started().await;
        assert_eq!(rig.next_report().await.event, Event::Started {});
        rig.shutdown.cancel();
        let report = rig.next_report().await;
        assert_eq!((report.attempt, report.event), (4, Event::Yielded {}), "deaf: {deaf}");
        within(&mut rig.looping).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_shutdown_without_a_broker_gives_the_delivery_back() {
    let mut rig = Rig::start(Setup { drain_time: SOON, ..Setup::default() }).await;
    rig.post(&job(1, 1)).await;
    rig.next_started().await;
    rig.queue.reports_fail.store(true, SeqCst);
    rig.shutdown.cancel();
    within(&mut rig.looping).await.unwrap().unwrap();
    assert_eq!(rig.ready().await, 1);
}

#[tokio::test]
async fn panic_is_reported_and_neighbours_go_on() {
    let mut rig = Rig::start(Setup { slots: 2, panics_on: Some(2), ..Setup::default() }).await;
    rig.post(&job(1, 1)).await;
    rig.next_started().await;
    rig.post(&job(2, 1)).await;
    let report = rig.next_report().await;
    assert_eq!(report.job, job_id(2));
    let fault = fault_of(&report);
    assert_eq!((fault.code.as_str(), fault.permanent), ("worker-panic", false));
    assert!(fault.message.contains("poisoned"), "{}", fault.message);

    rig.work.may_end.add_permits(2);
    assert_eq!(rig.next_report().await.job, job_id(1));
    rig.post(&job(3, 1)).await;
    assert!(succeeded(&rig.next_report().await));
    rig.end().await;
}

#[tokio::test]
async fn malformed_message_is_dead_lettered_with_its_reason() {
    let mut rig = Rig::start(Setup::default()).await;
    let other_schema = serde_json::to_string(&job(1, 1)).unwrap().replacen("\"schema\":1", "\"schema\":9", 1);
    let mut unknown_field = serde_json::to_value(job(1, 1)).unwrap();
    unknown_field["surprise"] = true.into();
    let cases = [
        (b"{ not json".to_vec(), "message-malformed"),
        (other_schema.into_bytes(), "schema-unknown"),
        (serde_json::to_vec(&unknown_field).unwrap(), "message-malformed"),
        (vec![b' '; schemas::MESSAGE_BYTES_MAX + 1], "message-too-large"),
    ];
    let mut letters = rig.queue.consume(&QueueName::Dead, 1).await.unwrap();
    for (body, code) in cases {
        rig.post_to(work_queue(), body.clone()).await;
        let letter = within(letters.next()).await.unwrap();
        let reason = dead::reason(&letter.headers);
        assert_eq!((reason.code.as_str(), reason.queue.as_str()), (code, "tidegate.build.hq"));
        assert!(!reason.message.is_empty());
        assert_eq!(letter.body, body);
        letter.ack().await.unwrap();
    }
    // It is not retried, and the loop goes on.
    rig.work.may_end.add_permits(1);
    rig.post(&job(1, 1)).await;
    assert!(succeeded(&rig.next_report().await));
    assert_eq!((rig.ready().await, rig.work.runs.load(SeqCst)), (0, 1));
    rig.end().await;
}

#[tokio::test]
async fn cancel_reaches_running_work_and_work_that_comes_later() {
    let mut rig = Rig::start(Setup::default()).await;
    rig.post(&job(1, 1)).await;
    rig.next_started().await;
    let cancel = |number| serde_json::to_vec(&Control::Cancel { job: job_id(number) }).unwrap();
    rig.post_to(QueueName::BuilderControl, cancel(2)).await;
    rig.post_to(QueueName::BuilderControl, cancel(1)).await;
    let report = rig.next_report().await;
    assert_eq!((report.job, report.event), (job_id(1), Event::Cancelled {}));
    rig.post(&job(2, 1)).await;
    let report = rig.next_report().await;
    assert_eq!((report.job, report.event), (job_id(2), Event::Cancelled {}));
    assert_eq!(rig.work.runs.load(SeqCst), 1);
    rig.end().await;
}
