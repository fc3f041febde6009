//! Runs migrations, each in a transaction with the note that it ran: whatever happens, a database is at one version or the next.
//! It knows no table but its own.

use sea_orm::{
    ConnectionTrait, DatabaseBackend, DatabaseConnection, DatabaseTransaction, DbErr, SqliteTransactionMode, Statement,
    TransactionOptions, TransactionTrait,
};

use crate::{ALL, Migration};

/// Named as earlier versions named it.
const NOTES: &str =
    "CREATE TABLE IF NOT EXISTS seaql_migrations (version VARCHAR(255) PRIMARY KEY, applied_at BIGINT NOT NULL)";
/// Processes that start together follow each other. Any number does that nobody else locks by.
const ONE_AT_A_TIME: &str = "SELECT pg_advisory_xact_lock(8430117201)";

/// Runs what has not run yet; safe to call by several processes at once.
pub async fn up(db: &DatabaseConnection) -> Result<(), DbErr> {
    for migration in ALL {
        let tx = begin(db).await?;
        if !has_run(&tx, migration).await? {
            migration.up(&tx).await?;
            note(&tx, "INSERT INTO seaql_migrations (version, applied_at) VALUES ('{name}', {now_s})", migration)
                .await?;
            tracing::debug!(migration = migration.name(), "the database was migrated");
        }
        tx.commit().await?;
    }
    Ok(())
}

/// Undoes all that has run, the last first: every table and view goes.
pub async fn down(db: &DatabaseConnection) -> Result<(), DbErr> {
    for migration in ALL.into_iter().rev() {
        let tx = begin(db).await?;
        if has_run(&tx, migration).await? {
            migration.down(&tx).await?;
            note(&tx, "DELETE FROM seaql_migrations WHERE version = '{name}'", migration).await?;
        }
        tx.commit().await?;
    }
    Ok(())
}

/// On SQLite there is one writer: whoever writes first, the others wait.
async fn begin(db: &DatabaseConnection) -> Result<DatabaseTransaction, DbErr> {
    let immediate = Some(SqliteTransactionMode::Immediate);
    let options = TransactionOptions { sqlite_transaction_mode: immediate, ..TransactionOptions::default() };
    let tx = db.begin_with_options(options).await?;
    if tx.get_database_backend() == DatabaseBackend::Postgres {
        tx.execute_unprepared(ONE_AT_A_TIME).await?;
    }
    tx.execute_unprepared(NOTES).await?;
    Ok(tx)
}

async fn has_run(tx: &DatabaseTransaction, migration: &dyn Migration) -> Result<bool, DbErr> {
    let text = format!("SELECT version FROM seaql_migrations WHERE version = '{}'", migration.name());
    let row = tx.query_one_raw(Statement::from_string(tx.get_database_backend(), text)).await?;
    Ok(row.is_some())
}

async fn note(tx: &DatabaseTransaction, text: &str, migration: &dyn Migration) -> Result<(), DbErr> {
    let now_s = "{now_ms} / 1000";
    crate::sql::run(tx, &text.replace("{name}", migration.name()).replace("{now_s}", now_s)).await
}
