//! Delivery, for as long as the gateway runs: one courier for each project.
//!
//! A courier reads what waits in the outbox and hands it to a delivery, again and again. When the
//! delivery ends because PostHog does not take anything, the courier waits, longer each time, and
//! begins again with what is still in the outbox: nothing is given up. Once nobody brings anything
//! more it delivers what is left, and ends.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, watch};

use super::figures::Figures;
use super::writer::Writer;
use crate::http::Capture;
use crate::send::batch::Item;
use crate::send::deliver::{Halt, Receipts, Settled, Terms, Unkept, deliver};
use crate::send::outbox::{Destination, Outbox, OutboxError};

/// Handfuls of events between the outbox and the lanes.
const AHEAD: usize = 2;

/// How often the outbox is looked at unasked: other programs may accept into it, too.
const LOOK: Duration = Duration::from_secs(5);

/// The wait after a delivery that failed, the first time and at the longest.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Where one courier goes, and how.
pub(super) struct Courier {
    pub(super) name: String,
    /// The place of the destination.
    pub(super) place: usize,
    pub(super) to: Destination,
    pub(super) capture: Capture,
    pub(super) terms: Terms,
    /// Where the outbox is; it is only read here.
    pub(super) outbox: PathBuf,
    /// What is told of new events.
    pub(super) news: Arc<Notify>,
    pub(super) writer: Writer,
    pub(super) figures: Arc<Figures>,
}

impl Courier {
    /// Delivers until `is_last` turns true and nothing is left, or nothing can be delivered then.
    pub(super) async fn run(self, mut is_last: watch::Receiver<bool>) {
        let mut wait = FIRST_WAIT;
        loop {
            let mut round = Round {
                writer: self.writer.clone(),
                figures: Arc::clone(&self.figures),
                place: self.place,
                delivered: 0,
            };
            let Err(trouble) = self.round(&mut round, is_last.clone()).await else { return };
            self.figures.delivery_fails(self.place, true);
            if *is_last.borrow() {
                tracing::warn!(connection = self.name, "not all was delivered: {trouble}");
                return;
            }
            if round.delivered > 0 {
                wait = FIRST_WAIT;
            }
            tracing::error!(
                connection = self.name,
                "PostHog takes nothing, and what comes is kept: {trouble}; trying again in {}",
                crate::http::spell(wait)
            );
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                _ = is_last.wait_for(|is_last| *is_last) => {}
            }
            wait = (2 * wait).min(LONGEST_WAIT);
        }
    }

    /// Delivers what waits and what comes; an error says why that ended.
    async fn round(&self, round: &mut Round, is_last: watch::Receiver<bool>) -> Result<(), String> {
        let (hand, source) = mpsc::channel(AHEAD);
        // Nobody stops it by a signal: it ends when nothing more is brought.
        let (_nobody, stop) = watch::channel(None);
        let mut fed = Ok(());
        let feeding = async {
            fed = self.feed(hand, is_last).await;
            std::future::pending::<()>().await;
        };
        let ended = tokio::select! {
            ended = deliver(&self.capture, &self.terms, source, round, stop) => ended,
            () = feeding => unreachable!("it waits for the delivery"),
        };
        match (ended.halt, fed) {
            (Some(Halt::Ask(err)), _) => Err(err.to_string()),
            (Some(halt), _) => Err(halt.to_string()),
            (None, fed) => fed.map_err(|err| err.to_string()),
        }
    }

    /// Hands on what waits, in its order, until nobody takes it, or nothing waits and nothing
    /// comes any more.
    async fn feed(
        &self,
        hand: mpsc::Sender<Vec<Item>>,
        mut is_last: watch::Receiver<bool>,
    ) -> Result<(), OutboxError> {
        let read = || Outbox::open(&self.outbox, 0);
        let outbox = tokio::task::block_in_place(read)?;
        let mut after = 0;
        loop {
            // Known before it is looked: what was accepted last is seen.
            let is_end = *is_last.borrow_and_update();
            let items = tokio::task::block_in_place(|| outbox.next(&self.to, after))?;
            if let Some(last) = items.last() {
                after = last.number;
                if hand.send(items).await.is_err() {
                    return Ok(());
                }
            } else if is_end {
                return Ok(());
            } else {
                tokio::select! {
                    () = self.news.notified() => {}
                    _ = is_last.changed() => {}
                    () = tokio::time::sleep(LOOK) => {}
                }
            }
        }
    }
}

/// What becomes of the events of one delivery.
struct Round {
    writer: Writer,
    figures: Arc<Figures>,
    place: usize,
    delivered: usize,
}

impl Receipts for Round {
    fn settle(&mut self, settled: Settled) -> Result<(), Unkept> {
        self.figures.settled(&settled);
        if !settled.delivered.is_empty() {
            self.figures.delivery_fails(self.place, false);
            self.delivered += settled.delivered.len();
        }
        if let Some((item, rejection)) = settled.refused.first() {
            tracing::warn!(
                count = settled.refused.len(),
                uuid = %item.event.uuid,
                "PostHog refused events; they stay in the outbox: {rejection}"
            );
        }
        self.writer.settle(settled)
    }
}
