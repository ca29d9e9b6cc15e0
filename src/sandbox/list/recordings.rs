//! The session recordings list: strict parameters, two ways of paging, partial sessions.
//!
//! Dates filter the stored parts before they are grouped into sessions. A cursor
//! names a pair (the column ordered by, the session), an offset nothing; on a
//! server of 2023 there is only the offset, and equal rows have no order.

use std::cmp::Ordering;

use serde_json::{Value, json};

use super::View;
use crate::base64;
use crate::cursor::Timestamp;
use crate::sandbox::answer::{Answer, Question};
use crate::sandbox::data::chance;
use crate::sandbox::time;

/// The parameters there are; any other is refused.
const PARAMETERS: [&str; 19] = [
    "date_from",
    "date_to",
    "limit",
    "offset",
    "after",
    "order",
    "order_direction",
    "session_ids",
    "person_uuid",
    "distinct_ids",
    "events",
    "actions",
    "properties",
    "having_predicates",
    "console_log_filters",
    "filter_test_accounts",
    "operand",
    "comment_text",
    "session_recording_id",
];

/// The columns a list can be ordered by.
const ORDERS: [&str; 10] = [
    "start_time",
    "duration",
    "recording_duration",
    "inactive_seconds",
    "active_seconds",
    "console_error_count",
    "click_count",
    "keypress_count",
    "mouse_activity_count",
    "activity_score",
];

/// Answers the list.
pub(in crate::sandbox) fn list(view: &View<'_>) -> Result<Answer, Answer> {
    let question = view.question;
    refuse_unknown(question)?;
    let order = question.parameter("order").unwrap_or("start_time");
    if !ORDERS.contains(&order) {
        return Err(refused("literal_error", "order", "Input should be a known order"));
    }
    let field = if order == "duration" { "recording_duration" } else { order };
    let is_ascending = question.parameter("order_direction").is_some_and(|text| text == "ASC");
    let rows = ordered(view, range(view)?, field, is_ascending);

    let limit = question.count("limit", 50).max(1);
    if view.is_old || question.parameter("offset").is_some() {
        let offset = question.count("offset", 0);
        let page: Vec<&Value> = rows.iter().skip(offset).take(limit).collect();
        return Ok(body(view, &page, rows.len() > offset + limit, None));
    }
    let start = match question.parameter("after") {
        None => 0,
        Some(cursor) => start_after(&rows, field, is_ascending, cursor)?,
    };
    let page: Vec<&Value> = rows.iter().skip(start).take(limit).collect();
    let has_next = rows.len() > start + limit;
    let cursor = page.last().filter(|_| has_next).map(|last| cursor(last, field));
    Ok(body(view, &page, has_next, cursor))
}

fn refuse_unknown(question: &Question) -> Result<(), Answer> {
    let mut names = question.parameters.iter().map(|(name, _)| name.as_str());
    match names.find(|name| !PARAMETERS.contains(name)) {
        Some(name) => Err(refused("extra_forbidden", name, "Extra inputs are not permitted")),
        None => Ok(()),
    }
}

/// 400 with a list of problems, as text.
fn refused(kind: &str, name: &str, message: &str) -> Answer {
    Answer::invalid(&json!([{ "type": kind, "loc": [name], "msg": message }]).to_string())
}

/// The dates asked for, and PostHog's where none are.
fn range(view: &View<'_>) -> Result<(Timestamp, Timestamp), Answer> {
    let default = if view.is_old { "-7d" } else { "-3d" };
    let date = |name: &str, text: &str| {
        time::read_relative(text, view.zone, view.now)
            .ok_or_else(|| refused("date_parsing", name, "Input should be a date"))
    };
    let from = date("date_from", view.question.parameter("date_from").unwrap_or(default))?;
    let to = match view.question.parameter("date_to") {
        None | Some("") => view.now,
        Some(text) => date("date_to", text)?,
    };
    Ok((from, to))
}

/// The sessions that a range shows, in order.
fn ordered(
    view: &View<'_>,
    range: (Timestamp, Timestamp),
    field: &str,
    is_ascending: bool,
) -> Vec<Value> {
    let question = view.question;
    let ids: Option<Vec<String>> =
        question.parameter("session_ids").and_then(|text| serde_json::from_str(text).ok());
    let all = view.data.recordings.iter();
    let wanted =
        all.filter(|one| ids.as_ref().is_none_or(|ids| ids.iter().any(|id| id == one.id())));
    let mut rows: Vec<Value> =
        wanted.filter_map(|one| one.seen(view.data.seed, range, view.now)).collect();
    rows.sort_by(|one, other| {
        let tie = if view.is_old {
            lot(view, one).cmp(&lot(view, other))
        } else {
            text(one, "id").cmp(text(other, "id"))
        };
        let ordered = compare(&one[field], &other[field]).then(tie);
        if is_ascending { ordered } else { ordered.reverse() }
    });
    rows
}

fn text<'a>(row: &'a Value, field: &str) -> &'a str {
    row[field].as_str().unwrap_or_default()
}

fn lot(view: &View<'_>, row: &Value) -> i64 {
    chance::digest(format!("{} {}", view.turn, text(row, "id")).as_bytes())
}

fn compare(one: &Value, other: &Value) -> Ordering {
    match (one.as_str(), other.as_str()) {
        (Some(one), Some(other)) => one.cmp(other),
        _ => one.as_f64().partial_cmp(&other.as_f64()).unwrap_or(Ordering::Equal),
    }
}

/// The cursor that names a row.
fn cursor(row: &Value, field: &str) -> String {
    let value = match &row[field] {
        Value::String(text) => Timestamp::parse(text).map(time::iso).unwrap_or_default(),
        number => number.to_string(),
    };
    let names = format!(r#"{{"order_value": {}, "secondary_value": {}}}"#, json!(value), row["id"]);
    base64::encode(names.as_bytes())
}

/// Where the rows after a cursor's begin; the row itself may be gone.
fn start_after(
    rows: &[Value],
    field: &str,
    is_ascending: bool,
    cursor: &str,
) -> Result<usize, Answer> {
    let bad = || Answer::invalid("Invalid cursor");
    let names = base64::decode(cursor).ok_or_else(bad)?;
    let names: Value = serde_json::from_slice(&names).map_err(|_| bad())?;
    let value = names["order_value"].as_str().ok_or_else(bad)?;
    let value = match Timestamp::parse(value) {
        Some(at) => json!(time::zulu(at)),
        None => json!(value.parse::<f64>().map_err(|_| bad())?),
    };
    let id = names["secondary_value"].as_str().ok_or_else(bad)?;
    Ok(rows.partition_point(|row| {
        let place = compare(&row[field], &value).then(text(row, "id").cmp(id));
        let place = if is_ascending { place } else { place.reverse() };
        place != Ordering::Greater
    }))
}

fn body(view: &View<'_>, page: &[&Value], has_next: bool, cursor: Option<String>) -> Answer {
    let version = if view.is_old { 3 } else { 4 };
    let cursor = cursor.map(|cursor| format!(r#","next_cursor":{}"#, json!(cursor)));
    let (page, cursor) = (json!(page), cursor.unwrap_or_default());
    let body = format!(r#"{{"results":{page},"has_next":{has_next},"version":{version}{cursor}}}"#);
    Answer::new(200, body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::client::{get, list, small, started};
    use crate::sandbox::{Options, Sandbox};

    const ALL: &str = "date_from=2026-08-01T00:00:00Z&date_to=2026-12-01T00:00:00Z";

    /// Pages through by cursor.
    async fn walk(sandbox: &Sandbox, query: &str) -> Vec<Value> {
        let mut rows = Vec::new();
        let mut after = String::new();
        loop {
            let page = list(sandbox, &format!("session_recordings/?{query}{after}")).await;
            rows.extend(page["results"].as_array().unwrap().iter().cloned());
            let Some(cursor) = page["next_cursor"].as_str() else {
                assert_eq!(page["has_next"], false);
                return rows;
            };
            after = format!("&after={}", cursor.replace('=', "%3D").replace('+', "%2B"));
        }
    }

    #[tokio::test]
    async fn a_cursor_survives_sessions_that_begin_together() {
        let sandbox = started(small()).await;

        for direction in ["ASC", "DESC"] {
            let query = format!("{ALL}&order=start_time&order_direction={direction}&limit=7");
            let rows = walk(&sandbox, &query).await;
            let mut truth = sandbox.truth("session_recordings");
            truth.sort_by_key(|row| (row["start_time"].to_string(), row["id"].to_string()));
            if direction == "DESC" {
                truth.reverse();
            }
            assert_eq!(rows, truth);
        }
        let by_clicks = walk(&sandbox, &format!("{ALL}&order=click_count&limit=9")).await;
        assert_eq!(by_clicks.len(), 60);
    }

    #[tokio::test]
    async fn without_dates_there_are_three_days_and_fifty_rows() {
        let sandbox = started(Options { recordings: 2000, ..small() }).await;

        let page = list(&sandbox, "session_recordings/").await;

        assert_eq!(page["results"].as_array().unwrap().len(), 50);
        let all = list(&sandbox, "session_recordings/?limit=1000").await;
        let rows = all["results"].as_array().unwrap();
        assert!((50..200).contains(&rows.len()), "{}", rows.len());
        assert!(rows.iter().all(|row| row["start_time"].as_str().unwrap() > "2026-11-18T06"));
        assert_eq!((&all["version"], all.get("next_cursor")), (&json!(4), None));
    }

    #[tokio::test]
    async fn a_session_at_the_edge_of_a_range_shows_a_part_of_itself() {
        let sandbox = started(small()).await;
        let truth = sandbox.truth("session_recordings");
        let long = |row: &&Value| row["recording_duration"].as_u64().unwrap() > 3600;
        let whole = truth.iter().find(long).unwrap();
        let start = Timestamp::parse(whole["start_time"].as_str().unwrap()).unwrap();
        let after = time::shift(start, 1);

        let id = whole["id"].as_str().unwrap();
        let target = format!("session_recordings/?date_from={after}&session_ids=%5B%22{id}%22%5D");
        let page = list(&sandbox, &target).await;

        let part = &page["results"][0];
        assert_eq!(part["id"], whole["id"]);
        assert!(part["start_time"].as_str() > whole["start_time"].as_str());
        assert!(part["click_count"].as_u64() < whole["click_count"].as_u64());
    }

    #[tokio::test]
    async fn an_unknown_parameter_or_a_bad_cursor_is_refused() {
        let sandbox = started(small()).await;

        let unknown = get(&sandbox, "/api/projects/12345/session_recordings/?page=2").await;
        assert_eq!(unknown.status, 400);
        let problems: Value = serde_json::from_str(&unknown.detail()).unwrap();
        assert_eq!(problems[0]["loc"], json!(["page"]));
        let cursor = get(&sandbox, "/api/projects/12345/session_recordings/?after=nonsense").await;
        assert_eq!((cursor.status, cursor.detail().as_str()), (400, "Invalid cursor"));
    }

    #[tokio::test]
    async fn an_old_server_knows_only_offsets() {
        let sandbox = started(Options { old_sql: true, ..small() }).await;

        let page = list(&sandbox, &format!("session_recordings/?{ALL}&limit=25&offset=50")).await;
        assert_eq!(
            (page["results"].as_array().unwrap().len(), &page["has_next"]),
            (10, &json!(false))
        );
        let first = list(&sandbox, &format!("session_recordings/?{ALL}&limit=25")).await;
        assert_eq!((first.get("next_cursor"), &first["has_next"]), (None, &json!(true)));
        assert_eq!(get(&sandbox, "/api/environments/12345/actions/").await.status, 404);
    }

    #[tokio::test]
    async fn a_session_that_goes_on_keeps_its_start() {
        let sandbox = started(small()).await;
        let before = sandbox.truth("session_recordings")[0].clone();

        sandbox.touch("session_recordings", 1);

        let after = sandbox.truth("session_recordings")[0].clone();
        assert_eq!(
            (&after["start_time"], &after["ongoing"]),
            (&before["start_time"], &json!(true))
        );
        assert_eq!(
            after["click_count"].as_u64().unwrap(),
            before["click_count"].as_u64().unwrap() + 3
        );
    }
}
