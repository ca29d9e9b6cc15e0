//! The files that a page is written into, before anybody lists them.
//!
//! A page has a file for every shape its rows have and, where the folder is divided by
//! date, for every date. Few are open at once: when another one is needed, the one that
//! was written to least recently is ended, and the next row for it begins a new one. All
//! get their names together, when the page is committed. A page that is dropped leaves
//! temporary files that the next page overwrites and the next start removes.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::sync::Arc;

use crate::config::FileFormat;
use crate::record::batch::Row;
use crate::record::repair::Repairs;
use crate::record::value::Value;
use crate::schema::Schema;
use crate::target::files::format::{self, RowWriter};
use crate::target::files::manifest::Listed;
use crate::target::files::names::{PART, UNDATED};
use crate::target::files::shape::Shape;
use crate::target::files::store::Store;
use crate::target::{DATE, Layout};

/// What all files of a page hold back in memory together; streams run side by side.
const ROOM: usize = 24 << 20;

/// Files that are open at once where rows of one shape go into one.
const FEW: usize = 2;

/// Files that are open at once where they are divided by date.
const MANY: usize = 8;

/// Where a row was put: the file, counted in its page, and the row in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct At {
    pub(super) file: u32,
    pub(super) row: u32,
}

/// Rows on their way into files.
pub(super) struct Page {
    store: Arc<dyn Store>,
    layout: Layout,
    /// Columns that had a value that does not fit their type: texts from then on.
    widened: BTreeSet<String>,
    shape: Option<(Arc<Schema>, Arc<Shape>)>,
    /// The most recently used one comes last.
    open: Vec<Draft>,
    ended: Vec<Ended>,
    files: u32,
}

/// A file that is being written.
struct Draft {
    file: u32,
    part: Option<String>,
    shape: Arc<Shape>,
    writer: Box<dyn RowWriter>,
    listed: Listed,
    /// What its values take before they are packed, where that has a limit.
    bytes: u64,
}

/// A file that is whole, but not durable.
struct Ended {
    number: u32,
    part: Option<String>,
    file: File,
    listed: Listed,
}

impl Page {
    pub(super) fn new(store: &Arc<dyn Store>, layout: Layout) -> Self {
        Self {
            store: Arc::clone(store),
            layout,
            widened: BTreeSet::new(),
            shape: None,
            open: Vec::new(),
            ended: Vec::new(),
            files: 0,
        }
    }

    /// How many files it has.
    pub(super) fn files(&self) -> u32 {
        self.files
    }

    /// Forgets what was written; columns that were widened stay so.
    pub(super) fn forget(&mut self) {
        self.open.clear();
        self.ended.clear();
        self.files = 0;
    }

    /// Writes a row.
    pub(super) fn put(
        &mut self,
        row: &Row<'_>,
        schema: &Arc<Schema>,
        seq: Option<u64>,
        repairs: &mut Repairs,
    ) -> io::Result<At> {
        let shape = self.shape_of(row, schema);
        let part = self.layout.by_date.then(|| part_of(row, schema));
        let is_measured = self.layout.most_bytes.is_some();
        let draft = self.draft(&shape, part)?;
        draft.writer.add(row, seq, repairs)?;
        if is_measured {
            draft.bytes +=
                (0..schema.columns.len()).map(|index| row.raw(index).len() as u64).sum::<u64>();
        }
        let listed = &mut draft.listed;
        let at = u32::try_from(listed.rows).map_err(io::Error::other)?;
        listed.rows += 1;
        if let Some(time) = shape.time_of(row) {
            listed.first = Some(listed.first.map_or(time, |first| first.min(time)));
            listed.last = Some(listed.last.map_or(time, |last| last.max(time)));
        }
        Ok(At { file: draft.file, row: at })
    }

    /// The shape of the file that takes the row.
    fn shape_of(&mut self, row: &Row<'_>, schema: &Arc<Schema>) -> Arc<Shape> {
        let known = self.shape.take().filter(|(of, _)| Arc::ptr_eq(of, schema));
        let mut shape = known.map_or_else(|| self.shape_like(schema), |(_, shape)| shape);
        if self.layout.format == FileFormat::Parquet {
            let misfits: Vec<String> = shape.misfits(row).map(|slot| slot.name.clone()).collect();
            if !misfits.is_empty() {
                self.widened.extend(misfits);
                shape = self.shape_like(schema);
            }
        }
        self.shape = Some((Arc::clone(schema), Arc::clone(&shape)));
        shape
    }

    /// A schema's shape: that of an open file, where one has it.
    fn shape_like(&self, schema: &Schema) -> Arc<Shape> {
        let shape = Shape::new(schema, &self.widened);
        let open = self.open.iter().find(|draft| *draft.shape == shape);
        open.map_or_else(|| Arc::new(shape), |draft| Arc::clone(&draft.shape))
    }

    /// The open file for rows of a shape and a part, which is then the last one.
    fn draft(&mut self, shape: &Arc<Shape>, part: Option<String>) -> io::Result<&mut Draft> {
        let is_it = |draft: &Draft| Arc::ptr_eq(&draft.shape, shape) && draft.part == part;
        let mut place = self.open.iter().rposition(is_it);
        if let Some(full) = place.filter(|&place| self.is_full(&self.open[place])) {
            let full = self.open.remove(full);
            self.ended.push(full.end()?);
            place = None;
        }
        match place {
            Some(place) if place + 1 == self.open.len() => {}
            Some(place) => self.open[place..].rotate_left(1),
            None => self.begin(shape, part)?,
        }
        self.open.last_mut().ok_or_else(|| io::Error::other("no file is open"))
    }

    fn is_full(&self, draft: &Draft) -> bool {
        let Layout { most_rows, most_bytes, .. } = self.layout;
        most_rows.is_some_and(|most| draft.listed.rows >= most)
            || most_bytes.is_some_and(|most| draft.bytes >= most)
    }

    fn begin(&mut self, shape: &Arc<Shape>, part: Option<String>) -> io::Result<()> {
        let most = if self.layout.by_date { MANY } else { FEW };
        if self.open.len() >= most {
            let oldest = self.open.remove(0);
            self.ended.push(oldest.end()?);
        }
        let (file, name) = self.store.draft(self.files)?;
        let writer = format::writer(self.layout.format, file, shape, ROOM / most)?;
        let listed = Listed { name, bytes: 0, rows: 0, first: None, last: None };
        let shape = Arc::clone(shape);
        self.open.push(Draft { file: self.files, part, shape, writer, listed, bytes: 0 });
        self.files += 1;
        Ok(())
    }

    /// Makes the page's files durable under the names that `name_of` gives, in the order
    /// they were begun; they are still not listed.
    pub(super) fn seal(
        &mut self,
        name_of: &mut dyn FnMut(Option<&str>) -> String,
    ) -> io::Result<Vec<Listed>> {
        for draft in std::mem::take(&mut self.open) {
            self.ended.push(draft.end()?);
        }
        let mut ended = std::mem::take(&mut self.ended);
        ended.sort_by_key(|ended| ended.number);
        self.files = 0;
        let seal = |ended: Ended| {
            let name = name_of(ended.part.as_deref());
            self.store.seal(&ended.file, ended.listed, name)
        };
        ended.into_iter().map(seal).collect()
    }
}

impl Draft {
    fn end(self) -> io::Result<Ended> {
        let Self { file: number, part, writer, mut listed, .. } = self;
        let file = writer.finish()?;
        crash_point!("file written");
        listed.bytes = file.metadata()?.len();
        Ok(Ended { number, part, file, listed })
    }
}

/// The folder that a row's date means.
fn part_of(row: &Row<'_>, schema: &Schema) -> String {
    let day = schema.index_of(DATE).map(|index| row.value(index, &mut Repairs::default()));
    match day {
        Some(Value::Date(at)) => format!("{PART}{}", at.text().day()),
        _ => format!("{PART}{UNDATED}"),
    }
}
