//! Which relative paths an entry may have. It looks at text alone and never at a file system.

use crate::limits::{LINK_BYTES_MAX, PART_BYTES_MAX, PATH_BYTES_MAX, PATH_DEPTH_MAX};

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{shown:?}: {fault}")]
pub struct UnsafePath {
    /// The path, shortened for display.
    pub shown: String,
    pub fault: PathFault,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathFault {
    #[error("a part of it is empty, or it begins or ends with `/`")]
    EmptyPart,
    #[error("a part of it is `.` or `..`")]
    Dots,
    #[error("it has a control character")]
    Control,
    #[error("it has a backslash")]
    Backslash,
    #[error("it is longer than {PATH_BYTES_MAX} bytes")]
    TooLong,
    #[error("a part of it is longer than {PART_BYTES_MAX} bytes")]
    PartTooLong,
    #[error("it is deeper than {PATH_DEPTH_MAX} parts")]
    TooDeep,
    #[error("what the link says is empty, has a control character, or is longer than {LINK_BYTES_MAX} bytes")]
    LinkText,
}

/// The path of an entry below the root; the root itself has the path "", which this refuses.
pub fn check(path: &str) -> Result<(), UnsafePath> {
    fault_of(path).map_or(Ok(()), |fault| Err(UnsafePath::new(path, fault)))
}

/// What a symbolic link may say. Whether it leads out of the tree is `link_leaves`' question.
pub fn check_link(path: &str, says: &str) -> Result<(), UnsafePath> {
    let bad = says.is_empty() || says.len() > LINK_BYTES_MAX || has_control(says);
    if bad { Err(UnsafePath::new(path, PathFault::LinkText)) } else { Ok(()) }
}

/// True if following the link at `path` goes above the root or to an absolute path. Other links on its way are not
/// looked at: every `..` counts as one part up.
pub fn link_leaves(path: &str, says: &str) -> bool {
    if says.starts_with('/') {
        return true;
    }
    let mut depth = path.matches('/').count();
    for part in says.split('/') {
        match part {
            "" | "." => {}
            ".." if depth == 0 => return true,
            ".." => depth -= 1,
            _ => depth += 1,
        }
    }
    false
}

/// The path of the directory that holds it; "" for what stands in the root.
pub fn parent(path: &str) -> &str {
    path.rfind('/').map_or("", |at| &path[..at])
}

fn fault_of(path: &str) -> Option<PathFault> {
    if is_plain(path.as_bytes()) { None } else { fault_in(path) }
}

/// Short printable ASCII in which no part is empty or begins with a dot: nothing can be wrong with it. Most paths are so, and an
/// index has each of them looked at.
fn is_plain(path: &[u8]) -> bool {
    let (Some(first), Some(last)) = (path.first(), path.last()) else { return false };
    if path.len() > PART_BYTES_MAX.min(PATH_DEPTH_MAX) || matches!(first, b'/' | b'.') || *last == b'/' {
        return false;
    }
    let odd = path.iter().fold(false, |odd, &b| odd | !(0x20..0x7f).contains(&b) | (b == b'\\'));
    let pairs = path.iter().zip(&path[1..]);
    !pairs.fold(odd, |odd, (&a, &b)| odd | ((a == b'/') & ((b == b'/') | (b == b'.'))))
}

fn fault_in(path: &str) -> Option<PathFault> {
    if path.len() > PATH_BYTES_MAX {
        return Some(PathFault::TooLong);
    }
    if has_control(path) {
        return Some(PathFault::Control);
    }
    let mut depth = 0;
    for part in path.as_bytes().split(|&b| b == b'/') {
        depth += 1;
        match part {
            b"" => return Some(PathFault::EmptyPart),
            b"." | b".." => return Some(PathFault::Dots),
            _ if part.len() > PART_BYTES_MAX => return Some(PathFault::PartTooLong),
            _ if depth > PATH_DEPTH_MAX => return Some(PathFault::TooDeep),
            _ if part.contains(&b'\\') => return Some(PathFault::Backslash),
            _ => {}
        }
    }
    None
}

/// C0, DEL and C1.
fn has_control(text: &str) -> bool {
    match text.is_ascii() {
        true => text.bytes().any(|b| b < 0x20 || b == 0x7f),
        false => text.chars().any(char::is_control),
    }
}

impl UnsafePath {
    const SHOWN_CHARS_MAX: usize = 200;

    pub fn new(path: &str, fault: PathFault) -> UnsafePath {
        UnsafePath { shown: path.chars().take(Self::SHOWN_CHARS_MAX).collect(), fault }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn safe_paths_pass_and_each_unsafe_one_is_refused_for_its_reason() {
        for good in ["a", "a/b", "é/ü.txt", "...", "a b", ".hidden", "CON", "a..b/c", "-"] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        let long = "x/".repeat(PATH_BYTES_MAX) + "x";
        let deep = "x/".repeat(PATH_DEPTH_MAX) + "x";
        let cases = [
            ("", PathFault::EmptyPart),
            ("/etc/passwd", PathFault::EmptyPart),
            ("a//b", PathFault::EmptyPart),
            ("a/", PathFault::EmptyPart),
            ("..", PathFault::Dots),
            ("../x", PathFault::Dots),
            ("a/../x", PathFault::Dots),
            ("a/./x", PathFault::Dots),
            ("a\0b", PathFault::Control),
            ("a\nb", PathFault::Control),
            ("a\u{7f}b", PathFault::Control),
            ("é\u{85}", PathFault::Control),
            ("C:\\x", PathFault::Backslash),
            ("\\\\server\\share", PathFault::Backslash),
            (long.as_str(), PathFault::TooLong),
            (deep.as_str(), PathFault::TooDeep),
        ];
        for (bad, fault) in cases {
            assert_eq!(check(bad).unwrap_err().fault, fault, "{bad:.40}");
        }
        assert_eq!(check(&"x".repeat(PART_BYTES_MAX + 1)).unwrap_err().fault, PathFault::PartTooLong);
    }

    proptest::proptest! {
        #[test]
        fn the_quick_look_passes_nothing_that_the_thorough_one_refuses(path in "[a/.\\\\\u{1}\u{7f}é]{0,12}|(ab/){0,60}c{0,300}") {
            proptest::prop_assert!(!is_plain(path.as_bytes()) || fault_in(&path).is_none());
        }
    }

    #[test]
    fn a_link_leaves_if_it_is_absolute_or_climbs_above_the_root() {
        for (path, says) in [("a", "/etc"), ("a", ".."), ("a/b", "../../x"), ("a/b/c", "x/../../../../y")] {
            assert!(link_leaves(path, says), "{path} -> {says}");
        }
        for (path, says) in [("a", "b"), ("a/b", "../x"), ("a/b/c", "../../x"), ("a", "./b/../c"), ("a/b", "..")] {
            assert!(!link_leaves(path, says), "{path} -> {says}");
        }
        assert!(check_link("a", "").is_err());
        assert!(check_link("a", "x\ny").is_err());
        assert!(check_link("a", "../x").is_ok());
    }
}
