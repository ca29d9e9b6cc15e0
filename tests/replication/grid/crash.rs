//! Killed or stopped, at every moment that has a name.
//!
//! The moments are the `crash_point!`s of the program. Each is a row of the grid; a run dies
//! there when it passes it for the first time, then in another folder for the second time,
//! and so on until it survives. A sample of the grid tries one of these.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use super::{Fault, Ground, Tried, is_whole, try_all};
use crate::support::{PostHog, Project};

/// Every moment, in the order of a run; the last ones come only when one was cut short.
const MOMENTS: [&str; 43] = [
    "lock taken",
    "lock emptied",
    "state opened",
    "state being made",
    "state made",
    "target recalled",
    "before the log is kept",
    "folder made",
    "a load is begun",
    "before a request",
    "headers in",
    "half a body",
    "a batch of an open page",
    "a page is in",
    "before BEGIN",
    "after BEGIN",
    "before a draft",
    "a row of a batch",
    "before COMMIT",
    "file written",
    "file synced",
    "file renamed, folder not synced",
    "an upload begun",
    "a part uploaded",
    "file not listed",
    "before the manifest",
    "manifest written",
    "manifest synced",
    "manifest renamed",
    "manifest replaced",
    "leftovers swept",
    "between COMMIT and state",
    "after state",
    "before the swap",
    "inside the swap",
    "a file of the copy shown",
    "a file of the copy rewritten",
    "all of the copy shown",
    "between the last COMMIT and state",
    "before the history",
    "before the summary",
    "a leftover swept",
    "a shown file hidden again",
];

/// What leaves most behind, to be found by the next run.
const DEBRIS: [&str; 7] = [
    "state being made",
    "all of the copy shown",
    "a file of the copy shown",
    "inside the swap",
    "file not listed",
    "manifest synced",
    "before COMMIT",
];

/// How long a run that was asked to stop may take.
const TO_STOP: Duration = Duration::from_secs(5);

/// No run passes so many points: then something goes on for ever.
const ENOUGH: usize = 5000;

thread_local! {
    static CALM: RefCell<BTreeMap<String, Vec<String>>> = RefCell::default();
}

/// The moments of a run to which nothing happens, in order.
fn moments_of(ground: &Ground) -> Vec<String> {
    let known = CALM.with_borrow(|calm| calm.get(&ground.to_string()).cloned());
    known.unwrap_or_else(|| {
        let posthog = ground.posthog();
        let project = ground.project(&posthog);
        project.steered("KILL:0", ground.options()).succeeds();
        CALM.with_borrow_mut(|calm| calm.insert(ground.to_string(), project.passed()));
        project.passed()
    })
}

/// The numbers to try: all of them, or in a sample one of the first `many`.
fn some_of(many: usize, ground: &Ground) -> Vec<usize> {
    if is_whole() {
        return (1..ENOUGH).collect();
    }
    let place = Ground::all().iter().position(|other| other == ground).unwrap();
    vec![1 + place * 7 % many]
}

/// Dies at a moment, whenever it comes.
fn killed(ground: &Ground, moment: &str) -> Tried {
    let passes = moments_of(ground).iter().filter(|passed| *passed == moment).count();
    if passes == 0 {
        return Tried::Empty("the moment does not come");
    }
    let posthog = ground.posthog();
    let mut times = 0;
    for n in some_of(passes, ground) {
        let project = ground.project(&posthog);
        let ran = project.steered(&format!("KILL:{n}:{moment}"), ground.options());
        if !ran.was_killed() {
            ran.succeeds();
            break;
        }
        ground.settles(&posthog, &project);
        times += 1;
    }
    Tried::Passed(times)
}

#[test]
fn a_run_killed_at_any_moment_is_finished_by_the_next() {
    let fault = |moment: &&'static str| {
        let moment = *moment;
        Fault::new(format!("killed: {moment}"), move |ground| killed(ground, moment))
    };
    let faults: Vec<Fault> = MOMENTS.iter().map(fault).collect();
    try_all("killed", 83, &faults);
}

/// One folder, in which the first run dies at the first moment, the second at the second, …
fn killed_again_and_again(ground: &Ground) -> Tried {
    let posthog = ground.posthog();
    let project = ground.project(&posthog);
    let step = if is_whole() { 1 } else { 23 };
    for n in (1..ENOUGH).step_by(step) {
        let ran = project.steered(&format!("KILL:{n}"), ground.options());
        if !ran.was_killed() {
            ran.succeeds();
            ground.settles(&posthog, &project);
            return Tried::Passed(n / step);
        }
        ground.state_is_not_ahead(&project);
    }
    panic!("it never came to an end")
}

/// A run that left much behind, and one that dies while it finds that.
fn killed_in_recovery(ground: &Ground) -> Tried {
    let moments = moments_of(ground);
    let last = |moment: &&str| moments.iter().filter(|passed| passed == moment).count();
    let left: Vec<&str> = DEBRIS.into_iter().filter(|moment| last(moment) > 0).collect();
    let place = Ground::all().iter().position(|other| other == ground).unwrap();
    let chosen = if is_whole() { left } else { vec![left[place % left.len()]] };
    let posthog = ground.posthog();
    let mut times = 0;
    for moment in chosen {
        let first = format!("KILL:{}:{moment}", last(&moment));
        for n in some_of(8, ground) {
            let project = ground.project(&posthog);
            assert!(project.steered(&first, ground.options()).was_killed(), "survived {first}");
            let ran = project.steered(&format!("KILL:{n}"), ground.options());
            if !ran.was_killed() {
                ran.succeeds();
                break;
            }
            ground.settles(&posthog, &project);
            times += 1;
            // From here on it is a run like any other.
            if project.passed().iter().any(|passed| passed == "a load is begun") {
                break;
            }
        }
    }
    Tried::Passed(times)
}

#[test]
fn a_recovery_may_be_killed_as_well() {
    let faults = [
        Fault::new("killed again and again", killed_again_and_again),
        Fault::new("killed in recovery", killed_in_recovery),
    ];
    try_all("recovery", 11, &faults);
}

/// Is asked to stop, at every moment.
fn stopped(ground: &Ground, signal: &str, code: i32) -> Tried {
    let moments = moments_of(ground).len();
    let posthog = ground.posthog();
    let mut times = 0;
    for n in some_of(moments, ground) {
        let project = ground.project(&posthog);
        let begun = Instant::now();
        let ran = project.steered(&format!("{signal}:{n}"), ground.options());
        assert!(begun.elapsed() < TO_STOP, "took {:?} to stop", begun.elapsed());
        if ran.code() == Some(0) {
            // Too late: all was done.
            ran.succeeds();
            ground.holds(&posthog, &project);
        } else {
            ran.exits(code).says("run again");
            ground.state_is_with_the_target(&project);
        }
        ground.settles(&posthog, &project);
        times += 1;
        if project.passed().len() < n {
            break;
        }
    }
    Tried::Passed(times)
}

#[test]
fn a_run_asked_to_stop_at_any_moment_leaves_nothing_to_repair() {
    let faults = [("TERM", 143), ("INT", 130)].map(|(signal, code)| {
        Fault::new(format!("SIG{signal}"), move |ground| stopped(ground, signal, code))
    });
    try_all("stopped", 13, &faults);
}

/// The names in the program's source.
fn named_in(folder: &Path, names: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            named_in(&path, names);
        } else if !path.ends_with("crash.rs") {
            let text = fs::read_to_string(&path).unwrap();
            let calls = text.split("crash_point!(\"").skip(1);
            names.extend(calls.map(|call| call.split('"').next().unwrap().to_owned()));
        }
    }
}

#[test]
fn every_moment_that_has_a_name_comes() {
    let mut named = BTreeSet::new();
    named_in(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut named);
    // Those of sending and of syncs have stories of their own.
    for moment in crate::capture::MOMENTS.into_iter().chain(crate::sync::MOMENTS) {
        assert!(named.remove(moment), "{moment}");
    }
    let moments: BTreeSet<String> = MOMENTS.map(str::to_owned).into();
    assert_eq!(moments, named);

    let mut passed = BTreeSet::new();
    for ground in Ground::all().iter().filter(|ground| ground.paging == "keyset") {
        passed.extend(moments_of(ground));
    }
    passed.extend(moments_after_a_broken_swap());
    passed.extend(moments_of_a_large_page());
    #[cfg(feature = "object-storage")]
    passed.extend(moments_of_a_large_object());
    assert_eq!(passed, named);
}

/// What a run passes whose predecessor died when its files were shown and not listed.
fn moments_after_a_broken_swap() -> Vec<String> {
    let is_it = |ground: &Ground| ground.is_files() && ground.mode == "full-refresh";
    let ground = Ground::all().into_iter().find(is_it).unwrap();
    let posthog = ground.posthog();
    let project = ground.project(&posthog);
    assert!(project.steered("KILL:1:all of the copy shown", &[]).was_killed());
    project.steered("KILL:0", &[]).succeeds();
    project.passed()
}

/// A server whose pages are larger than a batch.
fn with_large_pages() -> PostHog {
    PostHog::playing(|options| options.events = 4500)
}

fn moments_of_a_large_page() -> Vec<String> {
    let posthog = with_large_pages();
    let project = Project::incremental(&posthog, &["events"]);
    project.steered("KILL:0", &[]).succeeds();
    project.passed()
}

/// An object that is uploaded in parts.
#[cfg(feature = "object-storage")]
fn moments_of_a_large_object() -> Vec<String> {
    let posthog = PostHog::playing(|options| options.events = 12_000);
    let project = Project::full_refresh(&posthog, &["events"]).into_a_bucket();
    project.steered("KILL:0", &[]).succeeds();
    project.passed()
}

#[test]
fn a_run_killed_in_the_midst_of_a_page_forgets_its_rows() {
    let posthog = with_large_pages();
    for is_files in [false, true] {
        for n in [1, 3] {
            let project = Project::full_refresh(&posthog, &["events"]);
            let project = if is_files { project.into_files() } else { project };
            let ran = project.steered(&format!("KILL:{n}:a batch of an open page"), &[]);
            assert!(ran.was_killed(), "there are no {n} batches");

            project.run().succeeds();

            match is_files {
                true => project.files_hold_exactly(&posthog, "events"),
                false => project.holds_exactly(&posthog, "events"),
            }
        }
    }
}
