//! Several consoles on one database (SPEC S9): whose each object is, and triggers that keep a sync to its owner and `core` to one
//! console for each subscriber, whichever program writes.
//!
//! A change of a sync must say who makes it: `changed_by` is `CONSOLE/VERSION` of this very change. A statement that leaves it
//! as it was, or names another console than the owner, is refused; so is one that would change the owner. Deleting is free.

use sea_orm::{ConnectionTrait, DatabaseBackend, DatabaseTransaction, DbErr};

use crate::Migration;
use crate::sql::run;

pub struct Consoles;

#[async_trait::async_trait]
impl Migration for Consoles {
    fn name(&self) -> &'static str {
        "m0050_consoles"
    }

    async fn up(&self, db: &DatabaseTransaction) -> Result<(), DbErr> {
        run(db, UP).await?;
        run(db, if is_postgres(db) { POSTGRES } else { SQLITE }).await
    }

    async fn down(&self, db: &DatabaseTransaction) -> Result<(), DbErr> {
        run(db, if is_postgres(db) { POSTGRES_DOWN } else { SQLITE_DOWN }).await?;
        run(db, DOWN).await
    }
}

fn is_postgres(db: &DatabaseTransaction) -> bool {
    db.get_database_backend() == DatabaseBackend::Postgres
}

/// `tide_core_owners` holds the one console that may sync `core` to a subscriber; every sync that does so refers to it.
const UP: &str = "
ALTER TABLE tide_objects ADD COLUMN console TEXT NOT NULL DEFAULT 'main';
ALTER TABLE tide_objects ADD COLUMN changed_by TEXT;

CREATE TABLE tide_core_owners (
    subscriber TEXT PRIMARY KEY,
    console TEXT NOT NULL,
    UNIQUE (subscriber, console)
);
CREATE TABLE tide_core_syncs (
    sync TEXT PRIMARY KEY,
    subscriber TEXT NOT NULL,
    console TEXT NOT NULL,
    FOREIGN KEY (subscriber, console) REFERENCES tide_core_owners (subscriber, console)
);
CREATE INDEX tide_core_syncs_subscriber ON tide_core_syncs (subscriber);
";

const DOWN: &str = "
DROP TABLE tide_core_syncs;
DROP TABLE tide_core_owners;
DELETE FROM tide_objects WHERE kind = 'sync';
ALTER TABLE tide_objects DROP COLUMN changed_by;
ALTER TABLE tide_objects DROP COLUMN console;
";

// In a body no statement ends at a line's end: that is where scripts are taken apart.

const SQLITE: &str = "
CREATE TRIGGER tide_sync_made BEFORE INSERT ON tide_objects WHEN NEW.kind = 'sync' BEGIN \
    SELECT RAISE(ABORT, 'tidegate:sync-owner-differs') WHERE NEW.changed_by IS NOT NEW.console || '/' || NEW.version; \
END;
CREATE TRIGGER tide_sync_changed BEFORE UPDATE ON tide_objects WHEN (OLD.kind = 'sync' OR NEW.kind = 'sync') \
    AND (NEW.kind <> OLD.kind OR NEW.name <> OLD.name OR NEW.spec <> OLD.spec OR NEW.console <> OLD.console) BEGIN \
    SELECT RAISE(ABORT, 'tidegate:sync-owner-differs') WHERE NEW.kind <> OLD.kind OR NEW.console <> OLD.console \
        OR NEW.version <= OLD.version OR NEW.changed_by IS NOT OLD.console || '/' || NEW.version; \
END;
CREATE TRIGGER tide_core_made AFTER INSERT ON tide_objects WHEN NEW.kind = 'sync' \
    AND EXISTS (SELECT 1 FROM json_each(NEW.spec, '$.components') WHERE value IN ('core', 'all')) BEGIN \
    INSERT INTO tide_core_owners (subscriber, console) \
        SELECT json_extract(NEW.spec, '$.subscriber'), NEW.console WHERE true ON CONFLICT (subscriber) DO NOTHING; \
    SELECT RAISE(ABORT, 'tidegate:core-owner-differs') WHERE EXISTS (SELECT 1 FROM tide_core_owners w \
        WHERE w.subscriber = json_extract(NEW.spec, '$.subscriber') AND w.console <> NEW.console); \
    INSERT INTO tide_core_syncs (sync, subscriber, console) \
        VALUES (NEW.name, json_extract(NEW.spec, '$.subscriber'), NEW.console); \
END;
CREATE TRIGGER tide_core_gone AFTER DELETE ON tide_objects WHEN OLD.kind = 'sync' BEGIN \
    DELETE FROM tide_core_syncs WHERE sync = OLD.name; \
    DELETE FROM tide_core_owners WHERE subscriber = json_extract(OLD.spec, '$.subscriber') \
        AND NOT EXISTS (SELECT 1 FROM tide_core_syncs s WHERE s.subscriber = tide_core_owners.subscriber); \
END;
CREATE TRIGGER tide_core_changed AFTER UPDATE OF name, spec ON tide_objects WHEN NEW.kind = 'sync' BEGIN \
    DELETE FROM tide_core_syncs WHERE sync = OLD.name; \
    DELETE FROM tide_core_owners WHERE subscriber = json_extract(OLD.spec, '$.subscriber') \
        AND NOT EXISTS (SELECT 1 FROM tide_core_syncs s WHERE s.subscriber = tide_core_owners.subscriber); \
    INSERT INTO tide_core_owners (subscriber, console) SELECT json_extract(NEW.spec, '$.subscriber'), NEW.console \
        WHERE EXISTS (SELECT 1 FROM json_each(NEW.spec, '$.components') WHERE value IN ('core', 'all')) \
        ON CONFLICT (subscriber) DO NOTHING; \
    SELECT RAISE(ABORT, 'tidegate:core-owner-differs') \
        WHERE EXISTS (SELECT 1 FROM json_each(NEW.spec, '$.components') WHERE value IN ('core', 'all')) \
        AND EXISTS (SELECT 1 FROM tide_core_owners w \
            WHERE w.subscriber = json_extract(NEW.spec, '$.subscriber') AND w.console <> NEW.console); \
    INSERT INTO tide_core_syncs (sync, subscriber, console) \
        SELECT NEW.name, json_extract(NEW.spec, '$.subscriber'), NEW.console \
        WHERE EXISTS (SELECT 1 FROM json_each(NEW.spec, '$.components') WHERE value IN ('core', 'all')); \
END;
CREATE TRIGGER tide_sync_asked BEFORE INSERT ON tide_requests WHEN NEW.kind = 'sync' BEGIN \
    SELECT RAISE(ABORT, 'tidegate:sync-owner-differs') WHERE EXISTS (SELECT 1 \
        FROM json_each(NEW.body, '$.selector.syncs') s JOIN tide_objects o ON o.kind = 'sync' AND o.name = s.value \
        WHERE o.console IS NOT NEW.console); \
    SELECT RAISE(ABORT, 'tidegate:core-owner-differs') WHERE EXISTS (SELECT 1 \
        FROM json_each(NEW.body, '$.selector.subscribers') s JOIN tide_core_owners w ON w.subscriber = s.value \
        WHERE w.console IS NOT NEW.console) \
        AND (NOT EXISTS (SELECT 1 FROM json_each(NEW.body, '$.selector.components')) \
            OR EXISTS (SELECT 1 FROM json_each(NEW.body, '$.selector.components') WHERE value IN ('core', 'all'))); \
END;
CREATE TRIGGER tide_sync_asked_otherwise BEFORE UPDATE OF kind, body, console ON tide_requests \
    WHEN NEW.kind = 'sync' OR OLD.kind = 'sync' BEGIN \
    SELECT RAISE(ABORT, 'tidegate:sync-owner-differs') WHERE NEW.kind <> OLD.kind OR NEW.body <> OLD.body \
        OR NEW.console IS NOT OLD.console; \
END;
";

const SQLITE_DOWN: &str = "
DROP TRIGGER tide_sync_asked_otherwise;
DROP TRIGGER tide_sync_asked;
DROP TRIGGER tide_core_changed;
DROP TRIGGER tide_core_gone;
DROP TRIGGER tide_core_made;
DROP TRIGGER tide_sync_changed;
DROP TRIGGER tide_sync_made;
";

const POSTGRES: &str = "
CREATE FUNCTION tide_is_core(components jsonb) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$ \
    SELECT components @> '[\"core\"]' OR components @> '[\"all\"]' $$;
CREATE FUNCTION tide_sync_guard() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
    IF TG_OP = 'UPDATE' AND NEW.kind = OLD.kind AND NEW.name = OLD.name AND NEW.spec = OLD.spec AND NEW.console = OLD.console \
        THEN RETURN NEW; END IF; \
    IF NEW.changed_by IS DISTINCT FROM NEW.console || '/' || NEW.version THEN \
        RAISE EXCEPTION 'tidegate:sync-owner-differs'; END IF; \
    IF TG_OP = 'UPDATE' AND (NEW.kind <> OLD.kind OR NEW.console <> OLD.console OR NEW.version <= OLD.version) THEN \
        RAISE EXCEPTION 'tidegate:sync-owner-differs'; END IF; \
    RETURN NEW; END $$;
CREATE TRIGGER tide_sync_made BEFORE INSERT ON tide_objects FOR EACH ROW WHEN (NEW.kind = 'sync') EXECUTE FUNCTION tide_sync_guard();
CREATE TRIGGER tide_sync_changed BEFORE UPDATE ON tide_objects FOR EACH ROW WHEN (OLD.kind = 'sync' OR NEW.kind = 'sync')
    EXECUTE FUNCTION tide_sync_guard();
CREATE FUNCTION tide_core_keep() RETURNS trigger LANGUAGE plpgsql AS $$ DECLARE target TEXT; owner TEXT; BEGIN \
    IF TG_OP <> 'INSERT' THEN \
        target := OLD.spec::jsonb ->> 'subscriber'; \
        DELETE FROM tide_core_syncs WHERE sync = OLD.name; \
        DELETE FROM tide_core_owners w WHERE w.subscriber = target \
            AND NOT EXISTS (SELECT 1 FROM tide_core_syncs s WHERE s.subscriber = w.subscriber); \
    END IF; \
    IF TG_OP <> 'DELETE' AND tide_is_core(NEW.spec::jsonb -> 'components') THEN \
        target := NEW.spec::jsonb ->> 'subscriber'; \
        INSERT INTO tide_core_owners (subscriber, console) VALUES (target, NEW.console) ON CONFLICT (subscriber) DO NOTHING; \
        SELECT w.console INTO owner FROM tide_core_owners w WHERE w.subscriber = target; \
        IF owner IS DISTINCT FROM NEW.console THEN RAISE EXCEPTION 'tidegate:core-owner-differs'; END IF; \
        INSERT INTO tide_core_syncs (sync, subscriber, console) VALUES (NEW.name, target, NEW.console); \
    END IF; \
    RETURN NULL; END $$;
CREATE TRIGGER tide_core_made AFTER INSERT ON tide_objects FOR EACH ROW WHEN (NEW.kind = 'sync') EXECUTE FUNCTION tide_core_keep();
CREATE TRIGGER tide_core_gone AFTER DELETE ON tide_objects FOR EACH ROW WHEN (OLD.kind = 'sync') EXECUTE FUNCTION tide_core_keep();
CREATE TRIGGER tide_core_changed AFTER UPDATE OF name, spec ON tide_objects FOR EACH ROW WHEN (NEW.kind = 'sync')
    EXECUTE FUNCTION tide_core_keep();
CREATE FUNCTION tide_sync_asked() RETURNS trigger LANGUAGE plpgsql AS $$ DECLARE asked jsonb; BEGIN \
    IF TG_OP = 'UPDATE' THEN \
        IF NEW.kind <> OLD.kind OR NEW.body <> OLD.body OR NEW.console IS DISTINCT FROM OLD.console THEN \
            RAISE EXCEPTION 'tidegate:sync-owner-differs'; END IF; \
        RETURN NEW; END IF; \
    asked := NEW.body::jsonb -> 'selector'; \
    IF EXISTS (SELECT 1 FROM tide_objects o WHERE o.kind = 'sync' AND o.console IS DISTINCT FROM NEW.console \
        AND asked -> 'syncs' @> to_jsonb(o.name)) THEN RAISE EXCEPTION 'tidegate:sync-owner-differs'; END IF; \
    IF (asked -> 'components' IS NULL OR asked -> 'components' = '[]' OR tide_is_core(asked -> 'components')) \
        AND EXISTS (SELECT 1 FROM tide_core_owners w WHERE w.console IS DISTINCT FROM NEW.console \
            AND asked -> 'subscribers' @> to_jsonb(w.subscriber)) \
        THEN RAISE EXCEPTION 'tidegate:core-owner-differs'; END IF; \
    RETURN NEW; END $$;
CREATE TRIGGER tide_sync_asked BEFORE INSERT ON tide_requests FOR EACH ROW WHEN (NEW.kind = 'sync') EXECUTE FUNCTION tide_sync_asked();
CREATE TRIGGER tide_sync_asked_otherwise BEFORE UPDATE OF kind, body, console ON tide_requests FOR EACH ROW
    WHEN (NEW.kind = 'sync' OR OLD.kind = 'sync') EXECUTE FUNCTION tide_sync_asked();
";

const POSTGRES_DOWN: &str = "
DROP TRIGGER tide_sync_asked_otherwise ON tide_requests;
DROP TRIGGER tide_sync_asked ON tide_requests;
DROP TRIGGER tide_core_changed ON tide_objects;
DROP TRIGGER tide_core_gone ON tide_objects;
DROP TRIGGER tide_core_made ON tide_objects;
DROP TRIGGER tide_sync_changed ON tide_objects;
DROP TRIGGER tide_sync_made ON tide_objects;
DROP FUNCTION tide_sync_asked();
DROP FUNCTION tide_core_keep();
DROP FUNCTION tide_sync_guard();
DROP FUNCTION tide_is_core(jsonb);
";
