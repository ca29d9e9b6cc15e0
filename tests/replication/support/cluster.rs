//! A real PostgreSQL of the test's own, on a port of this machine.
//!
//! Its files are made once (`initdb`, and a database `lake` that its user `loader` owns) and
//! copied for each test. It ends with the test however that ends: it waits on a pipe that only
//! the test holds. Killed, it starts again where the test wants it. Where the tests run as root
//! it runs as another user, as PostgreSQL wants it.

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage};

/// The password of both users; it must be in no output.
pub(crate) const PASSWORD: &str = "pw of the loader @/#%";

/// The longest that the server may take to begin.
const PATIENCE: Duration = Duration::from_secs(60);

/// What nobody's data needs: it is thrown away.
const SETTINGS: &str = "listen_addresses = '127.0.0.1'\nunix_socket_directories = ''\n\
    fsync = off\nfull_page_writes = off\nautovacuum = off\nwal_level = minimal\n\
    max_wal_senders = 0\nmax_connections = 40\nshared_buffers = 16MB\nlog_statement = 'none'\n";

const USERS: &str = "CREATE ROLE loader LOGIN PASSWORD 'pw of the loader @/#%'\n\
    CREATE DATABASE lake OWNER loader\n";

/// Ends the server when the pipe does, and leaves nothing of it. While there is a file `again`,
/// it is started again.
const WATCHED: &str = "data=$1; shift; \
    { \"$@\"; while [ -e \"$data/again\" ]; do sleep 0.05; \"$@\"; done; } >\"$data/log\" 2>&1 & loop=$!; \
    cat >/dev/null; rm -f \"$data/again\"; kill -QUIT $(head -n 1 \"$data/postmaster.pid\"); \
    wait $loop; rm -rf \"$data\"/*";

/// A running server; it ends when dropped.
pub(crate) struct Cluster {
    pub(crate) port: u16,
    home: TempDir,
    server: Child,
    client: Client,
    runtime: Runtime,
}

impl Cluster {
    /// Starts a server.
    pub(crate) fn start() -> Self {
        let home = open_folder();
        copy(&template(), &home.path().join("data"));
        Self::serve(home, &[])
    }

    /// Starts a server that can encrypt, with a certificate for `localhost`.
    pub(crate) fn start_with_certificate() -> Self {
        let home = open_folder();
        copy(&template(), &home.path().join("data"));
        certify(home.path());
        for name in ["server.crt", "server.key"] {
            let path = home.path().join("data").join(name);
            fs::copy(home.path().join(name), &path).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            output(Command::new("chown").arg(owner()).arg(path));
        }
        Self::serve(home, &["ssl=on"])
    }

    /// The file of a certificate: `ca`, which made the server's, or `other`.
    pub(crate) fn certificate(&self, name: &str) -> String {
        self.home.path().join(format!("{name}.crt")).display().to_string()
    }

    fn serve(home: TempDir, settings: &[&str]) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        loop {
            let port = free_port();
            let mut server = serve(home.path(), port, settings);
            if let Some(client) = runtime.block_on(answers(port, &mut server)) {
                return Self { port, home, server, client, runtime };
            }
            let log = fs::read_to_string(home.path().join("data/log")).unwrap_or_default();
            assert!(log.contains("in use"), "PostgreSQL does not start:\n{log}");
        }
    }

    /// Where the database is, as its owner.
    pub(crate) fn url(&self) -> String {
        self.url_at(self.port)
    }

    /// The same, through another port.
    pub(crate) fn url_at(&self, port: u16) -> String {
        format!("postgresql://loader:pw%20of%20the%20loader%20%40%2F%23%25@127.0.0.1:{port}/lake")
    }

    /// Does something in the database as its superuser; the texts of what it gives, a row's
    /// with `|` between, `∅` for none.
    #[track_caller]
    pub(crate) fn sql(&self, sql: &str) -> Vec<String> {
        self.try_sql(sql).unwrap_or_else(|err| panic!("{err}: {sql}"))
    }

    /// The same; the error is the server's.
    pub(crate) fn try_sql(&self, sql: &str) -> Result<Vec<String>, String> {
        told(self.runtime.block_on(self.client.simple_query(sql)))
    }

    /// Kills the server and all its sessions, as a machine does that has no memory left, and
    /// starts it again.
    pub(crate) fn is_killed_and_starts_again(&mut self) {
        let data = self.home.path().join("data");
        fs::write(data.join("again"), "").unwrap();
        let server = fs::read_to_string(data.join("postmaster.pid")).unwrap();
        output(Command::new("kill").arg("-KILL").arg(server.lines().next().unwrap()));
        self.client = self.runtime.block_on(answers(self.port, &mut self.server)).unwrap();
        fs::remove_file(data.join("again")).unwrap();
    }

    /// A session of the superuser that stays open until dropped.
    pub(crate) fn session(&self, sql: &str) -> Session<'_> {
        self.session_in("lake", sql)
    }

    /// The same in another database.
    pub(crate) fn session_in(&self, database: &str, sql: &str) -> Session<'_> {
        let client = self.runtime.block_on(async {
            let client = connect(self.port, database).await?;
            client.batch_execute(sql).await?;
            Ok::<_, tokio_postgres::Error>(client)
        });
        Session { cluster: self, client: client.unwrap() }
    }

    /// What the server wrote about itself.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.home.path().join("data/log")).unwrap()
    }

    /// Waits until a query gives `true`.
    #[track_caller]
    pub(crate) fn until(&self, sql: &str) {
        let begun = Instant::now();
        while self.sql(sql) != ["t"] {
            assert!(begun.elapsed() < PATIENCE, "still waiting until {sql}\n{}", self.log());
            self.runtime.block_on(async { tokio::time::sleep(Duration::from_millis(5)).await });
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.server.stdin.take());
        self.server.wait().unwrap();
    }
}

/// A session that holds what it did.
pub(crate) struct Session<'a> {
    cluster: &'a Cluster,
    client: Client,
}

impl Session<'_> {
    /// The texts of what a query gives.
    #[track_caller]
    pub(crate) fn sql(&self, sql: &str) -> Vec<String> {
        self.try_sql(sql).unwrap_or_else(|err| panic!("{err}: {sql}"))
    }

    /// The same; the error is the server's.
    pub(crate) fn try_sql(&self, sql: &str) -> Result<Vec<String>, String> {
        told(self.cluster.runtime.block_on(self.client.simple_query(sql)))
    }
}

/// What the server answered, a text a row.
fn told(
    answer: Result<Vec<SimpleQueryMessage>, tokio_postgres::Error>,
) -> Result<Vec<String>, String> {
    let message = |err: tokio_postgres::Error| {
        err.as_db_error().map_or(err.to_string(), |err| err.message().to_owned())
    };
    Ok(answer.map_err(message)?.iter().filter_map(line).collect())
}

fn line(message: &SimpleQueryMessage) -> Option<String> {
    let SimpleQueryMessage::Row(row) = message else { return None };
    let cells: Vec<&str> = (0..row.len()).map(|at| row.get(at).unwrap_or("∅")).collect();
    Some(cells.join("|"))
}

async fn connect(port: u16, database: &str) -> Result<Client, tokio_postgres::Error> {
    let mut config = Config::new();
    config.host("127.0.0.1").port(port).user("postgres").password(PASSWORD).dbname(database);
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// A session, once the server answers; nothing where it ends before.
async fn answers(port: u16, server: &mut Child) -> Option<Client> {
    let begun = Instant::now();
    loop {
        if let Ok(client) = connect(port, "lake").await {
            return Some(client);
        }
        if server.try_wait().unwrap().is_some() || begun.elapsed() > PATIENCE {
            return None;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A folder that the server's user can reach.
fn open_folder() -> TempDir {
    let home = TempDir::with_prefix("hogline-postgres-").unwrap();
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755)).unwrap();
    home
}

fn serve(home: &Path, port: u16, settings: &[&str]) -> Child {
    let data = home.join("data");
    let mut command = as_server("sh".as_ref());
    command.arg("-c").arg(WATCHED).arg("sh").arg(&data).arg(program("postgres"));
    command.arg("-D").arg(&data).args(["-p", &port.to_string()]);
    for setting in settings {
        command.args(["-c", setting]);
    }
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// The files of a new cluster, made where they are missing.
fn template() -> PathBuf {
    let version = output(Command::new(program("postgres")).arg("--version"));
    let version: String = version.chars().filter(|c| c.is_ascii_digit() || *c == '.').collect();
    let built = std::env::current_exe().unwrap();
    let name = format!("postgres-{version}-of-{}", output(Command::new("id").arg("-u")));
    let template = built.ancestors().nth(2).unwrap().join(name);
    if !template.exists() {
        make_template(&template);
    }
    template
}

fn make_template(template: &Path) {
    let home = open_folder();
    let data = home.path().join("data");
    fs::create_dir(&data).unwrap();
    fs::write(home.path().join("password"), PASSWORD).unwrap();
    output(Command::new("chown").arg(owner()).arg(&data));
    let mut initdb = as_server(program("initdb").as_os_str());
    initdb.args(["--no-sync", "--no-locale", "-E", "UTF8", "-A", "password"]);
    initdb.args(["-U", "postgres", "--wal-segsize=1", "--pwfile"]);
    output(initdb.arg(home.path().join("password")).arg("-D").arg(&data));
    let mut conf = fs::OpenOptions::new().append(true).open(data.join("postgresql.conf")).unwrap();
    conf.write_all(SETTINGS.as_bytes()).unwrap();
    // Its hashing takes an unoptimised program long: only what is encrypted is asked for it.
    let rules = fs::read_to_string(data.join("pg_hba.conf")).unwrap();
    fs::write(data.join("pg_hba.conf"), format!("hostssl all all all scram-sha-256\n{rules}"))
        .unwrap();
    let mut single = as_server(program("postgres").as_os_str());
    single.arg("--single").arg("-D").arg(&data).arg("postgres").stdin(Stdio::piped());
    let mut single = single.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    single.stdin.take().unwrap().write_all(USERS.as_bytes()).unwrap();
    assert!(single.wait().unwrap().success());
    // Another test may make it at the same time: the first one stays.
    let draft = template.with_extension(format!("draft-{}", std::process::id()));
    copy(&data, &draft);
    if fs::rename(&draft, template).is_err() {
        fs::remove_dir_all(&draft).unwrap();
    }
}

fn copy(from: &Path, to: &Path) {
    output(Command::new("cp").arg("-a").arg(from).arg(to));
}

/// A command of the server's user: PostgreSQL refuses to run as root.
fn as_server(program: &OsStr) -> Command {
    if output(Command::new("id").arg("-u")) != "0" {
        return Command::new(program);
    }
    let is_there = Command::new("id").arg("postgres").output().unwrap().status.success();
    let user = if is_there { "postgres" } else { "nobody" };
    let group = output(Command::new("id").args(["-g", user]));
    let mut command = Command::new("setpriv");
    command.args(["--reuid", user, "--regid", &group, "--clear-groups"]).arg(program);
    command.current_dir("/");
    command
}

/// Two authorities, and a server's certificate for `localhost` by the first.
fn certify(home: &Path) {
    let openssl = |arguments: &str| {
        output(Command::new("openssl").current_dir(home).args(arguments.split(' ')));
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    for name in ["ca", "other"] {
        let files = format!("-keyout {name}.key -out {name}.crt");
        openssl(&format!("req -x509 {key} -days 30 -subj /CN={name} {files}"));
    }
    openssl(&format!("req {key} -subj /CN=localhost -keyout server.key -out server.csr"));
    fs::write(home.join("names"), "subjectAltName=DNS:localhost\n").unwrap();
    let signed = "-CA ca.crt -CAkey ca.key -CAcreateserial -days 30 -extfile names";
    openssl(&format!("x509 -req -in server.csr {signed} -out server.crt"));
}

/// The server's user.
fn owner() -> String {
    output(as_server("id".as_ref()).args(["-u", "-n"]))
}

/// A program of PostgreSQL: the one of the path, else the newest that Debian has.
fn program(name: &str) -> PathBuf {
    if Command::new(name).arg("--version").output().is_ok() {
        return name.into();
    }
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let found = versions.map(|version| version.path().join("bin").join(name));
    let newest = found.filter(|program| program.exists()).max();
    newest.unwrap_or_else(|| {
        panic!("no {name}: install PostgreSQL (apt-get install postgresql), or put it in the PATH")
    })
}

#[track_caller]
fn output(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|err| panic!("{command:?}: {err}"));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {stderr}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
