//! One answer on its way in: bytes to the splitter, finished batches onwards.
//!
//! Rows leave in batches of [`BATCH_BYTES`] while the answer still arrives, so that
//! neither a page's size nor a slow target makes memory grow. A [`Watch`] sees every
//! row first: it may drop it, or hold the last ones back until the page is judged.

use tokio::sync::mpsc;

use super::{Answer, Delivery};
use crate::http::{BadBody, Intake, Stopped};
use crate::record::split::{Envelope, NotJson, RowView, Splitter, Verdict};

/// A batch this large keeps a target busy for milliseconds; smaller ones cost hand-overs and, in
/// PostgreSQL, statements, larger ones only memory.
const BATCH_BYTES: usize = 1 << 20;

/// Rows that have to wait for the end of their page may take so much memory.
const MOST_HELD: usize = 256 << 20;

/// What a way of paging looks at while rows pass.
pub(super) trait Watch: Send {
    /// An answer begins: what was seen of a broken one before it is void.
    fn restart(&mut self);

    /// A row passes.
    fn row(&mut self, row: RowView<'_>) -> Verdict;

    /// How many of the `waiting` rows may be handed on before the page is whole.
    fn ready(&self, waiting: usize) -> usize {
        waiting
    }

    /// The first `rows` of the rows that wait were handed on.
    fn handed_on(&mut self, _rows: usize) {}
}

/// Keeps every row and remembers nothing.
pub(super) struct KeepAll;

impl Watch for KeepAll {
    fn restart(&mut self) {}

    fn row(&mut self, _: RowView<'_>) -> Verdict {
        Verdict::Keep
    }
}

/// Where an answer's body goes.
pub(super) struct PageIntake<'a, W> {
    splitter: &'a mut Splitter,
    watch: &'a mut W,
    out: &'a mpsc::Sender<Delivery>,
    rows: u64,
    handed_on: bool,
    envelope: Envelope,
}

impl<'a, W: Watch> PageIntake<'a, W> {
    pub(super) fn new(
        splitter: &'a mut Splitter,
        watch: &'a mut W,
        out: &'a mpsc::Sender<Delivery>,
    ) -> Self {
        Self { splitter, watch, out, rows: 0, handed_on: false, envelope: Envelope::default() }
    }

    pub(super) fn into_answer(self) -> Answer {
        Answer { rows: self.rows, envelope: self.envelope }
    }
}

impl<W> PageIntake<'_, W> {
    /// Refuses a page whose rows have to wait and grow too large meanwhile.
    fn bears_waiting(&self) -> Result<(), BadBody> {
        match self.splitter.pending_bytes() > MOST_HELD && self.splitter.rows() > 1 {
            true => Err(BadBody::TooMuch(format!("a page of more than {MOST_HELD} bytes"))),
            false => Ok(()),
        }
    }
}

impl<W: Watch> Intake for PageIntake<'_, W> {
    async fn restart(&mut self) -> Result<(), Stopped> {
        self.splitter.restart();
        self.watch.restart();
        self.rows = 0;
        if std::mem::take(&mut self.handed_on) {
            self.out.send(Delivery::Abandon).await.map_err(|_| Stopped)?;
        }
        Ok(())
    }

    async fn take(&mut self, bytes: &[u8]) -> Result<(), BadBody> {
        let (watch, rows) = (&mut *self.watch, &mut self.rows);
        let fed = self.splitter.feed(bytes, &mut |row| {
            *rows += 1;
            watch.row(row)
        });
        fed.map_err(|NotJson(detail)| BadBody::NotJson(detail))?;
        if self.splitter.pending_bytes() < BATCH_BYTES {
            return Ok(());
        }
        let ready = self.watch.ready(self.splitter.rows());
        let (rows, batch) = self.splitter.cut(ready);
        if rows == 0 {
            return self.bears_waiting();
        }
        self.watch.handed_on(rows);
        let Some(batch) = batch else { return Ok(()) };
        crash_point!("a batch of an open page");
        self.handed_on = true;
        self.out.send(Delivery::Rows(batch)).await.map_err(|_| Stopped.into())
    }

    async fn finish(&mut self) -> Result<(), BadBody> {
        self.envelope =
            self.splitter.finish().map_err(|NotJson(detail)| BadBody::NotJson(detail))?;
        Ok(())
    }
}
