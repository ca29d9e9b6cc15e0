//! Sending what was found to be new or changed, each row to the persons that are meant.

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};

use super::book::Book;
use super::people::{Meant, People};
use crate::command::capture::{LANES, Rest, Way};
use crate::config::sync::{FoundBy, PersonBehavior};
use crate::cursor::Timestamp;
use crate::error::Failure;
use crate::runner::stopped;
use crate::send::batch::Item;
use crate::send::deliver::{Delivery, Receipts, Settled, Unkept, deliver};
use crate::send::draft::Draft;
use crate::send::rules::{Code, Rejection};
use crate::sync::work::{Candidate, Lot, shown};

/// Rows that are looked up and made ready at once: PostHog looks at no more ids in one question
/// (inbound mapping: 200).
const HANDFUL: usize = 200;

/// Handfuls of events between the snapshot and the lanes.
const AHEAD: usize = 2;

/// What is delivered in one request.
const BATCH_SIZE: u32 = 500;

/// Of so many rows a dry run shows what would be sent.
const SAMPLES: usize = 3;

/// The book, used where rows are made ready and where they are answered for.
type Desk<'b, 's> = Mutex<&'b mut Book<'s>>;

/// Sends the candidates.
pub(super) async fn send(
    book: &mut Book<'_>,
    way: &Way,
    people: Option<&People>,
) -> Result<(), Failure> {
    let terms = way.terms(false, BATCH_SIZE, LANES);
    let (hand, source) = mpsc::channel(AHEAD);
    let desk = Mutex::new(&mut *book);
    let mut receipts = AtDesk(&desk);
    let (fed, delivery) = tokio::join!(
        feed(&desk, people, way.stop.clone(), hand),
        deliver(&way.client, &terms, source, &mut receipts, way.stop.clone())
    );
    let Delivery { halt, meter, .. } = delivery;
    book.told.requests += meter.requests() + people.map_or(0, People::take_requests);
    if let Some(halt) = halt {
        return Err(way.halted(&halt, &Rest::InSource));
    }
    fed?;
    move_mark(book);
    book.end()
}

/// Counts what would be sent, and shows some of it.
pub(super) async fn foresee(book: &mut Book<'_>, people: Option<&People>) -> Result<(), Failure> {
    let desk = Mutex::new(&mut *book);
    let mut after = 0;
    while let Some(candidates) = next(&desk, &mut after)? {
        for (candidate, drafts) in meant(&desk, people, candidates).await? {
            let mut book = at(&desk);
            match candidate.lot {
                Lot::New => book.told.created += 1,
                Lot::Gone => book.told.unset += 1,
                _ => book.told.updated += 1,
            }
            if book.told.samples.len() < SAMPLES {
                let draft = drafts.into_iter().next().unwrap_or_default();
                book.told.samples.push(shown(&Candidate { draft, ..candidate }));
            }
        }
    }
    book.told.requests += people.map_or(0, People::take_requests);
    Ok(())
}

/// A mark moves only past rows that were taken: those below it are not read again.
fn move_mark(book: &mut Book<'_>) {
    let Some(mark) = book.next_mark.take() else { return };
    if book.told.failed + book.told.invalid + book.told.not_found == 0 {
        book.known().mark = Some(mark);
        return;
    }
    let note = "not all rows were taken: the next run reads from the same mark again";
    book.told.notes.push(note.into());
}

struct AtDesk<'d, 'b, 's>(&'d Desk<'b, 's>);

impl Receipts for AtDesk<'_, '_, '_> {
    fn settle(&mut self, settled: Settled) -> Result<(), Unkept> {
        at(self.0).settle(settled)
    }
}

fn at<'d, 'b, 's>(desk: &'d Desk<'b, 's>) -> MutexGuard<'d, &'b mut Book<'s>> {
    desk.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes rows ready and hands them on, until there are no more or nobody takes them.
async fn feed(
    desk: &Desk<'_, '_>,
    people: Option<&People>,
    mut stop: watch::Receiver<Option<u8>>,
    hand: mpsc::Sender<Vec<Item>>,
) -> Result<(), Failure> {
    let mut after = 0;
    while let Some(candidates) = next(desk, &mut after)? {
        let rows = tokio::select! {
            // What is not under way need not be: the delivery tells of the stop.
            biased;
            _ = stopped(&mut stop) => return Ok(()),
            rows = meant(desk, people, candidates) => rows?,
        };
        let now = Timestamp::now();
        let items = tokio::task::block_in_place(|| at(desk).prepare(rows, now))?;
        if hand.send(items).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}

/// The next candidates behind a number, which moves on.
fn next(desk: &Desk<'_, '_>, after: &mut i64) -> Result<Option<Vec<Candidate>>, Failure> {
    let read = || at(desk).with(|snapshot, _| snapshot.candidates(*after, HANDFUL));
    let candidates = tokio::task::block_in_place(read)?;
    let Some(last) = candidates.last() else { return Ok(None) };
    *after = last.number;
    Ok(Some(candidates))
}

/// What is sent for each row: nothing where its person is not there, or not known for certain.
async fn meant(
    desk: &Desk<'_, '_>,
    people: Option<&People>,
    candidates: Vec<Candidate>,
) -> Result<Vec<(Candidate, Vec<Draft>)>, Failure> {
    let person = at(desk).person();
    let found = match (person, people) {
        (Some(person), Some(people)) => people.find(person, &candidates).await?,
        _ => vec![Meant::Own; candidates.len()],
    };
    let mut rows = Vec::with_capacity(candidates.len());
    for (candidate, meant) in candidates.into_iter().zip(found) {
        let drafts = at(desk).drafts(&candidate, meant)?;
        if !drafts.is_empty() {
            rows.push((candidate, drafts));
        }
    }
    Ok(rows)
}

impl Book<'_> {
    fn drafts(&mut self, candidate: &Candidate, meant: Meant) -> Result<Vec<Draft>, Failure> {
        let draft = &candidate.draft;
        let updates_only =
            self.person().is_some_and(|person| person.behavior == PersonBehavior::UpdateOnly);
        Ok(match meant {
            Meant::Own => vec![draft.clone()],
            Meant::These(ids) => ids.into_iter().map(|id| to(draft, id)).collect(),
            Meant::Nobody if updates_only => {
                self.told.skipped += 1;
                self.told.not_found += 1;
                Vec::new()
            }
            Meant::Nobody => vec![self.of_new_person(candidate)],
            Meant::Several(ids) => {
                self.told.failed += 1;
                let reason = format!(
                    "{} persons have the email \"{}\": {}",
                    ids.len(),
                    candidate.text,
                    ids.join(", ")
                );
                let rejection = Rejection::new(Code::EmailAmbiguous, reason);
                let said = json!(draft.properties);
                self.reject((candidate.row, Some(&candidate.text)), &rejection, &said)?;
                Vec::new()
            }
        })
    }

    /// A person that is found by e-mail has to have one, or the next run would not find it.
    fn of_new_person(&self, candidate: &Candidate) -> Draft {
        let mut draft = candidate.draft.clone();
        let is_by_email =
            self.person().is_some_and(|person| matches!(person.by, FoundBy::Email { .. }));
        if is_by_email && let Some(Value::Object(set)) = draft.properties.get_mut("$set") {
            set.entry("email").or_insert_with(|| candidate.text.clone().into());
        }
        draft
    }
}

/// The same to another distinct id, with an identity of its own.
fn to(draft: &Draft, id: String) -> Draft {
    let identity = draft.id.as_ref().map(|identity| format!("{identity} to {id}"));
    Draft { id: identity, distinct_id: Some(id), ..draft.clone() }
}
