//! Values by their place in a message, as the tables of the profiles name them.

use serde_json::{Map, Value};

/// A property, and the places it is taken from: the first that holds a value counts.
pub(super) type Field = (&'static str, &'static [&'static str]);

/// What stands at a place, `context.page.url`, whatever it is.
pub(super) fn raw<'m>(message: &'m Map<String, Value>, place: &str) -> Option<&'m Value> {
    let mut keys = place.split('.');
    let first = message.get(keys.next()?)?;
    keys.try_fold(first, |value, key| value.get(key))
}

/// The value at a place; null and the empty text are none.
pub(super) fn at<'m>(message: &'m Map<String, Value>, place: &str) -> Option<&'m Value> {
    raw(message, place).filter(|value| !value.is_null() && value.as_str() != Some(""))
}

/// Fills the properties that are not there yet.
pub(super) fn fill(
    properties: &mut Map<String, Value>,
    fields: &[Field],
    message: &Map<String, Value>,
) {
    for (property, places) in fields {
        if !properties.contains_key(*property)
            && let Some(value) = places.iter().find_map(|place| at(message, place))
        {
            properties.insert((*property).to_owned(), value.clone());
        }
    }
}

/// Lays objects over each other, key by key: what is in `upper` stays.
pub(super) fn lay_under(upper: &mut Map<String, Value>, lower: &Map<String, Value>) {
    for (key, value) in lower {
        match (upper.get_mut(key), value) {
            (Some(Value::Object(upper)), Value::Object(lower)) => lay_under(upper, lower),
            (Some(_), _) => {}
            (None, _) => {
                upper.insert(key.clone(), value.clone());
            }
        }
    }
}
