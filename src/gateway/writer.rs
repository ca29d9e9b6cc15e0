//! The one who writes the outbox: many callers, one sync of the disk.
//!
//! Requests hand their events to a thread of its own. While it waits for the disk others queue up,
//! and all that queued goes with the next sync: a group is as large as the disk is slow. A caller
//! hears of its events when they are on the disk, not before. What became of deliveries is marked
//! by the same thread, so that nobody waits for a lock.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{Notify, mpsc, oneshot};

use super::recent::Recent;
use crate::cursor::Timestamp;
use crate::send::deliver::{Receipts, Settled, Unkept};
use crate::send::event::Sealed;
use crate::send::outbox::{Accepted, Destination, Outbox, OutboxError};

/// How many orders may queue; callers beyond wait.
const QUEUE: usize = 1024;

/// The most events in a group: about a tenth of a second's work.
const LARGEST_GROUP: usize = 10_000;

/// What the writer is asked to do, and whom to tell when it is done.
enum Order {
    Accept(Parcel),
    Settle(Settled, oneshot::Sender<Result<(), Unkept>>),
}

/// One caller's events: taken together or not at all.
struct Parcel {
    /// The place of their destination.
    to: usize,
    events: Vec<Sealed>,
    answer: oneshot::Sender<Result<Accepted, OutboxError>>,
}

/// The way to the writer. When the last one is gone, its thread ends.
#[derive(Clone)]
pub(super) struct Writer {
    orders: mpsc::Sender<Order>,
}

impl Writer {
    /// Starts to write for these destinations, each with whoever waits for its events.
    ///
    /// # Errors
    ///
    /// The system has no thread for it.
    pub(super) fn start(
        outbox: Outbox,
        places: Vec<(Destination, Arc<Notify>)>,
    ) -> std::io::Result<Self> {
        let (orders, queue) = mpsc::channel(QUEUE);
        let pen = Pen { outbox, places, recent: Recent::new(Instant::now()) };
        // Nobody waits for its end: what it was asked for it has answered before.
        let thread = std::thread::Builder::new().name("outbox".into());
        thread.spawn(move || pen.work(queue)).map(|_| Self { orders })
    }

    /// Takes a caller's events; when this returns they are on the disk, or were before.
    ///
    /// # Errors
    ///
    /// There is no room, or the outbox cannot be written; then none of them is taken.
    pub(super) async fn accept(
        &self,
        to: usize,
        events: Vec<Sealed>,
    ) -> Result<Accepted, OutboxError> {
        let (answer, answered) = oneshot::channel();
        let order = Order::Accept(Parcel { to, events, answer });
        self.orders.send(order).await.expect("the writer lives as long as somebody asks it");
        answered.await.expect("the writer answers every order")
    }

    /// Notes what became of events.
    fn note(&self, settled: Settled) -> Result<(), Unkept> {
        let (answer, answered) = oneshot::channel();
        let order = Order::Settle(settled, answer);
        self.orders.blocking_send(order).expect("the writer lives as long as somebody asks");
        answered.blocking_recv().expect("the writer answers every order")
    }
}

impl Receipts for Writer {
    fn settle(&mut self, settled: Settled) -> Result<(), Unkept> {
        tokio::task::block_in_place(|| self.note(settled))
    }
}

/// What the thread has in its hands.
struct Pen {
    outbox: Outbox,
    places: Vec<(Destination, Arc<Notify>)>,
    recent: Recent,
}

impl Pen {
    fn work(mut self, mut queue: mpsc::Receiver<Order>) {
        while let Some(order) = queue.blocking_recv() {
            let (mut parcels, mut settled, mut events) = (Vec::new(), Vec::new(), 0);
            let mut next = Some(order);
            while let Some(order) = next {
                match order {
                    Order::Accept(parcel) => {
                        events += parcel.events.len();
                        parcels.push(parcel);
                    }
                    Order::Settle(what, answer) => settled.push((what, answer)),
                }
                next = (events < LARGEST_GROUP).then(|| queue.try_recv().ok()).flatten();
            }
            // First: it makes room.
            for (what, answer) in settled {
                // Whoever does not wait any more needs no answer.
                drop(answer.send(self.outbox.settle(what)));
            }
            if !parcels.is_empty() {
                self.accept(parcels);
            }
        }
    }

    fn accept(&mut self, mut parcels: Vec<Parcel>) {
        let known: Vec<u64> =
            parcels.iter_mut().map(|parcel| self.leave_out_known(parcel)).collect();
        let group: Vec<(&Destination, &[Sealed])> = parcels
            .iter()
            .map(|parcel| (&self.places[parcel.to].0, parcel.events.as_slice()))
            .collect();
        let taken = match self.outbox.accept_each(&group, Timestamp::now()) {
            Ok(taken) => taken,
            Err(err) => vec![Err(err); parcels.len()],
        };
        for ((parcel, taken), known) in parcels.into_iter().zip(taken).zip(known) {
            let taken = taken.map(|Accepted { added, known: waiting }| {
                self.note(&parcel, added);
                Accepted { added, known: known + waiting }
            });
            drop(parcel.answer.send(taken));
        }
    }

    /// Leaves out what was taken lately; tells how many.
    fn leave_out_known(&self, parcel: &mut Parcel) -> u64 {
        let before = parcel.events.len();
        parcel.events.retain(|event| !self.recent.knows(parcel.to, event));
        (before - parcel.events.len()) as u64
    }

    fn note(&mut self, parcel: &Parcel, added: u64) {
        let now = Instant::now();
        for event in &parcel.events {
            self.recent.note(parcel.to, event, now);
        }
        if added > 0 {
            self.places[parcel.to].1.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::config::secret::Secret;

    fn event(n: u128) -> Sealed {
        Sealed {
            uuid: Uuid::from_u128(n),
            event: "e".into(),
            distinct_id: "u1".into(),
            json: format!("{{{n}}}").into(),
        }
    }

    /// A writer for one project, and the outbox that it writes.
    struct Scene {
        _folder: tempfile::TempDir,
        writer: Writer,
        to: Destination,
        seen: Outbox,
    }

    impl Scene {
        fn with_room(most: u64) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("outbox.db");
            let open = || Outbox::open(&path, most).unwrap();
            let token = Secret::new("phc_of_the_writer");
            let to = Destination::new("https://eu.i.posthog.com", &token, false);
            let writer = Writer::start(open(), vec![(to.clone(), Arc::default())]).unwrap();
            Self { seen: open(), _folder: folder, writer, to }
        }

        fn waiting(&self) -> Vec<Uuid> {
            let items = self.seen.next(&self.to, 0).unwrap();
            items.into_iter().map(|item| item.event.uuid).collect()
        }

        async fn take(&self, events: &[u128]) -> (u64, u64) {
            let events = events.iter().map(|n| event(*n)).collect();
            let Accepted { added, known } = self.writer.accept(0, events).await.unwrap();
            (added, known)
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_answered_for_is_in_the_outbox() {
        let scene = Scene::with_room(1 << 30);

        let calls = (0..50).map(|n| {
            let writer = scene.writer.clone();
            tokio::spawn(async move { writer.accept(0, vec![event(n)]).await.unwrap() })
        });
        for call in calls.collect::<Vec<_>>() {
            assert_eq!(call.await.unwrap(), Accepted { added: 1, known: 0 });
        }

        assert_eq!(scene.waiting().len(), 50);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_comes_twice_is_kept_once_delivered_or_not() {
        let scene = Scene::with_room(1 << 30);

        assert_eq!(scene.take(&[1, 2, 2]).await, (2, 1));
        let delivered = scene.seen.next(&scene.to, 0).unwrap();
        let mut receipts = scene.writer.clone();
        receipts.settle(Settled { delivered, refused: Vec::new() }).unwrap();
        assert!(scene.waiting().is_empty());

        assert_eq!(scene.take(&[1, 3]).await, (1, 1));
        assert_eq!(scene.waiting(), [Uuid::from_u128(3)]);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_found_no_room_is_not_taken_for_known() {
        let scene = Scene::with_room(60_000);
        let large = |n| Sealed { json: "x".repeat(50_000).into(), ..event(n) };

        let refused = scene.writer.accept(0, vec![large(1), event(2)]).await;

        assert!(matches!(refused, Err(OutboxError::Full { .. })), "{refused:?}");
        assert_eq!(scene.take(&[2]).await, (1, 0));
        assert_eq!(scene.waiting(), [Uuid::from_u128(2)]);
    }
}
