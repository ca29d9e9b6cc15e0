//! What was not sent, a JSON object a line: the line it stood in, the word and the reason, and what
//! stood there.
//!
//! The file is made when there is something to write. What an earlier run left there is replaced:
//! the same input is rejected for the same reasons.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::config::secret::redact;
use crate::send::rules::Rejection;

/// The rejects of one input.
pub(in crate::command) struct Rejects {
    path: PathBuf,
    file: Option<BufWriter<File>>,
    /// How many there are.
    pub(in crate::command) count: u64,
}

impl Rejects {
    /// None yet.
    pub(in crate::command) fn at(path: PathBuf) -> Self {
        Self { path, file: None, count: 0 }
    }

    /// Where they are, if there are any.
    pub(in crate::command) fn path(&self) -> Option<&Path> {
        self.file.as_ref().map(|_| self.path.as_path())
    }

    /// Writes down what was not sent.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub(super) fn add(
        &mut self,
        line: i64,
        rejection: &Rejection,
        text: &[u8],
    ) -> Result<(), String> {
        let Rejection { code, reason } = rejection;
        let event = serde_json::from_slice(text);
        let event = event.unwrap_or_else(|_| Value::String(String::from_utf8_lossy(text).into()));
        self.put(&json!({ "line": line, "code": code, "reason": reason, "event": event }))
    }

    /// Writes down what is told of something that was not sent.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub(in crate::command) fn put(&mut self, told: &Value) -> Result<(), String> {
        self.count += 1;
        let unwritten = |err| format!("{} cannot be written: {err}", self.path.display());
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(BufWriter::new(File::create(&self.path).map_err(unwritten)?)),
        };
        writeln!(file, "{}", redact(&told.to_string())).map_err(unwritten)
    }

    /// Writes what is held back.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub(in crate::command) fn finish(&mut self) -> Result<(), String> {
        let Some(file) = &mut self.file else { return Ok(()) };
        let flushed = file.flush().and_then(|()| file.get_ref().sync_all());
        flushed.map_err(|err| format!("{} cannot be written: {err}", self.path.display()))
    }
}
