//! How often work is tried and how long it waits in between.

/// Attempts of a job before it fails for good (SPEC D8).
pub const ATTEMPTS_MAX: u32 = 5;
/// The first wait between two attempts.
pub const BACKOFF_FIRST_MS: i64 = 2_000;
/// No wait is longer.
pub const BACKOFF_MAX_MS: i64 = 600_000;

/// Milliseconds before `attempt` (2 is the first retry): doubling, of which half is spread by `seed` so that a thousand
/// sites that failed together don't come back together.
pub fn backoff_ms(attempt: u32, seed: u64) -> i64 {
    let doublings = attempt.saturating_sub(2).min(20);
    let whole = (BACKOFF_FIRST_MS << doublings).min(BACKOFF_MAX_MS);
    let spread = (seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33) as i64 % (whole / 2 + 1);
    whole / 2 + spread
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_doubles_within_its_bounds_and_differs_by_seed() {
        for attempt in 2..40 {
            for seed in 0..50 {
                let whole = (BACKOFF_FIRST_MS << (attempt - 2).min(20)).min(BACKOFF_MAX_MS);
                let wait = backoff_ms(attempt, seed);
                assert!(wait >= whole / 2 && wait <= whole, "attempt {attempt}: {wait}");
            }
        }
        assert_ne!(backoff_ms(5, 1), backoff_ms(5, 2));
    }
}
