//! Who may ask: whoever shows the token. Compared in constant time; a wrong one is told nothing but that.

use std::fmt;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use subtle::ConstantTimeEq;

use crate::fault::ApiFault;

/// The only path without a token: it says that the process lives, and nothing else.
pub const HEALTH_PATH: &str = "/healthz";
/// A shorter one could be guessed.
pub const TOKEN_BYTES_MIN: usize = 16;

#[derive(Clone)]
pub struct Token(Arc<str>);

impl Token {
    pub fn new(token: &str) -> Token {
        Token(token.into())
    }

    fn is(&self, shown: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(shown).into()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

pub async fn require_token(State(token): State<Token>, request: Request, next: Next) -> Response {
    let is_health = request.method() == Method::GET && request.uri().path() == HEALTH_PATH;
    if is_health || shown(&request).is_some_and(|shown| token.is(shown)) {
        return next.run(request).await;
    }
    let message = "this needs the service's token: `Authorization: Bearer TOKEN`";
    let mut response = ApiFault::new(StatusCode::UNAUTHORIZED, "unauthorized", message).into_response();
    response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}

fn shown(request: &Request) -> Option<&[u8]> {
    let value = request.headers().get(AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then_some(token)
}
