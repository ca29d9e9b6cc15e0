"""Holds the schema of replication files against those that this repository shows, and against hogline.

Every replication in the documentation, the recipes and the tests has to be valid, and so has every
example that `docs/from-sling.md` says yes to; those it says no to must not be. Of the files below,
which differ from a good one in a value, schema and program have to say the same.
"""

import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import textwrap

import jsonschema
import yaml

ROOT = pathlib.Path(__file__).parent.parent

# What is put into a stream.
GOOD = [
    "mode: incremental",
    "mode: ${MODE}",
    "mode: ~",
    "select: [id, -properties]",
    "select: 'id, event'",
    "select: 5",
    "lookback: 500ms",
    "lookback: 3d",
    "lookback: ${SPAN}",
    "delete_missing: hard",
    "columns: { a: Integer, b: string, c: { from: properties.x }, d: { from: [properties, 'a.b'], type: jsonb } }",
    "flatten: true",
    "flatten: ${YES}",
    "flatten: { limit: 100 }",
    "flatten: {}",
    "transforms: hash",
    "transforms: [trim_space]",
    "transforms: { elements_chain: lower, properties.$ip: [mask], '*': [trim] }",
    "where: event = 'x'",
    "tags: [a, 1]",
    "description: ''",
    "disabled: false",
    "source_options: { read: rest, page_size: 50000, limit: 1, range: '2026-01-01, 2026-02-01' }",
    "source_options: ~",
    "target_options: { format: jsonlines, compression: gzip, table_keys: { primary: id } }",
    "target_options: { file_max_rows: 1, file_max_bytes: 1 }",
    "target_options: { adjust_column_type: true }",
    "target_options: { column_casing: snake }",
    "target_options: { add_new_columns: false, pre_sql: SELECT 1, post_sql: ~ }",
    "",
]
BAD = [
    "mod: incremental",
    "mode: increment",
    "mode: [incremental]",
    "object: [a]",
    "object: { a: b }",
    "select: { a: b }",
    "select: ['']",
    "select: [[a]]",
    "lookback: 3",
    "lookback: 3 d",
    "lookback: 1.5h",
    "delete_missing: true",
    "columns: [a]",
    "columns: { a: bigit }",
    "columns: { a: }",
    "columns: { a: { type: text } }",
    "columns: { a: { from: p } }",
    "columns: { a: { from: p..x } }",
    "columns: { a: { from: [p] } }",
    "columns: { a: { form: p.x } }",
    "flatten: maybe",
    "flatten: 'true'",
    "flatten: { limit: 0 }",
    "flatten: { limit: 1001 }",
    "flatten: { limt: 5 }",
    "transforms: shout",
    "transforms: { a: [shout] }",
    "transforms: { a: }",
    "transforms: { a..b: hash }",
    "transforms: [[hash]]",
    "where: [a]",
    "disabled: maybe",
    "sql: SELECT 1",
    "source_options: { read: graphql }",
    "source_options: { page_size: 0 }",
    "source_options: { page_size: 50001 }",
    "source_options: { page_size: '5' }",
    "source_options: { limit: 0 }",
    "source_options: { limit: 1.5 }",
    "source_options: { range: yesterday }",
    "source_options: { lookback: soon }",
    "source_options: { pagesize: 5 }",
    "source_options: [read]",
    "target_options: { format: avro }",
    "target_options: { compression: lzma }",
    "target_options: { table_keys: { primry: id } }",
    "target_options: { table_keys: [id] }",
    "target_options: { add_new_columns: maybe }",
    "target_options: { file_max_rows: 0 }",
    "target_options: { adjust_column_type: false }",
    "target_options: { column_casing: upper }",
]
# Whole files.
GOOD_FILES = [
    "{ source: S, target: T, env: { A: 1, B: , C: x }, streams: { '*': } }",
    "{ source: S, target: T, env: , defaults: , streams: { '*_definitions': { mode: truncate } } }",
    "{ source: S, target: T, hooks: , streams: { events: } }",
    "{ source: S, target: T, hooks: { start: [{ type: log, message: a, on_failure: warn }], end: "
    "[{ type: command, command: [true, x] }, { type: command, command: 'true' }, "
    "{ type: http, url: 'http://h', method: post, payload: x }] }, streams: { events: } }",
    "{ source: S, target: T, streams: { mine: { sql: SELECT 1, primary_key: a } } }",
]
BAD_FILES = [
    "{}",
    "[]",
    "{ source: S, target: T }",
    "{ source: S, target: T, streams: }",
    "{ source: S, target: T, streams: {} }",
    "{ source: S, target: T, streams: [events] }",
    "{ source: , target: T, streams: { events: } }",
    "{ source: '', target: T, streams: { events: } }",
    "{ sorce: S, target: T, streams: { events: } }",
    "{ source: S, target: T, env: [A], streams: { events: } }",
    "{ source: S, target: T, env: { A: [1] }, streams: { events: } }",
    "{ source: S, target: T, env: { SLING_ROW_NUM_COLUMN: true }, streams: { events: } }",
    "{ source: S, target: T, defaults: { sql: SELECT 1 }, streams: { events: } }",
    "{ source: S, target: T, streams: { 'e*': { sql: SELECT 1 } } }",
    "{ source: S, target: T, streams: { events: x } }",
    *(
        f"{{ source: S, target: T, hooks: {hooks}, streams: {{ events: }} }}"
        for hooks in (
            "[]",
            "{ middle: [] }",
            "{ end: [{ message: a }] }",
            "{ end: [{ type: query, query: SELECT 1 }] }",
            "{ end: [{ type: log }] }",
            "{ end: [{ type: log, message: a, url: b }] }",
            "{ end: [{ type: log, message: a, on_failure: retry }] }",
            "{ end: [{ type: command, command: [] }] }",
            "{ end: [{ type: http, url: 'http://h', method: GET }] }",
        )
    ),
]


class Loader(yaml.SafeLoader):
    """YAML 1.2 as editors read it: times and `yes` are texts."""


Loader.yaml_implicit_resolvers = {
    first: [(tag, words) for tag, words in resolvers if not tag.endswith((":timestamp", ":bool"))]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile("^(true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)


def load(text):
    """What a text says. Braces in a flow map take quotes there, which hogline does without."""
    text = re.sub(r"(?<=[:,{] )([\w./]*\{\w+\}[\w./{}]*)(?= *[,}])", r'"\1"', text)
    text = re.sub(r"(?<=: )(\$\{\w+\})", r'"\1"', text)
    return yaml.load(text, Loader)


def shown():
    """Every replication that the repository shows, with where."""
    yield "replication.example.yaml", (ROOT / "replication.example.yaml").read_text()
    for path in sorted((ROOT / "tests/replication/sling").glob("*.yaml")):
        if not path.read_text().startswith("# Refused"):
            yield path.name, path.read_text()
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    for page in pages:
        fences = re.findall(r"^( *)```yaml\n(.*?)^ *```", page.read_text(), re.M | re.S)
        for _, fence in fences:
            text = textwrap.dedent(fence)
            said = load(text) or {}
            if "streams" in said:
                yield page.name, text
            elif said and "connections" not in said and "groups" not in said:
                # A part of one: hooks, or streams alone.
                if "hooks" in said:
                    text += "streams: { events: }\n"
                else:
                    text = "streams:\n" + textwrap.indent(text, "  ")
                yield page.name, "source: S\ntarget: T\n" + text
    manifest = (ROOT / "recipes/kubernetes.yaml").read_text()
    for document in yaml.safe_load_all(manifest):
        for name, text in (document.get("data") or {}).items():
            if name.startswith("replication"):
                yield f"kubernetes.yaml: {name}", text


def of_sling():
    """The rows of the page for Sling's users: a file, and whether it is one of hogline's."""
    rows = re.findall(
        r"^\| (\w+) \| `(.*?)` \| (yes|no)\b", (ROOT / "docs/from-sling.md").read_text(), re.M
    )
    for place, example, told in rows:
        root, stream = "", example
        if place == "root":
            root, stream = example + "\n", ""
        elif place != "stream":
            stream = f"{place}: {{ {example} }}"
        name = "query" if example.startswith("sql:") else "events"
        if name == "query":
            stream += ", primary_key: a"
        yield f"{root}source: S\ntarget: T\nstreams: {{ {name}: {{ {stream} }} }}\n", told == "yes"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--hogline", required=True)
    hogline = os.path.abspath(parser.parse_args().hogline)
    printed = subprocess.run([hogline, "schema", "replication"], capture_output=True, check=True)
    schema = json.loads(printed.stdout)
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)

    def of_schema(text):
        return next((error.message for error in validator.iter_errors(load(text))), None)

    def of_program(text):
        """What `hogline` has to say of the file itself, if anything; it gets no further than that."""
        with tempfile.TemporaryDirectory() as folder:
            pathlib.Path(folder, "r.yaml").write_text(text)
            surroundings = {
                "HOME": folder,
                "S": "{ type: api, spec: posthog, secrets: { api_key: phx_1, project_id: 1, "
                "host: 'http://127.0.0.1:9' }, inputs: { retry_wait: 0s } }",
                "T": "sqlite://t.db", "POSTHOG": "", "MODE": "truncate", "SPAN": "2d", "YES": "true",
            }
            command = [hogline, "run", "-r", "r.yaml", "--dry-run"]
            ran = subprocess.run(
                command, cwd=folder, env=surroundings, capture_output=True, text=True
            )
        return ran.stderr if "configuration is not right" in ran.stderr else None

    failed = 0

    def check(where, text, is_good, asks_program):
        nonlocal failed
        judges = [("the schema", of_schema)] + [("hogline", of_program)] * asks_program
        for name, judge in judges:
            told = judge(text)
            if (told is None) != is_good:
                failed += 1
                print(f"{where}: {name} says {told or 'nothing'} of\n{text}\n")

    examples = list(shown())
    for where, text in examples:
        check(where, text, True, False)
    rows = list(of_sling())
    for text, is_good in rows:
        check("docs/from-sling.md", text, is_good, True)
    files = [
        (f"source: S\ntarget: T\nstreams:\n  events: {{ {stream} }}\n", is_good)
        for streams, is_good in ((GOOD, True), (BAD, False))
        for stream in streams
    ]
    files += [(text + "\n", True) for text in GOOD_FILES] + [(text + "\n", False) for text in BAD_FILES]
    for text, is_good in files:
        check("tests/schema.py", text, is_good, True)
    print(f"{len(examples)} examples, {len(rows)} rows, {len(files)} files: {failed} differ")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
