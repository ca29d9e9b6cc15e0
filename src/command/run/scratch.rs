//! A state that goes when it was used.

use std::path::{Path, PathBuf};

use super::jobs;
use crate::error::Failure;
use crate::state::store::StateStore;

/// A folder for a state; it goes when dropped.
pub(super) struct Scratch {
    folder: PathBuf,
    pub(super) state: PathBuf,
}

impl Scratch {
    /// A place for a new state.
    pub(super) fn new() -> Result<Self, Failure> {
        let folder = std::env::temp_dir().join(format!("hogline-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&folder).map_err(|err| {
            let fix = "name a folder that can be written with TMPDIR";
            Failure::usage("there is no place for a state of this run", err.to_string(), fix)
        })?;
        Ok(Self { state: folder.join("hogline.db"), folder })
    }

    /// A copy of a state, to plan with.
    pub(super) fn copy_of(state_path: &Path) -> Result<Self, Failure> {
        let scratch = Self::new()?;
        if state_path.exists() {
            let copied =
                StateStore::open(state_path).and_then(|state| state.copy_to(&scratch.state));
            copied.map_err(|err| jobs::unusable_state(&err))?;
        }
        Ok(scratch)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(err) = std::fs::remove_dir_all(&self.folder) {
            tracing::warn!(folder = %self.folder.display(), %err, "a copy of the state stays");
        }
    }
}
