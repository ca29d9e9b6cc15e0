//! Whether state and target tell the same story.
//!
//! A pure judgement over the two copies of a checkpoint. Where they cannot both
//! be true it says what is wrong and never guesses which one is: going on would
//! either lose rows or load them twice.

use crate::checkpoint::Checkpoint;
use crate::state::store::Stored;
use crate::target::Recall;

/// What a run may begin with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Agreement {
    /// Nothing was loaded yet, or a reset asks to forget what was: a new history begins.
    /// After a reset it has the epoch that is in the state.
    Fresh,
    /// Both agree, or one is ahead by a crash that lost nothing.
    Go(Box<Checkpoint>),
    /// They contradict each other: says how.
    Disagree(String),
}

/// Compares what the state and the target hold of one stream.
pub fn compare(state: Option<&Stored>, target: &Recall) -> Agreement {
    match (state, target) {
        // A run that began after the reset and broke off before the state heard of it.
        (Some(stored), Recall::Found(found))
            if stored.reset && found.epoch == stored.checkpoint.epoch =>
        {
            Agreement::Go(Box::new(found.clone()))
        }
        (Some(stored), _) if stored.reset => Agreement::Fresh,
        (_, Recall::Damaged(found, missing)) => Agreement::Disagree(format!(
            "the target holds the checkpoint of commit {}, but {missing}",
            found.sequence
        )),
        (None, Recall::Nothing) => Agreement::Fresh,
        (None, Recall::Found(found)) => Agreement::Go(Box::new(found.clone())),
        (Some(stored), Recall::Nothing) if stored.checkpoint.sequence == 0 => Agreement::Fresh,
        (Some(stored), Recall::Nothing) => Agreement::Disagree(format!(
            "the state knows {} of this stream (saved {}), the target knows nothing of it",
            commits(stored.checkpoint.sequence),
            stored.updated_at
        )),
        (Some(stored), Recall::Found(found)) => compare_checkpoints(stored, found),
    }
}

fn compare_checkpoints(stored: &Stored, found: &Checkpoint) -> Agreement {
    let known = &stored.checkpoint;
    if known.epoch != found.epoch {
        return Agreement::Disagree(format!(
            "the state follows the history {}, the target holds another one, {}",
            known.epoch, found.epoch
        ));
    }
    if found.sequence < known.sequence {
        return Agreement::Disagree(format!(
            "the target is behind: it holds {}, the state knows {} (saved {})",
            commits(found.sequence),
            commits(known.sequence),
            stored.updated_at
        ));
    }
    Agreement::Go(Box::new(found.clone()))
}

fn commits(count: u64) -> String {
    format!("{count} {}", if count == 1 { "commit" } else { "commits" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::StreamKey;
    use crate::cursor::{Position, Timestamp};

    fn checkpoint(epoch: &str, sequence: u64) -> Checkpoint {
        let [origin, project, stream, object] = ["o", "1", "s", "t"].map(String::from);
        let key = StreamKey { origin, project, stream, object };
        let (epoch, position, witnesses) = (epoch.into(), Position::default(), vec![]);
        Checkpoint { key, epoch, sequence, position, witnesses }
    }

    fn found(epoch: &str, sequence: u64) -> Recall {
        Recall::Found(checkpoint(epoch, sequence))
    }

    fn damaged(epoch: &str, sequence: u64) -> Recall {
        Recall::Damaged(checkpoint(epoch, sequence), "table `t` is gone".into())
    }

    #[test]
    fn state_and_target_agree_or_nothing_is_done() {
        let stored = |epoch, sequence, reset| {
            let updated_at = Timestamp::from_micros(0);
            Some(Stored { checkpoint: checkpoint(epoch, sequence), reset, updated_at })
        };
        let go = |epoch, sequence| Ok(Some(checkpoint(epoch, sequence)));
        let fresh = Ok(None);
        for (state, target, expected) in [
            (None, Recall::Nothing, fresh.clone()),
            (None, found("a", 3), go("a", 3)),
            (None, damaged("a", 3), Err("commit 3, but table `t` is gone")),
            (stored("a", 0, false), Recall::Nothing, fresh.clone()),
            (stored("a", 1, false), Recall::Nothing, Err("1 commit of this stream")),
            (stored("a", 3, false), found("a", 3), go("a", 3)),
            (stored("a", 3, false), found("a", 4), go("a", 4)),
            (stored("a", 3, false), found("a", 2), Err("holds 2 commits, the state knows 3")),
            (stored("a", 3, false), found("b", 3), Err("another one, b")),
            (stored("a", 3, false), damaged("a", 3), Err("is gone")),
            (stored("b", 0, true), Recall::Nothing, fresh.clone()),
            (stored("b", 0, true), found("a", 9), fresh.clone()),
            (stored("b", 0, true), damaged("a", 9), fresh.clone()),
            (stored("b", 0, true), found("b", 2), go("b", 2)),
        ] {
            let agreement = compare(state.as_ref(), &target);

            let shown = format!("{state:?} and {target:?}: {agreement:?}");
            match (agreement, expected) {
                (Agreement::Fresh, Ok(None)) => {}
                (Agreement::Go(went), Ok(Some(wanted))) => assert_eq!(*went, wanted, "{shown}"),
                (Agreement::Disagree(why), Err(part)) => assert!(why.contains(part), "{shown}"),
                _ => panic!("{shown}"),
            }
        }
    }
}
