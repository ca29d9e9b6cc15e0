//! What a run of a stream would read, if it began now. Changes nothing.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::{Job, Shared, Start};
use crate::config::Mode;
use crate::cursor::{Leg, Position, Timestamp};
use crate::fetch::{FetchError, Reader};
use crate::http::Meter;
use crate::plan;
use crate::spec::endpoint::{Paging, ReadPath};
use crate::target::Load;

/// The first step of a run, as far as it can be foreseen.
#[derive(Debug)]
pub struct Preview {
    /// The way in which it would be read.
    pub path: String,
    /// The quota counters that each request spends.
    pub quota: Vec<String>,
    /// Up to where.
    pub bound: Timestamp,
    /// The walks.
    pub legs: Vec<Leg>,
    /// How many records they would show, where PostHog tells.
    pub rows: Option<u64>,
    /// About how many requests that takes.
    pub requests: Option<u64>,
}

/// Foresees the run of a stream; PostHog is asked for counts only.
///
/// # Errors
/// When no way of reading is open.
pub async fn preview(job: &Job, shared: &Shared) -> Result<Preview, FetchError> {
    let start = job.start(job.project.client.server_time().minus(shared.safety_lag));
    let position = position_of(job, start);
    let mut closed = None;
    for path in plan::paths(&job.endpoint, &job.wish, &position, start.bound) {
        let legs = plan::legs(&job.endpoint, path, &job.wish, &position, start.bound);
        match count(job, path, &legs).await {
            Err(err) if err.is_closed_door() => drop(closed.get_or_insert(err)),
            Err(err) => return Err(err),
            Ok(rows) => {
                let rows = rows.map(|rows| job.wish.limit.map_or(rows, |limit| limit.min(rows)));
                let pages = |rows: u64| rows.div_ceil(path.page_size.max(1)) + legs.len() as u64;
                return Ok(Preview {
                    path: path.name.clone(),
                    quota: path.quota.clone(),
                    bound: start.bound,
                    rows,
                    requests: match path.paging {
                        Paging::Whole => Some(1),
                        _ => rows.map(pages),
                    },
                    legs,
                });
            }
        }
    }
    Err(closed.unwrap_or(FetchError::Stopped))
}

/// The position that the run would begin with.
fn position_of(job: &Job, Start { load, bound, resumes }: Start) -> Position {
    let mut position = job.checkpoint.position.clone();
    if !resumes && (load != Load::Merge || position.copying.is_some()) {
        position.start_over();
    }
    position.begin_run(bound);
    position
}

async fn count(job: &Job, path: &ReadPath, legs: &[Leg]) -> Result<Option<u64>, FetchError> {
    let meter = Meter::default();
    let schema = Arc::new(job.endpoint.schema(path, &|name| job.wish.wants(name)));
    // Nothing is handed on.
    let (out, _) = mpsc::channel(1);
    let source = job.project.source(&meter);
    let mut reader = Reader::new(&source, path, &schema, job.wish.wants_all(), out);
    let mut total = Some(0);
    for leg in legs {
        total = total.zip(reader.estimate(*leg).await?).map(|(sum, rows)| sum + rows);
    }
    Ok(total)
}

impl Job {
    /// What the run would do to the target, in a few words.
    pub fn foreseen_of_target(&self) -> String {
        let written = self.target.written_columns();
        let columns =
            &self.endpoint.schema(&self.endpoint.read[0], &|name| self.wish.wants(name)).columns;
        let new: Vec<&str> = columns
            .iter()
            .filter(|column| column.is_known() && !written.contains(&column.name))
            .map(|column| column.name.as_str())
            .collect();
        match self.wish.mode {
            Mode::FullRefresh => format!("a new copy of {} columns, swapped in", columns.len()),
            Mode::Truncate => "emptied and filled".to_owned(),
            _ if written.is_empty() => format!("made, with {} columns", columns.len()),
            _ if new.is_empty() => "merged into".to_owned(),
            _ => format!("gets the columns {}", new.join(", ")),
        }
    }

    /// Up to where its state knows the stream.
    pub fn mark(&self) -> Option<Timestamp> {
        self.checkpoint.position.mark
    }
}
