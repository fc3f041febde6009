//! Bodies of messages into values. It knows no queue; the fault says what is wrong, and is always permanent.

use schemas::{Control, Fault, JobMessage, MESSAGE_BYTES_MAX, SCHEMA};
use serde::de::DeserializeOwned;

pub fn job(body: &[u8]) -> Result<JobMessage, Fault> {
    let message: JobMessage = json(body)?;
    if message.schema != SCHEMA {
        return Err(Fault::permanent(
            "schema-unknown",
            format!("job {} has schema {}; this version reads {SCHEMA}", message.job, message.schema),
        ));
    }
    Ok(message)
}

pub fn control(body: &[u8]) -> Result<Control, Fault> {
    json(body)
}

fn json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Fault> {
    if body.len() > MESSAGE_BYTES_MAX {
        return Err(Fault::permanent(
            "message-too-large",
            format!("a message of {} bytes; at most {MESSAGE_BYTES_MAX} are read", body.len()),
        ));
    }
    serde_json::from_slice(body).map_err(|error| Fault::permanent("message-malformed", error.to_string()))
}
