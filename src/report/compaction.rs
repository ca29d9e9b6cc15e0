//! What compacting came to, as text.

use super::Table;
use crate::target::Compacted;

/// A line for every stream: files and rows, before and after.
pub fn compaction(streams: &[(String, Compacted)]) -> String {
    let mut table = Table::new(&["stream", "files", "files now", "rows", "rows now"]);
    for (stream, Compacted { files, rows }) in streams {
        let mut cells = vec![stream.clone()];
        cells.extend(files.iter().chain(rows).map(u64::to_string));
        table.row(cells);
    }
    format!("{table}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_has_a_line() {
        let compacted = Compacted { files: [12, 1], rows: [1200, 900] };

        assert_eq!(
            compaction(&[("events".into(), compacted)]),
            "stream  files  files now  rows  rows now\nevents     12          1  1200       900\n"
        );
    }
}
