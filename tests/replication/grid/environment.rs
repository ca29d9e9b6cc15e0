//! The machine around a run: its clock, its zone, its terminal, its folders, other runs.

use std::ffi::OsString;
use std::fs;
use std::io::pipe;
use std::os::unix::ffi::OsStringExt;
use std::process::Command;

use super::{Fault, Ground, Tried, try_all};
use crate::support::{MINUTE, Project, Shim};

const HOUR: i64 = 3600;

#[test]
fn no_clock_and_no_zone_changes_what_is_read() {
    let faults = [
        clock("clock an hour back between runs", -HOUR, &[1]),
        clock("clock a day forward between runs", 24 * HOUR, &[1]),
        clock("clock two years forward", 2 * 365 * 24 * HOUR, &[1]),
        clock("clock an hour back in mid-run", -HOUR, &[5, 20]),
        clock("clock a day forward in mid-run", 24 * HOUR, &[5, 20]),
        zone("TZ=Asia/Kolkata, and the project's", "Asia/Kolkata", 330, "2026-03-10T12:00:00Z"),
        zone("night to summer time in Berlin", "Europe/Berlin", 60, "2026-03-29T00:59:30Z"),
        zone("night to winter time in Berlin", "Europe/Berlin", 120, "2026-10-25T00:59:30Z"),
        zone("TZ of nonsense", "Nowhere/Land", -210, "2026-03-10T12:00:00Z"),
    ];
    try_all("clock", 79, &faults);
}

#[test]
fn nobody_need_watch_a_run() {
    let shell = |name: &str, script: &'static str| {
        Fault::new(name, move |ground| {
            two_runs(
                ground,
                |project| project,
                |project| {
                    project.run_in_shell(script, ground.options()).succeeds();
                },
            )
        })
    };
    let changed = |name: &str, change: fn(&mut Command)| {
        Fault::new(name, move |ground| {
            two_runs(
                ground,
                |project| project,
                |project| {
                    project.run_changed(ground.options(), change).succeeds();
                },
            )
        })
    };
    let faults = [
        shell("stdout closed", "exec \"$@\" >&-"),
        shell("stdout and stderr closed", "exec \"$@\" >&- 2>&-"),
        shell("stdin closed", "exec \"$@\" <&-"),
        shell("/dev/full as stdout", "exec \"$@\" > /dev/full"),
        changed("reader of stdout and stderr gone", |command| {
            let ((_, stdout), (_, stderr)) = (pipe().unwrap(), pipe().unwrap());
            command.stdout(stdout).stderr(stderr);
        }),
        shell("no terminal", "exec setsid \"$@\""),
        changed("no HOME", |command| {
            command.env_remove("HOME").env_remove("HOGLINE_HOME");
        }),
        changed("HOME is no folder", |command| {
            command.env_remove("HOGLINE_HOME").env("HOME", "/dev/null");
        }),
    ];
    try_all("surroundings", 43, &faults);
}

#[test]
fn no_name_of_a_folder_is_too_odd() {
    let named = |name: &'static str| {
        Fault::new(format!("a folder named {name:?}"), move |ground| {
            two_runs(
                ground,
                |project| project.in_a_folder_named(name),
                |project| {
                    project.run_with(ground.options()).succeeds();
                },
            )
        })
    };
    let faults = [
        named("with spaces "),
        named("höglinie-☃-日本"),
        named("it's \"quoted\" "),
        named("percent%20?and#hash&"),
        Fault::new("odd names of file, state and target", odd_names),
        Fault::new("a folder whose name is not UTF-8", not_utf8),
    ];
    try_all("names", 39, &faults);
}

#[test]
fn runs_at_once_never_mix_what_they_write() {
    let faults = [
        Fault::new("two runs on one state", |ground| at_once_on_one_state(ground, 2)),
        Fault::new("twenty runs on one state", |ground| at_once_on_one_state(ground, 20)),
        Fault::new("two states for one table", |ground| at_once_on_one_table(ground, 2)),
        Fault::new("twenty states for one table", |ground| at_once_on_one_table(ground, 20)),
        Fault::new("twenty states and objects in one place", at_once_in_one_place),
    ];
    try_all("at-once", 63, &faults);
}

/// A run, then more records, then a run again; both in the same surroundings.
fn two_runs(
    ground: &Ground,
    prepare: impl FnOnce(Project) -> Project,
    run: impl Fn(&Project),
) -> Tried {
    let posthog = ground.posthog();
    let project = prepare(ground.project(&posthog));
    run(&project);
    ground.holds(&posthog, &project);
    posthog.receives_events(5, MINUTE);
    run(&project);
    ground.settles(&posthog, &project);
    Tried::Passed(2)
}

/// A clock that is wrong by so much, in the second run and in a first one that has to find
/// out by itself where a year begins; from its n-th reading on.
fn clock(name: &str, seconds: i64, readings: &'static [usize]) -> Fault {
    Fault::new(name, move |ground| {
        if let Some(why) = Shim::why_empty() {
            return Tried::Empty(why);
        }
        let posthog = ground.posthog();
        let mut strikes = 0;
        for &n in readings {
            let shim = Shim::clock_off(seconds, n);
            let fresh = ground.project(&posthog).without_input("anchor_date");
            let older = ground.project(&posthog);
            older.run_with(ground.options()).succeeds();
            posthog.receives_events(5, MINUTE);
            for project in [&fresh, &older] {
                let ran = project.run_on(&shim, ground.options());
                strikes += usize::from(shim.struck(project));
                if ground.minds_the_clock() && ran.code() == Some(7) {
                    ran.exits(7).says("set the clock of this machine");
                    continue;
                }
                ran.succeeds();
                ground.holds(&posthog, project);
            }
            // What comes now is behind no cursor.
            posthog.later(MINUTE);
            posthog.receives_events(5, MINUTE);
            ground.settles(&posthog, &fresh);
            ground.settles(&posthog, &older);
        }
        assert!(strikes > 0, "the clock was read less often");
        Tried::Passed(strikes)
    })
}

/// The zone of the process and that of the project, over a minute of which a clock on the
/// wall would show some twice or never.
fn zone(name: &str, zone: &'static str, minutes: i32, now: &'static str) -> Fault {
    Fault::new(name, move |ground| {
        let posthog = ground.posthog_playing(|options| {
            options.timezone_offset_minutes = minutes;
            options.now = hogline::cursor::Timestamp::parse(now).unwrap();
        });
        let project = ground.project(&posthog);
        for _ in 0..2 {
            project
                .run_changed(ground.options(), |command| {
                    command.env("TZ", zone);
                })
                .succeeds();
            ground.holds(&posthog, &project);
            posthog.later(MINUTE);
            posthog.receives_events(5, 2 * MINUTE);
        }
        ground.settles(&posthog, &project);
        Tried::Passed(2)
    })
}

/// Spaces, quotes and other letters in every name that a user gives.
fn odd_names(ground: &Ground) -> Tried {
    let posthog = ground.posthog();
    let project = ground.project(&posthog);
    let yaml = fs::read_to_string(project.path("replication.yaml")).unwrap();
    fs::create_dir(project.path("süß & 'bitter'")).unwrap();
    let odd = yaml
        .replace("sqlite://posthog.db", "\"sqlite://süß & 'bitter'/post hog.db\"")
        .replace("file://out", "\"file://süß & 'bitter'/out put\"");
    fs::write(project.path("my répl 'x'.yaml"), odd).unwrap();
    let run = ["run", "-r", "my répl 'x'.yaml", "--state", "état d'être/s t.db"];
    for _ in 0..2 {
        project.hogline(&[&run, ground.options()].concat()).succeeds();
    }
    assert!(project.path("état d'être/s t.db").exists());
    for (odd, plain) in [("post hog.db", "posthog.db"), ("out put", "out")] {
        let odd = project.path("süß & 'bitter'").join(odd);
        if odd.exists() {
            fs::rename(odd, project.path(plain)).unwrap();
        }
    }
    ground.readers_see_all(&posthog, &project);
    Tried::Passed(2)
}

/// The state in a folder that has no name in UTF-8.
fn not_utf8(ground: &Ground) -> Tried {
    let posthog = ground.posthog();
    let project = ground.project(&posthog);
    let name = OsString::from_vec(b"st\xffte".to_vec());
    for _ in 0..2 {
        let run = |command: &mut Command| {
            command.arg("--state").arg(&name);
        };
        project.run_changed(ground.options(), run).succeeds();
    }
    assert!(project.folder().join(&name).join("hogline.db").exists());
    ground.readers_see_all(&posthog, &project);
    Tried::Passed(2)
}

/// One run works, the others leave.
fn at_once_on_one_state(ground: &Ground, count: usize) -> Tried {
    let posthog = ground.posthog();
    let project = ground.project(&posthog);
    let runs: Vec<_> = (0..count).map(|_| project.starts_with(ground.options())).collect();
    let worked = runs.into_iter().map(|run| run.ends().fails_or_is(75, 0).status.success());
    assert!(worked.filter(|worked| *worked).count() > 0, "nobody worked");
    ground.settles(&posthog, &project);
    Tried::Passed(count)
}

/// Runs that know nothing of each other write one table: they stop, or it is whole.
fn at_once_on_one_table(ground: &Ground, count: usize) -> Tried {
    let posthog = ground.posthog();
    let project = ground.project(&posthog);
    let states: Vec<String> = (0..count).map(|n| format!("state-{n}")).collect();
    let runs = states
        .iter()
        .map(|state| project.starts_with(&[&["--state", state], ground.options()].concat()));
    let runs: Vec<_> = runs.collect();
    let worked = runs.into_iter().map(|run| run.ends().fails_or_is(7, 0).status.success());
    let worked: Vec<bool> = worked.collect();
    assert!(worked.contains(&true), "nobody worked");
    ground.readers_see_all(&posthog, &project);
    ground.settles(&posthog, &project);
    Tried::Passed(count)
}

/// Runs that share a database or folder and a home, each with a state and an object.
fn at_once_in_one_place(ground: &Ground) -> Tried {
    let posthog = ground.posthog();
    let project = ground.project(&posthog);
    let yaml = fs::read_to_string(project.path("replication.yaml")).unwrap();
    let runs = (0..20).map(|n| {
        let file = format!("replication-{n}.yaml");
        project.writes(
            &file,
            &yaml.replace("posthog.{stream_name}", &format!("p{n}.{{stream_name}}")),
        );
        let state = format!("state-{n}");
        project
            .starts_command(&[&["run", "-r", &file, "--state", &state], ground.options()].concat())
    });
    let runs: Vec<_> = runs.collect();
    runs.into_iter().for_each(|run| drop(run.ends().succeeds()));
    for n in [0, 7, 19] {
        let source = project.path(&format!("out/p{n}"));
        if let Some(database) = project.database() {
            database.sql(&format!(
                "DROP SCHEMA IF EXISTS posthog CASCADE; ALTER SCHEMA p{n} RENAME TO posthog"
            ));
        } else if ground.is_files() {
            drop(fs::remove_dir_all(project.path("out/posthog")));
            fs::rename(source, project.path("out/posthog")).unwrap();
        } else {
            let stream = ground.stream;
            project.changes_database(&format!(
                "DROP TABLE IF EXISTS posthog_{stream}; ALTER TABLE p{n}_{stream} RENAME TO posthog_{stream};
                 UPDATE _hogline_checkpoints SET object = 'x{n}' WHERE object LIKE '%#p{n}_{stream}'"
            ));
        }
        ground.readers_see_all(&posthog, &project);
    }
    Tried::Passed(20)
}
