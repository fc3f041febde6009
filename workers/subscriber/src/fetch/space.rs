//! Whether there is room for what is lacking, before a byte of it is moved.

use std::path::Path;

use crate::halt::Halt;

/// Fails with the figures if `needed` bytes do not fit, or if less than `floor` would stay free.
pub fn check(folder: &Path, needed: u64, floor: u64) -> Result<(), Halt> {
    let stat = rustix::fs::statvfs(folder)
        .map_err(|e| Halt::transient("disk-unreadable", format!("free space of {}: {e}", folder.display())))?;
    judge(folder, stat.f_bavail.saturating_mul(stat.f_frsize), needed, floor)
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
}
