//! The rules, each by what keeps it and what breaks it.

use serde_json::json;

use super::*;

fn now() -> Timestamp {
    Timestamp::parse("2026-03-10T12:00:00.25Z").unwrap()
}

fn draft(event: &str, properties: Value) -> Draft {
    Draft {
        id: Some("msg-0001".into()),
        event: Some(event.into()),
        distinct_id: Some("u1".into()),
        timestamp: None,
        properties: properties.as_object().unwrap().clone(),
    }
}

/// The word and the reason for which it is rejected.
fn rejected(draft: Draft) -> (String, String) {
    let Rejection { code, reason } = admit(draft, now()).unwrap_err();
    (code.to_string(), reason)
}

#[test]
fn an_id_that_is_a_uuid_is_kept_and_any_other_becomes_one() {
    let of = |id: Option<&str>| {
        let draft = Draft { id: id.map(Into::into), ..draft("e", json!({})) };
        admit(draft, now()).unwrap().event.uuid
    };
    let given = "018f3b5e-7a3c-7cc0-8d2e-0123456789ab";

    assert_eq!(of(Some("msg-0001")).to_string(), "5cb44d2c-d008-5fa8-aff4-93cbfbe2e791");
    assert_eq!(of(Some(given)).to_string(), given);
    assert_eq!(of(Some(&given.to_uppercase())).to_string(), given);
    // Of nothing, nothing can be made: it must be no other event's.
    assert_ne!(of(None), of(None));
    assert_ne!(of(Some("")), of(Some("")));
}

#[test]
fn a_time_is_fixed_once_and_in_utc() {
    let of = |text: Option<&str>| {
        let draft = Draft { timestamp: text.map(Into::into), ..draft("e", json!({})) };
        admit(draft, now()).map(|admitted| admitted.event.timestamp.to_string())
    };
    for (text, expected) in [
        (None, "2026-03-10T12:00:00.250000Z"),
        (Some("2026-03-09T13:58:47.12+02:00"), "2026-03-09T11:58:47.120000Z"),
        (Some("2026-03-09 11:58:47"), "2026-03-09T11:58:47.000000Z"),
        (Some("2026-03-09T11:58:47+03"), "2026-03-09T08:58:47.000000Z"),
        (Some("2026-03-09"), "2026-03-09T00:00:00.000000Z"),
        (Some("Mon, 09 Mar 2026 11:58:47 +0100"), "2026-03-09T10:58:47.000000Z"),
        (Some("1773057527"), "2026-03-09T11:58:47.000000Z"),
        (Some("1773057527123"), "2026-03-09T11:58:47.123000Z"),
        (Some("2026-03-11T10:59:00Z"), "2026-03-11T10:59:00.000000Z"),
    ] {
        assert_eq!(of(text).as_deref(), Ok(expected), "{text:?}");
    }
    for (text, code) in [
        ("soon", Code::TimestampInvalid),
        ("", Code::TimestampInvalid),
        ("2026-13-01", Code::TimestampInvalid),
        ("177305752", Code::TimestampInvalid),
        ("2026-03-11T11:00:01Z", Code::TimestampAhead),
    ] {
        assert_eq!(of(Some(text)).unwrap_err().code, code, "{text}");
    }
}

#[test]
fn without_a_name_or_somebody_nothing_happened() {
    for missing in [None, Some(""), Some(" ")] {
        let missing = missing.map(String::from);
        let nameless = Draft { event: missing.clone(), ..draft("e", json!({})) };
        let nobodys = Draft { distinct_id: missing, ..draft("e", json!({})) };

        assert_eq!(rejected(nameless).0, "event_missing");
        assert_eq!(rejected(nobodys).0, "distinct_id_missing");
    }
}

#[test]
fn an_id_that_would_be_cut_is_refused() {
    let of = |length| {
        let distinct_id = Some("é".repeat(length));
        admit(Draft { distinct_id, ..draft("e", json!({})) }, now()).map(drop)
    };

    assert_eq!(of(200), Ok(()));
    assert_eq!(of(201).unwrap_err().code, Code::DistinctIdTooLong);
}

#[test]
fn nobody_is_merged_with_nobody() {
    let nobodies = [
        "anonymous",
        "Guest",
        "DISTINCT_ID",
        "distinctId",
        "id",
        "not_authenticated",
        "email",
        "undefined",
        "true",
        "False",
        "[object Object]",
        "NaN",
        "None",
        "none",
        "null",
        "0",
        "\"null\"",
        "'undefined'",
        "\"\"",
        " ",
    ];
    for nobody in nobodies {
        for (event, field) in [
            ("$identify", "$anon_distinct_id"),
            ("$create_alias", "alias"),
            ("$merge_dangerously", "alias"),
        ] {
            let other = draft(event, json!({ field: nobody }));
            let own = draft(event, json!({ field: "anon-1" }));
            let own = Draft { distinct_id: Some(nobody.into()), ..own };

            let (code, reason) = rejected(other);
            assert_eq!(code, "illegal_id", "{event} {nobody}");
            assert!(reason.contains(field), "{reason}");
            // A blank one is missing before it is illegal.
            let expected = if nobody == " " { "distinct_id_missing" } else { "illegal_id" };
            assert_eq!(rejected(own).0, expected, "{event} {nobody}");
        }
        // What merges nobody may be anybody's.
        let alone = Draft { distinct_id: Some(nobody.into()), ..draft("bought", json!({})) };
        assert_eq!(admit(alone, now()).is_ok(), nobody != " ", "{nobody}");
    }
    for somebody in ["NULL", "nan", "00", "anonymous-7", "\"", "'a\""] {
        assert!(admit(draft("$create_alias", json!({ "alias": somebody })), now()).is_ok());
    }
}

#[test]
fn who_is_merged_or_grouped_must_be_said() {
    for (event, properties, code) in [
        ("$create_alias", json!({}), "alias_missing"),
        ("$create_alias", json!({ "alias": null }), "alias_missing"),
        ("$merge_dangerously", json!({ "alias": "" }), "alias_missing"),
        ("$groupidentify", json!({ "$group_key": "acme" }), "group_missing"),
        ("$groupidentify", json!({ "$group_type": "company", "$group_key": "" }), "group_missing"),
        (
            "$groupidentify",
            json!({ "$group_type": "company", "$group_key": 7, "$group_set": "x" }),
            "wrong_shape",
        ),
    ] {
        assert_eq!(rejected(draft(event, properties.clone())).0, code, "{event} {properties}");
    }
    for (event, properties) in [
        ("$identify", json!({})),
        ("$create_alias", json!({ "alias": 17 })),
        ("$groupidentify", json!({ "$group_type": "company", "$group_key": 7 })),
    ] {
        assert!(admit(draft(event, properties), now()).is_ok(), "{event}");
    }
}

#[test]
fn an_event_about_a_person_does_not_ask_for_none() {
    for event in OF_PERSONS {
        let properties = json!({
            "$process_person_profile": false, "alias": "a", "$group_type": "t", "$group_key": "k"
        });
        assert_eq!(rejected(draft(event, properties)).0, "person_profile_conflict", "{event}");
    }
    assert!(admit(draft("bought", json!({ "$process_person_profile": false })), now()).is_ok());
}

#[test]
fn what_posthog_will_not_do_as_asked_is_told() {
    use Doubt::*;
    for (properties, doubts) in [
        (json!({}), vec![]),
        (json!({ "$session_id": "018f3b5e-7a3c-7cc0-8d2e-0123456789ab" }), vec![]),
        (json!({ "$session_id": null }), vec![]),
        (json!({ "$session_id": "5cb44d2c-d008-5fa8-aff4-93cbfbe2e791" }), vec![SessionIdUnusable]),
        (json!({ "$session_id": 1_773_057_527 }), vec![SessionIdUnusable]),
        (json!({ "$process_person_profile": true, "$set": {} }), vec![]),
        (json!({ "$process_person_profile": false, "$set": {} }), vec![PersonPropertiesIgnored]),
        (json!({ "$process_person_profile": "false" }), vec![PersonProfileFlagIgnored]),
    ] {
        let admitted = admit(draft("e", properties.clone()), now()).unwrap();
        assert_eq!(admitted.doubts, doubts, "{properties}");
    }
    let itself = admit(draft("$identify", json!({ "$anon_distinct_id": "u1" })), now()).unwrap();
    assert_eq!(itself.doubts, [MergesWithItself]);
}

#[test]
fn an_event_of_a_megabyte_is_refused_alone() {
    let of = |bytes: usize| {
        let event = admit(draft("e", json!({ "text": "x".repeat(bytes) })), now()).unwrap();
        seal(event.event).map(drop)
    };

    assert_eq!(of(900 * 1024 - 200), Ok(()));
    let refused = of(900 * 1024).unwrap_err();
    assert_eq!(refused.code, Code::TooLarge);
    assert!(refused.to_string().ends_with("hogline sends 921600 (too_large)"), "{refused}");
}
