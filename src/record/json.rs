//! Whether a text is JSON, and whether white space stands between its tokens.
//!
//! Every JSON value of every row passes here, so nothing is built. The places in 64 bytes become
//! the bits of numbers, from which follows which bytes are inside of strings, and where tokens
//! begin; only those are looked at one by one (the way of simdjson). It takes what
//! `serde_json` takes, to any depth.

use crate::record::bytes::{self, BLOCK, Marks};

/// How a text stands to JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spelling {
    /// JSON, without white space between its tokens.
    Compact,
    /// JSON with white space between its tokens.
    Spaced,
    /// No JSON.
    Broken,
}

/// Judges a text.
pub(crate) fn spelling(text: &str) -> Spelling {
    let mut walk = Walk::default();
    let bytes = text.as_bytes();
    let is_good = bytes::blocks(bytes, b' ').all(|(base, block)| {
        let begun = walk.cut(&block).filter(|cut| has_good_escapes(bytes, base, cut.escapes));
        begun.is_some_and(|cut| {
            walk.is_spaced |= cut.blanks & filled(bytes.len() - base) != 0;
            bytes::ones(cut.tokens).all(|nth| walk.token(bytes, base + nth).is_some())
        })
    });
    match is_good && walk.is_over() {
        false => Spelling::Broken,
        true if walk.is_spaced => Spelling::Spaced,
        true => Spelling::Compact,
    }
}

/// Whether a text is JSON.
pub(crate) fn is_json(text: &str) -> bool {
    spelling(text) != Spelling::Broken
}

/// The bits of a block's bytes that are the text's, where so many are left of it.
fn filled(left: usize) -> u64 {
    if left < BLOCK { (1 << left) - 1 } else { u64::MAX }
}

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Due {
    #[default]
    Value,
    /// A value, or the end of an empty list.
    FirstValue,
    Key,
    /// A key, or the end of an empty object.
    FirstKey,
    Colon,
    /// A comma, or the end of what the value behind us is in.
    Behind,
}

/// How far a walk has come.
#[derive(Debug, Default)]
struct Walk {
    due: Due,
    /// What closes each of the lists and objects that are open.
    open: Vec<u8>,
    is_spaced: bool,
    /// Whether the next block's first byte is escaped.
    is_escaped: bool,
    /// All bits where the next block begins inside of a string; else none.
    in_string: u64,
    /// Whether the block before ended inside of a number or a word.
    in_scalar: bool,
}

/// What is in a block, as bits.
struct Cut {
    /// Backslashes that begin an escape.
    escapes: u64,
    /// White space between tokens.
    blanks: u64,
    /// Where tokens begin; of strings that is their first quote.
    tokens: u64,
}

impl Walk {
    /// Cuts a block; nothing where it holds what no JSON does at that place.
    fn cut(&mut self, block: &[u8; BLOCK]) -> Option<Cut> {
        let Marks { quotes, backslashes, signs, spaces, controls } = Marks::of(block);
        let escaped = bytes::escaped(backslashes, &mut self.is_escaped);
        let quotes = quotes & !escaped;
        // From the first quote of each string up to its last.
        let strings = bytes::running_parity(quotes) ^ self.in_string;
        self.in_string = if strings >> (BLOCK - 1) == 1 { u64::MAX } else { 0 };
        let breaks = controls & !strings;
        let is_break = |nth: usize| matches!(block[nth], b'\n' | b'\r' | b'\t');
        let is_good = controls & strings == 0 && backslashes & !strings == 0;
        if !is_good || !bytes::ones(breaks).all(is_break) {
            return None;
        }
        let signs = signs & !strings;
        let blanks = (spaces | breaks) & !strings;
        let scalars = !(strings | quotes | signs | blanks);
        let begun = scalars & !(scalars << 1 | u64::from(self.in_scalar));
        self.in_scalar = scalars >> (BLOCK - 1) == 1;
        let tokens = signs | quotes & strings | begun;
        Some(Cut { escapes: backslashes & !escaped, blanks, tokens })
    }

    /// Passes the token at an offset; nothing where another one is due.
    fn token(&mut self, bytes: &[u8], at: usize) -> Option<()> {
        let byte = bytes[at];
        self.due = match (self.due, byte) {
            (Due::Colon, b':') => Due::Value,
            (Due::Key | Due::FirstKey, b'"') => Due::Colon,
            (Due::Value | Due::FirstValue, b'"') => Due::Behind,
            (Due::Behind, b',') if self.open.last()? == &b'}' => Due::Key,
            (Due::Behind, b',') => Due::Value,
            (Due::Value | Due::FirstValue, b'{') => {
                self.open.push(b'}');
                Due::FirstKey
            }
            (Due::Value | Due::FirstValue, b'[') => {
                self.open.push(b']');
                Due::FirstValue
            }
            (Due::Behind, close) if self.open.last() == Some(&close) => self.close(),
            (Due::FirstKey, b'}') | (Due::FirstValue, b']') => self.close(),
            (Due::Value | Due::FirstValue, _) => {
                passes_scalar(&bytes[at..])?;
                Due::Behind
            }
            _ => return None,
        };
        Some(())
    }

    fn close(&mut self) -> Due {
        self.open.pop();
        Due::Behind
    }

    fn is_over(&self) -> bool {
        self.due == Due::Behind && self.open.is_empty() && self.in_string == 0
    }
}

/// Whether the escapes of a block spell characters, or halves of them.
fn has_good_escapes(bytes: &[u8], base: usize, escapes: u64) -> bool {
    bytes::ones(escapes).map(|nth| base + nth + 1).all(|at| match bytes.get(at) {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => true,
        Some(b'u') => {
            bytes.get(at + 1..at + 5).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
        }
        _ => false,
    })
}

/// Passes the number or word that bytes begin with, up to what ends it.
fn passes_scalar(bytes: &[u8]) -> Option<()> {
    let end = match bytes.first()? {
        b't' => bytes.starts_with(b"true").then_some(4)?,
        b'f' => bytes.starts_with(b"false").then_some(5)?,
        b'n' => bytes.starts_with(b"null").then_some(4)?,
        _ => number(bytes)?,
    };
    let ends = |byte: &u8| b" \n\r\t,:{}[]\"".contains(byte);
    bytes.get(end).is_none_or(ends).then_some(())
}

/// The length of the number that bytes begin with.
fn number(bytes: &[u8]) -> Option<usize> {
    let digits = |from: usize| {
        let rest = bytes.get(from..).unwrap_or_default();
        rest.iter().take_while(|byte| byte.is_ascii_digit()).count()
    };
    let some_digits = |from: usize| Some(digits(from)).filter(|count| *count > 0);
    let mut at = usize::from(bytes.first() == Some(&b'-'));
    at += match bytes.get(at)? {
        b'0' => 1,
        _ => some_digits(at)?,
    };
    if bytes.get(at) == Some(&b'.') {
        at += 1 + some_digits(at + 1)?;
    }
    if let Some(b'e' | b'E') = bytes.get(at) {
        at += 1 + usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-')));
        at += some_digits(at)?;
    }
    Some(at)
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use proptest::prelude::*;
    use serde::de::IgnoredAny;

    use super::*;
    use crate::record::value::compact;

    /// What `serde_json` says of it.
    fn expected(text: &str) -> Spelling {
        match (serde_json::from_str::<IgnoredAny>(text), compact(text)) {
            (Err(_), _) => Spelling::Broken,
            (Ok(_), Cow::Borrowed(_)) => Spelling::Compact,
            (Ok(_), Cow::Owned(_)) => Spelling::Spaced,
        }
    }

    /// Pieces that JSON is made of, and some that it is not.
    const PIECES: [&str; 44] = [
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"",
        "\"a\"",
        "\"long enough for a word\"",
        " ",
        "\n",
        "\t",
        "\r",
        "\u{c}",
        "0",
        "1",
        "-",
        "+",
        ".",
        "e",
        "E",
        "12",
        "1.5",
        "-0",
        "1e9",
        "2E-7",
        "true",
        "false",
        "null",
        "tru",
        "nul",
        "\\",
        "\\u00e9",
        "\\u12",
        "\\n",
        "\\/",
        "\\\"",
        "\\x",
        "é",
        "\u{1f994}",
        "\0",
        "\u{7f}",
        "{}",
        "[]",
    ];

    proptest! {
        #[test]
        fn a_text_is_judged_as_serde_json_does(
            pieces in prop::collection::vec(prop::sample::select(&PIECES[..]), 0..12),
        ) {
            let text = pieces.concat();
            prop_assert_eq!(spelling(&text), expected(&text), "{}", text);
            let inside = format!("{{\"a\":[{text},{{\"b\":\"{text}\"}}]}}");
            prop_assert_eq!(spelling(&inside), expected(&inside), "{}", inside);
        }

        #[test]
        fn json_with_a_byte_changed_is_judged_as_serde_json_does(
            at in 0_usize..200,
            byte in 0_u8..128,
        ) {
            let json = r#"{"$set":{"plan":"free","age":-12.5e3,"tags":["a\n","\u00e9🦔",null,true,false]},"n":0}"#;
            let mut bytes = json.as_bytes().to_vec();
            let at = at % bytes.len();
            bytes[at] = byte;
            if let Ok(text) = String::from_utf8(bytes) {
                prop_assert_eq!(spelling(&text), expected(&text), "{}", text);
            }
        }
    }

    #[test]
    fn no_depth_is_too_deep() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(spelling(&deep), Spelling::Compact);
        assert_eq!(spelling(&deep[1..]), Spelling::Broken);
    }
}
