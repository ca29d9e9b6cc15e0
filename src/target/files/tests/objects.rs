//! What only a bucket can get wrong.

use super::*;
use crate::config::S3 as Place;
use crate::target::s3_server::{BUCKET, KEY_ID, Oddity, S3, SECRET};

/// A bucket with a place for one stream in it.
struct Lake {
    server: S3,
    _root: tempfile::TempDir,
}

impl Lake {
    fn new() -> Self {
        Self::of(Oddity::None)
    }

    fn of(oddity: Oddity) -> Self {
        let root = tempfile::tempdir().unwrap();
        Self { server: S3::serving(root.path(), oddity), _root: root }
    }

    fn place(&self) -> Place {
        Place::at(&self.server.endpoint(), [BUCKET, "pre/fix"], [KEY_ID, SECRET])
    }

    fn open_at(&self, place: &Place) -> Result<FilesTarget, TargetError> {
        let layout = Layout::default();
        let opening = Opening { key: &key(), object: "a.b", schema: schema(), layout };
        FilesTarget::open_objects(place, &opening)
    }

    fn open(&self) -> Result<FilesTarget, TargetError> {
        self.open_at(&self.place())
    }

    fn begun(&self, load: Load) -> FilesTarget {
        let mut target = self.open().unwrap();
        assert!(target.begin(load).unwrap());
        target
    }

    fn path(&self, name: &str) -> PathBuf {
        self.server.bucket().join("pre/fix/a/b").join(name)
    }

    fn names(&self) -> Vec<String> {
        let Ok(entries) = self.path("").read_dir() else { return Vec::new() };
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// What readers see: the first column.
    fn ids(&self) -> Vec<String> {
        let mut ids = Vec::new();
        let mut show = |row: &Shown<'_>| ids.push(row.text("id").unwrap_or("∅").to_owned());
        self.open().unwrap().scan(&Scan::default(), &mut show).unwrap();
        ids.sort();
        ids
    }
}

/// The names that a manifest lists.
fn listed(target: &FilesTarget) -> Vec<String> {
    target.manifest.files.iter().map(|listed| listed.name.clone()).collect()
}

#[test]
fn a_file_bears_the_number_of_its_writer() {
    let lake = Lake::new();
    let mut target = lake.begun(Load::Merge);

    write(&mut target, r#"{"id":"a"}"#);
    write(&mut target, r#"{"id":"b","new":1}"#);
    target.publish(&checkpoint(1)).unwrap();

    let writer = target.store.names().writer.unwrap();
    let name = format!("s-5ca1ab1e-000000001-{writer}");
    assert_eq!(listed(&target), [format!("{name}.jsonl"), format!("{name}-2.jsonl")]);
    assert_eq!(lake.names().len(), 3);
    assert_eq!(lake.ids(), ["a", "b"]);
}

#[test]
fn a_server_that_pays_no_heed_to_conditions_is_refused() {
    let lake = Lake::of(Oddity::Careless);

    let refused = lake.open().err().unwrap();

    assert!(refused.cause.contains("does not keep to the conditions"), "{refused}");
    assert!(refused.hint.contains("use a server that does"), "{refused:?}");
    assert_eq!(lake.names(), [""; 0]);
}

#[test]
fn who_comes_later_shuts_out_who_was_there() {
    let lake = Lake::new();
    let mut first = lake.begun(Load::Merge);
    write(&mut first, r#"{"id":"a"}"#);
    first.commit(&checkpoint(1)).unwrap();
    write(&mut first, r#"{"id":"lost"}"#);

    let mut second = lake.begun(Load::Merge);
    write(&mut second, r#"{"id":"b"}"#);
    let refused = first.commit(&checkpoint(2)).unwrap_err();
    second.commit(&checkpoint(2)).unwrap();

    assert!(refused.cause.contains("another run replaced `_manifest.json`"), "{refused}");
    assert!(refused.hint.contains("--state") && refused.hint.contains("nothing is lost"));
    assert_eq!(lake.ids(), ["a", "b"]);
    assert!(matches!(lake.open().unwrap().recall().unwrap(), Recall::Found(_)));
    assert_eq!(lake.names().len(), 4, "what the first one uploaded is still there");
    drop(lake.begun(Load::Merge));
    assert_eq!(lake.names().len(), 3, "and is swept by the next one");
}

#[test]
fn a_load_goes_on_from_what_was_recalled_or_not_at_all() {
    let lake = Lake::new();
    lake.begun(Load::Merge).commit(&checkpoint(1)).unwrap();
    let mut slow = lake.open().unwrap();
    assert_eq!(slow.recall().unwrap(), Recall::Found(checkpoint(1)));
    let mut quick = lake.begun(Load::Merge);
    write(&mut quick, r#"{"id":"a"}"#);
    quick.commit(&checkpoint(2)).unwrap();

    let refused = slow.begin(Load::Merge).unwrap_err();

    assert!(refused.cause.contains("another run"), "{refused}");
    write(&mut quick, r#"{"id":"b"}"#);
    quick.commit(&checkpoint(3)).unwrap();
    assert_eq!(lake.ids(), ["a", "b"]);
}

#[test]
fn a_reply_that_is_lost_is_looked_for() {
    for nth in 1..=4 {
        let lake = Lake::of(Oddity::LosesReply(nth));
        let mut target = lake.begun(Load::Replace);
        write(&mut target, r#"{"id":"a"}"#);
        target.commit(&copying(1)).unwrap();
        target.publish(&checkpoint(2)).unwrap();

        assert_eq!(lake.ids(), ["a"], "{nth}");
        assert_eq!(lake.open().unwrap().recall().unwrap(), Recall::Found(checkpoint(2)));
    }
}

#[test]
fn a_server_that_never_replies_has_what_it_was_sent() {
    let lake = Lake::of(Oddity::Mute(1));
    let mut target = lake.begun(Load::Merge);

    write(&mut target, r#"{"id":"a"}"#);
    target.commit(&checkpoint(1)).unwrap();

    assert_eq!(lake.ids(), ["a"]);
}

#[test]
fn what_a_crash_left_is_removed_and_what_others_put_there_stays() {
    let lake = Lake::new();
    let mut target = lake.begun(Load::Merge);
    write(&mut target, r#"{"id":"a"}"#);
    target.commit(&checkpoint(1)).unwrap();
    let mut kept = listed(&target);
    drop(target);
    std::fs::create_dir(lake.path("event_date=2026-01-01")).unwrap();
    std::fs::create_dir(lake.path("archive")).unwrap();
    let leftovers = [
        "s-5ca1ab1e-000000002-77.jsonl",
        ".s-5ca1ab1e-000000003-77.jsonl",
        "event_date=2026-01-01/s-5ca1ab1e-000000002-77.csv",
        ".hogline-probe-7",
    ];
    let others = [
        "notes.txt",
        "s-export.jsonl",
        "t-5ca1ab1e-000000002.jsonl",
        "archive/s-5ca1ab1e-000000002-77.jsonl",
    ];
    for name in leftovers.iter().chain(&others) {
        std::fs::write(lake.path(name), "{}").unwrap();
    }

    drop(lake.begun(Load::Merge));

    for name in leftovers {
        assert!(!lake.path(name).exists(), "{name}");
    }
    kept.extend(others.map(str::to_owned));
    for name in kept {
        assert!(lake.path(&name).exists(), "{name}");
    }
}

#[test]
fn a_copy_is_shown_by_copying_and_leaves_nothing_hidden() {
    let lake = Lake::new();
    let mut target = lake.begun(Load::Replace);
    write(&mut target, r#"{"id":"a","at":"2026-01-01"},{"id":"b"}"#);
    target.commit(&copying(1)).unwrap();
    write(&mut target, r#"{"id":"a","at":"2026-01-02"},{"id":"c"},{"id":"c","at":"2026-01-01"}"#);
    target.publish(&checkpoint(2)).unwrap();

    assert_eq!(lake.ids(), ["a", "b", "c"]);
    let names = lake.names();
    assert!(names.iter().all(|name| !name.starts_with('.')), "{names:?}");
    assert_eq!(names.len(), 3);
}

/// Rows of more than 20 MB.
fn many() -> String {
    let text = "0123456789abcdef".repeat(1 << 14);
    let rows: Vec<String> =
        (0..80).map(|n| format!(r#"{{"id":"{n:02}","text":"{n}{text}"}}"#)).collect();
    rows.join(",")
}

#[test]
fn a_large_file_comes_and_goes_in_parts() {
    let lake = Lake::new();
    let mut target = lake.begun(Load::Merge);

    write(&mut target, &many());
    target.commit(&checkpoint(1)).unwrap();

    assert!(target.manifest.files[0].bytes > 20 << 20);
    assert_eq!(lake.ids().len(), 80);
    assert_eq!(lake.server.parts(), 0);
}

#[test]
fn an_upload_that_fails_is_aborted() {
    let lake = Lake::of(Oddity::NeverCompletes);
    let mut target = lake.begun(Load::Merge);

    write(&mut target, &many());
    let failed = target.commit(&checkpoint(1)).unwrap_err();

    assert!(failed.hint.contains("nothing is lost"), "{failed:?}");
    assert_eq!(lake.server.parts(), 0);
    assert_eq!(lake.names(), ["_manifest.json"]);
}

#[test]
fn what_the_server_refuses_is_told_in_its_words() {
    let lake = Lake::new();
    let place = lake.place();
    let at = |place: &Place| lake.open_at(place).err().unwrap();

    let endpoint = lake.server.endpoint();
    let wrong_key = at(&Place::at(&endpoint, [BUCKET, ""], [KEY_ID, "another-secret"]));
    assert!(wrong_key.cause.contains("SignatureDoesNotMatch"), "{wrong_key}");
    assert!(wrong_key.hint.contains("check access_key_id"), "{wrong_key:?}");
    assert_eq!(wrong_key.target, "s3://out/a/b");

    let no_bucket = at(&Place { bucket: "nowhere".into(), ..place });
    assert!(no_bucket.hint.contains("create the bucket"), "{no_bucket:?}");
}
