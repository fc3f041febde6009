//! Where a bucket is and how its server wants to be spoken to. It knows no object.

use std::fmt;

use aws_config::{BehaviorVersion, Region};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    Credentials, RequestChecksumCalculation, ResponseChecksumValidation, SharedCredentialsProvider,
    StalledStreamProtectionConfig,
};
use aws_sdk_s3::types::{BucketLocationConstraint, CommonPrefix, CreateBucketConfiguration, Object};
use schemas::StoreId;

use crate::{Key, TransferLimits};

/// The region that has no location constraint, and the one that compatible servers expect.
const DEFAULT_REGION: &str = "us-east-1";

#[derive(Debug, Clone)]
pub struct S3Config {
    /// None = AWS itself.
    pub endpoint: Option<String>,
    pub region: String,
    pub bucket: String,
    /// Before every key: empty, or folders joined by `/`.
    pub prefix: String,
    /// The bucket in the path instead of in the host's name.
    pub path_style: bool,
    pub checksums: Checksums,
    /// None = the usual AWS chain: environment, profile, instance.
    pub credentials: Option<S3Credentials>,
    pub limits: TransferLimits,
}

/// Whether checksum headers that some compatible servers refuse are sent and expected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Checksums {
    #[default]
    WhenRequired,
    WhenSupported,
}

#[derive(Clone)]
pub struct S3Credentials {
    access_key: String,
    secret_key: String,
}

impl S3Credentials {
    pub fn new(access_key: impl Into<String>, secret_key: impl Into<String>) -> S3Credentials {
        S3Credentials { access_key: access_key.into(), secret_key: secret_key.into() }
    }
}

impl fmt::Debug for S3Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("S3Credentials(…)")
    }
}

impl S3Config {
    pub fn new(bucket: impl Into<String>) -> S3Config {
        S3Config {
            endpoint: None,
            region: DEFAULT_REGION.to_owned(),
            bucket: bucket.into(),
            prefix: String::new(),
            path_style: true,
            checksums: Checksums::default(),
            credentials: None,
            limits: TransferLimits::default(),
        }
    }

    pub(super) async fn client(&self) -> Client {
        let mut loader = aws_config::defaults(BehaviorVersion::latest()).region(Region::new(self.region.clone()));
        if let Some(S3Credentials { access_key, secret_key }) = &self.credentials {
            let credentials = Credentials::new(access_key, secret_key, None, None, "tidegate");
            loader = loader.credentials_provider(SharedCredentialsProvider::new(credentials));
        }
        let shared = loader.load().await;
        let mut builder = aws_sdk_s3::config::Builder::from(&shared)
            .force_path_style(self.path_style)
            .retry_config(RetryConfig::disabled())
            .timeout_config(TimeoutConfig::builder().connect_timeout(self.limits.connect).build())
            .stalled_stream_protection(self.stall_protection())
            .request_checksum_calculation(self.checksums.on_requests())
            .response_checksum_validation(self.checksums.on_responses());
        if let Some(endpoint) = &self.endpoint {
            builder = builder.endpoint_url(endpoint);
        }
        Client::from_conf(builder.build())
    }

    /// Uploads only: downloads are timed where they are read.
    fn stall_protection(&self) -> StalledStreamProtectionConfig {
        StalledStreamProtectionConfig::enabled().download_enabled(false).grace_period(self.limits.silence).build()
    }

    pub(super) fn location(&self) -> Option<CreateBucketConfiguration> {
        let constraint = BucketLocationConstraint::from(self.region.as_str());
        let located = self.endpoint.is_none() && self.region != DEFAULT_REGION;
        located.then(|| CreateBucketConfiguration::builder().location_constraint(constraint).build())
    }

    pub(super) fn path(&self, key: &Key) -> String {
        self.below_prefix(&key.to_string())
    }

    pub(super) fn folder(&self, store: StoreId) -> String {
        self.below_prefix(&format!("{store}/"))
    }

    /// What every object's name begins with.
    pub(super) fn root(&self) -> String {
        self.below_prefix("")
    }

    /// The distribution whose folder was listed; anything that is no folder of ours is passed by.
    pub(super) fn store(&self, folder: &CommonPrefix) -> Option<StoreId> {
        folder.prefix()?.strip_prefix(&self.root())?.strip_suffix('/')?.parse().ok()
    }

    /// The key of a listed object; anything that is no object of ours is passed by.
    pub(super) fn listed(&self, object: &Object) -> Option<(Key, u64)> {
        let path = object.key()?.strip_prefix(&self.below_prefix(""))?;
        Some((Key::parse(path)?, u64::try_from(object.size()?).ok()?))
    }

    fn below_prefix(&self, path: &str) -> String {
        match self.prefix.trim_matches('/') {
            "" => path.to_owned(),
            prefix => format!("{prefix}/{path}"),
        }
    }
}

impl Checksums {
    fn on_requests(self) -> RequestChecksumCalculation {
        match self {
            Checksums::WhenRequired => RequestChecksumCalculation::WhenRequired,
            Checksums::WhenSupported => RequestChecksumCalculation::WhenSupported,
        }
    }

    fn on_responses(self) -> ResponseChecksumValidation {
        match self {
            Checksums::WhenRequired => ResponseChecksumValidation::WhenRequired,
            Checksums::WhenSupported => ResponseChecksumValidation::WhenSupported,
        }
    }
}

#[cfg(test)]
mod tests {
    use schemas::Digest;

    use super::*;

    #[test]
    fn keys_stand_below_the_prefix_and_read_back() {
        let key = Key::pack(StoreId(uuid::Uuid::now_v7()), Digest::of(b"x"));
        for (prefix, want) in [("", format!("{key}")), ("a/b", format!("a/b/{key}")), ("/a/", format!("a/{key}"))] {
            let config = S3Config { prefix: prefix.to_owned(), ..S3Config::new("b") };
            assert_eq!(config.path(&key), want);
            assert!(want.starts_with(&config.folder(key.store)));
            assert_eq!(config.listed(&Object::builder().key(want).size(5).build()), Some((key, 5)));
        }
    }

    #[tokio::test]
    async fn secrets_are_never_shown() {
        let credentials = Some(S3Credentials::new("AKIDSHOWN", "SECRETSHOWN"));
        let config = S3Config { credentials, endpoint: Some("http://127.0.0.1:1".into()), ..S3Config::new("b") };
        let client = config.client().await;
        assert!(!format!("{config:?}").contains("SHOWN"), "{config:?}");
        assert!(!format!("{client:?}").contains("SECRETSHOWN"), "{client:?}");
    }
}
