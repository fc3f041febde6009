//! What each kind of object may hold: the tables that checking, messages and `describe` read.
//! A test holds them against the published JSON Schema, so that neither forgets a field of the other.

use schemas::name::Kind;

use super::limits::*;

/// What a value must look like.
#[derive(Debug, Clone, Copy)]
pub(super) enum Shape {
    /// Free text of at most so many characters.
    Text(usize),
    Name,
    /// A component or platform: a name's letters, and `.` and `_`.
    Tag,
    /// A component, or `all`.
    Component,
    /// One of the words; the second list comes with a later version.
    Word(&'static [&'static str], &'static [&'static str]),
    Flag,
    Whole {
        min: u64,
        max: u64,
        unit: &'static str,
    },
    /// A length of time between so many seconds.
    Span {
        min_s: u64,
        max_s: u64,
    },
    Schedule,
    Zone,
    Glob,
    Path(PathRule),
    Labels,
    Variables,
    Tree,
    /// A name or a tree.
    Routes,
    Subscription,
    /// A list of members, or an object.
    Group,
    List {
        of: &'static Shape,
        min: usize,
        max: usize,
    },
    Object(&'static Object),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PathRule {
    /// Begins with `/`.
    Absolute,
    /// Begins with `/` or a variable.
    AbsoluteOrVariable,
    /// The same, and never `/` itself.
    Target,
    /// Within a revision.
    Relative,
}

#[derive(Debug)]
pub(super) struct Object {
    pub fields: &'static [Field],
    /// Known by name, refused in this version.
    pub later: &'static [&'static str],
}

#[derive(Debug)]
pub(super) struct Field {
    pub name: &'static str,
    pub shape: Shape,
    pub required: bool,
    /// What holds where it is left out, as `describe` shows it.
    pub default: Option<&'static str>,
}

/// A section of a definitions file.
#[derive(Debug)]
pub(super) struct Section {
    pub kind: Kind,
    pub of: Shape,
    /// Names that something else has already.
    pub reserved: &'static [(&'static str, &'static str)],
}

pub(super) const SECTIONS: [Section; 7] = [
    Section { kind: Kind::Distributor, of: Shape::Object(&DISTRIBUTOR), reserved: &[] },
    Section { kind: Kind::Hierarchy, of: Shape::Object(&HIERARCHY), reserved: &[] },
    Section { kind: Kind::Distribution, of: Shape::Object(&DISTRIBUTION), reserved: &[] },
    Section {
        kind: Kind::Channel,
        of: Shape::Object(&CHANNEL),
        reserved: &[
            ("control", "the queue `tidegate.site.<subscriber>.control` carries what reaches a site beside its jobs"),
            ("sync", "the lane `sync` carries what a sync sends"),
        ],
    },
    Section { kind: Kind::Group, of: Shape::Group, reserved: &[] },
    Section {
        kind: Kind::Subscriber,
        of: Shape::Object(&SUBSCRIBER),
        reserved: &[("origin", "results name the bucket that builders write to `origin`")],
    },
    Section { kind: Kind::Sync, of: Shape::Object(&SYNC), reserved: &[] },
];

pub(super) const SECTIONS_LATER: [&str; 2] = ["policies", "rollouts"];

pub(super) const fn section(kind: Kind) -> Option<&'static Section> {
    match kind {
        Kind::Distributor => Some(&SECTIONS[0]),
        Kind::Hierarchy => Some(&SECTIONS[1]),
        Kind::Distribution => Some(&SECTIONS[2]),
        Kind::Channel => Some(&SECTIONS[3]),
        Kind::Group => Some(&SECTIONS[4]),
        Kind::Subscriber => Some(&SECTIONS[5]),
        Kind::Sync => Some(&SECTIONS[6]),
    }
}

/// The fields that an object of the kind is described by.
pub(super) fn object(kind: Kind) -> Option<&'static Object> {
    match section(kind)?.of {
        Shape::Object(object) => Some(object),
        Shape::Group => Some(&GROUP),
        _ => None,
    }
}

const fn field(name: &'static str, shape: Shape) -> Field {
    Field { name, shape, required: false, default: None }
}

const fn required(name: &'static str, shape: Shape) -> Field {
    Field { name, shape, required: true, default: None }
}

const fn or(name: &'static str, shape: Shape, default: &'static str) -> Field {
    Field { name, shape, required: false, default: Some(default) }
}

const fn whole(min: u64, max: u64, unit: &'static str) -> Shape {
    Shape::Whole { min, max, unit }
}

const TITLE: Field = field("title", Shape::Text(TITLE_CHARS_MAX));
const LABELS: Field = field("labels", Shape::Labels);
const RENAMED_FROM: Field = field("renamed_from", Shape::Name);
const RATE: Shape = whole(1, RATE_MAX, "bytes per second");
const CONCURRENT: Shape = whole(1, CONCURRENCY_MAX, "at a time");
const LEVEL: Shape = Shape::Word(&["error", "warn", "info", "debug", "trace"], &[]);
const UNLIMITED: &str = "unlimited";

static RATES: Object = Object {
    fields: &[or("high", RATE, UNLIMITED), or("medium", RATE, UNLIMITED), or("low", RATE, UNLIMITED)],
    later: &[],
};

static DISTRIBUTOR: Object = Object {
    fields: &[
        TITLE,
        LABELS,
        RENAMED_FROM,
        or("time_zone", Shape::Zone, crate::effective::TIME_ZONE),
        or("refresh", Shape::Schedule, "immediately"),
        or("working_dir", Shape::Path(PathRule::Absolute), crate::effective::DIST_WORKING_DIR),
        field("limits", Shape::Object(&DISTRIBUTOR_LIMITS)),
        field("routes", Shape::Routes),
    ],
    later: &[],
};

static DISTRIBUTOR_LIMITS: Object = Object {
    fields: &[
        or("concurrent_builds", CONCURRENT, UNLIMITED),
        or("concurrent_sends", CONCURRENT, UNLIMITED),
        field("rate", Shape::Object(&RATES)),
    ],
    later: &[],
};

static HIERARCHY: Object =
    Object { fields: &[TITLE, LABELS, RENAMED_FROM, required("routes", Shape::Tree)], later: &[] };

static DISTRIBUTION: Object = Object {
    fields: &[
        TITLE,
        LABELS,
        RENAMED_FROM,
        required("distributor", Shape::Name),
        required("type", Shape::Word(&["file"], &["http", "ftp", "rpm", "msi", "policy", "software", "desktop"])),
        required("sources", Shape::List { of: &Shape::Object(&SOURCE), min: 1, max: SOURCES_MAX }),
        required("target", Shape::Path(PathRule::Target)),
        required("mode", Shape::Word(&["mirror", "merge"], &[])),
        field("build", Shape::Schedule),
        or("send_after_build", Shape::Flag, "false"),
        or("priority", Shape::Word(&["high", "medium", "low"], &[]), "medium"),
        or("max_revisions", whole(1, REVISIONS_MAX, "revisions"), "10"),
        field("max_age", Shape::Span { min_s: AGE_S_MIN, max_s: AGE_S_MAX }),
        or("delete_before_receive", Shape::Flag, "false"),
        or("encryption", Shape::Word(&["none"], &["age"]), "none"),
        or("active", Shape::Flag, "true"),
        or("freeze_build", Shape::Flag, "false"),
        field("component", Shape::Tag),
        or("platforms", Shape::List { of: &Shape::Tag, min: 0, max: PLATFORMS_MAX }, "all"),
        or("adopt", Shape::Flag, "false"),
        field(
            "allow",
            Shape::List {
                of: &Shape::Word(&["link-out", "set-id", "security-attributes", "expansion"], &[]),
                min: 0,
                max: 4,
            },
        ),
        field("keep", Shape::List { of: &Shape::Word(&["owners", "xattrs", "acls", "security"], &[]), min: 0, max: 4 }),
        or("unchanged", Shape::Word(&["link", "reflink", "copy"], &[]), "link"),
    ],
    later: &[],
};

static SOURCE: Object = Object {
    fields: &[
        required("path", Shape::Path(PathRule::Absolute)),
        field("subscriber", Shape::Name),
        field("into", Shape::Path(PathRule::Relative)),
        or("include", Shape::List { of: &Shape::Glob, min: 0, max: GLOBS_MAX }, "everything"),
        field("exclude", Shape::List { of: &Shape::Glob, min: 0, max: GLOBS_MAX }),
    ],
    later: &["url", "s3", "git", "deb", "oci"],
};

static CHANNEL: Object = Object {
    fields: &[
        TITLE,
        LABELS,
        RENAMED_FROM,
        required("distributions", Shape::List { of: &Shape::Name, min: 0, max: OBJECTS_MAX }),
        field("send", Shape::Schedule),
        or("active", Shape::Flag, "true"),
        field("time_zone", Shape::Zone),
        field("subscriptions", Shape::List { of: &Shape::Subscription, min: 0, max: OBJECTS_MAX }),
    ],
    later: &["rollout"],
};

pub(super) static SUBSCRIBER_SUBSCRIPTION: Object =
    Object { fields: &[required("subscriber", Shape::Name), field("active", Shape::Flag)], later: &[] };
pub(super) static GROUP_SUBSCRIPTION: Object =
    Object { fields: &[required("group", Shape::Name), field("active", Shape::Flag)], later: &[] };

pub(super) static GROUP: Object =
    Object { fields: &[TITLE, LABELS, RENAMED_FROM, required("members", MEMBERS)], later: &[] };
pub(super) const MEMBERS: Shape = Shape::List { of: &Shape::Name, min: 0, max: OBJECTS_MAX };

static SUBSCRIBER: Object = Object {
    fields: &[
        TITLE,
        LABELS,
        RENAMED_FROM,
        field("parent", Shape::Name),
        field("lan", Shape::Text(TITLE_CHARS_MAX)),
        field("link_speed", whole(1, RATE_MAX, "bits per second")),
        or("working_dir", Shape::Path(PathRule::AbsoluteOrVariable), crate::effective::SUB_WORKING_DIR),
        field("log", Shape::Object(&LOG)),
        field("console_level", LEVEL),
        field("variables", Shape::Variables),
        field("extract", Shape::Schedule),
        or("time_zone", Shape::Zone, crate::effective::TIME_ZONE),
        field("limits", Shape::Object(&SUBSCRIBER_LIMITS)),
        or("connect_timeout", Shape::Span { min_s: 1, max_s: CONNECT_TIMEOUT_S_MAX }, "5m"),
        field("opt_out", Shape::List { of: &Shape::Name, min: 0, max: OBJECTS_MAX }),
    ],
    later: &["external", "via"],
};

static LOG: Object =
    Object { fields: &[field("level", LEVEL), field("path", Shape::Path(PathRule::AbsoluteOrVariable))], later: &[] };

static SUBSCRIBER_LIMITS: Object = Object {
    fields: &[
        or("rate_in", RATE, UNLIMITED),
        field("rate_out", Shape::Object(&RATES)),
        or("concurrent_relays", CONCURRENT, UNLIMITED),
        field("free_space_floor", whole(0, FREE_SPACE_BYTES_MAX, "bytes")),
    ],
    later: &[],
};

static SYNC: Object = Object {
    fields: &[
        TITLE,
        LABELS,
        RENAMED_FROM,
        required("subscriber", Shape::Name),
        required("components", Shape::List { of: &Shape::Component, min: 1, max: COMPONENTS_MAX }),
        required("schedule", Shape::Schedule),
    ],
    later: &[],
};

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;

    fn schema() -> Value {
        let found = schemas::published().into_iter().find(|(name, _)| *name == "definitions.schema.json");
        found.unwrap().1["definitions"].take()
    }

    fn words<'a>(list: impl IntoIterator<Item = &'a Value>) -> BTreeSet<&'a str> {
        list.into_iter().filter_map(Value::as_str).collect()
    }

    /// The words that a property's type takes, wherever the schema has them.
    fn words_of<'a>(types: &'a Value, property: &'a Value) -> BTreeSet<&'a str> {
        let refers = property.get("$ref").and_then(Value::as_str).map(|r| &types[r.rsplit('/').next().unwrap()]);
        let lists = ["anyOf", "allOf", "oneOf"].into_iter().filter_map(|key| property[key].as_array()).flatten();
        let own = words(property["enum"].as_array().into_iter().flatten().chain(property.get("const")));
        lists.chain(refers).flat_map(|inner| words_of(types, inner)).chain(own).collect()
    }

    #[test]
    fn the_tables_and_the_types_know_the_same_fields_and_words() {
        let types = schema();
        for (name, table) in [
            ("Distributor", &DISTRIBUTOR),
            ("DistributorLimits", &DISTRIBUTOR_LIMITS),
            ("RatesByPriority", &RATES),
            ("Hierarchy", &HIERARCHY),
            ("Distribution", &DISTRIBUTION),
            ("FileSource", &SOURCE),
            ("Channel", &CHANNEL),
            ("SubscriberSubscription", &SUBSCRIBER_SUBSCRIPTION),
            ("GroupSubscription", &GROUP_SUBSCRIPTION),
            ("GroupBody", &GROUP),
            ("Subscriber", &SUBSCRIBER),
            ("LogSettings", &LOG),
            ("SubscriberLimits", &SUBSCRIBER_LIMITS),
            ("Sync", &SYNC),
        ] {
            let properties = types[name]["properties"].as_object().unwrap();
            let typed: BTreeSet<_> = properties.keys().map(String::as_str).collect();
            let tabled: BTreeSet<_> = table.fields.iter().map(|field| field.name).collect();
            assert_eq!(tabled, typed, "{name}");
            let required: BTreeSet<_> = table.fields.iter().filter(|f| f.required).map(|f| f.name).collect();
            assert_eq!(required, words(types[name]["required"].as_array().into_iter().flatten()), "{name}");
            for field in table.fields {
                if let Shape::Word(known, _) = field.shape {
                    let known: BTreeSet<_> = known.iter().copied().collect();
                    assert_eq!(known, words_of(&types, &properties[field.name]), "{name}.{}", field.name);
                }
            }
        }
    }

    #[test]
    fn the_defaults_that_are_shown_are_those_of_the_types() {
        let fleet = "{ distributor: d, type: file, sources: [], target: /t, mode: merge }";
        let fleet = format!("distributions: {{ x: {} }}", fleet.replace("[]", "[ { path: /a } ]"));
        let declared = crate::definitions::parse(&[("a.yaml".into(), fleet)]).unwrap().definitions;
        let value = crate::definitions::object(Kind::Distribution, "x", &declared).unwrap();
        for field in DISTRIBUTION.fields.iter().filter(|f| f.default.is_some() && f.name != "platforms") {
            let typed = &value[field.name];
            let shown = typed.as_str().map_or_else(|| typed.to_string(), str::to_owned);
            assert_eq!(field.default, Some(shown.as_str()), "{}", field.name);
        }
        assert_eq!("5m".parse::<schemas::Span>().unwrap().as_secs(), u64::from(crate::effective::CONNECT_TIMEOUT_S));
    }
}
