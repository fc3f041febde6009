//! `apply`: files to the service, and what changed by them.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Client, ClientError, Outcome, files};
use crate::args::verbs::{ApplyArgs, Form};
use crate::output::{self, clean};

pub async fn run(client: Client, args: &ApplyArgs, form: Form) -> Result<Outcome, ClientError> {
    let files = files::read(&args.files).map_err(|e| ClientError::Usage(format!("{e:#}")))?;
    let files: Vec<Value> = files.into_iter().map(|(name, text)| json!({ "name": name, "text": text })).collect();
    let body = json!({ "files": files, "dry_run": args.dry_run, "refresh": args.refresh, "prune": args.prune });
    let answer: Value = client.post("/v1/apply", &body).await?;
    for warning in answer["warnings"].as_array().into_iter().flatten() {
        eprintln!("{}", warned(warning));
    }
    output::print(form, &answer, || shown(&answer))?;
    Ok(Outcome::Succeeded)
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

fn warned(warning: &Value) -> String {
    let line = warning["line"].as_u64().filter(|&n| n > 0).map(|n| format!("{n}: ")).unwrap_or_default();
    let field = text(warning, "field");
    let field = if field.is_empty() { String::new() } else { format!("{field}: ") };
    clean::line(&format!("{}:{line}{field}warning: {}", text(warning, "file"), text(warning, "message")))
}

/// What changed, one on each line; the rest is counted.
fn shown(answer: &Value) -> String {
    let mut out = String::new();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for object in answer["objects"].as_array().into_iter().flatten() {
        let change = text(object, "change");
        *counts.entry(change).or_default() += 1;
        if change != "unchanged" {
            out.push_str(&format!("{:<9}  {} {}\n", change, text(object, "kind"), clean::line(text(object, "name"))));
        }
    }
    let counted: Vec<String> = counts.iter().map(|(change, n)| format!("{n} {change}")).collect();
    let counted = if counted.is_empty() { "nothing is defined".to_owned() } else { counted.join(", ") };
    if answer["dry_run"] == json!(true) {
        out.push_str(&format!("dry run: {counted}; nothing was changed\n"));
    } else {
        out.push_str(&format!("{counted}; definitions version {}\n", answer["version"]));
    }
    for request in answer["requests"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        out.push_str(&format!("refresh asked for: {request}\n"));
    }
    for waiting in answer["waiting"].as_array().into_iter().flatten() {
        let (kind, name, of) = (text(waiting, "kind"), clean::line(text(waiting, "name")), text(waiting, "waits_for"));
        out.push_str(&format!("waits      {kind} {name}: as before until `tidegate refresh {}`\n", clean::line(of)));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_listed_and_the_rest_is_counted() {
        let answer = json!({
            "version": 4, "dry_run": false, "requests": ["01930000-0000-7000-8000-000000000001"], "warnings": [],
            "objects": [
                { "kind": "channel", "name": "protect", "change": "changed" },
                { "kind": "group", "name": "asia", "change": "unchanged" },
                { "kind": "subscriber", "name": "oslo", "change": "created" },
            ],
        });
        let expected = "\
changed    channel protect
created    subscriber oslo
1 changed, 1 created, 1 unchanged; definitions version 4
refresh asked for: 01930000-0000-7000-8000-000000000001
";
        assert_eq!(shown(&answer), expected);
    }
}
