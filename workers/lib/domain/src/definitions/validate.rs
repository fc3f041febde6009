//! The whole fleet as it would be after `apply`: all of it makes sense together, or nothing is changed.
//! It knows nothing of the sites beyond what is declared.

use std::collections::{BTreeMap, BTreeSet};

use schemas::definitions::{Group, Routes, Subscription, Tree};
use schemas::name::Kind;
use schemas::{Definitions, Schedule, SubscriberName};

use super::declared::Declared;
use super::edges::edges;
use super::error::{DefinitionError, Findings, Warning, code};
use super::places::{Places, below, item};
use super::rename::{self, Rename, renames};
use super::{schedule_fit, sync_check, target_check};
use crate::effective::distributor_zone;
use crate::targets::{Target, Why, targets};

/// What takes effect.
#[derive(Debug, Clone)]
pub struct Accepted {
    /// Existing and declared objects together, under their new names and without `renamed_from`.
    pub definitions: Definitions,
    /// To be recorded before the objects are.
    pub renames: Vec<Rename>,
    pub warnings: Vec<Warning>,
}

/// What goes unless it is declared.
pub type Prunable = BTreeSet<(Kind, String)>;

pub fn validate(declared: &Declared, existing: &Definitions) -> Result<Accepted, Vec<DefinitionError>> {
    validate_pruned(declared, existing, &Prunable::new())
}

/// The same without those of `prunable` that are not declared. One that somebody still names is refused like any name of
/// nothing.
pub fn validate_pruned(
    declared: &Declared,
    existing: &Definitions,
    prunable: &Prunable,
) -> Result<Accepted, Vec<DefinitionError>> {
    let renames = renames(declared, existing);
    let definitions = merged(declared, existing, &renames, prunable);
    let fleet = Fleet { definitions: &definitions, places: &declared.places, targets: targets(&definitions) };

    let mut findings = Findings::default();
    rename::check(declared, existing, &mut findings);
    fleet.references_exist(&renames, &mut findings);
    fleet.parents_form_no_loop(&mut findings);
    fleet.hierarchies_hold_each_once(&mut findings);
    fleet.nothing_is_listed_twice(&mut findings);
    fleet.schedules_are_given(&mut findings);
    schedule_fit::each_fits_its_place(&fleet, &mut findings);
    schedule_fit::extractions_form_no_loop(&fleet, &mut findings);
    schedule_fit::syncs_wait_for_others(&fleet, &mut findings);
    fleet.zones_agree(&mut findings);
    fleet.deletes_first_only_at_one(&mut findings);
    sync_check::no_sync_to_a_source(&fleet, &mut findings);
    target_check::targets_are_sound_and_apart(&fleet, &mut findings);
    if !findings.errors.is_empty() {
        return Err(findings.sorted());
    }
    let mut warnings = fleet.empty_channels();
    warnings.extend(schedule_fit::extractions_that_never_come(&fleet));
    warnings.extend(sync_check::empty_syncs(&fleet));
    warnings.extend(target_check::unknown_variables(&fleet));
    Ok(Accepted { warnings, renames, definitions })
}

fn merged(declared: &Declared, existing: &Definitions, renames: &[Rename], prunable: &Prunable) -> Definitions {
    let mut all = rename::carried_out(existing, renames);
    for (kind, name) in prunable {
        super::delete::take_out(&mut all, *kind, name);
    }
    let new = declared.definitions.clone();
    all.distributors.extend(new.distributors);
    all.hierarchies.extend(new.hierarchies);
    all.distributions.extend(new.distributions);
    all.channels.extend(new.channels);
    all.groups.extend(new.groups);
    all.subscribers.extend(new.subscribers);
    all.syncs.extend(new.syncs);
    rename::settled(&mut all);
    all
}

pub(super) struct Fleet<'a> {
    pub definitions: &'a Definitions,
    pub places: &'a Places,
    pub targets: Vec<Target>,
}

impl Fleet<'_> {
    pub fn warning(&self, code: &'static str, field: &str, message: String) -> Warning {
        let (file, line) = self.places.of(field).map(|p| (p.file.clone(), p.line)).unwrap_or_default();
        Warning { code, file, line, field: field.to_owned(), message }
    }

    fn references_exist(&self, renames: &[Rename], findings: &mut Findings) {
        let known: BTreeMap<Kind, BTreeSet<String>> = Kind::ALL
            .into_iter()
            .map(|kind| (kind, super::names(kind, self.definitions).into_iter().collect()))
            .collect();
        for edge in edges(self.definitions) {
            if known[&edge.to].contains(&edge.to_name) {
                continue;
            }
            let renamed = renames.iter().find(|rename| rename.kind == edge.to && rename.old == edge.to_name);
            let near = super::suggest::nearest(&edge.to_name, known[&edge.to].iter().map(String::as_str));
            let allowed = match (renamed, near) {
                (Some(rename), _) => format!("it is called `{}` now", rename.new),
                (None, Some(near)) => format!("did you mean `{near}`?"),
                (None, None) => format!("declare it under `{}`, or take it out here", edge.to.plural()),
            };
            let message = format!("there is no {} `{}`", edge.to, edge.to_name);
            findings.add(self.places, code::REFERENCE_UNKNOWN, &edge.from.field, message, allowed);
        }
    }

    fn parents_form_no_loop(&self, findings: &mut Findings) {
        let subscribers = &self.definitions.subscribers;
        let mut settled: BTreeSet<&SubscriberName> = BTreeSet::new();
        for start in subscribers.keys() {
            let (mut path, mut on_path, mut next) = (Vec::new(), BTreeSet::new(), Some(start));
            while let Some(name) = next.filter(|name| !settled.contains(name)) {
                if !on_path.insert(name) {
                    let looped: Vec<_> = path.iter().skip_while(|node| **node != name).chain([&name]).collect();
                    let told = looped.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(" -> ");
                    let message = format!("parents form a loop: {told}");
                    let field = format!("subscribers.{name}.parent");
                    findings.add(self.places, code::PARENT_LOOP, &field, message, "one of them must have no parent");
                    break;
                }
                path.push(name);
                next = subscribers.get(name).and_then(|subscriber| subscriber.parent.as_ref());
            }
            settled.extend(path);
        }
    }

    fn hierarchies_hold_each_once(&self, findings: &mut Findings) {
        for (name, hierarchy) in &self.definitions.hierarchies {
            self.tree_holds_each_once(&format!("hierarchies.{name}.routes"), &hierarchy.routes, findings);
        }
        for (name, distributor) in &self.definitions.distributors {
            if let Some(Routes::Tree(tree)) = &distributor.routes {
                self.tree_holds_each_once(&format!("distributors.{name}.routes"), tree, findings);
            }
        }
    }

    fn tree_holds_each_once(&self, field: &str, tree: &Tree, findings: &mut Findings) {
        let mut first: BTreeMap<&SubscriberName, String> = BTreeMap::new();
        let mut open = vec![(field.to_owned(), tree)];
        while let Some((field, tree)) = open.pop() {
            for (name, subtree) in tree.0.iter().rev() {
                let field = below(&field, name.as_str());
                if let Some(first) = first.get(name) {
                    let message = format!("`{name}` stands in this hierarchy already, at {first}");
                    findings.add(self.places, code::HIERARCHY_DOUBLED, &field, message, "keep one of the two places");
                } else {
                    first.insert(name, field.clone());
                }
                open.push((field, subtree));
            }
        }
    }

    fn nothing_is_listed_twice(&self, findings: &mut Findings) {
        for (name, channel) in &self.definitions.channels {
            let mut seen = BTreeSet::new();
            for (index, subscription) in channel.subscriptions.iter().enumerate() {
                let what = match subscription {
                    Subscription::Name(subscriber) => (Kind::Subscriber, subscriber.as_str()),
                    Subscription::Subscriber(one) => (Kind::Subscriber, one.subscriber.as_str()),
                    Subscription::Group(one) => (Kind::Group, one.group.as_str()),
                };
                if !seen.insert(what) {
                    let field = item(&format!("channels.{name}.subscriptions"), index);
                    let message = format!("{} `{}` is subscribed twice", what.0, what.1);
                    findings.add(self.places, code::LISTED_TWICE, &field, message, "keep one of the two");
                }
            }
        }
    }

    /// Nobody waits for what never happens unless somebody wrote `never` (SPEC S1).
    fn schedules_are_given(&self, findings: &mut Findings) {
        let mut demand = |field: String, name: &str, schedule: &Option<Schedule>, why: &str| {
            if schedule.is_none() {
                let message = format!("`{name}` is missing: {why}");
                let allowed = format!("write `{name}: immediately`, `{name}: {{ every: 1h }}` or `{name}: never`");
                findings.add(self.places, code::SCHEDULE_MISSING, &field, message, allowed);
            }
        };
        for (name, distribution) in &self.definitions.distributions {
            demand(format!("distributions.{name}"), "build", &distribution.build, "nothing says when it is built");
        }
        for (name, channel) in &self.definitions.channels {
            demand(format!("channels.{name}"), "send", &channel.send, "nothing says when it is sent");
        }
        // A sync extracts by itself.
        let by_channel = self.targets.iter().filter(|t| t.active && !matches!(t.why, Why::Sync(_)));
        let extracting: BTreeSet<_> = by_channel.map(|t| &t.subscriber).collect();
        for name in extracting {
            let extract = &self.definitions.subscribers[name].extract;
            demand(
                format!("subscribers.{name}"),
                "extract",
                extract,
                "it receives a channel, and nothing says when it extracts",
            );
        }
    }

    /// SPEC §10, 2.
    fn zones_agree(&self, findings: &mut Findings) {
        for (name, channel) in self.definitions.channels.iter().filter(|(_, channel)| channel.time_zone.is_none()) {
            let zones: BTreeMap<&str, &str> = channel
                .distributions
                .iter()
                .filter_map(|name| {
                    let owner = &self.definitions.distributions.get(name)?.distributor;
                    Some((distributor_zone(self.definitions.distributors.get(owner)?), owner.as_str()))
                })
                .collect();
            if zones.len() > 1 {
                let told: Vec<_> = zones.iter().map(|(zone, owner)| format!("{owner} in {zone}")).collect();
                let message = format!("its distributors are in different time zones: {}", told.join(", "));
                let field = format!("channels.{name}");
                findings.add(
                    self.places,
                    code::TIME_ZONE_REQUIRED,
                    &field,
                    message,
                    "give the channel its own `time_zone`",
                );
            }
        }
    }

    /// With more revisions kept, nothing needs to go before another comes (SPEC O2).
    fn deletes_first_only_at_one(&self, findings: &mut Findings) {
        for (name, distribution) in &self.definitions.distributions {
            if distribution.delete_before_receive && distribution.max_revisions != 1 {
                let kept = distribution.max_revisions;
                let message =
                    format!("`delete_before_receive` would delete revisions that `max_revisions: {kept}` keeps");
                let field = format!("distributions.{name}.delete_before_receive");
                findings.add(
                    self.places,
                    code::VALUE_INVALID,
                    &field,
                    message,
                    "set `max_revisions: 1`, or take it out",
                );
            }
        }
    }

    fn empty_channels(&self) -> Vec<Warning> {
        let mut warnings = Vec::new();
        for (name, channel) in &self.definitions.channels {
            let nobody = |group: &Group| group.members().is_empty();
            let empty_groups = channel.subscriptions.iter().all(|subscription| match subscription {
                Subscription::Group(one) => self.definitions.groups.get(&one.group).is_none_or(nobody),
                _ => false,
            });
            let lacks = match (channel.distributions.is_empty(), empty_groups) {
                (true, _) => "has no distributions",
                (false, true) => "has no subscribers",
                (false, false) => continue,
            };
            let message = format!("channel `{name}` {lacks}: nothing will be sent");
            warnings.push(self.warning(code::CHANNEL_EMPTY, &format!("channels.{name}"), message));
        }
        warnings
    }
}
