//! What a checkpoint vouches for, and what it does not yet.
//!
//! Only what a stream's runs have asked for can be wrong. What arrived or changed since,
//! and what the next run will read again in any case, is *pending*.

use std::time::Duration;

use crate::cursor::{ALWAYS_LOOK_BACK, Interval, Position, Timestamp};
use crate::error::{Exit, Failure};
use crate::record::batch::Row;
use crate::record::value::Value;
use crate::runner::Job;
use crate::schema::Schema;

/// How far a stream has come, held still.
#[derive(Debug, Clone)]
pub(super) struct Frozen {
    /// The bound of the last complete run.
    pub(super) mark: Timestamp,
    position: Position,
    /// The column that orders the stream in time.
    pub(super) by: Option<String>,
    arrival: Option<String>,
    reread: Option<Duration>,
    update_key: Option<String>,
}

impl Frozen {
    /// What is vouched for of a stream.
    pub(super) fn of(job: &Job) -> Result<Self, Failure> {
        let position = job.checkpoint.position.clone();
        let Some(mark) = position.mark else { return Err(not_complete(&job.endpoint.stream)) };
        let order = job.endpoint.incremental.as_ref();
        Ok(Self {
            mark,
            position,
            by: order.map(|order| order.by.clone()),
            arrival: order.and_then(|order| order.arrival.clone()),
            reread: order.and_then(|order| order.reread),
            update_key: job.endpoint.update_key.clone(),
        })
    }

    /// Whether the stream has an order in time.
    pub(super) fn is_timed(&self) -> bool {
        self.by.is_some()
    }

    /// The spans of time that are complete, and wanted.
    pub(super) fn spans(&self, wanted: Option<Interval>) -> Vec<Interval> {
        let inside = |range: &Interval| {
            let from = wanted.map_or(range.from, |wanted| wanted.from.max(range.from));
            let to = wanted.map_or(range.to, |wanted| wanted.to.min(range.to));
            Interval::new(from, to.min(self.mark))
        };
        match self.is_timed() {
            true => self.position.covered.iter().filter_map(inside).collect(),
            false => Vec::new(),
        }
    }

    /// Whether the next runs will bring a record, whatever is in the target.
    pub(super) fn is_pending(&self, row: &Row<'_>, schema: &Schema) -> bool {
        let of = |name: &Option<String>| time_of(row, schema, name.as_deref()?);
        let Some(by) = &self.by else {
            return of(&self.update_key).is_some_and(|changed| changed >= self.mark);
        };
        let Some(happened) = time_of(row, schema, by) else { return false };
        match of(&self.arrival) {
            Some(arrived) => arrived >= self.asked_until(happened),
            None => happened >= self.mark.minus(self.reread.unwrap_or(ALWAYS_LOOK_BACK)),
        }
    }

    /// Up to which arrival records that happened then were asked for.
    fn asked_until(&self, happened: Timestamp) -> Timestamp {
        let searched = self
            .position
            .searched
            .filter(|searched| happened >= self.mark.minus(Duration::from_secs(searched.lookback)));
        let asked = searched.map(|searched| searched.until).or(self.position.audited);
        asked.unwrap_or(self.mark).min(self.mark)
    }
}

/// The time in a column of a record.
fn time_of(row: &Row<'_>, schema: &Schema, column: &str) -> Option<Timestamp> {
    let index = schema.index_of(column).filter(|&index| schema.columns[index].is_known())?;
    match row.value(index, &mut Default::default()) {
        Value::Timestamp(at) => Some(at),
        _ => None,
    }
}

fn not_complete(stream: &str) -> Failure {
    Failure {
        what: format!("stream `{stream}` cannot be verified"),
        cause: "no run of it was ever complete".into(),
        fix: "run it first: hogline run -r … --streams ".to_owned() + stream,
        exit: Exit::Differs,
    }
}
