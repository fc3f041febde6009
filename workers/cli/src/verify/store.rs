//! `verify --store`: whether all that a site keeps is what its name says; with `--drop` what is not goes, and is fetched again.

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::{Value, json};
use subscriber::store::check::{Checked, Damaged};

use super::progress::Reading;
use super::{counted, work_dirs};
use crate::args::verbs::VerifyArgs;
use crate::client::exit;
use crate::output::people::size;
use crate::output::table::{Table, width_here};
use crate::output::{self, clean};

struct Site {
    work_dir: PathBuf,
    stores: Vec<Checked>,
}

pub fn run(args: &VerifyArgs) -> anyhow::Result<ExitCode> {
    let reading = Reading::begin();
    let mut sites = Vec::new();
    for work_dir in work_dirs(args)? {
        let stores = subscriber::verify_store(&work_dir, args.drop, &|bytes| reading.seen(bytes))?;
        sites.push(Site { work_dir, stores });
    }
    drop(reading);
    if sites.iter().all(|site| site.stores.is_empty()) {
        let looked: Vec<String> = sites.iter().map(|site| clean::line(&site.work_dir.to_string_lossy())).collect();
        eprintln!(
            "tidegate: no site keeps anything in {}; name the subscriber's directory with --work-dir",
            looked.join(", ")
        );
        return Ok(ExitCode::from(exit::USAGE));
    }
    output::print(args.output, &value(&sites), || text(&sites))?;
    let is_whole = sites.iter().flat_map(|site| &site.stores).all(|store| store.damaged.is_empty());
    Ok(ExitCode::from(if is_whole { exit::SUCCEEDED } else { exit::FAILED }))
}

fn value(sites: &[Site]) -> Value {
    let damaged = |one: &Damaged| {
        json!({
            "object": one.object, "offset": one.offset, "bytes": one.bytes, "code": one.code, "reason": one.reason,
            "dropped": one.dropped,
        })
    };
    let store = |of: &Checked| {
        json!({
            "store": of.store.to_string(), "revisions": of.revisions, "objects": of.objects, "frames": of.frames,
            "bytes": of.bytes, "frames_absent": of.frames_absent,
            "damaged": of.damaged.iter().map(damaged).collect::<Vec<_>>(),
            "orphans": { "objects": of.orphans.objects, "bytes": of.orphans.bytes },
        })
    };
    let site = |site: &Site| json!({ "work_dir": site.work_dir.to_string_lossy(), "stores": site.stores.iter().map(store).collect::<Vec<_>>() });
    json!({ "sites": sites.iter().map(site).collect::<Vec<_>>() })
}

fn text(sites: &[Site]) -> String {
    let mut out = String::new();
    for Site { work_dir, stores } in sites.iter().filter(|site| !site.stores.is_empty()) {
        out.push_str(&format!("{}\n", clean::line(&work_dir.join("store").to_string_lossy())));
        let mut table = Table::new(&["object", "at", "size", "code", "dropped"]).whole(&["object"]);
        for store in stores {
            for one in &store.damaged {
                let at = one.offset.map_or("-".to_owned(), |at| at.to_string());
                let dropped = if one.dropped { "yes" } else { "no" };
                let object = format!("{}/{}", store.store, one.object);
                table.push(vec![object, at, size(one.bytes), one.code.into(), dropped.into()]);
            }
        }
        if stores.iter().any(|store| !store.damaged.is_empty()) {
            out.push_str(&table.render(width_here()));
        }
        stores.iter().for_each(|store| out.push_str(&summary(store)));
    }
    out
}

fn summary(of: &Checked) -> String {
    let revisions = counted(of.revisions.len() as u64, "revision");
    let read = format!("{}, {}, {}", counted(of.objects, "file"), counted(of.frames, "frame"), size(of.bytes));
    let dropped = of.damaged.iter().filter(|one| one.dropped).count();
    let state = match of.damaged.len() {
        0 => "whole".to_owned(),
        found if found == dropped => format!("{found} damaged, dropped: it is fetched again"),
        found => format!("{found} damaged; --drop has it fetched again"),
    };
    let orphans = match of.orphans.objects {
        0 => String::new(),
        _ => format!("; {} in orphans", size(of.orphans.bytes)),
    };
    format!("{}: {revisions}, {read}: {state}{orphans}\n", of.store)
}

#[cfg(test)]
mod tests {
    use subscriber::store::check::Orphans;

    use super::*;

    fn checked(damaged: Vec<Damaged>) -> Checked {
        Checked {
            store: schemas::StoreId(uuid::Uuid::nil()),
            revisions: vec![2, 3],
            objects: 5,
            frames: 1,
            bytes: 3 << 20,
            frames_absent: 0,
            damaged,
            orphans: Orphans { objects: 1, bytes: 2048 },
        }
    }

    #[test]
    fn what_is_damaged_stands_above_the_sum_of_its_store() {
        let frame = Damaged {
            object: "packs/ab".into(),
            offset: Some(4096),
            bytes: 1024,
            code: "chunk-corrupt",
            reason: "the frame cd has another digest".into(),
            dropped: true,
        };
        let store = checked(vec![frame]);
        let text = text(&[Site { work_dir: "/w".into(), stores: vec![store.clone()] }]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "/w/store");
        assert!(lines[2].contains("packs/ab  4096  1.0 KiB  chunk-corrupt  yes"), "{text}");
        assert!(lines[3].ends_with(
            "2 revisions, 5 files, 1 frame, 3.0 MiB: 1 damaged, dropped: it is fetched again; 2.0 KiB in orphans"
        ));
        assert!(summary(&checked(vec![])).contains("3.0 MiB: whole"));
        let json = value(&[Site { work_dir: "/w".into(), stores: vec![store] }]);
        assert_eq!(json["sites"][0]["stores"][0]["damaged"][0]["code"], "chunk-corrupt");
    }
}
