//! Taking an object out of effect (SPEC O11): refused with the list of those that name it.

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
    match kind {
        Kind::Distributor => left.distributors.retain(|key, _| key.as_str() != name),
        Kind::Distribution => left.distributions.retain(|key, _| key.as_str() != name),
        Kind::Channel => left.channels.retain(|key, _| key.as_str() != name),
        Kind::Group => left.groups.retain(|key, _| key.as_str() != name),
        Kind::Subscriber => left.subscribers.retain(|key, _| key.as_str() != name),
        Kind::Hierarchy => left.hierarchies.retain(|key, _| key.as_str() != name),
        Kind::Sync => {}
    }
    Ok(left)
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
