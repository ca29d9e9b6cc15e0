//! Which days to look at: those whose sums differ, and those of which a sampled row does.
//!
//! Sums only clear days, they convict none: what arrived since the last run makes sums
//! differ as well, and the rows then tell.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::compare::failed;
use super::frozen::Frozen;
use super::scratch::Scratch;
use super::{Checking, Counts, Sample, Verified};
use crate::cursor::{Interval, Leg, Purpose, Timestamp};
use crate::error::Failure;
use crate::fetch::{Among, DaySum, Delivery, FetchError, Reader};
use crate::record::keys;
use crate::runner::{self, Job};
use crate::schema::ColumnType;
use crate::spec::endpoint::{ColumnSpec, Endpoint, Keyset, Paging, ReadPath};
use crate::target::{Scan, TargetError};

const DAY: Duration = Duration::from_secs(86_400);

/// How many rows one question names.
const NAMED_AT_ONCE: usize = 200;

/// A way of reading whose store can sum.
struct Summing {
    path: ReadPath,
    keyset: Keyset,
    /// The columns that tell two records of a day apart.
    identity: Vec<String>,
}

/// The target's side.
struct Here {
    days: BTreeMap<String, DaySum>,
    /// Keys chosen at random, by their lot.
    sample: BTreeSet<(u64, String, String)>,
}

impl Checking<'_> {
    /// The spans to look at; nothing where sums cannot tell.
    pub(super) async fn suspects(
        &self,
        job: Job,
        frozen: &Frozen,
        spans: &[Interval],
        verified: &mut Verified,
    ) -> Result<(Job, Option<Vec<Interval>>), Failure> {
        // Of a table that lost a column sums tell nothing, and a sample not on which days.
        let sample = if job.is_damaged { Sample::All } else { self.ask.sample };
        let (Some(summing), Sample::Rows(sample)) = (summing(&job.endpoint), sample) else {
            return Ok((job, None));
        };
        let there = match self.sums_there(&job, &summing, spans, frozen.mark).await {
            Err(Error::Fetch(err)) if err.is_closed_door() => {
                verified.note = Some(format!("PostHog cannot sum: {err}"));
                return Ok((job, None));
            }
            Err(Error::Fetch(err)) => return Err(Failure::of_fetch(&verified.stream, &err)),
            Err(Error::Stopped(failure)) => return Err(failure),
            Ok(there) => there,
        };
        let stream = verified.stream.clone();
        let (identity, by) = (summing.identity.clone(), summing.keyset.time.clone());
        let (hull, mut job) = (spans.to_vec(), job);
        let scanned = tokio::task::spawn_blocking(move || {
            let here = sums_here(&mut job, &identity, &by.unwrap_or_default(), &hull, sample)?;
            Ok((job, here))
        });
        let scanned: Result<(Job, Here), TargetError> = runner::finished(scanned.await);
        let (job, here) = scanned.map_err(|err| failed(&stream, &err))?;
        let mut days = differing(&here.days, &there);
        if days.iter().any(|day| Timestamp::parse(day).is_none()) {
            verified.note = Some("the target has times that are none".into());
            return Ok((job, None));
        }
        verified.read_by = Some(summing.path.name.clone());
        verified.compared = Some("by sums of identities".into());
        let chosen = here.sample.iter().filter(|(_, day, _)| !days.contains(day));
        let chosen: Vec<String> = chosen.map(|(_, _, key)| key.clone()).collect();
        let (job, sampled) = self.sampled(job, frozen, (&summing, spans), chosen, verified).await?;
        days.extend(sampled);
        for (day, sum) in there.iter().filter(|(day, _)| !days.contains(*day)) {
            let target = here.days.get(day).map_or(0, |sum| sum.count);
            verified.agreed.add(&Counts { source: sum.count, target, ..Counts::default() });
        }
        verified.counts = verified.agreed;
        Ok((job, Some(within(&days, spans))))
    }

    async fn sums_there(
        &self,
        job: &Job,
        summing: &Summing,
        spans: &[Interval],
        until: Timestamp,
    ) -> Result<BTreeMap<String, DaySum>, Error> {
        let schema = Arc::new(job.endpoint.schema(&summing.path, &|_| true));
        let source = job.project.source(&self.meter);
        let (out, mut deliveries) = mpsc::channel(1);
        let mut reader = Reader::new(&source, &summing.path, &schema, true, out);
        let mut stop = self.stop.clone();
        let mut sums: BTreeMap<String, DaySum> = BTreeMap::new();
        for span in spans {
            let asking = reader.sums_by_day(&summing.keyset, &summing.identity, *span, until);
            let days = tokio::select! {
                biased;
                signal = runner::stopped(&mut stop) => {
                    let what = format!("verifying stream `{}`", job.endpoint.stream);
                    return Err(Error::Stopped(runner::interrupted(&what, signal)));
                }
                // Sums are no records: of a refusal it hears, and of nothing else.
                () = forget(&mut deliveries) => return Err(FetchError::Stopped.into()),
                days = asking => days?,
            };
            for (day, sum) in days {
                let all = sums.entry(day).or_default();
                all.count += sum.count;
                all.sum = all.sum.wrapping_add(sum.sum);
            }
        }
        Ok(sums)
    }

    /// Compares chosen rows value by value; returns the days of those that differ.
    async fn sampled(
        &self,
        mut job: Job,
        frozen: &Frozen,
        (summing, spans): (&Summing, &[Interval]),
        chosen: Vec<String>,
        verified: &mut Verified,
    ) -> Result<(Job, Vec<String>), Failure> {
        if chosen.is_empty() {
            return Ok((job, Vec::new()));
        }
        let stream = verified.stream.clone();
        let values = first_parts(&job.endpoint, summing, &chosen);
        let mut scratch = Scratch::new(&job.endpoint, frozen.clone(), spans)
            .map_err(|err| failed(&stream, &err))?
            .sampling();
        let loaded = tokio::task::spawn_blocking(move || {
            let scan = Scan { within: None, keys_only: false, only: Some(&chosen) };
            job.target.scan(&scan, &mut |row| scratch.add(row))?;
            scratch.loaded()?;
            Ok((job, scratch))
        });
        let loaded: Result<(Job, Scratch), TargetError> = runner::finished(loaded.await);
        let (job, scratch) = loaded.map_err(|err| failed(&stream, &err))?;
        let (out, deliveries) = mpsc::channel(4);
        let schema = Arc::new(job.endpoint.schema(&summing.path, &|name| job.wish.wants(name)));
        let project = Arc::clone(&job.project);
        let source = project.source(&self.meter);
        let reading = async {
            for values in values.chunks(NAMED_AT_ONCE) {
                let among = Among { column: summing.identity[0].clone(), values: values.to_vec() };
                let mut reader =
                    Reader::new(&source, &summing.path, &schema, true, out.clone()).only(among);
                for range in spans {
                    let leg =
                        Leg::Range { purpose: Purpose::Backfill, range: *range, arrived: None };
                    reader.walk(leg, None).await?;
                }
            }
            drop(out);
            Ok(())
        };
        let scratch = self.hold_against(scratch, deliveries, &stream, reading).await?;
        verified.sampled = scratch.compared_rows().map_err(|err| failed(&stream, &err))?;
        let days = scratch.days().map_err(|err| failed(&stream, &err))?;
        let wrong = days.into_iter().filter(|day| day.counts.differ());
        Ok((job, wrong.filter_map(|day| day.day).collect()))
    }
}

/// Takes deliveries that mean nothing here, for as long as there may be any.
async fn forget(deliveries: &mut mpsc::Receiver<Delivery>) {
    while deliveries.recv().await.is_some() {}
}

/// Why there are no sums.
enum Error {
    Fetch(FetchError),
    Stopped(Failure),
}

impl From<FetchError> for Error {
    fn from(err: FetchError) -> Self {
        Self::Fetch(err)
    }
}

/// The way of reading whose store can sum identities, where there is one.
fn summing(endpoint: &Endpoint) -> Option<Summing> {
    let kind = |column: &String| {
        let found = endpoint.columns.iter().find(|(name, _)| name == column);
        found.map(|(_, spec)| spec)
    };
    // A day tells nothing about the records of one day.
    let is_day = |column: &&String| matches!(kind(column), Some(ColumnSpec::DayOf(_)));
    let identity: Vec<String> =
        endpoint.primary_key.iter().filter(|column| !is_day(column)).cloned().collect();
    let is_text = |column: &String| {
        matches!(kind(column), Some(ColumnSpec::Field(ColumnType::Text | ColumnType::Uuid)))
    };
    let way = endpoint.read.iter().find_map(|path| match &path.paging {
        Paging::Keyset(keyset) if keyset.time.is_some() => Some((path, keyset)),
        _ => None,
    });
    let (path, keyset) = way.filter(|_| !identity.is_empty() && identity.iter().all(is_text))?;
    let is_exact = keyset.pushed.as_ref().is_some_and(|pushed| pushed.is_exact);
    if endpoint.filter.is_some() && !is_exact {
        return None;
    }
    Some(Summing { path: path.clone(), keyset: (**keyset).clone(), identity })
}

/// The target's sums of all spans by day, and some of its rows by lot.
fn sums_here(
    job: &mut Job,
    identity: &[String],
    by: &str,
    spans: &[Interval],
    sample: usize,
) -> Result<Here, TargetError> {
    let schema = job.endpoint.schema(&job.endpoint.read[0], &|_| true);
    let lots = RandomState::new();
    let mut here = Here { days: BTreeMap::new(), sample: BTreeSet::new() };
    for span in spans {
        let scan = Scan { within: Some((by, *span)), keys_only: true, only: None };
        job.target.scan(&scan, &mut |row| {
            let day: String = row.text(by).unwrap_or_default().chars().take(10).collect();
            let parts: Vec<&str> =
                identity.iter().map(|column| row.text(column).unwrap_or_default()).collect();
            here.days.entry(day.clone()).or_default().add(&parts);
            let key = row.identity(&schema);
            here.sample.insert((lots.hash_one(&key), day, key));
            if here.sample.len() > sample {
                here.sample.pop_last();
            }
        })?;
    }
    Ok(here)
}

/// The days whose sums are not the same.
fn differing(
    here: &BTreeMap<String, DaySum>,
    there: &BTreeMap<String, DaySum>,
) -> BTreeSet<String> {
    let all = here.keys().chain(there.keys());
    all.filter(|day| here.get(*day) != there.get(*day)).cloned().collect()
}

/// The values of the first column of the identity, out of keys.
fn first_parts(endpoint: &Endpoint, summing: &Summing, chosen: &[String]) -> Vec<String> {
    let place = endpoint.primary_key.iter().position(|column| *column == summing.identity[0]);
    let part = |key: &String| keys::parts(key).into_iter().nth(place.unwrap_or(0));
    let parts: BTreeSet<String> = chosen.iter().filter_map(part).collect();
    parts.into_iter().collect()
}

/// What of the spans lies in these days; neighbours are one.
pub(super) fn within(days: &BTreeSet<String>, spans: &[Interval]) -> Vec<Interval> {
    let mut found: Vec<Interval> = Vec::new();
    for from in days.iter().filter_map(|day| Timestamp::parse(day)) {
        for span in spans {
            let Some(part) = Interval::new(from.max(span.from), from.plus(DAY).min(span.to)) else {
                continue;
            };
            match found.last_mut().filter(|last| last.to == part.from) {
                Some(last) => last.to = part.to,
                None => found.push(part),
            }
        }
    }
    found
}
