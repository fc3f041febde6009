//! What a sync brings (SPEC S7, §10 3). It does not know what the subscriber has of it already.

use schemas::definitions::{Distribution, is_of_components};
use schemas::{Definitions, DistributionName, SubscriberName};

use crate::targets;

/// The active distributions of these components, subscribed or not, but those that the subscriber opted out of and those that
/// are not for its platform.
pub fn distributions<'a>(
    definitions: &'a Definitions,
    subscriber: &'a SubscriberName,
    components: &'a [String],
) -> impl Iterator<Item = (&'a DistributionName, &'a Distribution)> {
    let site = definitions.subscribers.get(subscriber);
    definitions.distributions.iter().filter(move |(name, distribution)| {
        is_of_components(distribution, components)
            && site.is_some_and(|site| targets::hindrance_of(name, distribution, site).is_none())
    })
}

/// Distributions of these components that are made of the subscriber's own files (SPEC S10), active or not.
pub fn from_itself<'a>(
    definitions: &'a Definitions,
    subscriber: &'a SubscriberName,
    components: &'a [String],
) -> impl Iterator<Item = &'a DistributionName> {
    let site = definitions.subscribers.get(subscriber);
    let own = definitions.distributions.iter().filter(move |(name, distribution)| {
        is_of_components(distribution, components)
            && is_source(distribution, subscriber)
            && !site.is_some_and(|site| site.opt_out.contains(name))
    });
    own.map(|(name, _)| name)
}

pub fn is_source(distribution: &Distribution, subscriber: &SubscriberName) -> bool {
    distribution.sources.iter().any(|source| source.subscriber.as_ref() == Some(subscriber))
}
