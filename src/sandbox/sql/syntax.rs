//! HogQL as a tree: what a query says, before anybody asks whether it can be answered.

use serde_json::Value;

/// A constant in a query.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Constant {
    /// `NULL`.
    Null,
    /// A whole number; `true` and `false` are 1 and 0.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// A text.
    Text(String),
}

/// An expression.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Expr {
    /// A constant, written out or put in for a placeholder.
    Constant(Constant),
    /// A column or alias, and what is inside of it: `events.timestamp`, `properties.plan`.
    Field(Vec<String>),
    /// `*`.
    Star,
    /// A function's name, whether `DISTINCT`, and its arguments.
    Call(String, bool, Vec<Self>),
    /// `not` or `-`.
    Unary(&'static str, Box<Self>),
    /// A comparison, a calculation, `and`, `or`.
    Binary(&'static str, Box<Self>, Box<Self>),
    /// `in` (or, false, `not in`) a list.
    In(bool, Box<Self>, Vec<Self>),
    /// `is null` (or, false, `is not null`).
    IsNull(bool, Box<Self>),
    /// `(a, b)` or `[a, b]`.
    Tuple(Vec<Self>),
}

impl Expr {
    /// Two expressions and what is between them.
    pub(super) fn binary(operator: &'static str, left: Self, right: Self) -> Self {
        Self::Binary(operator, Box::new(left), Box::new(right))
    }

    /// A number as it is written.
    pub(super) fn number(text: &str) -> Option<Self> {
        let constant = match text.parse() {
            Ok(number) => Constant::Int(number),
            Err(_) => Constant::Float(text.parse().ok()?),
        };
        Some(Self::Constant(constant))
    }

    /// What a placeholder stands for.
    pub(super) fn value(value: &Value) -> Self {
        Self::Constant(match value {
            Value::Null => Constant::Null,
            Value::Bool(is_true) => Constant::Int(i64::from(*is_true)),
            Value::Number(number) => match number.as_i64() {
                Some(number) => Constant::Int(number),
                None => Constant::Float(number.as_f64().unwrap_or(0.0)),
            },
            Value::String(text) => Constant::Text(text.clone()),
            Value::Array(list) => return Self::Tuple(list.iter().map(Self::value).collect()),
            Value::Object(_) => Constant::Text(value.to_string()),
        })
    }
}

/// A column of an answer.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Item {
    /// What it shows.
    pub(super) expr: Expr,
    /// What it is called: its alias, or its own text.
    pub(super) name: String,
    /// Whether the name is an alias.
    pub(super) is_alias: bool,
}

/// What is read.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Source {
    /// A table, and its alias.
    Table(String, Option<String>),
    /// Another query.
    Select(Box<Select>),
}

/// A query.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Select {
    /// Whether equal rows are shown once.
    pub(super) is_distinct: bool,
    /// The columns of the answer.
    pub(super) items: Vec<Item>,
    /// `FROM`.
    pub(super) source: Option<Source>,
    /// `WHERE`.
    pub(super) filter: Option<Expr>,
    /// `GROUP BY`.
    pub(super) group: Vec<Expr>,
    /// `HAVING`.
    pub(super) having: Option<Expr>,
    /// `ORDER BY`, each with whether it descends.
    pub(super) order: Vec<(Expr, bool)>,
    /// `LIMIT`.
    pub(super) limit: Option<u64>,
    /// `OFFSET`.
    pub(super) offset: Option<u64>,
}
