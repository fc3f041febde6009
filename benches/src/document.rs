//! Tables in a document, each between marks that name it: `<!-- table NAME -->` and `<!-- end -->`. It knows no figure.

use std::path::Path;

use anyhow::Context;

const END: &str = "<!-- end -->";

/// Whether the document has a place for each of these tables: asked before they are measured.
pub fn has_places(document: &Path, names: &[String]) -> anyhow::Result<()> {
    names.iter().try_for_each(|name| written(document, name, "").map(|_| ()))
}

/// Puts a table in the place of the one of its name.
pub fn put(document: &Path, name: &str, table: &str) -> anyhow::Result<()> {
    Ok(std::fs::write(document, written(document, name, table)?)?)
}

fn written(document: &Path, name: &str, table: &str) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(document).with_context(|| document.display().to_string())?;
    replaced(&text, name, table)
        .with_context(|| format!("{} has no `{}` with `{END}` after it", document.display(), mark(name)))
}

fn mark(name: &str) -> String {
    format!("<!-- table {name} -->")
}

fn replaced(text: &str, name: &str, table: &str) -> Option<String> {
    let (before, rest) = text.split_once(&mark(name))?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{}\n\n{}\n\n{END}{after}", mark(name), table.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_takes_the_place_of_the_one_of_its_name_and_no_other() {
        let text = "a\n<!-- table x -->\nold\n<!-- end -->\nb\n<!-- table y -->\nkept\n<!-- end -->\nc";
        let once = replaced(text, "x", "new\n").unwrap();
        assert_eq!(once, "a\n<!-- table x -->\n\nnew\n\n<!-- end -->\nb\n<!-- table y -->\nkept\n<!-- end -->\nc");
        assert_eq!(replaced(&once, "x", "new").as_deref(), Some(once.as_str()));
        assert_eq!(replaced(text, "z", "new"), None);
    }
}
