//! What the files of a stream need of the place they are kept in.
//!
//! The promise that all else rests on: a file that is not in the manifest does not exist. So
//! a file is whole and durable under its name before the manifest lists it, the manifest is
//! replaced whole and last, and what nobody lists is removed at the next start. What is in
//! a file is its writer's business, and a store never looks inside.

use std::fs::File;
use std::io;

use crate::target::files::manifest::{Listed, Manifest};
use crate::target::files::names::Names;

/// One stream's place.
pub(super) trait Store: Send + Sync {
    /// What to call it in messages.
    fn label(&self) -> String;

    /// How its files are called.
    fn names(&self) -> &Names;

    /// Proves that it can be written, leaving nothing behind.
    fn probe(&self) -> io::Result<()>;

    /// Makes the place, and takes it for one writer where the place itself can do that.
    fn take(&self) -> io::Result<()>;

    /// Who writes here, where the manifest has to say so to keep others out: whoever put
    /// his name there last has the place, and nobody else can replace the manifest any more.
    fn writer(&self) -> Option<&str> {
        None
    }

    /// The text of the manifest, where there is one.
    fn manifest(&self) -> io::Result<Option<String>>;

    /// Replaces the manifest: readers see the old one or the new one.
    fn replace_manifest(&self, manifest: &Manifest) -> io::Result<()>;

    /// Begins the n-th file of a page, that nobody sees; the name is for [`Store::seal`].
    fn draft(&self, n: u32) -> io::Result<(File, String)>;

    /// Makes a draft that was written durable under a name; it is still not listed.
    fn seal(&self, file: &File, listed: Listed, name: String) -> io::Result<Listed>;

    /// Opens a file to be read from its beginning.
    fn open(&self, listed: &Listed) -> io::Result<File>;

    /// Whether a listed file is there and whole; says what is wrong with it.
    fn fault_of(&self, listed: &Listed) -> io::Result<Option<String>>;

    /// The files of this stream that are there, listed or not; drafts apart.
    fn files(&self) -> io::Result<Vec<String>>;

    /// Gives a hidden file the name that readers see. It may keep the old one beside it.
    fn show(&self, hidden: &Listed, name: &str) -> io::Result<()>;

    /// Makes all that was shown durable.
    fn keep_shown(&self) -> io::Result<()>;

    /// Takes back what a [`Store::show`] did that no manifest came to list.
    fn hide(&self, hidden: &Listed, name: &str) -> io::Result<()>;

    /// Removes what a run left behind that died: drafts, and files that are not listed.
    fn sweep(&self, manifest: &Manifest) -> io::Result<()>;

    /// Removes files that the manifest no longer lists.
    fn retire(&self, before: &Manifest, now: &Manifest) -> io::Result<()>;

    /// What the user can do about an error.
    fn hint(&self, err: &io::Error) -> String;
}

/// What is wrong with a file of another size.
pub(super) fn wrong_size(listed: &Listed, found: u64) -> String {
    format!("file `{}` has {found} bytes instead of {}", listed.name, listed.bytes)
}
