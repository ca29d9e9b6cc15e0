//! One connection to a server, used from a thread that may block.
//!
//! It owns a runtime of its own: the connection moves only while a statement is waited
//! for. A stop that comes from another thread ends the statement in hand within a few
//! seconds: it is cancelled at the server, and where that does not help the connection is
//! given up, which makes the server forget what was not committed.

use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::{Client, Config, Error, config};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::config::{Postgres, SslMode};
use crate::target::postgres::error::Fault;
use crate::target::postgres::tls;

/// A server that takes longer to greet is not there.
const GREETING: Duration = Duration::from_secs(30);

/// What a statement may still take after a stop, and again after it was cancelled.
const GRACE: Duration = Duration::from_secs(1);

/// A silent network is given up after this; without, a lost server is waited for for hours.
const SILENCE: Duration = Duration::from_secs(60);

/// What every session needs, whatever server and user have for defaults: text forms that do
/// not depend on them, a commit that is on disk, an end to waiting for a lock, and an end of
/// statements whose client is gone.
const SETTINGS: &str =
    "SET client_min_messages = warning; SET DateStyle = ISO; SET TimeZone = 'UTC';
    SET extra_float_digits = 1; SET IntervalStyle = postgres; SET xmloption = content;
    SELECT set_config('synchronous_commit', 'on', false)
      WHERE current_setting('synchronous_commit') = 'off';
    SELECT set_config('lock_timeout', '60s', false) WHERE current_setting('lock_timeout') = '0';
    SELECT set_config('client_connection_check_interval', '2s', false) FROM pg_settings
      WHERE name = 'client_connection_check_interval' AND setting = '0'";

/// A connection.
pub(crate) struct Session {
    /// Taken when it ends: a runtime must not be waited for where nothing may block.
    live: Option<(Runtime, Client)>,
    connection: JoinHandle<Result<(), Error>>,
    tls: MakeRustlsConnect,
    stop: watch::Receiver<bool>,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}

impl Session {
    /// Connects, unless a stop comes first.
    pub(crate) fn open(server: &Postgres, stop: watch::Receiver<bool>) -> Result<Self, Fault> {
        let tls = tls::connector(server).map_err(Fault::Tls)?;
        let runtime = Builder::new_current_thread().enable_all().build().map_err(Fault::Runtime)?;
        let config = config(server);
        let mut stopped = stop.clone();
        let (client, connection) = runtime.block_on(async {
            let connecting = timeout(GREETING, config.connect(tls.clone()));
            tokio::select! {
                // A stop wins: nothing has begun.
                biased;
                _ = stopped.wait_for(|stopped| *stopped) => Err(Fault::Stopped),
                connected = connecting => {
                    Ok(connected.map_err(|_| Fault::Silent(GREETING))??)
                }
            }
        })?;
        let connection = runtime.spawn(connection);
        let session = Self { live: Some((runtime, client)), connection, tls, stop };
        session.run(async |client| client.batch_execute(SETTINGS).await)?;
        if let Some(role) = &server.role {
            let sql = format!("SET ROLE {}", super::name::quote(role));
            session.run(async |client| client.batch_execute(&sql).await)?;
        }
        Ok(session)
    }

    /// Runs statements to their end, or to a stop.
    pub(crate) fn run<T>(
        &self,
        statements: impl AsyncFnOnce(&Client) -> Result<T, Error>,
    ) -> Result<T, Fault> {
        self.try_run(async |client| Ok(statements(client).await?))
    }

    /// The same, of statements that may fail in ways of their own.
    pub(super) fn try_run<T>(
        &self,
        statements: impl AsyncFnOnce(&Client) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let Some((runtime, client)) = &self.live else { return Err(Fault::Stopped) };
        if *self.stop.borrow() {
            return Err(Fault::Stopped);
        }
        let mut stop = self.stop.clone();
        runtime.block_on(async {
            let mut running = std::pin::pin!(statements(client));
            tokio::select! {
                // What is done is done: its result counts more than the stop.
                biased;
                result = &mut running => return result,
                _ = stop.wait_for(|stopped| *stopped) => {}
            }
            if let Ok(result) = timeout(GRACE, &mut running).await {
                return result;
            }
            let token = client.cancel_token();
            if let Ok(Err(err)) = timeout(GRACE, token.cancel_query(self.tls.clone())).await {
                tracing::debug!(%err, "the statement in hand could not be cancelled");
            }
            timeout(GRACE, &mut running).await.unwrap_or(Err(Fault::Stopped))
        })
    }

    /// Whether it is of no more use.
    pub(super) fn is_lost(&self) -> bool {
        self.connection.is_finished() || *self.stop.borrow()
    }

    /// Takes leave of the server, where that takes no time. Needs a thread that may block.
    pub(crate) fn close(mut self) {
        let Some((runtime, client)) = self.live.take() else { return };
        drop(client);
        // It says goodbye, and nothing more that anybody could act on.
        drop(runtime.block_on(async { timeout(GRACE, &mut self.connection).await }));
        runtime.shutdown_background();
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some((runtime, _)) = self.live.take() {
            runtime.shutdown_background();
        }
    }
}

fn config(server: &Postgres) -> Config {
    let mut config = Config::new();
    config
        .host(&server.host)
        .port(server.port)
        .user(&server.user)
        .dbname(&server.database)
        .application_name("hogline")
        .connect_timeout(GREETING)
        .tcp_user_timeout(SILENCE)
        .keepalives_idle(SILENCE / 2)
        .keepalives_interval(SILENCE / 6)
        .keepalives_retries(3);
    if let Some(password) = &server.password {
        config.password(password.expose());
    }
    // As libpq does: what stays on this machine is not encrypted.
    let is_socket = server.host.starts_with('/');
    config.ssl_mode(match server.sslmode {
        _ if is_socket => config::SslMode::Disable,
        SslMode::Disable => config::SslMode::Disable,
        SslMode::Prefer => config::SslMode::Prefer,
        SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => config::SslMode::Require,
    });
    config
}
