//! Names and numbers of users and groups, as this machine knows them. A revision carries both; it knows no file.

use std::collections::HashMap;

use nix::errno::Errno;
use nix::unistd::{Gid, Group, Uid, User};

use crate::extras::{Account, Owners};

/// Positions of the accounts of a revision in the making, each looked up once.
#[derive(Default)]
pub(crate) struct Collector {
    owners: Owners,
    users: HashMap<u32, u32>,
    groups: HashMap<u32, u32>,
}

impl Collector {
    /// The owner of the next entry. A number without a name on this machine is kept as a number.
    pub fn add(&mut self, (user, group): (u32, u32)) {
        let owners = &mut self.owners;
        let user = place(&mut self.users, &mut owners.users, user, user_name);
        let group = place(&mut self.groups, &mut owners.groups, group, group_name);
        owners.of.push((user, group));
    }

    pub fn finish(self) -> Owners {
        self.owners
    }
}

fn place(
    known: &mut HashMap<u32, u32>,
    accounts: &mut Vec<Account>,
    id: u32,
    name: impl Fn(u32) -> Option<String>,
) -> u32 {
    *known.entry(id).or_insert_with(|| {
        accounts.push(Account { id, name: name(id).filter(|name| is_name(name)) });
        accounts.len() as u32 - 1
    })
}

fn is_name(name: &str) -> bool {
    let plain = !name.chars().any(|c| c.is_control() || c == ':');
    plain && !name.is_empty() && name.len() <= crate::limits::ACCOUNT_BYTES_MAX
}

fn user_name(id: u32) -> Option<String> {
    User::from_uid(Uid::from_raw(id)).ok().flatten().map(|user| user.name)
}

fn group_name(id: u32) -> Option<String> {
    Group::from_gid(Gid::from_raw(id)).ok().flatten().map(|group| group.name)
}

/// The number that the user has here; None if this machine does not know the name.
pub(crate) fn user_here(account: &Account) -> Result<Option<u32>, Errno> {
    match &account.name {
        None => Ok(Some(account.id)),
        Some(name) => Ok(User::from_name(name)?.map(|user| user.uid.as_raw())),
    }
}

pub(crate) fn group_here(account: &Account) -> Result<Option<u32>, Errno> {
    match &account.name {
        None => Ok(Some(account.id)),
        Some(name) => Ok(Group::from_name(name)?.map(|group| group.gid.as_raw())),
    }
}
