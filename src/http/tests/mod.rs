//! Whole questions against a scripted server, with the clock held still.

mod answers;
mod sending;
mod server;
mod waits;
mod words;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::clock::{Clock, Held};
use super::retry::Patience;
use super::*;
use crate::config::secret::Secret;
use crate::config::{Allowance, Timeouts};
use server::{Server, answer};

const KEY: &str = "phx_key_of_the_http_tests";
const ROWS: &str = r#"{"results":[1,2]}"#;
const THROTTLED: &str =
    r#"{"type":"throttled_error","code":"throttled","detail":"Request was throttled."}"#;

/// Keeps a body that is JSON.
#[derive(Default)]
struct Kept {
    body: Vec<u8>,
    restarts: u32,
}

impl Intake for Kept {
    async fn restart(&mut self) -> Result<(), Stopped> {
        self.restarts += 1;
        self.body.clear();
        Ok(())
    }

    async fn take(&mut self, bytes: &[u8]) -> Result<(), BadBody> {
        self.body.extend_from_slice(bytes);
        Ok(())
    }

    async fn finish(&mut self) -> Result<(), BadBody> {
        match serde_json::from_slice::<Value>(&self.body) {
            Ok(_) => Ok(()),
            Err(error) => Err(BadBody::NotJson(error.to_string())),
        }
    }
}

/// Nobody reads what it is given.
struct Gone;

impl Intake for Gone {
    async fn restart(&mut self) -> Result<(), Stopped> {
        Ok(())
    }

    async fn take(&mut self, _: &[u8]) -> Result<(), BadBody> {
        Err(Stopped.into())
    }

    async fn finish(&mut self) -> Result<(), BadBody> {
        panic!("nothing was taken")
    }
}

/// One question, from its client to what came of it.
struct Case {
    server: Server,
    client: Client,
    clock: Arc<Mutex<Held>>,
    kept: Kept,
    meter: Meter,
}

fn settings(origin: &str) -> Settings {
    Settings {
        origin: origin.to_owned(),
        key: Secret::new(KEY),
        project: "7".into(),
        requests_per_second: 0.0,
        concurrency: 2,
        max_wait: Duration::from_secs(900),
        retry_wait: Duration::from_secs(1),
        timeouts: Timeouts::default(),
        limits: BTreeMap::new(),
        ledger: None,
        enforce_limits: true,
    }
}

impl Case {
    async fn playing(answers: impl IntoIterator<Item = Vec<u8>>) -> Self {
        Self::limited(answers, &[]).await
    }

    /// With an allowance of `(requests, seconds)` each for the counter `query`.
    async fn limited(answers: impl IntoIterator<Item = Vec<u8>>, limits: &[(u32, u64)]) -> Self {
        let server = Server::playing(answers).await;
        let now = Timestamp::parse("2026-11-21T06:00:00Z").unwrap();
        let clock = Arc::new(Mutex::new(Held { now, waits: Vec::new() }));
        let allowances = limits
            .iter()
            .map(|&(requests, per)| Allowance { requests, per: Duration::from_secs(per) })
            .collect();
        let limits = BTreeMap::from([("query".to_owned(), allowances)]);
        let settings = Settings { limits, ..settings(&server.origin) };
        let patience =
            Patience { jitter: 0.0, spread: Duration::ZERO, ..Patience::of(settings.max_wait) };
        let client =
            Client::with(settings, patience, Timeouts::default(), Clock::Held(Arc::clone(&clock)))
                .unwrap();
        Self { server, client, clock, kept: Kept::default(), meter: Meter::default() }
    }

    async fn ask(&mut self) -> Result<Head, AskError> {
        self.client.ask(&question(), &mut self.kept, &self.meter).await
    }

    fn waits(&self) -> Vec<u64> {
        self.clock.lock().unwrap().waits.iter().map(Duration::as_secs).collect()
    }

    fn body(&self) -> &str {
        str::from_utf8(&self.kept.body).unwrap()
    }
}

fn question() -> Request {
    Request::get("/api/projects/7/events/", &["query".to_owned()]).with("after", "a b&c")
}

fn rows() -> Vec<u8> {
    answer("200 OK", "", ROWS)
}
