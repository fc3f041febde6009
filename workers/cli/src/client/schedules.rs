//! The schedules as a table, and one of them: its coming occurrences, its meaning in words.

use domain::schedule::Zone;
use jiff::Timestamp;
use records::Rows;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::http::segment;
use super::sheets::{print, unfold};
use super::{Client, ClientError, Outcome};
use crate::args::verbs::{Form, NextArgs, ScheduleArgs, ScheduleName};
use crate::output;
use crate::output::table::{Table, width_here};

#[derive(Deserialize)]
struct Shown {
    schedule: String,
    zone: String,
    zone_data: String,
    words: String,
    notes: Vec<String>,
    next: Vec<Coming>,
}

#[derive(Deserialize, Serialize)]
struct Coming {
    nominal: Timestamp,
    start: Timestamp,
    local: String,
}

/// With what the clock shows in each schedule's own zone.
pub async fn list(client: Client, form: Form) -> Result<Outcome, ClientError> {
    let mut rows: Rows = client.get("/v1/sheets/schedules").await?;
    unfold(&mut rows, "spec");
    add_local(&mut rows);
    print(&rows, form, |table| {
        table
            .whole(&["schedule"])
            .rename("next_local", "there")
            .extra(&["overdue_ms", "zone", "last_nominal"])
            .rename("console", "owner")
    })
}

fn add_local(rows: &mut Rows) {
    let at = |name: &str| rows.columns.iter().position(|column| column == name);
    let (Some(spec), Some(zone), Some(due)) = (at("spec"), at("zone"), at("next_due")) else { return };
    rows.columns.insert(due + 1, "next_local".to_owned());
    for row in &mut rows.rows {
        let own = row[spec]["time_zone"].as_str().or_else(|| row[zone].as_str());
        let local = own.zip(row[due].as_str()).and_then(|(zone, due)| local(zone, due));
        row.insert(due + 1, local.map_or(Value::Null, Value::from));
    }
}

/// `Tue 02:00 Europe/Paris`
fn local(zone: &str, due: &str) -> Option<String> {
    let instant = output::people::time(due)?;
    let local = Zone::named(zone).ok()?.local(instant.as_millisecond())?;
    Some(format!("{} {zone}", local.strftime("%a %H:%M")))
}

pub async fn next(client: Client, args: &NextArgs, form: Form) -> Result<Outcome, ClientError> {
    let shown = ask(&client, &args.schedule, args.count).await?;
    output::print(form, &json!({ "schedule": shown.schedule, "zone": shown.zone, "next": shown.next }), || {
        coming(&shown)
    })?;
    Ok(Outcome::Succeeded)
}

fn coming(shown: &Shown) -> String {
    if shown.next.is_empty() {
        return format!("{}: {}\n", shown.schedule, shown.words);
    }
    let mut table = Table::new(&[shown.zone.as_str(), "UTC"]);
    for coming in &shown.next {
        table.push(vec![coming.local.replace('T', " "), coming.start.strftime("%Y-%m-%d %H:%M:%S").to_string()]);
    }
    table.render(width_here())
}

pub async fn explain(client: Client, args: &ScheduleArgs, form: Form) -> Result<Outcome, ClientError> {
    let shown = ask(&client, &args.schedule, 1).await?;
    let whole = json!({ "schedule": shown.schedule, "words": shown.words, "notes": shown.notes, "zone": shown.zone,
        "zone_data": shown.zone_data, "next": shown.next.first() });
    output::print(form, &whole, || explained(&shown))?;
    Ok(Outcome::Succeeded)
}

fn explained(shown: &Shown) -> String {
    let mut lines = vec![format!("{}: {}", shown.schedule, shown.words)];
    if let Some(first) = shown.next.first() {
        lines.push(format!(
            "next: {} ({} UTC)",
            first.local.replace('T', " "),
            first.start.strftime("%Y-%m-%d %H:%M:%S")
        ));
    }
    lines.extend(shown.notes.iter().map(|note| format!("- {note}")));
    lines.push(format!("- Time zones as of {}.", shown.zone_data));
    lines.join("\n") + "\n"
}

async fn ask(client: &Client, name: &ScheduleName, count: u16) -> Result<Shown, ClientError> {
    let path = format!("/v1/schedules/{}/{}?count={count}", segment(&name.verb), segment(&name.object));
    client.get(&path).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when_it_is_due_is_told_in_its_own_zone_too() {
        let mut rows = Rows {
            columns: ["schedule", "spec", "zone", "next_due"].map(str::to_owned).to_vec(),
            rows: vec![
                vec![
                    json!("send/a"),
                    json!({ "daily": "all" }),
                    json!("Europe/Paris"),
                    json!("2026-11-24T01:00:00.000Z"),
                ],
                vec![
                    json!("send/b"),
                    json!({ "time_zone": "Asia/Tokyo" }),
                    json!("UTC"),
                    json!("2026-11-24T01:00:00.000Z"),
                ],
                vec![json!("send/c"), json!("never"), json!("UTC"), Value::Null],
            ],
            cut: false,
        };
        add_local(&mut rows);
        let told: Vec<&Value> = rows.rows.iter().map(|row| &row[4]).collect();
        assert_eq!(told, [&json!("Tue 02:00 Europe/Paris"), &json!("Tue 10:00 Asia/Tokyo"), &Value::Null]);
    }

    #[test]
    fn one_schedule_is_explained_line_by_line() {
        let shown = Shown {
            schedule: "send/protect".into(),
            zone: "Europe/Paris".into(),
            zone_data: "2026e".into(),
            words: "every day, at 02:00 Europe/Paris".into(),
            notes: vec!["A note.".into()],
            next: vec![Coming {
                nominal: "2026-11-24T01:00:00Z".parse().unwrap(),
                start: "2026-11-24T01:00:00Z".parse().unwrap(),
                local: "2026-11-24T02:00:00+01:00".into(),
            }],
        };
        assert_eq!(
            explained(&shown),
            "send/protect: every day, at 02:00 Europe/Paris\nnext: 2026-11-24 02:00:00+01:00 (2026-11-24 01:00:00 UTC)\n\
             - A note.\n- Time zones as of 2026e.\n"
        );
        assert!(coming(&shown).contains("2026-11-24 02:00:00+01:00"), "{}", coming(&shown));
    }
}
