//! Markdown tables of costs.

use crate::meter::{Cost, median};

/// Rows in the order in which they were first named.
#[derive(Default)]
pub struct Table {
    rows: Vec<Row>,
}

struct Row {
    tool: String,
    /// By step, what each round cost.
    steps: Vec<(String, Vec<Cost>)>,
}

impl Table {
    pub fn add(&mut self, tool: &str, step: &str, cost: Cost) {
        eprintln!(
            "  {tool}: {step}: {:.2} s, cpu {:.2} s, {:.1} MB, rss {:.0} MB",
            cost.wall.as_secs_f64(),
            cost.cpu.as_secs_f64(),
            cost.bytes as f64 / 1e6,
            cost.peak_rss_bytes as f64 / 1e6
        );
        let row = match self.rows.iter().position(|row| row.tool == tool) {
            Some(i) => &mut self.rows[i],
            None => {
                self.rows.push(Row { tool: tool.to_owned(), steps: Vec::new() });
                self.rows.last_mut().expect("just pushed")
            }
        };
        match row.steps.iter_mut().find(|(name, _)| name == step) {
            Some((_, costs)) => costs.push(cost),
            None => row.steps.push((step.to_owned(), vec![cost])),
        }
    }

    /// Each cell: wall seconds (spread), CPU seconds, MB stored or moved, peak RSS in MB.
    pub fn text(&self, steps: &[&str]) -> String {
        let mut text = format!("| tool | {} |\n|---|{}\n", steps.join(" | "), "---|".repeat(steps.len()));
        for Row { tool, steps: own } in &self.rows {
            let cells: Vec<String> = steps
                .iter()
                .map(|step| {
                    own.iter().find(|(name, _)| name == step).map_or_else(String::new, |(_, costs)| cell(costs))
                })
                .collect();
            text.push_str(&format!("| {tool} | {} |\n", cells.join(" | ")));
        }
        text
    }
}

fn cell(costs: &[Cost]) -> String {
    let middle = median(costs);
    let least = costs.iter().map(|c| c.wall).min().unwrap_or_default();
    let most = costs.iter().map(|c| c.wall).max().unwrap_or_default();
    let bytes = if middle.bytes > 0 { format!(", {:.1} MB", middle.bytes as f64 / 1e6) } else { String::new() };
    format!(
        "**{:.2} s** ({:.2}–{:.2}), cpu {:.2} s{bytes}, rss {:.0} MB",
        middle.wall.as_secs_f64(),
        least.as_secs_f64(),
        most.as_secs_f64(),
        middle.cpu.as_secs_f64(),
        middle.peak_rss_bytes as f64 / 1e6
    )
}
