//! What leaves for children: so many of them at once, and at the rate of the content's priority. It knows no content, and
//! nobody's key.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::Response;
use blobs::Pace;
use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use schemas::{Priority, RatesByPriority, SubscriberName};

use super::places::{Place, Places};
use super::refusal::Refusal;

/// Shared by its clones. At first nothing is limited.
#[derive(Debug, Clone, Default)]
pub struct Outflow {
    places: Places,
    high: Arc<Pace>,
    medium: Arc<Pace>,
    low: Arc<Pace>,
}

impl Outflow {
    /// Counts at once, for answers under way too.
    pub fn set(&self, rates: RatesByPriority, children_max: Option<u32>) {
        for priority in [Priority::High, Priority::Medium, Priority::Low] {
            self.pace(priority).set(rates.of(priority));
        }
        self.places.set(children_max);
    }

    /// A place for this child, which it has until the answer is gone or given up.
    pub(super) async fn place(&self, child: &SubscriberName, wait_max: Duration) -> Result<Place, Refusal> {
        self.places.take(child, wait_max).await.ok_or(Refusal::Busy)
    }

    /// The same answer, no faster than it may go.
    pub(super) fn pass(&self, answer: Response<Body>, priority: Priority, place: Place) -> Response<Body> {
        let pace = self.pace(priority).clone();
        answer.map(|body| Body::from_stream(paced(body, pace, place)))
    }

    fn pace(&self, priority: Priority) -> &Arc<Pace> {
        match priority {
            Priority::High => &self.high,
            Priority::Medium => &self.medium,
            Priority::Low => &self.low,
        }
    }
}

fn paced(body: Body, pace: Arc<Pace>, place: Place) -> impl Stream<Item = Result<Bytes, axum::Error>> {
    let cutter = pace.clone();
    let parts = body.into_data_stream().flat_map(move |part| {
        stream::iter(match part {
            Ok(bytes) => cut(bytes, cutter.part_bytes()).into_iter().map(Ok).collect(),
            Err(fault) => vec![Err(fault)],
        })
    });
    parts.then(move |part| {
        // It is held for as long as this stream is.
        let (_held, pace) = (&place, pace.clone());
        async move {
            if let Ok(bytes) = &part {
                pace.take(bytes.len() as u64).await;
            }
            part
        }
    })
}

fn cut(mut bytes: Bytes, part_bytes: Option<u64>) -> Vec<Bytes> {
    let part_bytes = part_bytes.map_or(usize::MAX, |bytes| bytes.max(1) as usize);
    let mut parts = Vec::new();
    while bytes.len() > part_bytes {
        parts.push(bytes.split_to(part_bytes));
    }
    parts.push(bytes);
    parts
}
