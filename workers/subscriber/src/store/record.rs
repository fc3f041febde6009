//! The form of a frames file: a magic, then records, each a head and a frame's stored bytes; and marks, heads without
//! bytes, that say that everything before them was synced. It knows no file.
//!
//! Head, little-endian: offset in the pack u64, stored length u32, BLAKE3 of the stored bytes (32), and the first 8 bytes
//! of the BLAKE3 of the pack's digest and all that: a record of another pack is none. With every bit of its last byte turned, the record is void: its bytes were found to be others.
//! That is one byte to write, so no crash leaves half of it.

use schemas::Digest;

use super::FrameRef;

pub const MAGIC: &[u8; 16] = b"tidegate-frames2";
pub const HEAD_BYTES: usize = 52;
const SUM_AT: usize = 44;
const LAST_AT: usize = HEAD_BYTES - 1;
/// The offset that says "mark": no frame can begin there.
const MARK_OFFSET: u64 = u64::MAX;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Head {
    Frame(FrameRef),
    /// A frame's record that holds nothing any more, and how many bytes follow its head.
    Void(u32),
    Mark,
}

/// What a frame's head begins with.
pub fn frame_head(pack: &Digest, frame: &FrameRef) -> [u8; HEAD_BYTES] {
    encode(pack, frame.offset, frame.stored_bytes, &frame.digest)
}

pub fn mark(pack: &Digest) -> [u8; HEAD_BYTES] {
    encode(pack, MARK_OFFSET, 0, &Digest([0; 32]))
}

/// The last byte of a frame's head once it is void.
pub fn void_byte(pack: &Digest, frame: &FrameRef) -> u8 {
    !frame_head(pack, frame)[LAST_AT]
}

fn encode(pack: &Digest, offset: u64, stored_bytes: u32, digest: &Digest) -> [u8; HEAD_BYTES] {
    let mut head = [0; HEAD_BYTES];
    head[..8].copy_from_slice(&offset.to_le_bytes());
    head[8..12].copy_from_slice(&stored_bytes.to_le_bytes());
    head[12..SUM_AT].copy_from_slice(&digest.0);
    let sum = sum(pack, &head);
    head[SUM_AT..].copy_from_slice(&sum);
    head
}

impl Head {
    /// `None` for what was never written whole.
    pub fn decode(pack: &Digest, head: &[u8; HEAD_BYTES]) -> Option<Head> {
        let sum = sum(pack, head);
        if head[SUM_AT..LAST_AT] != sum[..LAST_AT - SUM_AT] {
            return None;
        }
        let last = sum[LAST_AT - SUM_AT];
        match Head::read(head)? {
            read if head[LAST_AT] == last => Some(read),
            Head::Frame(frame) if head[LAST_AT] == !last => Some(Head::Void(frame.stored_bytes)),
            _ => None,
        }
    }

    fn read(head: &[u8; HEAD_BYTES]) -> Option<Head> {
        let offset = u64::from_le_bytes(head[..8].try_into().ok()?);
        let stored_bytes = u32::from_le_bytes(head[8..12].try_into().ok()?);
        let digest = Digest(head[12..SUM_AT].try_into().ok()?);
        match offset {
            MARK_OFFSET => (stored_bytes == 0).then_some(Head::Mark),
            _ => {
                offset.checked_add(stored_bytes.into()).map(|_| Head::Frame(FrameRef { offset, stored_bytes, digest }))
            }
        }
    }
}

fn sum(pack: &Digest, head: &[u8; HEAD_BYTES]) -> [u8; HEAD_BYTES - SUM_AT] {
    let mut summed = [0; 32 + SUM_AT];
    summed[..32].copy_from_slice(&pack.0);
    summed[32..].copy_from_slice(&head[..SUM_AT]);
    let Digest(whole) = Digest::of(&summed);
    std::array::from_fn(|i| whole[i])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_read_back_for_their_pack_and_a_flipped_bit_anywhere_is_noticed() {
        let (pack, other) = (Digest::of(b"pack"), Digest::of(b"other"));
        let frame = FrameRef { offset: 7 << 33, stored_bytes: 80_000, digest: Digest::of(b"x") };
        let mut void = frame_head(&pack, &frame);
        void[LAST_AT] = void_byte(&pack, &frame);
        let heads = [
            (frame_head(&pack, &frame), Head::Frame(frame)),
            (mark(&pack), Head::Mark),
            (void, Head::Void(frame.stored_bytes)),
        ];
        for (written, head) in heads {
            assert_eq!(Head::decode(&pack, &written), Some(head));
            assert_eq!(Head::decode(&other, &written), None);
            for bit in 0..HEAD_BYTES * 8 {
                let mut flipped = written;
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(Head::decode(&pack, &flipped), None, "bit {bit}");
            }
        }
        assert_eq!(Head::decode(&pack, &[0; HEAD_BYTES]), None);
        let mut void_mark = mark(&pack);
        void_mark[LAST_AT] = !void_mark[LAST_AT];
        assert_eq!(Head::decode(&pack, &void_mark), None);
    }
}
