//! From a request to a response: faults, the log, compression, headers.
//!
//! A fault stands before everything else, as a load balancer would; what is
//! answered is `route`'s business.

use std::io::Write;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use flate2::Compression;
use flate2::write::GzEncoder;
use url::form_urlencoded;

use super::answer::{Answer, Question};
use super::fault::{Fault, FaultKind};
use super::project::Project;
use super::wire::{Line, Order, Port};
use super::{Asked, LARGEST_BODY, capture, held, route, time};

/// Answers up to this size are not worth compressing.
const SMALL: usize = 1024;

/// Serves the project until the task is dropped.
pub(super) async fn serve(port: Port, project: Arc<Project>) {
    let router = Router::new().fallback(respond).with_state(project);
    let service = router.into_make_service_with_connect_info::<Line>();
    if let Err(error) = axum::serve(port, service).await {
        tracing::error!(%error, "the sandbox stopped");
    }
}

async fn respond(
    State(project): State<Arc<Project>>,
    ConnectInfo(line): ConnectInfo<Line>,
    request: Request,
) -> Response {
    let came = Instant::now();
    line.order(Order::Send);
    let question = read(request).await;
    let text = String::from_utf8_lossy(&question.body).into_owned();
    let fault =
        held(&project.faults).strike(&format!("{} {}\n{text}", question.method, question.target));
    if let Some(FaultKind::Late(pause)) = fault.as_ref().map(Fault::kind) {
        tokio::time::sleep(*pause).await;
    }
    let answered = tokio::task::spawn_blocking(move || {
        let instead = fault.as_ref().and_then(|fault| fault.instead(&question.path));
        let answer = instead.unwrap_or_else(|| {
            let answer = route::answer(&project, &question).unwrap_or_else(|refusal| refusal);
            match &fault {
                Some(fault) => fault.spoil(answer, &question.host),
                None => answer,
            }
        });
        log(&project, &question, text, answer.status, came);
        response(&project, &question, answer, fault.as_ref(), &line)
    });
    answered.await.unwrap_or_else(|error| {
        tracing::error!(%error, "the sandbox could not answer");
        Response::new(Body::empty())
    })
}

/// Takes a request apart.
async fn read(request: Request) -> Question {
    let (parts, body) = request.into_parts();
    // What is too large is read nevertheless, so that its sender hears why it is refused.
    let body = to_bytes(body, 4 * LARGEST_BODY).await.unwrap_or_default();
    let is_captured = capture::is_place(parts.uri.path());
    let text = |name: HeaderName| {
        parts.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
    };
    let headers = parts.headers.iter().filter_map(|(name, value)| {
        Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))
    });
    let query = parts.uri.query().unwrap_or_default();
    Question {
        method: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
        target: parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default(),
        parameters: form_urlencoded::parse(query.as_bytes()).into_owned().collect(),
        host: text(header::HOST).unwrap_or_default(),
        headers: headers.collect(),
        authorization: text(header::AUTHORIZATION),
        takes_gzip: text(header::ACCEPT_ENCODING).is_some_and(|text| text.contains("gzip")),
        size: body.len(),
        body: if is_captured { capture::inflated(body.into()) } else { body.into() },
    }
}

fn log(project: &Project, question: &Question, body: String, status: u16, at: Instant) {
    held(&project.log).push(Asked {
        method: question.method.clone(),
        path_and_query: question.target.clone(),
        status,
        body,
        at,
    });
}

/// Makes an answer HTTP, and gives the connection its order.
fn response(
    project: &Project,
    question: &Question,
    answer: Answer,
    fault: Option<&Fault>,
    line: &Line,
) -> Response {
    let fault = fault.map(Fault::kind);
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(answer.kind));
    headers.insert(header::VARY, HeaderValue::from_static("Accept, Origin, Accept-Encoding"));
    insert(&mut headers, "Date", &time::http_date(project.now()));
    for (name, value) in &answer.headers {
        insert(&mut headers, name, value);
    }
    let mut body = answer.body;
    if question.takes_gzip && (body.len() > SMALL || matches!(fault, Some(FaultKind::CutGzip))) {
        body = compressed(&body);
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    match fault {
        Some(FaultKind::CutGzip) => body.truncate(body.len() / 2),
        Some(FaultKind::Reset) => line.order(Order::Reset(body.len() / 2)),
        Some(FaultKind::Lost) => line.order(Order::Lose),
        Some(FaultKind::Slow(pause)) => line.order(Order::Slow(*pause)),
        _ => {}
    }
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or_default();
    *response.headers_mut() = headers;
    response
}

fn insert(headers: &mut HeaderMap, name: &str, value: &str) {
    let name = HeaderName::from_bytes(name.as_bytes());
    if let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(value)) {
        headers.insert(name, value);
    }
}

/// Gzip at its fastest; writing to memory does not fail.
fn compressed(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(body).and_then(|()| encoder.finish()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::time::Duration;

    use super::*;
    use crate::sandbox::client::{get, list, send, small, started};
    use crate::sandbox::{KEY, PROJECT};

    fn path(rest: &str) -> String {
        format!("/api/projects/{PROJECT}/{rest}")
    }

    #[tokio::test]
    async fn every_answer_says_when_it_was_given() {
        let sandbox = started(small()).await;

        sandbox.advance(Duration::from_secs(3600));
        let reply = get(&sandbox, &path("actions")).await;

        assert!(reply.headers["date"].starts_with("Sat, 21 Nov 2026 07:18:2"), "{reply:?}");
        assert_eq!(reply.headers["content-encoding"], "gzip");
    }

    #[tokio::test]
    async fn the_log_keeps_what_was_asked() {
        let sandbox = started(small()).await;
        get(&sandbox, &path("nothing/?a=b")).await;
        list(&sandbox, "actions").await;

        let log = sandbox.log();

        assert_eq!(log.len(), 2);
        assert_eq!(
            (log[0].path_and_query.as_str(), log[0].status),
            ("/api/projects/12345/nothing/?a=b", 404)
        );
        sandbox.clear_log();
        assert!(sandbox.log().is_empty());
    }

    #[tokio::test]
    async fn faults_strike_in_their_own_way() {
        let sandbox = started(small()).await;
        let ask = async |kind: FaultKind| {
            sandbox.clear_faults();
            sandbox.fault(Fault::on("GET /api/projects/12345/cohorts/", kind));
            let headers = format!("Authorization: Bearer {KEY}\r\nAccept-Encoding: gzip\r\n");
            send(&sandbox, "GET", &path("cohorts/?limit=10"), &headers, "").await
        };

        let failed = ask(FaultKind::Status(503, String::new())).await.unwrap();
        assert_eq!((failed.status, failed.detail().as_str()), (503, "A server error occurred."));
        assert_eq!(
            ask(FaultKind::HtmlStatus(502)).await.unwrap().headers["content-type"],
            "text/html"
        );
        assert!(ask(FaultKind::Html).await.unwrap().raw.starts_with(b"<html>"));
        let cut = ask(FaultKind::CutJson).await.unwrap();
        assert!(serde_json::from_slice::<serde_json::Value>(&cut.body()).is_err());
        let half = ask(FaultKind::CutGzip).await.unwrap();
        assert_eq!(half.raw.len().to_string(), half.headers["content-length"]);
        let broken = std::panic::catch_unwind(|| half.body());
        assert!(broken.is_err(), "half of the compressed bytes do not decompress");
        let away = ask(FaultKind::Redirect("http://example.com/".to_owned())).await.unwrap();
        assert_eq!((away.status, away.headers["location"].as_str()), (302, "http://example.com/"));
        let foreign =
            ask(FaultKind::ForeignNext("https://evil.example.com".to_owned())).await.unwrap();
        assert!(
            foreign.json()["next"].as_str().unwrap().starts_with("https://evil.example.com/api/")
        );
        let late = ask(FaultKind::Throttled(Some(7))).await.unwrap();
        assert_eq!((late.status, late.headers["retry-after"].as_str()), (429, "7"));
        assert!(
            !ask(FaultKind::Throttled(None)).await.unwrap().headers.contains_key("retry-after")
        );
        assert_eq!(ask(FaultKind::Slow(Duration::from_millis(1))).await.unwrap().status, 200);
    }

    #[tokio::test]
    async fn a_reset_comes_in_the_middle_of_the_body() {
        let sandbox = started(small()).await;
        sandbox.fault(Fault::on("cohorts", FaultKind::Reset).first(1));
        let headers = format!("Authorization: Bearer {KEY}\r\n");

        let broken = send(&sandbox, "GET", &path("cohorts/"), &headers, "").await;
        assert_eq!(broken.unwrap_err().kind(), io::ErrorKind::ConnectionReset);

        let whole = send(&sandbox, "GET", &path("cohorts/"), &headers, "").await.unwrap();
        assert_eq!(whole.raw.len().to_string(), whole.headers["content-length"]);
    }
}
