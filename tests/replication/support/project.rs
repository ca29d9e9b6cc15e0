//! A folder with a replication in it, and the program run there.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use hogline::sandbox::{KEY, PROJECT, PROJECT_TOKEN, Sandbox};
use tempfile::TempDir;

use super::ran::Told;
use super::{Copy, Database, Proxy, Ran, Shim, Texts};

/// The command line of every run.
const RUN: [&str; 5] = ["run", "-r", "replication.yaml", "--report", "report.json"];

const COMPACT: [&str; 3] = ["compact", "-r", "replication.yaml"];

/// Much more than a run takes, much less than what it may be sent, in KiB.
const LITTLE_MEMORY: u32 = 2_000_000;

/// The replication that the issue gives as its example.
const EXAMPLE: &str = "source: POSTHOG\ntarget: sqlite://posthog.db\n\
    defaults: { mode: full-refresh, object: posthog.{stream_name} }\n\
    streams: { projects: , persons: , events: { mode: incremental }, cohorts: , feature_flags: , \
    insights: , annotations: { mode: incremental }, actions: , \
    session_recordings: { mode: incremental }, event_definitions: , property_definitions: }\n";

/// Where a run tells what crash points it passes.
const PASSED: &str = "crash.log";

/// A user's folder: a replication file, a connection, a home, a target.
pub(crate) struct Project {
    folder: TempDir,
    home: PathBuf,
    origin: String,
    key: String,
    id: String,
    spec: String,
    inputs: Vec<String>,
    /// The address space a run may take, in KiB.
    memory: Option<u32>,
    /// Where it writes to a database of PostgreSQL that is its own.
    pub(super) database: Option<Database>,
    /// Where it writes to a bucket that is its own: the folder `out`.
    #[cfg(feature = "object-storage")]
    pub(super) bucket: Option<super::S3>,
}

impl Project {
    /// Replicates what the replication file `yaml` says.
    pub(crate) fn of(posthog: &Sandbox, yaml: &str) -> Self {
        let folder = TempDir::with_prefix("hogline-").unwrap();
        fs::write(folder.path().join("replication.yaml"), yaml).unwrap();
        Self {
            home: folder.path().join("home"),
            folder,
            origin: posthog.origin(),
            key: KEY.into(),
            id: PROJECT.to_string(),
            spec: "posthog".into(),
            inputs: ["requests_per_second: 0", "safety_lag: 0s", "anchor_date: 2026-01-01"]
                .map(str::to_owned)
                .into(),
            memory: None,
            database: None,
            #[cfg(feature = "object-storage")]
            bucket: None,
        }
    }

    /// Replicates everything, as the example does.
    pub(crate) fn of_everything(posthog: &Sandbox) -> Self {
        Self::of(posthog, EXAMPLE)
    }

    /// Replicates streams in a mode; each may be written with options, `events: { … }`.
    pub(crate) fn in_mode(posthog: &Sandbox, mode: &str, streams: &[&str]) -> Self {
        Self::of(posthog, &replication(mode, streams))
    }

    /// Replicates streams incrementally.
    pub(crate) fn incremental(posthog: &Sandbox, streams: &[&str]) -> Self {
        Self::in_mode(posthog, "incremental", streams)
    }

    /// Copies streams whole.
    pub(crate) fn full_refresh(posthog: &Sandbox, streams: &[&str]) -> Self {
        Self::in_mode(posthog, "full-refresh", streams)
    }

    /// Into JSON lines below the folder `out`.
    pub(crate) fn into_files(self) -> Self {
        self.now_writes_to("file://out");
        self
    }

    /// Puts another target into the replication file.
    pub(crate) fn now_writes_to(&self, url: &str) {
        let yaml = fs::read_to_string(self.path("replication.yaml")).unwrap();
        let line = |line: &str| match line.starts_with("target: ") {
            true => format!("target: {url}\n"),
            false => format!("{line}\n"),
        };
        self.writes("replication.yaml", &yaml.lines().map(line).collect::<String>());
    }

    /// Into files as `options` say, `format: csv`, below the folder `out`.
    pub(crate) fn into_files_of(self, options: &str) -> Self {
        let project = self.into_files();
        project.now_writes(options);
        project
    }

    /// Writes its files as these options say from now on.
    pub(crate) fn now_writes(&self, options: &str) {
        let yaml = fs::read_to_string(self.path("replication.yaml")).unwrap();
        let set = |line: &str| match line.split_once("defaults: { ") {
            Some((_, rest)) => {
                let rest = rest.rsplit_once("}, ").map_or(rest, |(_, rest)| rest);
                format!("defaults: {{ target_options: {{ {options} }}, {rest}\n")
            }
            None => format!("{line}\n"),
        };
        self.writes("replication.yaml", &yaml.lines().map(set).collect::<String>());
    }

    /// The names of the files that readers of a stream see.
    pub(crate) fn files_of(&self, stream: &str) -> Vec<String> {
        super::files::listed(&self.path("out"), stream)
    }

    /// Compacts the files of the replication.
    pub(crate) fn compacts(&self) -> Ran {
        self.hogline(&COMPACT)
    }

    /// Compacts with a crash point steered.
    pub(crate) fn compacts_steered(&self, crash: &str) -> Ran {
        let steer = |command: &mut Command| {
            command.env("HOGLINE_CRASH", crash);
        };
        self.spawns(self.program(), &COMPACT, steer).ends()
    }

    /// With a proxy before PostHog.
    pub(crate) fn through(mut self, proxy: &Proxy) -> Self {
        proxy.origin().clone_into(&mut self.origin);
        self
    }

    /// With so little memory that what grows without end fails.
    pub(crate) fn with_little_memory(mut self) -> Self {
        self.memory = Some(LITTLE_MEMORY);
        self
    }

    /// With another key.
    pub(crate) fn with_key(mut self, key: &str) -> Self {
        self.key = key.into();
        self
    }

    /// With another project's id.
    pub(crate) fn with_project_id(mut self, id: &str) -> Self {
        self.id = id.into();
        self
    }

    /// With an input of the connection set, `max_wait: 1s`.
    pub(crate) fn with_input(mut self, input: &str) -> Self {
        let name = input.split_once(':').unwrap().0;
        self.inputs.retain(|other| other.split_once(':').unwrap().0 != name);
        self.inputs.push(input.into());
        self
    }

    /// Without an input of the connection, `anchor_date`.
    pub(crate) fn without_input(mut self, name: &str) -> Self {
        self.inputs.retain(|input| input.split_once(':').unwrap().0 != name);
        self
    }

    /// With specs beside the built-in ones: the connection's `spec`.
    pub(crate) fn with_spec(mut self, spec: &str) -> Self {
        self.spec = spec.into();
        self
    }

    /// With the home of another project: as on one machine.
    pub(crate) fn at_home_of(mut self, other: &Self) -> Self {
        self.home.clone_from(&other.home);
        self
    }

    /// In a folder of this name.
    pub(crate) fn in_a_folder_named(mut self, name: &str) -> Self {
        let folder = TempDir::with_prefix(name).unwrap();
        fs::copy(self.path("replication.yaml"), folder.path().join("replication.yaml")).unwrap();
        (self.home, self.folder) = (folder.path().join("home"), folder);
        #[cfg(feature = "object-storage")]
        if self.bucket.is_some() {
            return self.into_a_bucket();
        }
        self
    }

    /// Writes another replication file: streams in a mode.
    pub(crate) fn now_replicates(&self, mode: &str, streams: &[&str]) {
        self.writes("replication.yaml", &replication(mode, streams));
    }

    /// Puts a file into the folder.
    pub(crate) fn writes(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// A place in the folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The folder.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What is in the database.
    pub(crate) fn copy(&self) -> Copy {
        Copy::at(&self.path("posthog.db"))
    }

    /// The database of its own in PostgreSQL, where it writes to one.
    pub(crate) fn database(&self) -> Option<&Database> {
        self.database.as_ref()
    }

    /// A stream's folder of files holds what PostHog holds.
    #[track_caller]
    pub(crate) fn files_hold_exactly(&self, posthog: &Sandbox, stream: &str) {
        super::files::are_exactly(&self.path("out"), posthog, stream);
    }

    /// The rows that a stream's folder of files amounts to, as text.
    pub(crate) fn lines_of(&self, stream: &str) -> BTreeSet<String> {
        let rows = super::files::rows(&self.path("out"), stream);
        rows.iter().map(|row| format!("{row:?}")).collect()
    }

    /// Every line of a stream's files, the newest or not, as the texts of its values.
    pub(crate) fn texts_of(&self, stream: &str) -> Vec<Texts> {
        super::files::texts(&self.path("out"), stream)
    }

    /// How many keys a stream's files have.
    pub(crate) fn count_keys(&self, stream: &str) -> i64 {
        i64::try_from(super::files::count_keys(&self.path("out"), stream)).unwrap()
    }

    /// Readers of a stream's files see what PostHog holds, whatever else lies there.
    #[track_caller]
    pub(crate) fn files_show_exactly(&self, posthog: &Sandbox, stream: &str) {
        super::files::hold_exactly(&self.path("out"), posthog, stream);
    }

    /// Does something to the database, as its owner may.
    pub(crate) fn changes_database(&self, sql: &str) {
        let database = rusqlite::Connection::open(self.path("posthog.db")).unwrap();
        database.execute_batch(sql).unwrap();
    }

    /// A stream's table holds what PostHog holds: the same rows, the same values.
    #[track_caller]
    pub(crate) fn holds_exactly(&self, posthog: &Sandbox, stream: &str) {
        self.copy().is_exactly(posthog, stream);
    }

    /// Runs the replication to its end.
    pub(crate) fn run(&self) -> Ran {
        self.run_with(&[])
    }

    /// Runs the replication with more options.
    pub(crate) fn run_with(&self, options: &[&str]) -> Ran {
        self.starts_with(options).ends()
    }

    /// Starts the replication and does not wait.
    pub(crate) fn starts(&self) -> Running<'_> {
        self.starts_with(&[])
    }

    /// Starts the replication with more options and does not wait.
    pub(crate) fn starts_with(&self, options: &[&str]) -> Running<'_> {
        self.starts_changed(options, |_| {})
    }

    /// Runs the replication with a crash point steered: `KILL:17`, see `src/crash.rs`. What
    /// it passes is in [`Project::passed`].
    pub(crate) fn steered(&self, crash: &str, options: &[&str]) -> Ran {
        drop(fs::remove_file(self.path(PASSED)));
        self.run_changed(options, |command| {
            command.env("HOGLINE_CRASH", crash).env("HOGLINE_CRASH_LOG", PASSED);
        })
    }

    /// Starts the replication, which then tells what crash points it passes.
    pub(crate) fn starts_watched(&self) -> Running<'_> {
        drop(fs::remove_file(self.path(PASSED)));
        self.starts_changed(&[], |command| {
            command.env("HOGLINE_CRASH_LOG", PASSED);
        })
    }

    /// The names of the crash points that the last steered or watched run passed, in order.
    pub(crate) fn passed(&self) -> Vec<String> {
        let log = fs::read_to_string(self.path(PASSED)).unwrap_or_default();
        log.lines().map(str::to_owned).collect()
    }

    /// Runs the replication with more options while the system fails.
    pub(crate) fn run_on(&self, shim: &Shim, options: &[&str]) -> Ran {
        self.run_changed(options, |command| shim.goes_into(command, self))
    }

    /// Runs the replication with more options, in a process that is changed before.
    pub(crate) fn run_changed(&self, options: &[&str], change: impl FnOnce(&mut Command)) -> Ran {
        self.starts_changed(options, change).ends()
    }

    /// As [`Project::run_changed`], and does not wait.
    pub(crate) fn starts_changed(
        &self,
        options: &[&str],
        change: impl FnOnce(&mut Command),
    ) -> Running<'_> {
        self.spawns(self.program(), &[&RUN, options].concat(), change)
    }

    /// Runs the replication from a shell, which gets its command line as `"$@"`.
    pub(crate) fn run_in_shell(&self, script: &str, options: &[&str]) -> Ran {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", script, "sh", env!("CARGO_BIN_EXE_hogline")]);
        self.spawns(shell, &[&RUN, options].concat(), |_| {}).ends()
    }

    /// Types a command into a shell in the folder, as the pages show it; the shell finds
    /// `hogline`. None but the project's environment is known there.
    pub(crate) fn types(&self, command: &str) -> Ran {
        let program = Path::new(env!("CARGO_BIN_EXE_hogline")).parent().unwrap();
        let path = format!("{}:/usr/local/bin:/usr/bin:/bin", program.display());
        let mut shell = Command::new("/bin/sh");
        shell.arg("-c");
        let knows_it = |shell: &mut Command| {
            shell.env("PATH", path);
        };
        self.spawns(shell, &[command], knows_it).ends()
    }

    /// Verifies the replication, with more options.
    pub(crate) fn verifies(&self, options: &[&str]) -> Ran {
        self.hogline(&[&["verify", "-r", "replication.yaml"], options].concat())
    }

    /// Runs any command of the program in the folder.
    pub(crate) fn hogline(&self, arguments: &[&str]) -> Ran {
        self.starts_command(arguments).ends()
    }

    /// Sends something to its PostHog: `hogline capture …`, as the project's token allows.
    pub(crate) fn captures(&self, arguments: &[&str]) -> Ran {
        self.starts_capturing(arguments, |_| {}).ends()
    }

    /// The same with a crash point steered, as [`Project::steered`].
    pub(crate) fn captures_steered(&self, crash: &str, arguments: &[&str]) -> Ran {
        let steer = |command: &mut Command| {
            command.env("HOGLINE_CRASH", crash);
        };
        self.starts_capturing(arguments, steer).ends()
    }

    /// Starts to send, in a process that is changed before, and does not wait.
    pub(crate) fn starts_capturing(
        &self,
        arguments: &[&str],
        change: impl FnOnce(&mut Command),
    ) -> Running<'_> {
        self.spawns(self.program(), &[&["capture"], arguments].concat(), |command| {
            self.names_the_token(command);
            change(command);
        })
        .keeping(PROJECT_TOKEN)
    }

    /// Takes calls for its PostHog, `hogline serve …`, in a process that is changed before.
    pub(crate) fn serves(
        &self,
        options: &[&str],
        change: impl FnOnce(&mut Command),
    ) -> Running<'_> {
        let arguments = [&["serve", "--listen", "127.0.0.1:0"], options].concat();
        self.spawns(self.program(), &arguments, |command| {
            self.names_the_token(command);
            change(command);
        })
    }

    /// Does something with the outbox: `hogline outbox …`.
    pub(crate) fn outbox(&self, arguments: &[&str]) -> Ran {
        let arguments = [&["outbox"], arguments].concat();
        let running =
            self.spawns(self.program(), &arguments, |command| self.names_the_token(command));
        running.keeping(PROJECT_TOKEN).ends()
    }

    fn names_the_token(&self, command: &mut Command) {
        command.env("HOGLINE_CAPTURE_HOST", &self.origin).env("HOGLINE_CAPTURE_KEY", PROJECT_TOKEN);
    }

    /// Runs any command of the program with a crash point steered, as [`Project::steered`].
    pub(crate) fn hogline_steered(&self, crash: &str, arguments: &[&str]) -> Ran {
        drop(fs::remove_file(self.path(PASSED)));
        let steer = |command: &mut Command| {
            command.env("HOGLINE_CRASH", crash).env("HOGLINE_CRASH_LOG", PASSED);
        };
        self.spawns(self.program(), arguments, steer).ends()
    }

    /// Starts any command of the program in the folder and does not wait.
    pub(crate) fn starts_command(&self, arguments: &[&str]) -> Running<'_> {
        self.spawns(self.program(), arguments, |_| {})
    }

    /// The program, with as much memory as it may have.
    fn program(&self) -> Command {
        let Some(memory) = self.memory else {
            return Command::new(env!("CARGO_BIN_EXE_hogline"));
        };
        let bounded = format!("ulimit -v {memory}; exec \"$0\" \"$@\"");
        let mut shell = Command::new("sh");
        shell.args(["-c", &bounded, env!("CARGO_BIN_EXE_hogline")]);
        shell
    }

    fn spawns(
        &self,
        mut command: Command,
        arguments: &[&str],
        change: impl FnOnce(&mut Command),
    ) -> Running<'_> {
        // An earlier run's report would be taken for this one's.
        drop(fs::remove_file(self.path("report.json")));
        command
            .args(arguments)
            .current_dir(self.folder())
            .env_clear()
            .env("HOME", self.folder())
            .env("HOGLINE_HOME", &self.home)
            .env("POSTHOG", self.connection())
            // Threads reserve address space: as many of them on every machine.
            .envs(self.memory.map(|_| ("TOKIO_WORKER_THREADS", "2")))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        change(&mut command);
        Running { project: self, keys: vec![self.key.clone()], child: command.spawn().unwrap() }
    }

    fn connection(&self) -> String {
        let Self { origin, key, id, spec, .. } = self;
        // A list as it is, a text as one.
        let id = if id.starts_with('[') { id.clone() } else { format!("\"{id}\"") };
        format!(
            "{{ type: api, spec: {spec}, secrets: {{ api_key: {key}, project_id: {id}, \
             host: \"{origin}\" }}, inputs: {{ {} }} }}",
            self.inputs.join(", ")
        )
    }

    /// Nothing that left the process, and no file it left behind, holds one of these keys; but
    /// `env.yaml`, where its owner keeps it.
    #[track_caller]
    fn kept_the_keys(&self, told: &Told, keys: &[String]) {
        let holds_one = |text: &str| keys.iter().any(|key| text.contains(key.as_str()));
        for (place, text) in [("stdout", &told.stdout), ("stderr", &told.stderr)] {
            assert!(!holds_one(text), "a key is in {place}:\n{told}");
        }
        let mut folders = vec![self.folder().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if !path.ends_with("env.yaml") {
                    let bytes = fs::read(&path).unwrap_or_default();
                    let found = holds_one(&String::from_utf8_lossy(&bytes));
                    assert!(!found, "a key is in {}", path.display());
                }
            }
        }
    }
}

/// A replication file: streams in a mode, into `posthog.db`.
fn replication(mode: &str, streams: &[&str]) -> String {
    let streams = streams.iter().map(|stream| match stream.contains(':') {
        true => format!("  {stream}\n"),
        false => format!("  {stream}:\n"),
    });
    format!(
        "source: POSTHOG\ntarget: sqlite://posthog.db\n\
         defaults: {{ mode: {mode}, object: posthog.{{stream_name}} }}\nstreams:\n{}",
        streams.collect::<String>()
    )
}

/// A run that goes on.
#[must_use = "a run that goes on is to be ended"]
pub(crate) struct Running<'a> {
    project: &'a Project,
    /// What must be in no output of it.
    keys: Vec<String>,
    child: Child,
}

impl Running<'_> {
    /// It must not give this away either. The events of a project hold its token: who replicates
    /// them may have it in a table.
    fn keeping(mut self, key: &str) -> Self {
        self.keys.push(key.to_owned());
        self
    }

    /// The process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal, `TERM`.
    pub(crate) fn receives(&self, signal: &str) {
        let pid = self.pid().to_string();
        let sent = Command::new("kill").args(["-s", signal, &pid]).status().unwrap();
        assert!(sent.success(), "{signal} cannot be sent to {pid}");
    }

    /// Waits until it prints a line in which this stands, and gives that.
    #[track_caller]
    pub(crate) fn prints(&mut self, part: &str) -> String {
        let stdout = self.child.stdout.as_mut().unwrap();
        let (mut line, mut byte) = (Vec::new(), [0]);
        // What comes after it is left for the end.
        while stdout.read(&mut byte).unwrap() > 0 {
            line.push(byte[0]);
            if line.ends_with(b"\n") {
                let text = String::from_utf8_lossy(&line);
                if text.contains(part) {
                    return text.into_owned();
                }
                line.clear();
            }
        }
        panic!("it ended and had not printed {part:?}");
    }

    /// Gives it another line to read.
    pub(crate) fn reads(&mut self, line: &str) {
        let stdin = self.child.stdin.as_mut().unwrap();
        stdin.write_all(format!("{line}\n").as_bytes()).unwrap();
        stdin.flush().unwrap();
    }

    /// Kills it as a power cut would.
    pub(crate) fn dies(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for its end, while what it reads from goes on.
    #[track_caller]
    pub(crate) fn ends_with_its_pipe_open(mut self) -> Ran {
        let _pipe = self.child.stdin.take();
        self.ends()
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn ends(self) -> Ran {
        let output = self.child.wait_with_output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        // A disk that was full has left half of one.
        let report = fs::read_to_string(self.project.path("report.json")).ok();
        let told = Told {
            status: output.status,
            stdout: text(output.stdout),
            stderr: text(output.stderr),
            report: report.and_then(|json| serde_json::from_str(&json).ok()),
        };
        self.project.kept_the_keys(&told, &self.keys);
        Ran(told)
    }
}
