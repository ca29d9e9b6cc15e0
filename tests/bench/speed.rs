//! How fast rows pass through, and what that costs: `cargo bench`.
//!
//! A sandbox in this process plays PostHog. The program, a process of its own, replicates its
//! events into each target; what it took is read from the kernel. Beside it stand the floors:
//! a process that asks the same questions and forgets the answers, and each database's own tool
//! that loads the same rows. `HOGLINE_BENCH_EVENTS` says how many events there are, and
//! `HOGLINE_BENCH_REST` that they are read by the list instead of SQL.

#![expect(
    clippy::disallowed_macros,
    clippy::disallowed_methods,
    reason = "the rules for what the program does itself are not for one that watches it"
)]

mod bulk;
#[cfg(feature = "postgres")]
#[path = "../replication/support/cluster.rs"]
#[expect(dead_code, reason = "the tests need more of it")]
mod cluster;
mod floor;
mod process;
mod split;

use std::path::Path;
use std::process::Command;

use hogline::cursor::Timestamp;
use hogline::sandbox::{Asked, KEY, Options, PROJECT, Sandbox};
use tokio::runtime::Runtime;

use process::Took;

/// How many events there are where nobody says.
const EVENTS: usize = 200_000;

fn main() {
    // The client wants one, although nothing here is encrypted.
    rustls::crypto::ring::default_provider().install_default().unwrap();
    if let Some(questions) = std::env::var_os(floor::QUESTIONS) {
        return floor::ask_all(Path::new(&questions));
    }
    let events = std::env::var("HOGLINE_BENCH_EVENTS").map_or(EVENTS, |n| n.parse().unwrap());
    let runtime = Runtime::new().unwrap();
    let sql = std::env::var_os("HOGLINE_BENCH_REST").is_none();
    let options = Options { events, sql, now: Timestamp::now(), ..Options::default() };
    let sandbox = runtime.block_on(Sandbox::start(options)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench { sandbox: &sandbox, folder: folder.path() };

    println!(
        "| | rows/s | MB/s | CPU s per million rows | of the floor | peak MB | requests per million rows |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- |");
    let jsonl = bench.replicates("file://jsonl", "jsonl");
    let questions: Vec<Asked> = sandbox.log();
    let floor = floor::measured(&sandbox, folder.path(), &questions);
    let read = Read { rows: jsonl.rows, bytes: floor.bytes, floor: floor.took.cpu };
    read.tell("the same answers read and forgotten (the floor)", &floor.took, questions.len());
    let answer = runtime.block_on(split::largest(&sandbox, &questions));
    read.tell_core("splitting alone", &split::ours(&answer, sql));
    let by_serde = split::by_serde(&answer, sql, folder.path());
    read.tell_core("JSON lines by `serde_json`'s raw values, no wire", &by_serde);
    read.tell("into JSON lines", &jsonl.took, questions.len());
    for Target { name, url, format, bulk } in bench.targets() {
        sandbox.clear_log();
        let ran = bench.replicates(&url, format);
        assert_eq!(ran.rows, read.rows, "{name}: other rows arrived");
        read.tell(name, &ran.took, sandbox.log().len());
        match bulk(folder.path(), &url) {
            Ok(Some((tool, took))) => read.tell_bulk(tool, &took, &ran.took),
            Ok(None) => {}
            Err(missing) => println!("| ({missing}) | | | | | | |"),
        }
    }
    sandbox.clear_log();
    let idle = bench.runs(&bench.file("again", "file://jsonl", "jsonl"));
    println!(
        "\nNothing new: {} requests, {:.0} ms of CPU, peak {} MB.",
        sandbox.log().len(),
        idle.took.cpu * 1e3,
        idle.took.peak >> 20
    );
}

/// A project's folder, and the PostHog that it reads.
struct Bench<'a> {
    sandbox: &'a Sandbox,
    folder: &'a Path,
}

/// A run that came to its end.
struct Ran {
    rows: u64,
    took: Took,
}

/// Somewhere rows go, and its own tool for many of them.
struct Target {
    name: &'static str,
    url: String,
    format: &'static str,
    bulk: fn(&Path, &str) -> bulk::Loaded,
}

impl Bench<'_> {
    /// The targets beside JSON lines.
    fn targets(&self) -> Vec<Target> {
        let target = |name, url: &str, format, bulk| Target { name, url: url.into(), format, bulk };
        Vec::from([
            target("into CSV", "file://csv", "csv", bulk::none),
            #[cfg(feature = "parquet")]
            target("into Parquet", "file://parquet", "parquet", bulk::none),
            target("into SQLite", "sqlite://events.db", "", bulk::sqlite),
            #[cfg(feature = "postgres")]
            target("into PostgreSQL (the client)", &postgres_url(), "", bulk::postgres),
        ])
    }

    /// Replicates all events into a target that holds none.
    fn replicates(&self, target: &str, format: &str) -> Ran {
        let ran = self.runs(&self.file("first", target, format));
        assert!(ran.rows > 0, "{target}: nothing arrived");
        ran
    }

    /// A replication file.
    fn file(&self, name: &str, target: &str, format: &str) -> String {
        let name = format!("{name}.yaml");
        let options = match format {
            "" => String::new(),
            format => format!(", target_options: {{ format: {format} }}"),
        };
        let yaml = format!(
            "source: POSTHOG\ntarget: {target}\n\
             defaults: {{ mode: incremental, object: bench.{{stream_name}}{options} }}\n\
             streams: {{ events: }}\n"
        );
        std::fs::write(self.folder.join(&name), yaml).unwrap();
        name
    }

    fn runs(&self, replication: &str) -> Ran {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hogline"));
        command.args(["run", "-r", replication, "--report", "report.json"]);
        command.current_dir(self.folder).env("HOGLINE_HOME", self.folder.join("home"));
        let secrets = format!(
            "secrets: {{ api_key: {KEY}, project_id: \"{PROJECT}\", host: \"{}\" }}",
            self.sandbox.origin()
        );
        let inputs = "inputs: { requests_per_second: 0, safety_lag: 0s, anchor_date: 2020-01-01 }";
        command.env("POSTHOG", format!("{{ type: api, spec: posthog, {secrets}, {inputs} }}"));
        let took = process::measured(&mut command);
        let report = std::fs::read(self.folder.join("report.json")).unwrap();
        let report: serde_json::Value = serde_json::from_slice(&report).unwrap();
        let rows = &report["streams"][0]["rows"];
        let counts = ["new", "updated", "unchanged"].map(|what| rows[what].as_u64().unwrap());
        Ran { rows: counts.iter().sum(), took }
    }
}

#[cfg(feature = "postgres")]
fn postgres_url() -> String {
    // It ends with this process.
    Box::leak(Box::new(cluster::Cluster::start())).url()
}

/// What is read in each run.
struct Read {
    rows: u64,
    bytes: u64,
    /// The CPU seconds of the floor.
    floor: f64,
}

impl Read {
    fn tell(&self, name: &str, took: &Took, requests: usize) {
        let millions = self.rows as f64 / 1e6;
        println!(
            "| {name} | {:.0} | {:.0} | {:.2} | {:.1} | {} | {:.0} |",
            self.rows as f64 / took.wall,
            self.bytes as f64 / took.wall / 1e6,
            took.cpu / millions,
            took.cpu / self.floor,
            took.peak >> 20,
            requests as f64 / millions,
        );
    }

    fn tell_bulk(&self, tool: &str, took: &Took, ours: &Took) {
        let millions = self.rows as f64 / 1e6;
        println!(
            "| {tool} | {:.0} | {:.0} | {:.2} | | {} | (hogline takes {:.2} of its time) |",
            self.rows as f64 / took.wall,
            self.bytes as f64 / took.wall / 1e6,
            took.cpu / millions,
            took.peak >> 20,
            ours.wall / took.wall,
        );
    }

    fn tell_core(&self, name: &str, core: &split::Speed) {
        println!(
            "| {name} | {:.0} | {:.0} | {:.2} | | | |",
            core.rows / core.cpu,
            core.bytes / core.cpu / 1e6,
            core.cpu / core.rows * 1e6,
        );
    }
}
