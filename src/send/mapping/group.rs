//! Groups of group calls, as all profiles but Segment's tell PostHog of them.

use serde_json::{Map, Value, json};

use super::message::Message;
use super::{Options, Rejection};

/// What makes a group, and ties the event to it: `traits.groupType` is its type, all other traits
/// are its own. (`$groupidentify` makes it, `$groups` ties.)
pub(super) fn identified(
    message: &Message,
    options: &Options,
) -> Result<Map<String, Value>, Rejection> {
    let Some(key) = message.id_at(&["groupId", "traits.groupId"])? else {
        return Err(Rejection::missing("groupId", "it says which group"));
    };
    let Some(kind) = message.id_at(&["traits.groupType"])?.or(options.default_group_type.clone())
    else {
        return Err(Rejection::missing("traits.groupType", "and there is no default group type"));
    };
    let mut group = Map::new();
    if message.at("traits").is_some() {
        let mut traits = message.object_at("traits");
        traits.remove("groupType");
        group.insert("$group_set".to_owned(), traits.into());
    }
    group.insert("$groups".to_owned(), json!({ kind.clone(): key }));
    group.insert("$group_type".to_owned(), kind.into());
    group.insert("$group_key".to_owned(), key.into());
    Ok(group)
}

/// The group that the context names, as `$groups`.
pub(super) fn of_context(message: &Message, options: &Options) -> Result<Option<Value>, Rejection> {
    let key = message.id_at(&["context.groupId"])?;
    Ok(key.zip(options.default_group_type.clone()).map(|(key, kind)| json!({ kind: key })))
}
