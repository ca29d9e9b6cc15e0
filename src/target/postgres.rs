//! A table of a PostgreSQL database as a target.
//!
//! Rows and their checkpoint share one transaction, which opens with the first row after
//! a commit; the table is made, extended, widened or emptied inside it too, so that an
//! abandoned page leaves nothing at all. A full copy grows in a staging table of the same
//! schema and is [swapped](swap) in with the last checkpoint. A connection is held from
//! [`begin`](Target::begin) to [`publish`](Target::publish), and with it a lock on the
//! table that keeps other loads away, wherever they run.
//!
//! It makes nothing before a load begins, and never touches a table, column or index it
//! was not told to write.

mod checkpoints;
mod column;
mod current;
mod encode;
mod error;
mod merge;
mod name;
mod probe;
mod session;
mod swap;
mod table;
#[cfg(test)]
mod tests;
mod tls;
mod witness;

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::watch;
use tokio_postgres::Client;

use crate::checkpoint::{Checkpoint, StreamKey};
use crate::config::{DeleteMissing, Postgres};
use crate::cursor::Timestamp;
use crate::record::batch::Batch;
use crate::schema::Schema;
use crate::stop;
use crate::target::{Load, Opening, Recall, Replay, Scan, Shown, Target, TargetError, Written};

use checkpoints::Mark;
pub(crate) use error::Fault;
use merge::Merge;
use name::Table;
pub(crate) use session::Session;

/// The name an object has in a database; the object as it is where it can have none.
pub(super) fn name_of(server: &Postgres, object: &str) -> String {
    Table::of(object, &server.schema).map_or_else(|_| object.to_owned(), |table| table.to_string())
}

/// One stream's table.
#[derive(Debug)]
pub(super) struct PostgresTarget {
    server: Postgres,
    key: StreamKey,
    table: Table,
    schema: Arc<Schema>,
    load: Load,
    /// A load was begun and not published: the connection stays, and with it the lock.
    is_loading: bool,
    /// No commit of this load yet: the first one empties or makes the table.
    is_first: bool,
    /// A transaction is open.
    is_open: bool,
    /// The table is there, within the open transaction.
    is_ready: bool,
    merge: Option<Merge>,
    /// The stored checkpoint, where it was read.
    known: Option<Option<Mark>>,
    /// The fields that rows of the copy were written of.
    fields: BTreeSet<String>,
    session: Option<Session>,
    /// True once the process is asked to stop: no statement is waited for then.
    stop: watch::Receiver<bool>,
}

impl PostgresTarget {
    /// Connects and proves that the table can be written.
    pub(super) fn open(server: &Postgres, opening: &Opening<'_>) -> Result<Self, TargetError> {
        let unusable = |cause: String| TargetError {
            target: format!("`{}` in {}", opening.object, server.label()),
            cause: format!("this object {cause}"),
            hint: "name another object for this stream".into(),
        };
        let mut target = Self {
            server: server.clone(),
            key: opening.key.clone(),
            table: Table::of(opening.object, &server.schema).map_err(unusable)?,
            schema: Arc::clone(&opening.schema),
            load: Load::Merge,
            is_loading: false,
            is_first: true,
            is_open: false,
            is_ready: false,
            merge: None,
            known: None,
            fields: BTreeSet::new(),
            session: None,
            stop: stop::heard(),
        };
        target.told(name_columns(&target.schema))?;
        let probed = target.ask(async |client, target| probe::rights(client, &target.table).await);
        target.told(probed)?;
        Ok(target)
    }

    /// Runs statements on the connection, which is made where there is none.
    fn ask<T>(
        &mut self,
        statements: impl AsyncFnOnce(&Client, &Self) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let session = match self.session.take() {
            Some(session) => session,
            None => Session::open(&self.server, self.stop.clone())?,
        };
        let result = session.try_run(async |client| statements(client, self).await);
        self.session = Some(session);
        result
    }

    fn told<T>(&self, result: Result<T, Fault>) -> Result<T, TargetError> {
        result.map_err(|fault| TargetError {
            target: format!("table `{}` in {}", self.table, self.server.label()),
            cause: fault.to_string(),
            hint: fault.hint(),
        })
    }

    fn is_copying(&self) -> bool {
        matches!(self.load, Load::Replace | Load::ResumeReplace)
    }

    /// The table that rows go into.
    fn destination(&self) -> Table {
        if self.is_copying() { self.table.staging() } else { self.table.clone() }
    }

    /// Streams wait for their turn to load: until then their connections are not needed.
    fn rest(&mut self) {
        if !self.is_loading {
            self.hang_up();
        }
    }

    fn hang_up(&mut self) {
        if let Some(session) = self.session.take() {
            session.close();
        }
    }

    /// Takes the lock, reads what is stored and makes the places of rows and checkpoints.
    fn prepare(&mut self, load: Load) -> Result<bool, Fault> {
        let is_copying = matches!(load, Load::Replace | Load::ResumeReplace);
        let stored = self.ask(async |client, target| {
            probe::lock(client, &target.table).await?;
            let staging = target.table.staging();
            if load == Load::ResumeReplace && table::kind_of(client, &staging).await?.is_none() {
                return Ok(None);
            }
            probe::check(client, &target.table, &target.schema, is_copying).await?;
            probe::make_place(client, &target.table).await?;
            let stored = checkpoints::read(client, &target.table, &target.key).await?;
            Ok(Some(stored.map(|stored| stored.mark)))
        })?;
        let Some(mark) = stored else { return Ok(false) };
        if self.known.as_ref().is_some_and(|known| *known != mark) {
            return Err(checkpoints::another_load());
        }
        self.known = Some(mark);
        Ok(true)
    }

    /// Opens the transaction, unless it is open, and sees that the table is there.
    fn open_page(&mut self) -> Result<(), Fault> {
        let (is_open, is_ready) = (self.is_open, self.is_ready);
        if is_open && is_ready {
            return Ok(());
        }
        self.is_open = true;
        self.ask(async |client, target| {
            if !is_open {
                crash_point!("before BEGIN");
                // Whatever the default is: a merge waits for other writers and then goes on.
                client.batch_execute("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE").await?;
                crash_point!("after BEGIN");
            }
            if is_ready { Ok(()) } else { target.prepare_table(client).await }
        })?;
        self.is_ready = true;
        Ok(())
    }

    async fn prepare_table(&self, client: &Client) -> Result<(), Fault> {
        if self.is_first && self.load == Load::Replace {
            swap::begin(client, &self.table, &self.schema).await?;
        } else if self.is_first && self.load != Load::ResumeReplace {
            let leftover = self.table.staging().quoted();
            client.batch_execute(&format!("DROP TABLE IF EXISTS {leftover}")).await?;
        }
        table::make_room(client, &self.destination(), &self.schema).await?;
        if self.is_first && self.load == Load::Truncate {
            // Not TRUNCATE: that would make readers wait, and empty what they already look at.
            client.batch_execute(&format!("DELETE FROM {}", self.table.quoted())).await?;
            swap::declare_types(client, &self.table, &self.schema).await?;
        }
        Ok(())
    }

    /// Sees that the table has the columns of a batch and is wide enough for it, and writes it.
    fn write_batch(&mut self, batch: &Batch) -> Result<Written, Fault> {
        let schema = batch.schema();
        let fits = |merge: &Merge| Arc::ptr_eq(&merge.schema, schema) || merge.schema == *schema;
        let mut merge = self.merge.take().filter(fits);
        let (merge, written) = self.ask(async |client, target| {
            let table = target.destination();
            let mut slots = match &merge {
                Some(merge) => merge.slots.clone(),
                None => {
                    name_columns(schema)?;
                    table::make_room(client, &table, schema).await?;
                    table::slots(client, &table, schema).await?
                }
            };
            let before = slots.clone();
            for slot in &mut slots {
                let is_declared = schema.typed.contains(&slot.index);
                let kind = schema.columns[slot.index].kind;
                slot.kind = slot.kind.foreseeing(kind, is_declared);
            }
            let encoded = encode::encode(batch, &mut slots);
            let mut widened = Vec::new();
            if before != slots {
                widened = table::widen(client, &table, schema, (&before, &slots)).await?;
                merge = None;
            }
            let mut merge = match merge {
                Some(merge) => merge,
                None => Merge::prepare(client, &table, schema, slots).await?,
            };
            let written = merge.write(client, encoded, batch.len()).await?;
            Ok((merge, Written { widened, ..written }))
        })?;
        self.merge = Some(merge);
        self.fields.extend(schema.columns.iter().map(|column| column.name.clone()));
        Ok(written)
    }

    /// Ends the transaction with the checkpoint in it.
    fn close_page(&mut self, checkpoint: &Checkpoint, table: &Table) -> Result<(), Fault> {
        let mark = self.ask(async |client, target| {
            let known = target.known.as_ref().and_then(Option::as_ref);
            // Those of an abandoned page may never have come to be.
            let existing = table::columns(client, table).await?;
            let is_there = |field: &&String| table::has(&existing, field);
            let fields = target.fields.iter().filter(is_there).cloned().collect();
            let said = (checkpoint, &fields);
            let mark = checkpoints::write(client, &target.table, said, known).await?;
            crash_point!("before COMMIT");
            client.batch_execute("COMMIT").await?;
            Ok(mark)
        })?;
        self.known = Some(Some(mark));
        self.is_open = false;
        self.is_first = false;
        if let Some(merge) = &mut self.merge {
            merge.is_empty = true;
        }
        Ok(())
    }

    /// Takes the page back where something in it failed.
    fn or_abandoned<T>(&mut self, result: Result<T, Fault>) -> Result<T, TargetError> {
        let result = self.told(result);
        if result.is_err() {
            self.abandon()?;
        }
        result
    }
}

/// Two fields in one column would lose one of them.
fn name_columns(schema: &Schema) -> Result<(), Fault> {
    match name::collision(schema) {
        None => Ok(()),
        Some((one, other)) => Err(Fault::Refused(
            format!("the fields `{one}` and `{other}` would be one column"),
            "leave one of them out with `select`".into(),
        )),
    }
}

impl Target for PostgresTarget {
    fn on_replay(&self) -> Replay {
        if self.schema.primary_key.is_empty() { Replay::Repeats } else { Replay::Harmless }
    }

    fn recall(&mut self) -> Result<Recall, TargetError> {
        let read = self.ask(async |client, target| {
            let Some(stored) = checkpoints::read(client, &target.table, &target.key).await? else {
                return Ok((None, BTreeSet::new(), Recall::Nothing));
            };
            let mark = Some(stored.mark.clone());
            let (checkpoint, fields) = stored.understood(&target.key)?;
            let staging = target.table.staging();
            let is_staged = checkpoint.position.copying.is_some()
                && table::kind_of(client, &staging).await?.is_some();
            let table = if is_staged { &staging } else { &target.table };
            let missing = match witness::missing(client, table, &target.schema, &checkpoint).await?
            {
                None => witness::missing_field(client, table, &fields).await?,
                missing => missing,
            };
            Ok(match missing {
                None => (mark, fields, Recall::Found(checkpoint)),
                Some(missing) => (mark, fields, Recall::Damaged(checkpoint, missing)),
            })
        });
        let (mark, fields, recall) = self.told(read)?;
        self.known = Some(mark);
        self.fields = fields;
        self.rest();
        Ok(recall)
    }

    fn written_columns(&self) -> Vec<String> {
        self.fields.iter().cloned().collect()
    }

    fn begin(&mut self, load: Load) -> Result<bool, TargetError> {
        self.abandon()?;
        let prepared = self.prepare(load);
        if !self.told(prepared)? {
            return Ok(false);
        }
        self.load = load;
        self.is_loading = true;
        self.is_first = true;
        if matches!(load, Load::Truncate | Load::Replace) {
            self.fields.clear();
        }
        Ok(true)
    }

    fn write(&mut self, batch: &Batch) -> Result<Written, TargetError> {
        let written = self.open_page().and_then(|()| self.write_batch(batch));
        self.told(written)
    }

    fn commit(&mut self, checkpoint: &Checkpoint) -> Result<(), TargetError> {
        let closed =
            self.open_page().and_then(|()| self.close_page(checkpoint, &self.destination()));
        self.or_abandoned(closed)
    }

    fn abandon(&mut self) -> Result<(), TargetError> {
        // What the page created is taken back as well: look again.
        self.is_ready = false;
        self.merge = None;
        if !std::mem::take(&mut self.is_open) {
            return Ok(());
        }
        let rolled_back = match &self.session {
            Some(session) if !session.is_lost() => {
                session.run(async |client| client.batch_execute("ROLLBACK").await)
            }
            _ => Err(Fault::Stopped),
        };
        if rolled_back.is_err() {
            // A transaction ends with its connection.
            self.hang_up();
        }
        Ok(())
    }

    fn scan(
        &mut self,
        scan: &Scan<'_>,
        each: &mut dyn FnMut(&Shown<'_>),
    ) -> Result<(), TargetError> {
        let shown = self.ask(async |client, target| {
            let names = (&*target.schema, &target.fields);
            current::rows(client, &target.table, names, scan, each).await
        });
        self.rest();
        self.told(shown)
    }

    fn remove(
        &mut self,
        keys: &[String],
        how: DeleteMissing,
        at: Timestamp,
    ) -> Result<(), TargetError> {
        let removed = self.open_page().and_then(|()| {
            self.ask(async |client, target| {
                let meant = (keys, how, at);
                current::remove(client, &target.destination(), &target.schema, meant).await
            })
        });
        // The table may have got the column that marks: the statement has to know it.
        self.merge = None;
        self.told(removed)
    }

    fn execute(&mut self, statements: &str) -> Result<(), TargetError> {
        let executed = self.ask(async |client, _| Ok(client.batch_execute(statements).await?));
        self.rest();
        self.told(executed)
    }

    fn publish(&mut self, checkpoint: &Checkpoint) -> Result<(), TargetError> {
        let mut swapped = self.open_page();
        if swapped.is_ok() && self.is_copying() {
            crash_point!("before the swap");
            swapped = self.ask(async |client, target| swap::publish(client, &target.table).await);
        }
        let closed = swapped.and_then(|()| self.close_page(checkpoint, &self.table.clone()));
        self.or_abandoned(closed)?;
        self.load = Load::Merge;
        self.is_loading = false;
        self.is_ready = false;
        self.merge = None;
        self.hang_up();
        Ok(())
    }
}
