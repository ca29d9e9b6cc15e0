//! The wire: addresses, headers, timeouts, and bodies piece by piece.
//!
//! The key travels in one header, marked sensitive, to the configured origin and
//! nowhere else: redirects are off, and addresses are built from that origin
//! alone. Timeouts measure the network only, never the receiver of a body. They
//! are a stream's watchdog: silence ends an attempt, and so does a trickle that is
//! never silent, since all of an answer has its time; attempts and waits are
//! counted. What else could stall a stream is the target, which fails by itself.
//!
//! The only user of reqwest. It keeps no part of a body that is accepted, and
//! judges no answer: see [`crate::http::verdict`].

use std::error::Error;
use std::fmt::Write;
use std::str::FromStr;
use std::time::Duration;

use reqwest::header::{
    AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, DATE, HeaderMap, HeaderName, HeaderValue,
    LOCATION, RETRY_AFTER,
};
use reqwest::{RequestBuilder, Response};
use tokio::time::Instant;
use url::{Host, Position, Url};

use crate::config::Timeouts;
use crate::config::secret::Secret;
use crate::cursor::Timestamp;
use crate::http::refusal::{Facts, Refusal, retry_after};
use crate::http::verdict::{Fault, Setback};
use crate::http::{ClientError, Intake, Method, Packed, Request, quote, spell};

/// For a connection to stand. Longer, and the host is not there.
const CONNECT: Duration = Duration::from_secs(10);

/// The most that is read of a refusal: its beginning says why.
const REFUSAL_BYTES: usize = 64 * 1024;

/// The way to one origin.
#[derive(Debug)]
pub(in crate::http) struct Transport {
    http: reqwest::Client,
    origin: Url,
    timeouts: Timeouts,
}

impl Transport {
    /// Sets up HTTP and TLS; connects to nothing yet.
    ///
    /// # Errors
    ///
    /// The origin or the key cannot be used, or there are no CA certificates.
    pub(in crate::http) fn new(
        text: &str,
        key: &Secret,
        timeouts: Timeouts,
    ) -> Result<Self, ClientError> {
        let origin = origin(text)?;
        let bearer = format!("Bearer {}", key.expose());
        let mut bearer = HeaderValue::from_str(&bearer).map_err(|_| ClientError::Key)?;
        bearer.set_sensitive(true);
        let http = connector(&origin, HeaderMap::from_iter([(AUTHORIZATION, bearer)]))?;
        Ok(Self { http, origin, timeouts })
    }

    /// The same without a key, for what carries its own; `headers` go with every request.
    ///
    /// # Errors
    ///
    /// The origin or a header cannot be used, or there are no CA certificates.
    pub(in crate::http) fn without_key(
        text: &str,
        headers: &[(String, String)],
        timeouts: Timeouts,
    ) -> Result<Self, ClientError> {
        let origin = origin(text)?;
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let refused = || ClientError::Header { name: name.clone() };
            let value = HeaderValue::from_str(value).map_err(|_| refused())?;
            map.append(HeaderName::from_str(name).map_err(|_| refused())?, value);
        }
        let http = connector(&origin, map)?;
        Ok(Self { http, origin, timeouts })
    }

    /// Scheme, host and port.
    pub(in crate::http) fn origin(&self) -> String {
        self.origin.origin().ascii_serialization()
    }

    /// Host, and port where it is not the usual one.
    pub(in crate::http) fn host(&self) -> &str {
        &self.origin[Position::BeforeHost..Position::AfterPort]
    }

    /// Sends a question and waits for the head of its answer. `now` stands in for
    /// the server's clock where the answer does not tell it.
    pub(in crate::http) async fn send(
        &self,
        request: &Request,
        now: Timestamp,
    ) -> Result<Answer, Fault> {
        let url = self.url(request);
        let builder = match request.method {
            Method::Get => self.http.get(url),
            Method::Post => self.http.post(url),
        };
        let builder = match &request.body {
            Some(body) => builder.json(body),
            None => builder,
        };
        self.answer(builder, now).await
    }

    /// Sends JSON to a path, which may have a query, and waits for the head of the answer.
    pub(in crate::http) async fn post(
        &self,
        place: &str,
        body: &Packed,
        now: Timestamp,
    ) -> Result<Answer, Fault> {
        let mut url = self.origin.clone();
        let (path, query) = place.split_once('?').map_or((place, None), |(p, q)| (p, Some(q)));
        url.set_path(path);
        url.set_query(query);
        let mut builder = self.http.post(url).header(CONTENT_TYPE, "application/json");
        if body.is_gzip {
            builder = builder.header(CONTENT_ENCODING, "gzip");
        }
        self.answer(builder.body(body.bytes.clone()), now).await
    }

    async fn answer(&self, builder: RequestBuilder, now: Timestamp) -> Result<Answer, Fault> {
        let mut deadline = Deadline { left: self.timeouts.whole };
        let response = deadline.within(self.timeouts.first_byte, builder.send()).await?;
        let facts = self.facts(&response, now);
        Ok(Answer { facts, response, deadline, between_bytes: self.timeouts.between_bytes })
    }

    /// The address of a question. Setting the path, unlike joining, cannot leave
    /// the origin: `//elsewhere/` stays a path.
    fn url(&self, request: &Request) -> Url {
        let mut url = self.origin.clone();
        url.set_path(&request.path);
        if !request.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&request.query);
        }
        debug_assert_eq!(url.origin(), self.origin.origin(), "a path never names a host");
        url
    }

    fn facts(&self, response: &Response, now: Timestamp) -> Facts {
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        let date = header(DATE).and_then(Timestamp::parse_http);
        let answered_at = date.unwrap_or(now);
        Facts {
            status: response.status().as_u16(),
            date,
            retry_after: header(RETRY_AFTER).and_then(|text| retry_after(text, answered_at)),
            location: header(LOCATION).map(|to| self.host_of(to)),
        }
    }

    /// The host a redirect points to. The rest of the address may hold anything.
    fn host_of(&self, location: &str) -> String {
        let target = self.origin.join(location).ok();
        let host = target.as_ref().and_then(Url::host_str).unwrap_or("an unreadable address");
        quote(host)
    }
}

/// An answer whose body is still to come.
pub(in crate::http) struct Answer {
    /// What its head says.
    pub facts: Facts,
    response: Response,
    deadline: Deadline,
    between_bytes: Duration,
}

impl Answer {
    /// Hands the body on, piece by piece.
    pub(in crate::http) async fn pour<I: Intake>(mut self, intake: &mut I) -> Result<(), Setback> {
        let mut _pieces = 0;
        while let Some(bytes) =
            self.deadline.within(self.between_bytes, self.response.chunk()).await?
        {
            intake.take(&bytes).await?;
            _pieces += 1;
            crash_point!("half a body", _pieces);
        }
        Ok(intake.finish().await?)
    }

    /// Reads the beginning of the body as a refusal. One that breaks off, or takes
    /// longer than a piece may, still says something.
    pub(in crate::http) async fn refusal(&mut self) -> Refusal {
        Refusal::read(&self.beginning().await)
    }

    /// The beginning of the body, as far as it comes.
    pub(in crate::http) async fn beginning(&mut self) -> Vec<u8> {
        let mut deadline = Deadline { left: self.between_bytes };
        let mut body = Vec::new();
        while body.len() < REFUSAL_BYTES
            && let Ok(Some(bytes)) =
                deadline.within(self.between_bytes, self.response.chunk()).await
        {
            body.extend_from_slice(&bytes);
        }
        body.truncate(REFUSAL_BYTES);
        body
    }
}

/// What is left of the time for a whole answer. Only waiting for the network
/// uses it up: a slow target must not make a good answer fail.
struct Deadline {
    left: Duration,
}

impl Deadline {
    /// Waits for `step`, for at most `longest`.
    async fn within<T>(
        &mut self,
        longest: Duration,
        step: impl Future<Output = reqwest::Result<T>>,
    ) -> Result<T, Fault> {
        let begun = Instant::now();
        let longest = longest.min(self.left);
        let Ok(done) = tokio::time::timeout(longest, step).await else {
            return Err(Fault::network(format!("nothing from PostHog for {}", spell(longest))));
        };
        self.left = self.left.saturating_sub(begun.elapsed());
        done.map_err(fault)
    }
}

/// What reqwest's error means here: a body that breaks off or cannot be unpacked,
/// or a network that failed before there was one.
fn fault(error: reqwest::Error) -> Fault {
    let is_body = error.is_decode() || error.is_body();
    let chain = quote(&chain(&error.without_url()));
    if is_body { Fault::body(format!("a broken body: {chain}")) } else { Fault::network(chain) }
}

/// An error with its causes, each named once.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.contains(&words) {
            // Writing to a String cannot fail.
            write!(text, ": {words}").ok();
        }
        cause = error.source();
    }
    text
}

/// Reads scheme, host and port; anything more would be ignored in silence.
fn origin(text: &str) -> Result<Url, ClientError> {
    let refuse = |reason: &str| {
        // What stands before an `@` is a password as likely as not.
        let shown = match (text.split_once("://"), text.rsplit_once('@')) {
            (Some((scheme, _)), Some((_, host))) => format!("{scheme}://…@{host}"),
            _ => text.to_owned(),
        };
        ClientError::Origin { origin: quote(&shown), reason: reason.to_owned() }
    };
    let url = Url::parse(text).map_err(|error| refuse(&error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(refuse("it begins with neither https:// nor http://"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(refuse("it holds a user name or a password"));
    }
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        return Err(refuse("it goes on after the host"));
    }
    Ok(url)
}

/// Sends JSON once to an address that is not PostHog's, without the key; returns the status.
///
/// # Errors
///
/// Why there is no answer, without the address.
pub(in crate::http) async fn post_once(
    url: &Url,
    json: String,
    patience: Duration,
) -> Result<u16, String> {
    let http = connector(url, HeaderMap::new()).map_err(|error| error.to_string())?;
    let request = http.post(url.clone()).header(CONTENT_TYPE, "application/json").body(json);
    let answer = request.timeout(patience).send().await;
    let answer = answer.map_err(|error| quote(&chain(&error.without_url())))?;
    Ok(answer.status().as_u16())
}

/// Builds the HTTP client; `headers` go with every request.
#[expect(clippy::disallowed_methods, reason = "the one place that builds a client")]
fn connector(origin: &Url, headers: HeaderMap) -> Result<reqwest::Client, ClientError> {
    crate::tls::install_provider();
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("hogline/", env!("CARGO_PKG_VERSION")))
        .default_headers(headers)
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .connect_timeout(CONNECT)
        .gzip(true);
    if is_loopback(origin) {
        builder = builder.no_proxy();
    }
    if origin.scheme() == "http" {
        // Without redirects nothing is ever encrypted: no need for a system's certificates.
        builder = builder.tls_certs_only([]);
    }
    builder.build().map_err(|error| ClientError::Tls { detail: quote(&chain(&error)) })
}

/// Whether the origin is this machine, which no proxy can reach.
fn is_loopback(origin: &Url) -> bool {
    match origin.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        None => false,
    }
}
