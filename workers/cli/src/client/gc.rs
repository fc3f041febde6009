//! `gc`: what would go and why, or doing it now.

use schemas::{Request, RequestId, RequestKind};
use serde_json::Value;
use uuid::Uuid;

use super::{Client, ClientError, Outcome, ask};
use crate::args::verbs::{Form, GcArgs};
use crate::output;
use crate::output::clean;
use crate::output::people::{size, span_ms};
use crate::output::table::{Table, width_here};

/// Objects that are listed for people, the largest first; the other forms have all.
const OBJECTS_SHOWN_MAX: usize = 20;

pub async fn run(client: Client, args: GcArgs, form: Form) -> Result<Outcome, ClientError> {
    if args.dry_run {
        let narrow: Vec<(&str, String)> =
            args.distributions.iter().map(|name| ("distribution", name.to_string())).collect();
        let plan: Value = client.get_with("/v1/garbage", &narrow).await?;
        output::print(form, &plan, || told(&plan))?;
        return Ok(Outcome::Succeeded);
    }
    let mut request = Request::new(RequestId(Uuid::now_v7()), RequestKind::Collect);
    request.selector.distributions = args.distributions;
    request.options.force = args.force;
    request.options.reason = args.follow.reason.clone();
    ask::hand_in(&client, &request, &args.follow, form).await
}

fn told(plan: &Value) -> String {
    let none = Vec::new();
    let list = |name: &str| plan[name].as_array().unwrap_or(&none).iter();
    let mut revisions = Table::new(&["distribution", "revision", "content", "fate", "why"]);
    for revision in list("revisions") {
        let fate = if revision["goes"] == Value::Bool(true) { "goes" } else { "stays" };
        let bytes = size(revision["bytes"].as_u64().unwrap_or(0));
        revisions.push(vec![
            text(revision, "distribution"),
            revision["revision"].to_string(),
            bytes,
            fate.into(),
            text(revision, "why"),
        ]);
    }
    let mut objects: Vec<&Value> = list("objects").collect();
    let bytes = |object: &Value| object["bytes"].as_u64().unwrap_or(0);
    let total: u64 = objects.iter().map(|object| bytes(object)).sum();
    let count = objects.len();
    objects.sort_by_key(|object| std::cmp::Reverse(bytes(object)));
    let mut table = Table::new(&["distribution", "object", "size", "state", "goes in", "why"]);
    for object in objects.into_iter().take(OBJECTS_SHOWN_MAX) {
        let goes_in = object["due_in_ms"].as_i64().map_or("its grace".to_owned(), span_ms);
        table.push(vec![
            text(object, "distribution"),
            text(object, "object").chars().take(20).collect(),
            size(bytes(object)),
            text(object, "state"),
            goes_in,
            text(object, "why"),
        ]);
    }
    let mut out = if list("revisions").next().is_some() { revisions.render(width_here()) } else { String::new() };
    if count == 0 {
        out.push_str("\nno garbage\n");
        return out;
    }
    out.push_str(&format!("\n{}", table.render(width_here())));
    if count > OBJECTS_SHOWN_MAX {
        out.push_str(&format!("… and {} smaller ones; --output json lists all\n", count - OBJECTS_SHOWN_MAX));
    }
    out.push_str(&format!("\n{count} objects, {} in all\n", size(total)));
    out
}

fn text(of: &Value, field: &str) -> String {
    clean::line(of[field].as_str().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_plan_says_what_goes_why_and_how_much() {
        let plan = json!({
            "revisions": [
                { "distribution": "av", "revision": 1, "goes": true, "why": "more than max_revisions", "bytes": 2048 },
                { "distribution": "av", "revision": 2, "goes": false, "why": "the newest", "bytes": 4096 },
            ],
            "objects": [
                { "distribution": "av", "object": "packs/00ff", "bytes": 1024, "state": "to be condemned",
                  "why": "only retired revision 1 named it", "due_in_ms": null },
                { "distribution": "av", "object": "packs/11ff", "bytes": 3072, "state": "condemned",
                  "why": "no revision leads to it", "due_in_ms": 61_000 },
            ],
        });
        let text = told(&plan);
        for part in ["goes", "stays", "more than max_revisions", "2.0 KiB", "1m01s", "2 objects, 4.0 KiB in all"] {
            assert!(text.contains(part), "{part} in:\n{text}");
        }
        assert!(text.find("packs/11ff") < text.find("packs/00ff"), "the largest first:\n{text}");
        assert_eq!(told(&json!({ "revisions": [], "objects": [] })), "\nno garbage\n");
    }
}
