//! What a patch is called and how it is wrapped: its name follows from what it is between, so nobody has to be told it,
//! and its bytes say the same and carry their own digest. It knows nothing of what is inside.

use schemas::Digest;

use crate::error::FormatError;
use crate::limits::{PATCH_BYTES_MAX, PATCH_PARTS_MAX};
use crate::wire::DIGEST_BYTES;

const WHAT: &str = "a patch";
const MAGIC: &[u8; 7] = b"TIDEPAT";
const VERSION: u8 = 1;
const KIND_AT: usize = 8;
const BASE_AT: usize = 9;
const NEW_AT: usize = BASE_AT + DIGEST_BYTES;
const PART_AT: usize = NEW_AT + DIGEST_BYTES;
const HEAD_BYTES: usize = PART_AT + 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PatchKind {
    /// Gives the new index.
    Index,
    /// Gives frames that the base revision has not.
    Frames,
}

/// What a patch is between: indexes are named by their digests, as headers do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PatchName {
    pub kind: PatchKind,
    pub base: Digest,
    pub new: Digest,
    /// Patches of frames come in parts, counted from 0.
    pub part: u32,
}

impl PatchName {
    pub fn index(base: Digest, new: Digest) -> PatchName {
        PatchName { kind: PatchKind::Index, base, new, part: 0 }
    }

    pub fn frames(base: Digest, new: Digest, part: u32) -> PatchName {
        PatchName { kind: PatchKind::Frames, base, new, part }
    }

    /// What it is stored under: BLAKE3 of the head that its bytes begin with.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.head())
    }

    fn head(&self) -> [u8; HEAD_BYTES] {
        let mut head = [0; HEAD_BYTES];
        head[..7].copy_from_slice(MAGIC);
        head[7] = VERSION;
        head[KIND_AT] = match self.kind {
            PatchKind::Index => 0,
            PatchKind::Frames => 1,
        };
        head[BASE_AT..NEW_AT].copy_from_slice(&self.base.0);
        head[NEW_AT..PART_AT].copy_from_slice(&self.new.0);
        head[PART_AT..].copy_from_slice(&self.part.to_le_bytes());
        head
    }
}

/// The names of all patches that there can be from one index to another.
pub fn names_between(base: Digest, new: Digest) -> impl Iterator<Item = Digest> {
    let frames = (0..PATCH_PARTS_MAX).map(move |part| PatchName::frames(base, new, part));
    std::iter::once(PatchName::index(base, new)).chain(frames).map(|name| name.digest())
}

/// The object: head, body, and the digest of both.
pub fn seal(name: &PatchName, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEAD_BYTES + body.len() + DIGEST_BYTES);
    bytes.extend_from_slice(&name.head());
    bytes.extend_from_slice(body);
    let digest = Digest::of(&bytes);
    bytes.extend_from_slice(&digest.0);
    bytes
}

/// The body of the patch of this name.
pub fn open<'a>(name: &PatchName, bytes: &'a [u8]) -> Result<&'a [u8], FormatError> {
    verify(&name.digest(), bytes)?;
    Ok(&bytes[HEAD_BYTES..bytes.len() - DIGEST_BYTES])
}

/// That these bytes are whole and are what is stored under `digest`, without opening them: what wire and store do.
pub fn verify(digest: &Digest, bytes: &[u8]) -> Result<(), FormatError> {
    if bytes.len() as u64 > PATCH_BYTES_MAX {
        return Err(FormatError::TooLarge { what: WHAT, found: bytes.len() as u64, max: PATCH_BYTES_MAX });
    }
    let Some((whole, sum)) = bytes.split_last_chunk::<DIGEST_BYTES>().filter(|(whole, _)| whole.len() >= HEAD_BYTES)
    else {
        return Err(FormatError::damaged(WHAT, "it ends too early"));
    };
    let found = Digest::of(whole);
    if found.0 != *sum {
        return Err(FormatError::DigestMismatch { what: WHAT, expected: Digest(*sum), found });
    }
    let named = Digest::of(&whole[..HEAD_BYTES]);
    if named != *digest {
        return Err(FormatError::DigestMismatch { what: "a patch's name", expected: *digest, found: named });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name() -> PatchName {
        PatchName::frames(Digest::of(b"old"), Digest::of(b"new"), 3)
    }

    #[test]
    fn every_name_is_another_and_all_of_a_pair_are_listed() {
        let (old, new) = (Digest::of(b"old"), Digest::of(b"new"));
        let mut names: Vec<Digest> = names_between(old, new).chain(names_between(new, old)).collect();
        assert!(names.contains(&name().digest()) && names.contains(&PatchName::index(old, new).digest()));
        let listed = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), listed);
    }

    #[test]
    fn any_flipped_bit_and_any_lost_byte_is_noticed() {
        let whole = seal(&name(), b"body");
        assert_eq!(open(&name(), &whole).unwrap(), b"body");
        for bit in 0..whole.len() * 8 {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(open(&name(), &flipped).is_err(), "bit {bit}");
        }
        for bytes in 0..whole.len() {
            assert!(open(&name(), &whole[..bytes]).is_err(), "{bytes} bytes");
        }
    }

    #[test]
    fn a_whole_patch_of_another_name_is_refused() {
        let other = PatchName { part: 4, ..name() };
        assert!(open(&name(), &seal(&other, b"body")).is_err());
        assert!(verify(&other.digest(), &seal(&other, b"body")).is_ok());
    }
}
