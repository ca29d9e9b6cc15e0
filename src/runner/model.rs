//! Runs in an order nobody thought of, against a model of what arrives when.
//!
//! The model's events happen, arrive and are shown at fixed times: late by minutes or weeks,
//! some stamped ahead of their arrival, some shown up to an hour after it. Runs of every mode,
//! by SQL or by REST, are complete or stopped before a leg, within one or before their end,
//! while the user moves the anchor and changes the look-back. How runs begin, what they walk
//! and how positions move is the program's own; a leg delivers what lies in its range and was
//! shown when it was read, and a target holds what was committed.
//!
//! What must hold after every complete incremental run by SQL, of the events that happened
//! from the anchor up to its bound: all are in the target that were shown a day before the
//! bound; with an audit in this run, and without one in the look-back and what is new, all
//! that were shown before the bound.

mod shelf;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::config::Secret;
use crate::cursor::Interval;
use crate::http::Settings;
use crate::spec::registry::Registry;

use shelf::{Memory, Shelf};

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);

fn day(n: u32) -> Timestamp {
    Timestamp::parse("2026-01-01").unwrap().plus(DAY * n)
}

/// An event, and when PostHog stamps and when it shows it.
struct Event {
    happened: Timestamp,
    arrived: Timestamp,
    shown: Timestamp,
}

/// Enough events for every combination of late and slow, sorted by when they happened.
fn events() -> Vec<Event> {
    // In minutes; below zero are clocks that are ahead.
    let late: [i64; 11] = [0, 1, 25, -180, 100, 1200, 3000, 4200, 5900, 9000, 28_000];
    let slow = [0, 2, 31, 59];
    let event = |n: u32| {
        let arrived = day(0).plus(MINUTE * (n * 97));
        let late = late[n as usize % late.len()];
        Event {
            happened: arrived.plus_micros(-late * 60_000_000),
            arrived,
            shown: arrived.plus(MINUTE * slow[n as usize / 3 % slow.len()]),
        }
    };
    let mut events: Vec<Event> = (0..1000).map(event).collect();
    events.sort_by_key(|event| event.happened);
    events
}

const SQL: usize = 0;
const REST: usize = 1;

/// What a user does next.
#[derive(Debug, Clone)]
struct Step {
    minutes_later: u32,
    mode: Mode,
    way: usize,
    /// In hours from day 0, for a backfill.
    range: (u32, u32),
    anchor: u32,
    lookback: Option<Duration>,
    /// How many requests a leg takes.
    requests: u64,
    /// Stops before the leg of this number, or in its midst at so many percent; where there is
    /// none of this number, before the run's end.
    stop: Option<(usize, usize)>,
}

fn step() -> impl Strategy<Value = Step> {
    let hours = |n: u64| Some(Duration::from_secs(n * 3600));
    (
        prop_oneof![3 => 5..150_u32, 3 => 150..1700_u32, 1 => 1700..6000_u32],
        prop_oneof![
            8 => Just(Mode::Incremental),
            1 => Just(Mode::FullRefresh),
            1 => Just(Mode::Truncate),
            2 => Just(Mode::Backfill),
        ],
        prop_oneof![3 => Just(SQL), 1 => Just(REST)],
        // Few of them, so that a backfill that was stopped is asked for again.
        prop::sample::select(vec![(0, 200), (240, 480), (400, 2000)]),
        prop_oneof![5 => Just(0_u32), 1 => prop::sample::select(vec![9_u32, 14, 21])],
        prop_oneof![
            3 => Just(None),
            1 => prop::sample::select(vec![hours(0), hours(1), hours(30), hours(24 * 6)]),
        ],
        prop::sample::select(vec![5_u64, 100]),
        prop::option::weighted(0.4, (0..4_usize, prop_oneof![Just(0_usize), 1..100_usize])),
    )
        .prop_map(|(minutes_later, mode, way, range, anchor, lookback, requests, stop)| Step {
            minutes_later,
            mode,
            way,
            range,
            anchor,
            lookback,
            requests,
            stop,
        })
}

/// A project that nobody asks.
fn unasked() -> Arc<Project> {
    let settings = Settings {
        origin: "http://localhost:1".into(),
        key: Secret::new("phx_unasked_unasked"),
        project: "1".into(),
        requests_per_second: 0.0,
        concurrency: 1,
        max_wait: Duration::ZERO,
        retry_wait: Duration::ZERO,
        timeouts: Default::default(),
        limits: Default::default(),
        ledger: None,
        enforce_limits: false,
    };
    let client = Client::new(settings).unwrap();
    Arc::new(Project {
        client,
        id: "1".into(),
        is_one_of_several: false,
        dialect: Default::default(),
    })
}

/// A stream, its events and its target.
struct Model {
    endpoint: Arc<Endpoint>,
    events: Vec<Event>,
    shelf: Arc<Mutex<Shelf>>,
    now: Timestamp,
}

impl Model {
    fn new(registry: &Registry) -> Self {
        let events = events();
        let shelf = Shelf::of(events.len());
        let endpoint = Arc::clone(registry.find("events").unwrap());
        Self { endpoint, events, shelf: Arc::new(Mutex::new(shelf)), now: day(15) }
    }

    fn job(&self, step: &Step) -> Job {
        let [from, to] = [step.range.0, step.range.1].map(|hours| day(0).plus(MINUTE * hours * 60));
        let wish = Wish {
            mode: step.mode,
            ranges: Interval::new(from, to).into_iter().collect(),
            anchor: day(step.anchor),
            select: Vec::new(),
            lookback: step.lookback,
            lookback_every: DAY,
            delete_missing: None,
            limit: None,
            condition: None,
            sql: Default::default(),
        };
        let position = self.shelf.lock().unwrap().position.clone();
        let key = stream_key("", "", &self.endpoint, String::new());
        let checkpoint =
            Checkpoint { key, epoch: String::new(), sequence: 0, position, witnesses: Vec::new() };
        let target = Box::new(Memory(Arc::clone(&self.shelf)));
        Job {
            endpoint: Arc::clone(&self.endpoint),
            wish,
            target,
            checkpoint,
            wrong: None,
            is_damaged: false,
            drift: Drift::default(),
            project: unasked(),
        }
    }

    /// Does what [`run_to_the_bound`] does, and judges what is left.
    fn take(&mut self, step: &Step) -> Result<(), TestCaseError> {
        self.now = self.now.plus(MINUTE * step.minutes_later);
        let mut job = self.job(step);
        loop {
            let now = self.now.minus(MINUTE * 2);
            let start = job.start(now);
            let bound = start.bound;
            job = job.prepare_blocking(start).unwrap();
            let mark = job.checkpoint.position.mark;
            if !self.run_once(&mut job, step, bound) {
                return Ok(());
            }
            let Position { covered, mark: ended, .. } = &job.checkpoint.position;
            let last = covered.last().map(|range| range.to);
            prop_assert!(last.is_none_or(|last| Some(last) <= *ended), "{last:?} > {ended:?}");
            if step.mode == Mode::Incremental && step.way == SQL {
                self.judge(&job, mark, bound)?;
            }
            if !start.resumes || step.mode != Mode::Incremental {
                return Ok(());
            }
            self.now = self.now.plus(MINUTE * 7);
        }
    }

    /// Walks every leg and ends the run; false where it is stopped.
    fn run_once(&self, job: &mut Job, step: &Step, bound: Timestamp) -> bool {
        let path = &self.endpoint.read[step.way];
        let planned = job.checkpoint.position.clone();
        let legs = plan::legs(&self.endpoint, path, &job.wish, &planned, bound);
        for (n, leg) in legs.into_iter().enumerate() {
            let stop = step.stop.filter(|(stop, _)| *stop == n).map(|(_, percent)| percent);
            if stop == Some(0) {
                return false;
            }
            job.checkpoint.position.begin(leg);
            let mut rows = self.answer(leg, planned.resume(leg, bound), step.way);
            if let Some(percent) = stop {
                rows.truncate(rows.len() * percent / 100);
                let Some(&last) = rows.last() else { return false };
                let at = self.events[last].happened;
                let mut key = vec![at.to_string(), format!("{last:06}")];
                if step.way != SQL {
                    rows.retain(|&row| self.events[row].happened < at);
                    key.truncate(1);
                }
                job.checkpoint.position.reach(Some(key));
                self.commit(job, rows);
                return false;
            }
            job.checkpoint.position.complete_leg(step.requests);
            self.commit(job, rows);
        }
        if step.stop.is_some() {
            return false;
        }
        let incremental = self.endpoint.incremental.as_ref().unwrap();
        match step.mode {
            Mode::Backfill => job.checkpoint.position.complete_backfill(),
            _ => job.checkpoint.position.complete_run(incremental.lookback(step.lookback)),
        }
        job.target.publish(&job.checkpoint).unwrap();
        true
    }

    fn commit(&self, job: &mut Job, rows: Vec<usize>) {
        self.shelf.lock().unwrap().page = rows;
        job.target.commit(&job.checkpoint).unwrap();
    }

    /// The events that a leg finds now, after the row with the key `at`.
    fn answer(&self, leg: Leg, at: Option<Vec<String>>, way: usize) -> Vec<usize> {
        let (range, arrived, at) = match leg {
            Leg::Range { range, arrived, .. } => (range, arrived, at),
            Leg::Audit { range, arrived } => (range, Some(arrived), None),
            Leg::List { .. } => panic!("events are no list"),
        };
        let after = at.as_ref().map(|at| Timestamp::parse(&at[0]).unwrap());
        let row = at.filter(|at| way == SQL && at.len() == 2).map(|at| at[1].parse().unwrap());
        let holds = |span: Interval, at: Timestamp| span.from <= at && at < span.to;
        let finds = |n: &usize| {
            let event = &self.events[*n];
            holds(range, event.happened)
                && arrived.is_none_or(|arrived| holds(arrived, event.arrived))
                && event.shown <= self.now
                && after.is_none_or(|after| event.happened >= after)
                && row.is_none_or(|row: usize| *n > row)
        };
        (0..self.events.len()).filter(finds).collect()
    }

    /// What the module promises, after a run that began at `mark`.
    fn judge(
        &self,
        job: &Job,
        mark: Option<Timestamp>,
        bound: Timestamp,
    ) -> Result<(), TestCaseError> {
        let incremental = self.endpoint.incremental.as_ref().unwrap();
        let lookback = incremental.lookback(job.wish.lookback).unwrap();
        let audited = job.checkpoint.position.audited.unwrap();
        let shelf = self.shelf.lock().unwrap();
        for (n, Event { happened, shown, .. }) in self.events.iter().enumerate() {
            let is_near = mark.is_none_or(|mark| *happened >= mark.minus(lookback));
            let seen_by = if is_near { bound } else { audited.max(bound.minus(DAY)) };
            let is_due = job.wish.anchor <= *happened && *happened < bound && *shown < seen_by;
            prop_assert!(
                !is_due || shelf.rows[n],
                "the event of {happened}, shown {shown}, is lost in a run from {mark:?} to {bound}"
            );
        }
        Ok(())
    }
}

/// An incremental run some time after the one before.
fn run(minutes_later: u32, way: usize) -> Step {
    Step {
        minutes_later,
        mode: Mode::Incremental,
        way,
        range: (0, 200),
        anchor: 0,
        lookback: None,
        requests: 100,
        stop: None,
    }
}

#[track_caller]
fn leave_nothing_out(steps: &[Step]) {
    let mut model = Model::new(&Registry::load(&[]).unwrap());
    steps.iter().for_each(|step| model.take(step).unwrap());
}

#[test]
fn an_anchor_that_moves_back_in_mid_run_leaves_nothing_unsearched() {
    // The audit began at the later anchor and was not made again for the earlier one.
    leave_nothing_out(&[
        run(5, SQL),
        Step { anchor: 14, lookback: Some(Duration::ZERO), stop: Some((1, 0)), ..run(1440, SQL) },
        run(5, SQL),
    ]);
}

#[test]
fn a_backfill_that_ends_what_an_incremental_run_went_on_with_covers_nothing_new() {
    // The incremental run had covered what lies beyond the mark.
    let backfill = Step { mode: Mode::Backfill, ..run(5, SQL) };
    leave_nothing_out(&[
        Step { stop: Some((1, 0)), ..backfill.clone() },
        Step { stop: Some((1, 0)), ..run(5, SQL) },
        backfill,
    ]);
}

#[test]
fn a_short_look_back_that_rest_went_on_from_is_not_taken_for_a_long_one() {
    // The hour that SQL had searched was taken for the three days that REST did not read.
    let an_hour = Some(Duration::from_secs(3600));
    leave_nothing_out(&[
        run(5, SQL),
        run(60, REST),
        Step { lookback: an_hour, stop: Some((1, 0)), ..run(1200, SQL) },
        run(5, REST),
        run(60, SQL),
    ]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_runs_came_before_a_complete_one_leaves_nothing_out(
        steps in prop::collection::vec(step(), 1..14),
    ) {
        let registry = Registry::load(&[]).unwrap();
        let mut model = Model::new(&registry);
        for step in &steps {
            model.take(step)?;
        }
    }
}
