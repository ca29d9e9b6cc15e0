//! Queries whose rows are a pair of texts, answered at once.

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
        let request = self.sql_request(query);
        let mut pairs = Pairs::default();
        let records = std::mem::replace(&mut self.splitter, pair_splitter());
        let asked = self.ask_sql(&request, &mut pairs).await;
        self.splitter = records;
        asked?;
        match pairs.0.is_sorted() {
            true => Ok(pairs.0),
            false => Err(self.contract(&request, "rows are not in the order asked for")),
        }
    }
}

fn pair_splitter() -> Splitter {
    let column = |name: &str| Column {
        name: name.to_owned(),
        kind: ColumnType::Text,
        origin: Origin::Field,
    };
    let columns = vec![column("first"), column("second")];
    let schema = Arc::new(Schema { columns, ..Schema::default() });
    Splitter::new(Layout::Rows("results".into()), Placement::ByPosition(vec![0, 1]), schema)
}

/// Collects pairs.
#[derive(Default)]
struct Pairs(Vec<(String, String)>);

impl Watch for Pairs {
    fn restart(&mut self) {
        self.0.clear();
    }

    fn row(&mut self, row: RowView<'_>) -> Verdict {
        let text = |column| row.text(column).unwrap_or_default().into_owned();
        self.0.push((text(0), text(1)));
        Verdict::Drop
    }
}
