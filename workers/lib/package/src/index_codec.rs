//! The index as bytes: a magic with the format's version, then zstd over columns (docs/package-format.md). Decoding
//! trusts nothing: what it returns keeps every promise of `Index`, or it is an error.

use std::collections::HashSet;
use std::io;

use schemas::{Digest, IndexRef, PackRef};
use zstd::bulk::Compressor;
use zstd::zstd_safe::compress_bound;

use crate::error::FormatError;
use crate::extras::Extras;
use crate::extras_codec;
use crate::frame::decompress_exactly;
use crate::index::{Chunk, Entry, EntryKind, Frame, Index};
use crate::limits::{
    CHUNK_BYTES_MAX, ENTRIES_MAX, FILE_BYTES_MAX, FRAME_RAW_BYTES_MAX, INDEX_BYTES_MAX, INDEX_RAW_BYTES_MAX,
    NAMES_BYTES_MAX, PACK_BYTES_MAX, PATH_BYTES_MAX,
};
use crate::paths;
use crate::wire::{DIGEST_BYTES, Reader, put_signed, put_varint};

const WHAT: &str = "the index";
const MAGIC: &[u8; 7] = b"TIDEIDX";
const VERSION: u8 = 1;
/// Version 1 and a sixth section, the extras. An index without any is written as version 1.
const VERSION_WITH_EXTRAS: u8 = 2;
/// Magic, version, length of the body.
const HEAD_BYTES: usize = 16;
/// Magic and version.
pub(crate) const CONTENT_HEAD_BYTES: usize = 8;
/// Digests, the greater part, do not compress at any level.
const LEVEL: i32 = 3;
/// zstd cannot expand more than this.
const ZSTD_RATIO_MAX: u64 = 1 << 15;
const MODE_MAX: u32 = 0o7777;

const DIRECTORY: u8 = 0;
const FILE: u8 = 1;
const LINK: u8 = 2;

/// An index as it is stored, and what a header says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedIndex {
    pub at: IndexRef,
    pub bytes: Vec<u8>,
}

/// An index without its tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tables {
    pub packs: Vec<PackRef>,
    pub frames: Vec<Frame>,
    pub chunks: Vec<Chunk>,
}

impl Index {
    /// # Panics
    /// If chunks, frames or packs are not in the order that `Index` promises.
    pub fn encode(&self) -> Vec<u8> {
        self.seal().bytes
    }

    /// As `encode`, with what the header says of it.
    pub fn seal(&self) -> EncodedIndex {
        let version = if self.extras.is_empty() { VERSION } else { VERSION_WITH_EXTRAS };
        let mut head = [version; CONTENT_HEAD_BYTES];
        head[..7].copy_from_slice(MAGIC);
        store_body(&head, &write_body(self))
    }

    /// Checks length and digest first; this is how an index from anywhere else is read.
    pub fn open(bytes: &[u8], at: &IndexRef) -> Result<Index, FormatError> {
        let found = Digest::of(bytes);
        if found != at.digest {
            return Err(FormatError::DigestMismatch { what: WHAT, expected: at.digest, found });
        }
        if bytes.len() as u64 != at.bytes {
            return Err(FormatError::damaged(WHAT, format!("{} bytes instead of {}", bytes.len(), at.bytes)));
        }
        let index = Index::decode(bytes)?;
        let raw_bytes = u64::from_le_bytes(bytes[8..HEAD_BYTES].try_into().expect("eight bytes"));
        if raw_bytes != at.raw_bytes {
            return Err(FormatError::damaged(
                WHAT,
                format!("{raw_bytes} bytes of content instead of {}", at.raw_bytes),
            ));
        }
        Ok(index)
    }

    /// Without a digest: damage may go unseen if it gives another sound index. Prefer `open`.
    pub fn decode(bytes: &[u8]) -> Result<Index, FormatError> {
        read_body(&decompress(bytes)?, bytes[7] == VERSION_WITH_EXTRAS)
    }
}

/// An index uncompressed, with the magic and the version that it is stored with before it.
pub(crate) fn content(bytes: &[u8]) -> Result<Vec<u8>, FormatError> {
    let mut content = Vec::new();
    decompress_into(bytes, CONTENT_HEAD_BYTES, &mut content)?;
    Ok(content)
}

/// What `content` was made of, if this version compresses as the one that stored it: only the digest says so.
pub(crate) fn store(content: &[u8]) -> EncodedIndex {
    let (head, body) = content.split_at(CONTENT_HEAD_BYTES);
    store_body(head, body)
}

/// Where the content of an index lies: its first three sections.
pub(crate) fn tables(content: &[u8]) -> Result<Tables, FormatError> {
    let Some((_, body)) = content.split_at_checked(CONTENT_HEAD_BYTES) else {
        return Err(FormatError::damaged(WHAT, "it ends too early"));
    };
    let mut reader = Reader::new(body);
    let packs = read_packs(&mut reader)?;
    let frames = read_frames(&mut reader, &packs)?;
    let chunks = read_chunks(&mut reader, &frames)?;
    Ok(Tables { packs, frames, chunks })
}

fn store_body(head: &[u8], body: &[u8]) -> EncodedIndex {
    let mut bytes = Vec::with_capacity(HEAD_BYTES + compress_bound(body.len()));
    bytes.extend_from_slice(head);
    bytes.extend_from_slice(&(body.len() as u64).to_le_bytes());
    let mut rest = io::Cursor::new(&mut bytes);
    rest.set_position(HEAD_BYTES as u64);
    let compressed = Compressor::new(LEVEL).and_then(|mut zstd| zstd.compress_to_buffer(body, &mut rest));
    compressed.expect("memory for compressing");
    bytes.shrink_to_fit();
    let at = IndexRef { digest: Digest::of(&bytes), bytes: bytes.len() as u64, raw_bytes: body.len() as u64 };
    EncodedIndex { at, bytes }
}

fn decompress(bytes: &[u8]) -> Result<Vec<u8>, FormatError> {
    let mut body = Vec::new();
    decompress_into(bytes, 0, &mut body)?;
    Ok(body)
}

/// After so many of its own first bytes.
fn decompress_into(bytes: &[u8], first_bytes: usize, out: &mut Vec<u8>) -> Result<(), FormatError> {
    refuse_above(WHAT, bytes.len() as u64, INDEX_BYTES_MAX)?;
    let Some((head, stored)) = bytes.split_at_checked(HEAD_BYTES) else {
        return Err(FormatError::damaged(WHAT, "it ends too early"));
    };
    if head[..7] != MAGIC[..] {
        return Err(FormatError::damaged(WHAT, "it does not begin like one"));
    }
    if !(VERSION..=VERSION_WITH_EXTRAS).contains(&head[7]) {
        let known = VERSION_WITH_EXTRAS.into();
        return Err(FormatError::UnknownFormat { what: WHAT, found: head[7].into(), known });
    }
    let raw_bytes = u64::from_le_bytes(head[8..].try_into().expect("eight bytes"));
    refuse_above("the index's content", raw_bytes, INDEX_RAW_BYTES_MAX)?;
    refuse_above("the index's content", raw_bytes, stored.len() as u64 * ZSTD_RATIO_MAX)?;
    out.reserve_exact(first_bytes + raw_bytes as usize);
    out.extend_from_slice(&bytes[..first_bytes]);
    let mut rest = io::Cursor::new(out);
    rest.set_position(first_bytes as u64);
    decompress_exactly(stored, &mut rest, raw_bytes as usize).map_err(|reason| FormatError::damaged(WHAT, reason))
}

fn write_body(index: &Index) -> Vec<u8> {
    let digests = index.packs.len() + index.frames.len() + index.chunks.len();
    let mut out = Vec::with_capacity(digests * DIGEST_BYTES + index.entries.len() * 32 + index.chunk_refs.len());
    write_packs(&mut out, &index.packs);
    write_frames(&mut out, &index.frames);
    write_chunks(&mut out, &index.chunks);
    write_refs(&mut out, &index.chunk_refs);
    write_entries(&mut out, &index.entries);
    if !index.extras.is_empty() {
        extras_codec::write(&mut out, &index.extras);
    }
    out
}

fn read_body(body: &[u8], has_extras: bool) -> Result<Index, FormatError> {
    let mut reader = Reader::new(body);
    let packs = read_packs(&mut reader)?;
    let frames = read_frames(&mut reader, &packs)?;
    let chunks = read_chunks(&mut reader, &frames)?;
    let chunk_refs = read_refs(&mut reader, chunks.len())?;
    let entries = read_entries(&mut reader, &chunk_refs, &chunks)?;
    let mut index = Index { entries, chunk_refs, chunks, frames, packs, extras: Extras::default() };
    if has_extras {
        index.extras = extras_codec::read(&mut reader, &index)?;
        extras_codec::check(&index)?;
    }
    reader.end()?;
    Ok(index)
}

fn write_packs(out: &mut Vec<u8>, packs: &[PackRef]) {
    put_varint(out, packs.len() as u64);
    packs.iter().for_each(|pack| out.extend_from_slice(&pack.digest.0));
    packs.iter().for_each(|pack| put_varint(out, pack.bytes));
}

fn read_packs(reader: &mut Reader) -> Result<Vec<PackRef>, FormatError> {
    let count = reader.count("packs", DIGEST_BYTES + 1, u32::MAX as usize)?;
    let digests = reader.digests(count)?;
    let mut packs = Vec::with_capacity(count);
    let mut seen = HashSet::with_capacity(count);
    for digest in digests {
        let bytes = reader.varint()?;
        refuse_above("a pack", bytes, PACK_BYTES_MAX)?;
        if !seen.insert(digest) {
            return Err(FormatError::damaged(WHAT, format!("pack {digest} is named twice")));
        }
        packs.push(PackRef { digest, bytes });
    }
    Ok(packs)
}

fn write_frames(out: &mut Vec<u8>, frames: &[Frame]) {
    put_varint(out, frames.len() as u64);
    frames.iter().for_each(|frame| out.extend_from_slice(&frame.digest.0));
    let mut last = Cursor::default();
    for frame in frames {
        let (step, gap) = last.step_to(frame.pack, frame.offset);
        put_varint(out, step);
        put_varint(out, gap);
        put_varint(out, frame.stored_bytes.into());
        put_varint(out, frame.raw_bytes.into());
        last.end = frame.offset + u64::from(frame.stored_bytes);
    }
}

fn read_frames(reader: &mut Reader, packs: &[PackRef]) -> Result<Vec<Frame>, FormatError> {
    let count = reader.count("frames", DIGEST_BYTES + 4, u32::MAX as usize)?;
    let digests = reader.digests(count)?;
    let mut frames = Vec::with_capacity(count);
    let mut last = Cursor::default();
    for digest in digests {
        let (pack, offset) = last.next(reader, packs.len(), "pack")?;
        let stored_bytes = reader.u32("a frame's length")?;
        let raw_bytes = reader.u32("the length of a frame's content")?;
        last.end = offset + u64::from(stored_bytes);
        if last.end > packs[pack as usize].bytes {
            return Err(FormatError::damaged(WHAT, format!("frame {digest} lies outside of its pack")));
        }
        if raw_bytes as usize > FRAME_RAW_BYTES_MAX || stored_bytes == 0 || stored_bytes > raw_bytes {
            return Err(FormatError::damaged(WHAT, format!("frame {digest} has impossible lengths")));
        }
        frames.push(Frame { digest, pack, offset, stored_bytes, raw_bytes });
    }
    last.finish(packs.len(), "pack")?;
    Ok(frames)
}

fn write_chunks(out: &mut Vec<u8>, chunks: &[Chunk]) {
    put_varint(out, chunks.len() as u64);
    chunks.iter().for_each(|chunk| out.extend_from_slice(&chunk.digest.0));
    let mut last = Cursor::default();
    for chunk in chunks {
        let (step, gap) = last.step_to(chunk.frame, chunk.offset.into());
        put_varint(out, step);
        put_varint(out, gap);
        put_varint(out, chunk.bytes.into());
        last.end = u64::from(chunk.offset) + u64::from(chunk.bytes);
    }
}

fn read_chunks(reader: &mut Reader, frames: &[Frame]) -> Result<Vec<Chunk>, FormatError> {
    let count = reader.count("chunks", DIGEST_BYTES + 3, u32::MAX as usize)?;
    let digests = reader.digests(count)?;
    let mut chunks = Vec::with_capacity(count);
    let mut last = Cursor::default();
    for digest in digests {
        let (frame, offset) = last.next(reader, frames.len(), "frame")?;
        let bytes = reader.u32("a chunk's length")?;
        last.end = offset + u64::from(bytes);
        if bytes == 0 || bytes as usize > CHUNK_BYTES_MAX || last.end > frames[frame as usize].raw_bytes.into() {
            return Err(FormatError::damaged(WHAT, format!("chunk {digest} lies outside of its frame")));
        }
        chunks.push(Chunk { digest, bytes, frame, offset: offset as u32 });
    }
    last.finish(frames.len(), "frame")?;
    Ok(chunks)
}

/// Where the last thing ended in the last container. What follows lies behind it, so nothing can overlap.
#[derive(Default)]
struct Cursor {
    container: u32,
    end: u64,
    begun: bool,
}

impl Cursor {
    /// Containers further, and bytes between the last end there and `offset`.
    fn step_to(&mut self, container: u32, offset: u64) -> (u64, u64) {
        let step = container.checked_sub(self.container).expect("an index in order of containers");
        if step > 0 {
            *self = Cursor { container, end: 0, begun: true };
        }
        (step.into(), offset.checked_sub(self.end).expect("an index in order of offsets"))
    }

    /// No container is passed over: one that holds nothing would be dead weight.
    fn next(&mut self, reader: &mut Reader, containers: usize, what: &str) -> Result<(u32, u64), FormatError> {
        let step = reader.varint()?;
        let gap = reader.varint()?;
        if step > u64::from(self.begun) {
            return Err(FormatError::damaged(WHAT, format!("a {what} holds nothing")));
        }
        if step == 1 {
            self.container += 1;
            self.end = 0;
        }
        self.begun = true;
        if self.container as usize >= containers {
            return Err(FormatError::damaged(WHAT, format!("{what} {} does not exist", self.container)));
        }
        let offset = self.end.checked_add(gap).filter(|&offset| offset <= PACK_BYTES_MAX);
        let offset =
            offset.ok_or_else(|| FormatError::damaged(WHAT, format!("an offset lies outside of its {what}")))?;
        Ok((self.container, offset))
    }

    fn finish(&self, containers: usize, what: &str) -> Result<(), FormatError> {
        let reached = if self.begun { self.container as usize + 1 } else { 0 };
        if reached == containers { Ok(()) } else { Err(FormatError::damaged(WHAT, format!("a {what} holds nothing"))) }
    }
}

/// As steps from "the chunk after the last one": mostly zeros.
fn write_refs(out: &mut Vec<u8>, refs: &[u32]) {
    put_varint(out, refs.len() as u64);
    let mut expected = 0i64;
    for &at in refs {
        put_signed(out, i64::from(at) - expected);
        expected = i64::from(at) + 1;
    }
}

fn read_refs(reader: &mut Reader, chunks: usize) -> Result<Vec<u32>, FormatError> {
    let count = reader.count("chunk references", 1, u32::MAX as usize)?;
    let mut refs = Vec::with_capacity(count);
    let mut named = vec![false; chunks];
    let mut expected = 0i64;
    for _ in 0..count {
        let at = expected.wrapping_add(reader.signed()?);
        let slot = usize::try_from(at).ok().and_then(|at| named.get_mut(at));
        *slot.ok_or_else(|| FormatError::damaged(WHAT, format!("chunk {at} does not exist")))? = true;
        refs.push(at as u32);
        expected = at + 1;
    }
    if named.contains(&false) {
        return Err(FormatError::damaged(WHAT, "no file names one of its chunks"));
    }
    Ok(refs)
}

fn write_entries(out: &mut Vec<u8>, entries: &[Entry]) {
    put_varint(out, entries.len() as u64);
    let mut last: &[u8] = b"";
    for entry in entries {
        let path = entry.path.as_bytes();
        let shared = path.iter().zip(last).take_while(|(a, b)| a == b).count();
        put_varint(out, shared as u64);
        put_varint(out, (path.len() - shared) as u64);
        out.extend_from_slice(&path[shared..]);
        last = path;
    }
    out.extend(entries.iter().map(|entry| kind_byte(&entry.kind)));
    entries.iter().for_each(|entry| put_varint(out, entry.mode.into()));
    let mut last_ns = 0i64;
    for entry in entries {
        put_signed(out, entry.mtime_ns.wrapping_sub(last_ns));
        last_ns = entry.mtime_ns;
    }
    for entry in entries {
        match &entry.kind {
            EntryKind::Directory => {}
            EntryKind::File { refs, .. } => put_varint(out, refs.len() as u64),
            EntryKind::Link { target } => {
                put_varint(out, target.len() as u64);
                out.extend_from_slice(target.as_bytes());
            }
        }
    }
}

fn kind_byte(kind: &EntryKind) -> u8 {
    match kind {
        EntryKind::Directory => DIRECTORY,
        EntryKind::File { .. } => FILE,
        EntryKind::Link { .. } => LINK,
    }
}

fn read_entries(reader: &mut Reader, refs: &[u32], chunks: &[Chunk]) -> Result<Vec<Entry>, FormatError> {
    let mut names = Names { room: NAMES_BYTES_MAX };
    let count = reader.count("entries", 5, ENTRIES_MAX)?;
    let mut entries = names.read_paths(reader, count)?;
    let kinds = reader.take(count)?;
    for entry in &mut entries {
        entry.mode = reader.u32("a mode")?;
        if entry.mode > MODE_MAX {
            return Err(FormatError::damaged(WHAT, format!("{:?} has mode {:o}", entry.path, entry.mode)));
        }
    }
    let mut last_ns = 0i64;
    for entry in &mut entries {
        last_ns = last_ns.wrapping_add(reader.signed()?);
        entry.mtime_ns = last_ns;
    }
    let mut files = Files { refs, chunks, next: 0 };
    for (entry, kind) in entries.iter_mut().zip(kinds) {
        entry.kind = match *kind {
            DIRECTORY => EntryKind::Directory,
            FILE => files.read(reader)?,
            LINK => EntryKind::Link { target: names.read_link(reader, &entry.path)? },
            other => return Err(FormatError::damaged(WHAT, format!("{:?} is of kind {other}", entry.path))),
        };
    }
    if files.next as usize != refs.len() {
        return Err(FormatError::damaged(WHAT, "no file takes the last chunk references"));
    }
    check_tree(&entries)?;
    Ok(entries)
}

/// What names may still take in memory.
struct Names {
    room: usize,
}

impl Names {
    fn spend(&mut self, bytes: usize) -> Result<(), FormatError> {
        self.room = self.room.checked_sub(bytes).ok_or_else(|| FormatError::damaged(WHAT, "its names are too long"))?;
        Ok(())
    }

    fn read_paths(&mut self, reader: &mut Reader, count: usize) -> Result<Vec<Entry>, FormatError> {
        let mut entries: Vec<Entry> = Vec::with_capacity(count);
        let mut path: Vec<u8> = Vec::with_capacity(PATH_BYTES_MAX);
        for at in 0..count {
            let shared = reader.varint()?;
            let rest = reader.varint()?;
            if shared > path.len() as u64 || rest > PATH_BYTES_MAX as u64 {
                return Err(FormatError::damaged(WHAT, "a path has an impossible length"));
            }
            path.truncate(shared as usize);
            path.extend_from_slice(reader.take(rest as usize)?);
            self.spend(path.len())?;
            let text = std::str::from_utf8(&path).map_err(|_| FormatError::damaged(WHAT, "a path is not UTF-8"))?;
            match entries.last() {
                None if text.is_empty() => {}
                None => return Err(FormatError::damaged(WHAT, "its first entry is not the root")),
                Some(last) if last.path.as_str() < text => paths::check(text)?,
                Some(_) => return Err(FormatError::damaged(WHAT, format!("entry {at} is not in order: {text:?}"))),
            }
            entries.push(Entry { path: text.to_owned(), kind: EntryKind::Directory, mode: 0, mtime_ns: 0 });
        }
        Ok(entries)
    }

    fn read_link(&mut self, reader: &mut Reader, path: &str) -> Result<String, FormatError> {
        let bytes = reader.varint()?.min(reader.left() as u64 + 1) as usize;
        let says = reader.take(bytes)?;
        self.spend(bytes)?;
        let says = std::str::from_utf8(says).map_err(|_| FormatError::damaged(WHAT, "a link is not UTF-8"))?;
        paths::check_link(path, says)?;
        Ok(says.to_owned())
    }
}

/// Files take the chunk references one after the other; their lengths follow from their chunks.
struct Files<'a> {
    refs: &'a [u32],
    chunks: &'a [Chunk],
    next: u32,
}

impl Files<'_> {
    fn read(&mut self, reader: &mut Reader) -> Result<EntryKind, FormatError> {
        let left = (self.refs.len() - self.next as usize) as u64;
        let count = reader.varint()?;
        if count > left {
            return Err(FormatError::damaged(WHAT, "a file names more chunks than there are"));
        }
        let refs = self.next..self.next + count as u32;
        let own = &self.refs[refs.start as usize..refs.end as usize];
        let bytes: u64 = own.iter().map(|&at| u64::from(self.chunks[at as usize].bytes)).sum();
        refuse_above("a file", bytes, FILE_BYTES_MAX)?;
        self.next = refs.end;
        Ok(EntryKind::File { bytes, refs })
    }
}

/// The root is a directory, and everything else stands in one.
fn check_tree(entries: &[Entry]) -> Result<(), FormatError> {
    let Some(root) = entries.first() else { return Err(FormatError::damaged(WHAT, "it has no root")) };
    if root.kind != EntryKind::Directory {
        return Err(FormatError::damaged(WHAT, "its root is not a directory"));
    }
    let mut directories: HashSet<&str> = HashSet::new();
    let mut last_parent = "";
    for entry in &entries[1..] {
        let parent = paths::parent(&entry.path);
        if parent != last_parent && !parent.is_empty() && !directories.contains(parent) {
            return Err(FormatError::damaged(WHAT, format!("{:?} stands in no directory", entry.path)));
        }
        last_parent = parent;
        if entry.kind == EntryKind::Directory {
            directories.insert(&entry.path);
        }
    }
    Ok(())
}

fn refuse_above(what: &'static str, found: u64, max: u64) -> Result<(), FormatError> {
    if found > max { Err(FormatError::TooLarge { what, found, max }) } else { Ok(()) }
}
