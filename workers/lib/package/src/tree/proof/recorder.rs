//! The same calls as the kernel's, written down in the order in which they were done. It stands in for `rustix` in this
//! crate's own tests alone, and records only below the folder that a test watches.

use std::ffi::OsString;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, RenameFlags, Timestamps};
use rustix::io::Errno;
use rustix::path::Arg;

use crate::tree::node::{Node, Seen, Stamp};

/// One change, by the paths that held when it was done, below the watched folder.
#[derive(Debug, Clone)]
pub enum Op {
    Create { path: PathBuf },
    MakeDirectory { path: PathBuf },
    MakeLink { path: PathBuf, says: String },
    Write { path: PathBuf, offset: u64, bytes: Vec<u8> },
    Truncate { path: PathBuf, bytes: u64 },
    Mode { path: PathBuf, mode: u32 },
    Time { path: PathBuf, mtime_ns: i64 },
    Name { from: PathBuf, to: PathBuf },
    Unlink { path: PathBuf },
    RemoveDirectory { path: PathBuf },
    Rename { from: PathBuf, to: PathBuf, exchange: bool },
    Sync { path: PathBuf },
    SyncAll,
}

/// A change, and how the kernel described the thing right after it.
#[derive(Debug, Clone)]
pub struct Record {
    pub op: Op,
    pub node: Option<Node>,
    pub stamp: Option<Stamp>,
}

#[derive(Debug)]
struct Recording {
    folder: PathBuf,
    records: Vec<Record>,
}

static RECORDING: Mutex<Option<Recording>> = Mutex::new(None);

pub fn start(folder: &Path) {
    *lock() = Some(Recording { folder: folder.into(), records: Vec::new() });
}

pub fn stop() -> Vec<Record> {
    lock().take().map(|recording| recording.records).unwrap_or_default()
}

fn lock() -> MutexGuard<'static, Option<Recording>> {
    RECORDING.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Recording {
    fn below(&self, path: &Path) -> Option<PathBuf> {
        path.strip_prefix(&self.folder).ok().map(Path::to_owned)
    }

    /// `held` is what the operation took a name from.
    fn note(&mut self, op: Op, of: Option<&Path>, held: Option<&OwnedFd>) {
        let stamp = match held {
            Some(held) => rustix::fs::fstat(held).ok().map(|stat| Seen::from(stat).stamp),
            None => of.and_then(|path| stamp_of(&self.folder.join(path))),
        };
        let node = of.and_then(|path| std::fs::File::open(self.folder.join(path)).ok());
        let node = node.filter(|file| file.metadata().is_ok_and(|meta| meta.is_dir())).map(|file| Node::of(&file));
        self.records.push(Record { op, node: node.and_then(Result::ok), stamp });
    }
}

pub fn stamp_of(path: &Path) -> Option<Stamp> {
    let meta = std::fs::symlink_metadata(path).ok()?;
    Some(Stamp {
        ino: meta.ino(),
        bytes: meta.len(),
        mtime_ns: meta.mtime() * 1_000_000_000 + meta.mtime_nsec(),
        ctime_ns: meta.ctime() * 1_000_000_000 + meta.ctime_nsec(),
    })
}

fn path_of(file: impl AsFd) -> PathBuf {
    std::fs::read_link(format!("/proc/self/fd/{}", file.as_fd().as_raw_fd())).unwrap_or_default()
}

fn path_at(directory: impl AsFd, name: impl Arg) -> PathBuf {
    let name = name.into_c_str().map(|name| OsString::from_vec(name.to_bytes().to_vec())).unwrap_or_default();
    if directory.as_fd().as_raw_fd() == CWD.as_raw_fd() { name.into() } else { path_of(directory).join(name) }
}

/// Does it and writes it down as one step, so that the order is the true one.
fn record<T>(
    paths: &[&Path],
    call: impl FnOnce() -> Result<T, Errno>,
    op: impl FnOnce(&[PathBuf], &T) -> Op,
) -> Result<T, Errno> {
    let mut recording = lock();
    record_in(&mut recording, paths, None, call, op)
}

fn record_in<T>(
    recording: &mut Option<Recording>,
    paths: &[&Path],
    held: Option<&OwnedFd>,
    call: impl FnOnce() -> Result<T, Errno>,
    op: impl FnOnce(&[PathBuf], &T) -> Op,
) -> Result<T, Errno> {
    let done = call()?;
    if let Some(recording) = recording.as_mut()
        && let Some(below) = paths.iter().map(|path| recording.below(path)).collect::<Option<Vec<_>>>()
    {
        let op = op(&below, &done);
        let of = below.last().cloned();
        recording.note(op, of.as_deref(), held);
    }
    Ok(done)
}

pub fn create(directory: impl AsFd, name: impl Arg + Copy, flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
    let path = path_at(&directory, name);
    record(&[&path], || rustix::fs::openat(directory, name, flags, mode), |at, _| Op::Create { path: at[0].clone() })
}

pub fn mkdirat(directory: impl AsFd, name: impl Arg + Copy, mode: Mode) -> Result<(), Errno> {
    let path = path_at(&directory, name);
    record(&[&path], || rustix::fs::mkdirat(directory, name, mode), |at, ()| Op::MakeDirectory { path: at[0].clone() })
}

pub fn symlinkat(says: &str, directory: impl AsFd, name: impl Arg + Copy) -> Result<(), Errno> {
    let path = path_at(&directory, name);
    let op = |at: &[PathBuf], &(): &()| Op::MakeLink { path: at[0].clone(), says: says.into() };
    record(&[&path], || rustix::fs::symlinkat(says, directory, name), op)
}

pub fn pwrite(file: impl AsFd, bytes: &[u8], offset: u64) -> Result<usize, Errno> {
    let path = path_of(&file);
    let op = |at: &[PathBuf], done: &usize| Op::Write { path: at[0].clone(), offset, bytes: bytes[..*done].to_vec() };
    record(&[&path], || rustix::io::pwrite(file, bytes, offset), op)
}

pub fn ftruncate(file: impl AsFd, bytes: u64) -> Result<(), Errno> {
    let path = path_of(&file);
    record(&[&path], || rustix::fs::ftruncate(file, bytes), |at, ()| Op::Truncate { path: at[0].clone(), bytes })
}

pub fn fchmod(file: impl AsFd, mode: Mode) -> Result<(), Errno> {
    let path = path_of(&file);
    let op = |at: &[PathBuf], &(): &()| Op::Mode { path: at[0].clone(), mode: mode.as_raw_mode() };
    record(&[&path], || rustix::fs::fchmod(file, mode), op)
}

fn mtime_of(times: &Timestamps) -> i64 {
    times.last_modification.tv_sec * 1_000_000_000 + times.last_modification.tv_nsec
}

pub fn futimens(file: impl AsFd, times: &Timestamps) -> Result<(), Errno> {
    let path = path_of(&file);
    let op = |at: &[PathBuf], &(): &()| Op::Time { path: at[0].clone(), mtime_ns: mtime_of(times) };
    record(&[&path], || rustix::fs::futimens(file, times), op)
}

pub fn utimensat(directory: impl AsFd, name: impl Arg + Copy, times: &Timestamps, flags: AtFlags) -> Result<(), Errno> {
    let path = path_at(&directory, name);
    let op = |at: &[PathBuf], &(): &()| Op::Time { path: at[0].clone(), mtime_ns: mtime_of(times) };
    record(&[&path], || rustix::fs::utimensat(directory, name, times, flags), op)
}

pub fn linkat(
    from: impl AsFd,
    from_name: impl Arg + Copy,
    to: impl AsFd,
    to_name: impl Arg + Copy,
    flags: AtFlags,
) -> Result<(), Errno> {
    let paths = [path_at(&from, from_name), path_at(&to, to_name)];
    let op = |at: &[PathBuf], &(): &()| Op::Name { from: at[0].clone(), to: at[1].clone() };
    record(&[&paths[0], &paths[1]], || rustix::fs::linkat(from, from_name, to, to_name, flags), op)
}

pub fn unlinkat(directory: impl AsFd, name: impl Arg + Copy, flags: AtFlags) -> Result<(), Errno> {
    let path = path_at(&directory, name);
    let op = |at: &[PathBuf], &(): &()| match flags.contains(AtFlags::REMOVEDIR) {
        true => Op::RemoveDirectory { path: at[0].clone() },
        false => Op::Unlink { path: at[0].clone() },
    };
    let mut recording = lock();
    let held = rustix::fs::open(&path, OFlags::PATH | OFlags::NOFOLLOW, Mode::empty()).ok();
    let call = || rustix::fs::unlinkat(directory, name, flags);
    record_in(&mut recording, &[&path], held.as_ref(), call, op)
}

pub fn renameat_with(
    from: impl AsFd,
    from_name: impl Arg + Copy,
    to: impl AsFd,
    to_name: impl Arg + Copy,
    flags: RenameFlags,
) -> Result<(), Errno> {
    let paths = [path_at(&from, from_name), path_at(&to, to_name)];
    let exchange = flags.contains(RenameFlags::EXCHANGE);
    let op = |at: &[PathBuf], &(): &()| Op::Rename { from: at[0].clone(), to: at[1].clone(), exchange };
    record(&[&paths[0], &paths[1]], || rustix::fs::renameat_with(from, from_name, to, to_name, flags), op)
}

pub fn fsync(file: impl AsFd) -> Result<(), Errno> {
    let path = path_of(&file);
    record(&[&path], || rustix::fs::fsync(file), |at, ()| Op::Sync { path: at[0].clone() })
}

pub fn syncfs(file: impl AsFd) -> Result<(), Errno> {
    let path = path_of(&file);
    record(&[&path], || rustix::fs::syncfs(file), |_, ()| Op::SyncAll)
}
