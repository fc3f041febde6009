//! Rows for what did not happen. It does not know who is told of them.

use domain::schedule::Missed;
use sea_orm::ConnectionTrait;

use crate::db::RecordsError;
use crate::sql;

/// Nothing was running when these were due, and they are not made up for.
pub(super) const MISSED: &str = "occurrence-missed";
/// The last one's work still ran, and the schedule says `overlap: skip`.
pub(super) const SKIPPED: &str = "occurrence-skipped";
/// The rule in the database is not one that this version reads.
const UNREADABLE: &str = "schedule-unreadable";

pub(super) async fn missed(
    c: &impl ConnectionTrait,
    schedule: &str,
    missed: &Missed,
    now_ms: i64,
) -> Result<(), RecordsError> {
    let message = match missed.count {
        1 => format!("{schedule}: 1 occurrence did not happen: no scheduler was there for it"),
        n => format!("{schedule}: {n} occurrences did not happen: no scheduler was there for them"),
    };
    write(c, MISSED, schedule, missed, &message, now_ms).await
}

/// One rule that cannot be read must not hold up the others.
pub(super) async fn unreadable(
    c: &impl ConnectionTrait,
    schedule: &str,
    nominal_ms: i64,
    why: &RecordsError,
    now_ms: i64,
) -> Result<(), RecordsError> {
    let missed = Missed { count: 1, first_nominal_ms: nominal_ms, last_nominal_ms: nominal_ms };
    let message = format!("{schedule}: its rule cannot be read, and is due no more until it is applied anew: {why}");
    write(c, UNREADABLE, schedule, &missed, &message, now_ms).await
}

pub(super) async fn write(
    c: &impl ConnectionTrait,
    code: &str,
    schedule: &str,
    missed: &Missed,
    message: &str,
    now_ms: i64,
) -> Result<(), RecordsError> {
    let text =
        "INSERT INTO tide_alerts (code, schedule, occurrences, first_nominal_ms, last_nominal_ms, message, at_ms)
        VALUES ($1, $2, $3, $4, $5, $6, $7)";
    let values = vec![
        code.into(),
        schedule.into(),
        (missed.count as i64).into(),
        missed.first_nominal_ms.into(),
        missed.last_nominal_ms.into(),
        message.into(),
        now_ms.into(),
    ];
    sql::exec(c, text, values).await?;
    Ok(())
}
