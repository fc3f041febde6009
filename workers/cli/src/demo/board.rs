//! What happens just now, on stderr: a bar for each server, or a plain line when one has ended if nobody looks at a terminal.

use std::collections::BTreeMap;
use std::io::IsTerminal;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

const TEMPLATE: &str = "  {prefix:8} [{bar:28}] {msg}";
const BAR: &str = "=> ";
/// Bars count in thousandths: what is counted differs from job to job.
const WHOLE: u64 = 1_000;

/// One server's, or a builder's, standing.
pub struct Line {
    pub name: String,
    pub says: String,
    /// Done and whole; a whole of 0 is not known yet.
    pub part: (u64, u64),
    pub ended: bool,
}

pub struct Board {
    bars: Option<MultiProgress>,
    lines: BTreeMap<String, ProgressBar>,
    ended: BTreeMap<String, String>,
}

impl Board {
    pub fn new(title: &str) -> Board {
        eprintln!("{title}");
        let bars = std::io::stderr().is_terminal().then(MultiProgress::new);
        Board { bars, lines: BTreeMap::new(), ended: BTreeMap::new() }
    }

    pub fn show(&mut self, line: Line) {
        match &self.bars {
            Some(bars) => {
                let bar = self.lines.entry(line.name.clone()).or_insert_with(|| bars.add(new_bar(&line.name)));
                bar.set_position(position(&line));
                bar.set_message(line.says);
            }
            None => {
                if line.ended && self.ended.get(&line.name) != Some(&line.says) {
                    eprintln!("  {:8} {}", line.name, line.says);
                    self.ended.insert(line.name, line.says);
                }
            }
        }
    }

    /// The bars stay where they are.
    pub fn close(self) {
        for bar in self.lines.values() {
            bar.abandon();
        }
    }
}

fn new_bar(name: &str) -> ProgressBar {
    let bar = ProgressBar::new(WHOLE).with_prefix(name.to_owned());
    match ProgressStyle::with_template(TEMPLATE) {
        Ok(style) => bar.with_style(style.progress_chars(BAR)),
        Err(_) => bar,
    }
}

fn position(line: &Line) -> u64 {
    match line.part {
        _ if line.ended => WHOLE,
        (_, 0) => 0,
        (done, whole) => (done.min(whole) as u128 * u128::from(WHOLE) / u128::from(whole)) as u64,
    }
}
