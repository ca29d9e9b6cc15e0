//! Where each stream goes: objects and statements with their variables filled in.

use std::collections::HashMap;

use super::{Object, Settings, Sql, StreamConfig};
use crate::config::complaint::{At, Complaints};
use crate::config::files::TargetOptions;
use crate::config::mode::Mode;
use crate::config::source_options::ReadBy;
use crate::config::variables::fill_object;

/// Where a stream goes when nothing says otherwise.
const DEFAULT_OBJECT: &str = "posthog.{stream_name}";

/// How a folder for each date is written.
const PART_DATE: &str = "{part_date}";

/// Filled in where the projects of the connection are known.
pub const PROJECT: &str = "{project_id}";

const DATE_COMES_LAST: &str = "{part_date} comes last, as in posthog.events/{part_date}";

/// Gives each stream the object it goes to.
pub(super) struct Objects<'a> {
    pub(super) source: &'a str,
    pub(super) target: &'a str,
    /// The variables that are the same for all streams.
    pub(super) variables: &'a [(String, String)],
    pub(super) complaints: &'a Complaints,
}

impl Objects<'_> {
    pub(super) fn settle(&self, named: Vec<(String, At, Settings<'_>)>) -> Vec<StreamConfig> {
        let mut owners: HashMap<String, String> = HashMap::new();
        let mut streams = Vec::new();
        for (name, at, settings) in named {
            let (object, by_date) = self.fill(&name, settings.object.as_ref());
            let source = settings.source_options;
            let options = settings.target_options.as_ref();
            let sql = |of: fn(&TargetOptions) -> &Option<String>| {
                Some(self.fill_sql(&name, of(options?).as_deref()?))
            };
            let query = settings.sql.map(|(text, at)| Sql { text: self.fill_sql(&name, text), at });
            let (pre_sql, post_sql) = (sql(|all| &all.pre_sql), sql(|all| &all.post_sql));
            if let Some(owner) = owners.insert(object.clone(), name.clone()) {
                let message = format!("\"{object}\" is already the object of streams.{owner}");
                self.complaints.add(at, &format!("streams.{name}.object"), message);
            }
            streams.push(StreamConfig {
                name,
                at,
                sql: query,
                mode: settings.mode.unwrap_or(Mode::FullRefresh),
                object,
                by_date,
                file_most: options
                    .map(|options| (options.file_max_rows, options.file_max_bytes))
                    .unwrap_or_default(),
                format: options.and_then(|options| options.settle(self.complaints)),
                tags: settings.tags.unwrap_or_default(),
                range: source.range,
                page_size: source.page_size,
                adds_columns: options.is_none_or(|options| options.add_new_columns != Some(false)),
                casing: options.and_then(|options| options.column_casing).unwrap_or_default(),
                pre_sql,
                post_sql,
                limit: source.limit,
                filter: settings.filter,
                transforms: settings.transforms.unwrap_or_default(),
                read: source.read.unwrap_or(ReadBy::Auto),
                select: settings.select.unwrap_or_default(),
                primary_key: settings
                    .primary_key
                    .or_else(|| options.and_then(|options| options.primary_key.clone())),
                update_key: settings.update_key.map(str::to_owned),
                lookback: settings.lookback.or(source.lookback),
                delete_missing: settings
                    .delete_missing
                    .or_else(|| options.and_then(|options| options.delete_missing)),
                columns: settings.columns.unwrap_or_default(),
                flatten: settings.flatten.or(source.flatten),
            });
        }
        streams
    }

    /// The variables of the stream `name`.
    fn of_stream<'v>(&'v self, name: &'v str) -> Vec<(&'v str, &'v str)> {
        let own = [
            ("stream_name", name),
            ("stream_table", name),
            ("source_name", self.source),
            ("target_name", self.target),
            ("part_date", PART_DATE),
            ("project_id", PROJECT),
        ];
        let others = self.variables.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        own.into_iter().chain(others).collect()
    }

    /// A statement with its variables filled in, but for the table's name; other braces are its own.
    fn fill_sql(&self, name: &str, sql: &str) -> String {
        self.of_stream(name)
            .into_iter()
            .fold(sql.to_owned(), |sql, (name, value)| sql.replace(&format!("{{{name}}}"), value))
    }

    /// The object of the stream `name`, and whether it is divided by date.
    fn fill(&self, name: &str, object: Option<&Object<'_>>) -> (String, bool) {
        let variables = self.of_stream(name);
        let text = object.map_or(DEFAULT_OBJECT, |object| object.text);
        let complain = |message: String| {
            if let Some(Object { at, path, .. }) = object {
                self.complaints.add(*at, path, message);
            }
        };
        let filled = fill_object(text, &variables).unwrap_or_else(|error| {
            complain(error.to_string());
            // Kept apart, lest streams be told that they share what could not be filled in.
            format!("{text}/{name}")
        });
        let Some(above) = filled.strip_suffix(PART_DATE) else {
            if filled.contains(PART_DATE) {
                complain(DATE_COMES_LAST.to_owned());
            }
            return (filled, false);
        };
        match above.strip_suffix('/') {
            Some(above) if !above.contains(PART_DATE) => return (above.to_owned(), true),
            _ => complain(DATE_COMES_LAST.to_owned()),
        }
        (filled, false)
    }
}
