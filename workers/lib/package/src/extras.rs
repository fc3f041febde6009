//! What a revision says of its entries beyond path, kind, mode and time: names of one file, owners, extended
//! attributes, sparseness. Most trees have none of it, and cost nothing for it. It knows no file system.

use crate::index::Index;

/// Bits of `Keeps`.
const OWNERS: u8 = 1;
const XATTRS: u8 = 2;
const ACLS: u8 = 4;
const SECURITY: u8 = 8;

/// What was asked for beside modes and times. What is not kept is neither recorded nor touched at a target.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Keeps(u8);

impl Keeps {
    pub const OWNERS: Keeps = Keeps(OWNERS);
    /// `user.*`
    pub const XATTRS: Keeps = Keeps(XATTRS);
    /// `system.posix_acl_access` and `system.posix_acl_default`
    pub const ACLS: Keeps = Keeps(ACLS);
    /// `security.*`
    pub const SECURITY: Keeps = Keeps(SECURITY);

    pub const fn with(self, other: Keeps) -> Keeps {
        Keeps(self.0 | other.0)
    }

    pub fn bits(self) -> u8 {
        self.0
    }

    pub fn from_bits(bits: u8) -> Option<Keeps> {
        (bits <= OWNERS | XATTRS | ACLS | SECURITY).then_some(Keeps(bits))
    }

    pub fn owners(self) -> bool {
        self.0 & OWNERS != 0
    }

    /// Attributes of any kind.
    pub fn attributes(self) -> bool {
        self.0 & (XATTRS | ACLS | SECURITY) != 0
    }

    /// True if an attribute with this name is kept.
    pub fn keeps(self, name: &str) -> bool {
        let kept = |bit: u8| self.0 & bit != 0;
        match name {
            "system.posix_acl_access" | "system.posix_acl_default" => kept(ACLS),
            name if is_within(name, "user.") => kept(XATTRS),
            name if is_security(name) => kept(SECURITY),
            _ => false,
        }
    }
}

pub fn is_security(name: &str) -> bool {
    is_within(name, "security.")
}

fn is_within(name: &str, space: &str) -> bool {
    name.strip_prefix(space).is_some_and(|rest| !rest.is_empty())
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Extras {
    pub keeps: Keeps,
    /// Sorted by `entry`.
    pub hard_links: Vec<HardLink>,
    /// Files with holes, by position, ascending.
    pub sparse: Vec<u32>,
    /// Of every entry, if owners are kept; else empty.
    pub owners: Owners,
    /// Each distinct set once; none is empty.
    pub attribute_sets: Vec<Vec<Attribute>>,
    /// Position of an entry and of its set, ascending.
    pub attributes: Vec<(u32, u32)>,
}

/// A further name of a file. Both entries say the same of content, mode, time, owner and attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HardLink {
    pub entry: u32,
    /// The file's first name, which is no hard link itself.
    pub first: u32,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Owners {
    pub users: Vec<Account>,
    pub groups: Vec<Account>,
    /// Of each entry, positions in `users` and `groups`.
    pub of: Vec<(u32, u32)>,
}

/// A user or a group. With a name, the name decides at a site; without, the number.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Account {
    pub id: u32,
    pub name: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Attribute {
    pub name: String,
    pub value: Vec<u8>,
}

impl Extras {
    /// Nothing in it: such an index is written in the first version of the format.
    pub fn is_empty(&self) -> bool {
        self.keeps == Keeps::default() && self.hard_links.is_empty() && self.sparse.is_empty()
    }

    /// The first name of the file that the entry is a further name of.
    pub fn first_of(&self, at: u32) -> Option<u32> {
        self.hard_links.binary_search_by_key(&at, |link| link.entry).ok().map(|place| self.hard_links[place].first)
    }

    pub fn is_sparse(&self, at: u32) -> bool {
        self.sparse.binary_search(&at).is_ok()
    }

    /// User and group; None if owners are not kept.
    pub fn owner_of(&self, at: u32) -> Option<(&Account, &Account)> {
        let &(user, group) = self.owners.of.get(at as usize)?;
        Some((&self.owners.users[user as usize], &self.owners.groups[group as usize]))
    }

    /// Sorted by name; only of those kinds that are kept.
    pub fn attributes_of(&self, at: u32) -> &[Attribute] {
        let found = self.attributes.binary_search_by_key(&at, |&(entry, _)| entry);
        found.map_or(&[], |place| &self.attribute_sets[self.attributes[place].1 as usize])
    }
}

/// The same owner and attributes, and both know as much of them.
pub fn same_owner_and_attributes(one: &Index, at: u32, other: &Index, other_at: u32) -> bool {
    let (one, other) = (&one.extras, &other.extras);
    one.keeps == other.keeps
        && one.owner_of(at) == other.owner_of(other_at)
        && one.attributes_of(at) == other.attributes_of(other_at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_attributes_of_the_kinds_asked_for_are_kept_and_others_never() {
        let all = Keeps::XATTRS.with(Keeps::ACLS).with(Keeps::SECURITY).with(Keeps::OWNERS);
        assert!(all.keeps("user.a") && all.keeps("security.capability") && all.keeps("system.posix_acl_default"));
        for never in ["user.", "trusted.overlay.opaque", "system.nfs4_acl", "security.", "userx", ""] {
            assert!(!all.keeps(never), "{never}");
        }
        assert!(!Keeps::XATTRS.keeps("security.selinux") && !Keeps::OWNERS.attributes());
        assert_eq!(Keeps::from_bits(16), None);
    }
}
