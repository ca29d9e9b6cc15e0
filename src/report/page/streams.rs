//! The table of streams.

use std::time::Duration;

use super::markup::{Markup, prose, tag, text};
use super::verdict::Mood;
use crate::report::figures::{grouped, instant, took};
use crate::report::{Facts, Outcome};

/// A row for each stream of the run.
pub(super) fn streams(facts: &Facts<'_>) -> Markup {
    if facts.outcomes.is_empty() {
        return Markup::default();
    }
    let rows = facts.outcomes.iter().enumerate().map(|(n, outcome)| cells(n, outcome).into());
    super::section("Streams", [table(rows.collect())])
}

/// What a column is called, what stands there, and what it is.
pub(super) type Cell = (&'static str, Markup, Kind);

/// What a cell holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Word,
    Figure,
    /// A figure of nothing: where there is little room it is left out.
    Nothing,
}

/// A table whose rows are cards where the page is narrow. The first cell names the row.
pub(super) fn table(rows: Vec<Vec<Cell>>) -> Markup {
    let heads = rows.iter().take(1).flatten().map(|(name, _, kind)| {
        let class = if *kind == Kind::Word { "word" } else { "figure" };
        tag("th").class(class).with("scope", "col").text(name)
    });
    let head = tag("thead").holding([tag("tr").holding(heads)]);
    let rows = rows.into_iter().map(|row| {
        tag("tr").holding(row.into_iter().enumerate().map(|(n, (name, cell, kind))| {
            let class = match kind {
                _ if n == 0 => return tag("th").with("scope", "row").holding([cell]),
                Kind::Word => "word",
                Kind::Figure => "figure",
                Kind::Nothing => "figure none",
            };
            tag("td").class(class).with("data-name", name).holding([cell])
        }))
    });
    let body = tag("tbody").holding(rows.collect::<Vec<_>>());
    tag("table").class("cards").holding([head, body])
}

fn cells(n: usize, outcome: &Outcome) -> [Cell; 13] {
    let rows = outcome.rows;
    let word = |name, cell| (name, cell, Kind::Word);
    let number = |name, number: u64| {
        let kind = if number == 0 { Kind::Nothing } else { Kind::Figure };
        (name, text(grouped(number)), kind)
    };
    let span = |name, seconds: f64| {
        let kind = if seconds == 0.0 { Kind::Nothing } else { Kind::Figure };
        (name, text(took(Duration::from_secs_f64(seconds))), kind)
    };
    [
        word("stream", name(outcome)),
        word("outcome", ending(n, outcome)),
        word("mode", text(outcome.mode)),
        word("read by", text(outcome.read_by.as_deref().unwrap_or("–"))),
        number("new", rows.new),
        number("updated", rows.updated),
        number("unchanged", rows.unchanged),
        number("late", rows.late),
        number("deleted", rows.deleted),
        number("repaired", outcome.repairs.values().sum()),
        number("requests", outcome.requests),
        span("waited", outcome.waited_seconds),
        span("took", outcome.seconds),
    ]
}

fn name(outcome: &Outcome) -> Markup {
    let place = outcome.object.rsplit_once('#').map_or(&*outcome.object, |(_, place)| place);
    [text(&outcome.label), tag("small").text(place)].into_iter().collect()
}

fn ending(n: usize, outcome: &Outcome) -> Markup {
    let Some(failure) = &outcome.failure else {
        let to = outcome
            .complete_to
            .map(|to| format!("complete to {}", instant(to).trim_end_matches(" UTC")));
        return marked(Mood::Good, text(to.unwrap_or_else(|| outcome.incomplete().into())));
    };
    let why = tag("a").with("href", format!("#why-{n}")).holding([prose(&failure.cause)]);
    marked(Mood::of(failure.exit.code()), why)
}

/// With the sign of a mood.
pub(super) fn marked(mood: Mood, what: Markup) -> Markup {
    let sign = tag("span").class("sign").text(mood.sign());
    tag("span").class(mood.class()).holding([sign, what])
}
