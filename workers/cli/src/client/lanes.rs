//! `pause` and `resume`.

use serde_json::{Value, json};

use super::{Client, ClientError, Outcome};
use crate::args::verbs::{Form, LaneArgs};
use crate::output;

pub async fn hold(client: Client, args: &LaneArgs, paused: bool, form: Form) -> Result<Outcome, ClientError> {
    let path = if paused { "/v1/lanes/pause" } else { "/v1/lanes/resume" };
    let held: Value = client.post(path, &json!({ "lane": args.lane })).await?;
    if held["told"] == json!(false) {
        eprintln!("tidegate: the site could not be told yet; nothing more is handed out to it all the same");
    }
    let word = if paused { "paused" } else { "resumed" };
    output::print(form, &held, || format!("{word:<9}  lane {}\n", args.lane))?;
    Ok(Outcome::Succeeded)
}
