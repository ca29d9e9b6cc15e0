//! `hogline run --dry-run`: what a run would do. Writes nothing, and asks PostHog for counts only.

use std::path::Path;
use std::time::Duration;

use super::scratch::Scratch;
use super::{Options, Plan, plan, ready};
use crate::config::{Connections, Mode, Written};
use crate::cursor::{Leg, Purpose, Timestamp};
use crate::error::{Exit, Failure, overall};
use crate::http::spell;
use crate::report::{self, Table, to_the_second};
use crate::runner::{self, Job, Preview};

/// What is not known.
const UNKNOWN: &str = "?";

/// Shows what a run would do.
pub(super) async fn show(
    written: &Written,
    connections: &Connections,
    base: &Path,
    options: &Options,
    state_path: &Path,
) -> Result<Exit, Failure> {
    let scratch = Scratch::copy_of(state_path)?;
    let plan = plan(written, connections, base, options, &scratch.state).await?;
    let Some(plan) = plan else { return Ok(Exit::Complete) };
    let (jobs, shared) = ready(&plan).await?;
    let mut table = Table::new(&[
        "stream", "mode", "read by", "from", "to", "rows", "requests", "time", "target", "state",
    ]);
    let mut failures = Vec::new();
    let mut exits = Vec::new();
    for job in &jobs {
        match runner::preview(job, &shared).await {
            Ok(preview) => {
                table.row(row(job, &preview, &plan).await);
                exits.push(None);
            }
            Err(err) => {
                let failure = Failure::of_fetch(&job.endpoint.stream, &err);
                exits.push(Some(failure.exit));
                failures.push(failure);
            }
        }
    }
    report::print(&format!("{table}\n\nNothing was written."));
    for failure in failures {
        report::tell(&format!("error: {failure}"));
    }
    Ok(overall(&exits))
}

async fn row(job: &Job, preview: &Preview, plan: &Plan) -> Vec<String> {
    let known = |number: Option<u64>| number.map_or(UNKNOWN.to_owned(), |n| n.to_string());
    let (from, to) = span(preview);
    let mark = |at: Option<Timestamp>| at.map_or("–".to_owned(), to_the_second);
    let state = match job.wish.mode {
        Mode::Backfill => "cursor stays".to_owned(),
        _ => format!("{} → {}", mark(job.mark()), to_the_second(preview.bound)),
    };
    let time = match preview.requests {
        Some(requests) => spell(duration(requests, (job, &preview.quota), plan).await),
        None => UNKNOWN.to_owned(),
    };
    vec![
        job.label(),
        job.wish.mode.to_string(),
        preview.path.clone(),
        from,
        to,
        known(preview.rows),
        known(preview.requests),
        time,
        job.foreseen_of_target(),
        state,
    ]
}

/// From where to where it would read, late rows apart.
fn span(preview: &Preview) -> (String, String) {
    let new = preview.legs.iter().filter_map(|leg| match leg {
        Leg::Range { purpose: Purpose::New | Purpose::Backfill, range, .. } => Some(*range),
        _ => None,
    });
    let new: Vec<_> = new.collect();
    let since = preview.legs.iter().find_map(|leg| match leg {
        Leg::List { since } => Some(since.map_or("the beginning".to_owned(), to_the_second)),
        _ => None,
    });
    match (new.first(), new.last(), since) {
        (Some(first), Some(last), _) => (to_the_second(first.from), to_the_second(last.to)),
        (_, _, Some(since)) => (since, to_the_second(preview.bound)),
        _ => ("–".to_owned(), to_the_second(preview.bound)),
    }
}

/// How long so many requests take, by the pace and by what is left of the quotas.
async fn duration(requests: u64, (job, quota): (&Job, &[String]), plan: &Plan) -> Duration {
    let inputs = &plan.source.inputs;
    let paced = match inputs.requests_per_second {
        rate if rate > 0.0 => Duration::from_secs_f64(requests as f64 / rate),
        _ => return Duration::ZERO,
    };
    let left = job.project.client.left().await;
    let longest = quota.iter().filter_map(|counter| {
        let left = left.get(counter)?;
        let beyond = requests.saturating_sub(u64::from(left.requests));
        Some(left.of.per.mul_f64(beyond as f64 / f64::from(left.of.requests.max(1))))
    });
    longest.fold(paced, Duration::max)
}
