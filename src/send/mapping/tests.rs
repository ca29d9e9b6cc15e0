//! What becomes of messages: stories of single rules, and the folder beside for whole sets.

mod page;
mod recorded;

use serde_json::{Map, Value, json};

use super::{Arrival, Envelope, Mapping, Options, Outcome, Profile, Rejection};
use crate::cursor::Timestamp;
use crate::send::draft::Draft;

/// When messages come here.
const ARRIVED: &str = "2026-11-27T12:00:00.500000Z";

fn arrival() -> Arrival {
    Arrival {
        received_at: Timestamp::parse(ARRIVED).unwrap(),
        ip: None,
        fallback_id: "drawn-once".to_owned(),
    }
}

fn object(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

/// What becomes of a message by hogline's own profile.
fn mapped(message: Value) -> Result<Outcome, Rejection> {
    Mapping::of(Profile::Hogline).map(object(message), &arrival())
}

/// The event that a message becomes.
fn event(mapping: &Mapping, message: Value) -> Draft {
    match mapping.map(object(message), &arrival()) {
        Ok(Outcome::Draft(draft)) => draft,
        other => panic!("{other:?}"),
    }
}

fn ours(message: Value) -> Draft {
    event(&Mapping::of(Profile::Hogline), message)
}

/// A tracked event with these fields beside.
fn track(fields: Value) -> Value {
    let mut message = object(json!({ "type": "track", "event": "Seen", "userId": "u1" }));
    message.extend(object(fields));
    Value::Object(message)
}

#[test]
fn ids_are_texts_without_blanks_whatever_they_were() {
    for (user, anonymous, who) in [
        (json!("u1"), json!("a1"), "u1"),
        (json!(" u1\t"), Value::Null, "u1"),
        (json!(17), Value::Null, "17"),
        (json!(17.0), Value::Null, "17"),
        (json!(0), Value::Null, "0"),
        (Value::Null, json!("a1"), "a1"),
        (json!(" "), json!(5), "5"),
    ] {
        let draft = ours(track(json!({ "userId": user, "anonymousId": anonymous })));

        assert_eq!(draft.distinct_id.as_deref(), Some(who), "{user} {anonymous}");
    }
}

#[test]
fn the_message_id_makes_the_uuid_in_every_profile() {
    let uuids = |id: Value| {
        Profile::ALL.map(|(_, profile)| {
            event(&Mapping::of(profile), track(json!({ "messageId": id }))).id.unwrap()
        })
    };

    assert_eq!(uuids(json!("msg-0001")), ["5cb44d2c-d008-5fa8-aff4-93cbfbe2e791"; 3]);
    // PostHog's own destination takes ids that are UUIDs for texts, too.
    let id = json!("022bb90c-bbac-11e4-8dfc-aa07a5b093db");
    assert_eq!(uuids(id), ["38c091ab-1857-58c9-bf58-b98a022f95dd"; 3]);
    assert_eq!(uuids(Value::Null), uuids(json!("drawn-once")));
}

#[test]
fn the_time_is_the_messages_or_what_its_clocks_tell() {
    let at = "2026-11-20T09:30:00.000+02:00";
    for (clocks, expected) in [
        (json!({ "timestamp": at, "originalTimestamp": "2026-11-01T00:00:00Z" }), at),
        (json!({ "timestamp": 1_764_244_800_123_u64 }), "1764244800123"),
        // The device's clock is a day behind; it kept the message for ten seconds.
        (
            json!({ "originalTimestamp": "2026-11-26T12:00:00Z", "sentAt": "2026-11-26T12:00:10Z" }),
            "2026-11-27T11:59:50.500000Z",
        ),
        (json!({ "originalTimestamp": "2026-11-26T12:00:00Z" }), "2026-11-26T12:00:00.000000Z"),
        (
            json!({
                "originalTimestamp": "2026-11-26T12:00:00Z",
                "sentAt": "2026-11-26T12:00:10Z",
                "receivedAt": "2026-11-26T13:00:10Z",
            }),
            "2026-11-26T13:00:00.000000Z",
        ),
        (json!({ "sentAt": "2026-11-26T12:00:10Z" }), ARRIVED),
        (json!({ "timestamp": null, "originalTimestamp": "" }), ARRIVED),
    ] {
        assert_eq!(ours(track(clocks.clone())).timestamp.as_deref(), Some(expected), "{clocks}");
    }
}

#[test]
fn rudderstack_takes_a_time_from_the_properties_before_that_of_arrival() {
    let mapping = Mapping::of(Profile::Rudderstack);
    let properties = json!({ "timestamp": "2026-11-20T09:30:00Z" });

    let draft = event(&mapping, track(json!({ "properties": properties })));
    assert_eq!(draft.timestamp.as_deref(), Some("2026-11-20T09:30:00Z"));
    assert_eq!(draft.properties["$time"], "2026-11-20T09:30:00Z");

    let noon = event(&mapping, track(json!({ "properties": { "timestamp": "noon" } })));
    assert_eq!(noon.timestamp.as_deref(), Some(ARRIVED));

    let clocks = json!({ "properties": properties, "originalTimestamp": "2026-11-21T00:00:00Z" });
    let draft = event(&mapping, track(clocks));
    assert_eq!(draft.timestamp.as_deref(), Some("2026-11-21T00:00:00.000000Z"));
}

#[test]
fn integrations_say_what_is_not_for_posthog() {
    for (integrations, refusal) in [
        (json!({}), None),
        (json!({ "All": true }), None),
        (json!({ "All": false }), Some("`integrations.All` is false")),
        (json!({ "All": false, "PostHog": true }), None),
        (json!({ "All": false, "POSTHOG": { "apiHost": "x" } }), None),
        (json!({ "All": false, "PostHog": null }), Some("`integrations.All` is false")),
        (json!({ "Posthog": false }), Some("`integrations.Posthog` is false")),
        (json!({ "Amplitude": false }), None),
    ] {
        let outcome = mapped(track(json!({ "integrations": integrations }))).unwrap();

        let told = match outcome {
            Outcome::NotForPostHog(reason) => Some(reason),
            Outcome::Draft(_) => None,
        };
        assert_eq!(told.as_deref(), refusal, "{integrations}");
    }
}

#[test]
fn what_is_not_for_posthog_needs_nothing_else() {
    let outcome = mapped(json!({ "integrations": { "PostHog": false } }));

    assert_eq!(outcome, Ok(Outcome::NotForPostHog("`integrations.PostHog` is false".to_owned())));
}

#[test]
fn an_envelope_says_what_its_messages_do_not_say_themselves() {
    let envelope = Envelope::read(&object(json!({
        "batch": [],
        "writeKey": "key",
        "context": { "app": { "name": "Shop", "version": "2" }, "locale": "de" },
        "integrations": { "All": false },
        "sentAt": "2026-11-27T12:00:00Z",
    })));
    let mut message = object(json!({
        "context": { "app": { "version": "3" }, "locale": null },
        "integrations": { "PostHog": true },
        "sentAt": null,
    }));

    envelope.unwrap().complete(&mut message);

    assert_eq!(
        Value::Object(message),
        json!({
            "context": { "app": { "name": "Shop", "version": "3" }, "locale": null },
            "integrations": { "All": false, "PostHog": true },
            "sentAt": "2026-11-27T12:00:00Z",
        })
    );
    let wrong = Envelope::read(&object(json!({ "context": "web" }))).unwrap_err();
    assert_eq!(wrong.reason, "`context` is a text: an object was expected");
}

#[test]
fn a_devices_address_is_its_persons_and_a_servers_is_nobodys() {
    let mut arrival = arrival();
    arrival.ip = Some("203.0.113.7".parse().unwrap());
    let told = |profile, fields| {
        let outcome = Mapping::of(profile).map(object(track(fields)), &arrival);
        let Ok(Outcome::Draft(draft)) = outcome else { panic!("{outcome:?}") };
        ["$ip", "$geoip_disable"].map(|name| draft.properties.get(name).cloned())
    };
    let address = |text: &str| [Some(json!(text)), None];
    for fields in [
        json!({ "channel": "web" }),
        json!({ "channel": "mobile", "context": null }),
        json!({ "context": { "direct": true } }),
        json!({ "context": { "library": { "name": "analytics.js" } } }),
    ] {
        for (_, profile) in Profile::ALL {
            assert_eq!(told(profile, fields.clone()), address("203.0.113.7"), "{fields}");
        }
    }

    let server = json!({ "channel": "server" });
    assert_eq!(told(Profile::Hogline, server.clone()), [None, Some(json!(true))]);
    assert_eq!(told(Profile::Segment, server.clone()), [None, None]);
    assert_eq!(told(Profile::Rudderstack, server), address("203.0.113.7"));
    for passed_on in [
        json!({ "channel": "server", "context": { "ip": "198.51.100.2" } }),
        json!({ "channel": "server", "properties": { "$ip": "198.51.100.2" } }),
    ] {
        assert_eq!(told(Profile::Hogline, passed_on), address("198.51.100.2"));
    }
}

#[test]
fn own_properties_count_more_and_groups_come_together() {
    let draft = ours(track(json!({
        "properties": {
            "$ip": "198.51.100.9",
            "$groups": { "project": "p1", "group": "mine" },
            "$set": { "plan": "pro" },
            "nothing": null,
        },
        "context": {
            "ip": "203.0.113.7",
            "groupId": "theirs",
            "traits": { "plan": "free", "age": 36 },
            "location": { "city": "Bern" },
            "library": { "name": "analytics.js" },
            "page": { "title": "Start" },
        },
    })));

    assert_eq!(
        Value::Object(draft.properties),
        json!({
            "$ip": "198.51.100.9",
            "$groups": { "project": "p1", "group": "mine" },
            "$set": { "plan": "pro", "age": 36 },
            "nothing": null,
            "$lib": "analytics.js",
            "context_location": { "city": "Bern" },
            "context_page": { "title": "Start" },
        })
    );
}

#[test]
fn nothing_of_the_context_is_lost() {
    let context = json!({
        "ip": "203.0.113.7",
        "os": "Plan 9",
        "device": { "type": "tablet", "token": "t1" },
        "campaign": "autumn",
        "sessionId": "s-17",
        "groupId": "g1",
        "page": {},
        "empty": null,
    });
    let mut mapping = Mapping::of(Profile::Hogline);
    mapping.options.default_group_type = None;

    let draft = event(&mapping, track(json!({ "context": context })));

    assert_eq!(
        Value::Object(draft.properties),
        json!({
            "$ip": "203.0.113.7",
            "$device_type": "tablet",
            "context_os": "Plan 9",
            "context_device": { "token": "t1" },
            "context_campaign": "autumn",
            "context_sessionId": "s-17",
            "context_groupId": "g1",
        })
    );
}

#[test]
fn host_and_path_are_those_of_the_url() {
    let place = |message: Value| {
        let properties = ours(message).properties;
        ["$current_url", "$host", "$pathname"].map(|name| properties[name].clone())
    };
    let context = json!({ "page": { "url": "https://app.test:8443/a?b", "path": "/told" } });

    let url = json!({ "url": "https://example.com/docs#top" });
    let page = json!({ "type": "page", "userId": "u1", "properties": url, "context": context });
    assert_eq!(place(page), ["https://example.com/docs#top", "example.com", "/docs"]);
    let own = json!({ "$current_url": "https://example.com/own" });
    let tracked = track(json!({ "properties": own, "context": context }));
    assert_eq!(place(tracked), ["https://example.com/own", "example.com", "/own"]);
    let tracked = track(json!({ "properties": url, "context": context }));
    assert_eq!(place(tracked), ["https://app.test:8443/a?b", "app.test:8443", "/told"]);
}

#[test]
fn a_session_is_kept_or_made_of_its_number() {
    let own = "0198c5a1-0000-7000-8000-000000000001";
    let session = |properties: Value, who: &str| {
        let context = json!({ "sessionId": 1_764_244_800_123_u64 });
        let message = track(
            json!({ "properties": properties, "context": context, "anonymousId": "a1", "userId": who }),
        );
        ours(message).properties["$session_id"].as_str().unwrap().to_owned()
    };

    assert_eq!(session(json!({ "$session_id": own }), "u1"), own);
    let made = session(json!({}), "u1");
    assert_eq!(made[..15], *"019ac52f-3e93-7", "{made}");
    assert_eq!(session(json!({ "$session_id": "s-17" }), "u1"), made);
    assert_eq!(session(json!({}), ""), made, "it stays when somebody logs in");

    let text = ours(track(json!({ "properties": { "$session_id": "s-17" } })));
    assert_eq!(text.properties["$session_id"], "s-17");
}

#[test]
fn events_of_nobody_known_go_without_a_person_where_that_is_wanted() {
    for (_, profile) in Profile::ALL {
        let mut mapping = Mapping::of(profile);
        mapping.options.anonymous_without_person = true;
        let flag = |message: Value| {
            let properties = event(&mapping, message).properties;
            (properties.get("$process_person_profile").cloned(), properties.contains_key("$set"))
        };
        let context = json!({ "traits": { "plan": "pro" } });

        let anonymous = json!({ "userId": null, "anonymousId": "a1", "context": context });
        assert_eq!(flag(track(anonymous)), (Some(json!(false)), false), "{profile}");
        let sets = mapping.options.set_traits_on_all_calls;
        assert_eq!(flag(track(json!({ "context": context }))), (None, sets), "{profile}");
        let asked = json!({ "$process_person_profile": true });
        let anonymous = json!({ "userId": "", "anonymousId": "a1", "properties": asked });
        assert_eq!(flag(track(anonymous)).0, Some(json!(true)), "{profile}");
    }

    let mut mapping = Mapping::of(Profile::Hogline);
    mapping.options.anonymous_without_person = true;
    let identify = json!({ "type": "identify", "anonymousId": "a1", "traits": { "plan": "pro" } });
    let properties = event(&mapping, identify).properties;
    assert_eq!(properties.get("$process_person_profile"), None, "it is about a person");
    assert_eq!(properties["$set"], json!({ "plan": "pro" }));
}

#[test]
fn traits_stay_with_identify_where_that_is_wanted() {
    for (_, profile) in Profile::ALL {
        let mut mapping = Mapping::of(profile);
        let sets = |mapping: &Mapping| {
            let message = track(json!({ "context": { "traits": { "plan": "pro" } } }));
            event(mapping, message).properties.get("$set").is_some()
        };

        assert_eq!(sets(&mapping), profile != Profile::Segment, "{profile}");
        mapping.options.set_traits_on_all_calls = !mapping.options.set_traits_on_all_calls;
        assert_eq!(sets(&mapping), profile == Profile::Segment, "{profile}");
    }
}

#[test]
fn a_group_without_a_type_takes_the_default() {
    let group = json!({ "type": "group", "userId": "u1", "groupId": 7, "traits": { "name": "x" } });
    let company = Some("company".to_owned());
    for (_, profile) in Profile::ALL {
        let mut mapping = Mapping::of(profile);
        mapping.options.default_group_type = company.clone();

        let properties = event(&mapping, group.clone()).properties;
        assert_eq!(
            (&properties["$group_type"], &properties["$group_key"]),
            (&json!("company"), &json!("7"))
        );

        mapping.options.default_group_type = None;
        let rejection = mapping.map(object(group.clone()), &arrival()).unwrap_err();
        assert!(rejection.reason.contains("no default group type"), "{rejection}");
    }
}

#[test]
fn a_group_call_under_rudderstack_needs_the_second_form() {
    let options = Options { use_v2_group: false, ..Options::of(Profile::Rudderstack) };
    let mapping = Mapping { profile: Profile::Rudderstack, options };
    let group = json!({ "type": "group", "userId": "u1", "groupId": "g1", "traits": { "groupType": "team" } });

    let rejection = mapping.map(object(group), &arrival()).unwrap_err();

    assert_eq!(
        rejection.to_string(),
        "`type` is group, which tells PostHog nothing without use_v2_group"
    );
    assert_eq!(rejection.field, "type");
}

#[test]
fn a_web_agent_names_browser_and_system_and_no_other_does() {
    let mapping = Mapping::of(Profile::Rudderstack);
    let seen = |channel: &str, agent: &str| {
        let context = json!({ "userAgent": agent, "os": { "name": "mine" } });
        let message = track(json!({ "channel": channel, "context": context }));
        let properties = event(&mapping, message).properties;
        ["$os", "$browser", "$browser_version"].map(|name| properties.get(name).cloned())
    };
    let firefox = "Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:109.0) Gecko/20100101 Firefox/118.0";

    assert_eq!(
        seen("web", firefox),
        [Some(json!("Ubuntu")), Some(json!("Firefox")), Some(json!("118.0"))]
    );
    assert_eq!(seen("server", firefox), [Some(json!("mine")), None, None]);
    // RudderStack puts the whole message in the place of a system that it cannot read.
    assert_eq!(seen("web", "curl/8.4.0"), [Some(json!("mine")), None, None]);
}

#[test]
fn a_profile_is_read_from_its_name() {
    for (name, profile) in Profile::ALL {
        assert_eq!(name.parse(), Ok(profile));
        assert_eq!(profile.to_string(), name);
    }
    assert_eq!(
        "segmnt".parse::<Profile>(),
        Err("unknown profile \"segmnt\", did you mean \"segment\"?".to_owned())
    );
}
