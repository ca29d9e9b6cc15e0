//! Reading the syncs of a file, and refusing what makes no sense together.

use super::mapping::Mapping;
use super::{
    Ambiguous, Becomes, Ends, FoundBy, Nulls, PersonBehavior, PersonSync, Properties, Rows, Sync,
};
use crate::config::complaint::Complaints;
use crate::config::fields::Fields;
use crate::config::node::{Key, Kind, Node};

/// What a row can become, by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Object {
    Event,
    Person,
    Page,
}

const OBJECTS: [(&str, Object); 3] =
    [("event", Object::Event), ("person", Object::Person), ("page", Object::Page)];

/// What is done with it, by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Behavior {
    Send,
    Write(PersonBehavior),
}

const BEHAVIORS: [(&str, Behavior); 4] = [
    ("send", Behavior::Send),
    ("update_or_create", Behavior::Write(PersonBehavior::UpdateOrCreate)),
    ("update_only", Behavior::Write(PersonBehavior::UpdateOnly)),
    ("mirror", Behavior::Write(PersonBehavior::Mirror)),
];

const NULLS: [(&str, Nulls); 2] = [("skip", Nulls::Skip), ("unset", Nulls::Unset)];

const AMBIGUOUS: [(&str, Ambiguous); 3] =
    [("reject", Ambiguous::Reject), ("all", Ambiguous::All), ("latest", Ambiguous::Latest)];

/// Reads `syncs`; what is wrong is among the complaints.
pub(super) fn read_syncs(node: &Node, ends: Ends, complaints: &Complaints) -> Vec<Sync> {
    let Kind::Map(entries) = &node.kind else {
        complaints.expected("a map with a key for each sync", node, "syncs");
        return Vec::new();
    };
    if entries.is_empty() {
        complaints.add(node.at, "syncs", "names no sync");
    }
    let read = |(key, node): &(Key, Node)| read_sync(key, node, ends, complaints);
    entries.iter().filter_map(read).collect()
}

/// Reads one sync; nothing where too much is missing to judge the rest, which was said.
fn read_sync(key: &Key, node: &Node, ends: Ends, complaints: &Complaints) -> Option<Sync> {
    let path = format!("syncs.{}", key.text);
    let is_name = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    if key.text.is_empty() || !key.text.chars().all(is_name) {
        complaints.add(key.at, &path, "a name has letters, digits, _ and - only: it names a file");
    }
    let mut entry = Entry { fields: Fields::of(node, &path, complaints), ends };
    // For people: it changes nothing.
    entry.fields.opt_text("description");
    let rows = entry.rows();
    let object = entry.object();
    let behavior = entry.fields.opt_choice("behavior", "behavior", &BEHAVIORS);
    let key_column = entry.fields.opt_text("key").map(str::to_owned);
    let mapping = entry.fields.fields("mapping").map(Mapping::read).unwrap_or_default();
    let timestamp_column = entry.fields.opt_text("timestamp_column").map(str::to_owned);
    let backfill = entry.fields.opt_bool("backfill");
    let person = PersonSettings::read(&mut entry.fields);
    let judged = object.map(|object| match object {
        Object::Person => entry.person(behavior, key_column, &mapping, person),
        _ => entry.occurrence(object, behavior, key_column, &mapping, &person),
    });
    if let Some(Some((_, Becomes::Person(of)))) = &judged
        && of.behavior == PersonBehavior::Mirror
    {
        entry.mirror(of, timestamp_column.is_some(), backfill == Some(false));
    }
    entry.fields.finish();
    let (key_column, becomes) = judged??;
    Some(Sync {
        name: key.text.clone(),
        at: key.at,
        rows: rows?,
        key: key_column,
        becomes,
        properties: mapping.properties.unwrap_or_default(),
        timestamp_column,
        backfill: backfill.unwrap_or(true),
    })
}

/// What can be said of persons only, as it was written.
struct PersonSettings {
    set_once: Option<Vec<String>>,
    nulls: Option<Nulls>,
    ambiguous: Option<Ambiguous>,
}

impl PersonSettings {
    fn read(fields: &mut Fields<'_, '_>) -> Self {
        let set_once = fields.opt_texts("set_once");
        Self {
            set_once: set_once.map(|names| names.into_iter().map(str::to_owned).collect()),
            nulls: fields.opt_choice("nulls", "choice", &NULLS),
            ambiguous: fields.opt_choice("on_ambiguous_email", "choice", &AMBIGUOUS),
        }
    }

    /// Those that are given, by their keys.
    fn given(&self) -> impl Iterator<Item = &'static str> {
        let keys = [
            ("set_once", self.set_once.is_some()),
            ("nulls", self.nulls.is_some()),
            ("on_ambiguous_email", self.ambiguous.is_some()),
        ];
        keys.into_iter().filter_map(|(key, is_given)| is_given.then_some(key))
    }
}

/// One sync being read.
struct Entry<'n, 'c> {
    fields: Fields<'n, 'c>,
    ends: Ends,
}

impl Entry<'_, '_> {
    fn object(&mut self) -> Option<Object> {
        self.fields.required("object")?;
        self.fields.opt_choice("object", "object", &OBJECTS)
    }

    /// Exactly one of `model`, `table` and `file`, as the source has it.
    fn rows(&mut self) -> Option<Rows> {
        let keys = ["model", "table", "file"];
        let given: Vec<_> =
            keys.iter().filter_map(|key| Some((*key, self.fields.opt_text(key)?))).collect();
        let (key, text) = match given.as_slice() {
            [one] => *one,
            [] => {
                let (key, said) = match self.ends.source_is_files {
                    true => ("file", "file: path"),
                    false => ("table", "table: name, or model: SQL"),
                };
                self.fields.complain(key, format!("missing: say which rows, with {said}"));
                return None;
            }
            [_, (key, _), ..] => {
                self.fields.complain(key, "one of model, table and file is enough");
                return None;
            }
        };
        match (key, self.ends.source_is_files) {
            _ if text.trim().is_empty() => self.fields.complain(key, "must not be empty"),
            ("file", true) => return Some(Rows::File(text.to_owned())),
            ("model", false) => return Some(Rows::Query(text.to_owned())),
            ("table", false) => return Some(Rows::Table(text.to_owned())),
            ("file", _) => {
                self.fields
                    .complain(key, "the source is a database: say model: SQL, or table: name");
            }
            _ => self.fields.complain(key, "the source is a folder: say file: path"),
        }
        None
    }

    /// What happens once: an event or a page.
    fn occurrence(
        &mut self,
        object: Object,
        behavior: Option<Behavior>,
        key: Option<String>,
        mapping: &Mapping,
        person: &PersonSettings,
    ) -> Option<(String, Becomes)> {
        let what = if object == Object::Event { "an event" } else { "a page" };
        if behavior.is_some_and(|behavior| behavior != Behavior::Send) {
            let message = format!("{what} is sent, once: behavior: send");
            self.fields.complain("behavior", message);
        }
        for key in person.given() {
            self.fields.complain(key, format!("is about persons, and {what} is none"));
        }
        mapping.refuse(&self.fields, "email", &format!("finds persons, and {what} is none"));
        let distinct_id = mapping.required("distinct_id", &self.fields, "it says who");
        let timestamp = mapping.column("timestamp", &self.fields);
        if object == Object::Page {
            mapping.refuse(&self.fields, "event", "a page has the name $pageview");
            let url = mapping.term("url").cloned();
            let distinct_id = distinct_id?;
            // A page is told from others by who viewed it, where nothing else tells it.
            let key = key.or_else(|| distinct_id.column().map(str::to_owned));
            let becomes = Becomes::Page { url, distinct_id, timestamp };
            return Some((self.key(key)?, becomes));
        }
        mapping.refuse(&self.fields, "url", "is a page's: write it under properties");
        let event = mapping.required("event", &self.fields, "it names what happened");
        let key = self.key(key);
        Some((key?, Becomes::Event { event: event?, distinct_id: distinct_id?, timestamp }))
    }

    fn key(&self, key: Option<String>) -> Option<String> {
        if key.as_ref().is_none_or(String::is_empty) {
            let message = "missing: the column that tells one row from all others";
            self.fields.complain("key", message);
        }
        key.filter(|key| !key.is_empty())
    }

    /// What is known of a person.
    fn person(
        &mut self,
        behavior: Option<Behavior>,
        key: Option<String>,
        mapping: &Mapping,
        settings: PersonSettings,
    ) -> Option<(String, Becomes)> {
        for (key, message) in [
            ("event", "a person is no event: its properties are set by $set"),
            ("timestamp", "a person has no time; to follow a column, say timestamp_column"),
            ("url", "is a page's: write it under properties"),
        ] {
            mapping.refuse(&self.fields, key, message);
        }
        if mapping.properties.is_none() {
            mapping.complain(
                &self.fields,
                "properties",
                "missing: all, a list, or a map of names and columns",
            );
        }
        let behavior = match behavior {
            Some(Behavior::Write(behavior)) => Some(behavior),
            Some(Behavior::Send) => {
                let message =
                    "a person is not sent but written: update_or_create, update_only or mirror";
                self.fields.complain("behavior", message);
                None
            }
            None => {
                if self.fields.opt_text("behavior").is_none() {
                    let message = "missing: update_or_create, update_only or mirror";
                    self.fields.complain("behavior", message);
                }
                None
            }
        };
        let (key, by) = self.found_by(key, mapping, settings.ambiguous)?;
        self.reading(behavior, &by);
        let set_once = settings.set_once.unwrap_or_default();
        let names = mapping.properties.as_ref().and_then(Properties::names);
        for name in set_once
            .iter()
            .filter(|name| names.as_ref().is_some_and(|n| !n.contains(&name.as_str())))
        {
            self.fields.complain("set_once", format!("\"{name}\" is no property of this sync"));
        }
        let nulls = settings.nulls.unwrap_or(Nulls::Skip);
        Some((key, Becomes::Person(PersonSync { by, behavior: behavior?, set_once, nulls })))
    }

    /// The key of a person is its distinct id or its e-mail.
    fn found_by(
        &mut self,
        key: Option<String>,
        mapping: &Mapping,
        ambiguous: Option<Ambiguous>,
    ) -> Option<(String, FoundBy)> {
        let id = mapping.column("distinct_id", &self.fields);
        let email = mapping.column("email", &self.fields);
        let is_by_email = mapping.term("email").is_some();
        if ambiguous.is_some() && !is_by_email {
            let message = "persons are found by distinct id here: map email to find them by that";
            self.fields.complain("on_ambiguous_email", message);
        }
        let (what, column) =
            if is_by_email { ("email", email) } else { ("distinct_id", id.clone()) };
        let key = match (key, column) {
            (Some(key), Some(column)) if key != column => {
                let message = format!("a person's key is the column of mapping.{what}, {column}");
                self.fields.complain("key", message);
                return None;
            }
            (key, column) => self.key(column.or(key))?,
        };
        let ambiguous = ambiguous.unwrap_or(Ambiguous::Reject);
        let by = match is_by_email {
            true => FoundBy::Email { ambiguous, new_id: id },
            false => FoundBy::Id,
        };
        Some((key, by))
    }

    /// Refuses what needs persons to be read where they cannot be.
    fn reading(&self, behavior: Option<PersonBehavior>, by: &FoundBy) {
        if self.ends.target_reads {
            return;
        }
        const ADD: &str = "add api_key (phx_…, with the scopes person:read and query:read) and project_id \
            to the secrets of the target";
        if behavior == Some(PersonBehavior::UpdateOnly) {
            let why = "update_only needs a personal API key: PostHog makes a person of every distinct \
                id it does not know, so it has to be asked first who is there";
            self.fields.complain("behavior", format!("{why}; {ADD}"));
        }
        if matches!(by, FoundBy::Email { .. }) {
            let why = "finding persons by email needs a personal API key: PostHog takes what is sent \
                for a distinct id, so it has to be asked first whose the email is";
            self.fields.complain("mapping", format!("{why}; {ADD}"));
        }
    }

    /// Refuses what cannot be mirrored.
    fn mirror(&self, of: &PersonSync, follows_column: bool, starts_late: bool) {
        if matches!(of.by, FoundBy::Email { .. }) {
            let message = "mirror needs the distinct id as key: an email that is gone may be \
                somebody else's by now";
            self.fields.complain("behavior", message);
        }
        if follows_column {
            let message = "mirror reads all rows: only so is it seen which are gone";
            self.fields.complain("timestamp_column", message);
        }
        if starts_late {
            let message = "mirror unsets what it has set: it begins with all rows";
            self.fields.complain("backfill", message);
        }
    }
}
