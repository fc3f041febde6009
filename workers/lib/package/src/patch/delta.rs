//! Bytes compressed against other bytes, as `zstd --patch-from` does. It knows not what either of them is.

use zstd::zstd_safe::{CCtx, CParameter, DCtx, compress_bound, get_error_name};

use crate::error::FormatError;

/// zstd's smallest and, here, largest window: it must reach over the base and the content.
const WINDOW_LOG_MIN: u32 = 10;
const WINDOW_LOG_MAX: u32 = 29;
/// Most that base and content may be together.
pub(crate) const DELTA_BYTES_MAX: u64 = 1 << WINDOW_LOG_MAX;

/// `None` if that fails, which only a lack of memory explains.
pub(crate) fn make(base: &[u8], content: &[u8], level: i32) -> Option<Vec<u8>> {
    let window = (base.len() + content.len()).max(1).next_power_of_two().ilog2();
    let mut context = CCtx::try_create()?;
    context.set_parameter(CParameter::CompressionLevel(level)).ok()?;
    context.set_parameter(CParameter::WindowLog(window.clamp(WINDOW_LOG_MIN, WINDOW_LOG_MAX))).ok()?;
    context.set_parameter(CParameter::EnableLongDistanceMatching(true)).ok()?;
    context.ref_prefix(base).ok()?;
    let mut out = Vec::with_capacity(compress_bound(content.len()));
    context.compress2(&mut out, content).ok()?;
    out.shrink_to_fit();
    Some(out)
}

/// Never writes more than `content_bytes`, whatever the delta says.
pub(crate) fn apply(
    what: &'static str,
    base: &[u8],
    delta: &[u8],
    content_bytes: usize,
) -> Result<Vec<u8>, FormatError> {
    let mut context = DCtx::try_create().ok_or_else(|| FormatError::damaged(what, "no memory to apply it"))?;
    let failed = |code| FormatError::damaged(what, get_error_name(code));
    context.ref_prefix(base).map_err(failed)?;
    let mut content = Vec::with_capacity(content_bytes);
    let written = context.decompress(&mut content, delta).map_err(failed)?;
    if written != content_bytes {
        return Err(FormatError::damaged(what, format!("it gives {written} bytes instead of {content_bytes}")));
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_change_of_incompressible_bytes_costs_little_and_reads_back() {
        let mut base = vec![0; 3_000_000];
        blake3::Hasher::new().finalize_xof().fill(&mut base);
        let mut content = base.clone();
        content.splice(1_000_000..1_000_010, *b"in the middle of it");
        let delta = make(&base, &content, 9).unwrap();
        assert!(delta.len() < 500, "{}", delta.len());
        assert_eq!(apply("a patch", &base, &delta, content.len()).unwrap(), content);
        assert!(apply("a patch", &base, &delta, content.len() - 1).is_err());
        assert!(apply("a patch", &base, &delta, content.len() + 1).is_err());
    }

    #[test]
    fn empty_sides_are_no_special_case() {
        for (base, content) in [(&b""[..], &b"x"[..]), (b"x", b""), (b"", b"")] {
            let delta = make(base, content, 3).unwrap();
            assert_eq!(apply("a patch", base, &delta, content.len()).unwrap(), content);
        }
    }
}
