//! Definitions that are well-formed one by one and make no sense together, or make new sense of what exists.

mod support;

use domain::definitions::{DeleteError, Origin, Rename, delete, describe, object, parse, references, validate};
use schemas::Definitions;
use schemas::name::Kind;
use support::{FLEET, accepted, applied, codes, declared, listed, on_fleet};

/// Expects one error, and gives its line as a person reads it.
fn refused(text: &str, code: &str) -> String {
    let errors = on_fleet(text).err().unwrap_or_else(|| panic!("accepted: {text}"));
    assert!(codes(&errors).contains(&code), "{text}\nexpected {code}, got:\n{}", listed(&errors));
    errors.iter().find(|error| error.code == code).unwrap().to_string()
}

const AV: &str = "{ distributor: hq, type: file, sources: [ { path: /srv/x } ], mode: mirror, build: never, target: ";

#[test]
fn hello_yaml_is_read_and_accepted_without_a_warning() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../examples/hello.yaml");
    let text = std::fs::read_to_string(path).unwrap();
    let declared = parse(&[("hello.yaml".to_owned(), text)]).unwrap_or_else(|e| panic!("{}", listed(&e)));
    let accepted = validate(&declared, &Definitions::default()).unwrap_or_else(|e| panic!("{}", listed(&e)));
    assert_eq!(accepted.definitions, declared.definitions);
    assert_eq!(accepted.warnings, []);
    assert_eq!(domain::targets::targets(&accepted.definitions).iter().filter(|target| target.active).count(), 3);
}

#[test]
fn the_same_definitions_applied_twice_change_nothing() {
    let once = accepted(FLEET);
    let twice = applied(FLEET, &once.definitions);
    assert_eq!((once.definitions, vec![]), (twice.definitions, twice.renames));
}

#[test]
fn what_is_declared_is_joined_with_what_exists() {
    let grown = on_fleet("subscribers:\n  lyon: { parent: region, extract: never }\n").unwrap();
    assert_eq!(grown.definitions.subscribers.len(), 3);
    assert!(grown.definitions.channels.contains_key(&"protect".try_into().unwrap()));
}

#[test]
fn a_reference_to_nothing_is_refused_with_its_field() {
    for (text, field) in [
        ("subscribers: { a: { parent: nobody } }", "subscribers.a.parent"),
        ("subscribers: { a: { opt_out: [nothing] } }", "subscribers.a.opt_out[0]"),
        ("groups: { g: [nobody] }", "groups.g[0]"),
        ("groups: { g: { members: [nobody] } }", "groups.g.members[0]"),
        ("channels: { c: { distributions: [nothing], send: never } }", "channels.c.distributions[0]"),
        ("channels: { c: { distributions: [], send: never, subscriptions: [nobody] } }", "channels.c.subscriptions[0]"),
        (
            "channels: { c: { distributions: [], send: never, subscriptions: [ { group: none } ] } }",
            "channels.c.subscriptions[0]",
        ),
        ("distributors: { d: { routes: nowhere } }", "distributors.d.routes"),
        ("distributors: { d: { routes: { paris: { nobody: {} } } } }", "distributors.d.routes.paris.nobody"),
        ("hierarchies: { h: { routes: { nobody: {} } } }", "hierarchies.h.routes.nobody"),
    ] {
        let error = refused(text, "reference-unknown");
        assert!(error.starts_with(&format!("test.yaml:1: {field}: there is no ")), "{error}");
    }
    let other = format!("distributions: {{ b: {} /srv/b }} }}", AV.replace("hq", "qh"));
    assert!(refused(&other, "reference-unknown").contains("there is no distributor `qh`; did you mean `hq`?"));
}

#[test]
fn a_loop_of_parents_is_refused_once_and_told_in_order() {
    let text = "subscribers:\n  a: { parent: b }\n  b: { parent: c }\n  c: { parent: a }\n  d: { parent: a }\n";
    let errors = on_fleet(text).unwrap_err();
    assert_eq!(codes(&errors), ["parent-loop"]);
    assert!(errors[0].message.contains("a -> b -> c -> a"), "{}", errors[0]);
    assert!(refused("subscribers: { a: { parent: a } }", "parent-loop").contains("a -> a"));
    let through_existing = "subscribers: { region: { parent: paris } }";
    assert!(refused(through_existing, "parent-loop").contains("paris -> region -> paris"));
}

#[test]
fn extractions_that_wait_for_each_other_are_refused_once_and_told_in_order() {
    let text = "subscribers:\n  a: { extract: { after: b } }\n  b: { extract: { after: c } }\n  c: { extract: { after: a } }\n  \
                d: { extract: { after: a } }\n";
    let errors = on_fleet(text).unwrap_err();
    assert_eq!(codes(&errors), ["after-loop"]);
    assert!(errors[0].message.contains("a -> b -> c -> a"), "{}", errors[0]);
    assert!(refused("subscribers: { a: { extract: { after: a } } }", "after-loop").contains("a -> a"));
    let through_existing =
        "subscribers: { region: { extract: { after: paris } }, paris: { extract: { after: region } } }";
    assert!(refused(through_existing, "after-loop").contains("paris -> region -> paris"));
    assert!(on_fleet("subscribers: { a: { extract: { after: b } }, b: { extract: { after: paris } } }").is_ok());
}

#[test]
fn what_an_extraction_comes_after_exists_and_keeps_existing() {
    let error = refused("subscribers: { a: { extract: { after: pariss } } }", "reference-unknown");
    assert!(error.contains("did you mean `paris`?"), "{error}");
    let after = on_fleet("subscribers: { a: { extract: { after: paris } } }").unwrap().definitions;
    let named: Vec<String> = references(Kind::Subscriber, "paris", &after).iter().map(ToString::to_string).collect();
    assert!(named.contains(&"subscribers.a.extract.after".to_owned()), "{named:?}");
    let renamed = applied("subscribers: { lutetia: { renamed_from: paris, extract: never } }", &after).definitions;
    let a = serde_json::to_value(&renamed.subscribers[&"a".try_into().unwrap()]).unwrap();
    assert_eq!(a["extract"]["after"], "lutetia");
}

#[test]
fn an_extraction_after_one_that_never_comes_is_warned_of() {
    let text = "subscribers: { lyon: { extract: { after: region }, variables: { VOL: /srv } } }
channels: { protect: { distributions: [av], send: immediately, subscriptions: [paris, lyon] } }";
    let warned = on_fleet(text).unwrap().warnings;
    let found = warned.iter().find(|warning| warning.code == "after-never").unwrap_or_else(|| panic!("{warned:?}"));
    assert!(found.to_string().contains("`lyon` never extracts av"), "{found}");
    let sound = on_fleet(&text.replace("after: region", "after: paris")).unwrap().warnings;
    assert!(sound.iter().all(|warning| warning.code != "after-never"), "{sound:?}");
}

#[test]
fn a_schedule_that_nobody_would_heed_where_it_stands_is_refused() {
    let window = "{ daily: all, window: '20:00-05:00', stop_at_end: true }";
    for (text, code, field) in [
        (
            "distributors: { d: { refresh: { after: paris } } }".to_owned(),
            "schedule-kind-unfit",
            "distributors.d.refresh.after",
        ),
        (
            format!("distributors: {{ d: {{ refresh: {window} }} }}"),
            "schedule-option-unfit",
            "distributors.d.refresh.stop_at_end",
        ),
        (
            format!("distributions: {{ b: {} /srv/b }} }}", AV.replace("build: never", "build: { after: paris }")),
            "schedule-kind-unfit",
            "distributions.b.build.after",
        ),
        (
            format!("distributions: {{ b: {} /srv/b }} }}", AV.replace("build: never", &format!("build: {window}"))),
            "schedule-option-unfit",
            "distributions.b.build.stop_at_end",
        ),
        (
            "channels: { c: { distributions: [av], send: { after: paris } } }".to_owned(),
            "schedule-kind-unfit",
            "channels.c.send.after",
        ),
    ] {
        let error = refused(&text, code);
        assert!(error.contains(field), "{text}: {error}");
    }
    assert!(on_fleet(&format!("channels: {{ c: {{ distributions: [av], send: {window} }} }}")).is_ok());
    assert!(on_fleet(&format!("subscribers: {{ a: {{ extract: {window} }} }}")).is_ok());
}

#[test]
fn a_subscriber_stands_once_in_a_hierarchy() {
    let text = "hierarchies:\n  h:\n    routes:\n      region: { paris: {} }\n      paris: {}\n";
    let error = refused(text, "hierarchy-doubled");
    assert!(error.contains("`paris` stands in this hierarchy already"), "{error}");
    assert!(on_fleet("hierarchies: { h: { routes: { region: { paris: {} } } } }").is_ok());
}

#[test]
fn nobody_waits_for_a_schedule_that_is_not_there() {
    let build = format!("distributions: {{ b: {} /srv/b }} }}", AV.replace("build: never, ", ""));
    assert!(refused(&build, "schedule-missing").contains("distributions.b: `build` is missing"));
    let send = "channels: { c: { distributions: [] } }";
    assert!(refused(send, "schedule-missing").contains("channels.c: `send` is missing"));
    let extract =
        "subscribers: { lyon: {} }\nchannels: { c: { distributions: [av], send: never, subscriptions: [lyon] } }";
    assert!(refused(extract, "schedule-missing").contains("subscribers.lyon: `extract` is missing"));
    assert!(on_fleet("subscribers: { lyon: {} }").is_ok(), "a subscriber that receives nothing needs no schedule");
}

#[test]
fn a_revision_goes_before_the_next_one_comes_only_where_one_is_kept() {
    let text = |rest: &str| format!("distributions: {{ b: {AV} /srv/b, delete_before_receive: true{rest} }} }}");
    assert!(refused(&text(""), "value-invalid").contains("`max_revisions: 10`"));
    assert!(refused(&text(", max_revisions: 2"), "value-invalid").contains("set `max_revisions: 1`"));
    assert!(on_fleet(&text(", max_revisions: 1, max_age: 90d")).is_ok());
}

#[test]
fn a_channel_of_distributors_in_different_zones_needs_its_own() {
    let text = format!(
        "distributors: {{ tk: {{ time_zone: Asia/Tokyo }} }}\ndistributions: {{ b: {} /srv/b }} }}\n\
         channels: {{ c: {{ distributions: [av, b], send: never }} }}",
        AV.replace("hq", "tk")
    );
    assert!(refused(&text, "time-zone-required").contains("tk in Asia/Tokyo, hq in UTC"));
    let own = text.replace("send: never", "send: never, time_zone: Asia/Tokyo");
    assert!(on_fleet(&own).is_ok());
}

#[test]
fn equal_and_nested_targets_at_one_subscriber_are_refused() {
    let with = |target: &str| {
        format!(
            "distributions: {{ b: {AV} '{target}' }} }}\n\
             channels: {{ c: {{ distributions: [b], send: never, subscriptions: [paris] }} }}"
        )
    };
    for target in ["%VOL%/av", "/srv/av", "/srv/av/", "/srv//av/deep/er", "%vol%", "/srv"] {
        let error = refused(&with(target), "targets-overlap");
        assert!(error.contains("at subscriber `paris`"), "{error}");
    }
    for target in ["/srv/av2", "%BASE_PATH%/av", "%VOL%/b"] {
        assert!(on_fleet(&with(target)).is_ok(), "{target}");
    }
    let unsubscribed = with("/srv/av").replace("subscriptions: [paris]", "subscriptions: []");
    assert!(on_fleet(&unsubscribed).is_ok(), "targets of different subscribers may be the same");
}

#[test]
fn all_that_lies_in_a_target_is_told() {
    let text = format!(
        "distributions: {{ b: {AV} /srv }}, c: {AV} /srv/a }}, d: {AV} /srv/b }} }}\n\
         channels: {{ c: {{ distributions: [b, c, d], send: never, subscriptions: [paris] }} }}"
    );
    let errors = on_fleet(&text).unwrap_err();
    assert_eq!(codes(&errors), ["targets-overlap"; 3], "{}", listed(&errors));
}

#[test]
fn variables_that_make_no_sound_path_are_refused() {
    for (value, code) in [("srv", "path-invalid"), ("/srv/../..", "path-invalid"), ("%VOL2%", "path-invalid")] {
        let text = format!(
            "subscribers: {{ lyon: {{ extract: never, variables: {{ VOL: '{value}', VOL2: x }} }} }}\n\
             channels: {{ c: {{ distributions: [av], send: never, subscriptions: [lyon] }} }}"
        );
        assert!(refused(&text, code).contains("at subscriber `lyon` it is"), "{value}");
    }
}

#[test]
fn a_variable_that_only_the_site_could_know_is_a_warning() {
    let text = "subscribers: { lyon: { extract: never } }\n\
                channels: { c: { distributions: [av], send: never, subscriptions: [lyon] } }";
    let warnings = on_fleet(text).unwrap().warnings;
    assert_eq!(warnings.len(), 1);
    assert_eq!(warnings[0].code, "unknown-variable");
    assert!(warnings[0].to_string().contains("`%VOL%` is not known at subscriber `lyon`"), "{}", warnings[0]);
    let empty = on_fleet("channels: { c: { distributions: [av], send: never } }").unwrap().warnings;
    assert_eq!((empty[0].code, empty[0].line), ("channel-empty", 1));
}

#[test]
fn one_subscription_in_two_spellings_is_refused() {
    let text = "channels: { c: { distributions: [av], send: never, subscriptions: [ paris, { subscriber: paris, active: false } ] } }";
    assert!(refused(text, "listed-twice").contains("channels.c.subscriptions[1]"));
}

#[test]
fn a_rename_is_carried_into_every_reference_and_done_once() {
    let text =
        "subscribers:\n  lutetia: { renamed_from: paris, parent: region, extract: never, variables: { VOL: /srv } }\n";
    let renamed = on_fleet(text).unwrap();
    assert_eq!(renamed.renames, [Rename { kind: Kind::Subscriber, old: "paris".into(), new: "lutetia".into() }]);
    let fields: Vec<_> =
        references(Kind::Subscriber, "lutetia", &renamed.definitions).iter().map(ToString::to_string).collect();
    assert_eq!(fields, ["distributors.hq.routes.region.lutetia", "channels.protect.subscriptions[0]"]);
    assert_eq!(references(Kind::Subscriber, "paris", &renamed.definitions), []);

    let again = applied(text, &renamed.definitions);
    assert_eq!((again.renames, again.definitions), (vec![], renamed.definitions));
}

#[test]
fn every_kind_can_be_renamed() {
    let all = accepted(&format!(
        "{FLEET}hierarchies: {{ eu: {{ routes: {{ region: {{}} }} }} }}\ngroups: {{ g: {{ members: [paris] }} }}\n"
    ));
    let text = "
distributors: { main: { renamed_from: hq, routes: europe } }
hierarchies: { europe: { renamed_from: eu, routes: { region: {} } } }
distributions:
  virus: { renamed_from: av, distributor: main, type: file, sources: [ { path: /srv/av } ], target: /x, mode: mirror, build: never }
channels: { guard: { renamed_from: protect, distributions: [virus], send: never, subscriptions: [ { group: h } ] } }
groups: { h: { renamed_from: g, members: [paris] } }
subscribers: { zone: { renamed_from: region } }
";
    let renamed = applied(&text.replace("region: {} }", "zone: {} }"), &all.definitions);
    let kinds: Vec<_> = renamed.renames.iter().map(|rename| rename.kind).collect();
    use Kind::*;
    assert_eq!(kinds, [Distributor, Hierarchy, Distribution, Channel, Group, Subscriber]);
    assert_eq!(renamed.definitions.subscribers.len(), 2);
    assert!(object(Group, "h", &renamed.definitions).unwrap().get("renamed_from").is_none());
}

#[test]
fn a_rename_that_cannot_be_is_refused() {
    let s = |name: &str, old: &str| format!("  {name}: {{ renamed_from: {old}, extract: never }}\n");
    for text in [
        format!("subscribers:\n{}", s("x", "nobody")),
        format!("subscribers:\n{}{}", s("x", "paris"), s("y", "paris")),
        format!("subscribers:\n{}  paris: {{ extract: never }}\n", s("x", "paris")),
        format!("subscribers:\n{}", s("region", "paris")),
    ] {
        refused(&text, "rename-invalid");
    }
    let stale = format!("subscribers:\n{}  z: {{ parent: paris }}\n", s("x", "paris"));
    assert!(refused(&stale, "reference-unknown").ends_with("it is called `x` now"));
}

#[test]
fn deleting_what_others_name_is_refused_with_the_list() {
    let fleet = accepted(FLEET).definitions;
    let error = delete(Kind::Subscriber, "paris", &fleet).unwrap_err();
    assert_eq!(error.code(), "object-referred");
    assert_eq!(
        error.to_string(),
        "subscriber `paris` is named by distributors.hq.routes.region.paris, channels.protect.subscriptions[0]; \
         take it out there first"
    );
    assert!(matches!(delete(Kind::Group, "none\u{1b}", &fleet), Err(DeleteError::Unknown { .. })));
    let without = delete(Kind::Channel, "protect", &fleet).unwrap();
    assert!(without.channels.is_empty() && delete(Kind::Distribution, "av", &without).is_ok());
}

#[test]
fn describe_shows_each_value_and_where_it_came_from() {
    let fleet =
        accepted(&FLEET.replace("extract: immediately", "extract: { every: 10m }, limits: { rate_in: 5 }")).definitions;
    let paris = describe(Kind::Subscriber, "paris", &fleet).unwrap();
    let told: Vec<_> = paris.fields.iter().map(|f| format!("{} = {} ({})", f.path, f.value, f.origin)).collect();
    assert_eq!(
        told,
        [
            "parent = region (declared)",
            "working_dir = /var/lib/tidegate/sub (default)",
            "variables.VOL = /srv (declared)",
            "extract = every: 10m (declared)",
            "time_zone = UTC (default)",
            "limits.rate_in = 5 (declared)",
            "limits.rate_out.high = unlimited (default)",
            "limits.rate_out.medium = unlimited (default)",
            "limits.rate_out.low = unlimited (default)",
            "limits.concurrent_relays = unlimited (default)",
            "connect_timeout = 5m (default)",
        ]
    );
    assert_eq!(paris.referred_by.len(), 2);

    let of = |kind, name, path: &str| {
        let described = describe(kind, name, &fleet).unwrap();
        described.fields.into_iter().find(|field| field.path == path).map(|field| (field.value, field.origin)).unwrap()
    };
    assert_eq!(of(Kind::Distributor, "hq", "routes"), ("region: {paris}".into(), Origin::Declared));
    assert_eq!(of(Kind::Distributor, "hq", "refresh"), ("immediately".into(), Origin::Default));
    assert_eq!(of(Kind::Distribution, "av", "max_revisions"), ("10".into(), Origin::Default));
    assert_eq!(of(Kind::Distribution, "av", "sources[0].path"), ("/srv/av".into(), Origin::Declared));
    assert_eq!(of(Kind::Channel, "protect", "time_zone"), ("UTC".into(), Origin::Default));
    assert!(describe(Kind::Subscriber, "nobody", &fleet).is_none());
}

#[test]
fn an_object_in_effect_that_would_break_is_named_without_a_file() {
    let mut broken = accepted(FLEET).definitions;
    broken.subscribers.remove(&"paris".try_into().unwrap());
    let errors = validate(&declared("{}"), &broken).unwrap_err();
    assert_eq!(codes(&errors), ["reference-unknown"; 2]);
    assert!(errors[0].to_string().starts_with("in effect: channels.protect.subscriptions[0]: "), "{}", errors[0]);
}
