//! `hogline sync`: what is new and what has changed in tables, into PostHog.
//!
//! A sync reads all its rows first and judges them by what PostHog has taken already; then it sends
//! what is to be sent, and remembers each row when PostHog has answered for it.

mod book;
mod gather;
mod people;
mod send;

use std::path::{Path, PathBuf};
use std::time::Instant;

use tempfile::TempDir;

use super::capture::{Options, Way, way};
use crate::cli::{Output, Receiver, SyncArgs};
use crate::config::sync::{Becomes, Ends, FoundBy, PersonBehavior, PersonSync, Sync, SyncFile};
use crate::config::{ConfigError, Connections, Environment, Written};
use crate::error::{Exit, Failure, overall};
use crate::report::{self, Synced};
use crate::state::lock::Lock;
use crate::sync::snapshot::{Snapshot, SnapshotError};
use crate::sync::source::{Place, SourceError};

use book::Book;
use people::People;

/// Brings the syncs of a file up to date.
pub(super) async fn sync(args: &SyncArgs) -> Result<Exit, Failure> {
    let connections = Connections::load(&super::run::working_folder()?)?;
    let (file, place) = read(args, &connections)?;
    let chosen = chosen(&file, &args.syncs)?;
    let to = Receiver { conn: Some(file.target.clone()), ..Receiver::default() };
    let way = way(&to, &Options::repeating(args.retries), &connections)?;
    let home = Home::of(args)?;
    let _lock = Lock::take(&home.snapshot).map_err(|err| super::run::locked(&err))?;
    if !args.dry_run {
        way.check_token().await?;
    }
    let people = match chosen.iter().any(|sync| reads_persons(sync)) {
        true => Some(People::of(&connections, &file.target)?),
        false => None,
    };
    let round = Round { place: &place, way: &way, people: people.as_ref(), home: &home, args };
    let mut all = Vec::new();
    for sync in chosen {
        all.push(round.bring(sync).await);
        if way.stop.borrow().is_some() {
            break;
        }
    }
    Ok(tell(&all, args))
}

/// Reads the file of syncs, and finds the place of its rows.
fn read(args: &SyncArgs, connections: &Connections) -> Result<(SyncFile, Place), Failure> {
    let written = Written::read(&args.file)?;
    let environment: &Environment = connections.environment();
    let (source, target) = SyncFile::ends_of(&written, environment)?;
    let base = args.file.parent().unwrap_or(Path::new(""));
    let place = source.map(|source| {
        let connection = connections.target(&source, base)?;
        Place::of(connection).map_err(|why| ConfigError::about("source", why))
    });
    let place = place.transpose()?;
    if let Some(target) = &target {
        // What is wrong with it is told before what it makes wrong.
        connections.capture(target)?;
    }
    let ends = Ends {
        source_is_files: place.as_ref().is_some_and(Place::is_files),
        target_reads: target.is_some_and(|target| connections.posthog(&target).is_ok()),
    };
    let file = SyncFile::parse(&written, environment, ends)?;
    Ok((file, place.expect("a file without a source was refused")))
}

fn chosen<'f>(file: &'f SyncFile, names: &[String]) -> Result<Vec<&'f Sync>, Failure> {
    if names.is_empty() {
        return Ok(file.syncs.iter().collect());
    }
    let known: Vec<&str> = file.syncs.iter().map(|sync| sync.name.as_str()).collect();
    let find = |name: &String| {
        file.syncs.iter().find(|sync| sync.name == *name).ok_or_else(|| {
            let near = crate::config::complaint::suggestion(name, &known);
            Failure::usage(
                format!("--syncs: there is no sync `{name}` in {}", file.file.display()),
                near,
                "name syncs of the file, with commas between them",
            )
        })
    };
    names.iter().map(find).collect()
}

/// Whether PostHog is asked who is there.
fn reads_persons(sync: &Sync) -> bool {
    match &sync.becomes {
        Becomes::Person(PersonSync { by: FoundBy::Email { .. }, .. }) => true,
        Becomes::Person(PersonSync { behavior, .. }) => *behavior == PersonBehavior::UpdateOnly,
        _ => false,
    }
}

/// Where it is remembered what was sent.
struct Home {
    snapshot: PathBuf,
    /// What a dry run makes of nothing, and removes.
    _made_up: Option<TempDir>,
}

impl Home {
    fn of(args: &SyncArgs) -> Result<Self, Failure> {
        let state = super::run::state_path(&args.file, args.state.as_deref());
        let snapshot = state.with_file_name("sync.db");
        if !args.dry_run || snapshot.exists() {
            return Ok(Self { snapshot, _made_up: None });
        }
        let folder = TempDir::with_prefix("hogline-").map_err(|err| {
            Failure::usage(
                "a dry run needs a little room",
                err.to_string(),
                "free space on the disk",
            )
        })?;
        Ok(Self { snapshot: folder.path().join("sync.db"), _made_up: Some(folder) })
    }

    /// Where the rows of a sync are written that are not sent.
    fn rejects(&self, sync: &Sync) -> PathBuf {
        self.snapshot.with_file_name(format!("{}.rejects.jsonl", sync.name))
    }
}

/// One run over the syncs of a file.
struct Round<'a> {
    place: &'a Place,
    way: &'a Way,
    people: Option<&'a People>,
    home: &'a Home,
    args: &'a SyncArgs,
}

impl Round<'_> {
    /// Brings one sync up to date, and tells how that went.
    async fn bring(&self, sync: &Sync) -> Synced {
        let begun = Instant::now();
        let mut book = Book::of(sync, self.home.rejects(sync), self.args.dry_run);
        let result = self.try_bring(&mut book).await;
        let closed = book.close();
        let mut synced = book.told;
        synced.failure = result.and(closed).err();
        if let (Some(failure), Some(signal)) = (&mut synced.failure, *self.way.stop.borrow())
            && matches!(failure.exit, Exit::Interrupted(_))
        {
            failure.exit = Exit::Interrupted(signal);
        }
        synced.error = synced
            .failure
            .as_ref()
            .map(|failure| crate::config::secret::redact(&failure.to_string()).into_owned());
        synced.seconds = begun.elapsed().as_secs_f64();
        synced
    }

    async fn try_bring(&self, book: &mut Book<'_>) -> Result<(), Failure> {
        let to = self.way.destination(false);
        let is_to_send = tokio::task::block_in_place(|| {
            book.open(Snapshot::open(&self.home.snapshot), &to, self.args.full)?;
            gather::gather(book, self.place)
        })?;
        if !is_to_send {
            return Ok(());
        }
        match self.args.dry_run {
            true => send::foresee(book, self.people).await?,
            false => send::send(book, self.way, self.people).await?,
        }
        Ok(())
    }
}

fn tell(all: &[Synced], args: &SyncArgs) -> Exit {
    let exits: Vec<Option<Exit>> = all.iter().map(Synced::exit).collect();
    let exit = overall(&exits);
    report::print(&match args.output {
        Output::Text => report::syncing(all, args.dry_run),
        Output::Json => report::syncing_as_json(all, exit, args.dry_run),
    });
    for failure in all.iter().filter_map(|synced| synced.failure.as_ref()) {
        report::tell(&format!("error: {failure}"));
    }
    exit
}

/// What to say where the snapshot cannot be used.
fn unusable(err: &SnapshotError) -> Failure {
    Failure {
        what: "it cannot be remembered what was sent".into(),
        cause: err.to_string(),
        fix: err.hint.into(),
        exit: Exit::Target,
    }
}

/// What to say where rows cannot be read.
fn unreadable(sync: &Sync, err: &SourceError) -> Failure {
    Failure {
        what: format!("the rows of sync `{}` cannot be read", sync.name),
        cause: err.to_string(),
        fix: err.hint.clone(),
        exit: Exit::Target,
    }
}
