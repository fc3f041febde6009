//! Retiring revisions beyond what is kept, and condemning what only they needed. Who records a revision, retires one or
//! orders a deletion holds the lock of the distribution's build lane; who plans work for a revision shares a lock on its row.
//! It knows no storage: what is condemned is deleted by a job.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Duration;

use domain::retention::{Candidate, Rule, Why, judge, oldest_kept};
use schemas::{DistributionName, Keep, Lane, Request, RequestId, RequestKind, Span, StoreId};
use sea_orm::{ConnectionTrait, DatabaseTransaction, FromQueryResult, Value};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::condemned::{self, ObjectRow};
use crate::db::{Records, RecordsError, clock_ms};
use crate::definitions::Fleet;
use crate::insert::PlannedJob;
use crate::leases::Term;
use crate::{forgets, lanes, requests, sql};

/// Nobody waits longer than this for a deletion that was ordered.
const WINDOW_MS_MAX: i64 = 300_000;
const WINDOW_MS_MIN: i64 = 2_000;
/// Clocks of the control side and of builders may differ by this part of the window.
const SKEW_PART: i64 = 5;
/// How long rows of deleted objects are shown.
const DELETED_KEPT_MS: i64 = 7 * 86_400_000;

/// How long what is condemned waits, and how long a deletion may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CollectTimes {
    /// From condemnation to deletion.
    pub grace_ms: i64,
    /// From the order to delete to the instant after which nothing of it is deleted any more.
    pub window_ms: i64,
    pub skew_ms: i64,
}

impl CollectTimes {
    pub fn of_grace(grace: Duration) -> CollectTimes {
        let grace_ms = i64::try_from(grace.as_millis()).unwrap_or(i64::MAX / 2);
        let window_ms = grace_ms.clamp(WINDOW_MS_MIN, WINDOW_MS_MAX);
        CollectTimes { grace_ms, window_ms, skew_ms: window_ms / SKEW_PART }
    }
}

/// What is declared for one distribution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retirement {
    pub distribution: DistributionName,
    pub store: StoreId,
    pub rule: Rule,
}

impl Retirement {
    /// Of all distributions of the fleet.
    pub fn of(fleet: &Fleet) -> Vec<Retirement> {
        let of_one = |(name, d): (&DistributionName, &schemas::definitions::Distribution)| {
            let rule = Rule { revisions_max: d.max_revisions, age_max_ms: d.max_age.map(Span::as_millis) };
            Some(Retirement { distribution: name.clone(), store: *fleet.stores.get(name)?, rule })
        };
        fleet.definitions.distributions.iter().filter_map(of_one).collect()
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retired {
    pub revisions: u64,
    pub objects: u64,
    pub bytes: u64,
}

/// One revision in a plan of what would go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fate {
    pub distribution: String,
    pub revision: u64,
    pub goes: bool,
    pub why: String,
    /// Content, uncompressed.
    pub bytes: u64,
}

/// One object in a plan of what would go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Garbage {
    pub distribution: String,
    pub object: String,
    pub bytes: u64,
    /// `to be condemned`, `condemned` or `deleting`.
    pub state: String,
    pub why: String,
    /// Milliseconds until its grace is over, if that has begun; 0 = it goes at the next collection.
    pub due_in_ms: Option<i64>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct GarbagePlan {
    pub revisions: Vec<Fate>,
    pub objects: Vec<Garbage>,
}

#[derive(Debug, Clone, FromQueryResult)]
pub(crate) struct LiveRow {
    pub number: i64,
    pub created_ms: i64,
    pub header: String,
    pub header_bytes: i64,
    pub index_digest: String,
    pub index_bytes: i64,
    pub bytes: i64,
}

#[derive(FromQueryResult)]
struct AgeRow {
    distribution: String,
    number: i64,
    created_ms: i64,
}

#[derive(FromQueryResult)]
struct PackRow {
    number: i64,
    digest: String,
    bytes: i64,
}

#[derive(FromQueryResult)]
struct Number {
    number: i64,
}

impl Records {
    /// Retires what the rules don't keep and condemns what only that needed. A leader's is fenced by its term.
    pub async fn retire(
        &self,
        term: Option<&Term>,
        rules: &[Retirement],
        times: &CollectTimes,
    ) -> Result<Retired, RecordsError> {
        let mut all = Retired::default();
        for rule in self.worth_a_look(rules).await? {
            let tx = match term {
                Some(term) => self.fenced(term).await?,
                None => self.begin().await?,
            };
            let retired = retire_in(&tx, rule, times).await?;
            tx.commit().await?;
            all.revisions += retired.revisions;
            all.objects += retired.objects;
            all.bytes += retired.bytes;
        }
        let tx = match term {
            Some(term) => self.fenced(term).await?,
            None => self.begin().await?,
        };
        let text = "DELETE FROM tide_condemned WHERE state = 'deleted' AND deleted_ms < $1 AND reusable_ms < $2";
        let now_ms = clock_ms();
        sql::exec(&tx, text, vec![(now_ms - DELETED_KEPT_MS).into(), now_ms.into()]).await?;
        tx.commit().await?;
        Ok(all)
    }

    /// Those under whose rule a revision would go, were it not needed.
    async fn worth_a_look<'r>(&self, rules: &'r [Retirement]) -> Result<Vec<&'r Retirement>, RecordsError> {
        let text =
            "SELECT distribution, number, created_ms FROM tide_revisions WHERE retired_ms IS NULL ORDER BY number";
        let rows: Vec<AgeRow> = sql::rows(self.reader(), text, vec![]).await?;
        let mut by_name: HashMap<String, Vec<Candidate>> = HashMap::new();
        for row in rows {
            let candidate = Candidate {
                number: row.number as u64,
                created_ms: row.created_ms,
                open_job: false,
                installed: false,
                held: false,
            };
            by_name.entry(row.distribution).or_default().push(candidate);
        }
        let now_ms = clock_ms();
        let goes = |rule: &&Retirement| {
            let candidates = by_name.get(rule.distribution.as_str());
            candidates.is_some_and(|all| judge(all, rule.rule, now_ms).iter().any(|(_, why)| !why.keeps()))
        };
        Ok(rules.iter().filter(goes).collect())
    }

    /// What a collection would do now, and why; nothing is changed. `all`: also in stores of distributions that are gone.
    pub async fn garbage(&self, rules: &[Retirement], all: bool) -> Result<GarbagePlan, RecordsError> {
        let mut plan = GarbagePlan::default();
        let now_ms = clock_ms();
        for rule in rules {
            let name = rule.distribution.to_string();
            let live = live(self.reader(), &name, "").await?;
            let fates = judge(&candidates(self.reader(), &name, &live).await?, rule.rule, now_ms);
            let going: BTreeSet<i64> = gone(&fates);
            for object in unneeded(self.reader(), &name, &live, &going).await? {
                plan.objects.push(Garbage {
                    distribution: name.clone(),
                    object: object.object,
                    bytes: object.bytes as u64,
                    state: "to be condemned".to_owned(),
                    why: object.why,
                    due_in_ms: None,
                });
            }
            for (row, (revision, why)) in live.iter().zip(fates) {
                let bytes = row.bytes as u64;
                let fate =
                    Fate { distribution: name.clone(), revision, goes: !why.keeps(), why: why.to_string(), bytes };
                plan.revisions.push(fate);
            }
        }
        let names: HashSet<&str> = rules.iter().map(|rule| rule.distribution.as_str()).collect();
        plan.objects.extend(condemned::waiting(self.reader(), now_ms).await?);
        plan.objects.retain(|object| all || names.contains(name_of(&object.distribution)));
        plan.objects.sort_by(|a, b| (&a.distribution, &a.object).cmp(&(&b.distribution, &b.object)));
        Ok(plan)
    }

    /// Asks for a collection if something is due and none is under way. True if it did.
    pub async fn ask_collection(&self, term: &Term, stores: &Fleet, list_every_ms: i64) -> Result<bool, RecordsError> {
        self.know_stores(term, stores).await?;
        if self.collections_due(list_every_ms).await?.is_empty() {
            return Ok(false);
        }
        let tx = self.fenced(term).await?;
        let open = "SELECT COUNT(*) FROM tide_requests WHERE kind = 'collect' AND state IN ('accepted', 'open')";
        let asked = match sql::number(&tx, open, vec![]).await?.unwrap_or(0) {
            0 => {
                let request = Request::new(RequestId(Uuid::now_v7()), RequestKind::Collect);
                requests::insert_own(&tx, &request, ORIGIN, clock_ms()).await?
            }
            _ => false,
        };
        tx.commit().await?;
        Ok(asked)
    }

    /// New stores are listed for the first time when they have stood for one interval.
    async fn know_stores(&self, term: &Term, fleet: &Fleet) -> Result<(), RecordsError> {
        let known: HashSet<String> =
            sql::texts(self.reader(), "SELECT store FROM tide_stores", vec![]).await?.into_iter().collect();
        let now_ms = clock_ms();
        let rows: Vec<Vec<Value>> = fleet
            .stores
            .iter()
            .filter(|(_, store)| !known.contains(&store.to_string()))
            .map(|(name, store)| vec![store.to_string().into(), name.to_string().into(), now_ms.into()])
            .collect();
        if rows.is_empty() {
            return Ok(());
        }
        let tx = self.fenced(term).await?;
        let head = "INSERT INTO tide_stores (store, distribution, listed_ms)";
        sql::insert_rows(&tx, head, &rows, "ON CONFLICT (store) DO NOTHING").await?;
        Ok(tx.commit().await?)
    }

    /// Stores in which something is to be deleted or looked for, each with the name of its distribution; those of
    /// distributions that are gone among them.
    pub async fn collections_due(&self, list_every_ms: i64) -> Result<Vec<DueStore>, RecordsError> {
        let text = "SELECT s.store, s.distribution, CASE WHEN s.gone_ms IS NULL THEN 0 ELSE 1 END AS gone,
                CASE WHEN s.listed_ms < $1 OR s.orphans_left > 0 OR s.gone_ms > s.listed_ms THEN 1 ELSE 0 END AS list
            FROM tide_stores s WHERE s.listed_ms < $1 OR s.orphans_left > 0 OR s.gone_ms > s.listed_ms
                OR EXISTS (SELECT 1 FROM tide_condemned c WHERE c.store = s.store AND c.state <> 'deleted' AND c.due_ms <= $2)
            ORDER BY s.distribution, s.store";
        let now_ms = clock_ms();
        let rows: Vec<DueRow> =
            sql::rows(self.reader(), text, vec![(now_ms - list_every_ms).into(), now_ms.into()]).await?;
        rows.into_iter().map(TryInto::try_into).collect()
    }

    /// All stores, to be collected because somebody asked.
    pub async fn stores(&self) -> Result<Vec<DueStore>, RecordsError> {
        let text = "SELECT store, distribution, CASE WHEN gone_ms IS NULL THEN 0 ELSE 1 END AS gone, 1 AS list
            FROM tide_stores ORDER BY distribution, store";
        let rows: Vec<DueRow> = sql::rows(self.reader(), text, vec![]).await?;
        rows.into_iter().map(TryInto::try_into).collect()
    }
}

/// Who asks for collections when nobody does.
pub const ORIGIN: &str = "retention";

/// A store that a collection is planned for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueStore {
    pub store: StoreId,
    /// As it was called, if it is gone.
    pub distribution: DistributionName,
    pub gone: bool,
    pub list: bool,
}

#[derive(FromQueryResult)]
struct DueRow {
    store: String,
    distribution: String,
    gone: i32,
    list: i32,
}

impl TryFrom<DueRow> for DueStore {
    type Error = RecordsError;

    fn try_from(row: DueRow) -> Result<DueStore, RecordsError> {
        let corrupt = |what: String| RecordsError::Corrupt(format!("store {}: {what}", row.store));
        Ok(DueStore {
            store: row.store.parse().map_err(|e| corrupt(format!("{e}")))?,
            distribution: row
                .distribution
                .as_str()
                .try_into()
                .map_err(|e: schemas::InvalidName| corrupt(e.to_string()))?,
            gone: row.gone == 1,
            list: row.list == 1,
        })
    }
}

async fn retire_in(tx: &DatabaseTransaction, rule: &Retirement, times: &CollectTimes) -> Result<Retired, RecordsError> {
    let name = rule.distribution.to_string();
    let lane = BTreeSet::from([Lane::Build(rule.distribution.clone())]);
    lanes::ensure(tx, &lane).await?;
    lanes::lock(tx, &lane.iter().map(Lane::to_string).collect()).await?;
    // Whoever plans work for one of these has committed, or waits and then sees that it is retired.
    let live = live(tx, &name, "{for_update}").await?;
    let now_ms = clock_ms();
    let fates = judge(&candidates(tx, &name, &live).await?, rule.rule, now_ms);
    let going = gone(&fates);
    let objects = unneeded(tx, &name, &live, &going).await?;
    for (number, why) in fates.iter().filter(|(_, why)| !why.keeps()) {
        let text =
            "UPDATE tide_revisions SET retired_ms = $3, retired_why = $4 WHERE distribution = $1 AND number = $2";
        let values: Vec<Value> =
            vec![name.clone().into(), (*number as i64).into(), now_ms.into(), why.to_string().into()];
        sql::exec(tx, text, values).await?;
        let text = "DELETE FROM tide_packs WHERE distribution = $1 AND number = $2";
        sql::exec(tx, text, vec![name.clone().into(), (*number as i64).into()]).await?;
    }
    condemned::condemn(tx, rule.store, &name, &objects, now_ms, now_ms + times.grace_ms).await?;
    Ok(Retired {
        revisions: going.len() as u64,
        objects: objects.len() as u64,
        bytes: objects.iter().map(|object| object.bytes as u64).sum(),
    })
}

fn gone(fates: &[(u64, Why)]) -> BTreeSet<i64> {
    fates.iter().filter(|(_, why)| !why.keeps()).map(|(number, _)| *number as i64).collect()
}

async fn live(c: &impl ConnectionTrait, distribution: &str, lock: &str) -> Result<Vec<LiveRow>, RecordsError> {
    let text = format!(
        "SELECT number, created_ms, header, header_bytes, index_digest, index_bytes, bytes FROM tide_revisions
        WHERE distribution = $1 AND retired_ms IS NULL ORDER BY number {lock}"
    );
    Ok(sql::rows(c, &text, vec![distribution.into()]).await?)
}

async fn candidates(
    c: &impl ConnectionTrait,
    distribution: &str,
    live: &[LiveRow],
) -> Result<Vec<Candidate>, RecordsError> {
    // What was recorded of subscribers that are not defined any more holds nothing back.
    let defined = "EXISTS (SELECT 1 FROM tide_objects o WHERE o.kind = 'subscriber' AND o.name = h.subscriber)";
    let open =
        "SELECT DISTINCT revision AS number FROM tide_jobs WHERE distribution = $1 AND kind IN ('send', 'extract')
        AND state IN ('waiting', 'queued', 'running') AND revision IS NOT NULL";
    let installed = format!(
        "SELECT DISTINCT extracted_revision AS number FROM tide_holdings h WHERE distribution = $1
            AND extracted_revision IS NOT NULL AND {defined}"
    );
    let held = format!(
        "SELECT stored_revision AS number FROM tide_holdings h WHERE distribution = $1 AND stored_revision IS NOT NULL AND {defined}
        UNION SELECT revision FROM tide_kept h WHERE distribution = $1 AND {defined}"
    );
    let numbers = async |text: &str| -> Result<HashSet<i64>, RecordsError> {
        let rows: Vec<Number> = sql::rows(c, text, vec![distribution.into()]).await?;
        Ok(rows.into_iter().map(|row| row.number).collect())
    };
    let (open, installed, held) = (numbers(open).await?, numbers(&installed).await?, numbers(&held).await?);
    let candidate = |row: &LiveRow| Candidate {
        number: row.number as u64,
        created_ms: row.created_ms,
        open_job: open.contains(&row.number),
        installed: installed.contains(&row.number),
        held: held.contains(&row.number),
    };
    Ok(live.iter().map(candidate).collect())
}

/// The objects that only the revisions `going` name.
async fn unneeded(
    c: &impl ConnectionTrait,
    distribution: &str,
    live: &[LiveRow],
    going: &BTreeSet<i64>,
) -> Result<Vec<ObjectRow>, RecordsError> {
    if going.is_empty() {
        return Ok(Vec::new());
    }
    let text = "SELECT number, digest, bytes FROM tide_packs WHERE distribution = $1 ORDER BY number, digest";
    let packs: Vec<PackRow> = sql::rows(c, text, vec![distribution.into()]).await?;
    let named = live
        .iter()
        .flat_map(|row| {
            let header = (row.number, condemned::header(&row.header), row.header_bytes);
            [header, (row.number, condemned::index(&row.index_digest), row.index_bytes)]
        })
        .chain(packs.iter().map(|pack| (pack.number, condemned::pack(&pack.digest), pack.bytes)));
    let (going, staying): (Vec<_>, Vec<_>) = named.partition(|(number, ..)| going.contains(number));
    let needed: HashSet<String> = staying.into_iter().map(|(_, object, _)| object).collect();
    let mut seen = HashSet::new();
    let mut objects = Vec::new();
    for (number, object, bytes) in going {
        if !needed.contains(&object) && seen.insert(object.clone()) {
            objects.push(ObjectRow { object, bytes, why: format!("only retired revision {number} named it") });
        }
    }
    Ok(objects)
}

/// Keeps the revisions that jobs are planned for from being retired until this transaction ends.
pub(crate) async fn pin(tx: &DatabaseTransaction, jobs: &[PlannedJob]) -> Result<(), RecordsError> {
    let named: BTreeSet<(&str, u64)> =
        jobs.iter().filter_map(|job| Some((job.distribution.as_str(), job.revision?))).collect();
    for (distribution, number) in named {
        let text = "SELECT COALESCE(r.retired_ms, 0) FROM tide_revisions r
            WHERE r.distribution = $1 AND r.number = $2 {share_r}";
        let retired_ms = sql::number(tx, text, vec![distribution.into(), (number as i64).into()]).await?;
        if retired_ms.is_some_and(|at| at > 0) {
            let reason = format!("revision {number} of {distribution} was retired while work for it was planned");
            return Err(RecordsError::Unavailable { reason });
        }
    }
    Ok(())
}

/// The newest revision, kept from being retired until this transaction ends.
pub(crate) async fn pin_newest(c: &impl ConnectionTrait, distribution: &str) -> Result<Option<i64>, RecordsError> {
    let text = "SELECT r.number FROM tide_revisions r WHERE r.distribution = $1 AND r.retired_ms IS NULL
        ORDER BY r.number DESC LIMIT 1 {share_r}";
    // A row that was retired while its lock was waited for is left out: a newer one stands in its place then.
    for _ in 0..2 {
        if let Some(number) = sql::number(c, text, vec![distribution.into()]).await? {
            return Ok(Some(number));
        }
    }
    Ok(None)
}

/// What the distribution was is set aside under a name that no distribution can have: another one of its name begins anew.
/// Its store is emptied by listings.
pub(crate) async fn set_aside(
    tx: &DatabaseTransaction,
    name: &str,
    store: &str,
    now_ms: i64,
) -> Result<(), RecordsError> {
    let text = "INSERT INTO tide_stores (store, distribution, gone_ms, listed_ms) VALUES ($1, $2, $3, 0)
        ON CONFLICT (store) DO UPDATE SET gone_ms = excluded.gone_ms, listed_ms = 0";
    sql::exec(tx, text, vec![store.into(), name.into(), now_ms.into()]).await?;
    let text = "UPDATE tide_revisions SET distribution = $2, retired_ms = COALESCE(retired_ms, $3),
        retired_why = COALESCE(retired_why, 'the distribution was deleted') WHERE distribution = $1";
    sql::exec(tx, text, vec![name.into(), format!("{name}@{store}").into(), now_ms.into()]).await?;
    forgets::of_store(tx, name, store).await?;
    for table in ["tide_packs", "tide_holdings", "tide_kept"] {
        sql::exec(tx, &format!("DELETE FROM {table} WHERE distribution = $1"), vec![name.into()]).await?;
    }
    let text = "UPDATE tide_condemned SET distribution = $2 WHERE distribution = $1";
    sql::exec(tx, text, vec![name.into(), format!("{name}@{store}").into()]).await?;
    Ok(())
}

/// Also of one that was set aside.
fn name_of(distribution: &str) -> &str {
    distribution.split('@').next().unwrap_or_default()
}

/// Fields of a distribution's definition that a site is told of.
#[derive(Deserialize)]
struct Declared {
    max_revisions: Option<u32>,
    max_age: Option<Span>,
    #[serde(default)]
    delete_before_receive: bool,
}

#[derive(FromQueryResult)]
struct SpecRow {
    name: String,
    spec: String,
}

/// What sites keep of these distributions.
pub(crate) async fn keeps(
    c: &impl ConnectionTrait,
    distributions: &BTreeSet<String>,
) -> Result<HashMap<String, Keep>, RecordsError> {
    let names: Vec<String> = distributions.iter().cloned().collect();
    if names.is_empty() {
        return Ok(HashMap::new());
    }
    let list = sql::list(1, names.len());
    let text = format!(
        "SELECT name, COALESCE(in_effect, spec) AS spec FROM tide_objects WHERE kind = 'distribution' AND name IN ({list})"
    );
    let mut keeps = HashMap::new();
    for row in sql::rows::<SpecRow>(c, &text, sql::values(&names)).await? {
        let declared: Declared = serde_json::from_str(&row.spec)?;
        let rule = Rule {
            revisions_max: declared.max_revisions.unwrap_or(REVISIONS_DEFAULT),
            age_max_ms: declared.max_age.map(Span::as_millis),
        };
        let from = match rule.age_max_ms {
            Some(_) => oldest_kept(&aged(c, &row.name).await?, rule, clock_ms()),
            None => 0,
        };
        let keep = Keep { revisions: rule.revisions_max, from, delete_first: declared.delete_before_receive };
        keeps.insert(row.name, keep);
    }
    Ok(keeps)
}

/// What `max_revisions` is where it is left out.
const REVISIONS_DEFAULT: u32 = 10;

async fn aged(c: &impl ConnectionTrait, distribution: &str) -> Result<Vec<Candidate>, RecordsError> {
    let candidate = |row: LiveRow| Candidate {
        number: row.number as u64,
        created_ms: row.created_ms,
        open_job: false,
        installed: false,
        held: false,
    };
    Ok(live(c, distribution, "").await?.into_iter().map(candidate).collect())
}
