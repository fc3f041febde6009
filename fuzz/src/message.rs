//! Messages: jobs, requests, reports, controls, beats.

use schemas::{Beat, Control, JobMessage, Reply, Reports, Request};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub fn message(bytes: &[u8]) {
    of::<JobMessage>(bytes);
    of::<Request>(bytes);
    of::<Reports>(bytes);
    of::<Control>(bytes);
    of::<Beat>(bytes);
    of::<Reply>(bytes);
}

/// What is read and written again is read as the same.
fn of<T: Serialize + DeserializeOwned>(bytes: &[u8]) {
    let Ok(read) = serde_json::from_slice::<T>(bytes) else { return };
    let written = serde_json::to_value(&read).expect("what was read can be written");
    let again: T = serde_json::from_value(written.clone()).expect("what was written can be read");
    assert_eq!(serde_json::to_value(again).expect("it was written before"), written);
}
