//! A rate that many transfers share: bytes are paid for before they move, first come, first served. It knows nothing of what
//! moves, nor in which direction.

use std::fmt;
use std::num::NonZeroU64;
use std::time::Duration;

use tokio::sync::{Mutex, watch};
use tokio::time::Instant;

/// Unused time that may be made up for: a link that was idle does not then get a burst of hours.
const SAVED_MAX: Duration = Duration::from_millis(250);
/// How much moves between two payments, in time of the rate.
const PART_TIME: Duration = Duration::from_millis(250);
/// Parts no smaller, so that a slow rate does not drown in round trips.
const PART_BYTES_MIN: u64 = 16 << 10;
/// Parts no larger, so that many transfers take turns.
const PART_BYTES_MAX: u64 = 4 << 20;

/// No rate is no limit. A change counts at once, also for whoever waits.
pub struct Pace {
    rate: watch::Sender<Option<NonZeroU64>>,
    line: Mutex<Account>,
}

/// Bytes that may move now; below zero they moved already and are being paid for.
struct Account {
    bytes: f64,
    as_of: Instant,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace::new(None)
    }
}

impl Pace {
    pub fn new(bytes_per_s: Option<u64>) -> Pace {
        let (rate, _) = watch::channel(bytes_per_s.and_then(NonZeroU64::new));
        Pace { rate, line: Mutex::new(Account { bytes: 0.0, as_of: Instant::now() }) }
    }

    pub fn set(&self, bytes_per_s: Option<u64>) {
        let new = bytes_per_s.and_then(NonZeroU64::new);
        self.rate.send_if_modified(|rate| std::mem::replace(rate, new) != new);
    }

    pub fn bytes_per_s(&self) -> Option<u64> {
        self.rate.borrow().map(NonZeroU64::get)
    }

    /// How much should be paid for at a time; `None`: there is no limit.
    pub fn part_bytes(&self) -> Option<u64> {
        let rate = self.bytes_per_s()?;
        Some(((rate as f64 * PART_TIME.as_secs_f64()) as u64).clamp(PART_BYTES_MIN, PART_BYTES_MAX))
    }

    /// Returns when so many bytes may move. Whoever gives up waiting has paid nothing.
    pub async fn take(&self, bytes: u64) {
        let mut rate = self.rate.subscribe();
        if rate.borrow_and_update().is_none() {
            return;
        }
        let mut account = self.line.lock().await;
        loop {
            let Some(bytes_per_s) = *rate.borrow_and_update() else { return };
            let bytes_per_s = bytes_per_s.get() as f64;
            account.earn(bytes_per_s, Instant::now());
            if account.bytes >= 0.0 {
                account.bytes -= bytes as f64;
                return;
            }
            let owed = Duration::from_secs_f64(-account.bytes / bytes_per_s).max(Duration::from_millis(1));
            tokio::select! {
                () = tokio::time::sleep(owed) => {}
                changed = rate.changed() => if changed.is_err() { return },
            }
        }
    }
}

impl Account {
    fn earn(&mut self, bytes_per_s: f64, now: Instant) {
        let earned = now.duration_since(self.as_of).as_secs_f64() * bytes_per_s;
        self.bytes = (self.bytes + earned).min(bytes_per_s * SAVED_MAX.as_secs_f64());
        self.as_of = now;
    }
}

impl fmt::Debug for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pace").field("bytes_per_s", &self.bytes_per_s()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    const MIB: u64 = 1 << 20;

    async fn time_of(pace: &Arc<Pace>, takers: u64, takes: u64, bytes: u64) -> Duration {
        let began = Instant::now();
        let all = (0..takers).map(|_| {
            let pace = pace.clone();
            tokio::spawn(async move {
                for _ in 0..takes {
                    pace.take(bytes).await;
                }
            })
        });
        for taker in all.collect::<Vec<_>>() {
            taker.await.unwrap();
        }
        began.elapsed()
    }

    #[tokio::test]
    async fn all_who_share_a_pace_move_no_more_than_its_rate_together() {
        let pace = Arc::new(Pace::new(Some(10 * MIB)));
        let took = time_of(&pace, 4, 5, MIB / 2).await;
        assert!(took >= Duration::from_millis(900), "10 MiB at 10 MiB/s took {took:?}");
        assert!(took < Duration::from_secs(5), "10 MiB at 10 MiB/s took {took:?}");
    }

    #[tokio::test]
    async fn without_a_rate_nobody_waits() {
        assert!(time_of(&Arc::new(Pace::default()), 4, 100, u64::MAX / 2).await < Duration::from_secs(1));
    }

    #[tokio::test]
    async fn a_new_rate_counts_for_those_who_wait() {
        let pace = Arc::new(Pace::new(Some(1)));
        pace.take(MIB).await;
        let waiting = tokio::spawn({
            let pace = pace.clone();
            async move { pace.take(1).await }
        });
        pace.set(None);
        tokio::time::timeout(Duration::from_secs(5), waiting).await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn who_gives_up_waiting_pays_nothing() {
        let pace = Arc::new(Pace::new(Some(MIB)));
        pace.take(MIB / 10).await;
        let gave_up = tokio::time::timeout(Duration::from_millis(1), pace.take(u64::MAX / 2)).await;
        assert!(gave_up.is_err());
        tokio::time::timeout(Duration::from_secs(5), pace.take(1)).await.unwrap();
    }

    #[test]
    fn an_idle_hour_is_not_made_up_for() {
        let now = Instant::now();
        let mut account = Account { bytes: -5.0, as_of: now };
        account.earn(100.0, now + Duration::from_millis(50));
        assert!(account.bytes.abs() < 0.001, "{}", account.bytes);
        account.earn(100.0, now + Duration::from_secs(3_600));
        assert_eq!(account.bytes, 25.0);
    }
}
