//! A job's message, put together at the moment it is published: what was planned, the revision, where its content may come
//! from now, and settings that the site has not got yet.

use std::collections::{BTreeSet, HashMap};

use schemas::definitions::Priority;
use schemas::job::PATCHED_REVISIONS_MAX;
use schemas::{
    BuildTask, CollectTask, ContentSource, ExtractTask, Follow, JobMessage, Keep, Lane, OriginRate, QueueName,
    RevisionRef, SCHEMA, SendTask, Seq, Settings, SubscriberName, Task,
};
use sea_orm::{ConnectionTrait, FromQueryResult};

use crate::db::{RecordsError, clock_ms};
use crate::insert::Template;
use crate::jobs::{COLUMNS, JobRow, Raw};
use crate::limits::Terms;
use crate::publish::ToPublish;
use crate::{condemned, limits, retention, sql};

/// Without a sign of life for so long, another builder takes the job over.
const BUILD_LEASE_S: u32 = 30;

#[derive(FromQueryResult)]
struct RevisionHeader {
    distribution: String,
    number: i64,
    header: String,
}

#[derive(FromQueryResult)]
struct SiteUrl {
    subscriber: String,
    url: String,
}

#[derive(FromQueryResult)]
struct NewerSettings {
    subscriber: String,
    settings: String,
}

/// What the messages of a batch need beside their rows.
struct Beside {
    epoch: u64,
    headers: HashMap<(String, i64), RevisionRef>,
    newest: HashMap<String, RevisionRef>,
    urls: HashMap<String, String>,
    settings: HashMap<String, Settings>,
    carried: HashMap<String, JobRow>,
    terms: HashMap<String, Terms>,
    keeps: HashMap<String, Keep>,
    collections: HashMap<String, CollectTask>,
}

pub(crate) async fn compose(
    c: &impl ConnectionTrait,
    jobs: Vec<(JobRow, i64)>,
) -> Result<Vec<ToPublish>, RecordsError> {
    if jobs.is_empty() {
        return Ok(Vec::new());
    }
    let mut templates = Vec::with_capacity(jobs.len());
    for (job, _) in &jobs {
        templates.push(serde_json::from_str::<Template>(&job.raw.task)?);
    }
    let beside = Beside::load(c, &jobs, &templates).await?;
    let mut out = Vec::with_capacity(jobs.len());
    for ((job, n), template) in jobs.into_iter().zip(templates) {
        out.push(beside.message(job, n, template)?);
    }
    Ok(out)
}

impl Beside {
    async fn load(
        c: &impl ConnectionTrait,
        jobs: &[(JobRow, i64)],
        templates: &[Template],
    ) -> Result<Beside, RecordsError> {
        let distributions: BTreeSet<String> = jobs.iter().map(|(j, _)| j.raw.distribution.clone()).collect();
        let subscribers: BTreeSet<String> = jobs.iter().filter_map(|(j, _)| j.raw.subscriber.clone()).collect();
        let distributors: BTreeSet<String> = jobs.iter().map(|(j, _)| j.raw.distributor.clone()).collect();
        let relays: BTreeSet<String> = templates
            .iter()
            .flat_map(|t| if let Template::Send { relays, .. } = t { relays.as_slice() } else { &[] })
            .map(ToString::to_string)
            .collect();
        let sends: Vec<String> =
            jobs.iter().filter(|(j, _)| j.raw.kind == "send").map(|(j, _)| j.raw.id.clone()).collect();
        let epoch = sql::number(c, "SELECT number FROM tide_meta WHERE name = 'epoch'", vec![]).await?.unwrap_or(1);
        let numbers: BTreeSet<i64> = jobs.iter().filter_map(|(j, _)| j.raw.revision).collect();
        let (headers, newest) = headers(c, &distributions, &numbers).await?;
        Ok(Beside {
            epoch: epoch as u64,
            headers,
            newest,
            urls: urls(c, &relays).await?,
            settings: settings(c, &subscribers).await?,
            carried: carried(c, &sends).await?,
            terms: limits::terms(c, &distributors).await?,
            keeps: if subscribers.is_empty() { HashMap::new() } else { retention::keeps(c, &distributions).await? },
            collections: collections(c, jobs, templates).await?,
        })
    }

    fn message(&self, job: JobRow, n: i64, template: Template) -> Result<ToPublish, RecordsError> {
        let then = match self.carried.get(&job.raw.id) {
            Some(extract) => Some(self.follow(extract, job.raw.revision)?),
            None => None,
        };
        let queue = match &job.lane {
            Lane::Build(_) => QueueName::Build(parse(&job.raw.distributor, &job)?),
            Lane::Site(site) => QueueName::Site(site.subscriber.clone(), site.channel.clone()),
        };
        let task = self.task(&job, template)?;
        let settings = job.raw.subscriber.as_ref().and_then(|s| self.settings.get(s)).cloned();
        let seq = Seq { epoch: self.epoch, n: n as u64 };
        let message = JobMessage {
            schema: SCHEMA,
            job: job.id,
            attempt: job.attempt,
            lane: job.lane.clone(),
            seq,
            request: job.raw.request_id.parse().map_err(|e| RecordsError::Corrupt(format!("request id: {e}")))?,
            task,
            then,
            settings,
            traceparent: None,
        };
        Ok(ToPublish { job: job.id, seq, queue, message })
    }

    fn task(&self, job: &JobRow, template: Template) -> Result<Task, RecordsError> {
        match template {
            Template::Build { store, of_type, sources, read_all, keep, send_on: _ } => {
                let previous = self.newest.get(&job.raw.distribution).copied();
                Ok(Task::Build(BuildTask {
                    distributor: parse(&job.raw.distributor, job)?,
                    distribution: job.distribution.clone(),
                    store,
                    of_type,
                    number: previous.map_or(1, |p| p.number + 1),
                    sources,
                    previous,
                    earlier: self.earlier(&job.raw.distribution, previous),
                    read_all,
                    keep,
                    lease_s: BUILD_LEASE_S,
                    working_dir: self.terms.get(&job.raw.distributor).and_then(|terms| terms.working_dir.clone()),
                }))
            }
            Template::Send { store, relays } => Ok(Task::Send(SendTask {
                subscriber: parse(job.raw.subscriber.as_deref().unwrap_or_default(), job)?,
                channel: parse(job.raw.channel.as_deref().unwrap_or_default(), job)?,
                distribution: job.distribution.clone(),
                store,
                revision: self.revision(job, job.raw.revision)?,
                priority: Priority::from_rank(job.raw.priority),
                sources: self.sources(job, &relays)?,
                keep: self.keeps.get(&job.raw.distribution).copied(),
                stop_at_ms: job.raw.stop_at_ms,
            })),
            Template::Extract { .. } => Ok(Task::Extract(self.extract(job, template, job.raw.revision)?)),
            Template::Collect { .. } => {
                let task = self.collections.get(&job.raw.id).cloned();
                task.map(Task::Collect)
                    .ok_or_else(|| RecordsError::Corrupt(format!("job {}: nothing to collect", job.id)))
            }
        }
    }

    /// A relay that has not said where it listens is left out; the origin is always there.
    fn sources(&self, job: &JobRow, relays: &[SubscriberName]) -> Result<Vec<ContentSource>, RecordsError> {
        let with_url = relays.iter().filter_map(|relay| {
            let url = self.urls.get(relay.as_str())?.clone();
            Some(ContentSource::Relay { subscriber: relay.clone(), url })
        });
        let priority = Priority::from_rank(job.raw.priority);
        let distributor = parse(&job.raw.distributor, job)?;
        let terms = self.terms.get(&job.raw.distributor);
        let rate = terms.and_then(|terms| terms.rates.of(priority)).map(|bytes_per_s| OriginRate {
            distributor,
            priority,
            bytes_per_s,
        });
        Ok(with_url.chain([ContentSource::Origin { rate }]).collect())
    }

    fn follow(&self, extract: &JobRow, revision: Option<i64>) -> Result<Follow, RecordsError> {
        let template = serde_json::from_str(&extract.raw.task)?;
        let task = self.extract(extract, template, extract.raw.revision.or(revision))?;
        Ok(Follow { job: extract.id, attempt: extract.attempt, task })
    }

    fn extract(&self, job: &JobRow, template: Template, revision: Option<i64>) -> Result<ExtractTask, RecordsError> {
        let Template::Extract { store, mode, target, adopt, allow, pin, unchanged, other_targets } = template else {
            return Err(RecordsError::Corrupt(format!("job {}: an extract's row holds another kind's task", job.id)));
        };
        Ok(ExtractTask {
            subscriber: parse(job.raw.subscriber.as_deref().unwrap_or_default(), job)?,
            distribution: job.distribution.clone(),
            store,
            revision: self.revision(job, revision)?,
            mode,
            target,
            adopt,
            allow,
            pin,
            unchanged,
            other_targets,
            keep: self.keeps.get(&job.raw.distribution).copied(),
            stop_at_ms: job.raw.stop_at_ms,
        })
    }

    fn revision(&self, job: &JobRow, number: Option<i64>) -> Result<RevisionRef, RecordsError> {
        let found = number.and_then(|n| self.headers.get(&(job.raw.distribution.clone(), n)));
        found.copied().ok_or_else(|| {
            RecordsError::Corrupt(format!(
                "job {}: revision {number:?} of {} is not recorded",
                job.id, job.distribution
            ))
        })
    }
}

fn parse<T: TryFrom<String>>(name: &str, job: &JobRow) -> Result<T, RecordsError> {
    T::try_from(name.to_owned()).map_err(|_| RecordsError::Corrupt(format!("job {}: `{name}` is no name", job.id)))
}

impl Beside {
    /// What gets a patch beside the newest revision.
    fn earlier(&self, distribution: &str, newest: Option<RevisionRef>) -> Vec<RevisionRef> {
        let Some(newest) = newest.map(|newest| newest.number as i64) else { return Vec::new() };
        let before = (1..PATCHED_REVISIONS_MAX as i64).map(|back| (distribution.to_owned(), newest - back));
        before.filter_map(|revision| self.headers.get(&revision).copied()).collect()
    }
}

type Headers = (HashMap<(String, i64), RevisionRef>, HashMap<String, RevisionRef>);

/// Of the revisions that are kept, and of these numbers.
async fn headers(
    c: &impl ConnectionTrait,
    distributions: &BTreeSet<String>,
    numbers: &BTreeSet<i64>,
) -> Result<Headers, RecordsError> {
    let names: Vec<String> = distributions.iter().cloned().collect();
    let numbers: Vec<i64> = numbers.iter().copied().chain([0]).collect();
    let text = format!(
        "SELECT distribution, number, header FROM tide_revisions WHERE distribution IN ({})
            AND (retired_ms IS NULL OR number IN ({})) ORDER BY distribution, number",
        sql::list(1, names.len()),
        sql::list(1 + names.len(), numbers.len())
    );
    let mut values = sql::values(&names);
    values.extend(sql::values(&numbers));
    let mut by_number = HashMap::new();
    let mut newest = HashMap::new();
    for row in sql::rows::<RevisionHeader>(c, &text, values).await? {
        let header = row.header.parse().map_err(|e| RecordsError::Corrupt(format!("revision header: {e}")))?;
        let revision = RevisionRef { number: row.number as u64, header };
        newest.insert(row.distribution.clone(), revision);
        by_number.insert((row.distribution, row.number), revision);
    }
    Ok((by_number, newest))
}

async fn urls(c: &impl ConnectionTrait, relays: &BTreeSet<String>) -> Result<HashMap<String, String>, RecordsError> {
    if relays.is_empty() {
        return Ok(HashMap::new());
    }
    let names: Vec<String> = relays.iter().cloned().collect();
    let text = format!(
        "SELECT subscriber, url FROM tide_sites WHERE url IS NOT NULL AND silent_since_ms IS NULL AND subscriber IN ({})",
        sql::list(1, names.len())
    );
    let found: Vec<SiteUrl> = sql::rows(c, &text, sql::values(&names)).await?;
    Ok(found.into_iter().map(|s| (s.subscriber, s.url)).collect())
}

async fn settings(
    c: &impl ConnectionTrait,
    subscribers: &BTreeSet<String>,
) -> Result<HashMap<String, Settings>, RecordsError> {
    if subscribers.is_empty() {
        return Ok(HashMap::new());
    }
    let names: Vec<String> = subscribers.iter().cloned().collect();
    let text = format!(
        "SELECT g.subscriber, g.settings FROM tide_settings g LEFT JOIN tide_sites s ON s.subscriber = g.subscriber
        WHERE g.version > COALESCE(s.settings_version, 0) AND g.subscriber IN ({})",
        sql::list(1, names.len())
    );
    let mut found = HashMap::new();
    for row in sql::rows::<NewerSettings>(c, &text, sql::values(&names)).await? {
        found.insert(row.subscriber, serde_json::from_str(&row.settings)?);
    }
    Ok(found)
}

/// The tasks of garbage collections, by job: what is due is ordered now.
async fn collections(
    c: &impl ConnectionTrait,
    jobs: &[(JobRow, i64)],
    templates: &[Template],
) -> Result<HashMap<String, CollectTask>, RecordsError> {
    let mut tasks = HashMap::new();
    for ((job, _), template) in jobs.iter().zip(templates) {
        if let Template::Collect { store, list, force, times } = template {
            let task = condemned::order(c, job, *store, (*list, *force), *times, clock_ms()).await?;
            tasks.insert(job.raw.id.clone(), task);
        }
    }
    Ok(tasks)
}

async fn carried(c: &impl ConnectionTrait, sends: &[String]) -> Result<HashMap<String, JobRow>, RecordsError> {
    if sends.is_empty() {
        return Ok(HashMap::new());
    }
    let text = format!(
        "SELECT {COLUMNS} FROM tide_jobs WHERE state IN ('waiting', 'queued') AND cancel_requested_ms IS NULL AND carried_by IN ({})",
        sql::list(1, sends.len())
    );
    let mut found = HashMap::new();
    for raw in sql::rows::<Raw>(c, &text, sql::values(sends)).await? {
        if let Some(send) = raw.carried_by.clone() {
            found.insert(send, JobRow::try_from(raw)?);
        }
    }
    Ok(found)
}
