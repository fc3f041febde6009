//! What a person, a schedule or a program asks for, on the exchange `tidegate.requests`.

use serde::{Deserialize, Serialize};

use crate::{
    ChannelName, ConsoleName, DistributionName, DistributorName, EventName, Fault, JobId, RequestId, SCHEMA,
    SubscriberName, SyncName,
};

/// Events that one request posts at most.
pub const EVENTS_MAX: usize = 16;
/// Events that happen by themselves, and that nobody posts.
pub const OWN_EVENTS: [&str; 2] = ["startup", "shutdown"];

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Request {
    pub schema: u32,
    /// Chosen by the sender. The same id with the same body is a no-op, with another body a `conflict`.
    pub id: RequestId,
    pub kind: RequestKind,
    #[serde(default)]
    pub selector: Selector,
    #[serde(default)]
    pub options: RequestOptions,
    /// Who asks; shown in results. A sync that belongs to a console is run by that one alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub console: Option<ConsoleName>,
    /// W3C trace context of the asker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum RequestKind {
    /// Makes a revision of each selected distribution, if its content changed.
    Build,
    /// Sends the newest revision of all distributions of the selected channels to whoever lacks it.
    Send,
    /// Extracts what the selected subscribers hold.
    Extract,
    /// Builds what is stale, sends and extracts, for the selected subscribers, or for those of the selected syncs.
    Sync,
    /// Activates applied changes of the selected distributors and rebuilds what they touch.
    Refresh,
    /// Ends the selected jobs, or all open jobs of the selected requests.
    Cancel,
    /// Makes a new job for each selected failed or cancelled job.
    Retry,
    /// Goes back to an earlier revision that is kept at the site.
    Rollback,
    /// Retires revisions beyond what is kept, and deletes what no revision needs any more.
    Collect,
    /// Says that the selected events have happened: every schedule that waits for one of them is due, once for each request.
    Event,
}

impl RequestKind {
    pub fn as_str(self) -> &'static str {
        match self {
            RequestKind::Build => "build",
            RequestKind::Send => "send",
            RequestKind::Extract => "extract",
            RequestKind::Sync => "sync",
            RequestKind::Refresh => "refresh",
            RequestKind::Cancel => "cancel",
            RequestKind::Retry => "retry",
            RequestKind::Rollback => "rollback",
            RequestKind::Collect => "collect",
            RequestKind::Event => "event",
        }
    }
}

/// What a request is about. Lists are joined by "and" between fields, by "or" within one; an empty list selects nothing
/// where the kind needs it, and everything where it only narrows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Selector {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub distributors: Vec<DistributorName>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub distributions: Vec<DistributionName>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub components: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub channels: Vec<ChannelName>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub subscribers: Vec<SubscriberName>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub jobs: Vec<JobId>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub requests: Vec<RequestId>,
    /// Only for `event`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "generate", schemars(length(max = 16)))]
    pub events: Vec<EventName>,
    /// Only for `sync`: syncs that are defined, each for its own subscriber and components; nothing else is selected then.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub syncs: Vec<SyncName>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct RequestOptions {
    /// Plan a job even where what is recorded and what is wanted agree; a build reads everything again; a collection
    /// takes every grace as over.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub force: bool,
    /// For `build`, and for the builds of a `sync` or `refresh`: every file is read, also those that look unchanged by
    /// size, times and inode.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub verify: bool,
    /// For `rollback`: the revision to go back to; without it, the one that the site had extracted before. For `extract`: this
    /// revision, not the newest that the site holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// Shown in results.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "generate", schemars(length(max = 500)))]
    pub reason: Option<String>,
}

/// The answer to a request that named a `reply_to` queue, with its `correlation_id`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema))]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum Reply {
    Accepted {
        request: RequestId,
        /// False if the same request was stored before.
        new: bool,
    },
    Refused {
        /// Absent if not even the id could be read.
        request: Option<RequestId>,
        fault: Fault,
    },
}

impl Request {
    /// A request of this version with nothing selected.
    pub fn new(id: RequestId, kind: RequestKind) -> Request {
        Request {
            schema: SCHEMA,
            id,
            kind,
            selector: Selector::default(),
            options: RequestOptions::default(),
            console: None,
            traceparent: None,
        }
    }

    /// Decodes and checks; the fault is permanent and says what to change.
    pub fn decode(body: &[u8]) -> Result<Request, Fault> {
        if body.len() > crate::MESSAGE_BYTES_MAX {
            return Err(Fault::permanent(
                "request-too-large",
                format!("a request of {} bytes; at most {} are read", body.len(), crate::MESSAGE_BYTES_MAX),
            ));
        }
        let request: Request =
            serde_json::from_slice(body).map_err(|e| Fault::permanent("request-malformed", e.to_string()))?;
        request.check()?;
        Ok(request)
    }

    fn check(&self) -> Result<(), Fault> {
        if self.schema != SCHEMA {
            return Err(Fault::permanent(
                "schema-unknown",
                format!("schema {} is not known here; this version reads {SCHEMA}", self.schema),
            ));
        }
        if self.options.reason.as_ref().is_some_and(|reason| reason.chars().count() > 500) {
            return Err(Fault::permanent("request-malformed", "options.reason has more than 500 characters"));
        }
        if self.options.verify && !matches!(self.kind, RequestKind::Build | RequestKind::Sync | RequestKind::Refresh) {
            let kind = self.kind.as_str();
            return Err(Fault::permanent(
                "request-malformed",
                format!("options.verify is for builds; a {kind} makes none"),
            ));
        }
        let s = &self.selector;
        let (lacks, field) = match self.kind {
            RequestKind::Build => {
                (s.distributions.is_empty() && s.components.is_empty(), "distributions or components")
            }
            RequestKind::Send => (s.channels.is_empty(), "channels"),
            RequestKind::Extract => (s.subscribers.is_empty(), "subscribers"),
            RequestKind::Sync => (s.subscribers.is_empty() && s.syncs.is_empty(), "subscribers or syncs"),
            RequestKind::Refresh => (s.distributors.is_empty(), "distributors"),
            RequestKind::Cancel => (s.jobs.is_empty() && s.requests.is_empty(), "jobs or requests"),
            RequestKind::Retry => (s.jobs.is_empty(), "jobs"),
            RequestKind::Collect => (false, ""),
            RequestKind::Event => (s.events.is_empty(), "events"),
            RequestKind::Rollback => {
                (s.subscribers.is_empty() || s.distributions.is_empty(), "subscribers and distributions")
            }
        };
        self.check_events()?;
        if lacks {
            let kind = self.kind.as_str();
            return Err(Fault::permanent("selector-empty", format!("a {kind} request needs selector.{field}")));
        }
        self.check_syncs()
    }

    fn check_syncs(&self) -> Result<(), Fault> {
        if self.selector.syncs.is_empty() {
            return Ok(());
        }
        let alone = Selector { syncs: self.selector.syncs.clone(), ..Selector::default() };
        if self.kind != RequestKind::Sync || self.selector != alone {
            let what = "selector.syncs goes with a sync request, and with no other selection: a sync has its own";
            return Err(Fault::permanent("request-malformed", what));
        }
        Ok(())
    }

    fn check_events(&self) -> Result<(), Fault> {
        let events = &self.selector.events;
        if !events.is_empty() && self.kind != RequestKind::Event {
            let kind = self.kind.as_str();
            return Err(Fault::permanent("request-malformed", format!("a {kind} request takes no selector.events")));
        }
        if events.len() > EVENTS_MAX {
            let what = format!("{} events in one request; at most {EVENTS_MAX} are taken", events.len());
            return Err(Fault::permanent("request-malformed", what));
        }
        match events.iter().find(|event| OWN_EVENTS.contains(&event.as_str())) {
            Some(event) => {
                let what = format!("`{event}` happens by itself, and nobody posts it; post an event of another name");
                Err(Fault::permanent("event-reserved", what))
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(extra: &str) -> String {
        format!(r#"{{"schema":1,"id":"01930000-0000-7000-8000-000000000001",{extra}}}"#)
    }

    #[test]
    fn a_request_of_the_wrong_form_is_refused_with_a_stable_code() {
        let cases = [
            ("not json".to_owned(), "request-malformed"),
            (body(r#""kind":"build""#), "selector-empty"),
            (body(r#""kind":"burn""#), "request-malformed"),
            (body(r#""kind":"sync""#), "selector-empty"),
            (body(r#""kind":"sync","selector":{"syncs":["a"],"subscribers":["b"]}"#), "request-malformed"),
            (body(r#""kind":"build","selector":{"syncs":["a"],"distributions":["b"]}"#), "request-malformed"),
            (body(r#""kind":"build","selector":{"distributions":["a"]},"x":1"#), "request-malformed"),
            (body(r#""kind":"build","selector":{"distributions":["../a"]}"#), "request-malformed"),
            (body(r#""kind":"send","selector":{"channels":["a"]},"options":{"verify":true}"#), "request-malformed"),
            (body(r#""kind":"event""#), "selector-empty"),
            (body(r#""kind":"event","selector":{"events":["Open Doors"]}"#), "request-malformed"),
            (body(r#""kind":"event","selector":{"events":["startup"]}"#), "event-reserved"),
            (body(r#""kind":"build","selector":{"distributions":["a"],"events":["b"]}"#), "request-malformed"),
            (
                body(&format!(r#""kind":"event","selector":{{"events":["a"{}]}}"#, ",\"a\"".repeat(16))),
                "request-malformed",
            ),
            (
                body(r#""kind":"build","selector":{"distributions":["a"]}"#).replace("\"schema\":1", "\"schema\":2"),
                "schema-unknown",
            ),
            (format!("{}{}", body(r#""kind":"build""#), " ".repeat(crate::MESSAGE_BYTES_MAX)), "request-too-large"),
        ];
        for (text, code) in cases {
            assert_eq!(Request::decode(text.as_bytes()).unwrap_err().code, code, "{text:.80}");
        }
        assert!(Request::decode(body(r#""kind":"build","selector":{"distributions":["a"]}"#).as_bytes()).is_ok());
    }
}
