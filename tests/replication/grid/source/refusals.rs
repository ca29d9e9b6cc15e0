//! Statuses other than 200.

use std::fs;
use std::net::TcpListener;

use serde_json::json;

use super::{Answer, Lasting, Mangle, SHARE, Scene, instead, last, pass, try_all};
use crate::grid::{Fault, Ground, Tried};

/// As PostHog refuses.
fn refusal(status: u16, detail: &str) -> Answer {
    let body = json!({ "type": "error", "code": "error", "detail": detail, "attr": null });
    Answer::new(status, "application/json", body.to_string())
}

/// As what stands before PostHog refuses.
fn page(status: u16) -> Answer {
    let html = format!("<html><head><title>{status} from a gateway</title></head></html>");
    Answer::new(status, "text/html", html)
}

fn throttled(detail: &str) -> Answer {
    refusal(429, &format!("Request was throttled. {detail}"))
}

#[test]
fn a_source_that_refuses_costs_no_row() {
    let faults = [
        Fault::new("5xx once", |ground| pass(ground, &passing_statuses())),
        Fault::new("429 with a short wait", |ground| pass(ground, &short_waits())),
        Fault::new("too large a question", too_large),
        Fault::new("5xx for ever", |ground| last(ground, &lasting_statuses())),
        Fault::new("4xx in mid-run", |ground| last(ground, &refusals())),
        Fault::new("429 with a long wait", long_waits),
        Fault::new("redirect to another host", redirects),
        Fault::new("403 for SQL alone", sql_is_forbidden),
    ];
    try_all("source: refusals", SHARE, &faults);
}

fn passing_statuses() -> Vec<Mangle> {
    let json = [500, 502, 503, 520, 408].map(|status| refusal(status, "A server error occurred."));
    let html = [500, 502, 503, 504, 520].map(page);
    let empty = Answer::new(502, "text/plain", "");
    json.into_iter().chain(html).chain([empty]).map(instead).collect()
}

fn short_waits() -> Vec<Mangle> {
    let date = "Tue, 10 Mar 2026 12:00:05 GMT";
    let until = "Tue, 10 Mar 2026 12:00:06 GMT";
    [
        throttled("").with("Retry-After", "1"),
        throttled("").with("Retry-After", until).with("Date", date),
        throttled("Expected available in 1 second."),
        throttled(""),
        throttled("").with("Retry-After", "0"),
        throttled("").with("Retry-After", "-5"),
        throttled("").with("Retry-After", "soon"),
        throttled("Expected available in 99999999999999999999999 seconds."),
        page(429),
    ]
    .map(instead)
    .into()
}

/// What says that the question is too large is asked in smaller ones, where there are any.
fn too_large(ground: &Ground) -> Tried {
    let refusals = [
        refusal(512, "Estimated query execution time is too long."),
        refusal(504, "Query exceeded its time."),
        refusal(429, "ClickHouse is at capacity."),
    ];
    let mangles = refusals.map(instead);
    if ground.paging != "whole" {
        return pass(ground, &mangles);
    }
    let faults = mangles.map(|mangle| Lasting::new(6, "the question is too large", mangle));
    last(ground, &faults)
}

fn lasting_statuses() -> Vec<Lasting> {
    let again = "after 4 attempts: PostHog answered";
    let json = [500, 503, 520].map(|status| refusal(status, "A server error occurred."));
    let html = [500, 502].map(page);
    let mut faults: Vec<Lasting> = json
        .into_iter()
        .chain(html)
        .map(|answer| Lasting::new(6, again, instead(answer)))
        .collect();
    let too_large = refusal(512, "Estimated query execution time is too long.");
    faults.push(Lasting::new(6, "the question is too large", instead(too_large)));
    faults.push(Lasting::new(6, "gateway", instead(page(504))));
    faults
}

fn refusals() -> Vec<Lasting> {
    let scope = "API key missing required scope 'a_scope:read'";
    [
        (4, "check the key", refusal(401, "Invalid personal API key.")),
        (4, "billing", refusal(402, "Quota exceeded.")),
        (4, "a_scope:read", refusal(403, scope)),
        (4, "a member of it", refusal(403, "You do not have access.")),
        (4, "403", page(403)),
        (2, "check the project id", refusal(404, "Not found.")),
        (2, "404", page(404)),
        (6, "405", refusal(405, "Method not allowed.")),
        (6, "status 700", page(700)),
    ]
    .map(|(code, says, answer)| Lasting::new(code, says, instead(answer)))
    .into()
}

/// A wait longer than a run may wait ends it with 5; the next one knows without asking.
fn long_waits(ground: &Ground) -> Tried {
    let scene = Scene::on(ground);
    let project = scene.project();
    let waits = [
        throttled("").with("Retry-After", "7200"),
        throttled("").with("Retry-After", "31536000"),
        throttled("").with("Retry-After", "1e300"),
        throttled("").with("Retry-After", "Wed, 10 Mar 2027 12:00:00 GMT"),
        throttled("Expected available in 7200 seconds."),
    ];
    for (n, wait) in waits.iter().enumerate() {
        let spared = if n == 0 { scene.before_the_middle() } else { 0 };
        scene.proxy.strikes_on(scene.records(), spared, &instead(wait.clone()));
        project.run_with(ground.options()).exits(5).says("run again in ");
        let struck = scene.proxy.struck();
        project.run_with(ground.options()).exits(5).says("run again in ");
        assert_eq!(scene.proxy.struck(), struck, "asked again within the wait");
        ground.state_is_not_ahead(&project);
        scene.proxy.relents();
        // Time would do the same: the ledger of quotas is all that remembers.
        fs::remove_dir_all(project.path("home")).unwrap();
    }
    ground.settles(&scene.posthog, &project);
    Tried::Passed(waits.len())
}

/// Wherever it leads, the key does not go there.
fn redirects(ground: &Ground) -> Tried {
    let stranger = TcpListener::bind("127.0.0.1:0").unwrap();
    stranger.set_nonblocking(true).unwrap();
    let address = stranger.local_addr().unwrap();
    let to = |status, place: String| {
        let answer = page(status).with("Location", &place);
        Lasting::new(6, "which is not followed", instead(answer))
    };
    let tried = last(
        ground,
        &[
            to(302, format!("http://{address}/")),
            to(301, format!("//{address}/")),
            to(307, format!("http://posthog@{address}/")),
            to(308, "/login".to_owned()),
            to(303, "\u{fc}ber".to_owned()),
        ],
    );
    assert!(stranger.accept().is_err(), "a redirect was followed");
    tried
}

/// Where SQL is not open to a key, the lists are.
fn sql_is_forbidden(ground: &Ground) -> Tried {
    if !ground.paging.starts_with("keyset") {
        return Tried::Empty("nothing is asked in SQL");
    }
    let scene = Scene::on(ground);
    for refused in [refusal(403, "no access"), refusal(404, "Not found."), page(402)] {
        let project = scene.project();
        scene.proxy.strikes_on(|asked| asked.line.ends_with("/query/"), 0, &instead(refused));
        ground.settles(&scene.posthog, &project);
        scene.proxy.relents();
    }
    Tried::Passed(3)
}
