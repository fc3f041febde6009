//! Owner, mode, attributes and time of an open file or directory, set in the order in which none undoes another. It
//! knows no content.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{AtFlags, Gid, Mode, Uid};
use rustix::io::Errno;

use crate::attributes;

use super::beneath;
use super::calls;
use super::error::TreeError;
use super::node::Seen;
use super::wants::Wants;

/// Changing the owner takes set-uid bits and capabilities away, so that comes first; the time comes last.
pub(super) fn dress(file: impl AsFd, wants: &Wants, at: u32) -> Result<(), TreeError> {
    let entry = &wants.index.entries[at as usize];
    let failed = |doing| move |errno| TreeError::of(doing, &entry.path, errno);
    if let Some(owner) = wants.owner_of(at) {
        let seen = Seen::from(rustix::fs::fstat(&file).map_err(failed("look at"))?);
        if seen.owner != owner {
            let (user, group) = (Uid::from_raw(owner.0), Gid::from_raw(owner.1));
            rustix::fs::fchown(&file, Some(user), Some(group)).map_err(failed("set the owner of"))?;
        }
    }
    calls::fchmod(&file, Mode::from_raw_mode(entry.mode)).map_err(failed("set the mode of"))?;
    let extras = &wants.index.extras;
    attributes::set(&file, extras.keeps, extras.attributes_of(at)).map_err(|(name, errno)| match errno {
        Errno::OPNOTSUPP | Errno::NOSPC | Errno::TOOBIG | Errno::RANGE | Errno::INVAL => {
            TreeError::AttributeUnsupported { path: entry.path.clone(), name, errno }
        }
        errno => TreeError::of("set the attributes of", &entry.path, errno),
    })?;
    calls::futimens(&file, &beneath::times(entry.mtime_ns)).map_err(failed("set the time of"))
}

/// Owner and time of a symbolic link; it has no mode and no attributes.
pub(super) fn dress_link(directory: BorrowedFd<'_>, name: &str, wants: &Wants, at: u32) -> Result<(), Errno> {
    if let Some((user, group)) = wants.owner_of(at) {
        let (user, group) = (Uid::from_raw(user), Gid::from_raw(group));
        rustix::fs::chownat(directory, name, Some(user), Some(group), AtFlags::SYMLINK_NOFOLLOW)?;
    }
    let mtime_ns = wants.index.entries[at as usize].mtime_ns;
    calls::utimensat(directory, name, &beneath::times(mtime_ns), AtFlags::SYMLINK_NOFOLLOW)
}

/// True if an open file or directory has the attributes that are wanted.
pub(super) fn has_attributes(file: impl AsFd, wants: &Wants, at: u32) -> Result<bool, Errno> {
    let extras = &wants.index.extras;
    attributes::are(file, extras.keeps, extras.attributes_of(at))
}
