//! What is in folders of files, read as their manifest says.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use hogline::sandbox::Sandbox;
use serde_json::Value;
use serde_json::value::RawValue;

use super::reader::{Texts, csv_rows, parquet_rows, text_of_file};
use super::table::{Comparison, Row};

/// The column of rows that say that their key is gone.
const DELETED: &str = "_hogline_deleted_at";

/// Compares a stream's folder with PostHog, and sees that there is nothing else in it.
#[track_caller]
pub(super) fn are_exactly(root: &Path, posthog: &Sandbox, stream: &str) {
    hold_exactly(root, posthog, stream);
    let manifest = manifest(root, stream);
    let names = names(&manifest);
    let mut there = there(&root.join("posthog").join(stream), "");
    there.retain(|name| name != "_manifest.json" && !names.contains(&name.as_str()));
    assert_eq!(there, [""; 0], "files that no manifest lists");
}

/// The files in a folder and those below it.
fn there(folder: &Path, below: &str) -> Vec<String> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = format!("{below}{}", path.file_name().unwrap().to_str().unwrap());
        match path.is_dir() {
            true => names.extend(there(&path, &format!("{name}/"))),
            false => names.push(name),
        }
    }
    names
}

/// The names of the files that readers of a stream see.
pub(super) fn listed(root: &Path, stream: &str) -> Vec<String> {
    names(&manifest(root, stream)).into_iter().map(str::to_owned).collect()
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
    let mut lines: Vec<Row> =
        names.flat_map(|name| lines_of(&folder.join(name), &comparison)).collect();
    let seq = |line: &Row| line.get("_hogline_seq").and_then(Value::as_u64);
    let gone = lines.iter().filter(|line| line.contains_key(DELETED));
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

/// Every line of a stream's folder, the newest or not, as the texts of its values.
pub(super) fn texts(root: &Path, stream: &str) -> Vec<Texts> {
    let folder = root.join("posthog").join(stream);
    let manifest = manifest(root, stream);
    names(&manifest).into_iter().flat_map(|name| texts_of(&folder.join(name))).collect()
}

/// How many keys a stream's folder has.
pub(super) fn count_keys(root: &Path, stream: &str) -> usize {
    let comparison = comparison(&manifest(root, stream), stream);
    let row = |texts: Texts| texts.into_iter().map(|(name, text)| (name, text.into())).collect();
    let keys = texts(root, stream).into_iter().map(|texts| comparison.key_of(&row(texts)));
    keys.collect::<BTreeSet<String>>().len()
}

fn texts_of(file: &Path) -> Vec<Texts> {
    match file.to_str().unwrap() {
        name if name.ends_with(".parquet") => parquet_rows(file),
        name if name.contains(".csv") => csv_rows(&text_of_file(file)),
        _ => text_of_file(file).lines().map(texts_of_line).collect(),
    }
}

/// The texts of a line: strings without their quotes, other JSON as it is spelt.
fn texts_of_line(line: &str) -> Texts {
    let cells: BTreeMap<String, Box<RawValue>> = serde_json::from_str(line).unwrap();
    let text = |json: &str| match json {
        "null" => None,
        json => Some(serde_json::from_str(json).unwrap_or_else(|_| json.to_owned())),
    };
    cells.into_iter().map(|(name, json)| (name, text(json.get()))).collect()
}

fn lines_of(file: &Path, comparison: &Comparison) -> Vec<Row> {
    let name = file.to_str().unwrap();
    if name.contains(".jsonl") {
        let text = text_of_file(file);
        return text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    }
    let typed = |(name, text): (String, Option<String>)| {
        let value = match (text, comparison.kind(&name)) {
            (None, _) => Value::Null,
            (Some(text), "json" | "bigint" | "double" | "bool") if name != DELETED => {
                serde_json::from_str(&text).unwrap()
            }
            (Some(text), _) => Value::String(text),
        };
        (name, value)
    };
    texts_of(file).into_iter().map(|row| row.into_iter().map(typed).collect()).collect()
}
