//! The table of checkpoints that lives beside the rows it speaks of, in their schema.
//!
//! It is written in the transaction of the rows, one row a stream. A checkpoint takes the
//! place only of the one this load knows of: two loads of one stream, from two machines
//! even, can never both go on. It compares nothing else: that is the state's business.

use std::collections::BTreeSet;

use tokio_postgres::Client;

use crate::checkpoint::{self, Checkpoint, StreamKey, Unreadable};
use crate::target::postgres::error::Fault;
use crate::target::postgres::name::Table;
use crate::target::postgres::table;

/// Which commit of which history is stored.
pub(super) type Mark = (String, i64);

/// Where a table's checkpoints are.
pub(super) fn beside(table: &Table) -> Table {
    table.beside("_hogline_checkpoints")
}

/// Makes the table where it is missing.
pub(super) async fn make(client: &Client, table: &Table) -> Result<(), Fault> {
    let place = beside(table);
    if table::kind_of(client, &place).await?.is_some() {
        return Ok(());
    }
    let sql = format!(
        "CREATE TABLE {} (
           origin text, project text, stream text, object text,
           epoch text NOT NULL, sequence bigint NOT NULL,
           position text NOT NULL, witnesses text NOT NULL, updated_at timestamptz NOT NULL,
           columns text NOT NULL,
           PRIMARY KEY (origin, project, stream, object))",
        place.quoted()
    );
    Ok(client.batch_execute(&sql).await?)
}

/// A checkpoint as the target keeps it.
pub(super) struct Stored {
    pub(super) mark: Mark,
    position: String,
    witnesses: String,
    fields: String,
}

/// Stores a checkpoint, with the fields that its rows were written of, in place of the one
/// that `known` names.
pub(super) async fn write(
    client: &Client,
    table: &Table,
    (checkpoint, fields): (&Checkpoint, &BTreeSet<String>),
    known: Option<&Mark>,
) -> Result<Mark, Fault> {
    let sql = format!(
        "INSERT INTO {} AS stored VALUES ($1, $2, $3, $4, $5, $6, $7, $8, now(), $11)
         ON CONFLICT (origin, project, stream, object) DO UPDATE
         SET epoch = excluded.epoch, sequence = excluded.sequence, position = excluded.position,
             witnesses = excluded.witnesses, updated_at = excluded.updated_at,
             columns = excluded.columns
         WHERE (stored.epoch, stored.sequence) = ($9::text, $10::bigint)",
        beside(table).quoted()
    );
    let StreamKey { origin, project, stream, object } = &checkpoint.key;
    let json = |err| Fault::Unreadable(Unreadable::Broken(err));
    let position = serde_json::to_string(&checkpoint.position).map_err(json)?;
    let witnesses = serde_json::to_string(&checkpoint.witnesses).map_err(json)?;
    let fields = serde_json::to_string(fields).map_err(json)?;
    let sequence = i64::try_from(checkpoint.sequence).unwrap_or(i64::MAX);
    let (epoch, at) = known.map(|(epoch, sequence)| (epoch, sequence)).unzip();
    let mark = (checkpoint.epoch.clone(), sequence);
    let stored = client
        .execute(
            &sql,
            &[
                origin, project, stream, object, &mark.0, &mark.1, &position, &witnesses, &epoch,
                &at, &fields,
            ],
        )
        .await?;
    if stored == 0 { Err(another_load()) } else { Ok(mark) }
}

/// What is said where somebody else loads the same table.
pub(super) fn another_load() -> Fault {
    Fault::Refused(
        "another run is loading this table, or did so meanwhile".into(),
        "let only one run at a time load a table, then run again: nothing is lost".into(),
    )
}

/// The stream's checkpoint as it is stored.
pub(super) async fn read(
    client: &Client,
    table: &Table,
    key: &StreamKey,
) -> Result<Option<Stored>, Fault> {
    let place = beside(table);
    if table::kind_of(client, &place).await?.is_none() {
        return Ok(None);
    }
    let sql = format!(
        "SELECT epoch, sequence, position, witnesses, columns FROM {}
         WHERE origin = $1 AND project = $2 AND stream = $3 AND object = $4",
        place.quoted()
    );
    let StreamKey { origin, project, stream, object } = key;
    let found = client.query_opt(&sql, &[origin, project, stream, object]).await?;
    Ok(found.map(|row| Stored {
        mark: (row.get(0), row.get(1)),
        position: row.get(2),
        witnesses: row.get(3),
        fields: row.get(4),
    }))
}

impl Stored {
    /// What it says: the checkpoint, and the fields that its rows were written of.
    pub(super) fn understood(
        self,
        key: &StreamKey,
    ) -> Result<(Checkpoint, BTreeSet<String>), Unreadable> {
        let (epoch, sequence) = self.mark;
        let checkpoint = Checkpoint {
            key: key.clone(),
            epoch,
            sequence: sequence.unsigned_abs(),
            position: checkpoint::read_position(&self.position)?,
            witnesses: serde_json::from_str(&self.witnesses)?,
        };
        Ok((checkpoint, serde_json::from_str(&self.fields)?))
    }
}
