//! Queries whose rows are a few texts, answered at once.

use std::sync::Arc;

use super::keyset::Query;
use super::page::Watch;
use super::{FetchError, Reader};
use crate::record::split::{Layout, Placement, RowView, Splitter, Verdict};
use crate::schema::{Column, ColumnType, Origin, Schema};

impl Reader<'_> {
    /// Asks a query of two columns, ordered by both; its rows are not records and go nowhere
    /// else.
    pub(super) async fn ask_pairs(
        &mut self,
        query: &Query,
    ) -> Result<Vec<(String, String)>, FetchError> {
        let rows = self.ask_texts(query).await?;
        let pairs: Vec<_> = rows.into_iter().map(|[first, second]| (first, second)).collect();
        match pairs.is_sorted() {
            true => Ok(pairs),
            false => {
                let request = self.sql_request(query);
                Err(self.contract(&request, "rows are not in the order asked for"))
            }
        }
    }

    /// Asks a query of so many columns, in whatever order its rows come.
    pub(super) async fn ask_texts<const COLUMNS: usize>(
        &mut self,
        query: &Query,
    ) -> Result<Vec<[String; COLUMNS]>, FetchError> {
        let request = self.sql_request(query);
        let mut texts = Texts(Vec::new());
        let records = std::mem::replace(&mut self.splitter, text_splitter(COLUMNS));
        let asked = self.ask_sql(&request, &mut texts).await;
        self.splitter = records;
        asked.map(|_| texts.0)
    }
}

fn text_splitter(columns: usize) -> Splitter {
    let column = |nth: usize| Column {
        name: nth.to_string(),
        kind: ColumnType::Text,
        origin: Origin::Field,
    };
    let placement = Placement::ByPosition((0..columns).collect());
    let columns = (0..columns).map(column).collect();
    let schema = Arc::new(Schema { columns, ..Schema::default() });
    Splitter::new(Layout::Rows("results".into()), placement, schema)
}

/// Collects rows.
struct Texts<const COLUMNS: usize>(Vec<[String; COLUMNS]>);

impl<const COLUMNS: usize> Watch for Texts<COLUMNS> {
    fn restart(&mut self) {
        self.0.clear();
    }

    fn row(&mut self, row: RowView<'_>) -> Verdict {
        self.0
            .push(std::array::from_fn(|column| row.text(column).unwrap_or_default().into_owned()));
        Verdict::Drop
    }
}
