//! Values as people read them: sizes with units, times in their own zone, ids by their first digits.

use jiff::{Timestamp, Zoned};
use serde_json::Value;

use super::clean;

/// Columns of the views that hold bytes.
const SIZES: [&str; 9] = [
    "bytes",
    "bytes_content",
    "bytes_needed",
    "bytes_moved",
    "stored_bytes",
    "new_bytes",
    "index_bytes",
    "needed",
    "moved",
];
/// Columns of the views that hold milliseconds.
const SPANS: [&str; 3] = ["took_ms", "late_ms", "overdue_ms"];
/// Digits of an id that are enough to name it.
const ID_DIGITS: usize = 8;

/// Whose eyes it is for.
#[derive(Debug, Clone)]
pub struct Reader {
    pub now: Zoned,
    /// Ids by their first digits.
    pub short_ids: bool,
}

impl Reader {
    pub fn here(short_ids: bool) -> Reader {
        Reader { now: Zoned::now(), short_ids }
    }

    pub fn cell(&self, column: &str, value: &Value) -> String {
        match value {
            Value::Null => "-".to_owned(),
            Value::Bool(yes) => if *yes { "yes" } else { "no" }.to_owned(),
            Value::Number(number) if SIZES.contains(&column) => {
                number.as_u64().map_or_else(|| number.to_string(), size)
            }
            Value::Number(number) if SPANS.contains(&column) => {
                number.as_i64().map_or_else(|| number.to_string(), span_ms)
            }
            Value::Number(number) => number.to_string(),
            Value::String(text) => self.text(text),
            Value::Array(_) | Value::Object(_) => flow(value),
        }
    }

    fn text(&self, text: &str) -> String {
        if let Some(time) = time(text) {
            return self.time(time);
        }
        if self.short_ids && is_id(text) {
            return text[..ID_DIGITS].to_owned();
        }
        clean::line(text)
    }

    /// As much as differs from now.
    fn time(&self, time: Timestamp) -> String {
        let then = time.to_zoned(self.now.time_zone().clone());
        let form = if then.date() == self.now.date() {
            "%H:%M:%S"
        } else if then.year() == self.now.year() {
            "%d %b %H:%M"
        } else {
            "%Y-%m-%d"
        };
        then.strftime(form).to_string()
    }
}

/// A value as a file of definitions has it, on one line.
pub fn flow(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => clean::line(text),
        Value::Array(items) => items.iter().map(flow).collect::<Vec<_>>().join(", "),
        Value::Object(map) => {
            let inner: Vec<String> =
                map.iter().map(|(key, value)| format!("{}: {}", clean::line(key), flow(value))).collect();
            format!("{{ {} }}", inner.join(", "))
        }
        other => other.to_string(),
    }
}

/// `1536` → `1.5 KiB`.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    // Rounded to four digits, 1,023.96 KiB would read as 1024.0 KiB.
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// `1234` → `1.2 s`.
pub fn span_ms(ms: i64) -> String {
    let seconds = ms / 1000;
    match ms {
        ..1_000 => format!("{ms} ms"),
        1_000..60_000 => format!("{:.1} s", ms as f64 / 1000.0),
        60_000..3_600_000 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h{:02}m", seconds / 3600, seconds % 3600 / 60),
    }
}

/// Both databases' way to write an instant.
pub fn time(text: &str) -> Option<Timestamp> {
    let bytes = text.as_bytes();
    let has_shape = (20..=35).contains(&bytes.len())
        && bytes[4] == b'-'
        && bytes[7] == b'-'
        && matches!(bytes[10], b'T' | b' ')
        && bytes[13] == b':';
    if has_shape { text.parse().ok() } else { None }
}

fn is_id(text: &str) -> bool {
    text.len() == 36 && uuid::Uuid::try_parse(text).is_ok()
}

#[cfg(test)]
pub fn utc(now: &str) -> Reader {
    Reader { now: now.parse::<Timestamp>().unwrap().to_zoned(jiff::tz::TimeZone::UTC), short_ids: true }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn sizes_and_spans_have_units() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1_048_575, "1.0 MiB"),
            (5 << 30, "5.0 GiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
        for (ms, text) in [(7, "7 ms"), (1_234, "1.2 s"), (61_000, "1m01s"), (3_660_000, "1h01m")] {
            assert_eq!(span_ms(ms), text);
        }
    }

    #[test]
    fn cells_are_for_people_and_keep_what_they_do_not_know() {
        let reader = utc("2026-11-21T12:00:00Z");
        for (column, value, text) in [
            ("bytes_moved", json!(2048), "2.0 KiB"),
            ("attempt", json!(2048), "2048"),
            ("took_ms", json!(1500), "1.5 s"),
            ("ended_at", json!("2026-11-21T06:02:25.123Z"), "06:02:25"),
            ("ended_at", json!("2026-11-20 06:02:25.123456+00"), "20 Nov 06:02"),
            ("ended_at", json!("2024-02-29T06:02:25.123Z"), "2024-02-29"),
            ("id", json!("01930000-0000-7000-8000-000000000001"), "01930000"),
            ("error", Value::Null, "-"),
            ("error", json!("\u{1b}[2J"), "\\u{1b}[2J"),
            ("date", json!("2026-11-21"), "2026-11-21"),
        ] {
            assert_eq!(reader.cell(column, &value), text, "{column}");
        }
    }
}
