//! Who is meant to have what (SPEC T1, §10 16). It does not know what anyone has already.

use std::collections::BTreeMap;
use std::fmt;

use schemas::definitions::{ALL_COMPONENTS, Channel, Distribution, Subscriber, Subscription};
use schemas::{ChannelName, Definitions, DistributionName, GroupName, SubscriberName, SyncName};

/// The label that `platforms` is compared with; the subscriber sets it itself.
pub const OS_LABEL: &str = "os";

/// The channel that stands for syncs: in lanes, queues and results. No channel can be called so.
pub const SYNC_CHANNEL: &str = "sync";

/// One subscriber of one distribution in one channel, or by syncs. Inactive ones are listed too: who never gets something is a
/// result as well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub channel: ChannelName,
    pub distribution: DistributionName,
    pub subscriber: SubscriberName,
    pub active: bool,
    pub why: Why,
}

/// What made it a target, or what keeps it from being served: the first of the reasons, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    Subscribed,
    Group(GroupName),
    /// A sync takes it there, subscribed or not.
    Sync(SyncName),
    /// Its own subscription is inactive, or that of its every group.
    SubscriptionInactive,
    OptedOut,
    /// `os` is what the subscriber said of itself, if it said anything yet.
    PlatformDiffers {
        os: Option<String>,
    },
    ChannelInactive,
    DistributionInactive,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::Subscribed => f.write_str("subscribed"),
            Why::Group(group) => write!(f, "group {group}"),
            Why::Sync(sync) => write!(f, "sync {sync}"),
            Why::SubscriptionInactive => f.write_str("its subscription is inactive"),
            Why::OptedOut => f.write_str("it opted out of the distribution"),
            Why::PlatformDiffers { os: Some(os) } => write!(f, "its platform, {os}, is not one of the distribution's"),
            Why::PlatformDiffers { os: None } => f.write_str("its platform is not known yet"),
            Why::ChannelInactive => f.write_str("the channel is inactive"),
            Why::DistributionInactive => f.write_str("the distribution is inactive"),
        }
    }
}

/// All targets in the order of channel, distribution, subscriber; each once.
pub fn targets(definitions: &Definitions) -> Vec<Target> {
    let mut targets = Vec::new();
    for (name, channel) in &definitions.channels {
        let subscribed = subscribed(channel, definitions);
        let mut distributions: Vec<_> = channel.distributions.iter().collect();
        distributions.sort();
        distributions.dedup();
        for distribution_name in distributions {
            let Some(distribution) = definitions.distributions.get(distribution_name) else { continue };
            for (subscriber_name, subscription) in &subscribed {
                let Some(subscriber) = definitions.subscribers.get(subscriber_name) else { continue };
                let hindrance = hindrance(channel, distribution_name, distribution, subscriber);
                let (active, why) = judge(subscription, hindrance);
                let (channel, distribution) = (name.clone(), distribution_name.clone());
                targets.push(Target { channel, distribution, subscriber: subscriber_name.clone(), active, why });
            }
        }
    }
    let synced = synced(definitions);
    if !synced.is_empty() {
        targets.extend(synced);
        targets.sort_by(|a, b| {
            (&a.channel, &a.distribution, &a.subscriber).cmp(&(&b.channel, &b.distribution, &b.subscriber))
        });
    }
    targets
}

/// What syncs take where: the first of several that say so.
fn synced(definitions: &Definitions) -> Vec<Target> {
    let mut found: BTreeMap<(&DistributionName, &SubscriberName), (bool, Why)> = BTreeMap::new();
    let Ok(channel) = ChannelName::try_from(SYNC_CHANNEL) else { return Vec::new() };
    let by_component = by_component(definitions);
    for (sync_name, sync) in &definitions.syncs {
        let Some(subscriber) = definitions.subscribers.get(&sync.subscriber) else { continue };
        for component in &sync.components {
            for (name, distribution) in by_component.get(component.as_str()).into_iter().flatten() {
                let judged = judge(&Why::Sync(sync_name.clone()), hindrance_of(name, distribution, subscriber));
                found.entry((name, &sync.subscriber)).or_insert(judged);
            }
        }
    }
    let target = |((distribution, subscriber), (active, why)): ((&DistributionName, &SubscriberName), _)| Target {
        channel: channel.clone(),
        distribution: distribution.clone(),
        subscriber: subscriber.clone(),
        active,
        why,
    };
    found.into_iter().map(target).collect()
}

/// The distributions of each component that a sync may name.
fn by_component(definitions: &Definitions) -> BTreeMap<&str, Vec<(&DistributionName, &Distribution)>> {
    if definitions.syncs.is_empty() {
        return BTreeMap::new();
    }
    let mut all: BTreeMap<&str, Vec<_>> = BTreeMap::new();
    for (name, distribution) in &definitions.distributions {
        for component in [ALL_COMPONENTS].into_iter().chain(distribution.component.as_deref()) {
            all.entry(component).or_default().push((name, distribution));
        }
    }
    all
}

fn judge(subscription: &Why, hindrance: Option<Why>) -> (bool, Why) {
    match (subscription, hindrance) {
        (Why::SubscriptionInactive, _) => (false, Why::SubscriptionInactive),
        (_, Some(hindrance)) => (false, hindrance),
        (why, None) => (true, why.clone()),
    }
}

/// Every subscriber of the channel, and by what: a direct subscription decides alone, active or not (SPEC §10, 16); of
/// several groups an active one wins.
fn subscribed(channel: &Channel, definitions: &Definitions) -> BTreeMap<SubscriberName, Why> {
    let mut by_group: BTreeMap<SubscriberName, Why> = BTreeMap::new();
    let mut direct = BTreeMap::new();
    for subscription in &channel.subscriptions {
        match subscription {
            Subscription::Name(name) => drop(direct.insert(name.clone(), Why::Subscribed)),
            Subscription::Subscriber(one) => {
                drop(direct.insert(one.subscriber.clone(), why(one.active, Why::Subscribed)))
            }
            Subscription::Group(group) => {
                let members = definitions.groups.get(&group.group).map_or(&[][..], |group| group.members());
                for member in members {
                    let why = why(group.active, Why::Group(group.group.clone()));
                    let kept = by_group.entry(member.clone()).or_insert_with(|| why.clone());
                    if *kept == Why::SubscriptionInactive {
                        *kept = why;
                    }
                }
            }
        }
    }
    by_group.extend(direct);
    by_group
}

fn why(active: bool, reason: Why) -> Why {
    if active { reason } else { Why::SubscriptionInactive }
}

fn hindrance(
    channel: &Channel,
    name: &DistributionName,
    distribution: &Distribution,
    subscriber: &Subscriber,
) -> Option<Why> {
    let hindrance = hindrance_of(name, distribution, subscriber);
    let is_weaker = hindrance.as_ref().is_none_or(|hindrance| *hindrance == Why::DistributionInactive);
    if is_weaker && !channel.active { Some(Why::ChannelInactive) } else { hindrance }
}

/// What keeps a distribution from a subscriber, whatever would bring it there.
pub(crate) fn hindrance_of(
    name: &DistributionName,
    distribution: &Distribution,
    subscriber: &Subscriber,
) -> Option<Why> {
    let os = subscriber.labels.get(OS_LABEL);
    if subscriber.opt_out.contains(name) {
        return Some(Why::OptedOut);
    }
    if !distribution.platforms.is_empty() && !os.is_some_and(|os| distribution.platforms.contains(os)) {
        return Some(Why::PlatformDiffers { os: os.cloned() });
    }
    (!distribution.active).then_some(Why::DistributionInactive)
}
