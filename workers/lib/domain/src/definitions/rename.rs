//! `renamed_from` (SPEC O15): the object keeps all that is recorded of it under its new name.

use std::collections::{BTreeMap, BTreeSet};

use schemas::definitions::{Group, Routes, Subscription, Tree};
use schemas::name::Kind;
use schemas::{Definitions, Schedule, SubscriberName};
use serde::Serialize;

use super::declared::Declared;
use super::error::{Findings, code};

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rename {
    pub kind: Kind,
    pub old: String,
    pub new: String,
}

/// The renames that are still to be done: a file that is applied again renames nothing twice.
pub fn renames(declared: &Declared, existing: &Definitions) -> Vec<Rename> {
    asked(&declared.definitions)
        .into_iter()
        .filter(|rename| exists(existing, rename.kind, &rename.old) && !exists(existing, rename.kind, &rename.new))
        .collect()
}

/// An old name must be in effect (unless the rename was done before), free of a new object, and claimed once.
pub(super) fn check(declared: &Declared, existing: &Definitions, findings: &mut Findings) {
    let mut claimed = BTreeSet::new();
    for Rename { kind, old, new } in asked(&declared.definitions) {
        let field = format!("{}.{new}.renamed_from", kind.plural());
        let (old_exists, new_exists) = (exists(existing, kind, &old), exists(existing, kind, &new));
        let fault = if exists(&declared.definitions, kind, &old) {
            format!("`{old}` is declared itself")
        } else if !claimed.insert((kind, old.clone())) {
            format!("`{old}` is renamed twice")
        } else if old_exists && new_exists {
            format!("`{old}` and `{new}` both exist")
        } else if !old_exists && !new_exists {
            format!("there is no {kind} `{old}` to rename")
        } else {
            continue;
        };
        let allowed = format!("allowed here: the name of an existing {kind} that is not declared any more");
        findings.add(&declared.places, code::RENAME_INVALID, &field, fault, allowed);
    }
}

/// The same definitions under the new names, in every reference too.
pub(super) fn carried_out(existing: &Definitions, renames: &[Rename]) -> Definitions {
    let mut definitions = existing.clone();
    for rename in renames {
        let (old, new) = (rename.old.as_str(), rename.new.as_str());
        match rename.kind {
            Kind::Distributor => rename_distributor(&mut definitions, old, new),
            Kind::Distribution => rename_distribution(&mut definitions, old, new),
            Kind::Channel => move_key(&mut definitions.channels, old, new),
            Kind::Group => rename_group(&mut definitions, old, new),
            Kind::Subscriber => rename_subscriber(&mut definitions, old, new),
            Kind::Hierarchy => rename_hierarchy(&mut definitions, old, new),
            Kind::Sync => move_key(&mut definitions.syncs, old, new),
        }
    }
    definitions
}

/// What is stored says nothing of its former names: the rename is done.
pub(super) fn settled(definitions: &mut Definitions) {
    definitions.distributors.values_mut().for_each(|d| d.renamed_from = None);
    definitions.hierarchies.values_mut().for_each(|h| h.renamed_from = None);
    definitions.distributions.values_mut().for_each(|d| d.renamed_from = None);
    definitions.channels.values_mut().for_each(|c| c.renamed_from = None);
    definitions.subscribers.values_mut().for_each(|s| s.renamed_from = None);
    definitions.syncs.values_mut().for_each(|s| s.renamed_from = None);
    for group in definitions.groups.values_mut() {
        if let Group::Full(body) = group {
            body.renamed_from = None;
        }
    }
}

pub(super) fn exists(definitions: &Definitions, kind: Kind, name: &str) -> bool {
    fn has<K: Ord + for<'a> TryFrom<&'a str>, V>(map: &BTreeMap<K, V>, name: &str) -> bool {
        K::try_from(name).is_ok_and(|key| map.contains_key(&key))
    }
    match kind {
        Kind::Distributor => has(&definitions.distributors, name),
        Kind::Distribution => has(&definitions.distributions, name),
        Kind::Channel => has(&definitions.channels, name),
        Kind::Group => has(&definitions.groups, name),
        Kind::Subscriber => has(&definitions.subscribers, name),
        Kind::Hierarchy => has(&definitions.hierarchies, name),
        Kind::Sync => has(&definitions.syncs, name),
    }
}

fn asked(definitions: &Definitions) -> Vec<Rename> {
    fn of(kind: Kind, new: &str, old: Option<&str>) -> Option<Rename> {
        old.map(|old| Rename { kind, old: old.to_owned(), new: new.to_owned() })
    }
    let d = definitions;
    let group_from = |group: &Group| match group {
        Group::Members(_) => None,
        Group::Full(body) => body.renamed_from.clone(),
    };
    let mut renames = Vec::new();
    renames.extend(
        d.distributors
            .iter()
            .filter_map(|(n, o)| of(Kind::Distributor, n.as_str(), o.renamed_from.as_ref().map(|old| old.as_str()))),
    );
    renames.extend(
        d.hierarchies
            .iter()
            .filter_map(|(n, o)| of(Kind::Hierarchy, n.as_str(), o.renamed_from.as_ref().map(|old| old.as_str()))),
    );
    renames.extend(
        d.distributions
            .iter()
            .filter_map(|(n, o)| of(Kind::Distribution, n.as_str(), o.renamed_from.as_ref().map(|old| old.as_str()))),
    );
    renames.extend(
        d.channels
            .iter()
            .filter_map(|(n, o)| of(Kind::Channel, n.as_str(), o.renamed_from.as_ref().map(|old| old.as_str()))),
    );
    renames.extend(
        d.groups
            .iter()
            .filter_map(|(n, o)| of(Kind::Group, n.as_str(), group_from(o).as_ref().map(|old| old.as_str()))),
    );
    renames.extend(
        d.subscribers
            .iter()
            .filter_map(|(n, o)| of(Kind::Subscriber, n.as_str(), o.renamed_from.as_ref().map(|old| old.as_str()))),
    );
    renames.extend(
        d.syncs.iter().filter_map(|(n, o)| of(Kind::Sync, n.as_str(), o.renamed_from.as_ref().map(|old| old.as_str()))),
    );
    renames
}

fn move_key<K: Ord + for<'a> TryFrom<&'a str>, V>(map: &mut BTreeMap<K, V>, old: &str, new: &str) {
    if let (Ok(old), Ok(new)) = (K::try_from(old), K::try_from(new))
        && let Some(value) = map.remove(&old)
    {
        map.insert(new, value);
    }
}

/// Replaces the name if it is the old one.
fn swap<N: Clone + PartialEq + for<'a> TryFrom<&'a str>>(name: &mut N, old: &str, new: &str) {
    if let (Ok(old), Ok(new)) = (N::try_from(old), N::try_from(new))
        && *name == old
    {
        *name = new;
    }
}

fn rename_distributor(definitions: &mut Definitions, old: &str, new: &str) {
    move_key(&mut definitions.distributors, old, new);
    definitions.distributions.values_mut().for_each(|d| swap(&mut d.distributor, old, new));
}

fn rename_distribution(definitions: &mut Definitions, old: &str, new: &str) {
    move_key(&mut definitions.distributions, old, new);
    let listed = definitions.channels.values_mut().flat_map(|channel| channel.distributions.iter_mut());
    listed.for_each(|name| swap(name, old, new));
    let opted_out = definitions.subscribers.values_mut().flat_map(|subscriber| subscriber.opt_out.iter_mut());
    opted_out.for_each(|name| swap(name, old, new));
}

fn rename_group(definitions: &mut Definitions, old: &str, new: &str) {
    move_key(&mut definitions.groups, old, new);
    for subscription in definitions.channels.values_mut().flat_map(|channel| channel.subscriptions.iter_mut()) {
        if let Subscription::Group(one) = subscription {
            swap(&mut one.group, old, new);
        }
    }
}

fn rename_hierarchy(definitions: &mut Definitions, old: &str, new: &str) {
    move_key(&mut definitions.hierarchies, old, new);
    for distributor in definitions.distributors.values_mut() {
        if let Some(Routes::Named(hierarchy)) = &mut distributor.routes {
            swap(hierarchy, old, new);
        }
    }
}

fn rename_subscriber(definitions: &mut Definitions, old: &str, new: &str) {
    move_key(&mut definitions.subscribers, old, new);
    let parents = definitions.subscribers.values_mut().filter_map(|subscriber| subscriber.parent.as_mut());
    parents.for_each(|parent| swap(parent, old, new));
    let extracts = definitions.subscribers.values_mut().filter_map(|subscriber| subscriber.extract.as_mut());
    for schedule in extracts.chain(definitions.syncs.values_mut().map(|sync| &mut sync.schedule)) {
        if let Schedule::Rule(rule) = schedule
            && let Some(awaited) = &mut rule.after
        {
            swap(awaited, old, new);
        }
    }
    definitions.syncs.values_mut().for_each(|sync| swap(&mut sync.subscriber, old, new));
    let sources = definitions.distributions.values_mut().flat_map(|distribution| distribution.sources.iter_mut());
    sources.filter_map(|source| source.subscriber.as_mut()).for_each(|subscriber| swap(subscriber, old, new));
    definitions.hierarchies.values_mut().for_each(|hierarchy| rename_in_tree(&mut hierarchy.routes, old, new));
    for distributor in definitions.distributors.values_mut() {
        if let Some(Routes::Tree(tree)) = &mut distributor.routes {
            rename_in_tree(tree, old, new);
        }
    }
    for group in definitions.groups.values_mut() {
        let members = match group {
            Group::Members(members) => members,
            Group::Full(body) => &mut body.members,
        };
        members.iter_mut().for_each(|member| swap(member, old, new));
    }
    for subscription in definitions.channels.values_mut().flat_map(|channel| channel.subscriptions.iter_mut()) {
        match subscription {
            Subscription::Name(name) => swap(name, old, new),
            Subscription::Subscriber(one) => swap(&mut one.subscriber, old, new),
            Subscription::Group(_) => {}
        }
    }
}

fn rename_in_tree(tree: &mut Tree, old: &str, new: &str) {
    let nodes: BTreeMap<SubscriberName, Tree> = std::mem::take(&mut tree.0);
    for (mut name, mut below) in nodes {
        swap(&mut name, old, new);
        rename_in_tree(&mut below, old, new);
        tree.0.insert(name, below);
    }
}
