//! `query`: a person's own question, to the service, or to the database that a service left in its data directory.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use records::{Records, Rows};
use serde_json::json;

use super::address::{ApiFile, DATA_DEFAULT};
use super::{Client, ClientError, Outcome, exit, with};
use crate::args::verbs::{ClientArgs, Form, QueryArgs, Verb};
use crate::output;
use crate::output::table::{of_query, width_here};
use crate::roles::embedded::{DATABASE_FILE, sqlite_url};

/// A statement from stdin, in bytes; the service takes no more either.
const SQL_BYTES_MAX: u64 = 64 << 10;

pub async fn run(verb: &Verb<QueryArgs>) -> ExitCode {
    let form = verb.client.output;
    match left_behind(&verb.client) {
        Some(database) => exit::code(ask_file(&database, &verb.args, form).await),
        None => with(&verb.client, async |client| ask_service(client, &verb.args, form).await).await,
    }
}

/// The database of a data directory that no service is at work on.
fn left_behind(args: &ClientArgs) -> Option<PathBuf> {
    if args.api.is_some() {
        return None;
    }
    let data = args.data.clone().unwrap_or_else(|| PathBuf::from(DATA_DEFAULT));
    let database = std::path::absolute(data.join(DATABASE_FILE)).ok()?;
    (ApiFile::read(&data).is_err() && database.is_file()).then_some(database)
}

async fn ask_service(client: Client, args: &QueryArgs, form: Form) -> Result<Outcome, ClientError> {
    show(&client.query(&statement(args)?).await?, form)
}

async fn ask_file(database: &Path, args: &QueryArgs, form: Form) -> Result<Outcome, ClientError> {
    let sql = statement(args)?;
    let question = api::question(&sql).map_err(|e| ClientError::Usage(format!("{e} [{}]", e.code)))?;
    let failed = |error: records::RecordsError| ClientError::Local(error.to_string());
    let records = Records::open(&sqlite_url(database)).await.map_err(failed)?;
    let rows = records.query(question).await;
    records.close().await;
    show(&rows.map_err(failed)?, form)
}

fn statement(args: &QueryArgs) -> Result<String, ClientError> {
    if args.sql == "-" { from_stdin() } else { Ok(args.sql.clone()) }
}

fn show(rows: &Rows, form: Form) -> Result<Outcome, ClientError> {
    let whole = json!({ "columns": rows.columns, "rows": super::sheets::objects(rows), "cut": rows.cut });
    output::print(form, &whole, || of_query(rows, width_here()))?;
    Ok(Outcome::Succeeded)
}

fn from_stdin() -> Result<String, ClientError> {
    let mut sql = String::new();
    let read = std::io::stdin().take(SQL_BYTES_MAX + 1).read_to_string(&mut sql);
    read.map_err(|e| ClientError::Usage(format!("the statement on stdin cannot be read: {e}")))?;
    Ok(sql)
}
