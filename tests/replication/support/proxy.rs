//! What stands before PostHog, and spoils what passes.
//!
//! A proxy fetches the whole answer from the sandbox, plain, and puts on the wire whatever
//! a [`Mangle`] makes of it: another status, other rows, half the bytes, none. A mangle
//! strikes the questions it is meant for, so often; everything else passes unharmed.

use std::collections::{HashMap, VecDeque};
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use hogline::sandbox::PROJECT;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};

use super::PostHog;

/// The project that the second of two sandboxes plays.
pub(crate) const SECOND: u64 = 777;

/// A question on its way.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// `GET /path?query`.
    pub(crate) line: String,
    headers: String,
    pub(crate) body: String,
}

/// An answer on its way back.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Without those that say how the body is sent.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

/// What goes over the wire.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    bytes: Vec<u8>,
    /// A pause before every byte behind the first so many.
    trickle: Option<(usize, Duration)>,
    end: End,
}

/// How a connection ends.
#[derive(Debug, Clone, Copy)]
pub(crate) enum End {
    /// In good order.
    Close,
    /// Broken off hard.
    Reset,
    /// Not at all: nothing more is said.
    Silence,
}

/// How a body's length is told.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Framing {
    Length,
    Chunks,
    /// By the end of the connection.
    Close,
    /// Compressed, and then by its length.
    Gzip,
}

impl Framing {
    pub(crate) const ALL: [Self; 4] = [Self::Length, Self::Chunks, Self::Close, Self::Gzip];
}

impl Answer {
    /// An answer of the test's own.
    pub(crate) fn new(status: u16, kind: &str, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: vec![("Content-Type".into(), kind.into())], body: body.into() }
    }

    /// With one header in place of others of that name.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
        self.headers.push((name.into(), value.into()));
        self
    }

    /// With another body.
    pub(crate) fn saying(self, body: impl Into<Vec<u8>>) -> Self {
        Self { body: body.into(), ..self }
    }

    /// With its JSON changed.
    pub(crate) fn edited(self, edit: impl FnOnce(&mut Value)) -> Self {
        let mut json: Value = serde_json::from_slice(&self.body).unwrap();
        edit(&mut json);
        self.saying(json.to_string())
    }

    /// The body, compressed.
    pub(crate) fn zipped(&self) -> Vec<u8> {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(&self.body).unwrap();
        gzip.finish().unwrap()
    }

    fn head(&self, framing: &str) -> Vec<u8> {
        let mut head = format!("HTTP/1.1 {} Spoilt\r\nConnection: close\r\n{framing}", self.status);
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        (head + "\r\n").into_bytes()
    }

    /// As it is.
    pub(crate) fn sent(self) -> Sent {
        let length = self.body.len();
        self.announcing(length)
    }

    /// Under a length that may not be its own.
    pub(crate) fn announcing(self, length: usize) -> Sent {
        let head = self.head(&format!("Content-Length: {length}\r\n"));
        Sent { bytes: [head, self.body].concat(), trickle: None, end: End::Close }
    }

    /// Compressed bytes that may not be its body's.
    pub(crate) fn unpacking_to(self, gzip: Vec<u8>) -> Sent {
        self.with("Content-Encoding", "gzip").saying(gzip).sent()
    }

    /// The first so many bytes of its body, and how many it has in this framing.
    pub(crate) fn cut(self, framing: Framing, at: usize) -> (Sent, usize) {
        let (head, body) = match framing {
            Framing::Length => {
                (self.head(&format!("Content-Length: {}\r\n", self.body.len())), self.body)
            }
            Framing::Chunks => {
                let head = self.head("Transfer-Encoding: chunked\r\n");
                let chunk = |piece: &[u8]| {
                    let size = format!("{:x}\r\n", piece.len()).into_bytes();
                    [size.as_slice(), piece, b"\r\n"].concat()
                };
                (
                    head,
                    [self.body.chunks(100).flat_map(chunk).collect(), b"0\r\n\r\n".to_vec()]
                        .concat(),
                )
            }
            Framing::Close => (self.head(""), self.body),
            Framing::Gzip => {
                let gzip = self.zipped();
                let framing =
                    format!("Content-Encoding: gzip\r\nContent-Length: {}\r\n", gzip.len());
                (self.head(&framing), gzip)
            }
        };
        let whole = body.len();
        let bytes = [head.as_slice(), &body[..at.min(whole)]].concat();
        (Sent { bytes, trickle: None, end: End::Close }, whole)
    }
}

impl Sent {
    /// The first so many bytes, head and all.
    pub(crate) fn up_to(mut self, bytes: usize) -> Self {
        self.bytes.truncate(bytes);
        self
    }

    /// All but the last so many bytes.
    pub(crate) fn without_last(self, bytes: usize) -> Self {
        let rest = self.bytes.len().saturating_sub(bytes);
        self.up_to(rest)
    }

    /// With another end of the connection.
    pub(crate) fn then(self, end: End) -> Self {
        Self { end, ..self }
    }

    /// Byte by byte behind the first so many, with a pause before each.
    pub(crate) fn trickling(self, behind: usize, pause: Duration) -> Self {
        Self { trickle: Some((behind, pause)), ..self }
    }
}

/// What becomes of an answer.
pub(crate) type Mangle = Arc<dyn Fn(&Asked, Answer) -> Sent + Send + Sync>;

/// A mangle for the questions that come, one after another.
struct Strike {
    is_meant: fn(&Asked) -> bool,
    /// Questions that pass first.
    spared: usize,
    mangle: Mangle,
    /// How often it strikes; for ever without a number.
    times: Option<usize>,
}

/// What the proxy goes by.
#[derive(Default)]
struct Play {
    strikes: Mutex<VecDeque<Strike>>,
    /// The most rows that a page has, whatever is asked for.
    clamp: Option<usize>,
    /// Where questions about [`SECOND`] go.
    second: Option<String>,
    struck: Mutex<usize>,
    /// How often a question was struck since it last passed.
    in_a_row: Mutex<HashMap<String, usize>>,
}

/// Of strikes that come once each no question has more than this in a row, whichever others are
/// under way: so often it is asked again.
const MOST_IN_A_ROW: usize = 3;

/// A proxy before a sandbox, until dropped.
pub(crate) struct Proxy {
    origin: String,
    play: Arc<Play>,
    /// Carries the tasks.
    _runtime: Runtime,
}

impl Proxy {
    /// Stands before a PostHog, and lets all pass.
    pub(crate) fn before(posthog: &PostHog) -> Self {
        Self::start(posthog, Play::default())
    }

    /// Stands before two, as if they were two projects of one: the other is project [`SECOND`].
    pub(crate) fn before_both(first: &PostHog, second: &PostHog) -> Self {
        let second = Some(second.origin().replace("http://", ""));
        Self::start(first, Play { second, ..Play::default() })
    }

    /// The same; pages have at most so many rows, however many are asked for.
    pub(crate) fn clamping(posthog: &PostHog, rows: usize) -> Self {
        Self::start(posthog, Play { clamp: Some(rows), ..Play::default() })
    }

    fn start(posthog: &PostHog, play: Play) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let play = Arc::new(play);
        let (played, behind) = (Arc::clone(&play), posthog.origin().replace("http://", ""));
        runtime.spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (play, behind) = (Arc::clone(&played), behind.clone());
                tokio::spawn(async move {
                    // Who goes away in the middle is served no longer.
                    drop(serve(socket, &play, &behind).await);
                });
            }
        });
        Self { origin, play, _runtime: runtime }
    }

    /// Scheme, host and port.
    pub(crate) fn origin(&self) -> &str {
        &self.origin
    }

    /// Strikes once, after `spared` of the questions that are meant have passed; of several
    /// strikes each waits for the one before.
    pub(crate) fn strikes_once(
        &self,
        is_meant: fn(&Asked) -> bool,
        spared: usize,
        mangle: &Mangle,
    ) {
        self.strikes(is_meant, spared, mangle, Some(1));
    }

    /// Strikes each of the questions that are meant, after the first `spared` of them.
    pub(crate) fn strikes_on(&self, is_meant: fn(&Asked) -> bool, spared: usize, mangle: &Mangle) {
        self.strikes(is_meant, spared, mangle, None);
    }

    fn strikes(
        &self,
        is_meant: fn(&Asked) -> bool,
        spared: usize,
        mangle: &Mangle,
        times: Option<usize>,
    ) {
        let strike = Strike { is_meant, spared, mangle: Arc::clone(mangle), times };
        self.play.strikes.lock().unwrap().push_back(strike);
    }

    /// Lets all pass again.
    pub(crate) fn relents(&self) {
        self.play.strikes.lock().unwrap().clear();
    }

    /// Another run begins, whose questions were never asked before.
    pub(crate) fn meets_a_run(&self) {
        self.play.in_a_row.lock().unwrap().clear();
    }

    /// How often it struck so far.
    pub(crate) fn struck(&self) -> usize {
        *self.play.struck.lock().unwrap()
    }

    /// How many strikes are still to come.
    pub(crate) fn left(&self) -> usize {
        self.play.strikes.lock().unwrap().len()
    }
}

impl Play {
    /// What is asked of whom.
    fn routed<'a>(&'a self, asked: &Asked, first: &'a str) -> (Asked, &'a str) {
        let second = format!("/projects/{SECOND}/");
        match &self.second {
            Some(behind) if asked.line.contains(&second) => {
                let line = asked.line.replace(&second, &format!("/projects/{PROJECT}/"));
                (Asked { line, ..asked.clone() }, behind)
            }
            _ => (asked.clone(), first),
        }
    }

    /// What strikes a question, if it is its turn.
    fn turn_of(&self, asked: &Asked) -> Option<Mangle> {
        let mut strikes = self.strikes.lock().unwrap();
        let strike = strikes.front_mut().filter(|strike| (strike.is_meant)(asked))?;
        let mut in_a_row = self.in_a_row.lock().unwrap();
        let in_a_row = in_a_row.entry(format!("{} {}", asked.line, asked.body)).or_default();
        let has_enough = strike.times.is_some() && *in_a_row == MOST_IN_A_ROW;
        if strike.spared > 0 || has_enough {
            strike.spared -= usize::from(!has_enough);
            *in_a_row = 0;
            return None;
        }
        *in_a_row += 1;
        *self.struck.lock().unwrap() += 1;
        let mangle = Arc::clone(&strike.mangle);
        if let Some(times) = &mut strike.times {
            *times -= 1;
            if *times == 0 {
                strikes.pop_front();
            }
        }
        Some(mangle)
    }
}

async fn serve(mut socket: TcpStream, play: &Play, behind: &str) -> std::io::Result<()> {
    let Some(asked) = read_question(&mut socket).await? else { return Ok(()) };
    let mangle = play.turn_of(&asked);
    let (question, behind) = play.routed(&asked, behind);
    let answer = fetch(&clamped(&question, play.clamp), behind).await?;
    let sent = match mangle {
        Some(mangle) => mangle(&asked, answer),
        None => answer.sent(),
    };
    let (at_once, slowly) = match sent.trickle {
        Some((behind, _)) => sent.bytes.split_at(behind.min(sent.bytes.len())),
        None => (sent.bytes.as_slice(), [].as_slice()),
    };
    socket.write_all(at_once).await?;
    for byte in slowly {
        tokio::time::sleep(sent.trickle.map_or(Duration::ZERO, |(_, pause)| pause)).await;
        socket.write_all(&[*byte]).await?;
    }
    match sent.end {
        End::Close => socket.shutdown().await,
        End::Reset => socket.set_zero_linger(),
        End::Silence => {
            // Until the other side has had enough.
            socket.read(&mut [0]).await.map(drop)
        }
    }
}

/// Reads a head and the body it announces; nothing where the connection brings no question.
async fn read_question(socket: &mut TcpStream) -> std::io::Result<Option<Asked>> {
    let mut bytes = Vec::new();
    loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..at]).into_owned();
            let (line, headers) = head.split_once("\r\n").unwrap();
            let length = header(headers, "content-length").map_or(0, |text| text.parse().unwrap());
            let body = &bytes[at + 4..];
            if body.len() >= length {
                let line = line.trim_end_matches(" HTTP/1.1").to_owned();
                let body = String::from_utf8_lossy(body).into_owned();
                return Ok(Some(Asked { line, headers: headers.to_owned(), body }));
            }
        }
        if socket.read_buf(&mut bytes).await? == 0 {
            return Ok(None);
        }
    }
}

fn header<'a>(headers: &'a str, name: &str) -> Option<&'a str> {
    let mut pairs = headers.lines().filter_map(|line| line.split_once(": "));
    pairs.find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

/// The question with a smaller limit than it has.
fn clamped(asked: &Asked, clamp: Option<usize>) -> Asked {
    let Some(rows) = clamp else { return asked.clone() };
    let lower = |text: &str, mark: &str| {
        let Some((before, rest)) = text.split_once(mark) else { return text.to_owned() };
        let after = rest.trim_start_matches(|c: char| c.is_ascii_digit());
        format!("{before}{mark}{rows}{after}")
    };
    let body = lower(&asked.body, "LIMIT ");
    Asked { line: lower(&asked.line, "limit="), body, headers: asked.headers.clone() }
}

/// Asks the server behind, which may not compress.
async fn fetch(asked: &Asked, behind: &str) -> std::io::Result<Answer> {
    let kept = |line: &&str| {
        let name = line.split_once(": ").map_or("", |(name, _)| name).to_lowercase();
        !["accept-encoding", "content-length", "connection"].contains(&name.as_str())
    };
    let headers: Vec<&str> = asked.headers.lines().filter(kept).collect();
    let question = format!(
        "{} HTTP/1.1\r\n{}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{}",
        asked.line,
        headers.join("\r\n"),
        asked.body.len(),
        asked.body
    );
    let mut socket = TcpStream::connect(behind).await?;
    socket.write_all(question.as_bytes()).await?;
    let mut bytes = Vec::new();
    socket.read_to_end(&mut bytes).await?;
    let at = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let head = String::from_utf8_lossy(&bytes[..at]).into_owned();
    let (line, headers) = head.split_once("\r\n").unwrap();
    let framing = ["content-length", "connection", "transfer-encoding"];
    let headers = headers.lines().filter_map(|line| line.split_once(": "));
    let headers = headers.filter(|(name, _)| !framing.contains(&name.to_lowercase().as_str()));
    Ok(Answer {
        status: line.split(' ').nth(1).unwrap().parse().unwrap(),
        headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        body: bytes[at + 4..].to_vec(),
    })
}
