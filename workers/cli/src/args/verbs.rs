//! The client verbs' flags. What is typed becomes a name, an id or a lane here, or is refused here.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand, ValueEnum};
use schemas::name::Kind;
use schemas::{ChannelName, DistributionName, DistributorName, EventName, Lane, RequestId, Span, SubscriberName};

use super::roles::{DatabaseArgs, StorageArgs};

/// Where the service is, and how its answers are shown.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Service and output")]
pub struct ClientArgs {
    /// The data directory of `tidegate up`, which says where it listens [default: tidegate-data]
    #[arg(long, value_name = "DIR", env = "TIDEGATE_DATA")]
    pub data: Option<PathBuf>,
    /// Address of the service, instead of a data directory
    #[arg(long, value_name = "URL", env = "TIDEGATE_API")]
    pub api: Option<String>,
    /// Its token; other users of this machine see arguments, so use the variable or a file
    #[arg(long, value_name = "TOKEN", env = "TIDEGATE_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    #[arg(long, value_name = "FILE", env = "TIDEGATE_TOKEN_FILE")]
    pub token_file: Option<PathBuf>,
    /// `table` for people; `json` and `yaml` with exact figures and whole ids
    #[arg(short, long, value_name = "FORM", env = "TIDEGATE_OUTPUT", default_value = "table")]
    pub output: Form,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Form {
    #[default]
    Table,
    Json,
    Yaml,
}

/// A verb with its own flags and everybody's.
#[derive(Debug, Clone, Args)]
pub struct Verb<A: Args> {
    #[command(flatten)]
    pub args: A,
    #[command(flatten)]
    pub client: ClientArgs,
}

#[derive(Debug, Clone, Args)]
pub struct Nothing {}

#[derive(Debug, Clone, Subcommand)]
pub enum VerbCommand {
    /// Makes the definitions in effect match files, all or nothing
    #[command(after_help = "Examples:\n  tidegate apply -f examples/hello.yaml\n  tidegate apply -f fleet/ --dry-run")]
    Apply(Verb<ApplyArgs>),
    /// Lists the objects of a kind, or shows one as it was declared
    #[command(after_help = "Examples:\n  tidegate get subscribers\n  tidegate get channel protect -o yaml")]
    Get(Verb<GetArgs>),
    /// One object with every value, where it comes from, and who names it
    Describe(Verb<ObjectArgs>),
    /// Takes an object out of effect; refused with the list of those that still name it
    Delete(Verb<ObjectArgs>),
    /// Builds distributions: a new revision if their content changed
    #[command(
        after_help = "Examples:\n  tidegate build antivirus --wait\n  tidegate build --component core\n  tidegate build antivirus --verify --wait      (reads every file, and says what had changed without a sign)"
    )]
    Build(Verb<BuildArgs>),
    /// Sends what channels hold to whoever lacks it
    Send(Verb<SendArgs>),
    /// Extracts what subscribers have received
    Extract(Verb<ExtractArgs>),
    /// Builds what is stale, sends and extracts it, for some subscribers and components
    #[command(
        after_help = "Example:\n  tidegate sync paris --components core --wait\n\nA sync that is defined runs by its name: tidegate run sync/paris-core --wait"
    )]
    Sync(Verb<SyncArgs>),
    /// Puts in effect what was applied for distributors and waits, and rebuilds what it touches
    Refresh(Verb<RefreshArgs>),
    /// Runs schedules now; their next occurrences stay as they were
    #[command(
        after_help = "Example:\n  tidegate run build/antivirus sync/paris-core --wait      (`tidegate schedules` lists the names)\n\nA sync is run by the console that owns it."
    )]
    Run(Verb<RunArgs>),
    /// Says that something has happened: the schedules that wait for it are due
    #[command(
        after_help = "Example:\n  tidegate event maintenance-begins      (for schedules with `event: maintenance-begins`)"
    )]
    Event(Verb<EventArgs>),
    /// Follows a request to its end
    Wait(Verb<WaitArgs>),
    /// Goes back to an earlier revision that the subscriber still holds
    #[command(
        after_help = "Example:\n  tidegate rollback paris antivirus --revision 3 --wait\n\nWhich there are: tidegate query 'SELECT * FROM revisions'"
    )]
    Rollback(Verb<RollbackArgs>),
    /// Stops jobs, or all open jobs of requests
    Cancel(Verb<CancelArgs>),
    /// Tries failed or cancelled jobs again
    Retry(Verb<RetryArgs>),
    /// Retires revisions beyond what is kept, and deletes at the origin what no revision needs
    #[command(
        after_help = "Examples:\n  tidegate gc --dry-run\n  tidegate gc antivirus --wait\n\nThis happens by itself; `gc` does it now. What is condemned: tidegate query 'SELECT * FROM garbage'"
    )]
    Gc(Verb<GcArgs>),
    /// Holds a lane: what runs goes on, nothing more begins
    #[command(after_help = "Example:\n  tidegate pause site/paris/protect      (`tidegate lanes` lists the names)")]
    Pause(Verb<LaneArgs>),
    /// Lets a held lane go on
    Resume(Verb<LaneArgs>),
    /// The latest jobs, or one of them with its history
    #[command(after_help = "Examples:\n  tidegate jobs --state failed\n  tidegate jobs 0a1b2c3d")]
    Jobs(Verb<JobsArgs>),
    /// Who has which revision of what, and who lacks it
    Deliveries(Verb<DeliveriesArgs>),
    /// What runs in each lane, what waits behind it, and when it may start
    Lanes(Verb<LanesArgs>),
    /// The schedules, and when each is due
    Schedules(Verb<Nothing>),
    /// One schedule: its coming occurrences, or what it means in words
    #[command(subcommand)]
    Schedule(ScheduleCommand),
    /// How things stand: subscribers, channels, jobs
    Status(Verb<Nothing>),
    /// By which relays content reaches the subscribers
    Routes(Verb<RoutesArgs>),
    /// Messages that could not be processed
    #[command(subcommand)]
    DeadLetters(DeadLettersCommand),
    /// Answers a question in SQL; read-only
    #[command(
        after_help = "Examples:\n  tidegate query \"SELECT subscriber, state FROM deliveries WHERE state <> 'current'\"\n  tidegate query - < question.sql\n\n`tidegate db views` lists what can be asked."
    )]
    Query(Verb<QueryArgs>),
}

#[derive(Debug, Clone, Args)]
pub struct ApplyArgs {
    /// A file, or a directory with .yaml, .yml, .toml and .json files; may be given several times; `-` reads YAML from stdin
    #[arg(short, long = "file", value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// Says what would change, and changes nothing
    #[arg(long)]
    pub dry_run: bool,
    /// All changes take effect now, whatever their distributors' refresh schedules say
    #[arg(long, conflicts_with = "dry_run")]
    pub refresh: bool,
    /// Deletes what this console created and no file declares
    #[arg(long)]
    pub prune: bool,
}

#[derive(Debug, Clone, Args)]
pub struct GetArgs {
    /// distributor, distribution, channel, group, subscriber, hierarchy or sync; the plural will do
    #[arg(value_parser = kind)]
    pub kind: Kind,
    pub name: Option<String>,
}

#[derive(Debug, Clone, Args)]
pub struct ObjectArgs {
    #[arg(value_parser = kind)]
    pub kind: Kind,
    pub name: String,
}

/// How long a verb stays.
#[derive(Debug, Clone, Args)]
pub struct FollowArgs {
    /// Stays until the request has ended, with progress on stderr; exits with 0 if it succeeded, else with 1
    #[arg(long)]
    pub wait: bool,
    /// Stops waiting after this time, with 1; the request goes on
    #[arg(long, value_name = "TIME", requires = "wait")]
    pub timeout: Option<Span>,
    /// Kept with the request, and shown in results
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}

#[derive(Debug, Clone, Args)]
pub struct BuildArgs {
    #[arg(value_name = "DISTRIBUTION", required_unless_present = "components")]
    pub distributions: Vec<DistributionName>,
    /// All distributions of a component
    #[arg(long = "component", alias = "components", value_name = "NAME", value_delimiter = ',')]
    pub components: Vec<String>,
    /// Reads every file, also those that look unchanged by size, times and inode
    #[arg(long)]
    pub verify: bool,
    /// As --verify
    #[arg(long)]
    pub force: bool,
    #[command(flatten)]
    pub follow: FollowArgs,
}

#[derive(Debug, Clone, Args)]
pub struct SendArgs {
    #[arg(value_name = "CHANNEL", required = true)]
    pub channels: Vec<ChannelName>,
    /// Only to these
    #[arg(long = "subscriber", value_name = "NAME", value_delimiter = ',')]
    pub subscribers: Vec<SubscriberName>,
    /// Plans a send even where everything is there
    #[arg(long)]
    pub force: bool,
    #[command(flatten)]
    pub follow: FollowArgs,
}

#[derive(Debug, Clone, Args)]
pub struct ExtractArgs {
    #[arg(value_name = "SUBSCRIBER", required = true)]
    pub subscribers: Vec<SubscriberName>,
    /// Only these
    #[arg(long = "distribution", value_name = "NAME", value_delimiter = ',')]
    pub distributions: Vec<DistributionName>,
    /// Extracts again what is extracted
    #[arg(long)]
    pub force: bool,
    #[command(flatten)]
    pub follow: FollowArgs,
}

#[derive(Debug, Clone, Args)]
pub struct SyncArgs {
    #[arg(value_name = "SUBSCRIBER", required = true)]
    pub subscribers: Vec<SubscriberName>,
    /// `core`, `patches`, … or `all`
    #[arg(long = "components", alias = "component", value_name = "NAME", value_delimiter = ',', required = true)]
    pub components: Vec<String>,
    #[command(flatten)]
    pub follow: FollowArgs,
}

#[derive(Debug, Clone, Args)]
pub struct RefreshArgs {
    #[arg(value_name = "DISTRIBUTOR", required = true)]
    pub distributors: Vec<DistributorName>,
    #[command(flatten)]
    pub follow: FollowArgs,
}

#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    #[arg(value_name = "SCHEDULE", required = true, value_parser = schedule)]
    pub schedules: Vec<ScheduleName>,
    /// Stays until they have ended
    #[arg(long)]
    pub wait: bool,
    #[arg(long, value_name = "TIME", requires = "wait")]
    pub timeout: Option<Span>,
}

#[derive(Debug, Clone, Args)]
pub struct EventArgs {
    #[arg(value_name = "EVENT", required = true)]
    pub events: Vec<EventName>,
    #[command(flatten)]
    pub follow: FollowArgs,
}

#[derive(Debug, Clone, Subcommand)]
pub enum ScheduleCommand {
    /// When it is due, in its own zone and in UTC
    #[command(after_help = "Example:\n  tidegate schedule next send/protect --count 20")]
    Next(Verb<NextArgs>),
    /// What it means, in words
    #[command(after_help = "Example:\n  tidegate schedule explain send/protect")]
    Explain(Verb<ScheduleArgs>),
}

#[derive(Debug, Clone, Args)]
pub struct NextArgs {
    #[arg(value_name = "SCHEDULE", value_parser = schedule)]
    pub schedule: ScheduleName,
    /// How many occurrences
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    pub count: u16,
}

#[derive(Debug, Clone, Args)]
pub struct ScheduleArgs {
    #[arg(value_name = "SCHEDULE", value_parser = schedule)]
    pub schedule: ScheduleName,
}

#[derive(Debug, Clone, Args)]
#[command(group = ArgGroup::new("what").required(true).args(["target", "store", "origin"]))]
pub struct VerifyArgs {
    /// The directory that a distribution is extracted to
    #[arg(value_name = "TARGET")]
    pub target: Option<PathBuf>,
    /// The site's store: headers, indexes, patches, and packs frame by frame; the subscriber may run meanwhile
    #[arg(long)]
    pub store: bool,
    /// The origin: all kept revisions, as the database says, else all that have a header there
    #[arg(long)]
    pub origin: bool,
    /// Remove what is damaged in the site's store, so that it is fetched again
    #[arg(long, requires = "store", conflicts_with_all = ["target", "origin"])]
    pub drop: bool,
    /// Only this distribution of the origin, by its name or its store's id; may be given several times
    #[arg(long = "distribution", value_name = "NAME", requires = "origin", conflicts_with_all = ["target", "store"])]
    pub distributions: Vec<String>,
    /// The working directory of the subscriber [default: /var/lib/tidegate/sub]
    #[arg(long, value_name = "DIR", env = "TIDEGATE_WORK_DIR")]
    pub work_dir: Option<PathBuf>,
    /// The data directory of `tidegate up`, instead: all its subscribers, or its origin
    #[arg(long, value_name = "DIR", env = "TIDEGATE_DATA", conflicts_with = "work_dir")]
    pub data: Option<PathBuf>,
    /// Where storage and database are; without it `./tidegate.toml`, if there is one
    #[arg(long, value_name = "FILE", env = "TIDEGATE_CONFIG")]
    pub config: Option<PathBuf>,
    #[command(flatten)]
    pub storage: StorageArgs,
    #[command(flatten)]
    pub database: DatabaseArgs,
    /// `table` for people; `json` and `yaml` for programs
    #[arg(short, long, value_name = "FORM", env = "TIDEGATE_OUTPUT", default_value = "table")]
    pub output: Form,
}

#[derive(Debug, Clone, Args)]
pub struct WaitArgs {
    #[arg(value_name = "REQUEST")]
    pub request: RequestId,
    #[arg(long, value_name = "TIME")]
    pub timeout: Option<Span>,
}

#[derive(Debug, Clone, Args)]
pub struct RollbackArgs {
    pub subscriber: SubscriberName,
    pub distribution: DistributionName,
    /// Without it: the revision that was extracted there before
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub revision: Option<u64>,
    #[command(flatten)]
    pub follow: FollowArgs,
}

#[derive(Debug, Clone, Args)]
pub struct CancelArgs {
    /// Their ids, or the first digits of them
    #[arg(value_name = "JOB", required_unless_present = "requests")]
    pub jobs: Vec<String>,
    #[arg(long = "request", value_name = "REQUEST")]
    pub requests: Vec<RequestId>,
    #[command(flatten)]
    pub follow: FollowArgs,
}

#[derive(Debug, Clone, Args)]
pub struct RetryArgs {
    /// Their ids, or the first digits of them
    #[arg(value_name = "JOB", required = true)]
    pub jobs: Vec<String>,
    #[command(flatten)]
    pub follow: FollowArgs,
}

#[derive(Debug, Clone, Args)]
pub struct GcArgs {
    /// Only of these
    #[arg(value_name = "DISTRIBUTION")]
    pub distributions: Vec<DistributionName>,
    /// Says what would go and why, and changes nothing
    #[arg(long, conflicts_with_all = ["force", "wait", "reason"])]
    pub dry_run: bool,
    /// Takes every grace as over: also deletes what was condemned just now
    #[arg(long)]
    pub force: bool,
    #[command(flatten)]
    pub follow: FollowArgs,
}

#[derive(Debug, Clone, Args)]
pub struct LaneArgs {
    pub lane: Lane,
}

#[derive(Debug, Clone, Args)]
pub struct JobsArgs {
    /// One job, by its id or the first digits of it
    #[arg(conflicts_with_all = ["state", "kind", "subscriber", "distribution", "lane", "limit"])]
    pub job: Option<String>,
    /// waiting, queued, running, succeeded, failed or cancelled
    #[arg(long)]
    pub state: Option<String>,
    /// build, send or extract
    #[arg(long)]
    pub kind: Option<String>,
    #[arg(long, value_name = "NAME")]
    pub subscriber: Option<SubscriberName>,
    #[arg(long, value_name = "NAME")]
    pub distribution: Option<DistributionName>,
    #[arg(long)]
    pub lane: Option<Lane>,
    /// How many, the latest first [default: 200]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub limit: Option<u16>,
}

#[derive(Debug, Clone, Args)]
pub struct DeliveriesArgs {
    #[arg(long, value_name = "NAME")]
    pub channel: Option<ChannelName>,
    #[arg(long, value_name = "NAME")]
    pub distribution: Option<DistributionName>,
    #[arg(long, value_name = "NAME")]
    pub subscriber: Option<SubscriberName>,
    /// `current`, `behind`, `failed`, `never tried`, …
    #[arg(long)]
    pub state: Option<String>,
}

#[derive(Debug, Clone, Args)]
pub struct LanesArgs {
    /// Only this one
    pub lane: Option<Lane>,
}

#[derive(Debug, Clone, Args)]
pub struct RoutesArgs {
    /// Only the way to this one
    pub subscriber: Option<SubscriberName>,
}

#[derive(Debug, Clone, Args)]
pub struct QueryArgs {
    /// One SELECT; `-` reads it from stdin
    pub sql: String,
}

#[derive(Debug, Clone, Subcommand)]
pub enum DeadLettersCommand {
    /// The latest
    List(Verb<LettersArgs>),
    /// One, with its body
    Show(Verb<LetterArgs>),
    /// Puts their bodies back into the queues that they came from
    Replay(Verb<LetterListArgs>),
    /// Marks them as done with; their rows stay
    Drop(Verb<LetterListArgs>),
}

#[derive(Debug, Clone, Args)]
pub struct LettersArgs {
    /// Also those that were replayed or dropped
    #[arg(long)]
    pub all: bool,
}

#[derive(Debug, Clone, Args)]
pub struct LetterArgs {
    /// Its id, or the first digits of it
    #[arg(value_name = "LETTER")]
    pub id: String,
}

#[derive(Debug, Clone, Args)]
pub struct LetterListArgs {
    /// Their ids, or the first digits of them
    #[arg(value_name = "LETTER", required = true)]
    pub ids: Vec<String>,
}

#[derive(Debug, Clone, Subcommand)]
pub enum DbCommand {
    /// Prints the address of the database whole, with its password if it has one
    #[command(after_help = "Example:\n  psql \"$(tidegate db url)\"")]
    Url(Verb<Nothing>),
    /// Brings a database to this version's shape; safe to repeat, and for several to run at once
    #[command(after_help = "Example:\n  TIDEGATE_DATABASE=postgres://tidegate:secret@db/tidegate tidegate db migrate")]
    Migrate(MigrateArgs),
    /// The views that `tidegate query` can ask, with their columns
    Views(Verb<Nothing>),
}

#[derive(Debug, Clone, Args)]
pub struct MigrateArgs {
    #[command(flatten)]
    pub database: DatabaseArgs,
    /// Where the address of the database is looked up, if neither flag nor variable says it
    #[arg(long, value_name = "FILE", env = "TIDEGATE_CONFIG")]
    pub config: Option<PathBuf>,
    #[arg(short, long, value_name = "FORM", env = "TIDEGATE_OUTPUT", default_value = "table")]
    pub output: Form,
}

#[derive(Debug, Clone, Subcommand)]
pub enum SchemaCommand {
    /// Prints one document, or the names of all
    #[command(after_help = "Example:\n  tidegate schema print request.schema.json")]
    Print(SchemaArgs),
}

#[derive(Debug, Clone, Args)]
pub struct SchemaArgs {
    pub name: Option<String>,
    /// A document as a `table` is its JSON
    #[arg(short, long, value_name = "FORM", env = "TIDEGATE_OUTPUT", default_value = "table")]
    pub output: Form,
}

/// `build/antivirus`: as `tidegate schedules` lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScheduleName {
    pub verb: String,
    pub object: String,
}

fn kind(text: &str) -> Result<Kind, String> {
    Kind::parse(text).ok_or_else(|| format!("there are {}", Kind::ALL.map(Kind::as_str).join(", ")))
}

fn schedule(text: &str) -> Result<ScheduleName, String> {
    match text.split_once('/') {
        Some((verb @ ("build" | "send" | "extract" | "refresh" | "sync"), object)) if schemas::name::is_name(object) => {
            Ok(ScheduleName { verb: verb.to_owned(), object: object.to_owned() })
        }
        _ => Err("a schedule is called build/DISTRIBUTION, send/CHANNEL, extract/SUBSCRIBER, refresh/DISTRIBUTOR or sync/SYNC"
            .to_owned()),
    }
}
