//! Where a stream's records end up: a table, or files in a folder or a bucket.
//!
//! The one idea: **rows and checkpoint become durable together.** A run calls
//! [`Target::begin`] once, then for every page [`Target::write`] for each batch
//! and [`Target::commit`] with the checkpoint that is true once the page is in;
//! a page that broke off is forgotten with [`Target::abandon`]. A full copy ends
//! with [`Target::publish`]. Nothing in here has heard of HTTP.

#[cfg(all(test, feature = "postgres"))]
#[path = "../../tests/replication/support/cable.rs"]
mod cable;
#[cfg(all(test, feature = "postgres"))]
#[path = "../../tests/replication/support/cluster.rs"]
mod cluster;
#[cfg(test)]
mod conformance;
mod files;
#[cfg(feature = "postgres")]
pub(crate) mod postgres;
#[cfg(test)]
#[path = "../../tests/replication/support/reader.rs"]
mod reader;
#[cfg(all(test, feature = "object-storage"))]
#[path = "../../tests/replication/support/s3.rs"]
mod s3_server;
mod sqlite;

use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::checkpoint::{Checkpoint, StreamKey};
use crate::config::{DeleteMissing, FileFormat, Postgres, S3};
use crate::cursor::{Interval, Timestamp};
use crate::record::batch::Batch;
use crate::record::keys;
use crate::record::repair::Repairs;
use crate::schema::{Column, Schema};

/// Where a connection of the configuration keeps its objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A SQLite database; objects are its tables.
    Sqlite {
        /// Its file.
        path: PathBuf,
        /// How long another program may keep it from being written.
        patience: Duration,
    },
    /// A PostgreSQL database; objects are its tables, `schema.table`.
    Postgres(Box<Postgres>),
    /// A folder; objects are folders of files below it.
    Files(PathBuf),
    /// A place in a bucket; objects are files below it.
    S3(Box<S3>),
    /// This program's stdout; nothing is kept.
    Stdout(FileFormat),
}

impl Place {
    /// Whether what is written there are files.
    pub fn is_of_files(&self) -> bool {
        matches!(self, Self::Files(_) | Self::S3(_) | Self::Stdout(_))
    }
}

/// How long another process may hold a database: longer than any sane transaction, shorter
/// than a cron interval.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What a target is opened for.
#[derive(Debug, Clone)]
pub struct Opening<'a> {
    /// The stream, as its checkpoint names it.
    pub key: &'a StreamKey,
    /// The object, as the user wrote it: `posthog.events`.
    pub object: &'a str,
    /// The columns known before the first row.
    pub schema: Arc<Schema>,
    /// How its files are written, where it is files.
    pub layout: Layout,
}

/// How the files of a stream are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Layout {
    /// What is in them.
    pub format: FileFormat,
    /// Whether they are in folders by date, `event_date=2026-01-01`.
    pub by_date: bool,
    /// How many rows a file has at most.
    pub most_rows: Option<u64>,
    /// At how many bytes of values, before they are packed, a file ends.
    pub most_bytes: Option<u64>,
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = if self.by_date { " in folders by date" } else { "" };
        write!(f, "`{}` files{place}", self.format.suffix())
    }
}

/// Opens one stream's end point and proves that it can be written, leaving nothing behind.
///
/// # Errors
/// When it cannot be written, or holds what this program did not make or is too old to read.
pub fn open(place: &Place, opening: &Opening<'_>) -> Result<Box<dyn Target>, TargetError> {
    match place {
        Place::Sqlite { path, patience } => {
            Ok(Box::new(sqlite::SqliteTarget::open(path, *patience, opening)?))
        }
        #[cfg(feature = "postgres")]
        Place::Postgres(server) => Ok(Box::new(postgres::PostgresTarget::open(server, opening)?)),
        #[cfg(not(feature = "postgres"))]
        Place::Postgres(server) => Err(TargetError {
            target: server.label(),
            cause: "this hogline was built without PostgreSQL".into(),
            hint: "build it with `--features postgres`".into(),
        }),
        Place::Stdout(format) => Ok(Box::new(files::StdoutTarget::new(*format, opening)?)),
        Place::Files(root) => Ok(Box::new(files::FilesTarget::open(root, opening)?)),
        #[cfg(feature = "object-storage")]
        Place::S3(place) => Ok(Box::new(files::FilesTarget::open_objects(place, opening)?)),
        #[cfg(not(feature = "object-storage"))]
        Place::S3(place) => Err(TargetError {
            target: place.label(),
            cause: "this hogline was built without object storage".into(),
            hint: "build it with `--features object-storage`".into(),
        }),
    }
}

/// How many rows an object holds in a SQLite database.
///
/// # Errors
/// When it cannot be counted.
pub fn count_rows(path: &Path, object: &str) -> Result<u64, TargetError> {
    sqlite::count_rows(path, object).map_err(|err| TargetError {
        target: path.display().to_string(),
        cause: err.to_string(),
        hint: "look at the errors of the run that filled it".into(),
    })
}

/// The name an object has inside a place; two streams with one name would mix their rows.
pub fn name_in(place: &Place, object: &str) -> String {
    match place {
        // One table in SQLite, however its name is spelt.
        Place::Sqlite { .. } => sqlite::table_of(object).to_ascii_lowercase(),
        #[cfg(feature = "postgres")]
        Place::Postgres(server) => postgres::name_of(server, object),
        #[cfg(not(feature = "postgres"))]
        Place::Postgres(_) => object.to_owned(),
        Place::Files(_) | Place::S3(_) | Place::Stdout(_) => {
            files::names::folder_of(object).unwrap_or_else(|| object.to_owned())
        }
    }
}

/// How a run's rows meet those that are there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Load {
    /// Rows are added, or replace the row with their key; others stay.
    Merge,
    /// The table is emptied with the first commit; its definition, indexes and grants stay.
    Truncate,
    /// A complete new copy grows beside the old one, which readers see until [`Target::publish`].
    Replace,
    /// As [`Load::Replace`], going on with the copy that an interrupted run began.
    ResumeReplace,
}

/// What was found beside the data when a target was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recall {
    /// No checkpoint of this stream: nothing was ever loaded here, or all of it is gone.
    Nothing,
    /// The checkpoint, and the rows it names as witnesses are there.
    Found(Checkpoint),
    /// The checkpoint is there, but what it vouches for is not: says what is missing.
    Damaged(Checkpoint, String),
}

/// What writing a batch did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Written {
    /// Rows whose key was not there.
    pub new: u64,
    /// Rows that replaced other content under their key.
    pub updated: u64,
    /// Rows that were there with the same content, or a newer copy of them was; nothing was written.
    pub unchanged: u64,
    /// Values that had to be changed to fit, by column; not those the batch came with.
    pub repairs: Repairs,
    /// Columns whose type became wider in the target, for values of the batch.
    pub widened: Vec<Widened>,
}

/// A column whose type became wider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Widened {
    /// The column.
    pub column: String,
    /// Its type until then, in the target's words.
    pub before: String,
    /// Its type from then on.
    pub after: String,
}

/// What writing a batch a second time does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replay {
    /// Nothing: rows are found by their key.
    Harmless,
    /// The rows appear twice; the one with the greater `_hogline_seq` counts.
    Repeats,
}

/// What compacting a stream's files came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Compacted {
    /// Files before and after.
    pub files: [u64; 2],
    /// Their rows before and after.
    pub rows: [u64; 2],
}

/// Which of the current rows are shown, and what of them.
#[derive(Debug, Clone, Copy, Default)]
pub struct Scan<'a> {
    /// Only those whose time, in this column, lies inside.
    pub within: Option<(&'a str, Interval)>,
    /// Only the key and that time are needed.
    pub keys_only: bool,
    /// Only the rows with these keys, as [`Shown::identity`] spells them.
    pub only: Option<&'a [String]>,
}

/// A row as it stands in the target.
#[derive(Debug, Clone, Copy)]
pub struct Shown<'a> {
    /// The columns there are; bookkeeping apart. The same for every row of a scan.
    pub columns: &'a [Column],
    /// Their values, as [`Row::text`](crate::record::batch::Row::text) spells them.
    pub cells: &'a [Option<Cow<'a, str>>],
}

impl Shown<'_> {
    /// The value of a column; nothing where there is none.
    pub fn text(&self, column: &str) -> Option<&str> {
        let index = self.columns.iter().position(|have| have.name.eq_ignore_ascii_case(column))?;
        self.cells[index].as_deref()
    }

    /// The primary key of `schema`, as [`Row::identity`](crate::record::batch::Row::identity) spells it.
    pub fn identity(&self, schema: &Schema) -> String {
        let name = |&index: &usize| schema.columns[index].name.as_str();
        keys::spell(schema.primary_key.iter().map(|index| self.text(name(index))))
    }
}

/// The column that files can be divided by.
pub const DATE: &str = "event_date";

/// The column that says since when a row is gone.
pub const DELETED_AT: &str = "_hogline_deleted_at";

/// One stream's end point. Called from one thread, blocking.
///
/// The promises, each held by the conformance suite:
/// - After [`Target::commit`] returns, the rows written since the last commit and the
///   checkpoint survive a crash; before that, neither is visible to a reader.
/// - [`Target::abandon`] leaves exactly what the last commit left.
/// - Rows loaded with [`Load::Replace`] are invisible until [`Target::publish`], which
///   swaps them in at once: a reader sees the old copy or the new one.
/// - A row whose content did not change is not rewritten, and a column that the batch's
///   schema does not know keeps what is stored.
/// - Of two rows with one key the one that is greater by the schema's `newest_by` stays.
/// - A batch with a longer schema adds columns; no row is refused for its values.
/// - [`Target::scan`] shows what a reader sees: each key once, rows that are gone left out.
/// - [`Target::remove`] belongs to the open page; a row written after it is there again,
///   whatever `newest_by` says of what was removed.
pub trait Target: Send {
    /// What a second delivery of the same rows does here.
    fn on_replay(&self) -> Replay;

    /// Reads the checkpoint stored beside the data and looks whether its witnesses are there.
    ///
    /// # Errors
    /// When the target cannot be read.
    fn recall(&mut self) -> Result<Recall, TargetError>;

    /// The columns that rows were written into, as far as the checkpoint that was recalled
    /// tells.
    fn written_columns(&self) -> Vec<String> {
        Vec::new()
    }

    /// Proves that this target can be written, and makes ready for rows.
    ///
    /// Returns false for [`Load::ResumeReplace`] where no unfinished copy exists; nothing
    /// has happened then.
    ///
    /// # Errors
    /// When the target cannot be written.
    fn begin(&mut self, load: Load) -> Result<bool, TargetError>;

    /// Takes a batch into the open page; it is not durable yet.
    ///
    /// # Errors
    /// When the target refuses; the page must then be abandoned.
    fn write(&mut self, batch: &Batch) -> Result<Written, TargetError>;

    /// Makes the open page and `checkpoint` durable together.
    ///
    /// # Errors
    /// When either cannot be made durable; neither is then.
    fn commit(&mut self, checkpoint: &Checkpoint) -> Result<(), TargetError>;

    /// Forgets the open page.
    ///
    /// # Errors
    /// When the target cannot be brought back to the last commit.
    fn abandon(&mut self) -> Result<(), TargetError>;

    /// Shows the rows that the last commit left, in any order. May be called before
    /// [`Target::begin`].
    ///
    /// # Errors
    /// When the target cannot be read.
    fn scan(
        &mut self,
        scan: &Scan<'_>,
        each: &mut dyn FnMut(&Shown<'_>),
    ) -> Result<(), TargetError>;

    /// Takes rows out, as part of the open page of a load that merges; they are named as
    /// [`Shown::identity`] spells their keys, and what is not there is passed over. Soft
    /// removal marks them with `at` where the target can change a row.
    ///
    /// # Errors
    /// When the target refuses; the page must then be abandoned.
    fn remove(
        &mut self,
        keys: &[String],
        how: DeleteMissing,
        at: Timestamp,
    ) -> Result<(), TargetError>;

    /// Runs the user's own statements, outside of any page.
    ///
    /// # Errors
    /// What the database says, or that it is none.
    fn execute(&mut self, _statements: &str) -> Result<(), TargetError> {
        Err(TargetError {
            target: "the files".into(),
            cause: "files run no statements".into(),
            hint: "leave pre_sql and post_sql out".into(),
        })
    }

    /// Merges files so that each key stands once, in the layout that is wanted now; the
    /// checkpoint stays. Nothing where a target keeps each key once anyway.
    ///
    /// # Errors
    /// When the files cannot be read or written; readers then see what they saw.
    fn compact(&mut self) -> Result<Option<Compacted>, TargetError> {
        Ok(None)
    }

    /// Ends the load: swaps in a new copy where one was made, and stores `checkpoint` with it.
    ///
    /// # Errors
    /// When the swap failed; readers then still see the old copy.
    fn publish(&mut self, checkpoint: &Checkpoint) -> Result<(), TargetError>;
}

/// Why a target could not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[error("{target}: {cause}")]
pub struct TargetError {
    /// The table or folder, as the user would name it.
    pub target: String,
    /// What happened, in the target's own words.
    pub cause: String,
    /// What the user can do.
    pub hint: String,
}

/// Proves that `folder` could take a file: it, or the nearest folder above it that exists.
fn probe_folder(folder: &Path) -> std::io::Result<()> {
    let exists = folder.ancestors().find(|path| path.as_os_str().is_empty() || path.exists());
    let nearest = exists.filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let probe = nearest.join(format!(".hogline-probe-{}", uuid::Uuid::new_v4()));
    std::fs::File::create_new(&probe)?;
    std::fs::remove_file(&probe)
}
