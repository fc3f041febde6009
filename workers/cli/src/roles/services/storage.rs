//! The origin: a folder, or a bucket that answers.

use std::sync::Arc;

use blobs::{Blobs, DiskBlobs};

use super::patience::Patience;
use crate::roles::config::{Config, ConfigError};
use crate::roles::error::RoleError;

/// What a role does with it: who writes makes sure that the bucket is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    Read,
    Write,
}

/// `DIR`, or `s3://bucket/prefix`.
#[derive(Debug, PartialEq, Eq)]
enum Place<'a> {
    Folder(&'a str),
    Bucket { bucket: &'a str, prefix: &'a str },
}

pub async fn open(config: &Config, access: Access, patience: &Patience) -> Result<Arc<dyn Blobs>, RoleError> {
    let missing = ConfigError::Missing { key: "storage", flag: "--storage", variable: "TIDEGATE_STORAGE" };
    let text = config.storage.as_deref().ok_or(missing)?;
    match place(text)? {
        Place::Folder(path) => {
            let folder = |source| RoleError::Folder { path: path.into(), source };
            Ok(Arc::new(DiskBlobs::open(path).map_err(folder)?))
        }
        Place::Bucket { bucket, prefix } => open_bucket(config, bucket, prefix, access, patience).await,
    }
}

fn place(text: &str) -> Result<Place<'_>, RoleError> {
    let unusable = |reason: &str| RoleError::Setting { setting: "storage", value: text.into(), reason: reason.into() };
    let Some(rest) = text.strip_prefix("s3://") else {
        return match text.contains("://") {
            true => Err(unusable("a folder, or s3://bucket/prefix")),
            false if text.is_empty() => Err(unusable("it is empty")),
            false => Ok(Place::Folder(text)),
        };
    };
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    if bucket.is_empty() || bucket.contains(['@', ':', '?']) {
        return Err(unusable("s3:// is followed by the bucket's name and nothing else but a prefix"));
    }
    Ok(Place::Bucket { bucket, prefix })
}

#[cfg(feature = "services")]
async fn open_bucket(
    config: &Config,
    bucket: &str,
    prefix: &str,
    access: Access,
    patience: &Patience,
) -> Result<Arc<dyn Blobs>, RoleError> {
    use super::patience::{Awaited, Failed};
    use blobs::{BucketError, Key, ReadBlobs, RetryPolicy, Retrying, S3Blobs, S3Config, S3Credentials};
    use schemas::{Digest, StoreId};

    const REMEDY: &str = "start it, or correct storage, s3_endpoint and the AWS_… variables with the keys";
    let mut settings =
        S3Config { prefix: prefix.to_owned(), endpoint: config.s3_endpoint.clone(), ..S3Config::new(bucket) };
    // Compatible servers want the bucket in the path; AWS itself wants it in the host's name.
    settings.path_style = settings.endpoint.is_some();
    if let Some(region) = &config.s3_region {
        settings.region.clone_from(region);
    }
    if let (Some(access_key), Some(secret_key)) = (&config.s3_access_key, &config.s3_secret_key) {
        settings.credentials = Some(S3Credentials::new(access_key.expose(), secret_key.expose()));
    }
    let endpoint = settings.endpoint.as_deref().unwrap_or("AWS");
    let address = format!("s3://{bucket}/{prefix} ({endpoint})");
    let blobs = S3Blobs::open(settings).await;
    let probe = Key::header(StoreId(uuid::Uuid::nil()), Digest::of(b""));
    patience
        .until_it_answers(Awaited { service: "the storage", address, remedy: REMEDY }, async || match access {
            Access::Write => {
                let passing = |error: &BucketError| matches!(error, BucketError::Transient { .. });
                blobs.ensure_bucket().await.map_err(|error| Failed::of(&error, passing(&error)))
            }
            Access::Read => {
                blobs.size(&probe).await.map(drop).map_err(|error| Failed::of(&error, error.is_transient()))
            }
        })
        .await?;
    Ok(Arc::new(Retrying::new(blobs, RetryPolicy::default())))
}

#[cfg(not(feature = "services"))]
async fn open_bucket(
    config: &Config,
    _bucket: &str,
    _prefix: &str,
    _access: Access,
    _patience: &Patience,
) -> Result<Arc<dyn Blobs>, RoleError> {
    Err(RoleError::Setting {
        setting: "storage",
        value: config.storage.clone().unwrap_or_default(),
        reason: "this build speaks no S3; build with the feature `services`, or name a folder".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn storage_is_a_folder_or_a_bucket_with_a_prefix() {
        assert_eq!(place("/srv/origin").unwrap(), Place::Folder("/srv/origin"));
        assert_eq!(place("s3://tide").unwrap(), Place::Bucket { bucket: "tide", prefix: "" });
        assert_eq!(place("s3://tide/a/b").unwrap(), Place::Bucket { bucket: "tide", prefix: "a/b" });
        for bad in ["", "s3://", "s3:///a", "http://tide", "s3://key:secret@tide"] {
            assert_eq!(place(bad).unwrap_err().exit_code(), 2, "{bad}");
        }
    }
}
