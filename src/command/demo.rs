//! `hogline demo`: the main job on made-up data, without an account.
//!
//! Replicates a sandbox twice with the example file of this repository; in between,
//! new events happen and others arrive late. Then it counts, in the sandbox and in
//! the tables, and shows how to look at them.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use super::run::{Options as RunOptions, exit_of, replicate, state_file};
use crate::cli::DemoArgs;
use crate::config::{Connections, Written};
use crate::error::{Exit, Failure};
use crate::report::{self, Outcome, Table};
use crate::sandbox::{KEY, Options, PROJECT, Sandbox};
use crate::target::count_rows;

/// The replication that the README explains; the demo runs it as it stands.
const EXAMPLE: &str = include_str!("../../replication.example.yaml");

/// How many events happen between the two runs, and how many arrive late.
pub(super) const FRESH: usize = 50;

/// How late the late ones are.
pub(super) const LATE: Duration = Duration::from_secs(2 * 86_400);

/// The demo need not wait for PostHog's ingestion; a little, because its clock has whole seconds.
pub(super) const JUST_NOW: Duration = Duration::from_secs(2);

/// Plays it through.
pub(super) async fn demo(args: &DemoArgs) -> Result<Exit, Failure> {
    let database = fresh_folder(&args.dir)?;
    let sandbox = Sandbox::start(Options { events: args.events, ..Options::default() })
        .await
        .map_err(|err| Failure::usage("the sandbox cannot start", err.to_string(), ""))?;
    let connections = connections(&sandbox, &args.dir)?;
    let file = args.dir.join("replication.yaml");

    report::print("First run: everything.\n");
    let first = run(&file, &connections, &args.dir).await?;
    let now = sandbox.now().minus(JUST_NOW);
    sandbox.add_events(FRESH, Duration::ZERO, now);
    sandbox.add_events(FRESH, LATE, now);
    report::print(&format!(
        "\n{FRESH} events happened since, and {FRESH} arrived that are two days old.\n\n\
         Second run: only what is new.\n"
    ));
    let second = run(&file, &connections, &args.dir).await?;

    let complete = compare(&sandbox, &database, &second)?;
    report::print(&format!(
        "\nLook at the result:\n\n  sqlite3 {} \"SELECT event, count(*) FROM posthog_events GROUP BY 1\"",
        database.display()
    ));
    match exit_of(&first).max(exit_of(&second)) {
        Exit::Complete if !complete => Ok(Exit::Contract),
        exit => Ok(exit),
    }
}

/// Removes what an earlier demo left, and only that.
fn fresh_folder(dir: &Path) -> Result<std::path::PathBuf, Failure> {
    let failed = |err: std::io::Error| Failure {
        what: format!("the demo cannot use the folder {}", dir.display()),
        cause: err.to_string(),
        fix: "name another one with --dir".into(),
        exit: Exit::Target,
    };
    std::fs::create_dir_all(dir).map_err(failed)?;
    for name in ["posthog.db", "hogline.db"] {
        for end in ["", "-wal", "-shm", ".lock", ".last-good"] {
            let file = dir.join(format!("{name}{end}"));
            if file.exists() {
                std::fs::remove_file(&file).map_err(failed)?;
            }
        }
    }
    std::fs::write(dir.join("replication.yaml"), EXAMPLE).map_err(failed)?;
    Ok(dir.join("posthog.db"))
}

/// Connections to the sandbox alone, whatever the user's environment holds.
fn connections(sandbox: &Sandbox, dir: &Path) -> Result<Connections, Failure> {
    let posthog = format!(
        "{{ type: api, spec: posthog, secrets: {{ api_key: {KEY}, project_id: \"{PROJECT}\", \
         host: \"{}\" }}, inputs: {{ requests_per_second: 0, safety_lag: 0s }} }}",
        sandbox.origin()
    );
    let environment = BTreeMap::from([("POSTHOG".to_owned(), posthog)]);
    Ok(Connections::from_parts(environment, dir)?)
}

async fn run(file: &Path, connections: &Connections, dir: &Path) -> Result<Vec<Outcome>, Failure> {
    let state = state_file(&dir.join("hogline.db"));
    let written = Written::read(file)?;
    let outcomes = replicate(&written, connections, dir, &RunOptions::default(), &state).await?;
    report::print(&report::summary(&outcomes));
    report::tell_failures(&outcomes);
    Ok(outcomes)
}

/// Counts each stream in the sandbox and in its table; true where all are alike.
fn compare(sandbox: &Sandbox, database: &Path, runs: &[Outcome]) -> Result<bool, Failure> {
    let mut table = Table::new(&["stream", "in the sandbox", "in the table", ""]);
    let mut complete = true;
    for Outcome { stream, .. } in runs {
        let there = sandbox.truth(stream).len() as u64;
        let here = count_rows(database, &format!("posthog.{stream}"))
            .map_err(|err| Failure::of_target(stream, &err))?;
        complete &= there == here;
        let verdict = if there == here { "complete" } else { "DIFFERS" };
        table.row(vec![stream.clone(), there.to_string(), here.to_string(), verdict.into()]);
    }
    report::print(&format!("\n{table}"));
    Ok(complete)
}
