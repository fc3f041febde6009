//! Everything that can be said on the command line. It does not know how any of it is done.

pub mod roles;
pub mod verbs;

use clap::{Parser, Subcommand};
use clap_complete::Shell;

use roles::{DemoArgs, RoleCommand};
use verbs::{DbCommand, SchemaCommand, VerbCommand, VerifyArgs};

/// Distributes software, patches and definition files through tiers to many servers, and records every result in SQL.
#[derive(Debug, Parser)]
#[command(
    name = "tidegate",
    version,
    propagate_version = true,
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "First steps:
  tidegate demo                          see it work, in one process
  tidegate up -f examples/hello.yaml     run it here, with these definitions
  tidegate status                        in another terminal: how things stand

Exit codes: 0 succeeded, 1 failed, 2 wrong usage, 3 the service cannot be reached."
)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// A distribution through two tiers to three sites, before your eyes
    Demo(DemoArgs),
    #[command(flatten)]
    Role(RoleCommand),
    #[command(flatten)]
    Verb(VerbCommand),
    /// The database: its address, its shape, its views
    #[command(subcommand)]
    Db(DbCommand),
    /// The published JSON Schemas and the AsyncAPI document
    #[command(subcommand)]
    Schema(SchemaCommand),
    /// Whether a target, a site's store or the origin is whole, here where it lies; every byte is read
    #[command(
        long_about = "Whether a target, a site's store or the origin is whole, here where it lies; every byte is read.

TARGET: what it lacks, has otherwise or has beside what was extracted there.
--store: whether all that a site keeps is what its name says; --drop removes what is not, and it is fetched again.
--origin: whether every object of every kept revision is there and whole, and every frame can be opened; what no revision leads to is counted.",
        after_help = "Examples:
  tidegate verify /srv/antivirus
  tidegate verify /srv/antivirus --work-dir tidegate-data/sites/paris -o json
  tidegate verify --store --drop
  tidegate verify --origin --data tidegate-data
  tidegate verify --origin --storage s3://tidegate --s3-endpoint http://127.0.0.1:9000 --distribution antivirus

Exit codes: 0 it is whole (a target: it is the revision), 1 it is damaged (a target: it differs), also if that was dropped,
2 there is nothing to look at, 3 the storage or the database cannot be reached."
    )]
    Verify(VerifyArgs),
    /// Completions for a shell
    #[command(
        after_help = "Example:\n  tidegate completions bash > ~/.local/share/bash-completion/completions/tidegate"
    )]
    Completions { shell: Shell },
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use clap::error::ErrorKind;

    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn the_definition_of_all_commands_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_documented_line_is_understood() {
        for line in [
            "tidegate demo",
            "tidegate demo docs",
            "tidegate up --data /srv/tidegate -f fleet.yaml",
            "tidegate scheduler --database postgres://h/d --broker amqp://h",
            "tidegate builder --distributor hq --distributor lab",
            "tidegate subscriber --name paris",
            "tidegate recorder",
            "tidegate api --listen 127.0.0.1:7410",
            "tidegate apply -f a.yaml -f b.toml --dry-run",
            "tidegate apply -f fleet --prune --dry-run",
            "tidegate up --console berlin",
            "tidegate get syncs",
            "tidegate delete sync paris-core",
            "tidegate run sync/paris-core build/antivirus --wait",
            "tidegate schedule next sync/paris-core",
            "tidegate get subscribers",
            "tidegate get channel protect --output yaml",
            "tidegate describe subscriber paris",
            "tidegate delete group asia",
            "tidegate build antivirus --wait --timeout 5m",
            "tidegate build --component core",
            "tidegate send protect",
            "tidegate extract paris lyon --wait",
            "tidegate sync paris --components core,patches",
            "tidegate refresh hq",
            "tidegate run build/antivirus --wait",
            "tidegate event maintenance-begins --wait",
            "tidegate wait 01930000-0000-7000-8000-000000000001",
            "tidegate rollback paris antivirus --revision 3",
            "tidegate gc --dry-run",
            "tidegate gc antivirus tools --force --wait",
            "tidegate cancel 0a1b2c3d",
            "tidegate cancel --request 01930000-0000-7000-8000-000000000001",
            "tidegate retry 0a1b2c3d",
            "tidegate pause site/paris/protect",
            "tidegate resume site/paris/protect",
            "tidegate jobs --state failed --subscriber paris -o json",
            "tidegate jobs 0a1b2c3d",
            "tidegate deliveries --channel protect",
            "tidegate lanes",
            "tidegate schedules",
            "tidegate schedule next send/protect --count 20",
            "tidegate schedule explain build/antivirus",
            "tidegate status --api http://127.0.0.1:7410",
            "tidegate routes paris",
            "tidegate dead-letters list",
            "tidegate dead-letters show 0a1b2c3d",
            "tidegate dead-letters replay 0a1b2c3d",
            "tidegate dead-letters drop 0a1b2c3d 1b2c3d4e",
            "tidegate query SELECT",
            "tidegate db url",
            "tidegate db migrate --database sqlite:///tmp/x.db",
            "tidegate db views",
            "tidegate schema print",
            "tidegate schema print request.schema.json",
            "tidegate verify /srv/antivirus --work-dir tidegate-data/sites/paris -o json",
            "tidegate verify --store --drop",
            "tidegate verify --store --data tidegate-data -o json",
            "tidegate verify --origin --data tidegate-data",
            "tidegate verify --origin --storage /srv/origin --distribution antivirus --distribution tools",
            "tidegate completions zsh",
        ] {
            if let Err(error) = parse(line) {
                panic!("{line}: {error}");
            }
        }
    }

    #[test]
    fn wrong_usage_ends_with_code_two() {
        for line in [
            "tidegate burn",
            "tidegate build",
            "tidegate build ../x",
            "tidegate sync paris",
            "tidegate cancel",
            "tidegate get",
            "tidegate verify",
            "tidegate verify /srv/antivirus --store",
            "tidegate verify --origin --store",
            "tidegate verify --origin --drop",
            "tidegate verify --store --distribution antivirus",
            "tidegate get wheels",
            "tidegate pause paris",
            "tidegate gc --dry-run --wait",
            "tidegate build antivirus --timeout 5",
            "tidegate build antivirus --output xml",
            "tidegate run antivirus",
            "tidegate event",
            "tidegate event Doors",
            "tidegate run sync/../x",
            "tidegate api --console ../x",
            "tidegate subscriber --slots 0",
        ] {
            let error = parse(line).expect_err(line);
            assert_eq!(error.exit_code(), 2, "{line}");
        }
        assert_eq!(parse("tidegate --help").unwrap_err().kind(), ErrorKind::DisplayHelp);
        assert_eq!(parse("tidegate --help").unwrap_err().exit_code(), 0);
    }

    /// Secrets come from variables, whose values help must not repeat.
    #[test]
    fn help_never_shows_the_value_of_a_secret() {
        fn check(command: &clap::Command) {
            for arg in command.get_arguments() {
                let env = arg.get_env().and_then(|name| name.to_str()).unwrap_or_default();
                if ["TIDEGATE_TOKEN", "TIDEGATE_DATABASE", "TIDEGATE_BROKER"].contains(&env) {
                    assert!(arg.is_hide_env_values_set(), "{} --{}", command.get_name(), arg.get_id());
                }
            }
            command.get_subcommands().for_each(check);
        }
        check(&Cli::command());
    }
}
