//! What a sync brings to its subscriber: it builds what may have changed, sends and extracts, in a lane of its own (SPEC S7, §10 3).
//! It looks at no send and no extract schedule.

use std::collections::{BTreeMap, BTreeSet};

use domain::syncs::{distributions, from_itself};
use domain::targets::SYNC_CHANNEL;
use records::{Fleet, PlannedJob, Snapshot};
use schemas::definitions::ALL_COMPONENTS;
use schemas::{ChannelName, Definitions, DistributionName, JobId, Request, SubscriberName};

use super::build::build;
use super::deliver::Deliveries;
use super::{PlanFault, View, concerned, targets};

/// One subscriber and what it is to get.
pub(super) struct Wanted {
    pub subscriber: SubscriberName,
    pub components: Vec<String>,
}

/// The syncs that are named, else the subscribers with the components that are; none are all.
pub(super) fn wanted(definitions: &Definitions, request: &Request) -> Vec<Wanted> {
    let selector = &request.selector;
    let named = selector.syncs.iter().filter_map(|name| definitions.syncs.get(name));
    let named = named.map(|sync| Wanted { subscriber: sync.subscriber.clone(), components: sync.components.clone() });
    let components =
        if selector.components.is_empty() { vec![ALL_COMPONENTS.to_owned()] } else { selector.components.clone() };
    let each = selector.subscribers.iter();
    let each = each.map(|subscriber| Wanted { subscriber: subscriber.clone(), components: components.clone() });
    named.chain(each).collect()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Builds {
    Stale,
    /// Nothing: a build has just ended.
    None,
}

pub(super) fn syncs(view: &View, concerned: &BTreeSet<DistributionName>) -> Result<Vec<PlannedJob>, PlanFault> {
    bring(view, concerned, Builds::Stale)
}

/// For syncs that are to follow each new revision at once: it is there already.
pub fn syncs_of_revision(fleet: &Fleet, snapshot: &Snapshot, request: &Request) -> Result<Vec<PlannedJob>, PlanFault> {
    let view = View { fleet, snapshot, request, targets: targets(&fleet.definitions) };
    bring(&view, &concerned(fleet, request)?, Builds::None)
}

fn bring(view: &View, concerned: &BTreeSet<DistributionName>, which: Builds) -> Result<Vec<PlannedJob>, PlanFault> {
    let channel =
        ChannelName::try_from(SYNC_CHANNEL).map_err(|e| PlanFault { code: "unknown", reason: e.to_string() })?;
    let definitions = &view.fleet.definitions;
    let (mut builds, mut building): (Vec<PlannedJob>, BTreeMap<&DistributionName, JobId>) = Default::default();
    let mut deliveries = Deliveries::new(view);
    for Wanted { subscriber, components } in &wanted(definitions, view.request) {
        refuse_to_source(definitions, subscriber, components, concerned)?;
        for (name, distribution) in distributions(definitions, subscriber, components) {
            let Some(name) = concerned.get(name) else { continue };
            if which == Builds::Stale && !distribution.freeze_build && !building.contains_key(name) {
                let job = build(view, name)?;
                building.insert(name, job.id);
                builds.push(job);
            }
            deliveries.deliver(name, subscriber, &channel, true, building.get(name).copied())?;
        }
    }
    builds.extend(deliveries.into_jobs());
    Ok(builds)
}

/// SPEC S10, for what nobody declared, and for definitions that were in effect before.
fn refuse_to_source(
    definitions: &Definitions,
    subscriber: &SubscriberName,
    components: &[String],
    concerned: &BTreeSet<DistributionName>,
) -> Result<(), PlanFault> {
    match from_itself(definitions, subscriber, components).find(|name| concerned.contains(name)) {
        Some(name) => {
            let reason = format!("subscriber {subscriber} is itself a source of distribution {name}");
            Err(PlanFault { code: "sync-to-source", reason })
        }
        None => Ok(()),
    }
}
