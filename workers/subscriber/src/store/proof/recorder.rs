//! The store's calls, written down in the order in which they were done, and cut off where a test says that the process is
//! killed. It stands in for the kernel in this crate's own tests alone, and records only below the folder that a test
//! watches.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use blobs::calls::{Calls, Kernel};

use super::{Said, Thing};

/// One change below the watched folder; files by numbers that never come again, so that a name may change hands.
#[derive(Debug, Clone)]
pub enum Op {
    MakeDirectory {
        path: PathBuf,
    },
    Create {
        path: PathBuf,
        file: u64,
    },
    Write {
        file: u64,
        offset: u64,
        bytes: Vec<u8>,
    },
    SetLength {
        file: u64,
        bytes: u64,
    },
    Rename {
        from: PathBuf,
        to: PathBuf,
        file: u64,
    },
    Remove {
        path: PathBuf,
    },
    RemoveDirectory {
        path: PathBuf,
    },
    Sync {
        file: u64,
    },
    SyncDirectory {
        path: PathBuf,
    },
    /// No change, but what the store has promised or taken back at this point.
    Say(Said),
}

/// Numbers of files that were there before the recording are their inodes'.
const FIRST_NEW: u64 = 1 << 62;

#[derive(Debug)]
struct Recording {
    folder: PathBuf,
    ops: Vec<Op>,
    files: HashMap<u64, u64>,
    made: u64,
    /// After so many operations nothing is done any more.
    killed_at: Option<usize>,
}

static RECORDING: Mutex<Option<Recording>> = Mutex::new(None);

pub fn start(folder: &Path, killed_at: Option<usize>) {
    let folder = folder.to_owned();
    *lock() = Some(Recording { folder, ops: Vec::new(), files: HashMap::new(), made: 0, killed_at });
}

/// From now on it is another process.
pub fn restart() {
    if let Some(recording) = lock().as_mut() {
        recording.killed_at = None;
    }
}

pub fn stop() -> Vec<Op> {
    lock().take().map(|recording| recording.ops).unwrap_or_default()
}

pub fn hold(things: impl IntoIterator<Item = Thing>) {
    say(things, Said::Held);
}

pub fn let_go(things: impl IntoIterator<Item = Thing>) {
    say(things, Said::Going);
}

fn say(things: impl IntoIterator<Item = Thing>, word: impl Fn(Thing) -> Said) {
    if let Some(recording) = lock().as_mut() {
        recording.ops.extend(things.into_iter().map(|thing| Op::Say(word(thing))));
    }
}

fn lock() -> MutexGuard<'static, Option<Recording>> {
    RECORDING.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Recording {
    fn below(&self, path: &Path) -> Option<PathBuf> {
        path.strip_prefix(&self.folder).ok().map(Path::to_owned)
    }

    fn is_dead(&self) -> bool {
        self.killed_at.is_some_and(|at| self.ops.len() >= at)
    }

    fn file(&self, inode: u64) -> u64 {
        self.files.get(&inode).copied().unwrap_or(inode)
    }

    fn new_file(&mut self, inode: u64) -> u64 {
        let number = FIRST_NEW + self.made;
        self.made += 1;
        self.files.insert(inode, number);
        number
    }
}

fn path_of(file: &File) -> PathBuf {
    fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap_or_default()
}

/// Does it and writes it down as one step, so that the order is the true one.
fn record<T>(
    path: &Path,
    call: impl FnOnce() -> io::Result<T>,
    op: impl FnOnce(&mut Recording, PathBuf, &T) -> Option<Op>,
) -> io::Result<T> {
    let mut recording = lock();
    let Some((recorded, below)) = recording.as_mut().and_then(|r| r.below(path).map(|below| (r, below))) else {
        drop(recording);
        return call();
    };
    if recorded.is_dead() {
        return Err(io::Error::other("the process was killed"));
    }
    let done = call()?;
    let op = op(recorded, below, &done);
    recorded.ops.extend(op);
    Ok(done)
}

#[derive(Debug, Clone, Copy)]
pub struct Recorder;

impl Calls for Recorder {
    fn create_new(&self, path: &Path) -> io::Result<File> {
        let create = || Kernel.create_new(path);
        record(path, create, |recording, path, file| {
            let file = recording.new_file(file.metadata().ok()?.ino());
            Some(Op::Create { path, file })
        })
    }

    fn open_or_create(&self, path: &Path) -> io::Result<File> {
        let was_there = path.exists();
        let open = || Kernel.open_or_create(path);
        record(path, open, |recording, path, file| {
            let inode = file.metadata().ok()?.ino();
            (!was_there).then(|| Op::Create { path, file: recording.new_file(inode) })
        })
    }

    fn write_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        let write = || Kernel.write_at(file, bytes, offset);
        record(&path_of(file), write, |recording, _, ()| {
            let file = recording.file(file.metadata().ok()?.ino());
            Some(Op::Write { file, offset, bytes: bytes.to_vec() })
        })
    }

    fn set_length(&self, file: &File, bytes: u64) -> io::Result<()> {
        let set = || Kernel.set_length(file, bytes);
        record(&path_of(file), set, |recording, _, ()| {
            Some(Op::SetLength { file: recording.file(file.metadata().ok()?.ino()), bytes })
        })
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        record(
            &path_of(file),
            || Kernel.sync(file),
            |recording, _, ()| Some(Op::Sync { file: recording.file(file.metadata().ok()?.ino()) }),
        )
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        record(path, || Kernel.sync_directory(path), |_, path, ()| Some(Op::SyncDirectory { path }))
    }

    fn make_directory(&self, path: &Path) -> io::Result<()> {
        record(path, || Kernel.make_directory(path), |_, path, ()| Some(Op::MakeDirectory { path }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        record(
            from,
            || Kernel.rename(from, to),
            |recording, from, ()| {
                let file = recording.file(fs::metadata(to).ok()?.ino());
                Some(Op::Rename { from, to: recording.below(to)?, file })
            },
        )
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        record(path, || Kernel.remove(path), |_, path, ()| Some(Op::Remove { path }))
    }

    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        record(path, || Kernel.remove_directory(path), |_, path, ()| Some(Op::RemoveDirectory { path }))
    }
}
