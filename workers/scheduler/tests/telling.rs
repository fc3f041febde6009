//! Telling sites goes on beside everything else that a leader does.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use dispatch::Dispatcher;
use queue::local::LocalQueue;
use queue::{Address, Outgoing, Queue, QueueError};
use records::Records;
use schemas::QueueName;
use testkit::{Tamper, Tampered};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

const FLEET: &str = "
distributors: { hq: {} }
distributions:
  a: { distributor: hq, type: file, sources: [ { path: /srv/a } ], target: /srv/t, mode: mirror, build: { every: 7d } }
channels: { c: { distributions: [a], send: never, subscriptions: [paris, lyon] } }
subscribers: { paris: { extract: never }, lyon: { extract: never } }
";

/// Confirms nothing that is for a site's ears; says when it is asked to, and when a build goes out.
#[derive(Clone, Default)]
struct Deaf {
    asked: Arc<Notify>,
    built: Arc<Notify>,
}

#[async_trait]
impl Tamper for Deaf {
    async fn publish(&self, messages: &[Outgoing]) -> Option<Vec<Result<(), QueueError>>> {
        if messages.iter().any(|message| matches!(message.to, Address::Queue(QueueName::Control(_)))) {
            self.asked.notify_one();
            std::future::pending::<()>().await;
        }
        if messages.iter().any(|message| matches!(message.to, Address::Queue(QueueName::Build(_)))) {
            self.built.notify_one();
        }
        None
    }
}

async fn applied(directory: &tempfile::TempDir) -> Records {
    let records = Records::open(&format!("sqlite://{}/r.sqlite", directory.path().display())).await.unwrap();
    records.migrate().await.unwrap();
    let fleet = records.fleet().await.unwrap();
    let declared = domain::definitions::parse(&[("fleet.yaml".to_owned(), FLEET.to_owned())]).unwrap();
    let accepted = domain::definitions::validate(&declared, &fleet.definitions).unwrap();
    records.apply(&accepted, fleet.version, None).await.unwrap();
    records
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("within 20 s")
}

#[tokio::test]
async fn sites_that_cannot_be_told_anything_make_no_schedule_late() {
    let directory = tempfile::tempdir().unwrap();
    let records = applied(&directory).await;
    let deaf = Deaf::default();
    let queue: Arc<dyn Queue> = Tampered::new(LocalQueue::new(), deaf.clone());
    let stop = CancellationToken::new();
    let dispatcher = Dispatcher::new(records.clone(), queue.clone());
    let config = scheduler::Config::default();
    let running = tokio::spawn(scheduler::run(config, records.clone(), dispatcher, queue, stop.clone()));
    soon(deaf.asked.notified()).await;

    let due = "UPDATE tide_schedules SET next_due_ms = 1, anchor_ms = anchor_ms - 700000000, through_ms = through_ms - 700000000
        WHERE name = 'build/a'";
    records.force_for_tests(due).await.unwrap();
    soon(deaf.built.notified()).await;
    stop.cancel();
    soon(running).await.unwrap().unwrap();
}
