//! Files that are there whole or not at all, also after power loss. It knows no key.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::Path;

use uuid::Uuid;

/// Writes `body` under a name of its own in `unfinished` (of the same file system), syncs it, renames it to `path`, and
/// syncs the directory. The folder of `path` must be there.
pub fn write_whole(unfinished: &Path, path: &Path, body: &[u8]) -> io::Result<()> {
    let temporary = unfinished.join(Uuid::now_v7().to_string());
    let written = write_locked(&temporary, body).and_then(|_lock| fs::rename(&temporary, path));
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written?;
    sync_directory(path.parent().unwrap_or(Path::new(".")))
}

/// Makes `root/first/second`, durably.
pub fn make_folders(root: &Path, first: &str, second: &str) -> io::Result<()> {
    let outer = root.join(first);
    let inner = outer.join(second);
    if inner.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(&inner)?;
    sync_directory(&outer)?;
    sync_directory(root)
}

/// Removes what dead writers left in `unfinished`, which it makes if need be.
pub fn sweep(unfinished: &Path) -> io::Result<()> {
    fs::create_dir_all(unfinished)?;
    for entry in fs::read_dir(unfinished)? {
        let path = entry?.path();
        let abandoned = match File::open(&path) {
            Ok(file) => file.try_lock().is_ok(),
            Err(fault) if fault.kind() == ErrorKind::NotFound => false,
            Err(fault) => return Err(fault),
        };
        if abandoned {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

pub fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// The lock tells a sweeper that the writer lives; the kernel drops it with the writer.
fn write_locked(path: &Path, body: &[u8]) -> io::Result<File> {
    let mut file = File::create_new(path)?;
    file.lock()?;
    file.write_all(body)?;
    file.sync_all()?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_dead_writer_left_is_swept_and_what_a_living_one_writes_stays() {
        let root = tempfile::tempdir().unwrap();
        let (dead, living) = (root.path().join("dead"), root.path().join("living"));
        fs::write(&dead, b"half").unwrap();
        let _lock = write_locked(&living, b"half").unwrap();
        sweep(root.path()).unwrap();
        assert!(!dead.exists());
        assert!(living.exists());
    }
}
