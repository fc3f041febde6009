//! What is recorded of a directory that others use too: which files are ours, which directories we made, and the
//! journal of replacements under way. It touches no file of the target.

use serde::{Deserialize, Serialize};

use crate::tree::catalog::CatalogRef;
use crate::tree::error::TreeError;
use crate::tree::node::Node;
use crate::tree::records::{Records, Stated};
use schemas::RevisionRef;

pub(super) const STATE: &str = "merge.json";
const STATE_SCHEMA: u32 = 1;

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct State {
    pub schema: u32,
    pub target: String,
    pub serial: u64,
    pub node: Option<Node>,
    pub revision: Option<RevisionRef>,
    pub catalog: Option<CatalogRef>,
    /// Directories that this made; they go when they are empty and no revision wants them.
    pub made: Vec<String>,
    /// A staging directory is about to be made: an empty one without a record is ours.
    pub claimed: bool,
    pub staging: Option<Node>,
    /// Not empty: some of these may be done, and none is recorded as done.
    pub journal: Vec<Move>,
}

/// One step, and what is needed to undo it. Its file in the staging directory is named by its position.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Move {
    pub path: String,
    #[serde(rename = "do")]
    pub what: What,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum What {
    /// The file goes aside, into the staging directory.
    Delete,
    RemoveDirectory {
        mode: u32,
    },
    MakeDirectory {
        mode: u32,
    },
    /// The staged file with this inode changes places with what stands there.
    Replace {
        ino: u64,
    },
    Create {
        ino: u64,
    },
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
            node: None,
            revision: None,
            catalog: None,
            made: Vec::new(),
            claimed: false,
            staging: None,
            journal: Vec::new(),
        }
    }

    pub fn save(&self, records: &Records) -> Result<(), TreeError> {
        records.save(STATE, self)
    }

    /// What is recorded counts only for the very directory that it was made for.
    pub fn is_of(&self, node: &Node) -> bool {
        self.node.as_ref().is_some_and(|known| known.is(node))
    }

    pub fn forget_unless(&mut self, node: &Node) {
        if !self.is_of(node) {
            *self = State { serial: self.serial, ..State::new(&self.target) };
            self.node = Some(*node);
        }
    }

    pub fn records_in_use(&self) -> Vec<&str> {
        self.catalog.iter().flat_map(|catalog| [catalog.index.as_str(), catalog.stamps.as_str()]).collect()
    }
}
