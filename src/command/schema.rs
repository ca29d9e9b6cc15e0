//! `hogline schema`: what editors complete and check a file by.

use crate::cli::SchemaOf;
use crate::config::replication::json_schema;
use crate::error::{Exit, Failure};
use crate::report;
use crate::spec::registry::Registry;

/// Prints the schema of a kind of file.
pub(super) fn schema(of: SchemaOf) -> Result<Exit, Failure> {
    let registry = Registry::load(&[])?;
    let streams = registry.streams().map(|known| (&*known.stream, &*known.description));
    let schema = match of {
        SchemaOf::Replication => json_schema(streams),
    };
    report::print(&format!("{schema:#}"));
    Ok(Exit::Complete)
}
