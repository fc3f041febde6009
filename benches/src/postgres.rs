//! Questions to PostgreSQL by `psql`, so that a measurement reads results as any user would.

use std::process::Command;

use anyhow::bail;

pub fn ask(url: &str, sql: &str) -> anyhow::Result<String> {
    let output = Command::new("psql").args(["-XAtq", "-v", "ON_ERROR_STOP=1", url, "-c", sql]).output()?;
    if !output.status.success() {
        bail!("{sql}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

pub fn number(url: &str, sql: &str) -> anyhow::Result<f64> {
    Ok(ask(url, sql)?.parse()?)
}
