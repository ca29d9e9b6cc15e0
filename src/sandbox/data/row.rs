//! The records of the streams that PostHog keeps in its relational store.
//!
//! Enough of each to need several pages, with what makes them awkward: nulls in
//! the column a list is ordered by, times that several records share.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{chance, definition};
use crate::cursor::Timestamp;
use crate::sandbox::time::{self, MINUTE, SECOND};

const CREATED: u64 = 31;
const CHANGED: u64 = 32;

/// What one record is made from.
pub(super) struct Maker {
    /// What everything is made from.
    pub(super) seed: u64,
    /// The instant the project is made at.
    pub(super) now: Timestamp,
}

impl Maker {
    /// When the record with a number was created: within the last 300 days, each at another time.
    pub(super) fn created(&self, kind: u64, number: u64) -> Timestamp {
        let seconds = chance::below(300 * 86_400, self.seed, CREATED + 100 * kind, number);
        let back = i64::try_from(seconds).unwrap_or(0) * SECOND + 30 * MINUTE;
        time::shift(self.now, -back + i64::try_from(number).unwrap_or(0))
    }

    /// When it was last changed: after it was created; five at a time share the instant.
    pub(super) fn changed(&self, kind: u64, number: u64) -> Timestamp {
        let created = (number / 5 * 5..=number).map(|number| self.created(kind, number)).max();
        let latest = (number / 5 * 5..number / 5 * 5 + 5).map(|n| self.created(kind, n)).max();
        let at = latest.or(created).unwrap_or(self.now);
        let rest = self.now.since(at).as_secs().saturating_sub(1200);
        let later = chance::below(rest.max(1), self.seed, CHANGED + 100 * kind, number / 5);
        time::shift(at, i64::try_from(later).unwrap_or(0) * SECOND)
    }

    /// The id of the record with a number.
    pub(super) fn uuid(&self, kind: u64, number: u64) -> String {
        chance::uuid_text(chance::uuid(self.seed, 33 + 100 * kind, number))
    }
}

/// Every stream's records.
pub(super) fn all(seed: u64, now: Timestamp, zone: i32) -> BTreeMap<&'static str, Vec<Value>> {
    let maker = Maker { seed, now };
    let make = |count: u64, record: fn(&Maker, u64) -> Value| {
        (0..count).map(|number| record(&maker, number)).collect::<Vec<_>>()
    };
    BTreeMap::from([
        ("projects", vec![super::project(zone)]),
        ("cohorts", make(230, cohort)),
        ("feature_flags", make(60, feature_flag)),
        ("insights", make(320, insight)),
        ("annotations", make(1120, annotation)),
        ("actions", make(45, action)),
        ("event_definitions", make(140, definition::event)),
        ("property_definitions", definition::properties(&maker)),
    ])
}

/// Changes a record as an edit does.
pub(super) fn touch(record: &mut Value, now: Timestamp) {
    for field in ["updated_at", "last_modified_at", "last_updated_at", "last_calculation"] {
        if record.get(field).is_some() {
            record[field] = json!(time::zulu(now));
        }
    }
    let texts = ["content", "description"];
    let field = texts.into_iter().find(|field| record.get(field).is_some()).unwrap_or("name");
    record[field] = json!(format!("touched at {now}"));
}

/// The user record that stands for whoever made a thing.
fn user(number: u64) -> Value {
    if number % 6 == 5 {
        return Value::Null;
    }
    json!({
        "id": 9, "uuid": "018f0000-0000-0000-0000-000000000009", "distinct_id": "x1",
        "first_name": "Ada", "last_name": "L", "email": "ada@example.com",
        "is_email_verified": true, "hedgehog_config": null, "role_at_organization": "engineering",
    })
}

fn cohort(maker: &Maker, number: u64) -> Value {
    let created = time::zulu(maker.created(1, number));
    json!({
        "id": number + 1, "name": format!("Cohort {number}"), "description": "", "groups": [],
        "deleted": false, "query": null, "version": 12, "pending_version": 12,
        "filters": { "properties": { "type": "OR", "values": [{ "type": "AND", "values": [
            { "key": "plan", "type": "person", "value": ["team"], "operator": "exact" }] }] } },
        "is_calculating": false, "created_by": user(number), "created_at": created,
        "last_calculation": time::zulu(maker.changed(1, number)),
        "last_backfill_person_properties_at": null, "errors_calculating": 0,
        "last_error_message": null, "count": number, "is_static": number.is_multiple_of(5),
        "cohort_type": null, "experiment_set": [],
    })
}

fn feature_flag(maker: &Maker, number: u64) -> Value {
    // Flags not changed since PostHog has this column.
    let updated = (number % 9 != 4).then(|| time::zulu(maker.changed(2, number)));
    json!({
        "id": number + 1, "name": format!("Flag {number}"), "key": format!("flag-{number}"),
        "filters": { "groups": [{ "properties": [], "rollout_percentage": number % 101,
            "variant": null }], "payloads": {}, "multivariate": null },
        "deleted": false, "active": !number.is_multiple_of(7), "created_by": user(number),
        "created_at": time::zulu(maker.created(2, number)), "updated_at": updated, "version": 4,
        "last_modified_by": null, "ensure_experience_continuity": false, "experiment_set": [],
        "surveys": [], "features": [], "rollback_conditions": [], "performed_rollback": false,
        "can_edit": true, "tags": ["checkout"], "evaluation_contexts": [],
        "usage_dashboard": null, "analytics_dashboards": [], "has_enriched_analytics": false,
        "user_access_level": "editor", "is_remote_configuration": false,
        "has_encrypted_payloads": false, "status": "ACTIVE", "evaluation_runtime": "all",
        "bucketing_identifier": null, "last_called_at": null, "is_used_in_replay_settings": false,
    })
}

/// An insight as `basic=true` shows it, and `order`, which only the full record has.
fn insight(maker: &Maker, number: u64) -> Value {
    let changed = time::zulu(maker.changed(3, number));
    json!({
        "id": number + 1, "short_id": format!("s{number:07x}"), "derived_name": null,
        "name": format!("Insight {number}"), "filters": {}, "dashboards": [12],
        "query": { "kind": "InsightVizNode", "source": { "kind": "TrendsQuery",
            "series": [{ "kind": "EventsNode", "event": "signed up" }] } },
        "dashboard_tiles": [{ "id": 55 + number, "dashboard_id": 12, "deleted": null }],
        "description": "", "last_refresh": null, "refreshing": false, "saved": !number.is_multiple_of(3),
        "tags": [], "updated_at": changed, "created_by": user(number),
        "created_at": time::zulu(maker.created(3, number)), "last_modified_at": changed,
        "favorited": false, "user_access_level": "editor", "last_viewed_at": null,
    })
}

fn annotation(maker: &Maker, number: u64) -> Value {
    let created = time::zulu(maker.created(4, number));
    let content = (number % 50 != 49).then(|| format!("Released 4.{number} – “naïve”"));
    json!({
        "id": number + 1, "content": content, "creation_type": "USR",
        "date_marker": time::zulu(maker.changed(4, number)), "dashboard_item": null,
        "dashboard_id": null, "dashboard_name": null, "insight_short_id": null,
        "insight_name": null, "insight_derived_name": null, "created_by": user(number),
        "created_at": created, "updated_at": time::zulu(maker.changed(5, number)),
        "deleted": false, "scope": "project", "emoji": null,
        "hidden_in_user_interface": null, "tags": [],
    })
}

fn action(maker: &Maker, number: u64) -> Value {
    let created = time::zulu(maker.created(6, number));
    json!({
        "id": number + 1, "name": format!("Action {number}"), "description": "", "tags": [],
        "post_to_slack": false, "slack_message_format": "",
        "steps": [{ "event": "$autocapture", "properties": [], "selector": "button.buy",
            "selector_regex": "(^|;)button.*?\\.buy", "tag_name": null, "text": null,
            "text_matching": null, "href": null, "href_matching": null, "url": null,
            "url_matching": "contains" }],
        "created_at": created, "created_by": user(number), "deleted": false,
        "is_calculating": false, "last_calculated_at": created, "team_id": super::PROJECT,
        "is_action": true, "bytecode_error": null, "pinned_at": null, "creation_context": null,
        "user_access_level": "editor",
    })
}
