//! Why a request gets no content, as a status and a stable code. It tells a stranger nothing about what is here.

use axum::body::Body;
use axum::http::{Response, StatusCode};
use blobs::signed::Unsigned;

use crate::store::StoreError;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    Unsigned(Unsigned),
    Malformed,
    TooLarge,
    TooSlow,
    /// Neither here nor at any source.
    Absent,
    /// Beyond the end of the object.
    OutOfRange,
    /// The sources that might have it failed.
    SourcesFailed,
    StoreFailed(&'static str),
}

impl Refusal {
    pub fn answer(&self) -> Response<Body> {
        let mut response = Response::new(Body::from(self.code()));
        *response.status_mut() = self.status();
        response
    }

    fn status(&self) -> StatusCode {
        match self {
            Refusal::Unsigned(_) => StatusCode::UNAUTHORIZED,
            Refusal::Malformed => StatusCode::BAD_REQUEST,
            Refusal::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Refusal::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Refusal::Absent => StatusCode::NOT_FOUND,
            Refusal::OutOfRange => StatusCode::RANGE_NOT_SATISFIABLE,
            Refusal::SourcesFailed => StatusCode::BAD_GATEWAY,
            Refusal::StoreFailed(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn code(&self) -> String {
        match self {
            Refusal::Unsigned(why) => why.to_string(),
            Refusal::Malformed => "request-malformed".to_owned(),
            Refusal::TooLarge => "request-too-large".to_owned(),
            Refusal::TooSlow => "request-too-slow".to_owned(),
            Refusal::Absent => "absent".to_owned(),
            Refusal::OutOfRange => "range-beyond-end".to_owned(),
            Refusal::SourcesFailed => "sources-failed".to_owned(),
            Refusal::StoreFailed(code) => (*code).to_owned(),
        }
    }
}

impl From<Unsigned> for Refusal {
    fn from(why: Unsigned) -> Refusal {
        Refusal::Unsigned(why)
    }
}

impl From<StoreError> for Refusal {
    fn from(fault: StoreError) -> Refusal {
        tracing::error!(%fault, "the store failed while serving a child");
        Refusal::StoreFailed(fault.code())
    }
}
