//! The rules of the site's journal, each broken on purpose.

use std::collections::BTreeMap;

use schemas::{
    ContentSource, Digest, Event, ExtractTask, Fault, Follow, JobId, JobMessage, JobResult, Keep, Lane, Mode,
    RequestId, RevisionRef, SCHEMA, SendResult, SendTask, Seq, Settings, SourceBytes, StoreId, Task,
};
use subscriber::journal::{Admission, Begin, Ending, Journal, TRIES_MAX, Transfer};
use tempfile::TempDir;

struct Fixture {
    dir: TempDir,
    journal: Journal,
}

impl Fixture {
    async fn new() -> Fixture {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(&dir.path().join("journal.sqlite")).await.unwrap();
        Fixture { dir, journal }
    }

    /// As after a restart of the process.
    async fn reopened(self) -> Fixture {
        self.journal.close().await;
        let journal = Journal::open(&self.dir.path().join("journal.sqlite")).await.unwrap();
        Fixture { dir: self.dir, journal }
    }

    async fn admit(&self, message: &JobMessage) -> Admission {
        self.journal.admit(message).await.unwrap().durable().await.unwrap()
    }

    async fn end(&self, job: JobId, event: &Event) -> Ending {
        self.journal.end(job, event).await.unwrap().durable().await.unwrap().ending
    }

    async fn taken(&self, message: &JobMessage) {
        assert_eq!(self.admit(message).await, Admission::Taken);
    }

    async fn next(&self) -> Option<(JobId, u32)> {
        self.journal.next_open(&lane()).await.unwrap().map(|open| (open.job, open.attempt))
    }
}

fn lane() -> Lane {
    Lane::site("paris".try_into().unwrap(), "protect".try_into().unwrap())
}

fn job(text: &str) -> JobId {
    JobId::planned(RequestId(Default::default()), text)
}

fn revision() -> RevisionRef {
    RevisionRef { number: 1, header: Digest::of(b"header") }
}

fn send(name: &str, attempt: u32, n: u64) -> JobMessage {
    JobMessage {
        schema: SCHEMA,
        job: job(name),
        attempt,
        lane: lane(),
        seq: Seq { epoch: 1, n },
        request: RequestId(Default::default()),
        task: Task::Send(SendTask {
            subscriber: "paris".try_into().unwrap(),
            channel: "protect".try_into().unwrap(),
            distribution: "antivirus".try_into().unwrap(),
            store: StoreId(Default::default()),
            revision: revision(),
            priority: Default::default(),
            sources: vec![ContentSource::ORIGIN],
            keep: None,
            stop_at_ms: None,
        }),
        then: None,
        settings: None,
        traceparent: None,
    }
}

fn send_then_extract(name: &str, attempt: u32, n: u64) -> JobMessage {
    let task = ExtractTask {
        subscriber: "paris".try_into().unwrap(),
        distribution: "antivirus".try_into().unwrap(),
        store: StoreId(Default::default()),
        revision: revision(),
        mode: Mode::Mirror,
        target: "/srv/antivirus".to_owned(),
        adopt: false,
        allow: Vec::new(),
        pin: false,
        unchanged: Default::default(),
        other_targets: BTreeMap::new(),
        keep: None,
        stop_at_ms: None,
    };
    let then = Some(Follow { job: job(&format!("{name}-extract")), attempt, task });
    JobMessage { then, ..send(name, attempt, n) }
}

fn succeeded() -> Event {
    Event::Succeeded { took_ms: 5, result: JobResult::Send(SendResult::default()) }
}

fn failed() -> Event {
    Event::Failed { took_ms: 5, fault: Fault::transient("content-unreachable", "nobody answers") }
}

#[tokio::test]
async fn a_new_attempt_of_a_job_in_hand_renames_it_and_starts_nothing() {
    let f = Fixture::new().await;
    f.taken(&send_then_extract("a", 1, 1)).await;
    assert_eq!(f.journal.begin(job("a")).await.unwrap(), Begin::Go { attempt: 1, tries: 1 });
    assert_eq!(f.admit(&send_then_extract("a", 2, 2)).await, Admission::InHand);
    assert_eq!(f.journal.in_hand().await.unwrap().len(), 2, "the job and what follows it, each once");
    let ending = f.end(job("a"), &succeeded()).await;
    assert_eq!(ending.attempt, 2, "reported under the new attempt");
    assert_eq!(f.next().await, Some((job("a-extract"), 2)), "what follows is renamed as well");
}

#[tokio::test]
async fn an_older_attempt_of_a_job_in_hand_does_not_rename_it_back() {
    let f = Fixture::new().await;
    f.taken(&send("a", 3, 3)).await;
    assert_eq!(f.admit(&send("a", 1, 1)).await, Admission::InHand);
    assert_eq!(f.next().await, Some((job("a"), 3)));
}

#[tokio::test]
async fn a_message_whose_seq_is_not_above_the_lanes_highest_is_refused() {
    let f = Fixture::new().await;
    f.taken(&send("a", 1, 7)).await;
    for n in [6, 7] {
        let refused = f.admit(&send("b", 1, n)).await;
        assert_eq!(refused, Admission::Stale { highest: Seq { epoch: 1, n: 7 } });
    }
    let f = f.reopened().await;
    assert!(matches!(f.admit(&send("b", 1, 7)).await, Admission::Stale { .. }), "after a restart too");
    f.taken(&send("b", 1, 8)).await;
    let newer_epoch = JobMessage { seq: Seq { epoch: 2, n: 0 }, ..send("c", 1, 0) };
    f.taken(&newer_epoch).await;
    assert!(matches!(f.admit(&send("d", 1, 99)).await, Admission::Stale { .. }), "of the old epoch");
}

#[tokio::test]
async fn tries_are_counted_before_starting_and_survive_a_kill() {
    let mut f = Fixture::new().await;
    f.taken(&send("a", 1, 1)).await;
    for tries in 1..=TRIES_MAX {
        assert_eq!(f.journal.begin(job("a")).await.unwrap(), Begin::Go { attempt: 1, tries });
        f = f.reopened().await;
    }
    assert_eq!(f.journal.begin(job("a")).await.unwrap(), Begin::TooManyTries { tries: TRIES_MAX + 1 });
}

#[tokio::test]
async fn a_terminal_report_is_kept_until_the_broker_confirms_it() {
    let f = Fixture::new().await;
    f.taken(&send("a", 1, 1)).await;
    let ending = f.end(job("a"), &succeeded()).await;
    let f = f.reopened().await;
    assert_eq!(f.journal.unconfirmed().await.unwrap(), std::slice::from_ref(&ending));
    assert_eq!(f.journal.in_hand().await.unwrap().len(), 1, "presence lists it, so that nobody publishes it again");
    f.journal.confirm(&ending).await.unwrap();
    assert!(f.journal.unconfirmed().await.unwrap().is_empty());
    assert!(f.journal.in_hand().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_job_that_has_ended_answers_with_its_report_under_the_new_attempt() {
    let f = Fixture::new().await;
    f.taken(&send("a", 1, 1)).await;
    let ending = f.end(job("a"), &succeeded()).await;
    f.journal.confirm(&ending).await.unwrap();
    let Admission::Ended(again) = f.admit(&send("a", 2, 2)).await else { panic!("not started again") };
    assert_eq!((again[0].attempt, &again[0].event), (2, &succeeded()));
    assert_eq!(f.next().await, None);
    assert_eq!(f.journal.unconfirmed().await.unwrap().len(), 1, "to be confirmed once more");
    assert!(matches!(f.admit(&send("a", 2, 2)).await, Admission::Ended(_)), "also when redelivered");
}

#[tokio::test]
async fn a_failed_job_is_answered_at_the_same_attempt_and_worked_on_again_at_a_newer_one() {
    let f = Fixture::new().await;
    f.taken(&send("a", 1, 1)).await;
    f.journal.begin(job("a")).await.unwrap();
    f.end(job("a"), &failed()).await;
    assert!(matches!(f.admit(&send("a", 1, 1)).await, Admission::Ended(_)));
    f.taken(&send("a", 2, 2)).await;
    assert_eq!(f.journal.begin(job("a")).await.unwrap(), Begin::Go { attempt: 2, tries: 1 }, "with a count of its own");
}

#[tokio::test]
async fn what_follows_waits_for_success_and_is_forgotten_with_a_failure() {
    let f = Fixture::new().await;
    f.taken(&send_then_extract("a", 1, 1)).await;
    assert_eq!(f.next().await, Some((job("a"), 1)));
    f.end(job("a"), &failed()).await;
    assert_eq!(f.next().await, None, "its extract is the recorder's to decide");
    f.taken(&send_then_extract("a", 2, 2)).await;
    f.end(job("a"), &succeeded()).await;
    assert_eq!(f.next().await, Some((job("a-extract"), 2)));
}

#[tokio::test]
async fn what_follows_an_ended_send_is_taken_up_if_it_was_never_here() {
    let f = Fixture::new().await;
    f.taken(&send("a", 1, 1)).await;
    f.end(job("a"), &succeeded()).await;
    assert!(matches!(f.admit(&send_then_extract("a", 2, 2)).await, Admission::Ended(e) if e.len() == 1));
    assert_eq!(f.next().await, Some((job("a-extract"), 2)));
}

#[tokio::test]
async fn a_job_ends_once() {
    let f = Fixture::new().await;
    f.taken(&send("a", 1, 1)).await;
    f.end(job("a"), &succeeded()).await;
    assert_eq!(f.end(job("a"), &Event::Cancelled {}).await.event, succeeded());
    assert_eq!(f.journal.begin(job("a")).await.unwrap(), Begin::Gone);
}

#[tokio::test]
async fn a_cancel_counts_for_a_job_in_hand_and_for_one_that_comes_later() {
    let f = Fixture::new().await;
    f.taken(&send("a", 1, 1)).await;
    f.journal.cancel(job("a")).await.unwrap();
    f.journal.cancel(job("b")).await.unwrap();
    let f = f.reopened().await;
    assert_eq!(f.journal.begin(job("a")).await.unwrap(), Begin::Cancelled);
    let Admission::Ended(ended) = f.admit(&send_then_extract("b", 1, 2)).await else { panic!() };
    assert_eq!(ended[0].event, Event::Cancelled {});
}

#[tokio::test]
async fn an_older_version_of_settings_never_replaces_a_newer() {
    let f = Fixture::new().await;
    let settings = |version: u64, zone: &str| Settings {
        subscriber: "paris".try_into().unwrap(),
        version,
        channels: vec![],
        variables: BTreeMap::new(),
        time_zone: zone.to_owned(),
        connect_timeout_s: 300,
        rate_in: None,
        rate_out: Default::default(),
        concurrent_relays: None,
        free_space_floor: None,
        log_level: None,
        log_path: None,
        console_level: None,
        working_dir: None,
    };
    assert!(f.journal.put_settings(&settings(2, "Europe/Paris")).await.unwrap());
    assert!(!f.journal.put_settings(&settings(1, "UTC")).await.unwrap());
    assert!(!f.journal.put_settings(&settings(2, "UTC")).await.unwrap());
    let f = f.reopened().await;
    assert_eq!(f.journal.settings().await.unwrap().unwrap().time_zone, "Europe/Paris");
}

#[tokio::test]
async fn pauses_and_transfers_survive_a_restart() {
    let f = Fixture::new().await;
    f.taken(&send("a", 1, 1)).await;
    let sources = vec![SourceBytes { source: "origin".to_owned(), bytes: 60, corrupt: 1 }];
    let transfer = Transfer { needed: Some(100), fetched: 70, sources };
    f.journal.note_transfer(job("a"), &transfer).await.unwrap();
    f.journal.set_paused(&lane(), true).await.unwrap();
    let f = f.reopened().await;
    assert_eq!(f.journal.next_open(&lane()).await.unwrap().unwrap().transfer, transfer);
    assert_eq!(transfer.uncounted(), 10);
    assert!(f.journal.paused().await.unwrap().contains(&lane()));
    f.journal.set_paused(&lane(), false).await.unwrap();
    assert!(f.journal.paused().await.unwrap().is_empty());
    f.taken(&send("b", 1, 2)).await;
}

#[tokio::test]
async fn a_job_given_back_is_forgotten_but_its_seq_is_not() {
    let f = Fixture::new().await;
    f.taken(&send_then_extract("a", 1, 1)).await;
    f.journal.forget(job("a")).await.unwrap();
    assert!(f.journal.in_hand().await.unwrap().is_empty());
    assert!(matches!(f.admit(&send("a", 1, 1)).await, Admission::Stale { .. }));
    f.taken(&send("a", 1, 2)).await;
}

#[tokio::test]
async fn a_journal_of_a_later_version_is_refused() {
    let f = Fixture::new().await;
    f.journal.close().await;
    let path = f.dir.path().join("journal.sqlite");
    let pool = sqlx::SqlitePool::connect(&format!("sqlite://{}", path.display())).await.unwrap();
    sqlx::raw_sql("PRAGMA user_version = 99").execute(&pool).await.unwrap();
    pool.close().await;
    let refused = Journal::open(&path).await.err().unwrap();
    assert!(refused.to_string().contains("version 99"), "{refused}");
}

#[tokio::test]
async fn a_journal_of_an_earlier_version_is_brought_up_to_date() {
    const TO_2: &str = "ALTER TABLE stores DROP COLUMN gone; PRAGMA user_version = 2;";
    const TO_1: &str = "DROP INDEX jobs_after; ALTER TABLE stores DROP COLUMN keep; PRAGMA user_version = 1;";
    for back in [TO_2.to_owned(), TO_2.to_owned() + TO_1] {
        is_brought_up_to_date(back).await;
    }
}

async fn is_brought_up_to_date(back: String) {
    let f = Fixture::new().await;
    f.journal.close().await;
    let path = f.dir.path().join("journal.sqlite");
    let pool = sqlx::SqlitePool::connect(&format!("sqlite://{}", path.display())).await.unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(back)).execute(&pool).await.unwrap();
    pool.close().await;
    let journal = Journal::open(&path).await.unwrap();
    let (store, keep) = (StoreId(Default::default()), Keep { revisions: 3, from: 2, delete_first: false });
    journal.note_keep(store, keep).await.unwrap();
    assert_eq!(journal.keeps().await.unwrap(), [(store, keep)]);
    journal.note_gone(&[store]).await.unwrap();
    journal.note_keep(store, keep).await.unwrap();
    assert_eq!(journal.keeps().await.unwrap(), [], "what a late job says of it is not noted");
    assert_eq!(journal.stores().await.unwrap(), BTreeMap::from([(store, true)]));
    journal.close().await;
}
