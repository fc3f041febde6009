//! Syncs as definitions: what they bring, what is refused, and what a rename or a prune does to them.

mod support;

use domain::definitions::{Prunable, Rename, validate, validate_pruned};
use domain::targets::{SYNC_CHANNEL, Why, targets};
use schemas::Definitions;
use schemas::name::Kind;
use support::{accepted, applied, codes, declared, listed};

const SYNCED: &str = "
distributors:
  hq: {}
distributions:
  av: { distributor: hq, type: file, component: core, sources: [ { path: /mnt/lyon/av, subscriber: lyon } ], target: '%VOL%/av', mode: mirror, build: never }
  engine: { distributor: hq, type: file, component: core, sources: [ { path: /srv/e } ], target: '%VOL%/engine', mode: mirror, build: never }
  tools: { distributor: hq, type: file, sources: [ { path: /srv/t } ], target: '%VOL%/tools', mode: mirror, build: never }
  win: { distributor: hq, type: file, component: core, platforms: [windows], sources: [ { path: /srv/w } ], target: '%VOL%/win', mode: mirror, build: never }
  old: { distributor: hq, type: file, component: core, active: false, sources: [ { path: /srv/o } ], target: '%VOL%/old', mode: mirror, build: never }
channels:
  protect: { distributions: [av], send: immediately, subscriptions: [oslo] }
subscribers:
  lyon: { variables: { VOL: /srv } }
  oslo: { extract: immediately, variables: { VOL: /srv }, opt_out: [engine] }
  paris: { variables: { VOL: /srv } }
syncs:
  paris-core: { subscriber: paris, components: [core], schedule: { monthly: second tuesday, delay_days: 4, at: '02:00' } }
";

/// `av core (why)`, of the syncs, active ones only or the others.
fn synced(definitions: &Definitions, active: bool) -> Vec<String> {
    let of_syncs =
        targets(definitions).into_iter().filter(|t| t.channel.as_str() == SYNC_CHANNEL && t.active == active);
    of_syncs.map(|t| format!("{} at {}: {}", t.distribution, t.subscriber, t.why)).collect()
}

#[test]
fn a_sync_takes_the_active_distributions_of_its_components_subscribed_or_not() {
    let fleet = accepted(SYNCED).definitions;
    assert_eq!(synced(&fleet, true), ["av at paris: sync paris-core", "engine at paris: sync paris-core"]);
    assert_eq!(
        synced(&fleet, false),
        ["old at paris: the distribution is inactive", "win at paris: its platform is not known yet"]
    );
    let all =
        applied("syncs: { oslo-all: { subscriber: oslo, components: [all], schedule: never } }", &fleet).definitions;
    let oslo: Vec<String> = synced(&all, true).into_iter().filter(|line| line.contains("oslo")).collect();
    assert_eq!(
        oslo,
        ["av at oslo: sync oslo-all", "tools at oslo: sync oslo-all"],
        "it opted out of one, and all is all"
    );
    assert!(targets(&all).iter().any(|t| t.why == Why::Subscribed), "what is subscribed stays so");
}

#[test]
fn a_synced_site_needs_no_extract_schedule() {
    let fleet = accepted(SYNCED).definitions;
    assert!(fleet.subscribers[&"paris".try_into().unwrap()].extract.is_none());
}

#[test]
fn a_sync_to_a_source_of_its_content_is_refused() {
    let to_lyon = |components: &str, more: &str| {
        SYNCED
            .replace(
                "paris-core: { subscriber: paris, components: [core]",
                &format!("lyon: {{ subscriber: lyon, components: {components}"),
            )
            .replace("lyon: { variables", &format!("lyon: {{ {more}variables"))
    };
    for components in ["[core]", "[all]", "[patches, core]"] {
        let errors = validate(&declared(&to_lyon(components, "")), &Definitions::default()).unwrap_err();
        assert_eq!(codes(&errors), ["sync-to-source"], "{}", listed(&errors));
        assert_eq!(errors[0].field, "syncs.lyon.subscriber");
        assert!(errors[0].message.contains("`lyon`") && errors[0].message.contains("`av`"), "{}", errors[0]);
    }
    accepted(&to_lyon("[patches]", ""));
    accepted(&to_lyon("[core]", "opt_out: [av], "));
    // The other way round: the sync is there, and the distribution becomes one of its subscriber's files.
    let fleet = accepted(SYNCED).definitions;
    let moved =
        "distributions: { engine: { distributor: hq, type: file, component: core, target: '%VOL%/engine', mode: mirror,
        build: never, sources: [ { path: /mnt/paris/e, subscriber: paris } ] } }";
    assert_eq!(codes(&validate(&declared(moved), &fleet).unwrap_err()), ["sync-to-source"]);
}

#[test]
fn what_a_sync_names_must_exist_and_what_brings_nothing_is_told() {
    let fleet = accepted(SYNCED).definitions;
    let nobody = "syncs: { s: { subscriber: nobody, components: [core], schedule: never } }";
    assert_eq!(codes(&validate(&declared(nobody), &fleet).unwrap_err()), ["reference-unknown"]);
    let source = SYNCED.replace("subscriber: lyon } ]", "subscriber: nobody } ]");
    assert_eq!(codes(&validate(&declared(&source), &Definitions::default()).unwrap_err()), ["reference-unknown"]);
    let typed = "syncs: { s: { subscriber: paris, components: [cor], schedule: never } }";
    let warnings = applied(typed, &fleet).warnings;
    assert_eq!(
        warnings.iter().map(|w| (w.code, w.field.as_str())).collect::<Vec<_>>(),
        [("sync-empty", "syncs.s.components")]
    );
}

#[test]
fn targets_that_only_a_sync_fills_must_be_apart_too() {
    let inside = SYNCED.replace("'%VOL%/engine'", "'%VOL%/av/engine'");
    assert_eq!(codes(&validate(&declared(&inside), &Definitions::default()).unwrap_err()), ["targets-overlap"]);
}

#[test]
fn a_renamed_subscriber_is_followed_by_its_syncs_and_sources() {
    let fleet = accepted(SYNCED).definitions;
    let renamed =
        applied("subscribers: { lugdunum: { renamed_from: lyon }, lutetia: { renamed_from: paris } }", &fleet);
    let (sync, av) = ("paris-core".try_into().unwrap(), "av".try_into().unwrap());
    assert_eq!(renamed.definitions.syncs[&sync].subscriber.as_str(), "lutetia");
    let source = renamed.definitions.distributions[&av].sources[0].subscriber.as_ref().unwrap();
    assert_eq!(source.as_str(), "lugdunum");
    let sync = "syncs: { paris: { renamed_from: paris-core, subscriber: paris, components: [core], schedule: never } }";
    let renamed = applied(sync, &fleet);
    assert_eq!(renamed.renames, [Rename { kind: Kind::Sync, old: "paris-core".into(), new: "paris".into() }]);
    assert_eq!(renamed.definitions.syncs.len(), 1);
}

#[test]
fn a_prune_takes_what_is_not_declared_and_nobody_names() {
    let fleet = accepted(SYNCED).definitions;
    let own =
        |names: &[(Kind, &str)]| -> Prunable { names.iter().map(|(kind, name)| (*kind, (*name).to_owned())).collect() };
    let tools = declared("distributors: { hq: {} }");
    let pruned = own(&[(Kind::Sync, "paris-core"), (Kind::Distribution, "tools"), (Kind::Distributor, "hq")]);
    let left = validate_pruned(&tools, &fleet, &pruned).unwrap().definitions;
    assert!(left.syncs.is_empty() && !left.distributions.contains_key(&"tools".try_into().unwrap()));
    assert_eq!((left.distributors.len(), left.subscribers.len()), (1, 3), "declared, or not to be pruned");
    let errors = validate_pruned(&tools, &fleet, &own(&[(Kind::Subscriber, "paris")])).unwrap_err();
    assert_eq!((codes(&errors), errors[0].field.as_str()), (vec!["reference-unknown"], "syncs.paris-core.subscriber"));
}

#[test]
fn the_example_of_syncs_is_accepted_without_a_warning() {
    let text = include_str!("../../../../examples/syncs.yaml");
    let accepted = accepted(text);
    assert_eq!(accepted.warnings, []);
    assert_eq!(synced(&accepted.definitions, true).len(), 6);
}

fn scheduled(schedule: &str) -> String {
    SYNCED.replace("{ monthly: second tuesday, delay_days: 4, at: '02:00' }", schedule)
}

#[test]
fn a_sync_goes_by_any_kind_of_schedule() {
    for schedule in [
        "never",
        "immediately",
        "{ every: 4h, window: '20:00-05:00', stop_at_end: true }",
        "{ event: startup }",
        "{ event: shutdown }",
        "{ event: doors-open }",
        "{ after: oslo, delay: 30m }",
    ] {
        accepted(&scheduled(schedule));
    }
}

#[test]
fn a_sync_after_an_extraction_names_another_subscriber_that_receives_the_same() {
    let refused =
        |schedule: &str| codes(&validate(&declared(&scheduled(schedule)), &Definitions::default()).unwrap_err());
    assert_eq!(refused("{ after: paris }"), ["after-loop"]);
    assert_eq!(refused("{ after: bergen }"), ["reference-unknown"]);
    let warned = |text: &str| accepted(text).warnings.iter().any(|warning| warning.code == "after-never");
    assert!(!warned(&scheduled("{ after: oslo }")), "oslo receives av, which is core");
    assert!(warned(&scheduled("{ after: lyon }")), "lyon receives nothing");
    assert!(warned(&scheduled("{ after: oslo }").replace("[core]", "[hotfix]")));
}

#[test]
fn a_sync_after_an_extraction_follows_a_rename() {
    let before = accepted(&scheduled("{ after: oslo }")).definitions;
    let text = "subscribers: { bergen: { renamed_from: oslo, extract: immediately, variables: { VOL: /srv } } }";
    let after = serde_json::to_value(applied(text, &before).definitions).unwrap();
    assert_eq!(after["syncs"]["paris-core"]["schedule"]["after"], "bergen");
}
