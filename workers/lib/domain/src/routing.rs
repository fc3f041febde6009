//! By which relays content reaches a subscriber (SPEC T1). It does not know which of them are alive.

use std::collections::BTreeMap;

use schemas::definitions::{Routes, Tree};
use schemas::{Definitions, DistributorName, HierarchyName, SubscriberName};

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    #[error("there is no distributor `{distributor}`")]
    UnknownDistributor { distributor: DistributorName },
    #[error("distributor `{distributor}` routes by the hierarchy `{hierarchy}`, which does not exist")]
    UnknownHierarchy { distributor: DistributorName, hierarchy: HierarchyName },
    #[error("there is no subscriber `{subscriber}`")]
    UnknownSubscriber { subscriber: SubscriberName },
    #[error("the parents of `{subscriber}` form a loop")]
    Loop { subscriber: SubscriberName },
}

impl RouteError {
    pub fn code(&self) -> &'static str {
        match self {
            RouteError::UnknownDistributor { .. } => "distributor-unknown",
            RouteError::UnknownHierarchy { .. } => "hierarchy-unknown",
            RouteError::UnknownSubscriber { .. } => "subscriber-unknown",
            RouteError::Loop { .. } => "parent-loop",
        }
    }
}

/// Where a subscriber may fetch from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum SourceNode {
    Relay(SubscriberName),
    Origin,
}

/// The routes of one distributor, ready to be asked for many subscribers.
#[derive(Debug)]
pub struct Routing<'a> {
    definitions: &'a Definitions,
    /// Every node of the hierarchy, with the node above it.
    above: BTreeMap<&'a SubscriberName, Option<&'a SubscriberName>>,
}

impl<'a> Routing<'a> {
    pub fn of(definitions: &'a Definitions, name: &DistributorName) -> Result<Routing<'a>, RouteError> {
        let distributor = definitions
            .distributors
            .get(name)
            .ok_or_else(|| RouteError::UnknownDistributor { distributor: name.clone() })?;
        let mut above = BTreeMap::new();
        match &distributor.routes {
            None => {}
            Some(Routes::Tree(tree)) => index(tree, &mut above),
            Some(Routes::Named(hierarchy)) => {
                let unknown =
                    || RouteError::UnknownHierarchy { distributor: name.clone(), hierarchy: hierarchy.clone() };
                index(&definitions.hierarchies.get(hierarchy).ok_or_else(unknown)?.routes, &mut above);
            }
        }
        Ok(Routing { definitions, above })
    }

    /// From the first relay to the subscriber itself, which is last; alone, it is fed directly.
    pub fn route(&self, subscriber: &SubscriberName) -> Result<Vec<SubscriberName>, RouteError> {
        let mut upwards = self.own_parents(subscriber)?;
        let mut node = upwards.last().copied();
        while let Some(above) = node.and_then(|node| self.above.get(node).copied().flatten()) {
            upwards.push(above);
            node = Some(above);
        }
        Ok(upwards.into_iter().rev().cloned().collect())
    }

    /// Who is asked for content, in this order: the hop before, the one before that, …, the origin.
    pub fn sources(&self, subscriber: &SubscriberName) -> Result<Vec<SourceNode>, RouteError> {
        let relays = self.route(subscriber)?.into_iter().rev().skip(1);
        Ok(relays.map(SourceNode::Relay).chain([SourceNode::Origin]).collect())
    }

    /// The subscriber and its chain of parents, up to the first that stands in the hierarchy or has no parent.
    fn own_parents(&self, subscriber: &SubscriberName) -> Result<Vec<&'a SubscriberName>, RouteError> {
        let subscribers = &self.definitions.subscribers;
        let unknown = |name: &SubscriberName| RouteError::UnknownSubscriber { subscriber: name.clone() };
        let (mut name, mut body) = subscribers.get_key_value(subscriber).ok_or_else(|| unknown(subscriber))?;
        let mut chain = vec![name];
        while !self.above.contains_key(name)
            && let Some(parent) = &body.parent
        {
            (name, body) = subscribers.get_key_value(parent).ok_or_else(|| unknown(parent))?;
            chain.push(name);
            if chain.len() > subscribers.len() {
                return Err(RouteError::Loop { subscriber: subscriber.clone() });
            }
        }
        Ok(chain)
    }
}

pub fn route(
    definitions: &Definitions,
    distributor: &DistributorName,
    subscriber: &SubscriberName,
) -> Result<Vec<SubscriberName>, RouteError> {
    Routing::of(definitions, distributor)?.route(subscriber)
}

pub fn sources(
    definitions: &Definitions,
    distributor: &DistributorName,
    subscriber: &SubscriberName,
) -> Result<Vec<SourceNode>, RouteError> {
    Routing::of(definitions, distributor)?.sources(subscriber)
}

/// A subscriber is kept where it comes first; validation refuses a second place, so walking up ends.
fn index<'a>(tree: &'a Tree, above: &mut BTreeMap<&'a SubscriberName, Option<&'a SubscriberName>>) {
    let mut open: Vec<(Option<&SubscriberName>, &Tree)> = vec![(None, tree)];
    while let Some((parent, tree)) = open.pop() {
        for (name, below) in &tree.0 {
            if let std::collections::btree_map::Entry::Vacant(place) = above.entry(name) {
                place.insert(parent);
                open.push((Some(name), below));
            }
        }
    }
}
