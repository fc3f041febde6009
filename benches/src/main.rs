//! Figures against peers, in one run on one machine. `data` moves trees, `jobs` counts jobs, `schedules` and
//! `lateness` are about time. Tables for docs/performance.md
//! go to stdout; what is going on goes to stderr.

mod corpus;
mod data;
mod document;
mod growth;
mod jobs;
mod lateness;
mod meter;
mod peers;
mod postgres;
mod roles;
mod schedules;
mod services;
mod table;
mod tidegate;
mod wait;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "Figures against peers, in one run on one machine")]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Builds and delivers the corpora, beside rsync, restic, rustic and tar | zstd
    Data {
        /// Where the corpora are, or are made (benches/corpus.py, benches/trees.py)
        #[arg(long)]
        corpus: PathBuf,
        /// The release binary
        #[arg(long, default_value = "target/release/tidegate")]
        tidegate: PathBuf,
        /// Where everything is written, and left; on the file system that is to be measured. With the peers a round of `small` takes
        /// 9 GB, of `large` 17 GB
        #[arg(long)]
        scratch: PathBuf,
        #[arg(long, default_values_t = ["small".to_owned(), "large".to_owned()])]
        of: Vec<String>,
        #[arg(long, default_value_t = 3)]
        rounds: usize,
        /// On RabbitMQ, PostgreSQL and S3 (`ops/services up`, then `. .services/env`) instead of embedded
        #[arg(long)]
        services: bool,
        /// Tidegate alone
        #[arg(long)]
        no_peers: bool,
        /// Document whose tables are written anew
        #[arg(long)]
        write: Option<PathBuf>,
    },
    /// Trees of growing size, embedded: times, memory, and the index's bytes for each file
    Growth {
        #[arg(long, default_value = "target/release/tidegate")]
        tidegate: PathBuf,
        /// Made here and removed again, one after the other
        #[arg(long)]
        scratch: PathBuf,
        /// `files-N`: N small files; `gib-N`: N GiB in files of 256 MiB
        #[arg(long, default_values_t = ["files-10000", "files-100000", "files-1000000", "gib-1", "gib-4", "gib-10"].map(str::to_owned))]
        of: Vec<String>,
    },
    /// No-op jobs on RabbitMQ and PostgreSQL (`ops/services up`, then `. .services/env`), beside Celery
    Jobs {
        #[arg(long, default_value = "target/release/tidegate")]
        tidegate: PathBuf,
        #[arg(long)]
        scratch: PathBuf,
        #[arg(long, default_value_t = 64)]
        lanes: usize,
        #[arg(long, default_value_t = 40_000)]
        jobs: usize,
        /// Python with celery, sqlalchemy and psycopg2; without it Celery is left out, and the table says so
        #[arg(long)]
        celery_python: Option<PathBuf>,
    },
    /// A hundred thousand schedules on PostgreSQL and SQLite (`ops/services up`, then `. .services/env`): start, memory, ticks
    Schedules {
        #[arg(long, default_value = "target/release/tidegate")]
        tidegate: PathBuf,
        #[arg(long)]
        scratch: PathBuf,
    },
    /// From nominal instants to published jobs on RabbitMQ, PostgreSQL and S3 (a fresh `ops/services up`, then `. .services/env`)
    Lateness {
        #[arg(long, default_value = "target/release/tidegate")]
        tidegate: PathBuf,
        #[arg(long)]
        scratch: PathBuf,
        #[arg(long, default_value_t = 40)]
        schedules: usize,
        #[arg(long, default_value_t = 60)]
        seconds: u64,
    },
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().what {
        What::Data { corpus, tidegate, scratch, of, rounds, services, no_peers, write } => {
            data::run(&data::Plan { corpus, tidegate, scratch, of, rounds, services, peers: !no_peers, write })
        }
        What::Growth { tidegate, scratch, of } => growth::run(&growth::Plan { tidegate, scratch, of }),
        What::Jobs { tidegate, scratch, lanes, jobs, celery_python } => {
            jobs::run(&jobs::Plan { tidegate, scratch, lanes, jobs, celery_python })
        }
        What::Schedules { tidegate, scratch } => schedules::run(&schedules::Plan { tidegate, scratch }),
        What::Lateness { tidegate, scratch, schedules, seconds } => {
            lateness::run(&lateness::Plan { tidegate, scratch, schedules, seconds })
        }
    }
}
