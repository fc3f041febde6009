//! What is kept and what goes: rules, pins, and the order of condemning, deleting and recording.

use std::time::Duration;

use domain::retention::Rule;
use records::{CollectTimes, ControlToSend, PlannedJob, RecordsError, Retired, Retirement, Template};
use schemas::{
    BuildResult, CollectResult, CollectTask, Control, Digest, Event, ExtractResult, HeldRevisions, JobResult, Lane,
    NewRevision, PackUse, SendResult, StoreId, StoredObject, Task,
};

use super::{FLEET, Scene, build, carried, extracted, failed, planned, report, send, sent, started, store, succeeded};

const DAY_MS: i64 = 86_400_000;

fn times() -> CollectTimes {
    CollectTimes::of_grace(Duration::from_secs(60))
}

fn digest(name: &str) -> Digest {
    Digest::of(name.as_bytes())
}

fn object(name: &str) -> String {
    format!("packs/{}", digest(name))
}

fn built(distribution: &str, number: u64, packs: &[&str]) -> JobResult {
    let revision = NewRevision {
        number,
        header: digest(&format!("{distribution}/{number}/header")),
        header_bytes: 1,
        index: digest(&format!("{distribution}/{number}/index")),
        index_bytes: 2,
        files: 3,
        directories: 1,
        links: 0,
        bytes: 100,
        stored_bytes: 50,
        packs: packs.iter().map(|name| PackUse { digest: digest(name), bytes: 10, new: true }).collect(),
    };
    JobResult::Build(BuildResult { revision: Some(revision), ..BuildResult::default() })
}

fn collection(distribution: &str, list: bool, force: bool) -> PlannedJob {
    let template = Template::Collect { store: store(), list, force, times: times() };
    planned("collect", Lane::Build(distribution.try_into().unwrap()), None, distribution, template)
}

fn collected(deleted: &[String], orphans: Vec<StoredObject>) -> JobResult {
    JobResult::Collect(CollectResult { deleted: deleted.to_vec(), orphans, listed: None })
}

impl Scene {
    /// Paris, which may have something of it, until it was told so, and again when that was lost.
    async fn sites_are_told_to_forget(&self, store: StoreId) {
        let to_send = async || self.records.forgets_to_send().await.unwrap();
        let told = to_send().await;
        let of = |told: &[ControlToSend]| -> Vec<(String, Control)> {
            told.iter().map(|one| (one.subscriber.to_string(), one.control.clone())).collect()
        };
        let forget = Control::Forget { stores: vec![store] };
        assert!(of(&told).contains(&("paris".to_owned(), forget)), "{told:?}");
        let term = self.term().await;
        self.records.controls_sent(&term, &told).await.unwrap();
        assert!(to_send().await.is_empty());
        self.records.resend_controls().await.unwrap();
        let again = of(&to_send().await);
        assert!(of(&told).iter().all(|one| again.contains(one)), "{again:?}");
    }

    /// A revision on record that names these packs.
    async fn packs(&self, number: u64, packs: &[&str]) {
        let job = build("antivirus");
        self.plan(std::slice::from_ref(&job)).await;
        self.report(&[succeeded(&job, built("antivirus", number, packs))]).await;
        assert_eq!(self.state(job.id).await, "succeeded");
    }

    async fn retire(&self, revisions_max: u32, age_max_ms: Option<i64>) -> Retired {
        let rule = Rule { revisions_max, age_max_ms };
        let one = Retirement { distribution: "antivirus".try_into().unwrap(), store: store(), rule };
        let term = self.term().await;
        self.records.retire(Some(&term), &[one], &times()).await.unwrap()
    }

    /// The numbers that are kept, one after the other.
    async fn kept(&self) -> String {
        let rows = self.records.query("SELECT revision FROM revisions WHERE state = 'kept' ORDER BY revision").await;
        rows.unwrap().rows.iter().map(|row| row[0].to_string()).collect::<Vec<_>>().join(" ")
    }

    async fn state_of(&self, name: &str) -> String {
        self.text(&format!("SELECT state FROM garbage WHERE object = '{}'", object(name))).await
    }

    /// Every grace is over.
    async fn all_due(&self) {
        self.force("UPDATE tide_condemned SET due_ms = 1 WHERE state = 'condemned'").await;
    }

    /// Plans a collection and gives the task that is published for it.
    async fn order(&self, job: &PlannedJob) -> CollectTask {
        let (_, inserted) = self.plan(std::slice::from_ref(job)).await;
        let message = inserted.publish.into_iter().find(|m| m.job == job.id).expect("it is published").message;
        let Task::Collect(task) = message.task else { panic!("{:?}", message.task) };
        task
    }
}

pub async fn revisions_beyond_the_maximum_retire_and_what_only_they_named_is_condemned(scene: &Scene) {
    for (number, packs) in [(1, ["a", "b"]), (2, ["b", "c"]), (3, ["c", "d"])] {
        scene.packs(number, &packs).await;
    }
    assert_eq!(scene.retire(3, None).await, Retired::default());
    let retired = scene.retire(2, None).await;
    // Its header, its index, and the one pack that revision 2 does not share.
    assert_eq!((retired.revisions, retired.objects, retired.bytes), (1, 3, 13));
    assert_eq!(scene.kept().await, "2 3");
    let states = [scene.state_of("a").await, scene.state_of("b").await];
    assert_eq!(states, ["condemned", "no row"]);
    let why = scene.text("SELECT retired_why FROM revisions WHERE revision = 1").await;
    assert_eq!(why, "more than max_revisions");
    assert_eq!(scene.retire(2, None).await, Retired::default(), "once");
    assert_eq!(scene.retire(1, None).await.objects, 3, "now b goes too");
    assert_eq!((scene.state_of("b").await, scene.state_of("c").await), ("condemned".into(), "no row".into()));
}

pub async fn the_origin_must_have_the_headers_of_what_is_kept(scene: &Scene) {
    for number in 1..=3 {
        scene.packs(number, &["a"]).await;
    }
    scene.retire(2, None).await;
    let kept = scene.records.kept_stores().await.unwrap();
    let of = kept.iter().find(|kept| kept.store == store()).expect("its store");
    assert_eq!(of.distribution, "antivirus");
    let header = |number: u64| (number, digest(&format!("antivirus/{number}/header")));
    assert_eq!(of.headers, [header(2), header(3)]);
}

pub async fn a_revision_past_its_age_retires_but_the_newest_never_does(scene: &Scene) {
    for number in 1..=3 {
        scene.packs(number, &["a"]).await;
    }
    scene.force(&format!("UPDATE tide_revisions SET created_ms = created_ms - {} WHERE number < 3", 3 * DAY_MS)).await;
    assert_eq!(scene.retire(10, Some(4 * DAY_MS)).await.revisions, 0);
    scene.retire(10, Some(2 * DAY_MS)).await;
    assert_eq!(scene.kept().await, "3");
    scene.force(&format!("UPDATE tide_revisions SET created_ms = created_ms - {}", 30 * DAY_MS)).await;
    scene.retire(10, Some(2 * DAY_MS)).await;
    assert_eq!(scene.kept().await, "3");
    assert_eq!(scene.state_of("a").await, "no row");
}

pub async fn what_a_job_or_a_site_needs_is_not_retired(scene: &Scene) {
    scene.apply(FLEET).await;
    for number in 1..=5 {
        scene.packs(number, &["a"]).await;
    }
    // Paris has 1 in its target and holds 2 as well; lyon's send of 3 is under way.
    let one = send("paris", "antivirus", 1);
    let extract = carried(&one);
    scene.plan(&[one.clone(), extract.clone()]).await;
    let held = HeldRevisions { as_of_ms: 5, revisions: vec![1, 2] };
    let result = JobResult::Send(SendResult { held: Some(held), ..SendResult::default() });
    scene.report(&[succeeded(&one, result), succeeded(&extract, extracted())]).await;
    let open = send("lyon", "antivirus", 3);
    scene.plan(std::slice::from_ref(&open)).await;
    scene.retire(1, None).await;
    assert_eq!(scene.kept().await, "1 2 3 5");
    scene.report(&[failed(&open, 1, true)]).await;
    scene.retire(1, None).await;
    assert_eq!(scene.kept().await, "1 2 5");
    // A site that is not defined any more holds nothing back.
    let without = FLEET.replace("[paris, lyon]", "[lyon]").replace("{ paris: {}, lyon: {} }", "{ lyon: {} }");
    let without: Vec<&str> = without.lines().filter(|line| !line.starts_with("  paris:")).collect();
    let fleet = scene.records.fleet().await.unwrap();
    let declared = domain::definitions::parse(&[("fleet.yaml".to_owned(), without.join("\n"))]).unwrap();
    let accepted = domain::definitions::validate(&declared, &schemas::Definitions::default()).unwrap();
    scene.records.apply(&accepted, fleet.version, None).await.unwrap();
    scene.retire(1, None).await;
    assert_eq!(scene.kept().await, "5");
}

pub async fn of_two_reports_of_what_a_site_holds_the_later_look_counts(scene: &Scene) {
    scene.apply(FLEET).await;
    for number in 1..=4 {
        scene.packs(number, &["a"]).await;
    }
    let said = async |revision: u64, as_of_ms: i64, revisions: &[u64]| {
        let job = send("paris", "antivirus", revision);
        scene.plan(std::slice::from_ref(&job)).await;
        let held = HeldRevisions { as_of_ms, revisions: revisions.to_vec() };
        let result = JobResult::Send(SendResult { held: Some(held), ..SendResult::default() });
        scene.report(&[succeeded(&job, result)]).await;
    };
    let held = "SELECT COUNT(*) * 100 + MIN(revision) * 10 + MAX(revision) FROM tide_kept";
    said(2, 20, &[1, 2]).await;
    said(4, 40, &[3, 4]).await;
    assert_eq!(scene.number(held).await, 234);
    said(3, 30, &[2, 3]).await;
    assert_eq!(scene.number(held).await, 324, "what came late takes nothing away");
    let extract = super::extract("paris", "antivirus", 4);
    scene.plan(std::slice::from_ref(&extract)).await;
    let JobResult::Extract(result) = extracted() else { panic!() };
    let held_now = Some(HeldRevisions { as_of_ms: 50, revisions: vec![4] });
    scene.report(&[succeeded(&extract, JobResult::Extract(ExtractResult { held: held_now, ..result }))]).await;
    assert_eq!(scene.number(held).await, 144, "an extract says it too");
}

pub async fn nobody_plans_work_for_a_retired_revision(scene: &Scene) {
    scene.packs(1, &["a"]).await;
    scene.packs(2, &["a"]).await;
    scene.retire(1, None).await;
    let request = scene.request().await;
    let job = send("paris", "antivirus", 1);
    let planned = scene.records.insert_step(request, &[job], &mut Default::default()).await;
    assert!(matches!(planned, Err(RecordsError::Unavailable { .. })), "{planned:?}");
    assert!(!scene.records.has_revision(&"antivirus".try_into().unwrap(), 1).await.unwrap());
    // One that left its revision open gets the newest.
    let open = PlannedJob { revision: None, ..send("paris", "antivirus", 9) };
    scene.plan(std::slice::from_ref(&open)).await;
    assert_eq!(scene.number(&format!("SELECT revision FROM jobs WHERE id = '{}'", open.id)).await, 2);
}

/// Revision 1 had pack `a` for itself, and is retired.
async fn one_condemned(scene: &Scene) {
    scene.packs(1, &["a", "b"]).await;
    scene.packs(2, &["b"]).await;
    scene.retire(1, None).await;
}

pub async fn what_is_due_is_ordered_once_and_what_is_not_due_waits(scene: &Scene) {
    one_condemned(scene).await;
    let early = collection("antivirus", false, false);
    assert_eq!(scene.order(&early).await.delete, Vec::<String>::new());
    scene.report(&[succeeded(&early, collected(&[], vec![]))]).await;
    scene.all_due().await;
    let job = collection("antivirus", true, false);
    let task = scene.order(&job).await;
    assert_eq!(task.delete.len(), 3, "header, index and pack: {:?}", task.delete);
    assert!(task.delete.contains(&object("a")) && task.list);
    assert_eq!(task.live, [digest("antivirus/2/header")]);
    assert_eq!(scene.state_of("a").await, "deleting");
    scene.report(&[succeeded(&job, collected(&task.delete, vec![]))]).await;
    assert_eq!(scene.state_of("a").await, "deleted");
    let none = collection("antivirus", false, true);
    assert_eq!(scene.order(&none).await.delete, Vec::<String>::new());
}

pub async fn a_revision_takes_back_what_is_merely_condemned(scene: &Scene) {
    one_condemned(scene).await;
    scene.packs(3, &["a", "b"]).await;
    assert_eq!(scene.state_of("a").await, "no row");
    scene.all_due().await;
    let job = collection("antivirus", false, false);
    assert!(!scene.order(&job).await.delete.contains(&object("a")));
}

pub async fn a_revision_that_names_what_may_have_been_deleted_is_refused_and_built_again(scene: &Scene) {
    one_condemned(scene).await;
    scene.all_due().await;
    let collector = collection("antivirus", false, false);
    let task = scene.order(&collector).await;
    assert!(task.delete.contains(&object("a")));
    let builder = build("antivirus");
    scene.plan(std::slice::from_ref(&builder)).await;
    assert_eq!(scene.state(builder.id).await, "waiting", "nothing is built while something is deleted");
    // One that does not know of it, from before: it may have seen what is deleted now.
    scene.force(&format!("UPDATE tide_jobs SET state = 'queued' WHERE id = '{}'", builder.id)).await;
    scene.report(&[succeeded(&builder, built("antivirus", 3, &["a", "b"]))]).await;
    assert_eq!(scene.state(builder.id).await, "waiting");
    assert_eq!(scene.kept().await, "2", "no revision counts whose pack may be gone");
    // The same after the deletion, as long as another message may order it once more.
    scene.force("UPDATE tide_jobs SET not_before_ms = 0 WHERE state = 'waiting'").await;
    let recorded = scene.report(&[succeeded(&collector, collected(&task.delete, vec![]))]).await;
    assert_eq!(recorded.publish.len(), 1, "its turn has come");
    let again = |attempt| {
        report(&builder, attempt, Event::Succeeded { took_ms: 5, result: built("antivirus", 3, &["a", "b"]) })
    };
    scene.report(&[again(2)]).await;
    assert_eq!((scene.state(builder.id).await, scene.kept().await), ("waiting".to_owned(), "2".to_owned()));
    let code = scene.text(&format!("SELECT error_code FROM jobs WHERE id = '{}'", builder.id)).await;
    assert_eq!(code, "content-condemned");
    let waits = format!(
        "SELECT COUNT(*) FROM tide_jobs j, tide_condemned c WHERE j.id = '{}' AND c.object = '{}' AND j.not_before_ms > c.reusable_ms",
        builder.id,
        object("a")
    );
    assert_eq!(scene.number(&waits).await, 1, "the next attempt begins when no deletion can come any more");
    // That time has come: another attempt uploads what is missing, and counts.
    scene.force("UPDATE tide_condemned SET reusable_ms = 1").await;
    scene.force("UPDATE tide_jobs SET not_before_ms = 0 WHERE state = 'waiting'").await;
    assert_eq!(scene.sweep().await.publish.len(), 1);
    scene.report(&[again(2)]).await;
    assert_eq!(scene.kept().await, "2", "an attempt from before is none the better");
    scene.report(&[again(3)]).await;
    assert_eq!(scene.state(builder.id).await, "succeeded");
    assert_eq!((scene.kept().await, scene.state_of("a").await), ("2 3".to_owned(), "no row".to_owned()));
}

pub async fn a_deletion_never_names_what_a_live_revision_names(scene: &Scene) {
    one_condemned(scene).await;
    // Whatever brought it about: a row for a pack that revision 2 names.
    scene
        .force(&format!("UPDATE tide_condemned SET object = '{}' WHERE object = '{}'", object("b"), object("a")))
        .await;
    scene.all_due().await;
    let job = collection("antivirus", false, true);
    assert!(!scene.order(&job).await.delete.contains(&object("b")));
    assert_eq!(scene.state_of("b").await, "no row");
    // Nor does a listing condemn it.
    let seen = vec![StoredObject { object: object("b"), bytes: 10 }, StoredObject { object: object("x"), bytes: 10 }];
    scene.report(&[succeeded(&job, collected(&[], seen))]).await;
    assert_eq!((scene.state_of("b").await, scene.state_of("x").await), ("no row".into(), "condemned".into()));
}

pub async fn orphans_wait_for_their_grace_too(scene: &Scene) {
    scene.packs(1, &["a"]).await;
    let job = collection("antivirus", true, false);
    scene.order(&job).await;
    let orphan = StoredObject { object: object("lost"), bytes: 7 };
    scene.report(&[succeeded(&job, collected(&[], vec![orphan]))]).await;
    let early = collection("antivirus", false, false);
    assert_eq!(scene.order(&early).await.delete, Vec::<String>::new());
    scene.report(&[succeeded(&early, collected(&[], vec![]))]).await;
    scene.all_due().await;
    let due = collection("antivirus", false, false);
    assert_eq!(scene.order(&due).await.delete, [object("lost")]);
}

pub async fn what_a_collector_left_is_ordered_again(scene: &Scene) {
    one_condemned(scene).await;
    scene.all_due().await;
    let first = collection("antivirus", false, false);
    let task = scene.order(&first).await;
    // It deleted one object and died for good; another tells nothing at all.
    scene.report(&[succeeded(&first, collected(&task.delete[..1], vec![]))]).await;
    let second = collection("antivirus", false, false);
    assert_eq!(scene.order(&second).await.delete, task.delete[1..]);
    scene.report(&[failed(&second, 1, true)]).await;
    let third = collection("antivirus", false, false);
    assert_eq!(scene.order(&third).await.delete, task.delete[1..]);
}

pub async fn a_collection_that_backs_off_holds_up_no_build(scene: &Scene) {
    scene.packs(1, &["a"]).await;
    let job = collection("antivirus", true, false);
    scene.order(&job).await;
    scene.report(&[started(&job), failed(&job, 1, false)]).await;
    assert_eq!(scene.state(job.id).await, "waiting");
    scene.packs(2, &["a"]).await;
}

pub async fn a_deleted_distribution_makes_room_for_another_of_its_name(scene: &Scene) {
    scene.apply(FLEET).await;
    scene.packs(1, &["a"]).await;
    let old = scene.records.fleet().await.unwrap();
    let without: String = FLEET
        .replace("[antivirus, patches]", "[patches]")
        .lines()
        .filter(|line| !line.starts_with("  antivirus:"))
        .map(|line| format!("{line}\n"))
        .collect();
    let declared = domain::definitions::parse(&[("fleet.yaml".to_owned(), without)]).unwrap();
    let accepted = domain::definitions::validate(&declared, &schemas::Definitions::default()).unwrap();
    scene.records.apply(&accepted, old.version, None).await.unwrap();
    assert_eq!(scene.kept().await, "");
    scene.sites_are_told_to_forget(old.stores[&"antivirus".try_into().unwrap()]).await;
    let due = scene.records.collections_due(DAY_MS).await.unwrap();
    let gone: Vec<_> = due.iter().filter(|due| due.gone).collect();
    assert_eq!(gone.len(), 1);
    assert_eq!((gone[0].distribution.as_str(), gone[0].list), ("antivirus", true));
    scene.apply(FLEET).await;
    scene.packs(1, &["a"]).await;
    let current = "SELECT current_revision FROM deliveries WHERE distribution = 'antivirus' AND subscriber = 'paris'";
    assert_eq!(scene.number(current).await, 1, "revisions of the new one count from 1");
    let job = send("paris", "antivirus", 1);
    scene.plan(std::slice::from_ref(&job)).await;
    scene.report(&[succeeded(&job, sent())]).await;
    assert_eq!(scene.state(job.id).await, "succeeded");
}

pub async fn a_collection_is_asked_for_when_something_is_due(scene: &Scene) {
    scene.apply(FLEET).await;
    let term = scene.term().await;
    let fleet = scene.records.fleet().await.unwrap();
    let ask = async || scene.records.ask_collection(&term, &fleet, DAY_MS).await.unwrap();
    assert!(!ask().await, "new stores are not looked through at once");
    scene.force("UPDATE tide_stores SET listed_ms = 1 WHERE distribution = 'antivirus'").await;
    assert!(ask().await);
    assert!(!ask().await, "one is under way");
    let asked = "SELECT COUNT(*) FROM requests WHERE kind = 'collect' AND origin = 'retention'";
    assert_eq!(scene.number(asked).await, 1);
}
