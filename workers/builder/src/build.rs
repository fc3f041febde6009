//! One build task, from its sources to its header in storage: packs first, the index next, the header last.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use blobs::{Blobs, Key};
use bytes::Bytes;
use package::build::{Input, build};
use package::hints::Hints;
use package::walk::{Tree, walk_keeping};
use package::{Built, EncodedIndex, Keeps, Watch, header};
use schemas::definitions::Kept;
use schemas::{BuildResult, BuildTask, CollectResult, CollectTask, Digest, Fault, IndexRef, NewRevision, PackUse};
use tokio::task::spawn_blocking;
use worker::{Context, ProgressHandle};

use crate::patches::{Pair, Parts, Patcher, Stored, ToPatch};
use crate::previous::Previous;
use crate::upload::{Line, Uploaded};
use crate::{collect, fault, hints_file, patches, previous, upload};

/// Of a distributor that says nothing.
const WORK_DIR: &str = "/var/lib/tidegate/dist";
/// Files named in the log that changed without a sign.
const UNSEEN_NAMED_MAX: usize = 5;
/// An index with this much content is large.
const LARGE_INDEX_BYTES: u64 = 16 << 20;
/// How often counters move from the build to its progress.
const PROGRESS_EVERY: Duration = Duration::from_millis(250);

pub struct Builder {
    blobs: Arc<dyn Blobs>,
    /// Hints, in a folder for each distribution; none: each distributor has its own place.
    work_dir: Option<PathBuf>,
    machine: String,
    /// That one build reads and compresses with.
    threads: usize,
    /// Nanoseconds since 1970 by the clock that file times follow.
    now_ns: fn() -> i64,
    /// Who makes patches of frames; without one, none are made.
    patcher: Option<Patcher>,
    /// The patch of a large index is made when the indexes are closed, that of another one while it is uploaded.
    large_index_bytes: u64,
}

/// How a build ends other than with a result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Ended {
    #[error(transparent)]
    Fault(#[from] Fault),
    #[error("cancelled")]
    Cancelled,
    #[error("given back: the builder stops")]
    Yielded,
}

impl Builder {
    pub fn new(blobs: Arc<dyn Blobs>, work_dir: Option<PathBuf>, threads: usize) -> Builder {
        let now_ns = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as i64;
        let (machine, threads) = (hints_file::machine_name(), threads.max(1));
        let large_index_bytes = LARGE_INDEX_BYTES;
        Builder { blobs, work_dir, machine, threads, now_ns, patcher: None, large_index_bytes }
    }

    /// What this builder was told wins over what the distributor's definition says.
    fn hints_path(&self, task: &BuildTask) -> PathBuf {
        let defined = task.working_dir.as_deref().unwrap_or(WORK_DIR);
        hints_file::path(self.work_dir.as_deref().unwrap_or(Path::new(defined)), task)
    }

    pub fn with_clock(self, now_ns: fn() -> i64) -> Builder {
        Builder { now_ns, ..self }
    }

    pub fn with_patcher(self, patcher: Patcher) -> Builder {
        Builder { patcher: Some(patcher), ..self }
    }

    /// Indexes with so much content are large; else it is 16 MiB.
    pub fn with_large_index(self, content_bytes: u64) -> Builder {
        Builder { large_index_bytes: content_bytes, ..self }
    }

    /// Returns when all patches are made, or their making was stopped.
    pub async fn patched(self) {
        if let Some(patcher) = self.patcher {
            patcher.ended().await;
        }
    }

    pub async fn build(&self, task: &BuildTask, context: &Context) -> Result<BuildResult, Ended> {
        let run = Run::new(self, task, &context.progress);
        let work = run.run();
        tokio::pin!(work);
        let ended = tokio::select! {
            result = &mut work => return result.map_err(Ended::Fault),
            () = context.cancel.cancelled() => Ended::Cancelled,
            () = context.drain.cancelled() => Ended::Yielded,
        };
        run.watch.cancel();
        // It may have been too late: then the result counts.
        work.await.map_err(|_| ended)
    }
}

impl Builder {
    /// Deletes what the task names and, if it says so, looks for orphans.
    pub async fn collect(&self, task: &CollectTask, context: &Context) -> Result<CollectResult, Ended> {
        collect::collect(&self.blobs, task, context, self.now_ns).await
    }
}

struct Run<'a> {
    builder: &'a Builder,
    task: &'a BuildTask,
    progress: &'a ProgressHandle,
    watch: Arc<Watch>,
    began_ns: i64,
}

/// A build that is dropped half-way must not read on in its threads.
impl Drop for Run<'_> {
    fn drop(&mut self) {
        self.watch.cancel();
    }
}

impl<'a> Run<'a> {
    fn new(builder: &'a Builder, task: &'a BuildTask, progress: &'a ProgressHandle) -> Run<'a> {
        Run { builder, task, progress, watch: Arc::default(), began_ns: (builder.now_ns)() }
    }

    async fn run(&self) -> Result<BuildResult, Fault> {
        self.progress.step("read");
        let (tree, hints, previous) =
            tokio::try_join!(self.list(), self.hints(), previous::load(&*self.builder.blobs, self.task))?;
        let previous = previous.map(Arc::new);
        let (trusted, doubted) = if self.task.read_all { (None, hints) } else { (hints, None) };
        let (built, mut uploaded) = self.read_and_upload(tree, trusted, previous.clone()).await?;
        let built = Arc::new(built);
        let changed_unseen = doubted.map_or(0, |hints| self.unseen(&built, &hints));
        // What was lost and came back under other names is found only by a header that has these.
        let unchanged = previous
            .as_ref()
            .is_some_and(|previous| built.is_same_as(&previous.index) && previous.lost.is_subset(&built.new_packs));
        let totals = built.index.totals();
        let (files_read, bytes_read) = (built.files_read, built.bytes_read);
        let mut revision = None;
        if !unchanged {
            revision = Some(self.take(built, previous, &mut uploaded).await?);
        } else if built.files_read > 0 {
            // Where nothing was read either, the hints say what they would say again.
            self.remember(&built).await?;
        }
        Ok(BuildResult {
            revision,
            files: totals.files,
            bytes: totals.bytes,
            files_read,
            bytes_read,
            bytes_uploaded: uploaded.bytes,
            objects_reused: uploaded.objects_reused,
            changed_unseen,
        })
    }

    /// A revision of what was built: its manifest, its hints, and at the same time the patches that are made quickly. What is not
    /// made yet then is made later, by the patcher.
    async fn take(
        &self,
        built: Arc<Built>,
        previous: Option<Arc<Previous>>,
        uploaded: &mut Uploaded,
    ) -> Result<NewRevision, Fault> {
        let (blobs, store) = (&*self.builder.blobs, self.task.store);
        let base = previous.as_ref().map(|previous| previous.stored.clone());
        let publish = async {
            let index = self.seal(&built).await?;
            let is_large = index.at.raw_bytes >= self.builder.large_index_bytes;
            let (beside, later) = if is_large { (None, base) } else { (base, None) };
            let put = upload::put(blobs, Key::index(store, index.at.digest), index.bytes.clone());
            let (put, patched) = tokio::join!(put, patches::put_index(blobs, store, beside, index.clone()));
            uploaded.add(put?);
            uploaded.add(patched);
            let revision = self.publish(&built, index.at, uploaded).await?;
            self.remember(&built).await?;
            Ok((revision, index, later))
        };
        let early = async { Ok(self.early(previous.as_ref(), &built).await) };
        let ((revision, index, later), early) = tokio::try_join!(publish, early)?;
        // Nobody needs the indexes open any more.
        drop(built);
        let base = previous.map(|previous| (previous.stored.clone(), previous.lost.clone()));
        let parts = match early {
            Some(parts) => parts.put(blobs, index.at.digest).await,
            None => None,
        };
        let is_patched = parts.is_some();
        uploaded.add(parts.unwrap_or_default());
        uploaded.add(patches::put_index(blobs, store, later, index.clone()).await);
        if let (Some(base), Some(patcher)) = (base, &self.builder.patcher) {
            let base = (!is_patched).then_some(base);
            patcher.take(ToPatch { store, new: index, base, earlier: self.task.earlier.clone() });
        }
        Ok(revision)
    }

    async fn list(&self) -> Result<Tree, Fault> {
        let (sources, threads, watch) = (self.task.sources.clone(), self.builder.threads, self.watch.clone());
        let keeps = keeps(&self.task.keep);
        let listed = spawn_blocking(move || walk_keeping(&sources, keeps, threads, &watch)).await;
        listed.map_err(|error| fault::of_thread(&error))?.map_err(|error| fault::of_build(&error))
    }

    async fn hints(&self) -> Result<Option<Hints>, Fault> {
        if self.task.previous.is_none() {
            return Ok(None);
        }
        let (path, machine) = (self.builder.hints_path(self.task), self.builder.machine.clone());
        spawn_blocking(move || hints_file::load(&path, &machine)).await.map_err(|error| fault::of_thread(&error))
    }

    /// Reads on threads of its own while packs leave; either end stops the other.
    async fn read_and_upload(
        &self,
        tree: Tree,
        hints: Option<Hints>,
        previous: Option<Arc<Previous>>,
    ) -> Result<(Built, Uploaded), Fault> {
        let (line, packs) = upload::line();
        let (threads, watch) = (self.builder.threads, self.watch.clone());
        let reading = spawn_blocking(move || {
            let mut line: Line = line;
            let (none, hints) = (HashSet::new(), hints.as_ref());
            let lost = previous.as_ref().map_or(&none, |previous| &previous.lost);
            let previous = previous.as_ref().map(|previous| &*previous.index);
            build(Input { tree, previous, lost, hints, threads, watch: &watch }, &mut line)
        });
        let began = || self.progress.step("upload");
        let uploading = upload::put_packs(self.builder.blobs.clone(), self.task.store, packs, began);
        let both = async { tokio::join!(reading, uploading) };
        let (built, uploaded) = self.with_progress(both).await;
        // A fault of the upload closes the line, so that it comes first: the build's own is then only its echo.
        let uploaded = uploaded?;
        let built = built.map_err(|error| fault::of_thread(&error))?.map_err(|error| fault::of_build(&error))?;
        Ok((built, uploaded))
    }

    async fn with_progress<T>(&self, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        let mut tick = tokio::time::interval(PROGRESS_EVERY);
        let done = loop {
            tokio::select! {
                done = &mut work => break done,
                _ = tick.tick() => self.show(),
            }
        };
        self.show();
        done
    }

    fn show(&self) {
        let seen = self.watch.seen();
        self.progress.set_totals(seen.files_total, seen.bytes_total);
        self.progress.set_done(seen.files_done, seen.bytes_done);
    }

    async fn seal(&self, built: &Arc<Built>) -> Result<Stored, Fault> {
        self.go_on()?;
        self.progress.step("index");
        let of_index = built.clone();
        let sealed = spawn_blocking(move || of_index.index.seal()).await.map_err(|error| fault::of_thread(&error))?;
        let EncodedIndex { at, bytes } = sealed;
        Ok(Stored { at, bytes: Bytes::from(bytes) })
    }

    /// Everything that the header names is in storage before the header is.
    async fn publish(&self, built: &Built, at: IndexRef, uploaded: &mut Uploaded) -> Result<NewRevision, Fault> {
        let (blobs, store) = (&*self.builder.blobs, self.task.store);
        self.go_on()?;
        self.progress.step("header");
        let head = header::header_of(store, self.task.number, self.task.of_type, &built.index, at);
        let bytes = header::encode(&head);
        let (digest, header_bytes) = (Digest::of(&bytes), bytes.len() as u64);
        uploaded.add(upload::put(blobs, Key::header(store, digest), Bytes::from(bytes)).await?);
        let pack_use = |pack: &schemas::PackRef| PackUse {
            digest: pack.digest,
            bytes: pack.bytes,
            new: built.new_packs.contains(&pack.digest),
        };
        Ok(NewRevision {
            number: head.number,
            header: digest,
            header_bytes,
            index: at.digest,
            index_bytes: at.bytes,
            files: head.files,
            directories: head.directories,
            links: head.links,
            bytes: head.bytes,
            stored_bytes: head.packs.iter().map(|pack| pack.bytes).sum(),
            packs: head.packs.iter().map(pack_use).collect(),
        })
    }

    /// Patches of frames against the last revision, if they are made quickly.
    async fn early(&self, previous: Option<&Arc<Previous>>, built: &Built) -> Option<Parts> {
        self.builder.patcher.as_ref().filter(|patcher| !patcher.is_stopped())?;
        let pair = Pair { store: self.task.store, base: previous?.clone(), new: built.index.clone() };
        patches::early(&*self.builder.blobs, pair).await
    }

    /// Files that a build which trusts its hints would have taken for unchanged; the first of them are named in the log.
    fn unseen(&self, built: &Built, hints: &Hints) -> u64 {
        let unseen = built.unseen_by(hints);
        if !unseen.is_empty() {
            let named: Vec<&str> = unseen
                .iter()
                .take(UNSEEN_NAMED_MAX)
                .map(|&at| built.index.entries[at as usize].path.as_str())
                .collect();
            let (distribution, files) = (&self.task.distribution, unseen.len());
            tracing::warn!(%distribution, files, ?named, "files changed without a change of size, times or inode");
        }
        unseen.len() as u64
    }

    fn go_on(&self) -> Result<(), Fault> {
        match self.watch.is_cancelled() {
            true => Err(fault::of_build(&package::BuildError::Cancelled)),
            false => Ok(()),
        }
    }

    async fn remember(&self, built: &Arc<Built>) -> Result<(), Fault> {
        let path = self.builder.hints_path(self.task);
        let (built, machine, began_ns) = (built.clone(), self.builder.machine.clone(), self.began_ns);
        let save = move || hints_file::save(&path, &built.hints(&machine, began_ns));
        spawn_blocking(save).await.map_err(|error| fault::of_thread(&error))
    }
}

fn keeps(kept: &[Kept]) -> Keeps {
    let one = |kept: &Kept| match kept {
        Kept::Owners => Keeps::OWNERS,
        Kept::Xattrs => Keeps::XATTRS,
        Kept::Acls => Keeps::ACLS,
        Kept::Security => Keeps::SECURITY,
    };
    kept.iter().map(one).fold(Keeps::default(), Keeps::with)
}
