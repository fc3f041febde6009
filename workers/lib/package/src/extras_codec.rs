//! The sixth section of an index, from version 2 on: its extras as columns (docs/package-format.md). Decoding trusts
//! nothing; it knows the entries, which come before, and no file system.

use crate::diff::same_content;
use crate::error::FormatError;
use crate::extras::{Account, Attribute, Extras, HardLink, Keeps, Owners, same_owner_and_attributes};
use crate::index::{EntryKind, Index};
use crate::limits::{ACCOUNT_BYTES_MAX, ATTRIBUTE_BYTES_MAX, ATTRIBUTE_NAME_BYTES_MAX, ATTRIBUTES_BYTES_MAX};
use crate::wire::{Reader, put_varint};

const WHAT: &str = "the index";
/// Stands for "no name" before an account's name; else the name's length follows, which is not 0.
const NAMELESS: u64 = 0;

pub(crate) fn write(out: &mut Vec<u8>, extras: &Extras) {
    put_varint(out, extras.keeps.bits().into());
    put_varint(out, extras.hard_links.len() as u64);
    write_steps(out, extras.hard_links.iter().map(|link| link.entry));
    extras.hard_links.iter().for_each(|link| put_varint(out, (link.entry - link.first).into()));
    put_varint(out, extras.sparse.len() as u64);
    write_steps(out, extras.sparse.iter().copied());
    if extras.keeps.owners() {
        write_accounts(out, &extras.owners.users);
        write_accounts(out, &extras.owners.groups);
        extras.owners.of.iter().for_each(|&(user, _)| put_varint(out, user.into()));
        extras.owners.of.iter().for_each(|&(_, group)| put_varint(out, group.into()));
    }
    if extras.keeps.attributes() {
        put_varint(out, extras.attribute_sets.len() as u64);
        for set in &extras.attribute_sets {
            put_varint(out, set.len() as u64);
            set.iter().for_each(|attribute| {
                put_bytes(out, attribute.name.as_bytes());
                put_bytes(out, &attribute.value);
            });
        }
        put_varint(out, extras.attributes.len() as u64);
        write_steps(out, extras.attributes.iter().map(|&(entry, _)| entry));
        extras.attributes.iter().for_each(|&(_, set)| put_varint(out, set.into()));
    }
}

/// Ascending positions, none of them 0, as steps.
fn write_steps(out: &mut Vec<u8>, positions: impl Iterator<Item = u32>) {
    let mut last = None;
    for at in positions {
        put_varint(out, last.map_or(u64::from(at), |last: u32| u64::from(at - last)));
        last = Some(at);
    }
}

fn write_accounts(out: &mut Vec<u8>, accounts: &[Account]) {
    put_varint(out, accounts.len() as u64);
    for account in accounts {
        put_varint(out, account.id.into());
        put_bytes(out, account.name.as_deref().unwrap_or_default().as_bytes());
    }
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// The extras of an index whose other sections have been read.
pub(crate) fn read(reader: &mut Reader, index: &Index) -> Result<Extras, FormatError> {
    let bits = u8::try_from(reader.varint()?).ok().and_then(Keeps::from_bits);
    let keeps = bits.ok_or_else(|| damaged("it keeps what this version does not know"))?;
    let mut section = Section { reader, entries: index.entries.len(), room: ATTRIBUTES_BYTES_MAX };
    let hard_links = section.hard_links()?;
    let sparse = section.positions("sparse files")?;
    let owners = if keeps.owners() { section.owners()? } else { Owners::default() };
    let (attribute_sets, attributes) = if keeps.attributes() { section.attributes(keeps)? } else { Default::default() };
    let extras = Extras { keeps, hard_links, sparse, owners, attribute_sets, attributes };
    match extras.is_empty() {
        // An index has one form.
        true => Err(damaged("its extras are empty")),
        false => Ok(extras),
    }
}

/// What must hold between extras and entries, once both are in the index.
pub(crate) fn check(index: &Index) -> Result<(), FormatError> {
    let is_file = |at: u32| matches!(index.entries[at as usize].kind, EntryKind::File { .. });
    for link in &index.extras.hard_links {
        let (entry, first) = (&index.entries[link.entry as usize], &index.entries[link.first as usize]);
        let fits = is_file(link.entry)
            && is_file(link.first)
            && index.extras.first_of(link.first).is_none()
            && (entry.mode, entry.mtime_ns) == (first.mode, first.mtime_ns)
            && same_content(index, &entry.kind, index, &first.kind)
            && same_owner_and_attributes(index, link.entry, index, link.first)
            && index.extras.is_sparse(link.entry) == index.extras.is_sparse(link.first);
        if !fits {
            return Err(damaged(format!("{:?} and {:?} cannot be one file", entry.path, first.path)));
        }
    }
    if let Some(&at) = index.extras.sparse.iter().find(|&&at| !is_file(at)) {
        return Err(damaged(format!("{:?} is sparse and no file", index.entries[at as usize].path)));
    }
    let on_link = |&&(at, _): &&(u32, u32)| matches!(index.entries[at as usize].kind, EntryKind::Link { .. });
    match index.extras.attributes.iter().find(on_link) {
        Some(&(at, _)) => Err(damaged(format!("the link {:?} has attributes", index.entries[at as usize].path))),
        None => Ok(()),
    }
}

struct Section<'r, 'a> {
    reader: &'r mut Reader<'a>,
    entries: usize,
    /// What names and values may still take in memory.
    room: usize,
}

impl Section<'_, '_> {
    fn positions(&mut self, what: &'static str) -> Result<Vec<u32>, FormatError> {
        let count = self.reader.count(what, 1, self.entries)?;
        self.steps(count)
    }

    fn steps(&mut self, count: usize) -> Result<Vec<u32>, FormatError> {
        let mut positions: Vec<u32> = Vec::with_capacity(count);
        for _ in 0..count {
            let step = self.reader.varint()?;
            let at = positions.last().map_or(Some(step), |&last| u64::from(last).checked_add(step));
            let rises = positions.is_empty() || step > 0;
            match at.filter(|&at| rises && at < self.entries as u64) {
                Some(at) => positions.push(at as u32),
                None => return Err(damaged("an extra is of no entry, or out of order")),
            }
        }
        Ok(positions)
    }

    fn hard_links(&mut self) -> Result<Vec<HardLink>, FormatError> {
        let entries = self.positions("hard links")?;
        let mut links = Vec::with_capacity(entries.len());
        for entry in entries {
            let back = self.reader.u32("a hard link's distance")?;
            let first = entry.checked_sub(back).filter(|_| back > 0);
            links.push(HardLink { entry, first: first.ok_or_else(|| damaged("a hard link is to no earlier entry"))? });
        }
        Ok(links)
    }

    fn owners(&mut self) -> Result<Owners, FormatError> {
        let (users, groups) = (self.accounts()?, self.accounts()?);
        let user_of = self.choices(self.entries, users.len())?;
        let group_of = self.choices(self.entries, groups.len())?;
        Ok(Owners { users, groups, of: user_of.into_iter().zip(group_of).collect() })
    }

    fn accounts(&mut self) -> Result<Vec<Account>, FormatError> {
        let count = self.reader.count("accounts", 2, self.entries)?;
        let mut accounts = Vec::with_capacity(count);
        for _ in 0..count {
            let id = self.reader.u32("an account's number")?;
            let name = self.bytes(ACCOUNT_BYTES_MAX)?;
            let name = if name.len() as u64 == NAMELESS { None } else { Some(account_name(name)?) };
            accounts.push(Account { id, name });
        }
        Ok(accounts)
    }

    /// `count` positions in a table of `among`.
    fn choices(&mut self, count: usize, among: usize) -> Result<Vec<u32>, FormatError> {
        let mut choices = Vec::with_capacity(count.min(self.reader.left()));
        for _ in 0..count {
            let at = self.reader.varint()?;
            if at >= among as u64 {
                return Err(damaged("an extra names what is not in its table"));
            }
            choices.push(at as u32);
        }
        Ok(choices)
    }

    #[allow(clippy::type_complexity)]
    fn attributes(&mut self, keeps: Keeps) -> Result<(Vec<Vec<Attribute>>, Vec<(u32, u32)>), FormatError> {
        let count = self.reader.count("sets of attributes", 4, self.entries)?;
        let mut sets = Vec::with_capacity(count);
        for _ in 0..count {
            sets.push(self.attribute_set(keeps)?);
        }
        let entries = self.positions("entries with attributes")?;
        let set_of = self.choices(entries.len(), sets.len())?;
        Ok((sets, entries.into_iter().zip(set_of).collect()))
    }

    fn attribute_set(&mut self, keeps: Keeps) -> Result<Vec<Attribute>, FormatError> {
        let count = self.reader.count("attributes", 3, ATTRIBUTE_BYTES_MAX)?;
        let mut set: Vec<Attribute> = Vec::with_capacity(count);
        for _ in 0..count {
            let name = std::str::from_utf8(self.bytes(ATTRIBUTE_NAME_BYTES_MAX)?).ok();
            let name = name.filter(|name| keeps.keeps(name) && !name.chars().any(char::is_control));
            let name = name.ok_or_else(|| damaged("an attribute has a name that is not kept"))?.to_owned();
            let value = self.bytes(ATTRIBUTE_BYTES_MAX)?.to_vec();
            if set.last().is_some_and(|last| last.name >= name) {
                return Err(damaged(format!("the attribute {name:?} is out of order")));
            }
            set.push(Attribute { name, value });
        }
        if set.is_empty() { Err(damaged("a set of attributes is empty")) } else { Ok(set) }
    }

    fn bytes(&mut self, max: usize) -> Result<&[u8], FormatError> {
        let count = self.reader.varint()?;
        let room = self.room.min(max) as u64;
        if count > room {
            return Err(damaged("the name or value of an extra is too long"));
        }
        self.room -= count as usize;
        self.reader.take(count as usize)
    }
}

fn account_name(bytes: &[u8]) -> Result<String, FormatError> {
    let name = std::str::from_utf8(bytes).ok().filter(|name| !name.chars().any(|c| c.is_control() || c == ':'));
    name.map(str::to_owned).ok_or_else(|| damaged("an account has a name that is none"))
}

fn damaged(why: impl Into<String>) -> FormatError {
    FormatError::damaged(WHAT, why)
}
