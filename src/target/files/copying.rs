//! A full copy in hand: taken up again, and shown to readers.
//!
//! It grows in hidden files, and each key stands in it once: rows that a newer one replaced
//! are left out when it is shown. Its files get the names that readers see one after the
//! other, and one replacement of the manifest lists them instead of the old ones; a run
//! that dies between finds what it had shown and hides it again.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

use crate::checkpoint::Checkpoint;
use crate::record::batch::{Batch, Row};
use crate::record::repair::Repairs;
use crate::schema::{Origin, Schema};
use crate::target::Layout;
use crate::target::files::manifest::Listed;
use crate::target::files::names::shown;
use crate::target::files::page::{At, Page};
use crate::target::files::seen::Meeting;
use crate::target::files::shape::{SEQ, numbered, stored};
use crate::target::files::{FilesTarget, format};

impl FilesTarget {
    /// Whether an unfinished copy is there that can be gone on with.
    pub(super) fn can_resume(&self) -> bool {
        let copying = self.manifest.copying.as_ref();
        copying.is_some_and(|files| files.iter().all(|listed| listed.fits(self.layout)))
    }

    /// Hides what a broken-off `Target::publish` had shown, and finds the keys of the copy.
    pub(super) fn resume(&mut self) -> io::Result<()> {
        let copying = self.manifest.copying.clone().unwrap_or_default();
        for (file, listed) in (0..).zip(&copying) {
            let shown = shown(&listed.name);
            if !self.manifest.lists(&shown) {
                self.store.hide(listed, &shown)?;
            }
            let (seen, schema) = (&mut self.seen, &Arc::new(stored(&self.schema)));
            let mut rows = 0;
            let opened = self.store.open(listed)?;
            format::read((opened, &listed.name), schema, false, &mut |batch| {
                for row in batch.rows() {
                    let (meeting, claim) = seen.judge(&row, batch.schema());
                    if meeting != Meeting::Known {
                        seen.hold(claim, At { file, row: rows });
                    }
                    rows += 1;
                }
                Ok(())
            })?;
        }
        self.seen.keep_page();
        Ok(())
    }

    /// The finished copy's files under the names that readers see, each key once.
    fn show_copy(&mut self, copying: Vec<Listed>) -> io::Result<Vec<Listed>> {
        let mut files = Vec::new();
        for (file, listed) in (0..).zip(copying) {
            let gone = self.seen.superseded_in(file);
            let name = shown(&listed.name);
            if gone.is_empty() {
                self.store.show(&listed, &name)?;
                files.push(Listed { name, ..listed });
            } else {
                files.extend(self.copy_without(&listed, &gone, &name)?);
            }
        }
        self.store.keep_shown()?;
        Ok(files)
    }

    /// A file of the copy without some of its rows; nothing where none is left.
    fn copy_without(
        &self,
        listed: &Listed,
        gone: &BTreeSet<u32>,
        name: &str,
    ) -> io::Result<Option<Listed>> {
        let mut page = Page::new(&self.store, Layout { by_date: false, ..self.layout });
        self.put_without(gone, listed, &mut page)?;
        if page.files() > 1 {
            // A value does not fit the type of its column, and rows before it began a file that
            // has the type. What does not fit is known now: all rows go into one.
            page.forget();
            self.put_without(gone, listed, &mut page)?;
        }
        let sealed = page.seal(&mut |_| name.to_owned())?;
        crash_point!("a file of the copy rewritten");
        Ok(sealed.into_iter().next())
    }

    /// Writes a file's rows, without some of them, into a page.
    fn put_without(
        &self,
        gone: &BTreeSet<u32>,
        listed: &Listed,
        page: &mut Page,
    ) -> io::Result<()> {
        let file = self.store.open(listed)?;
        let schema = Arc::new(numbered(&self.schema));
        let mut number = 0;
        format::read((file, &listed.name), &schema, true, &mut |batch| {
            // All rows of a file have the same columns, and keep them.
            let schema = batch.rows().next().map(|row| Arc::new(with_columns_of(&row, batch)));
            for row in batch.rows() {
                if let (Some(schema), false) = (&schema, gone.contains(&number)) {
                    page.put(&row, schema, None, &mut Repairs::default())?;
                }
                number += 1;
            }
            Ok(())
        })
    }

    pub(super) fn finish(&mut self, checkpoint: &Checkpoint) -> io::Result<()> {
        let mut next = self.next_manifest(checkpoint)?;
        if self.is_copying() {
            // Durable as a copy first: a crash while its files are shown one by one can
            // then be told from files that nobody listed.
            let shown = next.copying.clone().unwrap_or_default();
            let mut before = next.clone();
            before.checkpoint = self.manifest.checkpoint.clone();
            self.store.replace_manifest(&before)?;
            self.manifest = before;
            next.files = self.show_copy(shown)?;
            crash_point!("all of the copy shown");
            next.copying = None;
        }
        self.establish(next)
    }
}

/// A batch's schema, with those columns unknown that a row of it does not have, and that of
/// the numbers, which the rows of a copy do not have either.
fn with_columns_of(row: &Row<'_>, batch: &Batch) -> Schema {
    let mut schema = Schema::clone(batch.schema());
    for (index, column) in schema.columns.iter_mut().enumerate() {
        if !row.has(index) || column.name == SEQ {
            column.origin = Origin::Unknown;
        }
    }
    schema
}
