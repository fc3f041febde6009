//! `dead-letters list | show | replay | drop`.

use records::Rows;
use serde_json::{Value, json};

use super::http::segment;
use super::{Client, ClientError, Outcome, sheets};
use crate::args::verbs::{Form, LetterArgs, LetterListArgs, LettersArgs};
use crate::output::{self, clean};

pub async fn list(client: Client, args: &LettersArgs, form: Form) -> Result<Outcome, ClientError> {
    let narrow = if args.all { vec![] } else { vec![("state", "kept".to_owned())] };
    let rows: Rows = client.get_with("/v1/sheets/dead-letters", &narrow).await?;
    sheets::print(&rows, form, |table| table.extra(&["created_at", "state"]))
}

pub async fn show(client: Client, args: &LetterArgs, form: Form) -> Result<Outcome, ClientError> {
    let letter: Value = client.get(&path(&args.id)).await?;
    output::print(form, &letter, || shown(&letter))?;
    Ok(Outcome::Succeeded)
}

/// Each for itself: one that cannot be ended does not hold up the others.
pub async fn end(client: Client, args: &LetterListArgs, verb: &str, form: Form) -> Result<Outcome, ClientError> {
    let mut ended: Vec<Value> = Vec::new();
    let mut failed = false;
    for id in &args.ids {
        match client.post(&format!("{}/{verb}", path(id)), &json!({})).await {
            Ok(letter) => ended.push(letter),
            Err(error @ ClientError::Refused(_)) if error.exit() != super::exit::UNREACHABLE && args.ids.len() > 1 => {
                eprintln!("tidegate: {error}");
                failed = true;
            }
            Err(error) => return Err(error),
        }
    }
    let line = |letter: &Value| {
        let text = |field: &str| clean::line(letter[field].as_str().unwrap_or_default());
        format!("{:<9}  dead letter {} of {}\n", text("state"), text("id"), text("queue"))
    };
    let lines = || ended.iter().map(line).collect();
    output::print(form, &json!({ "dead_letters": ended.clone() }), lines)?;
    Ok(if failed { Outcome::Failed } else { Outcome::Succeeded })
}

fn path(id: &str) -> String {
    format!("/v1/dead-letters/{}", segment(id))
}

fn shown(letter: &Value) -> String {
    let text = |field: &str| letter[field].as_str().unwrap_or_default();
    let mut out = String::new();
    for field in ["id", "queue", "state", "code", "reason"] {
        out.push_str(&format!("{field:<7} {}\n", clean::line(text(field))));
    }
    let body = text("body");
    let pretty = serde_json::from_str::<Value>(body).and_then(|value| serde_json::to_string_pretty(&value));
    out.push_str(&format!("\n{}\n", clean::lines(&pretty.unwrap_or_else(|_| body.to_owned()))));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letters_body_cannot_paint_the_terminal() {
        let letter = json!({ "id": "x", "queue": "tidegate.requests", "state": "kept", "code": "request-malformed",
            "reason": "not JSON\u{1b}[2J", "body": "\u{1b}]0;owned\u{7}" });
        let text = shown(&letter);
        assert!(!text.contains('\u{1b}') && text.contains("\\u{1b}]0;owned\\u{7}"), "{text}");
    }
}
