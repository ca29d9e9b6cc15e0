//! The SQL endpoint: HogQL answered by SQLite.
//!
//! A query is read ([`parse`]), put into SQLite's words ([`translate`],
//! [`function`]) and run on an in-memory store ([`table`]); rows are written
//! straight into the answer. The traps of posthog-api.md §7 are here: the silent
//! LIMIT, the stale cache, OFFSET refused, three queries at once and no more.

mod cost;
mod expression;
mod function;
mod lex;
mod library;
mod md5;
mod parse;
mod render;
mod syntax;
mod table;
mod translate;

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use rusqlite::Connection;
use serde_json::{Map, Value, json};

use self::syntax::{Select, Source};
use self::translate::{Rules, Translation};
use super::answer::{Answer, Question};
use super::data::Data;
use super::data::event::Event;
use super::data::intake::Change;
use super::{Limits, Options, held};
use crate::cursor::Timestamp;

/// Rows of a query that names no LIMIT.
const DEFAULT_LIMIT: u64 = 100;

/// Queries that may run at once.
const AT_ONCE: usize = 3;

/// Larger answers are not kept for the cache.
const LARGEST_CACHED: usize = 8 * 1024 * 1024;

const OFFSET_REFUSED: &str = "OFFSET is not supported on queries made with a personal API key. For pagination, use keyset pagination on the `timestamp` column, ordering by it and filtering on the last value seen.";

const TOO_SLOW: &str = "Query has hit the max execution time before completing. See our docs for how to improve your query performance.";

/// The SQL store and its cache.
#[derive(Debug)]
pub(super) struct Sql {
    store: Mutex<Connection>,
    cache: Mutex<HashMap<String, Vec<u8>>>,
    running: AtomicUsize,
}

/// One query, as it was posted.
struct Query {
    select: Select,
    text: String,
    /// Whether instants are shown in the project's zone.
    is_converting: bool,
    /// Whether a stored answer will do.
    takes_cached: bool,
    /// What the cache knows it by.
    key: String,
}

/// Counts a query as running for as long as it lives.
struct Running<'a>(&'a AtomicUsize);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Sql {
    /// A store of what the project holds.
    pub(super) fn new(options: &Options, data: &Data) -> rusqlite::Result<Self> {
        let store = if options.sql { table::open(data)? } else { Connection::open_in_memory()? };
        Ok(Self { store: Mutex::new(store), cache: Mutex::default(), running: AtomicUsize::new(0) })
    }

    /// Adds events.
    pub(super) fn insert_events(&self, data: &Data, events: &[Event]) {
        told(table::insert_events(&held(&self.store), data, events));
    }

    /// Follows what events have changed.
    pub(super) fn change(&self, data: &Data, change: &Change) {
        told(table::change(&held(&self.store), data, change));
    }

    /// Removes copies of events.
    pub(super) fn delete_events(&self, events: &[Event]) {
        told(table::delete_events(&held(&self.store), events));
    }

    /// Replaces all persons.
    pub(super) fn replace_persons(&self, data: &Data) {
        told(table::replace_persons(&held(&self.store), data));
    }

    /// Answers a query.
    pub(super) fn answer(
        &self,
        question: &Question,
        options: &Options,
        now: Timestamp,
    ) -> Result<Answer, Answer> {
        let _running = self.admit(options)?;
        let query = read(question, options)?;
        if query.takes_cached
            && let Some(stale) = held(&self.cache).get(&query.key)
        {
            let fresh = br#""is_cached":false"#;
            return Ok(Answer::new(200, render::replaced(stale, fresh, br#""is_cached":true"#)));
        }
        let rules = Rules {
            zone: if query.is_converting { options.timezone_offset_minutes } else { 0 },
            project_zone: options.timezone_offset_minutes,
            is_old: options.old_sql,
            now,
        };
        self.afford(&query, options.sql_read_limit, rules)?;
        let cap = options.sql_cap as u64;
        // One row more than is shown tells whether there are more.
        let limit = query.select.limit.map_or(DEFAULT_LIMIT + 1, |limit| limit.min(cap));
        let translation = translate::translate(&query.select, limit, rules)
            .map_err(|detail| Answer::invalid(&detail))?;
        let body = self.run(&query, &translation, rules)?;
        if body.len() <= LARGEST_CACHED {
            held(&self.cache).insert(query.key, body.clone());
        }
        Ok(Answer::new(200, body))
    }

    /// Counts the query in, unless too many run already.
    fn admit(&self, options: &Options) -> Result<Running<'_>, Answer> {
        let running = Running(&self.running);
        let others = self.running.fetch_add(1, Ordering::SeqCst);
        if options.limits != Limits::Off && others >= AT_ONCE {
            let detail = format!(
                "Exceeded maximum concurrency limit: {AT_ONCE} for key: api:query:per-team:7 and task: sandbox"
            );
            return Err(Answer::problem(429, "throttled_error", "throttled", &detail));
        }
        Ok(running)
    }

    /// Refuses a query that would read more than can be read in time.
    fn afford(&self, query: &Query, limit: u64, rules: Rules) -> Result<(), Answer> {
        let counting = cost::counting(&query.select, query.is_converting);
        let Some(counting) = counting.filter(|_| limit > 0) else { return Ok(()) };
        let translation =
            translate::translate(&counting, 1, rules).map_err(|detail| Answer::invalid(&detail))?;
        let read = held(&self.store)
            .query_row(
                &translation.sql,
                rusqlite::params_from_iter(&translation.parameters),
                |row| row.get::<_, i64>(0),
            )
            .map_err(|error| Answer::invalid(&error.to_string()))?;
        if u64::try_from(read).unwrap_or(0) > limit {
            return Err(Answer::problem(504, "server_error", "query_timeout", TOO_SLOW));
        }
        Ok(())
    }

    /// Runs a query and writes its answer.
    fn run(
        &self,
        query: &Query,
        translation: &Translation,
        rules: Rules,
    ) -> Result<Vec<u8>, Answer> {
        let is_limited = query.select.limit.is_some();
        let most = if is_limited { usize::MAX } else { 100 };
        let (rows, count) = self
            .rows(translation, most, rules)
            .map_err(|error| Answer::invalid(&format!("ClickHouse error: {error}")))?;
        let has_more = (!is_limited).then_some(count > most);
        Ok(render::body(&query.text, translation, rules, &rows, has_more))
    }

    /// The rows as JSON, without the brackets around them, and how many there were.
    fn rows(
        &self,
        translation: &Translation,
        most: usize,
        rules: Rules,
    ) -> rusqlite::Result<(Vec<u8>, usize)> {
        let store = held(&self.store);
        let mut statement = store.prepare_cached(&translation.sql)?;
        let mut rows = statement.query(rusqlite::params_from_iter(&translation.parameters))?;
        let mut json = Vec::new();
        let mut count = 0;
        while let Some(row) = rows.next()? {
            count += 1;
            if count > most {
                break;
            }
            json.extend_from_slice(if count > 1 { b",[" } else { b"[" });
            for (at, (_, kind)) in translation.columns.iter().enumerate() {
                if at > 0 {
                    json.push(b',');
                }
                render::cell(&mut json, row.get_ref(at)?, *kind, rules.is_old);
            }
            json.push(b']');
        }
        Ok((json, count))
    }
}

/// An error that nobody can act on here: the store is in memory and its statements are ours.
fn told(outcome: rusqlite::Result<()>) {
    if let Err(error) = outcome {
        tracing::error!(%error, "the sandbox's SQL store is no longer right");
    }
}

/// Reads what was posted.
fn read(question: &Question, options: &Options) -> Result<Query, Answer> {
    let unread = |detail: &str| Answer::problem(400, "invalid_request", "parse_error", detail);
    let body: Value = serde_json::from_slice(&question.body)
        .map_err(|error| unread(&format!("JSON parse error - {error}")))?;
    let query = &body["query"];
    let modifiers = query.get("modifiers").filter(|modifiers| !modifiers.is_null());
    if query["kind"] != json!("HogQLQuery") {
        return Err(unread("41 validation errors for QuerySchema\nDataVisualizationNode.kind"));
    }
    if options.old_sql && modifiers.is_some() {
        let detail = "86 validation errors for QuerySchema\nHogQLQuery.modifiers\n  Extra inputs are not permitted [type=extra_forbidden]";
        return Err(unread(detail));
    }
    let text =
        query["query"].as_str().ok_or_else(|| unread("1 validation error for HogQLQuery"))?;
    let none = Map::new();
    let values = query["values"].as_object().unwrap_or(&none);
    let select = parse::select(text, values).map_err(|detail| Answer::invalid(&detail))?;
    if !options.old_sql && has_offset(&select) {
        return Err(Answer::invalid(OFFSET_REFUSED));
    }
    let is_forced = body["refresh"]
        .as_str()
        .is_some_and(|refresh| refresh.starts_with("force_b") || refresh.starts_with("force_a"));
    let converts = modifiers.and_then(|modifiers| modifiers["convertToProjectTimezone"].as_bool());
    Ok(Query {
        select,
        text: text.to_owned(),
        is_converting: converts.unwrap_or(true),
        takes_cached: !is_forced,
        key: query.to_string(),
    })
}

fn has_offset(select: &Select) -> bool {
    let inside = match &select.source {
        Some(Source::Select(inner)) => has_offset(inner),
        _ => false,
    };
    select.offset.is_some() || inside
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::time::Duration;

    use super::*;
    use crate::sandbox::Sandbox;
    use crate::sandbox::client::{post_query, small, sql, started};

    const EVENTS: &str = "SELECT toString(uuid), event, distinct_id, toString(toTimeZone(timestamp, 'UTC')) AS ts, properties, elements_chain, toString(person_id), toString(toTimeZone(created_at, 'UTC')) AS created FROM events WHERE timestamp >= toDateTime({from}) AND timestamp < toDateTime({to}) AND created_at >= toDateTime({since}) AND created_at < toDateTime({until}) AND (timestamp, toString(uuid), event, distinct_id) > (toDateTime({k0}), {k1}, {k2}, {k3}) ORDER BY timestamp, toString(uuid), event, distinct_id LIMIT 50000";

    /// Reads all events by their key, a capped page at a time.
    async fn walk(sandbox: &Sandbox) -> (Vec<Value>, usize) {
        let (mut rows, mut pages) = (Vec::<Value>::new(), 0);
        let mut key = [json!("2026-01-01T00:00:00Z"), json!(""), json!(""), json!("")];
        loop {
            let values = json!({ "from": "2026-01-01T00:00:00Z", "to": "2026-12-01T00:00:00Z",
                "since": "2020-01-01T00:00:00Z", "until": "2027-01-01T00:00:00Z",
                "k0": key[0], "k1": key[1], "k2": key[2], "k3": key[3] });
            let reply = sql(sandbox, EVENTS, values).await;
            let answer = reply.json();
            let page = answer["results"].as_array().unwrap_or_else(|| panic!("{answer}"));
            let Some(last) = page.last() else { return (rows, pages) };
            pages += 1;
            let instant = last[3].as_str().unwrap().replace(' ', "T") + "Z";
            key = [json!(instant), last[0].clone(), last[1].clone(), last[2].clone()];
            rows.extend(page.iter().cloned());
        }
    }

    #[tokio::test]
    async fn a_keyset_walk_gives_every_copy_of_every_event() {
        let sandbox =
            started(Options { sql_cap: 150, timezone_offset_minutes: 120, ..small() }).await;

        let (rows, pages) = walk(&sandbox).await;

        assert_eq!(
            pages,
            rows.len().div_ceil(150),
            "LIMIT 50000 was lowered to 150 without a word"
        );
        let truth = sandbox.truth("events");
        assert!(rows.len() > truth.len());
        let found: HashSet<String> = rows
            .iter()
            .map(|row| {
                format!(
                    "{} {} {} {}",
                    row[0],
                    row[1],
                    row[2],
                    row[3].as_str().unwrap().replace(' ', "T") + "Z"
                )
            })
            .collect();
        assert_eq!(found.len(), rows.len());
        for event in &truth {
            let key = format!(
                "{} {} {} {}",
                event["id"],
                event["event"],
                event["distinct_id"],
                event["timestamp"].as_str().unwrap()
            );
            assert!(found.contains(&key), "{event}");
        }
        let row = rows
            .iter()
            .find(|row| row[0] == truth[9]["id"] && row[1] == truth[9]["event"])
            .unwrap();
        let properties: Value = serde_json::from_str(row[4].as_str().unwrap()).unwrap();
        assert_eq!(properties, truth[9]["properties"]);
        assert_eq!((&row[5], &row[6]), (&truth[9]["elements_chain"], &truth[9]["person_id"]));
    }

    #[tokio::test]
    async fn persons_and_their_ids_are_read_by_their_keys() {
        let sandbox = started(small()).await;

        let persons = sql(&sandbox, "SELECT toString(id), toString(toTimeZone(created_at,'UTC')) AS created, properties, is_identified FROM persons WHERE toString(id) > {k0} ORDER BY toString(id) LIMIT 10000", json!({ "k0": "" })).await.json();
        let ids = sql(&sandbox, "SELECT toString(person_id), distinct_id FROM person_distinct_ids WHERE (toString(person_id), distinct_id) > ({k0},{k1}) ORDER BY toString(person_id), distinct_id LIMIT 50000", json!({ "k0": "", "k1": "" })).await.json();

        let mut truth = sandbox.truth("persons");
        truth.sort_by_key(|person| person["id"].to_string());
        let rows = persons["results"].as_array().unwrap();
        assert_eq!(rows.len(), truth.len());
        assert_eq!(rows[3][0], truth[3]["id"]);
        let properties: Value = serde_json::from_str(rows[3][2].as_str().unwrap()).unwrap();
        assert_eq!(properties, truth[3]["properties"]);
        let count: usize =
            truth.iter().map(|person| person["distinct_ids"].as_array().unwrap().len()).sum();
        assert_eq!(ids["results"].as_array().unwrap().len(), count);
    }

    #[tokio::test]
    async fn days_tell_how_much_arrived_since() {
        let sandbox = started(small()).await;
        let now = sandbox.now();
        sandbox.add_events(7, Duration::from_secs(9 * 86_400), now);
        let text = "SELECT substring(toString(toTimeZone(timestamp,'UTC')),1,10) AS day, countIf(created_at >= toDateTime({since})) AS arrived FROM events WHERE timestamp >= toDateTime({from}) AND timestamp < toDateTime({to}) GROUP BY day ORDER BY day LIMIT 50000";

        let values = json!({ "since": now.to_string(), "from": "2026-11-01T00:00:00Z", "to": "2026-11-21T00:00:00Z" });
        let answer = sql(&sandbox, text, values).await.json();

        let rows = answer["results"].as_array().unwrap();
        assert_eq!(answer["columns"], json!(["day", "arrived"]));
        assert_eq!(
            rows.iter().filter(|row| row[1] != json!(0)).collect::<Vec<_>>(),
            [&json!(["2026-11-12", 7])]
        );
    }

    #[tokio::test]
    async fn chunks_along_the_storage_order_add_up() {
        let sandbox = started(small()).await;
        let counts = sql(&sandbox, "SELECT toDate(timestamp) AS day, event, count() AS n FROM events WHERE timestamp >= toDateTime({a}) AND timestamp < toDateTime({b}) GROUP BY day, event ORDER BY day, event LIMIT 50000", json!({ "a": "2026-11-10T00:00:00Z", "b": "2026-11-11T00:00:00Z" })).await.json();
        let row = counts["results"][0].clone();

        let mut found = 0;
        for (low, high) in
            [("0", "4611686018427387904"), ("4611686018427387904", "18446744073709551615")]
        {
            let text = format!(
                "SELECT distinct_id FROM events WHERE timestamp >= toDateTime({{a}}) AND timestamp < toDateTime({{b}}) AND event = {{event}} AND cityHash64(distinct_id) >= {low} AND cityHash64(distinct_id) < {high} LIMIT 50000"
            );
            let answer = sql(
                &sandbox,
                &text,
                json!({ "a": "2026-11-10T00:00:00Z", "b": "2026-11-11T00:00:00Z", "event": row[1] }),
            )
            .await
            .json();
            found += answer["results"].as_array().unwrap().len();
        }

        assert_eq!(json!(found), row[2]);
        assert!(found > 0);
    }

    #[tokio::test]
    async fn a_hundred_rows_come_where_no_limit_is_named() {
        let sandbox = started(small()).await;

        let short = sql(&sandbox, "select event from events", json!({})).await.json();
        let own = sql(&sandbox, "select event from events limit 100", json!({})).await.json();

        assert_eq!(
            (short["results"].as_array().unwrap().len(), &short["hasMore"]),
            (100, &json!(true))
        );
        assert!(own["hasMore"].is_null());
    }

    #[tokio::test]
    async fn offset_is_refused_today_and_was_not_once() {
        let text = "SELECT event FROM events LIMIT 10 OFFSET 5";
        let today = started(small()).await;
        let refused = sql(&today, text, json!({})).await;
        assert_eq!(
            (
                refused.status,
                refused.detail().starts_with(
                    "OFFSET is not supported on queries made with a personal API key."
                )
            ),
            (400, true)
        );
        let inside = sql(
            &today,
            "SELECT event FROM (SELECT event FROM events LIMIT 5, 5) LIMIT 1",
            json!({}),
        )
        .await;
        assert_eq!(inside.status, 400);

        let once = started(Options { old_sql: true, ..small() }).await;
        let query = json!({ "query": { "kind": "HogQLQuery", "query": text } });
        assert_eq!(post_query(&once, &query).await.status, 200);
    }

    #[tokio::test]
    async fn an_answer_once_given_is_given_again_unless_forced() {
        let sandbox = started(small()).await;
        let query = json!({ "kind": "HogQLQuery", "query": "select count() from events" });
        let ask = async |refresh: &str| {
            let body = json!({ "query": query, "refresh": refresh });
            let answer = post_query(&sandbox, &body).await.json();
            (answer["results"][0][0].as_u64().unwrap(), answer["is_cached"].as_bool().unwrap())
        };

        let (before, is_cached) = ask("blocking").await;
        assert!(!is_cached);
        sandbox.add_events(5, Duration::ZERO, sandbox.now());
        assert_eq!(ask("blocking").await, (before, true));
        assert_eq!(ask("force_blocking").await, (before + 5, false));
        sandbox.delete("events", 5);
        assert_eq!(ask("force_blocking").await, (before, false));
    }

    #[test]
    fn a_fourth_query_at_once_is_refused_without_a_wait() {
        let options = Options { limits: Limits::Real, events: 10, ..small() };
        let sql = Sql::new(&options, &Data::new(&options)).unwrap();
        let body = json!({ "query": { "kind": "HogQLQuery", "query": "select 1" } }).to_string();
        let question = Question { body: body.into_bytes(), ..Question::default() };

        sql.running.store(3, Ordering::SeqCst);
        let refused = sql.answer(&question, &options, options.now).unwrap_err();
        assert_eq!((refused.status, refused.headers), (429, Vec::new()));
        sql.running.store(2, Ordering::SeqCst);
        assert!(sql.answer(&question, &options, options.now).is_ok());
    }

    #[tokio::test]
    async fn without_sql_there_is_no_endpoint() {
        let sandbox = started(Options { sql: false, ..small() }).await;

        let reply = sql(&sandbox, "select 1", json!({})).await;

        assert_eq!((reply.status, reply.detail().as_str()), (404, "Endpoint not found."));
    }
}
