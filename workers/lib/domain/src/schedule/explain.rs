//! A schedule in words, as `schedule explain` says it.

use jiff::civil::Time;
use schemas::Span;
use schemas::schedule::{CatchUp, Overlap, ShortMonth};

use super::days::{DayInMonth, Days, Weekdays};
use super::judge::{BESIDE_MAX, CAUGHT_UP_MAX};
use super::opening::Opening;
use super::text::WEEKDAYS;
use super::{Kind, Schedule};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

impl Schedule {
    /// `the 2nd Tuesday of each month, plus 4 days, at 02:00 Europe/Paris`
    pub fn in_words(&self) -> String {
        let zone = self.zone.name();
        match &self.kind {
            Kind::Never => "never".to_owned(),
            Kind::Immediately => "immediately: as soon as there is something to do".to_owned(),
            Kind::Event(event) if event == "startup" => "whenever it starts up".to_owned(),
            Kind::Event(event) if event == "shutdown" => "whenever it shuts down".to_owned(),
            Kind::Event(event) => format!("whenever the event `{event}` is posted"),
            Kind::After { subscriber, delay_s: 0 } => format!("as soon as {subscriber} has extracted"),
            Kind::After { subscriber, delay_s } => {
                format!("{} after {subscriber} has extracted", Span::from_secs(*delay_s))
            }
            Kind::Once(at) => format!("once, on {} {zone}", at.strftime("%Y-%m-%d at %H:%M:%S")).replace(":00 ", " "),
            Kind::Elapsed { from_ms, every_ms } => {
                let from = self.zone.shown(*from_ms).unwrap_or_default();
                format!("every {} of elapsed time, counted from {from} {zone}", length(*every_ms))
            }
            Kind::Days(days, opening) => format!("{}, {} {zone}", days.in_words(), opening.in_words()),
            Kind::Cron(cron) => format!("at every local time that `{}` names, {zone}", cron.text),
        }
    }

    /// What its options and the calendar do to it, a sentence each.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = match &self.kind {
            Kind::Never | Kind::Immediately => return Vec::new(),
            Kind::Event(event) => event_notes(event),
            Kind::After { .. } => return after_notes(),
            _ => self.timed_notes(),
        };
        notes.push(self.overlap_note());
        notes
    }

    fn timed_notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if let Kind::Days(days, opening) = &self.kind {
            notes.extend(days.notes());
            if opening.window.is_some_and(|window| window.end.next_day) {
                notes.push("A window past midnight belongs to the day on which it opens.".to_owned());
            }
            if opening.random.is_some() {
                notes.push("The random start is the same whenever the same occurrence is asked for.".to_owned());
            }
            if self.stop_at_end {
                notes.push(
                    "What runs when the window ends stops there, keeps what it has, and goes on in the next."
                        .to_owned(),
                );
            }
        }
        if !matches!(&self.kind, Kind::Elapsed { .. }) {
            let rule = "A local time that a change of the clocks skips is the next instant that exists; one that happens twice is the first.";
            notes.push(rule.to_owned());
        }
        notes.push(match self.catch_up {
            CatchUp::One => "Of occurrences that were missed the latest is made up for.".to_owned(),
            CatchUp::None => "Occurrences that were missed are not made up for.".to_owned(),
            CatchUp::All => {
                format!("Occurrences that were missed are made up for one after the other, the last {CAUGHT_UP_MAX}.")
            }
        });
        notes
    }

    fn overlap_note(&self) -> String {
        match self.overlap {
            Overlap::Queue => "While the last one's work still runs, one occurrence waits behind it.".to_owned(),
            Overlap::Skip => "While the last one's work still runs, an occurrence is skipped.".to_owned(),
            Overlap::Beside => {
                format!("Up to {BESIDE_MAX} occurrences run beside each other; further ones join the last of them.")
            }
        }
    }
}

fn event_notes(event: &str) -> Vec<String> {
    match event {
        "startup" => {
            vec![
                "For an extraction or a sync, when its subscriber starts; else when the control side starts."
                    .to_owned(),
            ]
        }
        "shutdown" => {
            vec![
                "For an extraction or a sync, when its subscriber is stopped in order; else when the leading scheduler is."
                    .to_owned(),
            ]
        }
        _ => vec![format!("`tidegate event {event}` posts it, or a request of kind `event`; once for each request.")],
    }
}

fn after_notes() -> Vec<String> {
    vec![
        "Each distribution and revision by itself, once both are there (a sync brings it there); as long as that extraction has not succeeded, nothing happens."
            .to_owned(),
    ]
}

impl Days {
    fn in_words(&self) -> String {
        match self {
            Days::Weekdays(days) => weekdays(*days),
            Days::Every { days: 1, .. } => "every day".to_owned(),
            Days::Every { days, from } => format!("every {days} days, counted from {from}"),
            Days::Monthly { on, delay_days } => format!("{} of each month{}", on.in_words(), plus(*delay_days)),
            Days::Yearly { month, on, delay_days } => {
                format!("{} of each {}{}", on.in_words(), MONTHS[*month as usize - 1], plus(*delay_days))
            }
        }
    }

    fn notes(&self) -> Option<String> {
        let (Days::Monthly { on, .. } | Days::Yearly { on, .. }) = self else { return None };
        match on {
            DayInMonth::Day { day: 29.., short: ShortMonth::Last } => {
                Some("Where a month has no such day, it is the month's last day.".to_owned())
            }
            DayInMonth::Day { day: 29.., short: ShortMonth::Skip } => {
                Some("A month that has no such day is skipped.".to_owned())
            }
            DayInMonth::Weekday { nth: 5, .. } => Some("A month without a fifth one is skipped.".to_owned()),
            _ => None,
        }
    }
}

impl DayInMonth {
    fn in_words(&self) -> String {
        match self {
            DayInMonth::Last => "the last day".to_owned(),
            DayInMonth::Day { day, .. } => format!("the {}", ordinal(*day)),
            DayInMonth::Weekday { nth: -1, weekday } => format!("the last {}", name(*weekday)),
            DayInMonth::Weekday { nth, weekday } => format!("the {} {}", ordinal(*nth), name(*weekday)),
        }
    }
}

impl Opening {
    fn in_words(&self) -> String {
        let at = short_time(self.first.time);
        let Some(window) = &self.window else { return format!("at {at}") };
        let (start, end) = (short_time(window.start), short_time(window.end.time));
        let next_day = if window.end.next_day && window.end.time != Time::midnight() { " the next day" } else { "" };
        let between = format!("between {start} and {end}{next_day}");
        let starting = if self.first.time == window.start { String::new() } else { format!(", from {at} on") };
        let how = match (self.repeat_ms, self.random.is_some()) {
            (None, false) if starting.is_empty() => ", as soon as it opens".to_owned(),
            (None, false) => String::new(),
            (None, true) => ", at a random instant".to_owned(),
            (Some(repeat_ms), false) => format!(", every {}", length(repeat_ms)),
            (Some(repeat_ms), true) => format!(", every {} from a random instant on", length(repeat_ms)),
        };
        let starting = if how.is_empty() { format!(", at {at}") } else { starting };
        format!("{between}{starting}{how},")
    }
}

fn weekdays(days: Weekdays) -> String {
    const WORKING: Weekdays = Weekdays(0b001_1111);
    if days == Weekdays::ALL {
        return "every day".to_owned();
    }
    if days == WORKING {
        return "Monday to Friday".to_owned();
    }
    let names: Vec<String> = WEEKDAYS.iter().filter(|(day, ..)| days.has(*day)).map(|(day, ..)| name(*day)).collect();
    match names.split_last() {
        Some((last, [])) => format!("every {last}"),
        Some((last, others)) => format!("every {} and {last}", others.join(", ")),
        None => String::new(),
    }
}

fn name(day: jiff::civil::Weekday) -> String {
    let long = WEEKDAYS.iter().find(|(known, ..)| *known == day).map_or("", |(_, _, long)| long);
    let mut letters = long.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}

fn plus(days: i32) -> String {
    match days {
        0 => String::new(),
        1 => ", plus 1 day".to_owned(),
        _ => format!(", plus {days} days"),
    }
}

fn ordinal(number: i8) -> String {
    let ending = match (number % 10, number % 100) {
        (1, tens) if tens != 11 => "st",
        (2, tens) if tens != 12 => "nd",
        (3, tens) if tens != 13 => "rd",
        _ => "th",
    };
    format!("{number}{ending}")
}

fn short_time(time: Time) -> String {
    let form = if time.second() == 0 { "%H:%M" } else { "%H:%M:%S" };
    time.strftime(form).to_string()
}

fn length(ms: i64) -> String {
    Span::from_secs((ms / 1_000) as u64).to_string()
}
