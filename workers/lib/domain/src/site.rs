//! What one subscriber must be told of the definitions: its settings, its children, its other targets.
//! It knows neither what runs there nor how it is told.

use std::collections::{BTreeMap, BTreeSet};

use schemas::definitions::{LogLevel, Routes};
use schemas::{ChannelName, Definitions, DistributionName, DistributorName, Settings, SubscriberName};

use crate::effective;
use crate::routing::Routing;
use crate::targets::targets;

/// The channels of each subscriber: those that it is a target in, served or not, and those that it relays for.
pub fn channels_by_subscriber(definitions: &Definitions) -> BTreeMap<SubscriberName, BTreeSet<ChannelName>> {
    let routings = routings(definitions);
    let mut channels: BTreeMap<SubscriberName, BTreeSet<ChannelName>> = BTreeMap::new();
    for target in targets(definitions) {
        let distributor = definitions.distributions.get(&target.distribution).map(|d| &d.distributor);
        let routing = distributor.and_then(|name| routings.get(name));
        let route = routing.and_then(|routing| routing.route(&target.subscriber).ok());
        for hop in route.unwrap_or_else(|| vec![target.subscriber.clone()]) {
            channels.entry(hop).or_default().insert(target.channel.clone());
        }
    }
    channels
}

/// `None` if there is no such subscriber.
pub fn settings(definitions: &Definitions, subscriber: &SubscriberName, version: u64) -> Option<Settings> {
    let channels = channels_by_subscriber(definitions).remove(subscriber).unwrap_or_default();
    settings_with(definitions, subscriber, version, channels)
}

/// The same, with the channels taken from `channels_by_subscriber` once for all.
pub fn settings_with(
    definitions: &Definitions,
    name: &SubscriberName,
    version: u64,
    channels: BTreeSet<ChannelName>,
) -> Option<Settings> {
    let subscriber = definitions.subscribers.get(name)?;
    let log = subscriber.log.clone().unwrap_or_default();
    Some(Settings {
        subscriber: name.clone(),
        version,
        channels: channels.into_iter().collect(),
        variables: subscriber.variables.iter().map(|(k, v)| (k.to_ascii_uppercase(), v.clone())).collect(),
        time_zone: effective::subscriber_zone(subscriber).to_owned(),
        connect_timeout_s: effective::connect_timeout_s(subscriber),
        rate_in: subscriber.limits.rate_in,
        rate_out: subscriber.limits.rate_out,
        concurrent_relays: subscriber.limits.concurrent_relays,
        free_space_floor: subscriber.limits.free_space_floor,
        log_level: log.level.map(|level| level_word(level).to_owned()),
        log_path: log.path,
        console_level: subscriber.console_level.map(|level| level_word(level).to_owned()),
        working_dir: subscriber.working_dir.clone(),
    })
}

/// For each subscriber everyone whose route to any distributor leads over it: its children and all below them, because a
/// child whose parent is passed by asks the parent's parent.
pub fn children_by_subscriber(definitions: &Definitions) -> BTreeMap<SubscriberName, BTreeSet<SubscriberName>> {
    let mut children: BTreeMap<SubscriberName, BTreeSet<SubscriberName>> = BTreeMap::new();
    for routing in routings_that_differ(definitions) {
        for subscriber in definitions.subscribers.keys() {
            let mut route = routing.route(subscriber).unwrap_or_default();
            route.pop();
            for relay in route {
                children.entry(relay).or_default().insert(subscriber.clone());
            }
        }
    }
    children
}

pub fn children(definitions: &Definitions, subscriber: &SubscriberName) -> BTreeSet<SubscriberName> {
    children_by_subscriber(definitions).remove(subscriber).unwrap_or_default()
}

/// For each subscriber the targets, with their variables, of all distributions that it is served.
pub fn targets_by_subscriber(
    definitions: &Definitions,
) -> BTreeMap<SubscriberName, BTreeMap<DistributionName, String>> {
    let mut by_subscriber: BTreeMap<SubscriberName, BTreeMap<DistributionName, String>> = BTreeMap::new();
    for target in targets(definitions).into_iter().filter(|target| target.active) {
        let Some(distribution) = definitions.distributions.get(&target.distribution) else { continue };
        by_subscriber.entry(target.subscriber).or_default().insert(target.distribution, distribution.target.clone());
    }
    by_subscriber
}

/// Those of all other distributions than this one.
pub fn other_targets(
    definitions: &Definitions,
    subscriber: &SubscriberName,
    distribution: &DistributionName,
) -> BTreeMap<DistributionName, String> {
    let mut targets = targets_by_subscriber(definitions).remove(subscriber).unwrap_or_default();
    targets.remove(distribution);
    targets
}

fn routings(definitions: &Definitions) -> BTreeMap<&DistributorName, Routing<'_>> {
    let names = definitions.distributors.keys();
    names.filter_map(|name| Some((name, Routing::of(definitions, name).ok()?))).collect()
}

/// Distributors without a hierarchy, and those that share one, have the same routes.
fn routings_that_differ(definitions: &Definitions) -> Vec<Routing<'_>> {
    let (mut has_plain, mut named) = (false, BTreeSet::new());
    let mut differ = |routes: &Option<Routes>| match routes {
        None => !std::mem::replace(&mut has_plain, true),
        Some(Routes::Named(hierarchy)) => named.insert(hierarchy.clone()),
        Some(Routes::Tree(_)) => true,
    };
    let distributors = definitions.distributors.iter().filter(|(_, distributor)| differ(&distributor.routes));
    distributors.filter_map(|(name, _)| Routing::of(definitions, name).ok()).collect()
}

fn level_word(level: LogLevel) -> &'static str {
    match level {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
        LogLevel::Trace => "trace",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Twenty thousand distributors without a hierarchy must not cost twenty thousand walks over all subscribers.
    #[test]
    fn distributors_with_the_same_routes_are_walked_once() {
        let text = "
            { distributors: { a: {}, b: {}, c: { routes: eu }, d: { routes: eu }, e: { routes: { region: { paris: {} } } } },
              hierarchies: { eu: { routes: { hub: { paris: {} } } } },
              subscribers: { hub: {}, region: {}, paris: { parent: region } } }";
        let declared = crate::definitions::parse(&[("fleet.yaml".to_owned(), text.to_owned())]).unwrap();
        assert_eq!(routings_that_differ(&declared.definitions).len(), 3);
        let children = children_by_subscriber(&declared.definitions);
        let told: Vec<_> = children.iter().map(|(parent, below)| (parent.as_str(), below.len())).collect();
        assert_eq!(told, [("hub", 1), ("region", 1)]);
    }
}
