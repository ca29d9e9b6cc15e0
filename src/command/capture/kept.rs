//! Sending by way of the outbox: accepted first, and delivered from there.

use std::path::{Path, PathBuf};

use tokio::sync::mpsc;

use super::{Rest, Way};
use crate::cursor::Timestamp;
use crate::error::{Exit, Failure};
use crate::http::Answered;
use crate::send::deliver::{Delivery, Halt, Terms, deliver};
use crate::send::event::Sealed;
use crate::send::outbox::{Accepted, Destination, MOST_BYTES, Outbox, OutboxError};
use crate::state::lock::{Lock, LockError};

/// What an outbox delivers in one request, and how many at once.
const BATCH_SIZE: u32 = 1000;
const LANES: u8 = 4;

/// Handfuls of events between the outbox and the lanes.
const AHEAD: usize = 2;

/// The outbox of a state folder, beside the state.
pub(in crate::command) fn outbox_file(state: &Path) -> PathBuf {
    super::super::run::state_file(state).with_file_name("outbox.db")
}

/// What to say where the outbox cannot do what was asked.
pub(in crate::command) fn outbox_unusable(err: &OutboxError) -> Failure {
    let (fix, exit) = match err {
        OutboxError::Full { .. } => {
            ("deliver what waits: run hogline outbox retry", Exit::ComeBack)
        }
        OutboxError::Unusable { hint, .. } => (*hint, Exit::Target),
    };
    Failure {
        what: "the events were not accepted into the outbox".into(),
        cause: err.to_string(),
        fix: fix.into(),
        exit,
    }
}

/// Takes events into the outbox.
pub(super) fn accept(
    path: &Path,
    to: &Destination,
    events: Vec<Sealed>,
    now: Timestamp,
) -> Result<Accepted, Failure> {
    let accept = || Outbox::open(path, MOST_BYTES)?.accept(to, &events, now);
    // SQLite may wait for the disk.
    tokio::task::block_in_place(accept).map_err(|err| outbox_unusable(&err))
}

/// What came of delivering from the outbox.
#[derive(Default)]
pub(in crate::command) struct Kept {
    pub(in crate::command) delivered: u64,
    pub(in crate::command) refused: u64,
    pub(in crate::command) requests: u64,
    pub(in crate::command) retries: u64,
    pub(in crate::command) answered: Option<Answered>,
    halt: Option<Halt>,
    /// Who delivers in our place.
    other: Option<String>,
}

impl Kept {
    /// How a command ends that delivered from the outbox.
    pub(in crate::command) fn exit(&self, way: &Way) -> Result<Exit, Failure> {
        if let Some(halt) = &self.halt {
            return Err(way.halted(halt, &Rest::InOutbox));
        }
        if let Some(other) = &self.other {
            return Err(Failure {
                what: "the events are safe in the outbox, and not known to be delivered".into(),
                cause: other.clone(),
                fix: "that run delivers them; where it ended meanwhile, run hogline outbox retry"
                    .into(),
                exit: Exit::ComeBack,
            });
        }
        if self.refused > 0 {
            return Err(Failure {
                what: format!("PostHog refused events: {}", self.refused),
                cause: "hogline outbox list says why; they stay in the outbox".into(),
                fix:
                    "send them again with hogline outbox retry --refused, or throw them away with \
                      hogline outbox purge"
                        .into(),
                exit: Exit::Partly,
            });
        }
        Ok(Exit::Complete)
    }

    /// Adds what came of another delivery after this one.
    pub(in crate::command) fn add(&mut self, later: Self) {
        self.delivered += later.delivered;
        self.refused += later.refused;
        self.requests += later.requests;
        self.retries += later.retries;
        self.answered = later.answered.or(self.answered.take());
        self.halt = later.halt.or(self.halt.take());
        self.other = later.other.or(self.other.take());
    }

    /// Whether nothing more can be delivered now.
    pub(in crate::command) fn is_stuck(&self) -> bool {
        self.halt.is_some() || self.other.is_some()
    }
}

/// Delivers what waits in the outbox for a way's project.
pub(super) async fn deliver_kept(
    path: &Path,
    way: &Way,
    historical: bool,
) -> Result<Kept, Failure> {
    let terms = way.terms(historical, BATCH_SIZE, LANES);
    deliver_waiting(path, way, &terms).await
}

/// The same, on these terms.
pub(in crate::command) async fn deliver_waiting(
    path: &Path,
    way: &Way,
    terms: &Terms,
) -> Result<Kept, Failure> {
    let _lock = match Lock::take(path) {
        Ok(lock) => lock,
        Err(held @ LockError::Held { .. }) => {
            return Ok(Kept { other: Some(held.to_string()), ..Kept::default() });
        }
        Err(err) => return Err(super::super::run::locked(&err)),
    };
    let open = || Ok((Outbox::open(path, MOST_BYTES)?, Outbox::open(path, MOST_BYTES)?));
    let opened = tokio::task::block_in_place(open);
    let (from, mut receipts) = opened.map_err(|err| outbox_unusable(&err))?;
    let (hand, source) = mpsc::channel(AHEAD);
    let to = way.destination(terms.envelope.historical);
    let feeding = tokio::task::spawn_blocking(move || feed(&from, &to, &hand));
    let delivery = deliver(&way.client, terms, source, &mut receipts, way.stop.clone()).await;
    // Nobody takes any more: it ends.
    let fed = feeding.await.expect("reading the outbox does not panic");
    fed.map_err(|err| outbox_unusable(&err))?;
    let Delivery { delivered, refused, halt, answered, meter, .. } = delivery;
    let (requests, retries) = (meter.requests(), meter.retries());
    Ok(Kept { delivered, refused, requests, retries, answered, halt, other: None })
}

/// Hands on what waits, in its order, until there is no more or nobody takes it.
fn feed(
    from: &Outbox,
    to: &Destination,
    hand: &mpsc::Sender<Vec<crate::send::batch::Item>>,
) -> Result<(), OutboxError> {
    let mut after = 0;
    loop {
        let items = from.next(to, after)?;
        let Some(last) = items.last() else { return Ok(()) };
        after = last.number;
        if hand.blocking_send(items).is_err() {
            return Ok(());
        }
    }
}
