//! Where symbolic links lead, judged within the tree, through other links too. It knows no file system.

use std::collections::HashMap;

use crate::index::{EntryKind, Index};
use crate::paths;

use super::check::{Policy, Unsafe};

/// The kernel gives up after as many links, so what is further leads nowhere.
const LINKS_FOLLOWED_MAX: u32 = 40;

pub(super) fn check(index: &Index, policy: &Policy) -> Result<(), Unsafe> {
    let links: HashMap<&str, &str> = index
        .entries
        .iter()
        .filter_map(|entry| match &entry.kind {
            EntryKind::Link { target } => Some((entry.path.as_str(), target.as_str())),
            _ => None,
        })
        .collect();
    for (&path, &to) in &links {
        paths::check_link(path, to).map_err(|_| Unsafe::LinkInvalid { path: path.into() })?;
        if !policy.links_out && leads_out(path, to, &links) {
            return Err(Unsafe::LinkOut { path: path.into(), to: to.into() });
        }
    }
    Ok(())
}

/// Walks as the kernel would: a `..` leaves the directory that a link led to, not the link's own.
fn leads_out<'a>(path: &'a str, to: &'a str, links: &HashMap<&'a str, &'a str>) -> bool {
    let mut place: Vec<&str> = path.split('/').collect();
    place.pop();
    let mut ahead: Vec<&str> = Vec::new();
    let mut followed = 1;
    if !push(&mut ahead, to) {
        return true;
    }
    while let Some(part) = ahead.pop() {
        match part {
            "" | "." => {}
            ".." => {
                if place.pop().is_none() {
                    return true;
                }
            }
            name => {
                place.push(name);
                let Some(next) = links.get(place.join("/").as_str()) else { continue };
                place.pop();
                followed += 1;
                if followed > LINKS_FOLLOWED_MAX {
                    return false;
                }
                if !push(&mut ahead, next) {
                    return true;
                }
            }
        }
    }
    false
}

/// False for an absolute one.
fn push<'a>(ahead: &mut Vec<&'a str>, to: &'a str) -> bool {
    ahead.extend(to.split('/').rev());
    !to.starts_with('/')
}
