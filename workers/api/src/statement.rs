//! Which texts are a question: one statement that begins like one. The database's read-only session is the second lock;
//! this one also keeps out what reads beyond the database (`ATTACH`) or changes the session (`PRAGMA`, `SET`).

/// Why a text is not answered. The code is stable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct NotAQuestion {
    pub code: &'static str,
    pub message: String,
}

const BEGINNINGS: [&str; 4] = ["select", "with", "values", "explain"];

/// The statement without its closing semicolon.
pub fn question(sql: &str) -> Result<&str, NotAQuestion> {
    let Scan { first, first_semicolon, after_semicolon } = scan(sql);
    let Some(first) = first else {
        return Err(refused("statement-empty", "there is no statement to run"));
    };
    if after_semicolon {
        let message = "one statement at a time: something follows after the first `;`";
        return Err(refused("statement-several", message));
    }
    let word: String = sql[first..].chars().take_while(char::is_ascii_alphabetic).take(20).collect();
    if !BEGINNINGS.contains(&word.to_ascii_lowercase().as_str()) && !sql[first..].starts_with('(') {
        let message =
            format!("only questions are answered here, which begin with SELECT, WITH, VALUES or EXPLAIN; not `{word}`");
        return Err(refused("statement-not-read-only", message));
    }
    Ok(&sql[..first_semicolon.unwrap_or(sql.len())])
}

fn refused(code: &'static str, message: impl Into<String>) -> NotAQuestion {
    NotAQuestion { code, message: message.into() }
}

struct Scan {
    /// Where the first word begins.
    first: Option<usize>,
    first_semicolon: Option<usize>,
    /// Something other than space, comments and semicolons comes after the first semicolon.
    after_semicolon: bool,
}

fn scan(sql: &str) -> Scan {
    let bytes = sql.as_bytes();
    let mut found = Scan { first: None, first_semicolon: None, after_semicolon: false };
    let mut at = 0;
    while at < bytes.len() {
        let next = skip(bytes, at);
        let is_nothing = bytes[at].is_ascii_whitespace() || is_comment(bytes, at);
        if bytes[at] == b';' {
            found.first_semicolon.get_or_insert(at);
        } else if !is_nothing {
            found.first.get_or_insert(at);
            found.after_semicolon |= found.first_semicolon.is_some();
        }
        at = next;
    }
    found
}

fn is_comment(bytes: &[u8], at: usize) -> bool {
    bytes[at..].starts_with(b"--") || bytes[at..].starts_with(b"/*")
}

/// Past the comment, the quoted text or the byte that begins here.
fn skip(bytes: &[u8], at: usize) -> usize {
    let rest = &bytes[at..];
    if rest.starts_with(b"--") {
        return at + rest.iter().position(|&b| b == b'\n').map_or(rest.len(), |n| n + 1);
    }
    if rest.starts_with(b"/*") {
        return at + rest.windows(2).skip(2).position(|pair| pair == b"*/").map_or(rest.len(), |n| n + 4);
    }
    match rest[0] {
        // A doubled quote inside ends one text and begins the next, which comes to the same.
        quote @ (b'\'' | b'"' | b'`') => {
            at + 1 + rest[1..].iter().position(|&b| b == quote).map_or(rest.len() - 1, |n| n + 1)
        }
        _ => at + 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_question_passes_whatever_stands_in_its_texts_and_comments() {
        for (sql, kept) in [
            ("SELECT 1", "SELECT 1"),
            ("select 1 ;  -- the end; really\n", "select 1 "),
            ("/* why; */ WITH x AS (SELECT 1) SELECT * FROM x;", "/* why; */ WITH x AS (SELECT 1) SELECT * FROM x"),
            ("SELECT 'a;b', \"c;d\", 'it''s; so'", "SELECT 'a;b', \"c;d\", 'it''s; so'"),
            ("(SELECT 1)", "(SELECT 1)"),
            ("explain select 1", "explain select 1"),
        ] {
            assert_eq!(question(sql).unwrap(), kept);
        }
    }

    #[test]
    fn whatever_writes_or_reaches_beyond_is_refused_by_its_code() {
        for (sql, code) in [
            ("INSERT INTO tide_meta VALUES ('x', 1)", "statement-not-read-only"),
            ("PRAGMA query_only = 0", "statement-not-read-only"),
            ("ATTACH DATABASE '/etc/x' AS x", "statement-not-read-only"),
            ("SET SESSION x = 1", "statement-not-read-only"),
            ("-- SELECT\nDELETE FROM tide_jobs", "statement-not-read-only"),
            ("SELECT 1; DELETE FROM tide_jobs", "statement-several"),
            ("SELECT 1;;/**/ SELECT 2", "statement-several"),
            ("SELECT 'a'';'; SELECT 2", "statement-several"),
            ("SELECT 1 /* ; */; x", "statement-several"),
            ("", "statement-empty"),
            (" ; -- only this", "statement-empty"),
            ("/* unclosed", "statement-empty"),
        ] {
            assert_eq!(question(sql).unwrap_err().code, code, "{sql}");
        }
    }
}
