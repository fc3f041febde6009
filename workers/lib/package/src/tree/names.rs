//! Which names a file may have. It knows nothing of the other files.

use crate::paths;

use super::check::{Policy, Unsafe};

/// Names that Windows keeps for devices, with any extension. `COM¹` and its like count too.
const DEVICES: [&str; 4] = ["con", "prn", "aux", "nul"];
const NUMBERED_DEVICES: [&str; 2] = ["com", "lpt"];

/// Refuses what is not relative and plain, and what a person or Windows would read as something else.
pub(super) fn check(path: &str, policy: &Policy) -> Result<(), Unsafe> {
    paths::check(path).map_err(|why| Unsafe::Path { path: shown(path), why: why.fault.to_string() })?;
    let unsafe_path = |why: &str| Unsafe::Path { path: shown(path), why: why.into() };
    if path.as_bytes().get(1) == Some(&b':') && path.as_bytes()[0].is_ascii_alphabetic() {
        return Err(unsafe_path("it begins with a drive"));
    }
    if !path.is_ascii() && path.chars().any(is_misleading) {
        return Err(unsafe_path("it has characters that reorder what a person reads"));
    }
    if policy.windows_names {
        return Ok(());
    }
    let fault = path.split('/').find_map(windows_fault);
    fault.map_or(Ok(()), |why| Err(Unsafe::WindowsName { path: shown(path), why }))
}

fn windows_fault(name: &str) -> Option<&'static str> {
    if name.ends_with(['.', ' ']) {
        return Some("Windows drops a trailing dot or space");
    }
    let stem = name.split('.').next().unwrap_or(name).trim_end();
    is_device(stem).then_some("Windows keeps this name for a device")
}

fn is_device(stem: &str) -> bool {
    if DEVICES.iter().any(|device| stem.eq_ignore_ascii_case(device)) {
        return true;
    }
    let Some((letters, digit)) = stem.split_at_checked(3) else { return false };
    let numbered = matches!(digit, "1" | "2" | "3" | "4" | "5" | "6" | "7" | "8" | "9" | "¹" | "²" | "³");
    numbered && NUMBERED_DEVICES.iter().any(|device| letters.eq_ignore_ascii_case(device))
}

fn is_misleading(c: char) -> bool {
    matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A hostile name must not reach a terminal or fill a log.
fn shown(path: &str) -> String {
    path.chars().take(200).map(|c| if c.is_control() || is_misleading(c) { '\u{fffd}' } else { c }).collect()
}
