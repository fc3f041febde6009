//! JSON values as YAML.

use std::io;

use serde_json::Value;

pub fn text(value: &Value) -> io::Result<String> {
    serde_saphyr::to_string(value).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Texts that look like something else stay texts.
    #[test]
    fn what_is_written_reads_back_as_the_same_values() {
        let value = json!({
            "word": "never", "yes": "yes", "no": "no", "null": "null", "number": "12", "float": "1e3", "date": "2026-11-21",
            "empty": "", "space": " a ", "colon": "a: b", "hash": "a # b", "percent": "%DEST%/x", "lines": "a\nb\n",
            "escape": "\u{1b}[31m", "list": [], "map": {}, "nested": [{ "a": [1, 2.5, null, true] }], "dash": "- a", "star": "*a",
        });
        let written = text(&value).unwrap();
        assert!(!written.contains('\u{1b}'), "{written}");
        let read: Value = serde_saphyr::from_str(&written).unwrap();
        assert_eq!(read, value, "{written}");
    }
}
