//! The modes, as Sling's users know them.

use std::fmt;
use std::str::FromStr;

use super::complaint::suggestion;

/// How a stream is brought up to date.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Everything anew, swapped in at once.
    FullRefresh,
    /// Everything anew into the table as it is.
    Truncate,
    /// What came or changed since the last run.
    Incremental,
    /// Everything anew, beside the earlier copies.
    Snapshot,
    /// A range of the update key again.
    Backfill,
    /// No rows: only the table, with its columns.
    DefinitionOnly,
}

impl Mode {
    /// Every mode by its name.
    pub const ALL: [(&'static str, Self); 6] = [
        ("full-refresh", Self::FullRefresh),
        ("truncate", Self::Truncate),
        ("incremental", Self::Incremental),
        ("snapshot", Self::Snapshot),
        ("backfill", Self::Backfill),
        ("definition-only", Self::DefinitionOnly),
    ];

    /// What the user calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::FullRefresh => "full-refresh",
            Self::Truncate => "truncate",
            Self::Incremental => "incremental",
            Self::Snapshot => "snapshot",
            Self::Backfill => "backfill",
            Self::DefinitionOnly => "definition-only",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.iter().find(|(name, _)| *name == text);
        found.map(|(_, mode)| *mode).ok_or_else(|| {
            let names = Self::ALL.map(|(name, _)| name);
            format!("unknown mode \"{text}\", {}", suggestion(text, &names))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mode_is_read_from_its_name() {
        for (text, expected) in [
            ("full-refresh", Ok(Mode::FullRefresh)),
            ("backfill", Ok(Mode::Backfill)),
            ("snapshot", Ok(Mode::Snapshot)),
            ("full_refresh", Err("unknown mode \"full_refresh\", did you mean \"full-refresh\"?")),
            (
                "merge",
                Err("unknown mode \"merge\", \
                     known: full-refresh, truncate, incremental, snapshot, backfill, definition-only"),
            ),
        ] {
            let mode: Result<Mode, String> = text.parse();
            assert_eq!(mode.as_ref().copied().map_err(String::as_str), expected);
        }
        assert!(Mode::ALL.iter().all(|(name, mode)| mode.to_string() == *name));
    }
}
