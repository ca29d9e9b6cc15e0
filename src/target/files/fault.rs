//! What went wrong with a bucket, in words, and what the user can do about it.
//!
//! Errors arrive with all that is known of them at once, the server's XML included; here they
//! become the server's own sentence, or that of the network.

use std::error::Error;
use std::io;

/// What keys a server wants.
const KEYS: &str = "check access_key_id and secret_access_key of the connection, or \
    AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY";

const RIGHTS: &str = "the key needs the right to list the bucket, and to get, put and delete its \
    objects";

const REGION: &str = "name the region that the bucket is in";

const NO_KEYS: &str = "no keys were found: give access_key_id and secret_access_key in a \
    connection of type s3, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY";

/// Why a bucket did not do what it was asked; travels inside an [`io::Error`].
#[derive(Debug, thiserror::Error)]
#[error("{cause}")]
pub(super) struct Fault {
    cause: String,
    hint: &'static str,
}

impl Fault {
    /// An error with a hint of its own.
    pub(super) fn error(cause: impl Into<String>, hint: &'static str) -> io::Error {
        io::Error::other(Self { cause: cause.into(), hint })
    }

    /// The process was asked to stop.
    pub(super) fn stopped() -> io::Error {
        Self::error("the process was asked to stop", "run again: nothing is lost")
    }

    /// What to do about an error that is one of these.
    pub(super) fn hint_of(err: &io::Error) -> Option<&'static str> {
        err.get_ref()?.downcast_ref::<Self>().map(|fault| fault.hint)
    }
}

/// What the kind of an answer alone tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The key is none.
    Unknown,
    /// The key may not do that.
    Forbidden,
    /// Anything else.
    Other,
}

/// An error of the bucket's, in words.
pub(super) fn told(err: &(dyn Error + 'static), kind: Kind) -> io::Error {
    let text = err.to_string();
    let code = between(&text, "<Code>", "</Code>");
    let message = between(&text, "<Message>", "</Message>");
    let cause = match (code, message) {
        (Some(code), Some(message)) => format!("the server answered {code}: {message}"),
        (Some(code), None) => format!("the server answered {code}"),
        _ => innermost(err),
    };
    Fault::error(cause, hint(&text, code.unwrap_or_default(), kind))
}

fn hint(text: &str, code: &str, kind: Kind) -> &'static str {
    match (code, kind) {
        ("NoSuchBucket", _) => "create the bucket, or correct its name",
        ("RequestTimeTooSkewed", _) => "set the clock of this machine",
        ("PermanentRedirect" | "AuthorizationHeaderMalformed", _) => REGION,
        ("InvalidAccessKeyId" | "SignatureDoesNotMatch" | "ExpiredToken" | "InvalidToken", _)
        | (_, Kind::Unknown) => KEYS,
        (_, Kind::Forbidden) => RIGHTS,
        // Where keys are looked for last: in the machine, if it is one of Amazon's.
        _ if text.contains("/latest/api/token") || text.contains("/latest/meta-data/") => NO_KEYS,
        _ if text.contains("redirect") => REGION,
        _ => "check endpoint, region and network, then run again: nothing is lost",
    }
}

/// What stands between two marks.
fn between<'a>(text: &'a str, from: &str, to: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(from)?;
    rest.split_once(to).map(|(found, _)| found.trim())
}

/// What the last of those in the chain says, which is closest to the matter.
fn innermost(err: &(dyn Error + 'static)) -> String {
    std::iter::successors(Some(err), |&err| err.source()).last().unwrap_or(err).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Outer(&'static str, #[source] std::fmt::Error);

    #[test]
    fn the_servers_own_sentence_is_told() {
        let xml = "PUT http://h/x: 403: <Error><Code>InvalidAccessKeyId</Code><Message>\n The key \
                   is none.</Message><RequestId>1</RequestId></Error>";
        for (text, kind, cause, hint) in [
            (
                xml,
                Kind::Forbidden,
                "the server answered InvalidAccessKeyId: The key is none.",
                KEYS,
            ),
            (
                "<Code>AccessDenied</Code>",
                Kind::Forbidden,
                "the server answered AccessDenied",
                RIGHTS,
            ),
            (
                "GET http://169.254.169.254/latest/api/token",
                Kind::Other,
                "an error occurred when formatting an argument",
                NO_KEYS,
            ),
        ] {
            let err = told(&Outer(text, std::fmt::Error), kind);

            assert_eq!(err.to_string(), cause);
            assert_eq!(Fault::hint_of(&err), Some(hint));
        }
        assert_eq!(Fault::hint_of(&io::ErrorKind::StorageFull.into()), None);
    }
}
