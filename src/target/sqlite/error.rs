//! What the user is told when SQLite refuses.

use rusqlite::ErrorCode;

use crate::target::TargetError;
use crate::target::sqlite::SqliteTarget;

const PATH: &str = "check the path, and that you may write the file and its folder";

impl SqliteTarget {
    pub(super) fn told<T>(&self, result: rusqlite::Result<T>) -> Result<T, TargetError> {
        result.map_err(|err| self.failed(&err))
    }

    pub(super) fn error(&self, cause: String, hint: String) -> TargetError {
        let target = format!("table `{}` in {}", self.table, self.path.display());
        TargetError { target, cause, hint }
    }

    pub(super) fn no_folder(&self, err: &std::io::Error) -> TargetError {
        self.error(
            format!("the database cannot be made: {err}"),
            "check the path, and that you may write its folder".into(),
        )
    }

    pub(super) fn read_only(&self) -> TargetError {
        self.error("the database can be read but not written".into(), PATH.into())
    }

    pub(super) fn failed(&self, err: &rusqlite::Error) -> TargetError {
        let hint = match err.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                "another program is writing this database; let it finish, then run again"
            }
            Some(ErrorCode::DiskFull) => "free space on the disk, then run again: nothing is lost",
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
                "the file is damaged or no SQLite database: restore it,\n\
                 or name another path or move it away, reset its streams and load them again"
            }
            Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => PATH,
            Some(ErrorCode::SystemIoFailure) => {
                "check the disk and its free space, then run again: what was committed is safe"
            }
            _ => "what was committed is safe; when the cause is gone, run again",
        };
        self.error(err.to_string(), hint.into())
    }
}
