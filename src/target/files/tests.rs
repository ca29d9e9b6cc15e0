//! What only a folder of files can get wrong.

use std::path::PathBuf;

use super::*;
use crate::checkpoint::StreamKey;
use crate::cursor::{Copying, Position, Timestamp};
use crate::schema::{Column, ColumnType, Origin};

mod formats;
#[cfg(feature = "object-storage")]
mod objects;

fn schema() -> Arc<Schema> {
    let column = |name: &str, kind| Column { name: name.into(), kind, origin: Origin::Field };
    let columns = vec![
        column("id", ColumnType::Text),
        column("at", ColumnType::Timestamp),
        column("n", ColumnType::Double),
    ];
    Arc::new(Schema { columns, primary_key: vec![0], newest_by: vec![1], ..Schema::default() })
}

fn key() -> StreamKey {
    let [origin, project, stream, object] = ["o", "1", "s", "a.b"].map(String::from);
    StreamKey { origin, project, stream, object }
}

fn checkpoint(sequence: u64) -> Checkpoint {
    let (epoch, position) = ("5ca1ab1e-77".into(), Position::default());
    Checkpoint { key: key(), epoch, sequence, position, witnesses: vec![] }
}

fn copying(sequence: u64) -> Checkpoint {
    let mut checkpoint = checkpoint(sequence);
    checkpoint.position.copying = Some(Copying { begun: Timestamp::from_micros(0), staged: true });
    checkpoint
}

struct Home {
    root: tempfile::TempDir,
    layout: Layout,
}

impl Home {
    fn new() -> Self {
        Self::of(Layout::default())
    }

    fn of(layout: Layout) -> Self {
        Self { root: tempfile::tempdir().unwrap(), layout }
    }

    fn open(&self) -> Result<FilesTarget, TargetError> {
        let opening = Opening { key: &key(), object: "a.b", schema: schema(), layout: self.layout };
        FilesTarget::open(self.root.path(), &opening)
    }

    fn begun(&self, load: Load) -> FilesTarget {
        let mut target = self.open().unwrap();
        assert!(target.begin(load).unwrap());
        target
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join("a/b").join(name)
    }

    fn names(&self) -> Vec<String> {
        let entries = self.path("").read_dir().unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }
}

fn write(target: &mut FilesTarget, rows: &str) -> Written {
    let answer = format!(r#"{{"results":[{rows}]}}"#);
    target.write(&Batch::of_results(schema(), &answer).unwrap().unwrap()).unwrap()
}

#[test]
fn every_commit_with_rows_adds_a_numbered_file() {
    let home = Home::new();
    let mut target = home.begun(Load::Merge);

    write(&mut target, r#"{"id":"a","at":"2026-01-02","n":2515.40,"new":{"x": [1]}}"#);
    write(&mut target, "{\"id\":\"b\\n\nc\",\"at\":\"2026-01-01\"}");
    target.commit(&checkpoint(1)).unwrap();
    target.commit(&checkpoint(2)).unwrap();
    write(&mut target, r#"{"id":"a"}"#);
    target.publish(&checkpoint(3)).unwrap();

    // The new column came in the midst of a page: a file has the same columns in every row.
    let [first, second, last] =
        ["1", "1-2", "3"].map(|number| format!("s-5ca1ab1e-00000000{number}.jsonl"));
    assert_eq!(home.names(), ["_manifest.json", &second, &first, &last]);
    assert_eq!(
        home.read(&first),
        "{\"id\":\"a\",\"at\":\"2026-01-02T00:00:00.000000Z\",\"n\":2515.40,\"new\":{\"x\":[1]},\
         \"_hogline_seq\":1}\n"
    );
    assert_eq!(
        home.read(&second),
        "{\"id\":\"b\\n\\nc\",\"at\":\"2026-01-01T00:00:00.000000Z\",\"n\":null,\"_hogline_seq\":2}\n"
    );
    assert_eq!(home.read(&last), "{\"id\":\"a\",\"at\":null,\"n\":null,\"_hogline_seq\":3}\n");
    let listed = &target.manifest.files[0];
    let span = [listed.first, listed.last].map(|time| time.unwrap().day());
    assert_eq!((listed.rows, span), (1, ["2026-01-02".into(), "2026-01-02".into()]));
}

#[test]
fn what_a_crash_left_is_removed_and_what_others_put_there_stays() {
    let home = Home::new();
    let mut target = home.begun(Load::Merge);
    write(&mut target, r#"{"id":"a"}"#);
    target.commit(&checkpoint(1)).unwrap();
    drop(target);
    let leftovers =
        ["s-5ca1ab1e-000000002.jsonl", ".tmp-s.jsonl", ".tmp-s.7.part", ".tmp-_manifest.json"];
    let others = ["s-export.jsonl", "notes.txt", "t-5ca1ab1e-000000002.jsonl"];
    for name in leftovers.iter().chain(&others) {
        std::fs::write(home.path(name), "{}").unwrap();
    }

    drop(home.begun(Load::Merge));

    let kept = ["_manifest.json", "notes.txt", "s-5ca1ab1e-000000001.jsonl"];
    assert_eq!(home.names(), [&kept[..], &["s-export.jsonl", others[2]]].concat());
}

#[test]
fn a_lost_or_broken_manifest_is_told_and_never_guessed() {
    let home = Home::new();
    let mut target = home.begun(Load::Merge);
    write(&mut target, r#"{"id":"a"}"#);
    target.commit(&checkpoint(1)).unwrap();
    let busy = home.open().unwrap().begin(Load::Merge).unwrap_err();
    assert!(busy.hint.contains("another run writes this folder"), "{busy:?}");
    drop(target);
    let manifest = home.read("_manifest.json");

    std::fs::write(home.path("_manifest.json"), &manifest[..40]).unwrap();
    let broken = home.open().err().unwrap();
    assert!(broken.cause.contains("cannot be read") && broken.hint.contains("restore"));
    let newer = manifest.replacen("\"version\": 1", "\"version\": 2", 1);
    std::fs::write(home.path("_manifest.json"), newer).unwrap();
    assert!(home.open().err().unwrap().cause.contains("newer hogline"));

    std::fs::remove_file(home.path("_manifest.json")).unwrap();
    assert_eq!(home.open().unwrap().recall().unwrap(), Recall::Nothing);
    let lost = home.open().unwrap().begin(Load::Merge).unwrap_err();
    assert!(lost.cause.contains("no `_manifest.json`"), "{lost}");
    assert_eq!(home.names(), ["s-5ca1ab1e-000000001.jsonl"]);
}

#[test]
fn a_copy_holds_each_key_once_and_the_newest_of_it() {
    let home = Home::new();
    let mut target = home.begun(Load::Replace);
    write(&mut target, r#"{"id":"a","at":"2026-01-01","n":1},{"id":"b","n":1},{"id":"b","n":2}"#);
    target.commit(&copying(1)).unwrap();
    let newer = r#"{"id":"a","at":"2026-01-02","n":2},{"id":"b","at":"2026-01-01","n":3}"#;
    write(&mut target, newer);
    target.abandon().unwrap();
    assert_eq!(home.names(), [".s-5ca1ab1e-000000001.jsonl", ".tmp-s.0.part", "_manifest.json"]);
    drop(target);

    let mut target = home.begun(Load::ResumeReplace);
    let written = write(&mut target, newer);
    assert_eq!((written.new, written.updated), (0, 2));
    let written = write(&mut target, r#"{"id":"a","at":"2026-01-01","n":4},{"id":"c"}"#);
    assert_eq!((written.new, written.unchanged), (1, 1));
    target.publish(&checkpoint(2)).unwrap();

    let lines = home.read("s-5ca1ab1e-000000002.jsonl");
    let ids: Vec<&str> = lines.lines().map(|line| &line[..9]).collect();
    assert_eq!(ids, [r#"{"id":"a""#, r#"{"id":"b""#, r#"{"id":"c""#]);
    assert_eq!(home.names().len(), 2, "nothing was left of the first file");
}

#[test]
fn a_publish_that_broke_off_is_taken_up_again() {
    let home = Home::new();
    let mut target = home.begun(Load::Replace);
    write(&mut target, r#"{"id":"a"}"#);
    target.commit(&copying(1)).unwrap();
    write(&mut target, r#"{"id":"b"}"#);
    target.commit(&copying(2)).unwrap();
    drop(target);
    // As if it had died between showing the first file and listing it.
    let first = "s-5ca1ab1e-000000001.jsonl";
    std::fs::rename(home.path(&format!(".{first}")), home.path(first)).unwrap();

    assert_eq!(home.open().unwrap().recall().unwrap(), Recall::Found(copying(2)));
    let mut target = home.begun(Load::ResumeReplace);
    write(&mut target, r#"{"id":"a"},{"id":"c"}"#);
    target.publish(&checkpoint(3)).unwrap();

    let rows: u64 = target.manifest.files.iter().map(|listed| listed.rows).sum();
    assert_eq!((rows, home.names().len()), (3, 4));
    assert_eq!(home.open().unwrap().recall().unwrap(), Recall::Found(checkpoint(3)));
}

#[test]
fn a_file_of_a_copy_that_loses_a_row_keeps_its_columns() {
    // It was written anew with all columns of the stream, so what no way of reading had told became
    // null, and a second copy was not like the first.
    let home = Home::new();
    let mut target = home.begun(Load::Replace);
    let mut unknown = Schema::clone(&schema());
    unknown.columns[2].origin = Origin::Unknown;
    let page = |target: &mut FilesTarget, rows: &str| {
        let answer = format!(r#"{{"results":[{rows}]}}"#);
        let batch = Batch::of_results(Arc::new(unknown.clone()), &answer).unwrap().unwrap();
        target.write(&batch).unwrap();
    };
    page(&mut target, r#"{"id":"a","at":"2026-01-01"},{"id":"b","at":"2026-01-01"}"#);
    target.commit(&copying(1)).unwrap();
    page(&mut target, r#"{"id":"b","at":"2026-01-02"}"#);
    target.commit(&copying(2)).unwrap();
    target.publish(&checkpoint(3)).unwrap();

    let line = |id: &str, day: u32| {
        format!("{{\"id\":\"{id}\",\"at\":\"2026-01-0{day}T00:00:00.000000Z\"}}\n")
    };
    assert_eq!(home.read("s-5ca1ab1e-000000001.jsonl"), line("a", 1));
    assert_eq!(home.read("s-5ca1ab1e-000000002.jsonl"), line("b", 2));
}
