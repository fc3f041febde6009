//! What is recorded of a mirrored target, and how it is set right after a crash. It writes no tree.

use schemas::RevisionRef;
use serde::{Deserialize, Serialize};

use super::catalog::CatalogRef;
use super::error::TreeError;
use super::install::Installed;
use super::node::Node;
use super::records::{Records, Stated};

pub(super) const STATE: &str = "mirror.json";
const STATE_SCHEMA: u32 = 1;

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct State {
    pub schema: u32,
    pub target: String,
    /// Counts installations, to name records.
    pub serial: u64,
    /// A standby directory is about to be made: an empty one without a record is ours.
    pub claimed: bool,
    pub live: Option<Tree>,
    pub standby: Option<Tree>,
    /// The staged tree, complete and on disk, about to become the target.
    pub pending: Option<Pending>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tree {
    pub node: Node,
    /// None: being staged, or not ours.
    pub revision: Option<RevisionRef>,
    pub catalog: Option<CatalogRef>,
    /// Somebody else's, set aside when the target was taken over.
    pub foreign: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Pending {
    pub tree: Tree,
    /// What the live tree is called once it stands aside.
    pub aside: Option<Tree>,
    pub result: Installed,
}

impl Stated for State {
    const SCHEMA: u32 = STATE_SCHEMA;

    fn schema(&self) -> u32 {
        self.schema
    }

    fn target(&self) -> &str {
        &self.target
    }
}

impl State {
    pub fn load(records: &Records, target: &str) -> Result<State, TreeError> {
        Ok(records.load_state(STATE, target)?.unwrap_or_else(|| State::new(target)))
    }

    fn new(target: &str) -> State {
        State {
            schema: STATE_SCHEMA,
            target: target.into(),
            serial: 0,
            claimed: false,
            live: None,
            standby: None,
            pending: None,
        }
    }

    pub fn save(&self, records: &Records) -> Result<(), TreeError> {
        records.save(STATE, self)
    }

    /// Finishes or takes back a swap that was cut short, by what stands where. Gives the result of a finished one.
    pub fn settle(&mut self, target: Option<&Node>, standby: Option<&Node>) -> Option<Installed> {
        let pending = self.pending.take();
        let swapped = pending.as_ref().is_some_and(|pending| target.is_some_and(|node| node.is(&pending.tree.node)));
        let mut result = None;
        match pending {
            Some(pending) if swapped => {
                self.live = Some(pending.tree);
                self.standby = pending.aside;
                result = Some(pending.result);
            }
            Some(pending) => {
                // The live tree's stamps were taken after the staged one lent from it.
                if let (Some(live), Some(aside)) = (&mut self.live, pending.aside)
                    && live.node.is(&aside.node)
                {
                    live.catalog = aside.catalog;
                }
                self.standby = Some(pending.tree);
            }
            None => {}
        }
        forget_if_gone(&mut self.live, target);
        forget_if_gone(&mut self.standby, standby);
        result
    }

    pub fn records_in_use(&self) -> Vec<&str> {
        let trees = [self.live.as_ref(), self.standby.as_ref(), self.pending.as_ref().map(|pending| &pending.tree)];
        let catalogs = trees.into_iter().flatten().filter_map(|tree| tree.catalog.as_ref());
        catalogs.flat_map(|catalog| [catalog.index.as_str(), catalog.stamps.as_str()]).collect()
    }
}

/// A record counts only for the very directory that it was made for.
fn forget_if_gone(tree: &mut Option<Tree>, stands: Option<&Node>) {
    let same = |tree: &Tree| stands.is_some_and(|node| node.is(&tree.node));
    if !tree.as_ref().is_some_and(same) {
        *tree = None;
    }
}
