use records::{Acceptance, RecordsError};
use schemas::{Request, RequestId, RequestKind};
use uuid::Uuid;

use super::{FLEET, Scene, build, built, failed, send, sent, succeeded};

fn request() -> Request {
    let mut request = Request::new(RequestId(Uuid::now_v7()), RequestKind::Build);
    request.selector.distributions.push("antivirus".try_into().unwrap());
    request
}

pub async fn the_same_request_twice_is_one_and_another_body_is_a_conflict(scene: &Scene) {
    let first = request();
    let mut other = first.clone();
    other.options.force = true;
    let answers = scene.records.accept(&[first.clone(), first.clone(), other], "test").await.unwrap();
    assert_eq!(*answers[0].as_ref().unwrap(), Acceptance::New);
    assert_eq!(*answers[1].as_ref().unwrap(), Acceptance::Known);
    assert!(matches!(answers[2], Err(RecordsError::RequestConflict { .. })));
    assert_eq!(scene.number("SELECT COUNT(*) FROM requests").await, 1);
    let again = scene.records.accept(&[first], "test").await.unwrap();
    assert_eq!(*again[0].as_ref().unwrap(), Acceptance::Known);
}

pub async fn a_request_without_jobs_succeeds_at_once(scene: &Scene) {
    let id = scene.request().await;
    scene.records.planned(id, Some("nothing to do")).await.unwrap();
    let status = scene.records.request_status(id).await.unwrap().unwrap();
    assert_eq!((status.state.as_str(), status.jobs), ("succeeded", 0));
}

pub async fn a_request_fails_if_any_job_failed(scene: &Scene) {
    scene.apply(FLEET).await;
    scene.revision("antivirus", 1).await;
    let (good, bad) = (send("paris", "antivirus", 1), send("lyon", "antivirus", 1));
    let (id, _) = scene.plan(&[good.clone(), bad.clone()]).await;
    scene.report(&[failed(&bad, 1, true)]).await;
    assert_eq!(scene.records.request_status(id).await.unwrap().unwrap().state, "open");
    scene.report(&[succeeded(&good, sent())]).await;
    assert_eq!(scene.records.request_status(id).await.unwrap().unwrap().state, "failed");
}

pub async fn a_job_that_ends_just_as_its_request_is_planned_ends_the_request(scene: &Scene) {
    const ROUNDS: usize = 40;
    scene.apply(FLEET).await;
    for number in 1..=ROUNDS as u64 {
        let job = build("antivirus");
        let request = scene.request().await;
        scene.insert(request, std::slice::from_ref(&job)).await;
        let end = [succeeded(&job, built("antivirus", number))];
        let (planned, _) = tokio::join!(scene.records.planned(request, None), scene.report(&end));
        planned.unwrap();
        assert_eq!(scene.records.request_status(request).await.unwrap().unwrap().state, "succeeded", "round {number}");
    }
}

pub async fn two_planners_never_claim_one_request(scene: &Scene) {
    let requests: Vec<Request> = (0..40).map(|_| request()).collect();
    scene.records.accept(&requests, "test").await.unwrap();
    let claims = (0..4).map(|_| {
        let records = scene.records.clone();
        tokio::spawn(async move { records.claim_requests().await.unwrap() })
    });
    let mut all = Vec::new();
    for claim in claims.collect::<Vec<_>>() {
        all.extend(claim.await.unwrap().into_iter().map(|pending| pending.request.id));
    }
    all.extend(scene.records.claim_requests().await.unwrap().into_iter().map(|pending| pending.request.id));
    let distinct: std::collections::BTreeSet<_> = all.iter().collect();
    assert_eq!((all.len(), distinct.len()), (40, 40));
}
