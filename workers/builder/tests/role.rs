//! The builder's loop on a queue in process.

mod support;

use std::sync::Arc;
use std::time::Duration;

use builder::{Config, run};
use queue::local::LocalQueue;
use queue::{Consumer, Outgoing, Queue};
use schemas::{
    DistributionName, DistributorName, Event, JobId, JobMessage, JobResult, Lane, QueueName, Report, Reports,
    RequestId, SCHEMA, Seq, Task,
};
use support::Place;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_secs(20);

struct Role {
    queue: Arc<LocalQueue>,
    reports: Consumer,
    distributors: watch::Sender<Vec<DistributorName>>,
    shutdown: CancellationToken,
    running: JoinHandle<Result<(), queue::QueueError>>,
}

impl Role {
    async fn start(place: &Place, distributors: &[&str]) -> Role {
        let queue = LocalQueue::new();
        for name in [QueueName::Reports, QueueName::Progress, QueueName::Dead] {
            queue.declare(&name).await.unwrap();
        }
        let reports = queue.consume(&QueueName::Reports, 10).await.unwrap();
        let names = distributors.iter().map(|name| DistributorName::try_from(*name).unwrap()).collect();
        let (distributors, of_config) = watch::channel(names);
        let config = Config {
            distributors: of_config,
            slots: 2,
            work_dir: Some(place.work.path().to_owned()),
            worker_id: "builder@test:1".to_owned(),
            drain_time: Duration::from_secs(5),
        };
        let shutdown = CancellationToken::new();
        let running = tokio::spawn(run(config, queue.clone(), place.blobs.clone(), shutdown.clone()));
        Role { queue, reports, distributors, shutdown, running }
    }

    async fn publish(&self, to: &str, task: Task) -> JobId {
        let to = QueueName::Build(DistributorName::try_from(to).unwrap());
        let job = JobId(uuid::Uuid::now_v7());
        let message = JobMessage {
            schema: SCHEMA,
            job,
            attempt: 1,
            lane: Lane::Build(DistributionName::try_from("antivirus").unwrap()),
            seq: Seq { epoch: 1, n: 1 },
            request: RequestId(uuid::Uuid::now_v7()),
            task,
            then: None,
            settings: None,
            traceparent: None,
        };
        self.queue.declare(&to).await.unwrap();
        let sent = self.queue.publish(vec![Outgoing::new(to, serde_json::to_vec(&message).unwrap())]).await;
        assert_eq!(sent, [Ok(())]);
        job
    }

    async fn terminal_report(&mut self, job: JobId) -> Report {
        let wait = async {
            loop {
                let delivery = self.reports.next().await.expect("an open queue");
                let reports: Reports = serde_json::from_slice(&delivery.body).unwrap();
                delivery.ack().await.unwrap();
                let found = reports.reports.into_iter().find(|report| report.job == job && report.event.is_terminal());
                if let Some(report) = found {
                    break report;
                }
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.expect("a report in time")
    }

    async fn stop(self) {
        self.shutdown.cancel();
        tokio::time::timeout(PATIENCE, self.running).await.expect("an end in time").unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_build_job_ends_in_a_report_with_its_revision() {
    let place = Place::new();
    place.write("a", "1");
    let mut role = Role::start(&place, &["hq"]).await;
    let job = role.publish("hq", Task::Build(place.task(1, None))).await;
    let report = role.terminal_report(job).await;
    let Event::Succeeded { result: JobResult::Build(result), .. } = report.event else { panic!("{report:?}") };
    assert_eq!(result.revision.unwrap().files, 1);
    role.stop().await;
}

#[tokio::test]
async fn a_permanent_fault_is_reported_as_such() {
    let place = Place::new();
    place.write("back\\slash", "1");
    let mut role = Role::start(&place, &["hq"]).await;
    let job = role.publish("hq", Task::Build(place.task(1, None))).await;
    let Event::Failed { fault, .. } = role.terminal_report(job).await.event else { panic!("not failed") };
    assert_eq!((fault.code.as_str(), fault.permanent), ("entry-unsafe", true));
    role.stop().await;
}

#[tokio::test]
async fn a_distributor_that_comes_while_it_runs_is_served() {
    let place = Place::new();
    place.write("a", "1");
    let mut role = Role::start(&place, &["hq"]).await;
    let job = role.publish("lab", Task::Build(place.task(1, None))).await;
    role.distributors.send_modify(|names| names.push(DistributorName::try_from("lab").unwrap()));
    assert!(matches!(role.terminal_report(job).await.event, Event::Succeeded { .. }));
    role.stop().await;
}
