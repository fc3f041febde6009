//! Who gets what, over whom, and what each site is told.

mod support;

use domain::routing::{RouteError, SourceNode, route, sources};
use domain::site::{channels_by_subscriber, children, other_targets, settings};
use domain::targets::{Why, targets};
use schemas::{Definitions, SubscriberName};
use support::accepted;

const TIERS: &str = "
hierarchies:
  world: { routes: { core: { eu: { fr: {} } } } }
distributors:
  hq: { routes: world }
  flat: {}
distributions:
  av: { distributor: hq, type: file, sources: [ { path: /a } ], target: /t/av, mode: mirror, build: never }
  os: { distributor: hq, type: file, sources: [ { path: /b } ], target: /t/os, mode: mirror, build: never, platforms: [linux] }
channels:
  main: { distributions: [av, os], send: never, subscriptions: [ paris, { group: all }, { group: off, active: false } ] }
groups:
  all: [fr, paris, shelf]
  off: [lyon]
subscribers:
  core: {}
  eu: {}
  fr: { extract: never, labels: { os: linux }, parent: stray }
  paris: { extract: never, parent: site, labels: { os: windows } }
  site: { parent: fr }
  lyon: { extract: never }
  shelf: { extract: never, parent: rack }
  rack: { parent: stray }
  stray: {}
";

fn name(text: &str) -> SubscriberName {
    text.try_into().unwrap()
}

fn hops(definitions: &Definitions, distributor: &str, subscriber: &str) -> Vec<String> {
    let route = route(definitions, &distributor.try_into().unwrap(), &name(subscriber)).unwrap();
    route.iter().map(ToString::to_string).collect()
}

#[test]
fn a_subscriber_in_the_hierarchy_is_reached_down_its_path_whatever_its_parent_says() {
    let tiers = accepted(TIERS).definitions;
    assert_eq!(hops(&tiers, "hq", "fr"), ["core", "eu", "fr"]);
    assert_eq!(hops(&tiers, "hq", "core"), ["core"]);
}

#[test]
fn else_its_parents_lead_up_to_the_first_in_the_hierarchy() {
    let tiers = accepted(TIERS).definitions;
    assert_eq!(hops(&tiers, "hq", "paris"), ["core", "eu", "fr", "site", "paris"]);
}

#[test]
fn else_it_is_reached_from_its_topmost_parent_and_with_none_directly() {
    let tiers = accepted(TIERS).definitions;
    assert_eq!(hops(&tiers, "hq", "shelf"), ["stray", "rack", "shelf"]);
    assert_eq!(hops(&tiers, "hq", "lyon"), ["lyon"]);
    assert_eq!(hops(&tiers, "flat", "fr"), ["stray", "fr"]);
    assert_eq!(hops(&tiers, "flat", "paris"), ["stray", "fr", "site", "paris"]);
}

#[test]
fn content_is_asked_for_from_the_nearest_relay_up_to_the_origin() {
    let tiers = accepted(TIERS).definitions;
    let relay = |text: &str| SourceNode::Relay(name(text));
    let hq = "hq".try_into().unwrap();
    assert_eq!(
        sources(&tiers, &hq, &name("paris")).unwrap(),
        [relay("site"), relay("fr"), relay("eu"), relay("core"), SourceNode::Origin]
    );
    assert_eq!(sources(&tiers, &hq, &name("lyon")).unwrap(), [SourceNode::Origin]);
}

#[test]
fn a_route_to_nobody_or_in_a_circle_ends_with_an_error() {
    let mut tiers = accepted(TIERS).definitions;
    let flat = "flat".try_into().unwrap();
    assert_eq!(route(&tiers, &"x".try_into().unwrap(), &name("fr")).unwrap_err().code(), "distributor-unknown");
    assert_eq!(route(&tiers, &flat, &name("nobody")).unwrap_err().code(), "subscriber-unknown");
    tiers.subscribers.get_mut(&name("stray")).unwrap().parent = Some(name("fr"));
    assert!(matches!(route(&tiers, &flat, &name("paris")), Err(RouteError::Loop { .. })));
    tiers.hierarchies.clear();
    assert_eq!(route(&tiers, &"hq".try_into().unwrap(), &name("fr")).unwrap_err().code(), "hierarchy-unknown");
}

fn why(definitions: &Definitions, distribution: &str, subscriber: &str) -> (bool, Why) {
    let found: Vec<_> = targets(definitions)
        .into_iter()
        .filter(|t| t.distribution.as_str() == distribution && t.subscriber.as_str() == subscriber)
        .collect();
    assert_eq!(found.len(), 1, "each target is listed once");
    (found[0].active, found[0].why.clone())
}

#[test]
fn targets_are_subscribers_and_members_of_groups_each_once() {
    let tiers = accepted(TIERS).definitions;
    assert_eq!(targets(&tiers).len(), 8);
    assert_eq!(why(&tiers, "av", "paris"), (true, Why::Subscribed));
    assert_eq!(why(&tiers, "av", "fr"), (true, Why::Group("all".try_into().unwrap())));
    assert_eq!(why(&tiers, "av", "lyon"), (false, Why::SubscriptionInactive));
}

#[test]
fn an_inactive_direct_subscription_wins_over_an_active_group() {
    let tiers = accepted(&TIERS.replace("[ paris,", "[ { subscriber: paris, active: false },")).definitions;
    assert_eq!(why(&tiers, "av", "paris"), (false, Why::SubscriptionInactive));
}

#[test]
fn an_active_group_wins_over_an_inactive_one() {
    let tiers = accepted(&TIERS.replace("off: [lyon]", "off: [lyon, fr]")).definitions;
    assert_eq!(why(&tiers, "av", "fr"), (true, Why::Group("all".try_into().unwrap())));
    let swapped = TIERS
        .replace("off: [lyon]", "off: [lyon, fr]")
        .replace("{ group: all }, { group: off, active: false }", "{ group: off, active: false }, { group: all }");
    assert!(why(&accepted(&swapped).definitions, "av", "fr").0);
}

#[test]
fn platforms_opt_outs_and_inactive_owners_leave_an_inactive_row() {
    let tiers = accepted(TIERS).definitions;
    assert!(why(&tiers, "os", "fr").0);
    assert_eq!(why(&tiers, "os", "paris"), (false, Why::PlatformDiffers { os: Some("windows".into()) }));
    assert_eq!(why(&tiers, "os", "shelf"), (false, Why::PlatformDiffers { os: None }));
    let opted = accepted(&TIERS.replace("parent: site,", "parent: site, opt_out: [av],")).definitions;
    assert_eq!(why(&opted, "av", "paris"), (false, Why::OptedOut));
    let off = accepted(&TIERS.replace("send: never,", "send: never, active: false,")).definitions;
    assert_eq!(why(&off, "av", "fr"), (false, Why::ChannelInactive));
    let off = accepted(&TIERS.replace("target: /t/av,", "target: /t/av, active: false,")).definitions;
    assert_eq!(why(&off, "av", "fr"), (false, Why::DistributionInactive));
}

#[test]
fn a_relay_consumes_the_channels_that_pass_through_it() {
    let tiers = accepted(TIERS).definitions;
    let channels = channels_by_subscriber(&tiers);
    for relay in ["core", "eu", "site", "rack", "stray"] {
        assert_eq!(channels[&name(relay)].len(), 1, "{relay}");
    }
    assert!(!channels_by_subscriber(&Definitions::default()).contains_key(&name("core")));
}

#[test]
fn settings_carry_the_effective_values() {
    let text = TIERS.replace("lyon: { extract: never }", "lyon: { extract: never, time_zone: Europe/Paris, variables: { Vol: /s }, connect_timeout: 90s, log: { level: warn } }");
    let tiers = accepted(&text).definitions;
    let lyon = settings(&tiers, &name("lyon"), 7).unwrap();
    assert_eq!((lyon.version, lyon.time_zone.as_str(), lyon.connect_timeout_s), (7, "Europe/Paris", 90));
    assert_eq!(lyon.variables.into_iter().collect::<Vec<_>>(), [("VOL".to_owned(), "/s".to_owned())]);
    assert_eq!((lyon.log_level.as_deref(), lyon.channels.len()), (Some("warn"), 1));
    let core = settings(&tiers, &name("core"), 1).unwrap();
    assert_eq!((core.time_zone.as_str(), core.connect_timeout_s), ("UTC", 300));
    assert_eq!(settings(&tiers, &name("nobody"), 1), None);
}

#[test]
fn everyone_below_a_relay_may_fetch_from_it() {
    let tiers = accepted(TIERS).definitions;
    let below = |relay: &str| children(&tiers, &name(relay)).iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(below("eu"), ["fr", "paris", "site"]);
    assert_eq!(below("site"), ["paris"]);
    assert_eq!(below("stray"), ["fr", "paris", "rack", "shelf", "site"]);
    assert!(below("paris").is_empty());
}

#[test]
fn a_site_is_told_its_other_targets() {
    let tiers = accepted(TIERS).definitions;
    let others = other_targets(&tiers, &name("fr"), &"av".try_into().unwrap());
    assert_eq!(others.into_iter().collect::<Vec<_>>(), [("os".try_into().unwrap(), "/t/os".to_owned())]);
}

#[test]
fn a_thousand_sites_are_read_judged_and_told_in_one_go() {
    let regions: String = (0..20).map(|r| format!("  r{r}: {{}}\n")).collect();
    let site =
        |n: usize| format!("  s{n}: {{ parent: r{}, extract: immediately, variables: {{ VOL: /srv }} }}\n", n % 20);
    let sites: String = (0..1_000).map(site).collect();
    let members: Vec<_> = (0..1_000).map(|n| format!("s{n}")).collect();
    let text = format!(
        "distributors: {{ hq: {{}} }}\ndistributions:\n  av: {{ distributor: hq, type: file, sources: [ {{ path: /a }} ], \
         target: '%VOL%/a', mode: mirror, build: never }}\nchannels: {{ c: {{ distributions: [av], send: never, \
         subscriptions: [ {{ group: all }} ] }} }}\ngroups: {{ all: [{}] }}\nsubscribers:\n{regions}{sites}",
        members.join(", ")
    );
    let fleet = accepted(&text).definitions;
    assert_eq!(targets(&fleet).iter().filter(|target| target.active).count(), 1_000);
    assert_eq!(channels_by_subscriber(&fleet).len(), 1_020);
    assert_eq!(children(&fleet, &name("r0")).len(), 50);
}
