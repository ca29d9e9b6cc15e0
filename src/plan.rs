//! Which walks a run makes of a stream.
//!
//! Pure: from what the registry says, what the user wants, how far the stream has
//! come and the run's frozen bound, to an ordered list of [`Leg`]s. A run that was
//! interrupted is planned again with the bound it had, and what it finished is left
//! out. Nothing here asks, waits or writes.

use std::time::Duration;

use crate::config::{DeleteMissing, Mode};
use crate::cursor::{ALWAYS_LOOK_BACK, Interval, Leg, Position, Purpose, Timestamp, gaps};
use crate::spec::endpoint::{Endpoint, Incremental, Paging, ReadPath};

/// How far before the last bound arrivals are asked for again: PostHog's own ingestion may
/// show a row that much after it stamped it.
const ARRIVAL_OVERLAP: Duration = Duration::from_secs(3600);

/// A look-back that costs no more than this is read in every run: a sixtieth of PostHog's hour.
const CHEAP_LOOK_BACK: u64 = 20;

/// How often arrivals older than the look-back are searched for.
const AUDIT_EVERY: Duration = Duration::from_secs(86_400);

/// How often a list that is asked for changes is read whole, to find what is gone.
const ENUMERATE_EVERY: Duration = Duration::from_secs(86_400);

/// What the user wants of a stream.
#[derive(Debug, Clone)]
pub struct Wish {
    /// How its rows are to be loaded.
    pub mode: Mode,
    /// The ranges to read, in backfill mode.
    pub ranges: Vec<Interval>,
    /// Where history begins.
    pub anchor: Timestamp,
    /// Which columns the user wants: `-name` leaves one out; empty means all.
    pub select: Vec<String>,
    /// How far behind the cursor late rows are looked for, where the user said so.
    pub lookback: Option<Duration>,
    /// How often the whole look-back is read where arrivals cannot be asked for.
    pub lookback_every: Duration,
    /// What becomes of rows that PostHog no longer has.
    pub delete_missing: Option<DeleteMissing>,
    /// How many rows are read at most.
    pub limit: Option<u64>,
    /// What is asked of the records, as the user wrote it: a condition, a query.
    pub condition: Option<String>,
    /// What the target's database runs before and after the rows.
    pub sql: BesideRows,
}

/// What a database runs beside the rows that it gets.
#[derive(Debug, Clone, Default)]
pub struct BesideRows {
    /// Before them.
    pub before: Option<String>,
    /// After them.
    pub after: Option<String>,
}

impl Wish {
    /// Whether the user wants a column.
    pub fn wants(&self, column: &str) -> bool {
        let excluded = |name: &String| name.strip_prefix('-') == Some(column);
        !self.select.iter().any(excluded)
            && (self.wants_all() || self.select.iter().any(|name| name == column))
    }

    /// The ranges of a backfill, as far as they lie before a bound.
    pub fn ranges_to(&self, bound: Timestamp) -> Vec<Interval> {
        let before = |range: &Interval| Interval::new(range.from, range.to.min(bound));
        self.ranges.iter().filter_map(before).collect()
    }

    /// Whether no column is left out but those that are named.
    pub fn wants_all(&self) -> bool {
        self.select.iter().all(|name| name.starts_with('-'))
    }
}

/// The walks of one run of a stream, read in the way of `path`.
pub fn legs(
    endpoint: &Endpoint,
    path: &ReadPath,
    wish: &Wish,
    position: &Position,
    bound: Timestamp,
) -> Vec<Leg> {
    let done = position.open.iter().filter(|open| open.bound == bound).flat_map(|open| &open.done);
    let done: Vec<Leg> = done.copied().collect();
    let legs = match &endpoint.incremental {
        None if wish.mode == Mode::DefinitionOnly => Vec::new(),
        None => vec![Leg::List { since: since(path, wish, position, bound) }],
        Some(incremental) => ranges(incremental, path, wish, position, bound),
    };
    legs.into_iter().filter(|leg| !done.contains(leg)).collect()
}

/// The ways to read a stream in this run, the preferred one first.
pub fn paths<'a>(
    endpoint: &'a Endpoint,
    wish: &Wish,
    position: &Position,
    bound: Timestamp,
) -> Vec<&'a ReadPath> {
    let mut paths: Vec<&ReadPath> = endpoint.read.iter().collect();
    if wish.mode == Mode::Incremental
        && position.mark.is_some()
        && !must_enumerate(wish, position, bound)
    {
        // A way that can ask for changes is better than one that must read all.
        paths.sort_by_key(|path| path.since().is_none());
    }
    paths
}

/// Since when a list is asked for changes; nothing for all of it.
fn since(path: &ReadPath, wish: &Wish, position: &Position, bound: Timestamp) -> Option<Timestamp> {
    let since = path.since().filter(|_| wish.mode == Mode::Incremental)?;
    if must_enumerate(wish, position, bound) {
        return None;
    }
    Some(position.mark?.minus(since.overlap))
}

/// Whether a list has to be read whole, since changes do not tell what is gone.
fn must_enumerate(wish: &Wish, position: &Position, bound: Timestamp) -> bool {
    wish.delete_missing.is_some()
        && position.enumerated.is_none_or(|last| bound.since(last) >= ENUMERATE_EVERY)
}

fn ranges(
    incremental: &Incremental,
    path: &ReadPath,
    wish: &Wish,
    position: &Position,
    bound: Timestamp,
) -> Vec<Leg> {
    let new = |range| Leg::Range { purpose: Purpose::New, range, arrived: None };
    let history = Interval::new(wish.anchor, bound);
    match wish.mode {
        Mode::FullRefresh | Mode::Truncate | Mode::Snapshot => {
            history.map(new).into_iter().collect()
        }
        Mode::DefinitionOnly => Vec::new(),
        Mode::Backfill => {
            let backfill = |range| Leg::Range { purpose: Purpose::Backfill, range, arrived: None };
            wish.ranges_to(bound).into_iter().map(backfill).collect()
        }
        Mode::Incremental => {
            let Some(history) = history else { return Vec::new() };
            let mut legs = late(incremental, path, wish, position, bound);
            let covered = settled(incremental, wish, position);
            legs.extend(gaps(history, &covered).into_iter().map(new));
            legs
        }
    }
}

/// What is covered and will not be read again because its rows may still grow.
fn settled(incremental: &Incremental, wish: &Wish, position: &Position) -> Vec<Interval> {
    let Some(reread) = incremental.reread else { return position.covered.clone() };
    let reread = wish.lookback.map_or(reread, |lookback| lookback.max(reread));
    let Some(last) = position.covered.last() else { return Vec::new() };
    let settled_until = last.to.minus(reread);
    let clip = |range: &Interval| Interval::new(range.from, range.to.min(settled_until));
    position.covered.iter().filter_map(clip).collect()
}

/// The walks for rows that arrived behind the cursor.
fn late(
    incremental: &Incremental,
    path: &ReadPath,
    wish: &Wish,
    position: &Position,
    bound: Timestamp,
) -> Vec<Leg> {
    let (Some(mark), Some(lookback)) = (position.mark, incremental.lookback(wish.lookback)) else {
        return Vec::new();
    };
    let behind = |span| Interval::new(mark.minus(span).max(wish.anchor), mark.min(bound));
    let leg = |range, arrived| Leg::Range { purpose: Purpose::Late, range, arrived };
    if !knows_arrival(path) {
        let span = if looks_back(position, wish, bound) { lookback } else { ALWAYS_LOOK_BACK };
        return behind(span.min(lookback)).map(|range| leg(range, None)).into_iter().collect();
    }
    let arrived = Interval::new(unsearched(position, mark, lookback).minus(ARRIVAL_OVERLAP), bound);
    let late = behind(lookback).zip(arrived).map(|(range, arrived)| leg(range, Some(arrived)));
    late.into_iter().chain(audit(wish, position, mark.minus(lookback), bound)).collect()
}

/// Since when arrivals in the look-back were not asked for. A look-back that grew reaches
/// into what only the audit has searched.
fn unsearched(position: &Position, mark: Timestamp, lookback: Duration) -> Timestamp {
    let searched = match position.searched {
        Some(searched) if searched.lookback >= lookback.as_secs() => Some(searched.until),
        _ => position.audited,
    };
    searched.map_or(mark, |searched| searched.min(mark))
}

/// The search for arrivals older than the look-back, once a day.
fn audit(wish: &Wish, position: &Position, until: Timestamp, bound: Timestamp) -> Option<Leg> {
    let audited = position.audited.filter(|at| bound.since(*at) >= AUDIT_EVERY)?;
    let range = Interval::new(wish.anchor, until)?;
    let arrived = Interval::new(audited.minus(ARRIVAL_OVERLAP), bound)?;
    Some(Leg::Audit { range, arrived })
}

/// Whether this way of reading can ask for rows by when they arrived.
pub fn knows_arrival(path: &ReadPath) -> bool {
    matches!(&path.paging, Paging::Keyset(keyset) if keyset.arrival.is_some())
}

/// Whether the whole look-back is due, on a way that cannot ask for arrivals.
pub fn looks_back(position: &Position, wish: &Wish, bound: Timestamp) -> bool {
    position.looked_back.is_none_or(|last| {
        last.requests <= CHEAP_LOOK_BACK || bound.since(last.at) >= wish.lookback_every
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cursor::{LookedBack, Open, Searched};
    use crate::spec::registry::Registry;

    fn t(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    fn span(from: &str, to: &str) -> Interval {
        Interval { from: t(from), to: t(to) }
    }

    fn wish(mode: Mode) -> Wish {
        Wish {
            mode,
            ranges: vec![span("2026-02-01", "2026-02-03")],
            anchor: t("2026-01-01"),
            select: Vec::new(),
            lookback: None,
            lookback_every: Duration::from_secs(86_400),
            delete_missing: None,
            limit: None,
            condition: None,
            sql: BesideRows::default(),
        }
    }

    /// A stream that was complete to March 10th.
    fn to_march() -> Position {
        let covered = vec![span("2026-01-01", "2026-03-10")];
        let mark = Some(t("2026-03-10"));
        let searched = mark.map(|until| Searched { until, lookback: 3 * 86_400 });
        Position { covered, mark, searched, audited: mark, ..Position::default() }
    }

    /// The legs of a run up to a bound, read in the n-th way of a stream, as text.
    fn plan(
        stream: &str,
        way: usize,
        wish: &Wish,
        position: &Position,
        bound: &str,
    ) -> Vec<String> {
        let registry = Registry::load(&[]).unwrap();
        let endpoint = registry.find(stream).unwrap();
        let day = |at: Timestamp| at.to_string().replace(":00:00.000000Z", "").replace("T00", "");
        let range = |range: Interval| format!("{} to {}", day(range.from), day(range.to));
        let text = |leg: &Leg| match leg {
            Leg::List { since } => format!("list {:?}", since.map(day)),
            Leg::Range { purpose, range: at, arrived } => {
                let arrived = arrived.map(|arrived| format!(", arrived {}", range(arrived)));
                format!("{purpose:?} {}{}", range(*at), arrived.unwrap_or_default())
            }
            Leg::Audit { range: at, arrived } => {
                format!("audit {}, arrived {}", range(*at), range(*arrived))
            }
        };
        legs(endpoint, &endpoint.read[way], wish, position, t(bound)).iter().map(text).collect()
    }

    const SQL: usize = 0;
    const REST: usize = 1;

    #[test]
    fn a_first_run_reads_all_of_history_up_to_its_bound() {
        for mode in [Mode::Incremental, Mode::FullRefresh, Mode::Truncate] {
            let legs = plan("events", SQL, &wish(mode), &Position::default(), "2026-03-10");
            assert_eq!(legs, ["New 2026-01-01 to 2026-03-10"], "{mode}");
        }
    }

    #[test]
    fn the_next_run_reads_what_is_new_and_what_arrived_late() {
        let legs = plan("events", SQL, &wish(Mode::Incremental), &to_march(), "2026-03-10T06:00");

        assert_eq!(
            legs,
            [
                "Late 2026-03-07 to 2026-03-10, arrived 2026-03-09T23 to 2026-03-10T06",
                "New 2026-03-10 to 2026-03-10T06",
            ]
        );
    }

    #[test]
    fn what_a_shorter_look_back_left_to_the_audit_is_asked_for_when_it_grows() {
        let searched = Some(Searched { until: t("2026-03-10"), lookback: 3600 });
        let audited = Some(t("2026-03-09T12:00"));
        let position = Position { searched, audited, ..to_march() };

        let legs = plan("events", SQL, &wish(Mode::Incremental), &position, "2026-03-10T06:00");

        assert_eq!(
            legs[0],
            "Late 2026-03-07 to 2026-03-10, arrived 2026-03-09T11 to 2026-03-10T06"
        );
    }

    #[test]
    fn arrivals_that_runs_by_rest_did_not_ask_for_are_asked_for_in_sql() {
        let until = t("2026-03-09T12:00");
        let searched = Some(Searched { until, lookback: 3 * 86_400 });
        let position = Position { searched, ..to_march() };

        let legs = plan("events", SQL, &wish(Mode::Incremental), &position, "2026-03-10T06:00");

        assert_eq!(
            legs[0],
            "Late 2026-03-07 to 2026-03-10, arrived 2026-03-09T11 to 2026-03-10T06"
        );
    }

    #[test]
    fn a_short_look_back_does_not_leave_recordings_half_grown() {
        let hour = Some(Duration::from_secs(3600));
        let wish = Wish { lookback: hour, ..wish(Mode::Incremental) };

        let legs = plan("session_recordings", 0, &wish, &to_march(), "2026-03-10T06:00");

        assert_eq!(legs, ["New 2026-03-08 to 2026-03-10T06"]);
    }

    #[test]
    fn once_a_day_arrivals_of_any_age_are_searched_for() {
        let legs = plan("events", SQL, &wish(Mode::Incremental), &to_march(), "2026-03-11");

        assert_eq!(legs[1], "audit 2026-01-01 to 2026-03-07, arrived 2026-03-09T23 to 2026-03-11");
    }

    #[test]
    fn without_arrival_times_the_look_back_is_read_while_it_is_cheap_or_due() {
        let looked = |requests, at| Position {
            looked_back: Some(LookedBack { at: t(at), requests }),
            ..to_march()
        };
        for (position, late) in [
            (to_march(), "Late 2026-03-07 to 2026-03-10"),
            (looked(3, "2026-03-10"), "Late 2026-03-07 to 2026-03-10"),
            (looked(900, "2026-03-10"), "Late 2026-03-09T23 to 2026-03-10"),
            (looked(900, "2026-03-09"), "Late 2026-03-07 to 2026-03-10"),
        ] {
            let legs =
                plan("events", REST, &wish(Mode::Incremental), &position, "2026-03-10T06:00");
            assert_eq!(legs, [late, "New 2026-03-10 to 2026-03-10T06"]);
        }
    }

    #[test]
    fn moving_the_anchor_back_fetches_the_gap() {
        let earlier = Wish { anchor: t("2025-12-01"), ..wish(Mode::Incremental) };

        let legs = plan("events", SQL, &earlier, &to_march(), "2026-03-10T06:00");

        assert!(legs.contains(&"New 2025-12-01 to 2026-01-01".to_owned()), "{legs:?}");
    }

    #[test]
    fn a_backfill_reads_its_range_and_nothing_else() {
        let legs = plan("events", SQL, &wish(Mode::Backfill), &to_march(), "2026-03-11");

        assert_eq!(legs, ["Backfill 2026-02-01 to 2026-02-03"]);
    }

    #[test]
    fn recordings_are_read_again_from_two_days_before_the_end() {
        let legs = plan(
            "session_recordings",
            0,
            &wish(Mode::Incremental),
            &to_march(),
            "2026-03-10T06:00",
        );

        assert_eq!(legs, ["New 2026-03-08 to 2026-03-10T06"]);
    }

    #[test]
    fn lists_are_asked_for_changes_where_they_can_be() {
        let incremental = wish(Mode::Incremental);
        for (stream, way, expected) in [
            ("insights", 0, "list Some(\"2026-03-09T23:50:00.000000Z\")"),
            ("persons", REST, "list Some(\"2026-03-09T23:50:00.000000Z\")"),
            ("persons", SQL, "list None"),
            ("cohorts", 0, "list None"),
        ] {
            let legs = plan(stream, way, &incremental, &to_march(), "2026-03-11");
            assert_eq!(legs, [expected], "{stream}");
        }
        assert_eq!(
            plan("insights", 0, &wish(Mode::FullRefresh), &to_march(), "2026-03-11"),
            ["list None"]
        );
    }

    #[test]
    fn what_is_gone_is_looked_for_once_a_day() {
        let mirror = Wish { delete_missing: Some(DeleteMissing::Hard), ..wish(Mode::Incremental) };
        let enumerated = |at| Position { enumerated: Some(t(at)), ..to_march() };
        for (position, expected) in [
            (to_march(), "list None"),
            (enumerated("2026-03-10"), "list None"),
            (enumerated("2026-03-10T06:00"), "list Some(\"2026-03-09T23:50:00.000000Z\")"),
        ] {
            assert_eq!(plan("insights", 0, &mirror, &position, "2026-03-11"), [expected]);
        }
    }

    #[test]
    fn changes_are_asked_for_in_a_way_that_knows_them() {
        let registry = Registry::load(&[]).unwrap();
        let persons = registry.find("persons").unwrap();
        let names = |mode, position: &Position| {
            let paths = paths(persons, &wish(mode), position, t("2026-03-11"));
            paths.iter().map(|path| path.name.as_str()).collect::<Vec<_>>()
        };

        assert_eq!(names(Mode::Incremental, &Position::default()), ["sql", "rest"]);
        assert_eq!(names(Mode::Incremental, &to_march()), ["rest", "sql"]);
        assert_eq!(names(Mode::FullRefresh, &to_march()), ["sql", "rest"]);
    }

    #[test]
    fn an_interrupted_run_leaves_out_the_walks_it_finished() {
        let bound = "2026-03-10T06:00";
        let late = Leg::Range {
            purpose: Purpose::Late,
            range: span("2026-03-07", "2026-03-10"),
            arrived: Some(span("2026-03-09T23:00", bound)),
        };
        let open = Open { bound: t(bound), done: vec![late], leg: None, at: None };
        let position = Position { open: Some(open), ..to_march() };

        let legs = plan("events", SQL, &wish(Mode::Incremental), &position, bound);

        assert_eq!(legs, ["New 2026-03-10 to 2026-03-10T06"]);
    }
}
