//! Changes of a distributor and its distributions that wait for its refresh: what is applied stands in `spec`, what is in effect
//! until then in `in_effect`. A new object has nothing older and is in effect at once. It plans no job.

use std::collections::BTreeSet;

use domain::in_effect::{self, Held};
use schemas::definitions::{Distribution, Distributor};
use schemas::name::Kind;
use schemas::{Definitions, DistributorName};
use sea_orm::{ConnectionTrait, DatabaseTransaction, FromQueryResult, Value};
use serde::Serialize;

use crate::db::{Records, RecordsError, clock_ms};
use crate::definitions::{self, Fleet, Owning};
use crate::sql;

/// Which applied changes take effect with the apply itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activate {
    /// Those of distributors that refresh immediately.
    AsScheduled,
    /// All of them.
    Now,
}

/// An object's versions: it is in effect as applied, or a change of it waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Standing {
    pub applied_version: u64,
    pub version_in_effect: u64,
    /// The distributor whose refresh it waits for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<DistributorName>,
}

/// An object that was changed and is in effect as it was before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Waiting {
    pub kind: Kind,
    pub name: String,
    pub waits_for: DistributorName,
}

#[derive(FromQueryResult)]
struct DistributorRow {
    name: String,
    spec: String,
}

#[derive(FromQueryResult)]
struct HeldRow {
    kind: String,
    name: String,
    in_effect: String,
}

#[derive(FromQueryResult)]
struct VersionsRow {
    version: i64,
    in_effect_version: Option<i64>,
}

impl Records {
    /// Grows with everything that changes what is in effect.
    pub async fn version_in_effect(&self) -> Result<u64, RecordsError> {
        let version = sql::number(self.reader(), "SELECT number FROM tide_meta WHERE name = 'active_version'", vec![]);
        Ok(version.await?.unwrap_or(0) as u64)
    }

    /// What jobs are planned by: definitions as of their distributors' last refresh.
    pub async fn fleet_in_effect(&self) -> Result<Fleet, RecordsError> {
        loop {
            let version = self.version_in_effect().await?;
            let mut fleet = definitions::read(self.reader(), version, Owning::LeftOut).await?;
            fleet.definitions = in_effect::in_effect(fleet.definitions, held(self.reader()).await?);
            // Several reads outside a transaction: read again if something changed in between.
            if self.version_in_effect().await? == version {
                return Ok(fleet);
            }
        }
    }

    /// False if a refresh of these distributors has nothing to put in effect: their changes wait for none, or nothing was applied since
    /// the last one.
    pub async fn awaits_refresh(&self, distributors: &[DistributorName]) -> Result<bool, RecordsError> {
        let names: Vec<String> = distributors.iter().map(ToString::to_string).collect();
        let text = format!(
            "SELECT name, spec FROM tide_objects WHERE kind = 'distributor' AND name IN ({}) AND (refreshed_version IS NULL
                OR refreshed_version <> (SELECT number FROM tide_meta WHERE name = 'fleet_version'))",
            sql::list(1, names.len())
        );
        let mut stale = Definitions::default();
        for row in sql::rows::<DistributorRow>(self.reader(), &text, sql::values(&names)).await? {
            let name = DistributorName::try_from(row.name);
            let name = name.map_err(|e| RecordsError::Corrupt(format!("the name of a distributor: {e}")))?;
            stale.distributors.insert(name, serde_json::from_str(&row.spec)?);
        }
        Ok(in_effect::refreshed_at_once(&stale).len() < stale.distributors.len())
    }

    /// A refresh: what was applied for these distributors is in effect from now on. Again, it changes nothing.
    pub async fn activate(&self, distributors: &[DistributorName]) -> Result<(), RecordsError> {
        let now_ms = clock_ms();
        let tx = self.begin().await?;
        let applied_at =
            sql::number(&tx, "SELECT number FROM tide_meta WHERE name = 'fleet_version' {for_update}", vec![]).await?;
        let version = next_version(&tx).await?;
        let applied = definitions::read(&tx, version, Owning::LeftOut).await?.definitions;
        let named: BTreeSet<DistributorName> = distributors.iter().cloned().collect();
        let activated = release(&tx, &applied, &named, now_ms).await?;
        let definitions = in_effect::in_effect(applied, held(&tx).await?);
        if definitions::derive(&tx, &definitions, &named, version).await? || activated {
            tx.commit().await?;
        } else {
            // Nothing changed, and the version in effect neither.
            tx.rollback().await?;
        }
        self.refreshed_at(distributors, applied_at.unwrap_or(0)).await
    }

    /// Unless somebody applied meanwhile.
    async fn refreshed_at(&self, distributors: &[DistributorName], version: i64) -> Result<(), RecordsError> {
        let names: Vec<String> = distributors.iter().map(ToString::to_string).collect();
        let text = format!(
            "UPDATE tide_objects SET refreshed_version = $1 WHERE kind = 'distributor' AND name IN ({})
                AND $1 = (SELECT number FROM tide_meta WHERE name = 'fleet_version')",
            sql::list(2, names.len())
        );
        let mut values = vec![version.into()];
        values.extend(sql::values(&names));
        sql::exec(self.writer(), &text, values).await?;
        Ok(())
    }

    /// `None` if there is no such object.
    pub async fn standing(&self, kind: Kind, name: &str) -> Result<Option<Standing>, RecordsError> {
        let text = "SELECT version, in_effect_version FROM tide_objects WHERE kind = $1 AND name = $2";
        let row: Option<VersionsRow> =
            sql::row(self.reader(), text, vec![kind.as_str().into(), name.to_owned().into()]).await?;
        let Some(row) = row else { return Ok(None) };
        let waiting = waiting(self.reader()).await?.into_iter().find(|w| w.kind == kind && w.name == name);
        let applied_version = row.version as u64;
        Ok(Some(Standing {
            applied_version,
            version_in_effect: row.in_effect_version.map_or(applied_version, |version| version as u64),
            waits_for: waiting.map(|waiting| waiting.waits_for),
        }))
    }
}

/// Counts what is in effect on.
pub(crate) async fn next_version(tx: &DatabaseTransaction) -> Result<u64, RecordsError> {
    sql::exec(tx, "UPDATE tide_meta SET number = number + 1 WHERE name = 'active_version'", vec![]).await?;
    let version = sql::number(tx, "SELECT number FROM tide_meta WHERE name = 'active_version'", vec![]).await?;
    version.map(|version| version as u64).ok_or_else(|| RecordsError::Corrupt("no version in effect".into()))
}

/// Puts in effect what was applied for these distributors and their distributions, and what cannot be held any longer.
pub(crate) async fn release(
    tx: &DatabaseTransaction,
    applied: &Definitions,
    of: &BTreeSet<DistributorName>,
    now_ms: i64,
) -> Result<bool, RecordsError> {
    // What was changed back waits for nothing.
    let unchanged = "UPDATE tide_objects SET in_effect = NULL, in_effect_version = NULL WHERE in_effect = spec";
    sql::exec(tx, unchanged, vec![]).await?;
    let held = held(tx).await?;
    let mut released = in_effect::untenable(applied, &held);
    released
        .extend(held.distributors.keys().filter(|name| of.contains(*name)).map(|n| (Kind::Distributor, n.to_string())));
    let owned = |name: &&schemas::DistributionName| {
        applied.distributions.get(*name).is_some_and(|distribution| of.contains(&distribution.distributor))
    };
    released.extend(held.distributions.keys().filter(owned).map(|name| (Kind::Distribution, name.to_string())));
    let text = "UPDATE tide_objects SET in_effect = NULL, in_effect_version = NULL, activated_ms = $3
        WHERE kind = $1 AND name = $2 AND in_effect IS NOT NULL";
    let mut changed = 0;
    for (kind, name) in released {
        let values: Vec<Value> = vec![kind.as_str().into(), name.into(), now_ms.into()];
        changed += sql::exec(tx, text, values).await?;
    }
    Ok(changed > 0)
}

pub(crate) async fn held(c: &impl ConnectionTrait) -> Result<Held, RecordsError> {
    let text = "SELECT kind, name, in_effect FROM tide_objects WHERE in_effect IS NOT NULL";
    let mut held = Held::default();
    for row in sql::rows::<HeldRow>(c, text, vec![]).await? {
        let corrupt = |e: schemas::InvalidName| RecordsError::Corrupt(format!("{} {}: {e}", row.kind, row.name));
        if row.kind == Kind::Distributor.as_str() {
            let older: Distributor = serde_json::from_str(&row.in_effect)?;
            held.distributors.insert(row.name.as_str().try_into().map_err(corrupt)?, older);
        } else if row.kind == Kind::Distribution.as_str() {
            let older: Distribution = serde_json::from_str(&row.in_effect)?;
            held.distributions.insert(row.name.as_str().try_into().map_err(corrupt)?, older);
        }
    }
    Ok(held)
}

/// Everything that waits, with whom it waits for.
pub(crate) async fn waiting(c: &impl ConnectionTrait) -> Result<Vec<Waiting>, RecordsError> {
    let held = held(c).await?;
    let mut all: Vec<Waiting> = held
        .distributors
        .keys()
        .map(|name| Waiting { kind: Kind::Distributor, name: name.to_string(), waits_for: name.clone() })
        .collect();
    if !held.distributions.is_empty() {
        let applied = definitions::read(c, 0, Owning::LeftOut).await?.definitions;
        all.extend(held.distributions.keys().filter_map(|name| {
            let waits_for = applied.distributions.get(name)?.distributor.clone();
            Some(Waiting { kind: Kind::Distribution, name: name.to_string(), waits_for })
        }));
    }
    Ok(all)
}
