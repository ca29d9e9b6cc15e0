//! Values that are not to be stored as they are: `transforms: { email: [trim, lower, hash] }`.
//!
//! A [`Transform`] changes texts of one column, or values at a place inside a column that holds
//! JSON; null stays null. Columns that are taken out of others are cut from what was changed,
//! so nothing that was to be hidden comes through beside it.

use ring::digest::{SHA256, digest};
use serde_json::Value as Json;

use crate::record::{inside, json, value};

/// What stands for a text that nobody is to see.
const MASKED: &str = "***";

/// What becomes of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// White space around it goes.
    Trim,
    /// Lower case.
    Lower,
    /// Upper case.
    Upper,
    /// Its SHA-256, in hexadecimal digits.
    Hash,
    /// `***`.
    Mask,
}

impl Step {
    /// Every step by its name; some have another with Sling.
    pub const ALL: [(&'static str, Self); 7] = [
        ("trim", Self::Trim),
        ("lower", Self::Lower),
        ("upper", Self::Upper),
        ("hash", Self::Hash),
        ("mask", Self::Mask),
        ("trim_space", Self::Trim),
        ("hash_sha256", Self::Hash),
    ];

    fn take(self, text: &str) -> String {
        match self {
            Self::Trim => text.trim().to_owned(),
            Self::Lower => text.to_lowercase(),
            Self::Upper => text.to_uppercase(),
            Self::Hash => {
                let hash = digest(&SHA256, text.as_bytes());
                hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
            }
            Self::Mask => MASKED.to_owned(),
        }
    }

    /// Whether it hides what was there, whatever that was.
    fn hides(self) -> bool {
        matches!(self, Self::Hash | Self::Mask)
    }
}

/// What becomes of the values of a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transform {
    /// The column, by index.
    pub column: usize,
    /// The keys that lead to the value inside of it; none where the column itself is meant.
    pub keys: Vec<String>,
    /// The steps, in their order.
    pub steps: Vec<Step>,
}

impl Transform {
    /// The JSON that takes the place of a column's `json`; nothing where it stays.
    pub(crate) fn apply(&self, json: &str) -> Option<String> {
        if self.keys.is_empty() {
            return self.change(json);
        }
        if !json::is_json(json) {
            // What cannot be read cannot be searched for what is to be hidden.
            let hides = self.steps.iter().any(|step| step.hides());
            return hides.then(|| Json::from(MASKED).to_string());
        }
        let mut changed = String::new();
        let mut done = 0;
        for (from, to) in inside::places(json, &self.keys) {
            let Some(other) = self.change(&json[from..to]) else { continue };
            changed.push_str(&json[done..from]);
            changed.push_str(&other);
            done = to;
        }
        (done > 0).then(|| changed + &json[done..])
    }

    /// The token that takes the place of one.
    fn change(&self, token: &str) -> Option<String> {
        if token == "null" {
            return None;
        }
        let content = value::string_content(token);
        let is_text = content.is_some();
        let mut text =
            content.map_or(token.into(), |content| value::unescape(content).0.into_owned());
        let mut is_changed = false;
        for step in &self.steps {
            if is_text || is_changed || step.hides() {
                text = step.take(&text);
                is_changed = true;
            }
        }
        is_changed.then(|| Json::from(text).to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transformed(json: &str, keys: &[&str], steps: &[Step]) -> String {
        let keys = keys.iter().map(|&key| key.to_owned()).collect();
        let transform = Transform { column: 0, keys, steps: steps.to_vec() };
        transform.apply(json).unwrap_or_else(|| json.to_owned())
    }

    #[test]
    fn steps_follow_each_other() {
        use Step::{Hash, Lower, Mask, Trim, Upper};
        let hashed = transformed("\" Anna@Example.org\"", &[], &[Trim, Lower, Hash]);
        // As `printf anna@example.org | sha256sum` says.
        assert_eq!(hashed, "\"a3bf86238a1c59bd2f0a648af9293620f90d18dad133d8fe2341cf9664a5d6d0\"");
        for (json, steps, expected) in [
            (r#""  a\tb ""#, &[Trim][..], r#""a\tb""#),
            (r#""Äb""#, &[Upper], r#""ÄB""#),
            (r#""secret""#, &[Mask], r#""***""#),
            ("null", &[Mask], "null"),
            ("17", &[Lower], "17"),
            ("17", &[Mask], r#""***""#),
            (r#"{"a":1}"#, &[Mask], r#""***""#),
            (
                "\"\"",
                &[Hash],
                "\"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\"",
            ),
        ] {
            assert_eq!(transformed(json, &[], steps), expected, "{json}");
        }
    }

    #[test]
    fn every_value_at_the_place_is_changed_and_nothing_else() {
        for (json, expected) in [
            (r#"{"x":1,"email":"a","y":"a"}"#, r#"{"x":1,"email":"***","y":"a"}"#),
            (r#"{"email": "a" , "email":"b"}"#, r#"{"email": "***" , "email":"***"}"#),
            (r#"{"email":{"of":["a"]}}"#, r#"{"email":"***"}"#),
            (r#"{"email":null}"#, r#"{"email":null}"#),
            (r#"{"e":"a"}"#, r#"{"e":"a"}"#),
            ("null", "null"),
            // Broken: whatever may be in it is hidden.
            (r#"{"x":1,"email":"a""#, r#""***""#),
        ] {
            assert_eq!(transformed(json, &["email"], &[Step::Mask]), expected, "{json}");
        }
        let nested = transformed(r#"{"$set":{"email":"A"}}"#, &["$set", "email"], &[Step::Lower]);
        assert_eq!(nested, r#"{"$set":{"email":"a"}}"#);
    }
}
