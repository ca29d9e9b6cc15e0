//! One core and no wire: one answer again and again, split by us, and as `serde_json` can do it.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hogline::record::split::{Layout, Splitter, Verdict};
use hogline::sandbox::{Asked, KEY, Sandbox};
use hogline::spec::registry::Registry;
use serde::Deserialize;
use serde_json::value::RawValue;

/// How long each is measured.
const SPAN: Duration = Duration::from_secs(2);

/// What one core does.
pub(crate) struct Speed {
    pub(crate) rows: f64,
    pub(crate) bytes: f64,
    pub(crate) cpu: f64,
}

/// The largest of the answers with events.
pub(crate) async fn largest(sandbox: &Sandbox, questions: &[Asked]) -> Vec<u8> {
    let client = reqwest::Client::new();
    let mut largest = Vec::new();
    for asked in questions {
        let url = format!("{}{}", sandbox.origin(), asked.path_and_query);
        let request = client.request(asked.method.parse().unwrap(), url).bearer_auth(KEY);
        let request = request.header("content-type", "application/json").body(asked.body.clone());
        let body = request.send().await.unwrap().bytes().await.unwrap();
        largest = if body.len() > largest.len() { body.to_vec() } else { largest };
    }
    largest
}

/// Splits it, in pieces as they come from a wire.
pub(crate) fn ours(answer: &[u8], is_sql: bool) -> Speed {
    let registry = Registry::load(&[]).unwrap();
    let events = registry.find("events").unwrap();
    let path = events.read.iter().find(|path| path.is_sql() == is_sql).unwrap();
    let schema = Arc::new(events.schema(path, &|_| true));
    let placement = path.placement(&schema, true);
    again_and_again(answer, || {
        let layout = Layout::Rows("results".into());
        let mut splitter = Splitter::new(layout, placement.clone(), Arc::clone(&schema));
        let mut rows = 0;
        for piece in answer.chunks(16 << 10) {
            splitter.feed(piece, &mut |_| Verdict::Keep).unwrap();
            rows += splitter.cut(usize::MAX).1.map_or(0, |batch| batch.len());
        }
        rows
    })
}

/// Rows as lists, as SQL gives them.
#[derive(Deserialize)]
struct Lists<'a> {
    #[serde(borrow)]
    results: Vec<Vec<&'a RawValue>>,
}

/// Rows as they are.
#[derive(Deserialize)]
struct Records<'a> {
    #[serde(borrow)]
    results: Vec<&'a RawValue>,
}

/// Writes it as JSON lines with `serde_json`'s raw values: the page is whole before the first
/// row is seen, no time is converted and no key compared, so this is less than the work.
pub(crate) fn by_serde(answer: &[u8], is_sql: bool, folder: &Path) -> Speed {
    let mut file = BufWriter::new(File::create(folder.join("by-serde.jsonl")).unwrap());
    let text = str::from_utf8(answer).unwrap();
    again_and_again(answer, || match is_sql {
        true => {
            let Lists { results } = serde_json::from_str(text).unwrap();
            results.iter().for_each(|row| write_list(row, &mut file));
            results.len()
        }
        false => {
            let Records { results } = serde_json::from_str(text).unwrap();
            results.iter().for_each(|row| writeln!(file, "{}", row.get()).unwrap());
            results.len()
        }
    })
}

fn write_list(row: &[&RawValue], file: &mut impl Write) {
    const NAMES: [&str; 8] = [
        "id",
        "event",
        "distinct_id",
        "timestamp",
        "properties",
        "elements_chain",
        "person_id",
        "created_at",
    ];
    for (nth, (value, name)) in row.iter().zip(NAMES).enumerate() {
        write!(file, "{}\"{name}\":", if nth == 0 { '{' } else { ',' }).unwrap();
        match name {
            "properties" => {
                let text: String = serde_json::from_str(value.get()).unwrap();
                let json: &RawValue = serde_json::from_str(&text).unwrap();
                file.write_all(json.get().as_bytes()).unwrap();
            }
            _ => file.write_all(value.get().as_bytes()).unwrap(),
        }
    }
    file.write_all(b"}\n").unwrap();
}

/// What it takes on average; one core is all it has.
fn again_and_again(answer: &[u8], mut once: impl FnMut() -> usize) -> Speed {
    let (begun, mut rows, mut bytes) = (Instant::now(), 0, 0);
    while begun.elapsed() < SPAN {
        rows += once();
        bytes += answer.len();
    }
    Speed { rows: rows as f64, bytes: bytes as f64, cpu: begun.elapsed().as_secs_f64() }
}
