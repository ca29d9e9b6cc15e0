//! A bucket of Amazon S3, or of a server that speaks like it, as a target.
//!
//! Reads a URL (`s3://bucket/prefix?region=…&endpoint=…`) or the keys of a connection, in
//! Sling's words; what neither says is taken from the `AWS_…` variables of the environment.
//! Keys become a [`Secret`] before anything else is judged, and no message repeats any part of
//! a URL. Connects to nothing.

use percent_encoding::percent_decode_str;
use url::Url;

use super::complaint::suggestion;
use super::fields::Fields;
use super::secret::Secret;
use super::variables::Environment;

/// How a URL is written.
const EXAMPLE: &str = "s3://bucket/prefix?region=eu-central-1";

/// What a URL's parameters and a connection's keys share.
const PARAMETERS: [&str; 3] = ["region", "endpoint", "path_style"];

/// What only a connection has.
const KEYS: [&str; 5] = ["bucket", "prefix", "access_key_id", "secret_access_key", "session_token"];

/// What Sling can say and we cannot.
const SLINGS: [&str; 6] =
    ["profile", "role_arn", "role_session_name", "external_id", "ssh_tunnel", "use_environment"];

/// Variables that say where keys come from that no file holds, and what is asked for them.
const SURROUNDINGS: [&str; 7] = [
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_METADATA_ENDPOINT",
];

/// A place in a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3 {
    /// The bucket.
    pub bucket: String,
    /// What the names of all objects begin with; no slash at either end, empty for none.
    pub prefix: String,
    /// Where the bucket is.
    pub region: Option<String>,
    /// The server, where it is not Amazon's: `https://host:port`.
    pub endpoint: Option<String>,
    /// Whether the bucket is named in the path of a URL; else it is in front of the host.
    pub path_style: bool,
    /// What proves who we are, where it is said.
    pub keys: Option<AccessKeys>,
    /// Variables of the environment by which keys are found where none are said.
    pub surroundings: Vec<(String, Secret)>,
}

/// A key of a user's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessKeys {
    /// Its name.
    pub id: Secret,
    /// The key itself.
    pub secret: Secret,
    /// What keys need that end after a while.
    pub session_token: Option<Secret>,
}

impl S3 {
    /// What to call it in messages and checkpoints: without keys, which may change.
    pub fn label(&self) -> String {
        let slash = if self.prefix.is_empty() { "" } else { "/" };
        let place = format!("s3://{}{slash}{}", self.bucket, self.prefix);
        match &self.endpoint {
            None => place,
            Some(endpoint) => format!("{place}?endpoint={endpoint}"),
        }
    }

    /// A place of a test's own server.
    #[cfg(all(test, feature = "object-storage"))]
    pub(crate) fn at(endpoint: &str, place: [&str; 2], [id, secret]: [&str; 2]) -> Self {
        let [bucket, prefix] = place.map(str::to_owned);
        let keys =
            AccessKeys { id: Secret::new(id), secret: Secret::new(secret), session_token: None };
        Self {
            bucket,
            prefix,
            region: None,
            endpoint: Some(endpoint.to_owned()),
            path_style: true,
            keys: Some(keys),
            surroundings: Vec::new(),
        }
    }

    /// Reads a URL.
    pub(super) fn from_url(url: &str, environment: &Environment) -> Result<Self, String> {
        let draft = Draft::of_url(url)?;
        draft.complete(environment).map_err(|(_, message)| message)
    }

    /// Reads the keys of a connection; those given beside a `url` win.
    pub(super) fn from_fields(
        fields: &mut Fields<'_, '_>,
        environment: &Environment,
    ) -> Option<Self> {
        let mut draft = fields.of_url(Draft::of_url)?;
        let keys = KEYS.into_iter().chain(PARAMETERS);
        let right = fields.set_texts(keys, |key, text| draft.set(key, text));
        fields.refuse(&SLINGS, |key| {
            format!(
                "{key} is not supported: give access_key_id and secret_access_key, or set the \
                 AWS_… variables of the environment"
            )
        });
        let complete = draft.complete(environment);
        let told = complete.map_err(|(key, message)| fields.complain(key, message));
        told.ok().filter(|_| right)
    }
}

/// A connection that is being read.
#[derive(Debug, Default)]
struct Draft {
    bucket: Option<String>,
    prefix: Option<String>,
    region: Option<String>,
    endpoint: Option<String>,
    path_style: Option<bool>,
    access_key_id: Option<Secret>,
    secret_access_key: Option<Secret>,
    session_token: Option<Secret>,
}

impl Draft {
    fn of_url(text: &str) -> Result<Self, String> {
        let unreadable = || format!("is no URL: write {EXAMPLE}");
        let url = Url::parse(text).ok().filter(|url| url.scheme() == "s3");
        let url = url.ok_or_else(unreadable)?;
        if url.password().is_some() || !url.username().is_empty() {
            return Err("holds a key: write { type: s3, bucket: …, access_key_id: …, \
                        secret_access_key: … } instead, or set AWS_ACCESS_KEY_ID and \
                        AWS_SECRET_ACCESS_KEY"
                .to_owned());
        }
        if url.fragment().is_some() || url.port().is_some() {
            return Err(unreadable());
        }
        let mut draft = Self::default();
        draft.set("bucket", url.host_str().unwrap_or_default())?;
        let prefix = percent_decode_str(url.path()).decode_utf8().map_err(|_| unreadable())?;
        draft.set("prefix", &prefix)?;
        for (key, value) in url.query_pairs() {
            if !PARAMETERS.contains(&&*key) {
                return Err(format!("unknown parameter, {}", suggestion(&key, &PARAMETERS)));
            }
            draft.set(&key, &value)?;
        }
        Ok(draft)
    }

    fn set(&mut self, key: &str, text: &str) -> Result<(), String> {
        let given = || Some(text.to_owned()).filter(|text| !text.is_empty());
        match key {
            "bucket" => self.bucket = given().map(|text| bucket(&text)).transpose()?,
            "prefix" => self.prefix = Some(prefix(text)?),
            "region" => self.region = given(),
            "endpoint" => self.endpoint = given().map(|text| endpoint(&text)).transpose()?,
            "path_style" => {
                let truth = text.parse().map_err(|_| "is neither true nor false".to_owned())?;
                self.path_style = Some(truth);
            }
            "access_key_id" => self.access_key_id = given().map(Secret::new),
            "secret_access_key" => self.secret_access_key = given().map(Secret::new),
            _ => self.session_token = given().map(Secret::new),
        }
        Ok(())
    }

    fn complete(self, environment: &Environment) -> Result<S3, (&'static str, String)> {
        let bucket = self.bucket.ok_or(("bucket", format!("names no bucket: write {EXAMPLE}")))?;
        let set = |name: &str| environment.get(name).filter(|value| !value.is_empty()).cloned();
        let secret = |name: &str| set(name).map(Secret::new);
        let said = [&self.access_key_id, &self.secret_access_key, &self.session_token];
        let (id, key, session_token) = match said {
            [None, None, None] => (
                secret("AWS_ACCESS_KEY_ID"),
                secret("AWS_SECRET_ACCESS_KEY"),
                secret("AWS_SESSION_TOKEN"),
            ),
            _ => (self.access_key_id, self.secret_access_key, self.session_token),
        };
        let other = |name| format!("is of no use without {name}");
        let keys = match (id, key) {
            (Some(id), Some(secret)) => Some(AccessKeys { id, secret, session_token }),
            (Some(_), None) => return Err(("access_key_id", other("secret_access_key"))),
            (None, Some(_)) => return Err(("secret_access_key", other("access_key_id"))),
            (None, None) if session_token.is_some() => {
                return Err(("session_token", other("access_key_id and secret_access_key")));
            }
            (None, None) => None,
        };
        let variable = |name: &str| Some((name.to_owned(), secret(name)?));
        let endpoint = self.endpoint.map(Ok).or_else(|| {
            let name = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"].into_iter().find_map(set)?;
            Some(endpoint(&name).map_err(|message| format!("AWS_ENDPOINT_URL {message}")))
        });
        Ok(S3 {
            bucket,
            prefix: self.prefix.unwrap_or_default(),
            region: self.region.or_else(|| set("AWS_REGION")).or_else(|| set("AWS_DEFAULT_REGION")),
            endpoint: endpoint.transpose().map_err(|message| ("endpoint", message))?,
            path_style: self.path_style.unwrap_or(true),
            keys,
            surroundings: SURROUNDINGS.into_iter().filter_map(variable).collect(),
        })
    }
}

fn bucket(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if text.chars().all(fits) {
        return Ok(text.to_owned());
    }
    Err("is no bucket's name: it has letters, digits, `.`, `-` and `_`".to_owned())
}

/// What names begin with, without slashes at the ends.
fn prefix(text: &str) -> Result<String, String> {
    let text = text.trim_matches('/');
    let is_part =
        |part: &str| !matches!(part, "" | "." | "..") && !part.chars().any(char::is_control);
    if text.is_empty() || text.split('/').all(is_part) {
        return Ok(text.to_owned());
    }
    Err("is no prefix: write it like `exports/posthog`".to_owned())
}

/// The address of a server, without a slash at its end.
fn endpoint(text: &str) -> Result<String, String> {
    let wrong = || "is no server's address: write https://host:port".to_owned();
    let url = Url::parse(text).map_err(|_| wrong())?;
    let is_bare = url.username().is_empty() && url.query().is_none() && url.fragment().is_none();
    if !matches!(url.scheme(), "http" | "https") || !is_bare || url.password().is_some() {
        return Err(wrong());
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::complaint::Complaints;
    use super::super::yaml::parse;
    use super::*;

    fn place() -> S3 {
        S3 {
            bucket: "lake".into(),
            prefix: "a/b".into(),
            region: None,
            endpoint: None,
            path_style: true,
            keys: None,
            surroundings: Vec::new(),
        }
    }

    fn keys(id: &str, secret: &str) -> Option<AccessKeys> {
        let (id, secret) = (Secret::new(id), Secret::new(secret));
        Some(AccessKeys { id, secret, session_token: None })
    }

    fn environment(variables: &[(&str, &str)]) -> Environment {
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    /// What the YAML of a connection says, or what is wrong with it.
    fn read(yaml: &str, variables: &[(&str, &str)]) -> Result<S3, String> {
        let complaints = Complaints::hiding_values();
        let node = parse(yaml).unwrap();
        let mut fields = Fields::of(&node, "", &complaints);
        let found = S3::from_fields(&mut fields, &environment(variables));
        fields.finish();
        complaints.into_result("f", Some(yaml)).map_err(|error| error.to_string())?;
        found.ok_or_else(|| "nothing".to_owned())
    }

    #[test]
    fn urls_say_where() {
        let at = |url: &str| S3::from_url(url, &Environment::new());
        for (url, expected) in [
            ("s3://lake/a/b", place()),
            ("s3://lake/a/b/?region=eu-west-1", S3 { region: Some("eu-west-1".into()), ..place() }),
            ("s3://lake", S3 { prefix: String::new(), ..place() }),
            ("s3://lake/a%20%C3%A9", S3 { prefix: "a é".into(), ..place() }),
            (
                "s3://lake/a/b?endpoint=http://127.0.0.1:9000/&path_style=false",
                S3 { endpoint: Some("http://127.0.0.1:9000".into()), path_style: false, ..place() },
            ),
        ] {
            assert_eq!(at(url), Ok(expected), "{url}");
        }
        for (url, expected) in [
            ("s3://", "names no bucket"),
            ("s3:///a", "names no bucket"),
            ("s3://AKIAX:hunter22@lake/a", "holds a key: write { type: s3"),
            ("s3://lake:9000/a", "is no URL"),
            ("s3://lake/a#hunter22", "is no URL"),
            ("s3://lake/a//b", "is no prefix"),
            ("sqlite://lake/a", "is no URL"),
            ("s3://lake/a?regoin=x", "unknown parameter, did you mean \"region\"?"),
            ("s3://lake/a?secret_access_key=hunter22", "unknown parameter, known: region"),
            ("s3://lake/a?endpoint=minio", "is no server's address"),
            ("s3://lake/a?endpoint=http://u:hunter22@h", "is no server's address"),
            ("s3://lake/a?path_style=yes", "is neither true nor false"),
        ] {
            let told = at(url).unwrap_err();
            assert!(told.contains(expected) && !told.contains("hunter22"), "{url}: {told}");
        }
    }

    #[test]
    fn connections_say_more_and_win_over_the_environment() {
        let aws = [
            ("AWS_ACCESS_KEY_ID", "of-environment"),
            ("AWS_SECRET_ACCESS_KEY", "secret-of-environment"),
            ("AWS_REGION", "eu-north-1"),
            ("AWS_ENDPOINT_URL", "http://127.0.0.1:9000"),
            ("AWS_ROLE_ARN", "arn:aws:iam::1:role/r"),
        ];
        let said = read(
            "{ url: s3://lake/x, prefix: a/b, access_key_id: my-id, secret_access_key: my-secret, \
             region: auto, endpoint: https://r2.example.com }",
            &aws,
        )
        .unwrap();

        assert_eq!(said.keys, keys("my-id", "my-secret"));
        assert_eq!(said.region.as_deref(), Some("auto"));
        assert_eq!(said.label(), "s3://lake/a/b?endpoint=https://r2.example.com");
        let silent = read("{ bucket: lake, prefix: a/b }", &aws).unwrap();
        assert_eq!(silent.keys, keys("of-environment", "secret-of-environment"));
        assert_eq!(silent.region.as_deref(), Some("eu-north-1"));
        assert_eq!(silent.endpoint.as_deref(), Some("http://127.0.0.1:9000"));
        assert_eq!(silent.surroundings.len(), 1);
        assert_eq!(read("{ bucket: lake, prefix: /a/b/ }", &[]), Ok(place()));
    }

    #[test]
    fn what_is_wrong_with_a_connection_is_told_where_it_stands() {
        for (yaml, expected) in [
            ("{ region: x }", "f:1:1: bucket: names no bucket: write s3://bucket/prefix"),
            ("{ bucket: a/b }", "f:1:11: bucket: is no bucket's name"),
            (
                "{ bucket: lake, access_key_id: hunter22 }",
                "f:1:32: access_key_id: is of no use without secret_access_key",
            ),
            (
                "{ bucket: lake, session_token: hunter22 }",
                "f:1:32: session_token: is of no use without access_key_id and secret_access_key",
            ),
            (
                "{ bucket: lake, access_key: hunter22 }",
                "f:1:17: unknown key \"access_key\", did you mean \"access_key_id\"?",
            ),
            ("{ bucket: lake, profile: p }", "profile is not supported: give access_key_id"),
        ] {
            let told = read(yaml, &[]).unwrap_err();
            assert!(told.contains(expected) && !told.contains("hunter22"), "{yaml}: {told}");
        }
    }
}
