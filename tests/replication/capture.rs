//! Events on their way into PostHog: one by one, from files, by way of the outbox.
//!
//! What was let in is told by the sandbox; every run checks that no key is in any output or file.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::process::Stdio;

use hogline::sandbox::{Captured, Fault, FaultKind};
use serde_json::{Value, json};

use crate::support::{PATIENCE, PostHog, Project, Told};

/// Every moment of sending at which a process may die, in their order.
pub(crate) const MOMENTS: [&str; 5] = [
    "in the outbox",
    "before a post",
    "after a post",
    "before the outbox is marked",
    "after the outbox is marked",
];

const TIME: &str = "2026-03-09T11:58:47Z";

/// A server and a folder to send from.
fn ground() -> (PostHog, Project) {
    let posthog = PostHog::start();
    let project = Project::incremental(&posthog, &["events"]);
    (posthog, project)
}

/// A line with an event of somebody's, the `n`-th.
fn line(n: usize, who: &str) -> String {
    json!({ "event": "bought", "distinct_id": who, "timestamp": TIME, "properties": { "n": n } })
        .to_string()
}

/// So many events of three persons, in turn.
fn lines(count: usize) -> String {
    (0..count).map(|n| line(n, ["ada", "bob", "eve"][n % 3]) + "\n").collect()
}

/// What was let in, by its `n`, each with its identity: a copy has the same.
fn by_number(posthog: &PostHog) -> BTreeMap<u64, BTreeSet<String>> {
    let mut all: BTreeMap<u64, BTreeSet<String>> = BTreeMap::new();
    for Captured { uuid, event, distinct_id, timestamp, properties, .. } in posthog.captured() {
        let n = properties["n"].as_u64().unwrap();
        let identity = format!("{uuid} {event} {distinct_id} {timestamp}");
        all.entry(n).or_default().insert(identity);
    }
    all
}

/// These were let in, each once however often it came, and no others.
#[track_caller]
fn has_exactly(posthog: &PostHog, numbers: impl IntoIterator<Item = u64>) {
    let all = by_number(posthog);
    assert_eq!(all.keys().copied().collect::<Vec<_>>(), numbers.into_iter().collect::<Vec<_>>());
    for (n, identities) in all {
        assert_eq!(identities.len(), 1, "event {n} came as several: {identities:?}");
    }
}

/// The JSON that a command printed.
#[track_caller]
fn printed(told: &Told) -> Value {
    serde_json::from_str(&told.stdout).unwrap_or_else(|err| panic!("{err}:\n{told}"))
}

/// The rejects of a file, as the line and the word for why.
fn rejects(project: &Project, file: &str) -> Vec<(u64, String)> {
    let text = fs::read_to_string(project.path(&format!("{file}.rejects.jsonl"))).unwrap();
    let reject = |line: &str| {
        let told: Value = serde_json::from_str(line).unwrap();
        (told["line"].as_u64().unwrap(), told["code"].as_str().unwrap().to_owned())
    };
    text.lines().map(reject).collect()
}

#[test]
fn every_action_arrives_under_posthogs_own_names() {
    let actions: [(&[&str], &str, &str, Value); 6] = [
        (
            &[
                "event",
                "--event",
                "signed up",
                "--distinct-id",
                "u1",
                "--properties",
                r#"{"plan":"pro"}"#,
            ],
            "signed up",
            "u1",
            json!({ "plan": "pro" }),
        ),
        (
            &["page", "--distinct-id", "u1", "--name", "Home", "--url", "https://x.example/"],
            "$pageview",
            "u1",
            json!({ "name": "Home", "title": "Home", "$current_url": "https://x.example/" }),
        ),
        (
            &["screen", "--distinct-id", "u1", "--name", "Cart"],
            "$screen",
            "u1",
            json!({ "$screen_name": "Cart" }),
        ),
        (
            &[
                "identify",
                "--distinct-id",
                "u1",
                "--anon-distinct-id",
                "a1",
                "--properties",
                r#"{"age":7}"#,
            ],
            "$identify",
            "u1",
            json!({ "$set": { "age": 7 }, "$anon_distinct_id": "a1" }),
        ),
        (
            &["alias", "--distinct-id", "u1", "--alias", "old"],
            "$create_alias",
            "u1",
            json!({ "alias": "old" }),
        ),
        (
            &["group", "--type", "company", "--key", "acme", "--properties", r#"{"size":3}"#],
            "$groupidentify",
            "$company_acme",
            json!({ "$group_type": "company", "$group_key": "acme", "$group_set": { "size": 3 } }),
        ),
    ];
    let (posthog, project) = ground();
    for (arguments, event, who, expected) in actions {
        let arguments = [arguments, &["--timestamp", TIME, "--output", "json"]].concat();

        let told = project.captures(&arguments).succeeds();

        let Captured { uuid, event: name, distinct_id, timestamp, mut properties, .. } =
            posthog.captured().pop().unwrap();
        let told = printed(&told);
        assert_eq!(
            (told["status"].as_u64(), told["uuid"].as_str()),
            (Some(200), Some(&*uuid.to_string()))
        );
        assert_eq!((name.as_str(), distinct_id.as_str()), (event, who));
        assert_eq!(timestamp.to_string(), "2026-03-09T11:58:47.000000Z");
        // Whose it is, and that the server's address is nobody's.
        for own in ["$lib", "$lib_version", "$geoip_disable"] {
            assert!(properties.remove(own).is_some(), "{own}");
        }
        assert_eq!(Value::Object(properties), expected);
    }
}

#[test]
fn an_event_keeps_its_identity_and_a_message_gets_one() {
    let (posthog, project) = ground();
    let event = ["event", "--event", "e", "--distinct-id", "u1", "--timestamp", TIME, "--uuid"];

    for id in ["msg-0001", "018f3b5e-7a3c-7cc0-8d2e-0123456789ab"] {
        project.captures(&[&event[..], &[id]].concat()).succeeds().says("PostHog answered 200");
    }

    let uuids: Vec<String> = posthog.captured().iter().map(|one| one.uuid.to_string()).collect();
    let expected = ["5cb44d2c-d008-5fa8-aff4-93cbfbe2e791", "018f3b5e-7a3c-7cc0-8d2e-0123456789ab"];
    assert_eq!(uuids, expected);
}

#[test]
fn what_breaks_a_rule_is_put_aside_and_costs_nothing_else() {
    let (posthog, project) = ground();
    let bad = [
        "{\"event\": ",
        r#"{"event":"","distinct_id":"u"}"#,
        r#"{"event":"$identify","distinct_id":"u","properties":{"$anon_distinct_id":"null"}}"#,
        r#"{"event":"e","distinct_id":"u","propertes":{}}"#,
        r#"{"event":"e","distinct_id":"u","timestamp":"2099-01-01"}"#,
    ];
    project.writes("events.jsonl", &(lines(3) + &bad.join("\n") + "\n\n" + &line(3, "ada")));

    let told = project.captures(&["batch", "events.jsonl", "--output", "json"]).exits(3);

    has_exactly(&posthog, 0..4);
    let told = printed(&told);
    let counts = ["lines", "delivered", "rejected", "exit_code"].map(|name| told[name].as_u64());
    assert_eq!(counts, [Some(10), Some(4), Some(5), Some(3)]);
    let expected = [
        (4, "not_json"),
        (5, "event_missing"),
        (6, "illegal_id"),
        (7, "unknown_key"),
        (8, "timestamp_ahead"),
    ];
    assert_eq!(rejects(&project, "events.jsonl"), expected.map(|(n, code)| (n, code.to_owned())));
}

#[test]
fn a_file_sent_again_doubles_nothing() {
    let (posthog, project) = ground();
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(lines(50).as_bytes()).unwrap();
    fs::write(project.path("events.jsonl.gz"), packed.finish().unwrap()).unwrap();
    let send = ["batch", "events.jsonl.gz", "--historical", "--batch-size", "7"];

    project.captures(&send).succeeds();
    project.captures(&[&send[..], &["--gzip", "false"]].concat()).succeeds();

    assert_eq!(posthog.captured().len(), 100);
    has_exactly(&posthog, 0..50);
    assert!(posthog.captured().iter().all(|one| one.historical));
    let sent_at = posthog.asked_about("sent_at");
    assert!(sent_at.is_empty(), "PostHog would shift every time");
}

#[test]
fn an_answer_that_is_lost_costs_a_copy_and_no_event() {
    let (posthog, project) = ground();
    posthog.fault(Fault::on("/batch", FaultKind::Lost).nth(&[1, 3]));
    project.writes("events.jsonl", &lines(20));

    let told =
        project.captures(&["batch", "events.jsonl", "--batch-size", "4", "--output", "json"]);

    assert_eq!(printed(&told.succeeds())["retries"], 2);
    assert!(posthog.captured().len() > 20);
    has_exactly(&posthog, 0..20);
}

#[test]
fn the_event_that_is_refused_is_found_and_no_other_is_lost() {
    for (status, code) in [(400, "refused"), (413, "too_large")] {
        let (posthog, project) = ground();
        posthog.fault(Fault::on("\"n\":13,", FaultKind::Status(status, "no".into())));
        posthog.fault(Fault::on("\"n\":13}", FaultKind::Status(status, "no".into())));
        project.writes("events.jsonl", &lines(40));

        let send = ["batch", "events.jsonl", "--output", "json"];
        let told = printed(&project.captures(&send).exits(3));

        has_exactly(&posthog, (0..40).filter(|n| *n != 13));
        assert_eq!(rejects(&project, "events.jsonl"), [(14, code.to_owned())]);
        assert_eq!((told["delivered"].as_u64(), told["retries"].as_u64()), (Some(39), Some(0)));
    }
}

#[test]
fn a_server_that_refuses_everything_gets_no_file_bit_by_bit() {
    let (posthog, project) = ground();
    posthog.fault(Fault::on("/batch", FaultKind::Status(400, "failed to decode".into())));
    project.writes("events.jsonl", &lines(300));

    let send = ["batch", "events.jsonl", "--batch-size", "10", "--concurrency", "1"];
    let told = project.captures(&send).exits(6);

    told.says("every event of a batch was refused").says("everything before line 1 is delivered");
    assert!(posthog.capture_requests() < 25, "{}", posthog.capture_requests());
    assert!(!project.path("events.jsonl.rejects.jsonl").exists());
}

#[test]
fn the_events_of_one_person_arrive_in_their_order() {
    let (posthog, project) = ground();
    posthog.fault(Fault::on("/batch", FaultKind::Status(503, String::new())).nth(&[2, 5]));
    project.writes("events.jsonl", &lines(120));

    project.captures(&["batch", "events.jsonl", "--batch-size", "8"]).succeeds();

    has_exactly(&posthog, 0..120);
    let mut last: BTreeMap<String, u64> = BTreeMap::new();
    for Captured { distinct_id, properties, .. } in posthog.captured() {
        let n = properties["n"].as_u64().unwrap();
        let before = last.insert(distinct_id.clone(), n);
        assert!(before.is_none_or(|before| before < n), "{distinct_id}: {n} after {before:?}");
    }
}

#[test]
fn patience_ends_and_says_what_is_not_delivered() {
    let (posthog, project) = ground();
    posthog.fault(Fault::on("/batch", FaultKind::Status(503, String::new())));
    project.writes("events.jsonl", &lines(5));

    let told = project.captures(&["batch", "events.jsonl", "--retries", "1", "--concurrency", "1"]);

    told.exits(6)
        .says("after 2 attempts")
        .says("everything before line 1 is delivered or rejected");
    assert_eq!(posthog.capture_requests(), 2);
    let one = ["event", "--event", "e", "--distinct-id", "u", "--retries", "0"];
    project.captures(&one).exits(6).says("the event is not kept");
    posthog.clear_faults();
    posthog.fault(Fault::on("/batch", FaultKind::Throttled(Some(3600))));
    project.captures(&one).exits(5).says("come back in 1 h");
}

#[test]
fn a_token_that_nobody_has_is_found_out_before_anything_is_lost() {
    let (posthog, project) = ground();
    project.writes("events.jsonl", &lines(5));
    let send = ["batch", "events.jsonl", "--key"];

    let unknown = project.captures(&[&send[..], &["phc_nobodys_token"]].concat()).exits(4);
    let personal = project.captures(&[&send[..], &["phx_a_personal_key"]].concat()).exits(2);

    let unknown = unknown.says("does not know the project's token");
    let personal = personal.says("begins with phx_");
    for told in [unknown, personal] {
        assert!(
            !format!("{told}").contains("nobodys_token")
                && !format!("{told}").contains("a_personal_key")
        );
    }
    assert_eq!(posthog.capture_requests(), 0);
}

#[test]
fn a_connection_for_sending_needs_no_personal_key() {
    let (posthog, project) = ground();
    let connection = format!(
        "HOG='{{ type: api, spec: posthog, secrets: {{ project_api_key: env:TOKEN, host: \"{}\" }} }}'\n",
        posthog.origin()
    );
    project.writes(".env.hogline", &connection);
    let event = ["event", "--event", "e", "--distinct-id", "u", "--conn", "HOG"];
    let naming = |token: &'static str| {
        project
            .starts_capturing(&event, |command| {
                command.env("TOKEN", token);
            })
            .ends()
    };

    naming(hogline::sandbox::PROJECT_TOKEN).succeeds();
    naming("phx_a_personal_key").exits(2).says("secrets.project_api_key: begins with phx_");

    assert_eq!(posthog.captured().len(), 1);
}

#[test]
fn what_is_in_the_outbox_outlives_any_death_and_is_delivered_once() {
    for moment in MOMENTS {
        let (posthog, project) = ground();
        project.writes("events.jsonl", &lines(30));
        let send = ["batch", "events.jsonl", "--outbox"];

        let died = project.captures_steered(&format!("KILL:1:{moment}"), &send);

        assert!(died.was_killed(), "{moment}");
        // One handful, and so all or nothing of it was accepted.
        project.outbox(&["retry"]).succeeds();
        has_exactly(&posthog, 0..30);
        project.outbox(&["list"]).succeeds().says("The outbox is empty.");
        project.captures(&send).succeeds();
        has_exactly(&posthog, 0..30);
    }
}

#[test]
fn a_file_whose_sender_died_is_sent_again_without_an_outbox() {
    for moment in ["before a post", "after a post"] {
        for n in 1..4 {
            let (posthog, project) = ground();
            project.writes("events.jsonl", &lines(30));
            let send = ["batch", "events.jsonl", "--batch-size", "3"];
            assert!(project.captures_steered(&format!("KILL:{n}:{moment}"), &send).was_killed());

            project.captures(&send).succeeds();

            has_exactly(&posthog, 0..30);
        }
    }
}

#[test]
fn the_outbox_keeps_what_posthog_did_not_take() {
    let (posthog, project) = ground();
    posthog.fault(Fault::on("/batch", FaultKind::Status(503, String::new())));
    let event = [
        "event",
        "--event",
        "bought",
        "--distinct-id",
        "u",
        "--timestamp",
        TIME,
        "--properties",
        r#"{"n":7}"#,
        "--outbox",
        "--retries",
        "0",
    ];

    project.captures(&event).exits(5).says("safe in the outbox: run hogline outbox retry");

    let listed = project.outbox(&["list", "--format", "json"]).succeeds();
    assert_eq!(printed(&listed)["waiting"][0]["events"], 1);
    project.outbox(&["retry", "--retries", "0"]).exits(5);
    posthog.clear_faults();
    posthog.fault(Fault::on("/batch", FaultKind::Status(400, "not today".into())).first(1));
    project.outbox(&["retry"]).exits(3).says("PostHog refused events: 1");
    project.outbox(&["list"]).succeeds().says("not today");
    project.outbox(&["retry", "--refused"]).succeeds().says("delivered 1, refused 0");
    has_exactly(&posthog, [7]);
}

#[test]
fn one_sender_at_a_time_delivers_from_an_outbox() {
    let (posthog, project) = ground();
    posthog.fault(Fault::on("/batch", FaultKind::Slow(60 * PATIENCE)).first(1));
    project.writes("events.jsonl", &lines(3));
    let send = ["batch", "events.jsonl", "--outbox", "--skip-token-check"];
    let first = project.starts_capturing(&send, |_| {});
    posthog.until("the first sends", |sandbox| sandbox.capture_requests() > 0);

    project.outbox(&["retry"]).exits(5).says(&first.pid().to_string());

    first.dies();
    posthog.clear_faults();
    project.outbox(&["retry"]).succeeds();
    has_exactly(&posthog, 0..3);
}

#[test]
fn a_pipe_need_not_end_for_its_events_to_arrive() {
    for send in [&["batch", "-"][..], &["batch", "-", "--outbox"]] {
        let (posthog, project) = ground();
        let mut running = project.starts_capturing(send, |command| {
            command.stdin(Stdio::piped());
        });

        for n in 0..3 {
            running.reads(&line(n, "ada"));
            posthog.until("it arrived", |sandbox| sandbox.captured().len() > n);
        }

        running.ends().succeeds().says("3 events delivered");
        has_exactly(&posthog, 0..3);
    }
}

#[test]
fn a_signal_ends_sending_after_what_is_under_way() {
    for (signal, code) in [("TERM", 143), ("INT", 130)] {
        let (posthog, project) = ground();
        let mut running = project.starts_capturing(&["batch", "-"], |command| {
            command.stdin(Stdio::piped());
        });
        running.reads(&line(0, "ada"));
        posthog.until("the first arrived", |sandbox| !sandbox.captured().is_empty());

        // The pipe is still open.
        running.receives(signal);

        let told = running.ends_with_its_pipe_open().exits(code);
        told.says("everything before line 2 is delivered or rejected");
        has_exactly(&posthog, [0]);
    }
}

#[test]
fn tracking_calls_are_sent_as_a_profile_maps_them() {
    let (posthog, project) = ground();
    let calls = [
        json!({ "type": "track", "event": "bought", "userId": "u1", "messageId": "msg-0001",
                "timestamp": TIME, "properties": { "n": 1 } }),
        json!({ "type": "track", "event": "hidden", "userId": "u1", "messageId": "m2",
                "integrations": { "PostHog": false } }),
        json!({ "type": "dance", "userId": "u1" }),
    ];
    let text: String = calls.iter().map(|call| format!("{call}\n")).collect();
    project.writes("calls.jsonl", &text);
    let send = ["batch", "calls.jsonl", "--format", "segment"];

    let shown = project.captures(&[&send[..], &["--map-only"]].concat()).exits(3);
    let event: Value = serde_json::from_str(shown.stdout.trim()).unwrap();
    assert_eq!(event["uuid"], "5cb44d2c-d008-5fa8-aff4-93cbfbe2e791");
    assert_eq!(posthog.capture_requests(), 0);
    let told = project.captures(&[&send[..], &["--output", "json"]].concat()).exits(3);

    let told = printed(&told);
    let counts = ["delivered", "skipped", "rejected"].map(|name| told[name].as_u64());
    assert_eq!(counts, [Some(1), Some(1), Some(1)]);
    assert_eq!(rejects(&project, "calls.jsonl"), [(3, "call_invalid".to_owned())]);
    has_exactly(&posthog, [1]);
}
