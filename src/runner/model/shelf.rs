//! A target in memory, which shows a copy only when it is whole.

use std::sync::{Arc, Mutex, MutexGuard};

use crate::checkpoint::Checkpoint;
use crate::config::DeleteMissing;
use crate::cursor::{Position, Timestamp};
use crate::record::batch::Batch;
use crate::target::{Load, Recall, Replay, Scan, Shown, Target, TargetError, Written};

/// What a target holds, by the events' numbers.
#[derive(Default)]
pub(super) struct Shelf {
    pub(super) rows: Vec<bool>,
    /// An unfinished copy.
    copy: Option<Vec<bool>>,
    pub(super) position: Position,
    load: Option<Load>,
    is_first: bool,
    /// What the next commit makes durable.
    pub(super) page: Vec<usize>,
}

impl Shelf {
    /// An empty one, for so many events.
    pub(super) fn of(events: usize) -> Self {
        Self { rows: vec![false; events], ..Self::default() }
    }
}

/// A target that is such a shelf.
pub(super) struct Memory(pub(super) Arc<Mutex<Shelf>>);

impl Memory {
    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.0.lock().unwrap()
    }
}

impl Target for Memory {
    fn on_replay(&self) -> Replay {
        Replay::Harmless
    }

    fn recall(&mut self) -> Result<Recall, TargetError> {
        Ok(Recall::Nothing)
    }

    fn begin(&mut self, load: Load) -> Result<bool, TargetError> {
        let mut shelf = self.shelf();
        if load == Load::ResumeReplace && shelf.copy.is_none() {
            return Ok(false);
        }
        (shelf.load, shelf.is_first) = (Some(load), true);
        shelf.page.clear();
        Ok(true)
    }

    fn write(&mut self, _: &Batch) -> Result<Written, TargetError> {
        Ok(Written::default())
    }

    fn commit(&mut self, checkpoint: &Checkpoint) -> Result<(), TargetError> {
        let shelf = &mut *self.shelf();
        let copies = matches!(shelf.load, Some(Load::Replace | Load::ResumeReplace));
        let nothing = vec![false; shelf.rows.len()];
        if std::mem::take(&mut shelf.is_first) {
            if shelf.load != Some(Load::ResumeReplace) {
                shelf.copy = copies.then(|| nothing.clone());
            }
            if shelf.load == Some(Load::Truncate) {
                shelf.rows = nothing;
            }
        }
        let rows = if copies { shelf.copy.as_mut().unwrap() } else { &mut shelf.rows };
        shelf.page.drain(..).for_each(|n| rows[n] = true);
        shelf.position = checkpoint.position.clone();
        Ok(())
    }

    fn abandon(&mut self) -> Result<(), TargetError> {
        self.shelf().page.clear();
        Ok(())
    }

    fn scan(&mut self, _: &Scan<'_>, _: &mut dyn FnMut(&Shown<'_>)) -> Result<(), TargetError> {
        Ok(())
    }

    fn remove(&mut self, _: &[String], _: DeleteMissing, _: Timestamp) -> Result<(), TargetError> {
        Ok(())
    }

    fn publish(&mut self, checkpoint: &Checkpoint) -> Result<(), TargetError> {
        self.commit(checkpoint)?;
        let shelf = &mut *self.shelf();
        if matches!(shelf.load, Some(Load::Replace | Load::ResumeReplace)) {
            shelf.rows = shelf.copy.take().unwrap();
        }
        Ok(())
    }
}
