//! The words of PostHog's own destination in Segment, field by field.
//!
//! From the lowest to what counts most: the mapped context, the whole context as
//! `segment_<key>`, the message's properties, `distinct_id` and `$lib`. Values stay as they are,
//! null and empty texts too.

use serde_json::{Map, Value};

use super::super::draft::Draft;
use super::fields::{Field, at, raw};
use super::message::{Call, Message};
use super::{Options, Rejection, group};

/// What every event has, where the context has it.
pub(super) const FIELDS: [Field; 9] = [
    ("$ip", &["context.ip"]),
    ("$current_url", &["context.page.url"]),
    ("$pathname", &["context.page.path"]),
    ("$referrer", &["context.page.referrer"]),
    ("$os", &["context.os.name"]),
    ("$screen_width", &["context.screen.width"]),
    ("$screen_height", &["context.screen.height"]),
    ("$device_type", &["context.device.type"]),
    ("utm_campaign", &["context.campaign.name"]),
];

pub(super) fn map(message: &Message, options: &Options) -> Result<Draft, Rejection> {
    let (event, mut own) = asked(message, options)?;
    touch(&mut own);
    if let Some(groups) = group::of_context(message, options)? {
        // In place of all groups in the properties.
        own.insert("$groups".to_owned(), groups);
    }
    let mut properties = context(message);
    let traits = message.object_at("context.traits");
    if options.sets_traits_by(message.call) && !traits.is_empty() {
        properties.insert("$set".to_owned(), traits.into());
    }
    properties.extend(own);
    properties.insert("distinct_id".to_owned(), message.who.clone().into());
    properties.insert("$lib".to_owned(), "Segment".into());
    Ok(Draft {
        event: Some(event),
        distinct_id: Some(message.who.clone()),
        properties,
        ..Draft::default()
    })
}

/// The event's name, and the properties that count more than the context.
fn asked(message: &Message, options: &Options) -> Result<(String, Map<String, Value>), Rejection> {
    let mut own = message.object_at("properties");
    let event = match message.call {
        Call::Track => return Ok((message.event()?, own)),
        Call::Page => "$pageview",
        Call::Screen => {
            if let Some(name) = message.at("name") {
                own.insert("$screen_name".to_owned(), name.clone());
            }
            "$screen"
        }
        Call::Identify => {
            if let Some(traits) = message.traits() {
                own.insert("$set".to_owned(), traits.into());
            }
            match (&message.user_id, &message.anonymous_id) {
                (None, _) => "$set",
                (Some(_), None) => "$identify",
                (Some(_), Some(id)) => {
                    own.insert("$anon_distinct_id".to_owned(), id.clone().into());
                    "$identify"
                }
            }
        }
        Call::Group => {
            own = segment_group(message, options)?;
            "$groupidentify"
        }
        Call::Alias => {
            own = Map::from_iter([("alias".to_owned(), message.previous_id()?.into())]);
            "$create_alias"
        }
    };
    Ok((event.to_owned(), own))
}

/// What makes a group; nothing ties the event to it.
fn segment_group(message: &Message, options: &Options) -> Result<Map<String, Value>, Rejection> {
    let Some(key) = message.id_at(&["groupId"])? else {
        return Err(Rejection::missing("groupId", "it says which group"));
    };
    let Some(kind) = &options.default_group_type else {
        let reason = "there is no default group type, and this profile takes no other";
        return Err(Rejection::new("groupId", format!("`groupId` is of no type: {reason}")));
    };
    let mut own = Map::new();
    own.insert("$geoip_disable".to_owned(), true.into());
    own.insert("$group_type".to_owned(), kind.clone().into());
    own.insert("$group_key".to_owned(), key.into());
    if let Some(traits) = message.at("traits") {
        own.insert("$group_set".to_owned(), traits.clone());
    }
    Ok(own)
}

/// The properties that get another name, or a second one.
fn touch(own: &mut Map<String, Value>) {
    const TOUCHED: [(&str, &str); 3] =
        [("url", "$current_url"), ("utm_name", "utm_campaign"), ("browser", "$browser")];
    for (property, other) in TOUCHED {
        if let Some(value) = at(own, property).cloned() {
            own.insert(other.to_owned(), value);
        }
    }
    if at(own, "url").is_some() {
        own.remove("url");
    }
}

/// What the context says: some of it under PostHog's names, and all of it under Segment's.
fn context(message: &Message) -> Map<String, Value> {
    let mut context = message.object_at("context");
    let mut properties = Map::new();
    for (property, places) in &FIELDS {
        if let Some(value) = places.iter().find_map(|place| raw(&message.body, place)) {
            properties.insert((*property).to_owned(), value.clone());
        }
    }
    if let Some(Value::Object(campaign)) = context.get("campaign").cloned() {
        context.remove("campaign");
        for (key, value) in campaign.into_iter().filter(|(key, _)| key != "name") {
            properties.entry(format!("utm_{key}")).or_insert(value);
        }
    }
    properties.extend(context.into_iter().map(|(key, value)| (format!("segment_{key}"), value)));
    properties
}
