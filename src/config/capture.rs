//! A connection for sending: which capture host, which project's token.
//!
//! It may be the connection that a replication reads from, with `project_api_key` in its
//! secrets; the personal key and the project's id are not needed, and never sent. PostHog's cloud
//! takes events at other hosts than it answers questions (posthog-api.md §1). Whether the token is
//! any project's is not judged here: only PostHog knows.

use super::complaint::Complaints;
use super::node::Node;
use super::posthog::{Inputs, Opened, SecretFields, Surroundings, moved, url_of};
use super::secret::Secret;

/// The longest token that PostHog takes (posthog-api.md §8.4).
const LONGEST: usize = 64;

/// A project that events are sent to.
#[derive(Debug, Clone, PartialEq)]
pub struct CaptureConnection {
    /// The connection's name; its host where it has none.
    pub name: String,
    /// `scheme://host[:port]` of the capture host, lower-case, without a slash at the end.
    pub origin: String,
    /// The project's token.
    pub token: Secret,
    /// How patient the network is to be met.
    pub inputs: Inputs,
}

impl CaptureConnection {
    /// The project with this token at this host.
    ///
    /// # Errors
    ///
    /// What is wrong with the host or the token; neither is repeated.
    pub fn at(host: &str, token: &str) -> Result<Self, String> {
        let secret = Secret::new(token.trim());
        let origin =
            capture_origin_of(host.trim()).map_err(|message| format!("host: {message}"))?;
        judge_token(secret.expose()).map_err(|message| format!("key: {message}"))?;
        let name = origin.split_once("://").map_or(origin.as_str(), |(_, host)| host).to_owned();
        Ok(Self { name, origin, token: secret, inputs: Inputs::default() })
    }

    /// Reads the connection `name`, defined by `node`.
    pub(super) fn read(
        name: &str,
        node: &Node,
        path: &str,
        surroundings: &Surroundings<'_>,
        complaints: &Complaints,
    ) -> Option<Self> {
        let other = "expected api: events go to { type: api, spec: posthog, … }";
        let Opened { mut secrets, inputs, .. } =
            Opened::read(node, path, surroundings, complaints, other)?;
        // Not needed, and still nobody's business.
        secrets.value("api_key").map(Secret::new);
        secrets.value("project_id");
        let connection = Self {
            name: name.to_owned(),
            origin: secrets.host_read(capture_origin_of).unwrap_or_default(),
            token: token(&mut secrets),
            inputs,
        };
        secrets.fields.finish();
        Some(connection)
    }
}

fn token(secrets: &mut SecretFields<'_, '_, '_>) -> Secret {
    let token = Secret::new(secrets.required("project_api_key").unwrap_or_default());
    if !token.expose().is_empty() {
        judge_token(token.expose()).unwrap_or_else(|message| {
            secrets.fields.complain("project_api_key", message);
        });
    }
    token
}

/// Whether PostHog would take a token of this shape.
fn judge_token(token: &str) -> Result<(), &'static str> {
    match token {
        "" => Err("is empty: it is the project token (phc_…), under Settings → Project"),
        _ if token.starts_with("phx_") => Err(
            "begins with phx_, as a personal API key does, and PostHog takes no events with one: \
             use the project token (phc_…), under Settings → Project",
        ),
        _ if token.len() > LONGEST || !token.bytes().all(|byte| byte.is_ascii_graphic()) => {
            Err("has a form that no project token has: copy it again, it begins with phc_, under \
             Settings → Project")
        }
        _ => Ok(()),
    }
}

/// The origin at which the host that is meant takes events.
fn capture_origin_of(host: &str) -> Result<String, &'static str> {
    let url = url_of(host)?;
    match url.host_str() {
        Some("us.posthog.com" | "app.posthog.com") => moved(url, "us.i.posthog.com"),
        Some("eu.posthog.com") => moved(url, "eu.i.posthog.com"),
        _ => Ok(url.origin().ascii_serialization()),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::variables::Environment;
    use super::super::yaml::parse;
    use super::*;

    fn read(secrets: &str) -> Result<CaptureConnection, String> {
        let yaml = format!("{{ type: api, spec: posthog,\nsecrets: {{ {secrets} }} }}");
        let complaints = Complaints::hiding_values();
        let environment = Environment::new();
        let surroundings = Surroundings { environment: &environment, cwd: Path::new("") };
        let node = parse(&yaml).unwrap();
        let connection = CaptureConnection::read("HOG", &node, "", &surroundings, &complaints);
        let told = complaints.into_result("f", Some(&yaml)).map_err(|error| error.to_string());
        told.map(|()| connection.unwrap())
    }

    #[test]
    fn events_need_the_project_token_and_nothing_else() {
        let alone = read("project_api_key: phc_hunter22").unwrap();
        let both = read(
            "project_api_key: phc_hunter22, api_key: phx_hunter22, project_id: 1, host: eu.posthog.com",
        );

        assert_eq!(
            (alone.origin.as_str(), alone.token.expose()),
            ("https://us.i.posthog.com", "phc_hunter22")
        );
        assert_eq!(both.unwrap().origin, "https://eu.i.posthog.com");
        assert_eq!(
            read("api_key: phx_hunter22, project_id: 1").unwrap_err(),
            "f:2:10: secrets: missing key \"project_api_key\""
        );
        let told = read("project_api_key: phx_hunter22").unwrap_err();
        assert!(told.starts_with("f:2:29: secrets.project_api_key: begins with phx_"), "{told}");
        assert!(!told.contains("hunter22"), "{told}");
    }

    #[test]
    fn events_go_to_the_host_that_takes_them() {
        for (host, origin) in [
            ("us.posthog.com", "https://us.i.posthog.com"),
            ("https://app.posthog.com/", "https://us.i.posthog.com"),
            ("eu.posthog.com", "https://eu.i.posthog.com"),
            ("https://eu.i.posthog.com", "https://eu.i.posthog.com"),
            ("http://localhost:8000/", "http://localhost:8000"),
        ] {
            let connection = CaptureConnection::at(host, "phc_hunter22").unwrap();
            assert_eq!(connection.origin, origin, "{host}");
        }
        for (host, token, expected) in [
            ("https://x/ingest", "phc_hunter22", "host: only scheme, host and port"),
            ("x", "", "key: is empty"),
            ("x", "phx_hunter22", "key: begins with phx_"),
            ("x", "phc_hunter 22", "key: has a form that no project token has"),
        ] {
            let told = CaptureConnection::at(host, token).unwrap_err();
            assert!(told.starts_with(expected), "{told}");
        }
    }
}
