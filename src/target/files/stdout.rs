//! Rows on stdout, for other programs to read: nothing is kept, and nothing can be taken back.
//!
//! A page waits in a file without a name until it is whole: what was printed is true. Of a
//! record that PostHog shows twice, because it has not merged its copies yet or pages overlap,
//! the first is printed.

use std::fs::File;
use std::io::{self, Seek};
use std::sync::Arc;

use super::format::{RowWriter, writer};
use super::shape::Shape;
use crate::checkpoint::Checkpoint;
use crate::config::{DeleteMissing, FileFormat};
use crate::cursor::Timestamp;
use crate::record::batch::Batch;
use crate::record::keys::KeySet;
use crate::schema::Schema;
use crate::target::{Load, Opening, Recall, Replay, Scan, Shown, Target, TargetError, Written};

/// Writes a stream to stdout.
pub(in crate::target) struct StdoutTarget {
    format: FileFormat,
    /// The columns, as the last rows had them.
    schema: Arc<Schema>,
    shape: Arc<Shape>,
    page: Option<Box<dyn RowWriter>>,
    /// How many bytes a page of no rows has: a header, which is printed once.
    header: u64,
    is_begun: bool,
    /// The keys that were printed.
    met: KeySet,
}

impl StdoutTarget {
    pub(in crate::target) fn new(
        format: FileFormat,
        opening: &Opening<'_>,
    ) -> Result<Self, TargetError> {
        Ok(Self {
            format,
            schema: Arc::clone(&opening.schema),
            shape: Arc::new(Shape::plain(&opening.schema)),
            page: None,
            header: 0,
            is_begun: false,
            met: Self::told(KeySet::new().map_err(io::Error::other))?,
        })
    }

    fn add(&mut self, batch: &Batch) -> io::Result<Written> {
        if !Arc::ptr_eq(&self.schema, batch.schema()) {
            self.adapt(batch.schema())?;
        }
        let mut page = match self.page.take() {
            Some(page) => page,
            None => {
                let mut file =
                    writer(self.format, tempfile::tempfile()?, &self.shape, 0)?.finish()?;
                self.header = file.stream_position()?;
                file.set_len(0)?;
                file.rewind()?;
                writer(self.format, file, &self.shape, 0)?
            }
        };
        let mut written = Written::default();
        let is_keyed = !batch.schema().primary_key.is_empty();
        for row in batch.rows() {
            if is_keyed && !self.met.insert(&row.identity()).map_err(io::Error::other)? {
                written.unchanged += 1;
                continue;
            }
            page.add(&row, None, &mut written.repairs)?;
            written.new += 1;
        }
        self.page = Some(page);
        Ok(written)
    }

    /// Goes on with rows of other columns. A header that was printed stays as it is.
    fn adapt(&mut self, schema: &Arc<Schema>) -> io::Result<()> {
        self.schema = Arc::clone(schema);
        let shape = Arc::new(Shape::plain(schema));
        if shape == self.shape || (self.is_text_with_header() && self.is_begun) {
            return Ok(());
        }
        self.shape = shape;
        if let Some(page) = self.page.take() {
            let file = page.finish()?;
            self.page = Some(writer(self.format, file, &self.shape, 0)?);
        }
        Ok(())
    }

    fn is_text_with_header(&self) -> bool {
        matches!(self.format, FileFormat::Csv(_))
    }

    /// Prints the open page.
    fn print(&mut self) -> io::Result<()> {
        let Some(page) = self.page.take() else { return Ok(()) };
        self.met.keep_page().map_err(io::Error::other)?;
        let mut file: File = page.finish()?;
        file.seek(io::SeekFrom::Start(if self.is_begun { self.header } else { 0 }))?;
        self.is_begun = true;
        let mut out = io::stdout().lock();
        io::copy(&mut file, &mut out)?;
        io::Write::flush(&mut out)
    }

    fn told<T>(result: io::Result<T>) -> Result<T, TargetError> {
        result.map_err(|err| TargetError {
            target: "stdout".into(),
            cause: match err.kind() {
                io::ErrorKind::BrokenPipe => "nobody reads it any more".into(),
                _ => err.to_string(),
            },
            hint: "nothing is kept of this run; run it again for all of its rows".into(),
        })
    }
}

impl Target for StdoutTarget {
    fn on_replay(&self) -> Replay {
        Replay::Repeats
    }

    fn recall(&mut self) -> Result<Recall, TargetError> {
        Ok(Recall::Nothing)
    }

    fn begin(&mut self, load: Load) -> Result<bool, TargetError> {
        Ok(load != Load::ResumeReplace)
    }

    fn write(&mut self, batch: &Batch) -> Result<Written, TargetError> {
        Self::told(self.add(batch))
    }

    fn commit(&mut self, _: &Checkpoint) -> Result<(), TargetError> {
        Self::told(self.print())
    }

    fn abandon(&mut self) -> Result<(), TargetError> {
        self.page = None;
        Self::told(self.met.forget_page().map_err(io::Error::other))
    }

    fn scan(&mut self, _: &Scan<'_>, _: &mut dyn FnMut(&Shown<'_>)) -> Result<(), TargetError> {
        Ok(())
    }

    fn remove(&mut self, _: &[String], _: DeleteMissing, _: Timestamp) -> Result<(), TargetError> {
        Ok(())
    }

    fn publish(&mut self, checkpoint: &Checkpoint) -> Result<(), TargetError> {
        self.commit(checkpoint)
    }
}
