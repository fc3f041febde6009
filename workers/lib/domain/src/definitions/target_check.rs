//! Targets as each subscriber would fill them in, as far as that can be known without asking it; it checks again itself.

use std::collections::{BTreeMap, BTreeSet};

use schemas::{DistributionName, SubscriberName};

use super::error::{Findings, Warning, code, printable, quoted};
use super::text::is_sound_target;
use super::validate::Fleet;
use crate::target_path::{overlap, parts};
use crate::variables::{PREDEFINED, expand_known, referred};

/// Two targets of one subscriber are never equal or one in the other (DESIGN §4), and none leads out of where it starts.
pub(super) fn targets_are_sound_and_apart(fleet: &Fleet<'_>, findings: &mut Findings) {
    let mut clashes: BTreeMap<(&DistributionName, &DistributionName), Clash<'_>> = BTreeMap::new();
    for (subscriber, distributions) in by_subscriber(fleet) {
        let mut paths = Vec::new();
        for distribution in distributions {
            if let Some(path) = sound_path(fleet, subscriber, distribution, findings) {
                paths.push((path, distribution));
            }
        }
        // Sorted by folders, whatever lies in a target follows right after it.
        paths.sort_by(|(a, _), (b, _)| parts(a).cmp(parts(b)));
        let mut around: Option<&(String, &DistributionName)> = None;
        for path in &paths {
            let (inner, other) = path;
            match around.filter(|(outer, _)| overlap(outer, inner)) {
                Some((outer, one)) => {
                    let new =
                        || Clash { first: subscriber, outer: outer.clone(), inner: inner.clone(), subscribers: 0 };
                    clashes.entry((*one, *other)).or_insert_with(new).subscribers += 1;
                }
                None => around = Some(path),
            }
        }
    }
    for ((one, other), clash) in clashes {
        let more = if clash.subscribers > 1 { format!(" and {} more", clash.subscribers - 1) } else { String::new() };
        let message = format!(
            "at subscriber `{}`{more}, {} lies in the target of distribution `{one}`, {}",
            clash.first,
            quoted(&clash.inner),
            quoted(&clash.outer)
        );
        let field = format!("distributions.{other}.target");
        findings.add(
            fleet.places,
            code::TARGETS_OVERLAP,
            &field,
            message,
            "give each its own folder, beside the other",
        );
    }
}

/// Variables that no subscriber declares and none is born with: the job will fail with their names (SPEC O9).
pub(super) fn unknown_variables(fleet: &Fleet<'_>) -> Vec<Warning> {
    let mut missing: BTreeMap<(&DistributionName, String), Vec<&SubscriberName>> = BTreeMap::new();
    for (subscriber, distributions) in by_subscriber(fleet) {
        let own = &fleet.definitions.subscribers[subscriber].variables;
        for distribution in distributions {
            let target = &fleet.definitions.distributions[distribution].target;
            let left = expand_known(target, own).and_then(|known| referred(&known)).unwrap_or_default();
            for name in left.into_iter().collect::<BTreeSet<_>>() {
                if !PREDEFINED.contains(&name.as_str()) && !name.starts_with("env:") {
                    missing.entry((distribution, name)).or_default().push(subscriber);
                }
            }
        }
    }
    let told = missing.into_iter().map(|((distribution, name), subscribers)| {
        let more = if subscribers.len() > 1 { format!(" and {} more", subscribers.len() - 1) } else { String::new() };
        let message = format!("`%{name}%` is not known at subscriber `{}`{more}: extracting will fail", subscribers[0]);
        fleet.warning(code::UNKNOWN_VARIABLE, &format!("distributions.{distribution}.target"), message)
    });
    told.collect()
}

struct Clash<'a> {
    first: &'a SubscriberName,
    outer: String,
    inner: String,
    subscribers: usize,
}

fn by_subscriber<'a>(fleet: &'a Fleet<'_>) -> BTreeMap<&'a SubscriberName, BTreeSet<&'a DistributionName>> {
    let mut by_subscriber: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for target in fleet.targets.iter().filter(|target| target.active) {
        by_subscriber.entry(&target.subscriber).or_default().insert(&target.distribution);
    }
    by_subscriber
}

/// The target with the subscriber's own variables filled in, unless that makes no path of it, which is told.
fn sound_path(
    fleet: &Fleet<'_>,
    subscriber: &SubscriberName,
    distribution: &DistributionName,
    findings: &mut Findings,
) -> Option<String> {
    let target = &fleet.definitions.distributions[distribution].target;
    let own = &fleet.definitions.subscribers[subscriber].variables;
    let field = format!("distributions.{distribution}.target");
    match expand_known(target, own) {
        Ok(path) if is_sound_target(&path) => return Some(path),
        Ok(path) => {
            let message = format!("at subscriber `{subscriber}` it is {}", quoted(&path));
            let allowed = "its variables must make an absolute path without `..`, and not `/`";
            findings.add(fleet.places, code::PATH_INVALID, &field, message, allowed);
        }
        Err(error) => {
            let message = format!("at subscriber `{subscriber}`: {}", printable(&error.to_string()));
            findings.add(fleet.places, error.code(), &field, message, "");
        }
    }
    None
}
