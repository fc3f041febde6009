//! What a client is told when something cannot be done: a status, a stable code, a message, and lists where there are any.

use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::response::{IntoResponse, Response};
use domain::definitions::{DefinitionError, DeleteError};
use queue::QueueError;
use records::RecordsError;
use schemas::Fault;
use serde::Serialize;

use crate::statement::NotAQuestion;

#[derive(Debug, Serialize)]
pub struct ApiFault {
    #[serde(skip)]
    pub status: StatusCode,
    pub code: String,
    pub message: String,
    /// One for each thing that is wrong in definitions.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<DefinitionError>,
    /// Who names an object that was to be deleted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub references: Vec<String>,
}

impl ApiFault {
    pub fn new(status: StatusCode, code: &str, message: impl Into<String>) -> ApiFault {
        ApiFault { status, code: code.to_owned(), message: message.into(), errors: vec![], references: vec![] }
    }

    pub fn bad(code: &str, message: impl Into<String>) -> ApiFault {
        ApiFault::new(StatusCode::BAD_REQUEST, code, message)
    }

    pub fn absent(code: &str, message: impl Into<String>) -> ApiFault {
        ApiFault::new(StatusCode::NOT_FOUND, code, message)
    }

    pub fn conflict(code: &str, message: impl Into<String>) -> ApiFault {
        ApiFault::new(StatusCode::CONFLICT, code, message)
    }

    pub fn unavailable(code: &str, message: impl Into<String>) -> ApiFault {
        ApiFault::new(StatusCode::SERVICE_UNAVAILABLE, code, message)
    }

    /// Whatever the framework refused by itself, in the form of everything else.
    pub fn of_status(status: StatusCode) -> ApiFault {
        let (code, message) = match status {
            StatusCode::NOT_FOUND => ("route-unknown", "there is nothing at this path"),
            StatusCode::METHOD_NOT_ALLOWED => ("method-not-allowed", "this path is not asked by this method"),
            StatusCode::PAYLOAD_TOO_LARGE => ("body-too-large", "the body is larger than this path takes"),
            StatusCode::BAD_REQUEST => ("request-malformed", "the path or its parameters cannot be read"),
            _ => ("http", status.canonical_reason().unwrap_or("refused")),
        };
        ApiFault::new(status, code, message)
    }
}

impl IntoResponse for ApiFault {
    fn into_response(self) -> Response {
        if self.status.is_server_error() {
            tracing::warn!(code = %self.code, message = %self.message, "a client was refused");
        }
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (self.status, [(CONTENT_TYPE, "application/json")], body).into_response();
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(RETRY_AFTER, axum::http::HeaderValue::from_static("1"));
        }
        response
    }
}

impl From<RecordsError> for ApiFault {
    fn from(error: RecordsError) -> ApiFault {
        let status = match &error {
            RecordsError::Unavailable { .. } => StatusCode::SERVICE_UNAVAILABLE,
            RecordsError::Conflict { .. } | RecordsError::RequestConflict { .. } | RecordsError::Refused { .. } => {
                StatusCode::CONFLICT
            }
            RecordsError::Unknown { .. } => StatusCode::NOT_FOUND,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        ApiFault::new(status, error.code(), error.to_string())
    }
}

impl From<QueueError> for ApiFault {
    fn from(error: QueueError) -> ApiFault {
        let code = match &error {
            QueueError::Unroutable { .. } => "queue-unknown",
            QueueError::Refused { .. } => "broker-refused",
            QueueError::Unavailable { .. } | QueueError::Stale | QueueError::Closed => "broker-unavailable",
        };
        ApiFault::unavailable(code, error.to_string())
    }
}

impl From<Fault> for ApiFault {
    fn from(fault: Fault) -> ApiFault {
        let status =
            if fault.code == "request-too-large" { StatusCode::PAYLOAD_TOO_LARGE } else { StatusCode::BAD_REQUEST };
        ApiFault::new(status, &fault.code, fault.message)
    }
}

impl From<NotAQuestion> for ApiFault {
    fn from(error: NotAQuestion) -> ApiFault {
        ApiFault::bad(error.code, error.message)
    }
}

impl From<DeleteError> for ApiFault {
    fn from(error: DeleteError) -> ApiFault {
        let (code, message) = (error.code(), error.to_string());
        match error {
            DeleteError::Unknown { .. } => ApiFault::absent(code, message),
            DeleteError::Referred { by, .. } => ApiFault {
                references: by.iter().map(ToString::to_string).collect(),
                ..ApiFault::conflict(code, message)
            },
        }
    }
}
