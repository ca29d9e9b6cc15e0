//! HogQL turned into SQLite's SQL, with the type of every expression.
//!
//! Types matter for three things: an instant is kept in UTC and shown in a zone,
//! a UUID is compared by its second half first, and a text beside an instant is
//! read as one. Constants become parameters.

use super::syntax::{Constant, Expr, Item, Select, Source};
use super::{function, table};
use crate::cursor::Timestamp;
use crate::sandbox::time;

/// The type of an expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    /// A whole number.
    Int,
    /// A hash: 64 bits, kept as SQLite's integer that has them.
    Hash,
    /// Any number.
    Float,
    /// A text.
    Text,
    /// A UUID, kept as text.
    Uuid,
    /// An instant, shown so many minutes east of UTC.
    Time(i32),
    /// A day.
    Date,
    /// Nothing.
    Null,
}

impl Type {
    /// What ClickHouse calls it.
    pub(super) fn name(self) -> String {
        match self {
            Self::Int => "Int64".to_owned(),
            Self::Hash => "UInt64".to_owned(),
            Self::Float => "Float64".to_owned(),
            Self::Text => "String".to_owned(),
            Self::Uuid => "UUID".to_owned(),
            Self::Time(zone) => format!("DateTime64(6, '{}')", time::zone_name(zone)),
            Self::Date => "Date".to_owned(),
            Self::Null => "Nullable(Nothing)".to_owned(),
        }
    }
}

/// An expression in SQLite's words.
pub(super) type Typed = (String, Type);

/// A query ready to run.
#[derive(Debug)]
pub(super) struct Translation {
    /// SQLite's SQL.
    pub(super) sql: String,
    /// What stands for its parameters.
    pub(super) parameters: Vec<rusqlite::types::Value>,
    /// The columns of the answer.
    pub(super) columns: Vec<(String, Type)>,
}

/// The server's rules that a translation follows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    /// The zone that instants are shown and read in, in minutes east of UTC.
    pub(super) zone: i32,
    /// The project's zone, whether or not instants are shown in it.
    pub(super) project_zone: i32,
    /// Whether the server is one of 2023.
    pub(super) is_old: bool,
    /// The time at the server.
    pub(super) now: Timestamp,
}

/// Translates a query; what is wrong is said as PostHog says it.
pub(super) fn translate(select: &Select, limit: u64, rules: Rules) -> Result<Translation, String> {
    let mut translator = Translator { rules, parameters: Vec::new(), scope: Scope::default() };
    let top = Select { limit: Some(limit), ..select.clone() };
    let (sql, columns) = translator.select(&top)?;
    Ok(Translation { sql, parameters: translator.parameters, columns })
}

/// What names mean inside of a query.
#[derive(Debug, Default)]
struct Scope {
    /// The table's name and alias.
    tables: Vec<String>,
    /// Its columns: name, SQL, type.
    columns: Vec<(String, String, Type)>,
    /// The aliases of the columns shown.
    aliases: Vec<(String, Type)>,
}

/// Translates one query and what is inside of it.
pub(super) struct Translator {
    /// The server's rules.
    pub(super) rules: Rules,
    parameters: Vec<rusqlite::types::Value>,
    scope: Scope,
}

impl Translator {
    fn select(&mut self, select: &Select) -> Result<(String, Vec<(String, Type)>), String> {
        let source = self.source(select.source.as_ref())?;
        let (items, columns) = self.items(&select.items)?;
        let distinct = if select.is_distinct { "DISTINCT " } else { "" };
        let mut sql = format!("SELECT {distinct}{items}{source}");
        if let Some(filter) = &select.filter {
            sql.push_str(&format!(" WHERE {}", self.expr(filter)?.0));
        }
        if !select.group.is_empty() {
            let group = select.group.iter().map(|expr| Ok(self.expr(expr)?.0));
            sql.push_str(&format!(
                " GROUP BY {}",
                group.collect::<Result<Vec<_>, String>>()?.join(", ")
            ));
        }
        if let Some(having) = &select.having {
            sql.push_str(&format!(" HAVING {}", self.expr(having)?.0));
        }
        if !select.order.is_empty() {
            sql.push_str(&format!(" ORDER BY {}", self.order(&select.order)?));
        }
        if let Some(limit) = select.limit {
            sql.push_str(&format!(" LIMIT {limit}"));
        }
        if let Some(offset) = select.offset {
            sql.push_str(&format!(" OFFSET {offset}"));
        }
        Ok((sql, columns))
    }

    /// `FROM …`, and what its names mean from here on.
    fn source(&mut self, source: Option<&Source>) -> Result<String, String> {
        self.scope = Scope::default();
        match source {
            None => Ok(String::new()),
            Some(Source::Table(name, alias)) => {
                let columns = table::columns(name, self.rules)
                    .ok_or_else(|| format!("Unknown table `{name}`."))?;
                self.scope.tables =
                    [Some(name.clone()), alias.clone()].into_iter().flatten().collect();
                self.scope.columns = columns;
                Ok(format!(" FROM {name} AS t"))
            }
            Some(Source::Select(select)) => {
                let (sql, columns) = self.select(select)?;
                let named = columns.into_iter().map(|(name, kind)| {
                    let sql = format!("t.{}", quoted(&name));
                    (name, sql, kind)
                });
                self.scope = Scope { columns: named.collect(), ..Scope::default() };
                Ok(format!(" FROM ({sql}) AS t"))
            }
        }
    }

    fn items(&mut self, items: &[Item]) -> Result<(String, Vec<(String, Type)>), String> {
        let mut sql = Vec::new();
        let mut columns = Vec::new();
        for item in items {
            if item.expr == Expr::Star {
                for (name, text, kind) in &self.scope.columns {
                    sql.push(format!("{text} AS {}", quoted(name)));
                    columns.push((name.clone(), *kind));
                }
                continue;
            }
            let (text, kind) = self.expr(&item.expr)?;
            sql.push(format!("{text} AS {}", quoted(&item.name)));
            columns.push((item.name.clone(), kind));
            if item.is_alias {
                self.scope.aliases.push((item.name.clone(), kind));
            }
        }
        Ok((sql.join(", "), columns))
    }

    fn order(&mut self, order: &[(Expr, bool)]) -> Result<String, String> {
        let mut parts = Vec::new();
        for (expr, is_descending) in order {
            let (sql, kind) = self.expr(expr)?;
            let sql = if kind == Type::Uuid { format!("hog_uuid({sql})") } else { sql };
            parts.push(format!("{sql}{}", if *is_descending { " DESC" } else { "" }));
        }
        Ok(parts.join(", "))
    }

    /// One expression.
    pub(super) fn expr(&mut self, expr: &Expr) -> Result<Typed, String> {
        match expr {
            Expr::Constant(constant) => Ok(self.constant(constant)),
            Expr::Field(chain) => self.field(chain),
            Expr::Star => Ok(("*".to_owned(), Type::Null)),
            Expr::Call(name, is_distinct, arguments) => {
                function::call(self, name, *is_distinct, arguments)
            }
            Expr::Unary("not", inner) => Ok((format!("(NOT {})", self.expr(inner)?.0), Type::Int)),
            Expr::Unary(operator, inner) => {
                let (sql, kind) = self.expr(inner)?;
                Ok((format!("({operator} {sql})"), kind))
            }
            Expr::Binary(operator, left, right) => self.binary(operator, left, right),
            Expr::In(is_in, left, list) => self.within(*is_in, left, list),
            Expr::IsNull(is_null, inner) => {
                let not = if *is_null { "" } else { "NOT " };
                Ok((format!("({} IS {not}NULL)", self.expr(inner)?.0), Type::Int))
            }
            Expr::Tuple(list) => {
                let parts = list.iter().map(|part| Ok(self.expr(part)?.0));
                let parts = parts.collect::<Result<Vec<_>, String>>()?;
                Ok((format!("({})", parts.join(", ")), Type::Text))
            }
        }
    }

    fn constant(&mut self, constant: &Constant) -> Typed {
        match constant {
            Constant::Null => ("NULL".to_owned(), Type::Null),
            Constant::Int(number) => (number.to_string(), Type::Int),
            Constant::Float(number) => (format!("{number:e}"), Type::Float),
            Constant::Text(text) => (self.parameter(text), Type::Text),
        }
    }

    /// A text as a parameter.
    pub(super) fn parameter(&mut self, text: &str) -> String {
        self.parameters.push(text.to_owned().into());
        format!("?{}", self.parameters.len())
    }

    fn field(&mut self, chain: &[String]) -> Result<Typed, String> {
        let known = |name: &String| self.scope.tables.contains(name);
        let chain = if chain.len() > 1 && known(&chain[0]) { &chain[1..] } else { chain };
        let unknown = || format!("Unable to resolve field: {}", chain[0]);
        let name = match chain {
            [person, id] if person == "person" && id == "id" => "person_id",
            [name, ..] => name,
            [] => return Err(unknown()),
        };
        let column = self.scope.columns.iter().find(|(column, _, _)| column == name).cloned();
        let inside = if name == "person_id" { &[] } else { &chain[1..] };
        match (column, inside) {
            (Some((_, sql, kind)), []) => Ok((sql, kind)),
            (Some((name, sql, _)), [key]) if name == "properties" => {
                let path = self.parameter(&format!("$.\"{key}\""));
                Ok((format!("json_extract({sql}, {path})"), Type::Text))
            }
            (None, []) => {
                let alias = self.scope.aliases.iter().find(|(alias, _)| alias == name);
                let (alias, kind) = alias.ok_or_else(unknown)?;
                Ok((quoted(alias), *kind))
            }
            _ => Err(unknown()),
        }
    }

    fn binary(&mut self, operator: &str, left: &Expr, right: &Expr) -> Result<Typed, String> {
        let sql = match operator {
            "=" | "==" => "=",
            "!=" | "<>" => "<>",
            "%" => "%",
            other => other,
        };
        match sql {
            "and" | "or" | "like" => {
                let (left, right) = (self.expr(left)?.0, self.expr(right)?.0);
                Ok((format!("({left} {} {right})", sql.to_uppercase()), Type::Int))
            }
            "ilike" => {
                let (left, right) = (self.expr(left)?.0, self.expr(right)?.0);
                Ok((format!("(lower({left}) LIKE lower({right}))"), Type::Int))
            }
            "+" | "-" | "*" | "/" | "%" => {
                let ((left, one), (right, other)) = (self.expr(left)?, self.expr(right)?);
                let left = if sql == "/" { format!("CAST({left} AS REAL)") } else { left };
                let is_int = sql != "/" && one == Type::Int && other == Type::Int;
                Ok((
                    format!("({left} {sql} {right})"),
                    if is_int { Type::Int } else { Type::Float },
                ))
            }
            "||" => {
                let (left, right) = (self.expr(left)?.0, self.expr(right)?.0);
                Ok((format!("({left} || {right})"), Type::Text))
            }
            _ => self.comparison(sql, left, right),
        }
    }

    /// A comparison; of tuples, part by part.
    fn comparison(&mut self, sql: &str, left: &Expr, right: &Expr) -> Result<Typed, String> {
        let (Expr::Tuple(left), Expr::Tuple(right)) = (left, right) else {
            let (left, right) = self.alike(left, right)?;
            return Ok((format!("({left} {sql} {right})"), Type::Int));
        };
        if left.len() != right.len() {
            return Err("Cannot compare tuples of different sizes".to_owned());
        }
        let mut sides = (Vec::new(), Vec::new());
        for (one, other) in left.iter().zip(right) {
            let (one, other) = self.alike(one, other)?;
            sides.0.push(one);
            sides.1.push(other);
        }
        Ok((format!("(({}) {sql} ({}))", sides.0.join(", "), sides.1.join(", ")), Type::Int))
    }

    /// Two expressions as they are compared.
    fn alike(&mut self, left: &Expr, right: &Expr) -> Result<(String, String), String> {
        let (one, other) = (self.kind(left)?, self.kind(right)?);
        let left = self.beside(left, other)?;
        let right = self.beside(right, one)?;
        if one == Type::Hash || other == Type::Hash {
            return Ok((format!("hog_unsigned({left})"), format!("hog_unsigned({right})")));
        }
        if one == Type::Uuid || other == Type::Uuid {
            return Ok((format!("hog_uuid({left})"), format!("hog_uuid({right})")));
        }
        Ok((left, right))
    }

    fn kind(&mut self, expr: &Expr) -> Result<Type, String> {
        let before = self.parameters.len();
        let kind = self.expr(expr)?.1;
        self.parameters.truncate(before);
        Ok(kind)
    }

    /// An expression beside one of a type: a text beside an instant is an instant.
    fn beside(&mut self, expr: &Expr, other: Type) -> Result<String, String> {
        match (expr, other) {
            (Expr::Constant(Constant::Text(text)), Type::Time(zone)) => {
                let at = time::read(text, zone).ok_or_else(|| {
                    format!("Cannot convert string '{text}' to type DateTime64(6)")
                })?;
                Ok(self.parameter(&time::stored(at)))
            }
            _ => Ok(self.expr(expr)?.0),
        }
    }

    fn within(&mut self, is_in: bool, left: &Expr, list: &[Expr]) -> Result<Typed, String> {
        let kind = self.kind(left)?;
        let sql = self.expr(left)?.0;
        let list = list.iter().map(|one| self.beside(one, kind)).collect::<Result<Vec<_>, _>>()?;
        let not = if is_in { "" } else { "NOT " };
        Ok((format!("({sql} {not}IN ({}))", list.join(", ")), Type::Int))
    }
}

/// A name that SQLite cannot take for anything else.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::sandbox::Options;
    use crate::sandbox::client::{post_query, small, sql, started};

    #[tokio::test]
    async fn instants_are_shown_in_the_projects_zone_unless_told_otherwise() {
        let sandbox = started(Options { timezone_offset_minutes: 120, ..small() }).await;
        let now = Timestamp::parse("2026-11-21T06:18:25.120000Z").unwrap();
        sandbox.add_events(1, Duration::ZERO, now);
        let text = "select timestamp, toString(timestamp), toString(toTimeZone(timestamp, 'UTC')) from events where timestamp >= toDateTime('2026-11-21 08:18:25') order by timestamp limit 1";

        let query = json!({ "query": { "kind": "HogQLQuery", "query": text }, "refresh": "force_blocking" });
        let local = post_query(&sandbox, &query).await.json();
        assert_eq!(
            local["results"][0],
            json!([
                "2026-11-21T08:18:25.120000+02:00",
                "2026-11-21 08:18:25.120000",
                "2026-11-21 06:18:25.120000"
            ])
        );
        assert_eq!(local["types"][0], json!(["timestamp", "DateTime64(6, 'Etc/GMT-2')"]));

        let utc = sql(&sandbox, &text.replace("08:18:25", "06:18:25"), json!({})).await.json();
        assert_eq!(utc["results"][0][0], "2026-11-21T06:18:25.120000Z");
    }

    #[tokio::test]
    async fn mistakes_are_told_in_posthogs_words() {
        let sandbox = started(small()).await;

        for (text, detail) in [
            ("select from where", "no viable alternative at input 'select from'"),
            ("select nope from events", "Unable to resolve field: nope"),
            ("select 1 from nowhere", "Unknown table `nowhere`."),
            (
                "select toUnixTimestamp64Milli(timestamp) from events",
                "Unsupported function call 'toUnixTimestamp64Milli(...)'. Perhaps you meant 'toUnixTimestamp(...)'?",
            ),
            ("select {nope}", "Placeholder {nope} is not available in this context"),
            (
                "select event from events where timestamp > 'x'",
                "Cannot convert string 'x' to type DateTime64(6)",
            ),
        ] {
            let reply = sql(&sandbox, text, json!({})).await;
            assert_eq!((reply.status, reply.detail().as_str()), (400, detail), "{text}");
            assert_eq!(reply.json()["code"], "invalid_input");
        }
        let kind = post_query(&sandbox, &json!({ "query": { "kind": "NopeQuery" } })).await;
        assert_eq!((kind.status, &kind.json()["code"]), (400, &json!("parse_error")));
    }
}
