//! What the files of a stream are called, wherever they are kept.
//!
//! A name tells whose the file is: files that do not bear this stream's pattern belong to
//! somebody else and are never touched. Nothing in here looks at a file.

use crate::checkpoint::Checkpoint;
use crate::config::FileFormat;

/// The list of the files that count.
pub(super) const MANIFEST: &str = "_manifest.json";

/// How the names of folders begin that hold the files of one date.
pub(super) const PART: &str = "event_date=";

/// What stands for the date of rows that have none.
pub(super) const UNDATED: &str = "__HIVE_DEFAULT_PARTITION__";

/// The folder that an object means, below its place; nothing where it would lead elsewhere.
pub(in crate::target) fn folder_of(object: &str) -> Option<String> {
    let parts: Vec<&str> = object.split(['.', '/']).collect();
    // `..` falls apart into empty parts here.
    parts.iter().all(|part| !part.is_empty()).then(|| parts.join("/"))
}

/// How one stream's files are called.
#[derive(Debug)]
pub(super) struct Names {
    /// The stream's name, as file names begin with it.
    pub(super) stream: String,
    /// A number that no other writer gives, where two may write at once.
    pub(super) writer: Option<u32>,
}

impl Names {
    pub(super) fn of(stream: &str) -> Self {
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        let stream = stream.chars().map(|c| if fits(c) { c } else { '_' }).collect();
        Self { stream, writer: None }
    }

    /// The name of a file that a commit adds, one that nobody has yet.
    pub(super) fn name_for(
        &self,
        checkpoint: &Checkpoint,
        suffix: &str,
        is_taken: impl Fn(&str) -> bool,
    ) -> String {
        let epoch = checkpoint.epoch.chars().filter(char::is_ascii_alphanumeric);
        let epoch: String = epoch.chain("00000000".chars()).take(8).collect();
        let writer = self.writer.map(|writer| format!("-{writer}")).unwrap_or_default();
        let stem = format!("{}-{epoch}-{:09}{writer}", self.stream, checkpoint.sequence);
        let numbered = (2..).map(|n| format!("{stem}-{n}{suffix}"));
        let mut names = std::iter::once(format!("{stem}{suffix}")).chain(numbered);
        names.find(|name| !is_taken(name)).unwrap_or_default()
    }

    /// Whether a name has the form of [`Names::name_for`], hidden or not.
    pub(super) fn are_of(&self, name: &str) -> bool {
        let suffix = FileFormat::of_name(name).map(FileFormat::suffix);
        let name = name.strip_prefix('.').unwrap_or(name);
        let middle = name
            .strip_prefix(&self.stream)
            .and_then(|rest| rest.strip_prefix('-'))
            .and_then(|rest| rest.strip_suffix(&suffix?));
        let Some(middle) = middle else { return false };
        let parts: Vec<&str> = middle.split('-').collect();
        let digits = |part: &&str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        let epoch = |part: &str| part.len() == 8 && part.bytes().all(|b| b.is_ascii_alphanumeric());
        parts.len() >= 2 && epoch(parts[0]) && parts[1].len() >= 9 && parts[1..].iter().all(digits)
    }
}

/// The name that hides a file from readers.
pub(super) fn hidden(name: &str) -> String {
    match name.rsplit_once('/') {
        None => format!(".{name}"),
        Some((part, name)) => format!("{part}/.{name}"),
    }
}

/// The name under which a hidden file is shown.
pub(super) fn shown(name: &str) -> String {
    match name.rsplit_once('/') {
        None => name.trim_start_matches('.').to_owned(),
        Some((part, name)) => format!("{part}/{}", name.trim_start_matches('.')),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_folders_below_their_place() {
        assert_eq!(folder_of("posthog.events").as_deref(), Some("posthog/events"));
        assert_eq!(folder_of("posthog/events").as_deref(), Some("posthog/events"));
        for object in ["", "../events", "/etc", "a..b", "a/"] {
            assert_eq!(folder_of(object), None, "{object}");
        }
    }

    #[test]
    fn a_hidden_file_has_a_dot_before_its_own_name() {
        for name in ["a.csv", "event_date=2026-01-01/a.csv"] {
            assert!(hidden(name).ends_with(".a.csv"));
            assert_eq!(shown(&hidden(name)), name);
            assert_eq!(shown(name), name);
        }
    }

    #[test]
    fn only_names_of_our_form_are_ours() {
        let names = Names::of("events");
        for (name, is_ours) in [
            ("events-5ca1ab1e-000000001.jsonl", true),
            (".events-5ca1ab1e-000000001-2.jsonl", true),
            ("events-5ca1ab1e-000000001-3735928559-2.jsonl", true),
            ("events-5ca1ab1e-1234567890.jsonl", true),
            ("events-5ca1ab1e-000000001.jsonl.gz", true),
            (".events-5ca1ab1e-000000001.parquet", true),
            ("events-5ca1ab1e-000000001.csv.bz2", false),
            ("events-export.jsonl", false),
            ("events-5ca1ab1e-today.jsonl", false),
            ("my-events-5ca1ab1e-000000001.jsonl", false),
            ("_manifest.json", false),
        ] {
            assert_eq!(names.are_of(name), is_ours, "{name}");
        }
    }
}
