//! What conditions mean, what is refused, and what a store is asked.

use std::sync::Arc;

use super::*;
use crate::record::batch::Batch;
use crate::schema::{Column, Origin};

const COLUMNS: [(&str, ColumnType); 6] = [
    ("event", ColumnType::Text),
    ("n", ColumnType::Bigint),
    ("at", ColumnType::Timestamp),
    ("day", ColumnType::Date),
    ("ok", ColumnType::Bool),
    ("properties", ColumnType::Json),
];

fn kind_of(name: &str) -> Result<ColumnType, String> {
    let found = COLUMNS.into_iter().find(|(own, _)| *own == name);
    found.map(|(_, kind)| kind).ok_or_else(|| format!("no column `{name}`"))
}

fn bound(text: &str) -> Result<Filter, String> {
    let mut filter = Filter::parse(text).map_err(|err| err.to_string())?;
    filter.bind(&kind_of)?;
    Ok(filter)
}

/// The numbers of the records that fulfil a condition.
fn wanted(condition: &str) -> Vec<usize> {
    let columns = COLUMNS.map(|(name, kind)| {
        let origin = if name == "day" { Origin::DayOf(2) } else { Origin::Field };
        Column { name: name.into(), kind, origin }
    });
    let schema = Arc::new(Schema { columns: columns.into(), ..Schema::default() });
    let records = r#"{"results":[
        {"event":"$pageview","n":1,"at":"2026-01-01T10:00:00Z","ok":true,
         "properties":{"plan":"pro","seats":5,"a b":{"c":"x"}}},
        {"event":"signed up","n":20,"at":"2026-01-02T00:00:00Z","ok":false,
         "properties":{"plan":"free","plan":"team","seats":"7"}},
        {"event":"O'Hara","n":null,"at":"2026-01-02T23:59:59.999999Z","ok":null,
         "properties":{"plan":null}},
        {"event":"","n":-3,"at":"2026-01-03T00:00:00Z"}
    ]}"#;
    let batch = Batch::of_results(Arc::clone(&schema), records).unwrap().unwrap();
    let filter = bound(condition).unwrap_or_else(|err| panic!("{condition}: {err}"));
    let rows = batch.rows().enumerate();
    rows.filter(|(_, row)| filter.wants(row, &schema)).map(|(n, _)| n).collect()
}

#[test]
fn records_are_compared_as_sql_compares() {
    for (condition, expected) in [
        ("event = '$pageview'", &[0][..]),
        ("event != '$pageview'", &[1, 2, 3]),
        ("event = 'O''Hara' or event = 'O\\'Hara'", &[2]),
        ("event in ('$pageview', '') and n < 0", &[3]),
        ("event not in ('$pageview')", &[1, 2, 3]),
        ("event like '%up' OR event LIKE '$page____'", &[0, 1]),
        ("event ilike 'o_h%'", &[2]),
        ("n > 1", &[1]),
        ("n >= -3 and n <= 1.5", &[0, 3]),
        ("not n > 1", &[0, 3]),
        ("n is null", &[2]),
        ("n is not null and not (n = 1 or n = 20)", &[3]),
        ("at >= '2026-01-02'", &[1, 2, 3]),
        ("day = '2026-01-02'", &[1, 2]),
        ("at between '2026-01-02' and '2026-01-02T23:59:59Z'", &[1]),
        ("ok = true", &[0]),
        ("ok != true", &[1]),
        ("properties.plan = 'pro'", &[0]),
        // Of a key that is there twice the last counts.
        ("properties.plan = 'team'", &[1]),
        ("properties.plan = 'free'", &[]),
        ("properties.plan is null", &[2, 3]),
        ("properties.seats >= 5", &[0, 1]),
        ("properties.\"a b\".c = 'x'", &[0]),
        ("properties is null", &[3]),
        // Unknown is not true, and neither is its opposite.
        ("n > 1 or properties.plan = 'pro'", &[0, 1]),
        ("not (properties.plan = 'pro')", &[1]),
    ] {
        assert_eq!(wanted(condition), expected, "{condition}");
    }
}

#[test]
fn what_cannot_be_compared_is_refused_with_the_place() {
    for (condition, message) in [
        ("", "expected a column, found the end at character 1"),
        (
            "event",
            "expected =, !=, <, <=, >, >=, in, like, between or is, found the end at character 6",
        ),
        (
            "event = ",
            "expected a text in quotes, a number, true or false, found the end at character 9",
        ),
        (
            "event = x",
            "expected a text in quotes, a number, true or false, found `x` at character 9",
        ),
        ("event = 'x", "no closing ' for the one at character 9"),
        ("event = 'x' event", "expected `and`, `or` or the end, found `event` at character 13"),
        (
            "event = null",
            "expected a value (nothing is equal to null: write `is null`), found `null` at character 9",
        ),
        ("(event = 'x'", "expected `)`, found the end at character 13"),
        ("event ; 1", "`;` means nothing here at character 7"),
        ("n = 1x", "`1x` is no number at character 5"),
        ("event not = 'x'", "expected `in`, `like` or `between`, found `=` at character 11"),
        ("evnt = 'x'", "no column `evnt`"),
        ("event = 1", "`event` is text: compare it with a text in quotes, as 'x'"),
        ("n = 'x'", "`n` is bigint: compare it with a number"),
        (
            "at > 'soon'",
            "`at` is timestamp: compare it with a time in quotes, as '2026-01-31' or '2026-01-31T12:00:00Z'",
        ),
        ("ok > true", "`ok` is bool: compare it with true or false, by = or !="),
        (
            "properties = 'x'",
            "`properties` is json: compare it with null: name a place inside of it, as properties.plan",
        ),
        ("event.x = 'x'", "`event` is text, which has nothing inside"),
        ("n like '1%'", "`n` is bigint, and LIKE is for text"),
    ] {
        assert_eq!(bound(condition).unwrap_err(), message, "{condition}");
    }
    let deep = format!("{}event = 'x'{}", "(".repeat(60), ")".repeat(60));
    assert!(bound(&deep).unwrap_err().starts_with("expected fewer brackets"));
}

#[test]
fn a_store_is_asked_what_it_decides_as_we_do() {
    let expression_of = |name: &str| match name {
        "event" => Some("event"),
        "at" => Some("timestamp"),
        _ => None,
    };
    for (condition, pushed) in [
        ("event = 'it''s'", Some(("event = 'it\\'s'", true))),
        ("event in ('a', 'b')", Some(("(event = 'a') OR (event = 'b')", true))),
        ("event not in ('a')", Some(("not((event = 'a'))", true))),
        ("event like 'a%'", Some(("event LIKE 'a%'", true))),
        (
            "at >= '2026-01-01' and n = 1",
            Some(("(timestamp >= toDateTime('2026-01-01T00:00:00.000000Z'))", false)),
        ),
        ("event = 'a' or n = 1", None),
        ("not (event = 'a' and n = 1)", None),
        ("event ilike 'a%'", None),
        ("event is null", None),
        ("properties.plan = 'pro'", None),
    ] {
        let found = bound(condition).unwrap().sql(&expression_of);
        let found = found.as_ref().map(|pushed| (pushed.condition.as_str(), pushed.is_exact));
        assert_eq!(found, pushed, "{condition}");
    }
}
