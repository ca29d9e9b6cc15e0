//! Positions with an order: instants, intervals, and how far a stream has come.
//!
//! A [`Position`] says what of a stream is complete in the target and where the
//! walk in hand stands. It is stored as versioned JSON beside the rows it speaks
//! of, and moves only through its own methods. It knows no stream by name and does
//! no I/O.

mod edit;
mod timestamp;

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use timestamp::{Timestamp, TimestampText};

/// From one instant up to another, the end not included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Interval {
    /// The first instant inside.
    pub from: Timestamp,
    /// The first instant after it.
    pub to: Timestamp,
}

impl Interval {
    /// The interval, where it holds anything.
    pub fn new(from: Timestamp, to: Timestamp) -> Option<Self> {
        (from < to).then_some(Self { from, to })
    }

    /// Reads two times with a comma between them, the end not included: `2026-01-01,2026-02-01`.
    pub fn parse(text: &str) -> Option<Self> {
        let (from, to) = text.split_once(',')?;
        Self::new(Timestamp::parse(from.trim())?, Timestamp::parse(to.trim())?)
    }

    /// How long it is.
    pub fn length(self) -> Duration {
        self.to.since(self.from)
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} → {}", self.from, self.to)
    }
}

/// What of `range` lies in none of `covered` (sorted, disjoint).
pub fn gaps(range: Interval, covered: &[Interval]) -> Vec<Interval> {
    let mut from = range.from;
    let mut gaps = Vec::new();
    for done in covered.iter().filter(|done| done.to > range.from && done.from < range.to) {
        gaps.extend(Interval::new(from, done.from));
        from = from.max(done.to);
    }
    gaps.extend(Interval::new(from, range.to));
    gaps
}

/// Adds `range` to `covered`, which stays sorted and disjoint.
fn cover(covered: &mut Vec<Interval>, range: Interval) {
    covered.push(range);
    covered.sort_unstable();
    covered.dedup_by(|next, last| {
        let touches = next.from <= last.to;
        if touches {
            last.to = last.to.max(next.to);
        }
        touches
    });
}

/// Ways of reading without arrival times re-read this much in every run.
pub const ALWAYS_LOOK_BACK: Duration = Duration::from_secs(3600);

/// Why a range of time is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// It was never read.
    New,
    /// It was read, and rows may have arrived in it since.
    Late,
    /// The user asked for it.
    Backfill,
}

/// One walk of a run: a question that takes as many pages as it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Leg {
    /// A list: all of it, or what changed since.
    List {
        /// Only what changed at or after this.
        since: Option<Timestamp>,
    },
    /// What happened in a range of time.
    Range {
        /// Why.
        purpose: Purpose,
        /// When it happened.
        range: Interval,
        /// When it arrived, where that matters.
        arrived: Option<Interval>,
    },
    /// Looks for days, however old, in which rows arrived; each is then read as a range.
    Audit {
        /// The days to look at.
        range: Interval,
        /// When the rows arrived.
        arrived: Interval,
    },
}

/// An unfinished run of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Open {
    /// The frozen upper bound of the run.
    pub bound: Timestamp,
    /// The walks it has completed.
    pub done: Vec<Leg>,
    /// The walk in hand.
    pub leg: Option<Leg>,
    /// The key of the last row that walk delivered, or the place behind its last chunk; nothing
    /// at its beginning.
    pub at: Option<Vec<String>>,
}

/// How far a stream has come. Stored as JSON; `version` tells how to read it.
///
/// The invariant that makes late rows safe: every row that happened in `covered` and
/// arrived before `audited` has been asked for; of the look-back behind `mark` also every
/// row that arrived before `searched`. So `covered` never reaches past `mark` outside of a
/// run, nor before `anchor`, where nobody would search it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The form of this JSON.
    pub version: u32,
    /// The way of reading that wrote it.
    #[serde(default)]
    pub path: Option<String>,
    /// Where history begins, resolved once.
    #[serde(default)]
    pub anchor: Option<Timestamp>,
    /// What is complete in the target, sorted and disjoint.
    #[serde(default)]
    pub covered: Vec<Interval>,
    /// The frozen bound of the last complete run: what changed since is asked for.
    #[serde(default)]
    pub mark: Option<Timestamp>,
    /// Up to when arrivals in the look-back were asked for.
    #[serde(default)]
    pub searched: Option<Searched>,
    /// Up to when arrivals of any age were asked for.
    #[serde(default)]
    pub audited: Option<Timestamp>,
    /// When the look-back was last read in full, on ways of reading that know no arrival time.
    #[serde(default)]
    pub looked_back: Option<LookedBack>,
    /// The bound of the last run that met every row there is and took away what was gone.
    #[serde(default)]
    pub enumerated: Option<Timestamp>,
    /// The run in hand.
    #[serde(default)]
    pub open: Option<Open>,
    /// The full copy in hand; it is not yet whole.
    #[serde(default)]
    pub copying: Option<Copying>,
    /// What was asked of the records that were loaded: a condition, a query. None is all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
}

/// A full copy that is being made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Copying {
    /// The bound of the run that began it.
    pub begun: Timestamp,
    /// Whether it grows beside what readers see, or in its place.
    pub staged: bool,
}

/// A search of the look-back for what arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Searched {
    /// Everything that arrived before this was asked for.
    pub until: Timestamp,
    /// How long the look-back was, in seconds.
    pub lookback: u64,
}

/// A full read of the look-back, and what it cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LookedBack {
    /// The frozen bound of the run that did it.
    pub at: Timestamp,
    /// How many requests it took.
    pub requests: u64,
}

impl Default for Position {
    fn default() -> Self {
        Self {
            version: Self::VERSION,
            path: None,
            anchor: None,
            covered: Vec::new(),
            mark: None,
            searched: None,
            audited: None,
            looked_back: None,
            enumerated: None,
            open: None,
            copying: None,
            condition: None,
        }
    }
}

impl Position {
    /// The form written by this program; another one is refused, never guessed.
    pub const VERSION: u32 = 1;

    /// Forgets all but where history begins: the target is loaded anew.
    pub fn start_over(&mut self) {
        *self = Self { anchor: self.anchor, ..Self::default() };
    }

    /// Begins a run up to `bound`. What an interrupted run with another bound covered beyond
    /// the last complete one is not taken for covered: its arrivals since were never asked for.
    pub fn begin_run(&mut self, bound: Timestamp) {
        if self.open.as_ref().is_some_and(|open| open.bound != bound) {
            self.give_up();
        }
        self.open.get_or_insert(Open { bound, done: Vec::new(), leg: None, at: None });
    }

    /// Begins a walk of the run in hand, or goes on with the one an interrupted run left.
    pub fn begin(&mut self, leg: Leg) {
        let Some(open) = &mut self.open else { return };
        if open.leg != Some(leg) {
            open.leg = Some(leg);
            open.at = None;
        }
    }

    /// Where the walk stands that an interrupted run left, if it is this one.
    pub fn resume(&self, leg: Leg, bound: Timestamp) -> Option<Vec<String>> {
        let open = self.open.as_ref()?;
        (open.bound == bound && open.leg == Some(leg)).then(|| open.at.clone())?
    }

    /// Notes that the walk in hand is durable up to and including the row with this key.
    pub fn reach(&mut self, at: Option<Vec<String>>) {
        if let (Some(open), Some(at)) = (&mut self.open, at) {
            open.at = Some(at);
        }
    }

    /// Where in time the walk in hand stands, for those who watch it.
    pub fn reached(&self) -> Option<Timestamp> {
        Timestamp::parse(self.open.as_ref()?.at.as_ref()?.first()?)
    }

    /// Ends the walk in hand, which took so many requests: what it read is complete.
    pub fn complete_leg(&mut self, requests: u64) {
        let Some(open) = &mut self.open else { return };
        let Some(leg) = open.leg.take() else { return };
        open.at = None;
        open.done.push(leg);
        match leg {
            Leg::Range { range, purpose: Purpose::New, .. } => cover(&mut self.covered, range),
            Leg::Range { range, purpose: Purpose::Backfill, .. } => {
                let known =
                    self.mark.and_then(|mark| Interval::new(range.from, range.to.min(mark)));
                known.into_iter().for_each(|range| cover(&mut self.covered, range));
            }
            Leg::Audit { range, .. } => {
                self.audited = Some(open.bound);
                // Should the anchor move back in mid-run: what lay before it was not searched.
                clip(&mut self.covered, Some(range.from), None);
            }
            Leg::Range { purpose: Purpose::Late, range, arrived: None }
                if range.length() > ALWAYS_LOOK_BACK =>
            {
                self.looked_back = Some(LookedBack { at: open.bound, requests });
            }
            Leg::Range { .. } | Leg::List { .. } => {}
        }
    }

    /// Ends a run that looked back so far for late rows: all up to its bound is complete.
    pub fn complete_run(&mut self, lookback: Option<Duration>) {
        let Some(open) = self.open.take() else { return };
        let lookback = lookback.unwrap_or_default();
        // Of an interrupted run, an earlier execution may have looked back less far.
        let searched = match self.mark {
            None => Some(lookback),
            Some(_) => open.done.iter().filter_map(|leg| self.looked_back_by(leg, lookback)).max(),
        };
        if let Some(lookback) = searched {
            self.searched = Some(Searched { until: open.bound, lookback: lookback.as_secs() });
        }
        self.audited.get_or_insert(open.bound);
        self.mark = Some(open.bound);
        self.copying = None;
        clip(&mut self.covered, self.anchor, None);
    }

    /// How much of the `wanted` look-back a walk has asked for arrivals in.
    fn looked_back_by(&self, leg: &Leg, wanted: Duration) -> Option<Duration> {
        let Leg::Range { purpose: Purpose::Late, range, arrived } = leg else { return None };
        if arrived.is_none() && range.length() <= ALWAYS_LOOK_BACK {
            return None;
        }
        let is_whole = self.anchor.is_some_and(|anchor| range.from <= anchor);
        Some(if is_whole { wanted } else { range.length().min(wanted) })
    }

    /// Ends a run that read a range the user named: the forward cursor stays where it is.
    pub fn complete_backfill(&mut self) {
        // An incremental run may have gone on with it in between, and broken off.
        self.give_up();
    }

    /// Ends a run that is not complete: nothing beyond the mark is taken for covered.
    fn give_up(&mut self) {
        self.open = None;
        let mark = self.mark.unwrap_or(Timestamp::from_micros(i64::MIN));
        clip(&mut self.covered, None, Some(mark));
    }
}

/// Leaves of `covered` what lies between two instants.
fn clip(covered: &mut Vec<Interval>, from: Option<Timestamp>, to: Option<Timestamp>) {
    let inside = |range: &Interval| {
        let from = from.map_or(range.from, |from| from.max(range.from));
        Interval::new(from, to.map_or(range.to, |to| to.min(range.to)))
    };
    *covered = covered.iter().filter_map(inside).collect();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn t(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    fn days(from: &str, to: &str) -> Interval {
        Interval { from: t(from), to: t(to) }
    }

    #[test]
    fn gaps_are_what_no_run_has_covered() {
        let covered = [days("2026-01-05", "2026-01-10"), days("2026-01-20", "2026-01-21")];

        let missing = gaps(days("2026-01-01", "2026-01-20"), &covered);

        assert_eq!(missing, [days("2026-01-01", "2026-01-05"), days("2026-01-10", "2026-01-20")]);
        assert_eq!(gaps(days("2026-01-06", "2026-01-07"), &covered), []);
    }

    fn new(range: Interval) -> Leg {
        Leg::Range { purpose: Purpose::New, range, arrived: None }
    }

    #[test]
    fn a_completed_range_joins_those_it_touches() {
        let mut position = Position::default();
        position.begin_run(t("2026-01-04"));
        for range in [
            days("2026-01-01", "2026-01-02"),
            days("2026-01-03", "2026-01-04"),
            days("2026-01-02", "2026-01-03"),
        ] {
            position.begin(new(range));
            position.complete_leg(1);
        }

        assert_eq!(position.covered, [days("2026-01-01", "2026-01-04")]);
    }

    #[test]
    fn a_walk_begun_again_goes_on_where_it_stood() {
        let leg = Leg::List { since: None };
        let bound = t("2026-01-01");
        let mut position = Position::default();
        position.begin_run(bound);
        position.begin(leg);
        position.reach(Some(vec!["b".into()]));

        position.begin_run(bound);
        position.begin(leg);
        assert_eq!(position.resume(leg, bound), Some(vec!["b".into()]));
        assert_eq!(position.resume(leg, t("2026-01-02")), None);

        position.begin_run(t("2026-01-02"));
        position.begin(leg);
        assert_eq!(position.open.and_then(|open| open.at), None);
    }

    #[test]
    fn a_run_given_up_covers_nothing_beyond_the_last_complete_one() {
        let mut position = Position::default();
        position.begin_run(t("2026-01-02"));
        position.begin(new(days("2026-01-01", "2026-01-02")));
        position.complete_leg(1);
        position.complete_run(None);
        position.begin_run(t("2026-01-05"));
        position.begin(new(days("2026-01-02", "2026-01-05")));
        position.complete_leg(1);

        position.begin_run(t("2026-01-06"));

        assert_eq!(position.covered, [days("2026-01-01", "2026-01-02")]);
    }

    #[test]
    fn a_backfill_beyond_the_mark_is_not_taken_for_covered() {
        let mark = Some(t("2026-01-10"));
        let mut position = Position { mark, ..Position::default() };
        let range = days("2026-01-08", "2026-01-20");
        position.begin_run(t("2026-01-20"));
        position.begin(Leg::Range { purpose: Purpose::Backfill, range, arrived: None });
        position.complete_leg(1);
        position.complete_backfill();

        assert_eq!(position.covered, [days("2026-01-08", "2026-01-10")]);
        assert_eq!(position.mark, mark);
    }

    #[test]
    fn what_lies_before_the_anchor_is_not_kept_as_covered() {
        let mut position = Position {
            anchor: Some(t("2026-03-01")),
            covered: vec![days("2026-01-01", "2026-03-10")],
            ..Position::default()
        };
        position.begin_run(t("2026-03-11"));
        position.complete_run(None);

        assert_eq!(position.covered, [days("2026-03-01", "2026-03-10")]);
    }
}
