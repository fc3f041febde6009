//! What a revision wants of each file beyond its content, in this machine's terms: account names have become numbers,
//! and it is known which names are one file. It touches nothing.

use std::collections::HashMap;

use crate::accounts;
use crate::extras::Account;
use crate::index::{EntryKind, Index};

use super::error::TreeError;
use super::node::{Seen, SeenKind};

pub(super) struct Wants<'a> {
    pub index: &'a Index,
    /// Numbers on this machine, by position in the revision's tables.
    users: Vec<u32>,
    groups: Vec<u32>,
    roles: Roles,
}

impl<'a> Wants<'a> {
    /// Refuses an account that this machine does not know.
    pub fn resolve(index: &'a Index) -> Result<Wants<'a>, TreeError> {
        let owners = &index.extras.owners;
        let here = |what: &'static str, account: &Account, found: Result<Option<u32>, nix::errno::Errno>| {
            let name = account.name.clone().unwrap_or_default();
            let failed = |errno: nix::errno::Errno| TreeError::Accounts { name: name.clone(), why: errno.desc() };
            found.map_err(failed)?.ok_or(TreeError::AccountUnknown { what, name: name.clone() })
        };
        let users = owners.users.iter().map(|user| here("user", user, accounts::user_here(user)));
        let groups = owners.groups.iter().map(|group| here("group", group, accounts::group_here(group)));
        let (users, groups) = (users.collect::<Result<_, _>>()?, groups.collect::<Result<_, _>>()?);
        Ok(Wants { index, users, groups, roles: Roles::of(index) })
    }

    /// User and group; None if they are left as they come.
    pub fn owner_of(&self, at: u32) -> Option<(u32, u32)> {
        let &(user, group) = self.index.extras.owners.of.get(at as usize)?;
        Some((self.users[user as usize], self.groups[group as usize]))
    }

    pub fn has_owner(&self, at: u32, seen: &Seen) -> bool {
        self.owner_of(at).is_none_or(|owner| owner == seen.owner)
    }

    /// All but content and attributes of a file is as its entry says.
    pub fn looks_right(&self, at: u32, seen: &Seen) -> bool {
        let entry = &self.index.entries[at as usize];
        let EntryKind::File { bytes, .. } = entry.kind else { return false };
        seen.kind == SeenKind::File
            && seen.stamp.bytes == bytes
            && seen.mode == entry.mode
            && seen.stamp.mtime_ns == entry.mtime_ns
            && self.has_owner(at, seen)
    }

    pub fn role(&self, at: u32) -> Role {
        self.roles.of_entry(at)
    }
}

/// What an entry is among the names of its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Alone,
    /// Others are further names of it.
    First,
    /// The first name, by position.
    Further(u32),
}

impl Role {
    /// Whether a file that had the one role may have the other now, without becoming one with what is another file.
    pub fn may_become(self, now: Role) -> bool {
        matches!((self, now), (Role::Alone, Role::Alone | Role::First) | (Role::First, Role::First))
    }
}

/// Roles of those entries that are not alone.
#[derive(Debug, Default)]
pub(super) struct Roles(HashMap<u32, Role>);

impl Roles {
    pub fn of(index: &Index) -> Roles {
        let links = &index.extras.hard_links;
        let mut roles: HashMap<u32, Role> = links.iter().map(|link| (link.first, Role::First)).collect();
        roles.extend(links.iter().map(|link| (link.entry, Role::Further(link.first))));
        Roles(roles)
    }

    pub fn of_entry(&self, at: u32) -> Role {
        self.0.get(&at).copied().unwrap_or(Role::Alone)
    }
}
