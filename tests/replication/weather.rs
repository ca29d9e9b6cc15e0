//! Many things at once, in an order nobody thought of; the same for the same seed.

use std::ops::Range;

use hogline::sandbox::{Fault, FaultKind};

use crate::support::{DAY, MINUTE, PATIENCE, PostHog, Project};

const STREAMS: [&str; 5] =
    ["events", "persons", "session_recordings", "insights", "property_definitions"];

/// How many stories are made up.
const SEEDS: Range<u64> = 1..5;

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

fn some_server(seed: u64, dice: &mut Dice) -> PostHog {
    PostHog::playing(|options| {
        options.seed = seed;
        options.events = dice.one_of(&[700, 1500, 2500]);
        options.days = dice.one_of(&[2, 20, 60]);
        options.persons = dice.one_of(&[3, 150]);
        options.recordings = dice.one_of(&[1, 200]);
        options.timezone_offset_minutes = dice.one_of(&[0, -480, 345]);
        options.event_cap = dice.one_of(&[150, 1000]);
        options.sql_cap = dice.one_of(&[120, 1000, 50_000]);
        options.sql = dice.below(4) > 0;
        options.old_sql = dice.below(4) == 0;
    })
}

/// Something happens at the source.
fn life_goes_on(posthog: &PostHog, dice: &mut Dice) {
    posthog.later(dice.one_of(&[MINUTE, 90 * MINUTE, 2 * DAY]));
    posthog.receives_events(1 + dice.below(60), dice.one_of(&[MINUTE / 60, 30 * MINUTE, DAY]));
    for stream in ["insights", "persons"] {
        posthog.edits(stream, dice.below(5));
    }
}

/// A run goes wrong: it is killed, or an answer is spoilt.
fn a_run_goes_wrong(posthog: &PostHog, project: &Project, options: &[&str], dice: &mut Dice) {
    let n = 2 + dice.below(20);
    posthog.clear_log();
    posthog.fault(Fault::on("", FaultKind::Slow(60 * PATIENCE)).nth(&[n]));
    let running = project.starts_with(options);
    // It may be over before it gets so far.
    let report = project.path("report.json");
    posthog.until("it hangs or ends", |sandbox| sandbox.log().len() >= n || report.exists());
    running.dies();
    posthog.clear_faults();
}

#[test]
fn whatever_happened_the_next_good_run_makes_it_whole() {
    for seed in SEEDS {
        let mut dice = Dice(seed);
        let posthog = some_server(seed, &mut dice);
        let project = Project::incremental(&posthog, &STREAMS);
        for _ in 0..3 {
            for _ in 0..dice.below(3) {
                let mode = dice.one_of(&["incremental", "incremental", "full-refresh", "truncate"]);
                a_run_goes_wrong(&posthog, &project, &["--mode", mode], &mut dice);
            }
            project.run().succeeds();
            for stream in STREAMS {
                project.holds_exactly(&posthog, stream);
            }
            life_goes_on(&posthog, &mut dice);
        }
    }
}
