//! Writes and reads the index of a million small files, and says how long that takes.

use std::time::Instant;

use package::{Chunk, Entry, EntryKind, Frame, Index};
use schemas::{Digest, PackRef};

const FILES: u32 = 1_000_000;
const FILES_PER_FOLDER: u32 = 100;
const FILE_BYTES: u32 = 2_000;
const CHUNKS_PER_FRAME: u32 = 128;
const FRAMES_PER_PACK: u32 = 200;

fn main() {
    let index = million();
    let began = Instant::now();
    let sealed = index.seal();
    let written = began.elapsed();
    let began = Instant::now();
    let opened = Index::open(&sealed.bytes, &sealed.at).expect("what was written");
    println!("{} entries, {} bytes stored, {} raw", opened.entries.len(), sealed.at.bytes, sealed.at.raw_bytes);
    println!("written in {written:.3?}, read in {:.3?}", began.elapsed());
    assert!(opened == index);
}

fn million() -> Index {
    let digest = |of: &str, n: u32| Digest::of(format!("{of} {n}").as_bytes());
    let folder = || EntryKind::Directory;
    let mut index = Index::default();
    index.entries.push(Entry { path: String::new(), kind: folder(), mode: 0o755, mtime_ns: 0 });
    for n in 0..FILES {
        let in_folder = format!("folder-{:05}", n / FILES_PER_FOLDER);
        let mtime_ns = 1_700_000_000_000_000_000 + i64::from(n) * 7_919_000_123;
        if n % FILES_PER_FOLDER == 0 {
            index.entries.push(Entry { path: in_folder.clone(), kind: folder(), mode: 0o755, mtime_ns });
        }
        let kind = EntryKind::File { bytes: FILE_BYTES.into(), refs: n..n + 1 };
        index.entries.push(Entry { path: format!("{in_folder}/some-file-{n}.txt"), kind, mode: 0o644, mtime_ns });
        index.chunk_refs.push(n);
        let (frame, offset) = (n / CHUNKS_PER_FRAME, n % CHUNKS_PER_FRAME * FILE_BYTES);
        index.chunks.push(Chunk { digest: digest("chunk", n), bytes: FILE_BYTES, frame, offset });
    }
    index.entries.sort_by(|a, b| a.path.cmp(&b.path));
    let refs = index.entries.iter_mut().filter_map(|entry| match &mut entry.kind {
        EntryKind::File { refs, .. } => Some(refs),
        _ => None,
    });
    refs.zip(0..).for_each(|(refs, n)| *refs = n..n + 1);
    for n in 0..FILES.div_ceil(CHUNKS_PER_FRAME) {
        let (pack, offset) = (n / FRAMES_PER_PACK, u64::from(n % FRAMES_PER_PACK) * 80_000);
        let raw_bytes = FILE_BYTES * CHUNKS_PER_FRAME;
        index.frames.push(Frame { digest: digest("frame", n), pack, offset, stored_bytes: 80_000, raw_bytes });
    }
    let packs = (index.frames.len() as u32).div_ceil(FRAMES_PER_PACK);
    index.packs = (0..packs).map(|n| PackRef { digest: digest("pack", n), bytes: 16_000_000 }).collect();
    index
}
