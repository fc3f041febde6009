//! Ids as people type them: whole, or as many of the first digits as make it clear which is meant.

use records::Records;

use crate::answer::literal;
use crate::fault::ApiFault;

const PREFIX_BYTES_MIN: usize = 4;
const ID_BYTES: usize = 36;

/// The one id of this view that begins so. `noun` is what errors call it.
pub async fn whole(records: &Records, view: &str, noun: &str, typed: &str) -> Result<String, ApiFault> {
    let prefix = typed.to_ascii_lowercase();
    let is_id = prefix.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
    if !is_id || !(PREFIX_BYTES_MIN..=ID_BYTES).contains(&prefix.len()) {
        let shown: String = typed.chars().take(40).flat_map(char::escape_debug).collect();
        let message =
            format!("`{shown}` is not the id of a {noun}: all of it, or its first {PREFIX_BYTES_MIN} digits or more");
        return Err(ApiFault::bad("id-malformed", message));
    }
    let pattern = literal(&format!("{prefix}%"));
    let found = records.query(&format!("SELECT id FROM {view} WHERE id LIKE {pattern} ORDER BY id LIMIT 2")).await?;
    let mut ids = found.rows.into_iter().filter_map(|mut row| row.pop()?.as_str().map(str::to_owned));
    match (ids.next(), ids.next()) {
        (Some(id), None) => Ok(id),
        (Some(_), Some(_)) => {
            Err(ApiFault::conflict("id-ambiguous", format!("several {noun}s begin with `{prefix}`; add digits")))
        }
        (None, _) => Err(ApiFault::absent(
            &format!("{}-unknown", noun.replace(' ', "-")),
            format!("there is no {noun} `{prefix}`"),
        )),
    }
}
