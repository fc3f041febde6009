//! An extract: a revision that the store holds comes into its target. It knows nothing of lanes and reports.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use package::Index;
use package::tree::{self, FrameFault, Frames, Install, Installed, Policy, Progress, Step, TreeError};
use schemas::definitions::{Allowance, Unchanged};
use schemas::{Digest, ExtractOutcome, ExtractResult, ExtractTask, JobId, Mode, Priority, StoreId};
use worker::{Context, ProgressHandle};

use crate::fetch::manifest::{self, Manifest};
use crate::fetch::{Fetch, Order};
use crate::halt::{Halt, blocking, to_end};
use crate::recovery;
use crate::site::Site;
use crate::space;
use crate::store::{FrameRef, Store};
use crate::target;

/// Times that frames are fetched which the store or a tree turned out to lack.
const REFETCHES_MAX: u32 = 3;
/// What is locked is tried again after these; then the attempt fails and names it.
const LOCKED_WAITS: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4)];
/// How often the tree's figures are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);

pub async fn run(site: &Arc<Site>, job: JobId, task: &ExtractTask, context: &Context) -> Result<ExtractResult, Halt> {
    recovery::undo(&site.work_dir, task.store).await;
    let target = target::resolve(task, &site.variables())?;
    site.journal.note_step(job, "stage").await?;
    let manifest = match manifest::held(&site.depot.store, task.store, task.revision).await? {
        Some(manifest) => manifest,
        None => fetch_lacking(site, task, context).await?,
    };
    context.progress.step("stage");
    let _turn = site.standby.turn(task.store, context).await?;
    let mut waits = LOCKED_WAITS.into_iter();
    let mut refetches = 0;
    while refetches < REFETCHES_MAX {
        match install(site, task, &target, &manifest, context).await? {
            Ok(installed) => {
                site.journal.note_target(task.store, &target).await?;
                if is_first(task, &installed) {
                    prepare_later(site, task, &target, &manifest);
                }
                let held = site.retention.settle(site, task.store, task.keep).await;
                return Ok(ExtractResult { held, ..result(task, &target, installed) });
            }
            Err(error) if error.frame_missing().is_some() => {
                tracing::info!(%job, distribution = %task.distribution, %error, "what is lacking is fetched first");
                fetch_lacking(site, task, context).await?;
                refetches += 1;
            }
            Err(TreeError::Cancelled) => return Err(Halt::Stopped),
            Err(error @ TreeError::Locked { .. }) => {
                let Some(wait) = waits.next() else { return Err(Halt::Fault(error.fault())) };
                tracing::info!(%job, distribution = %task.distribution, %error, "what is locked is tried again");
                wait_for_release(wait, context).await?;
            }
            Err(error) => return Err(Halt::Fault(error.fault())),
        }
    }
    let what = format!("frames of revision {} were lost again and again while extracting", task.revision.number);
    Err(Halt::transient("content-unstable", what))
}

/// Nothing stood there before, so nothing stands beside it either: the next revision would have to link every file.
fn is_first(task: &ExtractTask, installed: &Installed) -> bool {
    let is_new = installed.outcome == ExtractOutcome::Installed && installed.previous.is_none();
    is_new && task.mode == Mode::Mirror && task.unchanged == Unchanged::Link
}

fn prepare_later(site: &Site, task: &ExtractTask, target: &std::path::Path, manifest: &Manifest) {
    let work = Extraction::new(site, task, target, manifest);
    site.standby
        .make_later(task.store, move |stop| work.install(stop, &Progress::default(), &|_| Ok(()), tree::prepare));
}

async fn wait_for_release(wait: Duration, context: &Context) -> Result<(), Halt> {
    context.progress.step("locked");
    tokio::select! {
        () = tokio::time::sleep(wait) => Ok(()),
        () = to_end(context) => Err(Halt::Stopped),
    }
}

/// Brings what the store lacks from where the distribution's newest send took it.
async fn fetch_lacking(site: &Site, task: &ExtractTask, context: &Context) -> Result<Manifest, Halt> {
    let sources = site.journal.sources_of(task.store).await?;
    let order = Order {
        id: task.store,
        revision: task.revision,
        sources: site.sources.open(&sources, Priority::default(), site.orders.silence()),
        before: Vec::new(),
        for_children: site.orders.has_children(),
    };
    context.progress.step("download");
    let fetch = Fetch::new(&site.depot, order, context)?;
    let manifest = fetch.manifest().await?;
    let plan = fetch.plan(&manifest, None).await?;
    fetch.bring(&manifest, plan).await?;
    Ok(manifest)
}

/// The tree works on a thread of its own; a stop reaches it through a flag, and it ends at its next safe point.
async fn install(
    site: &Site,
    task: &ExtractTask,
    target: &std::path::Path,
    manifest: &Manifest,
    context: &Context,
) -> Result<Result<Installed, TreeError>, Halt> {
    let cancel = Arc::new(AtomicBool::new(false));
    let progress = Arc::new(Progress::default());
    let work = Extraction::new(site, task, target, manifest);
    let (flag, counters) = (cancel.clone(), progress.clone());
    let (steps, hook) = (context.progress.clone(), site.depot.observe.clone());
    let observe = move |step: Step| {
        // One mark per step: a word per file would only wear the file out.
        if !matches!(step, Step::File) {
            steps.step(step.name());
        }
        hook.as_ref().map_or(Ok(()), |hook| hook(step.name()))
    };
    let way = match task.mode {
        Mode::Mirror => tree::mirror,
        Mode::Merge => tree::merge,
    };
    let work = blocking(move || work.install(&flag, &counters, &observe, way));
    tokio::pin!(work);
    let mut stop = Box::pin(to_end(context));
    let mut stopping = false;
    let mut shortage = None;
    loop {
        tokio::select! {
            installed = &mut work => return match (installed, shortage) {
                (Ok(Err(TreeError::Cancelled)), Some(shortage)) => Err(shortage),
                (installed, _) => installed,
            },
            () = &mut stop, if !stopping => {
                cancel.store(true, Relaxed);
                stopping = true;
            }
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        show(&progress, &context.progress);
        // Who writes nothing takes no room from anybody.
        if !stopping && shortage.is_none() && progress.bytes.load(Relaxed) > 0 {
            shortage = space::shortage(target, &site.depot.floor);
            cancel.store(shortage.is_some(), Relaxed);
        }
    }
}

fn show(progress: &Progress, shown: &ProgressHandle) {
    shown.set_totals(progress.files_total.load(Relaxed), progress.bytes_total.load(Relaxed));
    shown.set_done(progress.files.load(Relaxed), progress.bytes.load(Relaxed));
}

struct Extraction {
    task: ExtractTask,
    target: PathBuf,
    state_dir: PathBuf,
    index: Arc<Index>,
    /// Of the index as it is stored.
    index_digest: Digest,
    store: Arc<Store>,
    floor: u64,
}

impl Extraction {
    fn new(site: &Site, task: &ExtractTask, target: &std::path::Path, manifest: &Manifest) -> Extraction {
        Extraction {
            task: task.clone(),
            target: target.to_owned(),
            state_dir: target::state_dir(&site.work_dir, task.store, target),
            index: manifest.index.clone(),
            index_digest: manifest.header.index.digest,
            store: site.depot.store.clone(),
            floor: site.depot.floor.bytes(),
        }
    }

    fn install<T>(
        self,
        cancel: &AtomicBool,
        progress: &Progress,
        observe: &(dyn Fn(Step) -> std::io::Result<()> + Sync),
        way: fn(&Install) -> Result<T, TreeError>,
    ) -> Result<T, TreeError> {
        let frames = self.frames();
        way(&Install {
            target: &self.target,
            state_dir: &self.state_dir,
            revision: self.task.revision,
            index: &self.index,
            policy: &self.policy(),
            frames: &frames,
            adopt: self.task.adopt,
            pin: self.task.pin,
            unchanged: self.task.unchanged,
            floor: self.floor,
            cancel,
            progress,
            observe,
        })
    }

    fn frames(&self) -> StoreFrames<'_> {
        let (store, id) = (&*self.store, self.task.store);
        StoreFrames { store, id, index: &self.index, index_digest: self.index_digest }
    }

    fn policy(&self) -> Policy {
        let mut policy = Policy::on(&self.target);
        for allowance in &self.task.allow {
            match allowance {
                Allowance::LinkOut => policy.links_out = true,
                Allowance::SetId => policy.set_id = true,
                Allowance::SecurityAttributes => policy.security_attributes = true,
                Allowance::Expansion => policy.expansion = true,
            }
        }
        policy
    }
}

/// The store as the tree sees it.
struct StoreFrames<'a> {
    store: &'a Store,
    id: StoreId,
    index: &'a Index,
    index_digest: Digest,
}

impl Frames for StoreFrames<'_> {
    fn frame(&self, at: u32) -> Result<Arc<Vec<u8>>, FrameFault> {
        let frame = &self.index.frames[at as usize];
        let pack: Digest = self.index.packs[frame.pack as usize].digest;
        let stored = self
            .store
            .frame(self.id, pack, FrameRef::from(frame))
            .map_err(|e| FrameFault::Io(Arc::new(std::io::Error::other(e))))?;
        let stored = stored.ok_or(FrameFault::Missing)?;
        // Its digest was looked at a moment ago, by the store.
        let raw = package::open_frame(frame, &stored).map_err(|e| FrameFault::Corrupt(e.to_string()))?;
        Ok(Arc::new(raw))
    }

    fn index(&self) -> Option<Vec<u8>> {
        // The store looks at the digest.
        self.store.index(self.id, self.index_digest).ok()?.map(Vec::from)
    }
}

fn result(task: &ExtractTask, target: &std::path::Path, installed: Installed) -> ExtractResult {
    tracing::debug!(distribution = %task.distribution, outcome = ?installed.outcome, "extracted");
    ExtractResult {
        outcome: installed.outcome,
        target: target.to_string_lossy().into_owned(),
        files_written: installed.files_written,
        files_removed: installed.files_removed,
        files_unchanged: installed.files_unchanged,
        bytes_written: installed.bytes_written,
        previous: installed.previous,
        kept: installed.kept,
        held: None,
    }
}
