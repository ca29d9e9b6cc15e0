//! Somebody who wants to know when runs end otherwise than before.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use hogline::sandbox::KEY;
use serde_json::Value;

/// A webhook on a port of its own, which keeps what it is told.
pub(crate) struct Webhook {
    address: String,
    told: Arc<Mutex<Vec<Value>>>,
}

impl Webhook {
    /// One that answers so.
    pub(crate) fn answering(status: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address =
            format!("http://{}/services/T0/secret-of-the-hook", listener.local_addr().unwrap());
        let told = Arc::new(Mutex::default());
        let kept = Arc::clone(&told);
        // Ends with the test's process.
        thread::spawn(move || {
            for connection in listener.incoming() {
                answer(connection.unwrap(), status, &kept);
            }
        });
        Self { address, told }
    }

    /// Its address, which is nobody else's.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// What it was told since it was last asked.
    pub(crate) fn told(&self) -> Vec<Value> {
        std::mem::take(&mut self.told.lock().unwrap())
    }
}

fn answer(mut connection: TcpStream, status: u16, told: &Mutex<Vec<Value>>) {
    let mut request = BufReader::new(connection.try_clone().unwrap());
    let (mut head, mut length) = (String::new(), 0);
    while request.read_line(&mut head).unwrap() > 2 {
        let line = head.lines().last().unwrap().to_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    request.read_exact(&mut body).unwrap();
    let body = String::from_utf8(body).unwrap();
    assert!(!format!("{head}{body}").contains(KEY), "the webhook learns the key:\n{head}{body}");
    told.lock().unwrap().push(serde_json::from_str(&body).unwrap());
    let answer = format!("HTTP/1.1 {status} so\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    connection.write_all(answer.as_bytes()).unwrap();
}
