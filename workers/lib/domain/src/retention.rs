//! Which revisions are kept, at the origin and at a site. It knows no object and no row: only numbers, ages and who needs them.

use std::collections::BTreeSet;
use std::fmt;

use schemas::Keep;

/// The declared choice for one distribution (SPEC O2, B12).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    pub revisions_max: u32,
    pub age_max_ms: Option<i64>,
}

/// A live revision, as the control side knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    pub number: u64,
    pub created_ms: i64,
    /// An open job is about it.
    pub open_job: bool,
    /// A site has it in its target.
    pub installed: bool,
    /// A site's store holds it: what it lacks of it, it may still ask the origin for.
    pub held: bool,
}

/// Why a revision is kept, or is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// The newest good one never goes.
    Newest,
    OpenJob,
    Installed,
    Held,
    /// Among the `max_revisions` newest and not too old.
    WithinLimits,
    TooMany,
    TooOld,
}

impl Why {
    pub fn keeps(self) -> bool {
        !matches!(self, Why::TooMany | Why::TooOld)
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Why::Newest => "the newest",
            Why::OpenJob => "a job is under way with it",
            Why::Installed => "installed at a site",
            Why::Held => "held by a site",
            Why::WithinLimits => "within max_revisions and max_age",
            Why::TooMany => "more than max_revisions",
            Why::TooOld => "older than max_age",
        })
    }
}

/// The fate of each revision, in the order given.
pub fn judge(revisions: &[Candidate], rule: Rule, now_ms: i64) -> Vec<(u64, Why)> {
    let mut numbers: Vec<u64> = revisions.iter().map(|r| r.number).collect();
    numbers.sort_unstable_by(|a, b| b.cmp(a));
    let last_within = numbers.iter().take(rule.revisions_max.max(1) as usize).next_back().copied().unwrap_or(0);
    let fate = |r: &Candidate| match r {
        r if numbers.first() == Some(&r.number) => Why::Newest,
        r if r.open_job => Why::OpenJob,
        r if r.installed => Why::Installed,
        r if r.held => Why::Held,
        r if r.number < last_within => Why::TooMany,
        r if rule.age_max_ms.is_some_and(|age| r.created_ms < now_ms - age) => Why::TooOld,
        _ => Why::WithinLimits,
    };
    revisions.iter().map(|r| (r.number, fate(r))).collect()
}

/// The oldest number that a site may keep by age: sites know no revision's age.
pub fn oldest_kept(revisions: &[Candidate], rule: Rule, now_ms: i64) -> u64 {
    let Some(age) = rule.age_max_ms else { return 0 };
    let young = revisions.iter().filter(|r| r.created_ms >= now_ms - age).map(|r| r.number).min();
    young.or(revisions.iter().map(|r| r.number).max()).unwrap_or(0)
}

/// Of the revisions that a site holds those that stay: the newest by the rule, and whatever is needed. The newest of all
/// always stays.
pub fn kept_at_site(held: &BTreeSet<u64>, needed: &BTreeSet<u64>, rule: Keep) -> BTreeSet<u64> {
    let newest = held.iter().rev().take(rule.revisions.max(1) as usize);
    let by_rule = newest.enumerate().filter(|(place, number)| *place == 0 || **number >= rule.from);
    by_rule.map(|(_, number)| *number).chain(held.intersection(needed).copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400_000;

    fn revision(number: u64, days_old: i64) -> Candidate {
        Candidate { number, created_ms: -days_old * DAY, open_job: false, installed: false, held: false }
    }

    fn fates(revisions: &[Candidate], max: u32, days: Option<i64>) -> Vec<Why> {
        let rule = Rule { revisions_max: max, age_max_ms: days.map(|d| d * DAY) };
        judge(revisions, rule, 0).into_iter().map(|(_, why)| why).collect()
    }

    #[test]
    fn the_newest_stays_whatever_its_age_and_the_others_go_by_number_or_age() {
        let all = [revision(1, 40), revision(2, 30), revision(3, 20), revision(4, 10)];
        assert_eq!(fates(&all, 2, None), [Why::TooMany, Why::TooMany, Why::WithinLimits, Why::Newest]);
        assert_eq!(fates(&all, 3, Some(25)), [Why::TooMany, Why::TooOld, Why::WithinLimits, Why::Newest]);
        assert_eq!(fates(&all, 3, Some(5)), [Why::TooMany, Why::TooOld, Why::TooOld, Why::Newest]);
        assert_eq!(fates(&all[..1], 1, Some(5)), [Why::Newest]);
    }

    #[test]
    fn what_somebody_needs_stays_and_takes_no_place_of_others() {
        let mut all = [revision(1, 9), revision(2, 9), revision(3, 9), revision(4, 9), revision(5, 9)];
        all[0].open_job = true;
        all[1].installed = true;
        all[2].held = true;
        assert_eq!(fates(&all, 1, None), [Why::OpenJob, Why::Installed, Why::Held, Why::TooMany, Why::Newest]);
    }

    #[test]
    fn a_site_keeps_its_newest_by_the_rule_and_what_it_needs() {
        let held = BTreeSet::from([2, 5, 8, 9]);
        let kept = |revisions, from, needed: &[u64]| {
            let keep = Keep { revisions, from, delete_first: false };
            kept_at_site(&held, &needed.iter().copied().collect(), keep).into_iter().collect::<Vec<_>>()
        };
        assert_eq!(kept(2, 0, &[]), [8, 9]);
        assert_eq!(kept(1, 0, &[2, 7]), [2, 9], "what it does not hold it cannot keep");
        assert_eq!(kept(4, 8, &[]), [8, 9]);
        assert_eq!(kept(4, 100, &[]), [9], "its newest stays");
    }

    #[test]
    fn age_reaches_sites_as_a_number() {
        let all = [revision(1, 40), revision(2, 20), revision(3, 10)];
        let of = |days: Option<i64>| oldest_kept(&all, Rule { revisions_max: 9, age_max_ms: days.map(|d| d * DAY) }, 0);
        assert_eq!((of(None), of(Some(25)), of(Some(1))), (0, 2, 3));
    }
}
