//! Sends along a distribution's route, each hop once, and the extracts at their ends.

use std::collections::{BTreeMap, BTreeSet};

use domain::routing::{Routing, SourceNode};
use domain::{effective, site};
use records::{Held, OnBad, PlannedJob, PlannedWait, Template};
use schemas::{ChannelName, DistributionName, DistributorName, JobId, Lane, SubscriberName};

use super::{PlanFault, View};

/// The deliveries of one plan. Jobs come out parents first, so that a step never waits for a later one.
pub(super) struct Deliveries<'a> {
    view: &'a View<'a>,
    routings: BTreeMap<DistributorName, Routing<'a>>,
    sends: BTreeSet<(SubscriberName, DistributionName)>,
    extracts: BTreeSet<(SubscriberName, DistributionName)>,
    jobs: Vec<PlannedJob>,
}

impl<'a> Deliveries<'a> {
    pub(super) fn new(view: &'a View<'a>) -> Self {
        Deliveries {
            view,
            routings: BTreeMap::new(),
            sends: BTreeSet::new(),
            extracts: BTreeSet::new(),
            jobs: Vec::new(),
        }
    }

    pub(super) fn into_jobs(self) -> Vec<PlannedJob> {
        self.jobs
    }

    /// The newest revision to this subscriber, over its relays. While a build is under way (`build`, or one that is recorded)
    /// the revision stays open, and the first hop waits for it.
    pub(super) fn deliver(
        &mut self,
        name: &DistributionName,
        subscriber: &SubscriberName,
        channel: &ChannelName,
        extract: bool,
        build: Option<JobId>,
    ) -> Result<(), PlanFault> {
        let build = build.or_else(|| self.view.snapshot.builds.get(name).copied());
        let newest = self.view.snapshot.newest.get(name).map(|r| r.number);
        let revision = if build.is_some() { None } else { newest };
        if build.is_none() && newest.is_none() {
            // Nothing was ever built and nothing is being built: there is nothing to send yet.
            return Ok(());
        }
        let leaf = self.send_along(name, subscriber, channel, revision, build)?;
        if extract {
            self.extract_after(name, subscriber, channel, revision, leaf)?;
        }
        Ok(())
    }

    /// Plans the sends of a route that are needed; returns the last hop's, if it needs one.
    fn send_along(
        &mut self,
        name: &DistributionName,
        subscriber: &SubscriberName,
        channel: &ChannelName,
        revision: Option<u64>,
        build: Option<JobId>,
    ) -> Result<Option<JobId>, PlanFault> {
        if !self.lacks(name, subscriber, revision) {
            return Ok(None);
        }
        let distributor = self.view.distribution(name)?.distributor.clone();
        let hops = self.routing(&distributor)?.route(subscriber).map_err(route_fault)?;
        let mut parent = None;
        for hop in hops {
            if !self.lacks(name, &hop, revision) && hop != *subscriber {
                parent = None;
                continue;
            }
            let id = self.send_id(&hop, name);
            if self.sends.insert((hop.clone(), name.clone())) {
                let job = self.send(id, name, &hop, channel, revision, parent, build, &distributor)?;
                self.jobs.push(job);
            }
            parent = Some(id);
        }
        Ok(parent)
    }

    fn lacks(&self, name: &DistributionName, subscriber: &SubscriberName, revision: Option<u64>) -> bool {
        let held = self.held(name, subscriber).stored;
        revision.is_none() || held.is_none() || held < revision || self.view.force()
    }

    fn held(&self, name: &DistributionName, subscriber: &SubscriberName) -> Held {
        let key = (subscriber.to_string(), name.clone());
        self.view.snapshot.holdings.get(&key).copied().unwrap_or_default()
    }

    fn send_id(&self, subscriber: &SubscriberName, name: &DistributionName) -> JobId {
        JobId::planned(self.view.request.id, &format!("send/{subscriber}/{name}"))
    }

    fn routing(&mut self, distributor: &DistributorName) -> Result<&Routing<'a>, PlanFault> {
        if !self.routings.contains_key(distributor) {
            let routing = Routing::of(&self.view.fleet.definitions, distributor).map_err(route_fault)?;
            self.routings.insert(distributor.clone(), routing);
        }
        Ok(&self.routings[distributor])
    }

    #[allow(clippy::too_many_arguments)]
    fn send(
        &mut self,
        id: JobId,
        name: &DistributionName,
        subscriber: &SubscriberName,
        channel: &ChannelName,
        revision: Option<u64>,
        parent: Option<JobId>,
        build: Option<JobId>,
        distributor: &DistributorName,
    ) -> Result<PlannedJob, PlanFault> {
        let relays = self.routing(distributor)?.sources(subscriber).map_err(route_fault)?;
        let relays = relays
            .into_iter()
            .filter_map(|node| if let SourceNode::Relay(relay) = node { Some(relay) } else { None })
            .collect();
        let site = self.view.fleet.definitions.subscribers.get(subscriber);
        let patience_ms = site.map(|s| i64::from(effective::connect_timeout_s(s)) * 1_000);
        let mut waits = Vec::new();
        if let Some(awaited) = parent {
            waits.push(PlannedWait { awaited, on_bad: OnBad::Proceed, patience_ms });
        }
        if let Some(awaited) = build {
            waits.push(PlannedWait { awaited, on_bad: OnBad::Proceed, patience_ms: None });
        }
        let distribution = self.view.distribution(name)?;
        Ok(PlannedJob {
            id,
            lane: Lane::site(subscriber.clone(), channel.clone()),
            distributor: distributor.clone(),
            distribution: name.clone(),
            channel: Some(channel.clone()),
            subscriber: Some(subscriber.clone()),
            revision,
            priority: distribution.priority,
            template: Template::Send { store: self.view.store(name)?, relays },
            carried_by: None,
            retry_of: None,
            waits,
            note: None,
        })
    }

    /// The extract that goes with a send, in its message; or by itself where the content is there already.
    fn extract_after(
        &mut self,
        name: &DistributionName,
        subscriber: &SubscriberName,
        channel: &ChannelName,
        revision: Option<u64>,
        send: Option<JobId>,
    ) -> Result<(), PlanFault> {
        let held = self.held(name, subscriber);
        let under_way = self.view.snapshot.extracts.get(&(subscriber.to_string(), name.clone())).copied();
        let there = revision.is_some() && (held.extracted == revision || (send.is_none() && under_way == revision));
        if held.pinned || (there && !self.view.force()) {
            return Ok(());
        }
        self.extract(name, subscriber, channel, revision, send, false)
    }

    /// Extracts what the subscriber holds, or the revision that is asked for, if it has not done so; a rollback's pin ends with it.
    pub(super) fn extract_held(
        &mut self,
        name: &DistributionName,
        subscriber: &SubscriberName,
        channel: &ChannelName,
    ) -> Result<(), PlanFault> {
        let held = self.held(name, subscriber);
        let Some(stored) = held.stored else { return Ok(()) };
        let revision = self.view.request.options.revision.unwrap_or(stored);
        let is_there = match self.view.request.options.revision {
            Some(_) => held.extracted >= Some(revision),
            None => held.extracted == Some(revision),
        };
        if is_there && !self.view.force() {
            return Ok(());
        }
        self.extract(name, subscriber, channel, Some(revision), None, false)
    }

    /// Back to an earlier revision: what the site keeps of it does not travel again.
    pub(super) fn roll_back(&mut self, name: &DistributionName, subscriber: &SubscriberName) -> Result<(), PlanFault> {
        let held = self.held(name, subscriber);
        let before = || held.earlier.or_else(|| held.extracted.and_then(|n| n.checked_sub(1)));
        let wanted = self.view.request.options.revision.or_else(before);
        let Some(revision) = wanted.filter(|&n| n > 0) else {
            let reason =
                format!("{subscriber} has no earlier revision of {name} to go back to; name one with --revision");
            return Err(PlanFault { code: "revision-unknown", reason });
        };
        let target = self.view.targets.iter().find(|t| t.subscriber == *subscriber && t.distribution == *name);
        let Some(target) = target else {
            let reason = format!("{subscriber} does not receive {name}");
            return Err(PlanFault { code: "not-subscribed", reason });
        };
        let channel = target.channel.clone();
        let distributor = self.view.distribution(name)?.distributor.clone();
        let id = self.send_id(subscriber, name);
        let send = self.send(id, name, subscriber, &channel, Some(revision), None, None, &distributor)?;
        self.jobs.push(send);
        let pin = self.view.snapshot.newest.get(name).is_some_and(|newest| newest.number != revision);
        self.extract(name, subscriber, &channel, Some(revision), Some(id), pin)
    }

    fn extract(
        &mut self,
        name: &DistributionName,
        subscriber: &SubscriberName,
        channel: &ChannelName,
        revision: Option<u64>,
        send: Option<JobId>,
        pin: bool,
    ) -> Result<(), PlanFault> {
        if !self.extracts.insert((subscriber.clone(), name.clone())) {
            return Ok(());
        }
        let distribution = self.view.distribution(name)?;
        let waits = send.map(|awaited| PlannedWait { awaited, on_bad: OnBad::Fail, patience_ms: None });
        let job = PlannedJob {
            id: JobId::planned(self.view.request.id, &format!("extract/{subscriber}/{name}")),
            lane: Lane::site(subscriber.clone(), channel.clone()),
            distributor: distribution.distributor.clone(),
            distribution: name.clone(),
            channel: Some(channel.clone()),
            subscriber: Some(subscriber.clone()),
            revision,
            priority: distribution.priority,
            template: Template::Extract {
                store: self.view.store(name)?,
                mode: distribution.mode,
                target: distribution.target.clone(),
                adopt: distribution.adopt,
                allow: distribution.allow.clone(),
                pin,
                unchanged: distribution.unchanged,
                other_targets: site::other_targets(&self.view.fleet.definitions, subscriber, name),
            },
            carried_by: send,
            retry_of: None,
            waits: waits.into_iter().collect(),
            note: None,
        };
        // Right behind its send, so that the two stand in one step.
        let place = send.and_then(|id| self.jobs.iter().rposition(|j| j.id == id)).map_or(self.jobs.len(), |i| i + 1);
        self.jobs.insert(place, job);
        Ok(())
    }
}

fn route_fault(error: domain::routing::RouteError) -> PlanFault {
    PlanFault { code: error.code(), reason: error.to_string() }
}
