//! What a target lacks, has otherwise or has beside what was last extracted there. It reads the site's own records and
//! the target, changes neither, and knows no network.

use std::path::Path;

use schemas::RevisionRef;

use crate::index::{EntryKind, Index};

use super::error::TreeError;
use super::verify::{Differences, Modification, verify, verify_beneath};
use super::{merge, mirror};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drift {
    pub revision: RevisionRef,
    pub differences: Differences,
}

/// None if nothing was ever extracted there with these records.
pub fn drift(target: &Path, state_dir: &Path) -> Result<Option<Drift>, TreeError> {
    if let Some((revision, index)) = mirror::recorded(target, state_dir)? {
        return Ok(Some(Drift { revision, differences: verify(target, &index)? }));
    }
    let Some((revision, root, index)) = merge::recorded(target, state_dir)? else { return Ok(None) };
    let differences = match root {
        Some(root) => ours(verify_beneath(&root, &index)?, &index),
        None => Differences {
            missing: index.entries.iter().map(|entry| entry.path.clone()).collect(),
            ..Differences::default()
        },
    };
    Ok(Some(Drift { revision, differences }))
}

/// In a directory that others use too, what they have there is no drift, and how they have their directories neither.
fn ours(mut found: Differences, index: &Index) -> Differences {
    found.extra.clear();
    let is_directory = |path: &str| index.find(path).is_some_and(|at| index.entries[at].kind == EntryKind::Directory);
    found.modified.retain(|modified| modified.what == Modification::Kind || !is_directory(&modified.path));
    found
}
