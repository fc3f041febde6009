//! A site at work, with real parts around it.

mod extracts;
#[path = "../fixture/mod.rs"]
mod fixture;
mod lanes;
mod orders;
mod sends;

use fixture::World;
use fixture::origin::{Published, tree};

/// Revision 1 of a small tree.
async fn published(world: &World) -> Published {
    let folder = tree(&world.path("v1"), 20, 20_000, 1);
    world.origin().publish(1, &folder, None).await
}
