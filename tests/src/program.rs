//! The program under test: built once for each test process, beside it and in its profile, unless one is named.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Names a program that was built before, another profile's for example.
const VARIABLE: &str = "TIDEGATE_TEST_PROGRAM";

/// The built `tidegate`.
pub fn tidegate() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| std::env::var_os(VARIABLE).map_or_else(build, PathBuf::from))
}

pub fn repository() -> PathBuf {
    testkit::services::repository()
}

fn build() -> PathBuf {
    let test = std::env::current_exe().expect("this test has a path");
    // target/<profile>/deps/<test>
    let folder = test.ancestors().nth(2).expect("tests lie three folders deep").to_owned();
    let target = folder.parent().expect("a profile's folder lies in the target folder");
    let profile = match folder.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(other) => other,
    };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .current_dir(repository())
        .args(["build", "--quiet", "--package", "cli", "--bin", "tidegate", "--profile", profile, "--target-dir"])
        .arg(target)
        .output()
        .expect("cargo runs");
    assert!(built.status.success(), "tidegate does not build:\n{}", String::from_utf8_lossy(&built.stderr));
    folder.join("tidegate")
}
