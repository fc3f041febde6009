//! `status`: subscribers, channels and counts on one screen.

use serde_json::{Map, Value};

use super::{Client, ClientError, Outcome};
use crate::args::verbs::Form;
use crate::output;
use crate::output::clean;
use crate::output::people::Reader;
use crate::output::table::{Table, width_here};

pub async fn run(client: Client, form: Form) -> Result<Outcome, ClientError> {
    let status: Value = client.get("/v1/status").await?;
    output::print(form, &status, || shown(&status, &Reader::here(true), width_here()))?;
    Ok(Outcome::Succeeded)
}

fn shown(status: &Value, reader: &Reader, width: Option<usize>) -> String {
    let mut out = String::new();
    let channels = ["channel", "subscribers", "distributions", "current", "failed", "never_tried", "jobs_open"];
    let subscribers = ["subscriber", "state", "last_seen", "wanted", "current", "jobs_open", "program_version"];
    for (part, columns) in [("channels", channels), ("subscribers", subscribers)] {
        let rows: Vec<&Value> = status[part].as_array().into_iter().flatten().collect();
        if rows.is_empty() {
            out.push_str(&format!("no {part} are defined\n\n"));
            continue;
        }
        let mut table = Table::new(&columns);
        for row in rows {
            table.push(columns.iter().map(|column| reader.cell(column, &row[*column])).collect());
        }
        out.push_str(&table.extra(&["program_version", "distributions", "last_seen"]).render(width));
        out.push('\n');
    }
    out.push_str(&format!("deliveries    {}\n", counts(&status["deliveries"])));
    out.push_str(&format!("jobs          {}\n", counts(&status["jobs"])));
    let dead = status["dead_letters"].as_i64().unwrap_or(0);
    let hint = if dead > 0 { "  (tidegate dead-letters list)" } else { "" };
    out.push_str(&format!("dead letters  {dead}{hint}\n"));
    out
}

fn counts(counts: &Value) -> String {
    let none = Map::new();
    let counts = counts.as_object().unwrap_or(&none);
    let text: Vec<String> = counts.iter().map(|(state, n)| format!("{n} {}", clean::line(state))).collect();
    if text.is_empty() { "none".to_owned() } else { text.join(", ") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::output::people::utc;

    #[test]
    fn how_things_stand_fits_eighty_columns() {
        let status = json!({
            "channels": [{ "channel": "protect", "subscribers": 3, "distributions": 1, "current": 2, "failed": 1, "never_tried": 0, "jobs_open": 0 }],
            "subscribers": [
                { "subscriber": "a-region-with-a-rather-long-name-eu", "state": "never seen", "last_seen": null, "wanted": 1, "current": 0, "jobs_open": 0, "program_version": null },
                { "subscriber": "paris", "state": "present", "last_seen": "2026-11-21T11:59:58.000Z", "wanted": 1, "current": 1, "jobs_open": 0, "program_version": "0.1.0" },
            ],
            "jobs": { "failed": 1, "succeeded": 7 }, "deliveries": { "current": 2, "failed": 1 }, "dead_letters": 1,
        });
        let text = shown(&status, &utc("2026-11-21T12:00:00Z"), Some(80));
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        assert!(text.contains("jobs          1 failed, 7 succeeded\n"), "{text}");
        assert!(text.contains("dead letters  1  (tidegate dead-letters list)\n"), "{text}");
    }

    #[test]
    fn an_empty_fleet_says_so() {
        let text = shown(&json!({}), &utc("2026-11-21T12:00:00Z"), None);
        assert!(text.starts_with("no channels are defined\n"), "{text}");
        assert!(text.contains("jobs          none\n"), "{text}");
    }
}
