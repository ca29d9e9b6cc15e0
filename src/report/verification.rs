//! What a verification found, as text and as JSON.

use serde::Serialize;

use super::Table;
use super::figures::to_the_second;
use crate::verify::{Day, Example, Verified};

/// The days that differ, and a line for every stream.
pub fn verification(all: &[Verified]) -> String {
    let mut text = String::new();
    let told = all.iter().any(|verified| !verified.days.is_empty());
    if told {
        text += &days(all.iter().map(|verified| (verified, verified.days.as_slice())));
        text += "\n";
    }
    for verified in all {
        text += &examples(verified);
    }
    for verified in all {
        text += &format!("{}\n", line(verified));
    }
    text.trim_end().to_owned()
}

fn days<'a>(streams: impl Iterator<Item = (&'a Verified, &'a [Day])>) -> String {
    let mut table = Table::new(&[
        "stream",
        "day",
        "posthog",
        "target",
        "missing",
        "differing",
        "extra",
        "pending",
    ]);
    for (verified, days) in streams {
        for Day { day, counts, .. } in days {
            let mut cells = vec![verified.label.clone(), day.clone().unwrap_or_else(|| "–".into())];
            let counts = [
                counts.source,
                counts.target,
                counts.missing,
                counts.differing,
                counts.extra,
                counts.pending,
            ];
            cells.extend(counts.map(|count| count.to_string()));
            table.row(cells);
        }
    }
    table.to_string() + "\n"
}

/// A few of the rows that are not right.
fn examples(verified: &Verified) -> String {
    let mut text = String::new();
    for Day { day, examples, .. } in &verified.days {
        for Example { kind, key, columns } in examples {
            let day = day.as_ref().map(|day| format!(" {day}")).unwrap_or_default();
            let stream = &verified.label;
            text += &format!("{kind}: {stream}{day} {}", key.join(" | "));
            if !columns.is_empty() {
                text += &format!(" ({})", columns.join(", "));
            }
            text += "\n";
        }
    }
    text
}

/// How a stream was compared and what came of it.
fn line(verified: &Verified) -> String {
    let Verified { label: stream, counts, .. } = verified;
    if verified.failure.is_some() {
        return format!("{stream}: not verified");
    }
    let outcome = match (verified.counts.differ(), verified.repaired.is_empty()) {
        (false, true) => "the same",
        (false, false) => "repaired, now the same",
        (true, true) => "DIFFERS",
        (true, false) => "STILL DIFFERS after the repair",
    };
    if let Some(nothing) = verified.compared.as_deref().filter(|c| c.starts_with("nothing")) {
        return format!("{stream}: not compared, {nothing}");
    }
    let mut line = format!("{stream}: {outcome}");
    line += &format!(", {} in PostHog, {} in the target", counts.source, counts.target);
    if counts.pending > 0 {
        line += &format!(", {} pending: the next run brings them", counts.pending);
    }
    if let Some(to) = verified.complete_to {
        line += &format!("; complete to {}", to_the_second(to));
    }
    if let Some(compared) = &verified.compared {
        line += &format!("; compared {compared}");
    }
    if let Some(path) = &verified.read_by {
        line += &format!(", read by {path}");
    }
    if verified.sampled > 0 {
        line += &format!(", {} rows value by value", verified.sampled);
    }
    line += &format!("; {} requests", verified.requests);
    for Day { day, counts, .. } in &verified.repaired {
        let day = day.as_deref().unwrap_or("all of it");
        line += &format!(
            "\n  repaired {day}: {} missing, {} differing, {} extra",
            counts.missing, counts.differing, counts.extra
        );
    }
    if let Some(note) = &verified.note {
        line += &format!("\n  note: {note}");
    }
    line
}

/// A verification as JSON; `version` tells how to read it.
pub fn verification_as_json(all: &[Verified], exit: u8) -> String {
    #[derive(Serialize)]
    struct Report<'a> {
        version: u32,
        exit: u8,
        streams: &'a [Verified],
    }
    serde_json::to_string_pretty(&Report { version: 1, exit, streams: all }).unwrap_or_default()
}
