//! Making a target right: the runner reads again what differs, and nothing else.
//!
//! The days that differ are a backfill's ranges, a list is read whole; rows that are wrong
//! give way to what is read, and rows that such a walk does not meet are taken out with
//! its last commit. So every commit leaves a target that its checkpoint describes, and a
//! repair that was interrupted is begun again by the next one. The cursor stays.

use std::collections::BTreeSet;

use super::compare::{Found, failed};
use super::frozen::Frozen;
use super::suspects::within;
use super::{Checking, Day, Verified};
use crate::config::{DeleteMissing, Mode};
use crate::cursor::Interval;
use crate::error::Failure;
use crate::runner::{self, Job, Wrong};

impl Checking<'_> {
    /// Heals what was found, and compares it again.
    pub(super) async fn repair(
        &self,
        job: Job,
        frozen: &Frozen,
        found: Found,
        verified: &mut Verified,
    ) -> Result<(), Failure> {
        let (bad, good): (Vec<Day>, Vec<Day>) =
            found.days.iter().cloned().partition(|day| day.counts.differ());
        let days: BTreeSet<String> = bad.iter().filter_map(|day| day.day.clone()).collect();
        let spans = within(&days, &frozen.spans(self.ask.range));
        let wrong = found.scratch.wrong().and_then(Wrong::new);
        let wrong = wrong.map_err(|err| failed(&verified.stream, &err))?;
        let job = self.repairing(job, wrong, &spans);
        let (mut job, _) =
            runner::run_to_the_bound(job, self.shared, self.stop.clone(), &self.tally, &self.meter)
                .await?;
        job.wrong = None;
        verified.repaired = bad;
        good.iter().for_each(|day| verified.agreed.add(&day.counts));
        let frozen = Frozen::of(&job)?;
        verified.complete_to = Some(frozen.mark);
        self.compare(job, &frozen, &spans, verified).await.map(drop)
    }

    /// The job that reads the spans again, or all of a list.
    fn repairing(&self, mut job: Job, wrong: Wrong, spans: &[Interval]) -> Job {
        let position = &mut job.checkpoint.position;
        // Whatever was in hand is begun anew: what it had met is not known.
        position.complete_backfill();
        position.enumerated = None;
        // One of them may be what is missing.
        job.checkpoint.witnesses.clear();
        job.wish.mode = if spans.is_empty() { Mode::Incremental } else { Mode::Backfill };
        job.wish.ranges = spans.to_vec();
        job.wish.delete_missing.get_or_insert(DeleteMissing::Hard);
        job.wrong = Some(wrong);
        job
    }
}
