//! `query`: a person's own question.

use std::io::Read;

use serde_json::json;

use super::{Client, ClientError, Outcome};
use crate::args::verbs::{Form, QueryArgs};
use crate::output;
use crate::output::table::{of_query, width_here};

/// A statement from stdin, in bytes; the service takes no more either.
const SQL_BYTES_MAX: u64 = 64 << 10;

pub async fn run(client: Client, args: &QueryArgs, form: Form) -> Result<Outcome, ClientError> {
    let sql = if args.sql == "-" { from_stdin()? } else { args.sql.clone() };
    let rows = client.query(&sql).await?;
    let whole = json!({ "columns": rows.columns, "rows": super::sheets::objects(&rows), "cut": rows.cut });
    output::print(form, &whole, || of_query(&rows, width_here()))?;
    Ok(Outcome::Succeeded)
}

fn from_stdin() -> Result<String, ClientError> {
    let mut sql = String::new();
    let read = std::io::stdin().take(SQL_BYTES_MAX + 1).read_to_string(&mut sql);
    read.map_err(|e| ClientError::Usage(format!("the statement on stdin cannot be read: {e}")))?;
    Ok(sql)
}
