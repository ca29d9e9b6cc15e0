//! Bytes: cut, wrongly told, wrongly packed, late, or without end.

use std::time::Duration;

use super::{Answer, Lasting, Mangle, SHARE, Scene, all_run_well, is_of_stream, last, last_on};
use super::{mangle, pass, pass_in_rows_of, try_all};
use crate::grid::{Fault, Ground, Tried};
use crate::support::{End, Framing};

/// Longer than a good answer takes on a busy machine, and short enough to wait for.
const IMPATIENT: &str = "timeouts: { first_byte: 700ms, between_bytes: 700ms, whole: 2s }";

#[test]
fn a_source_with_a_bad_line_costs_no_row() {
    let faults = [
        Fault::new("odd but whole", |ground| pass_in_rows_of(100, ground, &odd_but_whole())),
        Fault::new("broken once", |ground| pass(ground, &broken())),
        Fault::new("silent once", silent_once),
        Fault::new("broken for ever", |ground| last(ground, &broken_for_ever())),
        Fault::new("silent for ever", silent_for_ever),
        Fault::new("without end", without_end),
    ];
    try_all("source: wire", SHARE, &faults);
}

/// What is said of the body is wrong, or strange; the body is not.
fn odd_but_whole() -> Vec<Mangle> {
    let kind = |kind: &'static str| mangle(move |answer| answer.with("Content-Type", kind).sent());
    let framed = |framing| mangle(move |answer: Answer| answer.cut(framing, usize::MAX).0);
    let around = |before: &'static [u8], after: &'static [u8]| {
        mangle(move |answer: Answer| {
            let body = [before, &answer.body, after].concat();
            answer.saying(body).sent()
        })
    };
    let mut mangles = vec![kind("text/html; charset=latin1"), kind("image/png"), kind("")];
    mangles.extend(Framing::ALL.map(framed));
    mangles.push(around(b"\xef\xbb\xbf", b""));
    mangles.push(around(b" \n\t", b"\r\n \n"));
    // A year far off, in an answer that is not PostHog's own: nobody's bound moves.
    let gateway = Answer::new(502, "text/html", "").with("Date", "Fri, 01 Jan 2099 00:00:00 GMT");
    mangles.push(super::instead(gateway));
    mangles
}

/// What is not the whole body is asked for again.
fn broken() -> Vec<Mangle> {
    let json = |spoil: fn(Vec<u8>) -> Vec<u8>| {
        mangle(move |answer: Answer| {
            let body = spoil(answer.body.clone());
            answer.saying(body).sent()
        })
    };
    let raw = |spoil: fn(Answer) -> super::Sent| mangle(spoil);
    let gzip = |spoil: fn(Vec<u8>) -> Vec<u8>| {
        mangle(move |answer: Answer| {
            let gzip = spoil(answer.zipped());
            answer.unpacking_to(gzip)
        })
    };
    vec![
        json(|_| Vec::new()),
        json(|body| body[..body.len() - 1].to_vec()),
        json(|body| body[..body.len() / 2].to_vec()),
        json(|body| [body.as_slice(), b"}"].concat()),
        json(|body| [b"{".as_slice(), &body].concat()),
        json(|_| b"<html><title>Log in</title></html>".to_vec()),
        json(|_| b"null".to_vec()),
        json(|_| b"[]".to_vec()),
        json(|_| vec![b' '; 3 << 20]),
        json(|_| [br#"{"results":["#.as_slice(), &b",".repeat(3 << 20)].concat()),
        raw(|answer| {
            let length = answer.body.len();
            answer.announcing(length + 1)
        }),
        raw(|answer| {
            let length = answer.body.len();
            answer.announcing(length - 1)
        }),
        raw(|answer| answer.sent().up_to(0)),
        raw(|answer| answer.sent().up_to(20)),
        raw(|answer| answer.sent().up_to(0).then(End::Reset)),
        raw(|answer| answer.sent().without_last(1).then(End::Reset)),
        raw(|answer| answer.cut(Framing::Chunks, 300).0),
        raw(|answer| answer.cut(Framing::Chunks, 300).0.then(End::Reset)),
        gzip(|gzip| gzip[..gzip.len() - 1].to_vec()),
        gzip(|gzip| gzip[..gzip.len() / 2].to_vec()),
        gzip(|_| b"this is no gzip".to_vec()),
        gzip(|mut gzip| {
            // The sum of the bytes, which stands before their number.
            let at = gzip.len() - 8;
            gzip[at] ^= 1;
            gzip
        }),
    ]
}

fn silences() -> [Mangle; 3] {
    [
        mangle(|answer| answer.sent().up_to(0).then(End::Silence)),
        mangle(|answer| answer.sent().without_last(1).then(End::Silence)),
        // A length too large, and a connection that stays open.
        mangle(|answer| {
            let length = answer.body.len();
            answer.announcing(length + 1).then(End::Silence)
        }),
    ]
}

/// A line that falls silent is given up in time, and a new one tried.
fn silent_once(ground: &Ground) -> Tried {
    let scene = Scene::on(ground).impatiently(IMPATIENT);
    for silence in &silences() {
        scene.proxy.strikes_once(is_of_stream, 0, silence);
    }
    all_run_well(&scene);
    Tried::Passed(3)
}

fn silent_for_ever(ground: &Ground) -> Tried {
    let scene = Scene::on(ground).impatiently(IMPATIENT);
    let says = "nothing from PostHog for";
    let faults = silences().map(|silence| Lasting::new(6, says, silence));
    last_on(&scene, is_of_stream, &faults)
}

fn broken_for_ever() -> Vec<Lasting> {
    let all = broken();
    let not_json = "not the JSON asked for";
    let once = |n: usize, says| Lasting::new(6, says, std::sync::Arc::clone(&all[n]));
    vec![
        once(1, "the answer broke off before its end"),
        once(0, "the answer broke off before its end"),
        once(5, not_json),
        once(8, "bytes that say nothing"),
        once(9, "bytes that say nothing"),
        once(12, "after 4 attempts"),
        once(14, "after 4 attempts"),
        once(18, "a broken body"),
        once(20, "a broken body"),
    ]
}

/// What trickles for ever is never silent, and still ends.
fn without_end(ground: &Ground) -> Tried {
    let scene = Scene::on(ground).impatiently(IMPATIENT);
    let drip = Duration::from_millis(200);
    let trickle = move |answer: Answer| answer.sent().trickling(150, drip);
    let faults = [Lasting::new(6, "nothing from PostHog for", mangle(trickle))];
    last_on(&scene, is_of_stream, &faults)
}
