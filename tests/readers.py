"""Holds files against tables: readers see in files what SQLite holds, value by value.

A sandbox is replicated into SQLite, which is the truth here, and into files of every format; more
happens in it, all is replicated again, and then the files are compacted. After both, each reader
reads every folder with the statements of `docs/files.md`, as they stand there, and what it gets is
compared: rows, keys, columns, types, values. The first difference ends it.
"""

import argparse
import csv
import datetime
import decimal
import io
import json
import pathlib
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time

import pyarrow as pa

PAGE = pathlib.Path(__file__).parent.parent / "docs" / "files.md"

# Formats: their target_options, how their files end, what ClickHouse calls them.
FORMATS = {
    "jsonl": ("format: jsonl", "jsonl", "JSONEachRow"),
    "jsonl+gzip": ("format: jsonl, compression: gzip", "jsonl.gz", "JSONEachRow"),
    "jsonl+zstd": ("format: jsonl, compression: zstd", "jsonl.zst", "JSONEachRow"),
    "csv": ("format: csv", "csv", "CSVWithNames"),
    "csv+gzip": ("format: csv, compression: gzip", "csv.gz", "CSVWithNames"),
    "csv+zstd": ("format: csv, compression: zstd", "csv.zst", "CSVWithNames"),
    "parquet": ("format: parquet", "parquet", "Parquet"),
}

PLAIN, DATED, WIDE, MISFIT = "plain", "dated", "wide", "misfit"

# Replications: the streams, as they are written.
REPLICATIONS = {
    PLAIN: {"*": ""},
    DATED: {"events": "{ object: 'posthog.events/{part_date}' }"},
    WIDE: {
        "persons": "{ flatten: true }",
        "events": """
    flatten: { limit: 100 }
    columns:
      serial: { from: properties.$insert_id, type: text }
      big: { from: properties.big, type: bigint }
      price: { from: properties.price, type: numeric }
      amount: { from: properties.amount, type: double }
      plan: { from: [properties, $set, plan], type: text }
      first_seen: { from: [properties, $set_once, first_seen], type: date }
      checkout: { from: [properties, $feature/new-checkout], type: bool }
      cart: { from: properties.cart, type: json }""",
    },
    # No value fits its type; different rows have one, so that files begin without.
    MISFIT: {
        "events": """
    columns:
      emoji: { from: properties.emoji, type: bigint }
      first_seen: { from: [properties, $set_once, first_seen], type: bool }
      escaped: { from: properties.escaped, type: timestamp }
      company: { from: [properties, $groups, company], type: double }""",
    },
}

BOOKKEEPING = {"_hogline_seq": "bigint", "_hogline_deleted_at": "timestamp"}


class Differs(Exception):
    """Something is not as it should be."""


def expect(is_so, what):
    if not is_so:
        raise Differs(what)


# --- What is replicated


class Sandbox:
    """`hogline sandbox`, and the program run in folders of those who replicate it."""

    def __init__(self, hogline, home, events):
        self.hogline = hogline
        command = [hogline, "sandbox", "--listen", "127.0.0.1:0", "--events", str(events)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        while not (line := self.process.stdout.readline()).startswith("export "):
            expect(line, "the sandbox did not start")
        connection = re.search("'{(.*)}'", line).group(1)
        inputs = "inputs: { requests_per_second: 0, safety_lag: 0s }"
        self.environment = {"HOGLINE_HOME": str(home), "POSTHOG": f"{{{connection}, {inputs}}}"}
        discovered = json.loads(self.runs(home, "discover", "--format", "json"))
        self.streams = {stream["stream"]: stream for stream in discovered["streams"]}

    def runs(self, folder, *arguments):
        """Runs a command in a folder; gives what it printed."""
        ran = subprocess.run([self.hogline, *arguments], cwd=folder, env=self.environment,
                             capture_output=True, text=True)
        expect(ran.returncode == 0, f"hogline {' '.join(arguments)}:\n{ran.stdout}{ran.stderr}")
        return ran.stdout

    def lives_on(self):
        """Lets events happen, late ones arrive, and records change and go."""
        self.process.send_signal(signal.SIGUSR1)
        print(self.process.stdout.readline().strip(), flush=True)
        # Its clock has whole seconds, and a run reads up to the last one that is over.
        time.sleep(2)

    def stops(self):
        self.process.terminate()
        self.process.wait()


class Replication:
    """A replication into one place: tables, or files of one format."""

    def __init__(self, sandbox, name, folder, target, options=""):
        self.sandbox, self.name, self.folder = sandbox, name, folder
        folder.mkdir(parents=True)
        streams = REPLICATIONS[name]
        if not options:
            streams = {stream: "" if "part_date" in text else text for stream, text in streams.items()}
        (folder / "replication.yaml").write_text(
            f"source: POSTHOG\ntarget: {target}\n"
            f"defaults: {{ mode: incremental, delete_missing: soft, {options}"
            " object: 'posthog.{stream_name}' }\nstreams:\n"
            + "".join(f"  '{stream}': {text}\n" for stream, text in streams.items())
        )
        self.streams = list(sandbox.streams if name == PLAIN else streams)

    def does(self, command, *options):
        self.sandbox.runs(self.folder, command, "-r", "replication.yaml", *options)

    def table(self, stream):
        """What the table of a stream holds."""
        spec = self.sandbox.streams[stream]
        types = {column["name"]: column["type"] for column in spec["columns"]}
        changes = self.sandbox.runs(self.folder, "state", "schema", "--format", "json")
        for change in json.loads(changes)["changes"]:
            if change["stream"] == stream:
                types[change["column"]] = change["after"]
        if self.name == MISFIT:
            types.update(dict.fromkeys(("emoji", "first_seen", "escaped", "company"), "text"))
        found = sqlite3.connect(self.folder / "tables.db").execute(f"SELECT * FROM posthog_{stream}")
        names = [column[0] for column in found.description]
        rows = [dict(zip(names, row)) for row in found]
        rows = [row for row in rows if row.pop("_hogline_deleted_at", None) is None]
        return Table(spec["primary_key"], types, rows)


class Table:
    """Rows as they should be: by key, each value in a form that can be compared."""

    def __init__(self, key, types, rows):
        self.key, self.types, self.rows = key, types, {}
        for row in rows:
            row = {name: comparable(value, types[name]) for name, value in row.items()}
            self.rows[tuple(row[name] for name in key)] = row

    def judge(self, found):
        """Sees that an Arrow table holds these rows."""
        names = [name for name in found.column_names if name not in {*BOOKKEEPING, "_gone", "_nth"}]
        expect(set(names) <= set(self.types), f"columns that are too many: {set(names) - set(self.types)}")
        for name in names:
            judge_type(name, self.types[name], found.schema.field(name).type)
        columns = [[comparable(value, self.types[name]) for value in values_of(found[name])]
                   for name in names]
        missing = set(self.rows)
        for values in zip(*columns):
            row = dict(zip(names, values))
            key = tuple(row[name] for name in self.key)
            expect(key in self.rows, f"a row is too much: {row}")
            expect(key in missing, f"two rows have the key {key}")
            missing.discard(key)
            for name, value in self.rows[key].items():
                expect(row.get(name) == value,
                       f"`{name}` of {key} is\n  {row.get(name)!r}, and should be\n  {value!r}")
        expect(not missing, f"{len(missing)} rows are missing, {next(iter(missing), None)}")


def judge_type(name, kind, found):
    """Sees that Arrow's type of a column is the one that its own type means."""
    # JSON is a text with a name.
    found = getattr(found, "storage_type", found)
    is_right = {
        "bool": pa.types.is_boolean(found),
        "bigint": found == pa.int64(),
        "double": found == pa.float64(),
        "date": found == pa.date32(),
        "timestamp": found == pa.timestamp("us", "UTC"),
    }.get(kind, pa.types.is_string(found) or pa.types.is_large_string(found))
    expect(is_right, f"`{name}`, a {kind}, is read as {found}")


def values_of(column):
    """The values of an Arrow column; instants in microseconds, which lose nothing."""
    return (column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column).to_pylist()


def comparable(value, kind):
    """A value of a table or a reader, in one form for both."""
    if value is None:
        return None
    if kind == "timestamp" and isinstance(value, str):
        epoch = datetime.datetime.fromtimestamp(0, datetime.UTC)
        return (datetime.datetime.fromisoformat(value) - epoch) // datetime.timedelta(microseconds=1)
    if kind == "date":
        return str(value)
    if kind == "bool":
        return bool(value)
    if kind == "numeric":
        return decimal.Decimal(str(value))
    if kind == "json":
        try:
            return json.dumps(json.loads(value), sort_keys=True)
        except json.JSONDecodeError:
            # Some readers take a JSON string out of its quotes.
            return json.dumps(value)
    return value


# --- Who reads


class Files:
    """A stream's files, and the statements that read them."""

    blocks = dict(re.findall(r"<!-- ([a-z ]+) -->\n```[a-z]+\n(.*?)```", PAGE.read_text(), re.DOTALL))

    def __init__(self, replication, stream, form):
        self.stream, self.form = stream, form
        self.kind = form.split("+")[0]
        self.has_misfits = replication.name == MISFIT
        self.folder = replication.folder / "out" / "posthog" / stream
        manifest = json.loads((self.folder / "_manifest.json").read_text())
        self.names = [file["name"] for file in manifest["files"]]
        self.rows = sum(file["rows"] for file in manifest["files"])
        # Is not listed: nobody may read it.
        first = self.folder / self.names[0]
        shutil.copyfile(first, first.with_name(f"unlisted.{FORMATS[form][1]}"))
        # Of events, but for columns that only some have, the page's own words are read.
        self.is_on_page = stream == "events" and replication.name in (PLAIN, DATED)

    def statement(self, name, key, listed=None, columns=None):
        """A statement of the page, with these files' words for those of events; the `columns` for
        what the page has in the place of the pattern `listed`."""
        text = self.blocks[name]
        if listed and not self.is_on_page:
            text, found = re.subn(listed, lambda _: columns, text, flags=re.DOTALL)
            expect(found == 1, f"the statement `{name}` has {found} lists of columns")
        _, end, clickhouse = FORMATS[self.form]
        words = {
            "out/posthog/events": str(self.folder),
            "event_date, id, event, distinct_id": ", ".join(key),
            ".parquet', Parquet,": f".{end}', {clickhouse},",
        }
        if self.stream != "events":
            words["created_at DESC NULLS LAST, timestamp DESC NULLS LAST, "] = ""
        for old, new in words.items():
            text = text.replace(old, new)
        return text

    def header(self):
        """The columns that some of the files have, where they are CSV."""
        names = set()
        for name in self.names:
            with pa.input_stream(str(self.folder / name)) as file:
                names.update(next(csv.reader(io.TextIOWrapper(file, "utf-8", newline=""))))
        return names


class DuckDB:
    """DuckDB, in the process."""

    types = {"bool": "BOOLEAN", "bigint": "BIGINT", "double": "DOUBLE", "date": "DATE",
             "timestamp": "TIMESTAMPTZ", "json": "JSON"}
    listed = r"(?<=\{\n).*?(?=\})"

    def __init__(self):
        import duckdb
        self.version = f"DuckDB {duckdb.__version__}"
        self.database = duckdb.connect()
        self.database.execute("SET TimeZone = 'UTC'")

    def opens(self, files, table):
        types = {**table.types, **BOOKKEEPING}
        if files.kind == "csv":
            header = files.header()
            types = {name: kind for name, kind in types.items()
                     if name in header and kind in self.types and kind != "json"}
            types.pop("_hogline_deleted_at", None)
        columns = ", ".join(f"""'{name}': '{self.types.get(kind, "VARCHAR")}'"""
                            for name, kind in types.items())
        self.database.execute(files.statement("duckdb files", table.key))
        listed = None if files.kind == "parquet" else self.listed
        self.database.execute(files.statement(f"duckdb {files.kind}", table.key, listed, columns))

    def asked(self, sql):
        return self.database.sql(sql).to_arrow_table()


class ClickHouse:
    """ClickHouse, in the process, as chdb."""

    types = {"bool": "Bool", "bigint": "Int64", "double": "Float64", "date": "Date32",
             "timestamp": "DateTime64(6, 'UTC')"}
    listed = r"(?<=Parquet, '\n).*?(?=\n'\))"

    def __init__(self):
        import chdb.session
        self.session = chdb.session.Session()
        self.version = f"ClickHouse {self.asked('SELECT version() AS v')['v'][0]}"

    def opens(self, files, table):
        if files.kind == "parquet" and not files.has_misfits:
            self.judge_types(files, table)
        types = {**table.types, **BOOKKEEPING}
        spelt = ", ".join(f"`{name}` Nullable({self.type_of(kind)})" for name, kind in types.items())
        columns = spelt.replace("\\", "\\\\").replace("'", "\\'")
        self.session.query(files.statement("clickhouse", table.key, self.listed, columns))

    def type_of(self, kind):
        return self.types.get(kind, "String")

    def judge_types(self, files, table):
        """The types that ClickHouse finds by itself."""
        described = self.asked(
            f"DESCRIBE file('{files.folder}/**/*.parquet') SETTINGS schema_inference_mode = 'union'"
        )
        for name, found in zip(described["name"].to_pylist(), described["type"].to_pylist()):
            kind = {**table.types, **BOOKKEEPING}[name]
            expect(found == f"Nullable({self.type_of(kind)})", f"`{name}`, a {kind}, is taken for {found}")

    def asked(self, sql):
        return pa.ipc.open_file(self.session.query(sql, "Arrow").bytes()).read_all()


class Spark:
    """Spark, on one machine."""

    types = {"bool": "BOOLEAN", "bigint": "BIGINT", "double": "DOUBLE", "date": "DATE",
             "timestamp": "TIMESTAMP"}
    listed = r'(?<=columns = """\n).*?(?=""")'

    def __init__(self):
        from pyspark.sql import SparkSession
        builder = SparkSession.builder.master("local[*]")
        for name, value in {
            "spark.ui.enabled": "false",
            "spark.ui.showConsoleProgress": "false",
            "spark.log.level": "OFF",
            "spark.sql.shuffle.partitions": "2",
            "spark.sql.session.timeZone": "UTC",
        }.items():
            builder = builder.config(name, value)
        self.spark = builder.getOrCreate()
        self.version = f"Spark {self.spark.version}"

    def opens(self, files, table):
        types = {**table.types, **BOOKKEEPING}
        columns = ", ".join(f"`{name}` {self.types.get(kind, 'STRING')}" for name, kind in types.items())
        names = {"spark": self.spark}
        exec(files.statement("spark files", table.key, self.listed, columns), names)
        exec(files.statement(f"spark {files.kind}", table.key), names)

    def refuses(self, files, table):
        """As the page has it: numbers and texts are not merged."""
        try:
            self.opens(files, table)
        except Exception as err:
            expect("CANNOT_MERGE_SCHEMAS" in str(err), f"it is refused in other words: {err}")
        else:
            expect(False, "Spark merges numbers and texts: the page says otherwise")

    def asked(self, sql):
        return self.spark.sql(sql).toArrow()


READERS = {"duckdb": DuckDB, "clickhouse": ClickHouse, "spark": Spark}


# --- The check


def check(reader, replication, form, tables):
    """Reads all streams of a replication; gives how many rows there were in the files, how many of
    them say that a key is gone, and how many rows the keys that are there amount to."""
    rows, gone, keys = 0, 0, 0
    for stream in replication.streams:
        table, files = tables[replication.name, stream], Files(replication, stream, form)
        try:
            if files.has_misfits and form == "parquet" and isinstance(reader, Spark):
                reader.refuses(files, table)
                continue
            reader.opens(files, table)
            counts = "SELECT count(*) AS found, count(_hogline_deleted_at) AS gone FROM events_log"
            counted = reader.asked(counts).to_pylist()[0]
            expect(counted["found"] == files.rows, f"{counted} rows for {files.rows} in the manifest")
            table.judge(reader.asked(files.statement("newest", table.key)))
        except Exception as err:
            err.add_note(f"in {reader.version}, {form}, {replication.name}, {stream}: {files.folder}")
            raise
        rows, gone, keys = rows + files.rows, gone + counted["gone"], keys + len(table.rows)
    return rows, gone, keys


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hogline", required=True, type=pathlib.Path)
    parser.add_argument("--readers", default=",".join(READERS))
    parser.add_argument("--formats", default=",".join(FORMATS))
    parser.add_argument("--events", default=3000, type=int)
    parser.add_argument("--folder", type=pathlib.Path, help="where to leave the files")
    options = parser.parse_args()
    readers = [READERS[name]() for name in options.readers.split(",")]
    forms = options.formats.split(",")
    temporary = tempfile.TemporaryDirectory(prefix="hogline-readers-")
    folder = options.folder or pathlib.Path(temporary.name)
    sandbox = Sandbox(options.hogline.resolve(), folder, options.events)
    try:
        compare(sandbox, folder, forms, readers)
    finally:
        sandbox.stops()


def compare(sandbox, folder, forms, readers):
    tables = [Replication(sandbox, name, folder / "tables" / name, "sqlite://tables.db")
              for name in REPLICATIONS]
    files = {}
    for form in forms:
        written = f"target_options: {{ {FORMATS[form][0]} }},"
        files[form] = [Replication(sandbox, name, folder / form / name, "file://out", written)
                       for name in REPLICATIONS]
    everything = [*tables, *(replication for some in files.values() for replication in some)]
    for replication in everything:
        # Rows of a full copy have no numbers.
        mode = "full-refresh" if replication.name == DATED else "incremental"
        replication.does("run", "--mode", mode)
    sandbox.lives_on()
    for replication in everything:
        replication.does("run")
    truth = {(replication.name, stream): replication.table(stream)
             for replication in tables for stream in replication.streams}
    for is_compacted in (False, True):
        for form, replications in files.items():
            for replication in replications if is_compacted else []:
                replication.does("compact")
            for reader in readers:
                checked = [check(reader, each, form, truth) for each in replications]
                rows, gone, keys = map(sum, zip(*checked))
                when = "compacted" if is_compacted else "after two runs"
                print(f"{form}, {when}: {reader.version} reads {rows} rows, of which {gone} say that"
                      f" a key is gone, as the {keys} of the tables", flush=True)
                is_log = gone > 0 and rows > keys + gone
                expect(rows == keys if is_compacted else is_log, "that is no test of a log")


if __name__ == "__main__":
    try:
        main()
    except Differs as difference:
        sys.exit("\n".join([*getattr(difference, "__notes__", []), str(difference)]))
