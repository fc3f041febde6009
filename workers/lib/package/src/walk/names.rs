//! Names that are one file: by device and inode, wherever in the sources they stand. It opens nothing.

use std::collections::HashMap;

use super::{Found, FoundKind};
use crate::extras::HardLink;

/// Entries are sorted. Each further name takes over what the first one's look at the file gave: it is the same file.
pub(super) fn join_names(entries: &mut [Found]) -> Vec<HardLink> {
    let mut firsts: HashMap<(u64, u64), u32> = HashMap::new();
    let mut links = Vec::new();
    for at in 0..entries.len() {
        let FoundKind::File(stat) = &entries[at].kind else { continue };
        if !entries[at].has_more_names {
            continue;
        }
        let first = *firsts.entry((stat.device, stat.inode)).or_insert(at as u32);
        if first != at as u32 {
            let Found { kind, mode, mtime_ns, is_sparse, extra, .. } = entries[first as usize].clone();
            entries[at] = Found { kind, mode, mtime_ns, is_sparse, extra, ..entries[at].clone() };
            links.push(HardLink { entry: at as u32, first });
        }
    }
    links
}
