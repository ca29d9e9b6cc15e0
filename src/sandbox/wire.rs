//! The connection under HTTP, where bytes can be lost or come slowly.
//!
//! Every accepted connection carries an [`Order`] that its requests may set: it
//! holds for the answer being written. Nothing here knows what the bytes mean,
//! except where the head of an answer ends.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Sleep;

use super::held;

/// Bytes written at a time where an answer trickles.
const PIECE: usize = 4096;

/// What is to happen to the answer being written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Order {
    /// Nothing: it is sent.
    #[default]
    Send,
    /// The connection is reset after so many bytes of the body.
    Reset(usize),
    /// The connection is reset before anything is sent.
    Lose,
    /// A pause before each piece.
    Slow(Duration),
}

/// The handle by which a request gives an order to its own connection.
#[derive(Debug, Clone, Default)]
pub(super) struct Line(Arc<Mutex<Order>>);

impl Line {
    /// Gives an order for the answer to come.
    pub(super) fn order(&self, order: Order) {
        *held(&self.0) = order;
    }
}

impl Connected<IncomingStream<'_, Port>> for Line {
    fn connect_info(stream: IncomingStream<'_, Port>) -> Self {
        stream.io().line.clone()
    }
}

/// A listener whose connections take orders.
#[derive(Debug)]
pub(super) struct Port(pub(super) TcpListener);

impl Listener for Port {
    type Io = Wire;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Wire, SocketAddr) {
        let (stream, address) = Listener::accept(&mut self.0).await;
        let wire = Wire { stream, line: Line::default(), sent: None, pause: None };
        (wire, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

/// A connection that obeys its orders.
#[derive(Debug)]
pub(super) struct Wire {
    stream: TcpStream,
    line: Line,
    /// Bytes of the body sent under [`Order::Reset`], once the head is out.
    sent: Option<usize>,
    pause: Option<Pin<Box<Sleep>>>,
}

impl Wire {
    /// Writes up to the limit, then breaks the connection hard.
    fn write_until(
        &mut self,
        limit: usize,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let head = match self.sent {
            Some(_) => 0,
            None => bytes.windows(4).position(|four| four == b"\r\n\r\n").map_or(0, |at| at + 4),
        };
        let room = head + limit.saturating_sub(self.sent.unwrap_or(0));
        if room == 0 {
            return self.reset();
        }
        let part = &bytes[..room.min(bytes.len())];
        let written = ready!(Pin::new(&mut self.stream).poll_write(context, part))?;
        self.sent = Some(self.sent.unwrap_or(0) + written.saturating_sub(head));
        Poll::Ready(Ok(written))
    }

    /// Breaks the connection hard.
    fn reset(&mut self) -> Poll<io::Result<usize>> {
        self.stream.set_zero_linger()?;
        Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
    }

    /// Waits, then writes one piece.
    fn write_piece(
        &mut self,
        pause: Duration,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let sleep = self.pause.get_or_insert_with(|| Box::pin(tokio::time::sleep(pause)));
        ready!(sleep.as_mut().poll(context));
        let part = &bytes[..PIECE.min(bytes.len())];
        let written = ready!(Pin::new(&mut self.stream).poll_write(context, part));
        self.pause = None;
        Poll::Ready(written)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let wire = self.get_mut();
        let order = *held(&wire.line.0);
        match order {
            Order::Send => Pin::new(&mut wire.stream).poll_write(context, bytes),
            Order::Lose => wire.reset(),
            Order::Reset(limit) => wire.write_until(limit, context, bytes),
            Order::Slow(pause) => wire.write_piece(pause, context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(context, buffer)
    }
}
