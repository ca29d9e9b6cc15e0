//! What only one format can get wrong, and what a folder of several would.

use std::collections::BTreeMap;

use super::*;
use crate::config::{Compression, FileFormat};
use crate::target::reader::{csv_rows, parquet_rows, text_of_file};

fn csv() -> Home {
    Home::of(Layout {
        format: FileFormat::Csv(Compression::None),
        by_date: false,
        ..Layout::default()
    })
}

#[test]
fn a_csv_file_tells_no_value_from_an_empty_text() {
    let home = csv();
    let mut target = home.begun(Load::Merge);
    write(
        &mut target,
        r#"{"id":"","at":"2026-01-02"},{"id":null,"n":2515.40},
           {"id":"a \"b\", c\r\nd","n":null},{"id":" x"},{"id":"\\."}"#,
    );
    target.publish(&checkpoint(1)).unwrap();

    assert_eq!(
        home.read("s-5ca1ab1e-000000001.csv"),
        "id,at,n,_hogline_seq\r\n\
         \"\",2026-01-02T00:00:00.000000Z,,1\r\n\
         ,,2515.40,2\r\n\
         \"a \"\"b\"\", c\r\nd\",,,3\r\n\
         \" x\",,,4\r\n\
         \"\\.\",,,5\r\n"
    );
}

#[test]
fn a_new_column_begins_a_file_with_a_header_of_its_own() {
    let home = csv();
    let mut target = home.begun(Load::Merge);
    write(&mut target, r#"{"id":"a","n":1}"#);
    write(&mut target, r#"{"id":"b","new, \"er\"":[1, {"x": "y,"}]}"#);
    target.publish(&checkpoint(1)).unwrap();

    let old = csv_rows(&home.read("s-5ca1ab1e-000000001.csv"));
    let new = csv_rows(&home.read("s-5ca1ab1e-000000001-2.csv"));
    assert_eq!(old[0]["n"].as_deref(), Some("1"));
    assert_eq!(new[0]["new, \"er\""].as_deref(), Some(r#"[1,{"x":"y,"}]"#));
}

#[test]
fn packed_files_are_what_their_names_say() {
    for (compression, magic) in
        [(Compression::Gzip, [0x1f, 0x8b].as_slice()), (Compression::Zstd, &[0x28, 0xb5, 0x2f])]
    {
        let format = FileFormat::Csv(compression);
        let home = Home::of(Layout { format, by_date: false, ..Layout::default() });
        let mut target = home.begun(Load::Merge);
        write(&mut target, r#"{"id":"a"}"#);
        target.publish(&checkpoint(1)).unwrap();

        let file = home.path(&format!("s-5ca1ab1e-000000001{}", format.suffix()));
        assert!(std::fs::read(&file).unwrap().starts_with(magic));
        assert_eq!(text_of_file(&file), "id,at,n,_hogline_seq\r\na,,,1\r\n");
    }
}

#[test]
fn files_of_another_format_are_replaced_or_stay_alone() {
    let mut home = Home::new();
    let mut target = home.begun(Load::Merge);
    write(&mut target, r#"{"id":"a"}"#);
    target.publish(&checkpoint(1)).unwrap();
    drop(target);
    let mut target = home.begun(Load::Replace);
    write(&mut target, r#"{"id":"b"}"#);
    target.commit(&copying(2)).unwrap();
    drop(target);
    home.layout = csv().layout;

    let refused = home.open().unwrap().begin(Load::Merge).unwrap_err();
    assert!(refused.cause.contains("files like `s-5ca1ab1e-000000001.jsonl`"), "{refused}");
    assert!(!home.open().unwrap().begin(Load::ResumeReplace).unwrap());
    let mut target = home.begun(Load::Replace);
    write(&mut target, r#"{"id":"c"}"#);
    target.publish(&checkpoint(3)).unwrap();

    assert_eq!(home.names(), ["_manifest.json", "s-5ca1ab1e-000000003.csv"]);
}

#[test]
fn compacting_keeps_what_counts_of_every_key_and_the_checkpoint() {
    for format in written() {
        let home = Home::of(Layout { format, by_date: false, ..Layout::default() });
        let mut target = home.begun(Load::Merge);
        write(&mut target, r#"{"id":"a","at":"2026-01-02","n":1.5},{"id":"b"},{"id":"gone"}"#);
        target.commit(&checkpoint(1)).unwrap();
        write(&mut target, r#"{"id":"a","at":"2026-01-01","n":3},{"id":"b","new":{"x": "é\n"}}"#);
        let gone = [keys::spell([Some("gone")].into_iter())];
        target.remove(&gone, DeleteMissing::Soft, Timestamp::from_micros(0)).unwrap();
        target.publish(&checkpoint(2)).unwrap();
        drop(target);
        let before = rows(&home);

        let compacted = home.open().unwrap().compact().unwrap();

        assert_eq!(compacted, Some(Compacted { files: [3, 1], rows: [6, 2] }), "{format:?}");
        assert_eq!(home.names().len(), 2);
        assert_eq!(before, [r#"a 1.5 ∅"#, r#"b ∅ {"x":"é\n"}"#]);
        assert_eq!(rows(&home), before, "{format:?}");
        assert_eq!(home.open().unwrap().recall().unwrap(), Recall::Found(checkpoint(2)));
        let again = home.open().unwrap().compact().unwrap();
        assert_eq!(again, Some(Compacted { files: [1, 1], rows: [2, 2] }), "{format:?}");
        let mut target = home.begun(Load::Merge);
        write(&mut target, r#"{"id":"b","new":"later"}"#);
        target.publish(&checkpoint(3)).unwrap();
        assert_eq!(rows(&home)[1], "b ∅ \"later\"", "{format:?}");
    }
}

#[test]
fn what_is_no_json_in_a_column_of_json_is_a_string_and_stays_one() {
    // It was the text as it came, and became a string when its file was written anew.
    let json = Column { name: "new".into(), kind: ColumnType::Json, origin: Origin::Field };
    let mut schema = Schema::clone(&schema());
    schema.columns.push(json);
    let schema = Arc::new(schema);
    for format in written() {
        let home = Home::of(Layout { format, by_date: false, ..Layout::default() });
        let mut target = home.begun(Load::Merge);
        for (sequence, at) in [(1, "2026-01-01"), (2, "2026-01-02")] {
            let answer = format!(
                r#"{{"results":[{{"id":"a","at":"{at}","new":{{"x":NaN}}}},{{"id":"b","new":"b"}}]}}"#
            );
            let batch = Batch::of_results(Arc::clone(&schema), &answer).unwrap().unwrap();
            target.write(&batch).unwrap();
            target.commit(&checkpoint(sequence)).unwrap();
        }
        drop(target);
        let in_csv = || {
            let name = home.names().remove(1);
            let text = name.ends_with(".csv").then(|| home.read(&name))?;
            csv_rows(&text).remove(0).remove("new").unwrap()
        };
        let before = (rows(&home), in_csv());

        home.open().unwrap().compact().unwrap();

        assert_eq!(before.0, [r#"a ∅ "{\"x\":NaN}""#, r#"b ∅ "b""#], "{format:?}");
        assert!(before.1.iter().all(|text| text == r#""{\"x\":NaN}""#), "{before:?}");
        assert_eq!((rows(&home), in_csv()), before, "{format:?}");
    }
}

#[test]
fn a_file_of_a_copy_that_loses_a_row_gets_no_column_from_its_numbers() {
    // Theirs is there without a number in it, and was taken for a field of the source.
    for format in written() {
        let home = Home::of(Layout { format, by_date: false, ..Layout::default() });
        let mut target = home.begun(Load::Replace);
        write(&mut target, r#"{"id":"a","at":"2026-01-01"},{"id":"b","at":"2026-01-01"}"#);
        target.commit(&copying(1)).unwrap();
        write(&mut target, r#"{"id":"b","at":"2026-01-02"}"#);
        target.commit(&copying(2)).unwrap();

        target.publish(&checkpoint(3)).unwrap();

        let numbers = if matches!(format, FileFormat::Jsonl(_)) { 0 } else { 1 };
        for name in home.names().iter().skip(1) {
            assert_eq!(columns(&home.path(name)).len(), 3 + numbers, "{name}");
        }
    }
}

/// The columns of a file.
fn columns(file: &Path) -> Vec<String> {
    let row = match FileFormat::of_name(&file.to_string_lossy()).unwrap() {
        FileFormat::Parquet => parquet_rows(file).remove(0),
        FileFormat::Csv(_) => csv_rows(&text_of_file(file)).remove(0),
        FileFormat::Jsonl(_) => {
            let text = text_of_file(file);
            let line: BTreeMap<String, serde_json::Value> =
                serde_json::from_str(text.lines().next().unwrap()).unwrap();
            line.into_keys().map(|name| (name, None)).collect()
        }
    };
    row.into_keys().collect()
}

/// The formats that this build writes.
fn written() -> impl Iterator<Item = FileFormat> {
    let all = FileFormat::ALL.into_iter();
    all.filter(|format| cfg!(feature = "parquet") || *format != FileFormat::Parquet)
}

/// What readers see.
fn rows(home: &Home) -> Vec<String> {
    let mut rows = Vec::new();
    let mut show = |row: &Shown<'_>| {
        rows.push(["id", "n", "new"].map(|name| row.text(name).unwrap_or("∅")).join(" "));
    };
    home.open().unwrap().scan(&Scan::default(), &mut show).unwrap();
    rows.sort();
    rows
}

/// A stream whose rows are divided by date.
fn dated() -> Arc<Schema> {
    let mut schema = Schema::clone(&schema());
    let (name, origin) = ("event_date".into(), Origin::DayOf(1));
    schema.columns.push(Column { name, kind: ColumnType::Date, origin });
    schema.primary_key = vec![3, 0];
    Arc::new(schema)
}

#[test]
fn rows_of_more_dates_than_files_are_open_find_their_folders() {
    let root = tempfile::tempdir().unwrap();
    let layout =
        Layout { format: FileFormat::Csv(Compression::None), by_date: true, ..Layout::default() };
    let opening = Opening { key: &key(), object: "a.b", schema: dated(), layout };
    let mut target = FilesTarget::open(root.path(), &opening).unwrap();
    target.begin(Load::Merge).unwrap();
    let rows: Vec<String> = (0..60)
        .map(|n| format!(r#"{{"id":"{n}","at":"2026-01-{:02}"}}"#, 1 + n % 20))
        .chain([r#"{"id":"undated","at":"soon"}"#.to_owned()])
        .collect();
    let answer = format!(r#"{{"results":[{}]}}"#, rows.join(","));
    target.write(&Batch::of_results(dated(), &answer).unwrap().unwrap()).unwrap();
    target.publish(&checkpoint(1)).unwrap();

    let manifest = &target.manifest;
    assert_eq!(manifest.files.iter().map(|listed| listed.rows).sum::<u64>(), 61);
    for listed in &manifest.files {
        let text = std::fs::read_to_string(root.path().join("a/b").join(&listed.name)).unwrap();
        for row in csv_rows(&text) {
            let date = row["event_date"].as_deref().unwrap_or("__HIVE_DEFAULT_PARTITION__");
            assert!(listed.name.starts_with(&format!("event_date={date}/s-")), "{}", listed.name);
        }
    }
    drop(target);

    let compacted = FilesTarget::open(root.path(), &opening).unwrap().compact().unwrap().unwrap();

    assert_eq!((compacted.files[1], compacted.rows), (21, [61, 61]));
}

#[cfg(feature = "parquet")]
mod parquet {
    use ::parquet::basic::{Compression, Type};
    use ::parquet::file::reader::{FileReader, SerializedFileReader};

    use super::*;

    fn home() -> Home {
        Home::of(Layout { format: FileFormat::Parquet, by_date: false, ..Layout::default() })
    }

    fn open(home: &Home, name: &str) -> SerializedFileReader<std::fs::File> {
        SerializedFileReader::new(std::fs::File::open(home.path(name)).unwrap()).unwrap()
    }

    #[test]
    fn a_value_that_does_not_fit_makes_its_column_a_text_in_a_file_of_its_own() {
        let home = home();
        let mut target = home.begun(Load::Merge);
        let written =
            write(&mut target, r#"{"id":"a","n":1.5},{"id":"b","n":"much"},{"id":"c","n":2}"#);
        target.publish(&checkpoint(1)).unwrap();

        let types =
            ["s-5ca1ab1e-000000001.parquet", "s-5ca1ab1e-000000001-2.parquet"].map(|name| {
                let file = open(&home, name);
                let rows = file.metadata().file_metadata().num_rows();
                (file.metadata().row_group(0).column(2).column_type(), rows)
            });
        assert_eq!(types, [(Type::DOUBLE, 1), (Type::BYTE_ARRAY, 2)]);
        assert_eq!(written.repairs.iter().collect::<Vec<_>>(), [("n", 1)]);
        assert_eq!(rows(&home), ["a 1.5 ∅", "b much ∅", "c 2 ∅"]);
    }

    #[test]
    fn a_file_of_a_copy_that_loses_a_row_keeps_the_others_in_one() {
        // Those before the first value that did not fit went into a file that another one replaced.
        let home = home();
        let mut target = home.begun(Load::Replace);
        let odd = r#"{"id":"a","at":"2026-01-01","n":"much"}"#;
        write(&mut target, &format!(r#"{odd},{{"id":"b","n":2}},{{"id":"c","n":"more"}}"#));
        target.commit(&copying(1)).unwrap();
        write(&mut target, r#"{"id":"a","at":"2026-01-02","n":1}"#);
        target.publish(&checkpoint(2)).unwrap();

        assert_eq!(rows(&home), ["a 1 ∅", "b 2 ∅", "c more ∅"]);
        assert_eq!(home.open().unwrap().recall().unwrap(), Recall::Found(checkpoint(2)));
    }

    #[test]
    fn pages_are_packed_and_keys_alone_have_statistics() {
        let home = home();
        let mut target = home.begun(Load::Merge);
        write(&mut target, r#"{"id":"a","at":"2026-01-02"},{"id":"b"}"#);
        target.publish(&checkpoint(1)).unwrap();

        let file = open(&home, "s-5ca1ab1e-000000001.parquet");
        let group = file.metadata().row_group(0);
        for column in group.columns() {
            let is_key = column.column_path().string() == "id";
            assert!(matches!(column.compression(), Compression::ZSTD(_)));
            assert_eq!(column.statistics().is_some(), is_key, "{}", column.column_path());
        }
    }

    #[test]
    fn row_groups_end_before_they_take_much_memory() {
        let home = home();
        let mut target = home.begun(Load::Merge);
        // Text that does not pack, 40 MB of it.
        let mut state = 1_u64;
        for page in 0..40 {
            let rows: Vec<String> = (0..16)
                .map(|n| {
                    let text: String = (0..4096)
                        .map(|_| {
                            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                            format!("{state:016x}")
                        })
                        .collect();
                    format!(r#"{{"id":"{page}-{n}","text":"{text}"}}"#)
                })
                .collect();
            write(&mut target, &rows.join(","));
        }
        target.publish(&checkpoint(1)).unwrap();

        let file = open(&home, "s-5ca1ab1e-000000001.parquet");
        let sizes: Vec<i64> =
            file.metadata().row_groups().iter().map(|group| group.compressed_size()).collect();
        assert!(sizes.len() > 1 && sizes.iter().all(|size| *size < 16 << 20), "{sizes:?}");
    }
}

#[test]
fn files_end_when_they_are_full() {
    for (most_rows, most_bytes, expected) in [
        (Some(3), None, &[3, 3, 2][..]),
        (None, Some(20), &[4, 4]),
        (Some(1), Some(20), &[1; 8]),
        (Some(100), None, &[8]),
    ] {
        let home = Home::of(Layout { most_rows, most_bytes, ..Layout::default() });
        let mut target = home.begun(Load::Merge);
        let rows: Vec<String> = (0..8).map(|id| format!(r#"{{"id":"{id:03}"}}"#)).collect();

        write(&mut target, &rows.join(","));
        target.publish(&checkpoint(1)).unwrap();

        let counts: Vec<u64> = target.manifest.files.iter().map(|file| file.rows).collect();
        assert_eq!(counts, expected, "{most_rows:?} {most_bytes:?}");
        assert_eq!(self::rows(&home).len(), 8);
    }
}
