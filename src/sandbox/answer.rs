//! What is asked and what is answered, before and after they are HTTP.
//!
//! A [`Question`] is a request taken apart, an [`Answer`] a response not yet
//! sent. PostHog's error bodies are made here, in its four fields.

use serde_json::{Value, json};
use url::form_urlencoded;

/// One request, taken apart.
#[derive(Debug, Clone, Default)]
pub(super) struct Question {
    /// `GET`, `POST`…
    pub(super) method: String,
    /// The path, without what follows `?`.
    pub(super) path: String,
    /// The path and what follows `?`, as it was sent.
    pub(super) target: String,
    /// The parameters, decoded, in their order.
    pub(super) parameters: Vec<(String, String)>,
    /// The header `Host`.
    pub(super) host: String,
    /// Headers, by name in lower case.
    pub(super) headers: Vec<(String, String)>,
    /// The header `Authorization`.
    pub(super) authorization: Option<String>,
    /// Whether the answer may be compressed.
    pub(super) takes_gzip: bool,
    /// The body; of capture decompressed.
    pub(super) body: Vec<u8>,
    /// How many bytes came.
    pub(super) size: usize,
}

impl Question {
    /// The last value of a parameter.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The value of a header, named in lower case.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// A parameter as a count; what is no count is the default, without a word.
    pub(super) fn count(&self, name: &str, default: usize) -> usize {
        self.parameter(name).and_then(|text| text.parse().ok()).unwrap_or(default)
    }

    /// A parameter as a switch.
    pub(super) fn is_on(&self, name: &str) -> bool {
        self.parameter(name).is_some_and(|text| matches!(text, "true" | "1" | "True"))
    }

    /// This address with some parameters replaced, where they stand or at the end.
    pub(super) fn link(&self, changes: &[(&str, String)]) -> String {
        let mut parameters = self.parameters.clone();
        for (name, value) in changes {
            match parameters.iter_mut().find(|(key, _)| key == name) {
                Some((_, old)) => value.clone_into(old),
                None => parameters.push(((*name).to_owned(), value.clone())),
            }
        }
        self.address(&parameters)
    }

    /// This address with its parameters sorted by name; one without a value is left out.
    pub(super) fn sorted_link(&self, changes: &[(&str, Option<String>)]) -> String {
        let mut parameters = self.parameters.clone();
        for (name, value) in changes {
            parameters.retain(|(key, _)| key != name);
            parameters.extend(value.iter().map(|value| ((*name).to_owned(), value.clone())));
        }
        parameters.sort();
        self.address(&parameters)
    }

    fn address(&self, parameters: &[(String, String)]) -> String {
        let query =
            form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
        let mark = if query.is_empty() { "" } else { "?" };
        format!("http://{}{}{mark}{query}", self.host, self.path)
    }
}

/// One answer, not yet sent.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    /// The HTTP status.
    pub(super) status: u16,
    /// The header `Content-Type`.
    pub(super) kind: &'static str,
    /// Further headers.
    pub(super) headers: Vec<(String, String)>,
    /// The body, not yet compressed.
    pub(super) body: Vec<u8>,
}

/// What `Content-Type` says of JSON.
pub(super) const JSON: &str = "application/json";

impl Answer {
    /// A JSON text under a status.
    pub(super) fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, kind: JSON, headers: Vec::new(), body: body.into() }
    }

    /// A JSON value with 200.
    pub(super) fn value(value: &Value) -> Self {
        Self::new(200, value.to_string())
    }

    /// A plain text, as capture answers what it refuses.
    pub(super) fn plain(status: u16, text: &str) -> Self {
        Self { kind: "text/plain; charset=utf-8", ..Self::new(status, text) }
    }

    /// An HTML page, as load balancers send them.
    pub(super) fn html(status: u16) -> Self {
        let page = format!(
            "<html><head><title>{status}</title></head><body><h1>{status}</h1></body></html>"
        );
        Self { kind: "text/html", ..Self::new(status, page) }
    }

    /// The same with one header more.
    pub(super) fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// An error body of PostHog's.
    pub(super) fn problem(status: u16, kind: &str, code: &str, detail: &str) -> Self {
        let body = json!({ "type": kind, "code": code, "detail": detail, "attr": null });
        Self::new(status, body.to_string())
    }

    /// 400: the request says something that cannot be.
    pub(super) fn invalid(detail: &str) -> Self {
        Self::problem(400, "validation_error", "invalid_input", detail)
    }

    /// 404, of a row, a project or an endpoint.
    pub(super) fn not_found(detail: &str) -> Self {
        Self::problem(404, "invalid_request", "not_found", detail)
    }

    /// 403, with the reason.
    pub(super) fn denied(detail: &str) -> Self {
        Self::problem(403, "authentication_error", "permission_denied", detail)
    }

    /// 401, with the header that goes with it.
    pub(super) fn unauthorized(code: &str, detail: &str) -> Self {
        Self::problem(401, "authentication_error", code, detail)
            .with("WWW-Authenticate", r#"Bearer realm="api""#)
    }

    /// 429; with a wait where it is known.
    pub(super) fn throttled(wait: Option<u64>) -> Self {
        let Some(seconds) = wait else {
            return Self::problem(429, "throttled_error", "throttled", "Request was throttled.");
        };
        let detail = format!("Request was throttled. Expected available in {seconds} seconds.");
        Self::problem(429, "throttled_error", "throttled", &detail)
            .with("Retry-After", seconds.to_string())
    }

    /// 500, the one that explains nothing.
    pub(super) fn server_error() -> Self {
        Self::problem(500, "server_error", "error", "A server error occurred.")
    }
}
