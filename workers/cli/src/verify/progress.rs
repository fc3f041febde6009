//! How much was read, on stderr: a line that changes on a terminal, else one now and then.

use std::io::IsTerminal;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use indicatif::ProgressBar;

use crate::output::people::size;

/// Between two lines where there is no terminal.
const TELL_EVERY: Duration = Duration::from_secs(10);

pub struct Reading {
    bar: Option<ProgressBar>,
    bytes: AtomicU64,
    told: Mutex<Instant>,
}

impl Reading {
    pub fn begin() -> Reading {
        let bar = std::io::stderr().is_terminal().then(ProgressBar::new_spinner);
        Reading { bar, bytes: AtomicU64::new(0), told: Mutex::new(Instant::now()) }
    }

    pub fn seen(&self, bytes: u64) {
        let read = self.bytes.fetch_add(bytes, Relaxed) + bytes;
        let text = || format!("{} read", size(read));
        match &self.bar {
            Some(bar) => {
                bar.set_message(text());
                bar.tick();
            }
            None => {
                let Ok(mut told) = self.told.try_lock() else { return };
                if told.elapsed() >= TELL_EVERY {
                    *told = Instant::now();
                    eprintln!("tidegate: {}", text());
                }
            }
        }
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
