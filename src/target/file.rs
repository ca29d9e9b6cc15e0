//! A folder of files whose manifest says which of them exist.
//!
//! A file is written under a temporary name, made durable, renamed, and only then
//! listed; the manifest is replaced whole and last. So a crash leaves a file that
//! nobody listed, and [`Folder::sweep`] removes it: a file that is not in the
//! manifest does not exist. Files that do not bear this stream's name pattern
//! belong to somebody else and are never touched. What is in a file is its
//! writer's business.

pub(super) mod manifest;

use std::fs::{File, TryLockError};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::checkpoint::Checkpoint;
use crate::cursor::Timestamp;
use crate::target::file::manifest::{Listed, Manifest};

const MANIFEST: &str = "_manifest.json";
const MANIFEST_DRAFT: &str = ".tmp-_manifest.json";

/// The folder that an object means, below its place; nothing where it would lead elsewhere.
pub(super) fn folder_of(object: &str) -> Option<String> {
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

    pub(super) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.path.join(from), self.path.join(to))
    }

    /// Begins a file that does not exist yet.
    pub(super) fn draft(&self) -> io::Result<Draft> {
        let name = format!(".tmp-{}.jsonl", self.stream);
        crash_point!("before a draft");
        // 256 KB: system calls cost nothing then, and a run has few files open at once.
        let file = BufWriter::with_capacity(256 << 10, File::create(self.path.join(&name))?);
        Ok(Draft { file, listed: Listed { name, bytes: 0, rows: 0, first: None, last: None } })
    }

    /// Makes a draft durable under a name; it is still not listed.
    pub(super) fn seal(&self, draft: Draft, name: String) -> io::Result<Listed> {
        let Draft { file, mut listed } = draft;
        let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
        crash_point!("file written");
        file.sync_all()?;
        crash_point!("file synced");
        self.rename(&listed.name, &name)?;
        crash_point!("file renamed, folder not synced");
        self.sync()?;
        crash_point!("file not listed");
        listed.name = name;
        Ok(listed)
    }

    /// The name of the file that a commit adds, one that nobody has yet.
    pub(super) fn name_for(
        &self,
        checkpoint: &Checkpoint,
        is_taken: impl Fn(&str) -> bool,
    ) -> String {
        let epoch = checkpoint.epoch.chars().filter(char::is_ascii_alphanumeric);
        let epoch: String = epoch.chain("00000000".chars()).take(8).collect();
        let stem = format!("{}-{epoch}-{:09}", self.stream, checkpoint.sequence);
        let numbered = (2..).map(|n| format!("{stem}-{n}.jsonl"));
        let mut names = std::iter::once(format!("{stem}.jsonl")).chain(numbered);
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

    /// Our files in the folder, drafts apart.
    pub(super) fn files(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.path)? {
            names.extend(entry?.file_name().into_string().ok().filter(|name| self.is_ours(name)));
        }
        Ok(names)
    }

    /// Removes drafts and our files that are not listed.
    pub(super) fn sweep(&self, manifest: &Manifest) -> io::Result<()> {
        let drafts = [MANIFEST_DRAFT.to_owned(), format!(".tmp-{}.jsonl", self.stream)];
        let leftovers = drafts.into_iter().filter(|name| self.path.join(name).exists());
        let unlisted = self.files()?.into_iter().filter(|name| !manifest.lists(name));
        for name in leftovers.chain(unlisted) {
            std::fs::remove_file(self.path.join(name))?;
            crash_point!("a leftover swept");
        }
        Ok(())
    }

    /// Whether a name has the form of [`Folder::name_for`], hidden or not.
    fn is_ours(&self, name: &str) -> bool {
        let name = name.strip_prefix('.').unwrap_or(name);
        let middle = name
            .strip_prefix(&self.stream)
            .and_then(|rest| rest.strip_prefix('-'))
            .and_then(|rest| rest.strip_suffix(".jsonl"));
        let Some(middle) = middle else { return false };
        let parts: Vec<&str> = middle.split('-').collect();
        let digits = |part: &&str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        let epoch = |part: &str| part.len() == 8 && part.bytes().all(|b| b.is_ascii_alphanumeric());
        parts.len() >= 2 && epoch(parts[0]) && parts[1].len() >= 9 && parts[1..].iter().all(digits)
    }
}

/// A file that is being written.
#[derive(Debug)]
pub(super) struct Draft {
    file: BufWriter<File>,
    listed: Listed,
}

impl Draft {
    /// Adds a row's line.
    pub(super) fn add(&mut self, line: &[u8], time: Option<Timestamp>) -> io::Result<()> {
        self.file.write_all(line)?;
        self.listed.bytes += line.len() as u64;
        self.listed.rows += 1;
        if let Some(time) = time {
            self.listed.first = Some(self.listed.first.map_or(time, |first| first.min(time)));
            self.listed.last = Some(self.listed.last.map_or(time, |last| last.max(time)));
        }
        Ok(())
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
    fn only_names_of_our_form_are_ours() {
        let folder = Folder::new(Path::new("."), "f", "events");
        for (name, is_ours) in [
            ("events-5ca1ab1e-000000001.jsonl", true),
            (".events-5ca1ab1e-000000001-2.jsonl", true),
            ("events-5ca1ab1e-1234567890.jsonl", true),
            ("events-5ca1ab1e-000000001.jsonl.gz", false),
            ("events-export.jsonl", false),
            ("events-5ca1ab1e-today.jsonl", false),
            ("my-events-5ca1ab1e-000000001.jsonl", false),
            ("_manifest.json", false),
        ] {
            assert_eq!(folder.is_ours(name), is_ours, "{name}");
        }
    }
}
