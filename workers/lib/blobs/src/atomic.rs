//! Files that are there whole or not at all, also after power loss. It knows no key.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::Path;

use uuid::Uuid;

use crate::calls::Calls;

/// Writes `body` under a name of its own in `unfinished` (of the same file system), syncs it, renames it to `path`, and
/// syncs the directory. The folder of `path` must be there.
pub fn write_whole(calls: &impl Calls, unfinished: &Path, path: &Path, body: &[u8]) -> io::Result<()> {
    let temporary = unfinished.join(Uuid::now_v7().to_string());
    let written = write_locked(calls, &temporary, body).and_then(|_lock| calls.rename(&temporary, path));
    if written.is_err() {
        let _ = calls.remove(&temporary);
    }
    written?;
    calls.sync_directory(path.parent().unwrap_or(Path::new(".")))
}

/// Makes `root/first/second`, durably, also if a writer before made it and died before it was durable.
pub fn make_folders(calls: &impl Calls, root: &Path, first: &str, second: &str) -> io::Result<()> {
    let outer = root.join(first);
    for folder in [&outer, &outer.join(second)] {
        match calls.make_directory(folder) {
            Err(fault) if fault.kind() != ErrorKind::AlreadyExists => return Err(fault),
            _ => {}
        }
    }
    calls.sync_directory(&outer)?;
    calls.sync_directory(root)
}

/// Removes what dead writers left in `unfinished`, which it makes if need be.
pub fn sweep(calls: &impl Calls, unfinished: &Path) -> io::Result<()> {
    fs::create_dir_all(unfinished)?;
    for entry in fs::read_dir(unfinished)? {
        let path = entry?.path();
        let abandoned = match File::open(&path) {
            Ok(file) => file.try_lock().is_ok(),
            Err(fault) if fault.kind() == ErrorKind::NotFound => false,
            Err(fault) => return Err(fault),
        };
        if abandoned {
            calls.remove(&path)?;
        }
    }
    Ok(())
}

/// The lock tells a sweeper that the writer lives; the kernel drops it with the writer.
fn write_locked(calls: &impl Calls, path: &Path, body: &[u8]) -> io::Result<File> {
    let file = calls.create_new(path)?;
    file.lock()?;
    calls.write_at(&file, body, 0)?;
    calls.sync(&file)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calls::Kernel;

    #[test]
    fn what_a_dead_writer_left_is_swept_and_what_a_living_one_writes_stays() {
        let root = tempfile::tempdir().unwrap();
        let (dead, living) = (root.path().join("dead"), root.path().join("living"));
        fs::write(&dead, b"half").unwrap();
        let _lock = write_locked(&Kernel, &living, b"half").unwrap();
        sweep(&Kernel, root.path()).unwrap();
        assert!(!dead.exists());
        assert!(living.exists());
    }
}
