//! What a query would make the store read.
//!
//! ClickHouse keeps events by (day, event, hash of the distinct id), so only what
//! bounds these spares it rows: a bound on `timestamp` spares whole days, one on
//! `created_at` nothing. An instant shown in the project's zone is wrapped in a
//! function, and then `timestamp` spares nothing either.

use super::syntax::{Constant, Expr, Select, Source};

/// The query that counts the rows read; `None` where no events are.
pub(super) fn counting(select: &Select, is_converting: bool) -> Option<Select> {
    match select.source.as_ref()? {
        Source::Select(inner) => return counting(inner, is_converting),
        Source::Table(name, _) if name != "events" => return None,
        Source::Table(..) => {}
    }
    let filter = select.filter.as_ref().and_then(|filter| sparing(filter, is_converting));
    let count = super::syntax::Item {
        expr: Expr::Call("count".to_owned(), false, Vec::new()),
        name: "count()".to_owned(),
        is_alias: false,
    };
    Some(Select { items: vec![count], source: select.source.clone(), filter, ..Select::default() })
}

/// What of a condition spares rows: of `or` only all of it together.
fn sparing(filter: &Expr, is_converting: bool) -> Option<Expr> {
    let (operator, left, right) = match filter {
        Expr::In(true, column, _) => return is_column(column, "event").then(|| filter.clone()),
        Expr::Binary(operator, left, right) => (*operator, left.as_ref(), right),
        _ => return None,
    };
    match operator {
        "and" | "or" => {
            let sides = (sparing(left, is_converting), sparing(right, is_converting));
            match sides {
                (Some(left), Some(right)) => Some(Expr::binary(operator, left, right)),
                (left, right) if operator == "and" => left.or(right),
                _ => None,
            }
        }
        _ if is_column(left, "event") || is_hash(left) => Some(filter.clone()),
        _ if is_column(left, "timestamp") && !is_converting => whole_days(operator, left, right),
        _ => None,
    }
}

fn is_column(expr: &Expr, name: &str) -> bool {
    matches!(expr, Expr::Field(chain) if chain.last().is_some_and(|last| last == name))
}

/// `cityHash64(distinct_id)`.
fn is_hash(expr: &Expr) -> bool {
    let Expr::Call(name, _, of) = expr else { return false };
    name == "cityHash64" && matches!(of.as_slice(), [of] if is_column(of, "distinct_id"))
}

/// A bound of the timestamp, as far as days go.
fn whole_days(operator: &str, column: &Expr, bound: &Expr) -> Option<Expr> {
    let operator = match operator {
        ">" | ">=" => ">=",
        "<" | "<=" => "<=",
        _ => return None,
    };
    let day = |expr: &Expr| Expr::Call("toDate".to_owned(), false, vec![expr.clone()]);
    let bound = match bound {
        Expr::Constant(Constant::Text(_)) => {
            Expr::Call("toDateTime".to_owned(), false, vec![bound.clone()])
        }
        other => other.clone(),
    };
    Some(Expr::binary(operator, day(column), day(&bound)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::sandbox::Options;
    use crate::sandbox::client::{post_query, small, sql, started};

    /// The status of a query over a minute, with a further condition.
    async fn status(options: Options, condition: &str) -> u16 {
        let sandbox = started(options).await;
        let text = format!(
            "select event from events where timestamp >= toDateTime('2026-11-10T12:00:00Z') and timestamp < toDateTime('2026-11-10T12:01:00Z') {condition} limit 10"
        );
        sql(&sandbox, &text, json!({})).await.status
    }

    #[tokio::test]
    async fn a_minute_costs_its_day_unless_the_event_and_the_hash_are_bounded() {
        // A day has about a hundred events of seven kinds.
        let limited = Options { sql_read_limit: 60, ..small() };

        assert_eq!(status(limited.clone(), "").await, 504);
        assert_eq!(status(limited.clone(), "and created_at > toDateTime('2026-11-20')").await, 504);
        assert_eq!(status(limited.clone(), "and event = '$screen'").await, 200);
        assert_eq!(status(limited.clone(), "and cityHash64(distinct_id) < 1000000").await, 200);
        let either = "and (event < '$b' or cityHash64(distinct_id) < 1000000)";
        assert_eq!(status(limited.clone(), either).await, 200);
        let no_bound = "and (event < '$b' or created_at > toDateTime('2026-11-20'))";
        assert_eq!(status(limited, no_bound).await, 504, "one side of it reads the day");
    }

    #[tokio::test]
    async fn in_the_projects_zone_even_a_day_costs_everything() {
        let sandbox = started(Options { sql_read_limit: 1000, ..small() }).await;
        let text = "select event from events where timestamp >= toDateTime('2026-11-10') and timestamp < toDateTime('2026-11-11') limit 10";

        assert_eq!(sql(&sandbox, text, json!({})).await.status, 200);
        let query = json!({ "query": { "kind": "HogQLQuery", "query": text } });
        let refused = post_query(&sandbox, &query).await;
        assert_eq!((refused.status, &refused.json()["type"]), (504, &json!("server_error")));
    }
}
