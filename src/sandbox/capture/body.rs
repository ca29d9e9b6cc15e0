//! The body of a request to capture: compressed, wrapped in a form, or plain.
//!
//! What it is shows in its bytes; what its headers say of it is not asked.

use std::io::Read;

use flate2::read::GzDecoder;
use url::form_urlencoded;

use super::LARGEST_BODY;
use crate::base64;
use crate::sandbox::answer::{Answer, Question};

/// How every gzip file begins.
const GZIP: [u8; 3] = [0x1f, 0x8b, 8];

/// The bytes, decompressed where they begin like gzip and are whole. One byte more
/// than is taken tells that there are too many.
pub(in crate::sandbox) fn inflated(bytes: Vec<u8>) -> Vec<u8> {
    if !bytes.starts_with(&GZIP) {
        return bytes;
    }
    let mut plain = Vec::new();
    let most = LARGEST_BODY as u64 + 1;
    match GzDecoder::new(bytes.as_slice()).take(most).read_to_end(&mut plain) {
        Ok(_) => plain,
        Err(_) => bytes,
    }
}

/// The JSON of a request: its body, or what `data` says, there or in the address.
pub(super) fn text(question: &Question) -> Result<String, Answer> {
    let undecoded = |why: &str| Answer::plain(400, &format!("failed to decode request: {why}"));
    if question.body.starts_with(&GZIP) {
        return Err(undecoded("invalid gzip data"));
    }
    let body = std::str::from_utf8(&question.body).map_err(|_| undecoded("invalid UTF-8"))?;
    let data = if body.trim().is_empty() {
        let missing = || Answer::plain(400, "request missing data payload");
        question.parameter("data").ok_or_else(missing)?.to_owned()
    } else if body.starts_with("data=") {
        let (_, data) = form_urlencoded::parse(body.as_bytes()).next().unwrap_or_default();
        data.into_owned()
    } else {
        return Ok(body.to_owned());
    };
    if data.trim_start().starts_with(['{', '[']) {
        return Ok(data);
    }
    // A `+` that nobody escaped has become a space.
    let bytes = base64::decode(&data.replace(' ', "+")).map(inflated);
    let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    text.ok_or_else(|| undecoded("invalid base64 data"))
}
