//! Lanes: made when first used, and locked in the order of their names by whoever inserts, ends or promotes in them.

use std::collections::BTreeSet;

use schemas::Lane;
use sea_orm::{ConnectionTrait, FromQueryResult, Value};

use crate::db::{Records, RecordsError};
use crate::{BUILD_LANE_DEPTH, SITE_LANE_DEPTH, sql};

#[derive(Debug, Clone, FromQueryResult)]
pub(crate) struct LockedLane {
    pub name: String,
    pub next_seq: i64,
    pub paused: i32,
}

pub(crate) async fn ensure(c: &impl ConnectionTrait, lanes: &BTreeSet<Lane>) -> Result<(), RecordsError> {
    let rows: Vec<Vec<Value>> = lanes.iter().map(row).collect();
    let head = "INSERT INTO tide_lanes (name, subscriber, channel, distribution, depth)";
    sql::insert_rows(c, head, &rows, "ON CONFLICT (name) DO NOTHING").await?;
    Ok(())
}

fn row(lane: &Lane) -> Vec<Value> {
    let (subscriber, channel, distribution, depth) = match lane {
        Lane::Build(distribution) => (None, None, Some(distribution.to_string()), BUILD_LANE_DEPTH),
        Lane::Site(site) => (Some(site.subscriber.to_string()), Some(site.channel.to_string()), None, SITE_LANE_DEPTH),
    };
    vec![lane.to_string().into(), subscriber.into(), channel.into(), distribution.into(), depth.into()]
}

/// Locks until the transaction ends; absent lanes are left out.
pub(crate) async fn lock(c: &impl ConnectionTrait, names: &BTreeSet<String>) -> Result<Vec<LockedLane>, RecordsError> {
    let names: Vec<&String> = names.iter().collect();
    let mut locked = Vec::with_capacity(names.len());
    for part in names.chunks(sql::rows_per_statement(1)) {
        let text = format!(
            "SELECT name, next_seq, paused FROM tide_lanes WHERE name IN ({}) ORDER BY name {{for_update}}",
            sql::list(1, part.len())
        );
        let values = part.iter().map(|name| name.as_str().into()).collect();
        locked.extend(sql::rows::<LockedLane>(c, &text, values).await?);
    }
    Ok(locked)
}

/// The lanes of these jobs and of every open job that waits for one of them, however far down.
pub(crate) async fn around(c: &impl ConnectionTrait, jobs: &[String]) -> Result<BTreeSet<String>, RecordsError> {
    let mut lanes = BTreeSet::new();
    for part in jobs.chunks(sql::rows_per_statement(2)) {
        let ids = sql::list(1, part.len());
        let text = format!(
            "WITH RECURSIVE behind(id) AS (
                SELECT job_id FROM tide_job_waits WHERE awaited_id IN ({ids})
                UNION SELECT w.job_id FROM tide_job_waits w JOIN behind b ON w.awaited_id = b.id
            )
            SELECT lane FROM tide_jobs WHERE id IN ({ids})
            UNION SELECT j.lane FROM tide_jobs j JOIN behind b ON b.id = j.id
                WHERE j.state IN ('waiting', 'queued', 'running')"
        );
        lanes.extend(sql::texts(c, &text, sql::values(part)).await?);
    }
    Ok(lanes)
}

impl Records {
    /// Changes how many jobs of a site's lane are published at a time, for all lanes that exist and are made later by this
    /// process: a measurement's knob.
    #[doc(hidden)]
    pub async fn set_site_lane_depth(&self, depth: i32) -> Result<(), RecordsError> {
        sql::exec(self.writer(), "UPDATE tide_lanes SET depth = $1 WHERE subscriber IS NOT NULL", vec![depth.into()])
            .await?;
        Ok(())
    }
}
