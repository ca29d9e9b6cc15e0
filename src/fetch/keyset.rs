//! SQL, always asking for what comes after the last key.
//!
//! The server lowers `LIMIT` without a word, so fewer rows than asked for prove
//! nothing: each question begins right after the last row received, and a walk is
//! complete when the question that reaches its end is answered by no row at all.
//! Since the next window's question still begins there, no window needs an empty
//! answer of its own. The plain bounds beside the key are what lets the store skip
//! parts; the key alone would not.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::chunks::Chunk;
use super::join::Joined;
use super::order::Order;
use super::page::Watch;
use super::time_window::reached;
use super::width::Width;
use super::{Among, Answer, Delivery, FetchError, Reader};
use crate::cursor::{Interval, Leg, Timestamp};
use crate::http::Request;
use crate::schema::{ColumnType, Schema};
use crate::spec::QUERY_URL;
use crate::spec::endpoint::{Chunks, Join, Keyset};

/// A day's hours lie mixed in PostHog's store: less than a day costs as much as the day.
pub(super) const DAY: Duration = Duration::from_secs(86_400);

/// Below so few rows an answer a smaller page does not help either.
pub(super) const SMALLEST_PAGE: u64 = 1000;

/// A walk that is not over after so many rows goes on in chunks, where they are known: each of
/// its pages, four by now, made the store read all that is left.
const MANY_ROWS: u64 = 200_000;

/// What of a table a walk reads.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Extent<'a> {
    /// When its records happened.
    pub(super) range: Option<Interval>,
    /// When they arrived.
    pub(super) arrived: Option<Interval>,
    /// The chunk they lie in.
    pub(super) inside: Option<(&'a Chunk, &'a Chunks)>,
    /// Whether the walk may stop for chunks to go on.
    pub(super) may_stop: bool,
}

impl Reader<'_> {
    /// Reads a leg in the order of the key.
    pub(super) async fn walk_keyset(
        &mut self,
        keyset: &Keyset,
        leg: Leg,
        at: Option<Vec<String>>,
    ) -> Result<(), FetchError> {
        match leg {
            Leg::List { .. } => self.walk_key(keyset, Extent::default(), at).await.map(drop),
            Leg::Range { range, arrived, .. } => self.walk_range(keyset, range, arrived, at).await,
            Leg::Audit { range, arrived } => self.walk_audit(keyset, range, arrived).await,
        }
    }

    /// Reads in the order of the key. Tells the time from which on chunks are the better way,
    /// where it stops for that.
    pub(super) async fn walk_key(
        &mut self,
        keyset: &Keyset,
        extent: Extent<'_>,
        at: Option<Vec<String>>,
    ) -> Result<Option<Timestamp>, FetchError> {
        let mut question = Question::new(keyset, extent, at, self.path.page_size);
        if let Some(among) = self.among.clone() {
            question = question.among(among);
        }
        let wanted = |join: &&Join| self.schema().index_of(&join.column).is_some();
        let join = keyset.join.as_ref().filter(wanted);
        let mut joined = join.map(|join| Joined::new(join, keyset, question.key.clone()));
        loop {
            let request = self.sql_request(&question.ask(self.schema()));
            let mut watch = Order::new(keyset, self.schema(), question.key.clone())
                .within(question.window())
                .holding(joined.is_some());
            let answer = match self.ask_sql(&request, &mut watch).await {
                Err(err) if err.asks_too_much() && question.narrow() => continue,
                Err(err) if err.asks_too_much() && extent.may_stop => {
                    return Ok(Some(question.from));
                }
                Err(err) if err.asks_too_much() && question.ask_less() => continue,
                other => other?,
            };
            let Some(last) = watch.into_last().map_err(|why| self.contract(&request, why))? else {
                if question.skip_empty() {
                    return Ok(None);
                }
                continue;
            };
            if let Some(joined) = &mut joined {
                self.join_and_hand_on(joined, &last).await?;
            }
            question.advance(last, answer.rows);
            self.deliver(question.at()).await?;
            if extent.may_stop && question.received >= MANY_ROWS {
                return Ok(Some(question.from));
            }
        }
    }

    /// Fills the joined column of the rows that wait and hands them on.
    async fn join_and_hand_on(
        &mut self,
        joined: &mut Joined<'_>,
        last: &[String],
    ) -> Result<(), FetchError> {
        let owner = last.first().map_or("", String::as_str);
        let (_, Some(mut batch)) = self.splitter.cut(usize::MAX) else { return Ok(()) };
        self.fetch_joined(joined, owner).await?;
        joined.fill(&mut batch);
        self.send(Delivery::Rows(batch)).await
    }

    /// Asks in SQL; a server that refuses `modifiers` is asked without, from then on.
    pub(super) async fn ask_sql<W: Watch>(
        &mut self,
        request: &Request,
        watch: &mut W,
    ) -> Result<Answer, FetchError> {
        let asked = self.ask(request, watch).await;
        let Some(plain) = without_modifiers(request).filter(|_| is_refused(&asked)) else {
            return self.check_sql(request, asked?);
        };
        let answer = self.ask(&plain, watch).await?;
        self.dialect.forget_modifiers();
        self.check_sql(&plain, answer)
    }

    fn check_sql(&self, request: &Request, answer: Answer) -> Result<Answer, FetchError> {
        match answer.envelope.text("error") {
            Some(error) => Err(self.contract(request, format!("the query failed: {error}"))),
            None => {
                self.dialect.note_answer();
                Ok(answer)
            }
        }
    }

    pub(super) fn sql_request(&self, query: &Query) -> Request {
        let mut hogql =
            json!({ "kind": "HogQLQuery", "query": query.text, "values": query.values });
        if self.dialect.has_modifiers() {
            // A time wrapped in the project's zone lets the store skip nothing.
            hogql["modifiers"] = json!({ "convertToProjectTimezone": false });
        }
        sql_request(self.project, hogql, &self.path.quota)
    }
}

/// Puts a query to a project.
pub(crate) fn sql_request(project: &str, hogql: Value, quota: &[String]) -> Request {
    // Without `force_blocking` the same text may be answered from a cache.
    let body = json!({ "query": hogql, "refresh": "force_blocking", "name": "hogline" });
    Request::post(QUERY_URL.replace("{project_id}", project), body, quota)
}

/// A query and the values of its placeholders.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Query {
    pub(super) text: String,
    pub(super) values: Map<String, Value>,
}

impl Query {
    /// A placeholder for a text value.
    pub(super) fn value(&mut self, name: &str, value: impl Into<String>) -> String {
        self.values.insert(name.to_owned(), Value::String(value.into()));
        format!("{{{name}}}")
    }

    /// A placeholder for a number in digits; a text where it is none.
    fn digits(&mut self, name: &str, value: &str) -> String {
        let number = value.parse().map(Value::Number);
        self.values.insert(name.to_owned(), number.unwrap_or_else(|_| value.into()));
        format!("{{{name}}}")
    }

    /// A placeholder for a number.
    pub(super) fn number(&mut self, name: &str, value: u64) -> String {
        self.values.insert(name.to_owned(), value.into());
        format!("{{{name}}}")
    }

    /// A placeholder for an instant. Only a literal with its `Z` means the same in every
    /// project's zone and every version.
    pub(super) fn time(&mut self, name: &str, value: Timestamp) -> String {
        format!("toDateTime({})", self.value(name, value.to_string()))
    }

    /// A condition that holds inside an interval.
    pub(super) fn within(
        &mut self,
        column: &str,
        names: (&str, &str),
        interval: Interval,
    ) -> String {
        let (from, to) = (self.time(names.0, interval.from), self.time(names.1, interval.to));
        format!("{column} >= {from} AND {column} < {to}")
    }
}

/// What to ask next.
struct Question<'a> {
    keyset: &'a Keyset,
    extent: Extent<'a>,
    among: Option<Among>,
    /// The last row received.
    key: Option<Vec<String>>,
    /// Up to where, in time, nothing is left to receive.
    from: Timestamp,
    width: Width,
    page: u64,
    /// How many rows the last answer had.
    rows: u64,
    /// How many rows all answers had.
    received: u64,
}

impl<'a> Question<'a> {
    fn new(keyset: &'a Keyset, extent: Extent<'a>, at: Option<Vec<String>>, page: u64) -> Self {
        let Extent { range, arrived, .. } = extent;
        let start = range.map_or(Timestamp::from_micros(0), |range| range.from);
        // Another way of reading leaves only a time: the walk goes on at that time.
        let from = if range.is_some() { reached(at.clone(), start) } else { start };
        let key = at.filter(|key| key.len() == keyset.key.len());
        let width = Width::at_least(DAY, 1);
        let width = if arrived.is_some() { width.widest() } else { width };
        Self { keyset, extent, among: None, key, from, width, page, rows: 0, received: 0 }
    }

    /// Only rows that are named; few, so that one window holds them all.
    fn among(self, among: Among) -> Self {
        let width = self.width.widest();
        Self { among: Some(among), width, ..self }
    }

    fn window(&self) -> Option<Interval> {
        let range = self.extent.range?;
        Some(Interval { from: self.from, to: self.width.end(self.from, range.to) })
    }

    fn ask(&self, schema: &Schema) -> Query {
        let mut query = Query::default();
        let mut conditions: Vec<String> = self.keyset.filter().into_iter().collect();
        if let (Some(time), Some(window)) = (&self.keyset.time, self.window()) {
            conditions.push(query.within(time, ("from", "to"), window));
        }
        if let (Some(column), Some(arrived)) = (&self.keyset.arrival, self.extent.arrived) {
            conditions.push(query.within(column, ("arrived_from", "arrived_to"), arrived));
        }
        if let Some(Among { column, values }) = &self.among {
            let places = values.iter().enumerate();
            let places: Vec<String> =
                places.map(|(n, value)| query.value(&format!("a{n}"), value)).collect();
            conditions.push(format!(
                "{} IN ({})",
                expression(self.keyset, column),
                places.join(", ")
            ));
        }
        if let Some((chunk, chunks)) = self.extent.inside {
            conditions.extend(chunk.bounds(self.keyset, chunks, &mut query));
        }
        conditions.extend(self.after_key(schema, &mut query));
        let order: Vec<&str> = self.keyset.key.iter().map(|(_, by)| by.as_str()).collect();
        query.text = format!(
            "SELECT {} FROM {} {}ORDER BY {} LIMIT {}",
            selected(self.keyset, schema),
            self.keyset.from,
            where_all(&conditions),
            order.join(", "),
            self.page
        );
        query
    }

    /// The condition that only what comes after the last key fulfils.
    fn after_key(&self, schema: &Schema, query: &mut Query) -> Option<String> {
        let key = self.key.as_ref()?;
        let mut values = Vec::new();
        for (n, ((column, _), value)) in self.keyset.key.iter().zip(key).enumerate() {
            let (name, kind) = (format!("k{n}"), schema.index_of(column));
            values.push(match kind.map(|column| schema.columns[column].kind) {
                Some(ColumnType::Timestamp) => format!("toDateTime({})", query.value(&name, value)),
                // No text is compared with a number inside of a tuple.
                Some(ColumnType::Bigint | ColumnType::Numeric) => query.digits(&name, value),
                _ => query.value(&name, value),
            });
        }
        let by: Vec<&str> = self.keyset.key.iter().map(|(_, by)| by.as_str()).collect();
        Some(match by.as_slice() {
            [one] => format!("{one} > {}", values[0]),
            many => format!("({}) > ({})", many.join(", "), values.join(", ")),
        })
    }

    /// Where the walk stands, as it is stored.
    fn at(&self) -> Option<Vec<String>> {
        match (self.extent.inside, &self.key) {
            (Some((chunk, _)), Some(key)) => Some(chunk.texts_inside(key)),
            (_, key) => key.clone(),
        }
    }

    /// Goes on after the row with this key.
    fn advance(&mut self, last: Vec<String>, rows: u64) {
        self.received += rows;
        if self.extent.range.is_some() {
            let from = reached(Some(last.clone()), self.from);
            // Two answers of one size: the server lowered the limit, both are full.
            let full = if rows == self.rows { rows } else { self.page };
            self.width.learn(rows, full, from.since(self.from));
            (self.from, self.rows) = (from, rows);
        }
        self.key = Some(last);
    }

    /// Goes on behind a window that is empty; true where that was the last one.
    fn skip_empty(&mut self) -> bool {
        let Some((range, window)) = self.extent.range.zip(self.window()) else { return true };
        self.width.learn(0, self.page, window.length());
        self.from = window.to;
        self.key = None;
        window.to >= range.to
    }

    /// Makes the next window narrower; false where it cannot be.
    fn narrow(&mut self) -> bool {
        self.extent.range.is_some() && self.width.narrow()
    }

    /// Makes the next page smaller; false where it cannot be.
    fn ask_less(&mut self) -> bool {
        let before = self.page;
        self.page = (self.page / 2).max(SMALLEST_PAGE.min(self.page));
        self.page < before
    }
}

/// What a column is called in SQL.
pub(super) fn expression<'a>(keyset: &'a Keyset, column: &'a str) -> &'a str {
    let found = keyset.select.iter().find(|(name, _)| name == column);
    found.map_or(column, |(_, expression)| expression)
}

/// What is selected: the columns that are wanted.
pub(super) fn selected(keyset: &Keyset, schema: &Schema) -> String {
    let wanted = keyset.select.iter().filter(|(name, _)| schema.index_of(name).is_some());
    let select: Vec<&str> = wanted.map(|(_, expression)| expression.as_str()).collect();
    select.join(", ")
}

/// Whether the question itself was refused, as servers of 2023 refuse `modifiers`.
fn is_refused(asked: &Result<Answer, FetchError>) -> bool {
    asked.as_ref().is_err_and(FetchError::is_refusal)
}

/// The same query without modifiers, where it has any.
fn without_modifiers(request: &Request) -> Option<Request> {
    let mut plain = request.clone();
    let query = plain.body.as_mut()?.get_mut("query")?.as_object_mut()?;
    query.remove("modifiers")?;
    Some(plain)
}

/// `WHERE` with all conditions, or nothing.
pub(super) fn where_all(conditions: &[String]) -> String {
    match conditions {
        [] => String::new(),
        some => format!("WHERE {} ", some.join(" AND ")),
    }
}
