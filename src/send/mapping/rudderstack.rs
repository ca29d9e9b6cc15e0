//! The words of PostHog's destination in RudderStack, field by field.
//!
//! What is taken from the message lies below its own properties; nulls and empty texts are left
//! out of the former, and stay in the latter. Of calls that have no properties by their nature
//! (identify, group, alias) properties are not looked at.

use serde_json::{Map, Value};
use url::Url;

use super::super::draft::Draft;
use super::fields::{Field, fill};
use super::hogline::host;
use super::message::{Call, Message};
use super::{Options, Rejection, group, user_agent};
use crate::cursor::Timestamp;

/// What every event has, where the message has it.
pub(super) const FIELDS: [Field; 30] = [
    ("$ip", &["context.ip", "request_ip"]),
    ("$current_url", &["context.page.url"]),
    ("$pathname", &["context.page.path"]),
    ("$performance_page_loaded", &["context.page.loaded"]),
    ("$os", &["context.os.name"]),
    ("$os_version", &["context.os.version"]),
    ("$device_id", &["context.device.id"]),
    ("$device_manufacturer", &["context.device.manufacturer"]),
    ("$device_model", &["context.device.model"]),
    ("$device_name", &["context.device.name"]),
    ("$screen_width", &["context.screen.width"]),
    ("$screen_height", &["context.screen.height"]),
    ("$screen_density", &["context.screen.density"]),
    ("$viewport_width", &["properties.viewport_width"]),
    ("$viewport_height", &["properties.viewport_height"]),
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
    ("utm_source", &["context.campaign.source"]),
    ("utm_medium", &["context.campaign.medium"]),
    ("utm_content", &["context.campaign.content"]),
    ("utm_term", &["context.campaign.term"]),
];

/// What screen calls have beside.
pub(super) const OF_SCREENS: [Field; 1] = [("$screen_name", &["event", "name"])];

/// Where the user's id may be; the anonymous id comes after these.
const USER_IDS: [&str; 5] =
    ["userId", "traits.userId", "traits.id", "context.traits.userId", "context.traits.id"];

pub(super) fn map(message: &Message, options: &Options) -> Result<Draft, Rejection> {
    let user = message.id_at(&USER_IDS)?;
    let (event, own) = asked(message, options, user.is_some())?;
    let distinct_id = user.unwrap_or_else(|| message.who.clone());
    let timestamp = message.timestamp.clone().or_else(|| {
        let text = own.get("timestamp")?.as_str()?;
        Timestamp::parse(text).map(|_| text.to_owned())
    });
    let mut properties = generated(message, options, &distinct_id);
    let time = timestamp.clone().unwrap_or_else(|| message.happened_at());
    for property in ["$time", "$timestamp"] {
        properties.insert(property.to_owned(), time.clone().into());
    }
    properties.extend(own);
    Ok(Draft {
        event: Some(event),
        distinct_id: Some(distinct_id),
        timestamp,
        properties,
        ..Draft::default()
    })
}

/// The event's name, and the properties that count more than what is taken from the message.
fn asked(
    message: &Message,
    options: &Options,
    is_known: bool,
) -> Result<(String, Map<String, Value>), Rejection> {
    let mut own = Map::new();
    let event = match message.call {
        Call::Track => return Ok((message.event()?, message.object_at("properties"))),
        Call::Page | Call::Screen => {
            own = message.object_at("properties");
            if message.call == Call::Page { "$pageview" } else { "$screen" }
        }
        Call::Identify => {
            own.insert("$set".to_owned(), identified(message, is_known)?.into());
            "$identify"
        }
        Call::Group if !options.use_v2_group => {
            let reason = "`type` is group, which tells PostHog nothing without use_v2_group";
            return Err(Rejection::new("type", reason));
        }
        Call::Group => {
            own = group::identified(message, options)?;
            "$groupidentify"
        }
        Call::Alias => {
            own.insert("alias".to_owned(), message.previous_id()?.into());
            "$create_alias"
        }
    };
    Ok((event.to_owned(), own))
}

/// The traits of somebody who is known.
fn identified(message: &Message, is_known: bool) -> Result<Map<String, Value>, Rejection> {
    if !is_known {
        let purpose =
            "this profile sends no identify for an anonymous id alone, others send `$set`";
        return Err(Rejection::missing("userId", purpose));
    }
    message
        .traits()
        .ok_or_else(|| Rejection::missing("traits", "an identify sets them; {} will do"))
}

/// What lies below the message's own properties.
fn generated(message: &Message, options: &Options, distinct_id: &str) -> Map<String, Value> {
    let mut found = Map::new();
    if options.sets_traits_by(message.call)
        && let Some(traits) = message.at("context.traits")
    {
        found.insert("$set".to_owned(), traits.clone());
    }
    fill(&mut found, &FIELDS, &message.body);
    if message.call == Call::Screen {
        fill(&mut found, &OF_SCREENS, &message.body);
    }
    if message.at("channel").is_some_and(|channel| channel == "web") {
        insert_agent(&mut found, message);
    }
    let url = found.get("$current_url").and_then(Value::as_str);
    if let Some(host) = url.and_then(|url| host(&Url::parse(url).ok()?)) {
        found.insert("$host".to_owned(), host.into());
    }
    if let Some(id) = &message.anonymous_id {
        found.insert("$anon_distinct_id".to_owned(), id.clone().into());
    }
    found.insert("distinct_id".to_owned(), distinct_id.into());
    found
}

/// What the user agent names, in the words of RudderStack's reader of them.
fn insert_agent(found: &mut Map<String, Value>, message: &Message) {
    let Some(agent) = message.at("context.userAgent").and_then(Value::as_str) else { return };
    let agent = user_agent::read(agent);
    let seen = [
        ("$os", agent.os.map(|os| os.rudderstack)),
        ("$browser", agent.browser.map(|browser| browser.rudderstack)),
        ("$browser_version", agent.version),
    ];
    for (property, value) in seen {
        if let Some(value) = value {
            found.insert(property.to_owned(), value.into());
        }
    }
}
