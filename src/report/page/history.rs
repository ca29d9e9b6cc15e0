//! The runs before this one, as the state remembers them.

use std::time::Duration;

use super::markup::{Markup, tag, text};
use super::streams::{Kind, marked, table};
use super::verdict::Mood;
use crate::cursor::Timestamp;
use crate::error::words;
use crate::report::Facts;
use crate::report::figures::{counted, grouped, instant, took};
use crate::state::store::Run;

/// How many runs are drawn: on a telephone a bar is then still wide enough to be seen.
const DRAWN: usize = 40;

/// With fewer the bars are as wide as if there were so many.
const FEW: usize = 16;

/// How many are told in figures.
const TOLD: usize = 8;

/// A bar's place, and its own width in it, in the drawing's measure.
const STEP: f64 = 10.0;
const BAR: f64 = 8.0;
const HIGH: f64 = 60.0;

/// A run in figures.
struct Line {
    started: Timestamp,
    took: Duration,
    code: u8,
    rows: u64,
    requests: u64,
    failed: Vec<String>,
}

/// A bar for each of the last runs, and the last of them in figures.
pub(super) fn history(facts: &Facts<'_>) -> Markup {
    if facts.earlier.is_empty() {
        return Markup::default();
    }
    let now = [of_now(facts)].into_iter();
    let lines: Vec<Line> = now.chain(facts.earlier.iter().map(of_run)).take(DRAWN).collect();
    let words = format!(
        "The last {} of these streams, this one at the right. Heights are logarithms.",
        counted(lines.len() as u64, "run")
    );
    let charts = [
        chart("Rows read", &lines, |line| line.rows as f64, |line| counted(line.rows, "row")),
        chart("Time taken", &lines, |line| line.took.as_secs_f64() * 10.0, |line| took(line.took)),
    ];
    super::section(
        "Runs so far",
        [tag("p").text(words), tag("div").class("bars").holding(charts), told(&lines)],
    )
}

fn of_now(facts: &Facts<'_>) -> Line {
    let failed = facts.outcomes.iter().filter(|outcome| outcome.failure.is_some());
    Line {
        started: facts.begun,
        took: facts.ended.since(facts.begun),
        code: facts.exit.code(),
        rows: facts.outcomes.iter().map(|outcome| outcome.rows.seen()).sum(),
        requests: facts.outcomes.iter().map(|outcome| outcome.requests).sum(),
        failed: failed.map(|outcome| outcome.stream.clone()).collect(),
    }
}

fn of_run(run: &Run) -> Line {
    Line {
        started: run.started,
        took: run.ended.since(run.started),
        code: run.exit_code,
        rows: run.streams.iter().map(|done| done.rows).sum(),
        requests: run.streams.iter().map(|done| done.requests).sum(),
        failed: run.failed().map(|done| done.stream.clone()).collect(),
    }
}

/// A bar a run, the oldest at the left. First loads dwarf what follows: heights are logarithms.
fn chart(
    name: &str,
    lines: &[Line],
    height: fn(&Line) -> f64,
    told: fn(&Line) -> String,
) -> Markup {
    let most = lines.iter().map(height).fold(1.0, f64::max);
    let width = lines.len().max(FEW) as f64 * STEP;
    let bars = lines.iter().enumerate().map(|(n, line)| {
        let high = ((1.0 + height(line)).ln() / (1.0 + most).ln() * HIGH).max(2.0);
        let hint = format!("{}: {}, {}", instant(line.started), words(line.code), told(line));
        tag("rect")
            .class(Mood::of(line.code).class())
            .with("x", format!("{:.1}", width - (n + 1) as f64 * STEP + (STEP - BAR) / 2.0))
            .with("y", format!("{:.1}", HIGH - high))
            .with("width", BAR)
            .with("height", format!("{high:.1}"))
            .holding([tag("title").text(hint)])
    });
    let drawing = tag("svg")
        .with("viewBox", format!("0 0 {width} {HIGH}"))
        .with("preserveAspectRatio", "none")
        .with("role", "img")
        .with("aria-label", format!("{name} of the last runs"))
        .holding(bars);
    tag("figure").holding([tag("figcaption").text(name), drawing])
}

fn told(lines: &[Line]) -> Markup {
    let cells = |line: &Line| {
        let number = |name, number| (name, text(grouped(number)), Kind::Figure);
        let failed = if line.failed.is_empty() { "–".into() } else { line.failed.join(", ") };
        let outcome = marked(Mood::of(line.code), text(words(line.code)));
        vec![
            ("started", text(instant(line.started)), Kind::Word),
            ("outcome", outcome, Kind::Word),
            ("took", text(took(line.took)), Kind::Figure),
            number("rows", line.rows),
            number("requests", line.requests),
            ("failed", text(failed), Kind::Word),
        ]
    };
    table(lines.iter().take(TOLD).map(cells).collect())
}
