//! What is in folders of JSON lines, read as their manifest says.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use hogline::sandbox::Sandbox;
use serde_json::Value;

use super::table::{Comparison, Row};

/// Compares a stream's folder with PostHog. Of the lines with one key the newest counts, and
/// what it lacks is as the earlier ones have it.
#[track_caller]
pub(super) fn are_exactly(root: &Path, posthog: &Sandbox, stream: &str) {
    let folder = root.join("posthog").join(stream);
    let manifest: Value =
        serde_json::from_slice(&fs::read(folder.join("_manifest.json")).unwrap()).unwrap();
    let path = manifest["checkpoint"]["position"]["path"].as_str().unwrap();
    let comparison = Comparison::of_lines(stream, path);
    let names = manifest["files"].as_array().unwrap().iter();
    let names: Vec<&str> = names.map(|file| file["name"].as_str().unwrap()).collect();
    let mut lines: Vec<Row> = names.iter().flat_map(|name| lines_of(&folder.join(name))).collect();
    lines.sort_by_key(|line| {
        (comparison.age_of(line), line.get("_hogline_seq").and_then(Value::as_u64))
    });
    let mut rows: BTreeMap<String, Row> = BTreeMap::new();
    for mut line in lines {
        line.remove("_hogline_seq");
        rows.entry(comparison.key_of(&line)).or_default().extend(line);
    }
    comparison.judge(rows.into_values().collect(), posthog);
    let unlisted = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name());
    let unlisted = unlisted.filter(|name| {
        let name = name.to_str().unwrap();
        name != "_manifest.json" && !names.contains(&name)
    });
    assert_eq!(unlisted.count(), 0, "files that no manifest lists");
}

fn lines_of(file: &Path) -> Vec<Row> {
    let text = fs::read_to_string(file).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}
