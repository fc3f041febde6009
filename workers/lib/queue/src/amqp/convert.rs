//! Between lapin's types and ours. It knows no connection.

use std::collections::BTreeMap;

use bytes::Bytes;
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{BasicProperties, ErrorKind};

use crate::{Delivery, Outgoing, QueueError, Settle};

const PERSISTENT: u8 = 2;
const TRANSIENT: u8 = 1;

/// AMQP's codes for what the broker refuses for good, as opposed to what time heals.
const ACCESS_REFUSED: u16 = 403;
const NOT_FOUND: u16 = 404;
const PRECONDITION_FAILED: u16 = 406;
const NOT_ALLOWED: u16 = 530;

pub(super) fn error(error: lapin::Error) -> QueueError {
    let reason = text(&error);
    let ErrorKind::ProtocolError(amqp) = error.kind() else { return QueueError::Unavailable { reason } };
    match amqp.get_id() {
        NOT_FOUND => QueueError::Unroutable { queue: reason },
        ACCESS_REFUSED | PRECONDITION_FAILED | NOT_ALLOWED => QueueError::Refused { reason },
        _ => QueueError::Unavailable { reason },
    }
}

/// What happened, in the broker's words where there are some.
pub(super) fn text(error: &lapin::Error) -> String {
    match error.kind() {
        ErrorKind::ProtocolError(amqp) => amqp.get_message().to_string(),
        _ => error.to_string(),
    }
}

pub(super) fn short(text: &str) -> Result<ShortString, QueueError> {
    ShortString::try_new(text).map_err(|_| QueueError::Refused {
        reason: format!("`{text:.40}…` is longer than the 255 bytes AMQP allows"),
    })
}

pub(super) fn properties(
    message: &Outgoing,
    transient: bool,
    user_id: Option<&str>,
) -> Result<BasicProperties, QueueError> {
    let mut properties = BasicProperties::default()
        .with_content_type("application/json".into())
        .with_delivery_mode(if transient { TRANSIENT } else { PERSISTENT });
    if let Some(id) = &message.message_id {
        properties = properties.with_message_id(short(id)?);
    }
    if let Some(id) = &message.correlation_id {
        properties = properties.with_correlation_id(short(id)?);
    }
    if let Some(queue) = &message.reply_to {
        properties = properties.with_reply_to(short(queue)?);
    }
    if let Some(user) = user_id {
        properties = properties.with_user_id(short(user)?);
    }
    if !message.headers.is_empty() {
        let mut table = FieldTable::default();
        for (name, value) in &message.headers {
            table.insert(short(name)?, AMQPValue::LongString(value.as_str().into()));
        }
        properties = properties.with_headers(table);
    }
    Ok(properties)
}

pub(super) fn delivery(
    data: Vec<u8>,
    redelivered: bool,
    properties: &BasicProperties,
    settle: Box<dyn Settle>,
) -> Delivery {
    let text = |value: &Option<ShortString>| value.as_ref().map(ToString::to_string);
    Delivery {
        body: Bytes::from(data),
        redelivered,
        user_id: text(properties.user_id()),
        message_id: text(properties.message_id()),
        correlation_id: text(properties.correlation_id()),
        reply_to: text(properties.reply_to()),
        headers: properties.headers().as_ref().map(headers).unwrap_or_default(),
        settle: Some(settle),
    }
}

/// Texts, numbers and flags; what is nested (`x-death`) is left out.
fn headers(table: &FieldTable) -> BTreeMap<String, String> {
    let text = |value: &AMQPValue| match value {
        AMQPValue::LongString(text) => Some(String::from_utf8_lossy(text.as_bytes()).into_owned()),
        AMQPValue::ShortString(text) => Some(text.to_string()),
        AMQPValue::Boolean(value) => Some(value.to_string()),
        AMQPValue::ShortShortInt(value) => Some(value.to_string()),
        AMQPValue::ShortShortUInt(value) => Some(value.to_string()),
        AMQPValue::ShortInt(value) => Some(value.to_string()),
        AMQPValue::ShortUInt(value) => Some(value.to_string()),
        AMQPValue::LongInt(value) => Some(value.to_string()),
        AMQPValue::LongUInt(value) => Some(value.to_string()),
        AMQPValue::LongLongInt(value) => Some(value.to_string()),
        _ => None,
    };
    table.inner().iter().filter_map(|(name, value)| Some((name.to_string(), text(value)?))).collect()
}
