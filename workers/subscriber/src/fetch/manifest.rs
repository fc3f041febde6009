//! Header and index of a revision: from the store, else from the first source that has them whole.

use std::sync::Arc;

use blobs::Key;
use bytes::Bytes;
use package::Index;
use package::limits::HEADER_BYTES_MAX;
use schemas::{Digest, Header, RevisionRef, StoreId};

use super::{Fetch, patched, store_fault};
use crate::halt::{Halt, blocking};
use crate::store::Store;

pub struct Manifest {
    pub header: Header,
    pub header_bytes: Bytes,
    pub index: Arc<Index>,
    /// Bytes of header and index, or of the patch that gave it, that were not held here.
    pub lacked: u64,
}

/// The manifest, if header and index are held here.
pub async fn held(store: &Arc<Store>, id: StoreId, revision: RevisionRef) -> Result<Option<Manifest>, Halt> {
    let store = store.clone();
    blocking(move || {
        let Some(header_bytes) = store.header(id, revision.header).map_err(store_fault)? else { return Ok(None) };
        let header = open_header(&header_bytes, id, revision)?;
        let Some(index_bytes) = store.index(id, header.index.digest).map_err(store_fault)? else { return Ok(None) };
        let Ok(index) = package::header::open_index(&header, &index_bytes) else { return Ok(None) };
        Ok(Some(Manifest { header, header_bytes, index: Arc::new(index), lacked: 0 }))
    })
    .await?
}

/// The manifest, from the sources where it is not held. The index is kept at once; the header goes into the store last.
pub async fn fetch(fetch: &Fetch<'_>) -> Result<Manifest, Halt> {
    if let Some(manifest) = held(&fetch.depot.store, fetch.id, fetch.revision).await? {
        return Ok(manifest);
    }
    let revision = fetch.revision;
    let key = Key::header(fetch.id, revision.header);
    let header_bytes = fetch.object(key, HEADER_BYTES_MAX).await?;
    let header = open_header(&header_bytes, fetch.id, revision)?;
    let (index_bytes, lacked) = index_bytes(fetch, &header).await?;
    let (store, id, digest) = (fetch.depot.store.clone(), fetch.id, header.index.digest);
    let lacked = lacked + header_bytes.len() as u64;
    blocking(move || {
        // Its digest holds, so no other source has a better one.
        let index = package::header::open_index(&header, &index_bytes)
            .map_err(|e| Halt::permanent(e.code(), format!("index {digest}: {e}")))?;
        store.put_index(id, digest, &index_bytes).map_err(store_fault)?;
        Ok(Manifest { header, header_bytes, index: Arc::new(index), lacked })
    })
    .await?
}

/// The index as it is stored, and how many bytes that took.
async fn index_bytes(fetch: &Fetch<'_>, header: &Header) -> Result<(Bytes, u64), Halt> {
    let (store, id, digest) = (fetch.depot.store.clone(), fetch.id, header.index.digest);
    if let Some(bytes) = blocking(move || store.index(id, digest).map_err(store_fault)).await?? {
        return Ok((bytes, 0));
    }
    if let Some(patched) = patched::index(fetch, header).await? {
        return Ok(patched);
    }
    let bytes = fetch.object(Key::index(id, digest), header.index.bytes).await?;
    let lacked = bytes.len() as u64;
    Ok((bytes, lacked))
}

fn open_header(bytes: &[u8], id: StoreId, revision: RevisionRef) -> Result<Header, Halt> {
    let digest: Digest = revision.header;
    let header = package::header::open(bytes, &digest)
        .map_err(|e| Halt::permanent(e.code(), format!("header {digest}: {e}")))?;
    if header.store != id || header.number != revision.number {
        let what = format!(
            "header {digest} is revision {} of store {}, not revision {} of store {id}",
            header.number, header.store, revision.number
        );
        return Err(Halt::permanent("wrong-revision", what));
    }
    Ok(header)
}
