//! What an S3 server's answer, or the lack of one, means. It shows codes and messages, never requests or headers.

use std::error::Error;

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

use crate::{BlobError, Key};

/// Characters of a server's message that are kept.
const MESSAGE_CHARS_MAX: usize = 200;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BucketError {
    #[error("bucket {bucket}: access refused: {reason}")]
    Refused { bucket: String, reason: String },
    #[error("bucket {bucket}: cannot be reached: {reason}")]
    Transient { bucket: String, reason: String },
    #[error("bucket {bucket}: {reason}")]
    Permanent { bucket: String, reason: String },
}

enum Meaning {
    Absent,
    Refused,
    Transient,
    Damaged,
    Permanent,
}

pub fn of_object<E>(key: &Key, name: &str, fault: &SdkError<E>) -> BlobError
where
    E: ProvideErrorMetadata + Error + 'static,
{
    let (key, source_name, reason) = (*key, name.to_owned(), reason(fault));
    match meaning(status(fault), code(fault)) {
        Meaning::Absent => BlobError::Absent { key, source_name },
        Meaning::Refused => BlobError::Refused { key, source_name, reason },
        Meaning::Transient => BlobError::Transient { key, source_name, reason },
        Meaning::Damaged => BlobError::Damaged { key, source_name, reason },
        Meaning::Permanent => BlobError::Permanent { key, source_name, reason },
    }
}

pub fn of_bucket<E>(bucket: &str, fault: &SdkError<E>) -> BucketError
where
    E: ProvideErrorMetadata + Error + 'static,
{
    let (bucket, reason) = (bucket.to_owned(), reason(fault));
    match meaning(status(fault), code(fault)) {
        Meaning::Refused => BucketError::Refused { bucket, reason },
        Meaning::Transient => BucketError::Transient { bucket, reason },
        _ => BucketError::Permanent { bucket, reason },
    }
}

pub fn status<E>(fault: &SdkError<E>) -> Option<u16> {
    fault.raw_response().map(|response| response.status().as_u16())
}

fn code<E: ProvideErrorMetadata>(fault: &SdkError<E>) -> &str {
    match fault {
        SdkError::ServiceError(answer) => answer.err().code().unwrap_or_default(),
        SdkError::ConstructionFailure(_) => "cannot-be-built",
        SdkError::DispatchFailure(sent) if sent.is_user() => "cannot-be-built",
        _ => "",
    }
}

/// Codes first, where they say more than the status.
fn meaning(status: Option<u16>, code: &str) -> Meaning {
    match (status, code) {
        (_, "NoSuchBucket" | "cannot-be-built") => Meaning::Permanent,
        (_, "RequestTimeout" | "SlowDown") => Meaning::Transient,
        (Some(404), _) => Meaning::Absent,
        (Some(401 | 403), _) => Meaning::Refused,
        (Some(416), _) => Meaning::Damaged,
        (Some(408 | 429 | 500..), _) | (None, _) => Meaning::Transient,
        // An answer that began well and broke off.
        (Some(200..300), _) => Meaning::Transient,
        (Some(_), _) => Meaning::Permanent,
    }
}

fn reason<E>(fault: &SdkError<E>) -> String
where
    E: ProvideErrorMetadata + Error + 'static,
{
    if let SdkError::ServiceError(answer) = fault {
        let status = answer.raw().status().as_u16();
        let message = answer.err().message().unwrap_or_default();
        return clean(&format!("{status} {} {message}", code(fault)));
    }
    let mut text = fault.to_string();
    let mut cause = fault.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    clean(&text)
}

fn clean(text: &str) -> String {
    text.trim().chars().filter(|c| !c.is_control()).take(MESSAGE_CHARS_MAX).collect()
}
