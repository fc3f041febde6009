//! Garbage collections: one job for each store, in the lane of its distribution's builds, so that nothing is built there
//! while something is deleted.

use std::collections::BTreeSet;

use records::{CollectTimes, DueStore, Fleet, PlannedJob, Template};
use schemas::{DistributionName, DistributorName, JobId, Lane, Priority, Request};

/// For the stores of these distributions, and, where nothing narrows the request, for those of distributions that are gone.
pub fn collections(
    fleet: &Fleet,
    request: &Request,
    concerned: &BTreeSet<DistributionName>,
    stores: Vec<DueStore>,
    times: CollectTimes,
) -> Vec<PlannedJob> {
    let narrowed = !request.selector.distributions.is_empty() || !request.selector.components.is_empty();
    let wanted = |due: &DueStore| if due.gone { !narrowed } else { concerned.contains(&due.distribution) };
    stores
        .into_iter()
        .filter(wanted)
        .filter_map(|due| Some(collection(request, builders_of(fleet, &due)?, due, times)))
        .collect()
}

/// Whose builders do it: those of anybody, if the distribution is gone.
fn builders_of(fleet: &Fleet, due: &DueStore) -> Option<DistributorName> {
    let own = fleet.definitions.distributions.get(&due.distribution).filter(|_| !due.gone);
    own.map(|d| d.distributor.clone()).or_else(|| fleet.definitions.distributors.keys().next().cloned())
}

fn collection(request: &Request, distributor: DistributorName, due: DueStore, times: CollectTimes) -> PlannedJob {
    PlannedJob {
        id: JobId::planned(request.id, &format!("collect/{}", due.store)),
        lane: Lane::Build(due.distribution.clone()),
        distributor,
        distribution: due.distribution,
        channel: None,
        subscriber: None,
        revision: None,
        priority: Priority::Low,
        template: Template::Collect { store: due.store, list: due.list, force: request.options.force, times },
        carried_by: None,
        retry_of: None,
        waits: Vec::new(),
        note: None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use schemas::{Definitions, RequestId, RequestKind, StoreId};
    use uuid::Uuid;

    use super::*;

    fn store(number: u128, name: &str, gone: bool) -> DueStore {
        DueStore { store: StoreId(Uuid::from_u128(number)), distribution: name.try_into().unwrap(), gone, list: true }
    }

    #[test]
    fn each_store_is_collected_in_its_build_lane_and_those_that_are_gone_by_anybodys_builders() {
        let definitions: Definitions = serde_json::from_value(serde_json::json!({
            "distributors": { "hq": {}, "lab": {} },
            "distributions": { "tools": { "distributor": "lab", "type": "file", "sources": [], "target": "/t", "mode": "mirror" } },
        }))
        .unwrap();
        let fleet = Fleet { version: 1, definitions, stores: Default::default(), owners: Default::default() };
        let mut request = Request::new(RequestId(Uuid::from_u128(1)), RequestKind::Collect);
        let concerned = BTreeSet::from(["tools".try_into().unwrap()]);
        let times = CollectTimes::of_grace(Duration::from_secs(5));
        let stores = vec![store(1, "tools", false), store(2, "tools", true), store(3, "other", false)];
        let planned = |request: &Request| {
            let jobs = collections(&fleet, request, &concerned, stores.clone(), times);
            jobs.iter().map(|job| format!("{} {}", job.lane, job.distributor)).collect::<Vec<_>>()
        };
        assert_eq!(planned(&request), ["build/tools lab", "build/tools hq"]);
        request.selector.distributions.push("tools".try_into().unwrap());
        assert_eq!(planned(&request), ["build/tools lab"]);
    }
}
