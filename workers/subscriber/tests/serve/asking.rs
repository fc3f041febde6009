//! Who asks, and how: what is refused, and by which code.

use blobs::wire::RangesRequest;
use blobs::{BlobError, ReadBlobs, SiteKey, wire};
use std::sync::Arc;
use std::time::Duration;
use subscriber::serve::ServeLimits;
use testkit::Counting;
use tokio::time::timeout;

use super::parent::*;

#[tokio::test]
async fn strangers_wrong_keys_and_wrong_audiences_get_nothing() {
    let revision = Revision::of(10_000).await;
    let origin = Counting::of(revision.origin.clone());
    let parent = Parent::start(vec![origin.clone()]).await;
    let other = SiteKey::generate().unwrap();
    for (child, why) in [
        (parent.child_as("paris", "region", &other), "signature-wrong"),
        (parent.child_as("paris", "elsewhere", &parent.child_key), "signature-wrong"),
        (parent.child_as("lyon", "region", &parent.child_key), "unknown-child"),
    ] {
        for fault in [
            child.get(&revision.index_key, 1 << 20).await.unwrap_err(),
            child.size(&revision.pack).await.unwrap_err(),
            child.get_ranges(&revision.pack, &[0..5, 7..9]).await.unwrap_err(),
        ] {
            let BlobError::Refused { reason, .. } = &fault else { panic!("{fault}") };
            assert!(reason == "401 " || *reason == format!("401 {why}"), "{reason}");
        }
    }
    assert_eq!((origin.bytes(), parent.served().len()), (0, 0));
}

#[tokio::test]
async fn a_child_whose_key_is_on_its_way_is_waited_for() {
    let revision = Revision::of(10_000).await;
    let parent = Parent::start_with(vec![Arc::new(revision.origin.clone())], ServeLimits::default()).await;
    let key = SiteKey::generate().unwrap();
    let (child, wanted) = (parent.child_as("lyon", "region", &key), revision.index_key);
    let mut asking = tokio::spawn(async move { child.get(&wanted, 1 << 20).await });
    assert!(timeout(Duration::from_millis(100), &mut asking).await.is_err(), "it is neither served nor refused");
    parent.children.replace(2, &[listed("lyon", &key)]).unwrap();
    timeout(PATIENCE, asking).await.expect("it is served now").unwrap().unwrap();
}

#[tokio::test]
async fn only_so_many_strangers_are_waited_for() {
    const ASKING: usize = 40;
    const WAITED_FOR: usize = 32;
    let limits = ServeLimits { stranger_max: PATIENCE * 2, ..ServeLimits::default() };
    let revision = Revision::of(10_000).await;
    let parent = Parent::start_with(vec![Arc::new(revision.origin.clone())], limits).await;
    let mut asking = tokio::task::JoinSet::new();
    for number in 0..ASKING {
        let stranger = parent.child_as(&format!("stranger-{number}"), "region", &SiteKey::generate().unwrap());
        let wanted = revision.index_key;
        asking.spawn(async move { stranger.get(&wanted, 1 << 20).await });
    }
    for _ in WAITED_FOR..ASKING {
        let refused = timeout(PATIENCE, asking.join_next()).await.expect("it is refused at once").unwrap().unwrap();
        assert!(matches!(refused, Err(BlobError::Refused { .. })), "{refused:?}");
    }
    assert!(timeout(Duration::from_millis(100), asking.join_next()).await.is_err(), "the others are waited for");
}

#[tokio::test]
async fn a_child_that_is_struck_off_is_refused_on_its_open_connection() {
    let revision = Revision::of(10_000).await;
    let parent = Parent::start(vec![Arc::new(revision.origin.clone())]).await;
    let child = parent.child();
    child.get(&revision.index_key, 1 << 20).await.unwrap();
    parent.children.replace(2, &[]).unwrap();
    assert!(matches!(child.get(&revision.index_key, 1 << 20).await, Err(BlobError::Refused { .. })));
}

#[tokio::test]
async fn altered_skewed_and_replayed_requests_get_nothing() {
    let revision = Revision::of(10_000).await;
    let parent = Parent::start(vec![Arc::new(revision.origin.clone())]).await;
    let path = wire::content_path(&revision.index_key);
    let good = ByHand {
        signed_path: &path,
        sent_path: &path,
        signed_body: b"",
        sent_body: b"",
        signed_range: Some("bytes=0-3"),
        sent_range: Some("bytes=0-3"),
        timestamp_ms: now_ms(),
    };
    let headers = good.headers(&parent);
    assert_eq!(good.send(&parent, &headers).await.0, 206);
    assert_eq!(good.send(&parent, &headers).await, (401, "request-replayed".to_owned()));
    let served = parent.served();

    let other_path = wire::content_path(&revision.pack);
    let (ranges_path, ranges) = (wire::ranges_path(&revision.index_key), RangesRequest::of(&[0..3]));
    let ranges = serde_json::to_vec(&ranges).unwrap();
    let wrong = "signature-wrong";
    for (altered, why) in [
        (ByHand { sent_path: &other_path, ..good }, wrong),
        (ByHand { sent_range: Some("bytes=0-9"), ..good }, wrong),
        (ByHand { sent_range: None, ..good }, wrong),
        (ByHand { sent_path: &ranges_path, signed_path: &ranges_path, sent_body: &ranges, ..good }, wrong),
        (ByHand { timestamp_ms: now_ms() - 301_000, ..good }, "clock-skew"),
        (ByHand { timestamp_ms: now_ms() + 301_000, ..good }, "clock-skew"),
    ] {
        let answer = altered.send(&parent, &altered.headers(&parent)).await;
        assert_eq!(answer, (401, why.to_owned()));
    }
    assert_eq!(good.send(&parent, &[]).await, (401, "signature-missing".to_owned()));
    let mut doubled = good.headers(&parent);
    doubled.push(doubled[0].clone());
    assert_eq!(good.send(&parent, &doubled).await, (401, "signature-missing".to_owned()));
    assert_eq!(parent.served(), served, "something was served");
}

#[tokio::test]
async fn malformed_requests_of_a_child_are_refused_by_code() {
    let revision = Revision::of(10_000).await;
    let parent = Parent::start(vec![Arc::new(revision.origin.clone())]).await;
    let key = wire::content_path(&revision.index_key);
    let ranges = wire::ranges_path(&revision.index_key);
    let too_many = serde_json::to_vec(&RangesRequest { ranges: vec![(0, 1); wire::RANGES_MAX + 1] }).unwrap();
    let too_large = vec![b' '; wire::REQUEST_BYTES_MAX + 1];
    for (path, body, range, status) in [
        ("/v1/content/etc/packs/passwd", &b""[..], None, 400),
        ("/etc/passwd", b"", None, 404),
        (&format!("{key}?x=1"), b"", None, 400),
        (&key, b"", Some("bytes=5-"), 400),
        (&key, b"", Some("bytes=0-999999"), 416),
        (&ranges, b"{\"ranges\":[[5,5]]}", None, 400),
        (&ranges, b"{\"ranges\":[[5,6]],\"more\":1}", None, 400),
        (&ranges, b"[[[[[[[[", None, 400),
        (&ranges, &too_many, None, 400),
        (&ranges, &too_large, None, 413),
    ] {
        let request = ByHand {
            signed_path: path,
            sent_path: path,
            signed_body: body,
            sent_body: body,
            signed_range: range,
            sent_range: range,
            timestamp_ms: now_ms(),
        };
        let (got, reason) = request.send(&parent, &request.headers(&parent)).await;
        assert_eq!(got, status, "{path} {range:?}: {reason}");
    }
}
