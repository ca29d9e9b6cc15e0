//! `state schema`: how the columns of streams came to be as they are.

use serde::Serialize;
use serde_json::json;

use super::show::print_json;
use super::{all, named};
use crate::cli::Format;
use crate::command::run::unusable_state;
use crate::error::{Exit, Failure};
use crate::report::{self, Table};
use crate::state::store::{SchemaChange, StateStore};

/// A change, and whose it is.
#[derive(Debug, Serialize)]
struct Line {
    stream: String,
    object: String,
    #[serde(flatten)]
    change: SchemaChange,
}

/// Shows the changes of all streams, or of one.
pub(super) fn schema(
    store: &StateStore,
    stream: Option<&str>,
    format: Format,
) -> Result<Exit, Failure> {
    let stored = match stream {
        Some(stream) => named(store, stream)?,
        None => all(store)?,
    };
    let mut lines = Vec::new();
    for key in stored.into_iter().map(|stored| stored.checkpoint.key) {
        let changes = store.schema_changes(&key).map_err(|err| unusable_state(&err))?;
        let line = |change| Line { stream: key.stream.clone(), object: key.object.clone(), change };
        lines.extend(changes.into_iter().map(line));
    }
    match format {
        Format::Json => print_json(&json!({ "version": 1, "changes": lines }))?,
        Format::Table if lines.is_empty() => {
            report::print("no column changed: all are as the registry has them");
        }
        Format::Table => report::print(&table(&lines)),
    }
    Ok(Exit::Complete)
}

fn table(lines: &[Line]) -> String {
    let mut table = Table::new(&[
        "stream",
        "object",
        "column",
        "from",
        "before",
        "after",
        "why",
        "at",
        "bound",
        "first row",
    ]);
    for Line { stream, object, change } in lines {
        table.row(vec![
            stream.clone(),
            object.clone(),
            change.column.clone(),
            change.path.join(" / "),
            change.before.clone().unwrap_or_else(|| "–".into()),
            change.after.clone(),
            change.why.name().into(),
            change.at.to_string(),
            change.bound.to_string(),
            change.first.map_or_else(|| "–".into(), |at| at.to_string()),
        ]);
    }
    table.to_string()
}
