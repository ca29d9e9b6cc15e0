//! A client for the tests: one request over a plain socket, taken apart.

use std::collections::HashMap;
use std::io::{self, Read};

use flate2::read::GzDecoder;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{KEY, Options, PROJECT, Sandbox};
use crate::cursor::Timestamp;

/// What came back.
#[derive(Debug)]
pub(super) struct Reply {
    /// The HTTP status.
    pub(super) status: u16,
    /// By name in lower case.
    pub(super) headers: HashMap<String, String>,
    /// As it came over the wire.
    pub(super) raw: Vec<u8>,
}

impl Reply {
    /// The body, decompressed.
    pub(super) fn body(&self) -> Vec<u8> {
        if self.headers.get("content-encoding").map(String::as_str) != Some("gzip") {
            return self.raw.clone();
        }
        let mut body = Vec::new();
        GzDecoder::new(self.raw.as_slice()).read_to_end(&mut body).unwrap();
        body
    }

    /// The body as JSON.
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body()).unwrap()
    }

    /// The body as text.
    pub(super) fn text(&self) -> String {
        String::from_utf8(self.body()).unwrap()
    }

    /// What an error says.
    pub(super) fn detail(&self) -> String {
        self.json()["detail"].as_str().unwrap_or_default().to_owned()
    }
}

/// Sends one request and reads the answer to its end.
pub(super) async fn send(
    sandbox: &Sandbox,
    method: &str,
    target: &str,
    headers: &str,
    body: impl AsRef<[u8]>,
) -> io::Result<Reply> {
    let host = sandbox.origin().replace("http://", "");
    let mut stream = TcpStream::connect(&host).await?;
    let length = body.as_ref().len();
    let request = format!(
        "{method} {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    stream.write_all(body.as_ref()).await?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await?;
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or(bytes.len() - 4);
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let headers = head.lines().skip(1).filter_map(|line| line.split_once(": "));
    Ok(Reply {
        status: head[9..12].parse().unwrap(),
        headers: headers.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect(),
        raw: bytes[end + 4..].to_vec(),
    })
}

/// Asks for a target with the key that may read everything.
pub(super) async fn get(sandbox: &Sandbox, target: &str) -> Reply {
    get_with(sandbox, KEY, target).await
}

/// Asks with any key.
pub(super) async fn get_with(sandbox: &Sandbox, key: &str, target: &str) -> Reply {
    let headers = format!("Authorization: Bearer {key}\r\nAccept-Encoding: gzip\r\n");
    send(sandbox, "GET", target, &headers, "").await.unwrap()
}

/// Asks for a list of the project.
pub(super) async fn list(sandbox: &Sandbox, of_project: &str) -> Value {
    let reply = get(sandbox, &format!("/api/projects/{PROJECT}/{of_project}")).await;
    let body = reply.json();
    assert_eq!(reply.status, 200, "{body}");
    body
}

/// Follows `next` to its end and returns all rows.
pub(super) async fn follow(sandbox: &Sandbox, of_project: &str) -> Vec<Value> {
    let mut page = list(sandbox, of_project).await;
    let mut rows = page["results"].as_array().unwrap().clone();
    while let Some(next) = page["next"].as_str() {
        let target = next.strip_prefix(&sandbox.origin()).unwrap().to_owned();
        page = get(sandbox, &target).await.json();
        rows.extend(page["results"].as_array().unwrap().iter().cloned());
    }
    rows
}

/// Posts a query.
pub(super) async fn post_query(sandbox: &Sandbox, body: &Value) -> Reply {
    post(sandbox, "query/", body).await
}

/// Posts to the project.
pub(super) async fn post(sandbox: &Sandbox, of_project: &str, body: &Value) -> Reply {
    let target = format!("/api/projects/{PROJECT}/{of_project}");
    let headers = format!(
        "Authorization: Bearer {KEY}\r\nAccept-Encoding: gzip\r\nContent-Type: application/json\r\n"
    );
    send(sandbox, "POST", &target, &headers, body.to_string()).await.unwrap()
}

/// Sends a body to capture.
pub(super) async fn capture(sandbox: &Sandbox, path: &str, body: impl AsRef<[u8]>) -> Reply {
    send(sandbox, "POST", path, "Content-Type: application/json\r\n", body).await.unwrap()
}

/// Asks an SQL question afresh, instants in UTC.
pub(super) async fn sql(sandbox: &Sandbox, text: &str, values: Value) -> Reply {
    let query = json!({ "kind": "HogQLQuery", "query": text, "values": values,
        "modifiers": { "convertToProjectTimezone": false } });
    post_query(sandbox, &json!({ "query": query, "refresh": "force_blocking" })).await
}

/// The ids of rows.
pub(super) fn ids(rows: &[Value]) -> Vec<&str> {
    rows.iter().map(|row| row["id"].as_str().unwrap()).collect()
}

/// A small project at a fixed time.
pub(super) fn small() -> Options {
    let now = Timestamp::parse("2026-11-21T06:18:25Z").unwrap();
    Options { events: 2000, persons: 200, recordings: 60, days: 20, now, ..Options::default() }
}

/// A sandbox that runs.
pub(super) async fn started(options: Options) -> Sandbox {
    Sandbox::start(options).await.unwrap()
}
