//! A stream's columns as a replication wants them: declared types, columns taken out of JSON,
//! flattened keys, and what earlier runs found.
//!
//! What a replication asks of columns that a stream does not have is refused with its place;
//! what the defaults ask is for the streams that have them.

use std::sync::Arc;

use crate::config::complaint::suggestion;
use crate::config::{Complaint, ConfigError, DeclaredColumn, Replication, StreamConfig};
use crate::error::Failure;
use crate::plan::Wish;
use crate::record::casing::Casing;
use crate::runner::Drift;
use crate::schema::{ColumnType, Flatten, Foreseen, flattened_prefix};
use crate::spec::endpoint::{ColumnSpec, Endpoint, Paging};
use crate::state::store::SchemaChange;

/// Gives the endpoint the columns that are wanted and known.
pub(super) fn shape(
    endpoint: &mut Arc<Endpoint>,
    config: &StreamConfig,
    wish: &mut Wish,
    replication: &Replication,
    log: &[SchemaChange],
) -> Result<Drift, Failure> {
    let given = Arc::clone(endpoint);
    let mut shaping = Shaping { endpoint: Arc::make_mut(endpoint), complaints: Vec::new() };
    shaping.flatten(config, wish);
    let declared: Vec<&str> =
        config.columns.iter().filter(|column| shaping.declare(column)).map(|c| &*c.name).collect();
    shaping.recall(log);
    shaping.check_select(config, wish);
    shaping.transform(config);
    shaping.filter(config, wish);
    let complaints = shaping.complaints;
    if !complaints.is_empty() {
        let file = replication.file.display().to_string();
        return Err(ConfigError::new(&file, None, complaints).into());
    }
    let columns = given.columns.iter().map(|(name, spec)| (name.as_str(), spec.name()));
    Ok(Drift::of(columns, declared.into_iter(), log))
}

/// Leaves names of flattened columns that the target has to the keys that gave them, also
/// where the log of that is lost.
pub(super) fn reserve(endpoint: &mut Arc<Endpoint>, written: Vec<String>) {
    let Some(prefix) = endpoint.flatten.as_deref().map(flattened_prefix) else { return };
    if endpoint.flattening.is_none() || written.is_empty() {
        return;
    }
    if let Some(flattening) = &mut Arc::make_mut(endpoint).flattening {
        flattening.reserved = written;
        flattening.reserved.retain(|name| name.starts_with(&prefix));
    }
}

/// An endpoint that gets its columns.
struct Shaping<'a> {
    endpoint: &'a mut Endpoint,
    complaints: Vec<Complaint>,
}

impl Shaping<'_> {
    /// Keys become columns, where that is wanted.
    fn flatten(&mut self, config: &StreamConfig, wish: &Wish) {
        let Some((wanted, limit)) = config.flatten.as_ref().and_then(|f| Some((f, f.limit?)))
        else {
            return;
        };
        if self.endpoint.flatten.is_none() {
            if !wanted.path.starts_with("defaults") {
                let stream = &self.endpoint.stream;
                self.complaints.push(Complaint {
                    at: Some(wanted.at),
                    path: wanted.path.clone(),
                    message: format!(
                        "stream {stream} has no properties to flatten; events and persons have"
                    ),
                });
            }
            return;
        }
        let left_out = wish.select.iter().filter_map(|name| name.strip_prefix('-'));
        let left_out = left_out.map(str::to_owned).collect();
        self.endpoint.flattening = Some(Flatten {
            column: 0,
            limit,
            left_out,
            reserved: Vec::new(),
            casing: config.casing,
        });
    }

    /// The column whose keys become columns, if they do.
    fn flattened(&self) -> Option<&str> {
        self.endpoint.flatten.as_deref().filter(|_| self.endpoint.flattening.is_some())
    }

    /// Declares a column; tells whether this stream has it.
    fn declare(&mut self, column: &DeclaredColumn) -> bool {
        let declared = match &column.from {
            None => self.give_type(column),
            Some(from) => self.take_out(column, from),
        };
        let is_default = column.path.starts_with("defaults");
        match declared {
            Ok(()) => {
                self.endpoint.typed.push(column.name.clone());
                true
            }
            Err(_) if is_default => false,
            Err(message) => {
                let (at, path) = (Some(column.at), column.path.clone());
                self.complaints.push(Complaint { at, path, message });
                false
            }
        }
    }

    fn give_type(&mut self, column: &DeclaredColumn) -> Result<(), String> {
        let DeclaredColumn { name, kind, .. } = column;
        let is_read_by = self.is_read_by(name);
        let found = self.endpoint.columns.iter_mut().find(|(own, _)| own == name);
        if let Some((_, spec)) = found {
            return match spec {
                ColumnSpec::Field(own) if own == kind => Ok(()),
                ColumnSpec::Field(own) if !is_read_by => {
                    *own = *kind;
                    Ok(())
                }
                spec => Err(format!(
                    "\"{name}\" stays {}: the stream is read or kept apart by it, or it is computed",
                    spec.name()
                )),
            };
        }
        let prefix = self.flattened().map(|of| (of.to_owned(), flattened_prefix(of)));
        let key =
            prefix.and_then(|(of, prefix)| Some((of, name.strip_prefix(&prefix)?.to_owned())));
        if let Some((column, key)) = key {
            let casing = self.endpoint.flattening.as_ref().map_or(Casing::Source, |f| f.casing);
            if casing != Casing::Source {
                // Several keys may be spelt like it.
                return Err(format!(
                    "which key \"{name}\" is taken from is not known where names are spelt otherwise: write it with from: {column}.KEY"
                ));
            }
            self.add(name, ColumnSpec::Inside { column, path: vec![key], kind: *kind });
            return Ok(());
        }
        let known = self.names();
        let near = crate::config::complaint::nearest(name, &known);
        let may_come = self.endpoint.read.iter().any(|way| way.add_undeclared && !way.is_sql());
        if near.is_some() || !may_come {
            let told = suggestion(name, &known);
            return Err(format!(
                "stream {} has no column \"{name}\", {told}",
                self.endpoint.stream
            ));
        }
        // PostHog may yet send it.
        let foreseen = Foreseen { field: name.clone(), name: name.clone(), kind: *kind };
        self.endpoint.foreseen.push(foreseen);
        Ok(())
    }

    fn take_out(&mut self, column: &DeclaredColumn, from: &[String]) -> Result<(), String> {
        let name = &column.name;
        let (of, path) = from.split_first().map_or(("", &[][..]), |(of, path)| (of.as_str(), path));
        let spec = self.endpoint.columns.iter().find(|(own, _)| own == of).map(|(_, spec)| spec);
        let is_json = matches!(spec, Some(ColumnSpec::Field(ColumnType::Json)));
        if !is_json || self.is_joined(of) {
            let is_json = |spec: &ColumnSpec| *spec == ColumnSpec::Field(ColumnType::Json);
            let all = self.endpoint.columns.iter().filter(|(_, spec)| is_json(spec));
            let known: Vec<&str> =
                all.map(|(name, _)| name.as_str()).filter(|name| !self.is_joined(name)).collect();
            let told = suggestion(of, &known);
            return Err(format!("\"{of}\" is no column of JSON that is read as one, {told}"));
        }
        if self.names().iter().any(|own| own.to_lowercase() == name.to_lowercase()) {
            return Err(format!("stream {} has a column \"{name}\" already", self.endpoint.stream));
        }
        let (of, path) = (of.to_owned(), path.to_vec());
        self.add(name, ColumnSpec::Inside { column: of, path, kind: column.kind });
        Ok(())
    }

    /// What earlier runs found keeps its name and its type.
    fn recall(&mut self, log: &[SchemaChange]) {
        for (nth, change) in log.iter().enumerate() {
            let is_last = !log[nth + 1..].iter().any(|later| later.column == change.column);
            let kind = ColumnType::named(&change.after).unwrap_or(ColumnType::Text);
            if !is_last || self.names().contains(&change.column.as_str()) {
                continue;
            }
            let name = change.column.clone();
            let left_out = |flatten: &Flatten| flatten.left_out.contains(&name);
            match change.path.as_slice() {
                [field] if !self.endpoint.foreseen.iter().any(|known| known.name == name) => {
                    self.endpoint.foreseen.push(Foreseen { field: field.clone(), name, kind });
                }
                [of, key]
                    if self.flattened() == Some(of.as_str())
                        && name.starts_with(&flattened_prefix(of))
                        && !self.endpoint.flattening.as_ref().is_some_and(left_out) =>
                {
                    let (column, path) = (of.clone(), vec![key.clone()]);
                    self.add(&name, ColumnSpec::Inside { column, path, kind });
                }
                _ => {}
            }
        }
    }

    /// Columns that are taken out of others are selected by being asked for, and need those.
    fn check_select(&mut self, config: &StreamConfig, wish: &mut Wish) {
        let mut needed: Vec<&str> = self.flattened().into_iter().collect();
        let mut derived = Vec::new();
        for (name, spec) in &self.endpoint.columns {
            if let ColumnSpec::Inside { column, .. } = spec {
                needed.push(column);
                derived.push(name.clone());
            }
        }
        if let Some(column) = needed.iter().find(|column| !wish.wants(column)) {
            let message = format!(
                "leaves out \"{column}\", but columns of stream {} are taken out of it",
                self.endpoint.stream
            );
            let path = format!("streams.{}.select", config.name);
            self.complaints.push(Complaint { at: Some(config.at), path, message });
        }
        if !wish.wants_all() {
            wish.select.extend(derived);
        }
    }

    /// Changes values, where that is wanted.
    fn transform(&mut self, config: &StreamConfig) {
        for declared in &config.transforms {
            let steps = &declared.steps;
            let Some(place) = &declared.place else {
                let is_text = |(name, spec): &&(String, ColumnSpec)| {
                    *spec == ColumnSpec::Field(ColumnType::Text) && !self.is_read_by(name)
                };
                let texts = self.endpoint.columns.iter().filter(is_text);
                let all: Vec<_> =
                    texts.map(|(name, _)| (name.clone(), Vec::new(), steps.clone())).collect();
                self.endpoint.transforms.extend(all);
                continue;
            };
            let (column, keys) =
                place.split_first().map_or(("", &[][..]), |(column, keys)| (column.as_str(), keys));
            match self.may_change(column, keys) {
                Ok(()) => {
                    let transform = (column.to_owned(), keys.to_vec(), steps.clone());
                    self.endpoint.transforms.push(transform);
                }
                Err(_) if declared.path.starts_with("defaults") => {}
                Err(message) => {
                    let (at, path) = (Some(declared.at), declared.path.clone());
                    self.complaints.push(Complaint { at, path, message });
                }
            }
        }
    }

    /// Whether values of a column, or inside of it, can be changed.
    fn may_change(&self, column: &str, keys: &[String]) -> Result<(), String> {
        let stream = &self.endpoint.stream;
        let spec = self.spec(column)?;
        if self.is_read_by(column) || (matches!(spec, ColumnSpec::DayOf(_)) || spec.is_of_run()) {
            return Err(format!(
                "\"{column}\" of stream {stream} stays as it is: rows are read or kept apart by it"
            ));
        }
        if self.is_joined(column) {
            return Err(format!(
                "\"{column}\" of stream {stream} is put together from another table and stays as \
                 it is; leave it out with select"
            ));
        }
        match (spec, keys) {
            (ColumnSpec::Inside { column: of, path, .. }, _) => {
                Err(format!("is taken out of {of}: write {of}.{}", path.join(".")))
            }
            (ColumnSpec::Field(ColumnType::Text), []) => Ok(()),
            (ColumnSpec::Field(ColumnType::Json), [_, ..]) => Ok(()),
            (ColumnSpec::Field(ColumnType::Json), []) => Err(format!(
                "\"{column}\" is JSON: name a value inside of it, as {column}.email, or leave it \
                 out with select"
            )),
            (spec, _) => Err(format!("\"{column}\" is {}: only texts can be changed", spec.name())),
        }
    }

    /// Leaves the records that are wanted, and asks the stores for as few others as can be.
    fn filter(&mut self, config: &StreamConfig, wish: &Wish) {
        let Some(wanted) = &config.filter else { return };
        let mut filter = wanted.filter.clone();
        if let Err(message) = filter.bind(&|column| self.comparable(column, wish)) {
            let (at, path) = (wanted.at, wanted.path.clone());
            self.complaints.push(Complaint { at, path, message });
            return;
        }
        for way in &mut self.endpoint.read {
            let Paging::Keyset(keyset) = &mut way.paging else { continue };
            // These are never null, and come from the store as they are compared there.
            let key = keyset.key.clone();
            let expression_of = |column: &str| {
                key.iter().find(|(name, _)| name == column).map(|(_, by)| by.as_str())
            };
            keyset.pushed = filter.sql(&expression_of);
        }
        self.endpoint.filter = Some(filter);
    }

    /// The type of a column that records can be chosen by.
    fn comparable(&self, column: &str, wish: &Wish) -> Result<ColumnType, String> {
        let (endpoint, spec) = (&*self.endpoint, self.spec(column)?);
        if self.is_joined(column) {
            return Err(format!("\"{column}\" is put together from another table"));
        }
        if !wish.wants(column) && !self.is_read_by(column) {
            return Err(format!("needs \"{column}\", which select leaves out"));
        }
        let field = match spec {
            ColumnSpec::DayOf(of) => of,
            ColumnSpec::Inside { column: of, path, .. } => {
                let place = path.join(".");
                return Err(format!("\"{column}\" is taken out of {of}: write {of}.{place}"));
            }
            ColumnSpec::Field(_) | ColumnSpec::LoadedAt | ColumnSpec::OfRun(..) => column,
        };
        if let Some(way) = endpoint.read.iter().find(|way| !way.knows(field)) {
            let other = if way.is_sql() { "rest" } else { "sql" };
            return Err(format!(
                "\"{column}\" is not known where the stream is read by {}: add source_options: \
                 {{ read: {other} }}",
                way.name
            ));
        }
        Ok(match spec {
            ColumnSpec::Field(kind) => *kind,
            _ => ColumnType::Date,
        })
    }

    /// What a column is.
    fn spec(&self, column: &str) -> Result<&ColumnSpec, String> {
        let found = self.endpoint.columns.iter().find(|(name, _)| name == column);
        found.map(|(_, spec)| spec).ok_or_else(|| {
            let told = suggestion(column, &self.names());
            format!("stream {} has no column \"{column}\", {told}", self.endpoint.stream)
        })
    }

    fn names(&self) -> Vec<&str> {
        self.endpoint.columns.iter().map(|(name, _)| name.as_str()).collect()
    }

    fn add(&mut self, name: &str, spec: ColumnSpec) {
        self.endpoint.columns.push((name.to_owned(), spec));
    }

    /// Whether the stream is asked for, put in order or kept apart by a column.
    fn is_read_by(&self, name: &str) -> bool {
        let endpoint = &*self.endpoint;
        let order = endpoint.incremental.as_ref();
        let times = order.iter().flat_map(|order| [Some(&order.by), order.arrival.as_ref()]);
        let ways = endpoint.read.iter().filter_map(|way| match &way.paging {
            Paging::Keyset(keyset) => Some(keyset.key.iter().map(|(name, _)| name)),
            _ => None,
        });
        let by_names = endpoint.primary_key.iter().chain(&endpoint.newest_by);
        let mut all =
            by_names.chain(times.flatten()).chain(&endpoint.update_key).chain(ways.flatten());
        all.any(|other| other == name)
    }

    /// Whether a column is put together from another table's rows.
    fn is_joined(&self, name: &str) -> bool {
        self.endpoint.read.iter().any(|way| match &way.paging {
            Paging::Keyset(keyset) => keyset.join.as_ref().is_some_and(|join| join.column == name),
            _ => false,
        })
    }
}
