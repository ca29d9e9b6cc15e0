//! What a batch says for all its messages: `{ batch: […], context, integrations, sentAt }`.

use serde_json::{Map, Value};

use super::Rejection;
use super::fields::lay_under;
use super::message::object;

/// What a batch says beside its messages.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Envelope(Map<String, Value>);

impl Envelope {
    /// Reads what stands beside `batch`. All else there is the gateway's business.
    ///
    /// # Errors
    ///
    /// `context` or `integrations` is no object.
    pub fn read(body: &Map<String, Value>) -> Result<Self, Rejection> {
        let mut common = Map::new();
        for field in ["context", "integrations"] {
            if let Some(object) = object(body, field)? {
                common.insert(field.to_owned(), Value::Object(object.clone()));
            }
        }
        if let Some(sent_at) = body.get("sentAt") {
            common.insert("sentAt".to_owned(), sent_at.clone());
        }
        Ok(Self(common))
    }

    /// Gives a message what it does not say itself.
    pub fn complete(&self, message: &mut Map<String, Value>) {
        message.retain(|field, value| !(value.is_null() && self.0.contains_key(field)));
        lay_under(message, &self.0);
    }
}
