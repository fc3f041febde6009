//! Retention and garbage collection: when a revision was retired, what sites hold, what is condemned at the origin.

use sea_orm::{ConnectionTrait, DatabaseBackend, DatabaseTransaction, DbErr, Statement};

use crate::Migration;
use crate::sql::run;

pub struct Retention;

#[async_trait::async_trait]
impl Migration for Retention {
    fn name(&self) -> &'static str {
        "m0020_retention"
    }

    async fn up(&self, db: &DatabaseTransaction) -> Result<(), DbErr> {
        allow_kinds(db, KINDS_BEFORE, KINDS).await?;
        run(db, UP).await
    }

    async fn down(&self, db: &DatabaseTransaction) -> Result<(), DbErr> {
        run(db, DOWN).await?;
        allow_kinds(db, KINDS, KINDS_BEFORE).await
    }
}

const KINDS_BEFORE: &str = "kind IN ('build', 'send', 'extract')";
const KINDS: &str = "kind IN ('build', 'send', 'extract', 'collect')";

/// Exchanges the check on a job's kind. SQLite cannot alter one; its own way for changes that touch no row is to edit the
/// table's text in the schema (sqlite.org/lang_altertable.html, section 7).
async fn allow_kinds(db: &DatabaseTransaction, before: &str, after: &str) -> Result<(), DbErr> {
    if db.get_database_backend() == DatabaseBackend::Postgres {
        let text = format!(
            "ALTER TABLE tide_jobs DROP CONSTRAINT IF EXISTS tide_jobs_kind_check;\n
            ALTER TABLE tide_jobs ADD CONSTRAINT tide_jobs_kind_check CHECK ({after});\n"
        );
        return run(db, &text).await;
    }
    let quoted = |text: &str| text.replace('\'', "''");
    let version = db.query_one_raw(Statement::from_string(DatabaseBackend::Sqlite, "PRAGMA schema_version")).await?;
    let version: i64 = version.map(|row| row.try_get_by_index(0)).transpose()?.unwrap_or(0);
    db.execute_unprepared("PRAGMA writable_schema = ON").await?;
    let text = format!(
        "UPDATE sqlite_schema SET sql = replace(sql, '{}', '{}') WHERE type = 'table' AND name = 'tide_jobs'",
        quoted(before),
        quoted(after)
    );
    db.execute_unprepared(&text).await?;
    // Every connection reads the schema again.
    db.execute_unprepared(&format!("PRAGMA schema_version = {}", version + 1)).await?;
    db.execute_unprepared("PRAGMA writable_schema = OFF").await?;
    Ok(())
}

const UP: &str = "
ALTER TABLE tide_revisions ADD COLUMN store TEXT;
ALTER TABLE tide_revisions ADD COLUMN retired_ms BIGINT;
ALTER TABLE tide_revisions ADD COLUMN retired_why TEXT;
UPDATE tide_revisions SET store =
    (SELECT o.store FROM tide_objects o WHERE o.kind = 'distribution' AND o.name = tide_revisions.distribution);
CREATE INDEX tide_revisions_live ON tide_revisions (store) WHERE retired_ms IS NULL;
CREATE INDEX tide_holdings_distribution ON tide_holdings (distribution);

CREATE TABLE tide_kept (
    subscriber TEXT NOT NULL,
    distribution TEXT NOT NULL,
    revision BIGINT NOT NULL,
    as_of_ms BIGINT NOT NULL,
    PRIMARY KEY (subscriber, distribution, revision)
);
CREATE INDEX tide_kept_distribution ON tide_kept (distribution, revision);

CREATE TABLE tide_stores (
    store TEXT PRIMARY KEY,
    distribution TEXT NOT NULL,
    gone_ms BIGINT,
    listed_ms BIGINT NOT NULL,
    objects BIGINT,
    bytes BIGINT,
    orphans_left BIGINT NOT NULL DEFAULT 0,
    orphans_after TEXT
);
INSERT INTO tide_stores (store, distribution, listed_ms)
    SELECT store, name, 0 FROM tide_objects WHERE kind = 'distribution' AND store IS NOT NULL;

CREATE TABLE tide_condemned (
    store TEXT NOT NULL,
    object TEXT NOT NULL,
    distribution TEXT NOT NULL,
    bytes BIGINT NOT NULL,
    why TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('condemned', 'deleting', 'deleted')),
    job_id TEXT,
    condemned_ms BIGINT NOT NULL,
    due_ms BIGINT NOT NULL,
    reusable_ms BIGINT NOT NULL DEFAULT 0,
    deleted_ms BIGINT,
    PRIMARY KEY (store, object)
);
CREATE INDEX tide_condemned_due ON tide_condemned (due_ms) WHERE state <> 'deleted';

DROP VIEW revisions;
CREATE VIEW revisions AS
SELECT r.distribution, r.number AS revision,
    CASE WHEN r.number = (SELECT MAX(n.number) FROM tide_revisions n WHERE n.distribution = r.distribution) THEN 1 ELSE 0 END AS current,
    r.files, r.directories, r.links, r.bytes, r.stored_bytes, r.new_bytes, r.index_bytes, r.header, r.job_id,
    {time:r.created_ms} AS created_at,
    CASE WHEN r.retired_ms IS NULL THEN 'kept' ELSE 'retired' END AS state,
    {time:r.retired_ms} AS retired_at, r.retired_why
FROM tide_revisions r;

CREATE VIEW garbage AS
SELECT c.distribution, c.store, c.object, c.bytes, c.why, c.state, c.job_id, {time:c.condemned_ms} AS condemned_at,
    {time:c.due_ms} AS due_at, {time:c.deleted_ms} AS deleted_at
FROM tide_condemned c;
";

const DOWN: &str = "
DROP VIEW garbage;
DROP VIEW revisions;
DROP TABLE tide_condemned;
DROP TABLE tide_stores;
DROP TABLE tide_kept;
DROP INDEX tide_holdings_distribution;
DROP INDEX tide_revisions_live;
ALTER TABLE tide_revisions DROP COLUMN retired_why;
ALTER TABLE tide_revisions DROP COLUMN retired_ms;
ALTER TABLE tide_revisions DROP COLUMN store;
DELETE FROM tide_jobs WHERE kind = 'collect';
CREATE VIEW revisions AS
SELECT r.distribution, r.number AS revision,
    CASE WHEN r.number = (SELECT MAX(n.number) FROM tide_revisions n WHERE n.distribution = r.distribution) THEN 1 ELSE 0 END AS current,
    r.files, r.directories, r.links, r.bytes, r.stored_bytes, r.new_bytes, r.index_bytes, r.header, r.job_id,
    {time:r.created_ms} AS created_at
FROM tide_revisions r;
";
