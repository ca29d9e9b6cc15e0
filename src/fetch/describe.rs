//! What columns a query of the user's has, and of what types.

use serde_json::json;
use tokio::sync::mpsc;

use super::keyset::sql_request;
use super::page::{KeepAll, PageIntake};
use super::{FetchError, Source};
use crate::cursor::Timestamp;
use crate::record::split::{Layout, Placement, Splitter};
use crate::spec::{counters, query};

/// Asks for the columns of a query: names, and types of ClickHouse. Nothing is read.
///
/// # Errors
/// When PostHog cannot be asked, or refuses the query.
pub async fn columns_of(
    source: &Source<'_>,
    query: &query::Query<'_>,
) -> Result<Vec<(String, String)>, FetchError> {
    let text = format!("SELECT * FROM {} WHERE 1 = 2 LIMIT 1", query.table());
    let epoch = Timestamp::from_micros(0).to_string();
    let hogql = json!({
        "kind": "HogQLQuery", "query": text, "values": { "from": epoch, "to": epoch },
    });
    let request = sql_request(source.project, hogql, &counters(&["query"]));
    let placement = Placement::ByPosition(Vec::new());
    let mut splitter =
        Splitter::new(Layout::Rows("results".into()), placement, std::sync::Arc::default());
    let (out, _unheard) = mpsc::channel(1);
    let mut watch = KeepAll;
    let mut intake = PageIntake::new(&mut splitter, &mut watch, &out);
    let asked = source.client.ask(&request, &mut intake, source.meter).await;
    let envelope = intake.into_answer().envelope;
    let described = source.client.describe(&request);
    if let Err(source) = asked {
        return Err(FetchError::Ask { request: described, source });
    }
    let contract = |detail: String| FetchError::Contract { request: described.clone(), detail };
    if let Some(error) = envelope.text("error") {
        return Err(contract(format!("the query failed: {error}")));
    }
    let types: Option<Vec<(String, String)>> =
        envelope.raw("types").and_then(|raw| serde_json::from_str(raw).ok());
    types.ok_or_else(|| contract("the answer does not tell the types of its columns".into()))
}
