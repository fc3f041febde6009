//! What the file system says of a file: which one it is, and whether it is still as it was. It trusts nothing that it
//! was not told by the kernel.

use std::os::fd::AsFd;

use rustix::fs::{AtFlags, FileType, Stat, StatxFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

/// Which directory a tree's root is. Inodes are used again and device numbers may change at a reboot, so the time of
/// birth decides where the file system knows it.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Node {
    pub dev: u64,
    pub ino: u64,
    pub born_ns: Option<i64>,
}

impl Node {
    pub fn of(directory: impl AsFd) -> Result<Node, Errno> {
        let flags = AtFlags::EMPTY_PATH | AtFlags::SYMLINK_NOFOLLOW;
        let stat = rustix::fs::statx(directory, "", flags, StatxFlags::BASIC_STATS | StatxFlags::BTIME)?;
        let known = stat.stx_mask & StatxFlags::BTIME.bits() != 0;
        let born_ns = known.then(|| nanoseconds(stat.stx_btime.tv_sec, stat.stx_btime.tv_nsec.into()));
        Ok(Node { dev: rustix::fs::makedev(stat.stx_dev_major, stat.stx_dev_minor), ino: stat.stx_ino, born_ns })
    }

    pub fn is(&self, other: &Node) -> bool {
        self.ino == other.ino
            && match (self.born_ns, other.born_ns) {
                (Some(mine), Some(theirs)) => mine == theirs,
                _ => self.dev == other.dev,
            }
    }
}

/// A file that bears the same stamp as when it was written and verified has not been changed since.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Stamp {
    /// 0: nothing is known.
    pub ino: u64,
    pub bytes: u64,
    pub mtime_ns: i64,
    /// Every change of content, mode or number of links moves it, and no program can set it.
    pub ctime_ns: i64,
}

impl Stamp {
    pub const UNKNOWN: Stamp = Stamp { ino: 0, bytes: 0, mtime_ns: 0, ctime_ns: 0 };

    pub fn is_known(&self) -> bool {
        self.ino != 0
    }

    /// The same content as far as times tell; only links to it may have come or gone.
    pub fn same_but_links(&self, other: &Stamp) -> bool {
        self.ino == other.ino && self.bytes == other.bytes && self.mtime_ns == other.mtime_ns
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SeenKind {
    Directory,
    File,
    Link,
    Other,
}

impl SeenKind {
    pub fn words(self) -> &'static str {
        match self {
            SeenKind::Directory => "a directory",
            SeenKind::File => "a file",
            SeenKind::Link => "a symbolic link",
            SeenKind::Other => "a device, pipe or socket",
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    pub kind: SeenKind,
    pub mode: u32,
    /// Numbers of user and group.
    pub owner: (u32, u32),
    /// Names of it, wherever they stand.
    pub names: u64,
    pub stamp: Stamp,
}

impl From<Stat> for Seen {
    // The width of these fields differs between architectures.
    #[allow(clippy::unnecessary_cast)]
    fn from(stat: Stat) -> Seen {
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => SeenKind::Directory,
            FileType::RegularFile => SeenKind::File,
            FileType::Symlink => SeenKind::Link,
            _ => SeenKind::Other,
        };
        let stamp = Stamp {
            ino: stat.st_ino as u64,
            bytes: stat.st_size as u64,
            mtime_ns: nanoseconds(stat.st_mtime as i64, stat.st_mtime_nsec as i64),
            ctime_ns: nanoseconds(stat.st_ctime as i64, stat.st_ctime_nsec as i64),
        };
        let (owner, names) = ((stat.st_uid, stat.st_gid), stat.st_nlink as u64);
        Seen { kind, mode: stat.st_mode as u32 & 0o7777, owner, names, stamp }
    }
}

fn nanoseconds(seconds: i64, nanoseconds: i64) -> i64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds)
}
