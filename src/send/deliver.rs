//! From events to PostHog's answers: batches, lanes, and what is done about a refusal.
//!
//! Events are dealt to *lanes* by their distinct id, and each lane has one batch under way: so the
//! events of one person arrive in their order, whatever is repeated, and others need not wait. A
//! lane's batch goes when it is full or its oldest event has waited long enough. While any lane is
//! full no more events are taken: memory is bounded by the lanes.
//!
//! A batch that PostHog refuses is halved until the event is alone that it refuses (400: the whole
//! batch is refused for one; 413: it is too large, and part of it may be in already, which the same
//! uuids make harmless). Everything else that is not mended by waiting ends the delivery: what is
//! open then is told, and nothing is taken for delivered that PostHog has not answered for.
//!
//! Where events come from, and where it is kept what became of them, others know.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::batch::{Envelope, Item, first_batch, is_full};
use super::rules::{Code, Rejection};
use crate::http::{Answered, AskError, Capture, Meter};

/// Where batches are posted.
pub const BATCH: &str = "/batch/";

/// A batch of so many events, all of which are refused, is no chance: the server is another than
/// we think, and the rest would be refused as well.
const ALL_REFUSED: usize = 8;

/// How long a request under way may take once the process was asked to stop.
const TO_STOP: Duration = Duration::from_secs(10);

/// How often it is told how far a delivery has come.
const NEWS: Duration = Duration::from_secs(30);

/// How events are sent.
#[derive(Debug, Clone)]
pub struct Terms {
    /// What every body says.
    pub envelope: Envelope,
    /// The most events in a batch.
    pub batch_size: usize,
    /// How long an event waits for others to go with it.
    pub age: Duration,
    /// How many batches are under way at once.
    pub lanes: usize,
}

/// What became of a batch.
#[derive(Debug, Default)]
pub struct Settled {
    /// PostHog has these.
    pub delivered: Vec<Item>,
    /// PostHog refused these, each alone.
    pub refused: Vec<(Item, Rejection)>,
}

/// Keeps what became of events. A batch is settled once, in any order of batches.
pub trait Receipts {
    /// Keeps it durably.
    ///
    /// # Errors
    ///
    /// It cannot be kept: nothing more is sent.
    fn settle(&mut self, settled: Settled) -> Result<(), Unkept>;
}

/// Why it cannot be kept what became of events.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unkept(pub String);

/// Why a delivery ended before all was delivered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Halt {
    /// PostHog did not take a batch.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// What became of a batch could not be kept.
    #[error(transparent)]
    Unkept(#[from] Unkept),
    /// The process was asked to stop, by this signal.
    #[error("stopped by signal {0}")]
    Stopped(u8),
}

/// How a delivery ended.
#[derive(Debug, Default)]
pub struct Delivery {
    /// Events that PostHog has.
    pub delivered: u64,
    /// Events that PostHog refused.
    pub refused: u64,
    /// The lowest number of those taken whose end is not known.
    pub open_from: Option<i64>,
    /// Why it ended early.
    pub halt: Option<Halt>,
    /// What PostHog said last.
    pub answered: Option<Answered>,
    /// What it cost.
    pub meter: Arc<Meter>,
}

/// Sends what `source` brings, until it ends or something ends the delivery.
pub async fn deliver<R: Receipts>(
    capture: &Capture,
    terms: &Terms,
    source: mpsc::Receiver<Vec<Item>>,
    receipts: &mut R,
    stop: watch::Receiver<Option<u8>>,
) -> Delivery {
    let lanes = (0..terms.lanes.max(1)).map(|_| Lane::default()).collect();
    let course = Course {
        capture,
        terms,
        lanes,
        posts: JoinSet::new(),
        receipts,
        ended: Delivery::default(),
    };
    course.run(source, stop).await
}

/// What of one lane is not settled.
#[derive(Default)]
struct Lane {
    waiting: VecDeque<Item>,
    bytes: usize,
    /// Since when the oldest waits.
    since: Option<Instant>,
    /// The number of the first event under way.
    under_way: Option<i64>,
}

impl Lane {
    fn push(&mut self, item: Item) {
        self.since.get_or_insert_with(Instant::now);
        self.bytes += item.event.json.len();
        self.waiting.push_back(item);
    }

    fn is_full(&self, terms: &Terms) -> bool {
        is_full(self.waiting.len(), self.bytes, terms.batch_size)
    }

    /// When its batch goes if nothing more comes.
    fn due(&self, terms: &Terms) -> Option<Instant> {
        self.since.filter(|_| self.under_way.is_none()).map(|since| since + terms.age)
    }

    /// Takes the first batch out.
    fn take(&mut self, terms: &Terms) -> Vec<Item> {
        let count = first_batch(self.waiting.make_contiguous(), terms.batch_size);
        let batch: Vec<Item> = self.waiting.drain(..count).collect();
        self.bytes -= batch.iter().map(|item| item.event.json.len()).sum::<usize>();
        self.since = (!self.waiting.is_empty()).then(Instant::now);
        self.under_way = batch.first().map(|item| item.number);
        batch
    }

    fn open_from(&self) -> Option<i64> {
        self.under_way.into_iter().chain(self.waiting.front().map(|item| item.number)).min()
    }
}

/// A delivery under way.
struct Course<'a, R> {
    capture: &'a Capture,
    terms: &'a Terms,
    lanes: Vec<Lane>,
    posts: JoinSet<Posted>,
    receipts: &'a mut R,
    ended: Delivery,
}

impl<R: Receipts> Course<'_, R> {
    async fn run(
        mut self,
        mut source: mpsc::Receiver<Vec<Item>>,
        mut stop: watch::Receiver<Option<u8>>,
    ) -> Delivery {
        let mut is_open = true;
        let mut news = tokio::time::interval_at(Instant::now() + NEWS, NEWS);
        loop {
            if self.ended.halt.is_none() {
                self.start(!is_open);
            }
            let is_idle = self.posts.is_empty();
            if is_idle && (!is_open || self.ended.halt.is_some()) {
                break;
            }
            let takes = is_open && self.ended.halt.is_none() && self.has_room();
            let due = self.lanes.iter().filter_map(|lane| lane.due(self.terms)).min();
            tokio::select! {
                // A stop wins: what is under way is waited for, nothing more begins.
                biased;
                signal = stopped(&mut stop), if self.ended.halt.is_none() => {
                    self.ended.halt = Some(Halt::Stopped(signal));
                    self.finish().await;
                    break;
                }
                Some(posted) = self.posts.join_next() => self.settle(posted),
                items = source.recv(), if takes => match items {
                    Some(items) => self.deal(items),
                    None => is_open = false,
                },
                () = until(due), if due.is_some() && self.ended.halt.is_none() => {}
                _ = news.tick() => tracing::info!("{} events delivered so far", self.ended.delivered),
            }
        }
        self.ended.open_from = self.lanes.iter().filter_map(Lane::open_from).min();
        self.ended
    }

    /// Whether no lane is full: then memory bears another handful of events.
    fn has_room(&self) -> bool {
        !self.lanes.iter().any(|lane| lane.is_full(self.terms))
    }

    fn deal(&mut self, items: Vec<Item>) {
        let lanes = self.lanes.len() as u64;
        for item in items {
            let mut hasher = DefaultHasher::new();
            item.event.distinct_id.hash(&mut hasher);
            // Less than their number, which is small.
            let lane = (hasher.finish() % lanes) as usize;
            self.lanes[lane].push(item);
        }
    }

    /// Posts what is ready in lanes with nothing under way; `all` that waits at the end.
    fn start(&mut self, all: bool) {
        let now = Instant::now();
        for (at, lane) in self.lanes.iter_mut().enumerate() {
            let is_due = lane.due(self.terms).is_some_and(|due| due <= now);
            let is_ready = all || is_due || lane.is_full(self.terms);
            if lane.under_way.is_some() || lane.waiting.is_empty() || !is_ready {
                continue;
            }
            let batch = lane.take(self.terms);
            let (capture, envelope) = (self.capture.clone(), self.terms.envelope.clone());
            let meter = Arc::clone(&self.ended.meter);
            self.posts.spawn(async move { post(at, &capture, &envelope, batch, &meter).await });
        }
    }

    fn settle(&mut self, posted: Result<Posted, tokio::task::JoinError>) {
        let posted = posted.expect("a post neither panics nor is aborted while it is waited for");
        let Posted { lane, settled, answered, error } = posted;
        self.ended.delivered += settled.delivered.len() as u64;
        self.ended.refused += settled.refused.len() as u64;
        let kept = self.receipts.settle(settled);
        self.ended.answered = answered.or(self.ended.answered.take());
        if error.is_none() && kept.is_ok() {
            self.lanes[lane].under_way = None;
        }
        let halt = kept.map_err(Halt::from).and(error.map_or(Ok(()), |error| Err(error.into())));
        if let Err(halt) = halt {
            self.ended.halt.get_or_insert(halt);
        }
    }

    /// Waits for what is under way, for a while.
    async fn finish(&mut self) {
        let deadline = Instant::now() + TO_STOP;
        while let Ok(Some(posted)) = tokio::time::timeout_at(deadline, self.posts.join_next()).await
        {
            self.settle(posted);
        }
    }
}

/// What became of a lane's batch.
struct Posted {
    lane: usize,
    settled: Settled,
    answered: Option<Answered>,
    /// Why the rest of it is open.
    error: Option<AskError>,
}

/// Posts a batch, halving what is refused.
async fn post(
    lane: usize,
    capture: &Capture,
    envelope: &Envelope,
    batch: Vec<Item>,
    meter: &Meter,
) -> Posted {
    let mut posted = Posted { lane, settled: Settled::default(), answered: None, error: None };
    let mut parts = vec![batch];
    while let Some(mut part) = parts.pop() {
        // Packing takes the processor for a while.
        let body = tokio::task::block_in_place(|| envelope.around(&part));
        match capture.post(BATCH, &body, meter).await {
            Ok(answered) => {
                posted.answered = Some(answered);
                posted.settled.delivered.append(&mut part);
            }
            Err(AskError::Refused { status: 400 | 413, .. }) if part.len() > 1 => {
                let second = part.split_off(part.len() / 2);
                // The first half goes first: events keep their order.
                parts.extend([second, part]);
            }
            Err(AskError::Refused { status: status @ (400 | 413), detail, .. }) => {
                let code = if status == 413 { Code::TooLarge } else { Code::Refused };
                let rejection =
                    Rejection::new(code, format!("PostHog answered {status}: {detail}"));
                posted
                    .settled
                    .refused
                    .extend(part.into_iter().map(|item| (item, rejection.clone())));
            }
            Err(error) => {
                posted.error = Some(error);
                return posted;
            }
        }
    }
    let Settled { delivered, refused } = &mut posted.settled;
    if delivered.is_empty() && refused.len() >= ALL_REFUSED {
        let (_, rejection) = &refused[0];
        let detail = format!("every event of a batch was refused: {}", rejection.reason);
        posted.error = Some(AskError::Contract { detail });
        refused.clear();
    }
    posted
}

/// The signal that asks the process to stop, once it comes.
async fn stopped(stop: &mut watch::Receiver<Option<u8>>) -> u8 {
    match stop.wait_for(Option::is_some).await.map(|signal| *signal) {
        Ok(Some(signal)) => signal,
        // Nobody can ask any more.
        _ => std::future::pending().await,
    }
}

async fn until(due: Option<Instant>) {
    if let Some(due) = due {
        tokio::time::sleep_until(due).await;
    }
}
