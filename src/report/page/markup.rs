//! HTML that cannot be broken out of.
//!
//! Text enters it only through [`text`] and the values of attributes, which hide secrets and
//! escape; names of elements and attributes are the program's own. So no name, object or
//! message of a server becomes markup.

use std::fmt::Display;

use crate::config::secret::redact;

/// A piece of HTML.
#[derive(Debug, Clone, Default)]
pub(super) struct Markup(String);

impl Markup {
    /// The HTML itself.
    pub(super) fn into_string(self) -> String {
        self.0
    }
}

impl FromIterator<Self> for Markup {
    fn from_iter<T: IntoIterator<Item = Self>>(parts: T) -> Self {
        Self(parts.into_iter().map(|part| part.0).collect())
    }
}

/// Something to be read.
pub(super) fn text(text: impl Display) -> Markup {
    Markup(escaped(&text.to_string()))
}

/// Something to be read, in which what stands in backticks is code.
pub(super) fn prose(words: &str) -> Markup {
    let parts = words.split('`').enumerate();
    let part = |(n, part): (usize, _)| {
        if n.is_multiple_of(2) { text(part) } else { tag("code").text(part) }
    };
    let is_paired = words.matches('`').count().is_multiple_of(2);
    if is_paired { parts.map(part).collect() } else { text(words) }
}

/// An element that is to be filled.
pub(super) fn tag(name: &'static str) -> Tag {
    Tag { name, attributes: String::new() }
}

/// An element with its attributes.
#[derive(Debug)]
pub(super) struct Tag {
    name: &'static str,
    attributes: String,
}

impl Tag {
    /// With an attribute.
    pub(super) fn with(mut self, attribute: &'static str, value: impl Display) -> Self {
        self.attributes += &format!(" {attribute}=\"{}\"", escaped(&value.to_string()));
        self
    }

    /// Of a class.
    pub(super) fn class(self, class: &'static str) -> Self {
        self.with("class", class)
    }

    /// With this to be read in it.
    pub(super) fn text(self, words: impl Display) -> Markup {
        self.holding([text(words)])
    }

    /// With these in it, in order.
    pub(super) fn holding(self, parts: impl IntoIterator<Item = Markup>) -> Markup {
        let Self { name, attributes } = self;
        let inside = parts.into_iter().collect::<Markup>().0;
        Markup(format!("<{name}{attributes}>{inside}</{name}>"))
    }
}

fn escaped(text: &str) -> String {
    // Secrets first: escaped they would not be known again.
    let mut escaped = String::with_capacity(text.len());
    for c in redact(text).chars() {
        match c {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '"' => escaped += "&quot;",
            '\'' => escaped += "&#39;",
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::secret::Secret;

    #[test]
    fn nothing_that_is_said_becomes_markup() {
        let _secret = Secret::new("phx_<of>this&test");
        let said = "<script>\"it's\" & phx_<of>this&test";

        let html = tag("p").with("title", said).text(said).into_string();

        let shown = "&lt;script&gt;&quot;it&#39;s&quot; &amp; …";
        assert_eq!(html, format!("<p title=\"{shown}\">{shown}</p>"));
    }

    #[test]
    fn what_stands_in_backticks_is_code() {
        let html = |words| prose(words).into_string();
        assert_eq!(html("add `a<b` to it"), "add <code>a&lt;b</code> to it");
        assert_eq!(html("a lone ` stays"), "a lone ` stays");
    }
}
