//! What comes as a patch against a revision that is held here. Whatever is wrong with a patch, what it would have spared
//! is fetched instead. It does not know who made it.

use blobs::Key;
use bytes::Bytes;
use package::FormatError;
use package::limits::PATCH_BASES_MAX;
use package::patch::{self, IndexContent, PatchName};
use schemas::{Digest, Header, IndexRef, StoreId};

use super::{Fetch, store_fault};
use crate::halt::{Halt, blocking, stopped};
use crate::store::{Store, StoreError};

/// Below it a patch spares less than the question costs.
pub const WORTH_ASKING_BYTES: u64 = 16 << 10;

/// The new index as it is stored, and the bytes of the patch; `None` if it has to come whole.
pub async fn index(fetch: &Fetch<'_>, header: &Header) -> Result<Option<(Bytes, u64)>, Halt> {
    if header.index.bytes < WORTH_ASKING_BYTES {
        return Ok(None);
    }
    if let Some(base) = base(fetch).await? {
        let name = PatchName::index(base.digest, header.index.digest);
        let Some(object) = ask(fetch, &name, header.index.bytes).await? else { return Ok(None) };
        let (store, id, at, bytes) = (fetch.depot.store.clone(), fetch.id, header.index, object.len() as u64);
        let patched = blocking(move || patched_index(&store, id, &base, &name, &object, &at)).await?;
        match patched {
            Ok(index) => return Ok(Some((index, bytes))),
            Err(error) => tracing::warn!(store = %fetch.id, %error, "a patch of an index is not used"),
        }
    }
    Ok(None)
}

#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    #[error(transparent)]
    Format(#[from] FormatError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("its base has left the store")]
    BaseGone,
    #[error("what it starts from is not held here: chunk {0}")]
    ChunkGone(Digest),
}

fn patched_index(
    store: &Store,
    id: StoreId,
    base: &IndexRef,
    name: &PatchName,
    object: &[u8],
    at: &IndexRef,
) -> Result<Bytes, Unusable> {
    let base = store.index(id, base.digest)?.ok_or(Unusable::BaseGone)?;
    Ok(patch::apply_index(name, object, &IndexContent::of(&base)?, at)?.bytes.into())
}

/// The index held here that a patch may start from: of the newest revision before, since its patch is made first.
pub async fn base(fetch: &Fetch<'_>) -> Result<Option<IndexRef>, Halt> {
    let (store, id, number) = (fetch.depot.store.clone(), fetch.id, fetch.revision.number);
    blocking(move || store.base(id, number, PATCH_BASES_MAX).map_err(store_fault)).await?
}

/// The patch of this name, whole; kept if children may ask for it.
pub async fn ask(fetch: &Fetch<'_>, name: &PatchName, bytes_max: u64) -> Result<Option<Bytes>, Halt> {
    fetch.observe("patch").await?;
    let key = Key::patch(fetch.id, name.digest());
    let (store, for_children) = (fetch.depot.store.clone(), fetch.for_children);
    let held = blocking(move || if for_children { store.object(&key) } else { Ok(None) });
    if let Some(object) = held.await?.map_err(store_fault)? {
        return Ok(Some(object));
    }
    let answer = tokio::select! {
        () = stopped(fetch.context) => return Err(Halt::Stopped),
        answer = fetch.supply.ask_optional(&key, bytes_max) => answer,
    };
    let Some((supplier, object)) = answer else { return Ok(None) };
    if let Err(error) = patch::verify(&key.digest, &object) {
        fetch.supply.corrupt(supplier, &format!("{key} ({error})"));
        return Ok(None);
    }
    if for_children {
        let (store, object) = (fetch.depot.store.clone(), object.clone());
        blocking(move || store.put_object(&key, &object)).await?.map_err(store_fault)?;
    }
    Ok(Some(object))
}
