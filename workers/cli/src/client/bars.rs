//! Progress on stderr: bars on a terminal, else a line for each job that ends.

use std::collections::{BTreeMap, BTreeSet};
use std::io::IsTerminal;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::follow::{JobLine, RequestEnd};
use crate::output::clean;
use crate::output::people::size;

/// Jobs with a bar of their own at a time.
const BARS_MAX: usize = 10;

pub struct Bars {
    /// None where nobody looks on.
    all: Option<MultiProgress>,
    total: Option<ProgressBar>,
    jobs: BTreeMap<String, ProgressBar>,
    /// Jobs whose end was told.
    ended: BTreeSet<String>,
    told: bool,
}

impl Bars {
    pub fn new(wanted: bool) -> Bars {
        let is_terminal = std::io::stderr().is_terminal();
        Bars {
            all: (wanted && is_terminal).then(MultiProgress::new),
            total: None,
            jobs: BTreeMap::new(),
            ended: BTreeSet::new(),
            told: wanted,
        }
    }

    pub fn show(&mut self, seen: &RequestEnd) {
        if !self.told {
            return;
        }
        for job in seen.jobs.iter().filter(|job| is_over(&job.state)) {
            self.end(job);
        }
        for job in seen.jobs.iter().filter(|job| job.state == "running" || job.progress.is_some()) {
            if !is_over(&job.state) {
                self.go_on(job);
            }
        }
        self.count(seen);
    }

    pub fn finish(self) {
        for bar in self.jobs.into_values().chain(self.total) {
            bar.finish_and_clear();
        }
    }

    fn end(&mut self, job: &JobLine) {
        if let Some(bar) = self.jobs.remove(&job.id) {
            bar.finish_and_clear();
        }
        if !self.ended.insert(job.id.clone()) {
            return;
        }
        let why = job.error.as_deref().map(|error| format!(": {}", clean::line(error))).unwrap_or_default();
        let moved = job.bytes_moved.map(|bytes| format!(", {} moved", size(bytes))).unwrap_or_default();
        let line = format!("{}: {}{moved}{why}", job.title(), job.state);
        match &self.all {
            Some(all) => drop(all.println(line)),
            None => eprintln!("{line}"),
        }
    }

    fn go_on(&mut self, job: &JobLine) {
        let Some(all) = &self.all else { return };
        if !self.jobs.contains_key(&job.id) {
            if self.jobs.len() >= BARS_MAX {
                return;
            }
            let bar = all.add(ProgressBar::new(0).with_style(of_job()).with_prefix(job.title()));
            self.jobs.insert(job.id.clone(), bar);
        }
        let (Some(bar), Some(progress)) = (self.jobs.get(&job.id), &job.progress) else { return };
        let by_bytes = progress.bytes_total > 0;
        let (done, total) = if by_bytes {
            (progress.bytes_done, progress.bytes_total)
        } else {
            (progress.files_done, progress.files_total)
        };
        let figures = match (by_bytes, total) {
            (true, _) => format!("{} of {}", size(done), size(total)),
            (false, 0) if progress.bytes_done > 0 => size(progress.bytes_done),
            (false, 0) => String::new(),
            (false, _) => format!("{done} of {total} files"),
        };
        bar.set_length(total.max(1));
        bar.set_position(done.min(total));
        bar.set_message(format!("{} {figures}", clean::line(&progress.step)));
    }

    fn count(&mut self, seen: &RequestEnd) {
        let Some(all) = &self.all else { return };
        let total = self.total.get_or_insert_with(|| all.add(ProgressBar::new(0).with_style(of_all())));
        let over = seen.jobs.iter().filter(|job| is_over(&job.state)).count();
        total.set_length(seen.jobs.len() as u64);
        total.set_position(over as u64);
        total.set_message(clean::line(&seen.state));
        total.tick();
    }
}

fn is_over(state: &str) -> bool {
    matches!(state, "succeeded" | "failed" | "cancelled")
}

fn of_job() -> ProgressStyle {
    style("  {prefix:<34!} [{bar:16}] {msg}").progress_chars("=> ")
}

fn of_all() -> ProgressStyle {
    style("{spinner} {pos} of {len} jobs, {elapsed}, {msg}")
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A template that is wrong would only show as a plain bar.
    #[test]
    fn the_templates_are_understood() {
        for template in ["  {prefix:<34!} [{bar:16}] {msg}", "{spinner} {pos} of {len} jobs, {elapsed}, {msg}"] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }
}
