//! A folder with a replication file: runs the binary there and looks into the tables.

use std::path::Path;
use std::process::Command;

use rusqlite::Connection;
use rusqlite::types::Value as Cell;
use serde_json::Value;
use tempfile::TempDir;

use crate::posthog::KEY;
use crate::server::Server;
use crate::sql::canonical;

/// A project of a user who replicates from the recorded server.
pub(crate) struct Project {
    folder: TempDir,
    origin: String,
    key: String,
    id: u32,
    specs: Vec<String>,
}

/// How a run ended.
#[must_use]
pub(crate) struct Ran {
    code: i32,
    said: Said,
}

/// What a run said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Project {
    /// Project 3, with its key.
    pub(crate) fn of(server: &Server) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let origin = server.origin();
        Self { folder, origin, key: KEY.to_owned(), id: 3, specs: Vec::new() }
    }

    #[must_use]
    pub(crate) fn with_key(mut self, key: &str) -> Self {
        key.clone_into(&mut self.key);
        self
    }

    #[must_use]
    pub(crate) fn with_id(mut self, id: u32) -> Self {
        self.id = id;
        self
    }

    /// Adds a spec of the user's own, which may replace a built-in one.
    #[must_use]
    pub(crate) fn with_spec(mut self, spec: &str) -> Self {
        self.specs.push(spec.to_owned());
        self
    }

    /// Runs `streams` in a mode.
    pub(crate) fn run(&self, streams: &[&str], mode: &str) -> Ran {
        let lines: String = streams.iter().map(|stream| format!("  {stream}:\n")).collect();
        let replication = format!(
            "source: POSTHOG\ntarget: sqlite://{}\n\
             defaults: {{ mode: {mode}, object: '{{stream_name}}' }}\nstreams:\n{lines}",
            self.database().display()
        );
        std::fs::write(self.folder.path().join("replication.yaml"), replication).unwrap();
        self.hogline(&["run", "-r", "replication.yaml"])
    }

    /// Runs the program with a clean environment; its key must appear in no output.
    pub(crate) fn hogline(&self, args: &[&str]) -> Ran {
        let mut specs = vec!["posthog".to_owned()];
        for (n, spec) in self.specs.iter().enumerate() {
            std::fs::write(self.folder.path().join(format!("{n}.yaml")), spec).unwrap();
            specs.push(format!("file://{n}.yaml"));
        }
        let connection = format!(
            "{{ type: api, spec: [{}], \
             secrets: {{ api_key: '{}', project_id: '{}', host: '{}' }}, \
             inputs: {{ requests_per_second: 0, concurrency: 1, safety_lag: 0s, \
             anchor_date: 2026-10-01 }} }}",
            specs.join(", "),
            self.key,
            self.id,
            self.origin
        );
        let output = Command::new(env!("CARGO_BIN_EXE_hogline"))
            .args(args)
            .current_dir(self.folder.path())
            .env_clear()
            .env("HOGLINE_HOME", self.folder.path().join("home"))
            .env("POSTHOG", connection)
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let code = output.status.code().unwrap();
        let said = Said { out: text(output.stdout), err: text(output.stderr) };
        let told = [&said.out, &said.err].iter().any(|text| text.contains(&self.key));
        assert!(!told, "the key was told: {said:?}");
        Ran { code, said }
    }

    fn database(&self) -> std::path::PathBuf {
        self.folder.path().join("out.db")
    }

    /// A stream's table.
    pub(crate) fn table(&self, stream: &str) -> Table {
        Table::read(&self.database(), stream)
    }
}

impl Ran {
    /// Checks that everything came.
    pub(crate) fn succeeds(self) -> Said {
        self.ends_with(0)
    }

    /// Checks the exit code, the cause that is told, and the way out.
    pub(crate) fn fails(self, code: i32, cause: &str, fix: &str) -> Said {
        let said = self.ends_with(code);
        for line in [format!("\n  cause: {cause}"), format!("\n  fix:   {fix}")] {
            assert!(said.err.contains(&line), "`{line}` is not in {}{}", said.out, said.err);
        }
        said
    }

    /// Checks the exit code.
    pub(crate) fn ends_with(self, code: i32) -> Said {
        let Self { code: found, said } = self;
        assert_eq!(found, code, "{}{}", said.out, said.err);
        said
    }
}

/// What a table holds.
#[derive(Debug, PartialEq)]
pub(crate) struct Table {
    columns: Vec<String>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    fn read(database: &Path, name: &str) -> Self {
        let db = Connection::open(database).unwrap();
        let mut query = db.prepare(&format!("SELECT * FROM \"{name}\" ORDER BY id")).unwrap();
        let columns: Vec<String> = query.column_names().map(str::to_owned).collect();
        let read = |row: &rusqlite::Row<'_>| (0..columns.len()).map(|n| row.get(n)).collect();
        let rows = query.query_map([], read).unwrap().collect::<Result<_, _>>().unwrap();
        Self { columns, rows }
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(crate) fn has(&self, column: &str) -> bool {
        self.columns.iter().any(|name| name == column)
    }

    /// The values of a column, in the order of the rows.
    pub(crate) fn column(&self, name: &str) -> Vec<&Cell> {
        let at = self.columns.iter().position(|other| other == name).unwrap();
        self.rows.iter().map(|row| &row[at]).collect()
    }

    /// A text of the row where `column` is `value`.
    pub(crate) fn text(&self, (column, value): (&str, &str), wanted: &str) -> &str {
        let is_it = |cell: &&Cell| **cell == Cell::Text(value.to_owned());
        let row = self.column(column).iter().position(is_it).unwrap();
        match self.column(wanted)[row] {
            Cell::Text(text) => text,
            other => panic!("{wanted} is {other:?}"),
        }
    }

    /// Checks that the table holds exactly `recorded`, every member of every row but
    /// those `left_out`, which must not be there.
    pub(crate) fn equals(&self, recorded: &[Value], left_out: &[&str]) {
        assert_eq!(self.len(), recorded.len(), "{self:?}");
        for name in left_out {
            assert!(!self.has(name), "{name} is a column");
        }
        let ids = self.column("id");
        for row in recorded {
            let found: Vec<usize> = (0..ids.len()).filter(|&n| same(&row["id"], ids[n])).collect();
            assert!(!found.is_empty(), "{} is missing", row["id"]);
            let members = row.as_object().unwrap();
            for (name, value) in
                members.iter().filter(|(name, _)| !left_out.contains(&name.as_str()))
            {
                if !self.has(name) {
                    assert!(value.is_null(), "no column for {name}: {value}");
                    continue;
                }
                let column = self.column(name);
                let is_there = found.iter().any(|&n| same(value, column[n]));
                assert!(is_there, "{name}: {value} became {:?}", column[found[0]]);
            }
        }
    }
}

/// Whether a cell says what was recorded: times in canonical form, JSON as a value.
fn same(recorded: &Value, cell: &Cell) -> bool {
    let json = |text: &str| serde_json::from_str::<Value>(text).is_ok_and(|json| json == *recorded);
    match (recorded, cell) {
        (Value::Null, Cell::Null) => true,
        (Value::Bool(recorded), Cell::Integer(number)) => i64::from(*recorded) == *number,
        (Value::Number(recorded), Cell::Integer(number)) => recorded.as_i64() == Some(*number),
        (Value::Number(recorded), Cell::Real(number)) => recorded.as_f64() == Some(*number),
        (Value::String(recorded), Cell::Text(text)) => {
            canonical(recorded).unwrap_or_else(|| recorded.clone()) == *text || json(text)
        }
        (_, Cell::Text(text)) => json(text),
        _ => false,
    }
}
