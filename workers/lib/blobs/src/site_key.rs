//! A site's identity: an Ed25519 key that it makes itself and never shows. It knows no request and no file but its own.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};

use crate::hex;

#[derive(Clone)]
pub struct SiteKey(SigningKey);

#[derive(Debug, thiserror::Error)]
pub enum SiteKeyError {
    #[error("site key {path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error("site key {path} is not a key: 64 hexadecimal digits expected; restore it or remove it to make a new one")]
    Malformed { path: PathBuf },
    #[error("site key {path} can be read by others; run: chmod 600 {path}")]
    Exposed { path: PathBuf },
    #[error("the system gives no random bytes: {0}")]
    NoRandomness(getrandom::Error),
}

impl SiteKey {
    pub fn generate() -> Result<SiteKey, SiteKeyError> {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).map_err(SiteKeyError::NoRandomness)?;
        Ok(SiteKey(SigningKey::from_bytes(&secret)))
    }

    pub fn load(path: &Path) -> Result<SiteKey, SiteKeyError> {
        let io = |source| SiteKeyError::Io { path: path.to_owned(), source };
        let mode = fs::metadata(path).map_err(io)?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err(SiteKeyError::Exposed { path: path.to_owned() });
        }
        let text = fs::read_to_string(path).map_err(io)?;
        let secret = hex::decode(text.trim_end()).ok_or_else(|| SiteKeyError::Malformed { path: path.to_owned() })?;
        Ok(SiteKey(SigningKey::from_bytes(&secret)))
    }

    /// Written whole or not at all, readable by its owner alone; an existing key is never replaced.
    pub fn store(&self, path: &Path) -> Result<(), SiteKeyError> {
        self.write_new(path).map_err(|source| SiteKeyError::Io { path: path.to_owned(), source })
    }

    /// The key at `path`, made there at the first start.
    pub fn load_or_generate(path: &Path) -> Result<SiteKey, SiteKeyError> {
        match SiteKey::load(path) {
            Err(SiteKeyError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {}
            loaded => return loaded,
        }
        match SiteKey::generate()?.store(path) {
            Err(SiteKeyError::Io { source, .. }) if source.kind() == ErrorKind::AlreadyExists => {}
            stored => stored?,
        }
        SiteKey::load(path)
    }

    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    pub fn public_hex(&self) -> String {
        self.public().to_string()
    }

    pub fn sign(&self, text: &[u8]) -> [u8; 64] {
        self.0.sign(text).to_bytes()
    }

    fn write_new(&self, path: &Path) -> io::Result<()> {
        let unfinished = path.with_extension(format!("unfinished-{}", uuid::Uuid::now_v7()));
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
        let written = file
            .write_all(format!("{}\n", hex::encode(self.0.as_bytes())).as_bytes())
            .and_then(|()| file.sync_all())
            .and_then(|()| fs::hard_link(&unfinished, path));
        fs::remove_file(&unfinished)?;
        written?;
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(parent)?.sync_all()
    }
}

impl fmt::Debug for SiteKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SiteKey(public {})", self.public())
    }
}

/// The half that others know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

impl PublicKey {
    /// From 64 hexadecimal digits that are a point of the curve, and not one of the weak ones.
    pub fn parse(text: &str) -> Option<PublicKey> {
        let key = VerifyingKey::from_bytes(&hex::decode(text)?).ok()?;
        (!key.is_weak()).then_some(PublicKey(key))
    }

    pub fn verifies(&self, text: &[u8], signature: &[u8; 64]) -> bool {
        self.0.verify_strict(text, &Signature::from_bytes(signature)).is_ok()
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_survives_its_file_and_is_made_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("site.key");
        let made = SiteKey::load_or_generate(&path).unwrap();
        let loaded = SiteKey::load_or_generate(&path).unwrap();
        assert_eq!(made.public_hex(), loaded.public_hex());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(SiteKey::generate().unwrap().store(&path).is_err(), "a key was replaced");
    }

    #[test]
    fn a_key_that_others_can_read_or_that_is_none_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("site.key");
        SiteKey::generate().unwrap().store(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(SiteKey::load(&path), Err(SiteKeyError::Exposed { .. })));
        fs::write(&path, "short").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(matches!(SiteKey::load_or_generate(&path), Err(SiteKeyError::Malformed { .. })));
    }

    #[test]
    fn the_secret_half_is_never_shown() {
        let key = SiteKey::generate().unwrap();
        assert!(!format!("{key:?}").contains(&hex::encode(key.0.as_bytes())));
    }

    #[test]
    fn weak_and_malformed_public_keys_are_refused() {
        let key = SiteKey::generate().unwrap();
        assert_eq!(PublicKey::parse(&key.public_hex()), Some(key.public()));
        for bad in ["", "00", &"0".repeat(64), &format!("01{}", "0".repeat(62)), &key.public_hex().to_uppercase()] {
            assert_eq!(PublicKey::parse(bad), None, "{bad}");
        }
    }
}
