//! Whether there is room for what is lacking, before a byte of it is moved, and whether others leave enough of it meanwhile.

use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use package::room::{self, NoRoom};

use crate::halt::Halt;

/// How often the room is looked at while content comes.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Bytes that stay free, as the settings in force say. Shared by its clones.
#[derive(Debug, Clone, Default)]
pub struct Floor(Arc<AtomicU64>);

impl Floor {
    pub fn set(&self, bytes: u64) {
        self.0.store(bytes, Relaxed);
    }

    pub fn bytes(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Fails with the figures if `needed` bytes do not fit, or if less than the floor would stay free.
pub fn check(folder: &Path, needed: u64, floor: &Floor) -> Result<(), Halt> {
    let free = room::free_bytes(folder)
        .map_err(|e| Halt::transient("disk-unreadable", format!("free space of {}: {e}", folder.display())))?;
    room::judge(&folder.to_string_lossy(), free, needed, floor.bytes()).map_err(Halt::from)
}

/// Returns once less than the floor is free, whoever took it.
pub async fn falls_short(folder: &Path, floor: &Floor) -> Halt {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        if let Some(short) = shortage(folder, floor) {
            return short;
        }
    }
}

/// What is to be said when less than the floor is free.
pub fn shortage(folder: &Path, floor: &Floor) -> Option<Halt> {
    let floor = floor.bytes();
    // What cannot be read now was readable a moment ago; writing will tell.
    let free = room::free_bytes(folder).ok().filter(|&free| free < floor)?;
    let place = folder.display();
    let what = format!(
        "{place} has {free} bytes free, less than its floor of {floor} bytes; what came so far is kept: make room"
    );
    Some(Halt::transient("free-space-floor", what))
}

pub fn is_full(fault: &io::Error) -> bool {
    matches!(fault.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

/// What is free at `path`, for those who meet a full disk.
pub fn figures(path: &Path) -> String {
    room::free_bytes(path).map_or_else(|e| e.to_string(), |free| format!("{free} bytes are free there; make room"))
}

impl From<NoRoom> for Halt {
    fn from(error: NoRoom) -> Halt {
        Halt::transient(error.code(), error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_download_ends_when_others_take_the_room_below_the_floor() {
        let folder = tempfile::tempdir().unwrap();
        let floor = Floor::default();
        floor.set(u64::MAX);
        let Halt::Fault(fault) = falls_short(folder.path(), &floor).await else { panic!("not a fault") };
        assert_eq!((fault.code.as_str(), fault.permanent), ("free-space-floor", false));
        assert!(fault.message.contains(&u64::MAX.to_string()), "{fault}");
        let enough = tokio::time::timeout(LOOK_EVERY * 2, falls_short(folder.path(), &Floor::default())).await;
        assert!(enough.is_err());
    }
}
