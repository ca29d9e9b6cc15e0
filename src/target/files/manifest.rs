//! The list of a folder's files, with the checkpoint they amount to.
//!
//! It is versioned JSON that other programs may read: `files` are to be read in
//! their order, and nothing else in the folder is.

use std::io;

use serde::{Deserialize, Serialize};

use crate::checkpoint::Checkpoint;
use crate::config::FileFormat;
use crate::cursor::{Position, Timestamp};
use crate::target::Layout;

/// The form of the manifest.
const VERSION: u64 = 1;

/// One file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::target) struct Listed {
    /// Below the folder; it ends as files of its format do.
    pub(in crate::target) name: String,
    pub(in crate::target) bytes: u64,
    pub(in crate::target) rows: u64,
    /// The least and the greatest value of the rows' first timestamp column.
    pub(in crate::target) first: Option<Timestamp>,
    pub(in crate::target) last: Option<Timestamp>,
}

impl Listed {
    /// Whether it is written as files now are.
    pub(in crate::target) fn fits(&self, layout: Layout) -> bool {
        let is_dated = self.name.contains('/');
        FileFormat::of_name(&self.name) == Some(layout.format) && is_dated == layout.by_date
    }
}

/// All of a folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::target) struct Manifest {
    version: u64,
    pub(in crate::target) checkpoint: Option<Checkpoint>,
    /// The `_hogline_seq` of the next row that is merged in.
    pub(in crate::target) next_seq: u64,
    /// The files that readers see.
    pub(in crate::target) files: Vec<Listed>,
    /// The files of a full copy that is not finished, hidden by a dot.
    pub(in crate::target) copying: Option<Vec<Listed>>,
    /// Who wrote it, where it is what keeps other writers out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::target) writer: Option<String>,
}

impl Default for Manifest {
    fn default() -> Self {
        Self {
            version: VERSION,
            checkpoint: None,
            next_seq: 1,
            files: vec![],
            copying: None,
            writer: None,
        }
    }
}

/// Why a manifest is not used.
#[derive(Debug, thiserror::Error)]
pub(in crate::target) enum Unreadable {
    #[error("`_manifest.json` or its checkpoint has the form {0}, made by a newer hogline")]
    Newer(u64),
    #[error("`_manifest.json` cannot be read: {0}")]
    Broken(#[from] serde_json::Error),
}

/// What is looked at first: forms, before anything whose shape depends on them.
#[derive(Deserialize)]
struct Forms {
    version: u64,
    checkpoint: Option<CheckpointForm>,
}

#[derive(Deserialize)]
struct CheckpointForm {
    position: PositionForm,
}

#[derive(Deserialize)]
struct PositionForm {
    version: u64,
}

impl Manifest {
    /// Reads a manifest, unless a newer program wrote it.
    pub(in crate::target) fn parse(json: &str) -> Result<Self, Unreadable> {
        let forms: Forms = serde_json::from_str(json)?;
        let known = u64::from(Position::VERSION);
        match forms.checkpoint.map_or(known, |checkpoint| checkpoint.position.version) {
            _ if forms.version != VERSION => Err(Unreadable::Newer(forms.version)),
            version if version != known => Err(Unreadable::Newer(version)),
            _ => Ok(serde_json::from_str(json)?),
        }
    }

    /// The manifest as it is stored.
    pub(in crate::target) fn to_json(&self) -> io::Result<String> {
        Ok(serde_json::to_string_pretty(self)?)
    }

    /// Every file it vouches for.
    pub(in crate::target) fn all(&self) -> impl Iterator<Item = &Listed> {
        self.files.iter().chain(self.copying.iter().flatten())
    }

    /// Whether a file is one of them.
    pub(in crate::target) fn lists(&self, name: &str) -> bool {
        self.all().any(|listed| listed.name == name)
    }
}
