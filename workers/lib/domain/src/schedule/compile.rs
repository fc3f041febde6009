//! From what people wrote to a schedule that can be asked: every option is read, held against its kind, and every fault told
//! with an example that is right.

use schemas::Schedule as Declared;
use schemas::schedule::{DayOfMonth, Rule, ScheduleWord, ShortMonth, Texts};

use super::civil::{Zone, ZoneFault};
use super::days::{DayInMonth, Days, Weekdays};
use super::fault::{ScheduleFault, code};
use super::opening::{LocalTime, Opening, Window};
use super::text::{self, Interval};
use super::{DISTANCE_S_MIN, Kind, Schedule, YEAR_MAX, YEAR_MIN, cron};

const ONE_DAY_MS: i64 = 86_400_000;
/// Longest delay after another's extraction, in seconds.
const DELAY_S_MAX: u64 = 31 * 86_400;
/// Civil days that a monthly or yearly rule may be put off.
const DELAY_DAYS_MAX: u8 = 31;
/// Names of every kind, in the order in which they are told.
pub(super) const KINDS: [&str; 9] = ["once", "every", "daily", "weekly", "monthly", "yearly", "cron", "event", "after"];

/// What a schedule has of its place: whose zone, since when, under which name.
#[derive(Debug, Clone, Copy)]
pub struct Setting<'a> {
    /// The object's zone, for rules without one of their own.
    pub zone: &'a str,
    /// When it was first applied: what `every` counts from by default.
    pub anchor_ms: i64,
    /// What a random start is derived from, with the occurrence.
    pub seed: &'a str,
}

impl Schedule {
    pub fn read(declared: &Declared, setting: Setting<'_>) -> Result<Schedule, Vec<ScheduleFault>> {
        match declared {
            Declared::Word(word) => {
                let kind = if *word == ScheduleWord::Never { Kind::Never } else { Kind::Immediately };
                let zone = zone(setting.zone).map_err(|fault| vec![fault])?;
                Ok(Schedule {
                    kind,
                    zone,
                    catch_up: Default::default(),
                    overlap: Default::default(),
                    stop_at_end: false,
                })
            }
            Declared::Rule(rule) => Reader { rule, setting, faults: Vec::new() }.read(),
        }
    }
}

struct Reader<'a> {
    rule: &'a Rule,
    setting: Setting<'a>,
    faults: Vec<ScheduleFault>,
}

impl Reader<'_> {
    fn read(mut self) -> Result<Schedule, Vec<ScheduleFault>> {
        let zone = zone(self.rule.time_zone.as_deref().unwrap_or(self.setting.zone));
        let zone = zone.map_err(|fault| self.faults.push(fault)).ok();
        let kind = self.kind(zone.as_ref());
        if let (Some(kind), Some(zone)) = (kind, zone)
            && self.faults.is_empty()
        {
            let schedule = Schedule {
                kind,
                zone,
                catch_up: self.rule.catch_up.unwrap_or_default(),
                overlap: self.rule.overlap.unwrap_or_default(),
                stop_at_end: self.rule.stop_at_end.unwrap_or_default(),
            };
            if !schedule.is_timed() || schedule.next(i64::MIN / 2).or_else(|| schedule.next(first_ms())).is_some() {
                return Ok(schedule);
            }
            let message = format!("it names no day before the year {}", YEAR_MAX + 1);
            self.fault(code::NEVER_HAPPENS, "", message, "write a day that exists, such as `yearly: 02-28`");
        }
        Err(self.faults)
    }

    fn fault(
        &mut self,
        code: &'static str,
        field: &'static str,
        message: impl Into<String>,
        example: impl Into<String>,
    ) {
        self.faults.push(ScheduleFault::new(code, field, message, example));
    }

    fn kind(&mut self, zone: Option<&Zone>) -> Option<Kind> {
        match self.kinds().as_slice() {
            [only] => {
                self.options_fit(only);
                self.kind_of(only, zone)
            }
            [] => {
                let message = "says no kind of schedule";
                self.fault(code::KIND_MISSING, "", message, format!("write one of {}", KINDS.join(", ")));
                None
            }
            [first, second, ..] => {
                let message = format!("`{first}` and `{second}` are two kinds of schedule");
                self.fault(code::KIND_DOUBLED, second, message, "keep one of them");
                None
            }
        }
    }

    fn kinds(&self) -> Vec<&'static str> {
        let r = self.rule;
        let given = [
            r.once.is_some(),
            r.every.is_some(),
            r.daily.is_some(),
            r.weekly.is_some(),
            r.monthly.is_some(),
            r.yearly.is_some(),
            r.cron.is_some(),
            r.event.is_some(),
            r.after.is_some(),
        ];
        KINDS.into_iter().zip(given).filter(|(_, given)| *given).map(|(kind, _)| kind).collect()
    }

    /// An option that the kind cannot heed is refused: nobody waits for what it would have meant.
    fn options_fit(&mut self, kind: &'static str) {
        let r = self.rule;
        let on_days: &[&str] = &["daily", "weekly", "monthly", "yearly"];
        let with_window: &[&str] = &["every", "daily", "weekly", "monthly", "yearly"];
        let by_date: &[&str] = &["monthly", "yearly"];
        let timed: &[&str] = &["once", "every", "daily", "weekly", "monthly", "yearly", "cron"];
        let all_but_after: &[&str] = &["once", "every", "daily", "weekly", "monthly", "yearly", "cron", "event"];
        let given: [(&'static str, bool, &[&str]); 13] = [
            ("dialect", r.dialect.is_some(), &["cron"]),
            ("from", r.from.is_some(), &["every"]),
            ("at", r.at.is_some(), on_days),
            ("delay_days", r.delay_days.is_some(), by_date),
            ("short_month", r.short_month.is_some(), by_date),
            ("window", r.window.is_some(), with_window),
            ("stop_at_end", r.stop_at_end.is_some(), with_window),
            ("repeat_every", r.repeat_every.is_some(), on_days),
            ("random_start", r.random_start.is_some(), with_window),
            ("delay", r.delay.is_some(), &["after"]),
            ("time_zone", r.time_zone.is_some(), timed),
            ("catch_up", r.catch_up.is_some(), timed),
            ("overlap", r.overlap.is_some(), all_but_after),
        ];
        for (option, given, kinds) in given {
            if given && !kinds.contains(&kind) {
                let message = format!("`{option}` has no meaning beside `{kind}`");
                self.fault(code::OPTION_UNFIT, option, message, format!("it goes with {}", kinds.join(", ")));
            }
        }
        for (option, given) in [
            ("repeat_every", r.repeat_every.is_some()),
            ("random_start", r.random_start == Some(true)),
            ("stop_at_end", r.stop_at_end == Some(true)),
        ] {
            if given && r.window.is_none() {
                let message = format!("`{option}` needs a window");
                self.fault(code::OPTION_UNFIT, option, message, "for example `window: 20:00-05:00`");
            }
        }
        let short = matches!(&r.monthly, Some(DayOfMonth::Number(29..=31))) || r.yearly.as_deref() == Some("02-29");
        if r.short_month.is_some() && by_date.contains(&kind) && !short {
            let message = "`short_month` has no meaning here: every month has this day";
            self.fault(
                code::OPTION_UNFIT,
                "short_month",
                message,
                "it goes with `monthly: 29` to `31` and `yearly: 02-29`",
            );
        }
    }

    fn kind_of(&mut self, kind: &'static str, zone: Option<&Zone>) -> Option<Kind> {
        match kind {
            "once" => self.once(),
            "every" => self.every(zone),
            "daily" => {
                let days = self.daily()?;
                self.on_days(Days::Weekdays(days))
            }
            "weekly" => {
                let days = self.weekly()?;
                self.on_days(Days::Weekdays(days))
            }
            "monthly" => {
                let on = self.monthly()?;
                let delay_days = self.delay_days();
                self.on_days(Days::Monthly { on, delay_days })
            }
            "yearly" => {
                let (month, on) = self.yearly()?;
                let delay_days = self.delay_days();
                self.on_days(Days::Yearly { month, on, delay_days })
            }
            "cron" => self.cron(),
            "event" => self.event(),
            _ => self.after(),
        }
    }

    fn once(&mut self) -> Option<Kind> {
        let text = self.rule.once.as_deref()?;
        self.local_time("once", text).map(Kind::Once)
    }

    fn local_time(&mut self, field: &'static str, text: &str) -> Option<jiff::civil::DateTime> {
        let example = format!("for example `{field}: 2026-12-24 18:00`");
        match text::date_time(text) {
            Some(at) if (YEAR_MIN..=YEAR_MAX).contains(&at.year()) => Some(at),
            Some(at) => {
                let message = format!("the year {} is out of range: {YEAR_MIN} to {YEAR_MAX}", at.year());
                self.fault(code::DATE_OUT_OF_RANGE, field, message, example);
                None
            }
            None => {
                self.fault(code::DATE_INVALID, field, format!("{} is not a local time", shown(text)), example);
                None
            }
        }
    }

    /// SPEC §10, 9.
    fn every(&mut self, zone: Option<&Zone>) -> Option<Kind> {
        let interval = self.interval("every", self.rule.every.as_deref()?)?;
        let from = match self.rule.from.as_deref() {
            Some(text) => Some(self.local_time("from", text)?),
            None => None,
        };
        let zone = zone?;
        let from_ms = from.map_or(Some(self.setting.anchor_ms), |local| zone.instant_ms(local))?;
        let local = from.or_else(|| zone.local(self.setting.anchor_ms))?;
        let window = self.window();
        if self.rule.window.is_some() && window.is_none() {
            return None;
        }
        let random = self.random();
        match (interval, window) {
            (Interval::Elapsed { seconds }, None) => {
                Some(Kind::Elapsed { from_ms, every_ms: i64::try_from(seconds).ok()? * 1_000 })
            }
            (Interval::Elapsed { seconds }, Some(window)) => {
                let first = LocalTime { time: window.start, next_day: false };
                let repeat_ms = Some(i64::try_from(seconds).ok()? * 1_000);
                let days = match from {
                    Some(from) => Days::Every { days: 1, from: from.date() },
                    None => Days::Weekdays(Weekdays::ALL),
                };
                Some(Kind::Days(days, Opening { first, window: Some(window), repeat_ms, random }))
            }
            (Interval::Days(days), window) => {
                let time =
                    window.map_or_else(|| local.time().with().subsec_nanosecond(0).build().ok(), |w| Some(w.start))?;
                let first = LocalTime { time, next_day: false };
                let days = Days::Every { days, from: local.date() };
                Some(Kind::Days(days, Opening { first, window, repeat_ms: None, random }))
            }
        }
    }

    fn interval(&mut self, field: &'static str, text: &str) -> Option<Interval> {
        match text::interval(text) {
            Some(Interval::Elapsed { seconds }) if seconds < DISTANCE_S_MIN => {
                let message =
                    format!("{} is too often: occurrences are {DISTANCE_S_MIN} s apart at least", shown(text));
                self.fault(code::TOO_OFTEN, field, message, format!("for example `{field}: 10s`"));
                None
            }
            Some(interval) => Some(interval),
            None => {
                let message = format!("{} is not an interval", shown(text));
                let example =
                    format!("allowed here: 30s, 10m, 2h, 1h30m, or days alone: 1d to 366d; for example `{field}: 10m`");
                self.fault(code::SPAN_INVALID, field, message, example);
                None
            }
        }
    }

    fn daily(&mut self) -> Option<Weekdays> {
        let texts: Vec<&str> = match self.rule.daily.as_ref()? {
            Texts::One(text) if text == "all" => return Some(Weekdays::ALL),
            Texts::One(text) => vec![text],
            Texts::Many(texts) => texts.iter().map(String::as_str).collect(),
        };
        const EXAMPLE: &str = "for example `daily: all` or `daily: [mon, tue, wed, thu, fri]`";
        if texts.is_empty() {
            self.fault(code::DAY_INVALID, "daily", "is an empty list of weekdays", EXAMPLE);
            return None;
        }
        match text::weekdays(texts) {
            Ok(days) => Some(days),
            Err(text) => {
                self.fault(code::WEEKDAY_UNKNOWN, "daily", format!("{} is not a weekday", shown(text)), EXAMPLE);
                None
            }
        }
    }

    fn weekly(&mut self) -> Option<Weekdays> {
        let text = self.rule.weekly.as_deref()?;
        let day = text::weekday(text).map(Weekdays::one);
        if day.is_none() {
            let message = format!("{} is not a weekday", shown(text));
            self.fault(code::WEEKDAY_UNKNOWN, "weekly", message, "for example `weekly: sunday`");
        }
        day
    }

    fn monthly(&mut self) -> Option<DayInMonth> {
        const EXAMPLE: &str =
            "for example `monthly: 15`, `monthly: last`, `monthly: second tuesday` or `monthly: last friday`";
        let short = self.rule.short_month.unwrap_or_default();
        match self.rule.monthly.as_ref()? {
            DayOfMonth::Number(day @ 1..=31) => Some(DayInMonth::Day { day: *day as i8, short }),
            DayOfMonth::Number(day) => {
                self.fault(code::DAY_INVALID, "monthly", format!("no month has a day {day}"), EXAMPLE);
                None
            }
            DayOfMonth::Words(words) if words == "last" => Some(DayInMonth::Last),
            DayOfMonth::Words(words) => match text::nth_weekday(words) {
                Some((nth, weekday)) => Some(DayInMonth::Weekday { nth, weekday }),
                None => {
                    self.fault(
                        code::DAY_INVALID,
                        "monthly",
                        format!("{} is not a day of a month", shown(words)),
                        EXAMPLE,
                    );
                    None
                }
            },
        }
    }

    fn yearly(&mut self) -> Option<(i8, DayInMonth)> {
        let text = self.rule.yearly.as_deref()?;
        let short = self.rule.short_month.unwrap_or(ShortMonth::Last);
        let found = text::month_day(text).map(|(month, day)| (month, DayInMonth::Day { day, short }));
        if found.is_none() {
            let message = format!("{} is not a month and a day that exist", shown(text));
            self.fault(code::DATE_INVALID, "yearly", message, "for example `yearly: 12-24`");
        }
        found
    }

    fn delay_days(&mut self) -> i32 {
        let days = self.rule.delay_days.unwrap_or(0);
        if days > DELAY_DAYS_MAX {
            let message = format!("{days} days are too many");
            self.fault(
                code::DAY_INVALID,
                "delay_days",
                message,
                format!("0 to {DELAY_DAYS_MAX}; for example `delay_days: 4`"),
            );
        }
        days.into()
    }

    fn on_days(&mut self, days: Days) -> Option<Kind> {
        let at = match self.rule.at.as_deref() {
            Some(text) => Some(self.time_of_day(text)?),
            None => None,
        };
        let window = self.window();
        let repeat = match self.rule.repeat_every.as_deref() {
            Some(text) => Some(self.interval("repeat_every", text)?),
            None => None,
        };
        let first = match (at, &window) {
            (None, None) if self.rule.window.is_none() => {
                let message = "says on which days, and not when";
                self.fault(code::TIME_MISSING, "", message, "add `at: 02:00`, or `window: 20:00-05:00`");
                return None;
            }
            (None, window) => LocalTime { time: (*window)?.start, next_day: false },
            (Some(time), None) => LocalTime { time, next_day: false },
            (Some(time), Some(window)) => self.within(time, window)?,
        };
        let repeat_ms = match (repeat, &window) {
            (Some(Interval::Days(_)), _) => {
                let message = "repeats within a window are of hours, minutes or seconds";
                self.fault(code::SPAN_INVALID, "repeat_every", message, "for example `repeat_every: 5m`");
                return None;
            }
            (Some(Interval::Elapsed { seconds }), _) => Some(i64::try_from(seconds).ok()?.min(ONE_DAY_MS) * 1_000),
            (None, _) => None,
        };
        Some(Kind::Days(days, Opening { first, window, repeat_ms, random: self.random() }))
    }

    /// A time before the window's start is that of the next day, as far as the window reaches.
    fn within(&mut self, time: jiff::civil::Time, window: &Window) -> Option<LocalTime> {
        let next_day = time < window.start;
        let is_inside = match (next_day, window.end.next_day) {
            (false, true) => true,
            (false, false) | (true, true) => time < window.end.time,
            (true, false) => false,
        };
        if !is_inside {
            let message = format!("{} is outside of the window", time.strftime("%H:%M:%S"));
            self.fault(code::WINDOW_INVALID, "at", message, "leave `at` out: work starts when the window opens");
            return None;
        }
        Some(LocalTime { time, next_day })
    }

    fn time_of_day(&mut self, text: &str) -> Option<jiff::civil::Time> {
        let found = text::time(text);
        if found.is_none() {
            let message = format!("{} is not a time of day", shown(text));
            self.fault(code::TIME_INVALID, "at", message, "from 00:00 to 23:59:59, for example `at: 02:00`");
        }
        found
    }

    fn window(&mut self) -> Option<Window> {
        let text = self.rule.window.as_deref()?;
        let found = text::window(text);
        if found.is_none() {
            let message = format!("{} is not a window", shown(text));
            let example = "for example `window: 20:00-05:00`, or `window: 00:00-24:00` for the whole day";
            self.fault(code::WINDOW_INVALID, "window", message, example);
        }
        found
    }

    fn random(&self) -> Option<String> {
        (self.rule.random_start == Some(true)).then(|| self.setting.seed.to_owned())
    }

    fn cron(&mut self) -> Option<Kind> {
        let Some(dialect) = self.rule.dialect else {
            let message = "a cron expression needs its dialect: in one Sunday is 0, in the other 1";
            let example =
                "add `dialect: croner` (5 to 7 fields, Sunday = 0) or `dialect: cron` (6 or 7 fields, Sunday = 1)";
            self.fault(code::CRON_DIALECT_MISSING, "cron", message, example);
            return None;
        };
        let text = self.rule.cron.as_deref()?;
        const EXAMPLE: &str = "for example `{ cron: \"30 2 * * mon-fri\", dialect: croner }`";
        match cron::parse(text, dialect) {
            Err(fault) => {
                self.fault(code::CRON_INVALID, "cron", format!("{} is not read: {fault}", shown(text)), EXAMPLE);
                None
            }
            Ok(cron) if cron.seconds_apart_min().is_some_and(|apart| u64::from(apart) < DISTANCE_S_MIN) => {
                let message =
                    format!("{} is too often: occurrences are {DISTANCE_S_MIN} s apart at least", shown(text));
                self.fault(code::TOO_OFTEN, "cron", message, "for example `*/10` in the field of seconds");
                None
            }
            Ok(cron) => Some(Kind::Cron(cron)),
        }
    }

    fn event(&mut self) -> Option<Kind> {
        let text = self.rule.event.as_deref()?;
        if !schemas::name::is_name(text) {
            let message = format!("{} is not the name of an event", shown(text));
            self.fault(
                code::EVENT_INVALID,
                "event",
                message,
                "startup, shutdown, or a name such as `maintenance-begins`",
            );
            return None;
        }
        Some(Kind::Event(text.to_owned()))
    }

    fn after(&mut self) -> Option<Kind> {
        let subscriber = self.rule.after.as_deref()?;
        if !schemas::name::is_name(subscriber) {
            let message = format!("{} is not the name of a subscriber", shown(subscriber));
            self.fault(code::NAME_INVALID, "after", message, "for example `{ after: paris, delay: 30m }`");
            return None;
        }
        let delay_s = match self.rule.delay.as_deref().map(|text| (text, text.parse::<schemas::Span>())) {
            None => 0,
            Some((_, Ok(span))) if span.as_secs() <= DELAY_S_MAX => span.as_secs(),
            Some((text, _)) => {
                let message = format!("{} is not a delay of at most 31 days", shown(text));
                self.fault(code::SPAN_INVALID, "delay", message, "for example `delay: 30m`");
                return None;
            }
        };
        Some(Kind::After { subscriber: subscriber.to_owned(), delay_s })
    }
}

fn zone(text: &str) -> Result<Zone, ScheduleFault> {
    const EXAMPLE: &str = "allowed here: an IANA name, such as Europe/Paris or UTC";
    Zone::named(text).map_err(|fault| {
        let message = match fault {
            ZoneFault::Unknown => format!("unknown time zone {}", shown(text)),
            ZoneFault::Spelled(name) => format!("{} is written `{name}`", shown(text)),
        };
        ScheduleFault::new(code::TIME_ZONE_UNKNOWN, "time_zone", message, EXAMPLE)
    })
}

fn first_ms() -> i64 {
    -ONE_DAY_MS
}

/// Somebody's text in a message, cut short.
fn shown(text: &str) -> String {
    let mut short: String = text.chars().take(80).flat_map(char::escape_debug).collect();
    if text.chars().count() > 80 {
        short.push('…');
    }
    format!("`{short}`")
}
