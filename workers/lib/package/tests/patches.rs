//! Patches between revisions of real trees: they give exactly what a builder stored, or nothing.

mod support;

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use package::limits::{PATCH_BASE_BYTES_MAX, PATCH_PART_RAW_BYTES, PATCH_REGION_BYTES_MAX};
use package::patch::{
    self, FramesPatch, IndexContent, PartWriter, PatchName, Region, apply_index, make_index, patched_content, plan,
};
use package::{EncodedIndex, FormatError, Index, decode_frame};
use schemas::{Digest, IndexRef};
use support::{Source, Store, noise};

/// Two revisions of 400 files, one of them edited.
fn two_indexes() -> (EncodedIndex, EncodedIndex) {
    let source = Source::new();
    for n in 0..400 {
        source.write(&format!("d{}/{n}.txt", n % 9), format!("{n}").repeat(100));
    }
    let (first, _) = support::build(&source.sources(), None);
    source.write("d3/12.txt", "edited");
    let (second, _) = support::build(&source.sources(), Some(&first.index));
    (first.index.seal(), second.index.seal())
}

fn content(index: &EncodedIndex) -> IndexContent {
    IndexContent::of(&index.bytes).unwrap()
}

#[test]
fn an_index_patch_gives_the_stored_bytes_and_is_a_fraction_of_them() {
    let (first, second) = two_indexes();
    let name = PatchName::index(first.at.digest, second.at.digest);
    let patch = make_index(&name, &content(&first), &content(&second), second.at.bytes).unwrap();
    assert!(patch.len() as u64 * 20 < second.at.bytes, "{} of {}", patch.len(), second.at.bytes);
    assert_eq!(apply_index(&name, &patch, &content(&first), &second.at).unwrap(), second);
}

#[test]
fn a_patch_that_is_no_smaller_is_not_offered() {
    let (first, second) = two_indexes();
    let name = PatchName::index(first.at.digest, second.at.digest);
    let bytes = make_index(&name, &content(&first), &content(&second), second.at.bytes).unwrap().len() as u64;
    assert_eq!(make_index(&name, &content(&first), &content(&second), bytes), None);
    assert!(make_index(&name, &content(&first), &content(&second), bytes + 1).is_some());
}

#[test]
fn a_patch_on_another_base_or_of_another_index_gives_nothing() {
    let (first, second) = two_indexes();
    let name = PatchName::index(first.at.digest, second.at.digest);
    let patch = make_index(&name, &content(&first), &content(&second), second.at.bytes).unwrap();
    assert!(apply_index(&name, &patch, &content(&second), &second.at).is_err());
    assert!(apply_index(&name, &patch, &content(&first), &first.at).is_err());
    let wrong = make_index(&name, &content(&first), &content(&first), second.at.bytes).unwrap();
    let error = apply_index(&name, &wrong, &content(&first), &second.at).unwrap_err();
    assert!(matches!(error, FormatError::Damaged { .. } | FormatError::DigestMismatch { .. }), "{error}");
}

/// Two revisions, and the packs of both.
struct Pair {
    base: Arc<Index>,
    new: Arc<Index>,
    store: Store,
}

impl Pair {
    fn of(first: impl FnOnce(&Source), second: impl FnOnce(&Source)) -> Pair {
        let source = Source::new();
        first(&source);
        let (base, packs) = support::build(&source.sources(), None);
        let mut store = Store::with(&packs);
        second(&source);
        let (new, packs) = support::build(&source.sources(), Some(&base.index));
        store.add(&packs);
        Pair { base: base.index, new: new.index, store }
    }

    /// Ten files of 60 KB, an insertion in the middle of three, a file of 3 MB with a stretch replaced.
    fn edited() -> Pair {
        let small = |source: &Source, n: usize, with: &[u8]| {
            let mut content = noise(&format!("small {n}"), 60_000);
            content.splice(30_000..30_000, with.iter().copied());
            source.write(&format!("small/{n}"), content);
        };
        let first = |source: &Source| {
            (0..10).for_each(|n| small(source, n, b""));
            source.write("large", noise("large", 3_000_000));
        };
        let second = |source: &Source| {
            [2, 5, 7].iter().for_each(|&n| small(source, n, b"an insertion"));
            let mut content = noise("large", 3_000_000);
            content.splice(1_500_000..1_500_100, *b"something else");
            source.write("large", content);
        };
        Pair::of(first, second)
    }

    fn name(&self, part: u32) -> PatchName {
        PatchName::frames(self.base.seal().at.digest, self.new.seal().at.digest, part)
    }

    fn frame(&self, index: &Index, at: u32) -> Vec<u8> {
        let frame = &index.frames[at as usize];
        decode_frame(frame, &self.stored(index, at)).unwrap()
    }

    fn stored(&self, index: &Index, at: u32) -> Vec<u8> {
        let frame = &index.frames[at as usize];
        let pack = &self.store.packs[&index.packs[frame.pack as usize].digest];
        pack[frame.offset as usize..][..frame.stored_bytes as usize].to_vec()
    }

    fn content_of(&self, region: &Region) -> Vec<u8> {
        region.frames.iter().flat_map(|&at| self.frame(&self.new, at)).collect()
    }

    fn base_of(&self, region: &Region) -> Vec<u8> {
        let chunk = |&at: &u32| {
            let chunk = &self.base.chunks[at as usize];
            self.frame(&self.base, chunk.frame)[chunk.offset as usize..][..chunk.bytes as usize].to_vec()
        };
        region.bases.iter().flat_map(chunk).collect()
    }

    fn part(&self, part: u32) -> Vec<u8> {
        let parts = plan(&self.base, &self.new);
        let mut writer = PartWriter::default();
        for region in &parts[part as usize] {
            let delta = region.compare(&self.new, &self.base_of(region), &self.content_of(region));
            delta.iter().for_each(|delta| writer.add(region, delta));
        }
        writer.finish(&self.name(part), parts.len() as u32)
    }

    fn open(&self, object: &[u8]) -> Result<FramesPatch, FormatError> {
        FramesPatch::open(&self.name(0), object, &self.base.chunks, &self.new)
    }

    /// The frames that a part gives, each compared with what the builder stored.
    fn frames_given(&self, object: &[u8]) -> Vec<u32> {
        let patch = self.open(object).unwrap();
        let mut given = Vec::new();
        for (at, (region, _)) in patch.regions.iter().enumerate() {
            for (frame, stored) in patch.frames(at, object, &self.base_of(region), &self.new).unwrap() {
                assert!(stored == self.stored(&self.new, frame), "frame {frame} differs");
                given.push(frame);
            }
        }
        given
    }

    fn new_frames(&self) -> Vec<u32> {
        let is_new = |at: &u32| {
            let digest = self.new.frames[*at as usize].digest;
            self.base.frames.iter().all(|frame| frame.digest != digest)
        };
        (0..self.new.frames.len() as u32).filter(is_new).collect()
    }
}

#[test]
fn frame_patches_give_exactly_the_new_frames_for_a_fraction_of_their_bytes() {
    let pair = Pair::edited();
    let object = pair.part(0);
    assert_eq!(pair.frames_given(&object), pair.new_frames());
    let whole: u64 = pair.new_frames().iter().map(|&at| u64::from(pair.new.frames[at as usize].stored_bytes)).sum();
    assert!(whole > 180_000 && object.len() < 2_000, "{} of {whole}", object.len());
}

fn adds(source: &Source, bytes: usize) {
    source.write("new", noise("new", bytes));
}

/// Files that move into another folder and are edited there, a small one and a large one each.
fn renamed(first: &str, second: &str) -> Pair {
    let write = |source: &Source, folder: &str, name: &str, with: &[u8], bytes: usize| {
        let mut content = noise(name, bytes);
        content.splice(bytes / 2..bytes / 2, with.iter().copied());
        source.write(&format!("{folder}/{name}"), content);
    };
    let all = |source: &Source, folder: &str, with: &[u8]| {
        (0..6).for_each(|n| write(source, folder, &format!("small-{n}"), with, 50_000));
        write(source, folder, "large", with, 1_500_000);
    };
    let second = |source: &Source| {
        fs::remove_dir_all(source.path(first)).unwrap();
        all(source, second, b"edited, too");
    };
    Pair::of(|source| all(source, first, b""), second)
}

#[test]
fn a_file_that_was_renamed_and_edited_is_compared_with_what_it_was() {
    let pair = renamed("app-1.2/lib", "app-1.3/lib");
    let object = pair.part(0);
    assert_eq!(pair.frames_given(&object), pair.new_frames());
    let whole: u64 = pair.new_frames().iter().map(|&at| u64::from(pair.new.frames[at as usize].stored_bytes)).sum();
    assert!(whole > 300_000 && object.len() < 2_000, "{} of {whole}", object.len());
}

#[test]
fn of_namesakes_the_one_with_the_likest_path_is_the_twin() {
    let folders = ["a/one/x", "b/two/x", "c/three/x"];
    let write = |source: &Source, under: &str, with: &str| {
        for folder in folders {
            source.write(&format!("{under}/{folder}/data"), [&noise(folder, 40_000)[..], with.as_bytes()].concat());
        }
    };
    let pair = Pair::of(
        |source| write(source, "old", ""),
        |source| {
            fs::remove_dir_all(source.path("old")).unwrap();
            write(source, "new", "more");
        },
    );
    let object = pair.part(0);
    assert_eq!(pair.frames_given(&object), pair.new_frames());
    assert!(object.len() < 1_000, "{} bytes for 120,000", object.len());
}

#[test]
fn content_without_a_relative_is_offered_only_if_that_spares_something() {
    let pair = Pair::of(|_| {}, |source| adds(source, 500_000));
    let patch = pair.part(0);
    assert_eq!(pair.open(&patch).unwrap().regions, []);
}

#[test]
fn a_file_that_changed_everywhere_is_compared_with_the_same_place_of_the_old_one() {
    let every = |source: &Source, with: &[u8]| {
        let mut content = noise("large", 12_000_000);
        (0..content.len()).step_by(20_000).for_each(|at| content[at..at + with.len()].copy_from_slice(with));
        source.write("large", content);
    };
    let pair = Pair::of(|source| every(source, b"before"), |source| every(source, b"behind"));
    let parts = plan(&pair.base, &pair.new);
    assert!(parts[0].len() > 1, "more than a region");
    for region in &parts[0] {
        assert!(region.content_bytes(&pair.new) <= PATCH_REGION_BYTES_MAX);
        assert!(region.base_bytes(&pair.base.chunks) <= PATCH_BASE_BYTES_MAX);
    }
    let object = pair.part(0);
    assert_eq!(pair.frames_given(&object), pair.new_frames());
    assert!(object.len() < 100_000, "{} bytes for 600 changes of 6", object.len());
}

#[test]
fn much_new_content_comes_in_parts_that_hold_every_new_frame_once() {
    let large = PATCH_PART_RAW_BYTES as usize + 9_000_000;
    let pair = Pair::of(|_| {}, |source| adds(source, large));
    let parts = plan(&pair.base, &pair.new);
    assert_eq!(parts.len(), 2);
    let listed: Vec<u32> = parts.iter().flatten().flat_map(|region| region.frames.clone()).collect();
    assert_eq!(listed, pair.new_frames());
}

#[test]
fn the_same_revision_again_has_nothing_to_patch() {
    let pair = Pair::edited();
    assert_eq!(plan(&pair.new, &pair.new), Vec::<Vec<Region>>::new());
}

#[test]
fn a_damaged_frame_patch_is_refused_whole() {
    let pair = Pair::edited();
    let object = pair.part(0);
    for at in (0..object.len()).step_by(7) {
        let mut flipped = object.clone();
        flipped[at] ^= 0x10;
        assert!(pair.open(&flipped).is_err(), "byte {at}");
        assert!(pair.open(&object[..at]).is_err(), "{at} bytes");
    }
    let other = patch::seal(&pair.name(1), b"whole, but of another part");
    assert!(pair.open(&other).is_err());
}

/// Whoever can write a patch can seal it: then the digests of the frames decide.
#[test]
fn a_forged_frame_patch_gives_the_right_frames_or_none() {
    let pair = Pair::edited();
    let body = patch::open(&pair.name(0), &pair.part(0)).unwrap().to_vec();
    let mut refused = 0;
    for at in 0..body.len() {
        let mut forged = body.clone();
        forged[at] ^= 0x01;
        let object = patch::seal(&pair.name(0), &forged);
        let Ok(patch) = pair.open(&object) else {
            refused += 1;
            continue;
        };
        for (region, (named, _)) in patch.regions.iter().enumerate() {
            match patch.frames(region, &object, &pair.base_of(named), &pair.new) {
                Ok(frames) => frames.iter().for_each(|(at, bytes)| assert!(*bytes == pair.stored(&pair.new, *at))),
                Err(_) => refused += 1,
            }
        }
    }
    assert!(refused > body.len() / 2, "{refused} of {}", body.len());
}

/// Each would take memory and bring nothing.
#[test]
fn regions_that_bring_nothing_or_are_more_than_there_are_frames_are_refused() {
    let pair = Pair::edited();
    let refused = |body: &[u8]| pair.open(&patch::seal(&pair.name(0), body)).unwrap_err().to_string();
    assert!(refused(&[1, 1, 0, 0, 0, 0, 0]).contains("brings nothing"));
    let mut many = vec![1, 0xff, 0xff, 0x03];
    many.resize(1 << 20, 0);
    assert!(refused(&many).contains("65535 regions"));
}

#[test]
fn a_frame_patch_on_another_base_gives_nothing() {
    let pair = Pair::edited();
    let object = pair.part(0);
    let patch = pair.open(&object).unwrap();
    let mut base = pair.base_of(&patch.regions[0].0);
    base.iter_mut().for_each(|byte| *byte ^= 1);
    assert!(patch.frames(0, &object, &base, &pair.new).is_err());
    assert!(patch.frames(0, &object, b"", &pair.new).is_err());
}

/// Frozen: what version 1 wrote is read for ever. Compressing again is not part of that, so contents are compared.
#[test]
fn the_first_versions_patches_read_as_they_were_written() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden/patches-v1");
    let read = |name: &str| fs::read(folder.join(name)).unwrap();
    let (base, new) = (read("base.index"), read("new.index"));
    let names = (Digest::of(&base), Digest::of(&new));
    let (old, index) = (Index::decode(&base).unwrap(), Index::decode(&new).unwrap());
    let at = IndexRef {
        digest: names.1,
        bytes: new.len() as u64,
        raw_bytes: u64::from_le_bytes(new[8..16].try_into().unwrap()),
    };
    let content = |bytes: &[u8]| IndexContent::of(bytes).unwrap();
    let name = PatchName::index(names.0, names.1);
    assert_eq!(name.digest().to_string(), String::from_utf8(read("index.patch.name")).unwrap().trim());
    let patched = patched_content(&name, &read("index.patch"), &content(&base), at.raw_bytes).unwrap();
    assert_eq!(patched, content(&new));

    let name = PatchName::frames(names.0, names.1, 0);
    assert_eq!(name.digest().to_string(), String::from_utf8(read("frames.patch.name")).unwrap().trim());
    let object = read("frames.patch");
    let patch = FramesPatch::open(&name, &object, &old.chunks, &index).unwrap();
    assert_eq!((patch.parts, patch.regions.len()), (1, 1));
    assert_eq!(patch.content(0, &object, &read("region.base"), &index).unwrap(), read("region.content"));
}
