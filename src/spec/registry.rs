//! Reading specs: the built-in ones and the user's own.
//!
//! A file is one stream, with its keys in the same order everywhere; `limits.yaml`
//! holds PostHog's quotas. Every complaint of a file is told at once, with its place.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::endpoint::{ColumnSpec, Endpoint, Incremental};
use super::paging::read_path;
use crate::config::{Allowance, Complaints, ConfigError, Fields, Node, yaml};
use crate::schema::ColumnType;

/// The files of `specs/`, by name.
const BUILT_IN: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/specs.rs"));

/// The file that holds no stream but the quotas.
const LIMITS: &str = "limits.yaml";

/// Marks the counter of a quota's shortest window.
pub(crate) const BURST: &str = "/burst";

/// All streams there are, and PostHog's quotas.
#[derive(Debug, Clone)]
pub struct Registry {
    endpoints: BTreeMap<String, Arc<Endpoint>>,
    limits: BTreeMap<String, Vec<Allowance>>,
}

impl Registry {
    /// The built-in streams, and those of the user's own files and folders.
    ///
    /// # Errors
    /// When a file cannot be read or is not a spec.
    pub fn load(own: &[PathBuf]) -> Result<Self, ConfigError> {
        let mut registry = Self { endpoints: BTreeMap::new(), limits: BTreeMap::new() };
        for (name, source) in BUILT_IN {
            registry.add(&format!("specs/{name}"), source)?;
        }
        for path in own {
            for file in spec_files(path)? {
                registry.add(&file.display().to_string(), &read(&file)?)?;
            }
        }
        Ok(registry)
    }

    fn add(&mut self, file: &str, source: &str) -> Result<(), ConfigError> {
        let node = yaml::parse(source)
            .map_err(|complaint| ConfigError::new(file, Some(source), vec![complaint]))?;
        let complaints = Complaints::new();
        let mut fields = Fields::of(&node, "", &complaints);
        if Path::new(file).file_name().is_some_and(|name| name == LIMITS) {
            self.limits = limits(&mut fields);
            fields.finish();
        } else {
            let endpoint = endpoint(fields, &complaints);
            self.endpoints.insert(endpoint.stream.clone(), Arc::new(endpoint));
        }
        complaints.into_result(file, Some(source))
    }

    /// All streams, by name.
    pub fn streams(&self) -> impl Iterator<Item = &Arc<Endpoint>> {
        self.endpoints.values()
    }

    /// The names of all streams.
    pub fn names(&self) -> Vec<String> {
        self.endpoints.keys().cloned().collect()
    }

    /// The stream called `name`.
    pub fn find(&self, name: &str) -> Option<&Arc<Endpoint>> {
        self.endpoints.get(name)
    }

    /// What each counter allows; `own` replaces PostHog's quotas of the same name.
    pub fn counters(
        &self,
        own: &BTreeMap<String, Vec<Allowance>>,
    ) -> BTreeMap<String, Vec<Allowance>> {
        let mut counters = BTreeMap::new();
        for (name, allowances) in self.limits.iter().chain(own) {
            let mut allowances = allowances.clone();
            allowances.sort_by_key(|allowance| allowance.per);
            let longer = allowances.split_off(allowances.len().min(1));
            counters.insert(format!("{name}{BURST}"), allowances);
            counters.insert(name.clone(), longer);
        }
        counters
    }
}

/// The file itself, or every spec in the folder.
fn spec_files(path: &Path) -> Result<Vec<PathBuf>, ConfigError> {
    if !path.is_dir() {
        return Ok(vec![path.to_path_buf()]);
    }
    let entries = fs::read_dir(path).map_err(|err| unreadable(path, &err))?;
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    Ok(files)
}

fn read(file: &Path) -> Result<String, ConfigError> {
    fs::read_to_string(file).map_err(|err| unreadable(file, &err))
}

fn unreadable(path: &Path, err: &std::io::Error) -> ConfigError {
    ConfigError::about(&path.display().to_string(), format!("cannot be read: {err}"))
}

fn limits(fields: &mut Fields<'_, '_>) -> BTreeMap<String, Vec<Allowance>> {
    let mut limits = BTreeMap::new();
    for (counter, node) in fields.map("limits") {
        let texts = texts(node);
        let allowances: Option<Vec<Allowance>> =
            texts.iter().map(|text| Allowance::parse(text)).collect();
        match allowances {
            Some(allowances) => {
                limits.insert(counter.text.clone(), allowances);
            }
            None => fields.complain("limits", "expected allowances like 240/1m"),
        }
    }
    limits
}

fn endpoint(mut fields: Fields<'_, '_>, complaints: &Complaints) -> Endpoint {
    let quota = owned(fields.opt_texts("quota"));
    let mut endpoint = Endpoint {
        stream: fields.text("stream"),
        description: fields.text("description"),
        docs: fields.text("docs"),
        scope: fields.text("scope"),
        primary_key: owned(fields.opt_texts("primary_key")),
        update_key: fields.opt_text("update_key").map(str::to_owned),
        newest_by: owned(fields.opt_texts("newest_by")),
        incremental: fields.fields("incremental").map(incremental),
        columns: columns(&mut fields),
        flatten: fields.opt_text("flatten").map(str::to_owned),
        quota,
        ..Endpoint::default()
    };
    for node in fields.list("read") {
        endpoint.read.extend(read_path(node, &endpoint.quota, complaints));
    }
    check(&endpoint, &fields);
    fields.finish();
    endpoint
}

fn incremental(mut fields: Fields<'_, '_>) -> Incremental {
    let incremental = Incremental {
        by: fields.text("by"),
        arrival: fields.opt_text("arrival").map(str::to_owned),
        lookback: fields.opt_duration("lookback"),
        reread: fields.opt_duration("reread"),
    };
    fields.finish();
    incremental
}

fn columns(fields: &mut Fields<'_, '_>) -> Vec<(String, ColumnSpec)> {
    let mut columns = Vec::new();
    for (name, node) in fields.map("columns") {
        let text = node.text().unwrap_or_default();
        let kind = ColumnType::named(text);
        let spec = match (kind, text.strip_prefix("day of ")) {
            (Some(kind), _) => ColumnSpec::Field(kind),
            (None, Some(other)) => ColumnSpec::DayOf(other.to_owned()),
            (None, None) => {
                let known = ColumnType::ALL.map(ColumnType::name).join(", ");
                fields.complain("columns", format!("`{}` is no type; known: {known}", name.text));
                continue;
            }
        };
        columns.push((name.text.clone(), spec));
    }
    columns
}

/// Complains of names that are no columns, and of streams that nobody could read.
fn check(endpoint: &Endpoint, fields: &Fields<'_, '_>) {
    let is_column = |name: &str| endpoint.columns.iter().any(|(column, _)| column == name);
    let by = endpoint.incremental.iter().map(|incremental| &incremental.by);
    for (key, names) in [
        ("primary_key", endpoint.primary_key.iter().collect::<Vec<_>>()),
        ("newest_by", endpoint.newest_by.iter().collect()),
        ("update_key", endpoint.update_key.iter().collect()),
        ("incremental", by.collect()),
        ("flatten", endpoint.flatten.iter().collect()),
    ] {
        for name in names.into_iter().filter(|name| !is_column(name)) {
            fields.complain(key, format!("`{name}` is not among the columns"));
        }
    }
    if endpoint.read.is_empty() {
        fields.complain("read", "a stream needs a way to read it");
    }
}

pub(super) fn owned(texts: Option<Vec<&str>>) -> Vec<String> {
    texts.unwrap_or_default().into_iter().map(str::to_owned).collect()
}

fn texts(node: &Node) -> Vec<&str> {
    match &node.kind {
        crate::config::Kind::List(items) => items.iter().filter_map(Node::text).collect(),
        _ => node.text().into_iter().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_streams_are_all_there_and_well_formed() {
        let registry = Registry::load(&[]).unwrap_or_else(|err| panic!("{err}"));

        assert_eq!(registry.names().len(), 11);
        let counters = registry.counters(&BTreeMap::new());
        for endpoint in registry.streams() {
            assert!(!endpoint.primary_key.is_empty(), "{}", endpoint.stream);
            for counter in endpoint.read.iter().flat_map(|path| &path.quota) {
                assert!(counters.contains_key(counter), "{}: {counter}", endpoint.stream);
            }
        }
    }

    #[test]
    fn a_users_own_file_adds_a_stream() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("surveys.yaml");
        fs::write(&file, "stream: surveys\ndescription: d\ndocs: u\nscope: survey:read\nquota: [crud]\n\
            primary_key: [id]\ncolumns: { id: uuid }\nread:\n- { path: rest, paging: offset, url: /api/projects/{project_id}/surveys/, page_size: 100 }\n").unwrap();

        let registry =
            Registry::load(&[folder.path().to_path_buf()]).unwrap_or_else(|err| panic!("{err}"));

        assert!(registry.find("surveys").is_some());
    }

    #[test]
    fn mistakes_in_a_spec_are_told_with_their_places() {
        let mut registry = Registry { endpoints: BTreeMap::new(), limits: BTreeMap::new() };
        let source = "stream: x\ndescription: d\ndocs: u\nscope: s\nprimary_key: [uuid]\n\
            columns: { id: uid }\nread:\n- { path: rest, pagin: whole }\n";

        let err = registry.add("x.yaml", source).unwrap_err().to_string();

        for part in [
            "x.yaml:6:10: columns",
            "x.yaml:5:14: primary_key",
            "read[0]: unknown key \"pagin\", did you mean \"paging\"?",
        ] {
            assert!(err.contains(part), "{part} in\n{err}");
        }
    }
}
