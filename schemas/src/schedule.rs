//! Rules for when, as people write them: a word, or one kind with its options. What a text in here means, and whether it
//! means anything, is `domain`'s business.

use serde::{Deserialize, Serialize};

/// `never`, `immediately`, or a rule such as `{ every: 10m }` or `{ monthly: second tuesday, at: "02:00" }`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema))]
#[serde(untagged)]
pub enum Schedule {
    Word(ScheduleWord),
    Rule(Box<Rule>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum ScheduleWord {
    Never,
    Immediately,
}

/// Exactly one kind (`once` to `after`), and the options that fit it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Rule {
    /// A local time: `2026-12-24 18:00`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub once: Option<String>,
    /// `30s`, `10m`, `2h` count elapsed time, `1d` civil days (SPEC §10, 9).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub every: Option<String>,
    /// `all`, or weekdays: `[mon, tue, wed, thu, fri]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub daily: Option<Texts>,
    /// One weekday: `sunday`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weekly: Option<String>,
    /// `15`, `last`, `second tuesday` or `last friday`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub monthly: Option<DayOfMonth>,
    /// Month and day: `12-24`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub yearly: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cron: Option<String>,
    /// `startup`, `shutdown`, or a name that is posted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    /// A subscriber after whose extraction it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,

    /// How a cron expression is read; always stored with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dialect: Option<CronDialect>,
    /// What `every` counts from, as a local time; default: when it was first applied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Time of day: `02:00`, `02:00:30`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// Civil days added to the day that the rule names: 0 to 31.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay_days: Option<u8>,
    /// Where the month has no such day; default `last`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub short_month: Option<ShortMonth>,
    /// When work may start: `20:00-05:00`. One past midnight belongs to the day on which it opens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<String>,
    /// Work that runs when the window ends stops, and goes on in the next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_at_end: Option<bool>,
    /// Again and again within the window.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repeat_every: Option<String>,
    /// Somewhere within the window (or within the first repeat): the same instant for the same occurrence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub random_start: Option<bool>,
    /// How long after the extraction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay: Option<String>,
    /// IANA name; default: that of the object (SPEC §10, 2).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// Default `one`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub catch_up: Option<CatchUp>,
    /// Default `queue`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overlap: Option<Overlap>,
}

/// One text, or a list of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema))]
#[serde(untagged)]
pub enum Texts {
    One(String),
    Many(Vec<String>),
}

/// `15`, or words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema))]
#[serde(untagged)]
pub enum DayOfMonth {
    Number(u8),
    Words(String),
}

/// Named after the programs that read them so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum CronDialect {
    /// 6 or 7 fields, seconds first, Sunday = 1; day of month and day of week must both hold.
    Cron,
    /// 5 to 7 fields, Sunday = 0, with `L`, `W`, `#`; day of month or day of week, unless `+` stands before the latter.
    Croner,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum ShortMonth {
    #[default]
    Last,
    Skip,
}

/// What becomes of occurrences for which nothing was running (SPEC S5).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum CatchUp {
    /// The latest missed one.
    #[default]
    One,
    None,
    All,
}

/// What becomes of an occurrence while the last one's work still runs (SPEC S6).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Overlap {
    #[default]
    Queue,
    Skip,
    Beside,
}

impl Schedule {
    pub const NEVER: Schedule = Schedule::Word(ScheduleWord::Never);
    pub const IMMEDIATELY: Schedule = Schedule::Word(ScheduleWord::Immediately);

    pub fn is_immediate(&self) -> bool {
        *self == Schedule::IMMEDIATELY
    }

    /// The subscriber after whose extraction it is due.
    pub fn awaited(&self) -> Option<&str> {
        match self {
            Schedule::Rule(rule) => rule.after.as_deref(),
            Schedule::Word(_) => None,
        }
    }

    /// `{ every: … }`, for what makes schedules itself.
    pub fn every(text: &str) -> Schedule {
        Schedule::Rule(Box::new(Rule { every: Some(text.to_owned()), ..Rule::default() }))
    }
}
