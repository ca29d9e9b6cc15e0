//! Who calls: write keys, and where a request may carry one.
//!
//! SDKs send the key as the user of basic authentication; browsers, which send beacons without
//! headers, in the query or in the body. Whatever comes first counts, in this order: the header, the
//! query, the body. The password is not looked at, and neither is a bearer token: it says nothing
//! of the key.

use axum::http::{HeaderMap, header};
use url::form_urlencoded;

use crate::base64;
use crate::config::secret::Secret;

/// The write keys that are taken, and the place of each one's destination.
#[derive(Debug, Clone)]
pub struct WriteKeys(Vec<(Secret, usize)>);

impl WriteKeys {
    /// These keys, each with the place of its destination.
    pub fn new(keys: Vec<(Secret, usize)>) -> Self {
        Self(keys)
    }

    /// The place of the destination of a key, if it is one of ours.
    pub fn destination(&self, key: &str) -> Option<usize> {
        self.0.iter().find(|(known, _)| known.expose() == key).map(|(_, place)| *place)
    }
}

/// The write key that a request carries outside of its body.
pub(super) fn key_outside(headers: &HeaderMap, query: &str) -> Option<String> {
    let header = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    header.and_then(user).or_else(|| in_query(query))
}

/// The user of `Basic …`; some write the key alone, without the colon.
fn user(header: &str) -> Option<String> {
    let (scheme, credentials) = header.trim().split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(base64::decode(credentials.trim())?).ok()?;
    let user = text.split(':').next().unwrap_or_default().trim();
    (!user.is_empty()).then(|| user.to_owned())
}

fn in_query(query: &str) -> Option<String> {
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    let found = pairs.find(|(name, _)| name == "writeKey").map(|(_, key)| key.trim().to_owned());
    found.filter(|key| !key.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn carried(authorization: &str, query: &str) -> Option<String> {
        let mut headers = HeaderMap::new();
        if !authorization.is_empty() {
            headers.insert(header::AUTHORIZATION, authorization.parse().unwrap());
        }
        key_outside(&headers, query)
    }

    #[test]
    fn a_key_is_found_where_senders_put_it() {
        let basic = |text: &str| format!("Basic {}", base64::encode(text.as_bytes()));
        for (authorization, query, expected) in [
            (basic("wk_web:"), "", Some("wk_web")),
            (basic("wk_web"), "", Some("wk_web")),
            (basic("wk_web:whatever"), "", Some("wk_web")),
            (basic("wk_web:").replace("Basic", "basic"), "", Some("wk_web")),
            // Without padding.
            (basic("wk_web:").trim_end_matches('=').to_owned(), "", Some("wk_web")),
            (basic("wk_web:"), "writeKey=wk_other", Some("wk_web")),
            (String::new(), "a=b&writeKey=wk%5Fweb", Some("wk_web")),
            ("Bearer token".to_owned(), "writeKey=wk_web", Some("wk_web")),
            ("Bearer token".to_owned(), "", None),
            ("Basic ???".to_owned(), "", None),
            (basic(":"), "", None),
            (basic(""), "writeKey=", None),
        ] {
            assert_eq!(carried(&authorization, query).as_deref(), expected, "{authorization}");
        }
    }

    #[test]
    fn a_key_leads_to_its_destination_and_is_shown_by_nothing() {
        let keys = WriteKeys::new(vec![
            (Secret::new("wk_of_the_shop"), 0),
            (Secret::new("wk_of_the_blog"), 1),
        ]);

        assert_eq!(keys.destination("wk_of_the_blog"), Some(1));
        assert_eq!(keys.destination("wk_of_the_blo"), None);
        assert_eq!(keys.destination(""), None);
        assert!(!format!("{keys:?}").contains("wk_"));
    }
}
