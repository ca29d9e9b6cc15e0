//! What a complete walk did not meet, and what is done about it.
//!
//! A row is gone only where a walk that shows every row there is (a whole list, or all
//! of a range of time) began and ended in this process and did not show it. Whatever
//! breaks a walk off (a failure, a stop, a crash) proves nothing: the run ends before
//! it comes here, and a run that goes on with an earlier one has no sweep at all.

use crate::config::{DeleteMissing, Mode};
use crate::cursor::{Interval, Leg, Purpose, Timestamp};
use crate::record::batch::Batch;
use crate::record::keys::{self, KeySet};
use crate::schema::Schema;
use crate::spec::endpoint::Endpoint;
use crate::target::{Scan, Target, TargetError};

use super::Job;

/// How many rows are removed with one call.
const AT_ONCE: usize = 1000;

/// The rows that a run met.
pub(super) struct Sweep {
    how: DeleteMissing,
    met: KeySet,
    /// The walks so far; nothing once one of them showed less than everything.
    legs: Option<Vec<Leg>>,
}

impl Sweep {
    /// The sweep of a run from its beginning, where one is wanted.
    pub(super) fn of(job: &Job) -> Result<Option<Self>, TargetError> {
        let loads_into = matches!(job.wish.mode, Mode::Incremental | Mode::Backfill);
        let wanted = job.wish.delete_missing.filter(|_| loads_into);
        let sweep = |how| {
            let met = KeySet::new().map_err(|err| no_scratch(&err))?;
            Ok(Self { how, met, legs: Some(Vec::new()) })
        };
        wanted.map(sweep).transpose()
    }

    /// Notes that a walk begins, in a way of reading.
    pub(super) fn begin(&mut self, endpoint: &Endpoint, leg: Leg, path: &str) {
        let way = endpoint.read.iter().find(|way| way.name == path);
        let shows_all = way.is_some_and(|way| way.enumerates())
            && matches!(
                leg,
                Leg::List { since: None }
                    | Leg::Range { purpose: Purpose::Backfill, arrived: None, .. }
            );
        if !shows_all {
            self.legs = None;
        }
        self.legs.iter_mut().for_each(|legs| legs.push(leg));
    }

    /// Notes the rows of a batch.
    pub(super) fn meet(&mut self, batch: &Batch) -> Result<(), TargetError> {
        if self.legs.is_some() {
            for row in batch.rows() {
                self.met.insert(&row.identity()).map_err(|err| no_scratch(&err))?;
            }
        }
        Ok(())
    }

    /// The open page is durable.
    pub(super) fn keep_page(&mut self) -> Result<(), TargetError> {
        self.met.keep_page().map_err(|err| no_scratch(&err))
    }

    /// The open page is void.
    pub(super) fn forget_page(&mut self) -> Result<(), TargetError> {
        self.met.forget_page().map_err(|err| no_scratch(&err))
    }

    /// Whether everything there is was shown.
    pub(super) fn is_whole(&self) -> bool {
        self.legs.as_ref().is_some_and(|legs| !legs.is_empty())
    }

    /// Takes out, as part of the open page, the rows that were not met; returns their keys.
    pub(super) fn remove_unmet(
        &self,
        target: &mut dyn Target,
        endpoint: &Endpoint,
        at: Timestamp,
    ) -> Result<KeySet, TargetError> {
        let by = endpoint.incremental.as_ref().map(|order| order.by.as_str());
        let schema = endpoint.schema(&endpoint.read[0], &|_| true);
        let unmet = KeySet::new().map_err(|err| no_scratch(&err))?;
        for leg in self.legs.iter().flatten() {
            let within = match leg {
                Leg::Range { range, .. } => by.map(|by| (by, *range)),
                _ => None,
            };
            self.find_unmet(target, &schema, within, &unmet)?;
        }
        let mut last = String::new();
        loop {
            let some = unmet.after(&last, AT_ONCE).map_err(|err| no_scratch(&err))?;
            let Some(key) = some.last() else { return Ok(unmet) };
            last.clone_from(key);
            target.remove(&some, self.how, at)?;
        }
    }

    fn find_unmet(
        &self,
        target: &mut dyn Target,
        schema: &Schema,
        within: Option<(&str, Interval)>,
        unmet: &KeySet,
    ) -> Result<(), TargetError> {
        let mut looked = Ok(());
        let note = |key: String| match self.met.contains(&key)? {
            true => Ok(()),
            false => unmet.insert(&key).map(drop),
        };
        target.scan(&Scan { within, keys_only: true, only: None }, &mut |row| {
            if looked.is_ok() {
                looked = note(row.identity(schema));
            }
        })?;
        looked.map_err(|err| no_scratch(&err))
    }
}

/// Rows whose stored content is known to be wrong: they give way to what is read, however
/// new they look.
pub struct Wrong {
    keys: KeySet,
    met: KeySet,
}

impl Wrong {
    /// The rows with these keys.
    ///
    /// # Errors
    /// When there is no room for what is to be remembered.
    pub fn new(keys: KeySet) -> Result<Self, TargetError> {
        let met = KeySet::new().map_err(|err| no_scratch(&err))?;
        Ok(Self { keys, met })
    }

    /// Takes out the wrong rows that a batch is about to write for the first time.
    pub(super) fn give_way(
        &self,
        batch: &Batch,
        target: &mut dyn Target,
        at: Timestamp,
    ) -> Result<(), TargetError> {
        let mut first_met = Vec::new();
        for key in batch.rows().map(|row| row.identity()) {
            let is_wrong = self.keys.contains(&key);
            let is_new = is_wrong.and_then(|wrong| Ok(wrong && self.met.insert(&key)?));
            if is_new.map_err(|err| no_scratch(&err))? {
                first_met.push(key);
            }
        }
        match first_met.is_empty() {
            true => Ok(()),
            false => target.remove(&first_met, DeleteMissing::Hard, at),
        }
    }

    /// The open page is durable.
    pub(super) fn keep_page(&self) -> Result<(), TargetError> {
        self.met.keep_page().map_err(|err| no_scratch(&err))
    }

    /// The open page is void.
    pub(super) fn forget_page(&self) -> Result<(), TargetError> {
        self.met.forget_page().map_err(|err| no_scratch(&err))
    }
}

/// Leaves of witnesses those that are still there.
pub(super) fn retain(witnesses: &mut Vec<String>, gone: &KeySet) -> Result<(), TargetError> {
    let mut looked = Ok(());
    witnesses.retain(|witness| {
        let parts = keys::parts(witness);
        let key = keys::spell(parts.iter().map(|part| Some(part.as_str())));
        let is_gone = gone.contains(&key);
        match is_gone {
            Ok(is_gone) => !is_gone,
            Err(err) => {
                looked = Err(no_scratch(&err));
                true
            }
        }
    });
    looked
}

/// What is said where a private database has no room.
pub(crate) fn no_scratch(err: &rusqlite::Error) -> TargetError {
    TargetError {
        target: "the temporary folder".into(),
        cause: err.to_string(),
        hint: "free space there, or name another one with TMPDIR; then run again".into(),
    }
}
