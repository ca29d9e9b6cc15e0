//! Streams made ready: plan and target checked before any request costs quota.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::holes::{condition, refuse_a_hole};
use super::projects::of_project;
use super::{Options, Plan, ProjectSource, Queries, columns};
use crate::checkpoint::{Checkpoint, StreamKey};
use crate::config::complaint::nearest;
use crate::config::{
    AuditColumn, Mode, Posthog, ReadBy, Replication, StreamConfig, TargetConnection,
};
use crate::cursor::{Position, Timestamp};
use crate::error::{Exit, Failure};
use crate::plan::{BesideRows, Wish};
use crate::runner::{Drift, Job, Project, stream_key};
use crate::schema::{ColumnType, Schema, flattened_prefix};
use crate::spec::endpoint::{ColumnSpec, Endpoint, ReadPath};
use crate::state::store::{StateError, StateFault, StateStore};
use crate::state::{Agreement, compare};
use crate::target::{self, Layout, Opening, Place, Recall};

/// History that is read where nobody says how much: PostHog's longest range of one request.
const A_YEAR: Duration = Duration::from_secs(365 * 86_400);

/// Tells the projects of a connection apart.
const PROJECT_COLUMN: &str = "project_id";

/// Opens every stream's target and compares it with the state. Stops at the first thing that
/// would make a run unsafe.
pub(super) fn prepare(plan: &Plan, queries: &Queries) -> Result<Vec<Job>, Failure> {
    let Plan { replication, options, target, .. } = plan;
    let place = place(target);
    let streams = chosen(replication, options)?;
    refuse_shared_tables(&streams, &place)?;
    let mut jobs = Vec::new();
    let run = uuid::Uuid::new_v4().to_string();
    for project in &plan.projects {
        for config in &streams {
            let query = queries.get(&(project.reached.id.clone(), config.name.clone()));
            jobs.push(ready(plan, project, (config, query), &place, &run)?);
        }
    }
    if options.range.is_some() && !jobs.iter().any(|job| job.wish.mode == Mode::Backfill) {
        return Err(Failure::usage(
            "--range is for mode backfill",
            "another mode reads from the cursor on, whatever the range",
            "add --mode backfill, or leave --range out",
        ));
    }
    Ok(jobs)
}

/// One stream of one project, in the run of this name.
fn ready(
    plan: &Plan,
    ProjectSource { source, reached }: &ProjectSource,
    (config, query): (&StreamConfig, Option<&Endpoint>),
    place: &Place,
    run: &str,
) -> Result<Job, Failure> {
    let Plan { registry, replication, options, target, state, begun, .. } = plan;
    let endpoint = query.map(|query| Arc::new(query.clone()));
    let Some(mut endpoint) = endpoint.or_else(|| registry.find(&config.name).cloned()) else {
        return Err(unknown_columns(&config.name));
    };
    let filled = |text: &String| of_project(text, source);
    let config = &StreamConfig {
        object: filled(&config.object),
        pre_sql: config.pre_sql.as_ref().map(filled),
        post_sql: config.post_sql.as_ref().map(filled),
        select: options.select.as_ref().unwrap_or(&config.select).clone(),
        filter: options.filter.as_ref().or(config.filter.as_ref()).cloned(),
        limit: options.limit.or(config.limit).filter(|_| !options.is_looking),
        ..config.clone()
    };
    let mut wish = wish(config, &endpoint, options, source, *begun)?;
    choose_ways(&mut endpoint, config)?;
    if let Some(key) = &config.primary_key {
        Arc::make_mut(&mut endpoint).primary_key.clone_from(key);
    }
    let url = filled(&format!("{}{}", source.origin, endpoint.read[0].url));
    add_columns(&mut endpoint, wish.mode, &replication.audit, (&url, run));
    if source.is_of_several() {
        name_project(&mut endpoint, &source.project_id);
    }
    let object = object(target, &config.object);
    let table = target::name_in(place, &config.object);
    for sql in [&mut wish.sql.before, &mut wish.sql.after].into_iter().flatten() {
        *sql = sql.replace("{object_name}", &table);
    }
    let key = stream_key(&source.origin, &source.project_id, &endpoint, object);
    let log = state.schema_changes(&key).map_err(|err| unusable_state(&err))?;
    let drift = columns::shape(&mut endpoint, config, &mut wish, replication, &log)?;
    job(config, (endpoint, wish, drift), key, (place, options, reached), state)
}

/// Adds the column that tells the rows of several projects apart, where there is none such.
fn name_project(endpoint: &mut Arc<Endpoint>, project: &str) {
    if endpoint.columns.iter().any(|(name, _)| name == PROJECT_COLUMN) {
        return;
    }
    let number = project.parse::<u64>().map_or_else(|_| project.into(), serde_json::Value::from);
    let spec = ColumnSpec::OfRun(ColumnType::Bigint, number);
    Arc::make_mut(endpoint).columns.push((PROJECT_COLUMN.to_owned(), spec));
}

/// Names the table or folder of a stream, in state and target.
pub(super) fn object(target: &TargetConnection, object: &str) -> String {
    format!("{}#{}", target.label(), target::name_in(&place(target), object))
}

fn unknown_columns(stream: &str) -> Failure {
    Failure::usage(
        format!("the columns of stream `{stream}` are not known here"),
        "it is a query: only PostHog knows them, and is not asked now",
        "leave it out with --streams",
    )
}

/// Adds the columns about the run: those asked for, and the one that tells a snapshot's rows
/// from those of others.
fn add_columns(
    endpoint: &mut Arc<Endpoint>,
    mode: Mode,
    asked: &[AuditColumn],
    (url, run): (&str, &str),
) {
    let is_snapshot = mode == Mode::Snapshot;
    if !is_snapshot && asked.is_empty() {
        return;
    }
    let endpoint = Arc::make_mut(endpoint);
    let own = is_snapshot.then_some(AuditColumn::LoadedAt);
    let asked = asked.iter().copied().filter(|column| Some(*column) != own);
    for column in own.into_iter().chain(asked) {
        let spec = match column {
            AuditColumn::LoadedAt => ColumnSpec::LoadedAt,
            AuditColumn::StreamUrl => ColumnSpec::OfRun(ColumnType::Text, url.into()),
            AuditColumn::ExecId => ColumnSpec::OfRun(ColumnType::Text, run.into()),
        };
        endpoint.columns.push((column.name().to_owned(), spec));
    }
    endpoint.primary_key.extend(own.map(|column| column.name().to_owned()));
}

/// Leaves the ways of reading that are wanted, with pages of the size that is.
fn choose_ways(endpoint: &mut Arc<Endpoint>, config: &StreamConfig) -> Result<(), Failure> {
    let is_wanted = |path: &ReadPath| match config.read {
        ReadBy::Auto => true,
        ReadBy::Sql => path.is_sql(),
        ReadBy::Rest => !path.is_sql(),
    };
    let is_sized = config.page_size.is_some() || config.limit.is_some();
    if !is_sized && config.adds_columns && endpoint.read.iter().all(is_wanted) {
        return Ok(());
    }
    let endpoint = Arc::make_mut(endpoint);
    endpoint.read.retain(is_wanted);
    if endpoint.read.is_empty() {
        return Err(Failure::usage(
            format!("stream `{}` cannot be read by SQL", config.name),
            "PostHog has no table of it that SQL reaches",
            "leave read out of its source_options",
        ));
    }
    for path in &mut endpoint.read {
        let size = config.page_size.unwrap_or(path.page_size);
        // A page within the limit is taken whole, and the next run goes on behind it.
        path.page_size = config.limit.map_or(size, |limit| size.min(limit));
        path.add_undeclared &= config.adds_columns;
    }
    Ok(())
}

pub(in crate::command) fn place(target: &TargetConnection) -> Place {
    match target {
        TargetConnection::Sqlite { path, busy_timeout } => {
            let patience = busy_timeout.unwrap_or(target::PATIENCE);
            Place::Sqlite { path: path.clone(), patience }
        }
        TargetConnection::Postgres(server) => Place::Postgres(server.clone()),
        TargetConnection::Files { dir } => Place::Files(dir.clone()),
        TargetConnection::S3(place) => Place::S3(place.clone()),
        TargetConnection::Stdout(format) => Place::Stdout(*format),
    }
}

/// The streams of the file that are wanted in this run.
pub(super) fn chosen<'a>(
    replication: &'a Replication,
    options: &Options,
) -> Result<Vec<&'a StreamConfig>, Failure> {
    let is_meant = |stream: &StreamConfig, word: &String| match word.strip_prefix("tag:") {
        Some(tag) => stream.tags.iter().any(|own| own == tag),
        None => stream.name == *word,
    };
    let streams = &replication.streams;
    let is_known = |word: &&String| streams.iter().any(|stream| is_meant(stream, word));
    if let Some(unknown) = options.streams.iter().find(|word| !is_known(word)) {
        let names = streams.iter().map(|stream| stream.name.clone());
        let tags = streams.iter().flat_map(|stream| &stream.tags).map(|tag| format!("tag:{tag}"));
        let mut words: Vec<String> = names.chain(tags).collect();
        let mut seen = std::collections::BTreeSet::new();
        words.retain(|word| seen.insert(word.clone()));
        let known: Vec<&str> = words.iter().map(String::as_str).collect();
        let near = nearest(unknown, &known).map(|near| format!("did you mean `{near}`?"));
        return Err(Failure::usage(
            format!("--streams: `{unknown}` is not a stream of {}", replication.file.display()),
            format!("its streams and tags: {}", known.join(", ")),
            near.unwrap_or_default(),
        ));
    }
    let is_wanted = |stream: &&StreamConfig| {
        options.streams.is_empty() || options.streams.iter().any(|word| is_meant(stream, word))
    };
    Ok(streams.iter().filter(is_wanted).collect())
}

/// Two streams in one table would overwrite each other.
fn refuse_shared_tables(streams: &[&StreamConfig], place: &Place) -> Result<(), Failure> {
    let mut taken: BTreeMap<String, &str> = BTreeMap::new();
    for stream in streams {
        let name = target::name_in(place, &stream.object);
        if let Some(other) = taken.insert(name.to_lowercase(), &stream.name) {
            return Err(Failure::usage(
                format!("streams `{other}` and `{}` would share {name}", stream.name),
                format!("both have the object `{}`", stream.object),
                "use {stream_name} in the object, or give one of them another",
            ));
        }
    }
    Ok(())
}

fn wish(
    config: &StreamConfig,
    endpoint: &Endpoint,
    options: &Options,
    source: &Posthog,
    now: Timestamp,
) -> Result<Wish, Failure> {
    let mode = match config.mode {
        // Copies beside each other are what they are.
        own @ (Mode::Snapshot | Mode::DefinitionOnly) if options.is_looking => own,
        _ if options.is_looking => Mode::Incremental,
        own => options.mode.unwrap_or(own),
    };
    let stream = &config.name;
    if mode == Mode::Backfill && endpoint.incremental.is_none() {
        return Err(Failure::usage(
            format!("stream `{stream}` has no mode backfill"),
            "PostHog keeps no order in time for it",
            format!("leave it out with --streams, or use: {}", endpoint.modes().join(", ")),
        ));
    }
    let range = options.range.or(config.range);
    if mode == Mode::Backfill && range.is_none() {
        return Err(Failure::usage(
            format!("stream `{stream}`: mode backfill needs a range"),
            "neither --range is given nor range among its source_options",
            "run it with --mode backfill --range 2026-01-01,2026-02-01",
        ));
    }
    check_columns(config, endpoint)?;
    Ok(Wish {
        mode,
        ranges: range.into_iter().collect(),
        anchor: source.inputs.anchor_date.unwrap_or_else(|| now.minus(A_YEAR)),
        select: config.select.clone(),
        lookback: config.lookback.or(source.inputs.lookback),
        lookback_every: source.inputs.lookback_every,
        delete_missing: config.delete_missing,
        limit: config.limit,
        condition: condition(config),
        sql: BesideRows { before: config.pre_sql.clone(), after: config.post_sql.clone() },
    })
}

/// Refuses columns the stream does not have, and a cursor PostHog cannot be asked by.
fn check_columns(config: &StreamConfig, endpoint: &Endpoint) -> Result<(), Failure> {
    let known: Vec<&str> = endpoint.columns.iter().map(|(name, _)| name.as_str()).collect();
    let keys = config.primary_key.iter().flatten();
    let selected = config.select.iter().map(|name| name.strip_prefix('-').unwrap_or(name));
    let prefix = endpoint.flatten.as_deref().map(flattened_prefix);
    let is_flattened = |name: &str| {
        config.flatten.is_some() && prefix.as_ref().is_some_and(|prefix| name.starts_with(prefix))
    };
    let is_declared = |name: &str| config.columns.iter().any(|column| column.name == name);
    let is_selectable = |name: &&str| is_declared(name) || is_flattened(name);
    let selected = selected.filter(|name| !is_selectable(name));
    for name in keys.map(String::as_str).chain(selected) {
        if !known.contains(&name) {
            return Err(Failure::usage(
                format!("stream `{}` has no column `{name}`", config.name),
                format!("its columns: {}", known.join(", ")),
                "",
            ));
        }
    }
    match (&config.update_key, &endpoint.update_key) {
        (Some(wanted), own) if Some(wanted) != own.as_ref() => Err(Failure::usage(
            format!("stream `{}` cannot be read by `{wanted}`", config.name),
            match own {
                Some(own) => format!("PostHog can be asked for changes by `{own}` only"),
                None => "PostHog cannot be asked for its changes; every run reads all of it".into(),
            },
            "leave update_key out",
        )),
        _ => Ok(()),
    }
}

fn job(
    config: &StreamConfig,
    (mut endpoint, wish, drift): (Arc<Endpoint>, Wish, Drift),
    key: StreamKey,
    (place, options, project): (&Place, &Options, &Arc<Project>),
    state: &StateStore,
) -> Result<Job, Failure> {
    let schema = endpoint.schema(&endpoint.read[0], &|name| wish.wants(name));
    let schema = Arc::new(schema.at_rest());
    let layout = layout(config, &schema, place)?;
    let opening = Opening { key: &key, object: &config.object, schema, layout };
    let failed = |err| Failure::of_target(&endpoint.stream, &err);
    let mut target = target::open(place, &opening).map_err(failed)?;
    let recall = target.recall().map_err(failed)?;
    let is_damaged = matches!(recall, Recall::Damaged(..));
    let recall = match (recall, place) {
        // Rows of a table can be written again; a file that was changed stays damaged.
        (Recall::Damaged(found, _), Place::Sqlite { .. } | Place::Postgres(_))
            if options.may_lack_rows =>
        {
            Recall::Found(found)
        }
        (recall, _) => recall,
    };
    columns::reserve(&mut endpoint, target.written_columns());
    crash_point!("target recalled");
    let checkpoint = agree(&endpoint, &wish, &key, state, &recall)?;
    refuse_a_hole(&wish, &checkpoint)?;
    let project = Arc::clone(project);
    Ok(Job { endpoint, wish, target, checkpoint, wrong: None, is_damaged, drift, project })
}

/// How a stream's files are to be written; refuses what the target or the stream has not.
fn layout(config: &StreamConfig, schema: &Schema, place: &Place) -> Result<Layout, Failure> {
    let stream = &config.name;
    let (most_rows, most_bytes) = config.file_most;
    let format = config.format.unwrap_or_default();
    let layout = Layout { format, by_date: config.by_date, most_rows, most_bytes };
    let is_for_files = config.format.is_some() || config.file_most != (None, None);
    if !place.is_of_files() && (is_for_files || config.by_date) {
        let said = if config.by_date { "{part_date}" } else { "target_options" };
        return Err(Failure::usage(
            format!("stream `{stream}`: {said} is for files"),
            "its target is a database, which has no files to be written in some format",
            format!("leave {said} out, or write to a target like file://folder"),
        ));
    }
    let sql = [("pre_sql", &config.pre_sql), ("post_sql", &config.post_sql)];
    if let Some((key, _)) = sql.iter().find(|(_, sql)| sql.is_some() && place.is_of_files()) {
        return Err(Failure::usage(
            format!("stream `{stream}`: {key} is for databases"),
            "its target is files, which run no statements",
            format!("leave {key} out of its target_options"),
        ));
    }
    let date = schema.index_of(target::DATE);
    if layout.by_date && !date.is_some_and(|date| schema.primary_key.contains(&date)) {
        return Err(Failure::usage(
            format!("stream `{stream}` cannot be divided by {{part_date}}"),
            format!("`{}` is not part of its key, so a row could move between dates", target::DATE),
            "leave {part_date} out of its object; events have that column",
        ));
    }
    Ok(layout)
}

/// The checkpoint that state and target agree on. A mode that loads everything anew needs none.
fn agree(
    endpoint: &Endpoint,
    wish: &Wish,
    key: &StreamKey,
    state: &StateStore,
    recall: &Recall,
) -> Result<Checkpoint, Failure> {
    let stored = state.checkpoint(key).map_err(|err| unusable_state(&err))?;
    let fresh = || Checkpoint {
        key: key.clone(),
        epoch: uuid::Uuid::new_v4().to_string(),
        sequence: 0,
        position: Position::default(),
        witnesses: Vec::new(),
    };
    if stored.is_none() && matches!(recall, Recall::Found(_)) {
        let stream = &endpoint.stream;
        tracing::info!(
            "no state of stream `{stream}` is here: the target's checkpoint is taken over"
        );
    }
    match compare(stored.as_ref(), recall) {
        Agreement::Go(checkpoint) => Ok(*checkpoint),
        Agreement::Fresh => Ok(stored.map_or_else(fresh, |stored| stored.checkpoint)),
        Agreement::Disagree(_) if matches!(wish.mode, Mode::FullRefresh | Mode::Truncate) => {
            Ok(fresh())
        }
        Agreement::Disagree(cause) => {
            Err(Failure::of_disagreement(&endpoint.stream, &key.object, cause))
        }
    }
}

/// Where history begins, where neither the user nor an earlier run has said so: by PostHog's
/// clock, since this machine's may be wrong.
pub(super) fn anchor(jobs: &mut [Job], source: &Posthog) {
    for job in jobs.iter_mut().filter(|_| source.inputs.anchor_date.is_none()) {
        let stored = job.checkpoint.position.anchor;
        let now = job.project.client.server_time();
        job.wish.anchor = stored.unwrap_or_else(|| now.minus(A_YEAR));
    }
}

/// Keeps a good copy of the state; without one the last one is older.
pub(in crate::command) fn keep_copy(state: &StateStore) {
    if let Err(err) = state.keep_copy() {
        tracing::warn!(%err, "no copy of the state was kept");
    }
}

pub(in crate::command) fn unusable_state(err: &StateError) -> Failure {
    Failure {
        what: "the state database cannot be used".into(),
        cause: err.to_string(),
        fix: err.hint.clone(),
        exit: match err.fault {
            StateFault::Misplaced => Exit::Usage,
            StateFault::Unusable => Exit::Target,
        },
    }
}
