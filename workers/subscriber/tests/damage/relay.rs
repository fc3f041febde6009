//! A parent's server over a store of its own.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use blobs::{Key, ObjectKind, ReadBlobs};
use schemas::{ChildKey, ContentSource};
use subscriber::serve::{Children, Outflow, ServeConfig, Serving, Upstreams, serve};
use subscriber::store::Store;
use tokio_util::sync::CancellationToken;

use crate::fixture::paris;
use crate::kinds::{Damage, Object};
use crate::scene::{Case, Scene, region};

pub struct Relay {
    pub folder: PathBuf,
    store: Arc<Store>,
    serving: Serving,
    stop: CancellationToken,
}

impl Relay {
    /// On the folder of this case, as far as it is filled; it reads through from `upstream`, if there is one.
    pub async fn start(scene: &Scene, case: &Case, upstream: Option<Arc<dyn ReadBlobs>>) -> Relay {
        let folder = scene.world.path(&format!("relay-{}", case.name));
        let store = Arc::new(Store::open(&folder).unwrap());
        let (children, upstreams, stop) = (Children::default(), Upstreams::default(), CancellationToken::new());
        let child = ChildKey { subscriber: paris(), public_key: scene.public_key.clone() };
        children.replace(1, &[child]).unwrap();
        upstreams.set_default(upstream.into_iter().collect());
        let config = ServeConfig {
            listen: "127.0.0.1:0".parse().unwrap(),
            name: region(),
            limits: Default::default(),
            outflow: Outflow::default(),
            floor: Default::default(),
        };
        let serving = serve(config, store.clone(), children, upstreams, stop.clone()).await.unwrap();
        Relay { folder, store, serving, stop }
    }

    pub fn source(&self) -> ContentSource {
        ContentSource::Relay { subscriber: region(), url: format!("http://{}", self.serving.addr()) }
    }

    /// From here on its tables know where everything is.
    pub fn has_served(&self, case: &Case) {
        assert_eq!(self.store.missing(case.store(), &case.v2.index).unwrap(), [0u32; 0]);
    }

    pub async fn end(self) {
        self.stop.cancel();
        self.serving.ended().await;
    }
}

/// Brings the second revision of a case into the store of its relay, which does not run.
pub fn fill(scene: &Scene, case: &Case) {
    let store = Store::open(scene.world.path(&format!("relay-{}", case.name))).unwrap();
    for key in case.keys() {
        let bytes = case.bytes(key);
        match key.kind {
            ObjectKind::Header => store.put_header(key.store, key.digest, &bytes).unwrap(),
            ObjectKind::Index => store.put_index(key.store, key.digest, &bytes).unwrap(),
            ObjectKind::Patch => {
                let path = scene.world.path(&format!("relay-{}", case.name)).join(key.to_string());
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, bytes).unwrap();
            }
            ObjectKind::Pack => {
                for frame in case.frames_in(key) {
                    let stored = &bytes[frame.offset as usize..][..frame.stored_bytes as usize];
                    store.put_frame(key.store, key.digest, frame, stored).unwrap();
                }
            }
        }
    }
    store.flush().unwrap();
}

/// The file in a site's store that has this object, or what there is of it.
pub fn file_of(key: Key) -> PathBuf {
    match key.kind {
        ObjectKind::Pack => PathBuf::from(format!("{key}.frames")),
        _ => PathBuf::from(key.to_string()),
    }
}

/// Damages a file of a store; for a pack's the other revision's is another frames file.
pub fn damage_file(folder: &std::path::Path, case: &Case, object: Object, damage: Damage) {
    let mut swaps = case.swaps(object);
    if object == Object::Pack {
        let other = case.v2.index.packs.iter().map(|pack| Key::pack(case.store(), pack.digest));
        let other = other.into_iter().find(|key| *key != case.key(Object::Pack)).unwrap();
        swaps.another_revisions = fs::read(folder.join(file_of(other))).unwrap();
    }
    damage.do_to_file(&folder.join(file_of(case.key(object))), &swaps);
}
