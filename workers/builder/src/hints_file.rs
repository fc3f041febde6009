//! Where hints lie: one file for each distribution in the builder's working directory. Losing it costs one full
//! reading, so that trouble with it is logged and never a fault.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use package::hints::Hints;
use schemas::BuildTask;

/// More is not read back: about five million files.
const HINTS_BYTES_MAX: u64 = 1 << 30;

/// Names the machine whose file systems stats are of.
pub fn machine_name() -> String {
    ["/etc/machine-id", "/proc/sys/kernel/hostname"]
        .iter()
        .find_map(|path| {
            fs::read_to_string(path).ok().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
        })
        .unwrap_or_default()
}

pub(crate) fn path(work_dir: &Path, task: &BuildTask) -> PathBuf {
    work_dir.join(task.distribution.as_str()).join(format!("{}.hints", task.store))
}

pub(crate) fn load(path: &Path, machine: &str) -> Option<Hints> {
    let bytes = match fs::metadata(path) {
        Ok(metadata) if metadata.len() <= HINTS_BYTES_MAX => fs::read(path).ok()?,
        _ => return None,
    };
    let hints = Hints::open(bytes, machine);
    if hints.is_none() {
        tracing::info!(path = %path.display(), "hints of another machine or damaged: everything is read");
    }
    hints
}

/// Two builders at once may spoil each other's file: it carries a digest, and is then no hint.
pub(crate) fn save(path: &Path, bytes: &[u8]) {
    if let Err(error) = try_save(path, bytes) {
        tracing::warn!(path = %path.display(), %error, "hints not written: the next build reads everything");
    }
}

fn try_save(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let new = path.with_extension("hints.new");
    fs::write(&new, bytes)?;
    fs::rename(&new, path)
}
