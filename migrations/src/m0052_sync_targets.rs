//! Which distributions each sync brings, for those that go after another subscriber's extraction.

use crate::sql::Script;

pub const SCRIPT: Script = Script { name: "m0052_sync_targets", up: UP, down: DOWN };

/// Components as they are in effect, as targets are. A component is a tag (letters, digits, `.`, `_`, `-`): of these only `_` means something to LIKE.
const UP: &str = r#"
CREATE VIEW tide_sync_targets AS
SELECT o.name AS sync, t.subscriber, t.distribution
FROM tide_objects o
JOIN tide_targets t ON t.subscriber = {json:o.spec} ->> 'subscriber' AND t.channel = 'sync' AND t.active = 1
JOIN tide_objects d ON d.kind = 'distribution' AND d.name = t.distribution
WHERE o.kind = 'sync' AND (CAST({json:o.spec} -> 'components' AS TEXT) LIKE '%"all"%'
    OR CAST({json:o.spec} -> 'components' AS TEXT) LIKE '%"' || replace({json:COALESCE(d.in_effect, d.spec)} ->> 'component', '_', '\_') || '"%' ESCAPE '\');
"#;

const DOWN: &str = "
DROP VIEW tide_sync_targets;
";
