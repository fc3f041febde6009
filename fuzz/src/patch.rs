//! Patches between two indexes: what is wrapped rightly may still be anything inside.

use std::sync::OnceLock;

use package::patch::{FramesPatch, IndexContent, PatchName, apply_index, seal, verify};
use package::{Index, Tables};
use schemas::{Digest, IndexRef};

const BASE: &[u8] = include_bytes!("../../workers/lib/package/golden/patches-v1/base.index");
const NEW: &[u8] = include_bytes!("../../workers/lib/package/golden/patches-v1/new.index");

struct Indexes {
    base: IndexContent,
    tables: Tables,
    new: Index,
    at: IndexRef,
}

fn indexes() -> &'static Indexes {
    static READ: OnceLock<Indexes> = OnceLock::new();
    READ.get_or_init(|| {
        let base = IndexContent::of(BASE).expect("a golden index");
        let new = Index::decode(NEW).expect("a golden index");
        let at = new.seal().at;
        Indexes { tables: base.tables().expect("a golden index"), base, at, new }
    })
}

/// The first byte says whether the rest is a whole object, the body of an index's patch, or that of a part of frames.
pub fn patch(bytes: &[u8]) {
    let Some((kind, body)) = bytes.split_first() else { return };
    let Indexes { base, tables, new, at } = indexes();
    let of_index = PatchName::index(Digest::of(BASE), at.digest);
    match kind % 3 {
        0 => drop(verify(&of_index.digest(), body)),
        1 => {
            if let Ok(made) = apply_index(&of_index, &seal(&of_index, body), base, at) {
                assert_eq!(made.at, *at);
            }
        }
        _ => {
            let name = PatchName::frames(of_index.base, of_index.new, 0);
            let object = seal(&name, body);
            let Ok(opened) = FramesPatch::open(&name, &object, &tables.chunks, new) else { return };
            for (at, (region, _)) in opened.regions.iter().enumerate() {
                let content = vec![0; region.base_bytes(&tables.chunks) as usize];
                assert!(region.frames.iter().all(|&frame| (frame as usize) < new.frames.len()));
                if let Ok(raw) = opened.content(at, &object, &content, new) {
                    assert_eq!(raw.len() as u64, region.content_bytes(new));
                }
                drop(opened.frames(at, &object, &content, new));
            }
        }
    }
}
