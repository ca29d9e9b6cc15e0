//! Which handler answers which path, behind the checks every request passes.
//!
//! The order is PostHog's: authentication, permissions, rate limit, handler.

use serde_json::json;

use super::answer::{Answer, Question};
use super::capture;
use super::held;
use super::key::{self, Place};
use super::list::{self, View};
use super::project::Project;

/// What PostHog answers.
pub(super) fn answer(project: &Project, question: &Question) -> Result<Answer, Answer> {
    let nowhere = || Answer::not_found("Endpoint not found.");
    if let Some(answer) = capture::answer(project, question) {
        return answer;
    }
    let segments: Vec<&str> = question.path.trim_matches('/').split('/').collect();
    let ["api", rest @ ..] = segments.as_slice() else { return Err(nowhere()) };
    match rest {
        ["users", "@me"] => {
            enter(project, question, Place::Me, "")?;
            Ok(Answer::value(&json!({
                "id": 9, "uuid": "018f0000-0000-0000-0000-000000000009",
                "distinct_id": "x1", "first_name": "Ada", "email": "ada@example.com",
            })))
        }
        ["projects"] => {
            enter(project, question, Place::Projects, "")?;
            project.view(question, |view| list::rows::list(view, "projects"))
        }
        ["projects", id, rest @ ..] => of_project(project, question, id, rest),
        ["environments", id, rest @ ..] if !project.options.old_sql => {
            // The old name of the same thing, announced to go.
            let answer = of_project(project, question, id, rest)?;
            Ok(answer
                .with("Deprecation", "@1767225600")
                .with("Sunset", "Thu, 31 Dec 2026 23:59:59 GMT"))
        }
        _ => Err(nowhere()),
    }
}

/// Checks the key and the rate limits.
fn enter(
    project: &Project,
    question: &Question,
    place: Place<'_>,
    stream: &str,
) -> Result<(), Answer> {
    let key = key::admit(question, place)?;
    if let Some(factors) = project.options.limits.factors() {
        held(&project.throttle)
            .admit(stream, key, project.now(), factors)
            .map_err(|wait| Answer::throttled(Some(wait)))?;
    }
    Ok(())
}

fn of_project(
    project: &Project,
    question: &Question,
    id: &str,
    rest: &[&str],
) -> Result<Answer, Answer> {
    let nowhere = || Answer::not_found("Endpoint not found.");
    let stream = rest.first().copied().unwrap_or_default();
    if !is_stream(stream) {
        return Err(nowhere());
    }
    enter(project, question, Place::Project(id, stream), stream)?;
    let is_posted = match rest {
        ["query", ..] => true,
        ["persons", "batch_by_distinct_ids"] => !project.options.old_sql,
        _ => false,
    };
    let allowed = if is_posted { "POST" } else { "GET" };
    if question.method != allowed {
        let detail = format!("Method \"{}\" not allowed.", question.method);
        return Err(Answer::problem(405, "invalid_request", "method_not_allowed", &detail));
    }
    match rest {
        [] => Ok(Answer::value(&project.data().project_details(&project.options))),
        ["query"] | ["query", "HogQLQuery"] if project.options.sql => project.query(question),
        ["query", ..] => Err(nowhere()),
        ["events"] => project.view(question, list::events::list),
        ["events", id] => project.view(question, |view| list::events::retrieve(view, id)),
        ["persons"] => project.view(question, list::persons::list),
        ["persons", "batch_by_distinct_ids"] => project.view(question, list::persons::by_ids),
        ["ingestion_warnings"] => project.view(question, list::warnings::list),
        ["persons", id] => project.view(question, |view| list::persons::retrieve(view, id)),
        ["session_recordings"] => project.view(question, list::recordings::list),
        ["session_recordings", id] => project.view(question, |view| recording(view, id)),
        [stream] => project.view(question, |view| list::rows::list(view, stream)),
        [stream, id] => project.view(question, |view| retrieve(view, stream, id)),
        _ => Err(nowhere()),
    }
}

fn is_stream(stream: &str) -> bool {
    let streams = [
        "",
        "query",
        "events",
        "persons",
        "ingestion_warnings",
        "cohorts",
        "feature_flags",
        "insights",
        "annotations",
        "actions",
        "session_recordings",
        "event_definitions",
        "property_definitions",
    ];
    streams.contains(&stream)
}

/// One record by its id, soft-deleted ones included.
fn retrieve(view: &View<'_>, stream: &str, id: &str) -> Result<Answer, Answer> {
    let listed = view.data.rows.get(stream).into_iter().flatten();
    let mut all = listed.chain(view.data.deleted.get(stream).into_iter().flatten());
    let is_meant = |row: &&serde_json::Value| row["id"].to_string().trim_matches('"') == id;
    all.find(is_meant).map(Answer::value).ok_or_else(|| Answer::not_found("Not found."))
}

fn recording(view: &View<'_>, id: &str) -> Result<Answer, Answer> {
    let whole = view.data.truth("session_recordings", view.now);
    let found = whole.iter().find(|row| row["id"] == json!(id));
    found.map(Answer::value).ok_or_else(|| Answer::not_found("Not found."))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::sandbox::Limits;
    use crate::sandbox::client::{get, send, small, started};
    use crate::sandbox::{KEY, Options, PROJECT};

    fn path(rest: &str) -> String {
        format!("/api/projects/{PROJECT}/{rest}")
    }

    #[tokio::test]
    async fn what_does_not_exist_is_404_and_what_is_not_ours_403() {
        let sandbox = started(small()).await;

        for (target, status, detail) in [
            ("/api/projects/999/cohorts/", 404, "Project not found."),
            ("/api/projects/abc/cohorts/", 404, "Project not found."),
            ("/api/projects/54321/cohorts/", 403, "You don't have access to the project."),
            ("/api/projects/54321/", 404, "Not found."),
            ("/api/projects/12345/cohorts/9999/", 404, "Not found."),
            ("/api/projects/12345/nothing/", 404, "Endpoint not found."),
        ] {
            let reply = get(&sandbox, target).await;
            assert_eq!((reply.status, reply.detail().as_str()), (status, detail), "{target}");
        }
        let headers = format!("Authorization: Bearer {KEY}\r\n");
        let deleting = send(&sandbox, "DELETE", &path("insights/"), &headers, "").await;
        assert_eq!(deleting.unwrap().detail(), "Method \"DELETE\" not allowed.");
    }

    #[tokio::test]
    async fn environments_are_the_old_name_of_projects() {
        let sandbox = started(small()).await;

        let reply = get(&sandbox, &format!("/api/environments/{PROJECT}/actions")).await;

        assert_eq!(reply.status, 200);
        assert!(reply.headers.contains_key("deprecation") && reply.headers.contains_key("sunset"));
    }

    #[tokio::test]
    async fn real_limits_refuse_with_a_wait_that_is_true() {
        let sandbox = started(Options { limits: Limits::Real, ..small() }).await;
        let target = path("session_recordings/?limit=1");
        for _ in 0..60 {
            assert_eq!(get(&sandbox, &target).await.status, 200);
        }

        let refused = get(&sandbox, &target).await;
        let wait: u64 = refused.headers["retry-after"].parse().unwrap();

        assert_eq!(refused.status, 429);
        assert_eq!(
            refused.detail(),
            format!("Request was throttled. Expected available in {wait} seconds.")
        );
        sandbox.advance(Duration::from_secs(wait));
        assert_eq!(get(&sandbox, &target).await.status, 200);
    }
}
