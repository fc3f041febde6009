//! `routes`: the tiers as a tree, from each distributor down.

use std::collections::BTreeMap;

use schemas::SubscriberName;
use serde::Deserialize;
use serde_json::Value;

use super::{Client, ClientError, Outcome};
use crate::args::verbs::{Form, RoutesArgs};
use crate::output;

#[derive(Deserialize)]
struct Routes {
    distributors: Vec<OfDistributor>,
}

#[derive(Deserialize)]
struct OfDistributor {
    distributor: String,
    subscribers: Vec<Route>,
}

#[derive(Deserialize)]
struct Route {
    subscriber: String,
    route: Vec<String>,
}

/// A node, and whether it is to get something for itself.
#[derive(Default)]
struct Node {
    receives: bool,
    below: BTreeMap<String, Node>,
}

pub async fn run(client: Client, args: &RoutesArgs, form: Form) -> Result<Outcome, ClientError> {
    let mut whole: Value = client.get("/v1/routes").await?;
    if let Some(name) = &args.subscriber {
        narrow(&mut whole, name);
    }
    let routes: Routes = serde_json::from_value(whole.clone())
        .map_err(|e| ClientError::Local(format!("the service's answer cannot be read: {e}")))?;
    let nobody = routes.distributors.iter().all(|of| of.subscribers.is_empty());
    if let (Some(name), true) = (&args.subscriber, nobody) {
        return Err(ClientError::Local(format!("subscriber {name} is to get nothing, so no way leads to it")));
    }
    output::print(form, &whole, || drawn(&routes))?;
    Ok(Outcome::Succeeded)
}

fn narrow(whole: &mut Value, name: &SubscriberName) {
    for distributor in whole["distributors"].as_array_mut().into_iter().flatten() {
        if let Some(subscribers) = distributor["subscribers"].as_array_mut() {
            subscribers.retain(|route| route["subscriber"] == name.as_str());
        }
    }
}

fn drawn(routes: &Routes) -> String {
    let mut out = String::new();
    for of in &routes.distributors {
        out.push_str(&format!("{}\n", of.distributor));
        if of.subscribers.is_empty() {
            out.push_str("   nobody is to get anything\n");
        }
        draw(&tree(&of.subscribers), "", &mut out);
    }
    if out.is_empty() { "no distributors are defined\n".to_owned() } else { out }
}

fn tree(routes: &[Route]) -> Node {
    let mut root = Node::default();
    for route in routes {
        let mut node = &mut root;
        for hop in &route.route {
            node = node.below.entry(hop.clone()).or_default();
            node.receives |= *hop == route.subscriber;
        }
    }
    root
}

fn draw(node: &Node, indent: &str, out: &mut String) {
    let last = node.below.len().saturating_sub(1);
    for (i, (name, below)) in node.below.iter().enumerate() {
        let (branch, space) = if i == last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        let relay = if below.receives { "" } else { "  (relay)" };
        out.push_str(&format!("{indent}{branch}{name}{relay}\n"));
        draw(below, &format!("{indent}{space}"), out);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answer() -> Value {
        json!({ "distributors": [{ "distributor": "hq", "subscribers": [
            { "subscriber": "lyon", "route": ["region-eu", "lyon"] },
            { "subscriber": "paris", "route": ["region-eu", "paris"] },
            { "subscriber": "tokyo", "route": ["tokyo"] },
        ] }] })
    }

    #[test]
    fn tiers_are_drawn_as_a_tree() {
        let expected = "\
hq
├─ region-eu  (relay)
│  ├─ lyon
│  └─ paris
└─ tokyo
";
        assert_eq!(drawn(&serde_json::from_value(answer()).unwrap()), expected);
    }

    #[test]
    fn one_subscribers_way_is_shown_alone() {
        let mut whole = answer();
        narrow(&mut whole, &"paris".try_into().unwrap());
        assert_eq!(drawn(&serde_json::from_value(whole).unwrap()), "hq\n└─ region-eu  (relay)\n   └─ paris\n");
    }
}
