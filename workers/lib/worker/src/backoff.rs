//! How long to wait before trying again. It knows no clock and no randomness: the seed is an argument.

use std::time::Duration;

const FIRST_MS: u64 = 100;
const LONGEST_MS: u64 = 30_000;

/// 0.1 s, doubled with each attempt (from 0) up to 30 s; 50 to 100 % of it, by the seed.
pub fn backoff(attempt: u32, seed: u64) -> Duration {
    let whole_ms = FIRST_MS.saturating_mul(1 << attempt.min(20)).min(LONGEST_MS);
    let half_ms = whole_ms / 2;
    Duration::from_millis(half_ms + scatter(seed ^ u64::from(attempt)) % (half_ms + 1))
}

/// Spreads neighbouring seeds over all numbers (the finaliser of SplitMix64).
fn scatter(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_grows_stays_within_its_bounds_and_is_the_same_for_the_same_seed() {
        for seed in 0..200 {
            for attempt in 0..40 {
                let whole = Duration::from_millis((100u64 << attempt.min(20)).min(30_000));
                let wait = backoff(attempt, seed);
                assert!(wait >= whole / 2 && wait <= whole, "{attempt} {seed}: {wait:?}");
                assert_eq!(wait, backoff(attempt, seed));
            }
        }
        assert_ne!(backoff(6, 1), backoff(6, 2));
        assert_eq!(backoff(u32::MAX, 7).max(Duration::from_secs(30)), Duration::from_secs(30));
    }
}
