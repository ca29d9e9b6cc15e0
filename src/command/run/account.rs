//! What a run leaves for others: reports, metrics, a word to a webhook.
//!
//! Everything is gathered once, after the run, from its outcomes, the state and the quota
//! ledger. A file is replaced whole or not at all.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::{Plan, exit_of, history, jobs, projects, webhook};
use crate::cli::RunArgs;
use crate::cursor::Timestamp;
use crate::error::{Exit, Failure};
use crate::http::{Webhook, left_of_all};
use crate::report::{self, Facts, Freshness, Outcome};
use crate::state::store::{Run, StateStore, Stored};

/// What is wanted of a run besides its rows.
pub(super) struct Account<'a> {
    /// Reports, as pages where their names say so.
    pub(super) reports: &'a [PathBuf],
    /// Numbers for Prometheus.
    pub(super) metrics: Option<&'a Path>,
    /// Who is told when a run ends otherwise than the last one.
    pub(super) webhook: Option<Webhook>,
}

impl<'a> Account<'a> {
    pub(super) fn of(args: &'a RunArgs, webhook: Option<Webhook>) -> Self {
        Self { reports: &args.report, metrics: args.metrics_file.as_deref(), webhook }
    }

    /// Leaves what is wanted of a run that was attempted.
    pub(super) async fn leave(
        &self,
        plan: &Plan,
        outcomes: Result<&[Outcome], &Failure>,
    ) -> Result<(), Failure> {
        if self.reports.is_empty() && self.metrics.is_none() && self.webhook.is_none() {
            return Ok(());
        }
        let facts = gather(plan, outcomes).await?;
        let run = history::run(plan, outcomes);
        // First: a full disk is no reason to keep quiet.
        if let (Some(webhook), Some(run)) = (&self.webhook, run) {
            webhook::tell_of_change(webhook, &facts, &run).await;
        }
        let metrics = match self.metrics {
            Some(path) => write_whole(path, &report::metrics(&facts)),
            None => Ok(()),
        };
        self.report(&facts).and(metrics)
    }

    /// Writes the reports.
    pub(super) fn report(&self, facts: &Facts<'_>) -> Result<(), Failure> {
        self.reports.iter().try_for_each(|path| {
            let text = if is_page(path) { report::page(facts) } else { report::as_json(facts) };
            write_whole(path, &text)
        })
    }
}

/// Whether a report of this name is a page.
fn is_page(path: &Path) -> bool {
    let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
    ending.is_some_and(|ending| ending == "html" || ending == "htm")
}

async fn gather<'a>(
    plan: &Plan,
    outcomes: Result<&'a [Outcome], &'a Failure>,
) -> Result<Facts<'a>, Failure> {
    let runs = plan.state.runs().map_err(|err| jobs::unusable_state(&err))?;
    let freshness = freshness(&plan.state, &runs)?;
    let mut earlier = history::of(&plan.replication, runs);
    earlier.retain(|run| run.started != plan.begun);
    let Plan { source, target, begun, .. } = plan;
    Ok(Facts {
        replication: plan.replication.file.display().to_string(),
        source: format!(
            "{}, {} of {}",
            source.name,
            projects::named(&plan.projects),
            source.origin
        ),
        target: target.label(),
        begun: *begun,
        ended: Timestamp::now(),
        exit: outcomes.map_or_else(|failure| failure.exit, exit_of),
        outcomes: outcomes.unwrap_or_default(),
        failure: outcomes.err(),
        freshness,
        quotas: left_of_all(plan.clients()).await,
        earlier,
    })
}

/// How fresh every stream of the state is, by its checkpoint and these runs.
fn freshness(state: &StateStore, runs: &[Run]) -> Result<Vec<Freshness>, Failure> {
    let of_checkpoint = |stored: Stored| {
        let (key, position) = (stored.checkpoint.key, stored.checkpoint.position);
        let completed = |run: &&Run| {
            run.streams.iter().any(|done| {
                done.stream == key.stream && done.object == key.object && done.exit_code == 0
            })
        };
        let last_success = runs.iter().find(completed).map(|run| run.ended);
        Freshness {
            stream: key.stream,
            object: key.object,
            complete_to: position.mark,
            last_success,
        }
    };
    let all = state.all().map_err(|err| jobs::unusable_state(&err))?;
    Ok(all.into_iter().map(of_checkpoint).collect())
}

/// Writes a file: its readers see the old one or the new one. What is no file, like
/// `/dev/stdout`, is written to as it is.
fn write_whole(path: &Path, text: &str) -> Result<(), Failure> {
    let place = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let written = match fs::metadata(&place) {
        Ok(there) if !there.is_file() => fs::write(&place, text),
        _ => replace(&place, text),
    };
    written.map_err(|err| Failure {
        what: format!("the report cannot be written to {}", path.display()),
        cause: err.to_string(),
        fix: "name a file in a folder that can be written; what the run committed stays".into(),
        exit: Exit::Target,
    })
}

fn replace(path: &Path, text: &str) -> io::Result<()> {
    let mut draft = path.as_os_str().to_owned();
    draft.push(format!(".{}", std::process::id()));
    let draft = PathBuf::from(draft);
    let written = File::create(&draft)
        .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&draft, path));
    if written.is_err() {
        // Nobody would look for it.
        fs::remove_file(&draft).ok();
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_a_page_where_its_name_says_so() {
        for (name, page) in
            [("a.html", true), ("b.HTM", true), ("c.json", false), ("html", false), ("d", false)]
        {
            assert_eq!(is_page(Path::new(name)), page, "{name}");
        }
    }

    #[test]
    fn a_report_takes_the_place_of_the_last_one_and_leaves_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.json");
        write_whole(&path, "first").unwrap();
        write_whole(&path, "second").unwrap();
        let nowhere = write_whole(&folder.path().join("no/report.json"), "third").unwrap_err();

        assert_eq!(nowhere.exit, Exit::Target);
        assert_eq!(fs::read_to_string(&path).unwrap(), "second");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        write_whole(Path::new("/dev/null"), "gone").unwrap();
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
    }
}
