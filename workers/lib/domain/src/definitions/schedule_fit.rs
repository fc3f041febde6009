//! Whether a schedule fits the place where it stands, and those of a fleet each other: what one rule alone does not show. It knows
//! nothing of when anything is due.

use std::collections::{BTreeMap, BTreeSet};

use schemas::schedule::Rule;
use schemas::{Definitions, DistributionName, Schedule, SubscriberName};

use super::error::{Findings, Warning, code};
use super::validate::Fleet;
use crate::syncs;

/// Every rule of the fleet, where it stands, and what it makes due.
fn rules(definitions: &Definitions) -> Vec<(String, &'static str, &Rule)> {
    let d = definitions;
    let refresh =
        d.distributors.iter().map(|(n, o)| (format!("distributors.{n}.refresh"), "refresh", o.refresh.as_ref()));
    let build = d.distributions.iter().map(|(n, o)| (format!("distributions.{n}.build"), "build", o.build.as_ref()));
    let send = d.channels.iter().map(|(n, o)| (format!("channels.{n}.send"), "send", o.send.as_ref()));
    let extract =
        d.subscribers.iter().map(|(n, o)| (format!("subscribers.{n}.extract"), "extract", o.extract.as_ref()));
    let sync = d.syncs.iter().map(|(n, o)| (format!("syncs.{n}.schedule"), "sync", Some(&o.schedule)));
    let all = refresh.chain(build).chain(send).chain(extract).chain(sync);
    all.filter_map(|(field, verb, schedule)| match schedule {
        Some(Schedule::Rule(rule)) => Some((field, verb, rule.as_ref())),
        _ => None,
    })
    .collect()
}

/// An option that nobody would heed there is refused.
pub(super) fn each_fits_its_place(fleet: &Fleet, findings: &mut Findings) {
    for (field, verb, rule) in rules(fleet.definitions) {
        if rule.after.is_some() && !matches!(verb, "extract" | "sync") {
            let message = format!("a {verb} does not come after a subscriber's extraction");
            let allowed =
                "`after` goes with the `extract` of a subscriber and with syncs; for this use a time, or `event: NAME`";
            findings.add(fleet.places, code::SCHEDULE_KIND_UNFIT, &format!("{field}.after"), message, allowed);
        }
        if rule.stop_at_end == Some(true) && !matches!(verb, "send" | "extract" | "sync") {
            let message = format!("a {verb} does not stop when its window ends");
            let allowed = "`stop_at_end` goes with `send`, `extract` and syncs; leave it out here";
            findings.add(fleet.places, code::SCHEDULE_OPTION_UNFIT, &format!("{field}.stop_at_end"), message, allowed);
        }
    }
}

/// Who extracts after whom.
fn after(definitions: &Definitions) -> BTreeMap<&SubscriberName, SubscriberName> {
    let awaited = |schedule: &Schedule| SubscriberName::try_from(schedule.awaited()?).ok();
    definitions.subscribers.iter().filter_map(|(name, s)| Some((name, awaited(s.extract.as_ref()?)?))).collect()
}

/// Of subscribers that wait for each other none would ever extract.
pub(super) fn extractions_form_no_loop(fleet: &Fleet, findings: &mut Findings) {
    let after = after(fleet.definitions);
    let mut settled: BTreeSet<&SubscriberName> = BTreeSet::new();
    for start in after.keys().copied() {
        let (mut path, mut on_path, mut next) = (Vec::new(), BTreeSet::new(), Some(start));
        while let Some(name) = next.filter(|name| !settled.contains(*name)) {
            if !on_path.insert(name) {
                let looped = path.iter().copied().skip_while(|node| *node != name).chain([name]);
                let told: Vec<&str> = looped.map(SubscriberName::as_str).collect();
                let message = format!("extractions wait for each other: {}", told.join(" -> "));
                let field = format!("subscribers.{name}.extract.after");
                findings.add(fleet.places, code::AFTER_LOOP, &field, message, "one of them must have another schedule");
                break;
            }
            path.push(name);
            next = after.get(name);
        }
        settled.extend(path);
    }
}

/// A sync to a subscriber after its own extraction would bring what it has extracted.
pub(super) fn syncs_wait_for_others(fleet: &Fleet, findings: &mut Findings) {
    for (name, sync) in &fleet.definitions.syncs {
        if sync.schedule.awaited() == Some(sync.subscriber.as_str()) {
            let message = format!("a sync to `{}` after its own extraction brings nothing", sync.subscriber);
            let field = format!("syncs.{name}.schedule.after");
            findings.add(
                fleet.places,
                code::AFTER_LOOP,
                &field,
                message,
                "name another subscriber, or use another schedule",
            );
        }
    }
}

/// Nothing is ever extracted or synced after somebody who receives none of the same.
pub(super) fn extractions_that_never_come(fleet: &Fleet) -> Vec<Warning> {
    let mut received: BTreeMap<&SubscriberName, BTreeSet<&DistributionName>> = BTreeMap::new();
    for target in fleet.targets.iter().filter(|target| target.active) {
        received.entry(&target.subscriber).or_default().insert(&target.distribution);
    }
    let none = BTreeSet::new();
    let of = |name: &SubscriberName| received.get(name).unwrap_or(&none);
    let mut warnings = Vec::new();
    for (name, awaited) in after(fleet.definitions) {
        for lacking in of(name).difference(of(&awaited)) {
            let message =
                format!("`{name}` never extracts {lacking}: `{awaited}`, after which it would, does not receive it");
            warnings.push(fleet.warning(code::AFTER_NEVER, &format!("subscribers.{name}.extract.after"), message));
        }
    }
    for (name, sync) in &fleet.definitions.syncs {
        let Some(Ok(awaited)) = sync.schedule.awaited().map(SubscriberName::try_from) else { continue };
        let mut brought = syncs::distributions(fleet.definitions, &sync.subscriber, &sync.components);
        if !brought.any(|(distribution, _)| of(&awaited).contains(distribution)) {
            let message = format!("the sync never goes: `{awaited}` receives nothing of what it brings");
            warnings.push(fleet.warning(code::AFTER_NEVER, &format!("syncs.{name}.schedule.after"), message));
        }
    }
    warnings
}
