use records::Published;
use schemas::Task;

use super::{FLEET, Scene, build, carried, send};

pub async fn a_publisher_that_wakes_late_changes_nothing(scene: &Scene) {
    scene.revision("antivirus", 1).await;
    let job = send("paris", "antivirus", 1);
    let (_, inserted) = scene.plan(std::slice::from_ref(&job)).await;
    let late = Published { job: job.id, seq: inserted.publish[0].seq };
    // Its claim runs out while it sleeps, and another takes the job up.
    scene.force("UPDATE tide_jobs SET claimed_until_ms = 0").await;
    let again = scene.records.claim_unpublished().await.unwrap();
    assert_eq!(again.len(), 1);
    assert!(again[0].seq.n > late.seq.n, "the site can tell which is newer");
    assert_eq!(scene.records.published(&[late]).await.unwrap(), 0);
    assert_eq!(scene.records.published(&[Published { job: job.id, seq: again[0].seq }]).await.unwrap(), 1);
    assert!(scene.records.claim_unpublished().await.unwrap().is_empty());
}

pub async fn what_was_never_confirmed_is_claimed_again_under_a_new_number(scene: &Scene) {
    scene.revision("antivirus", 1).await;
    let job = send("paris", "antivirus", 1);
    let (_, inserted) = scene.plan(std::slice::from_ref(&job)).await;
    assert!(scene.records.claim_unpublished().await.unwrap().is_empty(), "somebody is at it");
    let failed = Published { job: job.id, seq: inserted.publish[0].seq };
    scene.records.unpublished(&[failed], -1_000).await.unwrap();
    let again = scene.records.claim_unpublished().await.unwrap();
    assert_eq!(again.iter().map(|m| (m.job, m.seq.n)).collect::<Vec<_>>(), [(job.id, 2)]);
}

pub async fn a_new_epoch_publishes_what_waited_again(scene: &Scene) {
    scene.revision("antivirus", 1).await;
    let job = send("paris", "antivirus", 1);
    let (_, inserted) = scene.plan(std::slice::from_ref(&job)).await;
    let before = inserted.publish[0].seq;
    scene.records.published(&[Published { job: job.id, seq: before }]).await.unwrap();
    scene.records.new_epoch().await.unwrap();
    let again = scene.records.claim_unpublished().await.unwrap();
    assert_eq!(again.len(), 1);
    assert!(again[0].seq > before && again[0].seq.epoch > before.epoch);
}

pub async fn an_extract_travels_in_its_sends_message(scene: &Scene) {
    scene.apply(FLEET).await;
    scene.revision("antivirus", 1).await;
    let send = send("paris", "antivirus", 1);
    let extract = carried(&send);
    let (_, inserted) = scene.plan(&[send.clone(), extract.clone()]).await;
    assert_eq!(inserted.publish.len(), 1, "two rows, one trip");
    let message = &inserted.publish[0].message;
    let Task::Send(task) = &message.task else { panic!("{message:?}") };
    assert_eq!(task.revision.number, 1);
    let then = message.then.as_ref().unwrap();
    assert_eq!((then.job, then.task.revision), (extract.id, task.revision));
    let settings = message.settings.as_ref().expect("the site has no settings yet");
    assert_eq!(settings.variables["DEST"], "/srv");
}

pub async fn a_build_knows_the_revisions_that_get_a_patch_to_its_own(scene: &Scene) {
    for number in 1..=4 {
        scene.revision("antivirus", number).await;
    }
    let (_, inserted) = scene.plan(&[build("antivirus")]).await;
    let Task::Build(task) = &inserted.publish[0].message.task else { panic!("{inserted:?}") };
    assert_eq!((task.number, task.previous.map(|previous| previous.number)), (5, Some(4)));
    assert_eq!(task.earlier.iter().map(|earlier| earlier.number).collect::<Vec<_>>(), [3, 2], "and not all");
}
