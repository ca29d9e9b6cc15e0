//! Which streams the keys of a replication mean: names, wildcards, queries.

use super::{Entry, Settings};
use crate::config::complaint::{At, Complaints};

/// The streams that the entries mean, each with the key that brought it. A name wins
/// over a wildcard, an earlier wildcard over a later one.
pub(super) fn name_streams<'n>(
    entries: &[Entry<'n>],
    known: &[String],
    complaints: &Complaints,
) -> Vec<(String, At, Settings<'n>)> {
    let names: Vec<&str> = known.iter().map(String::as_str).collect();
    let mut taken: Vec<&str> = entries.iter().map(|(key, _)| key.text.as_str()).collect();
    let mut streams = Vec::new();
    for (key, settings) in entries {
        let pattern = key.text.as_str();
        if !pattern.contains('*') {
            match (names.contains(&pattern), settings.sql) {
                (true, Some((_, at))) => {
                    let message =
                        format!("{pattern} is a stream of PostHog's: give the query another name");
                    complaints.add(at, &format!("streams.{pattern}.sql"), message);
                }
                (false, None) => {
                    complaints.unknown_value("stream", pattern, &names, key.at, "streams");
                }
                _ => {}
            }
            streams.push((pattern.to_owned(), key.at, settings.clone()));
            continue;
        }
        if let Some((_, at)) = settings.sql {
            let path = format!("streams.{pattern}.sql");
            complaints.add(at, &path, "a query needs a name of its own, without a *");
        }
        let matching: Vec<&str> = names.iter().copied().filter(|n| matches(pattern, n)).collect();
        if matching.is_empty() {
            complaints.add(key.at, "streams", format!("no stream matches \"{pattern}\""));
        }
        for name in matching {
            if !taken.contains(&name) {
                taken.push(name);
                streams.push((name.to_owned(), key.at, settings.clone()));
            }
        }
    }
    streams.retain(|(_, _, settings)| settings.disabled != Some(true));
    streams
}

/// Whether `name` fits `pattern`, in which `*` stands for any text.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((before, after)) => name.strip_prefix(before).is_some_and(|rest| {
            rest.char_indices()
                .map(|(index, _)| index)
                .chain([rest.len()])
                .any(|index| matches(after, &rest[index..]))
        }),
    }
}
