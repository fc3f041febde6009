//! Writes `schemas/json` anew from the types: `cargo run -p schemas --example generate`.

use std::path::Path;

fn main() -> std::io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("json");
    for (name, document) in schemas::generated() {
        let path = folder.join(name);
        std::fs::write(&path, format!("{document:#}\n"))?;
        println!("{}", path.display());
    }
    Ok(())
}
