//! The roles' flags. Every value is optional here: what no flag and no variable says is looked up in `tidegate.toml`, then
//! gets the role's default. It does not know those defaults.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use schemas::{ConsoleName, DistributorName, Span, SubscriberName};
use serde::Serialize;

#[derive(Debug, Clone, Subcommand)]
pub enum RoleCommand {
    /// All roles in one process: SQLite, local disk, a queue in memory; nothing else is needed
    Up(UpArgs),
    /// Plans requests into jobs, fires schedules, sweeps; several may run, one leads
    Scheduler(SchedulerArgs),
    /// Turns sources into revisions; start as many as you like
    Builder(BuilderArgs),
    /// Receives, keeps, relays and extracts at one site
    Subscriber(SubscriberArgs),
    /// Writes the workers' reports to the database
    Recorder(RecorderArgs),
    /// Answers the command line's verbs over HTTP
    Api(ApiArgs),
}

/// What every role takes.
#[derive(Debug, Clone, Default, Args, Serialize)]
pub struct ProcessArgs {
    /// Configuration file; without it `./tidegate.toml`, if there is one
    #[arg(long, value_name = "FILE", env = "TIDEGATE_CONFIG")]
    #[serde(skip)]
    pub config: Option<PathBuf>,
    /// What to log: a level, or `info,queue=debug`; a subscriber that is told so does not follow its `console_level`
    #[arg(long, value_name = "FILTER", env = "TIDEGATE_LOG")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log: Option<String>,
    #[arg(long, value_name = "FORM", env = "TIDEGATE_LOG_FORMAT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_format: Option<LogFormat>,
    /// How long work in hand may go on after SIGTERM
    #[arg(long, value_name = "TIME", env = "TIDEGATE_DRAIN_TIME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drain_time: Option<Span>,
    /// How long its services may take to answer when it starts
    #[arg(long, value_name = "TIME", env = "TIDEGATE_START_TIMEOUT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_timeout: Option<Span>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Clone, Default, Args, Serialize)]
pub struct DatabaseArgs {
    /// `sqlite:///path/to/file` or `postgres://user@host/database`; with a password use the variable, which others cannot see
    #[arg(long, value_name = "URL", env = "TIDEGATE_DATABASE", hide_env_values = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database: Option<String>,
}

#[derive(Debug, Clone, Default, Args, Serialize)]
pub struct BrokerArgs {
    /// `amqp://user@host:port/vhost`; with a password use the variable, which others cannot see
    #[arg(long, value_name = "URL", env = "TIDEGATE_BROKER", hide_env_values = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub broker: Option<String>,
}

/// The origin. Credentials for S3 come from the AWS variables and files, never from flags.
#[derive(Debug, Clone, Default, Args, Serialize)]
pub struct StorageArgs {
    /// A directory, or `s3://bucket/prefix`
    #[arg(long, value_name = "PLACE", env = "TIDEGATE_STORAGE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage: Option<String>,
    /// Address of an S3-compatible server; without it AWS
    #[arg(long, value_name = "URL", env = "TIDEGATE_S3_ENDPOINT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub s3_endpoint: Option<String>,
    #[arg(long, value_name = "REGION", env = "TIDEGATE_S3_REGION")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub s3_region: Option<String>,
}

#[derive(Debug, Clone, Default, Args, Serialize)]
#[command(after_help = "Examples:\n  tidegate up\n  tidegate up --data /srv/tidegate -f fleet.yaml")]
pub struct UpArgs {
    /// Everything lies below it: database, storage, sites, and how the client verbs find the service
    #[arg(long, value_name = "DIR", env = "TIDEGATE_DATA")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<PathBuf>,
    /// Definitions to apply at the start; may be given several times
    #[arg(short, long = "file", value_name = "FILE")]
    #[serde(skip)]
    pub files: Vec<PathBuf>,
    /// Address of the API (default: a free port on 127.0.0.1)
    #[arg(long, value_name = "ADDRESS", env = "TIDEGATE_LISTEN")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<SocketAddr>,
    /// Builds at the same time
    #[arg(long, value_name = "N", env = "TIDEGATE_SLOTS", value_parser = clap::value_parser!(u16).range(1..=256))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slots: Option<u16>,
    /// How long what no revision needs any more stays at the origin (default 1d)
    #[arg(long, value_name = "TIME", env = "TIDEGATE_GC_GRACE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gc_grace: Option<Span>,
    /// How long a site keeps what a child asked for, beyond its limits (default 10m)
    #[arg(long, value_name = "TIME", env = "TIDEGATE_SERVED_KEPT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub served_kept: Option<Span>,
    /// In whose name it changes and runs things, where several share one database (default main)
    #[arg(long, value_name = "NAME", env = "TIDEGATE_CONSOLE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub console: Option<ConsoleName>,
    #[command(flatten)]
    #[serde(flatten)]
    pub process: ProcessArgs,
}

#[derive(Debug, Clone, Default, Args, Serialize)]
pub struct SchedulerArgs {
    /// Another scheduler leads when the leader has been silent for so long (default 10s); the same for all of them
    #[arg(long, value_name = "TIME", env = "TIDEGATE_LEASE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease: Option<Span>,
    /// How long what no revision needs any more stays at the origin (default 1d)
    #[arg(long, value_name = "TIME", env = "TIDEGATE_GC_GRACE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gc_grace: Option<Span>,
    #[command(flatten)]
    #[serde(flatten)]
    pub database: DatabaseArgs,
    #[command(flatten)]
    #[serde(flatten)]
    pub broker: BrokerArgs,
    #[command(flatten)]
    #[serde(flatten)]
    pub process: ProcessArgs,
}

#[derive(Debug, Clone, Default, Args, Serialize)]
#[command(
    after_help = "Example:\n  tidegate builder --distributor hq --storage s3://tidegate --s3-endpoint http://127.0.0.1:9000"
)]
pub struct BuilderArgs {
    /// Whose distributions it builds; may be given several times
    #[arg(long = "distributor", value_name = "NAME", env = "TIDEGATE_DISTRIBUTORS", value_delimiter = ',')]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub distributors: Vec<DistributorName>,
    /// Builds at the same time
    #[arg(long, value_name = "N", env = "TIDEGATE_SLOTS", value_parser = clap::value_parser!(u16).range(1..=256))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slots: Option<u16>,
    /// For what it remembers of sources; may be lost (default: the `working_dir` of each distributor)
    #[arg(long, value_name = "DIR", env = "TIDEGATE_WORK_DIR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub work_dir: Option<PathBuf>,
    #[command(flatten)]
    #[serde(flatten)]
    pub broker: BrokerArgs,
    #[command(flatten)]
    #[serde(flatten)]
    pub storage: StorageArgs,
    #[command(flatten)]
    #[serde(flatten)]
    pub process: ProcessArgs,
}

#[derive(Debug, Clone, Default, Args, Serialize)]
#[command(
    after_help = "Example:\n  tidegate subscriber --name paris --work-dir /var/lib/tidegate/sub --listen 0.0.0.0:7411"
)]
pub struct SubscriberArgs {
    /// The subscriber that it is
    #[arg(long, value_name = "NAME", env = "TIDEGATE_NAME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<SubscriberName>,
    /// Journal, keys and store (default /var/lib/tidegate/sub; the definition's `working_dir` does not move a site)
    #[arg(long, value_name = "DIR", env = "TIDEGATE_WORK_DIR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub work_dir: Option<PathBuf>,
    /// Where it serves its children; without it, it serves nobody
    #[arg(long, value_name = "ADDRESS", env = "TIDEGATE_LISTEN")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<SocketAddr>,
    /// How its children write that address
    #[arg(long, value_name = "URL", env = "TIDEGATE_PUBLIC_URL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_url: Option<String>,
    /// Jobs at the same time, each of its own lane
    #[arg(long, value_name = "N", env = "TIDEGATE_SLOTS", value_parser = clap::value_parser!(u16).range(1..=256))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slots: Option<u16>,
    /// How long a site keeps what a child asked for, beyond its limits (default 10m)
    #[arg(long, value_name = "TIME", env = "TIDEGATE_SERVED_KEPT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub served_kept: Option<Span>,
    /// Environment variables that a target may name as `%env:NAME%`
    #[arg(long = "env-allow", value_name = "NAME", env = "TIDEGATE_ENV_ALLOW", value_delimiter = ',')]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env_allow: Vec<String>,
    #[command(flatten)]
    #[serde(flatten)]
    pub broker: BrokerArgs,
    #[command(flatten)]
    #[serde(flatten)]
    pub storage: StorageArgs,
    #[command(flatten)]
    #[serde(flatten)]
    pub process: ProcessArgs,
}

#[derive(Debug, Clone, Default, Args, Serialize)]
pub struct RecorderArgs {
    #[command(flatten)]
    #[serde(flatten)]
    pub database: DatabaseArgs,
    #[command(flatten)]
    #[serde(flatten)]
    pub broker: BrokerArgs,
    #[command(flatten)]
    #[serde(flatten)]
    pub process: ProcessArgs,
}

#[derive(Debug, Clone, Default, Args, Serialize)]
pub struct ApiArgs {
    /// Where it listens (default 127.0.0.1:7410)
    #[arg(long, value_name = "ADDRESS", env = "TIDEGATE_LISTEN")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<SocketAddr>,
    /// Listen on an address that other machines reach, although this version speaks no TLS: behind a proxy that does
    #[arg(long)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub allow_remote: bool,
    /// Its address and token are written there, for the client verbs of the same user
    #[arg(long, value_name = "DIR", env = "TIDEGATE_DATA")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<PathBuf>,
    /// File with the token that clients must show; else the variable TIDEGATE_TOKEN, else a new one
    #[arg(long, value_name = "FILE", env = "TIDEGATE_TOKEN_FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_file: Option<PathBuf>,
    /// In whose name it changes and runs things, where several share one database (default main)
    #[arg(long, value_name = "NAME", env = "TIDEGATE_CONSOLE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub console: Option<ConsoleName>,
    #[command(flatten)]
    #[serde(flatten)]
    pub database: DatabaseArgs,
    #[command(flatten)]
    #[serde(flatten)]
    pub broker: BrokerArgs,
    #[command(flatten)]
    #[serde(flatten)]
    pub process: ProcessArgs,
}

#[derive(Debug, Clone, Default, Args)]
pub struct DemoArgs {
    /// What to distribute (default: ./docs if there is one, else the current directory); it is copied, never changed
    #[arg(value_name = "DIR")]
    pub source: Option<PathBuf>,
    /// Where everything is kept; must be empty or absent (default: a new directory below the system's temporary one)
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Keep the service running afterwards, to look around with the other verbs
    #[arg(long)]
    pub stay: bool,
}
