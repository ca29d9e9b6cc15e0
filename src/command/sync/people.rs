//! Who is there: the persons of distinct ids and of e-mails, asked of PostHog.
//!
//! A person may be merged or deleted between the answer and what is sent then. After a merge its
//! ids are those of the other; after a deletion it is made again.

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::command::run::connect;
use crate::config::sync::{Ambiguous, FoundBy, PersonSync};
use crate::config::{Connections, Posthog};
use crate::error::{Exit, Failure};
use crate::fetch::sql_request;
use crate::http::{AskError, Client, Meter, Request};
use crate::spec::counters;
use crate::spec::registry::Registry;
use crate::sync::work::Candidate;

/// The most rows that every server answers: old ones lower a greater LIMIT to it.
const MOST_ROWS: usize = 10_000;

/// Whom a row is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Meant {
    /// Whoever has the row's own distinct id.
    Own,
    /// Those with these distinct ids, one of each person.
    These(Vec<String>),
    /// Somebody who is not there.
    Nobody,
    /// One of several, and it is not known which: a distinct id of each.
    Several(Vec<String>),
}

/// A project's persons.
pub(super) struct People {
    client: Client,
    connection: Posthog,
    meter: Meter,
    told: std::sync::atomic::AtomicU64,
}

#[derive(Deserialize)]
struct ByIds {
    results: Map<String, Value>,
}

#[derive(Deserialize)]
struct Listed {
    results: Vec<Value>,
}

#[derive(Deserialize)]
struct Answered {
    results: Vec<(String, String)>,
}

#[derive(Deserialize)]
struct Person {
    last_seen_at: Option<String>,
    created_at: Option<String>,
}

impl People {
    /// Those of the target's project.
    pub(super) fn of(connections: &Connections, target: &str) -> Result<Self, Failure> {
        let connection = connections.posthog(target)?;
        if connection.is_of_several() {
            return Err(Failure::usage(
                format!("connection `{target}` is of several projects"),
                "persons are looked up in one",
                "name a connection whose project_id is a single number",
            ));
        }
        let registry = Registry::load(&connection.specs)?;
        let client = connect(&connection, &registry, connections)?;
        Ok(Self { client, connection, meter: Meter::default(), told: 0.into() })
    }

    /// Requests since this was asked last.
    pub(super) fn take_requests(&self) -> u64 {
        let all = self.meter.requests();
        all - self.told.swap(all, std::sync::atomic::Ordering::Relaxed)
    }

    /// Finds the persons that rows are about, in their order.
    pub(super) async fn find(
        &self,
        sync: &PersonSync,
        rows: &[Candidate],
    ) -> Result<Vec<Meant>, Failure> {
        match &sync.by {
            FoundBy::Id => self.by_id(rows).await,
            FoundBy::Email { ambiguous, .. } => self.by_email(*ambiguous, rows).await,
        }
    }

    async fn by_id(&self, rows: &[Candidate]) -> Result<Vec<Meant>, Failure> {
        let ids: Vec<&str> =
            rows.iter().filter_map(|row| row.draft.distinct_id.as_deref()).collect();
        let path = self.path("persons/batch_by_distinct_ids/");
        let request =
            Request::post(path, json!({ "distinct_ids": ids }), &counters(&["clickhouse/burst"]));
        let known = match self.ask::<ByIds>(&request).await {
            Ok(found) => found.results,
            // Servers of before 2025 have no such question.
            Err(AskError::NotFound { .. } | AskError::Refused { status: 404 | 405, .. }) => {
                return self.one_by_one(&ids).await;
            }
            Err(err) => return Err(self.failed(&request, &err)),
        };
        let meant = |id: &&str| if known.contains_key(*id) { Meant::Own } else { Meant::Nobody };
        Ok(ids.iter().map(meant).collect())
    }

    async fn one_by_one(&self, ids: &[&str]) -> Result<Vec<Meant>, Failure> {
        let mut all = Vec::with_capacity(ids.len());
        for id in ids {
            let request = Request::get(self.path("persons/"), &counters(&["clickhouse/burst"]));
            let request = request.with("distinct_id", *id);
            let found = self.ask::<Listed>(&request).await;
            let found = found.map_err(|err| self.failed(&request, &err))?;
            all.push(if found.results.is_empty() { Meant::Nobody } else { Meant::Own });
        }
        Ok(all)
    }

    async fn by_email(
        &self,
        ambiguous: Ambiguous,
        rows: &[Candidate],
    ) -> Result<Vec<Meant>, Failure> {
        let emails = rows.iter().map(|row| row.text.clone()).collect();
        let persons = self
            .select(
                "SELECT toString(id), lower(trim(properties.email)) FROM persons \
                     WHERE lower(trim(properties.email)) IN",
                emails,
            )
            .await?;
        let ids = persons.iter().map(|(person, _)| person.clone()).collect();
        let ids = self
            .select(
                "SELECT toString(person_id), distinct_id FROM person_distinct_ids \
                     WHERE toString(person_id) IN",
                ids,
            )
            .await?;
        let mut best: HashMap<String, String> = HashMap::new();
        for (person, id) in ids {
            let is_better = best.get(&person).is_none_or(|best| rank(&id) < rank(best));
            if is_better {
                best.insert(person, id);
            }
        }
        let mut by_email: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (person, email) in persons {
            // A person without ids is on its way out: nothing can be sent to it.
            if best.contains_key(&person) {
                by_email.entry(email).or_default().push(person);
            }
        }
        let mut all = Vec::with_capacity(rows.len());
        for row in rows {
            let persons = by_email.get(&row.text).map(Vec::as_slice).unwrap_or_default();
            let id = |person: &String| best[person].clone();
            all.push(match (persons, ambiguous) {
                ([], _) => Meant::Nobody,
                ([one], _) => Meant::These(vec![id(one)]),
                (several, Ambiguous::All) => Meant::These(several.iter().map(id).collect()),
                (several, Ambiguous::Reject) => {
                    let mut ids: Vec<String> = several.iter().map(id).collect();
                    ids.sort();
                    Meant::Several(ids)
                }
                (several, Ambiguous::Latest) => {
                    Meant::These(vec![id(self.latest(several).await?)])
                }
            });
        }
        Ok(all)
    }

    /// Who was seen last; where PostHog does not say when that was, who was made last.
    async fn latest<'p>(&self, persons: &'p [String]) -> Result<&'p String, Failure> {
        let mut latest = (None, &persons[0]);
        for person in persons {
            let path = self.path(&format!("persons/{person}/"));
            let request = Request::get(path, &counters(&["clickhouse/burst"]));
            let found = self.ask::<Person>(&request).await;
            let found = found.map_err(|err| self.failed(&request, &err))?;
            let seen = (found.last_seen_at, found.created_at);
            if latest.0.as_ref().is_none_or(|latest| seen > *latest) {
                latest = (Some(seen), person);
            }
        }
        Ok(latest.1)
    }

    /// Rows of two texts of a query that ends with `IN`, for these values.
    async fn select(
        &self,
        query: &str,
        values: Vec<String>,
    ) -> Result<Vec<(String, String)>, Failure> {
        if values.is_empty() {
            return Ok(Vec::new());
        }
        let names: Vec<String> = (0..values.len()).map(|n| format!("{{v{n}}}")).collect();
        let text = format!("{query} ({}) LIMIT {MOST_ROWS}", names.join(", "));
        let values: Map<String, Value> = values
            .into_iter()
            .enumerate()
            .map(|(n, value)| (format!("v{n}"), value.into()))
            .collect();
        let hogql = json!({ "kind": "HogQLQuery", "query": text, "values": values });
        let request = sql_request(&self.connection.project_id, hogql, &counters(&["query"]));
        let found = self.ask::<Answered>(&request).await;
        let found = found.map_err(|err| self.failed(&request, &err))?.results;
        if found.len() >= MOST_ROWS {
            return Err(Failure {
                what: "it was not found out who is there".into(),
                cause: format!("{MOST_ROWS} rows or more were found for {} values", values.len()),
                fix:
                    "look for an email that very many persons have, or a person with very many ids"
                        .into(),
                exit: Exit::Contract,
            });
        }
        Ok(found)
    }

    async fn ask<T: serde::de::DeserializeOwned + Send>(
        &self,
        request: &Request,
    ) -> Result<T, AskError> {
        self.client.ask_json(request, &self.meter).await
    }

    fn path(&self, rest: &str) -> String {
        format!("/api/projects/{}/{rest}", self.connection.project_id)
    }

    fn failed(&self, request: &Request, err: &AskError) -> Failure {
        Failure::of_connection(&self.connection.name, &self.client.describe(request), err)
    }
}

/// Which of a person's ids is better to send to: one that somebody gave it is rather its own than
/// one that a browser made, which is a UUID.
fn rank(id: &str) -> (bool, &str) {
    (Uuid::parse_str(id).is_ok(), id)
}
