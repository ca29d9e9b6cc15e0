//! `hogline doctor`: everything that a replication needs, tried before it runs. Writes nothing.

use std::path::Path;

use super::checks::{self, Check};
use super::run::{Configured, configured, locked, state_path, unusable_state, working_folder};
use crate::cli::DoctorArgs;
use crate::config::{Connections, Written};
use crate::cursor::Timestamp;
use crate::error::{Exit, Failure};
use crate::state::lock::Lock;
use crate::state::store::StateStore;

/// Tries what a replication file names, or every connection where none is given.
pub(super) async fn doctor(args: &DoctorArgs) -> Result<Exit, Failure> {
    let here = working_folder()?;
    let connections = Connections::load(&here)?;
    let found = match &args.replication {
        Some(file) => of_replication(file, args, &connections, &here).await?,
        None => of_connections(&connections, &here).await?,
    };
    Ok(checks::told(&found, args.format))
}

async fn of_connections(connections: &Connections, here: &Path) -> Result<Vec<Check>, Failure> {
    let defined = connections.defined()?;
    if defined.is_empty() {
        let fix = "hogline conns set POSTHOG type=api spec=posthog secrets='{ api_key: \"phx_…\", \
                   project_id: \"12345\" }'";
        return Ok(vec![Check::lacking("connections", "none is defined", fix)]);
    }
    let mut found = Vec::new();
    for connection in defined {
        let name = connection.name;
        match checks::connection(&name, connections, here).await {
            Ok(tried) => found.extend(tried.into_iter().map(|check| check.of(&name))),
            // Somebody's Sling may know connections that we do not.
            Err(failure) => {
                found.push(Check::lacking(
                    format!("{name}: connection"),
                    failure.cause,
                    failure.fix,
                ));
            }
        }
    }
    Ok(found)
}

async fn of_replication(
    file: &Path,
    args: &DoctorArgs,
    connections: &Connections,
    here: &Path,
) -> Result<Vec<Check>, Failure> {
    let configured = Written::read(file).map_err(Failure::from).and_then(|written| {
        configured(&written, connections, connections.environment(), here, Timestamp::now())
    });
    let Configured { replication, source, target, .. } = match configured {
        Ok(configured) => configured,
        Err(failure) => return Ok(vec![Check::wrong("configuration", &failure)]),
    };
    let streams: Vec<String> = replication.streams.iter().map(|s| s.name.clone()).collect();
    let told = format!("{} into {}: {}", source.name, target.label(), streams.join(", "));
    let mut found = vec![Check::right("configuration", told)];
    found.extend(checks::posthog(&source, connections, Some(&streams)).await?);
    found.push(checks::target(&target));
    found.push(state(&state_path(file, args.state.as_deref())));
    Ok(found)
}

/// Whether the state can be read, and nobody works with it.
fn state(path: &Path) -> Check {
    let name = format!("state {}", path.display());
    if !path.exists() {
        return Check::right(name, "none yet: the first run makes it");
    }
    let lock = match Lock::take(path) {
        Ok(lock) => lock,
        Err(err) => return Check::wrong(name, &locked(&err)),
    };
    let streams = StateStore::open(path).and_then(|store| store.all());
    drop(lock);
    match streams {
        Ok(streams) => Check::right(name, format!("checkpoints of streams: {}", streams.len())),
        Err(err) => Check::wrong(name, &unusable_state(&err)),
    }
}
