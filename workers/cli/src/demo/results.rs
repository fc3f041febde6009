//! The end of the demo, on stdout: the results as rows, the SQL that made them, what they mean, and where everything is.

use records::Rows;

use super::change::Change;
use super::compare::Verified;
use super::copy::Copied;
use super::definitions::RELAY;
use super::error::DemoError;
use super::stage::Stage;
use super::text;
use crate::output::table;

/// On the documented views; SQLite's way into the result, which is JSON.
pub const SQL: &str = "\
SELECT s.revision, s.subscriber, json_extract(s.result, '$.sources[0].source') AS source,
       s.bytes_content, s.bytes_needed, s.took_ms, COALESCE(x.state, 'relay only') AS extract
FROM jobs s LEFT JOIN jobs x ON x.kind = 'extract' AND x.subscriber = s.subscriber AND x.revision = s.revision
WHERE s.kind = 'send' ORDER BY s.revision, s.subscriber";

pub struct Results<'a> {
    pub stage: &'a Stage,
    pub copied: Copied,
    pub change: Change,
    pub first: Verified,
    pub second: Verified,
}

impl Results<'_> {
    pub async fn print(&self) -> Result<(), DemoError> {
        let rows = self.stage.records.query(SQL).await?;
        eprintln!();
        table::print_rows(&rows);
        text::say(&format!("\nThe rows above come from this query:\n\n{SQL};\n"));
        text::say(&self.delta(&rows));
        text::say(&self.proof());
        if self.copied.left_out > 0 {
            text::say(&format!(
                "Not copied: {} (links that lead out of the tree, sockets, devices).",
                self.copied.left_out
            ));
        }
        text::say(&format!("\n{}", self.whereabouts()));
        Ok(())
    }

    /// The relay pulled both revisions over the long link: its rows tell what a change costs.
    fn delta(&self, rows: &Rows) -> String {
        let needed = |revision: u64| cell(rows, revision, RELAY, "bytes_needed");
        let (whole, part) = (needed(1), needed(2));
        format!(
            "Sent again: {} in {} had changed; each server needed {} instead of {} ({}).",
            text::counted(self.change.bytes_added, "byte"),
            self.change.path,
            text::bytes(part),
            text::bytes(whole),
            text::percent(part, whole),
        )
    }

    fn proof(&self) -> String {
        format!(
            "Verified: lyon, paris and tokyo held exactly the source after each send, file by file by BLAKE3 ({}, {}; then {}, {}).",
            text::counted(self.first.files, "file"),
            text::bytes(self.first.bytes),
            text::counted(self.second.files, "file"),
            text::bytes(self.second.bytes),
        )
    }

    fn whereabouts(&self) -> String {
        let place = &self.stage.place;
        let data = text::shell_word(&place.data);
        format!(
            "Everything is in {data}:
  definitions.yaml   what was declared          tidegate.sqlite   every request, job and result
  source/            the copy that was changed  origin/           the revisions, as a bucket would hold them
  servers/NAME/      what each site extracted   sites/NAME/       each site's own store and journal

Ask it:       tidegate query --data {data} 'SELECT * FROM deliveries'
Run it again: tidegate up --data {data}
Remove it:    rm -rf {data}"
        )
    }
}

fn cell(rows: &Rows, revision: u64, subscriber: &str, column: &str) -> u64 {
    let at = |name: &str| rows.columns.iter().position(|column| column == name);
    let (Some(r), Some(s), Some(c)) = (at("revision"), at("subscriber"), at(column)) else { return 0 };
    let row = rows.rows.iter().find(|row| row[r].as_u64() == Some(revision) && row[s].as_str() == Some(subscriber));
    row.and_then(|row| row[c].as_u64()).unwrap_or_default()
}
