//! Rules for when. This version knows three kinds; the others are refused by name, never skipped.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Span;

/// `never`, `immediately`, or `{ every: 10m }`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Schedule {
    Word(ScheduleWord),
    Every(Every),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ScheduleWord {
    Never,
    Immediately,
}

/// Every N, counted from when the schedule was first applied (SPEC §10, 9).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Every {
    pub every: Span,
}

impl Schedule {
    pub const NEVER: Schedule = Schedule::Word(ScheduleWord::Never);
    pub const IMMEDIATELY: Schedule = Schedule::Word(ScheduleWord::Immediately);

    pub fn is_immediate(&self) -> bool {
        *self == Schedule::IMMEDIATELY
    }

    pub fn every(&self) -> Option<Span> {
        match self {
            Schedule::Every(every) => Some(every.every),
            Schedule::Word(_) => None,
        }
    }
}
