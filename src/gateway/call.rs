//! From a request to its answer.
//!
//! A body is read, unpacked and judged, message by message; what becomes events is handed to the
//! writer, and answered for once it is on the disk. What is refused here was not kept.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::Response;
use serde_json::json;
use tokio::sync::Semaphore;
use uuid::Uuid;

use super::answer::{Refusal, Rejected, json_response, taken, text_response};
use super::auth::{WriteKeys, key_outside};
use super::body::Said;
use super::figures::Figures;
use super::message::{Judged, judge};
use super::place::Place;
use super::rejects::Rejects;
use super::writer::Writer;
use super::{body, cors};
use crate::cursor::Timestamp;
use crate::send::event::Sealed;
use crate::send::mapping::{Arrival, Mapping};
use crate::send::outbox::{Level, Outbox, OutboxError};

/// How many requests are in hand at once, each with a body of [`body::LARGEST`] bytes at most;
/// others wait for their turn.
const AT_ONCE: u32 = 256;

/// The header in which a proxy says whom it speaks for.
const FORWARDED: &str = "x-forwarded-for";

/// What is done with requests, as the user wants it.
#[derive(Debug)]
pub(super) struct Policy {
    pub(super) keys: WriteKeys,
    pub(super) mapping: Mapping,
    /// Whether callers speak through a proxy of ours.
    pub(super) is_behind_proxy: bool,
    pub(super) rejects: Rejects,
}

/// What every request needs.
pub(super) struct Desk {
    policy: Policy,
    writer: Writer,
    figures: Arc<Figures>,
    /// The outbox, to look into.
    outbox: Mutex<Outbox>,
    in_hand: Semaphore,
    is_stopping: AtomicBool,
}

/// What became of a request's messages.
struct Reading {
    to: usize,
    events: Vec<Sealed>,
    rejected: Vec<Rejected>,
}

impl Desk {
    /// A desk for requests; `outbox` is only looked into, the writer writes it.
    pub(super) fn new(
        policy: Policy,
        writer: Writer,
        outbox: Outbox,
        figures: Arc<Figures>,
    ) -> Self {
        Self {
            policy,
            writer,
            figures,
            outbox: Mutex::new(outbox),
            in_hand: Semaphore::new(AT_ONCE as usize),
            is_stopping: AtomicBool::new(false),
        }
    }

    /// Takes no more requests, and waits until those in hand are answered.
    pub(super) async fn stop(&self) {
        self.is_stopping.store(true, Ordering::Release);
        drop(self.in_hand.acquire_many(AT_ONCE).await);
    }

    fn refuse_if_stopping(&self) -> Result<(), Refusal> {
        match self.is_stopping.load(Ordering::Acquire) {
            true => Err(Refusal::Stopping),
            false => Ok(()),
        }
    }

    /// How full the outbox is.
    pub(super) fn level(&self) -> Result<Level, OutboxError> {
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner).level()
    }
}

/// Answers a request.
pub(super) async fn respond(
    State(desk): State<Arc<Desk>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let origin = parts.headers.get(header::ORIGIN).cloned();
    let place = Place::at(parts.uri.path());
    let answered = match place {
        None => Err(Refusal::NotFound),
        Some(place) if place.takes_messages() => call(&desk, place, peer.ip(), parts, body).await,
        Some(_) if parts.method != Method::GET => Err(Refusal::WrongMethod { allowed: "GET" }),
        Some(place) => look(&desk, place).await,
    };
    let mut response = answered.unwrap_or_else(|refusal| refusal.response());
    cors::open(&mut response, origin);
    if place.is_none_or(Place::takes_messages) {
        desk.figures.answered(response.status().as_u16());
    }
    response
}

/// Takes messages in.
async fn call(
    desk: &Arc<Desk>,
    place: Place,
    peer: IpAddr,
    parts: Parts,
    body: Body,
) -> Result<Response, Refusal> {
    match parts.method {
        Method::OPTIONS => return Ok(cors::preflight(&parts.headers)),
        Method::POST => {}
        _ => return Err(Refusal::WrongMethod { allowed: "POST, OPTIONS" }),
    }
    desk.refuse_if_stopping()?;
    let _turn = desk.in_hand.acquire().await.expect("it is never closed");
    desk.refuse_if_stopping()?;
    let bytes = body::received(body, body::PATIENCE).await?;
    let reader = Arc::clone(desk);
    // It may take long: bodies are unpacked, and every message is a tree for a while.
    let reading = tokio::task::spawn_blocking(move || read(&reader, place, peer, &parts, bytes));
    let Reading { to, events, mut rejected } = reading.await.expect("reading does not panic")?;
    if !events.is_empty() {
        let accepted = desk.writer.accept(to, events).await.map_err(|err| unkept(&err))?;
        desk.figures.accepted(accepted);
    }
    match place {
        Place::One(_) if !rejected.is_empty() => Err(Refusal::Rejected(rejected.remove(0))),
        _ => Ok(taken(&rejected)),
    }
}

fn unkept(err: &OutboxError) -> Refusal {
    match err {
        OutboxError::Full { .. } => Refusal::OutboxFull,
        OutboxError::Unusable { hint, .. } => {
            tracing::error!("messages are not taken: {err}; {hint}");
            Refusal::OutboxUnusable
        }
    }
}

/// Reads a body, and judges its messages.
fn read(
    desk: &Desk,
    place: Place,
    peer: IpAddr,
    parts: &Parts,
    bytes: Vec<u8>,
) -> Result<Reading, Refusal> {
    let Policy { keys, is_behind_proxy, .. } = &desk.policy;
    let outside = key_outside(&parts.headers, parts.uri.query().unwrap_or_default());
    let destination = |key: &str| keys.destination(key).ok_or(Refusal::UnknownWriteKey);
    let named = outside.as_deref().map(destination).transpose()?;
    let text = body::unpacked(bytes)?;
    let (said, kind) = match place {
        Place::One(kind) => (body::one(&text)?, Some(kind)),
        _ => (body::many(&text)?, None),
    };
    let to = match (named, &said.write_key) {
        (Some(to), _) => to,
        (None, Some(key)) => destination(key)?,
        (None, None) => return Err(Refusal::NoWriteKey),
    };
    let ip = forwarded(&parts.headers).filter(|_| *is_behind_proxy).unwrap_or(peer);
    let mut reading = Reading { to, events: Vec::new(), rejected: Vec::new() };
    judge_all(desk, &said, kind, ip, &mut reading);
    Ok(reading)
}

fn judge_all(desk: &Desk, said: &Said<'_>, kind: Option<&str>, ip: IpAddr, reading: &mut Reading) {
    let (Policy { mapping, rejects, .. }, figures) = (&desk.policy, &desk.figures);
    let received_at = Timestamp::now();
    for (index, message) in said.messages.iter().enumerate() {
        let fallback_id = Uuid::new_v4().to_string();
        let arrival = Arrival { received_at, ip: Some(ip), fallback_id };
        match judge((index, message), kind, &said.envelope, mapping, &arrival) {
            Ok(Judged::Event(event, doubts)) => {
                doubts.into_iter().for_each(|doubt| figures.doubted(doubt));
                reading.events.push(event);
            }
            Ok(Judged::NotForPostHog) => figures.left_elsewhere(),
            Err(rejected) => {
                figures.rejected(&rejected.code);
                rejects.add(&rejected, message, received_at);
                reading.rejected.push(rejected);
            }
        }
    }
}

/// Whom a proxy says that it speaks for. It adds the address that it heard at the end: what stands
/// before it anybody may have written.
fn forwarded(headers: &HeaderMap) -> Option<IpAddr> {
    let last = headers.get_all(FORWARDED).iter().next_back()?;
    last.to_str().ok()?.rsplit(',').next()?.trim().parse().ok()
}

/// Shows how the gateway is.
async fn look(desk: &Arc<Desk>, place: Place) -> Result<Response, Refusal> {
    if place == Place::Health {
        return Ok(json_response(StatusCode::OK, &json!({ "status": "ok" })));
    }
    let reader = Arc::clone(desk);
    let level = tokio::task::spawn_blocking(move || reader.level()).await;
    let level = level.expect("reading does not panic").map_err(|err| unkept(&err))?;
    if place == Place::Metrics {
        let text = desk.figures.text(&level, Timestamp::now());
        return Ok(text_response(StatusCode::OK, "text/plain; version=0.0.4", text));
    }
    desk.refuse_if_stopping()?;
    let is_full = level.used >= level.most;
    let status = if is_full { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    Ok(json_response(status, &json!({ "ready": !is_full, "outbox_full": is_full })))
}
