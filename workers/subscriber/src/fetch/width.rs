//! How many requests of one fetch run at a time: as many as make it faster, within bounds. It hears what came and when, and
//! knows no source, no frame and no clock.

use std::time::Duration;

pub const WIDTH_FIRST: usize = 4;
pub const WIDTH_MIN: usize = 1;
pub const WIDTH_MAX: usize = 16;

/// Requests that are looked at together, for each that runs at a time: those that began before the last change end in the
/// first half.
const TURNS: usize = 2;
/// Looks in a row without another try, once a wider one was no faster.
const REST_LOOKS: u32 = 6;
/// A wider one must bring this part of what it would bring if nothing but the number of requests bounded the rate.
const GAIN_PART: u64 = 3;
/// Below one part in so many of what was reached before, the link is another one: it is learnt anew.
const LOST_PART: u64 = 2;

#[derive(Debug, Clone)]
pub struct Width {
    now: usize,
    /// What came since the last look.
    bytes: u64,
    ended: usize,
    looked: Duration,
    /// Width and bytes per second of the last look that counted.
    before: Option<(usize, u64)>,
    rest: u32,
}

impl Default for Width {
    fn default() -> Width {
        Width { now: WIDTH_FIRST, bytes: 0, ended: 0, looked: Duration::ZERO, before: None, rest: 0 }
    }
}

impl Width {
    pub fn now(&self) -> usize {
        self.now
    }

    /// A request brought so many bytes; `at` is the time since the fetch began.
    pub fn came(&mut self, bytes: u64, at: Duration) {
        self.bytes += bytes;
        self.ended += 1;
        let took = at.saturating_sub(self.looked);
        if self.ended < TURNS * self.now || took.is_zero() {
            return;
        }
        let rate = (u128::from(self.bytes) * 1_000_000 / took.as_micros().max(1)) as u64;
        (self.bytes, self.ended, self.looked) = (0, 0, at);
        self.decide(rate);
    }

    /// A source gave nothing: whoever is overloaded is not helped by more.
    pub fn failed(&mut self) {
        self.go_to(self.now / 2);
        self.before = None;
        self.rest = REST_LOOKS;
    }

    fn decide(&mut self, rate: u64) {
        let Some((width, reached)) = self.before else {
            self.before = Some((self.now, rate));
            return self.widen_unless_resting();
        };
        if rate < reached / LOST_PART {
            self.before = None;
            return self.go_to(self.now / 2);
        }
        if self.now == width {
            self.before = Some((width, rate));
            return self.widen_unless_resting();
        }
        let ideal = reached * (self.now - width) as u64 / width as u64;
        if rate >= reached + ideal / GAIN_PART {
            self.before = Some((self.now, rate));
            return self.go_to(self.now + (self.now / 2).max(1));
        }
        self.rest = REST_LOOKS;
        self.go_to(width);
    }

    fn widen_unless_resting(&mut self) {
        match self.rest.checked_sub(1) {
            Some(left) => self.rest = left,
            None => self.go_to(self.now + (self.now / 2).max(1)),
        }
    }

    fn go_to(&mut self, width: usize) {
        self.now = width.clamp(WIDTH_MIN, WIDTH_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST_BYTES: u64 = 1 << 20;

    /// Requests one round after the other: each takes the link's delay, and all share its rate.
    fn after(width: &mut Width, rounds: usize, at: &mut Duration, delay: Duration, bytes_per_s: u64) -> Vec<usize> {
        let mut seen = Vec::new();
        for _ in 0..rounds {
            let count = width.now();
            *at += delay + Duration::from_secs_f64((count as u64 * REQUEST_BYTES) as f64 / bytes_per_s as f64);
            (0..count).for_each(|_| width.came(REQUEST_BYTES, *at));
            seen.push(width.now());
        }
        seen
    }

    #[test]
    fn a_far_source_is_asked_by_as_many_requests_as_there_may_be() {
        let (mut width, mut at) = (Width::default(), Duration::ZERO);
        let seen = after(&mut width, 40, &mut at, Duration::from_millis(300), 1 << 40);
        assert_eq!(seen.iter().max(), Some(&WIDTH_MAX));
        assert_eq!(width.now(), WIDTH_MAX);
    }

    #[test]
    fn a_link_that_is_full_is_not_asked_by_more_and_more() {
        let (mut width, mut at) = (Width::default(), Duration::ZERO);
        let seen = after(&mut width, 60, &mut at, Duration::from_micros(100), 10 << 20);
        assert!(seen.iter().all(|&now| now <= WIDTH_FIRST + WIDTH_FIRST / 2), "{seen:?}");
        let at_rest = seen.iter().filter(|&&now| now == WIDTH_FIRST).count();
        assert!(at_rest * 4 >= seen.len() * 3, "it tries now and then only: {seen:?}");
    }

    #[test]
    fn a_link_that_becomes_another_one_is_learnt_anew() {
        let (mut width, mut at) = (Width::default(), Duration::ZERO);
        after(&mut width, 40, &mut at, Duration::from_millis(300), 1 << 40);
        let seen = after(&mut width, 4, &mut at, Duration::from_micros(100), 2 << 20);
        assert!(seen.iter().any(|&now| now <= WIDTH_MAX / 2), "{seen:?}");
        after(&mut width, 60, &mut at, Duration::from_millis(300), 1 << 40);
        assert_eq!(width.now(), WIDTH_MAX, "and wide again when it is far again");
    }

    #[test]
    fn a_fault_halves_it_and_it_never_leaves_its_bounds() {
        let mut width = Width::default();
        (0..10).for_each(|_| width.failed());
        assert_eq!(width.now(), WIDTH_MIN);
        let mut at = Duration::ZERO;
        let seen = after(&mut width, 100, &mut at, Duration::from_millis(300), 1 << 40);
        assert!(seen.iter().all(|now| (WIDTH_MIN..=WIDTH_MAX).contains(now)));
        assert_eq!(width.now(), WIDTH_MAX, "it recovers");
    }
}
