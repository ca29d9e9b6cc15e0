//! What of a filter a store can decide as we do.

use super::{Comparison, Condition, Filter, Literal, Place};

/// A condition in a store's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// Every wanted record fulfils it.
    pub condition: String,
    /// Only wanted ones do.
    pub is_exact: bool,
}

impl Filter {
    /// The part of it that the store can be asked, by the expressions of its columns. Those
    /// must never be null there, and compare as the rows' texts and times do.
    pub fn sql<'a>(&self, expression_of: &dyn Fn(&str) -> Option<&'a str>) -> Option<Pushed> {
        self.0.sql(expression_of)
    }
}

impl Condition {
    fn sql<'a>(&self, expression_of: &dyn Fn(&str) -> Option<&'a str>) -> Option<Pushed> {
        let exact = |condition| Pushed { condition, is_exact: true };
        match self {
            Self::All(parts) => {
                let pushed: Vec<Pushed> =
                    parts.iter().filter_map(|part| part.sql(expression_of)).collect();
                let is_exact =
                    pushed.len() == parts.len() && pushed.iter().all(|part| part.is_exact);
                (!pushed.is_empty())
                    .then(|| Pushed { condition: joined(&pushed, " AND "), is_exact })
            }
            Self::Any(parts) => {
                let pushed: Option<Vec<Pushed>> =
                    parts.iter().map(|part| part.sql(expression_of)).collect();
                let pushed = pushed?;
                let is_exact = pushed.iter().all(|part| part.is_exact);
                Some(Pushed { condition: joined(&pushed, " OR "), is_exact })
            }
            Self::Not(part) => {
                let inner = part.sql(expression_of).filter(|inner| inner.is_exact)?;
                Some(exact(format!("not({})", inner.condition)))
            }
            Self::Is(place, comparison, literal) => {
                let expression = expression_of(place.plain()?)?;
                let sign = match comparison {
                    Comparison::Equal => "=",
                    Comparison::Unequal => "!=",
                    Comparison::Less => "<",
                    Comparison::AtMost => "<=",
                    Comparison::Greater => ">",
                    Comparison::AtLeast => ">=",
                };
                Some(exact(format!("{expression} {sign} {}", literal.sql()?)))
            }
            Self::Like { place, pattern, any_case: false } if !pattern.contains('\\') => {
                let expression = expression_of(place.plain()?)?;
                Some(exact(format!("{expression} LIKE {}", quoted(pattern)?)))
            }
            // Cases differ between alphabets, and nulls between ways of reading.
            Self::Like { .. } | Self::Null(_) => None,
        }
    }
}

impl Place {
    /// Its column, where nothing inside of it is meant.
    fn plain(&self) -> Option<&str> {
        self.keys.is_empty().then_some(&self.column)
    }
}

impl Literal {
    fn sql(&self) -> Option<String> {
        match self {
            Self::Text(text) => quoted(text),
            Self::Time(at) => Some(format!("toDateTime('{at}')")),
            // No column that a store is asked by holds these.
            Self::Number(_) | Self::Bool(_) => None,
        }
    }
}

fn joined(parts: &[Pushed], between: &str) -> String {
    let parts: Vec<String> = parts.iter().map(|part| format!("({})", part.condition)).collect();
    parts.join(between)
}

/// A text in a store's quotes; nothing for one that two stores might spell differently.
fn quoted(text: &str) -> Option<String> {
    let is_plain = |c: char| !c.is_control();
    text.chars().all(is_plain).then(|| {
        let escaped = text.replace('\\', "\\\\").replace('\'', "\\'");
        format!("'{escaped}'")
    })
}
