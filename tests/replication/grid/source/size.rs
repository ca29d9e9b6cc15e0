//! Answers that are large, or never end: a run takes little memory for either.

use flate2::{Compress, Compression, FlushCompress};
use serde_json::json;

use super::values::lines;
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
    let targets = if is_whole() { ["sqlite", "jsonl"].as_slice() } else { &["sqlite"] };
    for target in targets {
        let scene = narrow(target, "whole");
        let with_text: Mangle = mangle(|answer: Answer| {
            let large = "x".repeat(LARGE);
            answer.edited(|answer| answer["results"][0]["description"] = json!(large)).sent()
        });
        scene.proxy.strikes_once(scene.records(), 0, &with_text);
        let project = scene.project();

        project.run().succeeds();

        match *target {
            "jsonl" => assert!(lines(&scene.ground, &project).contains(&"x".repeat(LARGE))),
            _ => {
                let sql = "SELECT max(length(description)) FROM posthog_actions";
                assert_eq!(project.copy().tells::<i64>(sql), LARGE as i64);
                assert_eq!(project.copy().count("actions"), scene.posthog.count("actions"));
            }
        }
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
