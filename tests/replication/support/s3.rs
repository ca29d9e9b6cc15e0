//! A real S3 server of the test's own, on a port of this machine.
//!
//! `s3s` speaks the protocol and checks signatures; `s3s-fs` keeps buckets as folders and
//! objects as files, so that a test can look at them. Requests are answered one after the
//! other, since `s3s-fs` looks at conditions and writes in two steps.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;

use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, IF_MATCH, IF_NONE_MATCH};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{Body, HttpError, HttpResponse};
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio::sync::{Mutex, oneshot};

/// Who may do everything.
pub(crate) const KEY_ID: &str = "AKIAOFTHETESTS";
pub(crate) const SECRET: &str = "the+secret/of/the+tests";

/// The only bucket.
pub(crate) const BUCKET: &str = "out";

/// What the server does otherwise than it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Oddity {
    None,
    /// It pays no heed to the conditions of a put, and to keys.
    Careless,
    /// It stores the n-th manifest and all after it, and says nothing.
    Mute(usize),
    /// It stores the n-th manifest and says nothing, once.
    LosesReply(usize),
    /// It takes the parts of an upload, and does not put them together.
    NeverCompletes,
}

/// A running server; it ends when dropped.
pub(crate) struct S3 {
    root: PathBuf,
    address: SocketAddr,
    end: Option<oneshot::Sender<()>>,
    serving: Option<JoinHandle<()>>,
}

/// What all connections share.
struct Shared {
    root: PathBuf,
    service: S3Service,
    oddity: Oddity,
    manifests: AtomicUsize,
    turn: Mutex<()>,
}

impl S3 {
    /// Serves a folder, in which the bucket is one.
    pub(crate) fn serving(root: &Path, oddity: Oddity) -> Self {
        std::fs::create_dir_all(root.join(BUCKET)).unwrap();
        let mut service = S3ServiceBuilder::new(s3s_fs::FileSystem::new(root).unwrap());
        if oddity != Oddity::Careless {
            service.set_auth(SimpleAuth::from_single(KEY_ID, SECRET));
        }
        let shared = Arc::new(Shared {
            root: root.to_owned(),
            service: service.build(),
            oddity,
            manifests: AtomicUsize::new(0),
            turn: Mutex::new(()),
        });
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        listener.set_nonblocking(true).unwrap();
        let (end, ended) = oneshot::channel::<()>();
        let serving = std::thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).unwrap();
                tokio::select! {
                    _ = ended => {}
                    () = serve(listener, shared) => {}
                }
            });
        });
        Self { root: root.to_owned(), address, end: Some(end), serving: Some(serving) }
    }

    /// Where it listens.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The bucket, as a folder.
    pub(crate) fn bucket(&self) -> PathBuf {
        self.root.join(BUCKET)
    }

    /// The parts of uploads that were neither ended nor aborted.
    pub(crate) fn parts(&self) -> usize {
        let entries = self.root.read_dir().unwrap().map(|entry| entry.unwrap().file_name());
        entries.filter(|name| name.to_string_lossy().starts_with(".upload_id-")).count()
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(serving) = self.serving.take() {
            serving.join().unwrap();
        }
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let (socket, _) = listener.accept().await.unwrap();
        socket.set_nodelay(true).unwrap();
        let shared = Arc::clone(&shared);
        let service = service_fn(move |request| {
            let shared = Arc::clone(&shared);
            async move { shared.answer(request).await }
        });
        // Who hung up need not be told anything.
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(socket), service));
    }
}

impl Shared {
    async fn answer(&self, mut request: Request<Incoming>) -> Result<HttpResponse, HttpError> {
        let _turn = self.turn.lock().await;
        // `s3s-fs` would make it.
        let bucket = request.uri().path().split('/').nth(1).unwrap_or_default();
        if !self.root.join(bucket).is_dir() {
            return Ok(no_bucket());
        }
        let is_manifest =
            *request.method() == Method::PUT && request.uri().path().ends_with("_manifest.json");
        let completes = *request.method() == Method::POST
            && request.uri().query().is_some_and(|query| query.contains("uploadId="));
        if self.oddity == Oddity::Careless {
            for header in [AUTHORIZATION, IF_MATCH, IF_NONE_MATCH] {
                request.headers_mut().remove(header);
            }
        }
        if completes && self.oddity == Oddity::NeverCompletes {
            return Err(silence());
        }
        let answer = self.service.call(request.map(Body::from)).await;
        let n = match is_manifest {
            true => 1 + self.manifests.fetch_add(1, Ordering::Relaxed),
            false => 0,
        };
        match self.oddity {
            Oddity::Mute(from) if is_manifest && n >= from => Err(silence()),
            Oddity::LosesReply(nth) if n == nth => Err(silence()),
            _ => answer,
        }
    }
}

fn no_bucket() -> HttpResponse {
    let xml = "<Error><Code>NoSuchBucket</Code><Message>There is no such bucket</Message></Error>";
    let mut answer = HttpResponse::new(Body::from(xml.to_owned()));
    *answer.status_mut() = StatusCode::NOT_FOUND;
    answer
}

/// Ends the connection without an answer.
fn silence() -> HttpError {
    HttpError::new(Box::new(std::io::Error::other("not a word")))
}
