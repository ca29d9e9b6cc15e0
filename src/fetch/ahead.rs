//! A question that is put before its turn.
//!
//! While one answer arrives and is written, PostHog can work at the next. Its body is not read
//! before its turn comes, so it takes no memory; all that is gained is PostHog's time to think.
//! It holds a place among the requests under way, and no other question of its stream may wait for
//! that place: it makes room when something else is asked first, or the answer in hand fails.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use tokio::sync::Mutex;

use crate::http::{Begun, Client, Meter, Request};

/// A question on its way, or one whose answer has begun.
pub(super) struct Ahead<'a> {
    request: Request,
    meter: &'a Meter,
    /// How many questions of the stream were asked again when it was put.
    retries: u64,
    state: State<'a>,
}

enum State<'a> {
    /// Never locked: a reader may be looked at from several threads, and a future may not.
    Asked(Mutex<Pin<Box<dyn Future<Output = Option<Begun>> + Send + 'a>>>),
    Begun(Option<Begun>),
}

impl<'a> Ahead<'a> {
    /// Puts a question, as soon as it is waited for beside something.
    pub(super) fn new(client: &'a Client, meter: &'a Meter, request: Request) -> Self {
        let question = request.clone();
        let asked: Pin<Box<dyn Future<Output = _> + Send>> =
            Box::pin(async move { client.put(&question, meter).await });
        let state = State::Asked(Mutex::new(asked));
        Self { request, meter, retries: meter.retries(), state }
    }

    /// Whether it is this question.
    pub(super) fn is(&self, request: &Request) -> bool {
        self.request == *request
    }

    /// Its answer, now that it is its turn.
    pub(super) async fn answer(self) -> Option<Begun> {
        match self.state {
            State::Asked(asked) => asked.into_inner().await,
            State::Begun(begun) => begun,
        }
    }

    /// Makes room for another question, once its answer has begun, and stays for later.
    pub(super) async fn aside(mut self) -> Self {
        if let State::Asked(asked) = self.state {
            self.state = State::Begun(asked.into_inner().await);
        }
        self.makes_room();
        self
    }

    /// Whether it could make room at once.
    fn makes_room(&mut self) -> bool {
        let State::Begun(begun) = &mut self.state else { return false };
        begun.iter_mut().for_each(Begun::make_room);
        true
    }

    fn poll(&mut self, context: &mut Context<'_>) {
        if let State::Asked(asked) = &mut self.state
            && let Poll::Ready(begun) = asked.get_mut().as_mut().poll(context)
        {
            self.state = State::Begun(begun);
        }
    }
}

/// Waits for the one that is due, and lets the other question get on meanwhile.
pub(super) async fn beside<T>(ahead: &mut Option<Ahead<'_>>, due: impl Future<Output = T>) -> T {
    let mut due = pin!(due);
    std::future::poll_fn(move |context| {
        let polled = due.as_mut().poll(context);
        if let Some(put) = ahead {
            let is_failing = put.meter.retries() > put.retries;
            match is_failing && !put.makes_room() {
                true => *ahead = None,
                false => put.poll(context),
            }
        }
        polled
    })
    .await
}
