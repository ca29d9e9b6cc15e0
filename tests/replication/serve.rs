//! Calls of Segment's and RudderStack's SDKs, on their way through the gateway.
//!
//! What was let in is told by the sandbox; every gateway that ends is checked to have shown no key.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;

use hogline::cursor::Timestamp;
use hogline::sandbox::{Captured, Fault, FaultKind, PROJECT_TOKEN};
use serde_json::{Value, json};

use crate::capture::MOMENTS;
use crate::support::{Gateway, PostHog, Project, Reply};

/// The recorded body of an SDK, and the events of its messages.
macro_rules! recorded {
    ($name:literal) => {
        (
            $name,
            include_str!(concat!("../fixtures/tracking-calls/", $name, ".json")),
            include_str!(concat!("../fixtures/tracking-calls/", $name, ".events.json")),
        )
    };
}

/// A server whose clock is right, and a folder to serve from.
fn ground() -> (PostHog, Project) {
    let posthog = PostHog::playing(|options| options.now = Timestamp::now());
    let project = Project::incremental(&posthog, &["events"]);
    (posthog, project)
}

/// The `n`-th message of somebody's.
fn message(n: usize) -> Value {
    json!({
        "type": "track", "event": "bought", "userId": format!("u{}", n % 3),
        "messageId": format!("m-{n}"), "timestamp": "2026-03-09T11:58:47Z", "properties": { "n": n },
    })
}

/// A batch of these messages.
fn batch(numbers: impl IntoIterator<Item = usize>) -> String {
    json!({ "batch": numbers.into_iter().map(message).collect::<Vec<_>>() }).to_string()
}

fn gzip(text: &str) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(text.as_bytes()).unwrap();
    packed.finish().unwrap()
}

/// The events that were let in, as often as they came, in order of their `n`.
fn numbers(posthog: &PostHog) -> Vec<u64> {
    let mut all: Vec<u64> =
        posthog.captured().iter().map(|one| one.properties["n"].as_u64().unwrap()).collect();
    all.sort_unstable();
    all
}

/// These were let in, each under one identity however often it came, and no others.
#[track_caller]
fn has_exactly(posthog: &PostHog, wanted: impl IntoIterator<Item = u64>) {
    let mut all: BTreeMap<u64, BTreeSet<String>> = BTreeMap::new();
    for Captured { uuid, event, distinct_id, timestamp, properties, .. } in posthog.captured() {
        let identity = format!("{uuid} {event} {distinct_id} {timestamp}");
        all.entry(properties["n"].as_u64().unwrap()).or_default().insert(identity);
    }
    assert_eq!(all.keys().copied().collect::<Vec<_>>(), wanted.into_iter().collect::<Vec<_>>());
    assert!(all.values().all(|identities| identities.len() == 1), "{all:?}");
}

/// Waits until so many events were let in.
#[track_caller]
fn lets_in(posthog: &PostHog, count: usize) {
    posthog.until(&format!("{count} events are let in"), |it| it.captured().len() >= count);
}

#[test]
fn what_four_sdks_send_arrives_event_by_event() {
    for (sdk, body, events) in [
        recorded!("segment-python"),
        recorded!("segment-node"),
        recorded!("rudder-python"),
        recorded!("rudder-node"),
    ] {
        // Whatever year it is where this runs, it was recorded before.
        let [body, events] = [body, events].map(|text| text.replace("\"2026-", "\"2025-"));
        let (posthog, project) = ground();
        let begun = Timestamp::now();
        let gateway = Gateway::of(&project);

        let reply = match sdk.starts_with("rudder") {
            false => gateway.post("/v1/batch", &body),
            // Packed, and called a form.
            true => {
                let headers = "Content-Encoding: gzip\r\n\
                               Content-Type: application/x-www-form-urlencoded\r\n";
                gateway.send("POST", "/v1/batch", headers, gzip(&body)).unwrap()
            }
        };

        reply.is_taken();
        lets_in(&posthog, 6);
        gateway.stops().succeeds().says("Everything is delivered.");
        let body: Value = serde_json::from_str(&body).unwrap();
        let events: Vec<Value> = serde_json::from_str(&events).unwrap();
        for (sent, expected) in body["batch"].as_array().unwrap().iter().zip(&events) {
            let expected = &expected["hogline"];
            let captured = posthog.captured();
            let got = captured.iter().find(|one| one.uuid.to_string() == expected["uuid"]);
            let got = got.unwrap_or_else(|| panic!("{sdk}: not let in: {expected:#}"));
            assert_eq!(
                (&json!(got.event), &json!(got.distinct_id), &json!(got.properties)),
                (&expected["event"], &expected["distinct_id"], &expected["properties"]),
                "{sdk}"
            );
            match sent["timestamp"].as_str() {
                Some(_) => {
                    let told = Timestamp::parse(expected["timestamp"].as_str().unwrap());
                    assert_eq!(Some(got.timestamp), told, "{sdk}");
                }
                // When it came, less how long it had waited by its sender's clock.
                None => assert!(
                    (begun.minus(super::support::MINUTE)..Timestamp::now())
                        .contains(&got.timestamp),
                    "{sdk}: {}",
                    got.timestamp
                ),
            }
        }
        assert_eq!(posthog.captured().len(), events.len(), "{sdk}");
    }
}

#[test]
fn every_path_takes_its_type_of_message() {
    let (posthog, project) = ground();
    let gateway = Gateway::of(&project);
    let message = json!({
        "event": "bought", "name": "Home", "previousId": "a1", "groupId": "acme",
        "traits": { "groupType": "company" }, "type": "nonsense",
    });
    let names = [
        ("track", "t", "bought"),
        ("page", "p", "$pageview"),
        ("screen", "s", "$screen"),
        ("identify", "i", "$identify"),
        ("group", "g", "$groupidentify"),
        ("alias", "a", "$create_alias"),
    ];

    let mut expected = BTreeMap::new();
    for (name, letter, event) in names {
        for path in [format!("/v1/{name}"), format!("/v1/{letter}"), format!("/{letter}")] {
            let mut message = message.clone();
            message["userId"] = path.as_str().into();
            gateway.post(&path, message.to_string()).is_taken();
            expected.insert(path, event.to_owned());
        }
    }
    let key = format!("/beacon/v1/batch?writeKey={PROJECT_TOKEN}");
    for (n, path) in ["/v1/batch", "/v1/import", "/b", "/v1/b", &key].into_iter().enumerate() {
        gateway.post(path, batch([n])).is_taken();
    }

    gateway.stops().succeeds();
    let captured = posthog.captured().into_iter();
    let (batched, single): (Vec<Captured>, Vec<Captured>) =
        captured.partition(|one| one.properties.contains_key("n"));
    assert_eq!(batched.len(), 5);
    let single = single.into_iter().map(|one| (one.distinct_id, one.event)).collect();
    assert_eq!(expected, single);
}

#[test]
fn callers_say_who_they_are_in_one_of_three_ways() {
    let (posthog, project) = ground();
    let shop = [("SHOP", PROJECT_TOKEN)].map(|(name, token)| {
        let origin = posthog.origin();
        let secrets = format!("{{ project_api_key: {token}, host: \"{origin}\" }}");
        (name, format!("{{ type: api, spec: posthog, secrets: {secrets} }}"))
    });
    let start = || {
        Gateway::changed(&project, &[], |command| {
            command.envs(shop.clone()).env("HOGLINE_SERVE_KEYS", "wk_of_web==SHOP,wk_of_app=SHOP");
        })
    };
    let keyed = |n: usize, key: &str| json!({ "batch": [message(n)], "writeKey": key }).to_string();

    let gateway = start().called_by("wk_of_web=");
    gateway.post("/v1/batch", batch([0])).is_taken();
    let gateway = gateway.authorized_by("");
    gateway.post("/v1/batch?writeKey=wk_of_app", batch([1])).is_taken();
    gateway.post("/v1/batch", keyed(2, "wk_of_app")).is_taken();
    let none = gateway.post("/v1/batch", batch([3]));
    let wrong = gateway.post("/v1/batch", keyed(3, "wk_of_nobody"));
    let gateway = gateway.authorized_by("Bearer of-somebody");
    gateway
        .post("/v1/t", {
            let mut one = message(4);
            one["writeKey"] = "wk_of_web=".into();
            one.to_string()
        })
        .is_taken();
    let gateway = gateway.called_by("wk_of_nobody");
    let unknown = gateway.post("/v1/batch", keyed(5, "wk_of_app"));

    assert_eq!(none.said(), (401, "write_key_missing"));
    assert_eq!(wrong.said(), (401, "write_key_unknown"));
    assert_eq!(unknown.said(), (401, "write_key_unknown"));
    lets_in(&posthog, 4);
    let told = gateway.stops().succeeds();
    assert_eq!(numbers(&posthog), [0, 1, 2, 4]);
    assert!(!format!("{told}").contains("wk_of"), "a write key is shown:\n{told}");
}

#[test]
fn keys_lead_to_the_projects_of_their_connections() {
    let (shop, project) = ground();
    let blog = PostHog::start();
    let connection = |posthog: &PostHog| {
        format!(
            "{{ type: api, spec: posthog, secrets: {{ project_api_key: {PROJECT_TOKEN}, host: \"{}\" }} }}",
            posthog.origin()
        )
    };
    let options = ["--key", "wk_of_shop=SHOP", "--key", "wk_of_blog=BLOG"];
    let gateway = Gateway::changed(&project, &options, |command| {
        command.env("SHOP", connection(&shop)).env("BLOG", connection(&blog));
    });

    let gateway = gateway.called_by("wk_of_shop");
    gateway.post("/v1/batch", batch(0..3)).is_taken();
    let gateway = gateway.called_by("wk_of_blog");
    gateway.post("/v1/batch", batch(2..5)).is_taken();

    gateway.stops().succeeds().says("Everything is delivered.");
    assert_eq!((numbers(&shop), numbers(&blog)), (vec![0, 1, 2], vec![2, 3, 4]));
}

#[test]
fn what_can_never_be_taken_is_told_in_the_words_that_sdks_understand() {
    let (posthog, project) = ground();
    let gateway = Gateway::of(&project);
    let spaces = |count: usize| format!("{}{}", batch([1]), " ".repeat(count));
    let many = 4_096_000;
    let post = |path: &str, body: &[u8]| gateway.post(path, body);

    for (reply, expected) in [
        (post("/v1/batch", b"{\"batch\": ["), (400, "invalid_json")),
        (post("/v1/batch", b"OK"), (400, "invalid_json")),
        (post("/v1/batch", b"[]"), (400, "wrong_shape")),
        (post("/v1/batch", b"{}"), (400, "wrong_shape")),
        (post("/v1/batch", b"{\"batch\":[]}"), (400, "empty_batch")),
        (post("/v1/batch", b""), (400, "body_missing")),
        (post("/v1/batch", &gzip(&batch([1]))[..40]), (400, "bad_compression")),
        (post("/v1/track", b"7"), (400, "wrong_shape")),
        (post("/v1/track", b"{\"userId\":\"u1\"}"), (400, "call_invalid")),
        (post("/v1/batch", spaces(many).as_bytes()), (413, "request_too_large")),
        (post("/v1/batch", &gzip(&spaces(many))), (413, "request_too_large")),
        (post("/batch/", b"{}"), (404, "not_found")),
        (gateway.get("/v1/batch"), (405, "method_not_allowed")),
        (post("/health", b""), (405, "method_not_allowed")),
    ] {
        assert_eq!(reply.said(), expected, "{reply:?}");
        assert_eq!(reply.body["success"], false);
        assert!(reply.body["message"].as_str().is_some_and(|text| !text.is_empty()), "{reply:?}");
    }
    gateway.post("/v1/batch", spaces(many - batch([1]).len())).is_taken();

    gateway.stops().succeeds();
    assert_eq!(numbers(&posthog), [1]);
}

#[test]
fn one_bad_message_costs_itself_and_is_kept_for_who_mends_the_sender() {
    let (posthog, project) = ground();
    let gateway = Gateway::with(&project, &["--rejects", "rejects.jsonl"]);
    let mut nameless = message(1);
    nameless.as_object_mut().unwrap().remove("event");
    let mut timeless = message(3);
    timeless["timestamp"] = "some day".into();
    let elsewhere = json!({ "type": "track", "integrations": { "All": false } });
    let all = json!({ "batch": [message(0), nameless, message(2), timeless, elsewhere, 7] });

    let reply = gateway.post("/v1/batch", all.to_string());

    assert_eq!((reply.status, &reply.body["success"]), (200, &json!(true)));
    let rejected = |name: &str| -> Vec<Value> {
        reply.body["rejected"].as_array().unwrap().iter().map(|one| one[name].clone()).collect()
    };
    assert_eq!(rejected("index"), [1, 3, 5]);
    assert_eq!(rejected("messageId"), [json!("m-1"), json!("m-3"), Value::Null]);
    assert_eq!(rejected("code"), ["call_invalid", "timestamp_invalid", "wrong_shape"]);
    gateway.stops().succeeds();
    assert_eq!(numbers(&posthog), [0, 2]);
    let log = fs::read_to_string(project.path("rejects.jsonl")).unwrap();
    let log: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let kept: Vec<&Value> = log.iter().map(|line| &line["message"]).collect();
    assert_eq!(kept, [1, 3, 5].map(|n| &all["batch"][n]));
}

#[test]
fn a_message_sent_again_is_taken_and_not_doubled() {
    let (posthog, project) = ground();
    let gateway = Gateway::of(&project);

    gateway.post("/v1/batch", batch([0, 1, 1])).is_taken();
    lets_in(&posthog, 2);
    gateway.post("/v1/batch", batch([1, 2])).is_taken();
    lets_in(&posthog, 3);

    let figures = gateway.get("/metrics").text;
    assert!(figures.contains("hogline_serve_accepted_total 3\n"), "{figures}");
    assert!(figures.contains("hogline_serve_duplicates_total 2\n"), "{figures}");
    gateway.stops().succeeds();
    assert_eq!(numbers(&posthog), [0, 1, 2]);
}

#[test]
fn a_browser_may_call_from_any_page() {
    let (_posthog, project) = ground();
    let gateway = Gateway::of(&project);
    let origin = "Origin: https://shop.example\r\n";
    let asks = format!(
        "{origin}Access-Control-Request-Method: POST\r\n\
         Access-Control-Request-Headers: authorization,x-own\r\n"
    );

    let asked = gateway.send("OPTIONS", "/v1/t", &asks, "").unwrap();
    let taken = gateway.send("POST", "/v1/t", origin, message(1).to_string()).unwrap();
    let refused = gateway.send("POST", "/v1/t", origin, "{").unwrap();

    assert_eq!(asked.status, 204);
    assert_eq!(asked.header("Access-Control-Allow-Headers"), Some("authorization,x-own"));
    assert_eq!(asked.header("Access-Control-Max-Age"), Some("900"));
    for reply in [&asked, &taken, &refused] {
        let header = |name: &str| reply.header(&format!("Access-Control-Allow-{name}"));
        assert_eq!(header("Origin"), Some("https://shop.example"), "{reply:?}");
        assert_eq!(header("Credentials"), Some("true"), "{reply:?}");
    }
    assert_eq!((taken.status, refused.status), (200, 400));
    gateway.stops().succeeds();
}

#[test]
fn a_device_behind_a_proxy_keeps_its_address() {
    let (posthog, project) = ground();
    let gateway = Gateway::with(&project, &["--behind-proxy"]);
    let forwarded = "X-Forwarded-For: 10.0.0.1, 203.0.113.7\r\n";
    let mut of_browser = message(1);
    of_browser["channel"] = "web".into();

    gateway.send("POST", "/v1/t", forwarded, of_browser.to_string()).unwrap().is_taken();

    gateway.stops().succeeds();
    assert_eq!(posthog.captured()[0].properties["$ip"], "203.0.113.7");
}

#[test]
fn a_full_outbox_says_come_again_and_loses_nothing() {
    let (posthog, project) = ground();
    posthog.fault(Fault::on("POST /batch/", FaultKind::Throttled(Some(1))).first(1));
    let gateway = Gateway::with(&project, &["--max-outbox-bytes", "1000000"]);
    let large = |n: usize| {
        let mut message = message(n);
        message["properties"]["text"] = "x".repeat(400_000).into();
        message.to_string()
    };

    let mut taken = 0;
    let refused = loop {
        let reply = gateway.post("/v1/track", large(taken));
        if reply.status != 200 {
            break reply;
        }
        taken += 1;
        assert!(taken < 20, "it never fills");
    };
    assert_eq!(refused.said(), (429, "outbox_full"));
    assert_eq!(refused.header("Retry-After"), Some("5"));

    lets_in(&posthog, taken);
    gateway.post("/v1/track", large(taken)).is_taken();
    gateway.stops().succeeds();
    assert_eq!(numbers(&posthog), (0..=taken as u64).collect::<Vec<_>>());
}

#[test]
fn a_gateway_that_stops_delivers_what_waits() {
    let (posthog, project) = ground();
    let gateway = Gateway::of(&project);
    gateway.post("/v1/batch", batch(0..500)).is_taken();

    gateway.stops().succeeds().says("Everything is delivered.");

    has_exactly(&posthog, 0..500);
}

#[test]
fn while_it_stops_callers_are_told_to_come_again() {
    let (posthog, project) = ground();
    posthog.fault(Fault::on("/batch/", FaultKind::Late(std::time::Duration::from_secs(2))));
    let gateway = Gateway::of(&project);
    gateway.post("/v1/batch", batch(0..3)).is_taken();
    assert_eq!(gateway.get("/ready").status, 200);

    gateway.is_asked_to_stop();
    let refused = loop {
        let reply = gateway.post("/v1/batch", batch([7]));
        if reply.status != 200 {
            break reply;
        }
    };

    assert_eq!(refused.said(), (503, "stopping"));
    assert_eq!(refused.header("Retry-After"), Some("2"));
    assert_eq!(gateway.get("/ready").status, 503);
    assert_eq!(gateway.get("/health").status, 200);
    gateway.ends().succeeds();
}

#[test]
fn what_posthog_does_not_take_waits_for_the_next_start() {
    let (posthog, project) = ground();
    posthog.fault(Fault::on("/batch/", FaultKind::Status(503, String::new())));
    let gateway = Gateway::of(&project);
    gateway.post("/v1/batch", batch(0..5)).is_taken();

    gateway.stops().succeeds().says("5 events wait in the outbox for the next start.");
    assert!(posthog.captured().is_empty());
    posthog.clear_faults();
    let gateway = Gateway::of(&project);
    lets_in(&posthog, 5);

    gateway.stops().succeeds().says("Everything is delivered.");
    has_exactly(&posthog, 0..5);
}

#[test]
fn a_death_at_any_moment_loses_nothing_and_doubles_nothing() {
    for moment in MOMENTS {
        let (posthog, project) = ground();
        let gateway = Gateway::steered(&project, &format!("KILL:1:{moment}"));
        let call = |gateway: &Gateway<'_>| -> std::io::Result<Reply> {
            gateway.send("POST", "/v1/batch", "", batch(0..6))
        };

        // Who gets no answer sends again.
        let answered = call(&gateway);
        assert_eq!(answered.is_err(), moment == "in the outbox", "{moment}: {answered:?}");
        assert!(gateway.ends().was_killed(), "{moment}");
        let gateway = Gateway::of(&project);
        match answered {
            Ok(reply) => reply.is_taken(),
            Err(_) => call(&gateway).unwrap().is_taken(),
        }

        gateway.stops().succeeds().says("Everything is delivered.");
        has_exactly(&posthog, 0..6);
    }
}

#[test]
fn what_was_answered_survives_a_death_while_posthog_is_away() {
    let (posthog, project) = ground();
    posthog.fault(Fault::on("/batch/", FaultKind::Status(503, String::new())));
    let gateway = Gateway::of(&project);
    for n in 0..20 {
        gateway.post("/v1/track", message(n).to_string()).is_taken();
    }
    gateway.dies();
    posthog.clear_faults();

    let gateway = Gateway::of(&project);

    lets_in(&posthog, 20);
    gateway.stops().succeeds();
    has_exactly(&posthog, 0..20);
}

#[test]
fn its_figures_tell_how_it_is() {
    let (posthog, project) = ground();
    posthog.fault(Fault::on("/batch/", FaultKind::Status(503, String::new())));
    let gateway = Gateway::of(&project);
    gateway.post("/v1/batch", batch(0..3)).is_taken();
    gateway.post("/v1/batch", json!({ "batch": [message(3), 7] }).to_string());
    gateway.post("/v1/batch", "{");

    let figures = gateway.get("/metrics").text;

    for line in [
        "hogline_serve_accepted_total 4",
        "hogline_serve_rejected_total{code=\"wrong_shape\"} 1",
        "hogline_serve_requests_total{status=\"200\"} 2",
        "hogline_serve_requests_total{status=\"400\"} 1",
        "hogline_serve_delivered_total 0",
        "hogline_outbox_waiting 4",
    ] {
        assert!(figures.lines().any(|other| other == line), "{line} is not in\n{figures}");
    }
    gateway.dies();
}

#[test]
fn what_cannot_work_is_told_before_anybody_calls() {
    let (posthog, project) = ground();
    let start = |options: &[&str]| project.serves(options, |_| {}).ends();

    start(&["--key", "wk_of_nobody"]).exits(2).says("number 1 is not of the form");
    start(&["--key", "wk_of_web=GONE"]).exits(2).says("GONE");
    start(&["--key", "wk_of_web=POSTHOG"]).exits(2).says("missing key \"project_api_key\"");
    let shop =
        format!("{{ type: api, spec: posthog, secrets: {{ project_api_key: {PROJECT_TOKEN} }} }}");
    let twice = ["--key", "wk_of_web=SHOP", "--key", "wk_of_web=SHOP"];
    let twice = project.serves(&twice, |command| {
        command.env("SHOP", &shop);
    });
    twice.ends().exits(2).says("number 2 is number 1 once more");
    start(&["--drain", "soon"]).exits(2).says("is no duration");
    start(&["--profile", "sgment"]).exits(2).says("did you mean \"segment\"?");
    let wrong = project.serves(&[], |command| {
        command.env("HOGLINE_CAPTURE_KEY", "phc_of_somebody_else");
    });
    let told = wrong.ends().exits(4).says("does not know the project's token");
    assert!(!format!("{told}").contains("phc_of_somebody"), "{told}");
    let gateway = Gateway::of(&project);
    start(&[]).exits(75).says("another run");
    gateway.stops().succeeds();
    assert!(posthog.captured().is_empty());
}
