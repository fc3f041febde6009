//! From a request to jobs: a pure comparison of what is wanted (definitions) with what is recorded (snapshot). It makes jobs
//! only where the two differ, and names each by an id derived from the request.

mod build;
mod collect;
mod deliver;
mod sync;

use std::collections::BTreeSet;

use domain::targets::{Target, targets};
use records::{Fleet, PlannedJob, Snapshot};
use schemas::definitions::{ALL_COMPONENTS, Distribution, is_of_components};
use schemas::{ChannelName, Definitions, DistributionName, Request, RequestKind, Schedule, StoreId, SubscriberName};

use build::build;
pub use collect::collections;
use deliver::Deliveries;
use sync::syncs;
pub use sync::syncs_of_revision;

/// The request can never be carried out as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanFault {
    pub code: &'static str,
    pub reason: String,
}

fn unknown(what: impl Into<String>) -> PlanFault {
    PlanFault { code: "unknown", reason: format!("{} is not defined", what.into()) }
}

/// The distributions that a request is about; a name that is not defined is refused.
pub fn concerned(fleet: &Fleet, request: &Request) -> Result<BTreeSet<DistributionName>, PlanFault> {
    let definitions = &fleet.definitions;
    check_names(definitions, request)?;
    let selector = &request.selector;
    let of = |wanted: &dyn Fn(&DistributionName, &Distribution) -> bool| -> BTreeSet<DistributionName> {
        definitions.distributions.iter().filter(|(name, d)| wanted(name, d)).map(|(name, _)| name.clone()).collect()
    };
    let named = |name: &DistributionName, d: &Distribution| {
        (selector.distributions.is_empty() || selector.distributions.contains(name))
            && in_components(d, &selector.components)
    };
    Ok(match request.kind {
        RequestKind::Build | RequestKind::Rollback | RequestKind::Extract | RequestKind::Collect => of(&named),
        RequestKind::Sync => {
            let wanted = sync::wanted(definitions, request);
            of(&|name, d| named(name, d) && wanted.iter().any(|wanted| is_of_components(d, &wanted.components)))
        }
        RequestKind::Send => {
            let listed: BTreeSet<&DistributionName> =
                selector.channels.iter().flat_map(|c| &definitions.channels[c].distributions).collect();
            of(&|name, d| listed.contains(name) && named(name, d))
        }
        RequestKind::Refresh => of(&|_, d| selector.distributors.contains(&d.distributor)),
        RequestKind::Cancel | RequestKind::Retry | RequestKind::Event => BTreeSet::new(),
    })
}

fn in_components(distribution: &Distribution, components: &[String]) -> bool {
    components.is_empty() || is_of_components(distribution, components)
}

fn check_names(definitions: &Definitions, request: &Request) -> Result<(), PlanFault> {
    let s = &request.selector;
    for name in &s.distributions {
        definitions.distributions.get(name).ok_or_else(|| unknown(format!("distribution {name}")))?;
    }
    for name in &s.channels {
        definitions.channels.get(name).ok_or_else(|| unknown(format!("channel {name}")))?;
    }
    for name in &s.subscribers {
        definitions.subscribers.get(name).ok_or_else(|| unknown(format!("subscriber {name}")))?;
    }
    for name in &s.distributors {
        definitions.distributors.get(name).ok_or_else(|| unknown(format!("distributor {name}")))?;
    }
    for name in &s.syncs {
        definitions.syncs.get(name).ok_or_else(|| unknown(format!("sync {name}")))?;
    }
    for component in s.components.iter().filter(|c| *c != ALL_COMPONENTS) {
        let known = definitions.distributions.values().any(|d| d.component.as_ref() == Some(component));
        if !known {
            return Err(unknown(format!("component `{component}`")));
        }
    }
    Ok(())
}

/// What a planner looks at.
pub(crate) struct View<'a> {
    fleet: &'a Fleet,
    snapshot: &'a Snapshot,
    request: &'a Request,
    targets: Vec<Target>,
}

impl View<'_> {
    fn distribution(&self, name: &DistributionName) -> Result<&Distribution, PlanFault> {
        self.fleet.definitions.distributions.get(name).ok_or_else(|| unknown(format!("distribution {name}")))
    }

    fn store(&self, name: &DistributionName) -> Result<StoreId, PlanFault> {
        self.fleet.stores.get(name).copied().ok_or_else(|| unknown(format!("the store of distribution {name}")))
    }

    fn force(&self) -> bool {
        self.request.options.force
    }

    /// Builds read what looks unchanged, too.
    fn reads_all(&self) -> bool {
        self.request.options.verify || self.request.options.force
    }

    fn extracts_at_once(&self, subscriber: &SubscriberName) -> bool {
        let site = self.fleet.definitions.subscribers.get(subscriber);
        site.and_then(|s| s.extract.as_ref()).is_some_and(Schedule::is_immediate)
    }
}

/// `changed`: distributions whose definition changed since their last build; only a refresh asks.
pub fn plan(
    fleet: &Fleet,
    snapshot: &Snapshot,
    changed: &BTreeSet<DistributionName>,
    request: &Request,
) -> Result<Vec<PlannedJob>, PlanFault> {
    let view = View { fleet, snapshot, request, targets: targets(&fleet.definitions) };
    let distributions = concerned(fleet, request)?;
    match request.kind {
        RequestKind::Build => builds(&view, &distributions),
        RequestKind::Send => sends(&view, &distributions),
        RequestKind::Extract => extracts(&view, &distributions),
        RequestKind::Sync => syncs(&view, &distributions),
        RequestKind::Refresh => refreshes(&view, &distributions, changed),
        RequestKind::Rollback => rollbacks(&view, &distributions),
        RequestKind::Cancel | RequestKind::Retry | RequestKind::Collect | RequestKind::Event => Ok(Vec::new()),
    }
}

fn builds(view: &View, distributions: &BTreeSet<DistributionName>) -> Result<Vec<PlannedJob>, PlanFault> {
    let mut jobs = Vec::new();
    for name in distributions {
        let distribution = view.distribution(name)?;
        let named = view.request.selector.distributions.contains(name);
        if distribution.freeze_build && named {
            let reason = format!("distribution {name} has freeze_build: true; nothing builds it until that is off");
            return Err(PlanFault { code: "build-frozen", reason });
        }
        if !distribution.freeze_build && (distribution.active || named) {
            jobs.push(build(view, name)?);
        }
    }
    Ok(jobs)
}

fn sends(view: &View, distributions: &BTreeSet<DistributionName>) -> Result<Vec<PlannedJob>, PlanFault> {
    let mut deliveries = Deliveries::new(view);
    for channel in &view.request.selector.channels {
        send_channel(view, &mut deliveries, channel, distributions)?;
    }
    Ok(deliveries.into_jobs())
}

fn send_channel(
    view: &View,
    deliveries: &mut Deliveries,
    channel: &ChannelName,
    distributions: &BTreeSet<DistributionName>,
) -> Result<(), PlanFault> {
    let only = &view.request.selector.subscribers;
    for target in view.targets.iter().filter(|t| t.active && t.channel == *channel) {
        if distributions.contains(&target.distribution) && (only.is_empty() || only.contains(&target.subscriber)) {
            let extract = view.extracts_at_once(&target.subscriber);
            deliveries.deliver(&target.distribution, &target.subscriber, channel, extract, None)?;
        }
    }
    Ok(())
}

/// What the selected subscribers hold, or soon will, and have not extracted.
fn extracts(view: &View, distributions: &BTreeSet<DistributionName>) -> Result<Vec<PlannedJob>, PlanFault> {
    let mut deliveries = Deliveries::new(view);
    for subscriber in &view.request.selector.subscribers {
        let mut seen = BTreeSet::new();
        for target in view.targets.iter().filter(|t| t.active && t.subscriber == *subscriber) {
            if distributions.contains(&target.distribution) && seen.insert(&target.distribution) {
                deliveries.extract_held(&target.distribution, subscriber, &target.channel)?;
            }
        }
    }
    Ok(deliveries.into_jobs())
}

/// Builds what a change touched, and sends on the channels that send at once (a new subscription counts, SPEC §10, 12).
fn refreshes(
    view: &View,
    distributions: &BTreeSet<DistributionName>,
    changed: &BTreeSet<DistributionName>,
) -> Result<Vec<PlannedJob>, PlanFault> {
    let mut jobs = Vec::new();
    for name in distributions {
        let distribution = view.distribution(name)?;
        let builds = distribution.build.as_ref().is_some_and(|b| *b != Schedule::NEVER);
        if distribution.active && !distribution.freeze_build && builds && changed.contains(name) {
            jobs.push(build(view, name)?);
        }
    }
    let built: BTreeSet<DistributionName> = jobs.iter().map(|job| job.distribution.clone()).collect();
    let mut deliveries = Deliveries::new(view);
    for (channel, definition) in &view.fleet.definitions.channels {
        if definition.active && definition.send.as_ref().is_some_and(Schedule::is_immediate) {
            let there: BTreeSet<DistributionName> = distributions
                .iter()
                .filter(|d| {
                    view.snapshot.newest.contains_key(*d)
                        && !built.contains(*d)
                        && !view.snapshot.builds.contains_key(*d)
                })
                .cloned()
                .collect();
            send_channel(view, &mut deliveries, channel, &there)?;
        }
    }
    jobs.extend(deliveries.into_jobs());
    Ok(jobs)
}

fn rollbacks(view: &View, distributions: &BTreeSet<DistributionName>) -> Result<Vec<PlannedJob>, PlanFault> {
    let mut deliveries = Deliveries::new(view);
    for name in distributions {
        for subscriber in &view.request.selector.subscribers {
            deliveries.roll_back(name, subscriber)?;
        }
    }
    Ok(deliveries.into_jobs())
}

#[cfg(test)]
mod tests;
