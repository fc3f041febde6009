//! What may be extracted at all, judged from the index before anything is written. Of the file
//! system it knows one thing: whether it tells names apart by case.

use std::path::Path;

use crate::index::{Chunk, Entry, EntryKind, Index};
use crate::limits::{FILE_BYTES_MAX, FRAME_RAW_BYTES_MAX};

use super::layout::Layout;
use super::{extras, folding, links, names, twins};

/// What a distribution may hold. By default everything unsafe, or unsafe somewhere, is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Allows set-uid, set-gid and sticky bits.
    pub set_id: bool,
    /// Allows names that are equal but for case: one would overwrite the other where case is folded.
    pub case_twins: bool,
    /// Allows names that are equal but for their Unicode composition (NFC and NFD).
    pub unicode_twins: bool,
    /// Allows names that Windows reserves or changes: `CON`, a trailing dot or space.
    pub windows_names: bool,
    /// Allows symbolic links that point out of the target. Nothing is ever written through a link.
    pub links_out: bool,
    /// Allows `security.*` attributes: capabilities, labels.
    pub security_attributes: bool,
    /// Allows a tree to become more than `expansion_max` times larger than it is stored: images that are nearly all zeros.
    pub expansion: bool,
    pub depth_max: u32,
    pub entries_max: u32,
    /// Of all files together.
    pub bytes_max: u64,
    /// How many times larger than its stored bytes a tree may become, beyond `EXPANSION_FREE_BYTES`.
    pub expansion_max: u64,
}

pub const DEPTH_MAX: u32 = crate::limits::PATH_DEPTH_MAX as u32;
pub const ENTRIES_MAX: u32 = crate::limits::ENTRIES_MAX as u32;
pub const BYTES_MAX: u64 = 16 << 40;
pub const EXPANSION_MAX: u64 = 1_000;
/// A tree of up to this size may be all repetition.
pub const EXPANSION_FREE_BYTES: u64 = 1 << 30;

impl Default for Policy {
    fn default() -> Policy {
        Policy {
            set_id: false,
            case_twins: false,
            unicode_twins: false,
            windows_names: false,
            links_out: false,
            security_attributes: false,
            expansion: false,
            depth_max: DEPTH_MAX,
            entries_max: ENTRIES_MAX,
            bytes_max: BYTES_MAX,
            expansion_max: EXPANSION_MAX,
        }
    }
}

impl Policy {
    /// The default for a target: names that only another file system confuses are refused where this one does. A kernel's
    /// sources, for one, hold names that are equal but for case, and `aux.c`.
    pub fn on(target: &Path) -> Policy {
        let apart = !folding::folds_case(target);
        Policy { case_twins: apart, unicode_twins: apart, windows_names: apart, ..Policy::default() }
    }

    /// The default, but for what these codes name (those of `Unsafe`). An unknown code is given back.
    pub fn allowing<T: AsRef<str>>(codes: &[T]) -> Result<Policy, String> {
        let mut policy = Policy::default();
        for code in codes {
            *policy.permission(code.as_ref()).ok_or_else(|| code.as_ref().to_owned())? = true;
        }
        Ok(policy)
    }

    fn permission(&mut self, code: &str) -> Option<&mut bool> {
        match code {
            "set-id" => Some(&mut self.set_id),
            "case-twins" => Some(&mut self.case_twins),
            "unicode-twins" => Some(&mut self.unicode_twins),
            "windows-name" => Some(&mut self.windows_names),
            "link-out" => Some(&mut self.links_out),
            "security-attributes" => Some(&mut self.security_attributes),
            "expansion" => Some(&mut self.expansion),
            _ => None,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unsafe {
    #[error("the tree has no root directory")]
    RootMissing,
    #[error("`{path}`: {why}")]
    Path { path: String, why: String },
    #[error("`{path}`: {why}")]
    WindowsName { path: String, why: &'static str },
    #[error("`{path}` is there twice, or out of order")]
    Order { path: String },
    #[error("`{path}` is in no directory of the tree")]
    ParentMissing { path: String },
    #[error("`{path}` is in `{file}`, which is a file")]
    InFile { path: String, file: String },
    #[error("`{path}` would be written through the link `{link}`")]
    ThroughLink { path: String, link: String },
    #[error("`{path}` and `{other}` are equal but for case")]
    CaseTwins { path: String, other: String },
    #[error("`{path}` and `{other}` are equal but for their Unicode composition")]
    UnicodeTwins { path: String, other: String },
    #[error("the link `{path}` points out of the target, to `{to}`")]
    LinkOut { path: String, to: String },
    #[error("the link `{path}` says nothing usable")]
    LinkInvalid { path: String },
    #[error("`{path}` has mode {mode:o}: set-uid, set-gid and sticky bits are not allowed")]
    SetId { path: String, mode: u32 },
    #[error("`{path}` has the attribute `{name}`: security attributes are not allowed")]
    SecurityAttribute { path: String, name: String },
    #[error("`{path}` has mode {mode:o}, which is none")]
    ModeInvalid { path: String, mode: u32 },
    #[error(
        "{stored} stored bytes become {bytes}, more than {times} times as many: allow `expansion` if that is meant"
    )]
    Expansion { bytes: u64, stored: u64, times: u64 },
    #[error("{what}: {found} is more than {max}")]
    TooMuch { what: &'static str, found: u64, max: u64 },
    #[error("`{path}`: {why}")]
    Content { path: String, why: &'static str },
    #[error("the tables of the index do not fit together: {0}")]
    Tables(&'static str),
}

impl Unsafe {
    pub fn code(&self) -> &'static str {
        match self {
            Unsafe::RootMissing => "root-missing",
            Unsafe::Path { .. } => "unsafe-path",
            Unsafe::WindowsName { .. } => "windows-name",
            Unsafe::Order { .. } => "duplicate-path",
            Unsafe::ParentMissing { .. } => "parent-missing",
            Unsafe::InFile { .. } => "file-as-directory",
            Unsafe::ThroughLink { .. } => "through-link",
            Unsafe::CaseTwins { .. } => "case-twins",
            Unsafe::UnicodeTwins { .. } => "unicode-twins",
            Unsafe::LinkOut { .. } => "link-out",
            Unsafe::LinkInvalid { .. } => "link-invalid",
            Unsafe::SetId { .. } => "set-id",
            Unsafe::SecurityAttribute { .. } => "security-attributes",
            Unsafe::ModeInvalid { .. } => "mode-invalid",
            Unsafe::Expansion { .. } => "expansion",
            Unsafe::TooMuch { .. } => "tree-too-large",
            Unsafe::Content { .. } => "content-invalid",
            Unsafe::Tables(_) => "index-invalid",
        }
    }
}

/// Refuses the first thing that is unsafe.
pub fn check(index: &Index, policy: &Policy) -> Result<(), Unsafe> {
    layout_checked(index, policy).map(|_| ())
}

pub(super) fn layout_checked(index: &Index, policy: &Policy) -> Result<Layout, Unsafe> {
    at_most("entries", index.entries.len() as u64, policy.entries_max.into())?;
    check_tables(index)?;
    for entry in index.entries.iter().skip(1) {
        check_entry(entry, policy)?;
    }
    if let Some(root) = index.entries.first() {
        check_mode(root, policy)?;
    }
    check_order(index)?;
    extras::check(index, policy)?;
    let layout = Layout::of(index)?;
    check_sizes(index, policy)?;
    links::check(index, policy)?;
    twins::check(index, policy)?;
    Ok(layout)
}

fn at_most(what: &'static str, found: u64, max: u64) -> Result<(), Unsafe> {
    if found > max { Err(Unsafe::TooMuch { what, found, max }) } else { Ok(()) }
}

fn check_entry(entry: &Entry, policy: &Policy) -> Result<(), Unsafe> {
    names::check(&entry.path, policy)?;
    let depth = entry.path.bytes().filter(|&byte| byte == b'/').count() as u64 + 1;
    at_most("directories in each other", depth, policy.depth_max.into())?;
    check_mode(entry, policy)
}

fn check_mode(entry: &Entry, policy: &Policy) -> Result<(), Unsafe> {
    if entry.mode & !0o7777 != 0 {
        return Err(Unsafe::ModeInvalid { path: entry.path.clone(), mode: entry.mode });
    }
    // A link's mode means nothing on Linux and is not applied.
    let applied = !matches!(entry.kind, EntryKind::Link { .. });
    if applied && entry.mode & 0o7000 != 0 && !policy.set_id {
        return Err(Unsafe::SetId { path: entry.path.clone(), mode: entry.mode });
    }
    Ok(())
}

fn check_order(index: &Index) -> Result<(), Unsafe> {
    let out_of_order = index.entries.windows(2).find(|pair| pair[0].path.as_bytes() >= pair[1].path.as_bytes());
    match out_of_order {
        Some(pair) => Err(Unsafe::Order { path: pair[1].path.clone() }),
        None => Ok(()),
    }
}

fn check_tables(index: &Index) -> Result<(), Unsafe> {
    if index.chunk_refs.iter().any(|&at| at as usize >= index.chunks.len()) {
        return Err(Unsafe::Tables("a file names a chunk that is not there"));
    }
    if !index.chunks.iter().all(|chunk| chunk_fits(index, chunk)) {
        return Err(Unsafe::Tables("a chunk is not within its frame"));
    }
    for frame in &index.frames {
        at_most("bytes in a frame", frame.raw_bytes.into(), FRAME_RAW_BYTES_MAX as u64)?;
        let fits = index.packs.get(frame.pack as usize).is_some_and(|pack| {
            frame.offset.checked_add(frame.stored_bytes.into()).is_some_and(|end| end <= pack.bytes)
        });
        if !fits {
            return Err(Unsafe::Tables("a frame is not within its pack"));
        }
    }
    Ok(())
}

fn chunk_fits(index: &Index, chunk: &Chunk) -> bool {
    let end = u64::from(chunk.offset) + u64::from(chunk.bytes);
    let frame = index.frames.get(chunk.frame as usize);
    chunk.bytes > 0 && frame.is_some_and(|frame| end <= frame.raw_bytes.into())
}

fn check_sizes(index: &Index, policy: &Policy) -> Result<(), Unsafe> {
    let (mut total, mut written) = (0u64, 0u64);
    for (at, entry) in index.entries.iter().enumerate() {
        let EntryKind::File { bytes, refs } = &entry.kind else { continue };
        let content = |why| Unsafe::Content { path: entry.path.clone(), why };
        if refs.start > refs.end || refs.end as usize > index.chunk_refs.len() {
            return Err(content("it names chunks that are not there"));
        }
        let sum = index.chunks_of(refs).map(|chunk| u64::from(chunk.bytes)).sum::<u64>();
        at_most("bytes in a file", sum, FILE_BYTES_MAX)?;
        if sum != *bytes {
            return Err(content("its chunks do not add up to its size"));
        }
        total = total.saturating_add(sum);
        written = written.saturating_add(extras::bytes_written(index, at as u32, refs));
    }
    at_most("bytes in all files", total, policy.bytes_max)?;
    let stored = index.frames.iter().map(|frame| u64::from(frame.stored_bytes)).sum::<u64>();
    let allowed = EXPANSION_FREE_BYTES.saturating_add(stored.saturating_mul(policy.expansion_max));
    if written > allowed && !policy.expansion {
        return Err(Unsafe::Expansion { bytes: written, stored, times: policy.expansion_max });
    }
    Ok(())
}
