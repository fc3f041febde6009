//! The part of a file's stat that tells one state of it from another.

use crate::limits::FILE_BYTES_MAX;
use crate::source_error::BuildError;

/// What tells that a file is the same as before, and unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    pub bytes: u64,
    pub mtime_ns: i64,
    pub ctime_ns: i64,
    pub inode: u64,
    pub device: u64,
}

pub(super) fn checked_stat(stat: &rustix::fs::Stat, path: impl FnOnce() -> String) -> Result<Stat, BuildError> {
    let stat = stat_of(stat);
    match stat.bytes {
        found if found > FILE_BYTES_MAX => {
            Err(BuildError::TooLarge { what: format!("bytes of {}", path()), found, max: FILE_BYTES_MAX })
        }
        _ => Ok(stat),
    }
}

pub(crate) fn stat_of(stat: &rustix::fs::Stat) -> Stat {
    Stat {
        bytes: stat.st_size as u64,
        mtime_ns: mtime_ns(stat),
        ctime_ns: nanoseconds(stat.st_ctime, stat.st_ctime_nsec as i64),
        inode: stat.st_ino,
        device: stat.st_dev,
    }
}

pub(super) fn mtime_ns(stat: &rustix::fs::Stat) -> i64 {
    nanoseconds(stat.st_mtime, stat.st_mtime_nsec as i64)
}

fn nanoseconds(seconds: i64, nanoseconds: i64) -> i64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds)
}
