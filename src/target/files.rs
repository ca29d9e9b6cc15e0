//! Files as a target: in a folder or a bucket.
//!
//! Every commit that has rows adds files, which are complete and durable before
//! the manifest lists them. (One file that grows would show readers half a page, and
//! could not be taken back; many small files are what [`compact`] is for.) Merged
//! rows are a log: a key may recur with later content. Of its rows the one counts
//! that is greatest by `newest_by` and then by `_hogline_seq`, and a column that a
//! file lacks keeps its earlier value. A row with `_hogline_deleted_at` says that its
//! key is gone: of that key only rows with a greater `_hogline_seq` count. A full copy grows in hidden files, holds
//! each key once, and is shown by one replacement of the manifest.
//!
//! Which files exist, and how they come and go, is a [`store`]'s; which rows go into which
//! file is [`page`]'s; what is in a file is its [`mod@format`]'s. All files of a folder have one
//! format, or readers that go by the ends of names would see some of the rows: where another
//! one is asked for, the old files have to be replaced or rewritten first.

#[cfg(feature = "object-storage")]
mod bucket;
mod compact;
mod copying;
mod csv;
#[cfg(feature = "object-storage")]
mod fault;
mod folder;
mod format;
mod jsonl;
mod log;
mod manifest;
pub(super) mod names;
#[cfg(feature = "object-storage")]
mod objects;
mod page;
#[cfg(feature = "parquet")]
mod parquet;
mod seen;
mod shape;
mod stdout;
mod store;

pub(super) use stdout::StdoutTarget;

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::checkpoint::Checkpoint;
use crate::config::DeleteMissing;
use crate::cursor::Timestamp;
use crate::record::batch::Batch;
use crate::record::keys;
use crate::record::repair::Repairs;
use crate::schema::{Column, ColumnType, Origin, Schema};
use crate::target::files::folder::Folder;
use crate::target::files::manifest::{Listed, Manifest, Unreadable};
use crate::target::files::names::{folder_of, hidden, shown};
use crate::target::files::page::Page;
use crate::target::files::seen::{Meeting, Seen};
use crate::target::files::store::Store;
use crate::target::{
    Compacted, DELETED_AT, Layout, Load, Opening, Recall, Replay, Scan, Shown, Target, TargetError,
    Written,
};

/// One stream's files.
pub(super) struct FilesTarget {
    store: Arc<dyn Store>,
    layout: Layout,
    /// Listed files that were found gone or changed. A load that begins all the same has been
    /// told to begin anew, and takes them off the list.
    faulty: Vec<String>,
    schema: Arc<Schema>,
    load: Load,
    /// No commit of this load yet: the first one takes out what the load replaces.
    is_first: bool,
    /// As it was last made durable.
    manifest: Manifest,
    /// The open page.
    page: Page,
    next_seq: u64,
    seen: Seen,
}

impl FilesTarget {
    /// Opens the folder where it exists; else proves that it could be made.
    pub(super) fn open(root: &Path, opening: &Opening<'_>) -> Result<Self, TargetError> {
        let name = folder_of(opening.object);
        let folder = Folder::new(root, name.as_deref().unwrap_or("?"), &opening.key.stream);
        Self::of(Arc::new(folder), opening)
    }

    /// Opens a place in a bucket; asks whether it can be written, where it is new.
    #[cfg(feature = "object-storage")]
    pub(super) fn open_objects(
        place: &crate::config::S3,
        opening: &Opening<'_>,
    ) -> Result<Self, TargetError> {
        let name = folder_of(opening.object);
        let name = name.as_deref().unwrap_or("?");
        let store = objects::Objects::new(place, name, &opening.key.stream);
        let unusable = |err: io::Error| TargetError {
            target: place.label(),
            cause: err.to_string(),
            hint: "check the connection's settings".into(),
        };
        Self::of(Arc::new(store.map_err(unusable)?), opening)
    }

    fn of(store: Arc<dyn Store>, opening: &Opening<'_>) -> Result<Self, TargetError> {
        let mut target = Self {
            page: Page::new(&store, opening.layout),
            store,
            layout: opening.layout,
            faulty: Vec::new(),
            schema: Arc::clone(&opening.schema),
            load: Load::Merge,
            is_first: true,
            manifest: Manifest::default(),
            next_seq: 1,
            seen: Seen::default(),
        };
        if folder_of(opening.object).is_none() {
            let cause = format!("`{}` names no folder", opening.object);
            return Err(target.error(cause, "name it like `posthog.events`".into()));
        }
        target.refuse_what_was_left_out()?;
        target.told(target.store.probe())?;
        target.manifest = target.read_manifest()?.unwrap_or_default();
        Ok(target)
    }

    #[cfg(feature = "parquet")]
    #[expect(clippy::unnecessary_wraps, reason = "another build refuses")]
    fn refuse_what_was_left_out(&self) -> Result<(), TargetError> {
        Ok(())
    }

    #[cfg(not(feature = "parquet"))]
    fn refuse_what_was_left_out(&self) -> Result<(), TargetError> {
        if self.layout.format != crate::config::FileFormat::Parquet {
            return Ok(());
        }
        let hint = "build it with `--features parquet`, or choose format csv or jsonl";
        Err(self.error("this hogline was built without Parquet".into(), hint.into()))
    }

    fn read_manifest(&self) -> Result<Option<Manifest>, TargetError> {
        let text = self.told(self.store.manifest())?;
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

    /// Takes the place for this writer. Sees that without a manifest it holds no files of
    /// ours: they would be nothing, and would be removed.
    fn take_place(&mut self) -> Result<(), TargetError> {
        self.told(self.store.take())?;
        let manifest = self.read_manifest()?;
        let is_new = manifest.is_none();
        if is_new && let Some(name) = self.told(self.store.files())?.first() {
            let cause = format!("there are files like `{name}`, but no `_manifest.json`");
            return Err(self.error(cause, BOTH_WAYS.into()));
        }
        self.manifest = manifest.unwrap_or_default();
        let writer = self.store.writer().map(str::to_owned);
        if is_new || writer.is_some() && self.manifest.writer != writer {
            self.manifest.writer = writer;
            self.told(self.store.replace_manifest(&self.manifest))?;
        }
        Ok(())
    }

    /// Sees that rows that are added are not of another format than those that stay.
    fn refuse_another_format(&self) -> Result<(), TargetError> {
        let Some(other) = self.manifest.files.iter().find(|listed| !listed.fits(self.layout))
        else {
            return Ok(());
        };
        let cause = format!(
            "it holds files like `{}`, and is to get {}: who reads one kind would miss the rows \
             of the other",
            other.name, self.layout
        );
        let hint = "set target_options and object back to what they were,\n\
                    or rewrite all files as they are now wanted: hogline compact -r FILE, then run \
                    again";
        Err(self.error(cause, hint.into()))
    }

    fn add(&mut self, batch: &Batch) -> io::Result<Written> {
        let mut written = Written::default();
        let (is_copying, schema) = (self.is_copying(), batch.schema());
        let before = self.manifest.copying.as_ref().filter(|_| !self.is_first || self.resumes());
        let before = u32::try_from(before.map_or(0, Vec::len)).map_err(io::Error::other)?;
        for row in batch.rows() {
            if !is_copying {
                self.page.put(&row, schema, Some(self.next_seq), &mut written.repairs)?;
                self.next_seq += 1;
                written.new += 1;
                continue;
            }
            let (meeting, claim) = self.seen.judge(&row, schema);
            match meeting {
                Meeting::New => written.new += 1,
                Meeting::Newer => written.updated += 1,
                Meeting::Known => {
                    written.unchanged += 1;
                    continue;
                }
            }
            let mut at = self.page.put(&row, schema, None, &mut written.repairs)?;
            at.file += before;
            self.seen.hold(claim, at);
        }
        Ok(written)
    }

    fn resumes(&self) -> bool {
        self.load == Load::ResumeReplace
    }

    /// Adds rows that say of keys that they are gone.
    fn add_gone(&mut self, keys: &[String], at: Timestamp) -> io::Result<()> {
        let mut schema = gone(&self.schema);
        schema.columns.push(Column {
            name: DELETED_AT.into(),
            kind: ColumnType::Timestamp,
            origin: Origin::Constant(format!("\"{at}\"")),
        });
        let schema = Arc::new(schema);
        let object = |key: &String| {
            let parts = keys::parts(key).into_iter().zip(&schema.columns);
            let parts = parts.map(|(part, column)| (column.name.clone(), part.into()));
            serde_json::Value::Object(parts.collect()).to_string()
        };
        let answer =
            format!("{{\"results\":[{}]}}", keys.iter().map(object).collect::<Vec<_>>().join(","));
        let batch = Batch::of_results(Arc::clone(&schema), &answer).map_err(io::Error::other)?;
        for row in batch.iter().flat_map(Batch::rows) {
            let (seq, mut told) = (Some(self.next_seq), Repairs::default());
            self.page.put(&row, &schema, seq, &mut told)?;
            self.next_seq += 1;
        }
        Ok(())
    }

    /// What the manifest is once the open page and `checkpoint` are durable.
    fn next_manifest(&mut self, checkpoint: &Checkpoint) -> io::Result<Manifest> {
        let mut next = self.manifest.clone();
        let is_copying = self.is_copying();
        if self.is_first && !self.resumes() {
            next.copying = is_copying.then(Vec::new);
        }
        if self.is_first && self.load == Load::Truncate {
            next.files.clear();
        }
        next.files.retain(|listed| !self.faulty.contains(&listed.name));
        let sealed = self.seal(checkpoint, is_copying)?;
        let files = if is_copying { next.copying.get_or_insert_default() } else { &mut next.files };
        files.extend(sealed);
        next.checkpoint = Some(checkpoint.clone());
        next.next_seq = self.next_seq;
        Ok(next)
    }

    /// Makes the open page's files durable; they are still not listed.
    fn seal(&mut self, checkpoint: &Checkpoint, is_hidden: bool) -> io::Result<Vec<Listed>> {
        let (names, manifest) = (self.store.names(), &self.manifest);
        let suffix = self.layout.format.suffix();
        let mut given = BTreeSet::new();
        self.page.seal(&mut |part| {
            let within = |name: &str| match part {
                None => name.to_owned(),
                Some(part) => format!("{part}/{name}"),
            };
            let name = names.name_for(checkpoint, &suffix, |name| {
                let name = within(name);
                given.contains(&name) || manifest.lists(&name) || manifest.lists(&hidden(&name))
            });
            let name = within(&name);
            given.insert(name.clone());
            if is_hidden { hidden(&name) } else { name }
        })
    }

    /// Makes a manifest the true one; what it no longer lists goes.
    fn establish(&mut self, next: Manifest) -> io::Result<()> {
        self.store.replace_manifest(&next)?;
        let shrunk = self.manifest.all().any(|listed| !next.lists(&listed.name));
        let before = std::mem::replace(&mut self.manifest, next);
        self.is_first = false;
        self.seen.keep_page();
        // It is established: a leftover is the next start's to remove.
        if shrunk && let Err(err) = self.store.retire(&before, &self.manifest) {
            tracing::warn!(place = self.store.label(), %err, "old files were not removed");
        }
        Ok(())
    }

    fn told<T>(&self, result: io::Result<T>) -> Result<T, TargetError> {
        result.map_err(|err| self.failed(&err))
    }

    fn failed(&self, err: &io::Error) -> TargetError {
        let hint = match err.kind() {
            io::ErrorKind::InvalidData => BOTH_WAYS.to_owned(),
            _ => self.store.hint(err),
        };
        self.error(err.to_string(), hint)
    }

    fn error(&self, cause: String, hint: String) -> TargetError {
        TargetError { target: self.store.label(), cause, hint }
    }
}

const BOTH_WAYS: &str =
    "restore the folder as it was, or move it away, reset the stream and load it again";

impl Target for FilesTarget {
    fn on_replay(&self) -> Replay {
        Replay::Repeats
    }

    fn recall(&mut self) -> Result<Recall, TargetError> {
        let Some(manifest) = self.read_manifest()? else { return Ok(Recall::Nothing) };
        let Some(checkpoint) = manifest.checkpoint.clone() else { return Ok(Recall::Nothing) };
        // A broken-off publish may have shown files of the copy already.
        let as_shown = |listed: &Listed| {
            let name = shown(&listed.name);
            Listed { name, ..listed.clone() }
        };
        let is_copying = checkpoint.position.copying.is_some();
        let copying = manifest.copying.iter().flatten().filter(|_| is_copying);
        let mut faults = Vec::new();
        for listed in manifest.files.iter().chain(copying) {
            let Some(fault) = self.told(self.store.fault_of(listed))? else { continue };
            if self.told(self.store.fault_of(&as_shown(listed)))?.is_some() {
                faults.push((listed, fault));
            }
        }
        let first = faults.first().map(|(_, fault)| fault.clone());
        self.faulty = faults.into_iter().map(|(listed, _)| listed.name.clone()).collect();
        Ok(match first {
            None => Recall::Found(checkpoint),
            Some(missing) => Recall::Damaged(checkpoint, missing),
        })
    }

    fn begin(&mut self, load: Load) -> Result<bool, TargetError> {
        self.abandon()?;
        self.take_place()?;
        match load {
            Load::ResumeReplace if !self.can_resume() => return Ok(false),
            Load::Merge => self.refuse_another_format()?,
            _ => {}
        }
        (self.load, self.is_first, self.seen) = (load, true, Seen::default());
        self.next_seq = self.manifest.next_seq;
        if load == Load::ResumeReplace {
            let resumed = self.resume();
            self.told(resumed)?;
        }
        self.told(self.store.sweep(&self.manifest))?;
        Ok(true)
    }

    fn write(&mut self, batch: &Batch) -> Result<Written, TargetError> {
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
        // The next page or the next start takes the files' places away.
        self.page.forget();
        Ok(())
    }

    fn scan(
        &mut self,
        scan: &Scan<'_>,
        each: &mut dyn FnMut(&Shown<'_>),
    ) -> Result<(), TargetError> {
        self.told(log::rows(&*self.store, (&self.manifest.files, &self.schema), scan, each))
    }

    /// A log cannot be changed: removed or marked, the row stays and another one says that
    /// it is gone.
    fn remove(
        &mut self,
        keys: &[String],
        _: DeleteMissing,
        at: Timestamp,
    ) -> Result<(), TargetError> {
        if keys.is_empty() || self.schema.primary_key.is_empty() {
            return Ok(());
        }
        let added = self.add_gone(keys, at);
        self.told(added)
    }

    fn compact(&mut self) -> Result<Option<Compacted>, TargetError> {
        compact::compact(self).map(Some)
    }

    fn publish(&mut self, checkpoint: &Checkpoint) -> Result<(), TargetError> {
        let finished = self.finish(checkpoint);
        self.told(finished)?;
        (self.load, self.seen) = (Load::Merge, Seen::default());
        Ok(())
    }
}

/// The columns of a row that says that its key is gone.
fn gone(schema: &Schema) -> Schema {
    let key = schema.primary_key.iter().map(|&index| schema.columns[index].clone());
    let columns: Vec<Column> = key.map(|key| Column { origin: Origin::Field, ..key }).collect();
    Schema { primary_key: (0..columns.len()).collect(), columns, ..Schema::default() }
}

#[cfg(test)]
mod tests;
