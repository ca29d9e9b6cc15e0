//! A cable between hogline and PostgreSQL that fails at a chosen moment.
//!
//! It hands bytes on in both directions and understands just enough of the protocol to
//! count statements. What it strikes it strikes once; later connections are left alone.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Strike {
    /// The connection is cut before the n-th statement reaches the server.
    CutAt(usize),
    /// The n-th COMMIT reaches the server, its reply never comes back.
    LoseReplyToCommit(usize),
}

/// A cable on a port of its own; it ends with the test.
pub(crate) struct Cable {
    pub(crate) port: u16,
    struck: Arc<AtomicBool>,
}

/// What all connections of a cable share.
#[derive(Clone)]
struct Wire {
    strike: Strike,
    seen: Arc<AtomicUsize>,
    struck: Arc<AtomicBool>,
    /// A COMMIT was sent whose reply is to be lost.
    loses: Arc<AtomicBool>,
}

impl Cable {
    /// Stands before a server on this machine.
    pub(crate) fn before(server: u16, strike: Strike) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let struck = Arc::new(AtomicBool::new(false));
        let wire = Wire {
            strike,
            seen: Arc::default(),
            struck: Arc::clone(&struck),
            loses: Arc::default(),
        };
        thread::spawn(move || {
            for client in listener.incoming() {
                let (client, wire) = (client.unwrap(), wire.clone());
                let server = TcpStream::connect(("127.0.0.1", server)).unwrap();
                for end in [&client, &server] {
                    end.set_nodelay(true).unwrap();
                }
                let (from, to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
                let replies = wire.clone();
                thread::spawn(move || replies.hand_replies_on(from, to));
                thread::spawn(move || wire.hand_statements_on(client, server));
            }
        });
        Self { port, struck }
    }

    /// Whether it came to the moment.
    pub(crate) fn has_struck(&self) -> bool {
        self.struck.load(Ordering::SeqCst)
    }
}

impl Wire {
    fn hand_replies_on(&self, mut server: TcpStream, mut client: TcpStream) {
        let mut bytes = [0; 16 << 10];
        while let Ok(n) = server.read(&mut bytes) {
            // Replies to what came before it may still be on their way.
            let commits = bytes[..n].windows(7).any(|text| text == b"COMMIT\0");
            let is_lost = commits && self.loses.swap(false, Ordering::SeqCst);
            if n == 0 || is_lost || client.write_all(&bytes[..n]).is_err() {
                break;
            }
        }
        cut(&client, &server);
    }

    fn hand_statements_on(&self, mut client: TcpStream, mut server: TcpStream) {
        // The first message has no letter before its length.
        let mut letter = 0;
        while let Some(message) = read_message(&mut client, letter) {
            letter = 1;
            if self.is_struck_by(&message) || server.write_all(&message).is_err() {
                break;
            }
        }
        cut(&client, &server);
    }

    /// Whether this message is not to arrive.
    fn is_struck_by(&self, message: &[u8]) -> bool {
        // A simple statement, one to be prepared, the end of a copy.
        let is_statement = matches!(message[0], b'Q' | b'P' | b'c');
        let counts = match self.strike {
            Strike::CutAt(_) => is_statement,
            Strike::LoseReplyToCommit(_) => {
                message.starts_with(b"Q") && message[5..].starts_with(b"COMMIT")
            }
        };
        let (Strike::CutAt(n) | Strike::LoseReplyToCommit(n)) = self.strike;
        if !counts || self.seen.fetch_add(1, Ordering::SeqCst) + 1 != n {
            return false;
        }
        self.struck.store(true, Ordering::SeqCst);
        let loses = matches!(self.strike, Strike::LoseReplyToCommit(_));
        self.loses.store(loses, Ordering::SeqCst);
        !loses
    }
}

fn read_message(client: &mut TcpStream, letter: usize) -> Option<Vec<u8>> {
    let mut message = vec![0; letter + 4];
    client.read_exact(&mut message).ok()?;
    let len = u32::from_be_bytes(message[letter..].try_into().ok()?) as usize;
    message.resize(letter + len, 0);
    client.read_exact(&mut message[letter + 4..]).ok()?;
    Some(message)
}

fn cut(one: &TcpStream, other: &TcpStream) {
    for end in [one, other] {
        // The other side may have hung up before.
        end.shutdown(Shutdown::Both).unwrap_or_default();
    }
}
