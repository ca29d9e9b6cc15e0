//! Braces glued to text: `posthog.{stream_name}` and `${NAME}` inside `{ … }`.
//!
//! In a flow mapping YAML ends plain text at a brace, so `{ object: posthog.{stream_name} }`
//! is a syntax error, yet it is how replications are written. A `{word}` that touches
//! plain text is never valid YAML there, so reading it as text changes no valid
//! document: before parsing its two braces become characters the text does not
//! contain, one for one, which keeps every position; afterwards they turn back.
//! Inside quotes and block text the same happens, and is undone the same.

/// The characters that stand in for the two braces.
#[derive(Debug, Clone, Copy)]
pub(super) struct Braces {
    open: char,
    close: char,
}

impl Braces {
    /// Two private-use characters that `source` does not contain.
    pub(super) fn absent_from(source: &str) -> Option<Self> {
        let mut free = ('\u{e000}'..='\u{f8ff}').filter(|c| !source.contains(*c));
        Some(Self { open: free.next()?, close: free.next()? })
    }

    /// `source` with glued braces replaced, character for character.
    pub(super) fn mask(self, source: &str) -> String {
        let mut masked = String::with_capacity(source.len());
        let mut rest = source;
        while let Some(brace) = rest.find('{') {
            masked.push_str(&rest[..brace]);
            let inside = &rest[brace + 1..];
            let word_end = inside.find(|c| !is_word(c)).unwrap_or(inside.len());
            let after = inside[word_end..].strip_prefix('}').filter(|_| word_end > 0);
            match after {
                Some(after) if self.ends_in_text(&masked) || begins_with_text(after) => {
                    masked.push(self.open);
                    masked.push_str(&inside[..word_end]);
                    masked.push(self.close);
                    rest = after;
                }
                _ => {
                    masked.push('{');
                    rest = inside;
                }
            }
        }
        masked.push_str(rest);
        masked
    }

    /// The text with its braces back.
    pub(super) fn restore(self, text: &str) -> String {
        text.replace(self.open, "{").replace(self.close, "}")
    }

    /// Whether a brace that follows touches plain text. A colon is left out:
    /// `{a:{b}}` is valid and means a map in a map.
    fn ends_in_text(self, before: &str) -> bool {
        before.chars().next_back().is_some_and(|c| {
            is_word(c) || matches!(c, '.' | '-' | '/' | '$' | '+' | '=' | '~') || c == self.close
        })
    }
}

/// Whether text goes on directly behind a closing brace.
fn begins_with_text(after: &str) -> bool {
    after.chars().next().is_some_and(|c| is_word(c) || matches!(c, '.' | '-' | '/'))
}

/// A character of a variable's name.
fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_braces_glued_to_text_are_masked_and_all_come_back() {
        for (source, masked) in [
            ("{ object: posthog.{stream_name} }", "{ object: posthog.<stream_name> }"),
            ("{ object: {stream_name}_raw }", "{ object: <stream_name>_raw }"),
            ("{ o: a.{b}{c}.{d} }", "{ o: a.<b><c>.<d> }"),
            ("{ key: ${KEY} }", "{ key: $<KEY> }"),
            ("{ o: {stream_name} }", "{ o: {stream_name} }"),
            ("{a:{b}}", "{a:{b}}"),
            ("{\"a\":{b},c: [x,{d}]}", "{\"a\":{b},c: [x,{d}]}"),
            ("{ o: a.{b c} }", "{ o: a.{b c} }"),
            ("a.{} a.{", "a.{} a.{"),
        ] {
            let braces = Braces::absent_from(source).unwrap();

            let text = braces.mask(source);

            assert_eq!(text.replace(braces.open, "<").replace(braces.close, ">"), masked);
            assert_eq!(text.chars().count(), source.chars().count());
            assert_eq!(braces.restore(&text), source);
        }
    }

    #[test]
    fn characters_the_text_contains_are_not_used() {
        let source = "\u{e000} {a}b";

        let braces = Braces::absent_from(source).unwrap();

        assert_eq!(braces.restore(&braces.mask(source)), source);
    }
}
