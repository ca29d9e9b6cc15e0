//! What can be typed after `hogline state`. No behaviour.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Format;

/// Options of `state`.
#[derive(Debug, Args)]
pub struct StateArgs {
    /// What to do with it.
    #[command(subcommand)]
    pub action: StateAction,
    /// The state database, or the folder it is in.
    #[arg(long, global = true, value_name = "PATH", default_value = "state")]
    pub state: PathBuf,
}

/// What can be done with the state.
#[derive(Debug, Subcommand)]
pub enum StateAction {
    /// One line for every stream that has a checkpoint.
    List {
        /// How the answer looks.
        #[arg(long, value_enum, default_value = "table")]
        format: Format,
    },
    /// Everything that is stored about a stream.
    Show {
        /// The stream.
        #[command(flatten)]
        of: OneStream,
        /// How the answer looks.
        #[arg(long, value_enum, default_value = "table")]
        format: Format,
    },
    /// Take the target for complete in a range that was loaded by other means.
    Set {
        /// The stream.
        #[command(flatten)]
        of: OneStream,
        /// The first instant that is not there; without a zone it is UTC.
        #[arg(long, value_name = "TIME")]
        complete_to: String,
        /// The first instant that is [default: where the stream's history begins].
        #[arg(long, value_name = "TIME")]
        from: Option<String>,
    },
    /// Take a stream for complete only up to a time: the next run reads on from there.
    Rewind {
        /// The stream.
        #[command(flatten)]
        of: OneStream,
        /// The first instant that is read again; without a zone it is UTC.
        #[arg(long, value_name = "TIME")]
        to: String,
    },
    /// Forget how far a stream has come: the next run loads it from the beginning.
    Reset {
        /// The stream.
        #[command(flatten)]
        of: OneStream,
    },
    /// Write what is stored to stdout, as JSON that `import` reads.
    Export {
        /// Only this stream.
        #[arg(long)]
        stream: Option<String>,
    },
    /// Read what `export` wrote: all of it or, where anything is wrong with it, nothing.
    Import {
        /// The file; `-` is stdin.
        file: PathBuf,
        /// Also replace what is newer here, or of another history.
        #[arg(long)]
        force: bool,
    },
    /// How columns came to be as they are, one line for every change: new fields, wider types.
    Schema {
        /// Only this stream.
        #[arg(long)]
        stream: Option<String>,
        /// How the answer looks.
        #[arg(long, value_enum, default_value = "table")]
        format: Format,
    },
    /// The runs so far, the last one first: when, how long, rows, requests, outcome.
    Runs {
        /// Only runs of this stream, and what they did for it.
        #[arg(long)]
        stream: Option<String>,
        /// How many.
        #[arg(long, default_value_t = 20)]
        limit: usize,
        /// How the answer looks.
        #[arg(long, value_enum, default_value = "table")]
        format: Format,
    },
}

/// Which stream is meant, where several objects or projects have one of its name.
#[derive(Debug, Args)]
pub struct OneStream {
    /// The stream.
    #[arg(long)]
    pub stream: String,
    /// Where it goes, as `state list` shows it or only the part behind the `#`.
    #[arg(long)]
    pub object: Option<String>,
    /// The project's id.
    #[arg(long)]
    pub project: Option<String>,
}
