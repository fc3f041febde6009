//! Aligned columns without borders. On a terminal they fit its width: long texts are cut, then the least wanted columns go.

use std::io::{self, IsTerminal};

use records::Rows;
use serde_json::Value;
use unicode_width::UnicodeWidthStr;

use super::people::Reader;

/// Between columns.
const GAP: &str = "  ";
/// A column is not cut below this.
const CUT_MIN: usize = 10;
/// Of a terminal that does not say.
const WIDTH_DEFAULT: usize = 80;

#[derive(Debug, Clone, Default)]
pub struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
}

#[derive(Debug, Clone)]
struct Column {
    title: String,
    right: bool,
    /// People type it again, so it is never cut.
    is_whole: bool,
    /// Given up when there is no room, the lowest first.
    extra: Option<usize>,
}

impl Table {
    pub fn new(titles: &[&str]) -> Table {
        let columns = titles
            .iter()
            .map(|title| Column { title: title.to_uppercase(), right: false, is_whole: false, extra: None })
            .collect();
        Table { columns, rows: Vec::new() }
    }

    /// Numbers stand to the right.
    pub fn of_rows(rows: &Rows, reader: &Reader) -> Table {
        let titles: Vec<&str> = rows.columns.iter().map(String::as_str).collect();
        let mut table = Table::new(&titles);
        for (i, column) in table.columns.iter_mut().enumerate() {
            let mut values = rows.rows.iter().filter_map(|row| row.get(i)).filter(|value| !value.is_null()).peekable();
            column.right = values.peek().is_some() && values.all(Value::is_number);
        }
        for row in &rows.rows {
            table.push(rows.columns.iter().zip(row).map(|(column, value)| reader.cell(column, value)).collect());
        }
        table
    }

    /// Columns that go when there is no room, in this order.
    pub fn extra(mut self, titles: &[&str]) -> Table {
        for column in &mut self.columns {
            column.extra = titles.iter().position(|title| title.eq_ignore_ascii_case(&column.title));
        }
        self
    }

    /// Columns that are never cut.
    pub fn whole(mut self, titles: &[&str]) -> Table {
        for column in &mut self.columns {
            column.is_whole |= titles.iter().any(|title| title.eq_ignore_ascii_case(&column.title));
        }
        self
    }

    pub fn rename(mut self, from: &str, to: &str) -> Table {
        for column in self.columns.iter_mut().filter(|column| column.title.eq_ignore_ascii_case(from)) {
            column.title = to.to_uppercase();
        }
        self
    }

    /// Without columns that say nothing in any row.
    pub fn without_empty(mut self, titles: &[&str]) -> Table {
        for i in (0..self.columns.len()).rev() {
            let named = titles.iter().any(|title| title.eq_ignore_ascii_case(&self.columns[i].title));
            if named && self.rows.iter().all(|row| row[i] == "-") {
                self.remove(i);
            }
        }
        self
    }

    pub fn push(&mut self, mut row: Vec<String>) {
        row.resize(self.columns.len(), "-".to_owned());
        self.rows.push(row);
    }

    /// `width`: of the terminal; none = as wide as it gets.
    pub fn render(mut self, width: Option<usize>) -> String {
        let mut widths = self.widths();
        if let Some(width) = width {
            while self.too_wide(&widths, width) {
                let least = self.least(&widths);
                if cut(&mut widths, &least, width) {
                    break;
                }
                let extra = (0..self.columns.len()).filter(|&i| self.columns[i].extra.is_some());
                let Some(extra) = extra.min_by_key(|&i| self.columns[i].extra) else {
                    cut(&mut widths, &least, total(&least));
                    break;
                };
                self.remove(extra);
                widths = self.widths();
            }
        }
        let mut out = self.line(&widths, self.columns.iter().map(|column| column.title.as_str()));
        for row in &self.rows {
            out.push_str(&self.line(&widths, row.iter().map(String::as_str)));
        }
        out
    }

    fn widths(&self) -> Vec<usize> {
        let cell = |i: usize| self.rows.iter().map(move |row| row[i].width()).max().unwrap_or(0);
        self.columns.iter().enumerate().map(|(i, column)| column.title.width().max(cell(i))).collect()
    }

    /// How far each may be cut: its title stays readable.
    fn least(&self, widths: &[usize]) -> Vec<usize> {
        let least = |(&width, column): (&usize, &Column)| {
            if column.is_whole { width } else { width.min(CUT_MIN.max(column.title.width())) }
        };
        widths.iter().zip(&self.columns).map(least).collect()
    }

    fn too_wide(&self, widths: &[usize], width: usize) -> bool {
        total(widths) > width
    }

    fn remove(&mut self, i: usize) {
        self.columns.remove(i);
        for row in &mut self.rows {
            row.remove(i);
        }
    }

    fn line<'a>(&self, widths: &[usize], cells: impl Iterator<Item = &'a str>) -> String {
        let mut line = String::new();
        for ((cell, column), &width) in cells.zip(&self.columns).zip(widths) {
            let cell = shorten(cell, width);
            let space = " ".repeat(width - cell.width());
            let (before, after) = if column.right { (space.as_str(), "") } else { ("", space.as_str()) };
            line.push_str(&format!("{before}{cell}{after}{GAP}"));
        }
        line.truncate(line.trim_end().len());
        line.push('\n');
        line
    }
}

fn total(widths: &[usize]) -> usize {
    widths.iter().sum::<usize>() + GAP.len() * widths.len().saturating_sub(1)
}

/// Takes from the widest columns until the line fits; false if that cannot be.
fn cut(widths: &mut [usize], least: &[usize], width: usize) -> bool {
    if total(least) > width {
        return false;
    }
    while total(widths) > width {
        let room = |i: &usize| widths[*i] > least[*i];
        let Some(widest) = (0..widths.len()).filter(room).max_by_key(|&i| widths[i]) else { return false };
        widths[widest] -= 1;
    }
    true
}

fn shorten(cell: &str, width: usize) -> String {
    if cell.width() <= width {
        return cell.to_owned();
    }
    let mut out = String::new();
    for c in cell.chars() {
        out.push(c);
        if out.width() >= width {
            out.pop();
            break;
        }
    }
    out.push('…');
    while out.width() > width {
        out.pop();
    }
    out
}

/// Of the terminal on stdout; none where there is none, so that pipes get whole texts.
pub fn width_here() -> Option<usize> {
    let said = std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok()).filter(|&n| n > 0);
    if said.is_some() || !io::stdout().is_terminal() {
        return said;
    }
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok().map(|size| usize::from(size.ws_col));
    Some(size.filter(|&columns| columns > 0).unwrap_or(WIDTH_DEFAULT))
}

/// Somebody's own question: every column stays, and ids are whole.
pub fn of_query(rows: &Rows, width: Option<usize>) -> String {
    let mut out = Table::of_rows(rows, &Reader::here(false)).render(width);
    let counted = if rows.rows.len() == 1 { "1 row".to_owned() } else { format!("{} rows", rows.rows.len()) };
    let more = if rows.cut { ", and more that are not shown" } else { "" };
    out.push_str(&format!("({counted}{more})\n"));
    out
}

/// The rows of a ready-made question, on stdout.
pub fn print_rows(rows: &Rows) {
    let text = Table::of_rows(rows, &Reader::here(true)).render(width_here());
    if let Err(error) = super::write(&text) {
        eprintln!("tidegate: the results could not be written: {error}");
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::people::utc;
    use super::*;

    fn rows() -> Rows {
        Rows {
            columns: ["id", "state", "bytes_moved", "error"].map(str::to_owned).to_vec(),
            rows: vec![
                vec![
                    json!("0a1b2c3d-0000-5000-8000-000000000001"),
                    json!("failed"),
                    json!(512),
                    json!("the disk of paris is full: 3 GiB free, 5 GiB needed"),
                ],
                vec![json!("1a1b2c3d-0000-5000-8000-000000000002"), json!("succeeded"), json!(5 << 20), json!(null)],
            ],
            cut: false,
        }
    }

    #[test]
    fn columns_are_aligned_and_numbers_stand_to_the_right() {
        let text = Table::of_rows(&rows(), &utc("2026-11-21T12:00:00Z")).render(None);
        let expected = "\
ID        STATE      BYTES_MOVED  ERROR
0a1b2c3d  failed           512 B  the disk of paris is full: 3 GiB free, 5 GiB needed
1a1b2c3d  succeeded      5.0 MiB  -
";
        assert_eq!(text, expected);
    }

    #[test]
    fn long_texts_are_cut_to_the_terminal() {
        let text = Table::of_rows(&rows(), &utc("2026-11-21T12:00:00Z")).render(Some(60));
        let expected = "\
ID        STATE      BYTES_MOVED  ERROR
0a1b2c3d  failed           512 B  the disk of paris is full…
1a1b2c3d  succeeded      5.0 MiB  -
";
        assert_eq!(text, expected);
        assert!(text.lines().all(|line| line.width() <= 60));
    }

    #[test]
    fn extra_columns_go_when_cutting_is_not_enough() {
        let table = Table::of_rows(&rows(), &utc("2026-11-21T12:00:00Z")).extra(&["error", "bytes_moved"]);
        assert_eq!(table.render(Some(24)).lines().next(), Some("ID        STATE"));
    }

    #[test]
    fn wide_characters_and_escapes_keep_the_columns_straight() {
        let mut table = Table::new(&["name", "x"]);
        table.push(vec!["東京東京東京東京".to_owned(), "1".to_owned()]);
        table.push(vec!["paris".to_owned(), "2".to_owned()]);
        let text = table.render(Some(14));
        assert!(text.lines().all(|line| line.width() <= 14), "{text}");
        assert_eq!(text.lines().nth(1), Some("東京東京東…  1"));
    }

    #[test]
    fn no_rows_is_a_head_alone() {
        let empty = Rows { rows: vec![], ..rows() };
        let text = Table::of_rows(&empty, &utc("2026-11-21T12:00:00Z")).render(Some(80));
        assert_eq!(text, "ID  STATE  BYTES_MOVED  ERROR\n");
        assert!(of_query(&empty, None).ends_with("(0 rows)\n"));
    }
}
