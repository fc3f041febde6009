//! Reads an expression of the dialect `croner`. What the dialect does not know is refused, never guessed.

use super::fields::{DaysOfMonth, DaysOfWeek, Set};
use super::{Combination, Cron, CronFault};
use crate::schedule::{YEAR_MAX, YEAR_MIN};

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// One field's numbers and names.
struct Field {
    name: &'static str,
    min: u32,
    max: u32,
    names: &'static [&'static str],
    /// The number of the first name.
    names_from: u32,
}

pub(super) fn read(text: &str) -> Result<Cron, CronFault> {
    let lower = text.to_ascii_lowercase();
    let spelled = if lower.starts_with('@') { nickname(&lower)? } else { &lower };
    let mut parts: Vec<&str> = spelled.split_whitespace().collect();
    if !(5..=7).contains(&parts.len()) {
        return Err(format!("it has {} fields; 5 to 7 are read in this dialect", parts.len()));
    }
    if parts.len() == 5 {
        parts.insert(0, "0");
    }
    let field = |name, min, max| Field { name, min, max, names: &[], names_from: 0 };
    let months = Field { names: &MONTHS, names_from: 1, ..field("the month", 1, 12) };
    let (of_month, of_week) = (parts[3], parts[5].strip_prefix('+').unwrap_or(parts[5]));
    let cron = Cron {
        text: text.to_owned(),
        seconds: field("the second", 0, 59).set(parts[0])?,
        minutes: field("the minute", 0, 59).set(parts[1])?,
        hours: field("the hour", 0, 23).set(parts[2])?,
        days_of_month: days_of_month(&field("the day of the month", 1, 31), of_month)?,
        months: months.set(parts[4])?,
        days_of_week: days_of_week(of_week)?,
        years: parts
            .get(6)
            .map(|text| years(&field("the year", YEAR_MIN as u32, YEAR_MAX as u32), text))
            .transpose()?
            .flatten(),
        both: combination(of_month, of_week, parts[5].starts_with('+')),
    };
    Ok(cron)
}

fn nickname(text: &str) -> Result<&'static str, CronFault> {
    Ok(match text {
        "@yearly" | "@annually" => "0 0 0 1 1 *",
        "@monthly" => "0 0 0 1 * *",
        "@weekly" => "0 0 0 * * 0",
        "@daily" => "0 0 0 * * *",
        "@hourly" => "0 0 * * * *",
        _ => return Err("this name is not known; there are @yearly, @monthly, @weekly, @daily, @hourly".to_owned()),
    })
}

fn combination(of_month: &str, of_week: &str, plus: bool) -> Combination {
    let is_star = |text: &str| text == "*" || text == "?";
    match (is_star(of_month), is_star(of_week)) {
        (true, true) => Combination::Either,
        (false, true) => Combination::OnlyDayOfMonth,
        (true, false) => Combination::OnlyDayOfWeek,
        (false, false) if plus => Combination::Both,
        (false, false) => Combination::Either,
    }
}

fn days_of_month(field: &Field, text: &str) -> Result<DaysOfMonth, CronFault> {
    let mut found = DaysOfMonth::default();
    for item in text.replace('?', "*").split(',') {
        match item.strip_suffix('w') {
            Some("l") => found.last_working = true,
            Some(day) => found.closest.insert(field.number(day)?),
            None if item == "l" => found.last = true,
            None => field.item(item, &mut found.days)?,
        }
    }
    if found.is_empty() { Err(format!("{} is empty", field.name)) } else { Ok(found) }
}

fn days_of_week(text: &str) -> Result<DaysOfWeek, CronFault> {
    let name = "the day of the week";
    let mut found = DaysOfWeek::default();
    // 7 is Sunday too, so that `fri-sun` is a range.
    let field = Field { name, min: 0, max: 7, names: &WEEKDAYS, names_from: 0 };
    let mut every = Set::default();
    for item in text.replace('?', "*").split(',') {
        let (day, nth) = match (item.split_once('#'), item.strip_suffix('l')) {
            (Some((day, "l")), _) => (day, Some(None)),
            (Some((day, nth)), _) => (day, Some(Some(nth))),
            (None, Some(day)) => (day, Some(None)),
            (None, None) => (item, None),
        };
        match nth {
            None => field.item(item, &mut every)?,
            Some(None) => found.last.insert(field.number(day)? % 7),
            Some(Some(nth)) => {
                let place = nth.parse::<usize>().ok().filter(|n| (1..=5).contains(n) && nth.len() == 1);
                let place = place.ok_or_else(|| format!("`#{nth}` in {name}: 1 to 5 or `l`"))?;
                found.nth[place - 1].insert(field.number(day)? % 7);
            }
        }
    }
    (0..=7).filter(|n| every.has(*n)).for_each(|n| found.every.insert(n % 7));
    if found.is_empty() { Err(format!("{name} is empty")) } else { Ok(found) }
}

fn years(field: &Field, text: &str) -> Result<Option<Vec<i16>>, CronFault> {
    if text == "*" {
        return Ok(None);
    }
    let mut years = Vec::new();
    for item in text.split(',') {
        let (first, last, step) = field.bounds(item)?;
        years.extend((first..=last).step_by(step as usize).map(|year| year as i16));
    }
    Ok(Some(years))
}

impl Field {
    fn set(&self, text: &str) -> Result<Set, CronFault> {
        let mut set = Set::default();
        for item in text.split(',') {
            self.item(item, &mut set)?;
        }
        Ok(set)
    }

    fn item(&self, item: &str, set: &mut Set) -> Result<(), CronFault> {
        let (first, last, step) = self.bounds(item)?;
        (first..=last).step_by(step as usize).for_each(|number| set.insert(number));
        Ok(())
    }

    /// `*`, `5`, `1-5`, each with `/step`: first, last, step.
    fn bounds(&self, item: &str) -> Result<(u32, u32, u32), CronFault> {
        let (range, step) = match item.split_once('/') {
            Some((range, step)) => (range, Some(self.step(step)?)),
            None => (item, None),
        };
        let (first, last) = match range.split_once('-') {
            None if range == "*" => (self.min, self.max),
            Some((first, last)) => (self.number(first)?, self.last(last)?),
            None => {
                let only = self.number(range)?;
                if step.is_some() {
                    return Err(format!("`{item}` in {}: a step needs `*` or a range before it", self.name));
                }
                (only, only)
            }
        };
        if first > last {
            return Err(format!("`{item}` in {} is a range from the later to the earlier", self.name));
        }
        Ok((first, last, step.unwrap_or(1)))
    }

    fn step(&self, text: &str) -> Result<u32, CronFault> {
        match digits(text) {
            Some(0) => Err(format!("a step of 0 in {}", self.name)),
            Some(step) => Ok(step),
            None => Err(format!("`/{text}` in {} is not a step", self.name)),
        }
    }

    /// The end of a range: `sun` after a weekday is the seventh.
    fn last(&self, text: &str) -> Result<u32, CronFault> {
        let number = self.number(text)?;
        let is_sunday = self.names.len() == 7 && text.starts_with("sun");
        Ok(if is_sunday { 7 } else { number })
    }

    fn number(&self, text: &str) -> Result<u32, CronFault> {
        let named = || self.names.iter().position(|name| *name == text);
        let number = digits(text).or_else(|| Some(named()? as u32 + self.names_from));
        match number {
            Some(number) if (self.min..=self.max).contains(&number) => Ok(number),
            Some(_) => Err(format!("`{text}` in {}: {} to {}", self.name, self.min, self.max)),
            None => Err(format!(
                "`{text}` in {} is not a number{}",
                self.name,
                if self.names.is_empty() { "" } else { " or a name" }
            )),
        }
    }
}

fn digits(text: &str) -> Option<u32> {
    let all = !text.is_empty() && text.len() <= 5 && text.bytes().all(|b| b.is_ascii_digit());
    if all { text.parse().ok() } else { None }
}
