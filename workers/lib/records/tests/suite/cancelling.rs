use super::{Scene, failed, report, send, sent, succeeded};

pub async fn what_nobody_has_is_cancelled_at_once(scene: &Scene) {
    for i in 0..3 {
        scene.revision(&format!("d{i}"), 1).await;
    }
    let jobs: Vec<_> = (0..3).map(|i| send("paris", &format!("d{i}"), 1)).collect();
    let (request, _) = scene.plan(&jobs).await;
    let outcome = scene.records.cancel(&[jobs[2].id]).await.unwrap();
    assert_eq!((outcome.cancelled.as_slice(), outcome.asked.len()), ([jobs[2].id].as_slice(), 0));
    assert_eq!(scene.state(jobs[2].id).await, "cancelled");
    scene.report(&[succeeded(&jobs[0], sent()), succeeded(&jobs[1], sent())]).await;
    assert_eq!(scene.records.request_status(request).await.unwrap().unwrap().state, "cancelled");
}

pub async fn what_a_site_has_is_asked_and_success_wins(scene: &Scene) {
    scene.revision("antivirus", 1).await;
    scene.revision("patches", 1).await;
    let (done, stopped) = (send("paris", "antivirus", 1), send("paris", "patches", 1));
    scene.plan(&[done.clone(), stopped.clone()]).await;
    let outcome = scene.records.cancel(&[done.id, stopped.id]).await.unwrap();
    assert_eq!((outcome.cancelled.len(), outcome.asked.len()), (0, 2));
    scene.report(&[succeeded(&done, sent()), report(&stopped, 1, schemas::Event::Cancelled {})]).await;
    assert_eq!((scene.state(done.id).await, scene.state(stopped.id).await), ("succeeded".into(), "cancelled".into()));
    let over = scene.records.cancel(&[done.id]).await.unwrap();
    assert_eq!(over.over, [done.id]);
}

pub async fn a_retry_is_a_new_job(scene: &Scene) {
    scene.revision("antivirus", 1).await;
    let job = send("paris", "antivirus", 1);
    scene.plan(std::slice::from_ref(&job)).await;
    let request = scene.request().await;
    assert!(scene.records.retries(request, &[job.id]).await.is_err(), "it is still open");
    scene.report(&[failed(&job, 1, true)]).await;
    let again = scene.records.retries(request, &[job.id]).await.unwrap();
    let inserted = scene.insert(request, &again).await;
    assert_eq!((inserted.new, inserted.publish.len()), (1, 1));
    assert_ne!(again[0].id, job.id);
    assert_eq!(
        scene.text(&format!("SELECT retry_of FROM jobs WHERE id = '{}'", again[0].id)).await,
        job.id.to_string()
    );
    assert_eq!(scene.state(job.id).await, "failed", "a terminal state never changes");
    scene.report(&[succeeded(&again[0], sent())]).await;
    assert_eq!(scene.number("SELECT retried FROM failures").await, 1);
}
