//! Named limits of the package format: what a builder never exceeds and a reader never accepts. They are part of the
//! format's version 1.

/// Files up to this size are one chunk; larger ones are cut by content. Also the average that cutting aims at.
pub const CHUNK_BYTES_AVERAGE: usize = 64 << 10;
pub const CHUNK_BYTES_MIN: usize = 4 << 10;
pub const CHUNK_BYTES_MAX: usize = 256 << 10;

/// A frame is closed once it holds this much content.
pub const FRAME_RAW_BYTES_TARGET: usize = 256 << 10;
/// What a reader accepts as one frame's content.
pub const FRAME_RAW_BYTES_MAX: usize = 1 << 20;
/// A pack is closed once it is this large.
pub const PACK_BYTES_TARGET: usize = 16 << 20;
/// What a reader accepts as a pack.
pub const PACK_BYTES_MAX: u64 = 64 << 20;

pub const ENTRIES_MAX: usize = 5_000_000;
/// Of all paths and link texts of an index together: front coding must not expand without bound.
pub const NAMES_BYTES_MAX: usize = 1 << 30;
/// An index, uncompressed and as stored.
pub const INDEX_RAW_BYTES_MAX: u64 = 1 << 30;
pub const INDEX_BYTES_MAX: u64 = 1 << 30;
pub const HEADER_BYTES_MAX: u64 = 8 << 20;
/// One file; a sparse exabyte is refused instead of read for months.
pub const FILE_BYTES_MAX: u64 = 1 << 44;

/// Of all names and values of owners and extended attributes together, each distinct set once.
pub const ATTRIBUTES_BYTES_MAX: usize = 256 << 20;
/// One attribute's value, and all of one file: the kernel's limit.
pub const ATTRIBUTE_BYTES_MAX: usize = 64 << 10;
pub const ATTRIBUTE_NAME_BYTES_MAX: usize = 255;
pub const ACCOUNT_BYTES_MAX: usize = 255;

pub const PATH_BYTES_MAX: usize = 3_072;
/// One part of a path: the limit of all common file systems.
pub const PART_BYTES_MAX: usize = 255;
pub const PATH_DEPTH_MAX: usize = 128;
pub const LINK_BYTES_MAX: usize = 4_095;

/// Indexes above it, uncompressed, are not patched: both sides hold two of them at once. About three million files.
pub const INDEX_PATCH_RAW_BYTES_MAX: u64 = 256 << 20;
/// So many revisions before a new one it may be a patch of: what a site asks for.
pub const PATCH_BASES_MAX: u64 = schemas::job::PATCHED_REVISIONS_MAX;
/// What a reader accepts as a patch.
pub const PATCH_BYTES_MAX: u64 = 64 << 20;
/// Content of one region, and content of what it is compared with.
pub const PATCH_REGION_BYTES_MAX: u64 = 8 << 20;
pub const PATCH_BASE_BYTES_MAX: u64 = 8 << 20;
/// A part of a revision's frame patches is closed once it covers this much content.
pub const PATCH_PART_RAW_BYTES: u64 = 64 << 20;
/// Frames beyond so many parts have no patch: a revision that adds more than 1 GiB is mostly new.
pub const PATCH_PARTS_MAX: u32 = 16;
