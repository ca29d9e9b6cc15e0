//! An HTTP server that asks a closure for every answer, and keeps the questions.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;

/// A question.
#[derive(Debug, Clone, Default)]
pub(crate) struct Asked {
    pub(crate) method: String,
    /// Path and query, as they were sent.
    pub(crate) target: String,
    pub(crate) path: String,
    pub(crate) query: Vec<(String, String)>,
    pub(crate) key: Option<String>,
    pub(crate) takes_gzip: bool,
    pub(crate) body: Value,
}

impl Asked {
    /// A parameter of the query.
    pub(crate) fn param(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// A parameter that is a number.
    pub(crate) fn number(&self, name: &str) -> Option<usize> {
        self.param(name)?.parse().ok()
    }

    /// The text of an SQL question.
    pub(crate) fn sql(&self) -> Option<&str> {
        self.body["query"]["query"].as_str()
    }

    /// Whether an SQL question carries `modifiers`.
    pub(crate) fn has_modifiers(&self) -> bool {
        self.body["query"].get("modifiers").is_some()
    }
}

/// An answer.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

type Script = Box<dyn Fn(&Asked) -> Answer + Send + Sync>;

/// Answers on a port of its own until dropped.
pub(crate) struct Server {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    closed: Arc<AtomicBool>,
}

impl Server {
    /// Begins to answer as `script` says; `zips` says whether to whoever takes it so.
    pub(crate) fn start(zips: bool, script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (asked, closed) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let server = Self { address, asked: Arc::clone(&asked), closed: Arc::clone(&closed) };
        let script = Arc::new(script);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if closed.load(Ordering::Relaxed) {
                    return;
                }
                let (asked, script) = (Arc::clone(&asked), Arc::clone(&script));
                // A client that goes away in the middle is no matter of ours.
                std::thread::spawn(move || drop(serve(&stream.unwrap(), zips, &asked, &script)));
            }
        });
        server
    }

    /// Scheme, host and port.
    pub(crate) fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The questions so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::Relaxed);
        // Wakes the thread that waits for a connection.
        drop(TcpStream::connect(self.address));
    }
}

fn serve(
    stream: &TcpStream,
    zips: bool,
    asked: &Mutex<Vec<Asked>>,
    script: &Script,
) -> std::io::Result<()> {
    let question = read(stream)?;
    asked.lock().unwrap().push(question.clone());
    let answer = script(&question);
    let mut head = format!("HTTP/1.1 {} Recorded\r\nConnection: close\r\n", answer.status);
    for (name, value) in &answer.headers {
        head += &format!("{name}: {value}\r\n");
    }
    let body = if zips && question.takes_gzip {
        head += "Content-Encoding: gzip\r\n";
        let mut zip = GzEncoder::new(Vec::new(), Compression::fast());
        zip.write_all(answer.body.as_bytes())?;
        zip.finish()?
    } else {
        answer.body.into_bytes()
    };
    head += &format!("Content-Length: {}\r\n\r\n", body.len());
    let mut stream = stream;
    stream.write_all(head.as_bytes())?;
    stream.write_all(&body)
}

fn read(stream: &TcpStream) -> std::io::Result<Asked> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split(' ').map(str::to_owned);
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let query: Vec<_> = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let path = path.to_owned();
    let mut asked = Asked { method, target, path, query, ..Asked::default() };
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().unwrap_or(0),
            "authorization" => asked.key = value.strip_prefix("Bearer ").map(str::to_owned),
            "accept-encoding" => asked.takes_gzip = value.contains("gzip"),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    asked.body = serde_json::from_slice(&body).unwrap_or_default();
    Ok(asked)
}
