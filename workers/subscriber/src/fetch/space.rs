//! Whether there is room for what is lacking, before a byte of it is moved, and whether others leave enough of it meanwhile.

use std::path::Path;
use std::time::Duration;

use crate::halt::Halt;

/// How often the room is looked at while content comes.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Fails with the figures if `needed` bytes do not fit, or if less than `floor` would stay free.
pub fn check(folder: &Path, needed: u64, floor: u64) -> Result<(), Halt> {
    judge(folder, free(folder)?, needed, floor)
}

/// Returns once less than `floor` bytes are free, whoever took them.
pub async fn falls_short(folder: &Path, floor: u64) -> Halt {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        // What cannot be read now was readable a moment ago; writing will tell.
        if let Ok(free) = free(folder)
            && free < floor
        {
            let place = folder.display();
            let what = format!(
                "{place} has {free} bytes free, less than its floor of {floor} bytes; what came so far is kept: make room"
            );
            return Halt::transient("free-space-floor", what);
        }
    }
}

fn free(folder: &Path) -> Result<u64, Halt> {
    let stat = rustix::fs::statvfs(folder)
        .map_err(|e| Halt::transient("disk-unreadable", format!("free space of {}: {e}", folder.display())))?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

fn judge(folder: &Path, free: u64, needed: u64, floor: u64) -> Result<(), Halt> {
    let place = folder.display();
    if needed > free {
        let what = format!("{place} has {free} bytes free, and {needed} bytes are to come: make room");
        return Err(Halt::transient("disk-full", what));
    }
    if needed > 0 && free - needed < floor {
        let what = format!(
            "{place} has {free} bytes free; with the {needed} bytes to come less than its floor of {floor} bytes would stay free"
        );
        return Err(Halt::transient("free-space-floor", what));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_that_does_not_fit_fails_early_with_the_figures() {
        let folder = Path::new("/w");
        let code = |free, needed, floor| match judge(folder, free, needed, floor) {
            Err(Halt::Fault(fault)) => {
                assert!(fault.message.contains(&free.to_string()) && fault.message.contains(&needed.to_string()));
                fault.code
            }
            _ => "fits".to_owned(),
        };
        assert_eq!(code(100, 101, 0), "disk-full");
        assert_eq!(code(100, 60, 50), "free-space-floor");
        assert_eq!(code(100, 50, 50), "fits");
        assert_eq!(code(10, 0, 50), "fits", "a job that needs nothing is not stopped by the floor");
    }

    #[tokio::test]
    async fn a_download_ends_when_others_take_the_room_below_the_floor() {
        let folder = tempfile::tempdir().unwrap();
        let Halt::Fault(fault) = falls_short(folder.path(), u64::MAX).await else { panic!("not a fault") };
        assert_eq!((fault.code.as_str(), fault.permanent), ("free-space-floor", false));
        assert!(fault.message.contains(&u64::MAX.to_string()), "{fault}");
        let enough = tokio::time::timeout(LOOK_EVERY * 2, falls_short(folder.path(), 0)).await;
        assert!(enough.is_err());
    }
}
