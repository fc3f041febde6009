//! Waiting for what another process does, bounded.

use std::time::{Duration, Instant};

use anyhow::bail;

/// For a process to listen.
pub const START_TIME: Duration = Duration::from_secs(60);
pub const START_LOOK_EVERY: Duration = Duration::from_millis(20);

/// Looks again and again until it is done; an error names what did not come.
pub fn until(
    what: &str,
    within: Duration,
    look_every: Duration,
    mut done: impl FnMut() -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let begun = Instant::now();
    while !done()? {
        if begun.elapsed() > within {
            bail!("{what}: not within {} s", within.as_secs());
        }
        std::thread::sleep(look_every);
    }
    Ok(())
}
