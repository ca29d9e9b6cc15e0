//! A PostgreSQL server as a target: where it is, who we are there, how it is trusted.
//!
//! Reads a URL (`postgresql://user:password@host:port/database?sslmode=…`) or the keys of a
//! connection, in the words of libpq and Sling. The password becomes a [`Secret`] before
//! anything else is judged, and no message repeats any part of a URL. Connects to nothing.

use std::path::{Path, PathBuf};

use percent_encoding::percent_decode_str;
use url::Url;

use super::complaint::suggestion;
use super::fields::Fields;
use super::secret::Secret;

/// How a URL or a connection is written.
const EXAMPLE: &str = "postgresql://user:password@host:5432/database?sslmode=verify-full";

/// The port that PostgreSQL listens on.
const PORT: u16 = 5432;

/// How much the connection is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SslMode {
    /// Never encrypted.
    Disable,
    /// Encrypted where the server offers it, whoever it is.
    Prefer,
    /// Encrypted, whoever the server is; with a CA file, as `verify-ca`.
    Require,
    /// Encrypted, by a server with a certificate that is trusted.
    VerifyCa,
    /// Encrypted, by a server with a trusted certificate for this host.
    VerifyFull,
}

/// The modes by their names in libpq.
const MODES: [(&str, SslMode); 6] = [
    ("disable", SslMode::Disable),
    ("allow", SslMode::Prefer),
    ("prefer", SslMode::Prefer),
    ("require", SslMode::Require),
    ("verify-ca", SslMode::VerifyCa),
    ("verify-full", SslMode::VerifyFull),
];

/// The settings a URL's parameters and a connection's keys share.
const SETTINGS: [&str; 9] =
    ["host", "port", "user", "password", "database", "schema", "role", "sslmode", "sslrootcert"];

/// A database of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Postgres {
    /// A name, an address, or the folder of a socket.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Who we are there.
    pub user: String,
    /// What proves it, where that takes a password.
    pub password: Option<Secret>,
    /// The database.
    pub database: String,
    /// The schema of objects that name none.
    pub schema: String,
    /// The role to act as, where that is not the user.
    pub role: Option<String>,
    /// How much the connection is protected.
    pub sslmode: SslMode,
    /// A file with the certificates to trust, in place of the system's.
    pub sslrootcert: Option<PathBuf>,
}

impl Postgres {
    /// What to call it in messages and checkpoints: without user and password, which may change.
    pub fn label(&self) -> String {
        let host =
            if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        format!("postgresql://{host}:{}/{}", self.port, self.database)
    }

    /// What a test's URL says.
    #[cfg(all(test, feature = "postgres"))]
    pub(crate) fn at(url: &str) -> Self {
        Self::from_url(url, Path::new("/")).unwrap()
    }

    /// Reads a URL; paths in it start at `base`.
    pub(super) fn from_url(url: &str, base: &Path) -> Result<Self, String> {
        Draft::of_url(url, base)?.complete().map_err(|(_, message)| message)
    }

    /// Reads the keys of a connection; those given beside a `url` win.
    pub(super) fn from_fields(fields: &mut Fields<'_, '_>, base: &Path) -> Option<Self> {
        let mut draft = fields.of_url(|url| Draft::of_url(url, base))?;
        let right = fields.set_texts(SETTINGS, |key, text| draft.set(key, text, base));
        fields.refuse(&["ssh_tunnel", "ssh_private_key", "ssh_passphrase"], |key| {
            format!("{key} is not supported: open the tunnel yourself and name its end as host")
        });
        let complete = draft.complete();
        let told = complete.map_err(|(key, message)| fields.complain(key, message));
        told.ok().filter(|_| right)
    }
}

/// A connection that is being read.
#[derive(Debug, Default)]
struct Draft {
    host: Option<String>,
    port: Option<u16>,
    user: Option<String>,
    password: Option<Secret>,
    database: Option<String>,
    schema: Option<String>,
    role: Option<String>,
    sslmode: Option<SslMode>,
    sslrootcert: Option<PathBuf>,
}

/// Tells how a variable is written here, where somebody names one as in PostHog's secrets.
fn refuse_reference(text: &str) -> Result<(), String> {
    match text.strip_prefix("env:") {
        Some(name) => Err(format!("env:{name} is not read here: write ${{{name}}}")),
        None => Ok(()),
    }
}

impl Draft {
    fn of_url(text: &str, base: &Path) -> Result<Self, String> {
        refuse_reference(text)?;
        let unreadable = || {
            format!(
                "is no URL: write {EXAMPLE}, with other characters of the password as %40 for `@`, \
                 %2F for `/`, %23 for `#`"
            )
        };
        let url = Url::parse(text).map_err(|_| unreadable())?;
        let decode = |part: &str| -> Result<String, String> {
            Ok(percent_decode_str(part).decode_utf8().map_err(|_| unreadable())?.into_owned())
        };
        // Before anything else is judged: from here on it is shown by nothing.
        let password = url.password().map(decode).transpose()?.map(Secret::new);
        let mut draft = Self { password, port: url.port(), ..Self::default() };
        let database = decode(url.path().trim_start_matches('/'))?;
        if url.fragment().is_some() || database.contains('/') {
            return Err(unreadable());
        }
        let host = url.host_str().map(|host| host.trim_matches(['[', ']']));
        draft.host = host.map(decode).transpose()?.filter(|host| !host.is_empty());
        draft.user = Some(decode(url.username())?).filter(|user| !user.is_empty());
        draft.database = Some(database).filter(|name| !name.is_empty());
        for (key, value) in url.query_pairs() {
            let key = if key == "dbname" { "database" } else { &key };
            draft.set(key, &value, base)?;
        }
        Ok(draft)
    }

    fn set(&mut self, key: &str, text: &str, base: &Path) -> Result<(), String> {
        refuse_reference(text)?;
        let given = || Some(text.to_owned()).filter(|text| !text.is_empty());
        match key {
            "host" => self.host = given(),
            "port" => self.port = Some(text.parse().map_err(|_| "is no port, like 5432")?),
            "user" => self.user = given(),
            "password" => self.password = given().map(Secret::new),
            "database" => self.database = given(),
            "schema" => self.schema = given(),
            "role" => self.role = given(),
            "sslmode" => self.sslmode = Some(sslmode(text)?),
            "sslrootcert" if text == "system" => self.sslrootcert = None,
            "sslrootcert" => self.sslrootcert = Some(base.join(text)),
            _ => return Err(format!("unknown parameter, {}", suggestion(key, &SETTINGS))),
        }
        Ok(())
    }

    fn complete(self) -> Result<Postgres, (&'static str, String)> {
        let missing = |key: &'static str| (key, format!("names no {key}: write {EXAMPLE}"));
        Ok(Postgres {
            host: self.host.ok_or_else(|| missing("host"))?,
            port: self.port.unwrap_or(PORT),
            user: self.user.ok_or_else(|| missing("user"))?,
            password: self.password,
            database: self.database.ok_or_else(|| missing("database"))?,
            schema: self.schema.unwrap_or_else(|| "public".to_owned()),
            role: self.role,
            sslmode: self.sslmode.unwrap_or(SslMode::Prefer),
            sslrootcert: self.sslrootcert,
        })
    }
}

fn sslmode(text: &str) -> Result<SslMode, String> {
    let found = MODES.iter().find(|(name, _)| *name == text).map(|(_, mode)| *mode);
    found.ok_or_else(|| {
        let names: Vec<&str> = MODES.iter().map(|(name, _)| *name).collect();
        format!("unknown sslmode, {}", suggestion(text, &names))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server() -> Postgres {
        Postgres {
            host: "db.example.com".into(),
            port: 5432,
            user: "me".into(),
            password: None,
            database: "lake".into(),
            schema: "public".into(),
            role: None,
            sslmode: SslMode::Prefer,
            sslrootcert: None,
        }
    }

    fn read(url: &str) -> Result<Postgres, String> {
        Postgres::from_url(url, Path::new("/srv"))
    }

    #[test]
    fn urls_say_everything() {
        for (url, expected) in [
            ("postgresql://me@db.example.com/lake", server()),
            ("postgres://me@db.example.com:5432/lake?sslmode=prefer", server()),
            ("postgresql:///lake?host=db.example.com&user=me", server()),
            ("postgresql://me@db.example.com?dbname=lake", server()),
            (
                "postgresql://me:p%40ss%2Fw%C3%B6rd@[::1]:6000/lake?sslmode=verify-full&sslrootcert=ca.pem",
                Postgres {
                    host: "::1".into(),
                    port: 6000,
                    password: Some(Secret::new("p@ss/wörd")),
                    sslmode: SslMode::VerifyFull,
                    sslrootcert: Some("/srv/ca.pem".into()),
                    ..server()
                },
            ),
            (
                "postgresql://me@%2Fvar%2Frun%2Fpostgresql/lake?schema=raw&role=loader",
                Postgres {
                    host: "/var/run/postgresql".into(),
                    schema: "raw".into(),
                    role: Some("loader".into()),
                    ..server()
                },
            ),
        ] {
            assert_eq!(read(url), Ok(expected), "{url}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_url_is_told_without_repeating_it() {
        for (url, expected) in [
            ("postgresql://me:hunter22@db.example.com", "names no database: write postgresql://"),
            ("postgresql://db.example.com/lake", "names no user: write postgresql://"),
            ("postgresql://me:hunter22@/lake", "is no URL"),
            ("postgresql://me:hunter22#x@h/lake", "is no URL"),
            ("postgresql://me:hunter22@h:x/lake", "is no URL"),
            ("postgresql://me:hunter22@h/lake/x", "is no URL"),
            ("postgresql://me:hunter22@h/lake?sslmod=require", "did you mean \"sslmode\"?"),
            (
                "postgresql://me:hunter22@h/lake?sslmode=verify_full",
                "did you mean \"verify-full\"?",
            ),
            ("postgresql://me:hunter22@h/lake?port=x", "is no port"),
        ] {
            let told = read(url).unwrap_err();
            assert!(told.contains(expected) && !told.contains("hunter22"), "{url}: {told}");
        }
    }

    #[test]
    fn a_label_names_the_place_and_nobody() {
        let server = Postgres { password: Some(Secret::new("hunter22")), ..server() };

        assert_eq!(server.label(), "postgresql://db.example.com:5432/lake");
        assert_eq!(
            Postgres { host: "::1".into(), ..server }.label(),
            "postgresql://[::1]:5432/lake"
        );
    }
}
