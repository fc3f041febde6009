//! Room on a file system: how much of it is free, and whether what is to come fits. It knows no job.

use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::StatVfs;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoRoom {
    #[error("{place} has {free} bytes free, and {needed} bytes are to come: make room")]
    Full { place: String, free: u64, needed: u64 },
    #[error(
        "{place} has {free} bytes free; with the {needed} bytes to come less than its floor of {floor} bytes would stay free"
    )]
    BelowFloor { place: String, free: u64, needed: u64, floor: u64 },
}

impl NoRoom {
    pub fn code(&self) -> &'static str {
        match self {
            NoRoom::Full { .. } => "disk-full",
            NoRoom::BelowFloor { .. } => "free-space-floor",
        }
    }
}

/// What is free where `path` is, or where it will be.
pub fn free_bytes(path: &Path) -> io::Result<u64> {
    let there = path.ancestors().find(|path| path.exists()).unwrap_or(path);
    Ok(free(&rustix::fs::statvfs(there)?))
}

pub fn free_bytes_at(directory: impl AsFd) -> io::Result<u64> {
    Ok(free(&rustix::fs::fstatvfs(directory)?))
}

/// Whether `needed` bytes fit into the `free` ones, and `floor` bytes stay free. What needs nothing always fits.
pub fn judge(place: &str, free: u64, needed: u64, floor: u64) -> Result<(), NoRoom> {
    let place = place.to_owned();
    match free.checked_sub(needed) {
        None => Err(NoRoom::Full { place, free, needed }),
        Some(left) if needed > 0 && left < floor => Err(NoRoom::BelowFloor { place, free, needed, floor }),
        Some(_) => Ok(()),
    }
}

fn free(stat: &StatVfs) -> u64 {
    stat.f_bavail.saturating_mul(stat.f_frsize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_told_with_the_figures() {
        let code = |free, needed, floor| match judge("/w", free, needed, floor) {
            Err(error) => {
                let text = error.to_string();
                assert!(
                    ["/w", &free.to_string(), &needed.to_string()].iter().all(|part| text.contains(part)),
                    "{text}"
                );
                error.code()
            }
            Ok(()) => "fits",
        };
        assert_eq!(code(100, 101, 0), "disk-full");
        assert_eq!(code(100, 60, 50), "free-space-floor");
        assert_eq!(code(100, 50, 50), "fits");
        assert_eq!(code(10, 0, 50), "fits", "a job that needs nothing is not stopped by the floor");
    }

    #[test]
    fn room_is_known_where_nothing_stands_yet() {
        let folder = tempfile::tempdir().unwrap();
        assert!(free_bytes(&folder.path().join("not/yet")).unwrap() > 0);
        assert!(free_bytes_at(std::fs::File::open(folder.path()).unwrap()).unwrap() > 0);
    }
}
