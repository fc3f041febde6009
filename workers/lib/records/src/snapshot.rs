//! What a planner compares: what is recorded of some distributions, at one instant.

use std::collections::{BTreeSet, HashMap};

use schemas::{DistributionName, JobId, SubscriberName};
use sea_orm::FromQueryResult;

use crate::db::{Records, RecordsError};
use crate::sql;

/// What a site has of a distribution, as far as results say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Held {
    pub stored: Option<u64>,
    pub extracted: Option<u64>,
    pub pinned: bool,
    /// The newest below `extracted` that was extracted there before; only a rollback asks.
    pub earlier: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Revision {
    pub number: u64,
    pub created_ms: i64,
}

#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// The newest good revision.
    pub newest: HashMap<DistributionName, Revision>,
    pub holdings: HashMap<(String, DistributionName), Held>,
    /// The open build of a distribution, the latest if there are several.
    pub builds: HashMap<DistributionName, JobId>,
    /// Open extracts by subscriber and distribution, with their revision.
    pub extracts: HashMap<(String, DistributionName), u64>,
}

#[derive(FromQueryResult)]
struct NewestRow {
    distribution: String,
    number: i64,
    created_ms: i64,
}

#[derive(FromQueryResult)]
struct HoldingRow {
    subscriber: String,
    distribution: String,
    stored_revision: Option<i64>,
    extracted_revision: Option<i64>,
    pinned: i32,
}

#[derive(FromQueryResult)]
struct OpenRow {
    id: String,
    kind: String,
    subscriber: Option<String>,
    distribution: String,
    revision: Option<i64>,
}

impl Records {
    pub async fn snapshot(&self, distributions: &BTreeSet<DistributionName>) -> Result<Snapshot, RecordsError> {
        let mut snapshot = Snapshot::default();
        if distributions.is_empty() {
            return Ok(snapshot);
        }
        let names: Vec<String> = distributions.iter().map(ToString::to_string).collect();
        let list = sql::list(1, names.len());
        let newest = format!(
            "SELECT distribution, number, created_ms FROM tide_revisions r WHERE distribution IN ({list})
                AND number = (SELECT MAX(n.number) FROM tide_revisions n WHERE n.distribution = r.distribution)"
        );
        for row in sql::rows::<NewestRow>(self.reader(), &newest, sql::values(&names)).await? {
            let revision = Revision { number: row.number as u64, created_ms: row.created_ms };
            snapshot.newest.insert(name(row.distribution)?, revision);
        }
        let held = format!(
            "SELECT subscriber, distribution, stored_revision, extracted_revision, pinned FROM tide_holdings WHERE distribution IN ({list})"
        );
        for row in sql::rows::<HoldingRow>(self.reader(), &held, sql::values(&names)).await? {
            let held = Held {
                stored: row.stored_revision.map(|n| n as u64),
                extracted: row.extracted_revision.map(|n| n as u64),
                pinned: row.pinned == 1,
                earlier: None,
            };
            snapshot.holdings.insert((row.subscriber, name(row.distribution)?), held);
        }
        let open = format!(
            "SELECT id, kind, subscriber, distribution, revision FROM tide_jobs WHERE kind IN ('build', 'extract')
                AND state IN ('waiting', 'queued', 'running') AND distribution IN ({list}) ORDER BY created_ms"
        );
        for row in sql::rows::<OpenRow>(self.reader(), &open, sql::values(&names)).await? {
            let distribution = name(row.distribution)?;
            if row.kind == "build" {
                let id = row.id.parse().map_err(|e| RecordsError::Corrupt(format!("job id: {e}")))?;
                snapshot.builds.insert(distribution, id);
            } else if let (Some(subscriber), Some(revision)) = (row.subscriber, row.revision) {
                snapshot.extracts.insert((subscriber, distribution), revision as u64);
            }
        }
        Ok(snapshot)
    }

    /// Whether this revision of the distribution is recorded and kept.
    pub async fn has_revision(&self, distribution: &DistributionName, number: u64) -> Result<bool, RecordsError> {
        let text = "SELECT number FROM tide_revisions WHERE distribution = $1 AND number = $2 AND retired_ms IS NULL";
        let values = vec![distribution.to_string().into(), (number as i64).into()];
        Ok(sql::number(self.reader(), text, values).await?.is_some())
    }

    /// Which revision a site had before the one that it has: the newest below `extracted` that it extracted.
    pub async fn extracted_before(
        &self,
        subscriber: &SubscriberName,
        distribution: &DistributionName,
        extracted: u64,
    ) -> Result<Option<u64>, RecordsError> {
        let text = "SELECT CAST(MAX(revision) AS BIGINT) AS number FROM tide_jobs WHERE kind = 'extract' AND state = 'succeeded'
            AND subscriber = $1 AND distribution = $2 AND revision < $3";
        let values = vec![subscriber.to_string().into(), distribution.to_string().into(), (extracted as i64).into()];
        Ok(sql::number(self.reader(), text, values).await?.map(|number| number as u64))
    }

    /// Whether no build has been asked for since the distribution's definition took effect as it is.
    pub async fn changed_since_build(&self, distribution: &DistributionName) -> Result<bool, RecordsError> {
        let text = "SELECT CASE WHEN EXISTS (SELECT 1 FROM tide_revisions r WHERE r.distribution = o.name AND r.created_ms >= o.since_ms)
            OR EXISTS (SELECT 1 FROM tide_jobs j WHERE j.kind = 'build' AND j.distribution = o.name AND j.created_ms >= o.since_ms
                AND j.state <> 'cancelled') THEN 0 ELSE 1 END
            FROM (SELECT name, CASE WHEN activated_ms > changed_ms THEN activated_ms ELSE changed_ms END AS since_ms
                FROM tide_objects WHERE kind = 'distribution' AND name = $1) o";
        let row = sql::row::<Flag>(
            self.reader(),
            &format!("SELECT CAST(({text}) AS INTEGER) AS flag"),
            vec![distribution.to_string().into()],
        )
        .await?;
        Ok(row.and_then(|r| r.flag).unwrap_or(0) == 1)
    }
}

#[derive(FromQueryResult)]
struct Flag {
    flag: Option<i32>,
}

fn name(text: String) -> Result<DistributionName, RecordsError> {
    DistributionName::try_from(text).map_err(|e| RecordsError::Corrupt(e.to_string()))
}
