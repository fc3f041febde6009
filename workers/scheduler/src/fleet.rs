//! The fleet in effect, in memory once for all loops of a scheduler. It knows not what they want of it.

use std::sync::Arc;

use records::{Fleet, Records, RecordsError};
use tokio::sync::Mutex;

#[derive(Default)]
pub(crate) struct InEffect(Mutex<Option<Arc<Fleet>>>);

impl InEffect {
    /// Read again if something changed what is in effect; two that ask at once read it once.
    pub async fn get(&self, records: &Records) -> Result<Arc<Fleet>, RecordsError> {
        let mut known = self.0.lock().await;
        let version = records.version_in_effect().await?;
        if let Some(fleet) = known.as_ref().filter(|fleet| fleet.version == version) {
            return Ok(fleet.clone());
        }
        // What it replaces goes first: a large fleet is not there twice.
        *known = None;
        let fleet = Arc::new(records.fleet_in_effect().await?);
        *known = Some(fleet.clone());
        Ok(fleet)
    }

    /// Before something else reads the definitions whole.
    pub async fn forget(&self) {
        *self.0.lock().await = None;
    }
}
