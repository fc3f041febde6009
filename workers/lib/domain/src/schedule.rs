//! When a schedule is due. It does not know what is done then, and reads no clock.
//! This version has three kinds; calendars, windows and zones take their place here later.

use schemas::Schedule;

/// One instant that a schedule named, and how many before it were passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// Milliseconds since 1970; with the schedule it names the occurrence.
    pub nominal_ms: i64,
    pub missed: u64,
}

/// The first instant strictly after `after_ms`. `every N` names `anchor_ms + k * N` for k from 0 (SPEC §10, 9);
/// `never` and `immediately` name none: the second is driven by what happens, not by time.
pub fn next_due(schedule: &Schedule, anchor_ms: i64, after_ms: i64) -> Option<i64> {
    let every_ms = schedule.every()?.as_millis();
    if after_ms < anchor_ms {
        return Some(anchor_ms);
    }
    let passed = after_ms.checked_sub(anchor_ms)? / every_ms;
    anchor_ms.checked_add(passed.checked_add(1)?.checked_mul(every_ms)?)
}

/// The latest instant in `(last_ms, now_ms]`: catch-up `one` (SPEC §10, 13). `last_ms` is the last occurrence, or the
/// anchor of a schedule just applied.
pub fn due(schedule: &Schedule, anchor_ms: i64, last_ms: i64, now_ms: i64) -> Option<Due> {
    let every_ms = schedule.every()?.as_millis();
    let first_ms = next_due(schedule, anchor_ms, last_ms)?;
    let beyond_ms = now_ms.checked_sub(first_ms).filter(|beyond| *beyond >= 0)?;
    let missed = beyond_ms / every_ms;
    Some(Due { nominal_ms: first_ms + missed * every_ms, missed: missed as u64 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use schemas::Span;
    use schemas::schedule::Every;

    fn every(seconds: u64) -> Schedule {
        Schedule::Every(Every { every: Span::from_secs(seconds) })
    }

    #[test]
    fn every_counts_from_its_anchor_and_is_never_due_twice() {
        let anchor = 1_000_000;
        assert_eq!(next_due(&every(60), anchor, anchor), Some(anchor + 60_000));
        assert_eq!(next_due(&every(60), anchor, anchor + 59_999), Some(anchor + 60_000));
        assert_eq!(next_due(&every(60), anchor, anchor + 60_000), Some(anchor + 120_000));
        assert_eq!(next_due(&every(60), anchor, anchor - 1), Some(anchor));
    }

    #[test]
    fn never_and_immediately_are_never_due_by_time() {
        for schedule in [Schedule::NEVER, Schedule::IMMEDIATELY] {
            assert_eq!(next_due(&schedule, 0, 10), None);
            assert_eq!(due(&schedule, 0, 0, i64::MAX), None);
        }
    }

    #[test]
    fn after_an_outage_one_occurrence_is_made_up_for_under_its_nominal_instant() {
        assert_eq!(due(&every(60), 0, 60_000, 119_999), None);
        assert_eq!(due(&every(60), 0, 60_000, 120_000), Some(Due { nominal_ms: 120_000, missed: 0 }));
        assert_eq!(due(&every(60), 0, 60_000, 605_000), Some(Due { nominal_ms: 600_000, missed: 8 }));
    }

    #[test]
    fn a_clock_that_jumps_back_or_to_the_end_of_time_names_nothing_wrong() {
        assert_eq!(due(&every(60), 0, 600_000, 0), None);
        assert_eq!(next_due(&every(60), i64::MAX - 5, i64::MAX - 1), None);
        assert_eq!(next_due(&every(1), i64::MIN, i64::MAX), None);
    }

    proptest! {
        #[test]
        fn what_is_due_is_the_last_instant_up_to_now(
            seconds in 1u64..1_000_000, anchor in -1_000_000_000i64..1_000_000_000,
            last in 0i64..1_000_000_000, wait in 0i64..10_000_000_000,
        ) {
            let (schedule, last) = (every(seconds), anchor + last);
            let now = last + wait;
            match due(&schedule, anchor, last, now) {
                Some(due) => {
                    prop_assert!(last < due.nominal_ms && due.nominal_ms <= now);
                    prop_assert_eq!((due.nominal_ms - anchor) % (seconds as i64 * 1_000), 0);
                    prop_assert!(next_due(&schedule, anchor, due.nominal_ms).unwrap() > now);
                }
                None => prop_assert!(next_due(&schedule, anchor, last).unwrap() > now),
            }
        }
    }
}
