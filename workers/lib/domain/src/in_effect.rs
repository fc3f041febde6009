//! Which definitions are in effect while a distributor holds applied changes back until its refresh (SPEC S1, O7). It does not
//! know when that is, nor where the older definitions are kept.

use std::collections::{BTreeMap, BTreeSet};

use schemas::definitions::{Distribution, Distributor, Routes, Tree};
use schemas::name::Kind;
use schemas::{Definitions, DistributionName, DistributorName, SubscriberName};

use crate::effective;
use crate::routing::Routing;
use crate::targets::targets;

/// Distributors and distributions as they were before the changes that wait.
#[derive(Debug, Clone, Default)]
pub struct Held {
    pub distributors: BTreeMap<DistributorName, Distributor>,
    pub distributions: BTreeMap<DistributionName, Distribution>,
}

impl Held {
    pub fn is_empty(&self) -> bool {
        self.distributors.is_empty() && self.distributions.is_empty()
    }
}

/// Everything as applied, but for what is held. When to refresh is never held: it could not be changed otherwise.
pub fn in_effect(mut applied: Definitions, held: Held) -> Definitions {
    for (name, older) in held.distributors {
        let tenable = names_exist(&older.routes, &applied);
        if let Some(place) = applied.distributors.get_mut(&name).filter(|_| tenable) {
            *place = Distributor { refresh: place.refresh.clone(), ..older };
        }
    }
    for (name, older) in held.distributions {
        if let Some(place) = applied.distributions.get_mut(&name)
            && applied.distributors.contains_key(&older.distributor)
        {
            *place = older;
        }
    }
    applied
}

/// What cannot stay in effect any longer, because something that it names was deleted or renamed.
pub fn untenable(applied: &Definitions, held: &Held) -> Vec<(Kind, String)> {
    let distributors = held.distributors.iter().filter(|(_, older)| !names_exist(&older.routes, applied));
    let distributions =
        held.distributions.iter().filter(|(_, older)| !applied.distributors.contains_key(&older.distributor));
    distributors
        .map(|(name, _)| (Kind::Distributor, name.to_string()))
        .chain(distributions.map(|(name, _)| (Kind::Distribution, name.to_string())))
        .collect()
}

/// Those whose changes take effect with the apply itself.
pub fn refreshed_at_once(applied: &Definitions) -> BTreeSet<DistributorName> {
    let immediate = applied.distributors.iter().filter(|(_, d)| effective::refresh(d).is_immediate());
    immediate.map(|(name, _)| name.clone()).collect()
}

/// For each subscriber the distributors whose content reaches it or passes through it.
pub fn distributors_by_subscriber(definitions: &Definitions) -> BTreeMap<SubscriberName, BTreeSet<DistributorName>> {
    let mut all: BTreeMap<SubscriberName, BTreeSet<DistributorName>> = BTreeMap::new();
    for target in targets(definitions) {
        let Some(distribution) = definitions.distributions.get(&target.distribution) else { continue };
        let routing = Routing::of(definitions, &distribution.distributor).ok();
        let route = routing.and_then(|routing| routing.route(&target.subscriber).ok());
        for hop in route.unwrap_or_else(|| vec![target.subscriber.clone()]) {
            all.entry(hop).or_default().insert(distribution.distributor.clone());
        }
    }
    all
}

fn names_exist(routes: &Option<Routes>, applied: &Definitions) -> bool {
    match routes {
        None => true,
        Some(Routes::Named(hierarchy)) => applied.hierarchies.contains_key(hierarchy),
        Some(Routes::Tree(tree)) => subscribers_exist(tree, applied),
    }
}

fn subscribers_exist(tree: &Tree, applied: &Definitions) -> bool {
    tree.0.iter().all(|(name, below)| applied.subscribers.contains_key(name) && subscribers_exist(below, applied))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLEET: &str = "
distributors: { hq: { refresh: { every: 7d }, routes: { region: { paris: {} } } }, lab: {} }
distributions:
  a: { distributor: hq, type: file, sources: [ { path: /a } ], target: /t/a, mode: mirror, build: never }
  b: { distributor: lab, type: file, sources: [ { path: /b } ], target: /t/b, mode: mirror, build: never }
channels:
  one: { distributions: [a], send: never, subscriptions: [paris] }
  two: { distributions: [b], send: never, subscriptions: [tokyo] }
subscribers: { region: { extract: never }, paris: { extract: never }, tokyo: { extract: never } }
";

    fn fleet(text: &str) -> Definitions {
        crate::definitions::parse(&[("f.yaml".to_owned(), text.to_owned())]).unwrap().definitions
    }

    fn held(older: &Definitions) -> Held {
        let of = "hq".try_into().unwrap();
        let distributions = older.distributions.iter().filter(|(_, d)| d.distributor == of);
        Held {
            distributors: BTreeMap::from([(of.clone(), older.distributors[&of].clone())]),
            distributions: distributions.map(|(n, d)| (n.clone(), d.clone())).collect(),
        }
    }

    #[test]
    fn what_is_held_stays_and_only_the_time_of_refresh_is_new() {
        let older = fleet(FLEET);
        let applied = fleet(&FLEET.replace("/t/a", "/t/new").replace("/t/b", "/t/newer").replace("7d", "1h"));
        let now = in_effect(applied.clone(), held(&older));
        let (a, b) = ("a".try_into().unwrap(), "b".try_into().unwrap());
        assert_eq!(
            (now.distributions[&a].target.as_str(), now.distributions[&b].target.as_str()),
            ("/t/a", "/t/newer")
        );
        let hq = "hq".try_into().unwrap();
        assert_eq!(now.distributors[&hq].refresh, applied.distributors[&hq].refresh);
        assert_eq!(untenable(&applied, &held(&older)), []);
    }

    #[test]
    fn what_names_something_that_is_gone_is_held_no_longer() {
        let older = fleet(FLEET);
        let mut applied = fleet(&FLEET.replace("region: { paris: {} }", "paris: {}").replace("/t/a", "/t/new"));
        applied.subscribers.remove(&"region".try_into().unwrap());
        let hq = "hq".try_into().unwrap();
        assert_eq!(in_effect(applied.clone(), held(&older)).distributors[&hq].routes, applied.distributors[&hq].routes);
        assert_eq!(untenable(&applied, &held(&older)), [(Kind::Distributor, "hq".to_owned())]);
    }

    #[test]
    fn relays_count_as_served() {
        let served = distributors_by_subscriber(&fleet(FLEET));
        for (site, distributor) in [("region", "hq"), ("paris", "hq"), ("tokyo", "lab")] {
            let expected = BTreeSet::from([distributor.try_into().unwrap()]);
            assert_eq!(served[&site.try_into().unwrap()], expected, "{site}");
        }
    }
}
