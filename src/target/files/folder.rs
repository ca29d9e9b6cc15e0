//! A folder of this machine, as a store.
//!
//! A file is written under a temporary name, made durable, renamed, and only then
//! listed. A crash leaves a file that nobody listed, and [`Folder::sweep`] removes it. The
//! folder is locked for as long as somebody writes.

use std::fs::{File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::target::files::manifest::{Listed, Manifest};
use crate::target::files::names::{MANIFEST, Names, PART};
use crate::target::files::store::{Store, wrong_size};
use crate::target::probe_folder;

const MANIFEST_DRAFT: &str = ".tmp-_manifest.json";

/// How the names of files end that are being written.
const DRAFT_END: &str = ".part";

/// One stream's folder.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    /// How many folders it is below its place.
    below: usize,
    names: Names,
    /// Held by whoever writes here.
    lock: OnceLock<File>,
}

impl Folder {
    pub(super) fn new(root: &Path, folder: &str, stream: &str) -> Self {
        let (path, below) = (root.join(folder), folder.split('/').count());
        Self { path, below, names: Names::of(stream), lock: OnceLock::new() }
    }

    /// Makes the folder and those above it, durably.
    fn make(&self) -> io::Result<()> {
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

    /// Locks the folder for as long as what is returned lives; nothing where the file system
    /// knows no locks.
    fn locked(&self) -> io::Result<Option<File>> {
        let folder = File::open(&self.path)?;
        match folder.try_lock() {
            Ok(()) => Ok(Some(folder)),
            Err(TryLockError::WouldBlock) => Err(io::ErrorKind::ResourceBusy.into()),
            // A network's file system may not lock folders; runs are kept apart by the state.
            Err(TryLockError::Error(_)) => Ok(None),
        }
    }

    /// Makes renames and new files durable.
    fn sync(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }

    /// Gives a file another name.
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.path.join(from), self.path.join(to))
    }

    fn draft_start(&self) -> String {
        format!(".tmp-{}.", self.names.stream)
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
    fn sync_part_of(&self, name: &str) -> io::Result<()> {
        match name.rsplit_once('/') {
            Some((part, _)) => File::open(self.path.join(part))?.sync_all(),
            None => Ok(()),
        }
    }

    fn entries(&self) -> io::Result<Vec<String>> {
        names_in(&self.path)
    }

    /// Whether a name is one of [`Folder::draft`] or the manifest's; an older hogline's too.
    fn is_draft(&self, name: &str) -> bool {
        let end = name.strip_prefix(&self.draft_start());
        let number = end.and_then(|end| end.strip_suffix(DRAFT_END));
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        name == MANIFEST_DRAFT || end == Some("jsonl") || number.is_some_and(is_number)
    }
}

impl Store for Folder {
    fn label(&self) -> String {
        format!("folder {}", self.path.display())
    }

    fn names(&self) -> &Names {
        &self.names
    }

    fn probe(&self) -> io::Result<()> {
        probe_folder(&self.path)
    }

    fn take(&self) -> io::Result<()> {
        self.make()?;
        if self.lock.get().is_none()
            && let Some(folder) = self.locked()?
        {
            self.lock.get_or_init(|| folder);
        }
        Ok(())
    }

    fn manifest(&self) -> io::Result<Option<String>> {
        match std::fs::read_to_string(self.path.join(MANIFEST)) {
            Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(None),
            read => read.map(Some),
        }
    }

    fn replace_manifest(&self, manifest: &Manifest) -> io::Result<()> {
        let mut draft = File::create(self.path.join(MANIFEST_DRAFT))?;
        draft.write_all(manifest.to_json()?.as_bytes())?;
        crash_point!("manifest written");
        draft.sync_all()?;
        crash_point!("manifest synced");
        self.rename(MANIFEST_DRAFT, MANIFEST)?;
        crash_point!("manifest renamed");
        self.sync()
    }

    fn draft(&self, n: u32) -> io::Result<(File, String)> {
        let name = format!("{}{n}{DRAFT_END}", self.draft_start());
        crash_point!("before a draft");
        let file = File::create(self.path.join(&name))?;
        Ok((file, name))
    }

    fn seal(&self, file: &File, listed: Listed, name: String) -> io::Result<Listed> {
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

    fn open(&self, listed: &Listed) -> io::Result<File> {
        File::open(self.path.join(&listed.name))
    }

    fn fault_of(&self, listed: &Listed) -> io::Result<Option<String>> {
        let path = self.path.join(&listed.name);
        Ok(match std::fs::metadata(path) {
            Err(err) => Some(format!("file `{}` is gone: {err}", listed.name)),
            Ok(found) if found.len() != listed.bytes => Some(wrong_size(listed, found.len())),
            Ok(_) => None,
        })
    }

    fn files(&self) -> io::Result<Vec<String>> {
        let is_ours = |name: &String| self.names.are_of(name);
        let entries = self.entries()?;
        let mut files = Vec::new();
        for part in entries.iter().filter(|name| name.starts_with(PART)) {
            let inside = names_in(&self.path.join(part))?.into_iter().filter(is_ours);
            files.extend(inside.map(|name| format!("{part}/{name}")));
        }
        files.extend(entries.into_iter().filter(is_ours));
        Ok(files)
    }

    fn show(&self, hidden: &Listed, name: &str) -> io::Result<()> {
        self.rename(&hidden.name, name)?;
        crash_point!("a file of the copy shown");
        self.sync_part_of(name)
    }

    fn keep_shown(&self) -> io::Result<()> {
        self.sync()
    }

    fn hide(&self, hidden: &Listed, name: &str) -> io::Result<()> {
        if !self.path.join(&hidden.name).exists() {
            self.rename(name, &hidden.name)?;
            crash_point!("a shown file hidden again");
        }
        Ok(())
    }

    /// Parts go too that are then empty.
    fn sweep(&self, manifest: &Manifest) -> io::Result<()> {
        let drafts = self.entries()?.into_iter().filter(|name| self.is_draft(name));
        let unlisted = self.files()?.into_iter().filter(|name| !manifest.lists(name));
        for name in drafts.chain(unlisted) {
            std::fs::remove_file(self.path.join(&name))?;
            crash_point!("a leftover swept");
        }
        for part in self.entries()?.iter().filter(|name| name.starts_with(PART)) {
            let part = self.path.join(part);
            if part.is_dir() && names_in(&part)?.is_empty() {
                std::fs::remove_dir(part)?;
            }
        }
        Ok(())
    }

    fn retire(&self, _: &Manifest, now: &Manifest) -> io::Result<()> {
        self.sweep(now)
    }

    fn hint(&self, err: &io::Error) -> String {
        let hint = match err.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                "free space on the disk, then run again: nothing is lost"
            }
            io::ErrorKind::ResourceBusy => {
                "another run writes this folder: let it end, and give both the same --state"
            }
            _ => "check the path, and that you may write the folder",
        };
        hint.to_owned()
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
