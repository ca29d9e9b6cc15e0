//! HogQL's functions, each in SQLite's words.

use super::syntax::{Constant, Expr};
use super::translate::{Translator, Type, Typed};
use crate::sandbox::time;

/// The functions there are, with how few and how many arguments they take.
const FUNCTIONS: &[(&str, usize, usize)] = &[
    ("toString", 1, 2),
    ("toTimeZone", 2, 2),
    ("toDateTime", 1, 2),
    ("toDateTime64", 1, 3),
    ("toDate", 1, 1),
    ("toUUID", 1, 1),
    ("toInt", 1, 1),
    ("toFloat", 1, 1),
    ("toUnixTimestamp", 1, 1),
    ("toStartOfDay", 1, 1),
    ("toStartOfHour", 1, 1),
    ("toStartOfMonth", 1, 1),
    ("toYYYYMM", 1, 1),
    ("toTypeName", 1, 1),
    ("now", 0, 0),
    ("count", 0, 1),
    ("countIf", 1, 1),
    ("countDistinct", 1, 1),
    ("uniq", 1, 8),
    ("uniqExact", 1, 8),
    ("min", 1, 1),
    ("max", 1, 1),
    ("sum", 1, 1),
    ("sumIf", 2, 2),
    ("avg", 1, 1),
    ("any", 1, 1),
    ("groupBitXor", 1, 1),
    ("substring", 2, 3),
    ("length", 1, 1),
    ("lower", 1, 1),
    ("upper", 1, 1),
    ("trim", 1, 1),
    ("concat", 1, 16),
    ("if", 3, 3),
    ("ifNull", 2, 2),
    ("coalesce", 1, 8),
    ("empty", 1, 1),
    ("notEmpty", 1, 1),
    ("tuple", 1, 16),
    ("and", 2, 16),
    ("or", 2, 16),
    ("not", 1, 1),
    ("equals", 2, 2),
    ("notEquals", 2, 2),
    ("less", 2, 2),
    ("lessOrEquals", 2, 2),
    ("greater", 2, 2),
    ("greaterOrEquals", 2, 2),
    ("plus", 2, 2),
    ("minus", 2, 2),
    ("modulo", 2, 2),
    ("intDiv", 2, 2),
    ("cityHash64", 1, 1),
    ("MD5", 1, 1),
    ("hex", 1, 1),
    ("JSONExtractString", 2, 2),
];

/// What a server of 2023 does not have.
const NEW: [&str; 5] = ["toDateTime64", "cityHash64", "MD5", "hex", "toTypeName"];

/// Translates a call.
pub(super) fn call(
    translator: &mut Translator,
    name: &str,
    is_distinct: bool,
    arguments: &[Expr],
) -> Result<Typed, String> {
    check(translator.rules.is_old, name, arguments.len())?;
    match name {
        "toDateTime" | "toDateTime64" => return date_time(translator, name, arguments),
        "toTimeZone" => return time_zone(translator, arguments),
        "toString" if arguments.len() == 2 => {
            let zoned = Expr::Call("toTimeZone".to_owned(), false, arguments.to_vec());
            return call(translator, "toString", false, &[zoned]);
        }
        "tuple" => return translator.expr(&Expr::Tuple(arguments.to_vec())),
        _ => {}
    }
    if let Some(operator) = operator(name) {
        return operation(translator, operator, arguments);
    }
    let typed = arguments.iter().map(|argument| translator.expr(argument));
    let typed = typed.collect::<Result<Vec<Typed>, String>>()?;
    let found = aggregate(name, is_distinct, &typed).or_else(|| of_time(translator, name, &typed));
    Ok(found.unwrap_or_else(|| scalar(translator, name, &typed)))
}

/// The first argument, and all of them as a list.
fn taken(typed: &[Typed]) -> (String, Type, Vec<&str>) {
    let (one, kind) = typed.first().cloned().unwrap_or_else(|| ("*".to_owned(), Type::Null));
    (one, kind, typed.iter().map(|(sql, _)| sql.as_str()).collect())
}

/// What makes one value of many rows.
fn aggregate(name: &str, is_distinct: bool, typed: &[Typed]) -> Option<Typed> {
    let (one, kind, all) = taken(typed);
    let distinct = if is_distinct { "DISTINCT " } else { "" };
    Some(match name {
        "count" => (format!("COUNT({distinct}{one})"), Type::Int),
        "countIf" => (format!("COUNT(CASE WHEN {one} THEN 1 END)"), Type::Int),
        "countDistinct" | "uniq" | "uniqExact" => {
            let keys: Vec<String> = all.iter().map(|text| format!("quote({text})")).collect();
            (format!("COUNT(DISTINCT {})", keys.join(" || ',' || ")), Type::Int)
        }
        "sum" if kind == Type::Hash => (format!("hog_sum({one})"), kind),
        "min" | "max" | "sum" => (format!("{name}({distinct}{one})"), kind),
        "sumIf" => (format!("SUM(CASE WHEN {} THEN {one} ELSE 0 END)", all[1]), kind),
        "avg" => (format!("avg({one})"), Type::Float),
        "any" => (format!("min({one})"), kind),
        "groupBitXor" => (format!("hog_xor({one})"), Type::Int),
        _ => return None,
    })
}

/// What looks at an instant as the clocks of its zone show it.
fn of_time(translator: &mut Translator, name: &str, typed: &[Typed]) -> Option<Typed> {
    let (one, kind, _) = taken(typed);
    let shown = shown(&one, kind);
    Some(match name {
        "toString" => (shown, Type::Text),
        "toDate" => (format!("substr({shown}, 1, 10)"), Type::Date),
        "toStartOfDay" => start_of(&one, kind, 10, " 00:00:00.000000"),
        "toStartOfHour" => start_of(&one, kind, 13, ":00:00.000000"),
        "toStartOfMonth" => (format!("(substr({shown}, 1, 7) || '-01')"), Type::Date),
        "toYYYYMM" => {
            let month = format!("replace(substr({shown}, 1, 7), '-', '')");
            (format!("CAST({month} AS INTEGER)"), Type::Int)
        }
        "toUnixTimestamp" => (format!("CAST(strftime('%s', {one}) AS INTEGER)"), Type::Int),
        "now" => {
            let now = translator.parameter(&time::stored(translator.rules.now));
            (now, Type::Time(translator.rules.zone))
        }
        _ => return None,
    })
}

/// What makes one value of the values of a row.
fn scalar(translator: &mut Translator, name: &str, typed: &[Typed]) -> Typed {
    let (one, kind, texts) = taken(typed);
    let all = texts.join(", ");
    match name {
        "toUUID" => (format!("lower({one})"), Type::Uuid),
        "toInt" => (format!("CAST({one} AS INTEGER)"), Type::Int),
        "toFloat" => (format!("CAST({one} AS REAL)"), Type::Float),
        "toTypeName" => (translator.parameter(&kind.name()), Type::Text),
        "substring" => (format!("substr({all})"), Type::Text),
        "length" => (format!("length({one})"), Type::Int),
        "lower" | "upper" | "trim" => (format!("{name}({one})"), Type::Text),
        "concat" => (format!("({})", texts.join(" || ")), Type::Text),
        "if" => (format!("(CASE WHEN {one} THEN {} ELSE {} END)", texts[1], texts[2]), typed[1].1),
        "ifNull" => (format!("ifnull({all})"), kind),
        "coalesce" => (format!("coalesce({all}, NULL)"), kind),
        "empty" => (format!("({one} = '')"), Type::Int),
        "notEmpty" => (format!("({one} <> '')"), Type::Int),
        "not" => (format!("(NOT {one})"), Type::Int),
        "intDiv" => (format!("hog_div({all})"), Type::Int),
        "cityHash64" => (format!("hog_hash({one})"), Type::Hash),
        "MD5" => (format!("hog_md5({one})"), Type::Text),
        "hex" => (format!("hex({one})"), Type::Text),
        _ => (format!("json_extract({one}, '$.\"' || {} || '\"')", texts[1]), Type::Text),
    }
}

/// Whether there is such a function, taking so many arguments.
fn check(is_old: bool, name: &str, count: usize) -> Result<(), String> {
    let known = FUNCTIONS.iter().filter(|(known, _, _)| !(is_old && NEW.contains(known)));
    let found = known.clone().find(|(known, _, _)| *known == name);
    let Some((_, few, many)) = found else {
        let near = known
            .map(|(known, _, _)| (strsim::levenshtein(known, name), known))
            .min_by_key(|(distance, _)| *distance);
        let hint =
            near.map_or(String::new(), |(_, near)| format!(" Perhaps you meant '{near}(...)'?"));
        return Err(format!("Unsupported function call '{name}(...)'.{hint}"));
    };
    let most = if is_old && name == "toString" { 1 } else { *many };
    if count < *few || count > most {
        let detail = format!("Function '{name}' expects {few} to {most} arguments, found {count}");
        return Err(detail);
    }
    Ok(())
}

/// The operator that a function is another name of.
fn operator(name: &str) -> Option<&'static str> {
    Some(match name {
        "and" => "and",
        "or" => "or",
        "equals" => "=",
        "notEquals" => "!=",
        "less" => "<",
        "lessOrEquals" => "<=",
        "greater" => ">",
        "greaterOrEquals" => ">=",
        "plus" => "+",
        "minus" => "-",
        "modulo" => "%",
        _ => return None,
    })
}

fn operation(
    translator: &mut Translator,
    operator: &'static str,
    arguments: &[Expr],
) -> Result<Typed, String> {
    let joined =
        arguments.iter().cloned().reduce(|left, right| Expr::binary(operator, left, right));
    translator.expr(&joined.unwrap_or(Expr::Constant(Constant::Null)))
}

/// `toDateTime`, best effort: exact to the microsecond, a zone honoured, without one the rules' zone.
fn date_time(translator: &mut Translator, name: &str, arguments: &[Expr]) -> Result<Typed, String> {
    let named = if name == "toDateTime64" { arguments.get(2) } else { arguments.get(1) };
    let zone = match named {
        Some(zone) => zone_of(translator, zone)?,
        None => translator.rules.zone,
    };
    let kind = Type::Time(zone);
    if let Expr::Constant(Constant::Text(text)) = &arguments[0] {
        let Some(at) = time::read(text, zone) else { return Ok(("NULL".to_owned(), kind)) };
        return Ok((translator.parameter(&time::stored(at)), kind));
    }
    match translator.expr(&arguments[0])? {
        (sql, Type::Time(_)) => Ok((sql, kind)),
        (sql, _) => Ok((format!("hog_time({sql}, {zone})"), kind)),
    }
}

fn time_zone(translator: &mut Translator, arguments: &[Expr]) -> Result<Typed, String> {
    let zone = zone_of(translator, &arguments[1])?;
    let (sql, _) = translator.expr(&arguments[0])?;
    Ok((sql, Type::Time(zone)))
}

/// The zones that the sandbox knows: UTC and the project's.
fn zone_of(translator: &Translator, expr: &Expr) -> Result<i32, String> {
    let project = translator.rules.project_zone;
    match expr {
        Expr::Constant(Constant::Text(name)) if name == "UTC" => Ok(0),
        Expr::Constant(Constant::Text(name)) if *name == time::zone_name(project) => Ok(project),
        Expr::Constant(Constant::Text(name)) => Err(format!("Unknown time zone {name}")),
        _ => Err("A time zone must be a constant".to_owned()),
    }
}

/// An expression as text: an instant as the clocks of its zone show it.
fn shown(sql: &str, kind: Type) -> String {
    match kind {
        Type::Time(0) | Type::Text | Type::Uuid | Type::Date | Type::Null => sql.to_owned(),
        Type::Time(zone) => format!("hog_shift({sql}, {zone})"),
        Type::Int | Type::Float => format!("CAST({sql} AS TEXT)"),
        Type::Hash => format!("hog_digits({sql})"),
    }
}

/// An instant with the end of its text replaced, as the clocks of its zone show it.
fn start_of(sql: &str, kind: Type, length: usize, rest: &str) -> Typed {
    let cut = format!("(substr({}, 1, {length}) || '{rest}')", shown(sql, kind));
    match kind {
        Type::Time(zone) if zone != 0 => (format!("hog_shift({cut}, {})", -zone), kind),
        _ => (cut, kind),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use crate::cursor::Timestamp;
    use crate::sandbox::Options;
    use crate::sandbox::client::{post_query, small, sql, started};

    #[tokio::test]
    async fn a_server_of_2023_knows_less_and_shows_milliseconds() {
        let sandbox = started(Options { old_sql: true, sql_cap: 10_000, ..small() }).await;
        sandbox.add_events(
            1,
            Duration::ZERO,
            Timestamp::parse("2026-11-21T06:18:25.123456Z").unwrap(),
        );
        let modified = sql(&sandbox, "select 1", json!({})).await;
        assert_eq!((modified.status, &modified.json()["code"]), (400, &json!("parse_error")));
        assert!(modified.detail().starts_with("86 validation errors for QuerySchema"));

        let ask = async |text: &str| {
            post_query(&sandbox, &json!({ "query": { "kind": "HogQLQuery", "query": text } })).await
        };
        for name in [
            "cityHash64(event)",
            "MD5(event)",
            "hex(event)",
            "toTypeName(event)",
            "toDateTime64('2026-01-01', 6)",
        ] {
            let detail = ask(&format!("select {name} from events limit 1")).await.detail();
            assert!(detail.starts_with("Unsupported function call '"), "{detail}");
        }
        let answer = ask("select timestamp, toString(toTimeZone(timestamp, 'UTC')) as ts from events order by timestamp desc limit 1").await;
        let text = String::from_utf8(answer.body()).unwrap();
        assert!(
            text.contains(r#"["2026-11-21T06:18:25.123Z","2026-11-21 06:18:25.123456"]"#),
            "{text}"
        );
        assert!(text.find("\"columns\"").unwrap() < text.find("\"results\"").unwrap());
    }

    #[tokio::test]
    async fn today_the_results_come_first_and_ids_sort_by_their_second_half() {
        let sandbox = started(small()).await;

        let answer = sql(
            &sandbox,
            "select uuid, hex(MD5(event)) from events order by uuid limit 500",
            json!({}),
        )
        .await;

        assert!(answer.body().starts_with(b"{\"results\":[["));
        let ids: Vec<String> = answer.json()["results"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| row[0].as_str().unwrap().to_owned())
            .collect();
        assert!(!ids.is_sorted());
        assert!(ids.iter().map(|id| &id[19..]).is_sorted());
    }
}
