//! A second model, as plain as can be: it walks minute by minute with the clock on the wall, and asks of each local minute that is
//! reached for the first time whether it is one. The clock going forward reaches several at once, going back reaches none.

use std::collections::BTreeSet;

use domain::schedule::Zone;
use jiff::civil::{Date, Weekday, date};
use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{Timestamp, ToSpan};
use serde_json::{Value, json};

use super::{Numbers, ms, schedule, starts};

const MINUTE_MS: i64 = 60_000;
const YEARS: std::ops::Range<i16> = 2006..2026;

/// A rule twice: as it is written, and as questions about a local minute.
struct Rule {
    written: Value,
    is_day: fn(Date) -> bool,
    /// Minute of the day.
    opens: i64,
    /// Minutes from the opening to the end on the dial, and between repeats.
    window: Option<(i64, i64)>,
}

fn rules() -> Vec<Rule> {
    let rule = |written, is_day: fn(Date) -> bool, opens| Rule { written, is_day, opens, window: None };
    vec![
        rule(json!({ "daily": "all", "at": "00:00" }), |_| true, 0),
        rule(json!({ "daily": "all", "at": "02:30" }), |_| true, 150),
        rule(json!({ "weekly": "sun", "at": "01:15" }), |day| day.weekday() == Weekday::Sunday, 75),
        rule(
            json!({ "monthly": "second tuesday", "delay_days": 4, "at": "02:00" }),
            |day| {
                let anchor = day.checked_sub(4.days()).unwrap();
                anchor.weekday() == Weekday::Tuesday && (8..=14).contains(&anchor.day())
            },
            120,
        ),
        rule(json!({ "monthly": "last", "at": "23:45" }), |day| day.tomorrow().unwrap().day() == 1, 1_425),
        rule(json!({ "cron": "30 2 * * 6", "dialect": "croner" }), |day| day.weekday() == Weekday::Saturday, 150),
        Rule {
            written: json!({ "daily": ["sat", "sun"], "window": "22:00-03:30", "repeat_every": "45m" }),
            is_day: |day| matches!(day.weekday(), Weekday::Saturday | Weekday::Sunday),
            opens: 1_320,
            window: Some((330, 45)),
        },
    ]
}

/// The wall clock of a zone, minute by minute.
struct Wall {
    zone: TimeZone,
    offset_min: i64,
    good_until_ms: i64,
}

impl Wall {
    fn local_min(&mut self, at_ms: i64) -> i64 {
        if at_ms >= self.good_until_ms {
            let at = Timestamp::from_millisecond(at_ms).unwrap();
            self.offset_min = i64::from(self.zone.to_offset(at).seconds()) / 60;
            let next = self.zone.following(at).next();
            self.good_until_ms = next.map_or(i64::MAX, |next| next.timestamp().as_millisecond());
        }
        at_ms.div_euclid(MINUTE_MS) + self.offset_min
    }
}

fn wall(zone: &str) -> Wall {
    let zone = TimeZoneDatabase::bundled().get(zone).unwrap();
    Wall { zone, offset_min: 0, good_until_ms: i64::MIN }
}

/// Where one rule stands while the clock runs.
#[derive(Default)]
struct Walk {
    found: BTreeSet<i64>,
    /// When the window opened, and the local minute at which it ends.
    open: Option<(i64, i64)>,
}

impl Walk {
    fn reach(&mut self, rule: &Rule, local_min: i64, at_ms: i64) {
        let opens = local_min.rem_euclid(1_440) == rule.opens
            && (rule.is_day)(date(1970, 1, 1).checked_add((local_min.div_euclid(1_440)).days()).unwrap());
        match (opens, rule.window) {
            (true, None) => drop(self.found.insert(at_ms)),
            (true, Some((length, _))) => self.open = Some((at_ms, local_min + length)),
            (false, _) => {}
        }
    }

    fn pass(&mut self, rule: &Rule, high_min: i64, at_ms: i64) {
        if let (Some((opened_ms, end_min)), Some((_, repeat))) = (self.open, rule.window) {
            if high_min >= end_min {
                self.open = None;
            } else if (at_ms - opened_ms) % (repeat * MINUTE_MS) == 0 {
                self.found.insert(at_ms);
            }
        }
    }
}

/// The starts in `[from, until)` by walking; what opened before `from` is not known, so the walk begins two days early.
fn walked(zone: &str, rules: &[Rule], from_ms: i64, until_ms: i64) -> Vec<Vec<i64>> {
    let mut wall = wall(zone);
    let mut walks: Vec<Walk> = rules.iter().map(|_| Walk::default()).collect();
    let mut at_ms = from_ms - 2 * 1_440 * MINUTE_MS;
    let mut high_min = wall.local_min(at_ms) - 1;
    while at_ms < until_ms {
        let local_min = wall.local_min(at_ms);
        for (rule, walk) in rules.iter().zip(&mut walks) {
            for reached in high_min + 1..=local_min {
                walk.reach(rule, reached, at_ms);
            }
            walk.pass(rule, local_min.max(high_min), at_ms);
        }
        high_min = high_min.max(local_min);
        at_ms += MINUTE_MS;
    }
    walks.into_iter().map(|walk| walk.found.range(from_ms..).copied().collect()).collect()
}

fn compare(zone: &str, from_ms: i64, until_ms: i64) {
    let rules = rules();
    let expected = walked(zone, &rules, from_ms, until_ms);
    for (rule, expected) in rules.iter().zip(expected) {
        let found = starts(&schedule(rule.written.clone(), zone), from_ms, until_ms);
        let first = found.iter().zip(&expected).position(|(a, b)| a != b).unwrap_or(found.len().min(expected.len()));
        let around = |list: &[i64]| list.iter().skip(first).take(3).map(|ms| super::utc(*ms)).collect::<Vec<_>>();
        assert!(
            found == expected,
            "{zone} {}: item {first}: found {:?}, expected {:?}",
            rule.written,
            around(&found),
            around(&expected)
        );
    }
}

fn midnight_ms(day: Date) -> i64 {
    ms(&format!("{day}T00:00:00Z"))
}

#[test]
fn twenty_years_agree_with_the_walk_in_sampled_zones() {
    let mut numbers = Numbers::of(20_261_121);
    let names = Zone::names();
    let mut zones = vec!["Europe/Paris".to_owned(), "Pacific/Apia".to_owned()];
    zones.extend((0..2).map(|_| names[numbers.below(names.len() as u64) as usize].clone()));
    for zone in zones {
        compare(&zone, midnight_ms(date(YEARS.start, 1, 1)), midnight_ms(date(YEARS.end, 1, 1)));
    }
}

#[test]
fn every_zone_agrees_with_the_walk_around_its_changes_of_twenty_years() {
    let mut numbers = Numbers::of(4);
    let (begin, end) = (midnight_ms(date(YEARS.start, 1, 1)), midnight_ms(date(YEARS.end, 1, 1)));
    let mut changes = 0;
    for name in Zone::names() {
        let zone = TimeZoneDatabase::bundled().get(&name).unwrap();
        let all: Vec<i64> = zone
            .following(Timestamp::from_millisecond(begin).unwrap())
            .map(|change| change.timestamp().as_millisecond())
            .take_while(|at_ms| *at_ms < end)
            .collect();
        // Where nothing changed, any day.
        let at_ms = match all.len() {
            0 => begin + numbers.below((end - begin) as u64) as i64,
            count => all[numbers.below(count as u64) as usize],
        };
        changes += usize::from(!all.is_empty());
        let day_ms = at_ms.div_euclid(86_400_000) * 86_400_000;
        compare(&name, day_ms - 3 * 86_400_000, day_ms + 4 * 86_400_000);
    }
    assert!(changes > 300, "{changes} zones with changes were tried");
}
