//! `hogline compact`: makes many files few, with each key once.

use crate::cli::CompactArgs;
use crate::command::run::{self, Options};
use crate::config::{Connections, Written};
use crate::error::{Exit, Failure};
use crate::report;
use crate::runner;

/// Compacts the folders of the streams of the file that was named. PostHog is not asked, but for the
/// projects that there are where the connection is of all.
pub(super) async fn compact(args: &CompactArgs) -> Result<Exit, Failure> {
    let here = run::working_folder()?;
    let connections = Connections::load(&here)?;
    let options = Options { streams: args.streams.clone(), is_looking: true, ..Options::default() };
    let state = run::state_path(&args.replication, args.state.as_deref());
    let written = Written::read(&args.replication)?;
    let plan = run::plan(&written, &connections, &here, &options, &state).await?;
    let Some(plan) = plan else { return Ok(Exit::Complete) };
    let mut lines = Vec::new();
    for mut job in run::prepared(&plan, &Default::default())? {
        let (stream, object) = job.name();
        // Targets block.
        let compacted = tokio::task::block_in_place(|| job.target.compact());
        let compacted = compacted.map_err(|err| Failure::of_target(&stream, &err));
        let compacted = runner::unless_stopped(&plan.stop, "compacting", compacted)?;
        let Some(compacted) = compacted else { return Err(not_files(&object)) };
        lines.push((stream, compacted));
    }
    report::print(&report::compaction(&lines));
    Ok(Exit::Complete)
}

fn not_files(object: &str) -> Failure {
    Failure::usage(
        "there is nothing to compact",
        format!("{object} is a table, in which each key stands once anyway"),
        "compact is for replications into files",
    )
}
