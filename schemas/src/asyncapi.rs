//! The AsyncAPI document: which queue carries what, and how a client posts a request.

use serde_json::{Map, Value, json};

use crate::queue_name::REQUESTS_EXCHANGE;
use crate::{BATCH_MAX, MESSAGE_BYTES_MAX, QueueName, SCHEMA};

/// Of the AMQP binding that the document is written in.
const BINDING_VERSION: &str = "0.3.0";

/// AsyncAPI 3.0; payloads refer to the JSON Schemas beside it.
pub(crate) fn document() -> Value {
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Tidegate messages",
            "version": format!("{SCHEMA}"),
            "description": format!(
                "Post requests to the exchange `{REQUESTS_EXCHANGE}`. All other queues are internal: they are \
                 documented, so that they can be watched, and nobody else should publish to them. Bodies are JSON of at \
                 most {MESSAGE_BYTES_MAX} bytes; a reader refuses unknown fields and any `schema` other than {SCHEMA}. \
                 A message that is refused is dead-lettered with its reason and never retried."
            ),
        },
        "defaultContentType": "application/json",
        "channels": channels(),
        "operations": operations(),
        "components": { "messages": messages() },
    })
}

/// One queue, or one kind of queue, as a channel of the document.
struct Line {
    id: &'static str,
    address: String,
    says: &'static str,
    message: &'static str,
    parameters: &'static [&'static str],
}

fn lines() -> Vec<Line> {
    let line = |id, address: String, says, message, parameters| Line { id, address, says, message, parameters };
    vec![
        line(
            "build",
            address("build", &["distributor"]),
            "Builds, and garbage collection, for the builders of one distributor.",
            "job",
            &["distributor"],
        ),
        line(
            "site",
            address("site", &["subscriber", "channel"]),
            "Sends and extracts for one subscriber and one channel: its lane.",
            "job",
            &["subscriber", "channel"],
        ),
        line(
            "siteControl",
            format!("{}.control", address("site", &["subscriber"])),
            "What reaches a site outside its lanes: cancel, pause, resume, settings, children's keys.",
            "control",
            &["subscriber"],
        ),
        line("reports", QueueName::Reports.to_string(), "What workers say of their jobs; durable.", "report", &[]),
        line(
            "progress",
            QueueName::Progress.to_string(),
            "Progress and presence: transient messages, the oldest dropped when it is full.",
            "beat",
            &[],
        ),
    ]
}

fn address(queue: &str, parameters: &[&str]) -> String {
    let parameters: String = parameters.iter().map(|parameter| format!(".{{{parameter}}}")).collect();
    format!("tidegate.{queue}{parameters}")
}

fn channels() -> Value {
    let mut channels = Map::new();
    channels.insert("requests".into(), requests_channel());
    channels.insert("replies".into(), replies_channel());
    for line in lines() {
        channels.insert(line.id.into(), queue_channel(&line));
    }
    channels.insert("builderControl".into(), builder_control_channel());
    channels.insert("dead".into(), dead_channel());
    Value::Object(channels)
}

fn requests_channel() -> Value {
    json!({
        "address": REQUESTS_EXCHANGE,
        "description": "The exchange that any AMQP 0-9-1 client may post a request to, with any routing key. Publish \
                        with `mandatory` and wait for the confirm: then the request is on disk. The same request may be \
                        posted again with the same `id`.",
        "messages": { "request": { "$ref": "#/components/messages/request" } },
        "bindings": { "amqp": exchange_binding(REQUESTS_EXCHANGE, "topic") },
    })
}

fn replies_channel() -> Value {
    json!({
        "address": null,
        "description": "The queue that the request named in `reply_to`.",
        "messages": { "reply": { "$ref": "#/components/messages/reply" } },
    })
}

fn queue_channel(line: &Line) -> Value {
    let message = line.message;
    let mut channel = json!({
        "address": line.address,
        "description": line.says,
        "messages": { message: { "$ref": format!("#/components/messages/{message}") } },
        "bindings": queue_binding(&line.address),
    });
    if !line.parameters.is_empty() {
        let of = |name: &&str| {
            ((*name).to_owned(), json!({ "description": format!("The {name}'s name: [a-z0-9][a-z0-9-]{{0,62}}.") }))
        };
        channel["parameters"] = Value::Object(line.parameters.iter().map(of).collect());
    }
    channel
}

fn builder_control_channel() -> Value {
    let name = QueueName::BuilderControl.to_string();
    json!({
        "address": name,
        "description": "The same for all builders: a fanout exchange, to which each binds a queue of its own.",
        "messages": { "control": { "$ref": "#/components/messages/control" } },
        "bindings": { "amqp": exchange_binding(&name, "fanout") },
    })
}

/// What could not be read or routed: any body, so no payload is promised.
fn dead_channel() -> Value {
    let name = QueueName::Dead.to_string();
    json!({
        "address": name,
        "description": "Dead letters: the original body, its reason in headers. The recorder keeps them as rows.",
        "messages": { "dead": { "$ref": "#/components/messages/dead" } },
        "bindings": queue_binding(&name),
    })
}

fn exchange_binding(name: &str, kind: &str) -> Value {
    json!({
        "is": "routingKey",
        "exchange": { "name": name, "type": kind, "durable": true, "autoDelete": false, "vhost": "/" },
        "bindingVersion": BINDING_VERSION,
    })
}

fn queue_binding(name: &str) -> Value {
    json!({ "amqp": {
        "is": "queue",
        "queue": { "name": name, "durable": true, "exclusive": false, "autoDelete": false, "vhost": "/" },
        "bindingVersion": BINDING_VERSION,
    } })
}

fn operations() -> Value {
    let mut operations = Map::new();
    operations.insert(
        "postRequest".into(),
        json!({
            "action": "receive",
            "summary": "Asks for a build, send, extract, sync, refresh, cancel, retry, rollback or collect.",
            "channel": { "$ref": "#/channels/requests" },
            "messages": [{ "$ref": "#/channels/requests/messages/request" }],
            "reply": {
                "address": {
                    "location": "$message.header#/reply_to",
                    "description": "The AMQP property `reply_to`; the answer carries the request's `correlation_id`.",
                },
                "channel": { "$ref": "#/channels/replies" },
                "messages": [{ "$ref": "#/channels/replies/messages/reply" }],
            },
        }),
    );
    for line in lines() {
        let id = line.id;
        operations.insert(format!("take{}{}", id[..1].to_uppercase(), &id[1..]), taken(id, line.message));
    }
    operations.insert("takeBuilderControl".into(), taken("builderControl", "control"));
    Value::Object(operations)
}

fn taken(channel: &str, message: &str) -> Value {
    json!({
        "action": "receive",
        "channel": { "$ref": format!("#/channels/{channel}") },
        "messages": [{ "$ref": format!("#/channels/{channel}/messages/{message}") }],
    })
}

fn messages() -> Value {
    json!({
        "request": request_message(),
        "reply": message("reply", "Whether a request was accepted, and if not, why."),
        "job": message("job", "A job on its way to a worker."),
        "control": message("control", "What reaches a worker beside its jobs."),
        "report": message("report", &format!("What a worker says of its jobs, up to {BATCH_MAX} at a time.")),
        "beat": message("beat", "A transient sign of life."),
        "dead": {
            "name": "dead",
            "summary": "A message that nobody could take.",
            "contentType": "application/octet-stream",
            "payload": {},
        },
    })
}

fn request_message() -> Value {
    let one = json!({ "$ref": "./request.schema.json" });
    let list = json!({ "type": "array", "minItems": 1, "maxItems": BATCH_MAX, "items": one });
    let summary = format!(
        "What a person, a schedule or a program asks for: one request, or a list of up to {BATCH_MAX}, each of which is stored \
         and answered by itself."
    );
    json!({
        "name": "request",
        "summary": summary,
        "contentType": "application/json",
        "payload": { "oneOf": [one, list] },
    })
}

fn message(name: &str, summary: &str) -> Value {
    json!({
        "name": name,
        "summary": summary,
        "contentType": "application/json",
        "payload": { "$ref": format!("./{name}.schema.json") },
    })
}
