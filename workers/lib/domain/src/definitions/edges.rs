//! Which object names which: the one list that validation, `describe` and `delete` read.

use std::fmt;

use schemas::definitions::{Routes, Subscription, Tree};
use schemas::name::Kind;
use schemas::{Definitions, Schedule};
use serde::Serialize;

use super::places::{below, item};

/// A field of an object that names another object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Reference {
    /// Whose field it is.
    pub kind: Kind,
    pub name: String,
    /// Whole: `channels.protect.distributions[0]`.
    pub field: String,
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.field)
    }
}

#[derive(Debug)]
pub(super) struct Edge {
    pub from: Reference,
    pub to: Kind,
    pub to_name: String,
}

/// Who names the object.
pub fn references(kind: Kind, name: &str, definitions: &Definitions) -> Vec<Reference> {
    let edges = edges(definitions).into_iter();
    edges.filter(|edge| edge.to == kind && edge.to_name == name).map(|edge| edge.from).collect()
}

pub(super) fn edges(definitions: &Definitions) -> Vec<Edge> {
    let mut edges = Edges(Vec::new());
    edges.of_distributors(definitions);
    for (name, hierarchy) in &definitions.hierarchies {
        edges.tree(Kind::Hierarchy, name.as_str(), "routes", &hierarchy.routes);
    }
    for (name, distribution) in &definitions.distributions {
        let distributor = distribution.distributor.as_str();
        edges.add(Kind::Distribution, name.as_str(), "distributor", Kind::Distributor, distributor);
        for (index, source) in distribution.sources.iter().enumerate() {
            if let Some(subscriber) = &source.subscriber {
                let field = below(&item("sources", index), "subscriber");
                edges.add(Kind::Distribution, name.as_str(), &field, Kind::Subscriber, subscriber.as_str());
            }
        }
    }
    edges.of_channels(definitions);
    for (name, group) in &definitions.groups {
        let list = match group {
            schemas::definitions::Group::Members(_) => "",
            schemas::definitions::Group::Full(_) => "members",
        };
        for (index, member) in group.members().iter().enumerate() {
            edges.add(Kind::Group, name.as_str(), &item(list, index), Kind::Subscriber, member.as_str());
        }
    }
    for (name, subscriber) in &definitions.subscribers {
        if let Some(parent) = &subscriber.parent {
            edges.add(Kind::Subscriber, name.as_str(), "parent", Kind::Subscriber, parent.as_str());
        }
        if let Some(awaited) = subscriber.extract.as_ref().and_then(Schedule::awaited) {
            edges.add(Kind::Subscriber, name.as_str(), "extract.after", Kind::Subscriber, awaited);
        }
        for (index, distribution) in subscriber.opt_out.iter().enumerate() {
            let field = item("opt_out", index);
            edges.add(Kind::Subscriber, name.as_str(), &field, Kind::Distribution, distribution.as_str());
        }
    }
    for (name, sync) in &definitions.syncs {
        edges.add(Kind::Sync, name.as_str(), "subscriber", Kind::Subscriber, sync.subscriber.as_str());
        if let Some(awaited) = sync.schedule.awaited() {
            edges.add(Kind::Sync, name.as_str(), "schedule.after", Kind::Subscriber, awaited);
        }
    }
    edges.0
}

struct Edges(Vec<Edge>);

impl Edges {
    fn of_distributors(&mut self, definitions: &Definitions) {
        for (name, distributor) in &definitions.distributors {
            match &distributor.routes {
                None => {}
                Some(Routes::Named(hierarchy)) => {
                    self.add(Kind::Distributor, name.as_str(), "routes", Kind::Hierarchy, hierarchy.as_str());
                }
                Some(Routes::Tree(tree)) => self.tree(Kind::Distributor, name.as_str(), "routes", tree),
            }
        }
    }

    fn of_channels(&mut self, definitions: &Definitions) {
        for (name, channel) in &definitions.channels {
            for (index, distribution) in channel.distributions.iter().enumerate() {
                let field = item("distributions", index);
                self.add(Kind::Channel, name.as_str(), &field, Kind::Distribution, distribution.as_str());
            }
            for (index, subscription) in channel.subscriptions.iter().enumerate() {
                let field = item("subscriptions", index);
                let (to, to_name) = match subscription {
                    Subscription::Name(subscriber) => (Kind::Subscriber, subscriber.as_str()),
                    Subscription::Subscriber(one) => (Kind::Subscriber, one.subscriber.as_str()),
                    Subscription::Group(one) => (Kind::Group, one.group.as_str()),
                };
                self.add(Kind::Channel, name.as_str(), &field, to, to_name);
            }
        }
    }

    fn tree(&mut self, kind: Kind, name: &str, field: &str, tree: &Tree) {
        for (subscriber, tree) in &tree.0 {
            let field = below(field, subscriber.as_str());
            self.add(kind, name, &field, Kind::Subscriber, subscriber.as_str());
            self.tree(kind, name, &field, tree);
        }
    }

    fn add(&mut self, kind: Kind, name: &str, field: &str, to: Kind, to_name: &str) {
        let object = format!("{}.{name}", kind.plural());
        let field = if field.starts_with('[') { format!("{object}{field}") } else { below(&object, field) };
        let from = Reference { kind, name: name.to_owned(), field };
        self.0.push(Edge { from, to, to_name: to_name.to_owned() });
    }
}
