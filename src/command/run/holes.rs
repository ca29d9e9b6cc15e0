//! Runs that would leave less in a table than it seems to hold, refused before they begin.

use crate::checkpoint::Checkpoint;
use crate::config::{Mode, StreamConfig};
use crate::error::Failure;
use crate::plan::Wish;

/// What is asked of the records: where another question was put before, going on would leave
/// a hole that nobody sees.
pub(super) fn condition(config: &StreamConfig) -> Option<String> {
    let sql = config.sql.as_ref().map(|sql| format!("sql {}", sql.text.trim()));
    let filter = config.filter.as_ref().map(|filter| format!("where {}", filter.text.trim()));
    let both: Vec<String> = sql.into_iter().chain(filter).collect();
    (!both.is_empty()).then(|| both.join(" "))
}

/// Refuses to go on from rows that were chosen otherwise, and to put a sample in the place of
/// a whole copy.
pub(super) fn refuse_a_hole(wish: &Wish, checkpoint: &Checkpoint) -> Result<(), Failure> {
    let (stream, position) = (&checkpoint.key.stream, &checkpoint.position);
    let told = |condition: &Option<String>| match condition {
        Some(condition) => format!("`{condition}`"),
        None => "no condition".to_owned(),
    };
    match wish.mode {
        Mode::Incremental | Mode::Backfill
            if (position.mark.is_some() || position.open.is_some())
                && position.condition != wish.condition =>
        {
            Err(Failure::usage(
                format!("stream `{stream}` was loaded with another condition"),
                format!(
                    "it was loaded with {}, and now there is {}: going on would leave out what only \
                     this one wants, without a word",
                    told(&position.condition),
                    told(&wish.condition)
                ),
                "load it anew with --mode full-refresh, give it another object, or print it with \
                 --stdout",
            ))
        }
        Mode::FullRefresh | Mode::Truncate
            if wish.limit.is_some() && (position.mark.is_some() || position.copying.is_some()) =>
        {
            Err(Failure::usage(
                format!(
                    "stream `{stream}`: a limit would put a sample in the place of a whole copy"
                ),
                format!("{} holds one", checkpoint.key.object),
                "print the sample with --stdout, or give it another object",
            ))
        }
        _ => Ok(()),
    }
}
