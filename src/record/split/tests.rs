//! The splitter against answers whole and broken, in pieces of any size.

use proptest::prelude::*;
use serde_json::{Map, Value as Json};

use super::*;
use crate::record::repair::Repairs;
use crate::record::value::Value;
use crate::schema::Column;

fn schema(columns: &[(&str, ColumnType)]) -> Arc<Schema> {
    let column = |(name, kind): &(&str, ColumnType)| Column {
        name: (*name).into(),
        kind: *kind,
        origin: Origin::Field,
    };
    let columns = columns.iter().map(column).collect();
    Arc::new(Schema { columns, primary_key: vec![0], ..Schema::default() })
}

fn named() -> Placement {
    Placement::ByName { leave_out: vec!["secret".into()], add_undeclared: true }
}

/// Feeds an answer in pieces of `size` bytes and shows its rows as JSON lines.
fn split(
    answer: &str,
    size: usize,
    placement: Placement,
) -> Result<(Vec<String>, Envelope), NotJson> {
    let schema = schema(&[("id", ColumnType::Bigint), ("properties", ColumnType::Json)]);
    let mut splitter = Splitter::new(Layout::Rows("results".into()), placement, schema);
    let mut rows = Vec::new();
    for piece in answer.as_bytes().chunks(size) {
        splitter.feed(piece, &mut |_| Verdict::Keep)?;
        rows.extend(splitter.cut(1).1.iter().flat_map(lines));
    }
    while let (_, Some(batch)) = splitter.cut(2) {
        rows.extend(lines(&batch));
    }
    Ok((rows, splitter.finish()?))
}

/// The fields that each row has.
fn lines(batch: &Batch) -> Vec<String> {
    let render = |row: crate::record::batch::Row<'_>| {
        let mut out = Vec::new();
        for (n, column) in batch.schema().columns.iter().enumerate() {
            if !row.raw(n).is_empty() {
                out.extend(format!(" {}=", column.name).bytes());
                row.write_json(n, &mut Repairs::default(), &mut out);
            }
        }
        String::from_utf8(out).unwrap()
    };
    batch.rows().map(render).collect()
}

const ANSWER: &str = r#"{"count":2,"next":"http://x/?a=\"1\"","results":[
    {"id":1,"properties":{"a":[1,{"b":"}]\"\\"}]},"secret":"s","new":"x"},
    {"new":null,"id":2} , {"id":3,"properties":null,"other":[2515.40]}],"has_next":true}"#;

#[test]
fn an_answer_splits_alike_wherever_its_pieces_end() {
    for size in 1..ANSWER.len() {
        let (rows, envelope) = split(ANSWER, size, named()).unwrap();

        let expected = [
            r#" id=1 properties={"a":[1,{"b":"}]\"\\"}]} new="x""#,
            " id=2 new=null",
            " id=3 properties=null other=[2515.40]",
        ];
        assert_eq!(rows, expected, "in pieces of {size}");
        assert_eq!(envelope.number("count"), Some(2));
        assert_eq!(envelope.text("next").as_deref(), Some(r#"http://x/?a="1""#));
        assert_eq!(envelope.raw("has_next"), Some("true"));
    }
}

#[test]
fn an_answer_cut_anywhere_is_refused() {
    for end in 0..ANSWER.len() {
        assert!(split(&ANSWER[..end], 7, named()).is_err(), "cut at {end}");
    }
}

#[test]
fn what_is_no_list_of_records_is_refused() {
    for answer in [
        "<html></html>",
        "[]",
        r#"{"results":[1]}"#,
        r#"{"results":[[1]]}"#,
        "{} x",
        "{}",
        r#"{"results":null}"#,
    ] {
        assert!(split(answer, 5, named()).is_err(), "{answer}");
    }
}

#[test]
fn an_sql_answers_rows_are_placed_by_position() {
    let answer = r#"{"results":[["{\"a\": \"b\"}", 7], ["", 8]],"columns":["properties","id"]}"#;

    let (rows, _) = split(answer, 3, Placement::ByPosition(vec![1, 0])).unwrap();

    assert_eq!(rows, [r#" id=7 properties={"a":"b"}"#, " id=8 properties=null"]);
    assert!(split(r#"{"results":[[1]]}"#, 3, Placement::ByPosition(vec![1, 0])).is_err());
}

#[test]
fn bytes_that_are_no_text_are_repaired_and_counted() {
    let schema = schema(&[("id", ColumnType::Bigint), ("name", ColumnType::Text)]);
    let mut splitter = Splitter::new(Layout::Rows("results".into()), named(), schema);
    let answer = b"{\"results\":[{\"id\":1,\"name\":\"a\xffb\"}]}";
    splitter.feed(answer, &mut |_| Verdict::Keep).unwrap();

    let batch = splitter.cut(9).1.unwrap();

    let row = batch.last().unwrap();
    assert_eq!(row.value(1, &mut Repairs::default()), Value::Text("a\u{fffd}b".into()));
    assert_eq!(batch.repairs().total(), 1);
}

/// Any JSON value, with the texts that trip splitters.
fn json() -> impl Strategy<Value = Json> {
    let text = prop_oneof!["[a-z]{0,4}", r#"["\\\\{}\[\],: \n\u{e9}\u{1f994}]{0,8}"#];
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        (-999..999_i32).prop_map(|n| Json::from(f64::from(n) / 8.0)),
        text.clone().prop_map(Json::from),
    ];
    leaf.prop_recursive(4, 32, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Json::from),
            prop::collection::btree_map(text.clone(), inner, 0..5)
                .prop_map(|map| Json::Object(map.into_iter().collect())),
        ]
    })
}

/// The fields of every row, read back by a parser nobody here wrote.
fn parsed(batch: &Batch) -> Vec<Map<String, Json>> {
    let row = |row: crate::record::batch::Row<'_>| {
        let fields = batch.schema().columns.iter().enumerate();
        let present = fields.filter(|(n, _)| !row.raw(*n).is_empty());
        present.map(|(n, c)| (c.name.clone(), serde_json::from_str(row.raw(n)).unwrap())).collect()
    };
    batch.rows().map(row).collect()
}

proptest! {
    #[test]
    fn any_records_come_out_as_they_went_in(
        rows in prop::collection::vec(
            prop::collection::btree_map("[a-d]{1,2}", json(), 0..6), 0..6),
        before in json(),
        pretty in any::<bool>(),
        sizes in prop::collection::vec(1..40_usize, 1..20),
    ) {
        let rows: Vec<Map<String, Json>> =
            rows.into_iter().map(|row| row.into_iter().collect()).collect();
        let answer = serde_json::json!({ "before": before, "results": rows, "next": null });
        let text = match pretty {
            true => serde_json::to_string_pretty(&answer).unwrap(),
            false => answer.to_string(),
        };
        let schema = schema(&[("a", ColumnType::Json)]);
        let mut splitter = Splitter::new(Layout::Rows("results".into()), named(), schema);

        let (mut rest, mut got) = (text.as_bytes(), Vec::new());
        for size in sizes.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, after) = rest.split_at((*size).min(rest.len()));
            splitter.feed(piece, &mut |_| Verdict::Keep).unwrap();
            got.extend(splitter.cut(size % 3).1.iter().flat_map(parsed));
            rest = after;
        }
        got.extend(splitter.cut(usize::MAX).1.iter().flat_map(parsed));

        prop_assert_eq!(got, rows);
        let envelope = splitter.finish().unwrap();
        prop_assert_eq!(envelope.raw("before").map_or(Json::Null, |raw| serde_json::from_str(raw).unwrap()), before);
    }
}

#[test]
fn an_answer_cut_at_any_byte_is_never_whole() {
    let by_place = || Placement::ByPosition(vec![0, 1]);
    let listed = r#"{"results":[[1,"{\"a\":[2]}"],[3,"{}"]],"error":null}"#;
    for (answer, placement) in [(ANSWER.trim_end(), named()), (listed, by_place())] {
        assert!(split(answer, 7, placement.clone()).is_ok());
        for at in 0..answer.len() {
            let Some(cut) = answer.get(..at) else { continue };
            assert!(split(cut, 7, placement.clone()).is_err(), "taken for whole: {cut}");
        }
    }
}

#[test]
fn an_answer_without_end_is_refused_and_takes_no_memory() {
    let mut splitter = Splitter::new(Layout::Rows("results".into()), named(), schema(&[]));
    let blank = vec![b' '; 64 << 10];
    let refused = (0..100).find_map(|_| splitter.feed(&blank, &mut |_| Verdict::Keep).err());

    assert_eq!(refused.unwrap().to_string(), "1048576 bytes that say nothing");
    assert_eq!(splitter.pending_bytes(), blank.len());
}

#[test]
fn a_row_of_another_kind_than_asked_for_is_refused() {
    for (row, placement) in [
        ("[]", named()),
        ("[1,2]", named()),
        (r#"{"id":1,"x":2}"#, Placement::ByPosition(vec![0, 1])),
    ] {
        let answer = format!(r#"{{"results":[{row}]}}"#);
        assert!(split(&answer, 9, placement).is_err(), "{row}");
    }
}

/// `properties`, with its `plan` taken out, and its keys made columns: at most three of them.
fn flattened() -> Arc<Schema> {
    let mut schema = Schema::clone(&schema(&[
        ("id", ColumnType::Bigint),
        ("properties", ColumnType::Json),
        ("plan", ColumnType::Text),
    ]));
    let path = ["team", "plan"].map(str::to_owned).into();
    schema.columns[2].origin = Origin::Inside { column: 1, path };
    let (left_out, reserved) = (vec![], vec![]);
    schema.flatten = Some(crate::schema::Flatten {
        column: 1,
        limit: 3,
        left_out,
        reserved,
        casing: Default::default(),
    });
    Arc::new(schema)
}

/// The rows of an answer, cut two by two, as the fields that each has.
fn flat_lines(answer: &str, placement: Placement) -> (Vec<String>, usize) {
    let mut splitter = Splitter::new(Layout::Rows("results".into()), placement, flattened());
    splitter.feed(answer.as_bytes(), &mut |_| Verdict::Keep).unwrap();
    let batches: Vec<Batch> = std::iter::from_fn(|| splitter.cut(2).1).collect();
    let beyond = batches.iter().map(Batch::keys_beyond).max().unwrap();
    (batches.iter().flat_map(lines).collect(), beyond)
}

#[test]
fn what_is_inside_of_a_column_fills_others_from_the_row_on_that_shows_it() {
    let rows = [
        r#"{"n":1,"team":{"plan":"a","seats":2}}"#,
        r#"{"n":2.50,"new":"x\n"}"#,
        r#"{"new":7,"fourth":1,"fifth":null,"sixth":1}"#,
        r#"{"n":"three","team":{"plan":null}}"#,
    ];
    let objects = rows.map(|row| format!(r#"{{"id":1,"properties":{row}}}"#)).join(",");
    let texts = rows.map(|row| format!("[1,{}]", serde_json::Value::from(row))).join(",");
    let expected = [
        r#"plan="a" properties__n=1 properties__team={"plan":"a","seats":2}"#,
        r#"properties__n=2.5 properties__new="x\n""#,
        r#"properties__new="7""#,
        r#"plan=null properties__n="three" properties__team={"plan":null}"#,
    ];
    for (answer, placement) in [
        (format!(r#"{{"results":[{objects}]}}"#), named()),
        (format!(r#"{{"results":[{texts}]}}"#), Placement::ByPosition(vec![0, 1])),
    ] {
        let (lines, beyond) = flat_lines(&answer, placement);

        for ((line, row), expected) in lines.iter().zip(rows).zip(expected) {
            assert_eq!(*line, format!(" id=1 properties={row} {expected}"));
        }
        assert_eq!((lines.len(), beyond), (4, 2), "{lines:?}");
    }
}

#[test]
fn a_field_named_like_a_column_that_is_taken_out_gets_its_own() {
    let answer = r#"{"results":[{"id":1,"plan":"mine","properties":{"team":{"plan":"a"}}}]}"#;

    let (lines, _) = flat_lines(answer, named());

    assert!(
        lines[0].contains(r#" plan="a""#) && lines[0].contains(r#"plan_2="mine""#),
        "{lines:?}"
    );
}
