//! The connection of a run: the client, and a first word with PostHog.

use serde_json::json;

use crate::config::{Connections, Posthog};
use crate::error::{Exit, Failure};
use crate::fetch::sql_request;
use crate::http::{AskError, Client, ClientError, Discard, Meter, Request, Settings};
use crate::spec::counters;
use crate::spec::registry::Registry;

/// Where the ledger of spent quotas lies in hogline's home.
const LEDGER: &str = "quota.db";

/// Makes the client; asks nothing yet.
pub(in crate::command) fn connect(
    source: &Posthog,
    registry: &Registry,
    connections: &Connections,
) -> Result<Client, Failure> {
    let settings = settings(source, registry, connections);
    Client::new(settings).map_err(|err| unusable(source, &err))
}

/// How the connection wants to be asked.
pub(super) fn settings(
    source: &Posthog,
    registry: &Registry,
    connections: &Connections,
) -> Settings {
    let inputs = &source.inputs;
    let own = inputs.limits.clone();
    Settings {
        origin: source.origin.clone(),
        key: source.api_key.clone(),
        project: source.project_id.clone(),
        requests_per_second: inputs.requests_per_second,
        concurrency: inputs.concurrency,
        max_wait: inputs.max_wait,
        retry_wait: inputs.retry_wait,
        timeouts: inputs.timeouts.clone(),
        // Who sets the pace to "none" says that this server has no quotas, unless he names some.
        enforce_limits: own.is_some() || inputs.requests_per_second > 0.0,
        limits: registry.counters(&own.unwrap_or_default()),
        ledger: connections.home().map(|home| home.join(LEDGER)),
    }
}

/// A connection with settings that cannot be used.
pub(super) fn unusable(source: &Posthog, err: &ClientError) -> Failure {
    Failure {
        what: format!("connection `{}` cannot be used", source.name),
        cause: err.to_string(),
        fix: err.hint(),
        exit: Exit::Usage,
    }
}

/// Asks for the project: learns the server's time and whether key and project are any good.
///
/// A key that may read streams but not the project is fine: each stream tells for itself.
pub(in crate::command) async fn greet(client: &Client, source: &Posthog) -> Result<(), Failure> {
    let request =
        Request::get(format!("/api/projects/{}/", source.project_id), &counters(&["crud"]));
    match client.ask(&request, &mut Discard, &Meter::default()).await {
        Ok(_) | Err(AskError::MissingScope { .. } | AskError::Forbidden { .. }) => Ok(()),
        Err(err) => Err(Failure::of_connection(&source.name, &client.describe(&request), &err)),
    }
}

/// Asks whether PostHog answers SQL to this key; the error says why where it does not.
pub(in crate::command) async fn answers_sql(
    client: &Client,
    source: &Posthog,
) -> Result<(), AskError> {
    let query = json!({ "kind": "HogQLQuery", "query": "SELECT 1" });
    let request = sql_request(&source.project_id, query, &counters(&["query"]));
    client.ask(&request, &mut Discard, &Meter::default()).await.map(drop)
}
