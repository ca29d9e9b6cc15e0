//! The top of the page: did it work, what failed, what to do.

use std::path::Path;
use std::time::Duration;

use super::markup::{Markup, prose, tag, text};
use crate::error::{Exit, Failure, advice, words};
use crate::report::figures::{counted, grouped, instant, took};
use crate::report::{Facts, Outcome};

/// How much a person has to care.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mood {
    Good,
    /// The next run goes on by itself.
    Wait,
    Bad,
}

impl Mood {
    /// Of a run, or a stream, that ended with this code.
    pub(super) fn of(code: u8) -> Self {
        match code {
            0 => Self::Good,
            5 | 75 | 128.. => Self::Wait,
            _ => Self::Bad,
        }
    }

    /// What it is called in the style sheet.
    pub(super) fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Wait => "wait",
            Self::Bad => "bad",
        }
    }

    /// For those who see no colours.
    pub(super) fn sign(self) -> &'static str {
        match self {
            Self::Good => "✓",
            Self::Wait => "⧗",
            Self::Bad => "✗",
        }
    }
}

/// The run in a sentence.
pub(super) fn title(facts: &Facts<'_>) -> String {
    let all = facts.outcomes.len();
    let failed = facts.outcomes.iter().filter(|outcome| outcome.failure.is_some()).count();
    let streams = match (failed, all) {
        (1, 1) => "the stream".to_owned(),
        (failed, all) if failed == all => format!("all {}", counted(all as u64, "stream")),
        (failed, all) => format!("{failed} of {}", counted(all as u64, "stream")),
    };
    let sentence = match facts.exit {
        exit if facts.failure.is_some() => format!("Nothing was read: {}", words(exit.code())),
        Exit::Complete if all == 0 => "Nothing was to be done".to_owned(),
        Exit::Complete => format!("Complete: {}", counted(all as u64, "stream")),
        Exit::ComeBack => format!("Come back later: a quota is used up for {streams}"),
        Exit::Interrupted(_) => format!("Interrupted: {streams} not complete"),
        _ => format!("{streams} failed"),
    };
    let mut letters = sentence.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// The sentence, and the run in figures.
pub(super) fn verdict(facts: &Facts<'_>) -> Markup {
    let mood = Mood::of(facts.exit.code());
    let span = took(facts.ended.since(facts.begun));
    let complete: Option<Vec<_>> = facts.outcomes.iter().map(|o| o.complete_to).collect();
    let complete = complete.filter(|_| facts.exit == Exit::Complete).into_iter().flatten().min();
    let complete = complete.map(|to| format!("; complete to {}", instant(to))).unwrap_or_default();
    let when = format!("{}, took {span}{complete}", instant(facts.ended));
    tag("header").class(mood.class()).holding([
        tag("p").class("name").holding([
            tag("b").text("hogline"),
            text(" "),
            text(&facts.replication),
        ]),
        tag("h1").holding([tag("span").class("sign").text(mood.sign()), text(title(facts))]),
        tag("p").class("when").text(when),
        figures(facts.outcomes),
    ])
}

fn figures(outcomes: &[Outcome]) -> Markup {
    if outcomes.is_empty() {
        return Markup::default();
    }
    let sum = |figure: fn(&Outcome) -> u64| grouped(outcomes.iter().map(figure).sum());
    let waited = outcomes.iter().map(|outcome| outcome.waited_seconds).sum();
    let figures = [
        ("rows read", sum(|outcome| outcome.rows.seen())),
        ("new", sum(|outcome| outcome.rows.new)),
        ("updated", sum(|outcome| outcome.rows.updated)),
        ("arrived late", sum(|outcome| outcome.rows.late)),
        ("values repaired", sum(|outcome| outcome.repairs.values().sum())),
        ("requests", sum(|outcome| outcome.requests)),
        ("waited", took(Duration::from_secs_f64(waited))),
    ];
    let pairs = figures
        .into_iter()
        .map(|(name, figure)| tag("div").holding([tag("dt").text(name), tag("dd").text(figure)]));
    tag("dl").class("figures").holding(pairs)
}

/// What went wrong, and what to do.
pub(super) fn remedies(facts: &Facts<'_>) -> Markup {
    if facts.exit == Exit::Complete {
        return Markup::default();
    }
    let mut general = advice(facts.exit.code()).to_owned();
    if Path::new(&facts.replication).extension().is_some() {
        // To be copied as it stands.
        general = general.replace("FILE", &facts.replication);
    }
    let general = tag("p").class("advice").holding([prose(&general)]);
    let whole = facts.failure.map(|failure| remedy(failure, None, "why".into()));
    let streams = facts.outcomes.iter().enumerate().filter_map(|(n, outcome)| {
        Some(remedy(outcome.failure.as_ref()?, last_good(facts, outcome), format!("why-{n}")))
    });
    super::section("What to do", [general].into_iter().chain(whole).chain(streams))
}

/// Up to when the stream is complete all the same.
fn last_good(facts: &Facts<'_>, outcome: &Outcome) -> Option<String> {
    let is_it = |known: &&crate::report::Freshness| {
        known.stream == outcome.stream && known.object == outcome.object
    };
    let known = facts.freshness.iter().find(is_it)?;
    Some(match known.complete_to {
        Some(to) => format!("What is there is complete to {}.", instant(to)),
        None => "It was never complete; what is there is kept.".to_owned(),
    })
}

fn remedy(failure: &Failure, last_good: Option<String>, id: String) -> Markup {
    let mood = Mood::of(failure.exit.code());
    let mut parts = vec![
        tag("h3").holding([prose(&failure.what)]),
        tag("p").class("cause").holding([prose(&failure.cause)]),
    ];
    if !failure.fix.is_empty() {
        parts.push(tag("p").class("fix").holding([tag("b").text("Fix: "), prose(&failure.fix)]));
    }
    parts.extend(last_good.map(|told| tag("p").class("told").text(told)));
    tag("article").class(mood.class()).with("id", id).holding(parts)
}
