//! Where content comes from: frames, verified by whoever keeps them. It knows no store and no network.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, OnceLock};

/// Decoded frames kept at once, in bytes: a frame is used by many small files, and by two writers.
pub const FRAME_CACHE_BYTES_MAX: usize = 32 << 20;

/// What an installation fills files with, and reads nothing else from.
pub trait Frames: Sync {
    /// A frame's raw (uncompressed) content, verified. `frame` is a position in the index's `frames`.
    fn frame(&self, frame: u32) -> Result<Arc<Vec<u8>>, FrameFault>;

    /// The index that names them as it is stored, verified, if it is at hand: to write it down anew takes time, and as much memory
    /// as the index itself.
    fn index(&self) -> Option<Vec<u8>> {
        None
    }
}

#[derive(Debug, Clone, thiserror::Error)]
pub enum FrameFault {
    #[error("it is not in the store")]
    Missing,
    #[error("it does not hold: {0}")]
    Corrupt(String),
    #[error("it could not be read: {0}")]
    Io(Arc<std::io::Error>),
}

impl FrameFault {
    pub fn code(&self) -> &'static str {
        match self {
            FrameFault::Missing => "frame-missing",
            FrameFault::Corrupt(_) => "frame-corrupt",
            FrameFault::Io(_) => "store-io",
        }
    }
}

type Slot = Arc<OnceLock<Result<Arc<Vec<u8>>, FrameFault>>>;

/// Each frame is decoded once while it is in use, whichever writer asks first.
pub(super) struct FrameCache<'a> {
    source: &'a dyn Frames,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    slots: HashMap<u32, Slot>,
    order: VecDeque<(u32, usize)>,
    bytes: usize,
}

impl<'a> FrameCache<'a> {
    pub fn new(source: &'a dyn Frames) -> FrameCache<'a> {
        FrameCache { source, kept: Mutex::default() }
    }

    pub fn get(&self, frame: u32, raw_bytes: u32) -> Result<Arc<Vec<u8>>, FrameFault> {
        let slot = self.slot(frame, raw_bytes as usize);
        slot.get_or_init(|| self.read(frame, raw_bytes)).clone()
    }

    fn read(&self, frame: u32, raw_bytes: u32) -> Result<Arc<Vec<u8>>, FrameFault> {
        let content = self.source.frame(frame)?;
        if content.len() != raw_bytes as usize {
            return Err(FrameFault::Corrupt(format!("{} bytes instead of {raw_bytes}", content.len())));
        }
        Ok(content)
    }

    fn slot(&self, frame: u32, bytes: usize) -> Slot {
        let mut kept = self.kept.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(slot) = kept.slots.get(&frame) {
            return slot.clone();
        }
        while kept.bytes + bytes > FRAME_CACHE_BYTES_MAX {
            let Some((oldest, freed)) = kept.order.pop_front() else { break };
            kept.slots.remove(&oldest);
            kept.bytes -= freed;
        }
        kept.bytes += bytes;
        kept.order.push_back((frame, bytes));
        kept.slots.entry(frame).or_default().clone()
    }
}
