//! A server that plays scripted answers in order and keeps the requests.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// It answers each request with the next raw answer, then closes the connection.
pub(super) struct Server {
    /// Where it listens.
    pub origin: String,
    script: Arc<Script>,
}

#[derive(Default)]
struct Script {
    answers: Mutex<VecDeque<Vec<u8>>>,
    requests: Mutex<Vec<String>>,
    /// Connections stay open when all is said.
    stalls: bool,
}

impl Server {
    /// Plays `answers`.
    pub(super) async fn playing<A: Into<Vec<u8>>>(answers: impl IntoIterator<Item = A>) -> Self {
        let answers = Mutex::new(answers.into_iter().map(Into::into).collect());
        Self::start(Script { answers, ..Script::default() }).await
    }

    /// Plays `answers`, and keeps every connection open without another word.
    pub(super) async fn stalling(answers: Vec<Vec<u8>>) -> Self {
        let answers = Mutex::new(answers.into());
        Self::start(Script { answers, stalls: true, ..Script::default() }).await
    }

    async fn start(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let script = Arc::new(script);
        let played = Arc::clone(&script);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(serve(socket, Arc::clone(&played)));
            }
        });
        Self { origin, script }
    }

    /// What was asked: heads with bodies.
    pub(super) fn requests(&self) -> Vec<String> {
        self.script.requests.lock().unwrap().clone()
    }
}

async fn serve(mut socket: TcpStream, script: Arc<Script>) {
    let Some(request) = read(&mut socket).await else { return };
    script.requests.lock().unwrap().push(request);
    let answer = script.answers.lock().unwrap().pop_front().expect("more requests than answers");
    socket.write_all(&answer).await.unwrap();
    if script.stalls {
        std::future::pending::<()>().await;
    }
}

/// A head and as much body as it announces.
async fn read(socket: &mut TcpStream) -> Option<String> {
    let mut text = Vec::new();
    loop {
        let text_so_far = String::from_utf8_lossy(&text);
        if let Some((head, body)) = text_so_far.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                return Some(text_so_far.into_owned());
            }
        }
        if socket.read_buf(&mut text).await.ok()? == 0 {
            return None;
        }
    }
}

/// A whole answer; `headers` is lines, each with its end.
pub(super) fn answer(status: &str, headers: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    announcing(body.as_ref().len(), status, headers, body)
}

/// An answer whose head announces a body of `length` bytes.
pub(super) fn announcing(
    length: usize,
    status: &str,
    headers: &str,
    body: impl AsRef<[u8]>,
) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n"
    );
    [head.as_bytes(), body.as_ref()].concat()
}
