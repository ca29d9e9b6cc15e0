//! Things that can be tried before a run needs them: what was found, and what to do about it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::run::{ProjectSource, answers_sql, greet, place, projects_of};
use crate::checkpoint::StreamKey;
use crate::cli::Format;
use crate::config::{Connections, Posthog, TargetConnection};
use crate::cursor::Timestamp;
use crate::error::{Exit, Failure, overall};
use crate::http::{Client, Discard, Meter, Request};
use crate::report;
use crate::schema::Schema;
use crate::spec::endpoint::Endpoint;
use crate::spec::registry::{BURST, Registry};
use crate::target::{self, Layout, Opening};

/// An object that nobody has: trying whether it can be written makes nothing.
const NOBODYS: &str = "posthog.hogline_connection_test";

/// A clock that is further off is wrong.
const NOTABLE: Duration = Duration::from_secs(60);

/// One thing that was tried.
#[derive(Debug, Serialize)]
pub(super) struct Check {
    check: String,
    ok: bool,
    result: String,
    fix: String,
    /// How a run would end that meets it.
    #[serde(skip)]
    exit: Option<Exit>,
    /// It concerns one stream: others may go well.
    #[serde(skip)]
    is_of_a_stream: bool,
}

impl Check {
    pub(super) fn right(check: impl Into<String>, result: impl Into<String>) -> Self {
        let (check, result) = (check.into(), result.into());
        let fix = String::new();
        Self { check, ok: true, result, fix, exit: None, is_of_a_stream: false }
    }

    /// The same, of one connection among others.
    pub(super) fn of(self, name: &str) -> Self {
        Self { check: format!("{name}: {}", self.check), ..self }
    }

    /// Something that a run can do without.
    pub(super) fn lacking(
        check: impl Into<String>,
        result: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self { ok: false, fix: fix.into(), ..Self::right(check, result) }
    }

    pub(super) fn wrong(check: impl Into<String>, failure: &Failure) -> Self {
        let result = match failure.cause.as_str() {
            "" => &failure.what,
            cause => cause,
        };
        Self { exit: Some(failure.exit), ..Self::lacking(check, result, &failure.fix) }
    }

    /// One line, and the fix below it where there is something to mend.
    fn line(&self, width: usize) -> String {
        let mark = match (self.ok, self.exit) {
            (true, _) => "ok",
            (false, None) => "note",
            (false, Some(_)) => "FAIL",
        };
        let one_line = |text: &str| text.lines().map(str::trim).collect::<Vec<_>>().join(" ");
        let line = format!("{mark:<4}  {:<width$}  {}", self.check, one_line(&self.result));
        match self.fix.as_str() {
            "" => line,
            fix => format!("{line}\n      fix: {}", one_line(fix)),
        }
    }
}

/// Shows what was found; the exit code is that of a run that would meet it.
pub(super) fn told(checks: &[Check], format: Format) -> Exit {
    let (streams, all): (Vec<&Check>, Vec<&Check>) =
        checks.iter().partition(|check| check.is_of_a_stream);
    let worst = all.iter().filter_map(|check| check.exit).max();
    let exits: Vec<Option<Exit>> = streams.iter().map(|check| check.exit).collect();
    let exit = worst.unwrap_or_else(|| overall(&exits));
    match format {
        Format::Json => {
            let told = serde_json::json!({ "exit": exit.code(), "checks": checks });
            report::print(&serde_json::to_string_pretty(&told).unwrap_or_default());
        }
        Format::Table => {
            let width = checks.iter().map(|check| check.check.chars().count()).max().unwrap_or(0);
            let lines = checks.iter().map(|check| check.line(width));
            report::print(&lines.collect::<Vec<_>>().join("\n"));
        }
    }
    exit
}

/// Tries a connection to PostHog: whether it answers, knows the key and the project, and, stream
/// by stream, whether the key may read it. `wanted` says which streams; none for all of them.
pub(super) async fn posthog(
    source: &Posthog,
    connections: &Connections,
    wanted: Option<&[String]>,
) -> Result<Vec<Check>, Failure> {
    let registry = Registry::load(&source.specs)?;
    let mut checks = Vec::new();
    for ProjectSource { source, reached } in projects_of(source, &registry, connections).await? {
        let found = project(&source, &reached.client, &registry, wanted).await;
        let named = |check: Check| match source.is_of_several() {
            true => check.of(&format!("project {}", source.project_id)),
            false => check,
        };
        checks.extend(found.into_iter().map(named));
    }
    Ok(checks)
}

async fn project(
    source: &Posthog,
    client: &Client,
    registry: &Registry,
    wanted: Option<&[String]>,
) -> Vec<Check> {
    let mut checks = Vec::new();
    if let Err(failure) = greet(client, source).await {
        checks.push(Check::wrong("key and project", &failure));
        return checks;
    }
    let place = format!("project {} of {}", source.project_id, client.origin());
    checks.push(Check::right("key and project", format!("{place} answers")));
    checks.push(match answers_sql(client, source).await {
        Ok(()) => Check::right("SQL", "answers: wide ranges are read by it"),
        Err(err) => Check::lacking(
            "SQL",
            format!("does not answer, so lists are read instead: {err}"),
            "give the key the scope `query:read`: events are then read many times as fast",
        ),
    });
    for endpoint in registry.streams() {
        if wanted.is_none_or(|wanted| wanted.contains(&endpoint.stream)) {
            let tried = stream(client, source, endpoint).await;
            checks.push(Check { is_of_a_stream: true, ..tried });
        }
    }
    checks.push(clock(client.server_time(), Timestamp::now()));
    let left = client.left().await;
    let of_the_hour = left.iter().filter(|(name, _)| !name.ends_with(BURST));
    let left: Vec<String> =
        of_the_hour.map(|(name, left)| format!("{name} {}", left.requests)).collect();
    if !left.is_empty() {
        checks.push(Check::right("requests left this hour", left.join(", ")));
    }
    checks
}

/// Compares this machine's clock with PostHog's, whose bounds are used.
fn clock(theirs: Timestamp, ours: Timestamp) -> Check {
    let off = theirs.since(ours).max(ours.since(theirs));
    let told = format!("{} s from PostHog's", off.as_secs());
    if off < NOTABLE {
        return Check::right("clock", told);
    }
    let fix =
        "set this machine's clock: hogline goes by PostHog's, object storage refuses a wrong one";
    Check::lacking("clock", told, fix)
}

/// Asks for one record of a stream.
async fn stream(client: &Client, source: &Posthog, endpoint: &Endpoint) -> Check {
    let name = format!("stream {}", endpoint.stream);
    let Some(path) = endpoint.read.iter().rfind(|path| !path.is_sql()) else {
        return Check::right(name, "read by SQL");
    };
    let url = path.url.replace("{project_id}", &source.project_id);
    let request = Request::get(url, &path.quota).with("limit", "1");
    match client.ask(&request, &mut Discard, &Meter::default()).await {
        Ok(_) => Check::right(name, "may be read"),
        Err(err) => {
            let asked = client.describe(&request);
            Check::wrong(name, &Failure::of_connection(&source.name, &asked, &err))
        }
    }
}

/// Tries whether a target can be written, and makes nothing there.
pub(super) fn target(connection: &TargetConnection) -> Check {
    let key = StreamKey {
        origin: String::new(),
        project: String::new(),
        stream: "hogline_connection_test".into(),
        object: NOBODYS.into(),
    };
    let (schema, layout) = (Arc::new(Schema::default()), Layout::default());
    let opening = Opening { key: &key, object: NOBODYS, schema, layout };
    let tried = tokio::task::block_in_place(|| {
        target::open(&place(connection), &opening)?.recall().map(drop)
    });
    let name = format!("target {}", connection.label());
    match tried {
        Ok(()) => Check::right(name, "can be written"),
        Err(err) => Check::wrong(name, &Failure::of_target("any", &err)),
    }
}

/// Tries the connection, or the target's URL, of this name.
pub(super) async fn connection(
    name: &str,
    connections: &Connections,
    base: &Path,
) -> Result<Vec<Check>, Failure> {
    if !name.contains("://") && connections.is_posthog(name)? {
        return posthog(&connections.posthog(name)?, connections, None).await;
    }
    Ok(vec![target(&connections.target(name, base)?)])
}
