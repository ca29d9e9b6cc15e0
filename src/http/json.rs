//! An answer that is small enough to be kept whole.

use serde::de::DeserializeOwned;

use super::{AskError, BadBody, Client, Intake, Meter, Request, Stopped};

/// More than this is no small answer.
const MOST: usize = 32 << 20;

impl Client {
    /// Puts a question until it is answered, and reads the answer as a `T`.
    ///
    /// # Errors
    ///
    /// The question will not be answered, or not in this run: see [`AskError`].
    pub async fn ask_json<T: DeserializeOwned + Send>(
        &self,
        request: &Request,
        meter: &Meter,
    ) -> Result<T, AskError> {
        let mut answer = Json { body: Vec::new(), value: None };
        self.ask(request, &mut answer, meter).await?;
        Ok(answer.value.expect("an answer that was accepted is whole"))
    }
}

/// Keeps an answer and reads it as a `T`.
struct Json<T> {
    body: Vec<u8>,
    value: Option<T>,
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
