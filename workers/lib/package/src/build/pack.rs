//! Frames one after the other into packs of a bounded size.

use schemas::{Digest, PackRef};

use super::buffer::Pool;
use crate::frame::Stored;
use crate::index::Frame;
use crate::limits::{FRAME_RAW_BYTES_MAX, PACK_BYTES_TARGET};
use crate::source_error::BuildError;

/// An object to store under its digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pack {
    pub digest: Digest,
    pub bytes: Vec<u8>,
}

/// Whoever takes the packs has gone: the build ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("nobody takes the packs any more")]
pub struct SinkClosed;

/// Where new packs go. It may block: that bounds what waits in memory.
pub trait PackSink {
    fn put(&mut self, pack: Pack) -> Result<(), SinkClosed>;
}

impl PackSink for Vec<Pack> {
    fn put(&mut self, pack: Pack) -> Result<(), SinkClosed> {
        self.push(pack);
        Ok(())
    }
}

impl PackSink for std::sync::mpsc::SyncSender<Pack> {
    fn put(&mut self, pack: Pack) -> Result<(), SinkClosed> {
        self.send(pack).map_err(|_| SinkClosed)
    }
}

pub(super) struct Packer<'a> {
    sink: &'a mut dyn PackSink,
    bytes: Vec<u8>,
    done: Packed,
}

/// What was packed; `pack` of a frame counts from 0 among the new packs.
#[derive(Default)]
pub(super) struct Packed {
    pub frames: Vec<Frame>,
    pub packs: Vec<PackRef>,
}

impl Packer<'_> {
    pub fn new(sink: &mut dyn PackSink) -> Packer<'_> {
        Packer { sink, bytes: Vec::new(), done: Packed::default() }
    }

    pub fn add(&mut self, stored: Stored, pool: &Pool) -> Result<(), BuildError> {
        self.done.frames.push(Frame {
            digest: stored.digest,
            pack: self.done.packs.len() as u32,
            offset: self.bytes.len() as u64,
            stored_bytes: stored.bytes.len() as u32,
            raw_bytes: stored.raw_bytes,
        });
        if self.bytes.is_empty() {
            self.bytes.reserve_exact(PACK_BYTES_TARGET + FRAME_RAW_BYTES_MAX);
        }
        self.bytes.extend_from_slice(&stored.bytes);
        pool.give(stored.bytes);
        if self.bytes.len() >= PACK_BYTES_TARGET { self.close() } else { Ok(()) }
    }

    pub fn finish(mut self) -> Result<Packed, BuildError> {
        if !self.bytes.is_empty() {
            self.close()?;
        }
        Ok(self.done)
    }

    fn close(&mut self) -> Result<(), BuildError> {
        let mut bytes = std::mem::take(&mut self.bytes);
        // A small build's only pack would else hold the room of a large one.
        bytes.shrink_to_fit();
        let digest = Digest::of(&bytes);
        self.done.packs.push(PackRef { digest, bytes: bytes.len() as u64 });
        self.sink.put(Pack { digest, bytes }).map_err(|SinkClosed| BuildError::SinkClosed)
    }
}
