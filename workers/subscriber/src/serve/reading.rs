//! A child's request without a socket, for whoever fuzzes it: what is read of it before anything is known of the child. It
//! knows no key.

use std::ops::Range;

use axum::http::Request;
use blobs::signed::Stamp;

use super::content::Route;
use super::refusal::Refusal;

/// The ranges that it asks for, or the status that refuses it.
pub fn read_request(method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Vec<Range<u64>>, u16> {
    let request = Request::builder().method(method).uri(path);
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    let (head, ()) = request.body(()).map_err(|_| Refusal::Malformed.status().as_u16())?.into_parts();
    let refused = |refusal: Refusal| refusal.status().as_u16();
    let header = |name: &'static str| head.headers.get(name).and_then(|value| value.to_str().ok());
    Stamp::read(header).map_err(|why| refused(why.into()))?;
    match Route::of(&head, body).map_err(refused)? {
        Route::Size(_) | Route::Whole(_) => Ok(Vec::new()),
        Route::Part(_, range) => Ok(vec![range]),
        Route::Parts(_, ranges) => Ok(ranges),
    }
}
