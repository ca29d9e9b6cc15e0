//! How keys are spelt as names of columns: `column_casing: snake`.

use std::borrow::Cow;

/// A spelling of names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Casing {
    /// As the source has them.
    #[default]
    Source,
    /// Words of small letters with `_` between.
    Snake,
    /// Small letters.
    Lower,
}

impl Casing {
    /// Every spelling by its name.
    pub const ALL: [(&'static str, Self); 3] =
        [("source", Self::Source), ("snake", Self::Snake), ("lower", Self::Lower)];

    /// The name of a column for `key`.
    pub fn name(self, key: &str) -> Cow<'_, str> {
        match self {
            Self::Source => key.into(),
            Self::Lower => key.to_lowercase().into(),
            Self::Snake => snake(key).into(),
        }
    }
}

/// Words begin where a capital follows a small letter or a digit, and where one does before a
/// small letter: `userID` and `HTTPCode` are `user_id` and `http_code`. What is neither letter nor
/// digit becomes `_`, so that `$ip` and `ip` stay apart.
fn snake(key: &str) -> String {
    let mut name = String::with_capacity(key.len() + 4);
    let mut before = None;
    let mut letters = key.chars().peekable();
    while let Some(letter) = letters.next() {
        let is_next_small = letters.peek().is_some_and(|next| next.is_lowercase());
        let begins = before.is_some_and(|before: char| {
            before.is_lowercase() || before.is_numeric() || (before.is_uppercase() && is_next_small)
        });
        if letter.is_uppercase() && begins {
            name.push('_');
        }
        match letter.is_alphanumeric() {
            true => name.extend(letter.to_lowercase()),
            false => name.push('_'),
        }
        before = Some(letter);
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_become_words_of_small_letters() {
        for (key, name) in [
            ("plan", "plan"),
            ("planName", "plan_name"),
            ("userID", "user_id"),
            ("HTTPCode2Go", "http_code2_go"),
            ("$ip", "_ip"),
            ("utm source-2", "utm_source_2"),
            ("ÄrgerÖl", "ärger_öl"),
            ("", ""),
        ] {
            assert_eq!(Casing::Snake.name(key), name, "{key}");
        }
        assert_eq!(Casing::Lower.name("$PlanName"), "$planname");
        assert_eq!(Casing::Source.name("$PlanName"), "$PlanName");
    }
}
