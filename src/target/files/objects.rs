//! A place in a bucket, as a store.
//!
//! There are no renames and no locks here, and what was sent may have arrived though nobody
//! says so. So everything hangs on one object, the manifest, which is only ever put in the
//! place of the version that was read:
//!
//! - A writer begins by putting his name into the manifest. Whoever wrote before can no longer
//!   replace it: he finds another version there and ends, and what he uploaded stays unlisted.
//! - Where no answer says whether the manifest was replaced, what is there tells: only this
//!   writer can have written these bytes, since his name is in them.
//! - What nobody lists is removed if it was there before this writer had his name in the
//!   manifest: all who might still have listed it are shut out. Names of files hold a number
//!   of the writer's, so two never put the same object.
//!
//! Files are written on this machine first, as files without a name, and uploaded whole.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

use crate::config::S3;
use crate::target::files::bucket::{Bucket, Version};
use crate::target::files::fault::Fault;
use crate::target::files::manifest::{Listed, Manifest};
use crate::target::files::names::{MANIFEST, Names, PART};
use crate::target::files::store::{Store, wrong_size};

/// How often the manifest is sent where nobody says whether it came.
const TRIES: usize = 3;

/// How the name of an object begins by which a server is put to the test.
const PROBE: &str = ".hogline-probe-";

/// The largest object that a server copies in one go.
const COPIED: u64 = 5 << 30;

/// One stream's objects.
pub(super) struct Objects {
    bucket: Bucket,
    /// What their keys begin with: `prefix/posthog/events`.
    folder: String,
    label: String,
    names: Names,
    writer: String,
    held: Mutex<Held>,
}

/// What is known of the place.
#[derive(Default)]
struct Held {
    /// The version of the manifest that was last read or written, once it was.
    manifest: Option<Option<Version>>,
    /// The sizes of our objects, as of when the manifest was read.
    sizes: Option<BTreeMap<String, u64>>,
    /// Our name is in the manifest.
    is_taken: bool,
    /// Our objects that were there before it was; to be swept once.
    before: BTreeMap<String, u64>,
}

impl Objects {
    pub(super) fn new(place: &S3, folder: &str, stream: &str) -> io::Result<Self> {
        let writer = Uuid::new_v4();
        let below = |text: &str| if text.is_empty() { String::new() } else { format!("{text}/") };
        Ok(Self {
            bucket: Bucket::new(place)?,
            folder: format!("{}{folder}", below(&place.prefix)),
            label: format!("s3://{}/{}{folder}", place.bucket, below(&place.prefix)),
            names: Names { writer: Some(writer.as_fields().0), ..Names::of(stream) },
            writer: writer.to_string(),
            held: Mutex::default(),
        })
    }

    fn key(&self, name: &str) -> String {
        format!("{}/{name}", self.folder)
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Our objects, probes that a killed run left included.
    fn list(&self) -> io::Result<BTreeMap<String, u64>> {
        self.bucket.list(&self.folder, |name| match name.split_once('/') {
            None => self.names.are_of(name) || name.starts_with(PROBE),
            Some((part, name)) => part.starts_with(PART) && self.names.are_of(name),
        })
    }

    /// Sees that the server keeps to the conditions of a put: some pay no heed to them.
    fn try_conditions(&self, key: &str) -> io::Result<()> {
        let first = self.bucket.put(key, b"1", None)?;
        let over_any = self.bucket.put(key, b"2", None)?;
        let second = self.bucket.put(key, b"3", first.as_ref())?;
        let over_old = self.bucket.put(key, b"4", first.as_ref())?;
        match [first.is_some(), over_any.is_some(), second.is_some(), over_old.is_some()] {
            [true, false, true, false] => Ok(()),
            _ => Err(Fault::error(
                "the server does not keep to the conditions of a put (If-None-Match, If-Match): \
                 two runs could undo each other's work",
                "use a server that does, like Amazon S3, Cloudflare R2 or MinIO",
            )),
        }
    }

    /// Puts the manifest in the place of the version that is known.
    fn put_manifest(&self, text: &str, held: &mut Held) -> io::Result<()> {
        let key = self.key(MANIFEST);
        let known = held.manifest.clone().flatten();
        let mut why = None;
        for _ in 0..TRIES {
            match self.bucket.put(&key, text.as_bytes(), known.as_ref()) {
                Ok(Some(version)) => {
                    held.manifest = Some(Some(version));
                    return Ok(());
                }
                // It was refused …
                Ok(None) => {}
                // … or nobody knows.
                Err(err) => why = Some(err),
            }
            let (there, version) = match self.bucket.get(&key) {
                Ok(there) => there.unzip(),
                Err(err) => return Err(why.unwrap_or(err)),
            };
            if there.as_deref() == Some(text.as_bytes()) {
                held.manifest = Some(version);
                return Ok(());
            }
            if version != known {
                return Err(another_run());
            }
        }
        Err(why.unwrap_or_else(another_run))
    }
}

fn another_run() -> io::Error {
    Fault::error(
        "another run replaced `_manifest.json`: it writes here too",
        "let it end, and give both the same --state; nothing is lost: what this one had not \
         committed is read again",
    )
}

impl Store for Objects {
    fn label(&self) -> String {
        self.label.clone()
    }

    fn names(&self) -> &Names {
        &self.names
    }

    /// A place with a manifest is one that a run wrote to; the next one has to replace it first.
    fn probe(&self) -> io::Result<()> {
        if self.manifest()?.is_some() {
            return Ok(());
        }
        let key = self.key(&format!("{PROBE}{}", self.writer));
        let tried = self.try_conditions(&key);
        let removed = self.bucket.delete([key].into_iter());
        tried.and(removed)
    }

    fn take(&self) -> io::Result<()> {
        Ok(())
    }

    fn writer(&self) -> Option<&str> {
        Some(&self.writer)
    }

    fn manifest(&self) -> io::Result<Option<String>> {
        let (text, version) = self.bucket.get(&self.key(MANIFEST))?.unzip();
        let mut held = self.held();
        // What was recalled is what a load goes on from.
        if held.manifest.as_ref().is_some_and(|known| *known != version) {
            return Err(another_run());
        }
        (held.manifest, held.sizes) = (Some(version), None);
        let broken = |err| io::Error::new(io::ErrorKind::InvalidData, err);
        text.map(|text| String::from_utf8(text).map_err(broken)).transpose()
    }

    fn replace_manifest(&self, manifest: &Manifest) -> io::Result<()> {
        let mut held = self.held();
        if !held.is_taken {
            held.before = self.list()?;
        }
        crash_point!("before the manifest");
        self.put_manifest(&manifest.to_json()?, &mut held)?;
        held.is_taken = true;
        crash_point!("manifest replaced");
        Ok(())
    }

    fn draft(&self, _: u32) -> io::Result<(File, String)> {
        crash_point!("before a draft");
        Ok((tempfile::tempfile()?, String::new()))
    }

    fn seal(&self, file: &File, listed: Listed, name: String) -> io::Result<Listed> {
        self.bucket.upload(&self.key(&name), file, listed.bytes)?;
        crash_point!("file not listed");
        Ok(Listed { name, ..listed })
    }

    fn open(&self, listed: &Listed) -> io::Result<File> {
        let file = tempfile::tempfile()?;
        self.bucket.download(&self.key(&listed.name), listed.bytes, &file)?;
        Ok(file)
    }

    fn fault_of(&self, listed: &Listed) -> io::Result<Option<String>> {
        let mut held = self.held();
        let sizes = match held.sizes.take() {
            Some(sizes) => sizes,
            None => self.list()?,
        };
        let sizes = held.sizes.insert(sizes);
        Ok(match sizes.get(&listed.name) {
            None => Some(format!("file `{}` is gone", listed.name)),
            Some(found) if *found != listed.bytes => Some(wrong_size(listed, *found)),
            Some(_) => None,
        })
    }

    fn files(&self) -> io::Result<Vec<String>> {
        let is_file = |name: &String| !name.starts_with(PROBE);
        Ok(self.list()?.into_keys().filter(is_file).collect())
    }

    /// A copy: the hidden one goes once the manifest no longer lists it.
    fn show(&self, hidden: &Listed, name: &str) -> io::Result<()> {
        if hidden.bytes <= COPIED {
            self.bucket.copy(&self.key(&hidden.name), &self.key(name))?;
        } else {
            self.bucket.upload(&self.key(name), &self.open(hidden)?, hidden.bytes)?;
        }
        crash_point!("a file of the copy shown");
        Ok(())
    }

    fn keep_shown(&self) -> io::Result<()> {
        Ok(())
    }

    fn hide(&self, _: &Listed, _: &str) -> io::Result<()> {
        Ok(())
    }

    fn sweep(&self, manifest: &Manifest) -> io::Result<()> {
        let before = std::mem::take(&mut self.held().before);
        let left = before.into_keys().filter(|name| !manifest.lists(name));
        self.bucket.delete(left.map(|name| self.key(&name)))?;
        crash_point!("leftovers swept");
        Ok(())
    }

    fn retire(&self, before: &Manifest, now: &Manifest) -> io::Result<()> {
        let gone = before.all().filter(|listed| !now.lists(&listed.name));
        self.bucket.delete(gone.map(|listed| self.key(&listed.name)))
    }

    fn hint(&self, err: &io::Error) -> String {
        let hint = Fault::hint_of(err).unwrap_or(match err.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                "free space where temporary files go (TMPDIR), then run again: nothing is lost"
            }
            _ => "check where temporary files go (TMPDIR)",
        });
        hint.to_owned()
    }
}
