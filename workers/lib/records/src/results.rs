//! Reports become rows: a batch in one transaction, in any order, each by the one function that says which moves are legal.
//! The same transaction records the result and promotes what comes next.

mod write;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use domain::retry::backoff_ms;
use domain::state::{Happening, Move, State};
use schemas::{
    BuildResult, CollectResult, Event, ExtractOutcome, Fault, HeldRevisions, JobId, JobResult, Report, StoreId,
};
use sea_orm::{ConnectionTrait, Value};

use crate::condemned::{self, Verdict};
use crate::db::{Records, RecordsError, clock_ms};
use crate::events::JobEvent;
use crate::finish::{self, Ended};
use crate::insert::Template;
use crate::jobs::JobRow;
use crate::publish::ToPublish;
use crate::retention::CollectTimes;
use crate::schedules::{self, Resumption};
use crate::{lanes, promote};

/// What a batch came to.
#[derive(Debug, Default)]
pub struct Recorded {
    /// Reports that changed a job.
    pub applied: usize,
    /// Late, doubled, or of an older attempt.
    pub ignored: usize,
    /// Reports of jobs that this database does not have.
    pub unknown: Vec<Report>,
    pub publish: Vec<ToPublish>,
    /// A new revision asked for sends: a planner has work.
    pub requests: usize,
}

impl Records {
    /// Applies a batch of reports. Calling it again with the same reports changes nothing.
    pub async fn record(&self, reports: &[Report]) -> Result<Recorded, RecordsError> {
        if reports.is_empty() {
            return Ok(Recorded::default());
        }
        let ids: Vec<String> = reports.iter().map(|r| r.job.to_string()).collect::<BTreeSet<_>>().into_iter().collect();
        let now_ms = clock_ms();
        let tx = self.begin().await?;
        let names = lanes::around(&tx, &ids).await?;
        let locked = lanes::lock(&tx, &names).await?;
        let mut batch = Batch { rows: promote::load(&tx, ids).await?, now_ms, ..Batch::default() };
        batch.verdicts = verdicts(&tx, &batch.rows, reports).await?;
        batch.resumptions = schedules::resumptions(&tx, &batch.rows, reports, now_ms).await?;
        for report in reports {
            batch.apply(report)?;
        }
        batch.write(&tx).await?;
        finish::finish(&tx, &batch.ended, now_ms).await?;
        let mut publish = promote::promote(&tx, locked, now_ms).await?;
        let requests = batch.sends.len();
        tx.commit().await?;
        // What is recorded stays so: a place that is not given out now the sweeper finds.
        publish.extend(self.promote_freed(&batch.freed()).await.unwrap_or_default());
        Ok(Recorded { applied: batch.applied, ignored: batch.ignored, unknown: batch.unknown, publish, requests })
    }
}

/// The changes of one batch, decided before anything is written.
#[derive(Default)]
struct Batch {
    now_ms: i64,
    rows: HashMap<String, JobRow>,
    changes: BTreeMap<String, JobChange>,
    ended: Vec<Ended>,
    events: Vec<JobEvent>,
    holdings: BTreeMap<(String, String), HoldingChange>,
    revisions: Vec<Vec<Value>>,
    packs: Vec<Vec<Value>>,
    sends: Vec<(JobId, schemas::ChannelName)>,
    /// New revisions, by the build and its distribution.
    built: Vec<(JobId, String)>,
    /// Of builds that name what is condemned, by job and attempt.
    verdicts: HashMap<(String, u32), Verdict>,
    /// When jobs that their window's end stopped go on.
    resumptions: HashMap<String, Resumption>,
    stops: BTreeMap<String, Resumption>,
    rescued: Vec<(StoreId, Vec<String>)>,
    held: Vec<Held>,
    collected: Vec<Collected>,
    applied: usize,
    ignored: usize,
    unknown: Vec<Report>,
}

/// What a site said that it holds of a distribution.
struct Held {
    subscriber: String,
    distribution: String,
    as_of_ms: i64,
    revisions: Vec<u64>,
    /// It named all that it holds, not only what the job was about.
    is_all: bool,
}

struct Collected {
    job: JobId,
    store: StoreId,
    distribution: String,
    times: CollectTimes,
    result: CollectResult,
}

#[derive(Default, Clone)]
struct JobChange {
    state: Option<State>,
    attempt: i32,
    not_before_ms: i64,
    worker: Option<String>,
    error_code: Option<String>,
    error: Option<String>,
    result: Option<String>,
    revision: Option<i64>,
    content: Option<i64>,
    needed: Option<i64>,
    moved: Option<i64>,
    files: Option<i64>,
    took_ms: Option<i64>,
    started_ms: Option<i64>,
    ended_ms: Option<i64>,
    /// Published no more: it will be published again.
    unpublish: bool,
}

#[derive(Default)]
struct HoldingChange {
    stored: Option<i64>,
    extracted: Option<i64>,
    target: Option<String>,
    pinned: bool,
}

impl Batch {
    fn apply(&mut self, report: &Report) -> Result<(), RecordsError> {
        let id = report.job.to_string();
        let Some(row) = self.rows.get(&id) else {
            self.unknown.push(report.clone());
            return Ok(());
        };
        let refused = self.verdicts.get(&(id.clone(), report.attempt)).filter(|verdict| !verdict.refused.is_empty());
        let refused = refused.filter(|_| matches!(report.event, Event::Succeeded { .. }));
        let refused = refused.map(|verdict| Report { event: refusal(verdict), ..report.clone() });
        let report = refused.as_ref().unwrap_or(report);
        let happening = match &report.event {
            Event::Started {} => Happening::Started { attempt: report.attempt },
            Event::Succeeded { .. } => Happening::Succeeded,
            Event::Failed { fault, .. } => Happening::Failed { attempt: report.attempt, permanent: fault.permanent },
            Event::Yielded {} | Event::Stopped { .. } => Happening::Yielded { attempt: report.attempt },
            Event::Cancelled {} => Happening::Cancelled,
        };
        match row.standing().after(happening) {
            Move::Ignore => self.ignored += 1,
            Move::To(State::Running) => self.started(&id, report),
            Move::To(state) => self.end(&id, state, report)?,
            Move::Retry { attempt } => self.retry(&id, attempt, report),
            Move::Return if matches!(report.event, Event::Stopped { .. }) => self.stopped(&id, report),
            Move::Return => self.give_back(&id, report),
        }
        Ok(())
    }

    /// The distributor of each job that is out no more.
    fn freed(&self) -> Vec<String> {
        let is_out = |change: &JobChange| change.state.is_none_or(|state| state == State::Running);
        let freed = self.changes.iter().filter(|(_, change)| !is_out(change));
        freed.map(|(id, _)| self.rows[id].raw.distributor.clone()).collect()
    }

    fn change(&mut self, id: &str) -> &mut JobChange {
        self.applied += 1;
        let attempt = self.rows[id].raw.attempt;
        self.changes.entry(id.to_owned()).or_insert_with(|| JobChange { attempt, ..JobChange::default() })
    }

    fn set_state(&mut self, id: &str, state: State) {
        if let Some(row) = self.rows.get_mut(id) {
            row.state = state;
        }
    }

    fn event(&mut self, id: &str, report: &Report, event: &'static str, detail: Option<String>) {
        self.events.push(JobEvent {
            job: self.rows[id].id,
            at_ms: report.at_ms,
            attempt: report.attempt,
            event,
            worker: Some(report.worker.clone()),
            detail,
        });
    }

    fn started(&mut self, id: &str, report: &Report) {
        self.set_state(id, State::Running);
        let at_ms = report.at_ms;
        let change = self.change(id);
        change.state = Some(State::Running);
        change.worker = Some(report.worker.clone());
        change.started_ms = Some(at_ms);
        self.event(id, report, "started", None);
    }

    fn retry(&mut self, id: &str, attempt: u32, report: &Report) {
        self.set_state(id, State::Waiting);
        let (seed, now_ms) = (self.rows[id].id.0.as_u64_pair().0, self.now_ms);
        let verdict = self.verdicts.get(&(id.to_owned(), report.attempt));
        let not_before_ms = verdict.map_or(0, |verdict| verdict.not_before_ms);
        if let Some(row) = self.rows.get_mut(id) {
            row.attempt = attempt;
        }
        let change = self.change(id);
        change.state = Some(State::Waiting);
        change.attempt = attempt as i32;
        change.not_before_ms = not_before_ms.max(now_ms + backoff_ms(attempt, seed));
        change.unpublish = true;
        let mut detail = None;
        if let Event::Failed { fault, .. } = &report.event {
            change.error_code = Some(fault.code.clone());
            change.error = Some(fault.message.clone());
            detail = Some(fault.to_string());
        }
        self.event(id, report, "retry", detail);
    }

    fn give_back(&mut self, id: &str, report: &Report) {
        self.set_state(id, State::Waiting);
        let change = self.change(id);
        change.state = Some(State::Waiting);
        change.unpublish = true;
        self.event(id, report, "yielded", None);
    }

    /// Its window ended: it waits for the next one, with the reason, and what the site has it keeps.
    fn stopped(&mut self, id: &str, report: &Report) {
        let goes_on = self.resumptions.get(id).copied();
        self.set_state(id, State::Waiting);
        let change = self.change(id);
        change.state = Some(State::Waiting);
        change.unpublish = true;
        change.not_before_ms = goes_on.map_or(0, |goes_on| goes_on.not_before_ms);
        change.error_code = Some(schedules::STOPPED.to_owned());
        change.error = Some("its window has ended; it goes on when that opens again, with what it has".to_owned());
        self.stops.extend(goes_on.map(|goes_on| (id.to_owned(), goes_on)));
        self.event(id, report, "stopped", Some(schedules::STOPPED.to_owned()));
    }

    fn end(&mut self, id: &str, state: State, report: &Report) -> Result<(), RecordsError> {
        self.set_state(id, state);
        let now_ms = self.now_ms;
        let change = self.change(id);
        change.state = Some(state);
        change.worker = Some(report.worker.clone());
        change.ended_ms = Some(now_ms);
        match &report.event {
            Event::Succeeded { took_ms, result } => {
                change.took_ms = Some(*took_ms);
                change.result = Some(serde_json::to_string(result)?);
                self.succeeded(id, report, result)?;
            }
            Event::Failed { took_ms, fault } => {
                change.took_ms = Some(*took_ms);
                change.error_code = Some(fault.code.clone());
                change.error = Some(fault.message.clone());
            }
            Event::Started {} | Event::Yielded {} | Event::Cancelled {} | Event::Stopped { .. } => {}
        }
        self.ended.push(Ended { job: id.to_owned(), state });
        Ok(())
    }

    fn succeeded(&mut self, id: &str, report: &Report, result: &JobResult) -> Result<(), RecordsError> {
        let (attempt, at_ms) = (report.attempt, report.at_ms);
        match result {
            JobResult::Build(build) => self.built(id, attempt, build),
            JobResult::Send(send) => {
                let change = self.changes.entry(id.to_owned()).or_default();
                change.content = Some(send.bytes_content as i64);
                change.needed = Some(send.bytes_needed as i64);
                change.moved = Some(send.bytes_fetched as i64);
                let revision = self.rows[id].raw.revision;
                self.holding(id).stored = revision;
                self.held(id, at_ms, revision, send.held.as_ref());
                Ok(())
            }
            JobResult::Collect(collect) => self.collected(id, collect),
            JobResult::Extract(extract) => {
                let change = self.changes.entry(id.to_owned()).or_default();
                change.files = Some((extract.files_written + extract.files_removed) as i64);
                change.moved = Some(0);
                self.held(id, at_ms, None, extract.held.as_ref());
                if extract.outcome != ExtractOutcome::Superseded {
                    let row = &self.rows[id];
                    let revision = row.raw.revision;
                    let pin = matches!(serde_json::from_str(&row.raw.task)?, Template::Extract { pin: true, .. });
                    let target = extract.target.clone();
                    let holding = self.holding(id);
                    holding.extracted = revision;
                    holding.target = Some(target);
                    holding.pinned = pin;
                }
                Ok(())
            }
        }
    }

    fn holding(&mut self, id: &str) -> &mut HoldingChange {
        let row = &self.rows[id].raw;
        let key = (row.subscriber.clone().unwrap_or_default(), row.distribution.clone());
        self.holdings.entry(key).or_default()
    }

    fn held(&mut self, id: &str, at_ms: i64, sent: Option<i64>, said: Option<&HeldRevisions>) {
        let row = &self.rows[id].raw;
        let mut revisions: Vec<u64> = said.map(|held| held.revisions.clone()).unwrap_or_default();
        revisions.extend(sent.map(|number| number as u64).filter(|number| !revisions.contains(number)));
        if let (Some(subscriber), false) = (&row.subscriber, revisions.is_empty()) {
            self.held.push(Held {
                subscriber: subscriber.clone(),
                distribution: row.distribution.clone(),
                as_of_ms: said.map_or(at_ms, |held| held.as_of_ms),
                revisions,
                is_all: said.is_some(),
            });
        }
    }

    fn collected(&mut self, id: &str, result: &CollectResult) -> Result<(), RecordsError> {
        let row = &self.rows[id];
        let Template::Collect { store, times, .. } = serde_json::from_str(&row.raw.task)? else { return Ok(()) };
        let (job, distribution) = (row.id, row.raw.distribution.clone());
        self.collected.push(Collected { job, store, distribution, times, result: result.clone() });
        Ok(())
    }

    fn built(&mut self, id: &str, attempt: u32, build: &BuildResult) -> Result<(), RecordsError> {
        let row = self.rows[id].clone();
        let change = self.changes.entry(id.to_owned()).or_default();
        change.content = Some(build.bytes as i64);
        change.moved = Some(build.bytes_uploaded as i64);
        change.files = Some(build.files_read as i64);
        let Some(new) = &build.revision else { return Ok(()) };
        let Template::Build { store, send_on, .. } = serde_json::from_str(&row.raw.task)? else { return Ok(()) };
        change.revision = Some(new.number as i64);
        let name = row.raw.distribution.clone();
        let new_bytes: u64 = new.packs.iter().filter(|p| p.new).map(|p| p.bytes).sum();
        self.revisions.push(vec![
            name.clone().into(),
            (new.number as i64).into(),
            new.header.to_string().into(),
            (new.header_bytes as i64).into(),
            new.index.to_string().into(),
            (new.index_bytes as i64).into(),
            (new.files as i64).into(),
            (new.directories as i64).into(),
            (new.links as i64).into(),
            (new.bytes as i64).into(),
            (new.stored_bytes as i64).into(),
            (new_bytes as i64).into(),
            id.to_owned().into(),
            self.now_ms.into(),
            store.to_string().into(),
        ]);
        if let Some(verdict) = self.verdicts.remove(&(id.to_owned(), attempt)) {
            self.rescued.push((store, verdict.rescued));
        }
        for pack in &new.packs {
            self.packs.push(vec![
                name.clone().into(),
                (new.number as i64).into(),
                pack.digest.to_string().into(),
                (pack.bytes as i64).into(),
            ]);
        }
        self.sends.extend(send_on.into_iter().map(|channel| (row.id, channel)));
        self.built.push((row.id, name));
        Ok(())
    }
}

/// What stands against the revisions in these reports.
async fn verdicts(
    c: &impl ConnectionTrait,
    rows: &HashMap<String, JobRow>,
    reports: &[Report],
) -> Result<HashMap<(String, u32), Verdict>, RecordsError> {
    let mut verdicts = HashMap::new();
    for report in reports {
        let Event::Succeeded { result: JobResult::Build(BuildResult { revision: Some(new), .. }), .. } = &report.event
        else {
            continue;
        };
        let Some(job) = rows.get(&report.job.to_string()).filter(|job| !job.state.is_terminal()) else { continue };
        if let Template::Build { store, .. } = serde_json::from_str(&job.raw.task)? {
            let verdict = condemned::judge(c, job, report.attempt, store, new).await?;
            verdicts.insert((job.raw.id.clone(), report.attempt), verdict);
        }
    }
    Ok(verdicts)
}

fn refusal(verdict: &Verdict) -> Event {
    let named = verdict.refused.first().map_or("", String::as_str);
    let count = verdict.refused.len();
    let what = format!(
        "the revision names {count} objects whose deletion may have come after the builder saw them, such as {named}; \
         it is built again, and they are uploaded again"
    );
    Event::Failed { took_ms: 0, fault: Fault::transient("content-condemned", what) }
}

impl Recorded {
    /// The fault with which a report of an unknown job is put aside.
    pub fn unknown_fault(report: &Report) -> Fault {
        Fault::permanent("job-unknown", format!("job {} is not in this database", report.job))
    }
}
