//! `hogline serve`: takes Segment's and RudderStack's calls, and delivers them to PostHog.

use std::net::SocketAddr;
use std::path::Path;

use tokio::net::TcpListener;

use super::capture::{BATCH_SIZE, LANES, Options, Way, outbox_file, outbox_unusable, way};
use super::run::{locked, working_folder};
use crate::cli::{MappingArgs, Receiver, ServeArgs};
use crate::config::Connections;
use crate::config::secret::Secret;
use crate::error::{Exit, Failure};
use crate::gateway::{Gateway, GatewayError, Project, Rejects, Settings, WriteKeys};
use crate::report;
use crate::send::mapping::{Mapping, Options as MappingOptions};
use crate::send::outbox::{Level, Outbox};
use crate::state::lock::Lock;

/// The variable with write keys.
const KEYS_VARIABLE: &str = "HOGLINE_SERVE_KEYS";

/// How often a request to PostHog is repeated before it is said that it takes nothing. What it
/// does not take stays in the outbox, and is tried again for ever.
const RETRIES: u32 = 10;

/// Serves until the process is asked to stop.
pub(super) async fn serve(args: &ServeArgs) -> Result<Exit, Failure> {
    let drain = super::duration("--drain", &args.drain, "write --drain 10s")?;
    let path = outbox_file(&args.state);
    let (keys, ways) = ways(args, &Connections::load(&working_folder()?)?)?;
    let _lock = Lock::take(&path).map_err(|err| locked(&err))?;
    if !args.skip_token_check {
        for way in &ways {
            way.check_token().await?;
        }
    }
    let rejects = rejects(args.rejects.as_deref())?;
    let stop = super::stop_signal()?;
    tell_of_others(&path, &ways)?;
    let settings = Settings {
        keys,
        projects: ways.into_iter().map(project).collect(),
        mapping: mapping(&args.mapping),
        is_behind_proxy: args.behind_proxy,
        outbox: path.clone(),
        most_bytes: args.max_outbox_bytes,
        rejects,
        drain,
    };
    let listener = TcpListener::bind(args.listen).await.map_err(|err| deaf(args.listen, &err))?;
    let address = listener.local_addr().map_err(|err| deaf(args.listen, &err))?;
    let gateway = Gateway::open(settings).map_err(|err| broken(&err))?;
    report::print(&format!(
        "Segment's and RudderStack's calls are taken at http://{address}; stop it with Ctrl-C.\n\
         What is taken is in {} until PostHog has it.",
        path.display()
    ));
    let left = gateway.serve(listener, stop).await.map_err(|err| broken(&err))?;
    report::print(&farewell(&left));
    Ok(Exit::Complete)
}

/// What is left, for whoever stopped it.
fn farewell(left: &Level) -> String {
    let waiting = match left.waiting {
        0 => "Everything is delivered.".to_owned(),
        1 => "1 event waits in the outbox for the next start.".to_owned(),
        many => format!("{many} events wait in the outbox for the next start."),
    };
    match left.refused {
        0 => waiting,
        refused => format!(
            "{waiting}\nRefused by PostHog, and kept: {refused}. hogline outbox list says why."
        ),
    }
}

/// The write keys, and the ways to the projects that they stand for.
fn ways(args: &ServeArgs, connections: &Connections) -> Result<(WriteKeys, Vec<Way>), Failure> {
    let (mut keys, mut ways) = (Vec::new(), Vec::new());
    for (key, name) in named_keys(args, connections)? {
        let place = place(&mut ways, Some(name), connections)?;
        add(&mut keys, key, place)?;
    }
    if args.conn.is_some() || keys.is_empty() {
        let place = place(&mut ways, args.conn.clone(), connections)?;
        let token = ways[place].connection.token.clone();
        add(&mut keys, token, place)?;
    }
    Ok((WriteKeys::new(keys), ways))
}

fn add(keys: &mut Vec<(Secret, usize)>, key: Secret, place: usize) -> Result<(), Failure> {
    let nth = keys.len() + 1;
    match keys.iter().position(|(known, _)| *known == key) {
        None => {
            keys.push((key, place));
            Ok(())
        }
        Some(known) => Err(Failure::usage(
            "the write keys are not right",
            format!("number {nth} is number {} once more", known + 1),
            "give every write key once",
        )),
    }
}

/// Write keys with their connections, from the command line or else the environment.
fn named_keys(
    args: &ServeArgs,
    connections: &Connections,
) -> Result<Vec<(Secret, String)>, Failure> {
    let mut written = args.keys.clone();
    if written.is_empty() {
        let listed = connections.environment().get(KEYS_VARIABLE).cloned().unwrap_or_default();
        written = listed.split([',', ' ', '\n']).map(str::to_owned).collect();
        written.retain(|pair| !pair.is_empty());
    }
    let pair = |(n, text): (usize, &String)| {
        // A key may end in the padding of base64.
        let (key, name) = text.rsplit_once('=').unwrap_or_default();
        if key.trim().is_empty() || name.trim().is_empty() {
            return Err(Failure::usage(
                "the write keys are not right",
                format!("number {} is not of the form WRITE_KEY=CONNECTION", n + 1),
                format!("write --key web=POSTHOG, or {KEYS_VARIABLE}=web=POSTHOG,app=OTHER"),
            ));
        }
        Ok((Secret::new(key.trim()), name.trim().to_owned()))
    };
    written.iter().enumerate().map(pair).collect()
}

/// The place of a connection's project among `ways`, where it is added if need be.
fn place(
    ways: &mut Vec<Way>,
    conn: Option<String>,
    connections: &Connections,
) -> Result<usize, Failure> {
    let to = Receiver { conn, ..Receiver::default() };
    let way = way(&to, &Options::repeating(RETRIES), connections)?;
    let to = way.destination(false);
    let known = ways.iter().position(|known| known.destination(false) == to);
    Ok(known.unwrap_or_else(|| {
        ways.push(way);
        ways.len() - 1
    }))
}

fn project(way: Way) -> Project {
    Project {
        to: way.destination(false),
        terms: way.terms(false, BATCH_SIZE, LANES),
        name: way.connection.name,
        capture: way.client,
    }
}

fn mapping(args: &MappingArgs) -> Mapping {
    let MappingArgs { profile, group_type, set_traits, anonymous_without_person } = args.clone();
    let own = MappingOptions::of(profile);
    let options = MappingOptions {
        default_group_type: group_type.or(own.default_group_type),
        set_traits_on_all_calls: set_traits.unwrap_or(own.set_traits_on_all_calls),
        anonymous_without_person,
        ..own
    };
    Mapping { profile, options }
}

/// Tells of what waits in the outbox and will not be delivered from here.
fn tell_of_others(path: &Path, ways: &[Way]) -> Result<(), Failure> {
    let waiting = tokio::task::block_in_place(|| Outbox::open(path, 0)?.waiting());
    for waiting in waiting.map_err(|err| outbox_unusable(&err))? {
        let is_ours = |way: &Way| {
            let to = way.destination(waiting.historical);
            (to.origin, to.mark) == (waiting.origin.clone(), waiting.mark.clone())
        };
        if waiting.events > 0 && (waiting.historical || !ways.iter().any(is_ours)) {
            tracing::warn!(
                "{} events in the outbox wait for a project at {} and are not delivered from here: \
                 run hogline outbox retry for it when this gateway does not run",
                waiting.events,
                waiting.origin
            );
        }
    }
    Ok(())
}

fn rejects(file: Option<&Path>) -> Result<Rejects, Failure> {
    let Some(file) = file else { return Ok(Rejects::told()) };
    Rejects::in_file(file).map_err(|err| {
        let what = format!("{} cannot be written", file.display());
        Failure::usage(what, err.to_string(), "name another file with --rejects")
    })
}

fn deaf(address: SocketAddr, err: &std::io::Error) -> Failure {
    let fix = "name another address with --listen";
    Failure::usage(format!("cannot listen on {address}"), err.to_string(), fix)
}

fn broken(err: &GatewayError) -> Failure {
    match err {
        GatewayError::Outbox(err) => Failure {
            what: "the gateway cannot keep what it is sent".into(),
            ..outbox_unusable(err)
        },
        GatewayError::Io(_) => Failure {
            what: "the gateway stopped".into(),
            cause: err.to_string(),
            fix: "start it again: what was taken is in the outbox".into(),
            exit: Exit::Target,
        },
    }
}
