//! Whether state and target tell the same story.
//!
//! A pure judgement over the two copies of a checkpoint. Where they cannot both
//! be true it says what is wrong and never guesses which one is: going on would
//! either lose rows or load them twice.

use crate::checkpoint::Checkpoint;
use crate::state::edit::{Change, edited};
use crate::state::store::Stored;
use crate::target::Recall;

/// What a run may begin with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Agreement {
    /// Nothing was loaded yet: a new history begins.
    Fresh,
    /// Both agree, or one is ahead by a crash that lost nothing.
    Go(Box<Checkpoint>),
    /// They contradict each other: says how.
    Disagree(String),
}

/// Compares what the state and the target hold of one stream, and applies what the user
/// changed since.
pub fn compare(state: Option<&Stored>, target: &Recall) -> Agreement {
    let Some(stored) = state else { return judge(None, target) };
    let edits = &stored.edits;
    // A run took up an edit and broke off before the state heard of it.
    if let Recall::Found(found) = target
        && let Some(n) = edits.iter().rposition(|edit| edit.epoch == found.epoch)
    {
        return Agreement::Go(Box::new(edited(found.clone(), &edits[n + 1..])));
    }
    // A reset needs nothing of what the target holds.
    if edits.iter().any(|edit| edit.change == Change::Reset) {
        return Agreement::Go(Box::new(stored.edited()));
    }
    match judge(Some(stored), target) {
        Agreement::Go(agreed) => Agreement::Go(Box::new(edited(*agreed, edits))),
        Agreement::Fresh if !edits.is_empty() => Agreement::Go(Box::new(stored.edited())),
        unchanged => unchanged,
    }
}

/// Compares the two copies as runs left them.
fn judge(state: Option<&Stored>, target: &Recall) -> Agreement {
    match (state, target) {
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
    if found.sequence == known.sequence && found.position != known.position {
        return Agreement::Disagree(format!(
            "both hold {}, but not the same position: one of them was changed by hand, or \
             another state writes to this target",
            commits(found.sequence)
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
    use crate::state::Edit;

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

    fn edit(epoch: &str, change: Change) -> Edit {
        Edit { epoch: epoch.into(), change }
    }

    fn stored(epoch: &str, sequence: u64, edits: &[Edit]) -> Option<Stored> {
        let (checkpoint, updated_at) = (checkpoint(epoch, sequence), Timestamp::from_micros(0));
        Some(Stored { checkpoint, edits: edits.to_vec(), updated_at })
    }

    /// A run may go on from this checkpoint; from none; or is refused with these words.
    type Expected = Result<Option<Checkpoint>, &'static str>;

    #[track_caller]
    fn comes_to(state: Option<&Stored>, target: &Recall, expected: Expected) {
        let agreement = compare(state, target);

        let shown = format!("{state:?} and {target:?}: {agreement:?}");
        match (agreement, expected) {
            (Agreement::Fresh, Ok(None)) => {}
            (Agreement::Go(went), Ok(Some(wanted))) => assert_eq!(*went, wanted, "{shown}"),
            (Agreement::Disagree(why), Err(part)) => assert!(why.contains(part), "{shown}"),
            _ => panic!("{shown}"),
        }
    }

    #[test]
    fn state_and_target_agree_or_nothing_is_done() {
        let stored = |epoch, sequence| stored(epoch, sequence, &[]);
        let go = |epoch, sequence| Ok(Some(checkpoint(epoch, sequence)));
        for (state, target, expected) in [
            (None, Recall::Nothing, Ok(None)),
            (None, found("a", 3), go("a", 3)),
            (None, damaged("a", 3), Err("commit 3, but table `t` is gone")),
            (stored("a", 0), Recall::Nothing, Ok(None)),
            (stored("a", 1), Recall::Nothing, Err("1 commit of this stream")),
            (stored("a", 3), found("a", 3), go("a", 3)),
            (stored("a", 3), found("a", 4), go("a", 4)),
            (stored("a", 3), found("a", 2), Err("holds 2 commits, the state knows 3")),
            (stored("a", 3), found("b", 3), Err("another one, b")),
            (stored("a", 3), damaged("a", 3), Err("is gone")),
        ] {
            comes_to(state.as_ref(), &target, expected);
        }
    }

    #[test]
    fn one_commit_has_one_position() {
        let mut elsewhere = checkpoint("a", 3);
        elsewhere.position.mark = Some(Timestamp::from_micros(1));

        let state = stored("a", 3, &[]);
        comes_to(state.as_ref(), &Recall::Found(elsewhere), Err("not the same position"));
    }

    #[test]
    fn an_edit_is_taken_up_once_whenever_a_run_breaks_off() {
        let at = Timestamp::from_micros;
        let marked = |epoch, sequence, mark: i64| {
            let mut marked = checkpoint(epoch, sequence);
            marked.position.mark = Some(at(mark));
            marked
        };
        let found = |epoch, sequence, mark| Recall::Found(marked(epoch, sequence, mark));
        let known = |edits: &[Edit]| {
            let edits = edits.to_vec();
            Some(Stored { checkpoint: marked("a", 3, 50), edits, updated_at: at(0) })
        };
        let reset = |epoch| edit(epoch, Change::Reset);
        let rewind = |epoch, to| edit(epoch, Change::Rewind { to: at(to) });
        let go = |epoch, sequence, mark| Ok(Some(marked(epoch, sequence, mark)));
        for (state, target, expected) in [
            // Not yet taken up: applied to what the target holds, also where that is ahead.
            (known(&[rewind("b", 20)]), found("a", 3, 50), go("b", 3, 20)),
            (known(&[rewind("b", 20)]), found("a", 4, 60), go("b", 4, 20)),
            // Taken up and committed, but the state did not hear of it.
            (known(&[rewind("b", 20)]), found("b", 4, 70), go("b", 4, 70)),
            // A second edit after such a crash is applied to the outcome of the first.
            (known(&[rewind("b", 20), rewind("c", 30)]), found("b", 4, 70), go("c", 4, 30)),
            (known(&[rewind("b", 20), rewind("c", 30)]), found("c", 5, 80), go("c", 5, 80)),
            (known(&[rewind("b", 40), rewind("c", 30)]), found("a", 3, 50), go("c", 3, 30)),
            // An edit excuses nothing.
            (known(&[rewind("b", 20)]), found("a", 2, 40), Err("holds 2 commits")),
            (known(&[rewind("b", 20)]), found("z", 3, 50), Err("another one, z")),
            (known(&[rewind("b", 20)]), damaged("b", 4), Err("is gone")),
            (known(&[rewind("b", 20)]), Recall::Nothing, Err("knows nothing of it")),
            // A reset needs nothing of the target, except what a later run put there.
            (known(&[reset("b")]), Recall::Nothing, Ok(Some(checkpoint("b", 0)))),
            (known(&[reset("b")]), found("z", 9, 50), Ok(Some(checkpoint("b", 0)))),
            (known(&[reset("b")]), damaged("a", 3), Ok(Some(checkpoint("b", 0)))),
            (known(&[reset("b")]), damaged("b", 4), Ok(Some(checkpoint("b", 0)))),
            (known(&[reset("b")]), found("b", 2, 9), go("b", 2, 9)),
            (known(&[reset("b"), reset("c")]), found("b", 2, 9), Ok(Some(checkpoint("c", 0)))),
        ] {
            comes_to(state.as_ref(), &target, expected);
        }
    }

    #[test]
    fn a_table_loaded_elsewhere_is_vouched_for_after_a_reset() {
        let at = Timestamp::from_micros;
        let set = Change::Complete { from: Some(at(10)), to: at(20) };
        let state = stored("a", 3, &[edit("b", Change::Reset), edit("c", set.clone())]);
        let mut vouched = checkpoint("c", 0);
        vouched.position.vouch(Some(at(10)), at(20));

        comes_to(state.as_ref(), &Recall::Nothing, Ok(Some(vouched.clone())));
        let never_run = stored("a", 0, &[edit("c", set)]);
        comes_to(never_run.as_ref(), &Recall::Nothing, Ok(Some(vouched)));
    }
}
