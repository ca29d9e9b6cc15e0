//! Calls to the system that fail as a bad disk or a wrong clock would have it.
//!
//! `shim.c` stands between the program and the system; it is compiled once and loaded into
//! the child with `LD_PRELOAD`. It tells of every strike, so that a story can see that it
//! was one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use super::Project;

/// The compiled library; nothing where programs load none.
static LIBRARY: LazyLock<Option<PathBuf>> = LazyLock::new(|| {
    if !cfg!(all(target_os = "linux", target_env = "gnu")) {
        return None;
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/replication/support/shim.c");
    // Renamed when it is whole: every test is a process of its own.
    let (draft, library) =
        (folder.join(format!("shim-{}.so", std::process::id())), folder.join("shim.so"));
    let compiled = Command::new("cc")
        .args(["-O1", "-Wall", "-Werror", "-shared", "-fPIC", "-o"])
        .args([draft.as_path(), Path::new(source)])
        .output()
        .unwrap();
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    fs::rename(&draft, &library).unwrap();
    Some(library)
});

/// What the system does wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shim {
    settings: Vec<(&'static str, String)>,
}

impl Shim {
    /// Why there is none here.
    pub(crate) fn why_empty() -> Option<&'static str> {
        LIBRARY.is_none().then_some("only a Linux with glibc lets calls be replaced")
    }

    /// The `n`-th of these calls (`write`, `fsync`, `rename`) fails, once.
    pub(crate) fn failing(call: &str, n: usize) -> Self {
        let settings = vec![("SHIM_FAILS", call.to_owned()), ("SHIM_AT", n.to_string())];
        Self { settings }
    }

    /// The disk is full with the `n`-th write, and stays so.
    pub(crate) fn full_at(n: usize) -> Self {
        Self::failing("write", n).with("SHIM_STAYS", "1")
    }

    /// Nothing can be written, made, renamed or removed.
    pub(crate) fn read_only() -> Self {
        Self::failing("readonly", 1).with("SHIM_STAYS", "1")
    }

    /// The clock is wrong by `seconds` from its `n`-th reading on.
    pub(crate) fn clock_off(seconds: i64, n: usize) -> Self {
        let settings = vec![("SHIM_SHIFT", seconds.to_string()), ("SHIM_FROM", n.to_string())];
        Self { settings }
    }

    /// Only for files whose path contains `part`; else for all below the project's folder.
    pub(crate) fn under(self, part: &str) -> Self {
        self.with("SHIM_UNDER", part)
    }

    fn with(mut self, name: &'static str, value: &str) -> Self {
        self.settings.push((name, value.to_owned()));
        self
    }

    /// Loads it into a command of the project.
    pub(crate) fn goes_into(&self, command: &mut Command, project: &Project) {
        drop(fs::remove_file(told_of(project)));
        let library = LIBRARY.as_ref().expect("asked `why_empty` before");
        command.env("LD_PRELOAD", library).env("SHIM_TOLD", told_of(project));
        command.env("SHIM_UNDER", project.folder());
        command.envs(self.settings.iter().map(|(name, value)| (name, value)));
    }

    /// Whether it struck in the last run.
    pub(crate) fn struck(&self, project: &Project) -> bool {
        told_of(project).exists()
    }
}

/// The file that the library tells of its strikes in.
fn told_of(project: &Project) -> PathBuf {
    project.path("struck")
}
