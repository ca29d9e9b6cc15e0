//! A run that ended, to be judged.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use serde_json::Value;

/// A run that ended and was not yet judged.
#[must_use = "a run is to be judged: succeeds(), exits(code)"]
pub(crate) struct Ran(pub(super) Told);

/// How a run of the program ended and what it said.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    /// The report file, where one was written.
    pub(crate) report: Option<Value>,
}

impl Ran {
    /// It was killed, as by a power cut.
    pub(crate) fn was_killed(&self) -> bool {
        self.0.status.signal() == Some(9)
    }

    /// The code it ended with.
    pub(crate) fn code(&self) -> Option<i32> {
        self.0.status.code()
    }

    /// It ended with 0.
    #[track_caller]
    pub(crate) fn succeeds(self) -> Told {
        self.exits(0)
    }

    /// Whether it ended with this code.
    pub(crate) fn ended_with(&self, code: i32) -> bool {
        self.0.status.code() == Some(code)
    }

    /// It ended with this code.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Told {
        assert_eq!(self.0.status.code(), Some(code), "{}", self.0);
        self.0
    }

    /// It ended with this code and said what to do, or with the other one: what went wrong
    /// was nothing that it needs.
    #[track_caller]
    pub(crate) fn fails_or_is(self, code: i32, other: i32) -> Told {
        if self.0.status.code() == Some(other) {
            return self.0;
        }
        self.exits(code).says("fix:")
    }

    /// It ended with one of these codes, and said what to do unless with 0.
    #[track_caller]
    pub(crate) fn fails_or_is_one_of(self, codes: &[i32]) -> Told {
        let code = self.0.status.code().unwrap_or(-1);
        assert!(codes.contains(&code), "{}", self.0);
        self.fails_or_is(code, 0)
    }
}

impl Told {
    /// It said this, in either stream.
    #[track_caller]
    pub(crate) fn says(self, text: &str) -> Self {
        let said = self.stdout.contains(text) || self.stderr.contains(text);
        assert!(said, "does not say {text:?}:\n{self}");
        self
    }

    /// What the report tells of a stream.
    #[track_caller]
    pub(crate) fn told_of(&self, stream: &str) -> Value {
        let report = self.report.as_ref().unwrap_or_else(|| panic!("no report:\n{self}"));
        let streams = report["streams"].as_array().into_iter().flatten();
        let found = streams.into_iter().find(|told| told["stream"] == stream).cloned();
        found.unwrap_or_else(|| panic!("the report does not tell of {stream}: {report:#}"))
    }

    /// How many rows of a stream were new, updated, unchanged and late.
    #[track_caller]
    pub(crate) fn rows_of(&self, stream: &str) -> [u64; 4] {
        let rows = &self.told_of(stream)["rows"];
        ["new", "updated", "unchanged", "late"].map(|kind| rows[kind].as_u64().unwrap())
    }
}

impl std::fmt::Display for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { status, stdout, stderr, .. } = self;
        write!(f, "{status}\n--- stdout\n{stdout}\n--- stderr\n{stderr}")
    }
}
