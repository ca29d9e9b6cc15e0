//! Whether a message is meant for PostHog at all: `integrations: { All: false, PostHog: true }`.

use serde_json::{Map, Value};

use super::Rejection;
use super::message::{kind, object};

/// What keeps a message from PostHog, if anything. Names are taken in any case: RudderStack and
/// Segment spell this one differently. An object is settings, and so a yes.
pub(super) fn opt_out(message: &Map<String, Value>) -> Result<Option<String>, Rejection> {
    let Some(integrations) = object(message, "integrations")? else { return Ok(None) };
    let choices = |wanted: &str| {
        let named = integrations.iter().filter(move |(name, _)| name.eq_ignore_ascii_case(wanted));
        named.filter(|(_, choice)| !choice.is_null()).collect::<Vec<_>>()
    };
    let (all, posthog) = (choices("All"), choices("PostHog"));
    if let Some((name, choice)) = all.iter().chain(&posthog).find(|(_, choice)| !is_choice(choice))
    {
        let reason =
            format!("`integrations.{name}` is {}: true or false was expected", kind(choice));
        return Err(Rejection::new("integrations", reason));
    }
    let refusal = |choices: &[(&String, &Value)]| {
        let (name, _) = choices.iter().find(|(_, choice)| **choice == Value::Bool(false))?;
        Some(format!("`integrations.{name}` is false"))
    };
    if posthog.is_empty() {
        return Ok(refusal(&all));
    }
    Ok(refusal(&posthog))
}

fn is_choice(value: &Value) -> bool {
    value.is_boolean() || value.is_object()
}
