//! Reports reach the queue once each, together where they come together, whatever the broker does meanwhile.

mod rig;

use std::collections::BTreeSet;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use queue::Queue;
use queue::local::LocalQueue;
use rig::{Faulty, faulty, job, job_id, until, within};
use schemas::{BATCH_MAX, Beat, Event, Fault, QueueName, Report, Reports};
use tokio_util::sync::CancellationToken;
use worker::{ProgressBoard, ReportError, Reporter};

fn report(number: u128) -> Report {
    let message = job(number, 1);
    let fault = Fault::transient("a-code", "what happened");
    Report {
        job: message.job,
        attempt: 1,
        lane: message.lane,
        at_ms: 0,
        worker: "builder@test:1".to_owned(),
        event: Event::Failed { took_ms: 1, fault },
    }
}

async fn messages(queue: &Faulty) -> Vec<Reports> {
    let mut consumer = queue.consume(&QueueName::Reports, 2_000).await.unwrap();
    let mut messages = Vec::new();
    while let Some(delivery) = consumer.try_next() {
        messages.push(serde_json::from_slice(&delivery.body).unwrap());
        delivery.ack().await.unwrap();
    }
    messages
}

#[tokio::test]
async fn a_crowd_shares_messages_and_each_report_arrives_once() {
    let queue = faulty(LocalQueue::new());
    let reporter = Reporter::start(queue.clone());
    let all = (1..=1_000).map(report).collect();
    within(reporter.send_all(all)).await.unwrap();
    let messages = messages(&queue).await;
    assert!(messages.len() <= 20, "{} messages for 1,000 reports", messages.len());
    assert!(messages.iter().all(|message| message.reports.len() <= BATCH_MAX));
    let jobs: Vec<_> = messages.iter().flat_map(|message| message.reports.iter().map(|report| report.job)).collect();
    assert_eq!(jobs, (1..=1_000).map(job_id).collect::<Vec<_>>());
}

#[tokio::test]
async fn reports_wait_out_the_brokers_absence() {
    let queue = faulty(LocalQueue::new());
    let reporter = Reporter::start(queue.clone());
    queue.reports_fail.store(true, SeqCst);
    let sending = tokio::spawn({
        let reporter = reporter.clone();
        async move { reporter.send_all((1..=10).map(report).collect()).await }
    });
    until("refused more than once", async || queue.refused.load(SeqCst) > 1).await;
    assert!(!sending.is_finished());
    queue.reports_fail.store(false, SeqCst);
    within(sending).await.unwrap().unwrap();
    let jobs: BTreeSet<_> = messages(&queue).await.into_iter().flat_map(|m| m.reports).map(|r| r.job).collect();
    assert_eq!(jobs.len(), 10);
}

#[tokio::test]
async fn a_report_above_the_limit_is_refused_and_the_next_one_goes() {
    let queue = faulty(LocalQueue::new());
    let reporter = Reporter::start(queue.clone());
    let mut large = report(1);
    large.worker = "x".repeat(schemas::MESSAGE_BYTES_MAX);
    assert!(matches!(reporter.send(large).await, Err(ReportError::TooLarge { .. })));
    let mut half = report(2);
    half.worker = "x".repeat(schemas::MESSAGE_BYTES_MAX / 2);
    within(reporter.send_all(vec![half.clone(), half.clone(), report(3)])).await.unwrap();
    let messages = messages(&queue).await;
    assert_eq!(messages.iter().map(|message| message.reports.len()).sum::<usize>(), 3);
    assert!(messages.iter().all(|m| serde_json::to_vec(m).unwrap().len() <= schemas::MESSAGE_BYTES_MAX));
}

#[tokio::test]
async fn a_closed_reporter_has_sent_what_it_took_and_takes_no_more() {
    let queue = faulty(LocalQueue::new());
    let reporter = Reporter::start(queue.clone());
    let sending = tokio::spawn({
        let reporter = reporter.clone();
        async move { reporter.send_all((1..=500).map(report).collect()).await }
    });
    within(sending).await.unwrap().unwrap();
    within(reporter.close(Duration::from_secs(5))).await;
    assert_eq!(reporter.send(report(501)).await, Err(ReportError::Closed));
    assert_eq!(messages(&queue).await.iter().map(|message| message.reports.len()).sum::<usize>(), 500);
}

#[tokio::test]
async fn a_worker_beats_once_a_second_for_all_its_open_jobs() {
    let queue = LocalQueue::new();
    let mut beats = queue.consume(&QueueName::Progress, 10).await.unwrap();
    let board = ProgressBoard::new("builder@test:1".to_owned());
    let stop = CancellationToken::new();
    let task = board.publish(queue.clone(), stop.clone());
    let one = board.open(job_id(1), 1);
    let two = board.open(job_id(2), 5);
    one.step("upload");
    one.set_totals(10, 1_000);
    one.add_files(3);
    one.add_bytes(400);
    drop(board.open(job_id(3), 1));
    two.step("read");
    let delivery = within(beats.next()).await.unwrap();
    let Beat::Progress(beat) = serde_json::from_slice(&delivery.body).unwrap() else { panic!("not progress") };
    assert_eq!(
        beat.jobs.iter().map(|job| (job.job, job.attempt)).collect::<Vec<_>>(),
        [(job_id(1), 1), (job_id(2), 5)]
    );
    let figures = &beat.jobs[0];
    assert_eq!((figures.step.as_str(), figures.files_done, figures.bytes_done), ("upload", 3, 400));
    assert_eq!((figures.files_total, figures.bytes_total), (10, 1_000));
    stop.cancel();
    within(task).await.unwrap();
}
