//! A word to an address that the user names: told once, never asked for again.
//!
//! The address is a secret, since whoever knows it can write there: only its host is shown.
//! The key is not sent to it.

use std::fmt;
use std::time::Duration;

use url::{Position, Url};

use super::client::post_once;
use crate::config::secret::Secret;

/// How long it may take: nobody waits for more at the end of a run.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where news is sent.
pub struct Webhook {
    url: Url,
}

impl Webhook {
    /// Takes an address into hiding; nothing where it is none.
    pub fn at(address: &str) -> Option<Self> {
        let is_web = |url: &Url| matches!(url.scheme(), "http" | "https") && url.has_host();
        let url = Url::parse(address).ok();
        // Also where it is refused, and as it is spelt out.
        for secret in [Some(address), url.as_ref().map(Url::as_str)].into_iter().flatten() {
            drop(Secret::new(secret));
        }
        Some(Self { url: url.filter(is_web)? })
    }

    /// Its host, and port where it is not the usual one.
    pub fn host(&self) -> &str {
        &self.url[Position::BeforeHost..Position::AfterPort]
    }

    /// Sends JSON there.
    ///
    /// # Errors
    ///
    /// Why it was not taken.
    pub async fn tell(&self, json: String) -> Result<(), String> {
        match post_once(&self.url, json, PATIENCE).await? {
            200..=299 => Ok(()),
            status => Err(format!("{} answered {status}", self.host())),
        }
    }
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Webhook({}/…)", self.host())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::secret::redact;

    #[test]
    fn an_address_is_hidden_but_for_its_host() {
        let address = "https://hooks.example.com:8443/services/T1/B2/c3?d";
        let webhook = Webhook::at(address).unwrap();

        assert_eq!(webhook.host(), "hooks.example.com:8443");
        assert_eq!(format!("{webhook:?}"), "Webhook(hooks.example.com:8443/…)");
        assert_eq!(redact(&format!("POST {address}")), "POST …");
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in ["hooks.example.com/x1", "file:///etc/passwd", "https://", "mailto:a@b.example"]
        {
            assert!(Webhook::at(text).is_none(), "{text}");
        }
    }
}
