//! A state file that something happened to: it is put right, or the run says what to do; rows
//! are never lost, because the targets' own checkpoints are never behind.

use std::fs;
use std::path::PathBuf;

use rusqlite::Connection;

use super::{Fault, Ground, Tried, is_whole, try_all};
use crate::support::{MINUTE, PostHog, Project};

#[test]
fn no_state_file_is_bad_enough_to_lose_a_row() {
    let bytes = |name: &str, harm: fn(Vec<u8>) -> Vec<u8>| {
        mended(name, move |p| fs::write(state(p), harm(fs::read(state(p)).unwrap())).unwrap())
    };
    let refused = |name: &str, said: &'static str, sql: &'static str| {
        Fault::new(name, move |ground| is_refused(ground, said, sql))
    };
    let faults = [
        bytes("state empty", |_| Vec::new()),
        bytes("state cut in half", |bytes| bytes[..bytes.len() / 2].to_vec()),
        bytes("state cut to 100 bytes", |bytes| bytes[..100].to_vec()),
        bytes("state a text", |_| b"not a database\n".repeat(500)),
        bytes("state's header overwritten", |bytes| [vec![7; 100], bytes[100..].to_vec()].concat()),
        mended("state with a journal of its damage", |p| {
            fs::write(state(p), "damaged").unwrap();
            fs::write(p.path("state/hogline.db-journal"), "also damaged").unwrap();
        }),
        mended("state's checkpoint unreadable", |p| {
            let half = "UPDATE checkpoints SET position = substr(position, 1, 9)";
            Connection::open(state(p)).unwrap().execute_batch(half).unwrap();
        }),
        Fault::new("state with random bytes changed", has_random_bytes),
        Fault::new("state missing", |ground| {
            goes_on(ground, |p| fs::remove_file(state(p)).unwrap())
        }),
        Fault::new("state of another project and target", |ground| {
            goes_on(ground, |p| {
                let other = "UPDATE checkpoints SET project = '7', stream = 'other', object = 'sqlite://else#t'";
                Connection::open(state(p)).unwrap().execute_batch(other).unwrap();
            })
        }),
        refused("state of a newer hogline", "newer hogline", "PRAGMA user_version = 99"),
        refused(
            "state of another program",
            "not hogline's",
            "PRAGMA user_version = 0; DROP TABLE runs",
        ),
    ];
    try_all("state", 43, &faults);
}

fn state(project: &Project) -> PathBuf {
    project.path("state/hogline.db")
}

/// A copy, and more records to come.
fn loaded(ground: &Ground) -> (PostHog, Project) {
    let posthog = ground.posthog();
    let project = ground.project(&posthog);
    project.run_with(ground.options()).succeeds();
    posthog.receives_events(5, MINUTE);
    (posthog, project)
}

/// Damage that the last good copy mends: the run says so and goes on.
fn mended(name: &str, harm: impl Fn(&Project) + 'static) -> Fault {
    Fault::new(name, move |ground| {
        let (posthog, project) = loaded(ground);
        harm(&project);
        let harmed = fs::read(state(&project)).unwrap();
        project.hogline(&["state", "list"]).exits(7).says("damaged").says("fix:");
        project.run_with(ground.options()).succeeds().says("last good copy");
        assert_eq!(fs::read(project.path("state/hogline.db.damaged-1")).unwrap(), harmed);
        ground.settles(&posthog, &project);
        // Without a copy nothing is guessed, and the way out is named.
        harm(&project);
        fs::remove_file(project.path("state/hogline.db.last-good")).unwrap();
        if harmed.is_empty() {
            // To SQLite that is a new database: as if it were missing.
            ground.settles(&posthog, &project);
            return Tried::Passed(2);
        }
        project.run_with(ground.options()).exits(7).says("restore it").says("move it away");
        fs::remove_file(state(&project)).unwrap();
        ground.settles(&posthog, &project);
        Tried::Passed(2)
    })
}

/// Something that needs no mending.
fn goes_on(ground: &Ground, change: impl Fn(&Project)) -> Tried {
    let (posthog, project) = loaded(ground);
    change(&project);
    ground.settles(&posthog, &project);
    Tried::Passed(1)
}

/// Somebody else's database is left alone.
fn is_refused(ground: &Ground, said: &str, sql: &str) -> Tried {
    let (posthog, project) = loaded(ground);
    let good = fs::read(state(&project)).unwrap();
    Connection::open(state(&project)).unwrap().execute_batch(sql).unwrap();
    let before = fs::read(state(&project)).unwrap();
    posthog.clear_log();
    project.run_with(ground.options()).exits(2).says(said).says("fix:");
    assert_eq!(posthog.log(), []);
    assert_eq!(fs::read(state(&project)).unwrap(), before);
    fs::write(state(&project), good).unwrap();
    ground.settles(&posthog, &project);
    Tried::Passed(1)
}

/// Bytes changed here and there: mended, or refused with a way out that works.
fn has_random_bytes(ground: &Ground) -> Tried {
    let (posthog, project) = loaded(ground);
    let tries = if is_whole() { 40 } else { 3 };
    for n in 1..=tries {
        let mut bytes = fs::read(state(&project)).unwrap();
        let mut dice = n * 2_654_435_761_usize;
        for _ in 0..n % 5 + 1 {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let place = (dice >> 20) % bytes.len();
            bytes[place] ^= u8::try_from(dice >> 7 & 0xff).unwrap() | 1;
        }
        fs::write(state(&project), bytes).unwrap();
        let told = project.run_with(ground.options());
        let told = told.fails_or_is_one_of(&[0, 2, 7, 9]);
        match told.status.code() {
            Some(9) => {
                told.says("state reset");
                project.hogline(&["state", "reset", "--stream", ground.stream]).succeeds();
            }
            Some(0) => {}
            _ => fs::remove_file(state(&project)).unwrap(),
        }
        ground.settles(&posthog, &project);
    }
    Tried::Passed(tries)
}
