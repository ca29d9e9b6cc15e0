//! hogline's own words: what is good in both other profiles, and none of what they lose.
//!
//! The message's own properties are never changed, and count more than what is taken from its
//! context. What no property is made of stays as `context_<key>`.

use serde_json::{Map, Value};
use url::Url;

use super::super::draft::Draft;
use super::fields::{Field, fill, lay_under};
use super::message::{Call, Message};
use super::{Options, Rejection, group, session, user_agent};

/// What every event has, where the message tells it.
pub(super) const FIELDS: [Field; 28] = [
    ("$ip", &["context.ip"]),
    ("$current_url", &["context.page.url"]),
    ("$pathname", &["context.page.path"]),
    ("$referrer", &["context.page.referrer"]),
    ("$referring_domain", &["context.page.referring_domain"]),
    ("$os", &["context.os.name"]),
    ("$os_version", &["context.os.version"]),
    ("$device_id", &["context.device.id"]),
    ("$device_type", &["context.device.type"]),
    ("$device_manufacturer", &["context.device.manufacturer"]),
    ("$device_model", &["context.device.model"]),
    ("$device_name", &["context.device.name"]),
    ("$screen_width", &["context.screen.width"]),
    ("$screen_height", &["context.screen.height"]),
    ("$screen_density", &["context.screen.density"]),
    ("$viewport_width", &["properties.viewport_width", "context.screen.innerWidth"]),
    ("$viewport_height", &["properties.viewport_height", "context.screen.innerHeight"]),
    ("$app_name", &["context.app.name"]),
    ("$app_version", &["context.app.version"]),
    ("$app_namespace", &["context.app.namespace"]),
    ("$app_build", &["context.app.build"]),
    ("$network_carrier", &["context.network.carrier"]),
    ("$timezone", &["context.timezone"]),
    ("$locale", &["context.locale"]),
    ("$useragent", &["context.userAgent"]),
    ("$lib", &["context.library.name"]),
    ("$lib_version", &["context.library.version"]),
    ("utm_campaign", &["context.campaign.name"]),
];

/// What page calls have before that.
pub(super) const OF_PAGES: [Field; 6] = [
    ("$current_url", &["properties.url"]),
    ("$pathname", &["properties.path"]),
    ("$referrer", &["properties.referrer"]),
    ("title", &["context.page.title"]),
    ("name", &["name"]),
    ("category", &["category"]),
];

/// What screen calls have before that.
pub(super) const OF_SCREENS: [Field; 2] =
    [("$screen_name", &["name", "properties.name", "event"]), ("category", &["category"])];

/// Properties whose values are laid over each other, key by key, instead of one for the other.
const MERGED: [&str; 3] = ["$set", "$set_once", "$groups"];

pub(super) fn map(message: &Message, options: &Options) -> Result<Draft, Rejection> {
    let (event, mut properties) = asked(message, options)?;
    lay_properties_under(&mut properties, own(message));
    lay_properties_under(&mut properties, known(message, options)?);
    lay_properties_under(&mut properties, described(message));
    lay_properties_under(&mut properties, rest_of_context(message, options));
    if !properties.contains_key("$ip") {
        // PostHog would place the person where the sender's server stands.
        properties.entry("$geoip_disable").or_insert(true.into());
    }
    Ok(Draft {
        event: Some(event),
        distinct_id: Some(message.who.clone()),
        properties,
        ..Draft::default()
    })
}

/// The event's name, and the properties that the call itself asks for.
fn asked(message: &Message, options: &Options) -> Result<(String, Map<String, Value>), Rejection> {
    let mut asked = Map::new();
    let event = match message.call {
        Call::Track => return Ok((message.event()?, asked)),
        Call::Page => "$pageview",
        Call::Screen => "$screen",
        Call::Identify => {
            insert_object(&mut asked, "$set", message.traits().unwrap_or_default());
            if message.user_id.is_none() {
                "$set"
            } else {
                let merged = message.anonymous_id.as_ref().filter(|id| **id != message.who);
                if let Some(id) = merged {
                    asked.insert("$anon_distinct_id".to_owned(), id.clone().into());
                }
                "$identify"
            }
        }
        Call::Group => {
            asked = group::identified(message, options)?;
            "$groupidentify"
        }
        Call::Alias => {
            if message.user_id.is_none() {
                let purpose = "it says whom `previousId` becomes, and merging cannot be undone";
                return Err(Rejection::missing("userId", purpose));
            }
            asked.insert("alias".to_owned(), message.previous_id()?.into());
            "$create_alias"
        }
    };
    Ok((event.to_owned(), asked))
}

/// The message's own properties, with a session that PostHog takes for one.
fn own(message: &Message) -> Map<String, Value> {
    let mut own = message.object_at("properties");
    if own.get("$session_id").is_some_and(session::is_session) {
        return own;
    }
    // The anonymous id: it stays while somebody logs in, and so does the session.
    let who = message.anonymous_id.as_ref().unwrap_or(&message.who);
    let number = message.at("context.sessionId");
    if let Some(session) = number.and_then(|number| session::from_start(number, who)) {
        own.insert("$session_id".to_owned(), session.to_string().into());
    }
    own
}

/// What the context knows of the person and the group.
fn known(message: &Message, options: &Options) -> Result<Map<String, Value>, Rejection> {
    let mut known = Map::new();
    if options.sets_traits_by(message.call) {
        insert_object(&mut known, "$set", message.object_at("context.traits"));
    }
    if let Some(groups) = group::of_context(message, options)? {
        known.insert("$groups".to_owned(), groups);
    }
    Ok(known)
}

/// What the message says about where and with what it happened.
fn described(message: &Message) -> Map<String, Value> {
    let mut found = Map::new();
    if let Some(url) = message.at("properties.$current_url") {
        found.insert("$current_url".to_owned(), url.clone());
    }
    match message.call {
        Call::Page => fill(&mut found, &OF_PAGES, &message.body),
        Call::Screen => fill(&mut found, &OF_SCREENS, &message.body),
        _ => {}
    }
    // Before the context speaks: its path may not be that of the page that the properties name.
    insert_parts_of_url(&mut found);
    fill(&mut found, &FIELDS, &message.body);
    insert_parts_of_url(&mut found);
    for (key, value) in message.object_at("context.campaign") {
        if key != "name" {
            found.entry(format!("utm_{key}")).or_insert(value);
        }
    }
    if let Some(agent) = message.at("context.userAgent").and_then(Value::as_str) {
        let agent = user_agent::read(agent);
        let seen = [
            ("$os", agent.os.map(|os| os.posthog.into())),
            ("$browser", agent.browser.map(|browser| browser.posthog.into())),
            ("$browser_version", agent.version.and_then(user_agent::short)),
        ];
        for (property, value) in seen {
            if let Some(value) = value {
                found.entry(property).or_insert(value);
            }
        }
    }
    found
}

/// Host and path of the page, where they are not told.
fn insert_parts_of_url(found: &mut Map<String, Value>) {
    let url =
        found.get("$current_url").and_then(Value::as_str).and_then(|text| Url::parse(text).ok());
    let Some((url, host)) = url.as_ref().and_then(|url| Some((url, host(url)?))) else { return };
    found.entry("$host").or_insert_with(|| host.into());
    found.entry("$pathname").or_insert_with(|| url.path().into());
}

/// The host of a URL, with its port where that is not the usual one.
pub(super) fn host(url: &Url) -> Option<String> {
    let host = url.host_str()?;
    Some(url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")))
}

/// What is in the context and nowhere else, as `context_<key>`.
fn rest_of_context(message: &Message, options: &Options) -> Map<String, Value> {
    let mut context = message.object_at("context");
    let of_pages: &[Field] = if message.call == Call::Page { &OF_PAGES } else { &[] };
    let places = FIELDS.iter().chain(of_pages).flat_map(|(_, places)| places.iter());
    for place in places.filter_map(|place| place.strip_prefix("context.")) {
        match place.split_once('.') {
            None => _ = context.remove(place),
            Some((key, inner)) => {
                if let Some(Value::Object(object)) = context.get_mut(key) {
                    object.remove(inner);
                }
            }
        }
    }
    context.remove("traits");
    context.remove("direct");
    if options.default_group_type.is_some() {
        context.remove("groupId");
    }
    if context.get("campaign").is_some_and(Value::is_object) {
        context.remove("campaign");
    }
    let rest = context.into_iter().filter(|(_, value)| !is_empty(value));
    rest.map(|(key, value)| (format!("context_{key}"), value)).collect()
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Object(object) => object.is_empty(),
        _ => false,
    }
}

/// Lays properties over each other.
fn lay_properties_under(upper: &mut Map<String, Value>, lower: Map<String, Value>) {
    for (property, value) in lower {
        match (upper.get_mut(&property), &value) {
            (Some(Value::Object(upper)), Value::Object(lower))
                if MERGED.contains(&property.as_str()) =>
            {
                lay_under(upper, lower);
            }
            (Some(_), _) => {}
            (None, _) => {
                upper.insert(property, value);
            }
        }
    }
}

/// Inserts an object unless it is empty.
fn insert_object(properties: &mut Map<String, Value>, property: &str, object: Map<String, Value>) {
    if !object.is_empty() {
        properties.insert(property.to_owned(), object.into());
    }
}
