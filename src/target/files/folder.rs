//! A folder of files whose manifest says which of them exist.
//!
//! A file is written under a temporary name, made durable, renamed, and only then
//! listed; the manifest is replaced whole and last. So a crash leaves a file that
//! nobody listed, and [`Folder::sweep`] removes it: a file that is not in the
//! manifest does not exist. Files that do not bear this stream's name pattern
//! belong to somebody else and are never touched. What is in a file is its
//! writer's business.

use std::fs::{File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::checkpoint::Checkpoint;
use crate::config::FileFormat;
use crate::target::files::manifest::{Listed, Manifest};

const MANIFEST: &str = "_manifest.json";
const MANIFEST_DRAFT: &str = ".tmp-_manifest.json";

/// How the names of files end that are being written.
const DRAFT_END: &str = ".part";

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

/// One stream's folder.
#[derive(Debug)]
pub(super) struct Folder {
    pub(super) path: PathBuf,
    /// How many folders it is below its place.
    below: usize,
    /// The stream's name, as file names begin with it.
    stream: String,
}

impl Folder {
    pub(super) fn new(root: &Path, folder: &str, stream: &str) -> Self {
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        let stream = stream.chars().map(|c| if fits(c) { c } else { '_' }).collect();
        Self { path: root.join(folder), below: folder.split('/').count(), stream }
    }

    /// Makes the folder and those above it, durably.
    pub(super) fn make(&self) -> io::Result<()> {
        let missing = self.path.ancestors().take_while(|path| !path.exists()).count();
        // Without a manifest those below the place may be the work of a run that died before
        // they were durable.
        let is_new = !self.path.join(MANIFEST).exists();
        let made = if is_new { missing.max(self.below) } else { missing };
        std::fs::create_dir_all(&self.path)?;
        crash_point!("folder made");
        for path in self.path.ancestors().take(made + 1).filter(|_| made > 0) {
            // A relative path ends in an empty one, which is the folder we are in.
            let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
            File::open(path)?.sync_all()?;
        }
        Ok(())
    }

    /// Takes the folder for one writer, for as long as what is returned lives; nothing where
    /// the file system knows no locks.
    pub(super) fn take(&self) -> io::Result<Option<File>> {
        let folder = File::open(&self.path)?;
        match folder.try_lock() {
            Ok(()) => Ok(Some(folder)),
            Err(TryLockError::WouldBlock) => Err(io::ErrorKind::ResourceBusy.into()),
            // A network's file system may not lock folders; runs are kept apart by the state.
            Err(TryLockError::Error(_)) => Ok(None),
        }
    }

    /// The text of the manifest, where there is one.
    pub(super) fn manifest(&self) -> io::Result<Option<String>> {
        match std::fs::read_to_string(self.path.join(MANIFEST)) {
            Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(None),
            read => read.map(Some),
        }
    }

    /// Replaces the manifest: readers see the old one or the new one.
    pub(super) fn replace_manifest(&self, manifest: &Manifest) -> io::Result<()> {
        let mut draft = File::create(self.path.join(MANIFEST_DRAFT))?;
        draft.write_all(manifest.to_json()?.as_bytes())?;
        crash_point!("manifest written");
        draft.sync_all()?;
        crash_point!("manifest synced");
        self.rename(MANIFEST_DRAFT, MANIFEST)?;
        crash_point!("manifest renamed");
        self.sync()
    }

    /// Makes renames and new files durable.
    pub(super) fn sync(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }

    /// Gives a file another name.
    pub(super) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.path.join(from), self.path.join(to))
    }

    /// Begins the n-th file of a page, under a temporary name.
    pub(super) fn draft(&self, n: u32) -> io::Result<(File, String)> {
        let name = format!("{}{n}{DRAFT_END}", self.draft_start());
        crash_point!("before a draft");
        let file = File::create(self.path.join(&name))?;
        Ok((file, name))
    }

    fn draft_start(&self) -> String {
        format!(".tmp-{}.", self.stream)
    }

    /// Makes a file that was written durable under a name; it is still not listed.
    pub(super) fn seal(&self, file: &File, listed: Listed, name: String) -> io::Result<Listed> {
        file.sync_all()?;
        crash_point!("file synced");
        self.make_part_of(&name)?;
        self.rename(&listed.name, &name)?;
        crash_point!("file renamed, folder not synced");
        self.sync_part_of(&name)?;
        self.sync()?;
        crash_point!("file not listed");
        Ok(Listed { name, ..listed })
    }

    /// Makes the part that a name is in, where there is none.
    fn make_part_of(&self, name: &str) -> io::Result<()> {
        let Some((part, _)) = name.rsplit_once('/') else { return Ok(()) };
        match std::fs::create_dir(self.path.join(part)) {
            Err(err) if err.kind() != io::ErrorKind::AlreadyExists => Err(err),
            _ => Ok(()),
        }
    }

    /// Makes a name durable in its part, where it is in one.
    pub(super) fn sync_part_of(&self, name: &str) -> io::Result<()> {
        match name.rsplit_once('/') {
            Some((part, _)) => File::open(self.path.join(part))?.sync_all(),
            None => Ok(()),
        }
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
        let stem = format!("{}-{epoch}-{:09}", self.stream, checkpoint.sequence);
        let numbered = (2..).map(|n| format!("{stem}-{n}{suffix}"));
        let mut names = std::iter::once(format!("{stem}{suffix}")).chain(numbered);
        names.find(|name| !is_taken(name)).unwrap_or_default()
    }

    /// Whether a listed file is there and whole; says what is wrong with it.
    pub(super) fn fault_of(&self, listed: &Listed) -> Option<String> {
        let path = self.path.join(&listed.name);
        match std::fs::metadata(path) {
            Err(err) => Some(format!("file `{}` is gone: {err}", listed.name)),
            Ok(found) if found.len() != listed.bytes => Some(format!(
                "file `{}` has {} bytes instead of {}",
                listed.name,
                found.len(),
                listed.bytes
            )),
            Ok(_) => None,
        }
    }

    /// Our files in the folder and its parts, drafts apart.
    pub(super) fn files(&self) -> io::Result<Vec<String>> {
        let is_ours = |name: &String| self.is_ours(name);
        let names = self.names()?;
        let mut files = Vec::new();
        for part in names.iter().filter(|name| name.starts_with(PART)) {
            let inside = names_in(&self.path.join(part))?.into_iter().filter(is_ours);
            files.extend(inside.map(|name| format!("{part}/{name}")));
        }
        files.extend(names.into_iter().filter(is_ours));
        Ok(files)
    }

    fn names(&self) -> io::Result<Vec<String>> {
        names_in(&self.path)
    }

    /// Removes drafts and our files that are not listed, and parts that are then empty.
    pub(super) fn sweep(&self, manifest: &Manifest) -> io::Result<()> {
        let drafts = self.names()?.into_iter().filter(|name| self.is_draft(name));
        let unlisted = self.files()?.into_iter().filter(|name| !manifest.lists(name));
        for name in drafts.chain(unlisted) {
            std::fs::remove_file(self.path.join(&name))?;
            crash_point!("a leftover swept");
        }
        for part in self.names()?.iter().filter(|name| name.starts_with(PART)) {
            let part = self.path.join(part);
            if part.is_dir() && names_in(&part)?.is_empty() {
                std::fs::remove_dir(part)?;
            }
        }
        Ok(())
    }

    /// Whether a name is one of [`Folder::draft`] or the manifest's; an older hogline's too.
    fn is_draft(&self, name: &str) -> bool {
        let end = name.strip_prefix(&self.draft_start());
        let number = end.and_then(|end| end.strip_suffix(DRAFT_END));
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        name == MANIFEST_DRAFT || end == Some("jsonl") || number.is_some_and(is_number)
    }

    /// Whether a name has the form of [`Folder::name_for`], hidden or not.
    fn is_ours(&self, name: &str) -> bool {
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

/// The names in a folder; none where it is no folder.
fn names_in(path: &Path) -> io::Result<Vec<String>> {
    let entries = match std::fs::read_dir(path) {
        Err(err) if err.kind() == io::ErrorKind::NotADirectory => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry?.file_name().into_string());
    }
    Ok(names)
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
        let folder = Folder::new(Path::new("."), "f", "events");
        for (name, is_ours) in [
            ("events-5ca1ab1e-000000001.jsonl", true),
            (".events-5ca1ab1e-000000001-2.jsonl", true),
            ("events-5ca1ab1e-1234567890.jsonl", true),
            ("events-5ca1ab1e-000000001.jsonl.gz", true),
            (".events-5ca1ab1e-000000001.parquet", true),
            ("events-5ca1ab1e-000000001.csv.bz2", false),
            ("events-export.jsonl", false),
            ("events-5ca1ab1e-today.jsonl", false),
            ("my-events-5ca1ab1e-000000001.jsonl", false),
            ("_manifest.json", false),
        ] {
            assert_eq!(folder.is_ours(name), is_ours, "{name}");
        }
    }
}
