//! Reading one way to read a stream: what its `paging` needs, and nothing else.

use std::time::Duration;

use super::endpoint::{
    Chunks, CursorWindow, Join, Keyset, Offset, Paging, Pass, ReadPath, Since, SinceBy, TimeWindow,
};
use super::registry::{BURST, owned};
use crate::config::{Complaints, Fields, Node};
use crate::record::split::Layout;

/// Where PostHog answers SQL.
pub(crate) const QUERY_URL: &str = "/api/projects/{project_id}/query/";

/// The member of an answer that holds the records, where a spec does not say.
const RECORDS: &str = "results";

#[derive(Debug, Clone, Copy)]
enum Kind {
    Whole,
    Offset,
    TimeWindow,
    Cursor,
    Keyset,
}

const KINDS: [(&str, Kind); 5] = [
    ("whole", Kind::Whole),
    ("offset", Kind::Offset),
    ("time_window", Kind::TimeWindow),
    ("cursor", Kind::Cursor),
    ("keyset", Kind::Keyset),
];

/// Reads an entry of `read`.
pub(super) fn read_path(
    node: &Node,
    quota: &[String],
    complaints: &Complaints,
) -> Option<ReadPath> {
    let mut fields = Fields::of(node, "read[0]", complaints);
    let name = fields.text("path");
    fields.required("paging");
    let kind = fields.opt_choice("paging", "way of paging", &KINDS);
    let own_quota = owned(fields.opt_texts("quota"));
    let quota = counters(if own_quota.is_empty() { quota } else { &own_quota });
    let (url, paging) = match kind {
        Some(Kind::Keyset) => {
            (QUERY_URL.to_owned(), Some(Paging::Keyset(Box::new(keyset(&mut fields)))))
        }
        kind => (fields.text("url"), kind.map(|kind| list(kind, &mut fields))),
    };
    let path = ReadPath {
        name,
        quota,
        url,
        params: pairs(&mut fields, "params"),
        layout: match fields.opt_text("records").unwrap_or(RECORDS) {
            "." => Layout::Single,
            member => Layout::Rows(member.to_owned()),
        },
        leave_out: owned(fields.opt_texts("leave_out")),
        sorted: owned(fields.opt_texts("sorted")),
        drifting: owned(fields.opt_texts("drifting")),
        add_undeclared: fields.opt_text("undeclared") != Some("leave_out"),
        unknown: owned(fields.opt_texts("unknown")),
        page_size: fields.opt_integer("page_size").unwrap_or(100),
        paging: paging.unwrap_or(Paging::Whole),
    };
    fields.finish();
    kind.map(|_| path)
}

/// What a request spends: a quota is counted apart in its shortest window, since some requests
/// spend that one alone.
pub(crate) fn counters<S: AsRef<str>>(quota: &[S]) -> Vec<String> {
    let both = |name: &str| match name.ends_with(BURST) {
        true => vec![name.to_owned()],
        false => vec![format!("{name}{BURST}"), name.to_owned()],
    };
    quota.iter().map(AsRef::as_ref).flat_map(both).collect()
}

fn list(kind: Kind, fields: &mut Fields<'_, '_>) -> Paging {
    match kind {
        Kind::Whole | Kind::Keyset => Paging::Whole,
        Kind::Offset => Paging::Offset(offset(fields)),
        Kind::TimeWindow => Paging::TimeWindow(time_window(fields)),
        Kind::Cursor => Paging::Cursor(cursor_window(fields)),
    }
}

fn offset(fields: &mut Fields<'_, '_>) -> Offset {
    let passes = passes(fields);
    Offset {
        overlap: fields.opt_integer("overlap").unwrap_or(0),
        since: fields.fields("since").map(since),
        passes: if passes.is_empty() { vec![Pass::default()] } else { passes },
    }
}

fn passes(fields: &mut Fields<'_, '_>) -> Vec<Pass> {
    let nodes = fields.list("passes");
    let read = |node| {
        let mut pass = fields.nested(node, "passes");
        let columns = pass.map("columns").iter();
        let columns = columns.map(|(key, node)| (key.text.clone(), node.to_json().to_string()));
        let pass_columns = columns.collect();
        let read = Pass { params: pairs(&mut pass, "params"), columns: pass_columns };
        pass.finish();
        read
    };
    nodes.iter().map(read).collect()
}

fn since(mut fields: Fields<'_, '_>) -> Since {
    let param = fields.opt_text("param").map(|name| SinceBy::Param(name.to_owned()));
    let stop = fields.opt_text("stop_below").map(|name| SinceBy::StopBelow(name.to_owned()));
    let overlap = fields.opt_duration("overlap").unwrap_or(Duration::ZERO);
    let params = pairs(&mut fields, "params");
    if param.is_some() == stop.is_some() {
        fields.complain("param", "give either \"param\" or \"stop_below\"");
    }
    fields.finish();
    Since { by: param.or(stop).unwrap_or(SinceBy::Param(String::new())), overlap, params }
}

fn time_window(fields: &mut Fields<'_, '_>) -> TimeWindow {
    let time = fields.text("time");
    let (from, to) = range(fields);
    TimeWindow { time, from, to, split_by: owned(fields.opt_texts("split_by")) }
}

fn cursor_window(fields: &mut Fields<'_, '_>) -> CursorWindow {
    let time = fields.text("time");
    let (from, to) = range(fields);
    let margin = fields.opt_duration("margin").unwrap_or(Duration::ZERO);
    let (mut param, mut next, mut more) = Default::default();
    if let Some(mut cursor) = fields.fields("cursor") {
        (param, next, more) = (cursor.text("param"), cursor.text("next"), cursor.text("more"));
        cursor.finish();
    } else {
        fields.complain("cursor", "missing key \"cursor\"");
    }
    CursorWindow { time, from, to, margin, param, next, more }
}

/// The names of the parameters that bound a range.
fn range(fields: &mut Fields<'_, '_>) -> (String, String) {
    let Some(mut range) = fields.fields("range") else {
        fields.complain("range", "missing key \"range\"");
        return Default::default();
    };
    let names = (range.text("from"), range.text("to"));
    range.finish();
    names
}

fn keyset(fields: &mut Fields<'_, '_>) -> Keyset {
    let mut keyset = Keyset {
        from: fields.text("from"),
        select: pairs(fields, "select"),
        key: pairs(fields, "key"),
        time: fields.opt_text("time").map(str::to_owned),
        arrival: fields.opt_text("arrival").map(str::to_owned),
        join: fields.fields("join").map(join),
        chunks: None,
        is_unique: false,
        pushed: None,
    };
    keyset.chunks = fields.fields("chunks").map(|fields| chunks(fields, &keyset));
    keyset
}

fn chunks(mut fields: Fields<'_, '_>, keyset: &Keyset) -> Chunks {
    let chunks = Chunks {
        by: fields.text("by"),
        hash: fields.text("hash"),
        rows: fields.opt_integer("rows").unwrap_or(40_000),
    };
    if keyset.time.is_none() || keyset.join.is_some() {
        fields.complain("chunks", "\"chunks\" need a \"time\", and take no \"join\"");
    }
    if !keyset.key.iter().any(|(name, _)| *name == chunks.by) {
        fields.complain("by", "the column of \"by\" must be a part of the \"key\"");
    }
    if chunks.rows == 0 {
        fields.complain("rows", "a chunk of no rows reads nothing");
    }
    fields.finish();
    chunks
}

fn join(mut fields: Fields<'_, '_>) -> Join {
    let join = Join {
        column: fields.text("column"),
        from: fields.text("from"),
        owner: fields.text("owner"),
        value: fields.text("value"),
        page_size: fields.opt_integer("page_size").unwrap_or(10_000),
    };
    fields.finish();
    join
}

/// A map of texts, in its order.
fn pairs(fields: &mut Fields<'_, '_>, key: &'static str) -> Vec<(String, String)> {
    let text = |node: &Node| node.text().unwrap_or_default().to_owned();
    fields.map(key).iter().map(|(key, node)| (key.text.clone(), text(node))).collect()
}
