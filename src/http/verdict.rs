//! What to do about an answer: one pure function.
//!
//! [`judge`] takes what an answer says and returns what follows from it. It
//! counts nothing and waits for nothing: how often and how long to retry is
//! [`super::retry`]'s.

use std::time::Duration;

use super::refusal::{Facts, Refusal};
use super::{AskError, BadBody, quote};

/// What follows from an answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It brings what was asked for.
    Accept,
    /// Asking again may help.
    Retry(Fault),
    /// Asking again will not help, asking for less will.
    Smaller {
        /// The HTTP status.
        status: u16,
        /// What PostHog says.
        detail: String,
    },
    /// Nothing but a person helps.
    Fail(AskError),
}

/// Something that may be gone the next time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    /// Which patience it is met with.
    pub kind: Kind,
    /// The HTTP status; none where no answer came.
    pub status: Option<u16>,
    /// The wait the server asks for.
    pub after: Option<Duration>,
    /// One line for people.
    pub detail: String,
}

/// The kinds of faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// 429: too fast, or too many at once.
    Throttled,
    /// 408 and 5xx.
    Server,
    /// No answer, or none in time.
    Network,
    /// An answer that is cut, cannot be unpacked or is not the JSON asked for.
    Body,
}

impl Fault {
    /// A fault of the way to PostHog.
    pub(super) fn network(detail: impl Into<String>) -> Self {
        Self { kind: Kind::Network, status: None, after: None, detail: detail.into() }
    }

    /// A fault of a body.
    pub(super) fn body(detail: impl Into<String>) -> Self {
        Self { kind: Kind::Body, status: None, after: None, detail: detail.into() }
    }
}

/// How an attempt ends that brought nothing to keep.
pub(super) enum Setback {
    /// May be gone the next time.
    Fault(Fault),
    /// Stays.
    Final(AskError),
}

impl From<BadBody> for Setback {
    fn from(bad: BadBody) -> Self {
        match bad {
            BadBody::NotJson(why) => {
                Self::Fault(Fault::body(format!("not the JSON asked for: {}", quote(&why))))
            }
            BadBody::TooMuch(detail) => Self::Final(AskError::TooMuch { status: 200, detail }),
            BadBody::Stopped(_) => Self::Final(AskError::Stopped),
        }
    }
}

impl From<Fault> for Setback {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// Says what follows from an answer. `refusal` is not looked at where the status is 2xx.
pub(super) fn judge(facts: &Facts, refusal: &Refusal) -> Verdict {
    match facts.status {
        200..=299 => Verdict::Accept,
        300..=399 => Verdict::Fail(redirected(facts)),
        408 => retry(Kind::Server, facts, refusal),
        429 => throttled(facts, refusal),
        400..=499 => Verdict::Fail(refused(facts.status, refusal)),
        // 512 is PostHog's own: the query is estimated to take too long.
        512 => smaller(facts.status, refusal),
        // In JSON it is PostHog's query that ran out of time; otherwise a gateway's
        // patience ended, which may be chance.
        504 if refusal.is_json => smaller(facts.status, refusal),
        503 if refusal.is_json => throttled_or(Kind::Server, facts, refusal),
        500..=599 => retry(Kind::Server, facts, refusal),
        status => {
            Verdict::Fail(AskError::Contract { detail: format!("an answer with status {status}") })
        }
    }
}

/// Says what follows from the answer to events that were sent. None is too large a question, and
/// 413 and 400 are the sender's to mend.
pub(super) fn judge_sent(facts: &Facts, refusal: &Refusal) -> Verdict {
    match facts.status {
        429 => retry(Kind::Throttled, facts, refusal),
        503.. if facts.status < 600 => retry(Kind::Server, facts, refusal),
        _ => judge(facts, refusal),
    }
}

fn throttled(facts: &Facts, refusal: &Refusal) -> Verdict {
    throttled_or(Kind::Throttled, facts, refusal)
}

/// A retry, except where PostHog names no wait and blames the question's size.
fn throttled_or(kind: Kind, facts: &Facts, refusal: &Refusal) -> Verdict {
    let wait = facts.retry_after.or_else(|| refusal.expected_wait());
    if wait.is_none() && refusal.mentions(&["timeout", "timed out", "capacity"]) {
        return smaller(facts.status, refusal);
    }
    retry(kind, facts, refusal)
}

fn retry(kind: Kind, facts: &Facts, refusal: &Refusal) -> Verdict {
    Verdict::Retry(Fault {
        kind,
        status: Some(facts.status),
        after: facts.retry_after.or_else(|| refusal.expected_wait()),
        detail: format!("PostHog answered {}: {}", facts.status, refusal.detail),
    })
}

fn smaller(status: u16, refusal: &Refusal) -> Verdict {
    Verdict::Smaller { status, detail: refusal.detail.clone() }
}

fn redirected(facts: &Facts) -> AskError {
    let to = facts.location.as_deref().unwrap_or("nowhere");
    AskError::Contract {
        detail: format!("a redirect ({}) to {to}, which is not followed", facts.status),
    }
}

fn refused(status: u16, refusal: &Refusal) -> AskError {
    let detail = refusal.detail.clone();
    match (status, refusal.missing_scope()) {
        (401, _) => AskError::Unauthorized { detail },
        (402, _) => AskError::PaymentRequired { detail },
        (403, Some(scope)) => AskError::MissingScope { scope },
        (403, None) => AskError::Forbidden { detail },
        (404, _) => AskError::NotFound { detail },
        _ => AskError::Refused { status, code: refusal.code.clone(), detail },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(status: u16, retry_after: Option<u64>, body: &str) -> Verdict {
        let retry_after = retry_after.map(Duration::from_secs);
        let facts =
            Facts { status, retry_after, location: Some("elsewhere".into()), ..Facts::default() };
        judge(&facts, &Refusal::read(body.as_bytes()))
    }

    /// One word for a verdict: what follows, and the wait.
    fn word(verdict: &Verdict) -> String {
        match verdict {
            Verdict::Accept => "accept".into(),
            Verdict::Retry(Fault { kind, after: Some(after), .. }) => format!("{kind:?} {after:?}"),
            Verdict::Retry(fault) => format!("{:?}", fault.kind),
            Verdict::Smaller { status, .. } => format!("smaller {status}"),
            Verdict::Fail(error) => {
                let name = format!("{error:?}");
                name.split_once(' ').map_or(name.clone(), |(name, _)| name.to_owned())
            }
        }
    }

    #[test]
    fn every_answer_has_its_verdict() {
        let concurrency =
            r#"{"detail":"Exceeded maximum concurrency limit: 3 for key: api:query"}"#;
        for (status, after, body, expected) in [
            (200, None, "", "accept"),
            (201, None, "", "accept"),
            (302, None, "", "Contract"),
            (304, None, "", "Contract"),
            (400, None, r#"{"detail":"bad"}"#, "Refused"),
            (401, None, r#"{"detail":"invalid"}"#, "Unauthorized"),
            (402, None, r#"{"detail":"quota"}"#, "PaymentRequired"),
            (
                403,
                None,
                r#"{"detail":"API key missing required scope 'person:read'"}"#,
                "MissingScope",
            ),
            (403, None, "<title>Blocked</title>", "Forbidden"),
            (404, None, r#"{"detail":"Project not found."}"#, "NotFound"),
            (405, None, "", "Refused"),
            (408, None, "", "Server"),
            (413, None, "", "Refused"),
            (415, None, "", "Refused"),
            (429, Some(37), r#"{"detail":"throttled"}"#, "Throttled 37s"),
            (429, Some(0), r#"{"detail":"throttled"}"#, "Throttled 0ns"),
            (429, None, r#"{"detail":"Expected available in 9 seconds."}"#, "Throttled 9s"),
            (429, Some(37), r#"{"detail":"Expected available in 9 seconds."}"#, "Throttled 37s"),
            (429, None, concurrency, "Throttled"),
            (429, None, "", "Throttled"),
            (429, None, r#"{"detail":"ClickHouse is at capacity"}"#, "smaller 429"),
            (429, Some(5), r#"{"detail":"ClickHouse is at capacity"}"#, "Throttled 5s"),
            (429, None, r#"{"detail":"Query timeout"}"#, "smaller 429"),
            (500, None, r#"{"detail":"A server error occurred."}"#, "Server"),
            (502, None, "<title>Bad gateway</title>", "Server"),
            (503, None, r#"{"detail":"Queries are a little too busy right now."}"#, "Server"),
            (503, Some(3), "", "Server 3s"),
            (503, None, r#"{"detail":"timeout exceeded"}"#, "smaller 503"),
            (503, None, "upstream connect error: connection timeout", "Server"),
            (504, None, r#"{"detail":"Query exceeded its time"}"#, "smaller 504"),
            (504, None, "<title>Gateway time-out</title>", "Server"),
            (504, None, "", "Server"),
            (512, None, "", "smaller 512"),
            (520, None, "", "Server"),
            (700, None, "", "Contract"),
        ] {
            assert_eq!(word(&verdict(status, after, body)), expected, "{status} {after:?} {body}");
        }
    }

    #[test]
    fn events_are_sent_again_only_where_that_may_help() {
        for (status, body, expected) in [
            (200, "", "accept"),
            (204, "", "accept"),
            (307, "", "Contract"),
            (400, "failed to parse request", "Refused"),
            (401, "API key is not valid: empty", "Unauthorized"),
            (403, "", "Forbidden"),
            (404, "", "NotFound"),
            (408, "client stopped sending data", "Server"),
            (413, "maximum event size exceeded", "Refused"),
            (429, r#"{"detail":"at capacity"}"#, "Throttled"),
            (500, "internal server error", "Server"),
            (503, r#"{"detail":"timeout"}"#, "Server"),
            (504, r#"{"detail":"timeout"}"#, "Server"),
            (512, "", "Server"),
            (700, "", "Contract"),
        ] {
            let facts = Facts { status, ..Facts::default() };
            let verdict = judge_sent(&facts, &Refusal::read(body.as_bytes()));
            assert_eq!(word(&verdict), expected, "{status} {body}");
        }
    }

    #[test]
    fn a_redirect_is_told_with_where_it_points() {
        let Verdict::Fail(error) = verdict(302, None, "") else { panic!("followed") };

        assert_eq!(
            error.to_string(),
            "the answer breaks PostHog's contract: a redirect (302) to elsewhere, which is not followed"
        );
    }
}
