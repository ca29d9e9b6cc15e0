//! An event as somebody asks for it, before the rules have seen it.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What is to become an event. Nothing in it is checked yet.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Draft {
    /// The message's own identity: a UUID is kept, any other text becomes the UUID made of it.
    pub id: Option<String>,
    /// What happened.
    pub event: Option<String>,
    /// Who did it.
    pub distinct_id: Option<String>,
    /// When, as the caller wrote it.
    pub timestamp: Option<String>,
    /// All else.
    pub properties: Map<String, Value>,
}
