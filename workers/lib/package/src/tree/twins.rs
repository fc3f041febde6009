//! Names that some file systems take for the same: equal but for case, or for how Unicode composes them.
//! It knows not on which file system the tree will stand.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::hash::{DefaultHasher, Hash, Hasher};

use unicode_normalization::UnicodeNormalization;

use crate::index::Index;

use super::check::{Policy, Unsafe};

pub(super) fn check(index: &Index, policy: &Policy) -> Result<(), Unsafe> {
    if policy.case_twins && policy.unicode_twins {
        return Ok(());
    }
    let mut seen: HashMap<u64, u32> = HashMap::with_capacity(index.entries.len());
    for (at, entry) in index.entries.iter().enumerate() {
        match seen.entry(hash_folded(&entry.path)) {
            Slot::Vacant(free) => {
                free.insert(at as u32);
            }
            Slot::Occupied(taken) => compare(&index.entries[*taken.get() as usize].path, &entry.path, policy)?,
        }
    }
    Ok(())
}

fn compare(other: &str, path: &str, policy: &Policy) -> Result<(), Unsafe> {
    if folded(other) != folded(path) {
        return Ok(());
    }
    let (path, other) = (path.to_owned(), other.to_owned());
    let composed = path.nfc().eq(other.nfc());
    match (composed, policy.unicode_twins, policy.case_twins) {
        (true, false, _) => Err(Unsafe::UnicodeTwins { path, other }),
        (false, _, false) => Err(Unsafe::CaseTwins { path, other }),
        _ => Ok(()),
    }
}

fn hash_folded(path: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    if path.is_ascii() {
        path.bytes().for_each(|byte| hasher.write_u8(byte.to_ascii_lowercase()));
    } else {
        folded(path).bytes().for_each(|byte| hasher.write_u8(byte));
    }
    0u8.hash(&mut hasher);
    hasher.finish()
}

/// Upper and then lower, so that `ß` meets `SS` and the Kelvin sign meets `k`.
fn folded(path: &str) -> String {
    path.nfd().flat_map(char::to_uppercase).flat_map(char::to_lowercase).nfc().collect()
}
