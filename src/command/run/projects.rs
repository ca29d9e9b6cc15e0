//! The projects of a connection, each with a client of its own.
//!
//! They share the connection's pace; quotas are PostHog's, by project. Each project has tables of
//! its own: a checkpoint, a copy swapped in or a deleted row never concerns another project.

use std::sync::Arc;

use super::connect::{connect, greet, settings, unusable};
use crate::config::{Connections, PROJECT, Posthog, Projects, Replication};
use crate::error::{Exit, Failure};
use crate::fetch::all_projects;
use crate::http::Client;
use crate::runner::Project;
use crate::spec::registry::Registry;

/// A project that streams are read from.
pub(in crate::command) struct ProjectSource {
    /// The connection, with this project at hand.
    pub(in crate::command) source: Posthog,
    /// How it is reached.
    pub(in crate::command) reached: Arc<Project>,
}

impl ProjectSource {
    fn of(source: Posthog, client: Client) -> Self {
        let (id, is_one_of_several) = (source.project_id.clone(), source.is_of_several());
        let project = Project { client, id, is_one_of_several, dialect: Default::default() };
        Self { source, reached: Arc::new(project) }
    }
}

/// The projects of a connection. PostHog is asked only where they are all that there are.
pub(in crate::command) async fn of(
    source: &Posthog,
    registry: &Registry,
    connections: &Connections,
) -> Result<Vec<ProjectSource>, Failure> {
    let client = connect(source, registry, connections)?;
    let ids = match &source.projects {
        // Its ledger is open already.
        Projects::One => return Ok(vec![ProjectSource::of(source.clone(), client)]),
        Projects::These(ids) => ids.clone(),
        Projects::All => ask_for_all(&client, source).await?,
    };
    let reached = |id: String| {
        let source = source.of_project(&id);
        let settings = settings(&source, registry, connections);
        let client = client.of_project(settings).map_err(|err| unusable(&source, &err))?;
        Ok(ProjectSource::of(source, client))
    };
    ids.into_iter().map(reached).collect()
}

async fn ask_for_all(client: &Client, source: &Posthog) -> Result<Vec<String>, Failure> {
    let asked = all_projects(client).await;
    let ids = asked.map_err(|(request, err)| {
        let failure = Failure::of_connection(&source.name, &request, &err);
        let fix = "use a key that is not limited to projects, or name them: project_id: [1, 2]";
        if failure.exit == Exit::Key { Failure { fix: fix.into(), ..failure } } else { failure }
    })?;
    if ids.is_empty() {
        return Err(Failure {
            what: format!("connection `{}` has no projects", source.name),
            cause: "the key may see none, and project_id is \"*\"".into(),
            fix: "give the key access to a project".into(),
            exit: Exit::Key,
        });
    }
    Ok(ids)
}

/// Greets projects until one answers: that is enough to know the server's time. One that is gone
/// keeps the others from nothing: its streams tell.
pub(super) async fn greet_one(projects: &[ProjectSource]) -> Result<(), Failure> {
    let mut refused = Ok(());
    for ProjectSource { source, reached } in projects {
        match greet(&reached.client, source).await {
            Ok(()) => return Ok(()),
            Err(failure) => refused = refused.and(Err(failure)),
        }
    }
    refused
}

/// Refuses objects that the rows of several projects would meet in.
pub(super) fn refuse_shared_places(
    source: &Posthog,
    replication: &Replication,
) -> Result<(), Failure> {
    let shared = replication.streams.iter().find(|stream| !stream.object.contains(PROJECT));
    let Some(stream) = shared.filter(|_| source.is_of_several()) else { return Ok(()) };
    Err(Failure::usage(
        format!("stream `{}`: its object `{}` names no project", stream.name, stream.object),
        format!("connection `{}` is of several, and each has a place of its own", source.name),
        "write {project_id} into it, as in posthog_{project_id}.{stream_name}",
    ))
}

/// A text of the replication's in which the project is filled in.
pub(super) fn of_project(text: &str, source: &Posthog) -> String {
    text.replace(PROJECT, &source.project_id)
}

/// The projects in words.
pub(super) fn named(projects: &[ProjectSource]) -> String {
    let ids: Vec<&str> = projects.iter().map(|project| project.reached.id.as_str()).collect();
    let word = if ids.len() == 1 { "project" } else { "projects" };
    format!("{word} {}", ids.join(", "))
}
