//! The fleets that the tests declare, as text that anybody could have written.

use std::path::Path;

/// `hq` builds; `region` relays to paris and lyon; tokyo belongs to a group and is fed directly. Nothing happens by itself.
#[derive(Debug, Clone)]
pub struct TwoTiers {
    /// Distribution → mode of extraction.
    pub distributions: Vec<(String, &'static str)>,
    /// Of lyon; the others extract immediately.
    pub lyon_extracts: &'static str,
}

pub const SITES: [&str; 3] = ["lyon", "paris", "tokyo"];
pub const CHANNEL: &str = "protect";
pub const MERGE: &str = "merge";
/// A file in a merged folder that no distribution brought.
pub const FOREIGN: &str = "foreign.conf";

impl TwoTiers {
    pub fn of(distributions: &[&str]) -> TwoTiers {
        let distributions = distributions.iter().map(|name| ((*name).to_owned(), "mirror")).collect();
        TwoTiers { distributions, lyon_extracts: "immediately" }
    }

    /// One of them is merged into a folder that others use too.
    pub fn merging(mut self, distribution: &str) -> TwoTiers {
        for (_, mode) in self.distributions.iter_mut().filter(|(name, _)| name == distribution) {
            *mode = MERGE;
        }
        self
    }

    /// In each site's folder of a merged distribution, a file of somebody else.
    pub fn put_foreign_files(&self, folder: &Path) {
        for (name, _) in self.distributions.iter().filter(|(_, mode)| *mode == MERGE) {
            for site in SITES {
                let target = target(folder, site, name);
                std::fs::create_dir_all(&target).expect("the folder can be made");
                std::fs::write(target.join(FOREIGN), "not ours\n").expect("the file can be written");
            }
        }
    }

    /// Sources are `folder/source/<distribution>`, targets `folder/servers/<site>/<distribution>`.
    pub fn yaml(&self, folder: &Path) -> String {
        let root = folder.display();
        let names: Vec<&str> = self.distributions.iter().map(|(name, _)| name.as_str()).collect();
        let names = names.join(", ");
        let distributions: String =
            self.distributions.iter().map(|(name, mode)| distribution(&root.to_string(), name, mode)).collect();
        let site = |name: &str, parent: &str, extract: &str| {
            format!("  {name}: {{ {parent}variables: {{ DEST_VOLUME: {root}/servers/{name} }}, extract: {extract} }}\n")
        };
        let sites = [
            site("paris", "parent: region, ", "immediately"),
            site("lyon", "parent: region, ", self.lyon_extracts),
            site("tokyo", "", "immediately"),
        ];
        format!(
            "distributors:
  hq: {{ refresh: never, routes: {{ region: {{ paris: {{}}, lyon: {{}} }} }} }}
distributions:
{distributions}channels:
  {CHANNEL}: {{ distributions: [{names}], send: never, subscriptions: [ paris, lyon, {{ group: asia }} ] }}
groups:
  asia: [tokyo]
subscribers:
  region: {{ extract: never }}
{}",
            sites.concat()
        )
    }

    /// Writes it where `apply` can read it.
    pub fn write(&self, folder: &Path) -> String {
        let path = folder.join("fleet.yaml");
        std::fs::write(&path, self.yaml(folder)).expect("the folder can be written");
        path.display().to_string()
    }
}

fn distribution(root: &str, name: &str, mode: &str) -> String {
    format!(
        "  {name}: {{ distributor: hq, type: file, component: core, sources: [ {{ path: {root}/source/{name} }} ], \
         target: \"%DEST_VOLUME%/{name}\", mode: {mode}, build: never }}\n"
    )
}

pub fn source(folder: &Path, distribution: &str) -> std::path::PathBuf {
    folder.join("source").join(distribution)
}

pub fn target(folder: &Path, site: &str, distribution: &str) -> std::path::PathBuf {
    folder.join("servers").join(site).join(distribution)
}
