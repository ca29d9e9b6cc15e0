//! What PostgreSQL tables do beyond what every target must.

mod current;
mod faults;

use super::*;
use crate::cursor::{Copying, Position};
use crate::schema::{Column, ColumnType, Origin};
use crate::target::cluster::Cluster;
use crate::target::{self, Place};

fn schema_of(columns: &[(&str, ColumnType)]) -> Arc<Schema> {
    let column = |(name, kind): &(&str, ColumnType)| Column {
        name: (*name).into(),
        kind: *kind,
        origin: Origin::Field,
    };
    let columns = columns.iter().map(column).collect();
    Arc::new(Schema { columns, primary_key: vec![0], ..Schema::default() })
}

fn schema() -> Arc<Schema> {
    schema_of(&[("id", ColumnType::Text), ("name", ColumnType::Text)])
}

fn key() -> StreamKey {
    let [origin, project, stream, object] = ["o", "1", "s", "t"].map(str::to_owned);
    StreamKey { origin, project, stream, object }
}

fn checkpoint(sequence: u64) -> Checkpoint {
    Checkpoint {
        key: key(),
        epoch: "e".into(),
        sequence,
        position: Position::default(),
        witnesses: vec![],
    }
}

fn open(url: &str, object: &str, schema: &Arc<Schema>) -> Result<Box<dyn Target>, TargetError> {
    let place = Place::Postgres(Box::new(Postgres::at(url)));
    target::open(
        &place,
        &Opening { key: &key(), object, schema: Arc::clone(schema), layout: Default::default() },
    )
}

fn batch(schema: &Arc<Schema>, rows: &str) -> Batch {
    let answer = format!(r#"{{"results":[{rows}]}}"#);
    Batch::of_results(Arc::clone(schema), &answer).unwrap().unwrap()
}

/// Goes on with the table `posthog.t`: loads rows, one a page, the first of them numbered 1.
fn load_pages(url: &str, load: Load, pages: &[&str]) -> Result<(), TargetError> {
    let mut target = open(url, "posthog.t", &schema())?;
    let done = match target.recall()? {
        Recall::Nothing => 0,
        Recall::Found(found) if load == Load::Merge => found.sequence,
        Recall::Found(_) => 0,
        damaged @ Recall::Damaged(..) => panic!("{damaged:?}"),
    };
    target.begin(load)?;
    let copying = Copying { begun: Timestamp::from_micros(0), staged: true };
    let copying = (load == Load::Replace).then_some(copying);
    let position = Position { copying, ..Position::default() };
    for (n, page) in (1..).zip(pages).filter(|(n, _)| *n > done) {
        target.write(&batch(&schema(), page))?;
        target.commit(&Checkpoint { position: position.clone(), ..checkpoint(n) })?;
    }
    target.publish(&checkpoint(pages.len() as u64 + 1))
}

fn load(cluster: &Cluster, load: Load, row: &str) -> Result<(), TargetError> {
    load_as(cluster, &schema(), load, row)
}

fn load_as(
    cluster: &Cluster,
    schema: &Arc<Schema>,
    load: Load,
    row: &str,
) -> Result<(), TargetError> {
    let mut target = open(&cluster.url(), "posthog.t", schema)?;
    target.begin(load)?;
    target.write(&batch(schema, row))?;
    target.publish(&checkpoint(1))
}

/// As the owner of the tables, not as the superuser.
const AS_LOADER: &str = "SET ROLE loader; CREATE SCHEMA IF NOT EXISTS posthog;";

fn prepared(sql: &str) -> Cluster {
    let cluster = Cluster::start();
    cluster.sql(&format!("{AS_LOADER} {sql}; RESET ROLE"));
    cluster
}

#[test]
fn what_hangs_on_a_table_survives_a_full_copy() {
    let cluster = prepared(
        "CREATE TABLE posthog.t (id text PRIMARY KEY, name text, mine text DEFAULT 'm');
         INSERT INTO posthog.t VALUES ('a', 'old'); COMMENT ON TABLE posthog.t IS 'ours';
         CREATE INDEX by_name ON posthog.t (lower(name)) WHERE name > 'a';
         CREATE TABLE posthog.log (line text);
         CREATE FUNCTION posthog.watch() RETURNS trigger LANGUAGE plpgsql AS
           'BEGIN INSERT INTO posthog.log VALUES (new.id); RETURN new; END';
         CREATE TRIGGER watch AFTER INSERT ON posthog.t FOR EACH ROW EXECUTE FUNCTION posthog.watch();
         RESET ROLE; CREATE ROLE analyst; SET ROLE loader;
         GRANT SELECT ON posthog.t TO analyst; GRANT UPDATE (mine) ON posthog.t TO PUBLIC;",
    );
    let about =
        "SELECT 'index', indexdef FROM pg_indexes WHERE schemaname = 'posthog' AND tablename = 't'
        UNION ALL SELECT 'grants', relacl::text || obj_description(oid, 'pg_class') || relowner
          FROM pg_class WHERE oid = 'posthog.t'::regclass
        UNION ALL SELECT 'column', attname || ' ' || atttypid::regtype || coalesce(attacl::text, '')
          FROM pg_attribute WHERE attrelid = 'posthog.t'::regclass AND attnum > 0
        UNION ALL SELECT 'trigger', pg_get_triggerdef(oid) FROM pg_trigger
          WHERE tgrelid = 'posthog.t'::regclass ORDER BY 1, 2";
    let (before, oid) = (cluster.sql(about), cluster.sql("SELECT 'posthog.t'::regclass::oid"));

    load(&cluster, Load::Replace, r#"{"id":"b","name":"copy"}"#).unwrap();
    assert_eq!(cluster.sql("SELECT * FROM posthog.t"), ["b|copy|m"]);
    load(&cluster, Load::Merge, r#"{"id":"c","name":"more"}"#).unwrap();

    assert_eq!(cluster.sql(about), before);
    assert_ne!(cluster.sql("SELECT 'posthog.t'::regclass::oid"), oid, "it was not swapped");
    assert_eq!(cluster.sql("SELECT line FROM posthog.log"), ["c"]);
    assert_eq!(
        cluster.sql("SELECT relname FROM pg_class WHERE relname ~ '_hogline_(old|st)'"),
        [""; 0]
    );
}

#[test]
fn a_table_that_others_depend_on_gets_new_rows_in_place() {
    for dependent in [
        "CREATE VIEW posthog.seen AS SELECT id, mine FROM posthog.t",
        "CREATE TABLE posthog.child (id text REFERENCES posthog.t DEFERRABLE INITIALLY DEFERRED)",
        "ALTER TABLE posthog.t ENABLE ROW LEVEL SECURITY",
        "ALTER TABLE posthog.t ADD UNIQUE (mine)",
    ] {
        let cluster = prepared(&format!(
            "CREATE TABLE posthog.t (id text PRIMARY KEY, mine serial); {dependent};
             INSERT INTO posthog.t VALUES ('a')"
        ));
        let oid = cluster.sql("SELECT 'posthog.t'::regclass::oid");

        load(&cluster, Load::Replace, r#"{"id":"b","name":"copy","new":[1]}"#).unwrap();

        assert_eq!(cluster.sql("SELECT id, name, new FROM posthog.t"), ["b|copy|[1]"]);
        assert_eq!(cluster.sql("SELECT 'posthog.t'::regclass::oid"), oid, "{dependent}");
        load(&cluster, Load::Merge, r#"{"id":"b","name":"new"}"#).unwrap();
        assert_eq!(cluster.sql("SELECT id, name FROM posthog.t"), ["b|new"]);
    }
}

#[test]
fn a_table_with_another_key_is_refused_and_named() {
    for sql in [
        "CREATE TABLE posthog.t (id text, name text, PRIMARY KEY (id, name))",
        "CREATE TABLE posthog.t (id text, name text); CREATE UNIQUE INDEX ON posthog.t (id) WHERE name > 'a'",
        "CREATE TABLE posthog.t (id text, name text); CREATE UNIQUE INDEX ON posthog.t (id, lower(name))",
    ] {
        let cluster = prepared(sql);

        let err = load(&cluster, Load::Merge, r#"{"id":"a","name":"x"}"#).unwrap_err();

        assert!(err.cause.contains("unique by (\"id\")"), "{err}");
        load(&cluster, Load::Replace, r#"{"id":"a","name":"x"}"#).unwrap();
        load(&cluster, Load::Merge, r#"{"id":"a","name":"y"}"#).unwrap();
    }
    let cluster =
        prepared("CREATE TABLE posthog.t (id text); CREATE UNIQUE INDEX ON posthog.t (id)");
    load(&cluster, Load::Merge, r#"{"id":"a"}"#).unwrap();
}

#[test]
fn a_column_becomes_as_wide_as_its_values_and_never_narrower() {
    let cluster = prepared("CREATE TABLE posthog.t (id uuid PRIMARY KEY, n integer, at timestamp)");
    let schema = schema_of(&[
        ("id", ColumnType::Uuid),
        ("n", ColumnType::Bigint),
        ("at", ColumnType::Timestamp),
        ("day", ColumnType::Date),
    ]);
    let id = |n: u8| format!("0190b3c1-0000-7000-8000-00000000000{n}");
    let types = "SELECT string_agg(format_type(atttypid, -1), ' ' ORDER BY attnum)
                 FROM pg_attribute WHERE attrelid = 'posthog.t'::regclass AND attnum > 0";
    let moments = "timestamp without time zone date";
    for (n, value, expected) in [
        (1, "7", "uuid integer"),
        (2, "3000000000", "uuid bigint"),
        (3, "99999999999999999999999999", "uuid numeric"),
        (4, "-7", "uuid numeric"),
        (5, "\"seven\"", "uuid text"),
    ] {
        let row = format!(r#"{{"id":"{}","n":{value},"at":"2026-01-01T10:00:00.5Z"}}"#, id(n));
        load_as(&cluster, &schema, Load::Merge, &row).unwrap();
        assert_eq!(cluster.sql(types), [format!("{expected} {moments}")], "{value}");
    }

    let row = r#"{"id":"none","n":8,"at":"soon","day":"2026-02-03"},{"id":"x","day":"someday"}"#;
    load_as(&cluster, &schema, Load::Merge, row).unwrap();

    assert_eq!(cluster.sql(types), ["text text text text"]);
    let rows = cluster.sql("SELECT id, n, at, day FROM posthog.t ORDER BY n, id DESC");
    let numbers = ["-7", "3000000000", "7", "8", "99999999999999999999999999", "seven", "∅"];
    let shown: Vec<&str> = rows.iter().map(|row| row.split('|').nth(1).unwrap()).collect();
    assert_eq!(shown, numbers);
    assert_eq!(rows[2], format!("{}|7|2026-01-01T10:00:00.500000Z|∅", id(1)));
    assert_eq!(rows[3], "none|8|soon|2026-02-03");
    load_as(&cluster, &schema, Load::Replace, r#"{"id":"y","n":1}"#).unwrap();
    assert_eq!(cluster.sql(types), ["text text text text"], "narrower after a full copy");
}

#[test]
fn any_name_can_be_a_table_or_a_column() {
    let cluster = Cluster::start();
    let (table, field) = ("t".repeat(80), "é\"".repeat(40));
    let schema = schema_of(&[("id", ColumnType::Text), (&field, ColumnType::Text)]);
    for load in [Load::Merge, Load::Replace, Load::Merge] {
        let object = format!("{}.{table}", "s".repeat(70));
        let mut target = open(&cluster.url(), &object, &schema).unwrap();
        target.begin(load).unwrap();
        let row = r#"{"id":"a","xmin":1,"":2,"a\nb":3,"Id":4}"#;
        target.write(&batch(&schema, row)).unwrap();
        target.publish(&checkpoint(1)).unwrap();
    }
    let shape = "SELECT count(*), max(octet_length(attname::text)) <= 63 FROM pg_attribute
                 JOIN pg_class ON pg_class.oid = attrelid WHERE relname ~ '^ttt' AND relkind = 'r'
                 AND attnum > 0 AND relname LIKE 't%'";
    assert_eq!(cluster.sql(shape), ["6|t"]);
}

#[test]
fn fields_that_would_be_one_column_are_refused_before_anything_is_made() {
    let cluster = Cluster::start();
    let long = "x".repeat(64);
    let schema = schema_of(&[
        ("id", ColumnType::Text),
        (&long, ColumnType::Text),
        (&name::column(&long), ColumnType::Text),
    ]);

    let err = load_as(&cluster, &schema, Load::Merge, r#"{"id":"a"}"#).unwrap_err();

    assert!(err.cause.contains("would be one column") && err.hint.contains("select"), "{err:?}");
    assert_eq!(cluster.sql("SELECT 1 FROM pg_namespace WHERE nspname = 'posthog'"), [""; 0]);
}

#[test]
fn what_cannot_be_written_is_refused_when_opened() {
    let cluster =
        prepared("CREATE VIEW posthog.v AS SELECT 1 AS id; CREATE TABLE posthog.theirs (id text)");
    cluster.sql("CREATE SCHEMA closed; CREATE SCHEMA half; GRANT USAGE ON SCHEMA half TO loader;
                 ALTER TABLE posthog.theirs OWNER TO postgres; GRANT CREATE ON SCHEMA half TO loader",
    );
    cluster.sql("CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0");
    let url = cluster.url();
    let refused = |url: &str, object: &str| {
        let err = open(url, object, &schema()).err().unwrap_or_else(|| panic!("{url} {object}"));
        assert!(!format!("{err:?}").contains("pw of"), "{err:?}");
        format!("{} {}", err.cause, err.hint)
    };
    for (object, told) in [
        ("posthog.v", "a view"),
        ("posthog.theirs", "GRANT SELECT, INSERT, UPDATE, DELETE ON \"posthog\".\"theirs\""),
        ("closed.t", "GRANT USAGE, CREATE ON SCHEMA \"closed\""),
        ("a.b.c", "neither `schema.table` nor `table`"),
        ("posthog._hogline_checkpoints", "not free"),
    ] {
        assert!(refused(&url, object).contains(told), "{object}: {}", refused(&url, object));
    }
    drop(open(&url, "half.t", &schema()).unwrap());
    for (url, told) in [
        (url.replace("loader:pw", "loader:no"), "check user and password"),
        (url.replace("/lake", "/pond"), "create the database"),
        (url.replace("/lake", "/latin"), "LATIN1"),
        (url.clone() + "?sslmode=require", "sslmode"),
        (url.clone() + "?sslmode=verify-full&sslrootcert=/nowhere.pem", "/nowhere.pem"),
        (url.replace(&cluster.port.to_string(), "1"), "check host and port"),
    ] {
        assert!(refused(&url, "t").contains(told), "{told}: {}", refused(&url, "t"));
    }
    cluster.sql("ALTER ROLE loader SET default_transaction_read_only = on");
    assert!(refused(&url, "t").contains("read only"));
}

#[test]
fn a_server_killed_before_a_commit_has_forgotten_the_page_and_nothing_else() {
    let mut cluster = Cluster::start();
    load(&cluster, Load::Merge, r#"{"id":"a"}"#).unwrap();
    let mut target = open(&cluster.url(), "posthog.t", &schema()).unwrap();
    target.begin(Load::Merge).unwrap();
    target.write(&batch(&schema(), r#"{"id":"b"}"#)).unwrap();

    cluster.is_killed_and_starts_again();

    target.commit(&checkpoint(2)).unwrap_err();
    drop(target);
    let mut target = open(&cluster.url(), "posthog.t", &schema()).unwrap();
    assert_eq!(target.recall().unwrap(), Recall::Found(checkpoint(1)));
    assert_eq!(cluster.sql("SELECT id FROM posthog.t"), ["a"]);
}

#[test]
fn only_a_server_that_is_trusted_is_written_to() {
    let cluster = Cluster::start_with_certificate();
    let named = cluster.url().replace("127.0.0.1", "localhost");
    let (ca, other) = (cluster.certificate("ca"), cluster.certificate("other"));
    for (url, mode, trusts) in [
        (&named, "disable".to_owned(), true),
        (&named, "prefer".to_owned(), true),
        (&named, "require".to_owned(), true),
        (&named, format!("require&sslrootcert={other}"), false),
        (&named, "verify-full".to_owned(), false),
        (&named, format!("verify-full&sslrootcert={ca}"), true),
        (&named, format!("verify-full&sslrootcert={other}"), false),
        (&cluster.url(), format!("verify-full&sslrootcert={ca}"), false),
        (&cluster.url(), format!("verify-ca&sslrootcert={ca}"), true),
        (&cluster.url(), format!("verify-ca&sslrootcert={other}"), false),
    ] {
        let opened = open(&format!("{url}?sslmode={mode}"), "t", &schema());
        assert_eq!(opened.is_ok(), trusts, "{mode}: {:?}", opened.err());
    }
    let mut target = PostgresTarget::open(
        &Postgres::at(&format!("{named}?sslmode=verify-full&sslrootcert={ca}")),
        &Opening { key: &key(), object: "t", schema: schema(), layout: Default::default() },
    )
    .unwrap();
    let sql = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    let encrypted =
        target.ask(async |client, _| Ok(client.query_one(sql, &[]).await?.get::<_, bool>(0)));
    assert!(encrypted.unwrap());
}
