//! A database with a small fleet in it, and the verbs that the tests speak.

pub mod cancelling;
pub mod consoles;
pub mod definitions;
pub mod events;
pub mod fencing;
pub mod growth;
pub mod lanes;
pub mod limits;
pub mod piling;
pub mod publishing;
pub mod query;
pub mod refresh;
pub mod requests;
pub mod results;
pub mod retention;
pub mod schedules;
pub mod sweeping;
pub mod syncs;

use std::collections::{BTreeMap, HashMap};

use records::{Inserted, OnBad, PlannedJob, PlannedWait, Records, Template, Term};
use schemas::definitions::{DistributionType, FileSource, Mode, Priority};
use schemas::{
    BuildResult, Digest, Event, ExtractOutcome, ExtractResult, Fault, JobId, JobResult, Lane, NewRevision, Presence,
    Report, Request, RequestId, RequestKind, SendResult, StoreId,
};
use uuid::Uuid;

pub const FLEET: &str = "
distributors:
  hq: { time_zone: Europe/Paris, routes: { region: { paris: {}, lyon: {} } } }
distributions:
  antivirus: { distributor: hq, type: file, sources: [ { path: /srv/a } ], target: '%DEST%/antivirus', mode: mirror, build: { every: 10m } }
  patches: { distributor: hq, type: file, sources: [ { path: /srv/p } ], target: '%DEST%/patches', mode: mirror, build: { every: 1h } }
channels:
  protect: { distributions: [antivirus, patches], send: immediately, subscriptions: [paris, lyon] }
subscribers:
  region: { extract: never }
  paris: { parent: region, variables: { DEST: /srv }, extract: immediately }
  lyon: { parent: region, variables: { DEST: /srv }, extract: immediately }
";

pub struct Scene {
    pub records: Records,
    _directory: Option<tempfile::TempDir>,
    _database: Option<testkit::Database>,
}

impl Scene {
    pub async fn sqlite() -> Scene {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/records.sqlite", directory.path().display());
        let records = Records::open(&url).await.unwrap();
        records.migrate().await.unwrap();
        Scene { records, _directory: Some(directory), _database: None }
    }

    /// `None` only where tests on services are switched off.
    pub async fn postgres() -> Option<Scene> {
        let database = tokio::task::spawn_blocking(testkit::Database::fresh).await.unwrap()?;
        let records = Records::open(&database.url).await.unwrap();
        records.migrate().await.unwrap();
        Some(Scene { records, _directory: None, _database: Some(database) })
    }

    pub async fn end(self) {
        self.records.close().await;
        tokio::task::spawn_blocking(move || drop(self._database)).await.unwrap();
    }

    pub async fn apply(&self, text: &str) -> records::Applied {
        self.try_apply(text).await.unwrap()
    }

    pub async fn try_apply(&self, text: &str) -> Result<records::Applied, records::RecordsError> {
        let fleet = self.records.fleet().await.unwrap();
        let declared = domain::definitions::parse(&[("fleet.yaml".to_owned(), text.to_owned())]).unwrap();
        let accepted = domain::definitions::validate(&declared, &fleet.definitions).unwrap();
        self.records.apply(&accepted, fleet.version, None).await
    }

    /// Stores a request and marks it planned with these jobs.
    pub async fn plan(&self, jobs: &[PlannedJob]) -> (RequestId, Inserted) {
        let request = self.request().await;
        let inserted = self.insert(request, jobs).await;
        self.records.planned(request, None).await.unwrap();
        (request, inserted)
    }

    pub async fn request(&self) -> RequestId {
        let id = RequestId(Uuid::now_v7());
        let mut request = Request::new(id, RequestKind::Send);
        request.selector.channels.push("protect".try_into().unwrap());
        for answer in self.records.accept(&[request], "test").await.unwrap() {
            answer.unwrap();
        }
        id
    }

    pub async fn insert(&self, request: RequestId, jobs: &[PlannedJob]) -> Inserted {
        self.records.insert_step(request, jobs, &mut HashMap::new()).await.unwrap()
    }

    /// A revision on record, by a build that succeeds.
    pub async fn revision(&self, distribution: &str, number: u64) -> JobId {
        let job = build(distribution);
        let (_, inserted) = self.plan(std::slice::from_ref(&job)).await;
        assert_eq!(inserted.publish.len(), 1, "the build lane was busy");
        self.report(&[succeeded(&job, built(distribution, number))]).await;
        job.id
    }

    pub async fn report(&self, reports: &[Report]) -> records::Recorded {
        self.records.record(reports).await.unwrap()
    }

    pub async fn state(&self, job: JobId) -> String {
        self.text(&format!("SELECT state FROM jobs WHERE id = '{job}'")).await
    }

    /// The single value of a query, as text.
    pub async fn text(&self, sql: &str) -> String {
        let rows = self.records.query(sql).await.unwrap_or_else(|e| panic!("{sql}: {e}")).rows;
        match rows.first().and_then(|row| row.first()) {
            Some(serde_json::Value::String(text)) => text.clone(),
            Some(value) => value.to_string(),
            None => "no row".to_owned(),
        }
    }

    pub async fn number(&self, sql: &str) -> i64 {
        self.text(sql).await.parse().unwrap_or_else(|e| panic!("{sql}: {e}"))
    }

    /// Writes behind the code's back: what a crash or the clock did.
    pub async fn force(&self, sql: &str) {
        self.records.force_for_tests(sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
    }

    pub async fn term(&self) -> Term {
        self.records.lead("scheduler", "tester", 60_000).await.unwrap().unwrap()
    }

    pub async fn sweep(&self) -> records::Swept {
        let term = self.term().await;
        self.records.sweep(&term, &records::Thresholds::default()).await.unwrap()
    }
}

pub fn planned(kind: &str, lane: Lane, subscriber: Option<&str>, distribution: &str, template: Template) -> PlannedJob {
    let channel = if let Lane::Site(site) = &lane { Some(site.channel.clone()) } else { None };
    PlannedJob {
        id: JobId::planned(RequestId(Uuid::now_v7()), kind),
        lane,
        distributor: "hq".try_into().unwrap(),
        distribution: distribution.try_into().unwrap(),
        channel,
        subscriber: subscriber.map(|s| s.try_into().unwrap()),
        revision: None,
        priority: Priority::Medium,
        template,
        carried_by: None,
        retry_of: None,
        waits: Vec::new(),
        note: None,
    }
}

pub fn store() -> StoreId {
    StoreId(Uuid::nil())
}

pub fn build(distribution: &str) -> PlannedJob {
    let template = Template::Build {
        store: store(),
        of_type: DistributionType::File,
        sources: vec![FileSource {
            path: "/srv/a".into(),
            subscriber: None,
            into: None,
            include: vec![],
            exclude: vec![],
        }],
        read_all: false,
        keep: Vec::new(),
        send_on: vec!["protect".try_into().unwrap()],
    };
    planned("build", Lane::Build(distribution.try_into().unwrap()), None, distribution, template)
}

pub fn send(subscriber: &str, distribution: &str, revision: u64) -> PlannedJob {
    let lane = Lane::site(subscriber.try_into().unwrap(), "protect".try_into().unwrap());
    let template = Template::Send { store: store(), relays: vec![] };
    PlannedJob { revision: Some(revision), ..planned("send", lane, Some(subscriber), distribution, template) }
}

pub fn extract(subscriber: &str, distribution: &str, revision: u64) -> PlannedJob {
    let lane = Lane::site(subscriber.try_into().unwrap(), "protect".try_into().unwrap());
    let template = Template::Extract {
        store: store(),
        mode: Mode::Mirror,
        target: "/srv/a".into(),
        adopt: false,
        allow: vec![],
        pin: false,
        unchanged: Default::default(),
        other_targets: BTreeMap::new(),
    };
    PlannedJob { revision: Some(revision), ..planned("extract", lane, Some(subscriber), distribution, template) }
}

/// An extract in its send's message.
pub fn carried(send: &PlannedJob) -> PlannedJob {
    let subscriber = send.subscriber.as_ref().unwrap().as_str().to_owned();
    let mut job = extract(&subscriber, send.distribution.as_str(), 1);
    job.revision = send.revision;
    job.carried_by = Some(send.id);
    job.waits.push(wait(send, OnBad::Fail));
    job
}

/// In the lane of syncs.
pub fn synced(job: PlannedJob) -> PlannedJob {
    let subscriber = job.subscriber.clone().unwrap();
    let channel: schemas::ChannelName = "sync".try_into().unwrap();
    PlannedJob { lane: Lane::site(subscriber, channel.clone()), channel: Some(channel), ..job }
}

pub fn wait(awaited: &PlannedJob, on_bad: OnBad) -> PlannedWait {
    PlannedWait { awaited: awaited.id, on_bad, patience_ms: Some(300_000) }
}

pub fn report(job: &PlannedJob, attempt: u32, event: Event) -> Report {
    Report { job: job.id, attempt, lane: job.lane.clone(), at_ms: 1_700_000_000_000, worker: "tester".into(), event }
}

pub fn started(job: &PlannedJob) -> Report {
    report(job, 1, Event::Started {})
}

pub fn succeeded(job: &PlannedJob, result: JobResult) -> Report {
    report(job, 1, Event::Succeeded { took_ms: 5, result })
}

pub fn failed(job: &PlannedJob, attempt: u32, permanent: bool) -> Report {
    let fault = if permanent { Fault::permanent("broken", "it broke") } else { Fault::transient("broken", "it broke") };
    report(job, attempt, Event::Failed { took_ms: 5, fault })
}

pub fn sent() -> JobResult {
    JobResult::Send(SendResult { bytes_content: 100, bytes_needed: 10, bytes_fetched: 10, ..SendResult::default() })
}

pub fn extracted() -> JobResult {
    JobResult::Extract(ExtractResult {
        outcome: ExtractOutcome::Installed,
        target: "/srv/a".into(),
        files_written: 2,
        files_removed: 1,
        files_unchanged: 0,
        bytes_written: 100,
        previous: None,
        kept: vec![],
        held: None,
    })
}

pub fn built(distribution: &str, number: u64) -> JobResult {
    let digest = Digest::of(format!("{distribution}/{number}").as_bytes());
    JobResult::Build(BuildResult {
        revision: Some(NewRevision {
            number,
            header: digest,
            header_bytes: 10,
            index: digest,
            index_bytes: 20,
            files: 3,
            directories: 1,
            links: 0,
            bytes: 100,
            stored_bytes: 50,
            packs: vec![],
        }),
        ..BuildResult::default()
    })
}

/// A site that has nothing to do says that it is there.
pub fn presence(subscriber: &str) -> Presence {
    Presence {
        schema: 1,
        subscriber: subscriber.try_into().unwrap(),
        at_ms: 0,
        version: "0.1.0".into(),
        url: None,
        public_key: "00".repeat(32),
        settings_version: 0,
        open_jobs: Vec::new(),
        run: None,
        stopping: false,
    }
}
