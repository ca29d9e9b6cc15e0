//! Faults: what goes wrong, on which requests, how often.
//!
//! A fault waits for requests whose line contains its text and counts them; when
//! one is due it strikes. What needs no connection is done to the [`Answer`]
//! here; what happens between the bytes is left to `wire`.

use std::time::Duration;

use super::answer::Answer;
use super::capture;

/// Something that goes wrong on some of the requests that match.
#[derive(Debug, Clone)]
pub struct Fault {
    /// Part of `METHOD path?query`, a line break and the body, so that an SQL text can be named.
    matching: String,
    /// Which of the matching requests.
    when: When,
    /// What happens to them.
    kind: FaultKind,
    /// Headers of the answer, whatever it is.
    headers: Vec<(String, String)>,
}

/// Which of the matching requests a fault strikes; they are counted from 1.
#[derive(Debug, Clone)]
enum When {
    Always,
    Nth(Vec<usize>),
    First(usize),
    Every(usize),
}

impl When {
    fn is_due(&self, count: usize) -> bool {
        match self {
            Self::Always => true,
            Self::Nth(counts) => counts.contains(&count),
            Self::First(last) => count <= *last,
            Self::Every(step) => count.is_multiple_of(*step),
        }
    }
}

/// What happens to a request.
#[derive(Debug, Clone)]
pub enum FaultKind {
    /// A status with PostHog's JSON for an error; the body replaces it where it is not empty.
    Status(u16, String),
    /// A status with HTML, as a load balancer answers.
    HtmlStatus(u16),
    /// HTML where JSON is due, with 200.
    Html,
    /// JSON that ends in the middle, in an answer that is whole.
    CutJson,
    /// The connection is reset in the middle of the body.
    Reset,
    /// What is asked is done, and the connection reset before the first byte of the answer.
    Lost,
    /// Compressed bytes that end in the middle, in an answer that is whole.
    CutGzip,
    /// The answer trickles: a pause before each 4 kB.
    Slow(Duration),
    /// Nothing at all for so long, then the answer.
    Late(Duration),
    /// 302 to this address.
    Redirect(String),
    /// Links in the answer point to this origin.
    ForeignNext(String),
    /// 429, with `Retry-After` where a number is given.
    Throttled(Option<u64>),
}

impl Fault {
    /// A fault on every request whose `METHOD path?query` contains `matching`;
    /// the body stands behind it, after a line break, that of capture decompressed.
    pub fn on(matching: impl Into<String>, kind: FaultKind) -> Self {
        Self { matching: matching.into(), when: When::Always, kind, headers: Vec::new() }
    }

    /// Only on these of the matching requests, counted from 1.
    #[must_use]
    pub fn nth(mut self, counts: &[usize]) -> Self {
        self.when = When::Nth(counts.to_vec());
        self
    }

    /// Only on so many of the matching requests, the first.
    #[must_use]
    pub fn first(mut self, count: usize) -> Self {
        self.when = When::First(count);
        self
    }

    /// Only on each so-many-th of the matching requests.
    #[must_use]
    pub fn every(mut self, step: usize) -> Self {
        self.when = When::Every(step.max(1));
        self
    }

    /// With a header more on the answer.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// What happens.
    pub(super) fn kind(&self) -> &FaultKind {
        &self.kind
    }

    /// The answer that is given without asking anything, if that is this fault's way; some
    /// paths have words of their own.
    pub(super) fn instead(&self, path: &str) -> Option<Answer> {
        let answer = match &self.kind {
            FaultKind::Status(status, body) => capture::failure(path, *status, body)
                .unwrap_or_else(|| match body.is_empty() {
                    true => Answer { status: *status, ..Answer::server_error() },
                    false => Answer::new(*status, body.as_str()),
                }),
            FaultKind::HtmlStatus(status) => Answer::html(*status),
            FaultKind::Redirect(to) => Answer::new(302, "").with("Location", to),
            FaultKind::Throttled(wait) => match (capture::failure(path, 429, ""), wait) {
                (None, _) => Answer::throttled(*wait),
                (Some(answer), None) => answer,
                (Some(answer), Some(wait)) => answer.with("Retry-After", wait.to_string()),
            },
            _ => return None,
        };
        Some(self.headers.iter().fold(answer, |answer, (name, value)| answer.with(name, value)))
    }

    /// Does to a good answer what can be done to its text.
    pub(super) fn spoil(&self, mut answer: Answer, host: &str) -> Answer {
        match &self.kind {
            FaultKind::Html => return Answer::html(200),
            FaultKind::CutJson => answer.body.truncate(answer.body.len() / 2),
            FaultKind::ForeignNext(origin) => {
                let text = String::from_utf8_lossy(&answer.body);
                answer.body = text.replace(&format!("http://{host}"), origin).into_bytes();
            }
            _ => {}
        }
        self.headers.iter().fold(answer, |answer, (name, value)| answer.with(name, value))
    }
}

/// The faults in force, each with the requests it has seen.
#[derive(Debug, Default)]
pub(super) struct Faults(Vec<(Fault, usize)>);

impl Faults {
    /// Puts a fault in force.
    pub(super) fn add(&mut self, fault: Fault) {
        self.0.push((fault, 0));
    }

    /// Lifts all faults.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Shows a request to every fault; the first that is due strikes.
    pub(super) fn strike(&mut self, line: &str) -> Option<Fault> {
        let mut struck = None;
        for (fault, seen) in &mut self.0 {
            if line.contains(&fault.matching) {
                *seen += 1;
                if struck.is_none() && fault.when.is_due(*seen) {
                    struck = Some(fault.clone());
                }
            }
        }
        struck
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn struck(fault: Fault) -> Vec<usize> {
        let mut faults = Faults::default();
        faults.add(fault);
        (1..=6)
            .filter(|_| faults.strike("GET /api/projects/1/events/?limit=1\n").is_some())
            .collect()
    }

    #[test]
    fn a_fault_strikes_when_it_is_due_and_only_on_what_matches() {
        assert_eq!(struck(Fault::on("events", FaultKind::Html)), [1, 2, 3, 4, 5, 6]);
        assert_eq!(struck(Fault::on("GET /api", FaultKind::Html).nth(&[2, 5])), [2, 5]);
        assert_eq!(struck(Fault::on("events", FaultKind::Html).first(2)), [1, 2]);
        assert_eq!(struck(Fault::on("limit=1", FaultKind::Html).every(3)), [3, 6]);
        assert!(struck(Fault::on("cohorts", FaultKind::Html)).is_empty());
    }
}
