//! A bounded number of children that are served at a time. A child has one place for all its requests under way; as soon as
//! another one waits, new requests stand in line behind it, so that everybody gets on. It knows nothing of what is served.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use schemas::SubscriberName;
use tokio::sync::oneshot;

/// Shared by its clones.
#[derive(Clone, Default)]
pub struct Places {
    table: Arc<Mutex<Table>>,
}

#[derive(Default)]
struct Table {
    /// None: as many as come.
    children_max: Option<usize>,
    /// Requests under way of each child.
    served: HashMap<SubscriberName, usize>,
    waiting: VecDeque<Waiting>,
}

struct Waiting {
    child: SubscriberName,
    admit: oneshot::Sender<Place>,
}

/// One request's share of its child's place; dropping it passes on what comes free.
pub struct Place {
    places: Places,
    child: SubscriberName,
}

impl Places {
    /// Who is served already stays, though it be more.
    pub fn set(&self, children_max: Option<u32>) {
        let admitted = {
            let mut table = self.lock();
            table.children_max = children_max.map(|max| max.max(1) as usize);
            table.admit()
        };
        self.hand_out(admitted);
    }

    /// `None`: there was no place within that time.
    pub async fn take(&self, child: &SubscriberName, wait_max: Duration) -> Option<Place> {
        let waiting = {
            let mut table = self.lock();
            if table.waiting.is_empty() && table.fits(child) {
                table.enter(child);
                return Some(Place { places: self.clone(), child: child.clone() });
            }
            let (admit, admitted) = oneshot::channel();
            table.waiting.push_back(Waiting { child: child.clone(), admit });
            admitted
        };
        tokio::time::timeout(wait_max, waiting).await.ok()?.ok()
    }

    fn leave(&self, child: &SubscriberName) {
        let admitted = {
            let mut table = self.lock();
            table.leave(child);
            table.admit()
        };
        self.hand_out(admitted);
    }

    /// Without the lock: who gave up waiting drops the place, which passes it on.
    fn hand_out(&self, admitted: Vec<Waiting>) {
        for Waiting { child, admit } in admitted {
            let _ = admit.send(Place { places: self.clone(), child });
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn fits(&self, child: &SubscriberName) -> bool {
        self.served.contains_key(child) || self.children_max.is_none_or(|max| self.served.len() < max)
    }

    fn enter(&mut self, child: &SubscriberName) {
        *self.served.entry(child.clone()).or_default() += 1;
    }

    fn leave(&mut self, child: &SubscriberName) {
        if let Some(requests) = self.served.get_mut(child) {
            *requests -= 1;
            if *requests == 0 {
                self.served.remove(child);
            }
        }
    }

    /// Those from the front of the line that there is a place for now.
    fn admit(&mut self) -> Vec<Waiting> {
        let mut admitted = Vec::new();
        while let Some(next) = self.waiting.pop_front() {
            if next.admit.is_closed() {
                continue;
            }
            if !self.fits(&next.child) {
                self.waiting.push_front(next);
                break;
            }
            self.enter(&next.child);
            admitted.push(next);
        }
        admitted
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.leave(&self.child);
    }
}

impl fmt::Debug for Places {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let table = self.lock();
        let mut shown = f.debug_struct("Places");
        shown.field("children_max", &table.children_max).field("served", &table.served.len());
        shown.field("waiting", &table.waiting.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(20);
    const LONG: Duration = Duration::from_secs(10);

    fn name(text: &str) -> SubscriberName {
        text.try_into().unwrap()
    }

    fn places(children_max: u32) -> Places {
        let places = Places::default();
        places.set(Some(children_max));
        places
    }

    #[tokio::test]
    async fn a_child_has_one_place_for_all_its_requests_and_the_next_child_waits() {
        let places = places(1);
        let first = places.take(&name("paris"), SHORT).await.unwrap();
        let second = places.take(&name("paris"), SHORT).await.unwrap();
        assert!(places.take(&name("lyon"), SHORT).await.is_none());
        drop(first);
        assert!(places.take(&name("lyon"), SHORT).await.is_none());
        drop(second);
        assert!(places.take(&name("lyon"), SHORT).await.is_some());
    }

    #[tokio::test]
    async fn who_waits_gets_on_though_the_other_asks_without_end() {
        let places = places(1);
        let under_way = places.take(&name("paris"), SHORT).await.unwrap();
        let lyon = tokio::spawn({
            let places = places.clone();
            async move { places.take(&name("lyon"), LONG).await.is_some() }
        });
        while places.lock().waiting.is_empty() {
            tokio::task::yield_now().await;
        }
        assert!(places.take(&name("paris"), SHORT).await.is_none(), "its next request stands behind lyon");
        drop(under_way);
        assert!(lyon.await.unwrap());
        assert!(places.take(&name("paris"), LONG).await.is_some());
    }

    #[tokio::test]
    async fn a_place_is_not_lost_with_one_who_gave_up_waiting() {
        let places = places(1);
        let first = places.take(&name("paris"), SHORT).await.unwrap();
        assert!(places.take(&name("lyon"), SHORT).await.is_none());
        drop(first);
        assert!(places.take(&name("tokyo"), SHORT).await.is_some());
        assert_eq!(format!("{places:?}"), "Places { children_max: Some(1), served: 0, waiting: 0 }");
    }

    #[tokio::test]
    async fn a_raised_limit_lets_in_who_waits() {
        let places = places(1);
        let _first = places.take(&name("paris"), SHORT).await.unwrap();
        let lyon = tokio::spawn({
            let places = places.clone();
            async move { places.take(&name("lyon"), LONG).await.is_some() }
        });
        while places.lock().waiting.is_empty() {
            tokio::task::yield_now().await;
        }
        places.set(None);
        assert!(lyon.await.unwrap());
    }
}
