//! The log of messages that became no event: a JSON object a line, with the message itself.
//!
//! A caller hears of a rejected message, and few callers listen; here it stays for whoever mends the
//! sender. Lines are only ever added. Write keys are taken out.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::answer::Rejected;
use crate::config::secret::redact;
use crate::cursor::Timestamp;

/// A log of rejected messages; without a file, the program's own log tells of them.
#[derive(Debug)]
pub struct Rejects(Option<(PathBuf, Mutex<File>)>);

impl Rejects {
    /// No file: a warning for each, without the message.
    pub fn told() -> Self {
        Self(None)
    }

    /// The log in a file, behind what stands there.
    ///
    /// # Errors
    ///
    /// It cannot be opened.
    pub fn in_file(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        Ok(Self(Some((path.to_owned(), Mutex::new(file)))))
    }

    /// Adds a message.
    pub(super) fn add(&self, rejected: &Rejected, message: &RawValue, at: Timestamp) {
        let Rejected { message_id, code, reason, .. } = rejected;
        let Some((path, file)) = &self.0 else {
            let id = message_id.as_deref().unwrap_or("none");
            tracing::warn!(code, id, "a message was rejected: {reason}");
            return;
        };
        let line = json!({
            "at": at.to_string(),
            "code": code,
            "reason": reason,
            "messageId": message_id,
            "message": without_write_key(message),
        });
        let line = format!("{}\n", redact(&line.to_string()));
        let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(err) = file.write_all(line.as_bytes()) {
            tracing::error!(code, "{} cannot be written: {err}; {reason}", path.display());
        }
    }
}

/// The message, or its text where that cannot be read.
fn without_write_key(message: &RawValue) -> Value {
    match serde_json::from_str(message.get()) {
        Ok(Value::Object(mut fields)) => {
            fields.remove("writeKey");
            Value::Object(fields)
        }
        Ok(other) => other,
        Err(_) => message.get().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_rejected_can_be_read_line_by_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rejects.jsonl");
        let at = Timestamp::parse("2026-11-27T12:00:00Z").unwrap();
        let rejected = |id: &str| Rejected {
            index: 3,
            message_id: Some(id.to_owned()),
            code: "event_missing".to_owned(),
            reason: "`event` is missing".to_owned(),
        };
        let message = |text: &str| RawValue::from_string(text.to_owned()).unwrap();

        let add = |id: &str, text: &str| {
            Rejects::in_file(&path).unwrap().add(&rejected(id), &message(text), at);
        };
        add("m-1", "{\"writeKey\":\"wk_web\",\n \"userId\":\"u1\"}");
        add("m-2", "{\"name\":\"\\ud83d\"}");

        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let line = |id: &str, message: Value| {
            json!({ "at": "2026-11-27T12:00:00.000000Z", "code": "event_missing",
                "reason": "`event` is missing", "messageId": id, "message": message })
        };
        assert_eq!(
            lines,
            [line("m-1", json!({ "userId": "u1" })), line("m-2", json!("{\"name\":\"\\ud83d\"}"))]
        );
    }
}
