//! `get`, `describe`, `delete`.

use schemas::name::Kind;
use serde_json::{Value, json};

use super::http::segment;
use super::{Client, ClientError, Outcome};
use crate::args::verbs::{Form, GetArgs, ObjectArgs};
use crate::output;
use crate::output::people::flow as cell;
use crate::output::table::{Table, width_here};

pub async fn get(client: Client, args: &GetArgs, form: Form) -> Result<Outcome, ClientError> {
    let Some(name) = &args.name else {
        let listed: Value = client.get(&format!("/v1/objects/{}", args.kind)).await?;
        output::print(form, &listed, || list(args.kind, &listed))?;
        return Ok(Outcome::Succeeded);
    };
    let object: Value = client.get(&path(args.kind, name)).await?;
    // As a file of definitions says it, so that it can be applied again.
    let declared = json!({ args.kind.plural(): { name: object["spec"] } });
    let form = if form == Form::Table { Form::Yaml } else { form };
    output::print(form, &declared, String::new)?;
    Ok(Outcome::Succeeded)
}

pub async fn describe(client: Client, args: &ObjectArgs, form: Form) -> Result<Outcome, ClientError> {
    let description: Value = client.get(&format!("{}/description", path(args.kind, &args.name))).await?;
    output::print(form, &description, || described(&description))?;
    Ok(Outcome::Succeeded)
}

pub async fn delete(client: Client, args: &ObjectArgs, form: Form) -> Result<Outcome, ClientError> {
    let deleted: Value = client.delete(&path(args.kind, &args.name)).await?;
    output::print(form, &deleted, || format!("deleted    {} {}\n", args.kind, args.name))?;
    Ok(Outcome::Succeeded)
}

fn path(kind: Kind, name: &str) -> String {
    format!("/v1/objects/{kind}/{}", segment(name))
}

/// What people look for first, of each kind.
fn fields(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Distributor => &["time_zone", "refresh"],
        Kind::Distribution => &["distributor", "mode", "target", "build", "active"],
        Kind::Channel => &["distributions", "send", "subscriptions", "active"],
        Kind::Group => &["members"],
        Kind::Subscriber => &["parent", "extract", "time_zone"],
        Kind::Hierarchy => &["routes"],
        Kind::Sync => &["subscriber", "components", "schedule"],
    }
}

fn list(kind: Kind, listed: &Value) -> String {
    if listed["objects"].as_array().is_none_or(Vec::is_empty) {
        return format!("no {} are defined\n", kind.plural());
    }
    let mut titles = vec!["name", "title"];
    titles.extend(fields(kind));
    let mut table = Table::new(&titles);
    for object in listed["objects"].as_array().into_iter().flatten() {
        let spec = &object["spec"];
        let mut row = vec![cell(&object["name"]), cell(&object["title"])];
        row.extend(fields(kind).iter().map(|field| match (*field, spec) {
            // A group may be written as a bare list.
            ("members", Value::Array(_)) => cell(spec),
            (field, spec) => cell(&spec[field]),
        }));
        table.push(row);
    }
    table.without_empty(&["title"]).extra(&["time_zone", "title"]).render(width_here())
}

fn described(description: &Value) -> String {
    let mut table = Table::new(&["field", "value", "from"]);
    for field in description["fields"].as_array().into_iter().flatten() {
        table.push(vec![cell(&field["path"]), cell(&field["value"]), cell(&field["origin"])]);
    }
    let mut out = format!("{} {}\n\n", cell(&description["kind"]), cell(&description["name"]));
    out.push_str(&table.render(width_here()));
    out.push_str(&standing(&description["standing"]));
    if let Some(console) = description["console"].as_str() {
        out.push_str(&format!("\nCreated by console {}.\n", cell(&json!(console))));
    }
    let references: Vec<String> =
        description["referred_by"].as_array().into_iter().flatten().map(|r| cell(&r["field"])).collect();
    if references.is_empty() {
        out.push_str("\nNothing names it.\n");
    } else {
        out.push_str(&format!("\nNamed by:\n  {}\n", references.join("\n  ")));
    }
    out
}

/// Only what is not as applied is worth a line.
fn standing(standing: &Value) -> String {
    let Some(distributor) = standing["waits_for"].as_str() else { return String::new() };
    format!(
        "\nVersion {} is applied and waits for a refresh of {}; version {} is in effect.\n",
        standing["applied_version"],
        cell(&json!(distributor)),
        standing["version_in_effect"]
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_shows_what_people_look_for_first() {
        let listed = json!({ "objects": [
            { "name": "asia", "title": null, "spec": ["tokyo", "osaka"] },
            { "name": "eu", "title": null, "spec": { "members": ["paris"] } },
        ] });
        assert_eq!(list(Kind::Group, &listed), "NAME  MEMBERS\nasia  tokyo, osaka\neu    paris\n");
        let listed =
            json!({ "objects": [{ "name": "paris", "title": "Paris", "spec": { "extract": { "every": "1h" } } }] });
        assert_eq!(
            list(Kind::Subscriber, &listed),
            "NAME   TITLE  PARENT  EXTRACT        TIME_ZONE\nparis  Paris  -       { every: 1h }  -\n"
        );
    }

    #[test]
    fn a_description_ends_with_who_names_it() {
        let text = described(&json!({
            "kind": "group", "name": "asia",
            "fields": [{ "path": "members", "value": "tokyo", "origin": "declared" }],
            "referred_by": [{ "kind": "channel", "name": "protect", "field": "channels.protect.subscriptions[2]" }],
        }));
        assert!(text.ends_with("\nNamed by:\n  channels.protect.subscriptions[2]\n"), "{text}");
        assert!(!text.contains("waits"), "{text}");
    }

    #[test]
    fn a_description_says_what_waits_for_a_refresh() {
        let text = described(&json!({
            "kind": "distribution", "name": "antivirus", "fields": [], "referred_by": [],
            "standing": { "applied_version": 3, "version_in_effect": 2, "waits_for": "hq" },
        }));
        assert!(text.contains("Version 3 is applied and waits for a refresh of hq; version 2 is in effect."), "{text}");
    }
}
