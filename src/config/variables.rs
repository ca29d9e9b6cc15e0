//! Variables in values: `${NAME}` from the environment, `{stream_name}` in objects.
//!
//! Both are filled in after parsing, in values only: what a variable holds can
//! never become structure. A filled-in text is not looked at again. The environment
//! comes as a map; nothing here reads it from the process.

use std::collections::BTreeMap;

use super::complaint::{Complaints, suggestion};
use super::node::{Kind, Node};

/// Environment variables by name.
pub type Environment = BTreeMap<String, String>;

/// Replaces every `${NAME}` in the values below `node`, which `path` leads to.
pub fn expand_environment(
    node: &mut Node,
    path: &str,
    environment: &Environment,
    complaints: &Complaints,
) {
    match &mut node.kind {
        Kind::Null => {}
        Kind::Plain(text) | Kind::Quoted(text) => match expand_text(text, environment) {
            Ok(expanded) => *text = expanded,
            Err(error) => complaints.add(node.at, path, error.to_string()),
        },
        Kind::List(items) => {
            for item in items {
                expand_environment(item, path, environment, complaints);
            }
        }
        Kind::Map(entries) => {
            for (key, value) in entries {
                let below = match path {
                    "" => key.text.clone(),
                    _ => format!("{path}.{}", key.text),
                };
                expand_environment(value, &below, environment, complaints);
            }
        }
    }
}

/// Why a text with variables cannot be filled in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VariableError {
    /// The environment has no such variable.
    #[error("environment variable {0} is not set")]
    NotSet(String),
    /// `${…}` around something else than a name.
    #[error("`${{…}}` must hold the name of an environment variable")]
    NoName,
    /// An object names a variable that there is not.
    #[error("unknown variable \"{{{name}}}\", {suggestion}")]
    Unknown {
        /// What stands between the braces.
        name: String,
        /// What may have been meant.
        suggestion: String,
    },
    /// A brace that never closes.
    #[error("a `{{` without its `}}`")]
    Unclosed,
}

/// `text` with every `${NAME}` replaced. A `${` that never closes is ordinary text.
fn expand_text(text: &str, environment: &Environment) -> Result<String, VariableError> {
    let mut expanded = String::new();
    let mut rest = text;
    while let Some((before, inside)) = rest.split_once("${") {
        let Some((name, after)) = inside.split_once('}') else { break };
        if name.is_empty() || name.contains(|c: char| !c.is_alphanumeric() && c != '_') {
            return Err(VariableError::NoName);
        }
        let value = environment.get(name);
        expanded += before;
        expanded += value.ok_or_else(|| VariableError::NotSet(name.to_owned()))?;
        rest = after;
    }
    Ok(expanded + rest)
}

/// An object's name with every `{variable}` replaced by its value in `variables`.
///
/// # Errors
/// Where a variable is not among them, or a brace does not close.
pub fn fill_object(object: &str, variables: &[(&str, &str)]) -> Result<String, VariableError> {
    let mut filled = String::new();
    let mut rest = object;
    while let Some((before, inside)) = rest.split_once('{') {
        let (name, after) = inside.split_once('}').ok_or(VariableError::Unclosed)?;
        let value = variables.iter().find(|(known, _)| *known == name);
        let (_, value) = value.ok_or_else(|| unknown(name, variables))?;
        filled += before;
        filled += value;
        rest = after;
    }
    Ok(filled + rest)
}

fn unknown(name: &str, variables: &[(&str, &str)]) -> VariableError {
    let names: Vec<&str> = variables.iter().map(|(known, _)| *known).collect();
    VariableError::Unknown { name: name.to_owned(), suggestion: suggestion(name, &names) }
}

#[cfg(test)]
mod tests {
    use super::super::yaml::parse;
    use super::*;

    fn environment() -> Environment {
        [("A", "1"), ("B_2", "{x}: ${A}"), ("NONE", "")].map(|(k, v)| (k.into(), v.into())).into()
    }

    #[test]
    fn environment_variables_are_filled_in() {
        for (text, expected) in [
            ("${A}", "1"),
            ("x${A}${A}y", "x11y"),
            ("${B_2}", "{x}: ${A}"),
            ("${NONE}", ""),
            ("$A and ${", "$A and ${"),
        ] {
            assert_eq!(expand_text(text, &environment()), Ok(expected.to_owned()), "{text}");
        }
    }

    #[test]
    fn values_are_filled_in_after_parsing_and_keep_their_kind() {
        let mut node = parse("{ a: ${A}, b: '${A}', c: [x-${B_2}], '${A}': y }").unwrap();

        expand_environment(&mut node, "", &environment(), &Complaints::new());

        let expected = serde_json::json!({"a": 1, "b": "1", "c": ["x-{x}: ${A}"], "${A}": "y"});
        assert_eq!(node.to_json(), expected);
    }

    #[test]
    fn what_cannot_be_filled_in_is_told_with_its_place() {
        let mut node = parse("a:\n  b: [x, '${GONE}']\n  c: ${A:-1}\n").unwrap();
        let complaints = Complaints::new();

        expand_environment(&mut node, "", &environment(), &complaints);

        assert_eq!(
            complaints.into_result("f", None).unwrap_err().to_string(),
            "f:2:10: a.b: environment variable GONE is not set\n\
             f:3:6: a.c: `${…}` must hold the name of an environment variable"
        );
    }

    #[test]
    fn objects_know_their_variables() {
        let variables = [("stream_name", "events"), ("source_name", "POSTHOG")];
        for (object, expected) in [
            ("posthog.{stream_name}", Ok("posthog.events")),
            ("{source_name}_{stream_name}", Ok("POSTHOG_events")),
            ("plain", Ok("plain")),
            ("a.{stream}", Err("unknown variable \"{stream}\", known: stream_name, source_name")),
            (
                "a.{steam_name}",
                Err("unknown variable \"{steam_name}\", did you mean \"stream_name\"?"),
            ),
            ("a.{stream_name", Err("a `{` without its `}`")),
        ] {
            let filled = fill_object(object, &variables).map_err(|error| error.to_string());
            assert_eq!(filled.as_deref().map_err(String::as_str), expected, "{object}");
        }
    }
}
