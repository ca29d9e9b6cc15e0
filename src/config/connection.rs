//! Connections by name, from wherever the user defined them.
//!
//! In order of precedence: the process environment, `.env.hogline` and `.env.sling`
//! in the working directory, then `connections:` in the `env.yaml` of `$HOGLINE_HOME`,
//! `~/.hogline` and `~/.sling`. Only a connection in use is judged: others may be of
//! any type, and a file that is broken matters when the search reaches it.
//!
//! The one place that reads the environment. No complaint repeats a value: any of
//! them may be a secret. Opens no connection.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::capture::CaptureConnection;
use super::complaint::{At, Complaint, Complaints, ConfigError, nearest};
use super::fields::Fields;
use super::node::{Key, Kind, Node};
use super::posthog::{Posthog, Surroundings};
use super::target::{TargetConnection, is_target_url, kind_of_url};
use super::variables::{Environment, expand_environment};
use super::yaml;

/// Files with `NAME=value` lines, the first wins.
const DOTENV_FILES: [&str; 2] = [".env.hogline", ".env.sling"];

/// Where connections are, in the folders of hogline and Sling.
const ENV_YAML: &str = "env.yaml";

/// The type of a connection to PostHog.
const API: &str = "api";

/// What a connection is called whose type we do not know.
const OTHER: &str = "other";

/// Every connection that can be named.
#[derive(Clone)]
pub struct Connections {
    layers: Vec<Layer>,
    environment: Environment,
    cwd: PathBuf,
    home: Option<PathBuf>,
}

/// One place where connections are defined.
#[derive(Clone)]
enum Layer {
    /// Variables; `label` and a name together say where a value stands.
    Variables { label: String, values: Environment },
    /// The `connections:` of an `env.yaml`, or what is wrong with it.
    File { file: String, connections: Result<Vec<(Key, Node)>, ConfigError> },
}

/// A connection that is defined, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Defined {
    /// Its name.
    pub name: String,
    /// Its type, where it is one that we know.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The place of the definition that counts.
    pub defined_in: String,
    /// Places that define it too, and are not looked at.
    pub also_in: Vec<String>,
}

/// A definition that was found, its variables not yet expanded.
struct Found {
    /// What to call the place in complaints.
    file: String,
    /// The keys that lead to it there.
    path: String,
    node: Node,
}

impl Connections {
    /// Gathers what this process can see. `cwd` is where the `.env` files lie and what
    /// relative paths start from.
    ///
    /// # Errors
    /// Where a `.env` file cannot be read.
    pub fn load(cwd: &Path) -> Result<Self, ConfigError> {
        let unicode = |text: std::ffi::OsString| text.into_string().ok();
        let process = std::env::vars_os()
            .filter_map(|(name, value)| Some((unicode(name)?, unicode(value)?)))
            .collect();
        Self::from_parts(process, cwd)
    }

    /// As [`Self::load`], in a process whose environment is `process`.
    ///
    /// # Errors
    /// Where a `.env` file cannot be read.
    pub fn from_parts(process: Environment, cwd: &Path) -> Result<Self, ConfigError> {
        let mut environment = process.clone();
        let label = "environment variable ".to_owned();
        let mut layers = vec![Layer::Variables { label, values: process }];
        for name in DOTENV_FILES {
            let values = read_dotenv(&cwd.join(name), name)?;
            for (name, value) in &values {
                environment.entry(name.clone()).or_insert_with(|| value.clone());
            }
            layers.push(Layer::Variables { label: format!("{name}, "), values });
        }
        let set = |name: &str| environment.get(name).filter(|value| !value.is_empty());
        let user = set("HOME").map(PathBuf::from);
        let ours = user.as_ref().map(|user| user.join(".hogline"));
        let home = set("HOGLINE_HOME").map(|home| cwd.join(home)).or_else(|| ours.clone());
        let mut folders: Vec<PathBuf> = home.iter().cloned().chain(ours).collect();
        folders.dedup();
        layers.extend(folders.iter().filter_map(|folder| read_env_yaml(folder, Owner::Hogline)));
        let slings = user.map(|user| user.join(".sling"));
        layers.extend(slings.and_then(|folder| read_env_yaml(&folder, Owner::Sling)));
        Ok(Self { layers, environment, cwd: cwd.to_owned(), home })
    }

    /// `$HOGLINE_HOME` or `~/.hogline`: where what belongs to all replications lives.
    pub fn home(&self) -> Option<PathBuf> {
        self.home.clone()
    }

    /// The process environment, completed by the `.env` files.
    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// The names of everything that looks like a connection, sorted.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.layers.iter().flat_map(Layer::names).collect();
        names.sort();
        names.dedup();
        names
    }

    /// Every connection that is defined, by name, with the place whose definition counts.
    ///
    /// # Errors
    /// Where a file that may define some cannot be read or is not YAML.
    pub fn defined(&self) -> Result<Vec<Defined>, ConfigError> {
        let mut all: Vec<Defined> = Vec::new();
        for layer in &self.layers {
            for (name, place, kind) in layer.definitions()? {
                match all.iter_mut().find(|other| other.name == name) {
                    Some(known) => known.also_in.push(place),
                    None => {
                        all.push(Defined { name, kind, defined_in: place, also_in: Vec::new() });
                    }
                }
            }
        }
        all.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(all)
    }

    /// Whether `name` is a connection to PostHog, rather than a target.
    ///
    /// # Errors
    /// Where there is none of this name.
    pub fn is_posthog(&self, name: &str) -> Result<bool, ConfigError> {
        let found = self.find(name)?.ok_or_else(|| self.unknown(name, "sqlite://posthog.db"))?;
        Ok(kind_of(&found.node) == API)
    }

    /// Judges a definition as if it were the one of `name`.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn judge(&self, name: &str, definition: &Node) -> Result<(), ConfigError> {
        let (file, node) = (format!("connection {name}"), definition.clone());
        let found = Found { file, path: String::new(), node };
        match kind_of(definition) {
            API if only_sends(definition) => self.read_capture(name, found).map(drop),
            API => self.read_posthog(name, found).map(drop),
            _ => self.read_target(found, &self.cwd).map(drop),
        }
    }

    /// The file that `conns set` writes.
    pub fn env_yaml(&self) -> Option<PathBuf> {
        self.home.as_ref().map(|home| home.join(ENV_YAML))
    }

    /// The PostHog connection called `name`.
    ///
    /// # Errors
    /// Where there is none, or with everything that is wrong with it.
    pub fn posthog(&self, name: &str) -> Result<Posthog, ConfigError> {
        let example = "'{ type: api, spec: posthog, secrets: { api_key: \"phx_…\", project_id: \"12345\" } }'";
        let found = self.find(name)?.ok_or_else(|| self.unknown(name, example))?;
        self.read_posthog(name, found)
    }

    /// Where the PostHog connection called `name` sends events.
    ///
    /// # Errors
    /// Where there is none, or with everything that is wrong with it.
    pub fn capture(&self, name: &str) -> Result<CaptureConnection, ConfigError> {
        let example = "'{ type: api, spec: posthog, secrets: { project_api_key: \"phc_…\" } }'";
        let found = self.find(name)?.ok_or_else(|| self.unknown(name, example))?;
        self.read_capture(name, found)
    }

    /// The target that `name_or_url` means: a URL, or a connection by its name. Relative
    /// paths start at `base`.
    ///
    /// # Errors
    /// Where there is none, it is of a kind we cannot write to, or something is wrong with it.
    pub fn target(&self, name_or_url: &str, base: &Path) -> Result<TargetConnection, ConfigError> {
        if name_or_url.contains("://") {
            return TargetConnection::from_url(name_or_url, base, &self.environment)
                .map_err(|message| ConfigError::about("target", message));
        }
        let found = self.find(name_or_url)?;
        let found = found.ok_or_else(|| self.unknown(name_or_url, "sqlite://posthog.db"))?;
        self.read_target(found, base)
    }

    fn read_posthog(&self, name: &str, found: Found) -> Result<Posthog, ConfigError> {
        let surroundings = Surroundings { environment: &self.environment, cwd: &self.cwd };
        self.read(found, |node, path, complaints| {
            Posthog::read(name, node, path, &surroundings, complaints)
        })
    }

    fn read_capture(&self, name: &str, found: Found) -> Result<CaptureConnection, ConfigError> {
        let surroundings = Surroundings { environment: &self.environment, cwd: &self.cwd };
        self.read(found, |node, path, complaints| {
            CaptureConnection::read(name, node, path, &surroundings, complaints)
        })
    }

    fn read_target(&self, found: Found, base: &Path) -> Result<TargetConnection, ConfigError> {
        let surroundings = Surroundings { environment: &self.environment, cwd: base };
        self.read(found, |node, path, complaints| {
            TargetConnection::read(node, path, &surroundings, complaints)
        })
    }

    /// Expands the variables of a definition and hands it to its reader.
    fn read<T>(
        &self,
        Found { file, path, mut node }: Found,
        read: impl FnOnce(&Node, &str, &Complaints) -> Option<T>,
    ) -> Result<T, ConfigError> {
        let complaints = Complaints::hiding_values();
        expand_environment(&mut node, &path, &self.environment, &complaints);
        let connection = read(&node, &path, &complaints);
        complaints.into_result(&file, None)?;
        connection.ok_or_else(|| ConfigError::about(&file, "is no usable connection"))
    }

    fn find(&self, name: &str) -> Result<Option<Found>, ConfigError> {
        for layer in &self.layers {
            if let Some(found) = layer.find(name)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// What to say of a name that nothing defines.
    fn unknown(&self, name: &str, example: &str) -> ConfigError {
        let names = self.names();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let near = nearest(name, &names).map(|near| format!(", did you mean \"{near}\"?"));
        let known = match names.as_slice() {
            [] => "no connection is".to_owned(),
            _ => format!("defined: {}", names.join(", ")),
        };
        let near = near.unwrap_or_default();
        let message = match name.contains(['.', '/', ':']) {
            // A name that looks like a place was meant to be one.
            true => format!(
                "is not defined{near} ({known}), nor a URL that is known: write sqlite://posthog.db, \
                 postgresql://…, file://folder or s3://bucket"
            ),
            false => format!(
                "is not defined{near} ({known}); to define it, use `hogline conns set {name} …` or set \
                 the environment variable {name}={example}"
            ),
        };
        ConfigError::about(&format!("connection \"{name}\""), message)
    }
}

impl fmt::Debug for Connections {
    /// Names only: any value may be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Connections").field(&self.names()).finish()
    }
}

impl Layer {
    /// Sling takes names as they are written or in other case; the exact one first.
    fn find(&self, name: &str) -> Result<Option<Found>, ConfigError> {
        match self {
            Self::Variables { label, values } => {
                let exact =
                    values.get_key_value(name).filter(|(_, value)| !value.trim().is_empty());
                let folded = || {
                    values.iter().find(|(other, value)| {
                        other.eq_ignore_ascii_case(name) && looks_like_connection(value)
                    })
                };
                let Some((name, value)) = exact.or_else(folded) else { return Ok(None) };
                let file = format!("{label}{name}");
                let node = read_value(value)
                    .map_err(|complaint| ConfigError::new(&file, None, vec![complaint]))?;
                Ok(Some(Found { file, path: String::new(), node }))
            }
            Self::File { file, connections } => {
                let connections = connections.as_ref().map_err(Clone::clone)?;
                let exact = connections.iter().find(|(key, _)| key.text == name);
                let folded = || connections.iter().find(|(k, _)| k.text.eq_ignore_ascii_case(name));
                let found = exact.or_else(folded).map(|(key, node)| Found {
                    file: file.clone(),
                    path: format!("connections.{}", key.text),
                    node: node.clone(),
                });
                Ok(found)
            }
        }
    }

    fn names(&self) -> Vec<String> {
        let definitions = self.definitions().unwrap_or_default();
        definitions.into_iter().map(|(name, ..)| name).collect()
    }

    /// What is defined: name, place, type.
    fn definitions(&self) -> Result<Vec<(String, String, &'static str)>, ConfigError> {
        match self {
            Self::Variables { label, values } => {
                let like = values.iter().filter(|(_, value)| looks_like_connection(value));
                let kind = |value| read_value(value).map_or(OTHER, |node| kind_of(&node));
                Ok(like
                    .map(|(name, value)| (name.clone(), format!("{label}{name}"), kind(value)))
                    .collect())
            }
            Self::File { file, connections } => {
                let connections = connections.as_ref().map_err(Clone::clone)?;
                let definition =
                    |(key, node): &(Key, Node)| (key.text.clone(), file.clone(), kind_of(node));
                Ok(connections.iter().map(definition).collect())
            }
        }
    }
}

/// The type that a definition says, where it is one that we know: anything else may be a secret.
fn kind_of(node: &Node) -> &'static str {
    let Kind::Map(entries) = &node.kind else {
        return node.text().and_then(kind_of_url).unwrap_or(OTHER);
    };
    let said = |name: &str| {
        let entry = entries.iter().find(|(key, _)| key.text == name);
        entry.and_then(|(_, node)| node.text())
    };
    match said("type") {
        Some(API) => API,
        Some(kind) => kind_of_url(&format!("{kind}://")).unwrap_or(OTHER),
        None => said("url").and_then(kind_of_url).unwrap_or(OTHER),
    }
}

/// Whether a connection to PostHog has what sending needs, and no key to read with.
fn only_sends(node: &Node) -> bool {
    let secrets = &node.to_json()["secrets"];
    secrets.get("project_api_key").is_some() && secrets.get("api_key").is_none()
}

/// A variable's value: a URL as it is, anything else as YAML, of which JSON is a part.
fn read_value(value: &str) -> Result<Node, Complaint> {
    let url = value.trim();
    if url.contains("://") && !url.starts_with('{') && !url.contains('\n') {
        let at = At { line: 1, col: 1 };
        return Ok(Node { at, kind: Kind::Quoted(url.to_owned()) });
    }
    yaml::parse(value)
}

/// Whether a variable holds a connection, rather than one of the many other things.
fn looks_like_connection(value: &str) -> bool {
    let value = value.trim();
    let may_be_map = value.starts_with('{') || value.contains("type:");
    is_target_url(value)
        || may_be_map
            && yaml::parse(value).is_ok_and(|node| match node.kind {
                Kind::Map(entries) => entries.iter().any(|(key, _)| key.text == "type"),
                _ => false,
            })
}

/// The variables of a `.env` file; none where there is no file.
fn read_dotenv(path: &Path, file: &str) -> Result<Environment, ConfigError> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if is_absent(&error) => return Ok(Environment::new()),
        Err(error) => return Err(ConfigError::about(file, format!("cannot be read: {error}"))),
    };
    let complaints = Complaints::hiding_values();
    let mut values = Environment::new();
    for line in dotenvy::from_read_iter(text.as_bytes()) {
        match line {
            Ok((name, value)) => drop(values.insert(name, value)),
            // The error repeats the line or its value, which may be a secret.
            Err(dotenvy::Error::LineParse(line, _)) => {
                let first = line.lines().next().unwrap_or_default();
                let index =
                    text.lines().position(|other| other.trim_end().ends_with(first.trim_end()));
                let at = index.map(|index| At { line: index + 1, col: 1 });
                let message = "expected NAME=value; a value with spaces needs 'single quotes'";
                complaints.add(at, "", message);
            }
            Err(error) => complaints.add(None, "", error.to_string()),
        }
    }
    complaints.into_result(file, None)?;
    Ok(values)
}

/// Whose `env.yaml` it is: in Sling's, what we do not know is none of our business.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    Hogline,
    Sling,
}

/// The connections of the `env.yaml` in `folder`; none where there is no file.
fn read_env_yaml(folder: &Path, owner: Owner) -> Option<Layer> {
    let path = folder.join(ENV_YAML);
    let file = path.display().to_string();
    let connections = match fs::read_to_string(&path) {
        Ok(text) => parse_env_yaml(&text, &file, owner),
        Err(error) if is_absent(&error) => return None,
        Err(error) => Err(ConfigError::about(&file, format!("cannot be read: {error}"))),
    };
    Some(Layer::File { file, connections })
}

fn parse_env_yaml(text: &str, file: &str, owner: Owner) -> Result<Vec<(Key, Node)>, ConfigError> {
    let root =
        yaml::parse(text).map_err(|complaint| ConfigError::new(file, None, vec![complaint]))?;
    let complaints = Complaints::hiding_values();
    let mut fields = Fields::of(&root, "", &complaints);
    let connections = fields.map("connections").to_vec();
    if owner == Owner::Hogline {
        fields.refuse(&["variables", "env"], |key| {
            format!("Sling's \"{key}\" is not supported by hogline yet")
        });
        fields.finish();
    }
    complaints.into_result(file, None)?;
    Ok(connections)
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    const CONNECTION: &str =
        "{ type: api, spec: posthog, secrets: { api_key: phx_hunter22, project_id: 1 } }";

    /// A user with a home and a working directory.
    struct User {
        folder: TempDir,
        environment: Environment,
    }

    impl User {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let home = folder.path().join("home").display().to_string();
            Self { folder, environment: [("HOME".to_owned(), home)].into() }
        }

        fn setting(mut self, name: &str, value: &str) -> Self {
            self.environment.insert(name.to_owned(), value.to_owned());
            self
        }

        fn writing(self, file: &str, text: &str) -> Self {
            let path = self.folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
            self
        }

        fn load(&self) -> Result<Connections, ConfigError> {
            Connections::from_parts(self.environment.clone(), self.folder.path())
        }

        fn target(&self, name: &str) -> Result<String, String> {
            let target = self.load().and_then(|all| all.target(name, Path::new("/srv")));
            target.map(|target| target.label()).map_err(|error| self.told(&error))
        }

        fn project(&self, name: &str) -> Result<String, String> {
            let posthog = self.load().and_then(|all| all.posthog(name));
            posthog.map(|posthog| posthog.project_id).map_err(|error| self.told(&error))
        }

        /// What the error says, the temporary folder left out.
        fn told(&self, error: &ConfigError) -> String {
            let told = error.to_string();
            assert!(!told.contains("hunter22"), "{told}");
            told.replace(&format!("{}/", self.folder.path().display()), "")
        }
    }

    #[test]
    fn the_nearer_definition_wins() {
        let sqlite =
            |name: &str| format!("connections: {{ DB: {{ type: sqlite, path: {name} }} }}");
        let mut user = User::new()
            .setting("DB", "sqlite://environment")
            .writing(".env.hogline", "DB=sqlite://hogline\n")
            .writing(".env.sling", "# Sling's\nexport DB='{ type: sqlite, url: sqlite://sling }'\n")
            .writing("own/env.yaml", &sqlite("own"))
            .writing("home/.hogline/env.yaml", &sqlite("home"))
            .writing("home/.sling/env.yaml", &sqlite("slings"))
            .setting("HOGLINE_HOME", "own");

        let mut remove = |what: &str| {
            let before = user.target("DB").unwrap();
            user.environment.remove(what);
            if user.folder.path().join(what).exists() {
                fs::remove_file(user.folder.path().join(what)).unwrap();
            }
            before
        };

        assert_eq!(remove("DB"), "sqlite:///srv/environment");
        assert_eq!(remove(".env.hogline"), "sqlite:///srv/hogline");
        assert_eq!(remove(".env.sling"), "sqlite:///srv/sling");
        assert_eq!(remove("own/env.yaml"), "sqlite:///srv/own");
        assert_eq!(remove("home/.hogline/env.yaml"), "sqlite:///srv/home");
        assert_eq!(remove("home/.sling/env.yaml"), "sqlite:///srv/slings");
    }

    #[test]
    fn a_connection_is_read_from_yaml_and_from_json() {
        let json =
            r#"{"type":"api","spec":"posthog","secrets":{"api_key":"phx_1","project_id":2}}"#;
        let user = User::new()
            .setting("YAML", CONNECTION)
            .setting("BLOCK", &CONNECTION.replace("{ type: api, spec", "type: api\nspec").replace(
                "posthog, secrets: { api_key: phx_hunter22, project_id: 1 } }",
                "posthog\nsecrets: { api_key: phx_hunter22, project_id: 3 }",
            ))
            .setting("JSON", json)
            .setting("KEY", "phx_hunter22")
            .writing(".env.hogline", "ID=4\n")
            .writing("home/.sling/env.yaml", &format!(
                "variables: {{}}\nconnections:\n  PG: {{ type: postgres, what: ever }}\n  Mixed: {}\n",
                CONNECTION.replace("phx_hunter22", "${KEY}").replace("id: 1", "id: ${ID}"),
            ));

        assert_eq!(user.project("YAML"), Ok("1".into()));
        assert_eq!(user.project("JSON"), Ok("2".into()));
        assert_eq!(user.project("BLOCK"), Ok("3".into()));
        assert_eq!(user.project("MIXED"), Ok("4".into()));
        let connections = user.load().unwrap();
        assert_eq!(connections.names(), ["BLOCK", "JSON", "Mixed", "PG", "YAML"]);
        assert!(!format!("{connections:?}").contains("hunter22"));
    }

    #[test]
    fn a_complaint_names_where_the_connection_stands() {
        let wrong = CONNECTION.replace("project_id", "project");
        let user = User::new()
            .setting("ENV", &wrong)
            .setting("BROKEN", "{ type: api, secrets: { api_key: phx_hunter22 }")
            .setting("VARIABLE", &CONNECTION.replace("phx_hunter22", "${GONE}"))
            .setting("KEY", "phx_hunter22")
            .writing(".env.hogline", &format!("DOT='{wrong}'\n"))
            .writing("home/.hogline/env.yaml", &format!("connections:\n  FILE: {wrong}\n"));

        for (name, expected) in [
            (
                "ENV",
                "environment variable ENV:1:38: secrets: missing key \"project_id\"\n\
                 environment variable ENV:1:63: secrets: unknown key \"project\", \
                 did you mean \"project_id\"?",
            ),
            (
                "BROKEN",
                "environment variable BROKEN:2:1: not valid YAML: \
                 while parsing a flow mapping, did not find expected ',' or '}'",
            ),
            (
                "VARIABLE",
                "environment variable VARIABLE:1:49: secrets.api_key: \
                 environment variable GONE is not set",
            ),
            (
                "KEY",
                "environment variable KEY:1:1: \
                 expected a map of keys and values, found something else",
            ),
            (
                "DOT",
                ".env.hogline, DOT:1:38: secrets: missing key \"project_id\"\n\
                 .env.hogline, DOT:1:63: secrets: unknown key \"project\", \
                 did you mean \"project_id\"?",
            ),
            (
                "FILE",
                "home/.hogline/env.yaml:2:46: connections.FILE.secrets: \
                 missing key \"project_id\"\n\
                 home/.hogline/env.yaml:2:71: connections.FILE.secrets: \
                 unknown key \"project\", did you mean \"project_id\"?",
            ),
        ] {
            assert_eq!(user.project(name).unwrap_err(), expected);
        }
    }

    #[test]
    fn an_unknown_name_is_told_with_what_there_is() {
        let user = User::new().setting("POSTHOG", CONNECTION).setting("DB", "sqlite://x");

        assert_eq!(
            user.project("POSTHGO").unwrap_err(),
            "connection \"POSTHGO\": is not defined, did you mean \"POSTHOG\"? \
             (defined: DB, POSTHOG); to define it, use `hogline conns set POSTHGO …` or set the \
             environment variable POSTHGO='{ type: api, spec: posthog, secrets: { api_key: \"phx_…\", project_id: \"12345\" } }'"
        );
        assert_eq!(
            User::new().target("OUT").unwrap_err(),
            "connection \"OUT\": is not defined (no connection is); \
             to define it, use `hogline conns set OUT …` or set the environment variable \
             OUT=sqlite://posthog.db"
        );
        assert_eq!(
            User::new().target("posthog.db").unwrap_err(),
            "connection \"posthog.db\": is not defined (no connection is), nor a URL that is known: \
             write sqlite://posthog.db, postgresql://…, file://folder or s3://bucket"
        );
    }

    #[test]
    fn targets_are_urls_or_names() {
        let user = User::new()
            .setting("DB", "sqlite:///x.db")
            .setting("PG", "postgres://me:hunter22@host/db")
            .setting("POSTHOG", CONNECTION);

        for (name, expected) in [
            ("DB", Ok("sqlite:///x.db")),
            ("file://out", Ok("file:///srv/out")),
            ("PG", Ok("postgresql://host:5432/db")),
            (
                "mysql://me:hunter22@host",
                Err("target: mysql is not supported yet: use sqlite, postgres, file or s3"),
            ),
            (
                "POSTHOG",
                Err("environment variable POSTHOG:1:9: type: \
                     an API is where records come from: use sqlite, postgres, file or s3"),
            ),
        ] {
            let target = user.target(name);
            assert_eq!(target.as_deref().map_err(String::as_str), expected, "{name}");
        }
    }

    #[test]
    fn a_broken_env_yaml_matters_when_the_search_reaches_it() {
        let user = User::new()
            .setting("DB", "sqlite:///x.db")
            .writing("home/.hogline/env.yaml", "connections: {}\ncolour: hunter22\nenv: {}\n")
            .writing("home/.sling/env.yaml", "connections:\n\tX: hunter22\n");

        assert_eq!(user.target("DB"), Ok("sqlite:///x.db".into()));
        assert_eq!(
            user.target("X").unwrap_err(),
            "home/.hogline/env.yaml:2:1: unknown key \"colour\", known: connections\n\
             home/.hogline/env.yaml:3:1: Sling's \"env\" is not supported by hogline yet"
        );
        fs::remove_file(user.folder.path().join("home/.hogline/env.yaml")).unwrap();
        assert_eq!(
            user.target("X").unwrap_err(),
            "home/.sling/env.yaml:2:2: YAML is indented with spaces, not with tabs"
        );
    }

    #[test]
    fn a_broken_line_of_an_env_file_is_told_without_showing_it() {
        let user = User::new().writing(".env.sling", "A=1\nB={ key: hunter22 }\nC=2\nhunter22\n");

        let told = user.told(&user.load().unwrap_err());

        assert_eq!(
            told,
            ".env.sling:2:1: expected NAME=value; a value with spaces needs 'single quotes'\n\
             .env.sling:4:1: expected NAME=value; a value with spaces needs 'single quotes'"
        );
    }

    #[test]
    fn the_environment_is_completed_by_the_env_files() {
        let user = User::new()
            .setting("A", "process")
            .writing(".env.hogline", "A=file\nB=\"two words\"\n")
            .writing(".env.sling", "B=x\nC=3\n");

        let connections = user.load().unwrap();

        let values = ["A", "B", "C"].map(|name| connections.environment()[name].as_str());
        assert_eq!(values, ["process", "two words", "3"]);
    }

    #[test]
    fn home_is_where_the_user_says_or_in_theirs() {
        let user = User::new();
        let folder = user.folder.path().to_owned();

        assert_eq!(user.load().unwrap().home(), Some(folder.join("home/.hogline")));
        let user = user.setting("HOGLINE_HOME", "/srv/hogline");
        assert_eq!(user.load().unwrap().home(), Some("/srv/hogline".into()));
        let nobody = Connections::from_parts(Environment::new(), &folder).unwrap();
        assert_eq!(nobody.home(), None);
    }
}
