//! By which relays each distributor reaches whom.

use axum::Json;
use axum::extract::State;
use domain::routing::Routing;
use domain::targets;
use records::Records;
use schemas::{Definitions, DistributorName, SubscriberName};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

use crate::fault::ApiFault;

#[derive(Debug, Serialize)]
pub struct Routes {
    distributors: Vec<DistributorRoutes>,
}

#[derive(Debug, Serialize)]
pub struct DistributorRoutes {
    distributor: DistributorName,
    subscribers: Vec<SubscriberRoute>,
}

#[derive(Debug, Serialize)]
pub struct SubscriberRoute {
    subscriber: SubscriberName,
    /// From the first relay to the subscriber itself.
    route: Vec<SubscriberName>,
}

pub async fn get(State(records): State<Records>) -> Result<Json<Routes>, ApiFault> {
    let fleet = records.fleet().await?;
    let receivers = receivers(&fleet.definitions);
    let mut distributors = Vec::new();
    for distributor in fleet.definitions.distributors.keys() {
        let who = receivers.get(distributor).into_iter().flatten();
        distributors.push(DistributorRoutes {
            distributor: distributor.clone(),
            subscribers: routes(&fleet.definitions, distributor, who)?,
        });
    }
    Ok(Json(Routes { distributors }))
}

/// Who is to get something of each distributor.
fn receivers(definitions: &Definitions) -> BTreeMap<&DistributorName, BTreeSet<SubscriberName>> {
    let mut receivers: BTreeMap<&DistributorName, BTreeSet<SubscriberName>> = BTreeMap::new();
    for target in targets::targets(definitions).into_iter().filter(|target| target.active) {
        if let Some(distribution) = definitions.distributions.get(&target.distribution) {
            receivers.entry(&distribution.distributor).or_default().insert(target.subscriber);
        }
    }
    receivers
}

fn routes<'a>(
    definitions: &Definitions,
    distributor: &DistributorName,
    subscribers: impl Iterator<Item = &'a SubscriberName>,
) -> Result<Vec<SubscriberRoute>, ApiFault> {
    let refused = |e: domain::routing::RouteError| ApiFault::conflict(e.code(), e.to_string());
    let routing = Routing::of(definitions, distributor).map_err(refused)?;
    subscribers
        .map(|subscriber| {
            let route = routing.route(subscriber).map_err(refused)?;
            Ok(SubscriberRoute { subscriber: subscriber.clone(), route })
        })
        .collect()
}
