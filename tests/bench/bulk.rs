//! What each database's own tool takes for the same rows.
//!
//! The rows that the program wrote are taken out as a file, and loaded from it into an empty
//! table like theirs: with keys and indexes, and in PostgreSQL by the same merge.

use std::path::Path;
use std::process::{Command, Output};

use crate::process::{Took, measured};

/// The tool and what it took; nothing where there is none, and an error where it is not
/// installed.
pub(crate) type Loaded = Result<Option<(&'static str, Took)>, String>;

/// Files have no tool.
pub(crate) fn none(_: &Path, _: &str) -> Loaded {
    Ok(None)
}

/// `sqlite3` with `.import`.
pub(crate) fn sqlite(folder: &Path, _: &str) -> Loaded {
    let sqlite = |arguments: &[&str]| {
        let mut command = Command::new("sqlite3");
        command.current_dir(folder).args(arguments);
        command
    };
    let schema = output(&mut sqlite(&["events.db", ".schema bench_events"]))?;
    let schema = String::from_utf8(schema.stdout).unwrap();
    output(&mut sqlite(&["bulk.db", "PRAGMA journal_mode = WAL", &schema]))?;
    let take_out = [".mode csv", ".once rows.csv", "SELECT * FROM bench_events"];
    output(sqlite(&["events.db"]).args(take_out))?;
    let took = measured(&mut sqlite(&["bulk.db", ".import --csv rows.csv bench_events"]));
    Ok(Some(("`sqlite3 .import` of the same rows", took)))
}

/// `psql` with `COPY` into a temporary table and a merge from there.
#[cfg(feature = "postgres")]
pub(crate) fn postgres(folder: &Path, url: &str) -> Loaded {
    let psql = |statements: &[&str]| {
        let mut command = Command::new("psql");
        command.current_dir(folder).args(["-qX", "-v", "ON_ERROR_STOP=1", url]);
        command.args(statements.iter().flat_map(|statement| ["-c", statement]));
        command
    };
    output(&mut psql(&[
        "\\copy bench.events TO rows.copy",
        "CREATE TABLE bench.bulk (LIKE bench.events INCLUDING ALL)",
    ]))?;
    let took = measured(&mut psql(&[
        "CREATE TEMP TABLE page (LIKE bench.events)",
        "\\copy page FROM rows.copy",
        "INSERT INTO bench.bulk SELECT * FROM page ON CONFLICT DO NOTHING",
    ]));
    Ok(Some(("`psql` with COPY and the same merge", took)))
}

fn output(command: &mut Command) -> Result<Output, String> {
    let tool = command.get_program().display().to_string();
    let output = command.output().map_err(|err| format!("{tool} was not found: {err}"))?;
    match output.status.success() {
        true => Ok(output),
        false => Err(format!("{tool}: {}", String::from_utf8_lossy(&output.stderr).trim())),
    }
}
