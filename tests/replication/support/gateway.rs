//! A gateway that runs, and those who call it.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::process::Command;

use hogline::sandbox::PROJECT_TOKEN;
use serde_json::Value;

use super::project::Running;
use super::{PATIENCE, Project, Ran};

/// A gateway of a project.
pub(crate) struct Gateway<'p> {
    running: Running<'p>,
    address: String,
    /// Who callers say they are.
    authorization: String,
}

/// What a caller was told.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) head: String,
    /// The body as JSON; null where it is none.
    pub(crate) body: Value,
    pub(crate) text: String,
}

impl Reply {
    /// The value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines
            .into_iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    /// The status, and the word for it.
    pub(crate) fn said(&self) -> (u16, &str) {
        (self.status, self.body["code"].as_str().unwrap_or_default())
    }

    /// It was taken, all of it.
    #[track_caller]
    pub(crate) fn is_taken(&self) {
        let taken = serde_json::json!({ "success": true });
        assert_eq!((self.status, &self.body), (200, &taken), "{self:?}");
    }
}

impl<'p> Gateway<'p> {
    /// One for the project's token, once it takes calls.
    pub(crate) fn of(project: &'p Project) -> Self {
        Self::with(project, &[])
    }

    /// The same with more options.
    pub(crate) fn with(project: &'p Project, options: &[&str]) -> Self {
        Self::changed(project, options, |_| {})
    }

    /// The same with a crash point steered, as [`Project::steered`].
    pub(crate) fn steered(project: &'p Project, crash: &str) -> Self {
        Self::changed(project, &[], |command| {
            command.env("HOGLINE_CRASH", crash);
        })
    }

    /// The same in a process that is changed before.
    pub(crate) fn changed(
        project: &'p Project,
        options: &[&str],
        change: impl FnOnce(&mut Command),
    ) -> Self {
        let mut running = project.serves(options, change);
        let line = running.prints("http://");
        let address = line.split("http://").nth(1).unwrap().split(';').next().unwrap();
        Self { running, address: address.to_owned(), authorization: basic(PROJECT_TOKEN) }
    }

    /// Called by somebody with this write key.
    pub(crate) fn called_by(mut self, write_key: &str) -> Self {
        self.authorization = basic(write_key);
        self
    }

    /// Called by somebody who says so, or nothing, of who it is.
    pub(crate) fn authorized_by(mut self, header: &str) -> Self {
        header.clone_into(&mut self.authorization);
        self
    }

    /// Posts a body.
    #[track_caller]
    pub(crate) fn post(&self, path: &str, body: impl AsRef<[u8]>) -> Reply {
        self.send("POST", path, "Content-Type: application/json\r\n", body).unwrap()
    }

    /// Asks for something.
    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> Reply {
        self.send("GET", path, "", "").unwrap()
    }

    /// Sends any request, and reads the answer to its end.
    pub(crate) fn send(
        &self,
        method: &str,
        path: &str,
        headers: &str,
        body: impl AsRef<[u8]>,
    ) -> io::Result<Reply> {
        let mut stream = TcpStream::connect(&self.address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let authorization = match self.authorization.as_str() {
            "" => String::new(),
            text => format!("Authorization: {text}\r\n"),
        };
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: {}\r\n\
             {authorization}{headers}\r\n",
            self.address,
            body.as_ref().len(),
        );
        stream.write_all(head.as_bytes())?;
        stream.write_all(body.as_ref())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, text) = answer.split_once("\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        Ok(Reply {
            status: status.ok_or(io::ErrorKind::InvalidData)?,
            head: head.to_owned(),
            body: serde_json::from_str(text).unwrap_or_default(),
            text: text.to_owned(),
        })
    }

    /// Asks it to stop, and waits for its end.
    #[track_caller]
    pub(crate) fn stops(self) -> Ran {
        self.running.receives("TERM");
        self.running.ends()
    }

    /// Asks it to stop, and does not wait.
    pub(crate) fn is_asked_to_stop(&self) {
        self.running.receives("TERM");
    }

    /// Waits for its end, of whatever kind.
    #[track_caller]
    pub(crate) fn ends(self) -> Ran {
        self.running.ends()
    }

    /// Kills it as a power cut would.
    pub(crate) fn dies(self) {
        self.running.dies();
    }
}

/// The header of basic authentication for a write key.
pub(crate) fn basic(write_key: &str) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let credentials = format!("{write_key}:");
    let text: String = credentials
        .as_bytes()
        .chunks(3)
        .flat_map(|three| {
            let bits = (0..3).fold(0, |bits: usize, at| {
                (bits << 8) | usize::from(three.get(at).copied().unwrap_or(0))
            });
            let letter = move |at: usize| char::from(LETTERS[(bits >> (18 - 6 * at)) & 63]);
            (0..4).map(move |at| if at <= three.len() { letter(at) } else { '=' })
        })
        .collect();
    format!("Basic {text}")
}
