//! One run at a time over one state.
//!
//! The lock is the operating system's, on a file beside the state, so it dies
//! with its process however that ends. What is written into the file only tells
//! the next one who it is waiting for. The file is never removed: two processes
//! could then lock two different files of one name.

use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::cursor::Timestamp;

/// Who holds a lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The process.
    pub pid: u32,
    /// The machine it runs on.
    pub host: String,
    /// When it took the lock.
    pub since: Timestamp,
    /// The program and its command; no options, they may hold secrets.
    pub command: String,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pid, host, since, command } = self;
        write!(f, "`{command}`, process {pid} on {host}, since {since}")
    }
}

/// Why a lock was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another run has it.
    #[error("{} is locked by another run{}", path.display(), described(holder.as_ref()))]
    Held {
        /// The lock's file.
        path: PathBuf,
        /// Who has it; nothing where it has not yet said so.
        holder: Option<Holder>,
    },
    /// The file could not be made, locked or written.
    #[error("{} cannot be locked: {source}", path.display())]
    Io {
        /// The lock's file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

fn described(holder: Option<&Holder>) -> String {
    holder.map(|holder| format!(": {holder}")).unwrap_or_default()
}

/// The right to run over one state, given back when dropped.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock of the state at `state_path`, or says who has it; never waits.
    ///
    /// # Errors
    /// When another process holds it, or its file cannot be written.
    pub fn take(state_path: &Path) -> Result<Self, LockError> {
        let mut path = state_path.as_os_str().to_owned();
        path.push(".lock");
        let path = PathBuf::from(path);
        match try_take(&path) {
            Ok(file) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => {
                let holder = std::fs::read(&path).ok();
                let holder = holder.and_then(|bytes| serde_json::from_slice(&bytes).ok());
                Err(LockError::Held { path, holder })
            }
            Err(TryLockError::Error(source)) => Err(LockError::Io { path, source }),
        }
    }
}

fn try_take(path: &Path) -> Result<File, TryLockError> {
    let open = || {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)
    };
    let mut file = open().map_err(TryLockError::Error)?;
    file.try_lock()?;
    crash_point!("lock taken");
    sign(&mut file).map_err(TryLockError::Error)?;
    Ok(file)
}

/// Writes into the file who has it.
fn sign(file: &mut File) -> std::io::Result<()> {
    let holder = Holder {
        pid: std::process::id(),
        host: host(),
        since: Timestamp::now(),
        command: command(std::env::args()),
    };
    file.set_len(0)?;
    file.rewind()?;
    crash_point!("lock emptied");
    file.write_all(serde_json::to_string(&holder)?.as_bytes())?;
    file.sync_data()
}

/// The program's name and its first word after it that is no option.
fn command(mut arguments: impl Iterator<Item = String>) -> String {
    let program = arguments.next().unwrap_or_default();
    let program = Path::new(&program).file_name().unwrap_or_default().to_string_lossy();
    match arguments.next().filter(|word| word.bytes().all(|byte| byte.is_ascii_lowercase())) {
        Some(word) => format!("{program} {word}"),
        None => program.into_owned(),
    }
}

fn host() -> String {
    let mut name = String::new();
    for path in ["/proc/sys/kernel/hostname", "/etc/hostname"] {
        let read = File::open(path).and_then(|mut file| file.read_to_string(&mut name));
        if read.is_ok() && !name.trim().is_empty() {
            return name.trim().to_owned();
        }
        name.clear();
    }
    "this machine".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_run_is_told_who_has_the_lock() {
        let home = tempfile::tempdir().unwrap();
        let state = home.path().join("state/hogline.db");
        let lock = Lock::take(&state).unwrap();

        let refused = Lock::take(&state).unwrap_err();
        let LockError::Held { holder: Some(holder), .. } = &refused else { panic!("{refused}") };
        assert_eq!(holder.pid, std::process::id());
        assert!(refused.to_string().contains("state/hogline.db.lock is locked"), "{refused}");

        drop(lock);
        assert!(Lock::take(&state).is_ok());
    }

    #[test]
    fn a_lock_that_cannot_be_written_names_its_file() {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("file"), "").unwrap();

        let err = Lock::take(&home.path().join("file/hogline.db")).unwrap_err();

        assert!(
            matches!(&err, LockError::Io { .. }) && err.to_string().contains("hogline.db.lock")
        );
    }

    #[test]
    fn no_option_of_a_command_is_told() {
        for (line, shown) in [
            ("/usr/bin/hogline run --src-conn phx_secret", "hogline run"),
            ("hogline --api-key phx_secret", "hogline"),
            ("hogline phx_secret", "hogline"),
        ] {
            assert_eq!(command(line.split(' ').map(String::from)), shown);
        }
    }
}
