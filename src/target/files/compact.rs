//! Many files made few, with each key once.
//!
//! The files of a folder, or of each date in it, are read as their readers are told to, and
//! what they amount to is written into new files, in the layout that is wanted now. One
//! replacement of the manifest then lists the new ones instead of the old: a reader sees
//! these or those, and a kill at any moment leaves files that nobody listed. The checkpoint
//! and the numbers of rows stay, so runs go on as if nothing had happened.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use crate::checkpoint::Checkpoint;
use crate::record::batch::Batch;
use crate::record::repair::Repairs;
use crate::stop;
use crate::target::files::FilesTarget;
use crate::target::files::log::{Fields, Log};
use crate::target::files::manifest::Listed;
use crate::target::files::page::Page;
use crate::target::{Compacted, Recall, Scan, Target, TargetError};

/// Compacts a stream's files.
pub(super) fn compact(target: &mut FilesTarget) -> Result<Compacted, TargetError> {
    let recall = target.recall()?;
    let checkpoint = match recall {
        Recall::Nothing => return Ok(Compacted::default()),
        Recall::Found(checkpoint) => checkpoint,
        Recall::Damaged(_, missing) => {
            return Err(target.error(missing, super::BOTH_WAYS.into()));
        }
    };
    target.abandon()?;
    target.take_place()?;
    let swept = target.store.sweep(&target.manifest);
    target.told(swept)?;
    let before = tally(&target.manifest.files);
    for group in groups(target) {
        let done = rewrite(target, &checkpoint, group);
        target.told(done)?;
    }
    let after = tally(&target.manifest.files);
    Ok(Compacted { files: [before.0, after.0], rows: [before.1, after.1] })
}

fn tally(files: &[Listed]) -> (u64, u64) {
    (files.len() as u64, files.iter().map(|listed| listed.rows).sum())
}

/// The files whose keys meet: those of one date; all, where some are not where they belong.
fn groups(target: &FilesTarget) -> Vec<Vec<Listed>> {
    let files = &target.manifest.files;
    if !files.iter().all(|listed| listed.fits(target.layout)) {
        return vec![files.clone()];
    }
    let mut groups: BTreeMap<&str, Vec<Listed>> = BTreeMap::new();
    for listed in files {
        let part = listed.name.rsplit_once('/').map_or("", |(part, _)| part);
        groups.entry(part).or_default().push(listed.clone());
    }
    groups.into_values().collect()
}

/// Puts what the files of a group amount to in their place.
fn rewrite(
    target: &mut FilesTarget,
    checkpoint: &Checkpoint,
    group: Vec<Listed>,
) -> io::Result<()> {
    let everything = Scan::default();
    let mut log = Log::new(&target.schema, &everything).map_err(io::Error::other)?;
    for listed in &group {
        unless_stopped()?;
        log.add(target.store.open(listed)?, &listed.name)?;
    }
    let rows = put_rows(&mut target.page, &log)?;
    let is_as_it_was = matches!(group.as_slice(), [only] if only.rows == rows)
        && group.iter().all(|listed| listed.fits(target.layout));
    if is_as_it_was {
        target.page.forget();
        return target.store.sweep(&target.manifest);
    }
    let sealed = target.seal(checkpoint, false)?;
    let mut next = target.manifest.clone();
    next.files.retain(|listed| !group.contains(listed));
    next.files.extend(sealed);
    target.establish(next)
}

/// Writes the rows that a log amounts to; tells how many.
fn put_rows(page: &mut Page, log: &Log) -> io::Result<u64> {
    let schema = Arc::new(log.schema());
    let mut rows = 0;
    log.each_row(&mut |seq, fields: &Fields| {
        unless_stopped()?;
        rows += 1;
        let answer = format!("{{\"results\":[{}]}}", serde_json::to_string(fields)?);
        let batch = Batch::of_results(Arc::clone(&schema), &answer).map_err(io::Error::other)?;
        let put = |row| page.put(&row, &schema, seq, &mut Repairs::default()).map(drop);
        batch.iter().flat_map(Batch::rows).try_for_each(put)
    })?;
    Ok(rows)
}

/// A large folder takes its time, and nothing is lost by leaving off.
fn unless_stopped() -> io::Result<()> {
    match stop::is_asked() {
        true => Err(io::Error::other("the process was asked to stop")),
        false => Ok(()),
    }
}
