//! Whether two targets of one subscriber get in each other's way. It touches no file system: what links make of a path
//! is the subscriber's to find out.

/// True if one is the other or lies in it, compared by folders: `/srv/a` and `/srv/ab` do not overlap.
pub fn overlap(a: &str, b: &str) -> bool {
    parts(a).zip(parts(b)).all(|(a, b)| a == b)
}

/// Its folders, without empty ones and `.`.
pub(crate) fn parts(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|part| !part.is_empty() && *part != ".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_and_nested_targets_overlap_and_neighbours_do_not() {
        for (a, b) in [("/a", "/a"), ("/a", "/a/"), ("/a//b", "/a/b/c"), ("/a/./b", "/a/b"), ("%X%/a", "%X%/a/b")] {
            assert!(overlap(a, b) && overlap(b, a), "{a} {b}");
        }
        for (a, b) in [("/a", "/ab"), ("/a/b", "/a/c"), ("%X%/a", "%Y%/a")] {
            assert!(!overlap(a, b) && !overlap(b, a), "{a} {b}");
        }
    }
}
