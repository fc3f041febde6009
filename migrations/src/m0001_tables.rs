//! All tables. Times are milliseconds since 1970 (`_ms`), ids are text, states are words with a CHECK behind them.

use sea_orm::{DatabaseTransaction, DbErr};

use crate::Migration;
use crate::sql::run;

pub struct Tables;

#[async_trait::async_trait]
impl Migration for Tables {
    fn name(&self) -> &'static str {
        "m0001_tables"
    }

    async fn up(&self, db: &DatabaseTransaction) -> Result<(), DbErr> {
        run(db, UP).await
    }

    async fn down(&self, db: &DatabaseTransaction) -> Result<(), DbErr> {
        for table in TABLES.iter().rev() {
            run(db, &format!("DROP TABLE IF EXISTS {table}")).await?;
        }
        Ok(())
    }
}

const TABLES: [&str; 18] = [
    "tide_meta",
    "tide_leases",
    "tide_objects",
    "tide_targets",
    "tide_settings",
    "tide_sites",
    "tide_requests",
    "tide_lanes",
    "tide_jobs",
    "tide_request_jobs",
    "tide_job_waits",
    "tide_job_events",
    "tide_revisions",
    "tide_packs",
    "tide_holdings",
    "tide_schedules",
    "tide_occurrences",
    "tide_dead_letters",
];

const UP: &str = "
CREATE TABLE tide_meta (
    name TEXT PRIMARY KEY,
    number BIGINT NOT NULL
);
INSERT INTO tide_meta (name, number) VALUES
    ('fleet_version', 0), ('epoch', 1), ('created_seq', 0), ('reports_through_ms', 0), ('listening_since_ms', 0), ('heard_ms', 0);

CREATE TABLE tide_leases (
    name TEXT PRIMARY KEY,
    holder TEXT NOT NULL,
    term BIGINT NOT NULL,
    until_ms BIGINT NOT NULL
);

CREATE TABLE tide_objects (
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    spec TEXT NOT NULL,
    title TEXT,
    version BIGINT NOT NULL,
    created_seq BIGINT NOT NULL,
    store TEXT,
    created_ms BIGINT NOT NULL,
    changed_ms BIGINT NOT NULL,
    PRIMARY KEY (kind, name)
);

CREATE TABLE tide_targets (
    channel TEXT NOT NULL,
    distribution TEXT NOT NULL,
    subscriber TEXT NOT NULL,
    active INTEGER NOT NULL,
    why TEXT NOT NULL,
    PRIMARY KEY (subscriber, distribution, channel)
);
CREATE INDEX tide_targets_channel ON tide_targets (channel, distribution);

CREATE TABLE tide_settings (
    subscriber TEXT PRIMARY KEY,
    version BIGINT NOT NULL,
    settings TEXT NOT NULL,
    sent_version BIGINT NOT NULL DEFAULT 0
);

CREATE TABLE tide_sites (
    subscriber TEXT PRIMARY KEY,
    public_key TEXT,
    url TEXT,
    program_version TEXT,
    settings_version BIGINT NOT NULL DEFAULT 0,
    first_presence_ms BIGINT,
    presence_ms BIGINT,
    presence_before_ms BIGINT,
    silent_since_ms BIGINT,
    open_jobs TEXT NOT NULL DEFAULT '[]',
    children_version BIGINT NOT NULL DEFAULT 0,
    children_sent TEXT NOT NULL DEFAULT ''
);

CREATE TABLE tide_requests (
    id TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    body TEXT NOT NULL,
    digest TEXT NOT NULL,
    console TEXT,
    origin TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('accepted', 'open', 'succeeded', 'failed', 'cancelled')),
    claimed_until_ms BIGINT NOT NULL DEFAULT 0,
    note TEXT,
    error_code TEXT,
    created_ms BIGINT NOT NULL,
    planned_ms BIGINT,
    ended_ms BIGINT
);
CREATE INDEX tide_requests_accepted ON tide_requests (created_ms) WHERE state = 'accepted';
CREATE INDEX tide_requests_open ON tide_requests (id) WHERE state = 'open';

CREATE TABLE tide_lanes (
    name TEXT PRIMARY KEY,
    subscriber TEXT,
    channel TEXT,
    distribution TEXT,
    depth INTEGER NOT NULL,
    next_seq BIGINT NOT NULL DEFAULT 1,
    paused INTEGER NOT NULL DEFAULT 0
);

CREATE TABLE tide_jobs (
    id TEXT PRIMARY KEY,
    request_id TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('build', 'send', 'extract')),
    lane TEXT NOT NULL,
    distributor TEXT NOT NULL,
    distribution TEXT NOT NULL,
    channel TEXT,
    subscriber TEXT,
    revision BIGINT,
    priority INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('waiting', 'queued', 'running', 'succeeded', 'failed', 'cancelled')),
    attempt INTEGER NOT NULL DEFAULT 1,
    attempts_max INTEGER NOT NULL,
    not_before_ms BIGINT NOT NULL DEFAULT 0,
    task TEXT NOT NULL,
    carried_by TEXT,
    retry_of TEXT,
    seq_epoch BIGINT,
    seq_n BIGINT,
    claimed_until_ms BIGINT NOT NULL DEFAULT 0,
    published_ms BIGINT,
    publications INTEGER NOT NULL DEFAULT 0,
    lease_until_ms BIGINT,
    cancel_requested_ms BIGINT,
    worker TEXT,
    note TEXT,
    error_code TEXT,
    error TEXT,
    result TEXT,
    bytes_content BIGINT,
    bytes_needed BIGINT,
    bytes_moved BIGINT,
    files_changed BIGINT,
    took_ms BIGINT,
    progress TEXT,
    progress_ms BIGINT,
    created_ms BIGINT NOT NULL,
    place INTEGER NOT NULL,
    queued_ms BIGINT,
    started_ms BIGINT,
    ended_ms BIGINT
);
CREATE UNIQUE INDEX tide_jobs_one_running ON tide_jobs (lane) WHERE state = 'running';
CREATE UNIQUE INDEX tide_jobs_one_open ON tide_jobs (kind, subscriber, distribution, revision)
    WHERE state IN ('waiting', 'queued', 'running') AND kind <> 'build' AND revision IS NOT NULL;
CREATE INDEX tide_jobs_lane_open ON tide_jobs (lane, priority, created_ms, place, id) WHERE state IN ('waiting', 'queued', 'running');
CREATE INDEX tide_jobs_unpublished ON tide_jobs (claimed_until_ms) WHERE state = 'queued' AND published_ms IS NULL;
CREATE INDEX tide_jobs_open_site ON tide_jobs (subscriber, distribution) WHERE state IN ('waiting', 'queued', 'running');
CREATE INDEX tide_jobs_carried ON tide_jobs (carried_by) WHERE carried_by IS NOT NULL;
CREATE INDEX tide_jobs_distribution ON tide_jobs (distribution, kind, ended_ms);
CREATE INDEX tide_jobs_subscriber ON tide_jobs (subscriber, distribution, kind, created_ms);

CREATE TABLE tide_request_jobs (
    request_id TEXT NOT NULL,
    job_id TEXT NOT NULL,
    PRIMARY KEY (request_id, job_id)
);
CREATE INDEX tide_request_jobs_job ON tide_request_jobs (job_id);

CREATE TABLE tide_job_waits (
    job_id TEXT NOT NULL,
    awaited_id TEXT NOT NULL,
    on_bad TEXT NOT NULL CHECK (on_bad IN ('fail', 'proceed')),
    patience_ms BIGINT,
    until_ms BIGINT,
    PRIMARY KEY (job_id, awaited_id)
);
CREATE INDEX tide_job_waits_awaited ON tide_job_waits (awaited_id);

CREATE TABLE tide_job_events (
    id {serial},
    job_id TEXT NOT NULL,
    at_ms BIGINT NOT NULL,
    attempt INTEGER NOT NULL,
    event TEXT NOT NULL,
    worker TEXT,
    detail TEXT
);
CREATE INDEX tide_job_events_job ON tide_job_events (job_id, id);

CREATE TABLE tide_revisions (
    distribution TEXT NOT NULL,
    number BIGINT NOT NULL,
    header TEXT NOT NULL,
    header_bytes BIGINT NOT NULL,
    index_digest TEXT NOT NULL,
    index_bytes BIGINT NOT NULL,
    files BIGINT NOT NULL,
    directories BIGINT NOT NULL,
    links BIGINT NOT NULL,
    bytes BIGINT NOT NULL,
    stored_bytes BIGINT NOT NULL,
    new_bytes BIGINT NOT NULL,
    job_id TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    PRIMARY KEY (distribution, number)
);

CREATE TABLE tide_packs (
    distribution TEXT NOT NULL,
    number BIGINT NOT NULL,
    digest TEXT NOT NULL,
    bytes BIGINT NOT NULL,
    PRIMARY KEY (distribution, number, digest)
);

CREATE TABLE tide_holdings (
    subscriber TEXT NOT NULL,
    distribution TEXT NOT NULL,
    stored_revision BIGINT,
    stored_ms BIGINT,
    extracted_revision BIGINT,
    extracted_ms BIGINT,
    target TEXT,
    pinned INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (subscriber, distribution)
);

CREATE TABLE tide_schedules (
    name TEXT PRIMARY KEY,
    verb TEXT NOT NULL,
    object TEXT NOT NULL,
    spec TEXT NOT NULL,
    anchor_ms BIGINT NOT NULL,
    next_due_ms BIGINT,
    last_nominal_ms BIGINT,
    last_request TEXT
);
CREATE INDEX tide_schedules_due ON tide_schedules (next_due_ms) WHERE next_due_ms IS NOT NULL;

CREATE TABLE tide_occurrences (
    schedule TEXT NOT NULL,
    nominal_ms BIGINT NOT NULL,
    fired_ms BIGINT NOT NULL,
    term BIGINT NOT NULL,
    request_id TEXT NOT NULL,
    PRIMARY KEY (schedule, nominal_ms)
);

CREATE TABLE tide_dead_letters (
    id TEXT PRIMARY KEY,
    queue TEXT NOT NULL,
    code TEXT NOT NULL,
    reason TEXT NOT NULL,
    body TEXT NOT NULL,
    job_id TEXT,
    state TEXT NOT NULL CHECK (state IN ('kept', 'replayed', 'dropped')),
    created_ms BIGINT NOT NULL,
    ended_ms BIGINT
);
";
