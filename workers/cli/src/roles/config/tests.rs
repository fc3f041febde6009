//! Precedence, unknown keys, and secrets that stay secret.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use super::*;

fn load(text: &str, section: Section, flags: Value) -> Result<Config, ConfigError> {
    load_mode(text, 0o600, section, flags)
}

fn load_mode(text: &str, mode: u32, section: Section, flags: Value) -> Result<Config, ConfigError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tidegate.toml");
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    Config::load(Some(&path), section, &flags)
}

#[test]
fn flags_win_over_the_file_and_a_roles_own_stay_with_it() {
    let text =
        "log = \"debug\"\ndrain_time = \"5s\"\n[builder]\nslots = 3\ndistributors = [\"a\"]\n[subscriber]\nslots = 5";
    let flags = json!({ "slots": 9, "distributors": ["b", "c"], "drain_time": "7s", "log_format": "json" });
    let config = load(text, Section::Builder, flags).unwrap();
    assert_eq!(config.log.as_deref(), Some("debug"));
    assert_eq!((config.builder.slots(), config.subscriber.slots()), (9, 5));
    assert_eq!(config.builder.distributors.iter().map(|d| d.as_str()).collect::<Vec<_>>(), ["b", "c"]);
    assert_eq!((config.drain_time().as_secs(), config.log_format), (7, LogFormat::Json));
    let config = load(text, Section::Subscriber, json!({ "name": "paris" })).unwrap();
    assert_eq!((config.builder.slots(), config.subscriber.slots(), config.drain_time().as_secs()), (3, 5, 5));
    assert_eq!(config.subscriber.name.unwrap().as_str(), "paris");
}

#[test]
fn what_the_command_line_gives_is_what_the_configuration_takes() {
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(subcommand)]
        role: crate::args::roles::RoleCommand,
    }
    let line = "tidegate subscriber --name paris --work-dir /w --listen 127.0.0.1:1 --slots 3 --env-allow A,B \
        --broker amqp://mq/v --storage s3://b/p --s3-endpoint http://s3 --s3-region r --log debug --log-format json --drain-time 9s";
    let Line { role: crate::args::roles::RoleCommand::Subscriber(args) } = Line::parse_from(line.split_whitespace())
    else {
        panic!("another role");
    };
    let config = load("", Section::Subscriber, serde_json::to_value(&args).unwrap()).unwrap();
    assert_eq!(config.subscriber.name.as_ref().unwrap().as_str(), "paris");
    assert_eq!((config.subscriber.slots(), config.subscriber.env_allow.len()), (3, 2));
    assert_eq!((config.broker.unwrap().expose(), config.storage.as_deref()), ("amqp://mq/v", Some("s3://b/p")));
    assert_eq!(
        (config.s3_region.as_deref(), config.log_format, config.drain_time.unwrap().as_secs()),
        (Some("r"), LogFormat::Json, 9)
    );
}

#[test]
fn an_unknown_key_is_refused_by_name() {
    for (text, key) in [("colour = 1", "colour"), ("[builder]\nslotz = 1", "slotz"), ("[bilder]\nslots = 1", "bilder")]
    {
        let error = load(text, Section::Builder, json!({})).unwrap_err();
        assert_eq!(error.code(), "config-unknown-key", "{error}");
        assert!(error.to_string().contains(key) && error.to_string().contains("tidegate.toml"), "{error}");
    }
}

#[test]
fn an_unknown_variable_is_told_by_name() {
    let command = clap::Command::new("tidegate")
        .subcommand(clap::Command::new("up").arg(clap::Arg::new("data").long("data").env("TIDEGATE_DATA")));
    let known = ["HOME", "TIDEGATE_DATA", "TIDEGATE_STEP_FILE", "TIDEGATE_TEST_SERVICES", "TIDEGATE_API_PORT"];
    let names = known.into_iter().chain(["TIDEGATE_DTAA"]).map(str::to_owned);
    assert_eq!(unknown_variables(&command, names), ["TIDEGATE_DTAA"]);
}

#[test]
fn a_value_of_the_wrong_form_is_refused_with_its_key_and_its_file() {
    for (text, says) in [
        ("[builder]\nslots = 0", "builder.slots"),
        ("[builder]\nslots = 257", "257 slots; allowed: 1 to 256"),
        ("[subscriber]\nname = \"../paris\"", "`../paris` is not a valid name"),
        ("drain_time = \"soon\"", "`soon` is not a length of time"),
        ("s3_access_key = \"b\"", "together"),
        ("log_format = \"xml\"", "log_format"),
        ("log_format = ", "line 1"),
    ] {
        let error = load(text, Section::Up, json!({})).unwrap_err().to_string();
        assert!(error.contains(says) && error.contains("tidegate.toml"), "{error} / {says}");
    }
}

#[test]
fn no_error_and_no_debug_output_shows_a_secret() {
    let text = "database = \"postgres://joe:HUSH@db/t\"\nbroker = \"amqp://joe:HUSH@mq/v\"
        s3_access_key = \"HUSH\"\ns3_secret_key = \"HUSH\"\n[api]\ntoken = \"HUSH\"";
    let config = load(text, Section::Api, json!({})).unwrap();
    assert!(!format!("{config:?}").contains("HUSH"), "{config:?}");
    for broken in [
        "[api]\ntoken = HUSH",
        "[api]\ntoken = [\"HUSH\"]",
        "[api]\ntoken = \"HUSH\" x",
        "[api]\ntoken = \"HUSH",
        "[api.token]\nHUSH = 1",
        "database = [\"HUSH\"]",
        "s3_secret_key = { x = \"HUSH\" }",
    ] {
        let error = load(broken, Section::Api, json!({})).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("HUSH"), "{error} {error:?}");
    }
}

#[test]
fn a_secret_in_a_file_that_everybody_can_read_is_refused() {
    let exposed = "config-secret-exposed";
    for secret in
        ["[api]\ntoken = \"x\"", "database = \"postgres://joe:x@db/t\"", "s3_access_key = \"a\"\ns3_secret_key = \"b\""]
    {
        assert_eq!(load_mode(secret, 0o644, Section::Api, json!({})).unwrap_err().code(), exposed);
        load_mode(secret, 0o640, Section::Api, json!({})).unwrap();
    }
    load_mode("database = \"sqlite:///x\"\nbroker = \"amqp://mq/v\"", 0o644, Section::Api, json!({})).unwrap();
}

#[test]
fn a_file_that_was_named_must_exist() {
    let error = Config::load(Some(Path::new("/nowhere/tidegate.toml")), Section::Up, &json!({})).unwrap_err();
    assert_eq!(error.code(), "config-unreadable");
}

#[test]
fn a_lease_has_a_default_and_a_bound() {
    let lease = |text: &str| load(text, Section::Scheduler, json!({})).map(|config| config.scheduler.lease());
    assert_eq!(lease("").unwrap(), scheduler::LEASE_DEFAULT);
    assert_eq!(lease("[scheduler]\nlease = \"2s\"").unwrap().as_secs(), 2);
    let flag = load("[scheduler]\nlease = \"2s\"", Section::Scheduler, json!({ "lease": "3s" })).unwrap();
    assert_eq!(flag.scheduler.lease().as_secs(), 3);
    for bad in ["301s", "0s", "1d", "soon"] {
        let refused = lease(&format!("[scheduler]\nlease = \"{bad}\"")).unwrap_err();
        assert_eq!(refused.code(), "config-value", "{bad}: {refused}");
    }
}
