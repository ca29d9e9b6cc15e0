//! Splitting alone: one answer again and again, in pieces as they come from a wire.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hogline::record::split::{Layout, Splitter, Verdict};
use hogline::sandbox::{Asked, KEY, Sandbox};
use hogline::spec::registry::Registry;

/// How long is measured.
const SPAN: Duration = Duration::from_secs(2);

/// What one core splits.
pub(crate) struct Speed {
    pub(crate) rows: f64,
    pub(crate) bytes: f64,
    pub(crate) cpu: f64,
}

/// Splits the largest of the answers.
pub(crate) async fn measured(sandbox: &Sandbox, questions: &[Asked]) -> Speed {
    let client = reqwest::Client::new();
    let mut answer = Vec::new();
    for asked in questions.iter().filter(|asked| asked.body.contains("FROM events ")) {
        let url = format!("{}{}", sandbox.origin(), asked.path_and_query);
        let request = client.post(url).bearer_auth(KEY).body(asked.body.clone());
        let request = request.header("content-type", "application/json");
        let body = request.send().await.unwrap().bytes().await.unwrap();
        answer = if body.len() > answer.len() { body.to_vec() } else { answer };
    }
    let registry = Registry::load(&[]).unwrap();
    let events = registry.find("events").unwrap();
    let path = events.read.iter().find(|path| path.is_sql()).unwrap();
    let schema = Arc::new(events.schema(path, &|_| true));
    let placement = path.placement(&schema, true);
    let (begun, mut rows, mut bytes) = (Instant::now(), 0, 0);
    while begun.elapsed() < SPAN {
        let layout = Layout::Rows("results".into());
        let mut splitter = Splitter::new(layout, placement.clone(), Arc::clone(&schema));
        for piece in answer.chunks(16 << 10) {
            splitter.feed(piece, &mut |_| Verdict::Keep).unwrap();
            rows += splitter.cut(usize::MAX).map_or(0, |batch| batch.len());
        }
        bytes += answer.len();
    }
    Speed { rows: rows as f64, bytes: bytes as f64, cpu: begun.elapsed().as_secs_f64() }
}
