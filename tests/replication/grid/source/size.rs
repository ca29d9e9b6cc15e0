//! Answers that are large, or never end: a run takes little memory for either.

use flate2::{Compress, Compression, FlushCompress};
use serde_json::json;

use super::{Lasting, Mangle, Scene, last_on, mangle};
use crate::grid::{Ground, is_whole};
use crate::support::Answer;

/// The largest text that a row is given.
const LARGE: usize = 50 << 20;

/// More than a run may take.
const HUGE: usize = 3 << 30;

fn ground(target: &str, paging: &str) -> Ground {
    let is_it = |ground: &&Ground| {
        ground.mode == "full-refresh" && ground.target == target && ground.paging == paging
    };
    *Ground::all().iter().find(is_it).unwrap()
}

/// A scene whose runs have little memory.
fn narrow(target: &str, paging: &str) -> Scene {
    let scene = Scene::on(&ground(target, paging));
    Scene { has_little_memory: true, ..scene }
}

#[test]
fn a_text_of_50_megabytes_arrives() {
    // A server's memory is not ours.
    let ours = Ground::targets().into_iter().filter(|target| *target != "postgres");
    for target in ours.take(if is_whole() { usize::MAX } else { 1 }) {
        let scene = narrow(target, "whole");
        let with_text: Mangle = mangle(|answer: Answer| {
            let large = "x".repeat(LARGE);
            answer.edited(|answer| answer["results"][0]["description"] = json!(large)).sent()
        });
        scene.proxy.strikes_once(scene.records(), 0, &with_text);
        let project = scene.project();

        project.run().succeeds();

        let (length, count) = if scene.ground.is_files() {
            let texts = project.texts_of("actions");
            let lengths =
                texts.iter().map(|row| row["description"].as_ref().map_or(0, String::len));
            (lengths.max().unwrap() as i64, project.count_keys("actions"))
        } else {
            let sql = "SELECT max(length(description)) FROM posthog_actions";
            (project.copy().tells(sql), project.copy().count("actions"))
        };
        assert_eq!((length, count), (LARGE as i64, scene.posthog.count("actions")), "{target}");
    }
}

/// Compressed, `piece` again and again behind `begin`.
///
/// A flushed block of compressed bytes stands for itself: the same one can follow itself.
fn bomb(begin: &str, piece: &str) -> Mangle {
    let mut deflate = Compress::new(Compression::fast(), false);
    let mut block = |text: &str| {
        let mut block = Vec::with_capacity(1 << 20);
        deflate.compress_vec(text.as_bytes(), &mut block, FlushCompress::Full).unwrap();
        block
    };
    let begin = block(begin);
    let piece = block(&piece.repeat((1 << 20) / piece.len()));
    let head = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
    let gzip = [head.as_slice(), &begin, &piece.repeat(HUGE >> 20)].concat();
    mangle(move |answer: Answer| answer.unpacking_to(gzip.clone()))
}

#[test]
fn an_answer_that_unpacks_without_end_ends_with_an_error() {
    let not_json = "not the JSON asked for";
    let mut faults = vec![
        Lasting::new(6, "bytes that say nothing", bomb("", " ")),
        Lasting::new(6, "bytes that say nothing", bomb(r#"{"results":["#, ",\n")),
        Lasting::new(6, not_json, bomb("", "<html>")),
    ];
    // These are unpacked for a while until they are too much.
    if is_whole() {
        let record = bomb(r#"{"results":[{"a":""#, "x");
        faults.push(Lasting::new(6, "beside the records", bomb(r#"{"a":1"#, r#","a":1"#)));
        faults.push(Lasting::new(6, "a single record is larger than", record));
    }
    let scene = narrow("sqlite", "whole");
    let records = scene.records();
    last_on(&scene, records, &faults);
}
