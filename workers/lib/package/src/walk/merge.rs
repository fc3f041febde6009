//! Several sources become one tree. It looks at paths and kinds alone.

use std::collections::HashSet;

use super::{Extra, Found, FoundKind, NO_ROOT, Tree};
use crate::extras::Keeps;
use crate::paths;
use crate::source_error::BuildError;

const FOLDER_MODE: u32 = 0o755;

/// Directories of several sources become one (the first's mode and time); anything else twice is refused.
pub(super) fn merge_doubles(tree: &mut Tree) -> Result<(), BuildError> {
    if tree.roots.len() < 2 {
        return Ok(());
    }
    let shown = |entry: &Found| tree.roots[entry.root as usize].shown.clone();
    for pair in tree.entries.windows(2) {
        let both_folders = pair.iter().all(|entry| entry.kind == FoundKind::Directory);
        if pair[0].path == pair[1].path && !both_folders {
            let (first, second) = (shown(&pair[0]), shown(&pair[1]));
            return Err(BuildError::Conflict { path: pair[0].path.clone(), first, second });
        }
    }
    tree.entries.dedup_by(|later, first| later.path == first.path);
    let folders: HashSet<&str> =
        tree.entries.iter().filter(|e| e.kind == FoundKind::Directory).map(|e| e.path.as_str()).collect();
    let others: HashSet<&str> =
        tree.entries.iter().map(|e| e.path.as_str()).filter(|path| !folders.contains(path)).collect();
    for entry in &tree.entries {
        let above = paths::parent(&entry.path);
        if others.contains(above) {
            let (first, second) = (format!("a file {above}"), shown(entry));
            return Err(BuildError::Conflict { path: above.to_owned(), first, second });
        }
    }
    Ok(())
}

/// Folders that only `into` names, and the root of a lone file: as new as the newest thing in them.
/// They belong to whom that belongs.
pub(super) fn add_folders(entries: &mut Vec<Found>, keeps: Keeps) {
    let extra = |like: Option<&Found>| {
        let nobody = || keeps.owners().then_some((0, 0));
        let owner = like.and_then(|like| like.extra.as_ref()).map_or_else(nobody, |extra| extra.owner);
        (keeps != Keeps::default()).then(|| Box::new(Extra { owner, attributes: Vec::new() }))
    };
    let mut made: Vec<Found> = Vec::new();
    let there: HashSet<&str> =
        entries.iter().filter(|entry| entry.kind == FoundKind::Directory).map(|entry| entry.path.as_str()).collect();
    for entry in entries.iter() {
        let mut path = entry.path.as_str();
        while !path.is_empty() {
            path = paths::parent(path);
            if there.contains(path) {
                break;
            }
            match made.iter_mut().find(|folder| folder.path == path) {
                Some(folder) => folder.mtime_ns = folder.mtime_ns.max(entry.mtime_ns),
                None => made.push(Found {
                    path: path.to_owned(),
                    kind: FoundKind::Directory,
                    mode: FOLDER_MODE,
                    mtime_ns: entry.mtime_ns,
                    is_sparse: false,
                    has_more_names: false,
                    extra: extra(Some(entry)),
                    root: entry.root,
                }),
            }
        }
    }
    if entries.is_empty() {
        let kind = FoundKind::Directory;
        made.push(Found {
            path: String::new(),
            kind,
            mode: FOLDER_MODE,
            mtime_ns: 0,
            is_sparse: false,
            has_more_names: false,
            extra: extra(None),
            root: NO_ROOT,
        });
    }
    if !made.is_empty() {
        entries.extend(made);
        entries.sort_by(|a, b| a.path.cmp(&b.path));
    }
}
