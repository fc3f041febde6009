//! The extras of a new index, entry by entry. It knows no file.

use std::collections::HashMap;

use crate::accounts::Collector;
use crate::extras::{Attribute, Extras, HardLink, Keeps};
use crate::walk::Extra;

pub(super) struct ExtrasMaker {
    extras: Extras,
    accounts: Collector,
    /// Of each entry so far.
    owner_of: Vec<(u32, u32)>,
    sets: HashMap<Vec<Attribute>, u32>,
    entries: u32,
}

impl ExtrasMaker {
    pub fn new(keeps: Keeps) -> ExtrasMaker {
        let extras = Extras { keeps, ..Extras::default() };
        ExtrasMaker { extras, accounts: Collector::default(), owner_of: Vec::new(), sets: HashMap::new(), entries: 0 }
    }

    /// The next entry.
    pub fn add(&mut self, is_sparse: bool, extra: Option<Box<Extra>>) {
        let at = self.next(is_sparse);
        let Some(extra) = extra else { return };
        if let Some(owner) = extra.owner {
            self.owner_of.push(owner);
        }
        if !extra.attributes.is_empty() {
            let set = self.set(extra.attributes);
            self.extras.attributes.push((at, set));
        }
    }

    /// The next entry, a further name of a file.
    pub fn add_name(&mut self, link: HardLink) {
        let at = self.next(self.extras.is_sparse(link.first));
        self.extras.hard_links.push(link);
        if let Some(&owner) = self.owner_of.get(link.first as usize) {
            self.owner_of.push(owner);
        }
        let found = self.extras.attributes.binary_search_by_key(&link.first, |&(entry, _)| entry);
        if let Ok(place) = found {
            self.extras.attributes.push((at, self.extras.attributes[place].1));
        }
    }

    pub fn finish(mut self) -> Extras {
        self.owner_of.into_iter().for_each(|owner| self.accounts.add(owner));
        self.extras.owners = self.accounts.finish();
        self.extras
    }

    fn next(&mut self, is_sparse: bool) -> u32 {
        let at = self.entries;
        self.entries += 1;
        if is_sparse {
            self.extras.sparse.push(at);
        }
        at
    }

    fn set(&mut self, attributes: Vec<Attribute>) -> u32 {
        if let Some(&set) = self.sets.get(&attributes) {
            return set;
        }
        let set = self.extras.attribute_sets.len() as u32;
        self.extras.attribute_sets.push(attributes.clone());
        self.sets.insert(attributes, set);
        set
    }
}
