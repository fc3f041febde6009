use domain::schedule::BESIDE_MAX;
use records::{Fired, OwnEvent};
use schemas::{Event, Presence, Request, RequestId, RequestKind};
use uuid::Uuid;

use super::{FLEET, Scene, extract, extracted, failed, presence, report, send, sent, succeeded, synced};

const EVENTFUL: &str = "
distributors:
  hq: { time_zone: Europe/Paris, routes: { region: { paris: {}, lyon: {} } } }
distributions:
  antivirus: { distributor: hq, type: file, sources: [ { path: /srv/a } ], target: '%DEST%/antivirus', mode: mirror, build: { event: startup } }
  patches: { distributor: hq, type: file, sources: [ { path: /srv/p } ], target: '%DEST%/patches', mode: mirror, build: { event: doors-open } }
channels:
  protect: { distributions: [antivirus, patches], send: { event: doors-open }, subscriptions: [paris, lyon] }
subscribers:
  region: { extract: never }
  paris: { parent: region, variables: { DEST: /srv }, extract: { event: startup } }
  lyon: { parent: region, variables: { DEST: /srv }, extract: { event: shutdown } }
";

impl Scene {
    /// All that is due: a tick ends after some time, and leaves the rest to the next.
    async fn fire(&self) -> Vec<Fired> {
        let term = self.term().await;
        let mut fired = Vec::new();
        loop {
            fired.extend(self.records.tick(&term).await.unwrap());
            if self.records.due_in_ms().await.unwrap().is_none_or(|due_in_ms| due_in_ms > 0) {
                return fired;
            }
        }
    }

    async fn fired(&self) -> Vec<String> {
        let mut names: Vec<String> = self.fire().await.into_iter().map(|fired| fired.schedule).collect();
        names.sort();
        names
    }

    async fn fired_one(&self) -> Fired {
        let mut fired = self.fire().await;
        assert_eq!(fired.len(), 1, "{fired:?}");
        fired.remove(0)
    }

    async fn asked(&self, request: RequestId) -> Request {
        serde_json::from_str(&self.text(&format!("SELECT body FROM requests WHERE id = '{request}'")).await).unwrap()
    }

    async fn ids(&self, text: &str) -> Vec<RequestId> {
        let rows = self.records.query(text).await.unwrap().rows;
        rows.iter().map(|row| row[0].as_str().unwrap().parse().unwrap()).collect()
    }

    async fn look(&self) -> usize {
        let term = self.term().await;
        self.records.find_extracted(&term).await.unwrap()
    }

    async fn says(&self, subscriber: &str, run: u128, stopping: bool) {
        let presence = Presence { run: Some(Uuid::from_u128(run)), stopping, ..presence(subscriber) };
        self.records.presence(&presence).await.unwrap();
    }
}

fn event(name: &str) -> Request {
    let mut request = Request::new(RequestId(Uuid::now_v7()), RequestKind::Event);
    request.selector.events.push(name.try_into().unwrap());
    request
}

pub async fn a_posted_event_makes_what_waits_for_it_due_once(scene: &Scene) {
    scene.apply(EVENTFUL).await;
    let posted = event("doors-open");
    assert_eq!(scene.records.post_events(&posted).await.unwrap(), 2);
    assert_eq!(scene.records.post_events(&posted).await.unwrap(), 0, "a planner that died repeats it");
    assert_eq!(scene.fired().await, ["build/patches", "send/protect"]);
    assert_eq!(scene.records.post_events(&posted).await.unwrap(), 0, "also after they fired");
    assert!(scene.fired().await.is_empty());
    let cause = format!("event/{}", posted.id);
    let of = format!("SELECT COUNT(*) FROM occurrences WHERE cause = '{cause}' AND outcome = 'started'");
    assert_eq!(scene.number(&of).await, 2);
    assert_eq!(scene.number("SELECT COUNT(*) FROM requests WHERE origin = 'schedule'").await, 2);
    assert_eq!(scene.records.post_events(&event("doors-shut")).await.unwrap(), 0, "nobody waits for it");
    assert_eq!(scene.number("SELECT COUNT(*) FROM schedules WHERE last_nominal IS NOT NULL").await, 2);
}

pub async fn events_in_one_millisecond_are_occurrences_of_their_own(scene: &Scene) {
    scene.apply(&EVENTFUL.replace("{ event: doors-open }, subs", "{ event: doors-open, overlap: beside }, subs")).await;
    for _ in 0..2 {
        scene.records.post_events(&event("doors-open")).await.unwrap();
    }
    scene.force("UPDATE tide_due SET nominal_ms = 1000, due_ms = 1000").await;
    assert_eq!(scene.fired().await, ["build/patches", "send/protect", "send/protect"]);
    assert_eq!(scene.number("SELECT COUNT(*) FROM occurrences WHERE schedule = 'send/protect'").await, 2);
    // Of the build, which queues, the second joined the first, which nobody has planned yet.
    assert_eq!(
        scene
            .text("SELECT outcome FROM occurrences WHERE schedule = 'build/patches' ORDER BY nominal DESC LIMIT 1")
            .await,
        "joined"
    );
}

pub async fn what_waits_for_something_else_by_now_is_due_no_more(scene: &Scene) {
    scene.apply(EVENTFUL).await;
    scene.records.post_events(&event("doors-open")).await.unwrap();
    scene.apply(&EVENTFUL.replace("send: { event: doors-open }", "send: { event: doors-shut }")).await;
    assert_eq!(scene.fired().await, ["build/patches"]);
    assert_eq!(scene.number("SELECT COUNT(*) FROM tide_due").await, 0);
}

pub async fn a_sites_start_and_stop_are_events_of_its_extractions(scene: &Scene) {
    scene.apply(EVENTFUL).await;
    scene.says("paris", 1, false).await;
    scene.says("paris", 1, false).await;
    assert_eq!(scene.fired().await, ["extract/paris"]);
    scene.says("paris", 1, false).await;
    scene.says("lyon", 1, false).await;
    assert!(scene.fired().await.is_empty(), "still the same start, and lyon waits for its stop");
    scene.force("UPDATE tide_requests SET state = 'succeeded'").await;
    scene.says("paris", 2, false).await;
    scene.says("paris", 1, false).await;
    scene.says("paris", 2, false).await;
    assert_eq!(scene.fired().await, ["extract/paris"], "a late presence of an earlier run starts nothing");
    let before = scene.text("SELECT presence_ms FROM tide_sites WHERE subscriber = 'lyon'").await;
    scene.says("lyon", 1, true).await;
    scene.says("lyon", 1, true).await;
    assert_eq!(scene.fired().await, ["extract/lyon"]);
    assert_eq!(scene.text("SELECT presence_ms FROM tide_sites WHERE subscriber = 'lyon'").await, before);
}

pub async fn the_control_sides_start_and_stop_are_events_of_what_belongs_to_it(scene: &Scene) {
    scene.apply(EVENTFUL).await;
    let term = scene.term().await;
    assert_eq!(scene.records.control_side(&term, OwnEvent::Startup).await.unwrap(), 1);
    assert_eq!(scene.records.control_side(&term, OwnEvent::Startup).await.unwrap(), 0);
    assert_eq!(scene.fired().await, ["build/antivirus"], "and no site's extraction");
    assert_eq!(scene.records.control_side(&term, OwnEvent::Shutdown).await.unwrap(), 0);
    scene.force("UPDATE tide_leases SET term = term + 1").await;
    let stale = scene.records.control_side(&term, OwnEvent::Startup).await;
    assert!(matches!(stale, Err(records::RecordsError::Fenced)));
}

/// Two components, of which paris extracts what its channel brings and lyon gets both by syncs alone.
fn with_syncs(schedule: &str) -> String {
    let fleet = FLEET.replacen("type: file,", "type: file, component: core_1,", 1).replace(", lyon]", "]");
    let sync = |name: &str, components: &str| {
        format!("  {name}: {{ subscriber: lyon, components: [{components}], schedule: {schedule} }}\n")
    };
    format!("{fleet}syncs:\n{}{}", sync("some", "core_1"), sync("rest", "corea1"))
}

pub async fn events_make_syncs_due_as_they_do_all_else(scene: &Scene) {
    scene.apply(&with_syncs("{ event: doors-open }")).await;
    assert_eq!(scene.records.post_events(&event("doors-open")).await.unwrap(), 2);
    let fired = scene.fire().await;
    assert_eq!(fired.len(), 2);
    for fired in fired {
        let asked = scene.asked(fired.request).await;
        assert_eq!(asked.kind, RequestKind::Sync);
        assert_eq!(asked.console, Some(schemas::ConsoleName::default()), "in its owner's name");
    }
}

pub async fn a_sites_start_and_stop_are_events_of_the_syncs_to_it(scene: &Scene) {
    scene.apply(&with_syncs("{ event: startup }")).await;
    let term = scene.term().await;
    assert_eq!(scene.records.control_side(&term, OwnEvent::Startup).await.unwrap(), 0, "not its own");
    scene.says("paris", 1, false).await;
    assert!(scene.fired().await.is_empty(), "another site's");
    for _ in 0..2 {
        scene.says("lyon", 1, false).await;
    }
    assert_eq!(scene.fired().await, ["sync/rest", "sync/some"]);
    scene.force("UPDATE tide_requests SET state = 'succeeded'").await;
    scene.apply(&with_syncs("{ event: shutdown }")).await;
    scene.says("lyon", 1, false).await;
    assert!(scene.fired().await.is_empty());
    scene.says("lyon", 1, true).await;
    assert_eq!(scene.fired().await, ["sync/rest", "sync/some"]);
}

pub async fn a_sync_is_due_when_another_site_has_extracted_what_it_brings(scene: &Scene) {
    scene.apply(&with_syncs("{ after: paris, delay: 1s }")).await;
    scene.revision("antivirus", 1).await;
    scene.receives("paris", 1).await;
    assert_eq!(scene.look().await, 0, "paris has not extracted");
    scene.extracts("paris", 1).await;
    assert_eq!(scene.look().await, 1, "of the other component nothing was extracted");
    assert_eq!(scene.look().await, 0, "it is due already");
    assert!(scene.fired().await.is_empty(), "not before its delay");
    scene.force("UPDATE tide_due SET due_ms = 1").await;
    let fired = scene.fired_one().await;
    assert_eq!(fired.schedule, "sync/some");
    let asked = scene.asked(fired.request).await;
    assert_eq!((asked.kind, asked.options.revision), (RequestKind::Sync, None), "it brings all that it has to");
    assert!(asked.selector.distributions.is_empty());
    assert_eq!(scene.text("SELECT cause FROM occurrences").await, "after/paris/antivirus/1");
    assert_eq!(scene.look().await, 0, "once for each revision");
    // The next one finds lyon there already, by hand.
    scene.revision("antivirus", 2).await;
    for site in ["lyon", "paris"] {
        scene.receives(site, 2).await;
        scene.extracts(site, 2).await;
    }
    assert_eq!(scene.look().await, 0);
}

pub async fn a_sync_after_an_extraction_joins_none_that_was_planned_before_it(scene: &Scene) {
    scene.apply(&with_syncs("{ after: paris }")).await;
    for revision in 1..=3 {
        scene.revision("antivirus", revision).await;
        scene.receives("paris", revision).await;
        scene.extracts("paris", revision).await;
        assert_eq!(scene.look().await, 1);
        if revision == 3 {
            break;
        }
        let fired = scene.fired_one().await;
        scene.insert(fired.request, &[synced(send("lyon", "antivirus", revision))]).await;
        scene.records.planned(fired.request, None).await.unwrap();
    }
    let term = scene.term().await;
    assert!(scene.records.tick(&term).await.unwrap().is_empty(), "one is at work, and one waits");
    assert_eq!(scene.number("SELECT COUNT(*) FROM occurrences").await, 2, "it is not told as done");
    scene.force("UPDATE tide_requests SET state = 'succeeded'").await;
    scene.force("UPDATE tide_due SET due_ms = 1").await;
    assert_eq!(scene.fired().await, ["sync/some"]);
}

pub async fn a_component_counts_as_it_is_in_effect(scene: &Scene) {
    let fleet = with_syncs("{ after: paris }").replace("hq: { ", "hq: { refresh: never, ");
    scene.apply(&fleet).await;
    scene.force("UPDATE tide_objects SET in_effect = spec WHERE name = 'antivirus'").await;
    scene.force("UPDATE tide_objects SET spec = replace(spec, 'core_1', 'corea1') WHERE name = 'antivirus'").await;
    let some = "SELECT COUNT(*) FROM tide_sync_targets WHERE sync = ";
    assert_eq!(scene.number(&format!("{some}'some'")).await, 1);
    assert_eq!(scene.number(&format!("{some}'rest'")).await, 0, "its change waits for a refresh");
}

fn after(delay: &str) -> String {
    FLEET.replace(
        "lyon: { parent: region, variables: { DEST: /srv }, extract: immediately }",
        &format!("lyon: {{ parent: region, variables: {{ DEST: /srv }}, extract: {{ after: paris{delay} }} }}"),
    )
}

impl Scene {
    /// It holds the revision now.
    async fn receives(&self, subscriber: &str, revision: u64) {
        let job = send(subscriber, "antivirus", revision);
        self.plan(std::slice::from_ref(&job)).await;
        self.report(&[succeeded(&job, sent())]).await;
    }

    async fn extracts(&self, subscriber: &str, revision: u64) {
        let job = extract(subscriber, "antivirus", revision);
        self.plan(std::slice::from_ref(&job)).await;
        self.report(&[succeeded(&job, extracted())]).await;
    }
}

pub async fn an_extraction_is_due_when_anothers_has_succeeded_and_both_hold_it(scene: &Scene) {
    scene.apply(&after("")).await;
    scene.revision("antivirus", 1).await;
    for site in ["paris", "lyon"] {
        scene.receives(site, 1).await;
    }
    assert_eq!(scene.look().await, 0, "paris has not extracted");
    let broken = extract("paris", "antivirus", 1);
    scene.plan(std::slice::from_ref(&broken)).await;
    scene.report(&[failed(&broken, 1, true)]).await;
    assert_eq!(scene.look().await, 0, "what failed there is not due here");
    scene.extracts("paris", 1).await;
    assert_eq!(scene.look().await, 1);
    assert_eq!(scene.look().await, 0, "it is due already");
    let fired = scene.fired_one().await;
    assert_eq!(fired.schedule, "extract/lyon");
    let asked = scene.asked(fired.request).await;
    assert_eq!(asked.kind, RequestKind::Extract);
    assert_eq!(
        (asked.selector.subscribers[0].as_str(), asked.selector.distributions[0].as_str()),
        ("lyon", "antivirus")
    );
    assert_eq!(asked.options.revision, Some(1));
    assert_eq!(scene.look().await, 0, "once for each revision, whatever became of it");
    assert_eq!(scene.text("SELECT cause FROM occurrences").await, "after/paris/antivirus/1");
    // Paris is ahead: lyon follows when it holds it too.
    scene.extracts("lyon", 1).await;
    scene.revision("antivirus", 2).await;
    scene.receives("paris", 2).await;
    scene.extracts("paris", 2).await;
    assert_eq!(scene.look().await, 0, "lyon has not received it");
    scene.receives("lyon", 2).await;
    assert_eq!(scene.look().await, 1);
    assert_eq!(scene.asked(scene.fired_one().await.request).await.options.revision, Some(2));
}

pub async fn an_extraction_after_another_waits_for_its_delay_and_leaves_a_rollback_alone(scene: &Scene) {
    scene.apply(&after(", delay: 30m")).await;
    scene.revision("antivirus", 1).await;
    for site in ["paris", "lyon"] {
        scene.receives(site, 1).await;
    }
    scene.extracts("paris", 1).await;
    scene.force("UPDATE tide_holdings SET pinned = 1 WHERE subscriber = 'lyon'").await;
    assert_eq!(scene.look().await, 0, "lyon went back to an earlier one on purpose");
    scene.force("UPDATE tide_holdings SET pinned = 0").await;
    assert_eq!(scene.look().await, 1);
    assert!(scene.fired().await.is_empty());
    let left = "SELECT due_ms - extracted_ms FROM tide_due d JOIN tide_holdings h ON h.subscriber = 'paris'";
    assert_eq!(
        scene.number(&format!("SELECT n FROM ({}) x", left.replace("extracted_ms F", "extracted_ms AS n F"))).await,
        1_800_000
    );
    // The leader wakes for it, before the next one that time makes due.
    let soon = scene.records.now_ms().await.unwrap() + 60_000;
    scene.force(&format!("UPDATE tide_due SET due_ms = {soon}")).await;
    let due_in_ms = scene.records.due_in_ms().await.unwrap().unwrap();
    assert!((1..=60_000).contains(&due_in_ms), "{due_in_ms}");
    scene.force("UPDATE tide_due SET due_ms = 1").await;
    assert!(scene.records.due_in_ms().await.unwrap().unwrap() <= 0);
    assert_eq!(scene.fired().await, ["extract/lyon"]);
}

pub async fn occurrences_run_beside_each_other_up_to_a_bound(scene: &Scene) {
    scene.apply(&EVENTFUL.replace("send: { event: doors-open }", "send: { event: doors-open, overlap: beside }")).await;
    let mut began = 0;
    for _ in 0..BESIDE_MAX + 3 {
        scene.records.post_events(&event("doors-open")).await.unwrap();
        began += scene.fired().await.iter().filter(|name| *name == "send/protect").count();
    }
    assert_eq!(began, BESIDE_MAX);
    let joined = "SELECT COUNT(*) FROM occurrences WHERE schedule = 'send/protect' AND outcome = 'joined'";
    assert_eq!(scene.number(joined).await, 3, "beyond the bound they join the last");
    let last =
        "SELECT id FROM requests WHERE origin = 'schedule' AND kind = 'send' ORDER BY created_at DESC, id DESC LIMIT 1";
    let of = format!("{joined} AND request_id = '{}'", scene.text(last).await);
    assert_eq!(scene.number(&of).await, 3);
    // Each stays its own, also at a site where none gets done.
    scene.revision("antivirus", 1).await;
    let open =
        scene.ids("SELECT id FROM requests WHERE origin = 'schedule' AND kind = 'send' ORDER BY created_at, id").await;
    for id in &open {
        scene.insert(*id, &[send("paris", "antivirus", 1)]).await;
        scene.records.planned(*id, None).await.unwrap();
    }
    let open = "SELECT COUNT(*) FROM requests WHERE origin = 'schedule' AND kind = 'send' AND state = 'open'";
    assert_eq!(scene.number(open).await, BESIDE_MAX as i64);
    assert_eq!(scene.number("SELECT COUNT(*) FROM jobs WHERE kind = 'send'").await, 1, "which one job does for all");
    scene.force("UPDATE tide_requests SET state = 'succeeded'").await;
    scene.records.post_events(&event("doors-open")).await.unwrap();
    assert!(scene.fired().await.contains(&"send/protect".to_owned()), "there is room again");
}

/// A window of all day, open whenever the test runs.
const STOPPING: &str = "send: { daily: all, window: '00:00-24:00', repeat_every: 1h, stop_at_end: true }";

impl Scene {
    /// The send of paris, asked for by the schedule.
    async fn scheduled(&self) -> (Fired, records::PlannedJob, records::Inserted) {
        let now = self.records.now_ms().await.unwrap();
        self.force(&format!("UPDATE tide_schedules SET through_ms = {now} - 3600000, anchor_ms = 0, next_due_ms = 0 WHERE name = 'send/protect'")).await;
        let fired = self.fired_one().await;
        let job = send("paris", "antivirus", 1);
        let inserted = self.insert(fired.request, std::slice::from_ref(&job)).await;
        self.records.planned(fired.request, None).await.unwrap();
        (fired, job, inserted)
    }

    async fn of_job(&self, column: &str, job: &records::PlannedJob) -> i64 {
        self.number(&format!("SELECT COALESCE({column}, 0) AS n FROM tide_jobs WHERE id = '{}'", job.id)).await
    }
}

pub async fn what_its_windows_end_stopped_goes_on_in_the_next_and_no_try_is_counted(scene: &Scene) {
    scene.apply(&FLEET.replace("send: immediately", STOPPING)).await;
    scene.revision("antivirus", 1).await;
    let (fired, job, inserted) = scene.scheduled().await;
    let window_end_ms =
        scene.number(&format!("SELECT window_end_ms FROM tide_requests WHERE id = '{}'", fired.request)).await;
    let schemas::Task::Send(task) = &inserted.publish[0].message.task else { panic!("{inserted:?}") };
    assert_eq!(task.stop_at_ms, Some(window_end_ms), "the window's end travels with the job");
    scene.report(&[super::started(&job)]).await;
    let recorded = scene.report(&[report(&job, 1, Event::Stopped { window_end_ms })]).await;
    assert!(recorded.publish.is_empty(), "the next window is not open: {recorded:?}");
    assert_eq!(scene.state(job.id).await, "waiting");
    let told =
        format!("SELECT error_code FROM jobs WHERE id = '{}' AND attempt = 1 AND not_before IS NOT NULL", job.id);
    assert_eq!(scene.text(&told).await, "window-ended");
    let event = format!("SELECT COUNT(*) FROM job_history WHERE job_id = '{}' AND event = 'stopped'", job.id);
    assert_eq!(scene.number(&event).await, 1);
    assert_eq!(scene.of_job("not_before_ms", &job).await, window_end_ms, "the next day's begins with this one's end");
    let next_end = scene.of_job("stop_at_ms", &job).await;
    assert!(next_end >= window_end_ms + 23 * 3_600_000, "{next_end}");
    // The window is over: what had not begun is cancelled, and what was stopped is not.
    scene.force(&format!("UPDATE tide_requests SET window_end_ms = 1 WHERE id = '{}'", fired.request)).await;
    let term = scene.term().await;
    assert!(scene.records.close_windows(&term).await.unwrap().cancelled.is_empty());
    // The next window opens.
    scene.force(&format!("UPDATE tide_jobs SET not_before_ms = 1 WHERE id = '{}'", job.id)).await;
    let swept = scene.sweep().await;
    let schemas::Task::Send(task) = &swept.publish[0].message.task else { panic!("{swept:?}") };
    assert_eq!((swept.publish[0].message.attempt, task.stop_at_ms), (1, Some(next_end)));
    scene.report(&[succeeded(&job, sent())]).await;
    assert_eq!(scene.text(&format!("SELECT state FROM requests WHERE id = '{}'", fired.request)).await, "succeeded");
    assert_eq!(scene.text(&format!("SELECT error_code FROM jobs WHERE id = '{}'", job.id)).await, "null");
}

pub async fn what_waits_for_its_window_begins_now_if_a_person_asks_for_it(scene: &Scene) {
    scene.apply(&FLEET.replace("send: immediately", STOPPING)).await;
    scene.revision("antivirus", 1).await;
    let (_, job, _) = scene.scheduled().await;
    let window_end_ms = scene.of_job("stop_at_ms", &job).await;
    scene.report(&[report(&job, 1, Event::Stopped { window_end_ms })]).await;
    let by_hand = scene.request().await;
    let inserted = scene.insert(by_hand, &[send("paris", "antivirus", 1)]).await;
    assert_eq!(inserted.attached, 1);
    let schemas::Task::Send(task) = &inserted.publish[0].message.task else { panic!("{inserted:?}") };
    assert_eq!((inserted.publish[0].job, task.stop_at_ms), (job.id, None));
    // The report of the first stop comes once more: the job goes out again, and is not put off.
    let late = scene.report(&[report(&job, 1, Event::Stopped { window_end_ms })]).await;
    assert_eq!(late.publish.len(), 1, "{late:?}");
}

pub async fn a_syncs_sends_and_extracts_stop_at_its_windows_end(scene: &Scene) {
    scene.apply(&with_syncs(STOPPING.trim_start_matches("send: "))).await;
    scene.revision("antivirus", 1).await;
    let now = scene.records.now_ms().await.unwrap();
    scene.force(&format!("UPDATE tide_schedules SET through_ms = {now} - 3600000, anchor_ms = 0, next_due_ms = 0 WHERE name = 'sync/some'")).await;
    let fired = scene.fired_one().await;
    let job = synced(send("lyon", "antivirus", 1));
    let inserted = scene.insert(fired.request, std::slice::from_ref(&job)).await;
    scene.records.planned(fired.request, None).await.unwrap();
    let window_end_ms =
        scene.number(&format!("SELECT window_end_ms FROM tide_requests WHERE id = '{}'", fired.request)).await;
    let schemas::Task::Send(task) = &inserted.publish[0].message.task else { panic!("{inserted:?}") };
    assert_eq!(task.stop_at_ms, Some(window_end_ms), "the window's end travels with the job");
    scene.report(&[super::started(&job)]).await;
    scene.report(&[report(&job, 1, Event::Stopped { window_end_ms })]).await;
    assert_eq!(scene.state(job.id).await, "waiting");
    assert_eq!(scene.of_job("not_before_ms", &job).await, window_end_ms, "the next window of the sync");
}

pub async fn a_stopped_job_goes_on_at_once_when_its_schedule_stops_nothing_any_more(scene: &Scene) {
    scene.apply(&FLEET.replace("send: immediately", STOPPING)).await;
    scene.revision("antivirus", 1).await;
    let (_, job, _) = scene.scheduled().await;
    let window_end_ms = scene.of_job("stop_at_ms", &job).await;
    scene.apply(&FLEET.replace("send: immediately", &STOPPING.replace(", stop_at_end: true", ""))).await;
    let recorded = scene.report(&[report(&job, 1, Event::Stopped { window_end_ms })]).await;
    let schemas::Task::Send(task) = &recorded.publish[0].message.task else { panic!("{recorded:?}") };
    assert_eq!(task.stop_at_ms, None);
    let without = scene.revision("patches", 1).await;
    assert_eq!(scene.state(without).await, "succeeded");
}
