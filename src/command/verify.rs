//! `hogline verify`: holds what was replicated against PostHog.

use crate::cli::{VerifyArgs, VerifyFormat};
use crate::command::run::{self, Options};
use crate::config::{Connections, Written};
use crate::error::{Exit, Failure, overall};
use crate::report;
use crate::verify::{Ask, Sample, Verified};

/// Verifies the streams of the file that was named, one after the other.
pub(super) async fn verify(args: &VerifyArgs) -> Result<Exit, Failure> {
    let here = run::working_folder()?;
    let connections = Connections::load(&here)?;
    let range = args.range.as_deref().map(run::range).transpose()?;
    let ask = Ask { range, sample: sample(&args.sample)?, repair: args.repair };
    let options = Options {
        streams: args.streams.clone(),
        is_looking: true,
        may_lack_rows: true,
        ..Options::default()
    };
    let state = run::state_path(&args.replication, args.state.as_deref());
    let written = Written::read(&args.replication)?;
    let plan = run::plan(&written, &connections, &here, &options, &state).await?;
    let Some(plan) = plan else { return Ok(Exit::Complete) };
    let (jobs, shared) = run::ready(&plan).await?;
    let mut all = Vec::new();
    for job in jobs {
        let verified = crate::verify::verify(job, &shared, &ask, plan.stop.clone()).await;
        let failure = verified.failure.as_ref().map(|failure| failure.exit);
        all.push(verified);
        if matches!(failure, Some(Exit::Interrupted(_))) {
            break;
        }
    }
    let exit = exit_of(&all);
    match args.format {
        VerifyFormat::Text => report::print(&report::verification(&all)),
        VerifyFormat::Json => report::print(&report::verification_as_json(&all, exit.code())),
    }
    for failure in all.iter().filter_map(|verified| verified.failure.as_ref()) {
        report::tell(&format!("error: {failure}"));
    }
    Ok(exit)
}

/// A difference outweighs whatever else went wrong, but a stop.
fn exit_of(all: &[Verified]) -> Exit {
    let failed = |verified: &Verified| verified.failure.as_ref().map(|failure| failure.exit);
    let failures: Vec<Option<Exit>> = all.iter().map(failed).collect();
    match overall(&failures) {
        stopped @ Exit::Interrupted(_) => stopped,
        other => {
            let differs = |verified: &Verified| failed(verified).is_none() && !verified.is_right();
            let unproven = failures.contains(&Some(Exit::Differs));
            if unproven || all.iter().any(differs) { Exit::Differs } else { other }
        }
    }
}

fn sample(text: &str) -> Result<Sample, Failure> {
    match text.parse() {
        _ if text == "all" => Ok(Sample::All),
        Ok(rows) => Ok(Sample::Rows(rows)),
        Err(_) => Err(Failure::usage(
            format!("--sample: `{text}` is no number of rows"),
            "expected a number, or all",
            "write --sample 100",
        )),
    }
}
