//! The account of one sync: what is known of its rows, and what became of them.

use std::collections::HashMap;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::unusable;
use crate::command::capture::{Rejects, sign};
use crate::config::sync::{Becomes, PersonBehavior, PersonSync, Sync};
use crate::cursor::Timestamp;
use crate::error::{Exit, Failure};
use crate::report::Synced;
use crate::send::batch::Item;
use crate::send::deliver::{Receipts, Settled, Unkept};
use crate::send::draft::Draft;
use crate::send::outbox::Destination;
use crate::send::rules::{Rejection, admit, seal};
use crate::sync::mapped::fingerprint;
use crate::sync::snapshot::{self, Entry, Known, Same, Snapshot, SnapshotError};
use crate::sync::source::Mark;
use crate::sync::work::{Candidate, Lot};

/// So many rows that were not sent are written down; the others are counted.
const MOST_REJECTS: u64 = 1000;

/// Of so many invalid rows a dry run says why.
const SHOWN: usize = 3;

/// The account of one sync.
pub(super) struct Book<'s> {
    pub(super) sync: &'s Sync,
    pub(super) is_dry: bool,
    pub(super) is_full: bool,
    pub(super) told: Synced,
    /// The mark that is true once all rows below it are taken.
    pub(super) next_mark: Option<Mark>,
    snapshot: Option<Snapshot>,
    known: Option<Known>,
    rejects: Rejects,
    rejects_path: PathBuf,
    /// Rows of which something is under way, by their numbers.
    open: HashMap<i64, Row>,
    /// The row that an event belongs to.
    rows: HashMap<i64, i64>,
    /// Events made so far.
    events: i64,
}

/// A row of which something is under way.
struct Row {
    candidate: Candidate,
    /// Events that are not answered for.
    left: usize,
    is_refused: bool,
}

impl<'s> Book<'s> {
    pub(super) fn of(sync: &'s Sync, rejects: PathBuf, is_dry: bool) -> Self {
        let (object, behavior) = match &sync.becomes {
            Becomes::Event { .. } => ("event", "send"),
            Becomes::Page { .. } => ("page", "send"),
            Becomes::Person(person) => (
                "person",
                match person.behavior {
                    PersonBehavior::UpdateOrCreate => "update_or_create",
                    PersonBehavior::UpdateOnly => "update_only",
                    PersonBehavior::Mirror => "mirror",
                },
            ),
        };
        let told = Synced { sync: sync.name.clone(), object, behavior, ..Synced::default() };
        Self {
            sync,
            is_dry,
            is_full: false,
            told,
            next_mark: None,
            snapshot: None,
            known: None,
            rejects: Rejects::at(rejects.clone()),
            rejects_path: rejects,
            open: HashMap::new(),
            rows: HashMap::new(),
            events: 0,
        }
    }

    /// Opens what is remembered, and makes sure that it fits what is mapped now.
    pub(super) fn open(
        &mut self,
        snapshot: Result<Snapshot, SnapshotError>,
        to: &Destination,
        is_full: bool,
    ) -> Result<(), Failure> {
        let snapshot = snapshot.map_err(|err| unusable(&err))?;
        let mapping = fingerprint(self.sync);
        let known = snapshot.known(&self.sync.name, to).map_err(|err| unusable(&err))?;
        let known = match known {
            Some(known) => known,
            None if self.is_dry => Known::default(),
            None => snapshot.begin(&self.sync.name, to, &mapping).map_err(|err| unusable(&err))?,
        };
        self.is_full = is_full;
        if known.is_begun && known.mapping != mapping {
            self.mapping_changed()?;
        }
        if is_full && self.person().is_none() {
            self.told.notes.push("--full is about persons: what is sent once stays sent".into());
        }
        if !self.is_dry {
            self.forget_rejects()?;
        }
        snapshot.start_work().map_err(|err| unusable(&err))?;
        self.known = Some(Known { mapping, ..known });
        self.snapshot = Some(snapshot);
        Ok(())
    }

    fn mapping_changed(&mut self) -> Result<(), Failure> {
        if self.person().is_none() {
            let note = "the mapping has changed: what was sent stays as it is";
            self.told.notes.push(note.into());
        } else if !self.is_full {
            return Err(Failure::usage(
                format!("sync `{}` was not begun", self.sync.name),
                "its mapping has changed, so every row says something new",
                "write all persons again with --full, or give the sync another name",
            ));
        }
        Ok(())
    }

    /// What an earlier run rejected is judged anew.
    fn forget_rejects(&self) -> Result<(), Failure> {
        match std::fs::remove_file(&self.rejects_path) {
            Err(err) if err.kind() != std::io::ErrorKind::NotFound => Err(Failure {
                what: format!("{} cannot be replaced", self.rejects_path.display()),
                cause: err.to_string(),
                fix: "check that you may write the folder of the state".into(),
                exit: Exit::Target,
            }),
            _ => Ok(()),
        }
    }

    /// How persons are written, where this sync writes them.
    pub(super) fn person(&self) -> Option<&'s PersonSync> {
        match &self.sync.becomes {
            Becomes::Person(person) => Some(person),
            _ => None,
        }
    }

    pub(super) fn is_mirror(&self) -> bool {
        self.person().is_some_and(|person| person.behavior == PersonBehavior::Mirror)
    }

    pub(super) fn snapshot(&mut self) -> &mut Snapshot {
        self.snapshot.as_mut().expect("a sync is opened before it is read")
    }

    pub(super) fn known(&mut self) -> &mut Known {
        self.known.as_mut().expect("a sync is opened before it is read")
    }

    /// Does something with the snapshot.
    pub(super) fn with<T>(
        &mut self,
        work: impl FnOnce(&mut Snapshot, i64) -> Result<T, SnapshotError>,
    ) -> Result<T, Failure> {
        let id = self.known().id;
        work(self.snapshot(), id).map_err(|err| unusable(&err))
    }

    /// Keeps what the sync has come to.
    pub(super) fn end(&mut self) -> Result<(), Failure> {
        if self.is_dry {
            return Ok(());
        }
        let known = self.known().clone();
        self.snapshot().end(&known).map_err(|err| unusable(&err))
    }

    /// Ends what a run needs for itself.
    pub(super) fn close(&mut self) -> Result<(), Failure> {
        let ended = match &self.snapshot {
            Some(snapshot) => snapshot.end_work().map_err(|err| unusable(&err)),
            None => Ok(()),
        };
        let finished = self.rejects.finish().map_err(|cause| unwritten(&cause));
        self.told.rejects_file = self.rejects.path().map(Into::into);
        ended.and(finished)
    }

    /// Writes down, of the first rows, why they were not sent.
    pub(super) fn reject(
        &mut self,
        (row, key): (i64, Option<&str>),
        rejection: &Rejection,
        said: &Value,
    ) -> Result<(), Failure> {
        let Rejection { code, reason } = rejection;
        if self.is_dry {
            if self.told.notes.len() < SHOWN {
                self.told.notes.push(format!("row {row} is invalid: {reason} ({code})"));
            }
            return Ok(());
        }
        if self.rejects.count >= MOST_REJECTS {
            return Ok(());
        }
        let told = json!({ "row": row, "key": key, "code": code, "reason": reason, "said": said });
        self.rejects.put(&told).map_err(|cause| unwritten(&cause))
    }

    /// Makes events of rows, one for each of the persons that are meant; from here on they are
    /// under way.
    pub(super) fn prepare(
        &mut self,
        rows: Vec<(Candidate, Vec<Draft>)>,
        now: Timestamp,
    ) -> Result<Vec<Item>, Failure> {
        let is_same = match self.person() {
            None => Same::Key,
            Some(_) => Same::Content,
        };
        let numbers: Vec<_> = rows.iter().map(|(row, _)| row.number).collect();
        let keeps_who = self.is_mirror();
        let entry = |row: &Candidate| {
            let who = keeps_who.then(|| row.text.clone());
            Entry { key: row.key, hash: row.hash, who }
        };
        let entries: Vec<_> = rows.iter().map(|(row, _)| entry(row)).collect();
        let times = self.with(|snapshot, id| snapshot.will_send(id, &entries, now, is_same))?;
        let mut items = Vec::with_capacity(rows.len());
        for ((candidate, drafts), at) in rows.into_iter().zip(times) {
            let (number, left) = (candidate.number, drafts.len());
            self.open.insert(number, Row { candidate, left, is_refused: false });
            for mut draft in drafts {
                sign(&mut draft.properties);
                let sealed = admit(draft, at).and_then(|admitted| seal(admitted.event));
                match sealed {
                    Ok(event) => {
                        self.events += 1;
                        self.rows.insert(self.events, number);
                        items.push(Item { number: self.events, event });
                    }
                    Err(rejection) => self.refuse(number, &rejection)?,
                }
            }
        }
        // Rows of which nothing could be sent.
        let over = self.over(&numbers);
        if !over.is_empty() {
            self.with(|snapshot, id| snapshot.settle(id, &over))?;
        }
        Ok(items)
    }

    fn refuse(&mut self, number: i64, rejection: &Rejection) -> Result<(), Failure> {
        let Some(row) = self.open.get_mut(&number) else { return Ok(()) };
        row.is_refused = true;
        row.left -= 1;
        let (row, text) = (row.candidate.row, row.candidate.text.clone());
        let said = json!(self.open[&number].candidate.draft.properties);
        self.reject((row, Some(&text)), rejection, &said)
    }

    /// Takes those rows out of which all is answered for.
    fn over(&mut self, numbers: &[i64]) -> Vec<snapshot::Settled> {
        let keeps_who = self.is_mirror();
        let mut over = Vec::new();
        for number in numbers {
            if self.open.get(number).is_none_or(|row| row.left > 0) {
                continue;
            }
            let Some(Row { candidate, is_refused, .. }) = self.open.remove(number) else {
                continue;
            };
            let Candidate { key, hash, lot, text, .. } = candidate;
            over.push(match (is_refused, lot) {
                (true, _) => {
                    self.told.failed += 1;
                    snapshot::Settled::Refused(key)
                }
                (false, Lot::Gone) => {
                    self.told.unset += 1;
                    snapshot::Settled::Gone(key)
                }
                (false, lot) => {
                    match lot {
                        Lot::New => self.told.created += 1,
                        _ => self.told.updated += 1,
                    }
                    let who = keeps_who.then_some(text);
                    snapshot::Settled::Taken(Entry { key, hash, who })
                }
            });
        }
        over
    }

    fn try_settle(&mut self, settled: Settled) -> Result<(), Failure> {
        let mut numbers = Vec::new();
        for item in &settled.delivered {
            let Some(number) = self.rows.remove(&item.number) else { continue };
            if let Some(row) = self.open.get_mut(&number) {
                row.left -= 1;
            }
            numbers.push(number);
        }
        for (item, rejection) in &settled.refused {
            let Some(number) = self.rows.remove(&item.number) else { continue };
            self.refuse(number, rejection)?;
            numbers.push(number);
        }
        let over = self.over(&numbers);
        self.with(|snapshot, id| snapshot.settle(id, &over))
    }
}

impl Receipts for Book<'_> {
    /// Remembers the rows that PostHog has taken.
    fn settle(&mut self, settled: Settled) -> Result<(), Unkept> {
        // SQLite may wait for the disk.
        let kept = tokio::task::block_in_place(|| self.try_settle(settled));
        kept.map_err(|failure| Unkept(failure.cause))
    }
}

fn unwritten(cause: &str) -> Failure {
    Failure {
        what: "not all that was rejected is written down".into(),
        cause: cause.to_owned(),
        fix: "free space on the disk, then run again".into(),
        exit: Exit::Target,
    }
}
