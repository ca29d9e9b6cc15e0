//! Keys: who may ask what, and in which words PostHog says no.

use super::answer::{Answer, Question};
use super::{
    FOREIGN_PROJECT, KEY, KEY_PROJECT_ONLY, KEY_WITHOUT_COHORTS, KEY_WITHOUT_PERSONS,
    KEY_WITHOUT_QUERY, PROJECT,
};

/// The keys there are.
const KEYS: [&str; 5] =
    [KEY, KEY_WITHOUT_COHORTS, KEY_WITHOUT_PERSONS, KEY_WITHOUT_QUERY, KEY_PROJECT_ONLY];

/// What a request asks for, as far as rights go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place<'a> {
    /// The key's owner.
    Me,
    /// The list of projects.
    Projects,
    /// A project (as the path names it) and what of it.
    Project(&'a str, &'a str),
}

impl Place<'_> {
    /// The object whose `:read` scope is needed.
    fn scope(self) -> &'static str {
        match self {
            Self::Me => "user",
            Self::Projects | Self::Project(_, "") => "project",
            Self::Project(_, stream) => match stream {
                "persons" => "person",
                "events" | "query" => "query",
                "ingestion_warnings" => "ingestion_warning",
                "cohorts" => "cohort",
                "feature_flags" => "feature_flag",
                "insights" => "insight",
                "annotations" => "annotation",
                "actions" => "action",
                "session_recordings" => "session_recording",
                "event_definitions" => "event_definition",
                _ => "property_definition",
            },
        }
    }
}

/// Lets a request through with its key, or answers 401, 403 or 404.
pub(super) fn admit<'a>(question: &'a Question, place: Place<'_>) -> Result<&'a str, Answer> {
    let Some(header) = question.authorization.as_deref() else {
        let detail = "Authentication credentials were not provided.";
        return Err(Answer::unauthorized("not_authenticated", detail));
    };
    let key = header.strip_prefix("Bearer ").unwrap_or_default().trim();
    if !KEYS.contains(&key) {
        let detail = "Personal API key found in request Authorization header is invalid.";
        return Err(Answer::unauthorized("authentication_failed", detail));
    }
    scope(key, place)?;
    project(key, place)?;
    Ok(key)
}

fn scope(key: &str, place: Place<'_>) -> Result<(), Answer> {
    let missing = match key {
        KEY_WITHOUT_COHORTS => "cohort",
        KEY_WITHOUT_QUERY => "query",
        KEY_WITHOUT_PERSONS => "person",
        _ => return Ok(()),
    };
    if place.scope() == missing {
        return Err(Answer::denied(&format!("API key missing required scope '{missing}:read'")));
    }
    Ok(())
}

/// Whether there is such a project, and the key's owner is a member.
fn project(key: &str, place: Place<'_>) -> Result<(), Answer> {
    let is_limited = key == KEY_PROJECT_ONLY;
    let (id, stream) = match place {
        Place::Projects if is_limited => {
            let detail =
                "API keys with scoped projects are only supported on project-based endpoints.";
            return Err(Answer::denied(detail));
        }
        Place::Me | Place::Projects => return Ok(()),
        Place::Project("@current", _) => return Ok(()),
        Place::Project(id, stream) => (id, stream),
    };
    match id.parse::<u64>() {
        Ok(PROJECT) => Ok(()),
        Ok(FOREIGN_PROJECT) if is_limited => {
            let detail = format!("API key does not have access to the requested project: ID {id}.");
            Err(Answer::denied(&detail))
        }
        Ok(FOREIGN_PROJECT) if stream.is_empty() => Err(Answer::not_found("Not found.")),
        Ok(FOREIGN_PROJECT) => Err(Answer::denied("You don't have access to the project.")),
        _ => Err(Answer::not_found("Project not found.")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::client::{get_with, send, small, started};

    fn path(rest: &str) -> String {
        format!("/api/projects/{PROJECT}/{rest}")
    }

    #[tokio::test]
    async fn a_missing_or_unknown_key_is_401() {
        let sandbox = started(small()).await;

        let none = send(&sandbox, "GET", &path("cohorts/"), "", "").await.unwrap();
        assert_eq!(
            (none.status, none.detail().as_str()),
            (401, "Authentication credentials were not provided.")
        );
        assert!(none.headers.contains_key("www-authenticate"));

        let unknown = get_with(&sandbox, "phc_sandbox_project_token", &path("cohorts/")).await;
        assert_eq!(unknown.status, 401);
        assert_eq!(unknown.json()["code"], "authentication_failed");
    }

    #[tokio::test]
    async fn a_key_without_a_scope_is_told_which() {
        let sandbox = started(small()).await;

        let cohorts = get_with(&sandbox, KEY_WITHOUT_COHORTS, &path("cohorts/")).await;
        assert_eq!(
            (cohorts.status, cohorts.detail().as_str()),
            (403, "API key missing required scope 'cohort:read'")
        );
        let events = get_with(&sandbox, KEY_WITHOUT_QUERY, &path("events/")).await;
        assert_eq!(
            (events.status, events.detail().as_str()),
            (403, "API key missing required scope 'query:read'")
        );
        assert_eq!(get_with(&sandbox, KEY_WITHOUT_QUERY, &path("cohorts/")).await.status, 200);
    }

    #[tokio::test]
    async fn a_key_of_one_project_cannot_list_projects() {
        let sandbox = started(small()).await;

        let projects = get_with(&sandbox, KEY_PROJECT_ONLY, "/api/projects/").await;
        assert_eq!(projects.status, 403);
        assert_eq!(
            projects.detail(),
            "API keys with scoped projects are only supported on project-based endpoints."
        );
        let other = get_with(&sandbox, KEY_PROJECT_ONLY, "/api/projects/54321/cohorts/").await;
        assert_eq!(
            other.detail(),
            "API key does not have access to the requested project: ID 54321."
        );
        let own = get_with(&sandbox, KEY_PROJECT_ONLY, &path("")).await;
        assert_eq!(own.json()["secret_api_token"], "phs_sandbox_secret_token");
    }
}
