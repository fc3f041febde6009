//! What is wrong with a schedule: a stable code, the field, what it is, and an example that is right.

/// The stable codes that only schedules have; `later-version`, `wrong-type` and `time-zone-unknown` are shared.
pub mod code {
    pub const KIND_UNKNOWN: &str = "schedule-unknown";
    pub const KIND_MISSING: &str = "schedule-kind-missing";
    pub const KIND_DOUBLED: &str = "schedule-kind-doubled";
    pub const OPTION_UNFIT: &str = "schedule-option-unfit";
    pub const TIME_INVALID: &str = "schedule-time-invalid";
    pub const TIME_MISSING: &str = "schedule-time-missing";
    pub const DATE_INVALID: &str = "schedule-date-invalid";
    pub const DATE_OUT_OF_RANGE: &str = "schedule-date-out-of-range";
    pub const DAY_INVALID: &str = "schedule-day-invalid";
    pub const WEEKDAY_UNKNOWN: &str = "weekday-unknown";
    pub const WINDOW_INVALID: &str = "schedule-window-invalid";
    pub const TOO_OFTEN: &str = "schedule-too-often";
    pub const NEVER_HAPPENS: &str = "schedule-never-happens";
    pub const SPAN_INVALID: &str = "span-invalid";
    pub const CRON_INVALID: &str = "cron-invalid";
    pub const CRON_DIALECT_MISSING: &str = "cron-dialect-missing";
    pub const EVENT_INVALID: &str = "event-invalid";
    pub const TIME_ZONE_UNKNOWN: &str = "time-zone-unknown";
    pub const NAME_INVALID: &str = "name-invalid";
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}; {example} [{code}]")]
pub struct ScheduleFault {
    pub code: &'static str,
    /// The option; empty for the schedule as a whole.
    pub field: &'static str,
    pub message: String,
    /// What would be right.
    pub example: String,
}

impl ScheduleFault {
    pub(super) fn new(
        code: &'static str,
        field: &'static str,
        message: impl Into<String>,
        example: impl Into<String>,
    ) -> ScheduleFault {
        ScheduleFault { code, field, message: message.into(), example: example.into() }
    }
}
