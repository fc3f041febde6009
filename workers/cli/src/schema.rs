//! `schema print`: the published documents, without a service.

use anyhow::bail;
use serde_json::json;

use crate::args::verbs::{Form, SchemaArgs};
use crate::output;

pub fn print(args: &SchemaArgs) -> anyhow::Result<()> {
    let published = schemas::published();
    let Some(wanted) = &args.name else {
        let names: Vec<&str> = published.iter().map(|(name, _)| *name).collect();
        return Ok(output::print(args.output, &json!({ "schemas": names }), || names.join("\n") + "\n")?);
    };
    let stem = |name: &str| name.trim_end_matches(".json").trim_end_matches(".schema").to_owned();
    let Some((_, document)) = published.iter().find(|(name, _)| name == wanted || stem(name) == *wanted) else {
        let names: Vec<&str> = published.iter().map(|(name, _)| *name).collect();
        bail!("`{}` is not published; there are {}", output::clean::line(wanted), names.join(", "));
    };
    let form = if args.output == Form::Table { Form::Json } else { args.output };
    Ok(output::print(form, document, String::new)?)
}
