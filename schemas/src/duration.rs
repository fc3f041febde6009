//! Lengths of time as people write them: `90s`, `5m`, `1h30m`, `2d`.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A positive length of time. `d` is kept apart from hours only by whoever needs civil days (schedules).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema))]
#[serde(try_from = "String", into = "String")]
#[cfg_attr(feature = "generate", schemars(extend("pattern" = r"^([0-9]+[smhd])+$")))]
pub struct Span(Duration);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a length of time: numbers with s, m, h or d, such as `90s`, `5m`, `1h30m`, `2d`, above zero")]
pub struct InvalidSpan(String);

/// Longest span that is accepted: ten years of 366 days.
const SECONDS_MAX: u64 = 10 * 366 * 86_400;

impl Span {
    pub fn from_secs(seconds: u64) -> Span {
        Span(Duration::from_secs(seconds))
    }

    pub fn as_duration(self) -> Duration {
        self.0
    }

    pub fn as_secs(self) -> u64 {
        self.0.as_secs()
    }

    pub fn as_millis(self) -> i64 {
        self.0.as_millis() as i64
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0.as_secs();
        for (unit, seconds) in [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)] {
            if rest >= seconds {
                write!(f, "{}{unit}", rest / seconds)?;
                rest %= seconds;
            }
        }
        Ok(())
    }
}

impl From<Span> for String {
    fn from(span: Span) -> String {
        span.to_string()
    }
}

impl TryFrom<String> for Span {
    type Error = InvalidSpan;
    fn try_from(text: String) -> Result<Self, InvalidSpan> {
        text.parse()
    }
}

impl std::str::FromStr for Span {
    type Err = InvalidSpan;

    fn from_str(text: &str) -> Result<Self, InvalidSpan> {
        parse(text).map(|s| Span(Duration::from_secs(s))).ok_or_else(|| InvalidSpan(text.chars().take(80).collect()))
    }
}

fn parse(text: &str) -> Option<u64> {
    let mut total = 0u64;
    let mut number: Option<u64> = None;
    for c in text.chars() {
        if let Some(digit) = c.to_digit(10) {
            number = Some(number.unwrap_or(0).checked_mul(10)?.checked_add(digit.into())?);
            continue;
        }
        let unit = match c {
            's' => 1,
            'm' => 60,
            'h' => 3_600,
            'd' => 86_400,
            _ => return None,
        };
        total = total.checked_add(number.take()?.checked_mul(unit)?)?;
    }
    (number.is_none() && total > 0 && total <= SECONDS_MAX).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_read_as_people_write_them() {
        for (text, seconds) in [("90s", 90), ("5m", 300), ("1h30m", 5_400), ("2d", 172_800)] {
            assert_eq!(text.parse::<Span>().unwrap().as_secs(), seconds);
        }
        assert_eq!(Span::from_secs(5_400).to_string(), "1h30m");
        for bad in ["", "0s", "5", "m", "5 m", "-5m", "5w", "99999999999999999999s", "4000d"] {
            assert!(bad.parse::<Span>().is_err(), "{bad}");
        }
    }
}
