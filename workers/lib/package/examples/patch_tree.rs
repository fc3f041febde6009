//! Measures patches between two revisions that `build_tree` wrote: `patch_tree BASE NEW`, folders of packs and an `index`.

use std::fs;
use std::io::{Error, Result};
use std::path::Path;
use std::time::Instant;

use package::patch::{FramesPatch, IndexContent, PartWriter, PatchName, Region, apply_index, make_index, plan};
use package::{Index, decode_frame};
use schemas::{Digest, IndexRef};

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [base, new] = args.as_slice() else { return Err(Error::other("usage: patch_tree BASE NEW")) };
    let (base, new) = (Path::new(base), Path::new(new));
    let (old_bytes, new_bytes) = (fs::read(base.join("index"))?, fs::read(new.join("index"))?);
    let (old, index) =
        (Index::decode(&old_bytes).map_err(Error::other)?, Index::decode(&new_bytes).map_err(Error::other)?);
    let names = (Digest::of(&old_bytes), Digest::of(&new_bytes));

    let began = Instant::now();
    let contents = [&old_bytes, &new_bytes].map(|bytes| IndexContent::of(bytes));
    let [old_content, new_content] = contents;
    let (old_content, new_content) = (old_content.map_err(Error::other)?, new_content.map_err(Error::other)?);
    let name = PatchName::index(names.0, names.1);
    let patch = make_index(&name, &old_content, &new_content, new_bytes.len() as u64).expect("worth it");
    println!("index: {} bytes instead of {} in {:.3?}", patch.len(), new_bytes.len(), began.elapsed());
    let at = IndexRef {
        digest: names.1,
        bytes: new_bytes.len() as u64,
        raw_bytes: u64::from_le_bytes(new_bytes[8..16].try_into().expect("eight bytes")),
    };
    let began = Instant::now();
    assert_eq!(apply_index(&name, &patch, &old_content, &at).map_err(Error::other)?.bytes, new_bytes);
    println!("index applied in {:.3?}", began.elapsed());

    let began = Instant::now();
    let parts = plan(&old, &index);
    println!("{} parts planned in {:.3?}", parts.len(), began.elapsed());
    let folders = [base, new];
    let (mut made, mut whole, mut applied, mut making) = (0, 0, 0.0, 0.0);
    for (part, regions) in (0..).zip(&parts) {
        let name = PatchName::frames(names.0, names.1, part);
        let mut writer = PartWriter::default();
        let mut bases = Vec::new();
        for region in regions {
            let (base, content) = (base_of(region, &old, &folders)?, content_of(region, &index, &folders)?);
            let began = Instant::now();
            let delta = region.compare(&index, &base, &content);
            making += began.elapsed().as_secs_f64();
            whole += region.stored_bytes(&index);
            println!(
                "  region: {} frames {} bytes, base {}, stored {}, delta {:?} in {:.3?}",
                region.frames.len(),
                content.len(),
                base.len(),
                region.stored_bytes(&index),
                delta.as_ref().map(Vec::len),
                began.elapsed()
            );
            if let Some(delta) = delta {
                writer.add(region, &delta);
                bases.push(base);
            }
        }
        let object = writer.finish(&name, parts.len() as u32);
        made += object.len();
        let began = Instant::now();
        let read = FramesPatch::open(&name, &object, &old.chunks, &index).map_err(Error::other)?;
        for (at, base) in bases.iter().enumerate() {
            let frames = read.frames(at, &object, base, &index).map_err(Error::other)?;
            assert_eq!(frames.len(), read.regions[at].0.frames.len());
        }
        applied += began.elapsed().as_secs_f64();
    }
    println!("frames: {made} bytes instead of {whole}, made in {making:.3} s, applied in {applied:.3} s");
    Ok(())
}

fn content_of(region: &Region, index: &Index, folders: &[&Path]) -> Result<Vec<u8>> {
    let mut content = Vec::new();
    for &frame in &region.frames {
        content.extend(frame_of(frame, index, folders)?);
    }
    Ok(content)
}

fn base_of(region: &Region, index: &Index, folders: &[&Path]) -> Result<Vec<u8>> {
    let mut content = Vec::new();
    for &at in &region.bases {
        let chunk = &index.chunks[at as usize];
        let frame = frame_of(chunk.frame, index, folders)?;
        content.extend(&frame[chunk.offset as usize..][..chunk.bytes as usize]);
    }
    Ok(content)
}

fn frame_of(at: u32, index: &Index, folders: &[&Path]) -> Result<Vec<u8>> {
    use std::os::unix::fs::FileExt;
    let frame = &index.frames[at as usize];
    let name = index.packs[frame.pack as usize].digest.hex();
    let path = folders.iter().map(|folder| folder.join(&name)).find(|path| path.exists());
    let file = fs::File::open(path.ok_or_else(|| Error::other("a pack is missing"))?)?;
    let mut stored = vec![0; frame.stored_bytes as usize];
    file.read_exact_at(&mut stored, frame.offset)?;
    decode_frame(frame, &stored).map_err(Error::other)
}
