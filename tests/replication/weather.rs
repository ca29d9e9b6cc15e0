//! Many things at once, in an order nobody thought of; the same for the same seed.
//!
//! A seed makes a server and a few stories on it. In a story streams are replicated while
//! life goes on there: rows come late, records are edited, copies arrive, answers are
//! spoilt, runs are killed or asked to stop anywhere, the mode changes. Then one run goes
//! well, and the copy is what PostHog holds. `HOGLINE_SEED=7` tells the stories of one seed.

use std::io::Write;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use hogline::sandbox::{Fault, FaultKind};

use crate::grid::{Ground, Kind, TARGETS, is_whole};
use crate::support::{DAY, MINUTE, PostHog, Project};

/// What is replicated beside events.
const OTHERS: [&str; 6] = [
    "persons",
    "session_recordings",
    "insights",
    "property_definitions",
    "feature_flags",
    "annotations",
];

/// Servers.
const SEEDS: Range<u64> = 1..64;

/// Stories on each: 504 with those seeds.
const STORIES: usize = 8;

/// Stories are mostly waits for the disk and the socket.
const TELLERS: usize = 4;

/// Runs end with one of these whatever PostHog answers.
const ENDS: [i32; 5] = [0, 3, 4, 5, 6];

/// Numbers that look random (splitmix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % end as u64).unwrap()
    }

    fn one_of<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())].clone()
    }
}

/// A server, and whether it answers SQL.
fn some_server(seed: u64, dice: &mut Dice) -> (PostHog, bool) {
    let has_sql = dice.below(4) > 0;
    let posthog = PostHog::playing(|options| {
        options.seed = seed;
        options.events = dice.one_of(&[20, 50, 100]);
        options.days = dice.one_of(&[1, 4, 20]);
        options.persons = dice.one_of(&[3, 40]);
        options.recordings = dice.one_of(&[1, 20]);
        options.timezone_offset_minutes = dice.one_of(&[0, -480, 345]);
        options.event_cap = dice.one_of(&[60, 1000]);
        options.sql_cap = dice.one_of(&[25, 60, 50_000]);
        options.sql = has_sql;
        options.old_sql = dice.below(4) == 0;
    });
    (posthog, has_sql)
}

/// A replication, and where its streams are checked.
struct Story<'a> {
    posthog: &'a PostHog,
    has_sql: bool,
    project: Project,
    grounds: Vec<Ground>,
}

impl<'a> Story<'a> {
    fn begin(posthog: &'a PostHog, has_sql: bool, dice: &mut Dice) -> Self {
        let streams = [&["events", dice.one_of(&OTHERS)], &["events"][..]];
        let streams = streams[dice.below(2)];
        // Faults are tried again at once, and waits that PostHog names end the run.
        let project = Project::incremental(posthog, streams).with_input("max_wait: 1ms");
        let is_near = |(_, kind): &&(&str, Kind)| *kind != Kind::Postgres;
        let near: Vec<_> = TARGETS.iter().filter(is_near).copied().collect();
        let (target, kind) = dice.one_of(&near);
        let project = kind.of(project);
        let ground = |stream| Ground { target, kind, mode: "incremental", paging: "any", stream };
        let grounds = streams.iter().copied().map(ground).collect();
        Self { posthog, has_sql, project, grounds }
    }

    fn goes_on(&self, dice: &mut Dice) {
        match dice.below(10) {
            0..4 => self.is_cut_short(dice),
            4..6 => self.gets_bad_answers(dice),
            6 => drop(self.project.run_with(some_mode(dice)).succeeds()),
            _ => self.life_goes_on(dice),
        }
        self.grounds.iter().for_each(|ground| ground.state_is_not_ahead(&self.project));
    }

    /// A run is killed or asked to stop somewhere.
    fn is_cut_short(&self, dice: &mut Dice) {
        let signal = dice.one_of(&["KILL", "KILL", "KILL", "TERM", "INT"]);
        let last = dice.one_of(&[15, 80, 200]);
        let n = 1 + dice.below(last);
        let mode = some_mode(dice);
        let ran = self.project.steered(&format!("{signal}:{n}"), mode);
        let code = ran.code();
        assert!(
            ran.was_killed() || [Some(0), Some(130), Some(143)].contains(&code),
            "ended with {code:?} after {signal}"
        );
    }

    /// Some answers of a run are spoilt.
    fn gets_bad_answers(&self, dice: &mut Dice) {
        let fault = dice.one_of(&[
            FaultKind::HtmlStatus(502),
            FaultKind::Html,
            FaultKind::CutJson,
            FaultKind::Reset,
            FaultKind::CutGzip,
            FaultKind::Throttled(Some(60)),
            FaultKind::Status(500, String::new()),
            FaultKind::Status(504, String::new()),
            FaultKind::Status(403, String::new()),
        ]);
        let first = 1 + dice.below(12);
        let spoilt: Vec<usize> = (first..=first + dice.below(6)).collect();
        // Where SQL fails for long the list is read, which cannot tell an event's copies apart.
        let matching = if self.has_sql { "GET " } else { "" };
        self.posthog.fault(Fault::on(matching, fault.clone()).nth(&spoilt));
        self.posthog.fault(Fault::on("POST ", FaultKind::Reset).nth(&[first, first + 2]));
        let mode = some_mode(dice);
        let ran = self.project.run_with(mode);
        self.posthog.clear_faults();
        // The minute is over that PostHog asked to wait.
        drop(std::fs::remove_dir_all(self.project.path("home")));
        let code = ran.code();
        assert!(ENDS.map(Some).contains(&code), "ended with {code:?} after {fault:?}");
    }

    /// Something happens at the source.
    fn life_goes_on(&self, dice: &mut Dice) {
        self.posthog.later(dice.one_of(&[MINUTE, 90 * MINUTE, 2 * DAY]));
        // Without SQL what is later than an hour is only found once a day.
        let late = if self.has_sql { 3 } else { 2 };
        let late_by = [MINUTE / 60, 30 * MINUTE, DAY][dice.below(late)];
        self.posthog.receives_events(1 + dice.below(6), late_by);
        let edited = dice.one_of(&["insights", "persons", "feature_flags", "annotations"]);
        self.posthog.edits(edited, dice.below(4));
        if self.has_sql {
            // Of two copies that arrive at once nobody knows which one wins.
            self.posthog.edits("events", dice.below(2));
        }
    }

    fn ends_well(&self, dice: &mut Dice) {
        let mode =
            dice.one_of(&["incremental", "incremental", "incremental", "full-refresh", "truncate"]);
        self.project.run_with(&["--mode", mode]).succeeds();
        if mode != "incremental" {
            // A copy that was begun before is finished up to where it had been meant to go.
            self.project.run_with(&["--mode", mode]).succeeds();
        }
        self.grounds.iter().for_each(|ground| ground.holds(self.posthog, &self.project));
    }
}

/// How a run is asked for that need not bring everything.
fn some_mode(dice: &mut Dice) -> &'static [&'static str] {
    const RANGE: [&str; 6] =
        ["--mode", "backfill", "--range", "2026-02-01,2026-03-09", "--streams", "events"];
    dice.one_of(&[
        &[],
        &[],
        &["--mode", "full-refresh"],
        &["--mode", "truncate"],
        &["--streams", "events"],
        &RANGE,
    ])
}

/// Says of what a panic is.
struct Told(u64, usize);

impl Drop for Told {
    fn drop(&mut self) {
        if thread::panicking() {
            let Self(seed, story) = self;
            let text = format!("in story {story} of HOGLINE_SEED={seed}\n");
            std::io::stderr().write_all(text.as_bytes()).unwrap_or_default();
        }
    }
}

fn tell(seed: u64) {
    let mut dice = Dice(seed);
    let (posthog, has_sql) = some_server(seed, &mut dice);
    for n in 1..=STORIES {
        let _told = Told(seed, n);
        let story = Story::begin(&posthog, has_sql, &mut dice);
        for _ in 0..1 + dice.below(3) {
            story.goes_on(&mut dice);
        }
        story.ends_well(&mut dice);
    }
}

/// The seeds to tell of: those of every run, one, or ten times as many.
fn seeds() -> Range<u64> {
    let one = std::env::var_os("HOGLINE_SEED").map(|seed| seed.to_str().unwrap().parse().unwrap());
    match one {
        Some(seed) => seed..seed + 1,
        None if is_whole() => 1..SEEDS.end * 10,
        None => SEEDS,
    }
}

#[test]
fn whatever_happened_the_next_good_run_makes_it_whole() {
    let seeds = seeds();
    let next = AtomicU64::new(seeds.start);
    thread::scope(|scope| {
        for _ in 0..TELLERS {
            scope.spawn(|| {
                while let Some(seed) = Some(next.fetch_add(1, Ordering::Relaxed))
                    && seeds.contains(&seed)
                {
                    tell(seed);
                }
            });
        }
    });
}
