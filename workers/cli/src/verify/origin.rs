//! `verify --origin`: whether all that the kept revisions need is at the origin and whole.

use std::process::ExitCode;

use builder::verify::{Checked, Damaged};
use records::KeptStore;
use schemas::{Digest, StoreId};
use serde_json::{Value, json};

use super::counted;
use super::progress::Reading;
use crate::args::verbs::VerifyArgs;
use crate::client::exit;
use crate::output::people::size;
use crate::output::table::{Table, width_here};
use crate::output::{self, clean};
use crate::roles::origin::{self, Origin};

struct Looked {
    store: StoreId,
    /// Known where the database is.
    distribution: Option<String>,
    found: Checked,
}

/// One distribution's part of the origin.
struct Wanted {
    store: StoreId,
    distribution: Option<String>,
    /// Of what is kept; `None`: whatever is there.
    headers: Option<Vec<Digest>>,
}

pub async fn run(args: &VerifyArgs) -> anyhow::Result<ExitCode> {
    let opened = origin::open(args).await;
    let origin = match opened {
        Ok(origin) => origin,
        Err(error) => return Ok(failed(&error, error.exit_code())),
    };
    let wanted = match wanted(&origin).await {
        Ok(all) => chosen(all, &args.distributions),
        Err(error) => return Ok(failed(&error, unreachable_or_failed(&error))),
    };
    let wanted = match wanted {
        Ok(wanted) if wanted.is_empty() => {
            return Ok(failed(&format!("{} holds no distribution", clean::line(&origin.place)), exit::USAGE));
        }
        Ok(wanted) => wanted,
        Err(unknown) => return Ok(failed(&unknown, exit::USAGE)),
    };
    let reading = Reading::begin();
    let mut looked = Vec::new();
    for Wanted { store, distribution, headers } in wanted {
        let found =
            builder::verify::verify(&origin.blobs, store, headers.as_deref(), &|bytes| reading.seen(bytes)).await;
        match found {
            Ok(found) => looked.push(Looked { store, distribution, found }),
            Err(error) => return Ok(failed(&error, unreachable_or_failed(&error))),
        }
    }
    drop(reading);
    output::print(args.output, &value(&origin, &looked), || text(&looked))?;
    let is_whole = looked.iter().all(|one| one.found.damaged.is_empty());
    Ok(ExitCode::from(if is_whole { exit::SUCCEEDED } else { exit::FAILED }))
}

fn failed(error: &dyn std::fmt::Display, code: u8) -> ExitCode {
    eprintln!("tidegate: {error}");
    ExitCode::from(code)
}

fn unreachable_or_failed(error: &blobs::BlobError) -> u8 {
    if error.is_transient() { exit::UNREACHABLE } else { exit::FAILED }
}

/// What the database knows, and what stands at the origin beside that.
async fn wanted(origin: &Origin) -> Result<Vec<Wanted>, blobs::BlobError> {
    let there = origin.blobs.stores().await?;
    let Some(kept) = &origin.kept else {
        return Ok(there.into_iter().map(|store| Wanted { store, distribution: None, headers: None }).collect());
    };
    let known = |store: &StoreId| kept.iter().any(|one| one.store == *store);
    let nobodys = there.iter().filter(|store| !known(store));
    let nobodys = nobodys.map(|store| Wanted { store: *store, distribution: None, headers: Some(Vec::new()) });
    let of = |one: &KeptStore| Wanted {
        store: one.store,
        distribution: Some(one.distribution.clone()),
        headers: Some(one.headers.iter().map(|(_, header)| *header).collect()),
    };
    // A distribution of which nothing is kept and nothing is there has nothing to look at.
    let is_empty = |one: &&KeptStore| one.headers.is_empty() && !there.contains(&one.store);
    Ok(kept.iter().filter(|one| !is_empty(one)).map(of).chain(nobodys).collect())
}

/// Those with a name or a store that was asked for; all, if none was.
fn chosen(all: Vec<Wanted>, names: &[String]) -> Result<Vec<Wanted>, String> {
    let is_called =
        |one: &Wanted, name: &String| one.distribution.as_ref() == Some(name) || one.store.to_string() == *name;
    if let Some(unknown) = names.iter().find(|name| !all.iter().any(|one| is_called(one, name))) {
        let how = if all.iter().any(|one| one.distribution.is_some()) {
            "no distribution there has that name"
        } else {
            "without a database only the ids of stores are known, not names"
        };
        return Err(format!("`{}` is not at the origin: {how}", clean::line(unknown)));
    }
    Ok(all.into_iter().filter(|one| names.is_empty() || names.iter().any(|name| is_called(one, name))).collect())
}

fn value(origin: &Origin, looked: &[Looked]) -> Value {
    let damaged = |one: &Damaged| json!({ "object": one.object, "code": one.code, "reason": one.reason, "revisions": one.revisions });
    let store = |one: &Looked| {
        json!({
            "store": one.store.to_string(), "distribution": one.distribution, "revisions": one.found.revisions,
            "objects": one.found.objects, "frames": one.found.frames, "bytes": one.found.bytes,
            "damaged": one.found.damaged.iter().map(damaged).collect::<Vec<_>>(),
            "orphans": { "objects": one.found.orphans.objects, "bytes": one.found.orphans.bytes },
        })
    };
    let known_by = if origin.kept.is_some() { "database" } else { "storage" };
    json!({ "storage": origin.place, "revisions_of": known_by, "stores": looked.iter().map(store).collect::<Vec<_>>() })
}

fn name(of: &Looked) -> String {
    of.distribution.clone().unwrap_or_else(|| of.store.to_string())
}

fn text(looked: &[Looked]) -> String {
    let mut out = String::new();
    let titles = ["distribution", "object", "code", "revisions", "reason"];
    let mut table = Table::new(&titles).whole(&["object"]).extra(&["reason"]);
    for one in looked {
        for damaged in &one.found.damaged {
            let revisions: Vec<String> = damaged.revisions.iter().map(u64::to_string).collect();
            let revisions = if revisions.is_empty() { "-".to_owned() } else { revisions.join(", ") };
            let reason = clean::line(&damaged.reason);
            table.push(vec![name(one), damaged.object.clone(), damaged.code.into(), revisions, reason]);
        }
    }
    if looked.iter().any(|one| !one.found.damaged.is_empty()) {
        out.push_str(&table.render(width_here()));
    }
    looked.iter().for_each(|one| out.push_str(&summary(one)));
    out
}

fn summary(one: &Looked) -> String {
    let found = &one.found;
    let revisions = counted(found.revisions.len() as u64, "revision");
    let read =
        format!("{}, {}, {}", counted(found.objects, "object"), counted(found.frames, "frame"), size(found.bytes));
    let state = match found.damaged.len() {
        0 => "whole".to_owned(),
        damaged => format!("{damaged} damaged"),
    };
    let orphans = match found.orphans.objects {
        0 => String::new(),
        objects => format!("; {}, {}", counted(objects, "orphan"), size(found.orphans.bytes)),
    };
    format!("{}: {revisions}, {read}: {state}{orphans}\n", name(one))
}
