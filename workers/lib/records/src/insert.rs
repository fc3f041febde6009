//! Putting planned jobs into their lanes. Planning twice, or two planners at once, make no second job: ids are derived, and
//! an index allows one open job for one subscriber, distribution and revision. Whoever comes second attaches to it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use domain::state::State;
use schemas::definitions::{Allowance, DistributionType, FileSource, Kept, Mode, Priority, Unchanged};
use schemas::{
    ChannelName, DistributionName, DistributorName, JobId, JobKind, Lane, RequestId, StoreId, SubscriberName,
};
use sea_orm::{ConnectionTrait, DatabaseTransaction, FromQueryResult, Value};
use serde::{Deserialize, Serialize};

use crate::db::{Records, RecordsError, clock_ms};
use crate::finish::{self, Ended};
use crate::publish::ToPublish;
use crate::retention::CollectTimes;
use crate::{behind, lanes, promote, retention, schedules, sql};

/// A job that a planner decided on.
#[derive(Debug, Clone)]
pub struct PlannedJob {
    pub id: JobId,
    pub lane: Lane,
    pub distributor: DistributorName,
    pub distribution: DistributionName,
    pub channel: Option<ChannelName>,
    pub subscriber: Option<SubscriberName>,
    /// None: the newest good one, filled in when it gets its place.
    pub revision: Option<u64>,
    pub priority: Priority,
    pub template: Template,
    /// The send in whose message this extract travels.
    pub carried_by: Option<JobId>,
    pub retry_of: Option<JobId>,
    pub waits: Vec<PlannedWait>,
    pub note: Option<String>,
}

#[derive(Debug, Clone)]
pub struct PlannedWait {
    pub awaited: JobId,
    pub on_bad: OnBad,
    /// How long the awaited job's site may be silent before this wait is over; none = for ever.
    pub patience_ms: Option<i64>,
}

/// What becomes of a job when the one that it waits for ends badly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnBad {
    Fail,
    Proceed,
}

impl OnBad {
    fn as_str(self) -> &'static str {
        match self {
            OnBad::Fail => "fail",
            OnBad::Proceed => "proceed",
        }
    }
}

/// What of a task is fixed at planning; the rest is filled in when it is published.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Template {
    Build {
        store: StoreId,
        of_type: DistributionType,
        sources: Vec<FileSource>,
        read_all: bool,
        #[serde(default)]
        keep: Vec<Kept>,
        /// Channels that a new revision is sent on at once.
        send_on: Vec<ChannelName>,
    },
    Send {
        store: StoreId,
        /// Relays, nearest first; the origin is always last.
        relays: Vec<SubscriberName>,
    },
    Extract {
        store: StoreId,
        mode: Mode,
        target: String,
        adopt: bool,
        #[serde(default)]
        allow: Vec<Allowance>,
        pin: bool,
        #[serde(default)]
        unchanged: Unchanged,
        other_targets: BTreeMap<DistributionName, String>,
    },
    Collect {
        store: StoreId,
        /// Look for orphans.
        list: bool,
        /// Take every grace as over.
        force: bool,
        times: CollectTimes,
    },
}

impl Template {
    pub fn kind(&self) -> JobKind {
        match self {
            Template::Build { .. } => JobKind::Build,
            Template::Send { .. } => JobKind::Send,
            Template::Extract { .. } => JobKind::Extract,
            Template::Collect { .. } => JobKind::Collect,
        }
    }
}

/// What became of a step of a plan.
#[derive(Debug, Default)]
pub struct Inserted {
    pub new: usize,
    /// Planned jobs for which an open one was there already.
    pub attached: usize,
    pub superseded: usize,
    pub publish: Vec<ToPublish>,
}

/// An open job, as far as a planned one has to do with it.
#[derive(FromQueryResult)]
pub(crate) struct OpenKey {
    pub id: String,
    pub kind: String,
    pub subscriber: Option<String>,
    pub distribution: String,
    pub revision: Option<i64>,
    published_ms: Option<i64>,
    started_ms: Option<i64>,
    pub state: String,
    pub lane: String,
    /// Of builds; of the others it is not read.
    task: Option<String>,
}

impl OpenKey {
    fn reads_all(&self) -> bool {
        self.task.as_deref().and_then(|task| serde_json::from_str(task).ok()).is_some_and(|task| reads_all(&task))
    }
}

impl Records {
    /// Inserts one step (at most `STEP_MAX` jobs) of a request's plan, promotes in the lanes that it touches, and says what
    /// to publish now. `standing_for` carries from step to step which open job stands for a planned one.
    pub async fn insert_step(
        &self,
        request: RequestId,
        jobs: &[PlannedJob],
        standing_for: &mut HashMap<JobId, JobId>,
    ) -> Result<Inserted, RecordsError> {
        if jobs.is_empty() {
            return Ok(Inserted::default());
        }
        let tx = self.begin().await?;
        let mut known = standing_for.clone();
        let inserted = insert_step(&tx, request, jobs, &mut known).await?;
        tx.commit().await?;
        *standing_for = known;
        Ok(inserted)
    }
}

async fn insert_step(
    tx: &DatabaseTransaction,
    request: RequestId,
    jobs: &[PlannedJob],
    known: &mut HashMap<JobId, JobId>,
) -> Result<Inserted, RecordsError> {
    let now_ms = clock_ms();
    let own: BTreeSet<Lane> = jobs.iter().map(|j| j.lane.clone()).collect();
    lanes::ensure(tx, &own).await?;
    let mut names: BTreeSet<String> = own.iter().map(Lane::to_string).collect();
    names.extend(awaited_lanes(tx, jobs).await?);
    names.extend(open_jobs(tx, jobs).await?.into_iter().map(|open| open.lane));
    let locked = lanes::lock(tx, &names).await?;

    // Read again under the locks.
    let open = open_jobs(tx, jobs).await?;
    let superseded = supersede(tx, jobs, &open, now_ms).await?;
    let jobs = &*behind::queue(tx, jobs, &open).await?;
    retention::pin(tx, jobs).await?;
    known.extend(attachable_builds(jobs, &open));
    let before = planned_before(tx, jobs).await?;
    let new = insert_new(tx, request, jobs, (known, &before), now_ms).await?;
    let conflicts = conflicting(tx, jobs, known).await?;
    known.extend(conflicts);
    let mut superseded = superseded;
    superseded.extend(replace_unfilled(tx, jobs, &open, (known, &before), now_ms).await?);
    set_down(tx, jobs, known).await?;
    insert_waits(tx, jobs, known).await?;
    link(tx, request, jobs, known).await?;
    schedules::bind(tx, request, jobs, known).await?;
    finish::finish(tx, &superseded, now_ms).await?;
    let publish = promote::promote(tx, locked, now_ms).await?;
    Ok(Inserted { new: new as usize, attached: jobs.len() - new as usize, superseded: superseded.len(), publish })
}

/// The lanes of jobs outside this plan that its jobs will wait for.
async fn awaited_lanes(c: &impl ConnectionTrait, jobs: &[PlannedJob]) -> Result<BTreeSet<String>, RecordsError> {
    let planned: BTreeSet<JobId> = jobs.iter().map(|j| j.id).collect();
    let awaited: BTreeSet<String> = jobs
        .iter()
        .flat_map(|j| &j.waits)
        .map(|w| w.awaited)
        .filter(|id| !planned.contains(id))
        .map(|id| id.to_string())
        .collect();
    if awaited.is_empty() {
        return Ok(BTreeSet::new());
    }
    let awaited: Vec<String> = awaited.into_iter().collect();
    let text = format!("SELECT DISTINCT lane FROM tide_jobs WHERE id IN ({})", sql::list(1, awaited.len()));
    Ok(sql::texts(c, &text, sql::values(&awaited)).await?.into_iter().collect())
}

/// What became of a job that an earlier planning of the same request made: the planner had died before it said so.
#[derive(FromQueryResult)]
struct PlannedBefore {
    id: String,
    state: String,
    published_ms: Option<i64>,
}

impl PlannedBefore {
    fn is_open(&self) -> bool {
        matches!(self.state.as_str(), "waiting" | "queued" | "running")
    }

    /// Its message is yet to be made.
    fn may_carry(&self) -> bool {
        self.state == "waiting" && self.published_ms.is_none()
    }
}

async fn planned_before(
    c: &impl ConnectionTrait,
    jobs: &[PlannedJob],
) -> Result<HashMap<JobId, PlannedBefore>, RecordsError> {
    let ids: Vec<String> = jobs.iter().map(|job| job.id.to_string()).collect();
    let mut found = HashMap::new();
    for part in ids.chunks(sql::rows_per_statement(1)) {
        let text = format!("SELECT id, state, published_ms FROM tide_jobs WHERE id IN ({})", sql::list(1, part.len()));
        for row in sql::rows::<PlannedBefore>(c, &text, sql::values(part)).await? {
            let id = row.id.parse().map_err(|_| RecordsError::Corrupt(format!("job id {}", row.id)))?;
            found.insert(id, row);
        }
    }
    Ok(found)
}

/// Open jobs for the same distributions and subscribers as the planned ones.
async fn open_jobs(c: &impl ConnectionTrait, jobs: &[PlannedJob]) -> Result<Vec<OpenKey>, RecordsError> {
    let distributions: Vec<String> =
        jobs.iter().map(|j| j.distribution.to_string()).collect::<BTreeSet<_>>().into_iter().collect();
    let subscribers: Vec<String> = jobs
        .iter()
        .filter_map(|j| Some(j.subscriber.as_ref()?.to_string()))
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect();
    let who = if subscribers.is_empty() {
        "subscriber IS NULL".to_owned()
    } else {
        let list = sql::list(1 + distributions.len(), subscribers.len());
        format!("(subscriber IS NULL OR subscriber IN ({list}))")
    };
    let text = format!(
        "SELECT id, kind, subscriber, distribution, revision, published_ms, started_ms, state, lane,
        CASE WHEN kind = 'build' THEN task END AS task FROM tide_jobs
        WHERE state IN ('waiting', 'queued', 'running') AND distribution IN ({}) AND {who} ORDER BY created_ms, place, id",
        sql::list(1, distributions.len())
    );
    let mut values = sql::values(&distributions);
    values.extend(sql::values(&subscribers));
    Ok(sql::rows(c, &text, values).await?)
}

/// Ends what is older and has not begun: a send or extract of an earlier revision for the same subscriber.
async fn supersede(
    c: &impl ConnectionTrait,
    jobs: &[PlannedJob],
    open: &[OpenKey],
    now_ms: i64,
) -> Result<Vec<Ended>, RecordsError> {
    let mut newest: HashMap<(&str, &str), u64> = HashMap::new();
    for job in jobs {
        if let (Some(subscriber), Some(revision), Template::Send { .. }) =
            (&job.subscriber, job.revision, &job.template)
        {
            let slot = newest.entry((subscriber.as_str(), job.distribution.as_str())).or_default();
            *slot = (*slot).max(revision);
        }
    }
    let mut ended = Vec::new();
    let mut rows: Vec<Vec<Value>> = Vec::new();
    for old in open.iter().filter(|o| o.state == "waiting" && o.published_ms.is_none()) {
        let (Some(subscriber), Some(revision)) = (old.subscriber.as_deref(), old.revision) else { continue };
        let Some(&newer) = newest.get(&(subscriber, old.distribution.as_str())) else { continue };
        if (revision as u64) < newer && !carried_by_published(old, open) {
            rows.push(vec![old.id.clone().into(), format!("superseded by revision {newer}").into(), now_ms.into()]);
            ended.push(Ended { job: old.id.clone(), state: State::Cancelled });
        }
    }
    end_superseded(c, &rows).await?;
    Ok(ended)
}

async fn end_superseded(c: &impl ConnectionTrait, rows: &[Vec<Value>]) -> Result<(), RecordsError> {
    let rest =
        "UPDATE tide_jobs SET state = 'cancelled', error_code = 'superseded', note = v.note, ended_ms = v.ended_ms
        FROM v WHERE tide_jobs.id = v.id AND tide_jobs.state = 'waiting'";
    sql::with_rows(c, &["id", "note", "ended_ms"], rows, rest).await?;
    Ok(())
}

/// Jobs that wait with their revision still open, for a place in a lane that a site does not free: of those for one subscriber and
/// distribution the oldest stays, and the new one does what the others would. Who asked for them has the new one.
async fn replace_unfilled(
    c: &impl ConnectionTrait,
    jobs: &[PlannedJob],
    open: &[OpenKey],
    (known, before): (&HashMap<JobId, JobId>, &HashMap<JobId, PlannedBefore>),
    now_ms: i64,
) -> Result<Vec<Ended>, RecordsError> {
    let mut ended = Vec::new();
    let mut rows: Vec<Vec<Value>> = Vec::new();
    let is_delivery = |job: &&PlannedJob| matches!(job.template.kind(), JobKind::Send | JobKind::Extract);
    let is_open = |job: &&PlannedJob| known.contains_key(&job.id) || before.get(&job.id).is_none_or(|b| b.is_open());
    for job in jobs.iter().filter(is_delivery).filter(is_open) {
        let new = known.get(&job.id).copied().unwrap_or(job.id).to_string();
        let same = |old: &&OpenKey| {
            old.kind == job.template.kind().as_str()
                && old.distribution == job.distribution.as_str()
                && old.subscriber.as_deref() == job.subscriber.as_ref().map(SubscriberName::as_str)
        };
        let unfilled = |old: &&OpenKey| old.revision.is_none() && old.state == "waiting" && old.id != new;
        for old in open.iter().filter(same).skip(1).filter(unfilled) {
            promote::hand_over(c, &old.id, &new).await?;
            rows.push(vec![old.id.clone().into(), format!("job {new} does the same").into(), now_ms.into()]);
            ended.push(Ended { job: old.id.clone(), state: State::Cancelled });
        }
    }
    end_superseded(c, &rows).await?;
    Ok(ended)
}

/// An extract that travels with a send which is out already: it is at the site, and ends there.
pub(crate) fn carried_by_published(extract: &OpenKey, open: &[OpenKey]) -> bool {
    extract.kind == "extract"
        && open.iter().any(|send| {
            send.kind == "send"
                && send.subscriber == extract.subscriber
                && send.distribution == extract.distribution
                && send.revision == extract.revision
                && send.state != "waiting"
        })
}

/// Planned builds for which one is open that has not read anything yet, and will read as much.
fn attachable_builds(jobs: &[PlannedJob], open: &[OpenKey]) -> HashMap<JobId, JobId> {
    let mut known = HashMap::new();
    for job in jobs.iter().filter(|j| j.template.kind() == JobKind::Build) {
        let reads_all = reads_all(&job.template);
        let unstarted = open.iter().find(|o| {
            o.kind == "build"
                && o.distribution == job.distribution.as_str()
                && o.started_ms.is_none()
                && (o.reads_all() || !reads_all)
        });
        if let Some(id) = unstarted.and_then(|o| o.id.parse::<JobId>().ok())
            && id != job.id
        {
            known.insert(job.id, id);
        }
    }
    known
}

fn reads_all(template: &Template) -> bool {
    matches!(template, Template::Build { read_all: true, .. })
}

async fn insert_new(
    c: &impl ConnectionTrait,
    request: RequestId,
    jobs: &[PlannedJob],
    (known, before): (&HashMap<JobId, JobId>, &HashMap<JobId, PlannedBefore>),
    now_ms: i64,
) -> Result<u64, RecordsError> {
    let mut rows: Vec<Vec<Value>> = Vec::with_capacity(jobs.len());
    // A send that is out, or over, takes nothing along any more.
    let carries = |send: &JobId| !known.contains_key(send) && before.get(send).is_none_or(PlannedBefore::may_carry);
    for (place, job) in jobs.iter().enumerate().filter(|(_, j)| !known.contains_key(&j.id)) {
        let carried = job.carried_by.filter(carries);
        rows.push(vec![
            job.id.to_string().into(),
            request.to_string().into(),
            job.template.kind().as_str().into(),
            job.lane.to_string().into(),
            job.distributor.to_string().into(),
            job.distribution.to_string().into(),
            job.channel.as_ref().map(ToString::to_string).into(),
            job.subscriber.as_ref().map(ToString::to_string).into(),
            job.revision.map(|n| n as i64).into(),
            job.priority.rank().into(),
            "waiting".into(),
            (domain::retry::ATTEMPTS_MAX as i32).into(),
            serde_json::to_string(&job.template)?.into(),
            carried.map(|id| id.to_string()).into(),
            job.retry_of.map(|id| id.to_string()).into(),
            job.note.clone().into(),
            now_ms.into(),
            (place as i32).into(),
        ]);
    }
    let head = "INSERT INTO tide_jobs (id, request_id, kind, lane, distributor, distribution, channel, subscriber, revision, \
        priority, state, attempts_max, task, carried_by, retry_of, note, created_ms, place)";
    Ok(sql::insert_rows(c, head, &rows, "ON CONFLICT DO NOTHING").await?)
}

/// Planned jobs that are not there under their own id: the open ones that stand in their place.
async fn conflicting(
    c: &impl ConnectionTrait,
    jobs: &[PlannedJob],
    known: &HashMap<JobId, JobId>,
) -> Result<HashMap<JobId, JobId>, RecordsError> {
    let ids: Vec<String> = jobs.iter().filter(|j| !known.contains_key(&j.id)).map(|j| j.id.to_string()).collect();
    let mut found = BTreeSet::new();
    for part in ids.chunks(sql::rows_per_statement(1)) {
        let text = format!("SELECT id FROM tide_jobs WHERE id IN ({})", sql::list(1, part.len()));
        found.extend(sql::texts(c, &text, sql::values(part)).await?);
    }
    let missing: Vec<&PlannedJob> =
        jobs.iter().filter(|j| !known.contains_key(&j.id) && !found.contains(&j.id.to_string())).collect();
    if missing.is_empty() {
        return Ok(HashMap::new());
    }
    let missing_jobs: Vec<PlannedJob> = missing.iter().map(|&j| j.clone()).collect();
    let open = open_jobs(c, &missing_jobs).await?;
    let keys: HashMap<(&str, &str, &str, i64), &str> = open
        .iter()
        .filter_map(|o| {
            Some(((o.kind.as_str(), o.subscriber.as_deref()?, o.distribution.as_str(), o.revision?), o.id.as_str()))
        })
        .collect();
    let mut map = HashMap::new();
    for job in missing {
        let (Some(subscriber), Some(revision)) = (&job.subscriber, job.revision) else { continue };
        let key = (job.template.kind().as_str(), subscriber.as_str(), job.distribution.as_str(), revision as i64);
        if let Some(id) = keys.get(&key).and_then(|id| id.parse().ok()) {
            map.insert(job.id, id);
        }
    }
    Ok(map)
}

/// An extract whose send turned out to be somebody else's travels by itself.
async fn set_down(
    c: &impl ConnectionTrait,
    jobs: &[PlannedJob],
    known: &HashMap<JobId, JobId>,
) -> Result<(), RecordsError> {
    let ids: Vec<String> = jobs
        .iter()
        .filter(|j| j.carried_by.is_some_and(|send| known.contains_key(&send)))
        .map(|j| j.id.to_string())
        .collect();
    if !ids.is_empty() {
        let text = format!("UPDATE tide_jobs SET carried_by = NULL WHERE id IN ({})", sql::list(1, ids.len()));
        sql::exec(c, &text, sql::values(&ids)).await?;
    }
    Ok(())
}

async fn insert_waits(
    c: &impl ConnectionTrait,
    jobs: &[PlannedJob],
    known: &HashMap<JobId, JobId>,
) -> Result<(), RecordsError> {
    let mut rows: Vec<Vec<Value>> = Vec::new();
    for job in jobs.iter().filter(|j| !known.contains_key(&j.id)) {
        for wait in &job.waits {
            let awaited = known.get(&wait.awaited).copied().unwrap_or(wait.awaited);
            rows.push(vec![
                job.id.to_string().into(),
                awaited.to_string().into(),
                wait.on_bad.as_str().into(),
                wait.patience_ms.into(),
            ]);
        }
    }
    sql::insert_rows(
        c,
        "INSERT INTO tide_job_waits (job_id, awaited_id, on_bad, patience_ms)",
        &rows,
        "ON CONFLICT (job_id, awaited_id) DO NOTHING",
    )
    .await?;
    Ok(())
}

async fn link(
    c: &impl ConnectionTrait,
    request: RequestId,
    jobs: &[PlannedJob],
    known: &HashMap<JobId, JobId>,
) -> Result<(), RecordsError> {
    let ids: BTreeSet<JobId> = jobs.iter().map(|j| known.get(&j.id).copied().unwrap_or(j.id)).collect();
    let rows: Vec<Vec<Value>> = ids.iter().map(|id| vec![request.to_string().into(), id.to_string().into()]).collect();
    let head = "INSERT INTO tide_request_jobs (request_id, job_id)";
    sql::insert_rows(c, head, &rows, "ON CONFLICT (request_id, job_id) DO NOTHING").await?;
    Ok(())
}
