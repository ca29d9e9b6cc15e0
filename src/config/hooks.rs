//! What is done before the first stream and after the last: `hooks: { start: […], end: […] }`.
//!
//! Nothing is done here; the run does it.

use super::complaint::Complaints;
use super::fields::Fields;
use super::node::{Kind, Node};

/// What Sling's hooks can do and ours cannot.
const SLING_TYPES: [&str; 14] = [
    "check",
    "copy",
    "delete",
    "group",
    "inspect",
    "iterate",
    "list",
    "query",
    "read",
    "replication",
    "routine",
    "run",
    "store",
    "write",
];

/// What Sling can say of a hook and we cannot.
const SLING_KEYS: [&str; 6] = ["id", "if", "into", "level", "print", "timeout"];

/// The hooks of a replication.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hooks {
    /// Before the first stream.
    pub start: Vec<Hook>,
    /// After the last one, however the run ended.
    pub end: Vec<Hook>,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// What it is called in messages: `hooks.start[0]`.
    pub path: String,
    /// What is done.
    pub action: Action,
    /// Whether its failure is only told.
    pub only_warns: bool,
}

/// What a hook does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Tells something on stderr.
    Log(String),
    /// Runs a program, with its arguments.
    Command(Vec<String>),
    /// Posts a text to an address.
    Http {
        /// The address.
        url: String,
        /// What is posted; nothing for a summary as JSON.
        payload: Option<String>,
    },
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Type {
    Log,
    Command,
    Http,
}

pub(super) const TYPES: [(&str, Type); 3] =
    [("log", Type::Log), ("command", Type::Command), ("http", Type::Http)];

pub(super) const ON_FAILURE: [(&str, bool); 2] = [("abort", false), ("warn", true)];

/// Reads `hooks`.
pub(super) fn hooks(fields: &mut Fields<'_, '_>, complaints: &Complaints) -> Hooks {
    let path = fields.path_of("hooks");
    let Some(node) = fields.node("hooks") else { return Hooks::default() };
    let mut fields = Fields::of(node, &path, complaints);
    let mut all = |key: &'static str| {
        let items = fields.list(key).iter().enumerate();
        let read = |(n, item)| hook(item, &format!("{path}.{key}[{n}]"), complaints);
        items.filter_map(read).collect()
    };
    let hooks = Hooks { start: all("start"), end: all("end") };
    fields.finish();
    hooks
}

fn hook(node: &Node, path: &str, complaints: &Complaints) -> Option<Hook> {
    let mut fields = Fields::of(node, path, complaints);
    let kind = fields.node("type").and_then(Node::text);
    if let Some(kind) = kind.filter(|kind| SLING_TYPES.contains(kind)) {
        let message = super::replication::refuse_sling(&format!("type: {kind}"));
        fields.complain("type", message);
        return None;
    }
    let kind = match kind {
        Some(_) => fields.opt_choice("type", "type of hook", &TYPES),
        None => {
            fields.complain("type", "missing: type: log, type: command or type: http");
            None
        }
    };
    let only_warns = fields.opt_choice("on_failure", "choice", &ON_FAILURE).unwrap_or(false);
    let action = match kind? {
        Type::Log => Action::Log(fields.text("message")),
        Type::Command => Action::Command(command(&mut fields)?),
        Type::Http => {
            if let Some(method) = fields.opt_text("method")
                && !method.eq_ignore_ascii_case("post")
            {
                fields.complain("method", "only POST is supported");
            }
            let payload = fields.opt_text("payload").map(str::to_owned);
            Action::Http { url: fields.text("url"), payload }
        }
    };
    fields.refuse(&SLING_KEYS, super::replication::refuse_sling);
    fields.finish();
    Some(Hook { path: path.to_owned(), action, only_warns })
}

/// A program and its arguments; a text is for the shell.
fn command(fields: &mut Fields<'_, '_>) -> Option<Vec<String>> {
    let node = fields.required("command")?;
    let words = match &node.kind {
        Kind::List(items) => items.iter().map(|item| item.text().map(str::to_owned)).collect(),
        _ => node.text().map(|text| ["sh", "-c", text].map(str::to_owned).into()),
    };
    let words: Option<Vec<String>> = words;
    let words = words.filter(|words| words.first().is_some_and(|program| !program.is_empty()));
    if words.is_none() {
        fields.expected("a text for the shell, or a program and its arguments", node, "command");
    }
    words
}
