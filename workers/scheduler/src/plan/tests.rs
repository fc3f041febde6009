//! What is planned, for one fleet and many states of it.

use std::collections::BTreeSet;

use records::{Fleet, Held, OnBad, PlannedJob, Revision, Snapshot, Template};
use schemas::{JobId, JobKind, Request, RequestId, RequestKind, StoreId};
use uuid::Uuid;

use super::{concerned, plan};

const FLEET: &str = "
distributors:
  hq: { routes: { region: { paris: {}, lyon: {} } } }
distributions:
  antivirus: { distributor: hq, type: file, component: core, sources: [ { path: /srv/a } ], target: '%DEST%/antivirus', mode: mirror, build: { every: 10m } }
  frozen: { distributor: hq, type: file, component: patches, freeze_build: true, sources: [ { path: /srv/f } ], target: '%DEST%/frozen', mode: mirror, build: never }
channels:
  protect: { distributions: [antivirus, frozen], send: immediately, subscriptions: [paris, lyon, { subscriber: oslo, active: false }] }
subscribers:
  region: { extract: never }
  paris: { parent: region, variables: { DEST: /srv }, extract: immediately, connect_timeout: 60s }
  lyon: { parent: region, variables: { DEST: /srv }, extract: never }
  oslo: { variables: { DEST: /srv }, extract: immediately, opt_out: [antivirus] }
";

fn fleet() -> Fleet {
    let declared = domain::definitions::parse(&[("fleet.yaml".to_owned(), FLEET.to_owned())]).unwrap();
    let definitions = domain::definitions::validate(&declared, &Default::default()).unwrap().definitions;
    let stores = definitions.distributions.keys().map(|name| (name.clone(), StoreId(Uuid::nil()))).collect();
    Fleet { version: 1, definitions, stores, owners: Default::default() }
}

fn request(kind: RequestKind) -> Request {
    let mut request = Request::new(RequestId(Uuid::from_u128(7)), kind);
    match kind {
        RequestKind::Send => request.selector.channels.push("protect".try_into().unwrap()),
        RequestKind::Build => request.selector.distributions.push("antivirus".try_into().unwrap()),
        RequestKind::Refresh => request.selector.distributors.push("hq".try_into().unwrap()),
        _ => request.selector.subscribers.push("paris".try_into().unwrap()),
    }
    request
}

/// Every distribution has revision 3.
fn built() -> Snapshot {
    let revision = Revision { number: 3, created_ms: 0 };
    let newest = ["antivirus", "frozen"].map(|name| (name.try_into().unwrap(), revision));
    Snapshot { newest: newest.into(), ..Snapshot::default() }
}

fn hold(snapshot: &mut Snapshot, subscriber: &str, distribution: &str, held: Held) {
    snapshot.holdings.insert((subscriber.to_owned(), distribution.try_into().unwrap()), held);
}

fn planned(snapshot: &Snapshot, request: &Request) -> Vec<PlannedJob> {
    plan(&fleet(), snapshot, &BTreeSet::new(), request).unwrap()
}

/// `send paris antivirus`, in the order planned.
fn shown(jobs: &[PlannedJob]) -> Vec<String> {
    let name = |job: &PlannedJob| job.subscriber.as_ref().map_or(String::new(), |s| format!(" {s}"));
    jobs.iter().map(|job| format!("{}{} {}", job.template.kind().as_str(), name(job), job.distribution)).collect()
}

fn only(jobs: Vec<PlannedJob>, distribution: &str) -> Vec<PlannedJob> {
    jobs.into_iter().filter(|job| job.distribution.as_str() == distribution).collect()
}

#[test]
fn a_shared_hop_carries_content_once_and_parents_come_first() {
    let jobs = only(planned(&built(), &request(RequestKind::Send)), "antivirus");
    let lines = shown(&jobs);
    assert_eq!(lines.iter().filter(|line| line.starts_with("send region")).count(), 1, "{lines:?}");
    let place = |line: &str| lines.iter().position(|l| l == line).unwrap_or_else(|| panic!("{line} in {lines:?}"));
    assert!(place("send region antivirus") < place("send paris antivirus"));
    assert!(place("send region antivirus") < place("send lyon antivirus"));
    assert!(!lines.iter().any(|l| l.contains("oslo")), "its subscription is inactive");
    assert!(lines.contains(&"extract paris antivirus".to_owned()));
    assert!(!lines.contains(&"extract lyon antivirus".to_owned()), "lyon extracts when told");
    assert!(!lines.contains(&"extract region antivirus".to_owned()), "a relay need not be subscribed");
}

#[test]
fn a_child_waits_for_its_parent_and_proceeds_by_the_next_source() {
    let jobs = only(planned(&built(), &request(RequestKind::Send)), "antivirus");
    let of = |line: &str| jobs.iter().find(|job| shown(std::slice::from_ref(job))[0] == line).unwrap();
    let (parent, child, extract) =
        (of("send region antivirus"), of("send paris antivirus"), of("extract paris antivirus"));
    assert_eq!(child.waits.len(), 1);
    assert_eq!((child.waits[0].awaited, child.waits[0].on_bad), (parent.id, OnBad::Proceed));
    assert_eq!(child.waits[0].patience_ms, Some(60_000), "its own connection time-out");
    assert_eq!((extract.waits[0].awaited, extract.waits[0].on_bad), (child.id, OnBad::Fail));
    assert_eq!(extract.carried_by, Some(child.id));
    let Template::Send { relays, .. } = &child.template else { panic!() };
    assert_eq!(relays.iter().map(|r| r.as_str()).collect::<Vec<_>>(), ["region"]);
}

#[test]
fn where_wanted_and_recorded_agree_no_job_is_made() {
    let mut snapshot = built();
    for subscriber in ["region", "paris", "lyon"] {
        for distribution in ["antivirus", "frozen"] {
            let held = Held { stored: Some(3), extracted: Some(3), pinned: false, earlier: None };
            hold(&mut snapshot, subscriber, distribution, held);
        }
    }
    assert!(planned(&snapshot, &request(RequestKind::Send)).is_empty());
    let mut forced = request(RequestKind::Send);
    forced.options.force = true;
    assert!(!planned(&snapshot, &forced).is_empty());
}

#[test]
fn what_is_received_but_not_extracted_is_extracted_without_a_send() {
    let mut snapshot = built();
    for subscriber in ["region", "paris", "lyon"] {
        hold(
            &mut snapshot,
            subscriber,
            "antivirus",
            Held { stored: Some(3), extracted: Some(2), pinned: false, earlier: None },
        );
    }
    let jobs = only(planned(&snapshot, &request(RequestKind::Send)), "antivirus");
    assert_eq!(shown(&jobs), ["extract paris antivirus"]);
    assert_eq!(jobs[0].carried_by, None);
}

#[test]
fn a_rolled_back_site_is_not_rolled_forward_by_a_schedule() {
    let mut snapshot = built();
    for subscriber in ["region", "paris", "lyon"] {
        hold(
            &mut snapshot,
            subscriber,
            "antivirus",
            Held { stored: Some(3), extracted: Some(2), pinned: true, earlier: None },
        );
    }
    assert!(only(planned(&snapshot, &request(RequestKind::Send)), "antivirus").is_empty());
    let jobs = only(planned(&snapshot, &request(RequestKind::Extract)), "antivirus");
    assert_eq!(shown(&jobs), ["extract paris antivirus"], "a person may");
}

#[test]
fn a_send_whose_distribution_is_being_built_waits_for_that_build() {
    let mut snapshot = built();
    let build = JobId(Uuid::from_u128(9));
    snapshot.builds.insert("antivirus".try_into().unwrap(), build);
    let jobs = only(planned(&snapshot, &request(RequestKind::Send)), "antivirus");
    let sends: Vec<_> = jobs.iter().filter(|job| job.template.kind() == JobKind::Send).collect();
    assert_eq!(sends.len(), 3);
    for send in sends {
        assert_eq!(send.revision, None, "the build decides");
        assert!(send.waits.iter().any(|wait| wait.awaited == build && wait.on_bad == OnBad::Proceed));
    }
}

#[test]
fn nothing_is_sent_before_the_first_build() {
    assert!(planned(&Snapshot::default(), &request(RequestKind::Send)).is_empty());
}

#[test]
fn a_sync_builds_sends_and_extracts_in_its_own_lane_whatever_is_subscribed() {
    let mut sync = request(RequestKind::Sync);
    sync.selector.components.push("all".to_owned());
    let jobs = planned(&built(), &sync);
    let lines = shown(&jobs);
    assert_eq!(lines[0], "build antivirus", "frozen is not built");
    assert!(lines.contains(&"extract paris frozen".to_owned()), "{lines:?}");
    let lanes: BTreeSet<String> = jobs.iter().map(|job| job.lane.to_string()).collect();
    assert_eq!(lanes.into_iter().collect::<Vec<_>>(), ["build/antivirus", "site/paris/sync", "site/region/sync"]);
    let mut oslo = sync.clone();
    oslo.selector.subscribers = vec!["oslo".try_into().unwrap()];
    assert!(!shown(&planned(&built(), &oslo)).iter().any(|line| line == "send oslo antivirus"), "it opted out");
}

#[test]
fn a_refresh_builds_what_a_change_touched_and_sends_where_that_is_immediate() {
    let changed = BTreeSet::from(["antivirus".try_into().unwrap(), "frozen".try_into().unwrap()]);
    let jobs = plan(&fleet(), &built(), &changed, &request(RequestKind::Refresh)).unwrap();
    let lines = shown(&jobs);
    assert_eq!(lines.iter().filter(|l| l.starts_with("build")).collect::<Vec<_>>(), ["build antivirus"]);
    assert!(lines.contains(&"send paris frozen".to_owned()), "a new subscription is served: {lines:?}");
    assert!(!lines.contains(&"send paris antivirus".to_owned()), "its new revision will be: {lines:?}");
}

#[test]
fn a_rollback_names_its_revision_and_pins_it() {
    let mut snapshot = built();
    hold(
        &mut snapshot,
        "paris",
        "antivirus",
        Held { stored: Some(3), extracted: Some(3), pinned: false, earlier: None },
    );
    let mut rollback = request(RequestKind::Rollback);
    rollback.selector.distributions.push("antivirus".try_into().unwrap());
    let jobs = planned(&snapshot, &rollback);
    assert_eq!(shown(&jobs), ["send paris antivirus", "extract paris antivirus"]);
    assert!(jobs.iter().all(|job| job.revision == Some(2)));
    assert!(matches!(jobs[1].template, Template::Extract { pin: true, .. }));
}

#[test]
fn a_rollback_without_a_number_goes_to_what_the_site_had_before_and_not_to_what_it_never_had() {
    let mut snapshot = built();
    let held = Held { stored: Some(3), extracted: Some(3), pinned: false, earlier: Some(1) };
    hold(&mut snapshot, "paris", "antivirus", held);
    let mut rollback = request(RequestKind::Rollback);
    rollback.selector.distributions.push("antivirus".try_into().unwrap());
    assert!(planned(&snapshot, &rollback).iter().all(|job| job.revision == Some(1)));
}

#[test]
fn a_build_that_verifies_or_is_forced_reads_everything() {
    let reads_all = |change: fn(&mut Request)| {
        let mut build = request(RequestKind::Build);
        change(&mut build);
        matches!(planned(&built(), &build)[0].template, Template::Build { read_all: true, .. })
    };
    assert!(!reads_all(|_| {}));
    assert!(reads_all(|build| build.options.verify = true));
    assert!(reads_all(|build| build.options.force = true));
}

#[test]
fn a_frozen_distribution_is_not_built_even_by_name() {
    let mut build = request(RequestKind::Build);
    build.selector.distributions = vec!["frozen".try_into().unwrap()];
    let fault = plan(&fleet(), &built(), &BTreeSet::new(), &build).unwrap_err();
    assert_eq!(fault.code, "build-frozen");
}

#[test]
fn a_name_that_is_not_defined_is_refused() {
    let mut build = request(RequestKind::Build);
    build.selector.distributions = vec!["ghost".try_into().unwrap()];
    let fault = concerned(&fleet(), &build).unwrap_err();
    assert_eq!((fault.code, fault.reason.as_str()), ("unknown", "distribution ghost is not defined"));
    let mut sync = request(RequestKind::Sync);
    sync.selector.components = vec!["ghost".to_owned()];
    assert_eq!(concerned(&fleet(), &sync).unwrap_err().code, "unknown");
}

#[test]
fn planning_the_same_request_again_names_the_same_jobs() {
    let ids = |jobs: Vec<PlannedJob>| jobs.into_iter().map(|job| job.id).collect::<Vec<_>>();
    let request = request(RequestKind::Send);
    assert_eq!(ids(planned(&built(), &request)), ids(planned(&built(), &request)));
}

/// With a sync of `patches` for lyon, and paris a source of antivirus.
fn synced() -> Fleet {
    let mut fleet = fleet();
    let text = "syncs: { lyon-patches: { subscriber: lyon, components: [patches], schedule: never } }";
    let declared = domain::definitions::parse(&[("s.yaml".to_owned(), text.to_owned())]).unwrap();
    fleet.definitions = domain::definitions::validate(&declared, &fleet.definitions).unwrap().definitions;
    let antivirus = fleet.definitions.distributions.get_mut(&"antivirus".try_into().unwrap()).unwrap();
    antivirus.sources[0].subscriber = Some("paris".try_into().unwrap());
    fleet
}

#[test]
fn a_sync_that_is_named_brings_its_components_to_its_subscriber() {
    let mut request = Request::new(RequestId(Uuid::from_u128(7)), RequestKind::Sync);
    request.selector.syncs.push("lyon-patches".try_into().unwrap());
    let concerned = concerned(&synced(), &request).unwrap();
    assert_eq!(concerned.iter().map(|name| name.as_str()).collect::<Vec<_>>(), ["frozen"]);
    let jobs = plan(&synced(), &built(), &BTreeSet::new(), &request).unwrap();
    assert_eq!(shown(&jobs), ["send region frozen", "send lyon frozen", "extract lyon frozen"]);
    request.selector.syncs = vec!["ghost".try_into().unwrap()];
    assert_eq!(super::concerned(&synced(), &request).unwrap_err().code, "unknown");
}

#[test]
fn a_sync_to_a_source_of_its_content_is_refused_when_it_is_asked_for_too() {
    let mut request = request(RequestKind::Sync);
    request.selector.components.push("core".to_owned());
    let fault = plan(&synced(), &built(), &BTreeSet::new(), &request).unwrap_err();
    assert_eq!(fault.code, "sync-to-source");
    request.selector.components = vec!["patches".to_owned()];
    assert!(plan(&synced(), &built(), &BTreeSet::new(), &request).is_ok());
}

#[test]
fn a_sync_of_a_new_revision_builds_nothing_again() {
    let mut request = request(RequestKind::Sync);
    request.selector.distributions.push("antivirus".try_into().unwrap());
    let jobs = super::syncs_of_revision(&fleet(), &built(), &request).unwrap();
    assert_eq!(shown(&jobs), ["send region antivirus", "send paris antivirus", "extract paris antivirus"]);
    assert!(
        jobs.iter().all(|job| job.waits.iter().all(|wait| wait.on_bad == OnBad::Fail || wait.patience_ms.is_some()))
    );
}
