//! What a build looks at beyond a stat: owners, extended attributes, holes. It opens files, and reads no content.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags, SeekFrom};
use rustix::io::Errno;

use crate::attributes;
use crate::extras::{Attribute, Keeps};

/// Less than this saved is not worth a hole, in bytes: a block of the common file systems.
const HOLE_BYTES_MIN: u64 = 4 << 10;
/// What `st_blocks` counts in.
const STAT_BLOCK_BYTES: u64 = 512;

/// Beyond path, kind, mode and time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Extra {
    /// Numbers of user and group.
    pub owner: Option<(u32, u32)>,
    pub attributes: Vec<Attribute>,
}

/// Owner and attributes of an open file or directory, as far as they are kept.
pub(crate) fn extra_of(file: impl AsFd, stat: &rustix::fs::Stat, keeps: Keeps) -> Result<Option<Box<Extra>>, Errno> {
    if keeps == Keeps::default() {
        return Ok(None);
    }
    let attributes = attributes::read(file, keeps)?;
    Ok(Some(Box::new(Extra { owner: owner_of(stat, keeps), attributes })))
}

/// Of what cannot be opened without following it: a symbolic link.
pub(super) fn extra_of_link(stat: &rustix::fs::Stat, keeps: Keeps) -> Option<Box<Extra>> {
    let extra = Extra { owner: owner_of(stat, keeps), attributes: Vec::new() };
    (keeps != Keeps::default()).then(|| Box::new(extra))
}

fn owner_of(stat: &rustix::fs::Stat, keeps: Keeps) -> Option<(u32, u32)> {
    keeps.owners().then_some((stat.st_uid, stat.st_gid))
}

/// Fewer blocks than bytes may mean holes, or compression.
pub(super) fn may_be_sparse(stat: &rustix::fs::Stat) -> bool {
    stat.st_blocks as u64 * STAT_BLOCK_BYTES + HOLE_BYTES_MIN <= stat.st_size as u64
}

/// True if a hole begins before the end.
pub(super) fn has_holes(file: impl AsFd, bytes: u64) -> bool {
    matches!(rustix::fs::seek(file, SeekFrom::Hole(0)), Ok(hole) if hole < bytes)
}

/// For a look at what it is; never waits for a pipe that took the file's place.
pub(super) fn open(folder: impl AsFd, name: impl rustix::path::Arg) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
    rustix::fs::openat(folder, name, flags, Mode::empty())
}
