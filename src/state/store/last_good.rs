//! The last good copy of the database, kept beside it, and its way back.
//!
//! The copy is made when a run has ended, whole or not at all. Where the database turns
//! out to be damaged the copy takes its place, and the damaged file is set aside with its
//! journals: SQLite would roll the copy back with them. A copy may be older than what was
//! lost; that is safe, because the targets' own checkpoints are never behind.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use crate::state::store::connect::Fault;

/// What SQLite keeps beside a database.
const JOURNALS: [&str; 3] = ["-journal", "-wal", "-shm"];

/// Where the copy of the database at `path` lies.
pub(super) fn place(path: &Path) -> PathBuf {
    beside(path, ".last-good")
}

/// Makes the copy anew.
pub(super) fn keep(db: &Connection, path: &Path) -> Result<(), Fault> {
    let draft = beside(path, ".draft");
    remove(&draft)?;
    copy(db, &draft)?;
    Ok(establish(&draft, &place(path))?)
}

/// Copies the database to a place where there is none.
pub(super) fn copy(db: &Connection, to: &Path) -> Result<(), Fault> {
    let name = to.to_str().ok_or_else(|| io::Error::other("its path is not UTF-8"))?;
    db.execute("VACUUM INTO ?1", [name])?;
    Ok(())
}

/// Puts the copy in the place of the database at `path`, and tells where that is now.
pub(super) fn restore(path: &Path) -> io::Result<PathBuf> {
    let aside = (1..).map(|n| beside(path, &format!(".damaged-{n}")));
    let aside = aside.into_iter().find(|aside| !aside.exists()).unwrap_or_default();
    for end in JOURNALS {
        match fs::rename(beside(path, end), beside(&aside, end)) {
            Err(err) if err.kind() != io::ErrorKind::NotFound => return Err(err),
            _ => {}
        }
    }
    // Copied, not moved: at every moment there is a database under the name.
    fs::copy(path, &aside)?;
    let draft = beside(path, ".draft");
    fs::copy(place(path), &draft)?;
    establish(&draft, path)?;
    Ok(aside)
}

/// Gives a finished file its name, durably.
fn establish(draft: &Path, path: &Path) -> io::Result<()> {
    File::open(draft)?.sync_all()?;
    fs::rename(draft, path)?;
    File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(err) if err.kind() != io::ErrorKind::NotFound => Err(err),
        _ => Ok(()),
    }
}

fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    PathBuf::from(name)
}
