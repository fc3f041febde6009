//! Now, by the database's clock, without asking it each time: what it said last, and what has passed since by this process's own
//! steady clock. It does not know the time of this machine: one scheduler's may be an hour off, and what it claims for a while must be
//! free again for the others when that while is over.

use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use sea_orm::ConnectionTrait;

use crate::db::RecordsError;
use crate::sql;

/// The database is asked again after so long; two steady clocks do not drift apart by a millisecond within it.
const HEARD_FOR: Duration = Duration::from_secs(30);
/// A machine that slept, or whose time was set, asks again at once: its two clocks differ by more than this.
const STEP_MAX: Duration = Duration::from_secs(1);

/// A process has one database.
static HEARD: Mutex<Option<Heard>> = Mutex::new(None);

#[derive(Debug, Clone, Copy)]
struct Heard {
    at: Instant,
    wall: SystemTime,
    database_ms: i64,
}

impl Heard {
    fn now_ms(&self) -> i64 {
        self.database_ms + self.at.elapsed().as_millis() as i64
    }

    fn is_fresh(&self) -> bool {
        let steady = self.at.elapsed();
        // An error says that the wall clock was set back.
        let stepped = self.wall.elapsed().map_or(true, |wall| wall.abs_diff(steady) > STEP_MAX);
        steady < HEARD_FOR && !stepped
    }
}

/// Milliseconds since 1970. Before the database has been asked, by this machine's clock.
pub(crate) fn clock_ms() -> i64 {
    heard().map_or_else(machine_ms, |heard| heard.now_ms())
}

/// Asks the database if it was asked too long ago.
pub(crate) async fn listen(c: &impl ConnectionTrait) -> Result<(), RecordsError> {
    if heard().is_some_and(|heard| heard.is_fresh()) {
        return Ok(());
    }
    ask(c).await.map(drop)
}

/// Now, as the database says this moment.
pub(crate) async fn ask(c: &impl ConnectionTrait) -> Result<i64, RecordsError> {
    let asked = Instant::now();
    let told = sql::number(c, "SELECT {now_ms}", vec![]).await?;
    let database_ms = told.ok_or_else(|| RecordsError::Corrupt("the database told no time".into()))?;
    // It answered somewhere between the question and now.
    let at = asked + asked.elapsed() / 2;
    *HEARD.lock().unwrap_or_else(|broken| broken.into_inner()) =
        Some(Heard { at, wall: SystemTime::now(), database_ms });
    Ok(database_ms)
}

fn heard() -> Option<Heard> {
    *HEARD.lock().unwrap_or_else(|broken| broken.into_inner())
}

fn machine_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_of_the_wall_clock_makes_it_ask_again_and_moves_nothing() {
        let hour = Duration::from_secs(3_600);
        let now = SystemTime::now();
        let heard = |wall| Heard { at: Instant::now(), wall, database_ms: 5 };
        assert!(heard(now).is_fresh());
        for wall in [now - hour, now + hour] {
            let stepped = heard(wall);
            assert!(!stepped.is_fresh());
            assert!(stepped.now_ms() < 1_000);
        }
    }
}
