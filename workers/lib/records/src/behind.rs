//! What is being built or downloaded just then holds up whatever would send the same (SPEC S8): the new job waits for that one and
//! runs when it ends, whether it succeeded or not, with the newest good revision of then. It knows no lane's order.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use schemas::{DistributionName, JobId, JobKind};
use sea_orm::{ConnectionTrait, FromQueryResult};

use crate::db::RecordsError;
use crate::insert::{OnBad, OpenKey, PlannedJob, PlannedWait, carried_by_published};
use crate::sql;

#[derive(FromQueryResult)]
struct Newest {
    distribution: String,
    number: i64,
}

/// These jobs with the waits that `open` gives them, which was read under the locks of its jobs' lanes. A job that wants the newest
/// revision and has to wait takes the one that is newest when its turn comes.
pub(crate) async fn queue<'a>(
    c: &impl ConnectionTrait,
    jobs: &'a [PlannedJob],
    open: &[OpenKey],
) -> Result<Cow<'a, [PlannedJob]>, RecordsError> {
    let planned: BTreeSet<String> = jobs.iter().map(|job| job.id.to_string()).collect();
    let awaited = |job: &PlannedJob| -> Vec<JobId> {
        let others = open.iter().filter(|one| !planned.contains(&one.id));
        others.filter(|one| is_in_the_way(job, one, open)).filter_map(|open| open.id.parse().ok()).collect()
    };
    let held_up: BTreeMap<JobId, Vec<JobId>> = jobs
        .iter()
        .filter(|job| is_candidate(job) && !is_there(job, open))
        .map(|job| (job.id, awaited(job)))
        .filter(|(_, awaited)| !awaited.is_empty())
        .collect();
    if held_up.is_empty() {
        return Ok(Cow::Borrowed(jobs));
    }
    let newest = newest(c, jobs.iter().filter(|job| held_up.contains_key(&job.id))).await?;
    let of_build = |id: &JobId| open.iter().any(|one| one.kind == "build" && one.id == id.to_string());
    let mut jobs = jobs.to_vec();
    let mut opened: BTreeSet<JobId> = BTreeSet::new();
    for job in &mut jobs {
        let Some(awaited) = held_up.get(&job.id) else { continue };
        let newest = newest.get(&job.distribution).copied();
        let awaited: Vec<JobId> = match job.revision {
            // Without a build it takes the newest: with what is bringing that already it ends as one (promotion sees to it).
            None if !awaited.iter().any(of_build) => {
                awaited.iter().copied().filter(|id| revision_of(open, id) != newest).collect()
            }
            None => awaited.clone(),
            Some(number) if Some(number) == newest && job.template.kind() == JobKind::Send => {
                job.revision = None;
                opened.insert(job.id);
                awaited.clone()
            }
            // A revision that somebody chose is no build's to change: only what is at work at the site is in its way.
            Some(_) => awaited.iter().copied().filter(|id| !of_build(id)).collect(),
        };
        add(job, &awaited);
    }
    for job in jobs.iter_mut().filter(|job| job.carried_by.is_some_and(|send| opened.contains(&send))) {
        job.revision = None;
    }
    Ok(Cow::Owned(jobs))
}

fn revision_of(open: &[OpenKey], id: &JobId) -> Option<u64> {
    let found = open.iter().find(|one| one.id == id.to_string())?;
    found.revision.map(|number| number as u64)
}

fn add(job: &mut PlannedJob, awaited: &[JobId]) {
    for &awaited in awaited {
        if !job.waits.iter().any(|wait| wait.awaited == awaited) {
            job.waits.push(PlannedWait { awaited, on_bad: OnBad::Proceed, patience_ms: None });
        }
    }
}

/// Sends, and extracts that travel with none.
fn is_candidate(job: &PlannedJob) -> bool {
    match job.template.kind() {
        JobKind::Send => true,
        JobKind::Extract => job.carried_by.is_none(),
        JobKind::Build | JobKind::Collect => false,
    }
}

fn is_same_place(job: &PlannedJob, open: &OpenKey) -> bool {
    open.distribution == job.distribution.as_str()
        && open.subscriber.as_deref() == job.subscriber.as_ref().map(|name| name.as_str())
}

/// An open job does the same: the planned one gives way to it.
fn is_there(job: &PlannedJob, open: &[OpenKey]) -> bool {
    let kind = job.template.kind().as_str();
    job.revision.is_some()
        && open.iter().any(|open| open.kind == kind && is_same_place(job, open) && open.revision == revision(job))
}

fn is_in_the_way(job: &PlannedJob, one: &OpenKey, open: &[OpenKey]) -> bool {
    match one.kind.as_str() {
        "build" => job.template.kind() == JobKind::Send && one.distribution == job.distribution.as_str(),
        // In its own lane it is in order anyway.
        "send" | "extract" => {
            is_same_place(job, one)
                && one.lane != job.lane.to_string()
                && (one.state != "waiting" || carried_by_published(one, open))
                && one.revision != revision(job)
        }
        _ => false,
    }
}

fn revision(job: &PlannedJob) -> Option<i64> {
    job.revision.map(|number| number as i64)
}

async fn newest(
    c: &impl ConnectionTrait,
    jobs: impl Iterator<Item = &PlannedJob>,
) -> Result<BTreeMap<DistributionName, u64>, RecordsError> {
    let names: BTreeSet<&DistributionName> = jobs.map(|job| &job.distribution).collect();
    let texts: Vec<String> = names.iter().map(ToString::to_string).collect();
    let text = format!(
        "SELECT distribution, MAX(number) AS number FROM tide_revisions WHERE distribution IN ({}) GROUP BY distribution",
        sql::list(1, texts.len())
    );
    let found: Vec<Newest> = sql::rows(c, &text, sql::values(&texts)).await?;
    let read = |row: Newest| {
        let name =
            row.distribution.try_into().map_err(|e: schemas::InvalidName| RecordsError::Corrupt(e.to_string()))?;
        Ok((name, row.number as u64))
    };
    found.into_iter().map(read).collect()
}
