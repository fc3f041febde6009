//! The real services are there, fresh, and private ones come back with what they held.

use testkit::{Database, Private, Service, Vhost};

#[test]
fn a_fresh_database_is_empty_and_goes_with_its_test() {
    let Some(one) = Database::fresh() else { return };
    let two = Database::fresh().unwrap();
    one.psql("CREATE TABLE t (n int); INSERT INTO t VALUES (7)").unwrap();
    assert_eq!(one.psql("SELECT n FROM t").unwrap(), "7");
    assert!(two.psql("SELECT n FROM t").is_err());
    let name = one.url.rsplit_once('/').unwrap().1.to_owned();
    let count = format!("SELECT count(*) FROM pg_database WHERE datname = '{name}'");
    assert_eq!(two.psql(&count).unwrap(), "1");
    drop(one);
    assert_eq!(two.psql(&count).unwrap(), "0");
}

#[test]
fn a_fresh_virtual_host_goes_with_its_test() {
    let Some(vhost) = Vhost::fresh() else { return };
    let other = Vhost::fresh().unwrap();
    assert_eq!(vhost.ask("GET", "queues", "", "").unwrap(), (200, "[]".to_owned()));
    let listed =
        |name: &str| other.ask("GET", "vhosts", "", "").map(|(status, text)| status == 200 && text.contains(name));
    assert!(listed(other.name()).unwrap());
    let name = vhost.name().to_owned();
    let url = vhost.url.clone();
    assert!(url.ends_with(&name));
    drop(vhost);
    assert!(!listed(&name).unwrap());
}

#[tokio::test]
async fn a_private_database_keeps_what_was_committed_over_a_kill() {
    let Some(server) = Private::start(Service::Postgresql) else { return };
    let database = Database::fresh_on(server.url());
    database.psql("CREATE TABLE t (n int); INSERT INTO t VALUES (7)").unwrap();
    server.kill().await;
    assert!(database.psql("SELECT n FROM t").is_err());
    server.up().await;
    assert_eq!(database.psql("SELECT n FROM t").unwrap(), "7");
    server.restart().await;
    assert_eq!(database.psql("SELECT n FROM t").unwrap(), "7");
    drop(database);
}
