//! `hogline discover`: the streams there are.

use serde::Serialize;

use super::run::{ProjectSource, answers_sql, greet, projects_of};
use crate::cli::{DiscoverArgs, DiscoverFormat};
use crate::config::Connections;
use crate::error::{Exit, Failure};
use crate::report::{self, Table};
use crate::spec::endpoint::{ColumnSpec, Endpoint};
use crate::spec::registry::Registry;

/// Shows the registry, and what a connection's PostHog offers of it.
pub(super) async fn discover(args: &DiscoverArgs) -> Result<Exit, Failure> {
    let (registry, sql) = match &args.connection {
        None => (Registry::load(&[])?, None),
        Some(name) => {
            let connections = Connections::load(&super::run::working_folder()?)?;
            let source = connections.posthog(name)?;
            let registry = Registry::load(&source.specs)?;
            let projects = projects_of(&source, &registry, &connections).await?;
            // What a server answers, it answers for each of its projects.
            let ProjectSource { source, reached } = &projects[0];
            greet(&reached.client, source).await?;
            let sql = answers_sql(&reached.client, source).await;
            (registry, Some(sql.map_err(|err| err.to_string())))
        }
    };
    let streams: Vec<Stream<'_>> =
        registry.streams().map(|endpoint| Stream::of(endpoint)).collect();
    match args.format {
        DiscoverFormat::Json => report::print(&as_json(&streams, sql.as_ref())),
        DiscoverFormat::Dbt => report::print(&as_dbt(&streams)),
        DiscoverFormat::Table => report::print(&as_text(&streams, sql.as_ref())),
    }
    Ok(Exit::Complete)
}

#[derive(Serialize)]
struct Stream<'a> {
    stream: &'a str,
    description: &'a str,
    docs: &'a str,
    endpoint: &'a str,
    primary_key: &'a [String],
    incremental: bool,
    incremental_by: Option<&'a str>,
    depends_on: Option<&'static str>,
    modes: Vec<&'static str>,
    scope: &'a str,
    read_by: Vec<&'a str>,
    columns: Vec<Column<'a>>,
}

#[derive(Serialize)]
struct Column<'a> {
    name: &'a str,
    r#type: &'static str,
}

impl<'a> Stream<'a> {
    fn of(endpoint: &'a Endpoint) -> Self {
        // The last way is the plain one: PostHog's own list.
        let url = endpoint.read.iter().find(|path| !path.is_sql()).map_or("", |path| &path.url);
        let column = |(name, spec): &'a (String, ColumnSpec)| Column { name, r#type: spec.name() };
        Self {
            stream: &endpoint.stream,
            description: &endpoint.description,
            docs: &endpoint.docs,
            endpoint: url,
            primary_key: &endpoint.primary_key,
            incremental: endpoint.is_incremental(),
            incremental_by: endpoint.incremental_by(),
            depends_on: url.contains("{project_id}").then_some("project_id"),
            modes: endpoint.modes(),
            scope: &endpoint.scope,
            read_by: endpoint.read.iter().map(|path| path.name.as_str()).collect(),
            columns: endpoint.columns.iter().map(column).collect(),
        }
    }
}

/// Whether PostHog answers SQL, or why not.
type Sql = Result<(), String>;

fn as_json(streams: &[Stream<'_>], sql: Option<&Sql>) -> String {
    #[derive(Serialize)]
    struct Registry<'a> {
        sql: Option<bool>,
        streams: &'a [Stream<'a>],
    }
    let registry = Registry { sql: sql.map(Result::is_ok), streams };
    serde_json::to_string_pretty(&registry).unwrap_or_default()
}

/// The tables of the default object, `posthog.{stream_name}`, as sources of dbt.
fn as_dbt(streams: &[Stream<'_>]) -> String {
    // In YAML a JSON string is one, too.
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let mut yaml =
        "version: 2\nsources:\n  - name: posthog\n    schema: posthog\n    tables:".to_owned();
    for Stream { stream, description, primary_key, columns, .. } in streams {
        yaml += &format!("\n      - name: {stream}\n        description: {}", quoted(description));
        yaml += "\n        columns:";
        for Column { name, r#type } in columns {
            yaml += &format!("\n          - name: {}\n            data_type: {type}", quoted(name));
            let is_key = primary_key.iter().any(|key| key == name);
            match (is_key, primary_key.len()) {
                (true, 1) => yaml += "\n            data_tests: [unique, not_null]",
                (true, _) => yaml += "\n            data_tests: [not_null]",
                (false, _) => {}
            }
        }
    }
    yaml
}

fn as_text(streams: &[Stream<'_>], sql: Option<&Sql>) -> String {
    let mut table = Table::new(&[
        "stream",
        "primary key",
        "incremental by",
        "modes",
        "scope",
        "depends on",
        "read by",
        "description",
    ]);
    for stream in streams {
        table.row(vec![
            stream.stream.into(),
            stream.primary_key.join(", "),
            stream.incremental_by.unwrap_or("–").into(),
            stream.modes.join(", "),
            stream.scope.into(),
            stream.depends_on.unwrap_or("–").into(),
            stream.read_by.join(", "),
            stream.description.into(),
        ]);
    }
    let mut text = table.to_string();
    text += "\n\ncolumns\n";
    for stream in streams {
        let columns =
            stream.columns.iter().map(|column| format!("{} {}", column.name, column.r#type));
        text += &format!("  {}: {}\n", stream.stream, columns.collect::<Vec<_>>().join(", "));
    }
    text += &match sql {
        None => "\nName a connection to see whether its PostHog answers SQL.".to_owned(),
        Some(Ok(())) => "\nThis PostHog answers SQL.".to_owned(),
        Some(Err(why)) => format!("\nThis PostHog does not answer SQL to this key: {why}"),
    };
    text
}
