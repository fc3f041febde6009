//! Merges that a crash cut off, of which a target has some files of the old revision and some of the new one: they are undone
//! before any job is ended. It knows not how.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use package::tree::{self, TreeError};
use schemas::StoreId;
use tokio_util::sync::CancellationToken;

use crate::halt::blocking;
use crate::target;

/// How long the lanes wait for a target that does not answer; then it goes on behind their back.
const PATIENCE: Duration = Duration::from_secs(60);

/// At a site's start. A target that cannot be reached then is tried again by the next extract of its distribution.
pub async fn undo_all(work_dir: &Path, stop: &CancellationToken) {
    let trees = target::trees_dir(work_dir);
    let work = blocking(move || folders(&trees).iter().for_each(|store| undo_in(store)));
    if let Some(Err(_)) = stop.run_until_cancelled(tokio::time::timeout(PATIENCE, work)).await {
        tracing::warn!("a target does not answer; whether a merge into it was cut off is not known yet");
    }
}

/// In all targets that a distribution has, or had.
pub async fn undo(work_dir: &Path, store: StoreId) {
    let trees = target::store_dir(work_dir, store);
    if let Err(error) = blocking(move || undo_in(&trees)).await {
        tracing::warn!(%store, ?error, "whether a merge was cut off could not be told");
    }
}

fn undo_in(store: &Path) {
    for state_dir in folders(store) {
        match tree::cut_off(&state_dir) {
            Ok(None) => {}
            Ok(Some(target)) => undo_one(&target, &state_dir),
            Err(error) => tracing::warn!(%error, "whether a merge was cut off cannot be told"),
        }
    }
}

fn undo_one(target: &Path, state_dir: &Path) {
    let path = target.display();
    match tree::recover(target, state_dir) {
        Ok(true) => tracing::info!(target = %path, "what was left of a merge that was cut off is cleared up"),
        Ok(false) => {
            tracing::warn!(target = %path, "a merge was cut off, and its directory is not there now; the next extract tries again")
        }
        Err(TreeError::TargetBusy { .. }) => {}
        Err(error) => {
            tracing::warn!(target = %path, %error, "a merge that was cut off cannot be undone now; the next extract tries again")
        }
    }
}

fn folders(of: &Path) -> Vec<PathBuf> {
    let entries = match fs::read_dir(of) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Vec::new(),
        read => read.and_then(Iterator::collect::<Result<Vec<_>, _>>),
    };
    entries
        .inspect_err(|error| tracing::warn!(folder = %of.display(), %error, "the records of trees cannot be read"))
        .map_or(Vec::new(), |entries| entries.into_iter().map(|entry| entry.path()).collect())
}
