//! A disk that is full, failing or read-only: the run says so, and nothing is lost.

use super::{Fault, Ground, Kind, Tried, is_whole, try_all};
use crate::support::{PostHog, Shim};

#[test]
fn a_disk_that_fails_anywhere_costs_no_row() {
    let at_every = |name: &str, shim: fn(usize) -> Shim| {
        Fault::new(format!("{name}, for every n"), move |ground| fails_at_every(ground, shim))
    };
    let faults = [
        at_every("disk full from the n-th write on", Shim::full_at),
        at_every("the n-th write fails", |n| Shim::failing("write", n)),
        at_every("the n-th fsync fails", |n| Shim::failing("fsync", n)),
        at_every("the n-th rename fails", |n| Shim::failing("rename", n)),
        Fault::new("read-only file system", is_read_only),
    ];
    try_all("disk", 101, &faults);
}

/// The calls that are made to fail: each of the first ones, then ever fewer.
fn calls() -> impl Iterator<Item = usize> {
    let next = |n: &usize| Some(if is_whole() { n + 1 + n / 8 } else { 2 + n * 9 });
    std::iter::successors(Some(1), next)
}

/// Lets the n-th call fail in a first run and in one over an older copy, until a run has no
/// n-th call.
fn fails_at_every(ground: &Ground, shim: fn(usize) -> Shim) -> Tried {
    if let Some(why) = Shim::why_empty() {
        return Tried::Empty(why);
    }
    let posthog = ground.posthog();
    let mut strikes = 0;
    let has_copy: &[bool] = if is_whole() { &[false, true] } else { &[ground.mode != "backfill"] };
    for &has_copy in has_copy {
        strikes +=
            calls().take_while(|n| strikes_once(ground, &posthog, has_copy, &shim(*n))).count();
    }
    match strikes {
        0 => Tried::Empty("the target makes no such call"),
        _ => Tried::Passed(strikes),
    }
}

/// One run on a failing disk, and the runs after it; false where the disk was not met.
fn strikes_once(ground: &Ground, posthog: &PostHog, has_copy: bool, shim: &Shim) -> bool {
    let project = ground.project(posthog);
    if has_copy {
        project.run_with(ground.options()).succeeds();
    }
    let ran = project.run_on(shim, ground.options());
    if !shim.struck(&project) {
        ran.succeeds();
        return false;
    }
    let ran = ran.fails_or_is(7, 0);
    // A full copy shows its readers the old one until it is whole.
    if ran.status.success() || (has_copy && ground.mode == "full-refresh") {
        ground.readers_see_all(posthog, &project);
    }
    ground.settles(posthog, &project);
    true
}

/// Nothing can be written below the project's folder; the copy that is there stays.
fn is_read_only(ground: &Ground) -> Tried {
    if let Some(why) = Shim::why_empty() {
        return Tried::Empty(why);
    }
    let posthog = ground.posthog();
    let (fresh, full) = (ground.project(&posthog), ground.project(&posthog));
    full.run_with(ground.options()).succeeds();
    posthog.clear_log();
    fresh.run_on(&Shim::read_only(), ground.options()).exits(7).says("fix:");
    let parts: &[&str] = match ground.kind {
        Kind::Files(_) => &["/out", "/state/"],
        Kind::Sqlite => &["posthog.db", "/state/"],
        // Their servers do not run on this disk.
        _ => &["/state/"],
    };
    for part in parts {
        full.run_on(&Shim::read_only().under(part), ground.options()).exits(7).says("fix:");
        ground.holds(&posthog, &full);
    }
    assert_eq!(posthog.log(), [], "asked although nothing could be written");
    ground.settles(&posthog, &fresh);
    ground.settles(&posthog, &full);
    Tried::Passed(3)
}
