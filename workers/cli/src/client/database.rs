//! `db url | migrate | views`. Migrating goes to the database itself: it comes before any service.

use std::process::ExitCode;

use records::Records;
use serde_json::{Value, json};

use super::{Client, ClientError, Outcome, exit, with};
use crate::args::verbs::{Form, MigrateArgs, Nothing, Verb};
use crate::output::table::width_here;
use crate::output::{self, clean};
use crate::roles;

/// Where there is no terminal to fit.
const COLUMNS_IN_A_PIPE: usize = 120;

pub async fn run_url(verb: Verb<Nothing>) -> ExitCode {
    with(&verb.client, async |client| url(client, verb.client.output).await).await
}

pub async fn run_views(verb: Verb<Nothing>) -> ExitCode {
    with(&verb.client, async |client| views(client, verb.client.output).await).await
}

pub async fn migrate(args: MigrateArgs) -> ExitCode {
    let url = match roles::database_url(&args.database, args.config.as_deref()) {
        Ok(url) => url,
        Err(error) => return exit::code(Err(ClientError::Usage(format!("{error:#}")))),
    };
    exit::code(migrate_at(&url, args.output).await)
}

async fn url(client: Client, form: Form) -> Result<Outcome, ClientError> {
    let database: Value = client.get("/v1/database").await?;
    output::print(form, &database, || format!("{}\n", database["url"].as_str().unwrap_or_default()))?;
    Ok(Outcome::Succeeded)
}

async fn views(client: Client, form: Form) -> Result<Outcome, ClientError> {
    let answer: Value = client.get("/v1/database/views").await?;
    output::print(form, &answer["views"], || listed(&answer["views"], width_here().unwrap_or(COLUMNS_IN_A_PIPE)))?;
    Ok(Outcome::Succeeded)
}

/// Each view with its columns beside it, over several lines where they need them.
fn listed(views: &Value, width: usize) -> String {
    let text = |view: &Value, field: &str| clean::line(view[field].as_str().unwrap_or_default());
    let views: Vec<(String, String)> =
        views.as_array().into_iter().flatten().map(|view| (text(view, "view"), text(view, "columns"))).collect();
    let indent = 2 + views.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let mut out = String::new();
    for (name, columns) in views {
        let mut line = format!("{name:<indent$}");
        for column in columns.split_inclusive(", ") {
            if line.len() + column.trim_end().len() > width && line.len() > indent {
                out.push_str(&format!("{}\n", line.trim_end()));
                line = " ".repeat(indent);
            }
            line.push_str(column);
        }
        out.push_str(&format!("{}\n", line.trim_end()));
    }
    out
}

async fn migrate_at(url: &str, form: Form) -> Result<Outcome, ClientError> {
    let refused = |error: records::RecordsError| {
        if error.is_transient() {
            ClientError::Refused(super::error::Refusal {
                status: 503,
                code: error.code().to_owned(),
                message: error.to_string(),
                ..Default::default()
            })
        } else {
            ClientError::Local(error.to_string())
        }
    };
    let records = Records::open(url).await.map_err(refused)?;
    let migrated = records.migrate().await;
    let kind = if records.is_postgres() { "postgres" } else { "sqlite" };
    records.close().await;
    migrated.map_err(refused)?;
    output::print(form, &json!({ "database": kind, "state": "migrated" }), || {
        format!("migrated   the {kind} database has this version's shape\n")
    })?;
    Ok(Outcome::Succeeded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_columns_of_a_view_stand_beside_it() {
        let views =
            json!([{ "view": "waits", "columns": "job_id, kind, subscriber" }, { "view": "jobs", "columns": "id" }]);
        assert_eq!(listed(&views, 22), "waits  job_id, kind,\n       subscriber\njobs   id\n");
    }
}
