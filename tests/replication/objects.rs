//! The same promises for a bucket, whose server is a real one of the test's own.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use crate::support::{DAY, EVERYTHING, KEY_ID, MINUTE, Oddity, PostHog, Project, SECRET, Told};

/// Every object, and when it was put there.
fn objects(project: &Project) -> BTreeMap<String, SystemTime> {
    let mut found = BTreeMap::new();
    collect(&project.bucket().bucket(), &mut found);
    found
}

fn collect(folder: &Path, found: &mut BTreeMap<String, SystemTime>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, found);
        } else {
            let put = path.metadata().unwrap().modified().unwrap();
            found.insert(path.display().to_string(), put);
        }
    }
}

/// What was told holds no part of the bucket's key.
#[track_caller]
fn keeps_the_key(told: &Told) {
    for secret in [KEY_ID, SECRET] {
        let is_told = told.stdout.contains(secret) || told.stderr.contains(secret);
        assert!(!is_told, "the key is told:\n{told}");
    }
}

#[test]
fn every_stream_arrives_exactly() {
    let posthog = PostHog::start();
    let project = Project::of_everything(&posthog).into_a_bucket();

    keeps_the_key(&project.run_with(&["--debug"]).succeeds());

    for stream in EVERYTHING {
        project.files_hold_exactly(&posthog, stream);
    }
}

#[test]
fn a_second_run_brings_what_is_new_and_touches_nothing_else() {
    let posthog = PostHog::start();
    let streams = ["events", "insights"];
    let project = Project::incremental(&posthog, &streams).into_a_bucket();
    project.run().succeeds();
    let before = objects(&project);
    project.run().succeeds();
    let after = objects(&project);
    let is_data = |name: &&String| !name.ends_with("_manifest.json");
    assert!(before.iter().filter(|(name, _)| is_data(name)).all(|(name, put)| after[name] == *put));

    posthog.later(MINUTE);
    posthog.receives_events(30, 2 * DAY);
    posthog.edits("insights", 7);
    project.run().succeeds();

    for stream in streams {
        project.files_hold_exactly(&posthog, stream);
    }
    project.verifies(&["--sample", "all"]).succeeds();
    project.compacts().succeeds();
    for stream in streams {
        project.files_hold_exactly(&posthog, stream);
        assert_eq!(project.files_of(stream).len(), 1);
    }
    project.verifies(&[]).succeeds();
}

#[test]
fn a_full_refresh_is_swapped_in_whole() {
    let posthog = PostHog::start();
    let project = Project::full_refresh(&posthog, &["events"]).into_a_bucket();
    project.run().succeeds();
    let before = project.lines_of("events");
    posthog.delete("events", 7);

    assert!(project.steered("KILL:1:all of the copy shown", &[]).was_killed());

    assert!(project.lines_of("events") == before, "readers see what they saw");
    project.run().succeeds();
    project.files_hold_exactly(&posthog, "events");
}

#[test]
fn two_runs_at_once_with_two_states_lose_nothing() {
    let posthog = PostHog::start();
    let project = Project::incremental(&posthog, &["insights"]).into_a_bucket();
    project.run().succeeds();
    posthog.later(MINUTE);
    posthog.edits("insights", 9);
    fs::create_dir(project.path("other")).unwrap();
    fs::copy(project.path("state/hogline.db"), project.path("other/hogline.db")).unwrap();

    let runs = [project.starts(), project.starts_with(&["--state", "other/hogline.db"])];
    let told = runs.map(|run| run.ends().fails_or_is_one_of(&[0, 7, 9]));

    let won = told.iter().filter(|told| told.status.success()).count();
    assert!(won >= 1, "{}\n{}", told[0], told[1]);
    project.files_show_exactly(&posthog, "insights");
}

#[test]
fn a_manifest_that_another_program_replaced_is_not_written_over() {
    let posthog = PostHog::start();
    let project = Project::incremental(&posthog, &["insights"]).into_a_bucket();
    project.run().succeeds();
    let manifest = project.path("out/posthog/insights/_manifest.json");
    let text = fs::read_to_string(&manifest).unwrap();

    fs::write(&manifest, &text[..40]).unwrap();
    project.run().exits(7).says("cannot be read").says("restore");
    fs::remove_file(&manifest).unwrap();
    let told = project.run();

    told.exits(9);
    assert!(!project.path("out/posthog/insights/_manifest.json").exists());
}

#[test]
fn replies_that_are_lost_lose_nothing() {
    for nth in 1..=3 {
        let posthog = PostHog::start();
        let project = Project::incremental(&posthog, &["insights"]);
        let project = project.into_a_bucket_with(Oddity::LosesReply(nth));

        project.run().succeeds();

        project.files_hold_exactly(&posthog, "insights");
    }
    let posthog = PostHog::start();
    let project = Project::incremental(&posthog, &["insights"]);
    let project = project.into_a_bucket_with(Oddity::Mute(1));
    project.run().succeeds();
    project.files_hold_exactly(&posthog, "insights");
}

#[test]
fn a_server_that_cannot_keep_writers_apart_is_refused() {
    let posthog = PostHog::start();
    let project = Project::incremental(&posthog, &["insights"]);
    let project = project.into_a_bucket_with(Oddity::Careless);

    let told = project.run().exits(7);

    told.says("does not keep to the conditions of a put").says("use a server that does");
    assert!(objects(&project).is_empty());
}

#[test]
fn what_the_key_or_the_bucket_lacks_is_told() {
    let posthog = PostHog::start();
    let project = Project::incremental(&posthog, &["insights"]).into_a_bucket();

    project.names_bucket(project.bucket(), "another-secret");
    let told = project.run().exits(7);
    assert!(!told.stderr.contains("another-secret"), "{told}");
    keeps_the_key(&told);
    told.says("SignatureDoesNotMatch").says("check access_key_id and secret_access_key");

    project.names_bucket(project.bucket(), SECRET);
    let env = fs::read_to_string(project.path(".env.hogline")).unwrap();
    project.writes(".env.hogline", &env.replace("bucket: out", "bucket: nowhere"));
    let told = project.run().exits(7);
    keeps_the_key(&told);
    told.says("create the bucket, or correct its name");

    project.writes(".env.hogline", &env.replace("endpoint", "endpiont"));
    let told = project.run().exits(2);
    keeps_the_key(&told);
    told.says("unknown key \"endpiont\", did you mean \"endpoint\"?");
    assert!(posthog.log().is_empty(), "nothing was asked");
}

#[test]
fn the_environments_keys_open_a_url() {
    let posthog = PostHog::start();
    let project = Project::incremental(&posthog, &["insights"]).into_a_bucket();
    let endpoint = project.bucket().endpoint();
    project.now_writes_to(&format!("s3://out/?region=eu-west-1&endpoint={endpoint}"));

    let ran = project.run_changed(&[], |command| {
        command.env("AWS_ACCESS_KEY_ID", KEY_ID).env("AWS_SECRET_ACCESS_KEY", SECRET);
    });

    keeps_the_key(&ran.succeeds());
    project.files_hold_exactly(&posthog, "insights");
}

#[test]
fn a_stop_ends_a_wait_for_a_server_that_says_nothing() {
    let posthog = PostHog::start();
    let project = Project::incremental(&posthog, &["insights"]).into_a_bucket();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", silent.local_addr().unwrap());
    let env = fs::read_to_string(project.path(".env.hogline")).unwrap();
    project.writes(".env.hogline", &env.replace(&project.bucket().endpoint(), &endpoint));

    let run = project.starts();
    let (_connection, _) = silent.accept().unwrap();
    let asked = Instant::now();
    run.receives("TERM");

    run.ends().exits(143);
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
}

#[test]
fn an_upload_that_cannot_be_ended_is_aborted() {
    let posthog = PostHog::playing(|options| options.events = 12_000);
    let project = Project::full_refresh(&posthog, &["events"]);
    let project = project.into_a_bucket_with(Oddity::NeverCompletes);

    project.run().exits(7).says("nothing is lost");

    assert_eq!(project.bucket().parts(), 0);
}
