//! What the work of one site uses, made once when it starts. It knows no queue: who brings jobs is not its business.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use domain::variables::Variables;
use schemas::{JobResult, Task};
use worker::{Context, Outcome};

use crate::config::Config;
use crate::fetch::Depot;
use crate::halt::Halt;
use crate::journal::{Journal, OpenJob};
use crate::orders::Orders;
use crate::retention::Retention;
use crate::serve::Upstreams;
use crate::sources::SourceBook;
use crate::standby::Standby;
use crate::{extract, send};

pub struct Site {
    pub journal: Journal,
    pub orders: Arc<Orders>,
    pub sources: SourceBook,
    /// Where the site's own server reads through to.
    pub upstreams: Upstreams,
    pub depot: Depot,
    pub retention: Retention,
    pub standby: Standby,
    pub work_dir: PathBuf,
    /// All variables but the subscriber's own, which come with its settings.
    pub machine: Variables,
}

impl Site {
    /// Does one job in hand; doing it again has no second effect.
    pub async fn perform(self: &Arc<Self>, job: &OpenJob, context: &Context) -> Outcome {
        let done = match &job.task {
            Task::Send(task) => {
                send::run(self, job.job, task, job.transfer.clone(), context).await.map(JobResult::Send)
            }
            Task::Extract(task) => extract::run(self, job.job, task, context).await.map(JobResult::Extract),
            Task::Build(_) | Task::Collect(_) => Err(Halt::permanent("wrong-task", "a site builds nothing")),
        };
        done.map_or_else(|halt| halt.outcome(context), Outcome::Done)
    }

    /// The variables in force now.
    pub fn variables(&self) -> Variables {
        let own = self.orders.settings().map(|s| s.variables.clone()).unwrap_or_default();
        Variables { own, ..self.machine.clone() }
    }
}

/// The predefined variables and the environment that the site's configuration lets through.
pub fn machine(config: &Config) -> Variables {
    let text = |value: &std::path::Path| value.to_string_lossy().into_owned();
    let mut predefined = BTreeMap::from([
        ("BASE_PATH".to_owned(), text(&config.work_dir)),
        ("WORKING_PATH".to_owned(), text(&config.work_dir)),
        ("OS".to_owned(), std::env::consts::OS.to_owned()),
        ("ARCH".to_owned(), std::env::consts::ARCH.to_owned()),
        ("DEST_VOLUME".to_owned(), "/".to_owned()),
    ]);
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    predefined.insert("HOSTNAME".to_owned(), host);
    if let Some(address) = config.listen.map(|l| l.ip()).filter(|ip| !ip.is_unspecified()) {
        predefined.insert("IP_ADDRESS".to_owned(), address.to_string());
    }
    predefined.extend(config.predefined.iter().map(|(name, value)| (name.to_uppercase(), value.clone())));
    let allowed = |name: &String| std::env::var(name).ok().map(|value| (name.clone(), value));
    let environment = config.env_allow.iter().filter_map(allowed).collect();
    Variables { own: BTreeMap::new(), predefined, environment }
}
