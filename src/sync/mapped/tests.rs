//! What becomes of a row, by what its sync maps.

use std::path::Path;

use super::*;
use crate::config::sync::{Ends, SyncFile};
use crate::config::{Environment, Written};

/// The only sync of a file.
fn sync(text: &str) -> Sync {
    let text = format!("source: sqlite://x.db\ntarget: HOG\nsyncs:\n  s: {{ table: t, {text} }}\n");
    let written = Written { file: Path::new("sync.yaml").into(), text };
    let ends = Ends { source_is_files: false, target_reads: true };
    SyncFile::parse(&written, &Environment::new(), ends).unwrap().syncs.remove(0)
}

fn mapped(of: &str, row: Value) -> Result<Mapped, Code> {
    map(&sync(of), &object(row)).map_err(|rejection| rejection.code)
}

const EVENT: &str = "object: event, key: id, mapping: { distinct_id: who, event: 'const:bought', \
                     timestamp: at, properties: all }";

const PERSON: &str =
    "object: person, behavior: update_or_create, key: id, mapping: { properties: all }";

#[test]
fn an_event_has_what_plays_no_other_part_as_properties() {
    let row = json!({ "id": 7, "who": "u1", "at": 1773057527, "total": 9.5, "note": null });

    let Mapped { key, draft } = mapped(EVENT, row).unwrap();

    assert_eq!(key, "7");
    assert_eq!(
        draft,
        Draft {
            id: Some("hogline sync s: 7".into()),
            event: Some("bought".into()),
            distinct_id: Some("u1".into()),
            timestamp: Some("1773057527".into()),
            properties: object(json!({ "id": 7, "total": 9.5, "$geoip_disable": true })),
        }
    );
}

#[test]
fn an_event_without_the_time_that_is_mapped_is_not_one_of_now() {
    let row = json!({ "id": 7, "who": "u1", "at": null });

    assert_eq!(mapped(EVENT, row).unwrap().draft.timestamp.as_deref(), Some(""));
}

#[test]
fn a_person_is_set_where_there_are_values() {
    let of = PERSON.replace("key:", "set_once: [source], nulls: unset, key:");
    let row = json!({ "id": "u1", "plan": "pro", "seats": null, "source": "crm" });

    let Mapped { draft, .. } = mapped(&of, row).unwrap();

    assert_eq!((draft.event.as_deref(), draft.distinct_id.as_deref()), (Some("$set"), Some("u1")));
    assert_eq!(
        Value::Object(draft.properties),
        json!({
            "$set": { "plan": "pro" }, "$set_once": { "source": "crm" }, "$unset": ["seats"],
            "$geoip_disable": true, "$update_person_last_seen_at": false,
        })
    );
}

#[test]
fn what_is_sent_of_a_person_is_another_event_when_the_row_says_something_else() {
    let id = |row: Value| mapped(PERSON, row).unwrap().draft.id.unwrap();
    let (one, same) =
        (json!({ "id": "u1", "a": 1, "b": 2 }), json!({ "b": 2, "a": 1, "id": "u1" }));

    assert_eq!(id(one.clone()), id(same));
    assert_ne!(id(one.clone()), id(json!({ "id": "u1", "a": 1, "b": 3 })));
    assert_ne!(id(one), id(json!({ "id": "u2", "a": 1, "b": 2 })));
}

#[test]
fn an_email_is_compared_in_small_letters_and_sent_as_it_is() {
    let of =
        "object: person, behavior: update_or_create, mapping: { email: mail, properties: all }";

    let Mapped { key, draft } = mapped(of, json!({ "mail": " Ada@Example.com " })).unwrap();

    assert_eq!(key, "ada@example.com");
    assert_eq!(draft.distinct_id.as_deref(), Some("Ada@Example.com"));
}

#[test]
fn a_row_without_a_key_is_none() {
    for key in [json!(null), json!(" "), json!([1])] {
        assert_eq!(mapped(PERSON, json!({ "id": key })), Err(Code::KeyMissing), "{key}");
    }
    assert_eq!(mapped(PERSON, json!({})), Err(Code::KeyMissing));
}

#[test]
fn a_column_that_a_row_has_not_is_told_with_the_nearest() {
    let of = EVENT.replace("properties: all", "properties: { sum: totl, shop: 'const:x' }");

    let missing =
        missing_columns(&sync(&of), &object(json!({ "id": 1, "who": 2, "at": 3, "total": 4 })));

    assert_eq!(missing, ["\"totl\", did you mean \"total\"?"]);
}
