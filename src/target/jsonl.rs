//! A folder of JSON lines as a target.
//!
//! Every commit that has rows adds one file, which is complete and durable before
//! the manifest lists it. (One file that grows would show readers half a page, and
//! could not be taken back; many small files are what compacting is for.) Merged
//! rows are a log: a key may recur with later content. Of its lines the one counts
//! that is greatest by `newest_by` and then by `_hogline_seq`, and a column that a
//! line lacks keeps its earlier value. A line with `_hogline_deleted_at` says that its
//! key is gone: of that key only lines with a greater `_hogline_seq` count. A full copy grows in hidden files, holds
//! each key once, and is shown by one replacement of the manifest.
//!
//! Which files exist, and how they come and go, is [`file`](super::file)'s.

mod copy;
mod current;
mod line;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::checkpoint::Checkpoint;
use crate::config::DeleteMissing;
use crate::cursor::Timestamp;
use crate::record::batch::Batch;
use crate::record::keys;
use crate::schema::Schema;
use crate::target::file::manifest::{Listed, Manifest, Unreadable};
use crate::target::file::{Draft, Folder, folder_of};
use crate::target::jsonl::copy::{Meeting, Seen};
use crate::target::jsonl::line::Shape;
use crate::target::{Load, Opening, Recall, Replay, Scan, Shown, Target, TargetError, Written};

/// One stream's files.
#[derive(Debug)]
pub(super) struct JsonlTarget {
    folder: Folder,
    /// Listed files that were found gone or changed. A load that begins all the same has been
    /// told to begin anew, and takes them off the list.
    faulty: Vec<String>,
    /// Keeps other runs out from the first load on.
    taken: Option<File>,
    schema: Arc<Schema>,
    load: Load,
    /// No commit of this load yet: the first one takes out what the load replaces.
    is_first: bool,
    /// As it was last made durable.
    manifest: Manifest,
    /// The open page.
    draft: Option<Draft>,
    next_seq: u64,
    seen: Seen,
    shape: Option<Shape>,
    line: Vec<u8>,
}

impl JsonlTarget {
    /// Opens the folder where it exists; else proves that it could be made.
    pub(super) fn open(root: &Path, opening: &Opening<'_>) -> Result<Self, TargetError> {
        let name = folder_of(opening.object);
        let folder = Folder::new(root, name.as_deref().unwrap_or("?"), &opening.key.stream);
        let mut target = Self {
            folder,
            faulty: Vec::new(),
            taken: None,
            schema: Arc::clone(&opening.schema),
            load: Load::Merge,
            is_first: true,
            manifest: Manifest::default(),
            draft: None,
            next_seq: 1,
            seen: Seen::default(),
            shape: None,
            line: Vec::new(),
        };
        if name.is_none() {
            let cause = format!("`{}` names no folder", opening.object);
            return Err(target.error(cause, "name it like `posthog.events`".into()));
        }
        super::probe_folder(&target.folder.path).map_err(|err| target.failed(&err))?;
        target.manifest = target.read_manifest()?.unwrap_or_default();
        Ok(target)
    }

    fn read_manifest(&self) -> Result<Option<Manifest>, TargetError> {
        let text = self.told(self.folder.manifest())?;
        let parsed = text.map(|text| Manifest::parse(&text)).transpose();
        parsed.map_err(|err| {
            let hint = match err {
                Unreadable::Newer(_) => "run that version of hogline, or a later one",
                Unreadable::Broken(_) => BOTH_WAYS,
            };
            self.error(err.to_string(), hint.into())
        })
    }

    fn is_copying(&self) -> bool {
        matches!(self.load, Load::Replace | Load::ResumeReplace)
    }

    /// Sees that a folder without a manifest holds no files of ours: without it they are
    /// nothing, and would be removed.
    fn make_folder(&mut self) -> Result<(), TargetError> {
        self.told(self.folder.make())?;
        if self.taken.is_none() {
            self.taken = self.told(self.folder.take())?;
        }
        if let Some(manifest) = self.read_manifest()? {
            self.manifest = manifest;
            return Ok(());
        }
        if let Some(name) = self.told(self.folder.files())?.first() {
            let cause = format!("there are files like `{name}`, but no `_manifest.json`");
            return Err(self.error(cause, BOTH_WAYS.into()));
        }
        self.manifest = Manifest::default();
        self.told(self.folder.replace_manifest(&self.manifest))
    }

    /// Hides what a broken-off [`Target::publish`] had shown, and finds the keys of the copy.
    fn resume(&mut self) -> io::Result<()> {
        let copying = self.manifest.copying.clone().unwrap_or_default();
        for listed in &copying {
            let shown = listed.name.trim_start_matches('.');
            if !self.folder.path.join(&listed.name).exists() && !self.manifest.lists(shown) {
                self.folder.rename(shown, &listed.name)?;
                crash_point!("a shown file hidden again");
            }
            let (seen, schema) = (&mut self.seen, &self.schema);
            line::read(&self.folder.path.join(&listed.name), schema, false, &mut |batch| {
                for row in batch.rows() {
                    seen.meet(&row, batch.schema());
                }
            })?;
        }
        self.seen.keep_page();
        Ok(())
    }

    fn add(&mut self, batch: &Batch) -> io::Result<Written> {
        let mut written = Written::default();
        let is_copying = self.is_copying();
        let numbered = !is_copying;
        let (Some(draft), Some(shape)) = (&mut self.draft, &self.shape) else { return Ok(written) };
        for row in batch.rows() {
            let meeting =
                if is_copying { self.seen.meet(&row, batch.schema()) } else { Meeting::New };
            match meeting {
                Meeting::New => written.new += 1,
                Meeting::Newer => written.updated += 1,
                Meeting::Known => {
                    written.unchanged += 1;
                    continue;
                }
            }
            let seq = numbered.then_some(self.next_seq);
            shape.write(&row, seq, &mut written.repairs, &mut self.line);
            draft.add(&self.line, shape.time_of(&row))?;
            self.next_seq += u64::from(numbered);
        }
        Ok(written)
    }

    fn add_gone(&mut self, keys: &[String], at: Timestamp) -> io::Result<()> {
        let Some(draft) = &mut self.draft else { return Ok(()) };
        for parts in keys.iter().map(|key| keys::parts(key)) {
            line::write_gone(&self.schema, &parts, self.next_seq, at, &mut self.line);
            draft.add(&self.line, None)?;
            self.next_seq += 1;
        }
        Ok(())
    }

    /// What the manifest is once the open page and `checkpoint` are durable.
    fn next_manifest(&mut self, checkpoint: &Checkpoint) -> io::Result<Manifest> {
        let mut next = self.manifest.clone();
        if self.is_first && self.load != Load::ResumeReplace {
            next.copying = self.is_copying().then(Vec::new);
        }
        if self.is_first && self.load == Load::Truncate {
            next.files.clear();
        }
        next.files.retain(|listed| !self.faulty.contains(&listed.name));
        if let Some(draft) = self.draft.take() {
            let hidden = if self.is_copying() { "." } else { "" };
            let is_taken =
                |name: &str| self.manifest.lists(name) || self.manifest.lists(&format!(".{name}"));
            let name = self.folder.name_for(checkpoint, is_taken);
            let listed = self.folder.seal(draft, format!("{hidden}{name}"))?;
            let is_copying = self.is_copying();
            let files =
                if is_copying { next.copying.get_or_insert_default() } else { &mut next.files };
            files.push(listed);
        }
        next.checkpoint = Some(checkpoint.clone());
        next.next_seq = self.next_seq;
        Ok(next)
    }

    /// Makes a manifest the true one; what it no longer lists goes.
    fn establish(&mut self, next: Manifest) -> io::Result<()> {
        self.folder.replace_manifest(&next)?;
        let shrunk = self.manifest.all().any(|listed| !next.lists(&listed.name));
        self.manifest = next;
        self.is_first = false;
        self.seen.keep_page();
        // It is established: a leftover is the next start's to remove.
        if shrunk && let Err(err) = self.folder.sweep(&self.manifest) {
            tracing::warn!(folder = %self.folder.path.display(), %err, "old files were not removed");
        }
        Ok(())
    }

    /// The finished copy's files under the names that readers see, each key once.
    fn show_copy(&mut self, copying: Vec<Listed>) -> io::Result<Vec<Listed>> {
        let mut from = 0;
        let mut shown = Vec::new();
        for listed in copying {
            let gone = self.seen.superseded_in(from, listed.rows);
            from += listed.rows;
            let name = listed.name.trim_start_matches('.').to_owned();
            if gone.is_empty() {
                self.folder.rename(&listed.name, &name)?;
                crash_point!("a file of the copy shown");
                shown.push(Listed { name, ..listed });
            } else {
                shown.push(self.copy_without(&listed, &gone, name)?);
            }
        }
        self.folder.sync()?;
        Ok(shown)
    }

    fn copy_without(
        &self,
        listed: &Listed,
        gone: &BTreeSet<u64>,
        name: String,
    ) -> io::Result<Listed> {
        let mut draft = self.folder.draft()?;
        let file = File::open(self.folder.path.join(&listed.name))?;
        let mut lines = BufReader::with_capacity(256 << 10, file);
        let mut line = Vec::new();
        for number in 0..listed.rows {
            line.clear();
            lines.read_until(b'\n', &mut line)?;
            if !gone.contains(&number) {
                draft.add(&line, None)?;
            }
        }
        let sealed = self.folder.seal(draft, name)?;
        crash_point!("a file of the copy rewritten");
        Ok(Listed { first: listed.first, last: listed.last, ..sealed })
    }

    fn finish(&mut self, checkpoint: &Checkpoint) -> io::Result<()> {
        let mut next = self.next_manifest(checkpoint)?;
        if self.is_copying() {
            // Durable as a copy first: a crash while its files are shown one by one can
            // then be told from files that nobody listed.
            let shown = next.copying.clone().unwrap_or_default();
            let mut before = next.clone();
            before.checkpoint = self.manifest.checkpoint.clone();
            self.folder.replace_manifest(&before)?;
            next.files = self.show_copy(shown)?;
            crash_point!("all of the copy shown");
            next.copying = None;
        }
        self.establish(next)
    }

    fn told<T>(&self, result: io::Result<T>) -> Result<T, TargetError> {
        result.map_err(|err| self.failed(&err))
    }

    fn failed(&self, err: &io::Error) -> TargetError {
        let hint = match err.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                "free space on the disk, then run again: nothing is lost"
            }
            io::ErrorKind::InvalidData => BOTH_WAYS,
            io::ErrorKind::ResourceBusy => {
                "another run writes this folder: let it end, and give both the same --state"
            }
            _ => "check the path, and that you may write the folder",
        };
        self.error(err.to_string(), hint.into())
    }

    fn error(&self, cause: String, hint: String) -> TargetError {
        TargetError { target: format!("folder {}", self.folder.path.display()), cause, hint }
    }
}

const BOTH_WAYS: &str =
    "restore the folder as it was, or move it away, reset the stream and load it again";

impl Target for JsonlTarget {
    fn on_replay(&self) -> Replay {
        Replay::Repeats
    }

    fn recall(&mut self) -> Result<Recall, TargetError> {
        let Some(manifest) = self.read_manifest()? else { return Ok(Recall::Nothing) };
        let Some(checkpoint) = manifest.checkpoint.clone() else { return Ok(Recall::Nothing) };
        // A broken-off publish may have shown files of the copy already.
        let shown = |listed: &Listed| {
            let name = listed.name.trim_start_matches('.').to_owned();
            Listed { name, ..listed.clone() }
        };
        let fault = |listed: &Listed| {
            let fault = self.folder.fault_of(listed)?;
            self.folder.fault_of(&shown(listed)).map(|_| fault)
        };
        let is_copying = checkpoint.position.copying.is_some();
        let copying = manifest.copying.iter().flatten().filter(|_| is_copying);
        let faults = |listed| Some((listed, fault(listed)?));
        let faults: Vec<_> = manifest.files.iter().chain(copying).filter_map(faults).collect();
        let first = faults.first().map(|(_, fault)| fault.clone());
        self.faulty = faults.into_iter().map(|(listed, _)| listed.name.clone()).collect();
        Ok(match first {
            None => Recall::Found(checkpoint),
            Some(missing) => Recall::Damaged(checkpoint, missing),
        })
    }

    fn begin(&mut self, load: Load) -> Result<bool, TargetError> {
        self.abandon()?;
        self.make_folder()?;
        if load == Load::ResumeReplace && self.manifest.copying.is_none() {
            return Ok(false);
        }
        (self.load, self.is_first, self.seen) = (load, true, Seen::default());
        self.next_seq = self.manifest.next_seq;
        if load == Load::ResumeReplace {
            let resumed = self.resume();
            self.told(resumed)?;
        }
        self.told(self.folder.sweep(&self.manifest))?;
        Ok(true)
    }

    fn write(&mut self, batch: &Batch) -> Result<Written, TargetError> {
        if self.draft.is_none() {
            self.draft = Some(self.told(self.folder.draft())?);
        }
        if !self.shape.as_ref().is_some_and(|shape| Arc::ptr_eq(&shape.schema, batch.schema())) {
            self.shape = Some(Shape::new(batch.schema()));
        }
        let added = self.add(batch);
        self.told(added)
    }

    fn commit(&mut self, checkpoint: &Checkpoint) -> Result<(), TargetError> {
        let next = self.next_manifest(checkpoint);
        let committed = next.and_then(|next| self.establish(next));
        self.told(committed)
    }

    fn abandon(&mut self) -> Result<(), TargetError> {
        self.next_seq = self.manifest.next_seq;
        self.seen.forget_page();
        // The next page or the next start takes the file's place away.
        self.draft = None;
        Ok(())
    }

    fn scan(
        &mut self,
        scan: &Scan<'_>,
        each: &mut dyn FnMut(&Shown<'_>),
    ) -> Result<(), TargetError> {
        let files: Vec<PathBuf> =
            self.manifest.files.iter().map(|listed| self.folder.path.join(&listed.name)).collect();
        self.told(current::rows(&files, &self.schema, scan, each))
    }

    /// A log cannot be changed: removed or marked, the row's line stays and another one says
    /// that it is gone.
    fn remove(
        &mut self,
        keys: &[String],
        _: DeleteMissing,
        at: Timestamp,
    ) -> Result<(), TargetError> {
        if keys.is_empty() || self.schema.primary_key.is_empty() {
            return Ok(());
        }
        if self.draft.is_none() {
            self.draft = Some(self.told(self.folder.draft())?);
        }
        let added = self.add_gone(keys, at);
        self.told(added)
    }

    fn publish(&mut self, checkpoint: &Checkpoint) -> Result<(), TargetError> {
        let finished = self.finish(checkpoint);
        self.told(finished)?;
        (self.load, self.seen) = (Load::Merge, Seen::default());
        Ok(())
    }
}

#[cfg(test)]
mod tests;
