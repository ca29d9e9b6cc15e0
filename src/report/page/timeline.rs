//! Rows over time, a line for each stream.
//!
//! All lines share the run's time from left to right; each has its own height, since of
//! two streams one may have a million times the other's rows.

use std::time::Duration;

use super::markup::{Markup, tag};
use crate::report::Outcome;
use crate::report::figures::{counted, grouped, took};

/// The drawing's own measure; the page stretches it.
const WIDE: f64 = 1000.0;
const HIGH: f64 = 100.0;

/// Below the line's top, so that it is not cut.
const ROOM: f64 = 6.0;

/// How many times are written below.
const TICKS: u32 = 4;

/// The chart; nothing where no stream took any time.
pub(super) fn timeline(outcomes: &[Outcome]) -> Markup {
    let ends = outcomes.iter().map(|outcome| outcome.begun_seconds + outcome.seconds);
    let whole = ends.fold(0.0, f64::max);
    if whole <= 0.0 {
        return Markup::default();
    }
    let lines = outcomes.iter().map(|outcome| line(outcome, whole));
    let ticks = (0..=TICKS).map(|n| {
        let at = whole * f64::from(n) / f64::from(TICKS);
        tag("span").text(took(Duration::from_secs_f64(at)))
    });
    let ticks = tag("div").class("ticks").holding([tag("div").holding(ticks)]);
    let told = "From the run's beginning to its end; each stream to its own height. \
                Where a line is flat its stream waited, or PostHog did the work.";
    let chart = tag("div").class("timeline").holding(lines.chain([ticks]));
    super::section("Rows over time", [tag("p").text(told), chart])
}

fn line(outcome: &Outcome, whole: f64) -> Markup {
    let rows = outcome.rows.seen();
    let speed = rows as f64 / outcome.seconds.max(0.001);
    let told = match rows {
        0 => "no rows".to_owned(),
        rows => format!("{}, {}/s", counted(rows, "row"), grouped(speed.round() as u64)),
    };
    let hint = format!(
        "{}: {told}, begun after {}, took {}",
        outcome.label,
        took(Duration::from_secs_f64(outcome.begun_seconds)),
        took(Duration::from_secs_f64(outcome.seconds)),
    );
    let class = if outcome.failure.is_some() { "line bad" } else { "line" };
    tag("div").class(class).holding([
        tag("strong").text(&outcome.label),
        drawn(outcome, whole, &hint),
        tag("span").class("told").text(told),
    ])
}

fn drawn(outcome: &Outcome, whole: f64, hint: &str) -> Markup {
    let (begun, end) = (outcome.begun_seconds, outcome.begun_seconds + outcome.seconds);
    let x = |seconds: f64| (seconds / whole * WIDE).clamp(0.0, WIDE);
    let most = outcome.series.points().map(|(_, rows)| rows).max().unwrap_or(0).max(1);
    let y = |rows: u64| HIGH - rows as f64 / most as f64 * (HIGH - ROOM);
    let mut path = format!("M{:.1} {HIGH}", x(begun));
    for (after, rows) in outcome.series.points() {
        path += &format!("H{:.1}V{:.1}", x((begun + after).min(end)), y(rows));
    }
    path += &format!("H{:.1}", x(end));
    let area = format!("{path}V{HIGH}Z");
    let span = format!("M{:.1} 0H{:.1}V{HIGH}H{:.1}Z", x(begun), x(end), x(begun));
    tag("svg")
        .with("viewBox", format!("0 0 {WIDE} {HIGH}"))
        .with("preserveAspectRatio", "none")
        .with("role", "img")
        .with("aria-label", hint)
        .holding([
            tag("title").text(hint),
            tag("path").class("span").with("d", span).text(""),
            tag("path").class("area").with("d", area).text(""),
            tag("path").class("edge").with("d", path).text(""),
        ])
}
