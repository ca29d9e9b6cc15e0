//! The running project: what it holds, its clock, and what happened to it.
//!
//! Everything that requests and tests share is here, each part under its own
//! lock, held briefly. The SQL store is a second picture of the events and
//! persons; whoever changes the data changes it too.

use std::collections::HashSet;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::answer::{Answer, Question};
use super::data::Data;
use super::data::event::Event;
use super::data::intake::Arrival;
use super::fault::Faults;
use super::list::View;
use super::sql::Sql;
use super::throttle::Throttle;
use super::time;
use super::{Asked, Options, held};
use crate::cursor::Timestamp;

/// Everything that requests and tests share.
#[derive(Debug)]
pub(super) struct Project {
    /// What is played.
    pub(super) options: Options,
    /// What there is.
    data: Mutex<Data>,
    /// The faults in force.
    pub(super) faults: Mutex<Faults>,
    /// The requests so far.
    pub(super) log: Mutex<Vec<Asked>>,
    /// Who has asked how much.
    pub(super) throttle: Mutex<Throttle>,
    /// Events that will not be persisted when they come next.
    pub(super) failing: Mutex<HashSet<Uuid>>,
    sql: Sql,
    started: Instant,
    /// Microseconds that tests let pass on top.
    ahead: AtomicI64,
    turn: AtomicU64,
}

impl Project {
    /// Makes a project.
    pub(super) fn new(options: Options) -> rusqlite::Result<Self> {
        let data = Data::new(&options);
        let sql = Sql::new(&options, &data)?;
        Ok(Self {
            options,
            data: Mutex::new(data),
            faults: Mutex::default(),
            log: Mutex::default(),
            throttle: Mutex::default(),
            failing: Mutex::default(),
            sql,
            started: Instant::now(),
            ahead: AtomicI64::new(0),
            turn: AtomicU64::new(0),
        })
    }

    /// The time at the server.
    pub(super) fn now(&self) -> Timestamp {
        let now = self.options.now.plus(self.started.elapsed());
        time::shift(now, self.ahead.load(Ordering::Relaxed))
    }

    /// Lets time pass.
    pub(super) fn advance(&self, span: Duration) {
        let micros = i64::try_from(span.as_micros()).unwrap_or(i64::MAX / 2);
        self.ahead.fetch_add(micros, Ordering::Relaxed);
    }

    /// Answers a question by looking at the data.
    pub(super) fn view<F>(&self, question: &Question, look: F) -> Result<Answer, Answer>
    where
        F: FnOnce(&View<'_>) -> Result<Answer, Answer>,
    {
        let data = self.data();
        look(&View {
            data: &data,
            question,
            now: self.now(),
            zone: self.options.timezone_offset_minutes,
            turn: self.turn.fetch_add(1, Ordering::Relaxed),
            event_cap: self.options.event_cap,
            is_old: self.options.old_sql,
            has_open_warnings: self.options.open_warnings,
        })
    }

    /// Answers an SQL query.
    pub(super) fn query(&self, question: &Question) -> Result<Answer, Answer> {
        // What is due is in the store before it is asked.
        drop(self.data());
        self.sql.answer(question, &self.options, self.now())
    }

    /// Takes in events that capture has let in.
    pub(super) fn take(&self, arrivals: Vec<Arrival>) {
        self.data().take(arrivals, self.now());
        // What need not wait is done at once.
        drop(self.data());
    }

    /// What there is, once what has become of events by now is in it.
    pub(super) fn data(&self) -> MutexGuard<'_, Data> {
        let mut data = held(&self.data);
        // Both under one lock: the SQL store follows in the order of the changes.
        if let Some(change) = data.ingest(&self.options, self.now())
            && self.options.sql
        {
            self.sql.change(&data, &change);
        }
        data
    }

    /// How many events more are within the plan.
    pub(super) fn room(&self) -> usize {
        let quota = self.options.event_quota.unwrap_or(usize::MAX);
        quota.saturating_sub(self.data().arrivals.len())
    }

    /// Whether an event is not to be persisted, this one time.
    pub(super) fn fails(&self, uuid: Uuid) -> bool {
        held(&self.failing).remove(&uuid)
    }

    /// Brings new events into the SQL store.
    pub(super) fn store(&self, events: &[Event]) {
        self.sql.insert_events(&self.data(), events);
    }

    /// Takes events out of the SQL store.
    pub(super) fn forget(&self, events: &[Event]) {
        self.sql.delete_events(events);
    }

    /// Shows the SQL store the persons anew, if that is what changed.
    pub(super) fn persons_changed(&self, stream: &str) {
        if stream == "persons" {
            self.sql.replace_persons(&self.data());
        }
    }
}
