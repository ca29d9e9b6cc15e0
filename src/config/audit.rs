//! Columns about the run that wrote a row, asked for by variables as Sling's users do:
//! `env: { SLING_LOADED_AT_COLUMN: true }`.

/// The columns there are: the variable's name behind `SLING_` or `HOGLINE_`, and which it is.
const COLUMNS: [(&str, AuditColumn); 3] = [
    ("LOADED_AT_COLUMN", AuditColumn::LoadedAt),
    ("STREAM_URL_COLUMN", AuditColumn::StreamUrl),
    ("EXEC_ID_COLUMN", AuditColumn::ExecId),
];

/// What Sling's users can ask for and we have not: the numbers of rows.
pub const UNHEARD: &str = "SLING_ROW_NUM_COLUMN";

/// A column about the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuditColumn {
    /// When the run began.
    LoadedAt,
    /// Where the stream was read.
    StreamUrl,
    /// The run.
    ExecId,
}

impl AuditColumn {
    /// What it is called in the target: Sling's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::LoadedAt => "_sling_loaded_at",
            Self::StreamUrl => "_sling_stream_url",
            Self::ExecId => "_sling_exec_id",
        }
    }

    /// Those that the variables ask for.
    pub(super) fn wanted<'v>(value_of: impl Fn(&str) -> Option<&'v String>) -> Vec<Self> {
        let is_asked = |name: &str| {
            let given =
                ["HOGLINE_", "SLING_"].iter().find_map(|maker| value_of(&format!("{maker}{name}")));
            given.is_some_and(|value| {
                !matches!(value.to_lowercase().as_str(), "" | "false" | "0" | "no")
            })
        };
        COLUMNS.iter().filter(|(name, _)| is_asked(name)).map(|(_, column)| *column).collect()
    }
}
