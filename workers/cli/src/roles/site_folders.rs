//! The working directories of sites in one folder: a site that was renamed is known by its key, and takes its directory along. It
//! knows no definitions.

use std::collections::BTreeMap;
use std::path::Path;

use blobs::SiteKey;
use schemas::SubscriberName;

/// The name under which a site with this public key left its directory, if it has none under its own and nobody else is wanted
/// by that name.
pub fn left_by<T>(
    folder: &Path,
    name: &SubscriberName,
    public_key: &str,
    wanted: &BTreeMap<SubscriberName, T>,
) -> Option<SubscriberName> {
    if folder.join(name.as_str()).exists() {
        return None;
    }
    let names = std::fs::read_dir(folder).ok()?.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    names.filter_map(|old| SubscriberName::try_from(old).ok()).find(|old| {
        let key = SiteKey::load(&folder.join(old.as_str()).join("keys").join("site.key"));
        !wanted.contains_key(old) && key.is_ok_and(|key| key.public_hex() == public_key)
    })
}

pub fn rename(folder: &Path, old: &SubscriberName, new: &SubscriberName) {
    let (from, to) = (folder.join(old.as_str()), folder.join(new.as_str()));
    match std::fs::rename(&from, &to) {
        Ok(()) => tracing::info!(%old, %new, "a renamed site takes its working directory along"),
        Err(error) => {
            tracing::error!(from = %from.display(), to = %to.display(), %error, "a renamed site's directory cannot be moved: it begins anew");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> SubscriberName {
        text.parse().unwrap()
    }

    #[test]
    fn a_directory_is_found_by_its_key_unless_somebody_else_is_wanted_by_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let keys = folder.path().join("paris/keys");
        std::fs::create_dir_all(&keys).unwrap();
        let key = SiteKey::load_or_generate(&keys.join("site.key")).unwrap().public_hex();
        let wanted = |names: &[&str]| names.iter().map(|text| (name(text), ())).collect::<BTreeMap<_, _>>();
        let left_by = |new: &str, key: &str, others: &[&str]| left_by(folder.path(), &name(new), key, &wanted(others));
        assert_eq!(left_by("lutetia", &key, &["lutetia"]), Some(name("paris")));
        assert_eq!(left_by("lutetia", &"00".repeat(32), &["lutetia"]), None);
        assert_eq!(left_by("lutetia", &key, &["lutetia", "paris"]), None);
        assert_eq!(left_by("paris", &key, &["paris"]), None);
    }
}
