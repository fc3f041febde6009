//! What the extras of a revision may hold, and what they spare writing. It knows no file system.

use std::ops::Range;

use crate::extras::is_security;
use crate::extras_codec;
use crate::index::Index;

use super::check::{Policy, Unsafe};
use super::content::is_zeros;

/// Refuses tables that do not fit the entries, and security attributes unless they are allowed.
pub(super) fn check(index: &Index, policy: &Policy) -> Result<(), Unsafe> {
    let extras = &index.extras;
    if !fits(index) || extras_codec::check(index).is_err() {
        return Err(Unsafe::Tables("the extras are not of its entries"));
    }
    if policy.security_attributes {
        return Ok(());
    }
    for &(at, set) in &extras.attributes {
        let name = extras.attribute_sets[set as usize].iter().map(|attribute| &attribute.name);
        if let Some(name) = name.into_iter().find(|name| is_security(name)) {
            let path = index.entries[at as usize].path.clone();
            return Err(Unsafe::SecurityAttribute { path, name: name.clone() });
        }
    }
    Ok(())
}

fn fits(index: &Index) -> bool {
    let (extras, entries) = (&index.extras, index.entries.len());
    let owners = &extras.owners;
    let is_entry = |at: u32| (at as usize) < entries;
    let has_account =
        |&(user, group): &(u32, u32)| (user as usize) < owners.users.len() && (group as usize) < owners.groups.len();
    extras.hard_links.iter().all(|link| is_entry(link.entry) && link.first < link.entry)
        && extras.hard_links.is_sorted_by(|one, next| one.entry < next.entry)
        && extras.sparse.iter().all(|&at| is_entry(at))
        && owners.of.len() == if extras.keeps.owners() { entries } else { 0 }
        && owners.of.iter().all(has_account)
        && extras.attributes.iter().all(|&(at, set)| is_entry(at) && (set as usize) < extras.attribute_sets.len())
        && extras.attribute_sets.iter().flatten().all(|attribute| extras.keeps.keeps(&attribute.name))
}

/// What writing a file takes on disk: nothing for a further name, and nothing for chunks that become holes.
pub(super) fn bytes_written(index: &Index, at: u32, refs: &Range<u32>) -> u64 {
    if index.extras.first_of(at).is_some() {
        return 0;
    }
    let is_sparse = index.extras.is_sparse(at);
    let written = index.chunks_of(refs).filter(|chunk| !(is_sparse && is_zeros(chunk)));
    written.map(|chunk| u64::from(chunk.bytes)).sum()
}
