//! A frames file read from its beginning: which frames are in it, and how far it can be read. It changes nothing.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use schemas::Digest;

use super::FrameRef;
use super::record::{HEAD_BYTES, Head, MAGIC};

/// What the heads of a file say.
pub struct Scan {
    pub frames: Vec<(FrameRef, u64)>,
    /// How many of them the last mark covers.
    pub marked: usize,
    /// Behind the last record that can be read.
    pub end: u64,
}

impl Scan {
    pub fn of(pack: &Digest, file: &File, length: u64) -> io::Result<Scan> {
        let mut scan = Scan { frames: Vec::new(), marked: 0, end: 0 };
        let mut magic = [0; MAGIC.len()];
        if length < MAGIC.len() as u64 {
            return Ok(scan);
        }
        file.read_exact_at(&mut magic, 0)?;
        if &magic != MAGIC {
            return Ok(scan);
        }
        scan.end = MAGIC.len() as u64;
        let mut head = [0; HEAD_BYTES];
        while scan.end + HEAD_BYTES as u64 <= length {
            file.read_exact_at(&mut head, scan.end)?;
            let at = scan.end + HEAD_BYTES as u64;
            match Head::decode(pack, &head) {
                Some(Head::Mark) => (scan.marked, scan.end) = (scan.frames.len(), at),
                Some(Head::Void(bytes)) if at + u64::from(bytes) <= length => scan.end = at + u64::from(bytes),
                Some(Head::Frame(frame)) if at + u64::from(frame.stored_bytes) <= length => {
                    scan.frames.push((frame, at));
                    scan.end = at + u64::from(frame.stored_bytes);
                }
                _ => break,
            }
        }
        Ok(scan)
    }

    /// Without the first record behind the last mark that is not what it says, and all behind that.
    pub fn whole(mut self, file: &File) -> io::Result<Scan> {
        for position in self.marked..self.frames.len() {
            let (frame, at) = self.frames[position];
            let mut bytes = vec![0; frame.stored_bytes as usize];
            file.read_exact_at(&mut bytes, at)?;
            if !frame.verifies(&bytes) {
                self.frames.truncate(position);
                self.end = at - HEAD_BYTES as u64;
                break;
            }
        }
        Ok(self)
    }
}
