//! Queries of the replication's as streams: PostHog tells what columns they have.

use std::collections::BTreeMap;

use super::{Plan, jobs};
use crate::config::{Complaint, ConfigError, Mode, Sql, StreamConfig};
use crate::error::Failure;
use crate::fetch::{FetchError, columns_of};
use crate::http::{AskError, Meter};
use crate::runner::Project;
use crate::spec::endpoint::Endpoint;
use crate::spec::query::Query;

/// Queries by project and stream: what each has in that project.
pub(super) type Queries = BTreeMap<(String, String), Endpoint>;

/// The streams among those chosen that are queries. Asks nothing where none is.
pub(super) async fn describe(plan: &Plan) -> Result<Queries, Failure> {
    let mut queries = Queries::new();
    let chosen = jobs::chosen(&plan.replication, &plan.options)?;
    for project in &plan.projects {
        for config in &chosen {
            if let Some(sql) = &config.sql {
                let of = (project.reached.id.clone(), config.name.clone());
                queries.insert(of, endpoint(plan, &project.reached, config, sql).await?);
            }
        }
    }
    Ok(queries)
}

async fn endpoint(
    plan: &Plan,
    project: &Project,
    config: &StreamConfig,
    sql: &Sql,
) -> Result<Endpoint, Failure> {
    let complain = |key: &str, message: String| -> Failure {
        let path = format!("streams.{}.{key}", config.name);
        let complaint = Complaint { at: Some(sql.at), path, message };
        ConfigError::new(&plan.replication.file.display().to_string(), None, vec![complaint]).into()
    };
    let primary_key = config.primary_key.clone().unwrap_or_default();
    if primary_key.is_empty() {
        let message = "is needed: the columns that tell the query's rows apart, by which its pages \
                       follow each other";
        return Err(complain("primary_key", message.into()));
    }
    let mode = plan.options.mode.unwrap_or(config.mode);
    if config.update_key.is_none() && matches!(mode, Mode::Incremental | Mode::Backfill) {
        let message = format!("is needed for mode {mode}: the time by which new rows are found");
        return Err(complain("update_key", message));
    }
    let query = Query {
        stream: &config.name,
        sql: &sql.text,
        primary_key: &primary_key,
        update_key: config.update_key.as_deref(),
    };
    let columns = columns_of(&project.source(&Meter::default()), &query).await;
    let columns = columns.map_err(|err| match &err {
        FetchError::Ask { source: AskError::Refused { .. }, .. } => {
            complain("sql", format!("PostHog does not take the query: {err}"))
        }
        _ => Failure::of_fetch(&config.name, &err),
    })?;
    query.endpoint(&columns).map_err(|message| complain("primary_key", message))
}
