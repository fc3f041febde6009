//! What a scheduler does about the occurrences between the last one that it judged and now: which one starts, which were missed,
//! when to look again (SPEC S5; §10, 13). It does not know what else is running.

use schemas::schedule::CatchUp;

use super::{Occurrence, Schedule};

/// How late an occurrence may be found and still count as one that nobody missed, in milliseconds: a takeover and a few ticks.
pub const ON_TIME_MS: i64 = 60_000;
/// Missed occurrences of one schedule that `all` makes up for; what is older is told and left.
pub const CAUGHT_UP_MAX: u64 = 100;
/// Occurrences of one schedule whose work runs side by side (`overlap: beside`).
pub const BESIDE_MAX: usize = 4;
/// Missed occurrences are counted so far; the figure then means "so many or more".
pub const COUNTED_MAX: u64 = 10_000;

/// Occurrences that will not happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Missed {
    pub count: u64,
    pub first_nominal_ms: i64,
    pub last_nominal_ms: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Judgement {
    /// Starts now.
    pub start: Option<Occurrence>,
    pub missed: Option<Missed>,
    /// Everything up to here has been judged.
    pub through_ms: i64,
    /// When to judge again.
    pub next_ms: Option<i64>,
}

impl Schedule {
    /// Judges the occurrences that start in `(through_ms, now_ms]`.
    pub fn judge(&self, through_ms: i64, now_ms: i64) -> Judgement {
        let nothing = |next_ms| Judgement { start: None, missed: None, through_ms, next_ms };
        let Some(first) = self.next(through_ms) else { return nothing(None) };
        if first.start_ms > now_ms {
            return nothing(Some(first.start_ms));
        }
        let Some(last) = self.latest(through_ms, now_ms) else { return nothing(Some(first.start_ms)) };
        match self.catch_up {
            CatchUp::None => self.only_on_time(first, last, now_ms),
            CatchUp::One => self.only_the_latest(first, last, through_ms, now_ms),
            CatchUp::All => self.one_after_the_other(first, through_ms, now_ms),
        }
    }

    fn only_on_time(&self, first: Occurrence, last: Occurrence, now_ms: i64) -> Judgement {
        let is_on_time = last.start_ms >= now_ms - ON_TIME_MS && self.is_open(now_ms);
        let through_ms = last.start_ms;
        Judgement {
            start: is_on_time.then_some(last),
            missed: self.missed(first, last, !is_on_time),
            through_ms,
            next_ms: self.next(now_ms).map(|next| next.start_ms),
        }
    }

    /// While no window is open the latest one waits for the next: nothing of it is judged yet.
    fn only_the_latest(&self, first: Occurrence, last: Occurrence, through_ms: i64, now_ms: i64) -> Judgement {
        if !self.is_open(now_ms) {
            return Judgement { start: None, missed: None, through_ms, next_ms: self.next_look(now_ms) };
        }
        Judgement {
            start: Some(last),
            missed: self.missed(first, last, false),
            through_ms: last.start_ms,
            next_ms: self.next(now_ms).map(|next| next.start_ms),
        }
    }

    fn one_after_the_other(&self, first: Occurrence, through_ms: i64, now_ms: i64) -> Judgement {
        if !self.is_open(now_ms) {
            return Judgement { start: None, missed: None, through_ms, next_ms: self.next_look(now_ms) };
        }
        let oldest = self.oldest_caught_up(first, now_ms);
        let missed = (oldest != first).then(|| self.latest(through_ms, oldest.start_ms - 1)).flatten();
        Judgement {
            start: Some(oldest),
            missed: missed.and_then(|last| self.missed(first, last, true)),
            through_ms: oldest.start_ms,
            next_ms: self.next(oldest.start_ms).map(|next| next.start_ms),
        }
    }

    fn next_look(&self, now_ms: i64) -> Option<i64> {
        let next_ms = self.next(now_ms).map(|next| next.start_ms);
        self.next_opening(now_ms).into_iter().chain(next_ms).min()
    }

    /// The first of the last `CAUGHT_UP_MAX` occurrences up to now, found by bisection.
    fn oldest_caught_up(&self, first: Occurrence, now_ms: i64) -> Occurrence {
        let up_to_now = |after_ms: i64| self.next(after_ms).filter(|found| found.start_ms <= now_ms);
        let fits = |after_ms: i64| {
            up_to_now(after_ms).is_none_or(|found| self.count(found, now_ms, CAUGHT_UP_MAX + 1) <= CAUGHT_UP_MAX)
        };
        let (mut too_many_ms, mut fits_ms) = (first.start_ms - 1, now_ms);
        if fits(too_many_ms) {
            return first;
        }
        while fits_ms - too_many_ms > 1 {
            let middle_ms = too_many_ms + (fits_ms - too_many_ms) / 2;
            if fits(middle_ms) { fits_ms = middle_ms } else { too_many_ms = middle_ms }
        }
        up_to_now(fits_ms).unwrap_or(first)
    }

    /// Those from `first` to `last`, with the last or without it.
    fn missed(&self, first: Occurrence, last: Occurrence, with_last: bool) -> Option<Missed> {
        let until_ms = if with_last { last.start_ms } else { last.start_ms - 1 };
        let count = if first.start_ms > until_ms { 0 } else { self.count(first, until_ms, COUNTED_MAX) };
        if count == 0 {
            return None;
        }
        let end = self.latest(first.start_ms - 1, until_ms).unwrap_or(first);
        Some(Missed { count, first_nominal_ms: first.nominal_ms, last_nominal_ms: end.nominal_ms })
    }

    fn count(&self, first: Occurrence, until_ms: i64, max: u64) -> u64 {
        let mut count = 0;
        let mut next = Some(first);
        while let Some(found) = next.filter(|found| found.start_ms <= until_ms && count < max) {
            count += 1;
            next = self.next(found.start_ms);
        }
        count
    }
}
