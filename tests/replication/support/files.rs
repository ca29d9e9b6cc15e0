//! What is in folders of JSON lines, read as their manifest says.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use hogline::sandbox::Sandbox;
use serde_json::Value;

use super::table::{Comparison, Row};

/// Compares a stream's folder with PostHog, and sees that there is nothing else in it.
#[track_caller]
pub(super) fn are_exactly(root: &Path, posthog: &Sandbox, stream: &str) {
    hold_exactly(root, posthog, stream);
    let manifest = manifest(root, stream);
    let names = names(&manifest);
    let entries = fs::read_dir(root.join("posthog").join(stream)).unwrap();
    let unlisted = entries.map(|entry| entry.unwrap().file_name()).filter(|name| {
        let name = name.to_str().unwrap();
        name != "_manifest.json" && !names.contains(&name)
    });
    assert_eq!(unlisted.count(), 0, "files that no manifest lists");
}

/// Compares what readers of a stream's folder see with PostHog.
#[track_caller]
pub(super) fn hold_exactly(root: &Path, posthog: &Sandbox, stream: &str) {
    let manifest = manifest(root, stream);
    comparison(&manifest, stream).judge(rows(root, stream), posthog);
}

/// The rows of a stream's folder. Of the lines with one key the newest counts, and what it
/// lacks is as the earlier ones have it.
pub(super) fn rows(root: &Path, stream: &str) -> Vec<Row> {
    let (folder, manifest) = (root.join("posthog").join(stream), manifest(root, stream));
    let comparison = comparison(&manifest, stream);
    let names = names(&manifest).into_iter();
    let mut lines: Vec<Row> = names.flat_map(|name| lines_of(&folder.join(name))).collect();
    let seq = |line: &Row| line.get("_hogline_seq").and_then(Value::as_u64);
    let gone = lines.iter().filter(|line| line.contains_key("_hogline_deleted_at"));
    let gone: Vec<_> = gone.map(|line| (comparison.key_of(line), seq(line))).collect();
    lines.retain(|line| {
        gone.iter().all(|(key, at)| *key != comparison.key_of(line) || seq(line) > *at)
    });
    lines.sort_by_key(|line| {
        (comparison.age_of(line), line.get("_hogline_seq").and_then(Value::as_u64))
    });
    let mut rows: BTreeMap<String, Row> = BTreeMap::new();
    for mut line in lines {
        line.remove("_hogline_seq");
        rows.entry(comparison.key_of(&line)).or_default().extend(line);
    }
    rows.into_values().collect()
}

fn manifest(root: &Path, stream: &str) -> Value {
    let path = root.join("posthog").join(stream).join("_manifest.json");
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn names(manifest: &Value) -> Vec<&str> {
    let files = manifest["files"].as_array().unwrap().iter();
    files.map(|file| file["name"].as_str().unwrap()).collect()
}

fn comparison(manifest: &Value, stream: &str) -> Comparison {
    let path = manifest["checkpoint"]["position"]["path"].as_str().unwrap();
    Comparison::of_lines(stream, path)
}

fn lines_of(file: &Path) -> Vec<Row> {
    let text = fs::read_to_string(file).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}
