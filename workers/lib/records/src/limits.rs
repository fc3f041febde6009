//! How much of a distributor may be out at a time, builds and sends each: what a place in a lane alone does not decide. It
//! counts what is out; nothing is remembered.
//!
//! A send counts while its site is there: one that lies ready for a silent site delays nobody, and counts again once that site is
//! back, when the limit may be passed by so many.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use schemas::{Definitions, RatesByPriority};
use sea_orm::{ConnectionTrait, DatabaseTransaction, FromQueryResult, Value};

use crate::db::{Records, RecordsError, clock_ms};
use crate::jobs::JobRow;
use crate::publish::ToPublish;
use crate::{STEP_MAX, promote, sql, sweep};

/// True of a job `j` whose distributor has room for one more of its kind, or whose site is away.
pub(crate) const WITHIN: &str = "(j.kind = 'send' AND NOT EXISTS (SELECT 1 FROM tide_sites p WHERE p.subscriber = j.subscriber
        AND p.presence_ms IS NOT NULL AND p.silent_since_ms IS NULL)
    OR (j.distributor, j.kind) NOT IN (
        SELECT d.distributor, 'build' FROM tide_distributors d WHERE d.concurrent_builds IS NOT NULL AND d.concurrent_builds <=
            (SELECT COUNT(*) FROM tide_jobs b WHERE b.distributor = d.distributor AND b.kind = 'build' AND b.state IN ('queued', 'running'))
        UNION ALL
        SELECT d.distributor, 'send' FROM tide_distributors d WHERE d.concurrent_sends IS NOT NULL AND d.concurrent_sends <=
            (SELECT COUNT(*) FROM tide_jobs b JOIN tide_sites p ON p.subscriber = b.subscriber
                WHERE b.distributor = d.distributor AND b.kind = 'send' AND b.state IN ('queued', 'running')
                    AND p.presence_ms IS NOT NULL AND p.silent_since_ms IS NULL)))";

#[derive(FromQueryResult)]
struct Limit {
    distributor: String,
    concurrent_builds: Option<i32>,
    concurrent_sends: Option<i32>,
}

#[derive(FromQueryResult)]
struct Out {
    distributor: String,
    kind: String,
    n: i64,
}

#[derive(FromQueryResult)]
struct TermsRow {
    distributor: String,
    rate_high: Option<i64>,
    rate_medium: Option<i64>,
    rate_low: Option<i64>,
    working_dir: Option<String>,
}

/// What a distributor's jobs carry of its definition.
#[derive(Debug, Clone, Default)]
pub(crate) struct Terms {
    /// How fast its content may be pulled from the origin.
    pub rates: RatesByPriority,
    pub working_dir: Option<String>,
}

/// Replaces what is known of all distributors by what these definitions say.
pub(crate) async fn write(tx: &DatabaseTransaction, definitions: &Definitions) -> Result<(), RecordsError> {
    let number = |n: Option<u64>| n.map(|n| i64::try_from(n).unwrap_or(i64::MAX));
    let rows: Vec<Vec<Value>> = definitions
        .distributors
        .iter()
        .map(|(name, distributor)| {
            let limits = &distributor.limits;
            let places = |n: Option<u32>| n.map(|n| i32::try_from(n).unwrap_or(i32::MAX));
            vec![
                name.to_string().into(),
                places(limits.concurrent_builds).into(),
                places(limits.concurrent_sends).into(),
                number(limits.rate.high).into(),
                number(limits.rate.medium).into(),
                number(limits.rate.low).into(),
                distributor.working_dir.clone().into(),
            ]
        })
        .collect();
    let gone = "DELETE FROM tide_distributors WHERE distributor NOT IN (SELECT name FROM tide_objects WHERE kind = 'distributor')";
    sql::exec(tx, gone, vec![]).await?;
    let head = "INSERT INTO tide_distributors (distributor, concurrent_builds, concurrent_sends, rate_high, rate_medium, \
        rate_low, working_dir)";
    // Updated in place: a promoter that waits for the row would pass by one that was made anew.
    let tail = "ON CONFLICT (distributor) DO UPDATE SET concurrent_builds = excluded.concurrent_builds,
        concurrent_sends = excluded.concurrent_sends, rate_high = excluded.rate_high, rate_medium = excluded.rate_medium,
        rate_low = excluded.rate_low, working_dir = excluded.working_dir";
    sql::insert_rows(tx, head, &rows, tail).await?;
    Ok(())
}

pub(crate) async fn terms(
    c: &impl ConnectionTrait,
    distributors: &BTreeSet<String>,
) -> Result<HashMap<String, Terms>, RecordsError> {
    let names: Vec<String> = distributors.iter().cloned().collect();
    let text = format!(
        "SELECT distributor, rate_high, rate_medium, rate_low, working_dir FROM tide_distributors WHERE distributor IN ({})",
        sql::list(1, names.len())
    );
    let rows: Vec<TermsRow> = sql::rows(c, &text, sql::values(&names)).await?;
    let number = |n: Option<i64>| n.and_then(|n| u64::try_from(n).ok());
    let terms = |row: TermsRow| {
        let (high, medium, low) = (number(row.rate_high), number(row.rate_medium), number(row.rate_low));
        (row.distributor, Terms { rates: RatesByPriority { high, medium, low }, working_dir: row.working_dir })
    };
    Ok(rows.into_iter().map(terms).collect())
}

/// The first of these jobs, in their order, for which there is room. The limited distributors stay locked until the transaction
/// ends, after the lanes and in the order of their names: two promoters count one after the other.
pub(crate) async fn within(c: &impl ConnectionTrait, jobs: Vec<JobRow>) -> Result<Vec<JobRow>, RecordsError> {
    let names: BTreeSet<String> = jobs.iter().map(|job| job.raw.distributor.clone()).collect();
    let names: Vec<String> = names.into_iter().collect();
    let list = sql::list(1, names.len());
    let text = format!(
        "SELECT distributor, concurrent_builds, concurrent_sends FROM tide_distributors
        WHERE (concurrent_builds IS NOT NULL OR concurrent_sends IS NOT NULL) AND distributor IN ({list})
        ORDER BY distributor {{for_update}}"
    );
    let limits: Vec<Limit> = sql::rows(c, &text, sql::values(&names)).await?;
    if limits.is_empty() {
        return Ok(jobs);
    }
    let mut room = room(c, &limits).await?;
    let present = present(c, &jobs).await?;
    let fits = move |job: &JobRow| {
        let away = job.raw.kind == "send" && !job.subscriber().is_some_and(|site| present.contains(site));
        match room.get_mut(&(job.raw.distributor.clone(), job.raw.kind.clone())) {
            Some(_) if away => true,
            Some(left) => {
                *left -= 1;
                *left >= 0
            }
            None => true,
        }
    };
    Ok(jobs.into_iter().filter(fits).collect())
}

/// Places left, by distributor and kind; what has no limit is left out.
async fn room(c: &impl ConnectionTrait, limits: &[Limit]) -> Result<BTreeMap<(String, String), i64>, RecordsError> {
    let names: Vec<String> = limits.iter().map(|limit| limit.distributor.clone()).collect();
    let text = format!(
        "SELECT b.distributor, b.kind, COUNT(*) AS n FROM tide_jobs b LEFT JOIN tide_sites p ON p.subscriber = b.subscriber
        WHERE b.state IN ('queued', 'running') AND b.distributor IN ({}) AND (b.kind = 'build'
            OR (b.kind = 'send' AND p.presence_ms IS NOT NULL AND p.silent_since_ms IS NULL))
        GROUP BY b.distributor, b.kind",
        sql::list(1, names.len())
    );
    let out: Vec<Out> = sql::rows(c, &text, sql::values(&names)).await?;
    let mut room = BTreeMap::new();
    for limit in limits {
        for (kind, places) in [("build", limit.concurrent_builds), ("send", limit.concurrent_sends)] {
            let Some(places) = places else { continue };
            let taken = out.iter().find(|o| o.distributor == limit.distributor && o.kind == kind).map_or(0, |o| o.n);
            room.insert((limit.distributor.clone(), kind.to_owned()), i64::from(places) - taken);
        }
    }
    Ok(room)
}

async fn present(c: &impl ConnectionTrait, jobs: &[JobRow]) -> Result<HashSet<String>, RecordsError> {
    let sites: BTreeSet<String> = jobs.iter().filter_map(|job| job.raw.subscriber.clone()).collect();
    let sites: Vec<String> = sites.into_iter().collect();
    if sites.is_empty() {
        return Ok(HashSet::new());
    }
    let text = format!(
        "SELECT subscriber FROM tide_sites WHERE presence_ms IS NOT NULL AND silent_since_ms IS NULL AND subscriber IN ({})",
        sql::list(1, sites.len())
    );
    Ok(sql::texts(c, &text, sql::values(&sites)).await?.into_iter().collect())
}

impl Records {
    /// So many jobs of these distributors are out no more: as many of the best that stand in any lane get their places. What is
    /// overlooked here the sweeper finds.
    pub(crate) async fn promote_freed(&self, freed: &[String]) -> Result<Vec<ToPublish>, RecordsError> {
        let names: Vec<String> = freed.iter().cloned().collect::<BTreeSet<_>>().into_iter().collect();
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let limited = format!(
            "SELECT distributor FROM tide_distributors
            WHERE (concurrent_builds IS NOT NULL OR concurrent_sends IS NOT NULL) AND distributor IN ({})",
            sql::list(1, names.len())
        );
        let names = sql::texts(self.reader(), &limited, sql::values(&names)).await?;
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let text = format!(
            "SELECT j.lane FROM tide_jobs j JOIN tide_lanes l ON l.name = j.lane
            WHERE j.state IN ('waiting', 'queued', 'running') AND j.distributor IN ({})
                AND l.paused = 0 AND j.not_before_ms <= $1 AND {} AND {WITHIN}
                AND l.depth > (SELECT COUNT(*) FROM tide_jobs b WHERE b.lane = l.name AND b.state IN ('queued', 'running'))
            GROUP BY j.lane ORDER BY MIN(j.priority), MIN(j.created_ms), MIN(j.place), j.lane LIMIT {}",
            sql::list(2, names.len()),
            promote::ELIGIBLE,
            freed.len().min(STEP_MAX)
        );
        let mut values: Vec<Value> = vec![clock_ms().into()];
        values.extend(sql::values(&names));
        let lanes: BTreeSet<String> = sql::texts(self.reader(), &text, values).await?.into_iter().collect();
        if lanes.is_empty() {
            return Ok(Vec::new());
        }
        let tx = self.begin().await?;
        let publish = sweep::promote_in(&tx, &lanes).await?;
        tx.commit().await?;
        Ok(publish)
    }
}
