//! The ready-made tables: jobs, deliveries, lanes; and one job in full.

use records::Rows;
use serde_json::{Map, Value};

use super::http::segment;
use super::{Client, ClientError, Outcome};
use crate::args::verbs::{DeliveriesArgs, Form, JobsArgs, LanesArgs};
use crate::output;
use crate::output::people::Reader;
use crate::output::table::{Table, width_here};

pub async fn jobs(client: Client, args: &JobsArgs, form: Form) -> Result<Outcome, ClientError> {
    if let Some(job) = &args.job {
        return one_job(&client, job, form).await;
    }
    let narrow = narrowed(&[
        ("state", args.state.clone()),
        ("kind", args.kind.clone()),
        ("subscriber", args.subscriber.as_ref().map(ToString::to_string)),
        ("distribution", args.distribution.as_ref().map(ToString::to_string)),
        ("lane", args.lane.as_ref().map(ToString::to_string)),
        ("limit", args.limit.map(|n| n.to_string())),
    ]);
    let rows: Rows = client.get_with("/v1/sheets/jobs", &narrow).await?;
    let extras = ["lane", "error_code", "attempt", "waits_for", "created_at", "ended_at"];
    print(&rows, form, |table| {
        table.without_empty(&["waits_for", "error", "error_code"]).rename("revision", "rev").extra(&extras)
    })
}

pub async fn deliveries(client: Client, args: &DeliveriesArgs, form: Form) -> Result<Outcome, ClientError> {
    let narrow = narrowed(&[
        ("channel", args.channel.as_ref().map(ToString::to_string)),
        ("distribution", args.distribution.as_ref().map(ToString::to_string)),
        ("subscriber", args.subscriber.as_ref().map(ToString::to_string)),
        ("state", args.state.clone()),
    ]);
    let rows: Rows = client.get_with("/v1/sheets/deliveries", &narrow).await?;
    let extras = ["bytes_needed", "took_ms", "error_code", "bytes_moved", "stored"];
    print(&rows, form, |table| table.without_empty(&["error", "error_code"]).extra(&extras))
}

pub async fn lanes(client: Client, args: &LanesArgs, form: Form) -> Result<Outcome, ClientError> {
    let narrow = narrowed(&[("lane", args.lane.as_ref().map(ToString::to_string))]);
    let rows: Rows = client.get_with("/v1/sheets/lanes", &narrow).await?;
    print(&rows, form, |table| {
        let table =
            table.rename("job_id", "job").rename("behind_job_id", "behind").rename("expected_start", "expected");
        table.without_empty(&["waits_for"]).whole(&["lane"]).extra(&["priority", "revision", "distribution", "behind"])
    })
}

fn narrowed<'a>(filters: &[(&'a str, Option<String>)]) -> Vec<(&'a str, String)> {
    filters.iter().filter_map(|(name, value)| Some((*name, value.clone()?))).collect()
}

/// A column that holds JSON as text becomes what it holds.
pub(super) fn unfold(rows: &mut Rows, column: &str) {
    let Some(at) = rows.columns.iter().position(|name| name == column) else { return };
    for value in rows.rows.iter_mut().filter_map(|row| row.get_mut(at)) {
        let held = value.as_str().and_then(|text| serde_json::from_str(text).ok());
        *value = held.unwrap_or_else(|| value.take());
    }
}

/// Rows as a table, or as a list of objects with exact figures.
pub fn print(rows: &Rows, form: Form, shape: impl FnOnce(Table) -> Table) -> Result<Outcome, ClientError> {
    output::print(form, &Value::Array(objects(rows)), || {
        if rows.rows.is_empty() {
            return "nothing\n".to_owned();
        }
        shape(Table::of_rows(rows, &Reader::here(true))).render(width_here())
    })?;
    Ok(Outcome::Succeeded)
}

pub fn objects(rows: &Rows) -> Vec<Value> {
    let object = |row: &Vec<Value>| rows.columns.iter().cloned().zip(row.iter().cloned()).collect::<Map<_, _>>();
    rows.rows.iter().map(|row| Value::Object(object(row))).collect()
}

async fn one_job(client: &Client, id: &str, form: Form) -> Result<Outcome, ClientError> {
    let job: Value = client.get(&format!("/v1/jobs/{}", segment(id))).await?;
    output::print(form, &job, || in_full(&job, &Reader::here(false)))?;
    Ok(Outcome::Succeeded)
}

/// What is read first of a job; the rest follows.
const FIRST: [&str; 14] = [
    "id",
    "kind",
    "state",
    "error_code",
    "error",
    "note",
    "distribution",
    "revision",
    "subscriber",
    "channel",
    "lane",
    "attempt",
    "attempts_max",
    "worker",
];

/// Field by field, without those that say nothing; then its history, then what it waits for.
fn in_full(job: &Value, reader: &Reader) -> String {
    let mut fields = Table::new(&["field", "value"]);
    let row = job["job"].as_object();
    let rest = row.into_iter().flatten().map(|(name, _)| name.as_str()).filter(|name| !FIRST.contains(name));
    for name in FIRST.into_iter().chain(rest) {
        if let Some(value) = row.and_then(|row| row.get(name)).filter(|value| !value.is_null()) {
            fields.push(vec![name.to_owned(), reader.cell(name, value)]);
        }
    }
    let mut out = fields.render(width_here());
    for (title, part) in [("history", "history"), ("waits for", "waits")] {
        let Some(rows) = job[part].as_array().filter(|rows| !rows.is_empty()) else { continue };
        let columns: Vec<&str> = rows[0].as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
        let mut table = Table::new(&columns);
        for row in rows {
            table.push(columns.iter().map(|column| reader.cell(column, &row[*column])).collect());
        }
        let table = table.without_empty(&["detail", "until", "awaited_subscriber"]);
        out.push_str(&format!("\n{title}\n{}", table.render(width_here())));
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::output::people::utc;

    #[test]
    fn one_job_is_told_with_its_history() {
        let job = json!({
            "job": { "id": "0a1b2c3d-0000-5000-8000-000000000001", "state": "failed", "error": "the disk is full", "worker": null },
            "history": [{ "at": "2026-11-21T06:02:25.123Z", "event": "planned", "attempt": 1, "worker": null, "detail": null }],
            "waits": [],
        });
        let text = in_full(&job, &utc("2026-11-21T12:00:00Z"));
        assert!(text.contains("the disk is full") && !text.contains("worker  "), "{text}");
        assert!(text.contains("\nhistory\n") && text.contains("06:02:25"), "{text}");
        assert!(!text.contains("waits for"), "{text}");
    }

    #[test]
    fn rows_become_objects_in_other_forms() {
        let rows = Rows { columns: vec!["a".into(), "b".into()], rows: vec![vec![json!(1), json!(null)]], cut: false };
        assert_eq!(objects(&rows), [json!({ "a": 1, "b": null })]);
    }
}
