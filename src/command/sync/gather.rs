//! Reading a sync's rows, and judging each by what PostHog has taken of it.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::book::Book;
use super::unreadable;
use crate::cursor::Timestamp;
use crate::error::{Exit, Failure};
use crate::send::rules::{Code, Rejection, admit, seal};
use crate::stop;
use crate::sync::mapped::{Mapped, key_hash, map, missing_columns, names_set, unset};
use crate::sync::source::{Found, Mark, Place, Window};
use crate::sync::work::{Candidate, Lot};

/// Reads the rows; what is to be sent is among the candidates then. False where nothing is.
pub(super) fn gather(book: &mut Book<'_>, place: &Place) -> Result<bool, Failure> {
    let window = window(book, place)?;
    if let Some(Window { to, .. }) = &window
        && is_first_without_rows(book)
    {
        book.known().mark = Some(to.clone());
        book.told.notes.push("begins now: the rows that are there are not sent".into());
        book.end()?;
        return Ok(false);
    }
    read(book, place, window.as_ref())?;
    if book.is_mirror() {
        find_gone(book)?;
    }
    count(book)?;
    if window.is_none() && is_first_without_rows(book) {
        return pass_over(book).map(|()| false);
    }
    if let Some(Window { to, .. }) = window {
        book.next_mark = Some(to);
    }
    Ok(true)
}

fn is_first_without_rows(book: &mut Book<'_>) -> bool {
    !book.sync.backfill && !book.known().is_begun
}

/// Which rows are wanted, where not all are.
fn window(book: &mut Book<'_>, place: &Place) -> Result<Option<Window>, Failure> {
    let Some(column) = &book.sync.timestamp_column else { return Ok(None) };
    let highest = place.highest(&book.sync.rows, column);
    let highest = highest.map_err(|err| unreadable(book.sync, &err))?;
    let from: Option<Mark> = match book.is_full {
        true => None,
        false => book.known().mark.clone(),
    };
    // Without any value there is nothing to follow yet.
    Ok(highest.map(|to| Window { column: column.clone(), from, to }))
}

fn read(book: &mut Book<'_>, place: &Place, window: Option<&Window>) -> Result<(), Failure> {
    let (sync, mut failure) = (book.sync, None);
    let mut reading = Reading { book, now: Timestamp::now(), absent: None, names: BTreeSet::new() };
    let done = place.read(&sync.rows, window, &mut |found| {
        let taken = reading.take(found, place);
        failure = taken.err();
        failure.is_none() && !stop::is_asked()
    });
    if let Some(failure) = failure {
        return Err(failure);
    }
    done.map_err(|err| unreadable(sync, &err))?;
    if stop::is_asked() {
        return Err(stopped());
    }
    reading.end()
}

/// Rows as they come.
struct Reading<'b, 's> {
    book: &'b mut Book<'s>,
    now: Timestamp,
    /// Columns that are mapped and that no row had so far.
    absent: Option<Vec<String>>,
    /// Properties that are set.
    names: BTreeSet<String>,
}

impl Reading<'_, '_> {
    fn take(&mut self, found: Found, place: &Place) -> Result<(), Failure> {
        self.book.told.processed += 1;
        let number = i64::try_from(found.number).unwrap_or(i64::MAX);
        let row = match found.row {
            Ok(row) => row,
            Err(rejection) => return self.invalid((number, None), &rejection, Value::Null),
        };
        if self.absent.as_ref().is_none_or(|absent| !absent.is_empty()) {
            self.look_for_columns(&row, place)?;
        }
        match map(self.book.sync, &row) {
            Ok(mapped) => self.judge(number, mapped, row),
            Err(rejection) => self.invalid((number, None), &rejection, row.into()),
        }
    }

    /// A table has all its columns in every row; of JSON lines one may have what others have not.
    fn look_for_columns(&mut self, row: &Map<String, Value>, place: &Place) -> Result<(), Failure> {
        let missing = missing_columns(self.book.sync, row);
        if place.is_even(&self.book.sync.rows) && !missing.is_empty() {
            return Err(Failure::usage(
                format!("sync `{}` maps what its rows have not", self.book.sync.name),
                format!("there is no column {}", missing.join("; no column ")),
                "mend the mapping or the query",
            ));
        }
        self.absent = Some(match self.absent.take() {
            None => missing,
            Some(absent) => absent.into_iter().filter(|one| missing.contains(one)).collect(),
        });
        Ok(())
    }

    fn judge(
        &mut self,
        number: i64,
        mapped: Mapped,
        row: Map<String, Value>,
    ) -> Result<(), Failure> {
        let (key, hash) = (key_hash(&mapped.key), mapped.hash());
        let taken = self.book.with(|snapshot, id| snapshot.taken(id, &key))?;
        let is_full = self.book.is_full;
        let mut lot = match (taken, self.book.person()) {
            (None, _) => Lot::New,
            (Some(_), None) => Lot::Unchanged,
            (Some(before), Some(_)) if before == hash && !is_full => Lot::Unchanged,
            (Some(_), Some(_)) => Lot::Changed,
        };
        let rejection = match lot {
            Lot::Unchanged => None,
            _ => admit(mapped.draft.clone(), self.now).and_then(|one| seal(one.event)).err(),
        };
        if rejection.is_some() {
            lot = Lot::Invalid;
        }
        let copies = self.book.with(|snapshot, _| snapshot.see(&key, lot))?;
        if copies > 1 {
            let reason =
                format!("the key \"{}\" stood in a row before: none of them is sent", mapped.key);
            let rejection = Rejection::new(Code::KeyTwice, reason);
            return self.book.reject((number, Some(&mapped.key)), &rejection, &row.into());
        }
        if let Some(rejection) = rejection {
            return self.book.reject((number, Some(&mapped.key)), &rejection, &row.into());
        }
        if self.book.is_mirror() {
            self.names.extend(names_set(&mapped.draft).cloned());
        }
        if lot == Lot::Unchanged {
            return Ok(());
        }
        let Mapped { key: text, draft } = mapped;
        let candidate = Candidate { number: 0, row: number, key, hash, lot, text, draft };
        self.book.with(|snapshot, _| snapshot.keep(&candidate))
    }

    /// A row without a key; those with one are counted when all were seen.
    fn invalid(
        &mut self,
        at: (i64, Option<&str>),
        rejection: &Rejection,
        said: Value,
    ) -> Result<(), Failure> {
        self.book.told.invalid += 1;
        self.book.reject(at, rejection, &said)
    }

    fn end(self) -> Result<(), Failure> {
        for column in self.absent.into_iter().flatten() {
            self.book.told.notes.push(format!("no row has the column {column}"));
        }
        let known = self.book.known();
        let before = known.names.len();
        known.names.extend(self.names);
        let names = known.names.clone();
        if names.len() > before && !self.book.is_dry {
            self.book.with(|snapshot, id| snapshot.will_set(id, &names))?;
        }
        Ok(())
    }
}

/// Finds the rows that PostHog has and the table has no more.
fn find_gone(book: &mut Book<'_>) -> Result<(), Failure> {
    let (sync, names) = (book.sync, book.known().names.clone());
    if book.told.processed == 0 && book.known().is_begun {
        return Err(Failure::usage(
            format!("sync `{}` was not mirrored", sync.name),
            "its table is empty: every person would lose what was synced",
            "if that is meant, keep one row; if not, look at the table or the query",
        ));
    }
    book.with(|snapshot, id| snapshot.find_gone(id, |who, hash| unset(sync, who, &names, hash)))
}

fn count(book: &mut Book<'_>) -> Result<(), Failure> {
    book.with(|snapshot, _| snapshot.all_seen())?;
    let unchanged = book.with(|snapshot, _| snapshot.count(Lot::Unchanged))?;
    let invalid = book.with(|snapshot, _| snapshot.count(Lot::Invalid))?;
    let copies = book.with(|snapshot, _| snapshot.count_copies())?;
    book.told.skipped = unchanged;
    book.told.invalid += invalid + copies;
    Ok(())
}

/// Takes what is there when the sync begins for sent.
fn pass_over(book: &mut Book<'_>) -> Result<(), Failure> {
    let new = book.with(|snapshot, _| snapshot.count(Lot::New))?;
    book.told.skipped += new;
    book.told.notes.push("begins now: the rows that are there are not sent".into());
    if !book.is_dry {
        book.with(|snapshot, id| snapshot.pass_over(id))?;
    }
    book.end()
}

fn stopped() -> Failure {
    Failure {
        what: "the rows were not read to their end".into(),
        cause: "the process was asked to stop".into(),
        fix: "run again: nothing was sent".into(),
        exit: Exit::Interrupted(15),
    }
}
