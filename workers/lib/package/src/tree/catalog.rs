//! What is recorded of a tree on disk: the index it was written from, and each file's stamp once it was complete. A
//! catalog that is lost or damaged costs reading, never correctness: without stamps everything is proved by content.

use std::sync::Arc;

use schemas::Digest;
use serde::{Deserialize, Serialize};

use crate::diff::same_content;
use crate::extras::same_owner_and_attributes;
use crate::index::Index;

use super::error::TreeError;
use super::install::Install;
use super::node::Stamp;
use super::records::Records;

/// Stands for "not there" in a join.
pub(super) const NONE: u32 = u32::MAX;
pub(super) const STAMP_BYTES: usize = 32;
const DIGEST_BYTES: usize = 32;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CatalogRef {
    pub index: String,
    pub stamps: String,
}

#[derive(Debug)]
pub(super) struct Catalog {
    pub index: Arc<Index>,
    /// By position in the index.
    pub stamps: Vec<Stamp>,
}

impl Catalog {
    /// None if it is not readable.
    pub fn load(records: &Records, at: &CatalogRef) -> Option<Catalog> {
        Catalog::load_beside(records, at, &[])
    }

    /// Trees of one revision share its index: one that is `there`, under the name of its record, is not read again.
    pub fn load_beside(records: &Records, at: &CatalogRef, there: &[(&str, &Arc<Index>)]) -> Option<Catalog> {
        let index = match there.iter().find(|(name, _)| *name == at.index) {
            Some((_, index)) => Arc::clone(index),
            None => Arc::new(Index::decode(&open_sealed(records.read(&at.index)?)?).ok()?),
        };
        let stamps: Vec<Stamp> =
            open_sealed(records.read(&at.stamps)?)?.chunks_exact(STAMP_BYTES).map(unpack).collect();
        (stamps.len() == index.entries.len()).then_some(Catalog { index, stamps })
    }
}

/// Writes both parts; an index that is there already is left.
pub(super) fn store(
    records: &Records,
    (index_kind, stamps_kind): (&str, &str),
    install: &Install,
    stamps: &[Stamp],
    serial: u64,
) -> Result<CatalogRef, TreeError> {
    let name = index_name(index_kind, &install.revision.header);
    if !records.has(&name) {
        let bytes = install.frames.index().unwrap_or_else(|| install.index.encode());
        records.write(&name, &sealed(bytes))?;
    }
    Ok(CatalogRef { index: name, stamps: store_stamps(records, stamps_kind, stamps, serial)? })
}

pub(super) fn index_name(kind: &str, header: &Digest) -> String {
    format!("{kind}-{header}")
}

pub(super) fn store_stamps(records: &Records, kind: &str, stamps: &[Stamp], serial: u64) -> Result<String, TreeError> {
    let name = format!("{kind}-{serial}");
    let bytes: Vec<u8> = stamps.iter().flat_map(pack).collect();
    records.write(&name, &sealed(bytes))?;
    Ok(name)
}

/// Of each entry of `of`, the position in `among` of the entry with the same path, or `NONE`.
pub(super) fn join(of: &Index, among: &Index) -> Vec<u32> {
    let mut at = 0;
    let mut joined = Vec::with_capacity(of.entries.len());
    for entry in &of.entries {
        while among.entries.get(at).is_some_and(|other| other.path < entry.path) {
            at += 1;
        }
        let found = among.entries.get(at).is_some_and(|other| other.path == entry.path);
        joined.push(if found { at as u32 } else { NONE });
    }
    joined
}

/// The same in content, mode, time, owner and attributes. Which names are one file is not looked at.
pub(super) fn same_entry(index: &Index, at: u32, other_index: &Index, other_at: u32) -> bool {
    let (entry, other) = (&index.entries[at as usize], &other_index.entries[other_at as usize]);
    entry.mode == other.mode
        && entry.mtime_ns == other.mtime_ns
        && same_content(index, &entry.kind, other_index, &other.kind)
        && same_owner_and_attributes(index, at, other_index, other_at)
}

pub(super) fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let digest = Digest::of(&bytes);
    bytes.extend_from_slice(&digest.0);
    bytes
}

pub(super) fn open_sealed(mut bytes: Vec<u8>) -> Option<Vec<u8>> {
    let end = bytes.len().checked_sub(DIGEST_BYTES)?;
    let holds = Digest::of(&bytes[..end]).0 == bytes[end..];
    bytes.truncate(end);
    holds.then_some(bytes)
}

pub(super) fn pack(stamp: &Stamp) -> [u8; STAMP_BYTES] {
    let mut bytes = [0; STAMP_BYTES];
    bytes[..8].copy_from_slice(&stamp.ino.to_le_bytes());
    bytes[8..16].copy_from_slice(&stamp.bytes.to_le_bytes());
    bytes[16..24].copy_from_slice(&stamp.mtime_ns.to_le_bytes());
    bytes[24..].copy_from_slice(&stamp.ctime_ns.to_le_bytes());
    bytes
}

pub(super) fn unpack(bytes: &[u8]) -> Stamp {
    let word = |at: usize| bytes[at..at + 8].try_into().map(u64::from_le_bytes).unwrap_or_default();
    Stamp { ino: word(0), bytes: word(8), mtime_ns: word(16).cast_signed(), ctime_ns: word(24).cast_signed() }
}
