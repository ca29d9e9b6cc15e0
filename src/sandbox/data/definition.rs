//! Definitions of events and properties.
//!
//! A property definition's type is in no record of PostHog's list: it is what was
//! asked for. Here it is kept, since a complete copy adds it; the list hides it.

use serde_json::{Value, json};

use super::event::NAMES;
use super::row::Maker;
use crate::sandbox::time;

/// The definition of an event: those that occur, then those that no longer do.
pub(super) fn event(maker: &Maker, number: u64) -> Value {
    let occurring = usize::try_from(number).ok().and_then(|number| {
        NAMES.get(number / 2).map(|(name, other)| if number % 2 == 0 { *name } else { *other })
    });
    let name = occurring.map_or_else(|| format!("event_{number}"), str::to_owned);
    let updated = time::zulu(maker.changed(7, number));
    json!({
        "id": maker.uuid(7, number), "name": name, "owner": null, "description": "", "tags": [],
        "created_at": time::zulu(maker.created(7, number)), "updated_at": updated,
        "updated_by": null, "last_seen_at": updated, "last_updated_at": updated,
        "verified": number.is_multiple_of(2), "verified_at": null, "verified_by": null, "hidden": false,
        "is_action": false, "action_id": null, "is_calculating": null, "last_calculated_at": null,
        "created_by": null, "post_to_slack": false, "default_columns": [],
    })
}

/// A type of properties, with its group, how many there are, and those that only PostHog's code defines.
type Kind = (&'static str, Option<u64>, u64, &'static [&'static str]);

const KINDS: [Kind; 8] = [
    ("event", None, 260, &[]),
    ("person", None, 110, &["$virt_initial_channel_type", "$virt_revenue"]),
    ("group", Some(0), 105, &["$virt_mrr"]),
    ("group", Some(1), 12, &[]),
    ("group", Some(2), 0, &[]),
    ("group", Some(3), 0, &[]),
    ("group", Some(4), 1, &[]),
    ("session", None, 30, &[]),
];

/// All definitions of properties, each with its `type` and `group_type_index`.
pub(super) fn properties(maker: &Maker) -> Vec<Value> {
    let mut all = Vec::new();
    for (at, (kind, group, count, built_in)) in KINDS.iter().enumerate() {
        let types = ["String", "Numeric", "DateTime", "Boolean"];
        for number in 0..*count {
            let known = number % 5 != 4;
            let id = maker.uuid(8 + at as u64, number);
            let mut record = property(&id, &format!("prop_{number}"), number % 4 == 1 && known);
            let property_type = known.then(|| types[usize::try_from(number % 4).unwrap_or(0)]);
            record["property_type"] = json!(property_type);
            all.push(typed(record, kind, *group));
        }
        for name in *built_in {
            let group = group.map_or(String::new(), |index| format!("{index}_"));
            let mut record = property(&format!("$builtin_{group}{name}"), name, false);
            record["virtual"] = json!(true);
            all.push(typed(record, kind, KINDS[at].1));
        }
    }
    all
}

fn property(id: &str, name: &str, is_numerical: bool) -> Value {
    json!({
        "id": id, "name": name, "is_numerical": is_numerical, "property_type": "String",
        "description": "", "tags": [], "is_seen_on_filtered_events": null,
    })
}

fn typed(mut record: Value, kind: &str, group: Option<u64>) -> Value {
    record["type"] = json!(kind);
    // -1 where it does not apply: the key of a copy has no nulls.
    record["group_type_index"] = group.map_or(json!(-1), |index| json!(index));
    record
}
