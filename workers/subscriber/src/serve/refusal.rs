//! Why a request gets no content, as a status and a stable code. It tells a stranger nothing about what is here.

use axum::body::Body;
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderValue, Response, StatusCode};
use blobs::signed::Unsigned;

use crate::store::StoreError;

/// When a child that found no place asks again: it waited for one already.
const AGAIN_AFTER_S: u16 = 1;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    Unsigned(Unsigned),
    Malformed,
    TooLarge,
    TooSlow,
    /// As many children are served as may be: the same request is welcome a little later.
    Busy,
    /// Neither here nor at any source.
    Absent,
    /// Beyond the end of the object.
    OutOfRange,
    /// The sources that might have it failed.
    SourcesFailed,
    StoreFailed(&'static str),
    /// What is not here does not fit here: another source has it.
    NoRoom(&'static str),
}

impl Refusal {
    pub fn answer(&self) -> Response<Body> {
        let mut response = Response::new(Body::from(self.code()));
        *response.status_mut() = self.status();
        if *self == Refusal::Busy {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(AGAIN_AFTER_S));
        }
        response
    }

    pub fn status(&self) -> StatusCode {
        match self {
            Refusal::Unsigned(_) => StatusCode::UNAUTHORIZED,
            Refusal::Malformed => StatusCode::BAD_REQUEST,
            Refusal::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Refusal::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Refusal::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Refusal::Absent => StatusCode::NOT_FOUND,
            Refusal::OutOfRange => StatusCode::RANGE_NOT_SATISFIABLE,
            Refusal::SourcesFailed => StatusCode::BAD_GATEWAY,
            Refusal::StoreFailed(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Refusal::NoRoom(_) => StatusCode::INSUFFICIENT_STORAGE,
        }
    }

    fn code(&self) -> String {
        match self {
            Refusal::Unsigned(why) => why.to_string(),
            Refusal::Malformed => "request-malformed".to_owned(),
            Refusal::TooLarge => "request-too-large".to_owned(),
            Refusal::TooSlow => "request-too-slow".to_owned(),
            Refusal::Busy => "relay-busy".to_owned(),
            Refusal::Absent => "absent".to_owned(),
            Refusal::OutOfRange => "range-beyond-end".to_owned(),
            Refusal::SourcesFailed => "sources-failed".to_owned(),
            Refusal::StoreFailed(code) | Refusal::NoRoom(code) => (*code).to_owned(),
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
        match fault.is_full() {
            true => Refusal::NoRoom(fault.code()),
            false => Refusal::StoreFailed(fault.code()),
        }
    }
}
