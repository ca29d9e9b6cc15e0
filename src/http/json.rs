//! An answer that is small enough to be kept whole.

use serde::de::DeserializeOwned;

use super::{BadBody, Intake, Stopped};

/// More than this is no small answer.
const MOST: usize = 32 << 20;

/// Keeps an answer and reads it as a `T`.
#[derive(Debug)]
pub struct Json<T> {
    body: Vec<u8>,
    value: Option<T>,
}

impl<T> Default for Json<T> {
    fn default() -> Self {
        Self { body: Vec::new(), value: None }
    }
}

impl<T> Json<T> {
    /// What was answered; nothing before the answer is whole.
    pub fn into_value(self) -> Option<T> {
        self.value
    }
}

impl<T: DeserializeOwned + Send> Intake for Json<T> {
    async fn restart(&mut self) -> Result<(), Stopped> {
        self.body.clear();
        Ok(())
    }

    async fn take(&mut self, bytes: &[u8]) -> Result<(), BadBody> {
        if self.body.len() + bytes.len() > MOST {
            return Err(BadBody::TooMuch(format!("the answer is longer than {MOST} bytes")));
        }
        self.body.extend_from_slice(bytes);
        Ok(())
    }

    async fn finish(&mut self) -> Result<(), BadBody> {
        let value = serde_json::from_slice(&self.body);
        self.value = Some(value.map_err(|error| BadBody::NotJson(error.to_string()))?);
        Ok(())
    }
}
