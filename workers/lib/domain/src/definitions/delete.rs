//! Taking an object out of effect (SPEC O11): refused with the list of those that name it.

use std::collections::BTreeMap;

use schemas::Definitions;
use schemas::name::Kind;

use super::edges::{Reference, references};
use super::rename::exists;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeleteError {
    #[error("there is no {kind} `{name}`")]
    Unknown { kind: Kind, name: String },
    #[error("{kind} `{name}` is named by {}; take it out there first", list(.by))]
    Referred { kind: Kind, name: String, by: Vec<Reference> },
}

impl DeleteError {
    pub fn code(&self) -> &'static str {
        match self {
            DeleteError::Unknown { .. } => "object-unknown",
            DeleteError::Referred { .. } => "object-referred",
        }
    }
}

/// The definitions without it.
pub fn delete(kind: Kind, name: &str, definitions: &Definitions) -> Result<Definitions, DeleteError> {
    if !exists(definitions, kind, name) {
        let name = super::error::printable(&name.chars().take(80).collect::<String>());
        return Err(DeleteError::Unknown { kind, name });
    }
    let by = references(kind, name, definitions);
    if !by.is_empty() {
        return Err(DeleteError::Referred { kind, name: name.to_owned(), by });
    }
    let mut left = definitions.clone();
    take_out(&mut left, kind, name);
    Ok(left)
}

pub(super) fn take_out(definitions: &mut Definitions, kind: Kind, name: &str) {
    fn remove<K: Ord + for<'a> TryFrom<&'a str>, V>(map: &mut BTreeMap<K, V>, name: &str) {
        if let Ok(key) = K::try_from(name) {
            map.remove(&key);
        }
    }
    match kind {
        Kind::Distributor => remove(&mut definitions.distributors, name),
        Kind::Distribution => remove(&mut definitions.distributions, name),
        Kind::Channel => remove(&mut definitions.channels, name),
        Kind::Group => remove(&mut definitions.groups, name),
        Kind::Subscriber => remove(&mut definitions.subscribers, name),
        Kind::Hierarchy => remove(&mut definitions.hierarchies, name),
        Kind::Sync => remove(&mut definitions.syncs, name),
    }
}

/// How many of those that name an object an error lists.
const LISTED_MAX: usize = 20;

fn list(by: &[Reference]) -> String {
    let mut text = by.iter().take(LISTED_MAX).map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if by.len() > LISTED_MAX {
        text.push_str(&format!(" and {} more", by.len() - LISTED_MAX));
    }
    text
}
