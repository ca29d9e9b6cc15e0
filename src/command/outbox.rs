//! `hogline outbox`: what was accepted and is not delivered yet, shown, delivered, thrown away.

use std::path::Path;

use serde_json::json;

use super::capture::{
    BATCH_SIZE, Kept, LANES, Options, deliver_waiting, outbox_file, outbox_unusable, way,
};
use super::run::working_folder;
use crate::cli::{Format, OutboxAction, OutboxArgs, Output, Receiver};
use crate::config::Connections;
use crate::error::{Exit, Failure};
use crate::report::{self, Table};
use crate::send::outbox::{MOST_BYTES, Outbox, Purge, Refused, Waiting};

/// Does what was asked of the outbox.
pub(super) async fn outbox(args: &OutboxArgs) -> Result<Exit, Failure> {
    let path = outbox_file(&args.state);
    if !path.exists() {
        return Err(Failure::usage(
            format!("there is no outbox at {}", path.display()),
            "nothing was accepted there yet",
            "name the folder with --state, or send with --outbox",
        ));
    }
    match &args.action {
        OutboxAction::List { format } => list(&path, *format),
        OutboxAction::Retry { to, retries, refused, output } => {
            retry(&path, to, &Options::repeating(*retries), *refused, *output).await
        }
        OutboxAction::Purge { everything } => purge(&path, *everything),
    }
}

fn list(path: &Path, format: Format) -> Result<Exit, Failure> {
    let outbox = open(path)?;
    let waiting = outbox.waiting().map_err(|err| outbox_unusable(&err))?;
    let refused = outbox.refused().map_err(|err| outbox_unusable(&err))?;
    report::print(&match format {
        Format::Json => json!({ "waiting": waiting, "refused": refused }).to_string(),
        Format::Table if waiting.is_empty() => "The outbox is empty.".to_owned(),
        Format::Table => listed(waiting, &refused),
    });
    Ok(Exit::Complete)
}

fn listed(waiting: Vec<Waiting>, refused: &[Refused]) -> String {
    let mut table =
        Table::new(&["host", "token", "historical", "waiting", "refused", "bytes", "oldest"]);
    for Waiting { origin, mark, historical, events, refused, bytes, oldest } in waiting {
        let historical = if historical { "yes" } else { "" };
        let mut cells = vec![origin, mark[..8].to_owned(), historical.to_owned()];
        cells.extend([events, refused, bytes].map(|number| number.to_string()));
        cells.push(oldest);
        table.row(cells);
    }
    let mut text = table.to_string();
    for Refused { number, code, reason, json } in refused {
        let shown: String = json.chars().take(200).collect();
        text.push_str(&format!("\n{number}: {reason} ({code})\n   {shown}"));
    }
    text
}

async fn retry(
    path: &Path,
    to: &Receiver,
    options: &Options,
    refused: bool,
    output: Output,
) -> Result<Exit, Failure> {
    let way = way(to, options, &Connections::load(&working_folder()?)?)?;
    let mut kept = Kept::default();
    for historical in [false, true] {
        if refused {
            let outbox = open(path)?;
            outbox.forgive(&way.destination(historical)).map_err(|err| outbox_unusable(&err))?;
        }
        if !kept.is_stuck() {
            let terms = way.terms(historical, BATCH_SIZE, LANES);
            kept.add(deliver_waiting(path, &way, &terms).await?);
        }
    }
    report::print(&match output {
        Output::Text => format!("delivered {}, refused {}", kept.delivered, kept.refused),
        Output::Json => json!({
            "delivered": kept.delivered,
            "refused": kept.refused,
            "requests": kept.requests,
            "retries": kept.retries,
        })
        .to_string(),
    });
    kept.exit(&way)
}

fn purge(path: &Path, everything: bool) -> Result<Exit, Failure> {
    let which = if everything { Purge::Everything } else { Purge::Refused };
    let gone = open(path)?.purge(which).map_err(|err| outbox_unusable(&err))?;
    report::print(&format!("{gone} events are thrown away."));
    Ok(Exit::Complete)
}

fn open(path: &Path) -> Result<Outbox, Failure> {
    Outbox::open(path, MOST_BYTES).map_err(|err| outbox_unusable(&err))
}
