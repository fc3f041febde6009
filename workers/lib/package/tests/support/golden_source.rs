//! The tree that the golden sample was made of, in its two revisions.

use crate::support::Source;

const EVENING: u64 = 1_700_000_000;

/// 150 KB that are cut by content and compress well.
pub fn numbered_lines() -> Vec<u8> {
    (0u64..6_000).flat_map(|n| format!("{n} of the tide tables: {}\n", n * n * 7_919 % 100_003).into_bytes()).collect()
}

/// The first revision's tree, and what makes the second one's of it.
pub fn golden_source() -> (Source, impl FnOnce(Source) -> Source) {
    let source = Source::new();
    source.write("big.txt", numbered_lines()).write("empty", "").write("notes-é.txt", "first\n");
    source.write("sub/a.txt", "the same\n").write("sub/deep/b.txt", "the same\n");
    source.write("sub/text.txt", "tide in, tide out; ".repeat(500));
    source.link("link", "sub/a.txt").link("sub/up", "../empty");
    source.mode("sub/a.txt", 0o600).mode("sub/deep", 0o750);
    (source, |source: Source| {
        source.write("notes-é.txt", "changed\n");
        settle(&source);
        source
    })
}

/// Times and modes that do not depend on when and where the sample is made.
fn settle(source: &Source) {
    for path in ["big.txt", "empty", "notes-é.txt", "sub/text.txt", "sub/deep/b.txt"] {
        source.mode(path, 0o644);
    }
    source.mode("", 0o755).mode("sub", 0o755);
    for (n, path) in
        ["big.txt", "empty", "notes-é.txt", "sub/a.txt", "sub/deep/b.txt", "sub/text.txt"].iter().enumerate()
    {
        source.time(path, EVENING + n as u64);
    }
    for path in ["sub/deep", "sub", ""] {
        source.time(path, EVENING);
    }
}
