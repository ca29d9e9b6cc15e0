//! The text of a replication, and the variables that it sets itself.

use std::fs;
use std::path::{Path, PathBuf};

use super::refuse_sling;
use crate::config::complaint::{Complaints, ConfigError};
use crate::config::node::{Key, Kind, Node};
use crate::config::variables::{Environment, expand_environment};
use crate::config::{audit, yaml};
use crate::cursor::Timestamp;

/// The text of a replication, and what to call the place where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The file.
    pub file: PathBuf,
    /// What is in it.
    pub text: String,
}

impl Written {
    /// Reads a file.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = fs::read_to_string(path).map_err(|error| {
            ConfigError::about(&path.display().to_string(), format!("cannot be read: {error}"))
        })?;
        Ok(Self { file: path.to_owned(), text })
    }

    /// The tree with its variables filled in, and the variables that it sets itself: they win over
    /// those of the environment.
    pub(in crate::config) fn expanded(
        &self,
        environment: &Environment,
        complaints: &Complaints,
    ) -> Result<(Node, Environment), ConfigError> {
        let mut root = yaml::parse(&self.text).map_err(|complaint| {
            ConfigError::new(&self.file.display().to_string(), Some(&self.text), vec![complaint])
        })?;
        let own = take_env(&mut root, environment, complaints);
        let mut all = environment.clone();
        all.extend(own.clone());
        expand_environment(&mut root, "", &all, complaints);
        Ok((root, own))
    }
}

/// Takes the variables out that a replication sets: `env: { SCHEMA: lake, KEY: ${OTHER} }`.
fn take_env(root: &mut Node, environment: &Environment, complaints: &Complaints) -> Environment {
    let Kind::Map(entries) = &mut root.kind else { return Environment::new() };
    let Some(place) = entries.iter().position(|(key, _)| key.text == "env") else {
        return Environment::new();
    };
    let (_, mut node) = entries.remove(place);
    expand_environment(&mut node, "env", environment, complaints);
    let Kind::Map(variables) = &node.kind else {
        if !node.is_null() {
            complaints.expected("a map of names and texts", &node, "env");
        }
        return Environment::new();
    };
    let text = |(key, value): &(Key, Node)| {
        if key.text == audit::UNHEARD {
            complaints.add(key.at, "env", refuse_sling(&key.text));
        }
        let text = value.text().or(value.is_null().then_some(""));
        if text.is_none() {
            complaints.expected("a text", value, &format!("env.{}", key.text));
        }
        Some((key.text.clone(), text?.to_owned()))
    };
    variables.iter().filter_map(text).collect()
}

/// The variables of objects that are the same for all streams.
pub(super) fn variables(own: &Environment, now: Timestamp) -> Vec<(String, String)> {
    let text = now.to_string();
    let digits: String = text.chars().filter(char::is_ascii_digit).take(14).collect();
    let (date, time) = digits.split_at(8);
    let (year, day) = date.split_at(4);
    let (month, day) = day.split_at(2);
    let of_time = [
        ("run_timestamp", format!("{year}_{month}_{day}_{time}")),
        ("YYYY", year.to_owned()),
        ("YY", year[2..].to_owned()),
        ("MM", month.to_owned()),
        ("DD", day.to_owned()),
        ("HH", time[..2].to_owned()),
    ];
    let of_time = of_time.map(|(name, value)| (name.to_owned(), value));
    of_time.into_iter().chain(own.clone()).collect()
}
