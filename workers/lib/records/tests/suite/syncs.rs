//! Syncs on record (SPEC S7), and what waits for a build or a download that is at work just then (S8).

use records::{OnBad, PlannedJob};
use schemas::RequestId;

use super::{FLEET, Scene, build, built, carried, extracted, failed, send, sent, started, succeeded, synced, wait};

/// Endings and insertions at once.
const ROUNDS: usize = 20;

/// A sync's send of this revision to paris and the extract that travels with it.
fn sync(revision: u64) -> [PlannedJob; 2] {
    let send = synced(send("paris", "antivirus", revision));
    let extract = synced(carried(&send));
    [send, extract]
}

fn refused(job: &PlannedJob) -> schemas::Report {
    failed(job, 1, true)
}

impl Scene {
    async fn waits_for(&self, job: &PlannedJob) -> String {
        let by_lane = format!("SELECT waits_for FROM lanes WHERE job_id = '{}'", job.id);
        let by_job = format!("SELECT waits_for FROM jobs WHERE id = '{}'", job.id);
        let told = self.text(&by_job).await;
        assert_eq!(self.text(&by_lane).await, told, "lanes and jobs say the same");
        told
    }

    async fn awaited_id(&self, job: &PlannedJob) -> String {
        self.text(&format!("SELECT waits_for_job_id FROM jobs WHERE id = '{}'", job.id)).await
    }

    async fn note(&self, job: &PlannedJob) -> String {
        self.text(&format!("SELECT note FROM jobs WHERE id = '{}'", job.id)).await
    }

    async fn revision_of(&self, job: &PlannedJob) -> i64 {
        self.number(&format!("SELECT revision FROM jobs WHERE id = '{}'", job.id)).await
    }

    /// How often a job was handed out: at once, or by the sweeper, which finds by query what an end did not see.
    async fn published(&self, at_once: impl Iterator<Item = records::ToPublish>, job: &PlannedJob) -> usize {
        let swept = self.sweep().await.publish;
        at_once.chain(swept).filter(|publish| publish.job == job.id).count()
    }

    /// Revision 1 on record and on its way to paris, by its channel; then revision 2.
    async fn downloading(&self) -> PlannedJob {
        self.apply(FLEET).await;
        self.revision("antivirus", 1).await;
        let old = send("paris", "antivirus", 1);
        self.plan(std::slice::from_ref(&old)).await;
        self.report(&[started(&old)]).await;
        self.revision("antivirus", 2).await;
        old
    }
}

pub async fn a_sync_is_a_schedule_of_its_own_and_fires_in_the_name_of_its_console(scene: &Scene) {
    scene
        .apply(&format!(
            "{FLEET}syncs: {{ s: {{ subscriber: paris, components: [core], schedule: {{ every: 10m }} }} }}\n"
        ))
        .await;
    let row = "SELECT zone FROM schedules WHERE schedule = 'sync/s' AND verb = 'sync' AND next_due IS NOT NULL";
    assert_eq!(scene.text(row).await, "UTC", "the subscriber's");
    scene.force("UPDATE tide_schedules SET anchor_ms = anchor_ms - 600001, through_ms = through_ms - 600001, next_due_ms = next_due_ms - 600001 WHERE name = 'sync/s'").await;
    let term = scene.term().await;
    let fired = scene.records.tick(&term).await.unwrap();
    assert_eq!(fired.iter().map(|f| f.schedule.as_str()).collect::<Vec<_>>(), ["sync/s"]);
    let request = scene.records.claim_requests().await.unwrap();
    let request = request.iter().find(|pending| pending.request.id == fired[0].request).unwrap();
    assert_eq!(request.request.selector.syncs, ["s".try_into().unwrap()]);
    assert_eq!(request.request.console, Some(schemas::ConsoleName::default()));
    scene.records.may_run(&request.request).await.unwrap();
    let seen = "SELECT last_request FROM syncs WHERE sync = 's' AND components LIKE '%core%' AND schedule = 'sync/s'";
    assert_eq!(scene.text(seen).await, fired[0].request.to_string());
    // While that one is open, the next joins it.
    scene.force("UPDATE tide_schedules SET anchor_ms = anchor_ms - 600001, through_ms = through_ms - 600001, next_due_ms = next_due_ms - 600001 WHERE name = 'sync/s'").await;
    scene.force("UPDATE tide_occurrences SET nominal_ms = nominal_ms - 600001").await;
    assert!(scene.records.tick(&term).await.unwrap().is_empty());
    assert_eq!(scene.text("SELECT outcome FROM occurrences ORDER BY nominal DESC LIMIT 1").await, "joined");
}

pub async fn a_sync_that_goes_at_once_follows_each_new_revision_of_its_components(scene: &Scene) {
    let core = FLEET.replacen("type: file,", "type: file, component: core,", 1);
    scene
        .apply(&format!("{core}syncs: {{ s: {{ subscriber: lyon, components: [core], schedule: immediately }} }}\n"))
        .await;
    let asked = "SELECT COUNT(*) FROM requests WHERE kind = 'sync' AND console = 'main' AND origin = ";
    assert_eq!(scene.number(&format!("{asked} 'apply'")).await, 1, "it is new");
    scene.revision("antivirus", 1).await;
    assert_eq!(scene.number(&format!("{asked} 'revision'")).await, 1);
    scene.revision("patches", 1).await;
    assert_eq!(scene.number(&format!("{asked} 'revision'")).await, 1, "of another component");
}

pub async fn targets_of_syncs_are_deliveries(scene: &Scene) {
    let core = FLEET.replacen("type: file,", "type: file, component: core,", 1);
    let sync = "syncs: { s: { subscriber: region, components: [core], schedule: never } }";
    scene
        .apply(&format!(
            "{}{sync}\n",
            core.replace("  region: { extract", "  region: { variables: { DEST: /srv }, extract")
        ))
        .await;
    let row = "SELECT why FROM deliveries WHERE channel = 'sync' AND subscriber = 'region' AND state = 'not built'";
    assert_eq!(scene.text(row).await, "sync s");
}

pub async fn a_sync_waits_for_a_download_of_the_same_to_the_same_site(scene: &Scene) {
    let old = scene.downloading().await;
    let jobs = sync(2);
    let (_, inserted) = scene.plan(&jobs).await;
    assert!(inserted.publish.is_empty(), "{:?}", inserted.publish);
    assert_eq!(scene.waits_for(&jobs[0]).await, "send antivirus to paris");
    assert_eq!(scene.awaited_id(&jobs[0]).await, old.id.to_string());
    let recorded = scene.report(&[succeeded(&old, sent())]).await;
    assert!(recorded.publish.iter().any(|publish| publish.job == jobs[0].id), "{:?}", recorded.publish);
    assert_eq!((scene.revision_of(&jobs[0]).await, scene.revision_of(&jobs[1]).await), (2, 2));
    assert_eq!(scene.note(&jobs[0]).await, "null", "all went well");
    assert_eq!(scene.waits_for(&jobs[0]).await, "null");
}

pub async fn a_sync_goes_on_when_the_download_failed_and_says_so(scene: &Scene) {
    let old = scene.downloading().await;
    let jobs = sync(2);
    scene.plan(&jobs).await;
    let recorded = scene.report(&[refused(&old)]).await;
    assert_eq!(scene.state(old.id).await, "failed");
    assert!(recorded.publish.iter().any(|publish| publish.job == jobs[0].id), "{:?}", recorded.publish);
    let note = scene.note(&jobs[0]).await;
    assert_eq!(note, format!("send {} did not succeed: revision 2 is the newest good one", old.id));
    assert_eq!(scene.revision_of(&jobs[0]).await, 2);
}

pub async fn a_send_waits_for_a_syncs_download_too_and_other_sites_do_not(scene: &Scene) {
    scene.apply(FLEET).await;
    scene.revision("antivirus", 1).await;
    let old = sync(1);
    scene.plan(&old).await;
    scene.report(&[started(&old[0])]).await;
    scene.revision("antivirus", 2).await;
    let (paris, lyon) = (send("paris", "antivirus", 2), send("lyon", "antivirus", 2));
    let (_, inserted) = scene.plan(&[paris.clone(), lyon.clone()]).await;
    let published: Vec<_> = inserted.publish.iter().map(|publish| publish.job).collect();
    assert_eq!(published, [lyon.id]);
    assert_eq!(scene.waits_for(&paris).await, "send antivirus to paris");
    // Its extract is still at work when the download has ended: two jobs never work on one target at once.
    assert!(scene.report(&[succeeded(&old[0], sent())]).await.publish.is_empty());
    assert_eq!(scene.waits_for(&paris).await, "extract antivirus to paris");
    let recorded = scene.report(&[succeeded(&old[1], extracted())]).await;
    assert_eq!(recorded.publish.iter().map(|publish| publish.job).collect::<Vec<_>>(), [paris.id]);
    assert_eq!(scene.revision_of(&paris).await, 2);
}

pub async fn an_extract_by_itself_waits_for_what_is_at_work_on_its_target(scene: &Scene) {
    let old = scene.downloading().await;
    let lone = synced(super::extract("paris", "antivirus", 2));
    let (_, inserted) = scene.plan(std::slice::from_ref(&lone)).await;
    assert!(inserted.publish.is_empty());
    assert_eq!(scene.waits_for(&lone).await, "send antivirus to paris");
    let recorded = scene.report(&[refused(&old)]).await;
    assert!(recorded.publish.iter().any(|publish| publish.job == lone.id));
}

pub async fn what_is_planned_before_a_build_and_inserted_after_it_waits_for_it(scene: &Scene) {
    scene.apply(FLEET).await;
    scene.revision("antivirus", 1).await;
    // Planned while nothing was built: with revision 1.
    let jobs = sync(1);
    let job = build("antivirus");
    scene.plan(std::slice::from_ref(&job)).await;
    scene.report(&[started(&job)]).await;
    let (_, inserted) = scene.plan(&jobs).await;
    assert!(inserted.publish.is_empty());
    assert_eq!(scene.waits_for(&jobs[0]).await, "build antivirus");
    let recorded = scene.report(&[succeeded(&job, built("antivirus", 2))]).await;
    assert!(recorded.publish.iter().any(|publish| publish.job == jobs[0].id));
    assert_eq!((scene.revision_of(&jobs[0]).await, scene.revision_of(&jobs[1]).await), (2, 2));
}

pub async fn after_a_failed_build_the_newest_good_revision_goes_and_says_so_or_there_is_none(scene: &Scene) {
    scene.apply(FLEET).await;
    let job = build("antivirus");
    scene.plan(std::slice::from_ref(&job)).await;
    scene.report(&[started(&job)]).await;
    let behind = |job: &PlannedJob| {
        let mut jobs = sync(1).map(|one| PlannedJob { revision: None, ..one });
        jobs[0].waits.push(wait(job, OnBad::Proceed));
        jobs
    };
    let first = behind(&job);
    let (request, _) = scene.plan(&first).await;
    assert_eq!(scene.waits_for(&first[0]).await, "build antivirus");
    scene.report(&[refused(&job)]).await;
    assert_eq!(scene.text(&format!("SELECT error_code FROM jobs WHERE id = '{}'", first[0].id)).await, "no-revision");
    assert_eq!(scene.records.request_status(request).await.unwrap().unwrap().state, "failed");

    scene.revision("antivirus", 1).await;
    let job = build("antivirus");
    scene.plan(std::slice::from_ref(&job)).await;
    let second = behind(&job);
    scene.plan(&second).await;
    scene.report(&[refused(&job)]).await;
    assert_eq!(scene.revision_of(&second[0]).await, 1);
    assert!(scene.note(&second[0]).await.starts_with(&format!("build {} did not succeed", job.id)));
}

/// A revision that somebody chose is not exchanged for a newer one.
pub async fn a_rollback_does_not_wait_for_a_build_and_keeps_its_revision(scene: &Scene) {
    scene.apply(FLEET).await;
    scene.revision("antivirus", 1).await;
    scene.revision("antivirus", 2).await;
    let job = build("antivirus");
    scene.plan(std::slice::from_ref(&job)).await;
    let back = send("paris", "antivirus", 1);
    let (_, inserted) = scene.plan(std::slice::from_ref(&back)).await;
    assert_eq!(inserted.publish.len(), 1);
    assert_eq!(scene.revision_of(&back).await, 1);
}

/// The end of a download and the insertion of what waits for it, at once: in either order the sync goes out, once.
pub async fn an_ending_and_an_insertion_at_once_lose_no_wake_up(scene: &Scene) {
    let mut old = scene.downloading().await;
    for round in 0..ROUNDS as u64 {
        let revision = round + 2;
        let jobs = sync(revision);
        let request: RequestId = scene.request().await;
        let (a, b) = (scene.records.clone(), scene.records.clone());
        let ending = [if round % 2 == 0 { succeeded(&old, sent()) } else { refused(&old) }];
        let mut standing = Default::default();
        let (recorded, inserted) = tokio::join!(a.record(&ending), b.insert_step(request, &jobs, &mut standing));
        let published = recorded.unwrap().publish.into_iter().chain(inserted.unwrap().publish);
        assert_eq!(scene.published(published, &jobs[0]).await, 1, "round {round}");
        assert_eq!(scene.revision_of(&jobs[0]).await as u64, revision);
        scene.report(&[succeeded(&jobs[0], sent()), succeeded(&jobs[1], extracted())]).await;
        // The next round's download in progress, and a revision after it.
        old = send("paris", "antivirus", revision);
        scene.plan(std::slice::from_ref(&old)).await;
        scene.report(&[started(&old)]).await;
        scene.revision("antivirus", revision + 1).await;
    }
}

/// The same with a build.
pub async fn the_end_of_a_build_and_an_insertion_at_once_lose_no_wake_up(scene: &Scene) {
    scene.apply(FLEET).await;
    scene.revision("antivirus", 1).await;
    for round in 0..ROUNDS as u64 {
        let revision = round + 2;
        let job = build("antivirus");
        scene.plan(std::slice::from_ref(&job)).await;
        scene.report(&[started(&job)]).await;
        let jobs = sync(revision - 1);
        let request: RequestId = scene.request().await;
        let (a, b) = (scene.records.clone(), scene.records.clone());
        let ending = [succeeded(&job, built("antivirus", revision))];
        let mut standing = Default::default();
        let (recorded, inserted) = tokio::join!(a.record(&ending), b.insert_step(request, &jobs, &mut standing));
        let published = recorded.unwrap().publish.into_iter().chain(inserted.unwrap().publish);
        assert_eq!(scene.published(published, &jobs[0]).await, 1, "round {round}");
        assert!(scene.revision_of(&jobs[0]).await as u64 >= revision - 1);
        scene.report(&[succeeded(&jobs[0], sent()), succeeded(&jobs[1], extracted())]).await;
    }
}
