//! Buffers that are used again: fresh memory for every read would cost as much as the reading.

use std::ops::Deref;
use std::sync::{Arc, Mutex};

/// Idle buffers kept; each is at most a segment long.
const IDLE_MAX: usize = 8;

#[derive(Clone, Default)]
pub(super) struct Pool {
    idle: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Pool {
    pub fn take(&self) -> Vec<u8> {
        self.idle.lock().expect("no panic in the pool").pop().unwrap_or_default()
    }

    pub fn give(&self, mut bytes: Vec<u8>) {
        bytes.clear();
        let mut idle = self.idle.lock().expect("no panic in the pool");
        if idle.len() < IDLE_MAX {
            idle.push(bytes);
        }
    }

    pub fn share(&self, bytes: Vec<u8>) -> Arc<Buffer> {
        Arc::new(Buffer { bytes, pool: self.clone() })
    }
}

/// Bytes that go back to their pool with their last user.
pub(super) struct Buffer {
    bytes: Vec<u8>,
    pool: Pool,
}

impl Deref for Buffer {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.pool.give(std::mem::take(&mut self.bytes));
    }
}
