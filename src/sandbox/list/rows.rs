//! Lists paged by limit and offset, and the one that is not paged at all.
//!
//! Where PostHog promises no order, equal rows change places from request to
//! request: an offset then skips some and repeats others.

use std::cmp::Ordering;

use serde_json::{Value, json};

use super::View;
use crate::sandbox::answer::Answer;
use crate::sandbox::data::chance;
use crate::sandbox::time;

/// A column to sort by, and whether backwards.
type Order = (String, bool);

/// Answers the list of a stream.
pub(in crate::sandbox) fn list(view: &View<'_>, stream: &str) -> Result<Answer, Answer> {
    let rows = view.data.rows.get(stream).map(Vec::as_slice).unwrap_or_default();
    match stream {
        "actions" => Ok(actions(rows)),
        "property_definitions" => property_definitions(view, rows),
        "insights" => insights(view, rows),
        "annotations" => annotations(view, rows),
        _ => Ok(page(view, sorted(view, rows.iter().collect(), &order(view, stream)), stream)),
    }
}

/// The order of a list: the one asked for where it can be asked for, else its own.
fn order(view: &View<'_>, stream: &str) -> Order {
    let asked = match stream {
        "feature_flags" => view.question.parameter("order"),
        "event_definitions" => view.question.parameter("ordering"),
        _ => None,
    };
    let own = match stream {
        "event_definitions" => "-last_seen_at",
        "projects" => "",
        _ => "-created_at",
    };
    column(asked.unwrap_or(own))
}

fn column(order: &str) -> Order {
    let column = order.trim_start_matches('-').trim_end_matches("::date");
    (column.to_owned(), order.starts_with('-'))
}

/// Rows by a column, equal ones in this request's order.
fn sorted<'a>(view: &View<'_>, mut rows: Vec<&'a Value>, order: &Order) -> Vec<&'a Value> {
    let by = |row: &Value| row.get(&order.0).cloned().unwrap_or_default();
    rows.sort_by(|one, other| {
        let ordered = compare(&by(one), &by(other));
        let ordered = if order.1 { ordered.reverse() } else { ordered };
        ordered.then_with(|| lot(view, one).cmp(&lot(view, other)))
    });
    rows
}

/// A row's place among its equals, another in each request.
fn lot(view: &View<'_>, row: &Value) -> i64 {
    let id = row.get("id").map(Value::to_string).unwrap_or_default();
    chance::digest(format!("{} {id}", view.turn).as_bytes())
}

/// As Postgres compares: null is greater than anything.
fn compare(one: &Value, other: &Value) -> Ordering {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => {
            one.as_f64().partial_cmp(&other.as_f64()).unwrap_or(Ordering::Equal)
        }
        (Value::String(one), Value::String(other)) => one.cmp(other),
        (Value::Bool(one), Value::Bool(other)) => one.cmp(other),
        _ => one.is_null().cmp(&other.is_null()),
    }
}

/// One page, in the framework's envelope.
fn page(view: &View<'_>, rows: Vec<&Value>, stream: &str) -> Answer {
    let (limit, offset) = limit_and_offset(view, if stream == "annotations" { 1000 } else { 100 });
    let count = rows.len();
    let shown: Vec<Value> =
        rows.into_iter().skip(offset).take(limit).map(|row| shape(view, stream, row)).collect();
    envelope(view, (limit, offset), (count, count), &shown)
}

/// What a list shows of a record.
fn shape(view: &View<'_>, stream: &str, row: &Value) -> Value {
    let mut row = row.clone();
    if stream == "property_definitions" {
        for hidden in ["type", "group_type_index"] {
            row.as_object_mut().map(|row| row.remove(hidden));
        }
    }
    if stream == "cohorts" && view.question.is_on("basic") {
        for left_out in ["filters", "query", "groups"] {
            row.as_object_mut().map(|row| row.remove(left_out));
        }
    }
    if stream == "insights" && !view.question.is_on("basic") {
        row.as_object_mut().map(|row| row.remove("refreshing"));
        row["result"] = json!((0..30).map(|day| json!({ "day": day })).collect::<Vec<_>>());
        row["order"] = json!(null);
        row["timezone"] = json!("UTC");
    }
    row
}

/// What is no positive number falls back to the default, without a word.
fn limit_and_offset(view: &View<'_>, default: usize) -> (usize, usize) {
    let limit = match view.question.count("limit", default) {
        0 => default,
        limit => limit,
    };
    (limit, view.question.count("offset", 0))
}

/// The framework's envelope around a page, of so many rows counted and so many paged through.
fn envelope(
    view: &View<'_>,
    (limit, offset): (usize, usize),
    (count, paged): (usize, usize),
    shown: &[Value],
) -> Answer {
    let link = |offset: Option<usize>| {
        let offset = offset.map(|offset| offset.to_string());
        view.question.sorted_link(&[("limit", Some(limit.to_string())), ("offset", offset)])
    };
    let next = (offset + limit < paged).then(|| link(Some(offset + limit)));
    let before = offset.checked_sub(limit).filter(|before| *before > 0);
    let previous = (offset > 0).then(|| link(before));
    Answer::value(&json!({ "count": count, "next": next, "previous": previous, "results": shown }))
}

/// All actions at once, whatever was asked for.
fn actions(rows: &[Value]) -> Answer {
    let mut rows: Vec<&Value> = rows.iter().collect();
    rows.sort_by(|one, other| {
        compare(&other["last_calculated_at"], &one["last_calculated_at"])
            .then_with(|| compare(&one["name"], &other["name"]))
    });
    Answer::value(&json!({ "results": rows }))
}

/// A bound of a time, as text that compares with a record's.
fn bound(view: &View<'_>, name: &str) -> Result<Option<String>, Answer> {
    let Some(text) = view.question.parameter(name) else { return Ok(None) };
    let at = time::read_relative(text, view.zone, view.now);
    let at = at.ok_or_else(|| Answer::invalid(&format!("Invalid date: {text}")))?;
    Ok(Some(time::zulu(at)))
}

/// Annotations between two dates, both included.
fn annotations(view: &View<'_>, rows: &[Value]) -> Result<Answer, Answer> {
    let (from, to) = (bound(view, "date_from")?, bound(view, "date_to")?);
    let within = |row: &&Value| {
        let marked = row["date_marker"].as_str().unwrap_or_default();
        from.as_deref().is_none_or(|from| marked >= from)
            && to.as_deref().is_none_or(|to| marked <= to)
    };
    let rows = sorted(view, rows.iter().filter(within).collect(), &column("-date_marker"));
    Ok(page(view, rows, "annotations"))
}

/// Insights, by default in the order of a column that is null in most rows: in none. Of two
/// dates neither is included.
fn insights(view: &View<'_>, rows: &[Value]) -> Result<Answer, Answer> {
    let (from, to) = (bound(view, "date_from")?, bound(view, "date_to")?);
    let within = |row: &&Value| {
        let changed = row["last_modified_at"].as_str().unwrap_or_default();
        from.as_deref().is_none_or(|from| changed > from)
            && to.as_deref().is_none_or(|to| changed < to)
            && (!view.question.is_on("saved") || row["saved"] == json!(true))
    };
    let order = column(view.question.parameter("order").unwrap_or("order"));
    let rows = sorted(view, rows.iter().filter(within).collect(), &order);
    Ok(page(view, rows, "insights"))
}

/// Definitions of one type of properties; those defined in code come on top of the last page.
fn property_definitions(view: &View<'_>, rows: &[Value]) -> Result<Answer, Answer> {
    let kind = view.question.parameter("type").unwrap_or("event");
    if !["event", "person", "group", "session"].contains(&kind) {
        return Err(Answer::invalid(&format!("\"{kind}\" is not a valid choice.")));
    }
    let group = view.question.parameter("group_type_index").and_then(|text| text.parse().ok());
    if kind == "group" && !matches!(group, Some(0..=4)) {
        return Err(Answer::invalid("`group_type_index` must be set for `group` type"));
    }
    let group: i64 = group.filter(|_| kind == "group").unwrap_or(-1);
    let asked =
        |row: &&Value| row["type"] == json!(kind) && row["group_type_index"] == json!(group);
    let (built_in, stored): (Vec<&Value>, Vec<&Value>) =
        rows.iter().filter(asked).partition(|row| row.get("virtual").is_some());
    let stored = sorted(view, stored, &("name".to_owned(), false));

    let (limit, offset) = limit_and_offset(view, 100);
    let is_last = offset + limit >= stored.len();
    let page = stored.iter().skip(offset).take(limit);
    let on_top = built_in.iter().filter(|_| is_last);
    let shown: Vec<Value> =
        page.chain(on_top).map(|row| shape(view, "property_definitions", row)).collect();
    let (count, paged) = (stored.len() + built_in.len(), stored.len());
    Ok(envelope(view, (limit, offset), (count, paged), &shown))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::time::Duration;

    use super::*;
    use crate::sandbox::Options;
    use crate::sandbox::client::{follow, get, list, small, started};

    fn numbers(rows: &[Value]) -> Vec<u64> {
        rows.iter().map(|row| row["id"].as_u64().unwrap()).collect()
    }

    #[tokio::test]
    async fn a_list_counts_links_and_stops() {
        let sandbox = started(small()).await;

        let first = list(&sandbox, "cohorts?basic=false").await;
        assert_eq!(
            (&first["count"], first["results"].as_array().unwrap().len()),
            (&json!(230), 100)
        );
        let next = format!(
            "{}/api/projects/12345/cohorts?basic=false&limit=100&offset=100",
            sandbox.origin()
        );
        assert_eq!(first["next"], next);
        let last = list(&sandbox, "cohorts/?limit=100&offset=200").await;
        assert_eq!((&last["next"], last["results"].as_array().unwrap().len()), (&json!(null), 30));
        assert!(last["previous"].as_str().unwrap().ends_with("?limit=100&offset=100"));
        let all = follow(&sandbox, "cohorts/?limit=7").await;
        assert_eq!(numbers(&all).into_iter().collect::<HashSet<_>>().len(), 230);
        assert_eq!(
            list(&sandbox, "cohorts/?limit=-1").await["results"].as_array().unwrap().len(),
            100
        );
    }

    #[tokio::test]
    async fn annotations_have_larger_pages_and_actions_none() {
        let sandbox = started(small()).await;

        assert_eq!(list(&sandbox, "annotations/").await["results"].as_array().unwrap().len(), 1000);
        let actions = list(&sandbox, "actions/?limit=1").await;
        assert_eq!(actions["results"].as_array().unwrap().len(), 45);
        assert_eq!(actions.as_object().unwrap().len(), 1);
    }

    #[tokio::test]
    async fn insights_in_their_own_order_cannot_be_paged() {
        let sandbox = started(small()).await;

        let shuffled = follow(&sandbox, "insights/?limit=50&basic=true").await;
        assert!(numbers(&shuffled).into_iter().collect::<HashSet<_>>().len() < 320);
        let by_id = follow(&sandbox, "insights/?limit=50&order=id&basic=true").await;
        assert_eq!(numbers(&by_id), (1..=320).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn insights_after_a_date_leave_out_the_date_itself() {
        let sandbox = started(small()).await;
        sandbox.advance(Duration::from_secs(60));
        sandbox.touch("insights", 3);
        let touched = sandbox.truth("insights")[0]["last_modified_at"].as_str().unwrap().to_owned();
        let before = touched.replace('Z', "").split_at(19).0.to_owned() + "Z";

        let at = list(&sandbox, &format!("insights/?date_from={touched}&basic=true")).await;
        let from =
            list(&sandbox, &format!("insights/?date_from={before}&order=last_modified_at")).await;

        assert_eq!(at["count"], 0);
        assert_eq!(numbers(from["results"].as_array().unwrap()).len(), 3);
        assert!(
            from["results"][0].get("result").is_some(),
            "without basic=true the numbers come along"
        );
    }

    #[tokio::test]
    async fn flags_never_changed_come_first_when_sorted_backwards() {
        let sandbox = started(small()).await;

        let flags = list(&sandbox, "feature_flags/?order=-updated_at").await;

        let updated: Vec<_> = flags["results"]
            .as_array()
            .unwrap()
            .iter()
            .map(|flag| flag["updated_at"].clone())
            .collect();
        assert!(updated[0].is_null() && !updated[59].is_null());
        assert!(updated[10].as_str() >= updated[30].as_str());
    }

    #[tokio::test]
    async fn property_definitions_come_by_type_with_extra_rows_at_the_end() {
        let sandbox = started(small()).await;

        let persons = list(&sandbox, "property_definitions/?type=person&limit=110").await;
        assert_eq!((&persons["count"], &persons["next"]), (&json!(112), &json!(null)));
        let rows = persons["results"].as_array().unwrap();
        assert_eq!((rows.len(), &rows[111]["virtual"]), (112, &json!(true)));
        assert!(rows[0].get("type").is_none());
        let refused = get(&sandbox, "/api/projects/12345/property_definitions/?type=group").await;
        assert_eq!(
            (refused.status, refused.detail().as_str()),
            (400, "`group_type_index` must be set for `group` type")
        );

        let mut found = HashSet::new();
        for kind in [
            "event",
            "person",
            "session",
            "group&group_type_index=0",
            "group&group_type_index=1",
            "group&group_type_index=4",
        ] {
            let rows =
                follow(&sandbox, &format!("property_definitions/?limit=40&type={kind}")).await;
            found.extend(rows.iter().map(|row| row["id"].as_str().unwrap().to_owned()));
        }
        assert_eq!(found.len(), sandbox.truth("property_definitions").len());
    }

    #[tokio::test]
    async fn definitions_of_events_can_be_had_by_name() {
        let sandbox = started(small()).await;

        let rows = follow(&sandbox, "event_definitions/?ordering=name&limit=30").await;

        let names: Vec<_> = rows.iter().map(|row| row["name"].as_str().unwrap()).collect();
        assert!(names.is_sorted() && names.contains(&"$pageview"));
        assert_eq!(names.len(), 140);
    }

    #[tokio::test]
    async fn a_deleted_cohort_is_no_longer_listed_but_can_be_had_by_id() {
        let sandbox = started(small()).await;

        sandbox.delete("cohorts", 2);

        assert_eq!(list(&sandbox, "cohorts/").await["count"], 228);
        assert_eq!(list(&sandbox, "cohorts/230/").await["deleted"], true);
    }

    #[tokio::test]
    async fn the_list_of_projects_is_shorter_than_the_project() {
        let sandbox = started(Options { timezone_offset_minutes: 330, ..small() }).await;

        let projects = get(&sandbox, "/api/projects/").await.json();
        assert_eq!(projects["results"], json!(sandbox.truth("projects")));
        assert_eq!(projects["results"][0]["timezone"], "Asia/Kolkata");
        assert!(projects["results"][0].get("secret_api_token").is_none());
        assert!(list(&sandbox, "").await.get("live_events_token").is_some());
    }

    #[tokio::test]
    async fn a_touched_record_is_still_the_same_record() {
        let sandbox = started(small()).await;

        for stream in [
            "cohorts",
            "feature_flags",
            "annotations",
            "actions",
            "event_definitions",
            "property_definitions",
        ] {
            let before = sandbox.truth(stream);
            sandbox.touch(stream, 2);
            let after = sandbox.truth(stream);

            let changed = before.iter().zip(&after).filter(|(before, after)| before != after);
            assert_eq!(changed.count(), 2, "{stream}");
            assert!(before.iter().zip(&after).all(|(before, after)| before["id"] == after["id"]));
        }
    }
}
