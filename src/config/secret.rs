//! Secrets, and the one redactor that guards what leaves the process.
//!
//! A [`Secret`] prints as `…` and is known to [`redact`] from the moment it
//! exists, so that a key that strays into a URL, an error or a log line is
//! still never shown.

use std::borrow::Cow;
use std::fmt;
use std::sync::{Mutex, PoisonError};

/// Every secret of this process, for [`redact`].
static KNOWN: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Shorter values occur in ordinary text: hiding them would garble messages.
const SHORTEST: usize = 6;

/// A value that must not be seen.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes a value into hiding.
    pub fn new(value: impl Into<String>) -> Self {
        let value = value.into();
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        if value.len() >= SHORTEST && !known.contains(&value) {
            known.push(value.clone());
            // Of two where one begins the other, the longer is hidden first.
            known.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        }
        Self(value)
    }

    /// The value itself, for the one header or body that carries it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// `text` with every known secret replaced by `…`.
pub fn redact(text: &str) -> Cow<'_, str> {
    let known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut shown = Cow::Borrowed(text);
    for secret in known.iter() {
        if shown.contains(secret.as_str()) {
            shown = Cow::Owned(shown.replace(secret.as_str(), "…"));
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_shown_by_nothing() {
        let secret = Secret::new("phx_of_this_test");

        assert_eq!(format!("{secret} {secret:?}"), "… …");
        assert_eq!(redact("key=phx_of_this_test&x=1"), "key=…&x=1");
    }
}
