//! Places to play the situations in, and what a reader sees there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::value::RawValue;

use super::{Place, TempDir};
use crate::config::{Compression, FileFormat, S3 as S3Place};
use crate::target::Layout;
#[cfg(feature = "postgres")]
use crate::target::cluster::Cluster;
use crate::target::reader::{Texts, csv_rows, parquet_rows, text_of_file};
#[cfg(feature = "object-storage")]
use crate::target::s3_server::{BUCKET, KEY_ID, Oddity, S3, SECRET};

/// The object all situations write.
pub(super) const OBJECT: &str = "posthog.people";

/// An empty place of one kind.
pub(super) struct Ground {
    pub(super) home: TempDir,
    pub(super) place: Place,
    pub(super) layout: Layout,
    #[cfg(feature = "postgres")]
    cluster: Option<Cluster>,
    #[cfg(feature = "object-storage")]
    server: Option<S3>,
}

/// Why stdout is no ground: of what is promised of targets it can keep nothing.
const NOTHING_KEPT: &str = "stdout keeps nothing";

impl Ground {
    pub(super) fn sqlite() -> Self {
        let home = TempDir::new().unwrap();
        let place = sqlite_at(&home.path().join("not/yet/lake.db"));
        Self::of_files(home, place)
    }

    #[cfg(feature = "postgres")]
    pub(super) fn postgres() -> Self {
        let cluster = Cluster::start();
        let place = Place::Postgres(Box::new(crate::config::Postgres::at(&cluster.url())));
        Self { cluster: Some(cluster), ..Self::of_files(TempDir::new().unwrap(), place) }
    }

    fn of_files(home: TempDir, place: Place) -> Self {
        Self {
            home,
            place,
            layout: Layout::default(),
            #[cfg(feature = "postgres")]
            cluster: None,
            #[cfg(feature = "object-storage")]
            server: None,
        }
    }

    #[cfg(feature = "object-storage")]
    pub(super) fn s3() -> Self {
        let home = TempDir::new().unwrap();
        let server = S3::serving(home.path(), Oddity::None);
        let place = S3Place::at(&server.endpoint(), [BUCKET, "not/yet"], [KEY_ID, SECRET]);
        let place = Place::S3(Box::new(place));
        Self { server: Some(server), ..Self::of_files(home, place) }
    }

    #[cfg(feature = "postgres")]
    fn sql(&self, sql: &str) -> Result<Vec<String>, String> {
        self.cluster.as_ref().unwrap().try_sql(sql)
    }

    #[cfg(not(feature = "postgres"))]
    fn sql(&self, _: &str) -> Result<Vec<String>, String> {
        unreachable!("there is no such ground")
    }

    /// Whether JSON is kept by its meaning, which a NUL in it has none of.
    pub(super) fn understands_json(&self) -> bool {
        matches!(self.place, Place::Postgres(_))
    }

    /// What is there, before anything was written.
    pub(super) fn junk(&self) -> Vec<String> {
        if let Place::Postgres(_) = self.place {
            let sql = "SELECT nspname FROM pg_namespace WHERE nspname = 'posthog'
                       UNION ALL SELECT relname FROM pg_class WHERE relname LIKE '%hogline%'";
            return self.sql(sql).unwrap();
        }
        #[cfg(feature = "object-storage")]
        if let Some(server) = &self.server {
            return objects_in(&server.bucket());
        }
        let entries = self.home.path().read_dir().unwrap();
        entries.map(|entry| entry.unwrap().path().display().to_string()).collect()
    }

    pub(super) fn jsonl() -> Self {
        Self::files(FileFormat::Jsonl(Compression::None))
    }

    pub(super) fn jsonl_zstd() -> Self {
        Self::files(FileFormat::Jsonl(Compression::Zstd))
    }

    pub(super) fn csv() -> Self {
        Self::files(FileFormat::Csv(Compression::None))
    }

    pub(super) fn csv_gzip() -> Self {
        Self::files(FileFormat::Csv(Compression::Gzip))
    }

    #[cfg(feature = "parquet")]
    pub(super) fn parquet() -> Self {
        Self::files(FileFormat::Parquet)
    }

    fn files(format: FileFormat) -> Self {
        let home = TempDir::new().unwrap();
        let place = Place::Files(home.path().join("not/yet"));
        let layout = Layout { format, by_date: false, ..Layout::default() };
        Self { layout, ..Self::of_files(home, place) }
    }

    /// A place of the same kind elsewhere.
    pub(super) fn place_at(&self, path: &Path) -> Place {
        match &self.place {
            Place::Sqlite { .. } => sqlite_at(path),
            Place::Postgres(server) => {
                let mut server = server.clone();
                server.host = path.to_str().unwrap().to_owned();
                Place::Postgres(server)
            }
            Place::Files(_) => Place::Files(path.into()),
            Place::S3(place) => {
                let prefix = path.to_str().unwrap().trim_matches('/').to_owned();
                let bucket = "nowhere".to_owned();
                Place::S3(Box::new(S3Place { bucket, prefix, ..S3Place::clone(place) }))
            }
            Place::Stdout(_) => unreachable!("{NOTHING_KEPT}"),
        }
    }

    /// The rows a reader sees, each the text of its columns, sorted.
    pub(super) fn rows(&self, columns: &[&str]) -> Vec<String> {
        let mut rows = match &self.place {
            Place::Sqlite { path, .. } => table_rows(path, columns),
            Place::Postgres(_) => self.postgres_rows(columns),
            Place::Files(_) | Place::S3(_) => folder_rows(&self.folder(), columns),
            Place::Stdout(_) => unreachable!("{NOTHING_KEPT}"),
        };
        rows.sort();
        rows
    }

    /// Where the files of the object are.
    fn folder(&self) -> PathBuf {
        match &self.place {
            Place::Files(root) => root.join("posthog/people"),
            _ => self.home.path().join("out/not/yet/posthog/people"),
        }
    }

    /// Takes rows away behind hogline's back.
    pub(super) fn lose_rows(&self) {
        match &self.place {
            Place::Sqlite { path, .. } => {
                let db = rusqlite::Connection::open(path).unwrap();
                db.execute("DELETE FROM posthog_people WHERE id = 2", []).unwrap();
            }
            Place::Postgres(_) => {
                self.sql("DELETE FROM posthog.people WHERE id = 2").unwrap();
            }
            Place::Files(_) | Place::S3(_) => {
                let folder = self.folder();
                let file = listed(&folder).pop().unwrap();
                std::fs::File::create(folder.join(file)).unwrap();
            }
            Place::Stdout(_) => unreachable!("{NOTHING_KEPT}"),
        }
    }
}

/// The objects in a bucket.
#[cfg(feature = "object-storage")]
fn objects_in(folder: &Path) -> Vec<String> {
    let entries = folder.read_dir().unwrap().map(|entry| entry.unwrap().path());
    let names = entries.flat_map(|path| match path.is_dir() {
        true => objects_in(&path),
        false => vec![path.display().to_string()],
    });
    names.collect()
}

fn sqlite_at(path: &Path) -> Place {
    Place::Sqlite { path: path.into(), patience: crate::target::PATIENCE }
}

impl Ground {
    fn postgres_rows(&self, columns: &[&str]) -> Vec<String> {
        let moment = r#"'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'"#;
        let text = |name: &&str| {
            let column = format!("t.\"{}\"", name.replace('"', "\"\""));
            let at = format!("to_char({column}::timestamptz AT TIME ZONE 'UTC', {moment})");
            match *name {
                "at" => {
                    format!("CASE WHEN {column}::text LIKE '%:%' THEN {at} ELSE {column}::text END")
                }
                "b" => format!(
                    "CASE {column}::text WHEN 'true' THEN '1' WHEN 'false' THEN '0' ELSE {column}::text END"
                ),
                _ => format!("{column}::text"),
            }
        };
        let texts: Vec<String> = columns.iter().map(text).collect();
        let sql = format!("SELECT {} FROM posthog.people AS t", texts.join(", "));
        match self.sql(&sql) {
            Ok(rows) => rows.iter().map(|row| as_elsewhere(row)).collect(),
            Err(err) if err.contains("does not exist") => Vec::new(),
            Err(err) => panic!("{err}"),
        }
    }
}

/// A row as the other targets show it: JSON without white space.
fn as_elsewhere(row: &str) -> String {
    let cell = |cell: &str| match cell {
        json if json.starts_with('{') => json.replace("\": ", "\":").replace(", ", ","),
        other => other.to_owned(),
    };
    row.split('|').map(cell).collect::<Vec<_>>().join("|")
}

fn table_rows(path: &Path, columns: &[&str]) -> Vec<String> {
    let db = rusqlite::Connection::open(path).unwrap();
    let texts: Vec<String> = columns
        .iter()
        .map(|name| name.replace('"', "\"\""))
        .map(|name| format!("ifnull(CAST(t.\"{name}\" AS TEXT), '∅')"))
        .collect();
    let sql = format!("SELECT {} FROM posthog_people AS t", texts.join(" || '|' || "));
    match db.prepare(&sql) {
        Ok(mut statement) => {
            statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
        }
        Err(err) if err.to_string().contains("no such table") => Vec::new(),
        Err(err) => panic!("{err}"),
    }
}

/// The files that a folder's manifest lists.
fn listed(folder: &Path) -> Vec<String> {
    let Ok(text) = std::fs::read_to_string(folder.join("_manifest.json")) else { return vec![] };
    let manifest: serde_json::Value = serde_json::from_str(&text).unwrap();
    let name = |file: &serde_json::Value| file["name"].as_str().unwrap().to_owned();
    manifest["files"].as_array().unwrap().iter().map(name).collect()
}

/// The rows of a file.
fn lines_of(file: &Path) -> Vec<Texts> {
    match file.to_str().unwrap() {
        name if name.ends_with(".parquet") => parquet_rows(file),
        name if name.contains(".csv") => csv_rows(&text_of_file(file)),
        _ => text_of_file(file).lines().map(json_line).collect(),
    }
}

fn json_line(line: &str) -> Texts {
    let raw: BTreeMap<String, Box<RawValue>> = serde_json::from_str(line).unwrap();
    raw.iter().map(|(name, raw)| (name.clone(), text_of(raw.get()))).collect()
}

/// Reads a log as its readers are told to: of a key's lines the greatest by time and then
/// by `_hogline_seq`, and columns that a line lacks from the lines before.
fn folder_rows(folder: &Path, columns: &[&str]) -> Vec<String> {
    let mut lines: Vec<(Option<String>, u64, Texts)> = Vec::new();
    for mut line in listed(folder).iter().flat_map(|file| lines_of(&folder.join(file))) {
        let seq = line.remove("_hogline_seq").flatten().map_or(0, |seq| seq.parse().unwrap());
        lines.push((line.get("at").cloned().flatten(), seq, line));
    }
    let id = |line: &Texts| line["id"].clone().unwrap_or_default();
    let gone_at = |(_, seq, line): &(_, u64, Texts)| {
        line.contains_key("_hogline_deleted_at").then(|| (id(line), *seq))
    };
    let gone: Vec<(String, u64)> = lines.iter().filter_map(gone_at).collect();
    lines.retain(|(_, seq, line)| gone.iter().all(|(key, at)| *key != id(line) || at < seq));
    lines.sort_by_key(|(at, seq, _)| (at.clone(), *seq));
    let mut rows: BTreeMap<(u64, Option<String>), Texts> = BTreeMap::new();
    for (_, seq, line) in lines {
        // Textss without a number are of a copy, which has each key once or no key at all.
        let nth = if seq == 0 { rows.len() as u64 } else { 0 };
        let key = line["id"].clone().unwrap_or_default();
        let known = rows.keys().find(|(_, id)| seq > 0 && *id == Some(key.clone())).cloned();
        let row = rows.entry(known.unwrap_or((nth, Some(key)))).or_default();
        row.extend(line);
    }
    let shown = |row: &Texts, name: &&str| match row.get(*name).cloned().flatten() {
        None if *name == "id" => String::new(),
        None => "∅".to_owned(),
        // SQLite has numbers for truth.
        Some(text) if *name == "b" => text.replace("true", "1").replace("false", "0"),
        Some(text) => text,
    };
    let show = |row: &Texts| columns.iter().map(|name| shown(row, name)).collect::<Vec<_>>();
    rows.values().map(|row| show(row).join("|")).collect()
}

/// What SQL would show of a JSON value.
fn text_of(raw: &str) -> Option<String> {
    match raw {
        "null" => None,
        text if text.starts_with('"') => Some(serde_json::from_str(text).unwrap()),
        other => Some(other.to_owned()),
    }
}
