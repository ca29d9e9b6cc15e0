//! A PostHog connection: which instance, which project, with which key, how politely.
//!
//! [`Posthog`] is what the user defined, checked: an origin without a path, a numeric
//! project, a key of the right kind. A key becomes a [`Secret`] before anything can be
//! said of it. Nothing here asks PostHog whether it is true.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use url::Url;

use super::allowance::Allowance;
use super::complaint::Complaints;
use super::fields::Fields;
use super::node::{Kind, Node};
use super::secret::Secret;
use super::timeouts::Timeouts;
use super::variables::Environment;
use crate::cursor::Timestamp;

const MINUTE: Duration = Duration::from_secs(60);

/// PostHog Cloud in the United States, where accounts are unless they chose otherwise.
const DEFAULT_HOST: &str = "us.posthog.com";

/// A PostHog project and how to ask it.
#[derive(Debug, Clone, PartialEq)]
pub struct Posthog {
    /// The connection's name.
    pub name: String,
    /// `scheme://host[:port]`, lower-case, without a slash at the end.
    pub origin: String,
    /// The personal API key.
    pub api_key: Secret,
    /// The project's token, which sending needs and reading does not.
    pub project_api_key: Option<Secret>,
    /// The project's number, digits only; of several the one at hand.
    pub project_id: String,
    /// Which projects there are.
    pub projects: Projects,
    /// Files and folders whose specs add to the built-in ones or replace them.
    pub specs: Vec<PathBuf>,
    /// How to ask.
    pub inputs: Inputs,
}

/// The projects of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Projects {
    /// One.
    One,
    /// These numbers.
    These(Vec<String>),
    /// All that the key may see.
    All,
}

/// How a project is asked: the pace, and how far back.
#[derive(Debug, Clone, PartialEq)]
pub struct Inputs {
    /// Requests begun in a second; 0 for no limit.
    pub requests_per_second: f64,
    /// Requests under way at once.
    pub concurrency: usize,
    /// How far before now a run ends, for rows still on their way into PostHog's store.
    pub safety_lag: Duration,
    /// How far back each run looks for late rows, in place of the spec's.
    pub lookback: Option<Duration>,
    /// How often the whole look-back is read again where late rows cannot be asked for.
    pub lookback_every: Duration,
    /// The longest wait for PostHog's quota before a run stops, to be started again later.
    pub max_wait: Duration,
    /// The wait before a question that failed is asked again; each further one adds as much.
    pub retry_wait: Duration,
    /// How long the network may take.
    pub timeouts: Timeouts,
    /// The first instant that is wanted.
    pub anchor_date: Option<Timestamp>,
    /// PostHog's limits in place of the known ones, by counter. Which counters there
    /// are is the registry's to say.
    pub limits: Option<BTreeMap<String, Vec<Allowance>>>,
}

impl Default for Inputs {
    fn default() -> Self {
        Self {
            requests_per_second: 3.0,
            concurrency: 2,
            safety_lag: 2 * MINUTE,
            lookback: None,
            lookback_every: 24 * 60 * MINUTE,
            max_wait: 15 * MINUTE,
            retry_wait: Duration::from_secs(1),
            timeouts: Timeouts::default(),
            anchor_date: None,
            limits: None,
        }
    }
}

/// What values can refer to.
pub(super) struct Surroundings<'a> {
    /// What `env:NAME` names.
    pub(super) environment: &'a Environment,
    /// Where relative paths start.
    pub(super) cwd: &'a Path,
}

impl Posthog {
    /// Whether each project is read into places of its own.
    pub fn is_of_several(&self) -> bool {
        self.projects != Projects::One
    }

    /// The same connection with this project at hand.
    pub fn of_project(&self, id: &str) -> Self {
        Self { project_id: id.to_owned(), ..self.clone() }
    }

    /// Reads the connection `name`, defined by `node`.
    pub(super) fn read(
        name: &str,
        node: &Node,
        path: &str,
        surroundings: &Surroundings<'_>,
        complaints: &Complaints,
    ) -> Option<Self> {
        let other = "expected api: a source is { type: api, spec: posthog, … }";
        let Opened { mut secrets, specs, inputs } =
            Opened::read(node, path, surroundings, complaints, other)?;
        let (project_id, projects) = secrets.projects();
        let connection = Self {
            name: name.to_owned(),
            origin: secrets.origin().unwrap_or_default(),
            api_key: secrets.api_key(),
            project_api_key: secrets.project_api_key(),
            project_id,
            projects,
            specs,
            inputs,
        };
        secrets.fields.finish();
        Some(connection)
    }
}

/// A connection of PostHog's whose secrets are still to be read.
pub(super) struct Opened<'n, 'c, 's> {
    pub(super) secrets: SecretFields<'n, 'c, 's>,
    specs: Vec<PathBuf>,
    pub(super) inputs: Inputs,
}

impl<'n, 'c, 's> Opened<'n, 'c, 's> {
    /// Reads all but the secrets; one of `other` type is refused with these words.
    pub(super) fn read(
        node: &'n Node,
        path: &str,
        surroundings: &'s Surroundings<'s>,
        complaints: &'c Complaints,
        other: &str,
    ) -> Option<Self> {
        let mut fields = Fields::of(node, path, complaints);
        if fields.required("type").is_some_and(|kind| kind.text() != Some("api")) {
            // Its other keys are not ours to judge.
            fields.complain("type", other);
            return None;
        }
        let specs = read_specs(&mut fields, surroundings.cwd);
        let secrets = fields.required("secrets");
        let secrets = secrets.map(|node| Fields::of(node, &fields.path_of("secrets"), complaints));
        let inputs = fields.fields("inputs").map(Inputs::read).unwrap_or_default();
        fields.finish();
        Some(Self { secrets: SecretFields { fields: secrets?, surroundings }, specs, inputs })
    }
}

/// The files of `spec: posthog`, `spec: file://my.yaml` or a list of such.
fn read_specs(fields: &mut Fields<'_, '_>, cwd: &Path) -> Vec<PathBuf> {
    let Some(node) = fields.required("spec") else { return Vec::new() };
    let items = match &node.kind {
        Kind::List(items) => items.as_slice(),
        _ => std::slice::from_ref(node),
    };
    let mut specs = Vec::new();
    for item in items {
        match item.text().map(|text| (text, text.strip_prefix("file://"))) {
            Some(("posthog", _)) => {}
            Some((_, Some(file))) if !file.is_empty() => specs.push(cwd.join(file)),
            _ => fields.expected("posthog or file://path", item, "spec"),
        }
    }
    specs
}

/// The map `secrets`: any of its values may refer to a variable or a file.
pub(super) struct SecretFields<'n, 'c, 's> {
    pub(super) fields: Fields<'n, 'c>,
    pub(super) surroundings: &'s Surroundings<'s>,
}

impl SecretFields<'_, '_, '_> {
    /// The value of `key` after following its reference. None where it is not given or
    /// its reference leads nowhere, which is said.
    pub(super) fn value(&mut self, key: &'static str) -> Option<String> {
        let text = self.fields.opt_text(key)?;
        let value = self.follow(text).map_err(|message| self.fields.complain(key, message)).ok()?;
        Some(value.trim().to_owned())
    }

    /// The value of `key`, which must be given.
    pub(super) fn required(&mut self, key: &'static str) -> Option<String> {
        self.fields.required(key)?;
        let value = self.value(key)?;
        if value.is_empty() {
            self.fields.complain(key, "is empty");
            return None;
        }
        Some(value)
    }

    fn follow(&self, text: &str) -> Result<String, String> {
        if let Some(name) = text.strip_prefix("env:") {
            let value = self.surroundings.environment.get(name.trim());
            return value.cloned().ok_or_else(|| format!("environment variable {name} is not set"));
        }
        if let Some(file) = text.strip_prefix("file:") {
            let path = self.surroundings.cwd.join(file.strip_prefix("//").unwrap_or(file));
            return fs::read_to_string(&path)
                .map_err(|error| format!("{} cannot be read: {error}", path.display()));
        }
        Ok(text.to_owned())
    }

    fn api_key(&mut self) -> Secret {
        let value = self.required("api_key").unwrap_or_default();
        let advice = "create a personal API key (phx_…) under Settings → Personal API keys";
        if value.starts_with("phc_") {
            let message = format!("begins with phc_, as a project token does: {advice}");
            self.fields.complain("api_key", message);
        } else if !value.bytes().all(|byte| byte.is_ascii_graphic()) {
            self.fields.complain("api_key", format!("has characters that no key has: {advice}"));
        }
        Secret::new(value)
    }

    fn project_api_key(&mut self) -> Option<Secret> {
        let value = self.value("project_api_key")?;
        if !value.starts_with("phc_") {
            let message =
                "does not begin with phc_: it is the project token, under Settings → Project";
            self.fields.complain("project_api_key", message);
        }
        Some(Secret::new(value))
    }

    /// The project at hand, none of several, and which there are.
    fn projects(&mut self) -> (String, Projects) {
        match self.fields.node("project_id").map(|node| &node.kind) {
            Some(Kind::List(items)) => {
                let ids = items.iter().map(|item| item.text().unwrap_or_default().trim());
                let ids: Vec<String> = ids.map(str::to_owned).collect();
                if ids.is_empty() {
                    self.fields.complain("project_id", "names no project");
                }
                for (n, id) in ids.iter().enumerate() {
                    self.check_project(id);
                    if ids[..n].contains(id) {
                        self.fields.complain("project_id", format!("names {id} twice"));
                    }
                }
                (String::new(), Projects::These(ids))
            }
            _ => match self.required("project_id") {
                Some(all) if all == "*" => (String::new(), Projects::All),
                Some(id) => {
                    self.check_project(&id);
                    (id, Projects::One)
                }
                None => (String::new(), Projects::One),
            },
        }
    }

    fn check_project(&self, id: &str) {
        if id == "@current" {
            let message = "@current moves when the key's owner opens another project: \
                           write the project's number";
            self.fields.complain("project_id", message);
        } else if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_digit()) {
            let message = "expected the project's number, which PostHog shows in its address \
                           after /project/, a list of such, or \"*\" for all that the key may see";
            self.fields.complain("project_id", message);
        }
    }

    fn origin(&mut self) -> Option<String> {
        self.host_read(origin_of)
    }

    /// What `read` makes of the host.
    pub(super) fn host_read(
        &mut self,
        read: fn(&str) -> Result<String, &'static str>,
    ) -> Option<String> {
        let host = self.value("host").unwrap_or_else(|| DEFAULT_HOST.to_owned());
        read(&host).map_err(|message| self.fields.complain("host", message)).ok()
    }
}

const HOST_EXPECTED: &str =
    "expected a domain or a URL, as in us.posthog.com or http://localhost:8000";

/// The origin at which the host that is meant answers questions.
fn origin_of(host: &str) -> Result<String, &'static str> {
    let url = url_of(host)?;
    match url.host_str() {
        // Where the application was before it had regions.
        Some("app.posthog.com") => moved(url, "us.posthog.com"),
        Some("us.i.posthog.com" | "eu.i.posthog.com") => {
            Err("takes events but answers no questions: write it without the `.i`")
        }
        _ => Ok(url.origin().ascii_serialization()),
    }
}

/// The origin of the same PostHog with another host.
pub(super) fn moved(mut url: Url, host: &str) -> Result<String, &'static str> {
    url.set_host(Some(host)).map_err(|_| HOST_EXPECTED)?;
    Ok(url.origin().ascii_serialization())
}

/// The address that a bare domain or a URL means: scheme, host and port.
pub(super) fn url_of(host: &str) -> Result<Url, &'static str> {
    let expected = HOST_EXPECTED;
    let text = if host.contains("://") { host.to_owned() } else { format!("https://{host}") };
    let url = Url::parse(&text).map_err(|_| expected)?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(expected);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("a user or password has no place here; the key is in secrets.api_key");
    }
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        return Err("only scheme, host and port: leave out what follows");
    }
    Ok(url)
}

impl Inputs {
    pub(super) fn read(mut fields: Fields<'_, '_>) -> Self {
        let default = Self::default();
        let inputs = Self {
            requests_per_second: fields
                .read("requests_per_second", "a number, 0 for no limit", |node| {
                    node.plain()?.parse().ok().filter(|rate: &f64| rate.is_finite() && *rate >= 0.0)
                })
                .unwrap_or(default.requests_per_second),
            concurrency: fields
                .read("concurrency", "a whole number from 1", |node| {
                    node.plain()?.parse().ok().filter(|at_once| *at_once > 0)
                })
                .unwrap_or(default.concurrency),
            safety_lag: fields.opt_duration("safety_lag").unwrap_or(default.safety_lag),
            lookback: fields.opt_duration("lookback"),
            lookback_every: fields.opt_duration("lookback_every").unwrap_or(default.lookback_every),
            max_wait: fields.opt_duration("max_wait").unwrap_or(default.max_wait),
            retry_wait: fields.opt_duration("retry_wait").unwrap_or(default.retry_wait),
            timeouts: fields.fields("timeouts").map(Timeouts::read).unwrap_or_default(),
            anchor_date: fields.read("anchor_date", "a date like 2025-01-31", |node| {
                Timestamp::parse(node.text()?)
            }),
            limits: read_limits(&mut fields),
        };
        fields.finish();
        inputs
    }
}

/// `{ clickhouse: [240/1m, 1200/1h] }`.
fn read_limits(fields: &mut Fields<'_, '_>) -> Option<BTreeMap<String, Vec<Allowance>>> {
    let mut limits = BTreeMap::new();
    for (counter, node) in fields.map("limits") {
        let items = match &node.kind {
            Kind::List(items) => items.as_slice(),
            _ => std::slice::from_ref(node),
        };
        let mut allowances = Vec::new();
        for item in items {
            match item.text().and_then(Allowance::parse) {
                Some(allowance) => allowances.push(allowance),
                None => fields.expected("requests per time, like 240/1m", item, "limits"),
            }
        }
        limits.insert(counter.text.clone(), allowances);
    }
    (!limits.is_empty()).then_some(limits)
}

#[cfg(test)]
mod tests {
    use super::super::yaml::parse;
    use super::*;

    const KEY: &str = "phx_hunter22hunter22";

    /// The connection that the YAML defines, or all that is said of it.
    fn read(yaml: &str) -> Result<Posthog, String> {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("key"), format!("  {KEY}\n")).unwrap();
        let environment: Environment =
            [("KEY", KEY), ("NONE", "")].map(|(k, v)| (k.into(), v.into())).into();
        let complaints = Complaints::hiding_values();
        let surroundings = Surroundings { environment: &environment, cwd: folder.path() };
        let node = parse(yaml).map_err(|complaint| complaint.to_string())?;
        let posthog = Posthog::read("POSTHOG", &node, "", &surroundings, &complaints);
        let told = complaints.into_result("f", Some(yaml)).map_err(|error| error.to_string());
        told.inspect_err(|told| assert!(!told.contains("hunter22"), "{told}"))?;
        let mut posthog = posthog.ok_or("nothing")?;
        for spec in &mut posthog.specs {
            *spec = spec.strip_prefix(folder.path()).unwrap_or(spec).to_owned();
        }
        Ok(posthog)
    }

    /// What is said of a connection that is whole but for its `secrets`.
    fn secrets(secrets: &str) -> Result<Posthog, String> {
        read(&format!("{{ type: api, spec: posthog,\nsecrets: {{ {secrets} }} }}"))
    }

    fn inputs(inputs: &str) -> Result<Inputs, String> {
        let secrets = format!("{{ api_key: {KEY}, project_id: 1 }}");
        read(&format!("{{ type: api, spec: posthog, secrets: {secrets},\ninputs: {inputs} }}"))
            .map(|posthog| posthog.inputs)
    }

    #[test]
    fn a_connection_needs_a_key_and_a_project() {
        let posthog = secrets(&format!("api_key: {KEY}, project_id: 12345")).unwrap();

        let expected = Posthog {
            name: "POSTHOG".into(),
            origin: "https://us.posthog.com".into(),
            api_key: Secret::new(KEY),
            project_api_key: None,
            project_id: "12345".into(),
            projects: Projects::One,
            specs: Vec::new(),
            inputs: Inputs::default(),
        };
        assert_eq!(posthog, expected);
    }

    #[test]
    fn a_connection_may_be_of_several_projects_or_of_all() {
        let of = |ids: &str| secrets(&format!("api_key: {KEY}, project_id: {ids}")).unwrap();

        assert_eq!(of("[1, '22']").projects, Projects::These(vec!["1".into(), "22".into()]));
        assert_eq!(of("'*'").projects, Projects::All);
        assert!(of("[1]").is_of_several() && !of("1").is_of_several());
    }

    #[test]
    fn secrets_may_refer_to_variables_and_files() {
        for reference in ["env:KEY", "file:key", "file://key", &format!("'{KEY} '")] {
            let posthog = secrets(&format!("api_key: {reference}, project_id: '7'")).unwrap();
            assert_eq!(posthog.api_key.expose(), KEY, "{reference}");
        }
    }

    #[test]
    fn a_wrong_secret_is_told_without_showing_it() {
        let rest = "project_id: 1";
        let phc = "f:2:21: secrets.api_key: begins with phc_, as a project token does: \
                   create a personal API key (phx_…) under Settings → Personal API keys";
        let odd = "f:2:21: secrets.api_key: has characters that no key has: \
                   create a personal API key (phx_…) under Settings → Personal API keys";
        let number = "f:2:42: secrets.project_id: expected the project's number, \
                      which PostHog shows in its address after /project/, \
                      a list of such, or \"*\" for all that the key may see";
        let current = "f:2:42: secrets.project_id: @current moves when the key's owner opens \
                       another project: write the project's number";
        for (text, expected) in [
            (format!("api_key: phc_hunter22, {rest}"), phc),
            (format!("api_key: phx_hunter22…, {rest}"), odd),
            (format!("api_key: 'hunter22 x', {rest}"), odd),
            (format!("api_key: '', {rest}"), "f:2:21: secrets.api_key: is empty"),
            (format!("api_key: env:NONE, {rest}"), "f:2:21: secrets.api_key: is empty"),
            (
                format!("api_key: env:GONE, {rest}"),
                "f:2:21: secrets.api_key: environment variable GONE is not set",
            ),
            (
                format!("api_key: [hunter22], {rest}"),
                "f:2:21: secrets.api_key: expected text, found a list",
            ),
            (format!("api_key: , {rest}"), "f:2:10: secrets: missing key \"api_key\""),
            ("api_key: env:KEY, project_id: hunter22".into(), number),
            ("api_key: env:KEY, project_id: -1".into(), number),
            ("api_key: env:KEY, project_id: [1, hunter22]".into(), number),
            (
                "api_key: env:KEY, project_id: []".into(),
                "f:2:42: secrets.project_id: names no project",
            ),
            (
                "api_key: env:KEY, project_id: [1, 2, 1]".into(),
                "f:2:42: secrets.project_id: names 1 twice",
            ),
            ("api_key: env:KEY, project_id: \"@current\"".into(), current),
            (
                format!("api_key: env:KEY, {rest}, project_api_key: {KEY}"),
                "f:2:62: secrets.project_api_key: does not begin with phc_: \
                 it is the project token, under Settings → Project",
            ),
            (
                format!("apikey: {KEY}, api_key: env:KEY, {rest}"),
                "f:2:12: secrets: unknown key \"apikey\", did you mean \"api_key\"?",
            ),
            (
                format!("api_key:{KEY}, {rest}"),
                "f:2:10: secrets: missing key \"api_key\"\n\
                 f:2:12: secrets: unknown key, not shown as it may hold a secret; \
                 a colon needs a space after it",
            ),
        ] {
            let told = secrets(&text).unwrap_err();
            assert_eq!(told, expected, "{text}");
        }
        let told = secrets(&format!("api_key: file:gone, {rest}")).unwrap_err();
        assert!(told.ends_with("gone cannot be read: No such file or directory (os error 2)"));
    }

    #[test]
    fn a_host_becomes_an_origin() {
        let expected = "expected a domain or a URL, as in us.posthog.com or http://localhost:8000";
        let path = "only scheme, host and port: leave out what follows";
        let user = "a user or password has no place here; the key is in secrets.api_key";
        for (host, origin) in [
            ("us.posthog.com", Ok("https://us.posthog.com")),
            ("EU.PostHog.com/", Ok("https://eu.posthog.com")),
            ("app.posthog.com", Ok("https://us.posthog.com")),
            ("https://app.posthog.com/", Ok("https://us.posthog.com")),
            ("localhost:8000", Ok("https://localhost:8000")),
            ("http://localhost:8000", Ok("http://localhost:8000")),
            ("https://x.example:443", Ok("https://x.example")),
            ("http://[::1]:8000", Ok("http://[::1]:8000")),
            ("", Err(expected)),
            ("a b", Err(expected)),
            ("ftp://x", Err(expected)),
            ("https://x/api", Err(path)),
            ("us.posthog.com/project/1", Err(path)),
            ("x?key=1", Err(path)),
            ("x#y", Err(path)),
            ("me@x", Err(user)),
            ("https://me:pw@x", Err(user)),
            (
                "us.i.posthog.com",
                Err("takes events but answers no questions: write it without the `.i`"),
            ),
        ] {
            assert_eq!(origin_of(host).as_deref().map_err(|message| *message), origin, "{host}");
        }
    }

    #[test]
    fn specs_of_ones_own_are_files() {
        let read = |spec: &str| {
            let secrets = "{ api_key: env:KEY, project_id: 1 }";
            read(&format!("{{ type: api, spec: {spec}, secrets: {secrets} }}")).map(|p| p.specs)
        };

        assert_eq!(read("posthog"), Ok(vec![]));
        assert_eq!(read("file://my.yaml"), Ok(vec!["my.yaml".into()]));
        assert_eq!(read("[posthog, file:///etc/specs]"), Ok(vec!["/etc/specs".into()]));
        let message = "f:1:20: spec: expected posthog or file://path, found something else";
        assert_eq!(read("stripe"), Err(message.into()));
    }

    #[test]
    fn what_is_no_posthog_is_refused() {
        for (yaml, expected) in [
            (
                "{ type: postgres, host: h }",
                "f:1:9: type: expected api: a source is { type: api, spec: posthog, … }",
            ),
            (
                "{ tpye: api, spec: posthog, secrets: { api_key: env:KEY, project_id: 1 } }",
                "f:1:1: missing key \"type\"\nf:1:3: unknown key \"tpye\", did you mean \"type\"?",
            ),
            ("phx_hunter22", "f:1:1: expected a map of keys and values, found something else"),
            ("{ type: api }", "f:1:1: missing key \"spec\"\nf:1:1: missing key \"secrets\""),
            (
                "{ type: api, spec: posthog, secret: {}, secrets: hunter22 }",
                "f:1:29: unknown key \"secret\", did you mean \"secrets\"?\n\
                 f:1:50: secrets: expected a map of keys and values, found something else",
            ),
        ] {
            assert_eq!(read(yaml), Err(expected.to_owned()), "{yaml}");
        }
    }

    #[test]
    fn inputs_say_how_to_ask() {
        let given = inputs(
            "{ requests_per_second: 0, concurrency: 4, safety_lag: 1m, lookback: 2d, lookback_every: 6h, \
             max_wait: 1h, retry_wait: 5s, timeouts: { between_bytes: 2s }, anchor_date: 2025-01-31, \
             limits: { query: [120/1h], crud: 480/1m } }",
        );

        let day = Duration::from_secs(86_400);
        let allow = |requests, per| vec![Allowance { requests, per }];
        let limits =
            [("query".to_owned(), allow(120, day / 24)), ("crud".to_owned(), allow(480, MINUTE))];
        let expected = Inputs {
            requests_per_second: 0.0,
            concurrency: 4,
            safety_lag: MINUTE,
            lookback: Some(2 * day),
            lookback_every: day / 4,
            max_wait: day / 24,
            retry_wait: Duration::from_secs(5),
            timeouts: Timeouts { between_bytes: Duration::from_secs(2), ..Timeouts::default() },
            anchor_date: Timestamp::parse("2025-01-31"),
            limits: Some(limits.into()),
        };
        assert_eq!(given, Ok(expected));
    }

    #[test]
    fn wrong_inputs_are_all_told() {
        let told = inputs(
            "{ requests_per_second: -1, concurrency: 0,\nmax_wait: long, anchor_date: soon, \
             limits: { query: [120], crud: 1/0s },\nlook_back: 3d }",
        );

        assert_eq!(
            told.unwrap_err(),
            "f:2:32: inputs.requests_per_second: expected a number, 0 for no limit, found something else\n\
             f:2:49: inputs.concurrency: expected a whole number from 1, found something else\n\
             f:3:11: inputs.max_wait: expected a duration like 30s, 10m, 2h or 3d, found something else\n\
             f:3:30: inputs.anchor_date: expected a date like 2025-01-31, found something else\n\
             f:3:54: inputs.limits: expected requests per time, like 240/1m, found something else\n\
             f:3:66: inputs.limits: expected requests per time, like 240/1m, found something else\n\
             f:4:1: inputs: unknown key \"look_back\", did you mean \"lookback\"?"
        );
    }
}
