//! A queue's name back from its text, as dead letters keep it.

use schemas::QueueName;

/// `None` for whatever is not one of the fixed set.
pub fn parse(text: &str) -> Option<QueueName> {
    let parts: Vec<&str> = text.split('.').collect();
    let queue = match parts.as_slice() {
        ["tidegate", "requests"] => QueueName::Requests,
        ["tidegate", "reports"] => QueueName::Reports,
        ["tidegate", "build", distributor] => QueueName::Build((*distributor).try_into().ok()?),
        ["tidegate", "site", subscriber, "control"] => QueueName::Control((*subscriber).try_into().ok()?),
        ["tidegate", "site", subscriber, channel] => {
            QueueName::Site((*subscriber).try_into().ok()?, (*channel).try_into().ok()?)
        }
        _ => return None,
    };
    Some(queue)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_that_letters_come_from_reads_back_and_nothing_else_does() {
        for text in [
            "tidegate.requests",
            "tidegate.reports",
            "tidegate.build.hq",
            "tidegate.site.paris.control",
            "tidegate.site.paris.protect",
        ] {
            assert_eq!(parse(text).unwrap().to_string(), text);
        }
        for bad in ["", "tidegate.dead", "tidegate.site.paris", "amq.direct", "tidegate.build.A", "tidegate.site.a.b.c"]
        {
            assert!(parse(bad).is_none(), "{bad}");
        }
    }
}
