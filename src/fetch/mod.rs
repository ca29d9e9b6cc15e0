//! Reading a stream: from a walk to deliveries, page by page.
//!
//! Each way of paging is a file of its own and answers one question: what to ask
//! next, and when a walk is provably complete. Asking, splitting, handing on and
//! the guards against loops are here, once. A page's rows leave as [`Delivery::Rows`]
//! while it still arrives; [`Delivery::Page`] says that it is whole, and the next one
//! is asked for when it is durable. Nothing in here has heard of a target.

mod ahead;
mod audit;
mod chunks;
mod cursor;
mod describe;
mod estimate;
mod join;
mod keyset;
mod offset;
mod order;
mod page;
mod pairs;
mod projects;
mod sums;
mod time_window;
mod whole;
mod width;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::{mpsc, oneshot};

use crate::cursor::Leg;
use crate::http::{AskError, Client, Meter, Request};
use crate::record::batch::Batch;
use crate::record::split::{Envelope, Splitter};
use crate::schema::Schema;
use crate::spec::endpoint::{Paging, ReadPath};

use ahead::{Ahead, beside};
use page::{PageIntake, Watch};

pub use describe::columns_of;
pub(crate) use keyset::sql_request;
pub use projects::all_projects;
pub use sums::DaySum;

/// What a walk hands on.
#[derive(Debug)]
pub enum Delivery {
    /// A walk begins.
    Begin {
        /// The walk.
        leg: Leg,
        /// The way of reading it is made in.
        path: String,
    },
    /// Rows of the page in hand.
    Rows(Batch),
    /// The page in hand is whole.
    Page {
        /// The key of the row after which a walk may go on.
        at: Option<Vec<String>>,
        /// Hears that the page is durable.
        committed: oneshot::Sender<()>,
    },
    /// The page in hand broke off and will come again: its rows are void.
    Abandon,
    /// The walk is provably complete.
    EndLeg {
        /// How many questions it took.
        requests: u64,
    },
    /// Every walk of the run is complete.
    EndRun,
}

/// Why a walk stopped.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// PostHog could not be asked, or refused.
    #[error("{source}")]
    Ask {
        /// The request, fit to be shown.
        request: String,
        /// What became of it.
        source: AskError,
    },
    /// PostHog answered, but not as its contract says: completeness cannot be proven.
    #[error("{detail}")]
    Contract {
        /// The request, fit to be shown.
        request: String,
        /// What is wrong with the answer.
        detail: String,
    },
    /// The target's side is gone; it has its own error to tell.
    #[error("the target stopped")]
    Stopped,
}

impl FetchError {
    /// Whether this way of reading is not open to us, so that another one may be tried.
    pub fn is_closed_door(&self) -> bool {
        let Self::Ask { source, .. } = self else { return false };
        matches!(
            source,
            AskError::MissingScope { .. }
                | AskError::Forbidden { .. }
                | AskError::NotFound { .. }
                | AskError::PaymentRequired { .. }
                | AskError::Refused { .. }
                | AskError::Unavailable { status: Some(500), .. }
        )
    }

    /// Whether PostHog failed at the question, instead of refusing it.
    pub fn is_fault(&self) -> bool {
        matches!(self, Self::Ask { source: AskError::Unavailable { .. }, .. })
    }

    /// Whether a parameter has a value that this server's age does not know.
    fn is_unknown_choice(&self) -> bool {
        let Self::Ask { source: AskError::Refused { status: 400, code, .. }, .. } = self else {
            return false;
        };
        code.as_deref() == Some("invalid_choice")
    }

    /// Whether the question itself is refused: it has something that this server does not know.
    fn is_refusal(&self) -> bool {
        matches!(self, Self::Ask { source: AskError::Refused { status: 400, .. }, .. })
    }

    /// Whether a smaller question might be answered.
    fn asks_too_much(&self) -> bool {
        matches!(self, Self::Ask { source: AskError::TooMuch { .. }, .. })
    }
}

/// What became known of the server's SQL, shared by all streams of a connection.
#[derive(Debug)]
pub struct SqlDialect {
    /// Whether it accepts `modifiers`; servers of 2023 refuse a query that has them.
    modifiers: AtomicBool,
    /// Whether it knows the functions that chunks are cut by; servers of 2023 do not.
    hashes: AtomicBool,
    /// The most rows that an answer had: the server lowers no `LIMIT` below this.
    shown: AtomicU64,
    /// The `LIMIT` to which the server lowers any larger one, as far as it was met.
    cap: AtomicU64,
    /// Whether the log says already that SQL is not open to us.
    told: AtomicBool,
    /// Whether it answered a question, so that it is open to us.
    answered: AtomicBool,
}

impl Default for SqlDialect {
    fn default() -> Self {
        Self {
            modifiers: AtomicBool::new(true),
            hashes: AtomicBool::new(true),
            shown: AtomicU64::new(0),
            cap: AtomicU64::new(u64::MAX),
            told: AtomicBool::new(false),
            answered: AtomicBool::new(false),
        }
    }
}

/// Reads one stream in one way.
pub struct Reader<'a> {
    client: &'a Client,
    meter: &'a Meter,
    project: &'a str,
    path: &'a ReadPath,
    dialect: &'a SqlDialect,
    splitter: Splitter,
    out: mpsc::Sender<Delivery>,
    among: Option<Among>,
    /// The question that will follow the next one, as far as can be foreseen.
    foreseen: Option<Request>,
    /// The question that was put before its turn.
    ahead: Option<Ahead<'a>>,
    asked: u64,
    delivered: bool,
}

/// Rows that are named by a value each.
#[derive(Debug, Clone)]
pub struct Among {
    /// The column.
    pub column: String,
    /// Its values; few enough for one question.
    pub values: Vec<String>,
}

/// An answer whose rows are split; the last of them may still be in the splitter.
struct Answer {
    /// All rows it had, also those that were dropped.
    rows: u64,
    envelope: Envelope,
}

/// What a reader reads with.
pub struct Source<'a> {
    /// The connection.
    pub client: &'a Client,
    /// Counts what this stream costs.
    pub meter: &'a Meter,
    /// The project's id.
    pub project: &'a str,
    /// What is known of the server's SQL.
    pub dialect: &'a SqlDialect,
}

impl<'a> Reader<'a> {
    /// Makes ready to read in the way of `path`, cutting rows to `schema`.
    pub fn new(
        source: &Source<'a>,
        path: &'a ReadPath,
        schema: &Arc<Schema>,
        selects_all: bool,
        out: mpsc::Sender<Delivery>,
    ) -> Self {
        let placement = path.placement(schema, selects_all);
        let splitter = Splitter::new(path.layout.clone(), placement, Arc::clone(schema));
        let splitter = splitter.sorting(&path.sorted);
        let Source { client, meter, project, dialect } = *source;
        Self {
            client,
            meter,
            project,
            path,
            dialect,
            splitter,
            out,
            among: None,
            foreseen: None,
            ahead: None,
            asked: 0,
            delivered: false,
        }
    }

    /// Asks in SQL for these rows alone.
    #[must_use]
    pub fn only(mut self, among: Among) -> Self {
        self.among = Some(among);
        self
    }

    /// Walks one leg to its proven end, from `at` where an earlier run stood.
    ///
    /// # Errors
    /// When PostHog cannot be asked, refuses, or breaks its contract. What was handed on
    /// with a [`Delivery::Page`] stays true.
    pub async fn walk(&mut self, leg: Leg, at: Option<Vec<String>>) -> Result<(), FetchError> {
        self.asked = 0;
        self.send(Delivery::Begin { leg, path: self.path.name.clone() }).await?;
        match (&self.path.paging, leg) {
            (Paging::Whole, _) => self.walk_whole().await?,
            (Paging::Offset(offset), Leg::List { since }) => {
                self.walk_offset(offset, since).await?;
            }
            (Paging::TimeWindow(window), Leg::Range { range, .. }) => {
                self.walk_time_window(window, range, at).await?;
            }
            (Paging::Cursor(window), Leg::Range { range, .. }) => {
                self.walk_cursor(window, range, at).await?;
            }
            (Paging::Keyset(keyset), leg) => self.walk_keyset(keyset, leg, at).await?,
            (_, leg) => {
                let detail = format!("the spec offers no way to read {leg:?}");
                return Err(self.contract(&Request::get(self.url(), &[]), detail));
            }
        }
        self.send(Delivery::EndLeg { requests: self.asked }).await
    }

    /// Whether any page was whole so far.
    pub fn has_delivered(&self) -> bool {
        self.delivered
    }

    /// The columns, as far as the answers so far showed them.
    pub fn schema(&self) -> &Arc<Schema> {
        self.splitter.schema()
    }

    fn url(&self) -> String {
        self.path.url.replace("{project_id}", self.project)
    }

    /// A request with the path's own parameters; those in `over` replace or follow them.
    fn list_request(&self, over: Vec<(String, String)>) -> Request {
        let mut request = Request::get(self.url(), &self.path.quota);
        let replaced = |name: &str| over.iter().any(|(other, _)| other == name);
        let fixed = self.path.params.iter().filter(|(name, _)| !replaced(name)).cloned();
        request.query.extend(fixed);
        request.query.extend(over);
        request
    }

    /// Asks one question; rows go through `watch` and on as they come.
    async fn ask<W: Watch>(
        &mut self,
        request: &Request,
        watch: &mut W,
    ) -> Result<Answer, FetchError> {
        self.asked += 1;
        let foreseen = self.foreseen.take();
        let (begun, aside) = match self.ahead.take() {
            Some(ahead) if ahead.is(request) => (ahead.answer().await, None),
            Some(ahead) if foreseen.as_ref().is_some_and(|next| ahead.is(next)) => {
                (None, Some(ahead.aside().await))
            }
            // What was foreseen did not come true.
            _ => (None, None),
        };
        let put = |next| Ahead::new(self.client, self.meter, next);
        self.ahead = aside.or_else(|| foreseen.map(put));
        let mut intake = PageIntake::new(&mut self.splitter, watch, &self.out);
        let asking = self.client.ask_on(request, &mut intake, self.meter, begun);
        let asked = beside(&mut self.ahead, asking).await;
        let answer = intake.into_answer();
        match asked {
            Ok(_) => Ok(answer),
            Err(AskError::Stopped) => Err(FetchError::Stopped),
            Err(source) => {
                self.send(Delivery::Abandon).await?;
                Err(FetchError::Ask { request: self.client.describe(request), source })
            }
        }
    }

    /// Hands on the rows that still wait, and returns once the page is durable: a crash
    /// repeats the page in hand and no other. Its rows were written while they came, so
    /// little is left to wait for.
    async fn deliver(&mut self, at: Option<Vec<String>>) -> Result<(), FetchError> {
        if let (_, Some(batch)) = self.splitter.cut(usize::MAX) {
            self.send(Delivery::Rows(batch)).await?;
        }
        self.delivered = true;
        crash_point!("a page is in");
        let (committed, durable) = oneshot::channel();
        self.send(Delivery::Page { at, committed }).await?;
        beside(&mut self.ahead, durable).await.map_err(|_| FetchError::Stopped)
    }

    async fn send(&self, delivery: Delivery) -> Result<(), FetchError> {
        self.out.send(delivery).await.map_err(|_| FetchError::Stopped)
    }

    fn contract(&self, request: &Request, detail: impl Into<String>) -> FetchError {
        FetchError::Contract { request: self.client.describe(request), detail: detail.into() }
    }
}

impl SqlDialect {
    /// Logs that a way of reading is not open to us; of SQL once for all streams.
    pub fn tell_once(&self, path: &ReadPath, err: &FetchError, next: &ReadPath) {
        if !path.is_sql() || !self.told.swap(true, Ordering::Relaxed) {
            tracing::info!("cannot read by `{}` ({err}): reading by `{}`", path.name, next.name);
        }
    }

    /// Whether it answered any question so far.
    pub(crate) fn has_answered(&self) -> bool {
        self.answered.load(Ordering::Relaxed)
    }

    fn note_answer(&self) {
        self.answered.store(true, Ordering::Relaxed);
    }

    fn has_modifiers(&self) -> bool {
        self.modifiers.load(Ordering::Relaxed)
    }

    fn has_hashes(&self) -> bool {
        self.hashes.load(Ordering::Relaxed)
    }

    fn forget_hashes(&self) {
        self.hashes.store(false, Ordering::Relaxed);
    }

    /// Notes that an answer had so many rows; tells the most that one had before.
    fn has_shown(&self, rows: u64) -> u64 {
        self.shown.fetch_max(rows, Ordering::Relaxed)
    }

    /// Notes that an answer was cut after so many rows.
    fn was_cut_at(&self, rows: u64) {
        self.cap.fetch_min(rows.max(1), Ordering::Relaxed);
    }

    fn cap(&self) -> u64 {
        self.cap.load(Ordering::Relaxed)
    }

    fn forget_modifiers(&self) {
        self.modifiers.store(false, Ordering::Relaxed);
    }
}
