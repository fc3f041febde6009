//! The header of a manifest as bytes, and whether it agrees with its index. It knows no signature and no store.

use schemas::definitions::DistributionType;
use schemas::header::{FORMAT, FORMAT_WITH_EXTRAS};
use schemas::{Digest, Header, IndexRef, StoreId};

use crate::error::FormatError;
use crate::index::Index;
use crate::limits::{HEADER_BYTES_MAX, INDEX_BYTES_MAX, INDEX_RAW_BYTES_MAX, PACK_BYTES_MAX};

const WHAT: &str = "the header";

/// The header of a revision with this index.
pub fn header_of(store: StoreId, number: u64, of_type: DistributionType, index: &Index, at: IndexRef) -> Header {
    let totals = index.totals();
    Header {
        format: if index.extras.is_empty() { FORMAT } else { FORMAT_WITH_EXTRAS },
        store,
        number,
        of_type,
        files: totals.files,
        directories: totals.directories,
        links: totals.links,
        bytes: totals.bytes,
        stored_bytes: totals.stored_bytes,
        index: at,
        packs: index.packs.clone(),
    }
}

/// The same header always gives the same bytes.
pub fn encode(header: &Header) -> Vec<u8> {
    serde_json::to_vec(header).expect("a header has only numbers and text")
}

/// A header that is stored under `digest`.
pub fn open(bytes: &[u8], digest: &Digest) -> Result<Header, FormatError> {
    refuse_above(WHAT, bytes.len() as u64, HEADER_BYTES_MAX)?;
    let found = Digest::of(bytes);
    if found != *digest {
        return Err(FormatError::DigestMismatch { what: WHAT, expected: *digest, found });
    }
    decode(bytes)
}

/// Reads the form and refuses what no builder writes; `open` checks the digest as well.
pub fn decode(bytes: &[u8]) -> Result<Header, FormatError> {
    refuse_above(WHAT, bytes.len() as u64, HEADER_BYTES_MAX)?;
    // Unknown, doubled and missing keys are errors of the derived reader.
    let header: Header = serde_json::from_slice(bytes).map_err(|e| FormatError::damaged(WHAT, e.to_string()))?;
    if !(FORMAT..=FORMAT_WITH_EXTRAS).contains(&header.format) {
        return Err(FormatError::UnknownFormat { what: WHAT, found: header.format, known: FORMAT_WITH_EXTRAS });
    }
    refuse_above("the index", header.index.bytes, INDEX_BYTES_MAX)?;
    refuse_above("the index's content", header.index.raw_bytes, INDEX_RAW_BYTES_MAX)?;
    for pack in &header.packs {
        refuse_above("a pack", pack.bytes, PACK_BYTES_MAX)?;
    }
    Ok(header)
}

/// The index of this header: by its digest, and in agreement with what the header says of it.
pub fn open_index(header: &Header, bytes: &[u8]) -> Result<Index, FormatError> {
    let index = Index::open(bytes, &header.index)?;
    let expected = header_of(header.store, header.number, header.of_type, &index, header.index);
    if expected != *header {
        return Err(FormatError::damaged(WHAT, "its figures or packs are not those of its index"));
    }
    Ok(index)
}

fn refuse_above(what: &'static str, found: u64, max: u64) -> Result<(), FormatError> {
    if found > max { Err(FormatError::TooLarge { what, found, max }) } else { Ok(()) }
}
