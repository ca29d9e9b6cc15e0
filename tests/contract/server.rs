//! An HTTP server that asks a closure for every answer, and keeps the questions.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use hogline::cursor::Timestamp;
use serde_json::Value;

/// More questions than any of these stories takes: beyond it all is refused, so that a run in
/// circles ends.
const PATIENCE: usize = 40;

/// A question.
#[derive(Debug, Clone, Default)]
pub(crate) struct Asked {
    pub(crate) path: String,
    pub(crate) query: Vec<(String, String)>,
    pub(crate) body: Value,
    /// How many questions of streams came before.
    pub(crate) nth: usize,
}

impl Asked {
    /// A parameter of the query.
    pub(crate) fn param(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// A parameter that is a number; 0 where there is none.
    pub(crate) fn number(&self, name: &str) -> usize {
        self.param(name).map_or(0, |text| text.parse().unwrap())
    }

    /// A parameter that is an instant.
    pub(crate) fn time(&self, name: &str) -> Timestamp {
        Timestamp::parse(self.param(name).unwrap()).unwrap()
    }

    /// The text of an SQL question, and nothing of others.
    pub(crate) fn sql(&self) -> &str {
        self.body["query"]["query"].as_str().unwrap_or_default()
    }
}

type Script = Box<dyn Fn(&Asked) -> String + Send + Sync>;

/// What the server goes by.
struct Play {
    script: Script,
    has_sql: bool,
    asked: Mutex<Vec<Asked>>,
    /// Today, as headers say it.
    today: Mutex<&'static str>,
    closed: AtomicBool,
}

/// Answers on a port of its own until dropped.
pub(crate) struct Server {
    address: SocketAddr,
    play: Arc<Play>,
}

impl Server {
    /// Answers questions of streams as `script` says, with status 200, on 20 March 2026.
    pub(crate) fn answering(script: impl Fn(&Asked) -> String + Send + Sync + 'static) -> Self {
        Self::start(true, Box::new(script))
    }

    /// The same, of an age without SQL.
    pub(crate) fn without_sql(script: impl Fn(&Asked) -> String + Send + Sync + 'static) -> Self {
        Self::start(false, Box::new(script))
    }

    fn start(has_sql: bool, script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let play = Arc::new(Play {
            script,
            has_sql,
            asked: Mutex::default(),
            today: Mutex::new("Fri, 20 Mar 2026 00:00:00 GMT"),
            closed: AtomicBool::new(false),
        });
        let server = Self { address, play: Arc::clone(&play) };
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if play.closed.load(Ordering::Relaxed) {
                    return;
                }
                let play = Arc::clone(&play);
                // A client that goes away in the middle is no matter of ours.
                std::thread::spawn(move || drop(serve(&stream.unwrap(), &play)));
            }
        });
        server
    }

    /// Lets two days pass.
    pub(crate) fn two_days_later(&self) {
        *self.play.today.lock().unwrap() = "Sun, 22 Mar 2026 00:00:00 GMT";
    }

    /// Scheme, host and port.
    pub(crate) fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How many questions of streams came.
    pub(crate) fn times_asked(&self) -> usize {
        self.play.asked.lock().unwrap().len()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.play.closed.store(true, Ordering::Relaxed);
        // Wakes the thread that waits for a connection.
        drop(TcpStream::connect(self.address));
    }
}

fn serve(mut stream: &TcpStream, play: &Play) -> std::io::Result<()> {
    let question = read(stream)?;
    let (status, body) = answer(question, play);
    let today = *play.today.lock().unwrap();
    let head = format!(
        "HTTP/1.1 {status} Scripted\r\nConnection: close\r\nDate: {today}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body.as_bytes())
}

fn answer(mut question: Asked, play: &Play) -> (u16, String) {
    if question.path == "/api/projects/1/" {
        return (200, r#"{"id":1,"name":"scripted"}"#.into());
    }
    if question.path.ends_with("/query/") && !play.has_sql {
        return (404, r#"{"detail":"Not found."}"#.into());
    }
    let mut asked = play.asked.lock().unwrap();
    question.nth = asked.len();
    asked.push(question.clone());
    if asked.len() > PATIENCE {
        return (400, r#"{"detail":"too many questions for this story"}"#.into());
    }
    drop(asked);
    (200, (play.script)(&question))
}

fn read(stream: &TcpStream) -> std::io::Result<Asked> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let target = line.split(' ').nth(1).unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let query = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let mut asked = Asked { path: path.to_owned(), query, ..Asked::default() };
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.parse().unwrap_or(0);
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    asked.body = serde_json::from_slice(&body).unwrap_or_default();
    Ok(asked)
}
