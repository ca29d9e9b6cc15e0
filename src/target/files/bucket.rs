//! A bucket, asked from a thread that may block.
//!
//! The one home of `object_store`. It owns a runtime of its own: connections move only while
//! an answer is waited for. Requests that failed are sent again for a while by
//! `object_store`; a stop that comes from another thread ends the waiting within seconds.
//! What objects mean is its user's business.

use std::collections::BTreeMap;
use std::fs::File;
use std::future::Future;
use std::io::{self, Read, Seek, Write};
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, future, stream};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::multipart::MultipartStore;
use object_store::path::Path;
use object_store::{
    BackoffConfig, ClientOptions, Error, MultipartId, ObjectStore, ObjectStoreExt, PutMode,
    PutPayload, RetryConfig, UpdateVersion,
};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::config::S3;
use crate::stop;
use crate::target::files::fault::{self, Fault, Kind};

/// What is sent or asked for at once: the most of a file that is ever in memory. S3 wants
/// 5 MB at least.
const PART: u64 = 8 << 20;

/// The most parts that a file may have.
const PARTS: u64 = 10_000;

/// What a request may still take after a stop.
const GRACE: Duration = Duration::from_secs(1);

/// A part has to get through in this time, on the slowest network that is of any use.
const PATIENCE: Duration = Duration::from_secs(120);

/// A server that takes longer to greet is not there.
const GREETING: Duration = Duration::from_secs(20);

/// How one version of an object is told from the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Version(UpdateVersion);

/// A bucket.
pub(super) struct Bucket {
    store: AmazonS3,
    /// Taken when it ends: a runtime must not be waited for where nothing may block.
    runtime: Option<Runtime>,
    stop: watch::Receiver<bool>,
}

impl Bucket {
    /// Makes ready to ask; asks nothing yet.
    pub(super) fn new(place: &S3) -> io::Result<Self> {
        crate::tls::install_provider();
        let store = connector(place).map_err(told)?;
        let runtime = Builder::new_current_thread().enable_all().build()?;
        Ok(Self { store, runtime: Some(runtime), stop: stop::heard() })
    }

    /// Waits for an answer, or for a stop.
    fn ask<T>(&self, answer: impl Future<Output = Result<T, Error>>) -> io::Result<T> {
        let Some(runtime) = &self.runtime else { return Err(Fault::stopped()) };
        if *self.stop.borrow() {
            return Err(Fault::stopped());
        }
        let mut stop = self.stop.clone();
        runtime.block_on(async {
            let mut answer = std::pin::pin!(answer);
            tokio::select! {
                // What is done is done: its result counts more than the stop.
                biased;
                answer = &mut answer => return answer.map_err(told),
                _ = stop.wait_for(|stopped| *stopped) => {}
            }
            let last = timeout(GRACE, &mut answer).await;
            last.map_or_else(|_| Err(Fault::stopped()), |answer| answer.map_err(told))
        })
    }

    /// An object, and which version of it; nothing where there is none.
    pub(super) fn get(&self, key: &str) -> io::Result<Option<(Vec<u8>, Version)>> {
        let key = path(key)?;
        self.ask(async {
            let found = match self.store.get(&key).await {
                Err(Error::NotFound { source, .. }) if !is_no_bucket(&*source) => return Ok(None),
                found => found?,
            };
            let (e_tag, version) = (found.meta.e_tag.clone(), found.meta.version.clone());
            let bytes = found.bytes().await?;
            Ok(Some((bytes.to_vec(), Version(UpdateVersion { e_tag, version }))))
        })
    }

    /// Puts an object in the place of one version, or of none; nothing where the server
    /// refuses because another one is there.
    pub(super) fn put(
        &self,
        key: &str,
        bytes: &[u8],
        over: Option<&Version>,
    ) -> io::Result<Option<Version>> {
        let key = path(key)?;
        let mode = over.map_or(PutMode::Create, |Version(over)| PutMode::Update(over.clone()));
        let payload = PutPayload::from(bytes.to_vec());
        self.ask(async {
            match self.store.put_opts(&key, payload, mode.into()).await {
                Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => Ok(None),
                put => put.map(|put| Some(Version(put.into()))),
            }
        })
    }

    /// The objects below a folder that are wanted, by their name in it, with their sizes.
    pub(super) fn list(
        &self,
        folder: &str,
        is_wanted: impl Fn(&str) -> bool,
    ) -> io::Result<BTreeMap<String, u64>> {
        let folder = path(folder)?;
        let below = format!("{folder}/");
        let listed = self.store.list(Some(&folder)).try_filter_map(|found| {
            let name = found.location.as_ref().strip_prefix(&below).filter(|name| is_wanted(name));
            future::ready(Ok(name.map(|name| (name.to_owned(), found.size))))
        });
        self.ask(listed.try_collect())
    }

    /// Stores a file under a key: whole or not at all.
    pub(super) fn upload(&self, key: &str, mut file: &File, bytes: u64) -> io::Result<()> {
        let key = path(key)?;
        file.rewind()?;
        if bytes <= PART {
            let payload = piece(file, bytes)?;
            return self.ask(self.store.put(&key, payload)).map(drop);
        }
        let id = self.ask(self.store.create_multipart(&key))?;
        crash_point!("an upload begun");
        let done = self.upload_parts((&key, &id), file, bytes);
        if done.is_err() {
            self.abort(&key, &id);
        }
        done
    }

    fn upload_parts(
        &self,
        (key, id): (&Path, &MultipartId),
        file: &File,
        bytes: u64,
    ) -> io::Result<()> {
        let size = PART.max(bytes.div_ceil(PARTS));
        let mut parts = Vec::new();
        let mut left = bytes;
        while left > 0 {
            let payload = piece(file, size.min(left))?;
            left -= size.min(left);
            parts.push(self.ask(self.store.put_part(key, id, parts.len(), payload))?);
            crash_point!("a part uploaded");
        }
        self.ask(self.store.complete_multipart(key, id, parts)).map(drop)
    }

    /// Lets the server forget the parts of an upload, after a stop too.
    fn abort(&self, key: &Path, id: &MultipartId) {
        let Some(runtime) = &self.runtime else { return };
        let aborted =
            runtime.block_on(async { timeout(GRACE, self.store.abort_multipart(key, id)).await });
        let cause = match aborted {
            Ok(Ok(())) => return,
            Ok(Err(err)) => told(err).to_string(),
            Err(_) => "no answer in time".to_owned(),
        };
        tracing::warn!(%key, cause, "an upload that failed was not aborted: its parts stay in the bucket");
    }

    /// Writes an object of so many bytes into a file.
    pub(super) fn download(&self, key: &str, bytes: u64, mut into: &File) -> io::Result<()> {
        let name = path(key)?;
        let mut from = 0;
        while from < bytes {
            let to = bytes.min(from + PART);
            let piece = self.ask(self.store.get_range(&name, from..to))?;
            if piece.len() as u64 != to - from {
                return Err(io::Error::other(format!("object `{key}` is shorter than it was")));
            }
            into.write_all(&piece)?;
            from = to;
        }
        into.rewind()
    }

    /// Lets the server copy an object.
    pub(super) fn copy(&self, from: &str, to: &str) -> io::Result<()> {
        let (from, to) = (path(from)?, path(to)?);
        self.ask(self.store.copy(&from, &to))
    }

    /// Removes objects.
    pub(super) fn delete(&self, keys: impl Iterator<Item = String>) -> io::Result<()> {
        let keys: Vec<Path> = keys.map(|key| path(&key)).collect::<io::Result<_>>()?;
        let gone = self.store.delete_stream(stream::iter(keys.into_iter().map(Ok)).boxed());
        self.ask(gone.try_for_each(|_| future::ready(Ok(()))))
    }
}

impl Drop for Bucket {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// The next bytes of a file.
fn piece(file: &File, bytes: u64) -> io::Result<PutPayload> {
    let mut piece = Vec::with_capacity(usize::try_from(bytes).map_err(io::Error::other)?);
    if file.take(bytes).read_to_end(&mut piece)? as u64 != bytes {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(piece.into())
}

/// A key as it is: `object_store` would write some characters in other ways.
fn path(key: &str) -> io::Result<Path> {
    Path::parse(key).map_err(io::Error::other)
}

/// An error, in words.
fn told(err: Error) -> io::Error {
    let kind = match &err {
        Error::Unauthenticated { .. } => Kind::Unknown,
        Error::PermissionDenied { .. } => Kind::Forbidden,
        _ => Kind::Other,
    };
    fault::told(&err, kind)
}

/// Whether an object is not there because nothing can be.
fn is_no_bucket(source: &(dyn std::error::Error + 'static)) -> bool {
    source.to_string().contains("NoSuchBucket")
}

fn connector(place: &S3) -> Result<AmazonS3, Error> {
    let is_plain = place.endpoint.as_ref().is_some_and(|it| it.starts_with("http://"));
    let options = ClientOptions::new()
        .with_allow_http(is_plain)
        .with_connect_timeout(GREETING)
        .with_timeout(PATIENCE);
    let backoff = BackoffConfig {
        init_backoff: Duration::from_millis(200),
        max_backoff: Duration::from_secs(10),
        base: 2.0,
    };
    let retry = RetryConfig { backoff, max_retries: 6, retry_timeout: Duration::from_secs(60) };
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(&place.bucket)
        .with_client_options(options)
        .with_retry(retry)
        // Not every server knows how to remove many objects at once.
        .with_disable_bulk_delete(true)
        .with_virtual_hosted_style_request(!place.path_style);
    for (name, value) in &place.surroundings {
        builder = builder.with_config(name.to_ascii_lowercase().parse()?, value.expose());
    }
    if let Some(keys) = &place.keys {
        builder = builder.with_access_key_id(keys.id.expose());
        builder = builder.with_secret_access_key(keys.secret.expose());
        if let Some(token) = &keys.session_token {
            builder = builder.with_token(token.expose());
        }
    }
    if let Some(region) = &place.region {
        builder = builder.with_region(region);
    }
    if let Some(endpoint) = &place.endpoint {
        let host = format!("://{}.", place.bucket);
        builder = builder.with_endpoint(match place.path_style {
            true => endpoint.clone(),
            false => endpoint.replacen("://", &host, 1),
        });
    }
    builder.build()
}
